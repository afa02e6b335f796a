//! What a worker tells of itself, and where it is reached.

use std::{fmt, str::FromStr};

/// The port of a worker whose address names none.
pub const DEFAULT_WORKER_PORT: u16 = 50052;

/// What a worker's machine uses just now.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct HostUsage {
    /// Percent of all cores.
    pub cpu_percent: f64,
    /// Bytes of memory in use.
    pub memory_bytes: u64,
    /// Bytes of disk in use.
    pub storage_bytes: u64,
    /// Percent of all GPUs.
    pub gpu_percent: f64,
    /// Bytes a second read from disks.
    pub disk_read_bytes_per_s: f64,
    /// Bytes a second written to disks.
    pub disk_write_bytes_per_s: f64,
}

/// A text that is no `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "address {0:?} is not valid: expected host or host:port, such as 192.168.1.100:50052, \
     worker.example.org or [::1]:50052"
)]
pub struct AddressError(String);

/// The host and port at which a worker is dialled.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerAddress {
    host: String,
    port: u16,
}

impl WorkerAddress {
    /// The host name or IP address, an IPv6 one without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for WorkerAddress {
    type Err = AddressError;

    /// Reads `host[:port]`; the port is 50052 when missing.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let error = || AddressError(text.chars().take(80).collect());
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, after) = rest.split_once(']').ok_or_else(error)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| error())?;
            match after {
                "" => (host, None),
                _ => (host, Some(after.strip_prefix(':').ok_or_else(error)?)),
            }
        } else if text.parse::<std::net::Ipv6Addr>().is_ok() {
            (text, None)
        } else {
            match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            }
        };
        let is_name = host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-:".contains(&b));
        if host.is_empty() || host.len() > 253 || !is_name || host.starts_with(['-', '.']) {
            return Err(error());
        }
        let port = match port {
            None => DEFAULT_WORKER_PORT,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits
                .parse()
                .ok()
                .filter(|port| *port != 0)
                .ok_or_else(error)?,
            Some(_) => return Err(error()),
        };
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for WorkerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_port_is_the_workers_own() {
        for (text, shown) in [
            ("localhost", "localhost:50052"),
            ("10.0.0.2:7000", "10.0.0.2:7000"),
            ("::1", "[::1]:50052"),
            ("[::1]:7000", "[::1]:7000"),
            ("[fe80::1]", "[fe80::1]:50052"),
        ] {
            let address: WorkerAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), shown);
            assert_eq!(shown.parse(), Ok(address));
        }
    }

    #[test]
    fn a_malformed_address_is_answered_with_the_form() {
        for text in [
            "",
            ":50052",
            "host:",
            "host:x",
            "host:0",
            "host:70000",
            "a b",
            "http://h",
            "[::1",
            "[::1]x",
            "-h",
        ] {
            let error = text.parse::<WorkerAddress>().unwrap_err().to_string();
            assert!(
                error.contains("expected host or host:port"),
                "{text}: {error}"
            );
        }
    }
}
