//! What a user may ask of the container beyond image, command and resources.
//!
//! A [`ContainerDraft`] is the settings as texts, each in the form in which a person types it; it
//! is checked with the rest of the draft and becomes a [`ContainerSpec`]. What an admin allows is
//! in [`crate::Allowed`].

pub mod allowed;
pub mod capability;
mod draft;
pub mod hosts;
pub mod mount;
pub mod network;
pub mod process;

use std::{collections::BTreeSet, fmt};

pub use draft::ContainerDraft;

use self::{
    capability::Capability,
    hosts::{ExtraHost, HostName},
    mount::{Tmpfs, VolumeMount},
    network::Network,
    process::{RunAs, StopSignal},
};

/// Where a command leaves its files; nothing else may be there.
pub const OUTPUT_PATH: &str = "/output";

/// How a container is set up. The default is what a task gets that asks for nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContainerSpec {
    /// The network it is on.
    pub network: Network,
    /// Volumes of the worker's engine, each path once.
    pub volumes: Vec<VolumeMount>,
    /// Whether its root can't be written to. `/output`, volumes and tmpfs still can.
    pub read_only: bool,
    /// Whom the command runs as; the image's user if none.
    pub run_as: Option<RunAs>,
    /// File systems in memory, each path once.
    pub tmpfs: Vec<Tmpfs>,
    /// Size of `/dev/shm` in bytes; the engine's (64 MiB) if none.
    pub shm_bytes: Option<u64>,
    /// What asks the command to end; the image's signal, or SIGTERM, if none.
    pub stop_signal: Option<StopSignal>,
    /// Its own host name; the engine's choice if none.
    pub hostname: Option<HostName>,
    /// Names that it can look up besides those of its network.
    pub extra_hosts: Vec<ExtraHost>,
    /// Capabilities on top of [`capability::KEPT`].
    pub cap_add: BTreeSet<Capability>,
}

impl ContainerSpec {
    /// Whether nothing was asked for, so that a worker that knows no settings can run it.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A text of a setting that can't be as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} is not valid: expected {expected}")]
pub struct SettingError {
    what: &'static str,
    text: String,
    expected: String,
}

impl SettingError {
    fn new(what: &'static str, text: &str, expected: impl fmt::Display) -> Self {
        Self {
            what,
            // A hostile text is shown, but not at any length.
            text: text.chars().take(80).collect(),
            expected: expected.to_string(),
        }
    }
}

/// Whether the engine takes a text as the name of a network or volume.
fn is_engine_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    (2..=128).contains(&bytes.len())
        && bytes[0].is_ascii_alphanumeric()
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b))
}
