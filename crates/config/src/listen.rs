//! Where a server listens.

use std::{
    fmt, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _},
    str::FromStr,
};

/// A text that is no address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected :port for every interface, or host:port, such as :50051, 127.0.0.1:50051, \
     [::1]:50051 or localhost:50051"
)]
pub struct ListenAddrError;

/// Where a server listens. Port 0 takes any free one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListenAddr {
    /// This port on every interface, IPv4 and IPv6.
    Everywhere(u16),
    /// This address alone.
    Address(SocketAddr),
    /// What this name stands for.
    Name {
        /// The host name.
        host: String,
        /// The port.
        port: u16,
    },
}

impl ListenAddr {
    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        match self {
            Self::Everywhere(port) | Self::Name { port, .. } => *port,
            Self::Address(address) => address.port(),
        }
    }

    /// Whether nobody on another machine can reach it. A name is not looked up: only `localhost` is
    /// known to be this machine.
    #[must_use]
    pub fn is_loopback_only(&self) -> bool {
        match self {
            Self::Everywhere(_) => false,
            Self::Address(address) => address.ip().is_loopback(),
            Self::Name { host, .. } => host.eq_ignore_ascii_case("localhost"),
        }
    }

    /// The same with the port that the system chose, where it was to choose one.
    #[must_use]
    pub fn bound(&self, port: u16) -> Self {
        match self {
            Self::Everywhere(_) => Self::Everywhere(port),
            Self::Name { host, .. } => Self::Name {
                host: host.clone(),
                port,
            },
            Self::Address(address) => Self::Address((address.ip(), port).into()),
        }
    }

    /// The addresses to try, best first: the server listens on the first that can be bound.
    ///
    /// Every interface is `[::]`, which takes IPv4 as well where the system's IPv6 sockets do (as
    /// on Linux by default), then `0.0.0.0` for systems without IPv6. A name is looked up, which
    /// may block; of what it stands for, IPv4 goes first, as clients without IPv6 would try it.
    ///
    /// # Errors
    /// If the name stands for nothing.
    pub fn candidates(&self) -> io::Result<Vec<SocketAddr>> {
        match self {
            Self::Everywhere(port) => Ok(vec![
                (Ipv6Addr::UNSPECIFIED, *port).into(),
                (Ipv4Addr::UNSPECIFIED, *port).into(),
            ]),
            Self::Address(address) => Ok(vec![*address]),
            Self::Name { host, port } => {
                let mut found: Vec<_> = (host.as_str(), *port).to_socket_addrs()?.collect();
                found.sort_by_key(SocketAddr::is_ipv6);
                Ok(found)
            }
        }
    }
}

impl FromStr for ListenAddr {
    type Err = ListenAddrError;

    /// Reads `:port`, `port`, `address:port`, `[address]:port` or `name:port`.
    fn from_str(text: &str) -> Result<Self, ListenAddrError> {
        let text = text.trim();
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
        if !port.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ListenAddrError);
        }
        let port = port.parse().map_err(|_| ListenAddrError)?;
        if host.is_empty() {
            return Ok(Self::Everywhere(port));
        }
        let is_name = host.len() <= 253
            && host.starts_with(|c: char| c.is_ascii_alphanumeric())
            && host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
            // Digits and dots are an IPv4 address gone wrong, never a name.
            && host.bytes().any(|b| b.is_ascii_alphabetic());
        if !is_name {
            return Err(ListenAddrError);
        }
        Ok(Self::Name {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for ListenAddr {
    /// As it can be given.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everywhere(port) => write!(f, ":{port}"),
            Self::Address(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_read_and_shown_as_given() {
        assert_eq!(ListenAddr::Everywhere(0).bound(7).to_string(), ":7");
        for text in [
            ":50051",
            "127.0.0.1:50051",
            "[::1]:50051",
            "localhost:50051",
            ":0",
        ] {
            let address: ListenAddr = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
        }
        assert_eq!("50051".parse(), Ok(ListenAddr::Everywhere(50051)));
    }

    #[test]
    fn a_port_alone_is_every_interface_of_both_kinds() {
        let address: ListenAddr = ":50051".parse().unwrap();
        let candidates = address.candidates().unwrap();
        let shown: Vec<_> = candidates.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["[::]:50051", "0.0.0.0:50051"]);
    }

    #[test]
    fn a_name_is_looked_up_and_an_address_is_not() {
        let name: ListenAddr = "localhost:50051".parse().unwrap();
        let candidates = name.candidates().unwrap();
        assert!(!candidates.is_empty());
        assert!(candidates.iter().all(|address| address.ip().is_loopback()));
        let address: ListenAddr = "10.9.8.7:1".parse().unwrap();
        assert_eq!(
            address.candidates().unwrap(),
            ["10.9.8.7:1".parse().unwrap()]
        );
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            ":",
            ":x",
            ":-1",
            ":+5",
            ":65536",
            "localhost",
            "localhost:",
            "::1:50051",
            "[::1]",
            "256.0.0.1:80",
            "1.2.3:80",
            "a b:80",
            "-a:80",
            "http://x:80",
        ] {
            assert_eq!(text.parse::<ListenAddr>(), Err(ListenAddrError), "{text:?}");
        }
    }
}
