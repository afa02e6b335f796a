//! Ids of tasks, workers, users and the cluster.

use std::{cmp::Ordering, fmt, str::FromStr, sync::Arc};

/// Why a text is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what} {text:?} is not valid: expected 1 to 64 letters, digits, '.', '_' or '-', \
     beginning with a letter or digit, such as {example:?}"
)]
pub struct IdError {
    what: &'static str,
    text: String,
    example: &'static str,
}

fn check(text: &str, what: &'static str, example: &'static str) -> Result<(), IdError> {
    let bytes = text.as_bytes();
    let valid = (1..=64).contains(&bytes.len())
        && bytes[0].is_ascii_alphanumeric()
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b));
    if valid {
        return Ok(());
    }
    // A hostile text is shown, but not at any length.
    Err(IdError {
        what,
        text: text.chars().take(80).collect(),
        example,
    })
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $example:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                check(text, $what, $example)?;
                Ok(Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// A worker's id, chosen by the admin.
    WorkerId,
    "worker id",
    "worker-1"
);
text_id!(
    /// A user's name.
    UserName,
    "user name",
    "admin"
);
text_id!(
    /// The cluster's id, made at the first start of its master; labels its containers.
    ClusterId,
    "cluster id",
    "c-5f2a90d1"
);

impl UserName {
    /// The user that a submit without one belongs to.
    #[must_use]
    pub fn admin() -> Self {
        Self("admin".into())
    }
}

/// A task's id.
///
/// Those that the master makes are `task-` and a rising decimal number, and are held as that
/// number; a client may choose another valid text.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TaskId(Repr);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Repr {
    Numbered(u64),
    Named(Arc<str>),
}

impl TaskId {
    /// The id of the master's making with this number.
    #[must_use]
    pub fn numbered(number: u64) -> Self {
        Self(Repr::Numbered(number))
    }

    /// The number, if the id is of the form that the master makes.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        match self.0 {
            Repr::Numbered(number) => Some(number),
            Repr::Named(_) => None,
        }
    }
}

impl FromStr for TaskId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        check(text, "task id", "task-1697123456000001")?;
        // Only the canonical spelling is a number, so that each text is one id and back.
        let number = text
            .strip_prefix("task-")
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
            .filter(|digits| digits.len() == 1 || !digits.starts_with('0'))
            .and_then(|digits| digits.parse().ok());
        Ok(Self(
            number.map_or_else(|| Repr::Named(text.into()), Repr::Numbered),
        ))
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Numbered(number) => f.pad(&format!("task-{number}")),
            Repr::Named(text) => f.pad(text),
        }
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Ord for TaskId {
    /// Numbered ids by number, before all others by text.
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            (Repr::Numbered(a), Repr::Numbered(b)) => a.cmp(b),
            (Repr::Named(a), Repr::Named(b)) => a.cmp(b),
            (Repr::Numbered(_), Repr::Named(_)) => Ordering::Less,
            (Repr::Named(_), Repr::Numbered(_)) => Ordering::Greater,
        }
    }
}

impl PartialOrd for TaskId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_id_survives_the_way_through_text() {
        for text in [
            "task-1",
            "task-0",
            "task-1697123456000001",
            "nightly.7",
            "task-007",
            "task-x",
        ] {
            let id: TaskId = text.parse().unwrap();
            assert_eq!(id.to_string(), text);
            assert_eq!(id.to_string().parse::<TaskId>().unwrap(), id);
        }
        assert_eq!("task-12".parse::<TaskId>().unwrap(), TaskId::numbered(12));
        assert_eq!("task-012".parse::<TaskId>().unwrap().number(), None);
    }

    #[test]
    fn numbered_ids_rise_with_their_number() {
        assert!(TaskId::numbered(9) < TaskId::numbered(10));
        assert!(TaskId::numbered(u64::MAX) < "a".parse().unwrap());
    }

    #[test]
    fn what_could_leave_a_folder_or_break_a_line_is_no_id() {
        let long = "a".repeat(65);
        for text in [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "a b",
            "-a",
            "_a",
            "a\n",
            "ä",
            long.as_str(),
        ] {
            let error = text.parse::<WorkerId>().unwrap_err().to_string();
            assert!(error.contains("expected 1 to 64 letters"), "{error}");
        }
        assert!("a".repeat(64).parse::<UserName>().is_ok());
    }
}
