//! The same for accounts.

use std::time::Duration;

use axum::http::{HeaderValue, header};
use cloudai_accounts::{
    AccountStoreError, AuditError, Busy, ChangeUserError, KeyError, LoginError, LogoutError,
    PasswordError, RegisterError, RotateError, UserError,
};
use cloudai_api::{Code, Mistakes};
use cloudai_model::DraftErrors;

use super::Refusal;

impl From<AccountStoreError> for Refusal {
    fn from(error: AccountStoreError) -> Self {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "accounts can't be kept"
        );
        Self::store_away("accounts can't be kept just now")
    }
}

fn drafts(errors: DraftErrors) -> Refusal {
    let mut mistakes = Mistakes::default();
    mistakes.extend(errors, |field| format!("/{field}"));
    Refusal::mistakes(mistakes)
}

fn wait(refusal: Refusal, span: Duration) -> Refusal {
    let seconds = span.as_secs() + u64::from(span.subsec_nanos() > 0);
    refusal.with(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)))
}

impl From<Busy> for Refusal {
    fn from(error: Busy) -> Self {
        Self::new(Code::Overloaded, error.to_string())
    }
}

impl From<LoginError> for Refusal {
    fn from(error: LoginError) -> Self {
        let detail = error.to_string();
        match error {
            LoginError::Wrong => Self::new(Code::WrongPassword, detail),
            LoginError::AwaitsApproval => Self::new(Code::AwaitsApproval, detail),
            LoginError::Locked => Self::new(Code::Locked, detail),
            LoginError::Throttled { retry_after } => {
                wait(Self::new(Code::TooManyTries, detail), retry_after)
            }
            LoginError::Busy(error) => error.into(),
            LoginError::Random(error) => Self::internal(&error),
        }
    }
}

impl From<LogoutError> for Refusal {
    fn from(error: LogoutError) -> Self {
        match error {
            LogoutError::NotLoggedIn => Self::new(Code::WrongState, error.to_string()),
            LogoutError::Store(error) => error.into(),
        }
    }
}

impl From<RegisterError> for Refusal {
    fn from(error: RegisterError) -> Self {
        let detail = error.to_string();
        match error {
            RegisterError::Closed => Self::new(Code::RegistrationClosed, detail),
            RegisterError::Forbidden(error) => error.into(),
            RegisterError::Invalid(errors) => drafts(errors),
            RegisterError::Taken { .. } => Self::new(Code::NameTaken, detail),
            RegisterError::TooMany { .. } => Self::new(Code::TooMany, detail),
            RegisterError::Throttled { retry_after } => {
                wait(Self::new(Code::TooManyTries, detail), retry_after)
            }
            RegisterError::Busy(error) => error.into(),
            RegisterError::Hash { .. } => Self::internal(&error),
            RegisterError::Store(error) => error.into(),
        }
    }
}

impl From<PasswordError> for Refusal {
    fn from(error: PasswordError) -> Self {
        let detail = error.to_string();
        match error {
            PasswordError::Forbidden(error) => error.into(),
            // Who asks is known: it is no 401, which would have a page log them out.
            PasswordError::Wrong => Self::new(Code::WrongCurrentPassword, detail),
            PasswordError::Invalid(errors) => drafts(errors),
            PasswordError::NoSuchUser { .. } => Self::not_found(),
            PasswordError::Changed => Self::new(Code::WrongState, detail),
            PasswordError::Throttled { retry_after } => {
                wait(Self::new(Code::TooManyTries, detail), retry_after)
            }
            PasswordError::Busy(error) => error.into(),
            PasswordError::Hash { .. } => Self::internal(&error),
            PasswordError::Store(error) => error.into(),
        }
    }
}

impl From<KeyError> for Refusal {
    fn from(error: KeyError) -> Self {
        let detail = error.to_string();
        match error {
            KeyError::Forbidden(error) => error.into(),
            KeyError::Invalid(errors) => drafts(errors),
            KeyError::NoSuchUser { .. } | KeyError::NoSuchKey => Self::not_found(),
            KeyError::TooMany { .. } => Self::new(Code::TooMany, detail),
            KeyError::Random(error) => Self::internal(&error),
            KeyError::Store(error) => error.into(),
        }
    }
}

impl From<UserError> for Refusal {
    fn from(error: UserError) -> Self {
        let detail = error.to_string();
        match error {
            UserError::Forbidden(error) => error.into(),
            UserError::NoSuchUser { .. } => Self::not_found(),
            UserError::LastAdmin { .. } => Self::new(Code::LastAdmin, detail),
            UserError::State { .. } => Self::new(Code::WrongState, detail),
            UserError::Store(error) => error.into(),
        }
    }
}

impl From<ChangeUserError> for Refusal {
    fn from(error: ChangeUserError) -> Self {
        match error {
            ChangeUserError::User(error) => error.into(),
            ChangeUserError::Password(error) => error.into(),
        }
    }
}

impl From<RotateError> for Refusal {
    fn from(error: RotateError) -> Self {
        match error {
            RotateError::Forbidden(error) => error.into(),
            RotateError::Ring(error) => Self::new(Code::WrongState, error.to_string()),
            RotateError::File(error) => Self::internal(&error),
            RotateError::Random(error) => Self::internal(&error),
            RotateError::Store(error) => error.into(),
        }
    }
}

impl From<AuditError> for Refusal {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::Forbidden(error) => error.into(),
            AuditError::Store(error) => error.into(),
        }
    }
}
