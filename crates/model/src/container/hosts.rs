//! Host names: a container's own, and those that it can look up.

use std::{fmt, net::IpAddr, str::FromStr};

use super::SettingError;

/// The longest name that the kernel keeps for a machine.
const NAME_LIMIT: usize = 63;

/// A host name of RFC 1123: labels of letters, digits and `-`, with dots between.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(String);

impl HostName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        let is_label = |label: &str| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        if text.len() <= NAME_LIMIT && text.split('.').all(is_label) {
            return Ok(Self(text.to_owned()));
        }
        Err(SettingError::new(
            "host name",
            text,
            "1 to 63 letters, digits, '-' or '.', such as trainer-1",
        ))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A name and its address: `name:ip`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtraHost {
    /// The name.
    pub name: HostName,
    /// The address.
    pub address: IpAddr,
}

impl FromStr for ExtraHost {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        let form = || {
            let expected = "name:ip, such as db:10.0.0.5 or db:fd00::5";
            SettingError::new("host", text, expected)
        };
        let (name, address) = text.split_once(':').ok_or_else(form)?;
        let bare = address
            .strip_prefix('[')
            .and_then(|address| address.strip_suffix(']'))
            .unwrap_or(address);
        Ok(Self {
            name: name.parse()?,
            address: bare.parse().map_err(|_| form())?,
        })
    }
}

impl fmt::Display for ExtraHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_has_labels() {
        let longest = "a".repeat(63);
        for text in ["a", "trainer-1", "node.lab.example", "1a", &longest] {
            assert!(text.parse::<HostName>().is_ok(), "{text}");
        }
        for text in [
            "",
            "-a",
            "a-",
            "a..b",
            "a_b",
            "a b",
            "é",
            &format!("{longest}a"),
        ] {
            assert!(text.parse::<HostName>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_goes_with_an_address_of_either_kind() {
        for (text, shown) in [
            ("db:10.0.0.5", "db:10.0.0.5"),
            ("db:fd00::5", "db:fd00::5"),
            ("db:[fd00::5]", "db:fd00::5"),
        ] {
            assert_eq!(text.parse::<ExtraHost>().unwrap().to_string(), shown);
        }
        for text in [
            "db",
            "db:",
            "db:10.0.0",
            ":10.0.0.5",
            "db:host-gateway",
            "d b:10.0.0.5",
        ] {
            assert!(text.parse::<ExtraHost>().is_err(), "{text}");
        }
    }
}
