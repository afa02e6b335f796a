//! Who may come in and what they may do: users, passwords, tokens, keys, throttling and the audit.
//!
//! [`Accounts`] is what the HTTP server and gRPC call. It knows neither of them, and no database: what is
//! kept is behind [`AccountStore`]. Everything that a request needs is in memory, since one master owns the
//! store; what changes is kept before it is answered. The parts that decide (tokens, throttle, who may
//! what) are pure and take the time as an argument; nothing here reads a clock.

mod accounts;
mod api_key;
mod audit;
mod directory;
#[cfg(any(test, feature = "fakes"))]
pub mod fakes;
mod identity;
mod operations;
mod password;
mod secret;
mod settings;
mod store;
mod throttle;
pub mod token;
mod views;

pub use accounts::{Accounts, FirstAdmin, OpenError};
pub use audit::{Action, AuditEntry};
pub use identity::{CallContext, Forbidden, HIGHEST_OWN_PRIORITY, How, Identity, Peer, Permission};
pub use operations::{
    AuditError, AuditPage, AuthenticateError, ChangeUserError, Credential, KeyDraft, KeyError,
    LoginError, LogoutError, MayNoMore, PasswordError, RegisterError, ResetPasswordError,
    RotateError, Session, StillMay, UserChange, UserError,
};
pub use password::{
    Busy, CostError, HashingLimits, LEAST_PASSWORD_CHARS, LONGEST_PASSWORD, PasswordCost,
    PasswordCostError, check_password,
};
pub use secret::{NoRandomness, Secret};
pub use settings::{AccountSettings, Registration, RegistrationError};
pub use store::{AccountStore, AccountStoreError, AuditQuery, StoredAccounts};
pub use throttle::{Network, Pauses, Throttle, ThrottleSettings, Try};
pub use token::{KeyOrigin, RingError, RingFileError, TokenError};
pub use views::{Key, LONGEST_EMAIL, LONGEST_NAME, User, UserDraft};
