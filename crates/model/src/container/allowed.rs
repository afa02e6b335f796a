//! What of the engines an admin lets tasks use, by name.

use std::{collections::BTreeSet, fmt, str::FromStr};

use super::{
    SettingError,
    capability::{Capability, KEPT},
    mount::{VolumeMount, VolumeName},
    network::{Network, NetworkName},
};

/// What tasks may use beyond what every task may. Nothing, by default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Allowed {
    /// Networks besides `none` and the default bridge.
    pub networks: BTreeSet<NetworkName>,
    /// Volumes, and whether they may be written to.
    pub volumes: BTreeSet<AllowedVolume>,
    /// Capabilities on top of [`KEPT`].
    pub capabilities: BTreeSet<Capability>,
}

/// A volume that tasks may mount: `name`, or `name:ro` for reading only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AllowedVolume {
    /// Which.
    pub name: VolumeName,
    /// Whether no task may write to it.
    pub read_only: bool,
}

impl FromStr for AllowedVolume {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        let (name, read_only) = match text.strip_suffix(":ro") {
            Some(name) => (name, true),
            None => (text, false),
        };
        Ok(Self {
            name: name.parse()?,
            read_only,
        })
    }
}

impl fmt::Display for AllowedVolume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = if self.read_only { ":ro" } else { "" };
        write!(f, "{}{mode}", self.name)
    }
}

/// What a task asked for and may not have; names what it may.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {asked} is not allowed: expected {expected}")]
pub struct NotAllowed {
    what: &'static str,
    asked: String,
    expected: String,
}

impl Allowed {
    /// Whether a task may be on this network.
    ///
    /// # Errors
    /// Names those that it may be on.
    pub fn network(&self, network: &Network) -> Result<(), NotAllowed> {
        match network {
            Network::Named(name) if !self.networks.contains(name) => {
                let mut names = vec!["none".to_owned(), "bridge".to_owned()];
                names.extend(self.networks.iter().map(|name| name.as_str().to_owned()));
                Err(NotAllowed {
                    what: "network",
                    asked: name.as_str().to_owned(),
                    expected: one_of(&names),
                })
            }
            Network::Bridge | Network::None | Network::Named(_) => Ok(()),
        }
    }

    /// Whether a task may have this volume so.
    ///
    /// # Errors
    /// Names those that it may have.
    pub fn volume(&self, mount: &VolumeMount) -> Result<(), NotAllowed> {
        let refused = |asked: String, expected: String| {
            Err(NotAllowed {
                what: "volume",
                asked,
                expected,
            })
        };
        let mut known = self.volumes.iter().filter(|known| known.name == mount.name);
        // Named twice, the wider permission counts.
        match known
            .clone()
            .any(|known| mount.read_only || !known.read_only)
        {
            true => Ok(()),
            false if known.next().is_some() => refused(
                format!("{} for writing", mount.name),
                format!("{}:{}:ro", mount.name, mount.path),
            ),
            false if self.volumes.is_empty() => refused(
                mount.name.to_string(),
                "none, since the master was started without -allow-volumes".to_owned(),
            ),
            false => {
                let names: Vec<_> = self.volumes.iter().map(ToString::to_string).collect();
                refused(mount.name.to_string(), one_of(&names))
            }
        }
    }

    /// Whether a task may have this capability.
    ///
    /// # Errors
    /// Names those that it may have.
    pub fn capability(&self, capability: Capability) -> Result<(), NotAllowed> {
        if KEPT.contains(&capability) || self.capabilities.contains(&capability) {
            return Ok(());
        }
        let names: Vec<_> = KEPT
            .iter()
            .chain(&self.capabilities)
            .map(ToString::to_string)
            .collect();
        Err(NotAllowed {
            what: "capability",
            asked: capability.to_string(),
            expected: one_of(&names),
        })
    }
}

fn one_of(names: &[String]) -> String {
    match names {
        [one] => one.clone(),
        names => format!("one of {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed() -> Allowed {
        Allowed {
            networks: ["lab".parse().unwrap()].into(),
            volumes: ["datasets:ro", "scratch"]
                .map(|text| text.parse().unwrap())
                .into(),
            capabilities: ["NET_RAW".parse().unwrap()].into(),
        }
    }

    #[test]
    fn without_a_list_there_are_two_networks_no_volumes_and_what_is_kept() {
        let nothing = Allowed::default();
        assert_eq!(nothing.network(&Network::None), Ok(()));
        assert_eq!(nothing.network(&Network::Bridge), Ok(()));
        assert_eq!(nothing.capability("CHOWN".parse().unwrap()), Ok(()));
        let error = nothing.network(&"lab".parse().unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "network lab is not allowed: expected one of none, bridge"
        );
        let error = nothing.volume(&"data:/d".parse().unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "volume data is not allowed: expected none, since the master was started without \
             -allow-volumes"
        );
    }

    #[test]
    fn what_is_on_the_list_is_allowed_and_the_list_is_named_for_the_rest() {
        let allowed = allowed();
        assert_eq!(allowed.network(&"lab".parse().unwrap()), Ok(()));
        assert_eq!(allowed.volume(&"scratch:/s".parse().unwrap()), Ok(()));
        assert_eq!(allowed.volume(&"datasets:/d:ro".parse().unwrap()), Ok(()));
        assert_eq!(allowed.capability("NET_RAW".parse().unwrap()), Ok(()));
        let volume = |text: &str| {
            allowed
                .volume(&text.parse().unwrap())
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            volume("datasets:/d"),
            "volume datasets for writing is not allowed: expected datasets:/d:ro"
        );
        assert_eq!(
            volume("other:/d"),
            "volume other is not allowed: expected one of datasets:ro, scratch"
        );
        let error = allowed
            .capability("SYS_ADMIN".parse().unwrap())
            .unwrap_err();
        assert!(error.to_string().ends_with("SETUID, NET_RAW"), "{error}");
    }
}
