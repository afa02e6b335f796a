//! Capabilities: the parts of root's power that Linux hands out one by one.

use std::{fmt, str::FromStr};

use super::SettingError;

/// Every capability of Linux, without `CAP_`.
const NAMES: &[&str] = &[
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

/// What the root of every container keeps. All else is dropped, also what Docker gives by default.
///
/// These six act within the container's own files and processes, and images that run as root break
/// without them: package managers and `tar` give files away (`CHOWN`, `FOWNER`), `/output` may
/// belong to another user (`DAC_OVERRIDE`), an entry point steps down to a user of its own
/// (`SETUID`, `SETGID`), and process 1 then has to pass a stop on to it (`KILL`). Of Docker's
/// fourteen, `NET_RAW` (forged packets on the bridge), `MKNOD`, `AUDIT_WRITE`, `SETFCAP`,
/// `SETPCAP`, `SYS_CHROOT`, `FSETID` and `NET_BIND_SERVICE` are not among them; the engine lets
/// anyone in a container listen on ports below 1024 and `ping` as it is.
pub const KEPT: [Capability; 6] = [
    Capability("CHOWN"),
    Capability("DAC_OVERRIDE"),
    Capability("FOWNER"),
    Capability("KILL"),
    Capability("SETGID"),
    Capability("SETUID"),
];

/// One capability, such as `NET_RAW`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capability(&'static str);

impl Capability {
    /// The name, without `CAP_`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl FromStr for Capability {
    type Err = SettingError;

    /// In either case, with or without `CAP_`.
    fn from_str(text: &str) -> Result<Self, SettingError> {
        let upper = text.to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        let known = NAMES.iter().find(|name| **name == bare);
        known.map(|name| Self(name)).ok_or_else(|| {
            let expected = if bare == "ALL" {
                "each capability by its name, such as NET_RAW"
            } else {
                "the name of one, such as NET_RAW or SYS_PTRACE"
            };
            SettingError::new("capability", text, expected)
        })
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_is_known_with_and_without_its_prefix() {
        for text in ["NET_RAW", "CAP_NET_RAW", "cap_net_raw", "net_raw"] {
            assert_eq!(text.parse::<Capability>().unwrap().as_str(), "NET_RAW");
        }
        for text in ["ALL", "", "CAP_", "NET-RAW", "ROOT"] {
            assert!(text.parse::<Capability>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_kept_is_real() {
        for kept in KEPT {
            assert_eq!(kept.as_str().parse(), Ok(kept));
        }
        assert!(NAMES.is_sorted());
    }
}
