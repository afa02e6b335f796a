//! The network of a container.

use std::{fmt, str::FromStr};

use super::{SettingError, is_engine_name};

/// Which network a container is on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Network {
    /// The engine's default bridge.
    #[default]
    Bridge,
    /// None but its own loopback.
    None,
    /// A network of the worker's engine, by name.
    Named(NetworkName),
}

impl FromStr for Network {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        match text {
            "bridge" => Ok(Self::Bridge),
            "none" => Ok(Self::None),
            name => name.parse().map(Self::Named),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bridge => f.pad("bridge"),
            Self::None => f.pad("none"),
            Self::Named(name) => f.pad(name.as_str()),
        }
    }
}

/// The name of a network that someone made on the engine.
///
/// Never `host`: on the host's network a task would be at the worker's and the master's loopback,
/// where calls need no token. Nor another container's network, or a word of the engine's own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkName(String);

impl NetworkName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NetworkName {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        let expected = match text {
            "host" => {
                "none, bridge or a named network; the host's own is refused to every task, which \
                 would be let in there as a local caller"
            }
            "bridge" | "none" | "default" => {
                "a name that someone gave a network; bridge and none need not be allowed"
            }
            name if is_engine_name(name) => return Ok(Self(name.to_owned())),
            _ => {
                "none, bridge or the name of a network: 2 to 128 letters, digits, '.', '_' or \
                 '-', beginning with a letter or digit"
            }
        };
        Err(SettingError::new("network", text, expected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_one_of_two_words_or_a_name() {
        assert_eq!("bridge".parse(), Ok(Network::Bridge));
        assert_eq!("none".parse(), Ok(Network::None));
        let named: Network = "lab-1.x".parse().unwrap();
        assert_eq!(named.to_string(), "lab-1.x");
    }

    #[test]
    fn the_hosts_and_other_containers_networks_are_nobodys() {
        for text in ["host", "default", "container:abc", "a/b", "", "x", "-x"] {
            let error = text.parse::<Network>().unwrap_err().to_string();
            assert!(error.contains("expected"), "{text}: {error}");
        }
        let error = "host".parse::<Network>().unwrap_err().to_string();
        assert!(error.contains("the host's own is refused"), "{error}");
    }
}
