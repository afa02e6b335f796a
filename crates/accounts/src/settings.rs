//! How accounts are kept: who may register, how long tokens last, what a password costs.

use std::{str::FromStr, time::Duration};

use crate::{
    password::{HashingLimits, LEAST_PASSWORD_CHARS, PasswordCost},
    secret::Secret,
    throttle::ThrottleSettings,
};

/// Who may register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    /// Nobody: an admin makes users.
    Closed,
    /// Everybody.
    Open,
    /// Everybody, and an admin lets them in.
    Approval,
}

impl Registration {
    /// What it is where nothing is set: open only if nobody from another machine can ask.
    #[must_use]
    pub fn default_for(loopback_only: bool) -> Self {
        if loopback_only {
            Self::Open
        } else {
            Self::Closed
        }
    }

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::Approval => "approval",
        }
    }
}

/// A text that is no kind of registration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no kind of registration: expected closed, open or approval")]
pub struct RegistrationError(String);

impl FromStr for Registration {
    type Err = RegistrationError;

    fn from_str(text: &str) -> Result<Self, RegistrationError> {
        let all = [Self::Closed, Self::Open, Self::Approval];
        let found = all.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| RegistrationError(text.chars().take(80).collect()))
    }
}

/// All settings of accounts.
#[derive(Debug, Clone)]
pub struct AccountSettings {
    /// Who makes the tokens: the cluster's id. Those of another are refused, also under the same secret.
    pub issuer: String,
    /// Who may register.
    pub registration: Registration,
    /// The password of `admin` at the first start; `None`: a random one.
    pub first_password: Option<Secret>,
    /// How long a token lasts.
    pub token_lifetime: Duration,
    /// After how long another key signs tokens; `None`: only when somebody says so. `JWT_SECRET` is never
    /// replaced by itself.
    pub token_key_lifetime: Option<Duration>,
    /// What a password costs.
    pub cost: PasswordCost,
    /// How many are hashed at a time.
    pub hashing: HashingLimits,
    /// How often one may guess.
    pub throttle: ThrottleSettings,
    /// The fewest characters of a password.
    pub least_password_chars: usize,
    /// The most users that may register; those whom an admin makes besides have no bound.
    pub most_users: usize,
    /// The most keys of one user.
    pub most_keys: usize,
}

impl AccountSettings {
    /// The defaults, for a cluster.
    #[must_use]
    pub fn new(issuer: impl Into<String>) -> Self {
        let days = |days: u64| Duration::from_secs(days * 86_400);
        Self {
            issuer: issuer.into(),
            registration: Registration::Closed,
            first_password: None,
            token_lifetime: Duration::from_secs(12 * 3600),
            token_key_lifetime: Some(days(90)),
            cost: PasswordCost::OWASP,
            hashing: HashingLimits::default(),
            throttle: ThrottleSettings::default(),
            least_password_chars: LEAST_PASSWORD_CHARS,
            most_users: 100_000,
            most_keys: 50,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back_and_others_answered_with_the_right_ones() {
        for kind in [
            Registration::Closed,
            Registration::Open,
            Registration::Approval,
        ] {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        let error = "yes".parse::<Registration>().unwrap_err().to_string();
        assert!(
            error.ends_with("expected closed, open or approval"),
            "{error}"
        );
        assert_eq!(Registration::default_for(true), Registration::Open);
        assert_eq!(Registration::default_for(false), Registration::Closed);
    }
}
