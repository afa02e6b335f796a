//! Whom a command runs as, and what asks it to end.

use std::{fmt, str::FromStr};

use super::SettingError;

/// The highest id of a user or group that means one: the kernel keeps the last for "none".
const HIGHEST_ID: u32 = u32::MAX - 1;

/// A user and perhaps a group, by number: `1000` or `1000:1000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunAs {
    /// The user.
    pub uid: u32,
    /// The group; that of the user in the image's `/etc/passwd`, or 0, if none.
    pub gid: Option<u32>,
}

impl FromStr for RunAs {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        let id = |digits: &str| -> Result<u32, SettingError> {
            let is_digits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            let id = is_digits.then(|| digits.parse().ok()).flatten();
            id.filter(|id| *id <= HIGHEST_ID).ok_or_else(|| {
                SettingError::new("user", text, "uid or uid:gid as numbers, such as 1000:1000")
            })
        };
        match text.split_once(':') {
            None => Ok(Self {
                uid: id(text)?,
                gid: None,
            }),
            Some((uid, gid)) => Ok(Self {
                uid: id(uid)?,
                gid: Some(id(gid)?),
            }),
        }
    }
}

impl fmt::Display for RunAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.gid {
            Some(gid) => write!(f, "{}:{gid}", self.uid),
            None => write!(f, "{}", self.uid),
        }
    }
}

/// The signals that have names, by their numbers on Linux.
const SIGNALS: &[(&str, u8)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ABRT", 6),
    ("KILL", 9),
    ("USR1", 10),
    ("USR2", 12),
    ("ALRM", 14),
    ("TERM", 15),
    ("CONT", 18),
    ("WINCH", 28),
    ("PWR", 30),
];
/// Where the numbers of signals without a name begin and end.
const REAL_TIME: std::ops::RangeInclusive<u8> = 34..=64;

/// What asks a command to end: `SIGINT`, `INT` or 2; a real-time signal by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StopSignal(u8);

impl StopSignal {
    /// Its number.
    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }
}

impl FromStr for StopSignal {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        let name = text.to_ascii_uppercase();
        let name = name.strip_prefix("SIG").unwrap_or(&name);
        let by_name = SIGNALS.iter().find(|(known, _)| *known == name);
        let number = by_name.map(|(_, number)| *number).or_else(|| {
            let number = text.parse().ok()?;
            let is_known = SIGNALS.iter().any(|(_, known)| *known == number);
            (is_known || REAL_TIME.contains(&number)).then_some(number)
        });
        number.map(Self).ok_or_else(|| {
            let names: Vec<_> = SIGNALS
                .iter()
                .map(|(name, _)| format!("SIG{name}"))
                .collect();
            let expected = format!("{} or a number from 34 to 64", names.join(", "));
            SettingError::new("stop signal", text, expected)
        })
    }
}

impl fmt::Display for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SIGNALS.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => write!(f, "SIG{name}"),
            None => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_a_number_and_perhaps_a_group() {
        for text in ["0", "1000", "1000:100", "4294967294:0"] {
            assert_eq!(text.parse::<RunAs>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "root",
            "-1",
            "+1",
            "1000:",
            ":1",
            "1:2:3",
            "1.5",
            "4294967295",
        ] {
            let error = text.parse::<RunAs>().unwrap_err().to_string();
            assert!(error.contains("such as 1000:1000"), "{text}: {error}");
        }
    }

    #[test]
    fn a_signal_is_known_by_either_name_or_its_number() {
        for text in ["SIGINT", "int", "2"] {
            assert_eq!(text.parse::<StopSignal>().unwrap().to_string(), "SIGINT");
        }
        assert_eq!("37".parse::<StopSignal>().unwrap().to_string(), "37");
        for text in ["", "SIG", "SIGNOPE", "0", "-1", "65", "32", "SIGSTOP"] {
            let error = text.parse::<StopSignal>().unwrap_err().to_string();
            assert!(error.contains("SIGTERM"), "{text}: {error}");
        }
    }
}
