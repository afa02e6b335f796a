//! What can be asked of accounts, an operation or two a file, each with its error.

mod audit;
mod authenticate;
mod change_user;
mod keys;
mod login;
mod passwords;
mod register;
mod tending;
mod users;

pub use audit::{AuditError, AuditPage};
pub use authenticate::{AuthenticateError, Credential, MayNoMore, StillMay};
pub use change_user::{ChangeUserError, UserChange};
pub use keys::{KeyDraft, KeyError};
pub(crate) use login::Logouts;
pub use login::{LoginError, LogoutError, Session};
pub use passwords::{PasswordError, ResetPasswordError};
pub use register::RegisterError;
pub use tending::RotateError;
pub(crate) use tending::Tended;
pub use users::UserError;

#[cfg(test)]
mod tests;
