//! What of users and keys may be shown, and what comes in of a new user.

use cloudai_model::{
    AccountState, DraftErrors, FieldError, KeyScope, Role, UserLimits, UserName, Wall,
    account::{KeyRecord, UserRecord},
};

use crate::{audit::is_one_line, password::check_password, secret::Secret};

/// The most characters of a person's name, and of a key's.
pub const LONGEST_NAME: usize = 128;
/// The most bytes of an address (RFC 5321, 4.5.3.1.3, without its brackets).
pub const LONGEST_EMAIL: usize = 254;

/// A user, as far as anybody may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name to log in with.
    pub user: UserName,
    /// The name of the person.
    pub name: String,
    /// Their address.
    pub email: String,
    /// What they may do.
    pub role: Role,
    /// Whether they may log in.
    pub state: AccountState,
    /// Their own limits; what is `None` is as for everybody.
    pub limits: UserLimits,
    /// When the user was made.
    pub created_at: Wall,
    /// When something of it changed last.
    pub updated_at: Wall,
}

impl From<&UserRecord> for User {
    fn from(record: &UserRecord) -> Self {
        Self {
            user: record.user.clone(),
            name: record.name.clone(),
            email: record.email.clone(),
            role: record.role,
            state: record.state,
            limits: record.limits,
            created_at: record.created_at,
            updated_at: record.updated_at,
        }
    }
}

/// A key, as far as its owner may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Names it; stands in the key itself, too.
    pub id: String,
    /// Whose it is.
    pub user: UserName,
    /// What they call it.
    pub name: String,
    /// What it may be used for.
    pub scope: KeyScope,
    /// When it was made.
    pub created_at: Wall,
    /// From when on it counts no more.
    pub expires_at: Option<Wall>,
}

impl From<&KeyRecord> for Key {
    fn from(record: &KeyRecord) -> Self {
        Self {
            id: record.id.clone(),
            user: record.user.clone(),
            name: record.name.clone(),
            scope: record.scope,
            created_at: record.created_at,
            expires_at: record.expires_at,
        }
    }
}

/// A user who is to be, unchecked.
#[derive(Debug, Clone)]
pub struct UserDraft {
    /// The name to log in with.
    pub username: String,
    /// The password.
    pub password: Secret,
    /// The name of the person.
    pub name: Option<String>,
    /// Their address.
    pub email: Option<String>,
}

/// A user who can be, but for the name being free.
pub(crate) struct CheckedUser {
    pub(crate) user: UserName,
    pub(crate) password: Secret,
    pub(crate) name: String,
    pub(crate) email: String,
}

impl UserDraft {
    /// Names everything that is wrong at once.
    pub(crate) fn check(self, least_password_chars: usize) -> Result<CheckedUser, DraftErrors> {
        let mut errors = Vec::new();
        let mut wrong = |field, message| errors.push(FieldError { field, message });
        let user: Result<UserName, _> = self.username.parse();
        if let Err(error) = &user {
            wrong("username", error.to_string());
        }
        for mistake in check_password(&self.password, &self.username, least_password_chars) {
            wrong("password", mistake);
        }
        let name = self.name.unwrap_or_default();
        if let Some(mistake) = wrong_name(&name) {
            wrong("name", mistake);
        }
        let email = self.email.unwrap_or_default();
        if let Some(mistake) = wrong_email(&email) {
            wrong("email", mistake);
        }
        match user {
            Ok(user) if errors.is_empty() => Ok(CheckedUser {
                user,
                password: self.password,
                name,
                email,
            }),
            _ => Err(DraftErrors(errors)),
        }
    }
}

/// What is wrong with the name of a person or a key.
pub(crate) fn wrong_name(name: &str) -> Option<String> {
    let chars = name.chars().count();
    if chars > LONGEST_NAME {
        return Some(format!(
            "is {chars} characters long: expected at most {LONGEST_NAME}"
        ));
    }
    let bad = !is_one_line(name);
    bad.then(|| "has control characters: expected one line of text".to_owned())
}

/// Whether it could be an address; whether it is one, only a letter to it would show.
fn wrong_email(email: &str) -> Option<String> {
    if email.is_empty() {
        return None;
    }
    let halves = email.rsplit_once('@');
    let good = email.len() <= LONGEST_EMAIL
        && is_one_line(email)
        && !email.contains(char::is_whitespace)
        && halves.is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
    let bad = !good;
    bad.then(|| {
        format!("is no address: expected at most {LONGEST_EMAIL} bytes such as ada@example.org")
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn draft() -> UserDraft {
        UserDraft {
            username: "ada".into(),
            password: "analytical engine".into(),
            name: Some("Ada Lovelace".into()),
            email: Some("ada@example.org".into()),
        }
    }

    fn mistakes(draft: UserDraft) -> Vec<&'static str> {
        let errors = draft.check(8).map(|_| ()).unwrap_err();
        errors.0.into_iter().map(|error| error.field).collect()
    }

    #[test]
    fn a_good_draft_is_taken_with_little_or_much_in_it() {
        assert_eq!(draft().check(8).ok().unwrap().name, "Ada Lovelace");
        let least = UserDraft {
            name: None,
            email: None,
            ..draft()
        };
        let least = least.check(8).ok().unwrap();
        assert_eq!((least.name.as_str(), least.email.as_str()), ("", ""));
    }

    #[test]
    fn all_mistakes_are_named_at_once_and_the_password_in_none() {
        let bad = UserDraft {
            username: "../etc".into(),
            password: "s3cr\u{7}t".into(),
            name: Some("two\nlines".into()),
            email: Some("nobody".into()),
        };
        let errors = bad.clone().check(8).map(|_| ()).unwrap_err();
        assert!(!errors.to_string().contains("s3cr"), "{errors}");
        let fields = ["username", "password", "password", "name", "email"];
        assert_eq!(mistakes(bad), fields);
    }

    #[test]
    fn names_and_addresses_have_their_limits() {
        let named = |name: String| UserDraft {
            name: Some(name),
            ..draft()
        };
        assert!(named("ä".repeat(128)).check(8).is_ok());
        assert_eq!(mistakes(named("a".repeat(129))), ["name"]);
        assert_eq!(mistakes(named("a\u{202e}b".into())), ["name"]);
        for bad in [
            "@x",
            "x@",
            "a b@c",
            "a@b\r\nBcc: c",
            &format!("{}@b", "a".repeat(253)),
        ] {
            let email = Some(bad.to_owned());
            assert_eq!(mistakes(UserDraft { email, ..draft() }), ["email"], "{bad}");
        }
    }

    proptest! {
        /// Whatever is sent, what is taken keeps the limits, and what is not is told with a field.
        #[test]
        fn what_is_taken_keeps_the_limits(
            username in "[ -~é]{0,70}", password in any::<String>(), name in any::<String>(),
            email in "[a-z@. ]{0,12}", long in 1_usize..40,
        ) {
            let draft = UserDraft {
                username,
                password: Secret::new(password),
                name: Some(name.repeat(long)),
                email: Some(email),
            };
            match draft.clone().check(8) {
                Ok(taken) => {
                    prop_assert_eq!(taken.user.as_str(), draft.username.as_str());
                    let chars = taken.password.expose().chars().count();
                    prop_assert!((8..=1024).contains(&chars));
                    prop_assert!(taken.name.chars().count() <= 128 && is_one_line(&taken.name));
                    prop_assert!(taken.email.is_empty() || taken.email.contains('@'));
                }
                Err(DraftErrors(errors)) => prop_assert!(!errors.is_empty()),
            }
        }
    }
}
