//! From where a request comes, and by which name: what a proxy that is trusted says of it, and that a
//! name which somebody else has led here is refused.

use std::{net::IpAddr, str::FromStr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, Uri, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};
use cloudai_api::Code;

use crate::{
    Settings,
    context::{BySecureWay, Peer},
    refusal::Refusal,
};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Addresses that begin alike: `10.0.0.0/8`, or one alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRange {
    address: IpAddr,
    bits: u8,
}

/// A text that is no range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an address, or a range of them such as 10.0.0.0/8")]
pub struct AddressRangeError;

impl FromStr for AddressRange {
    type Err = AddressRangeError;

    fn from_str(text: &str) -> Result<Self, AddressRangeError> {
        let (address, bits) = match text.trim().split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text.trim(), None),
        };
        let address: IpAddr = address.parse().map_err(|_| AddressRangeError)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits.parse().map_err(|_| AddressRangeError)?,
            None => most,
        };
        if bits > most {
            return Err(AddressRangeError);
        }
        Ok(Self { address, bits })
    }
}

impl AddressRange {
    fn has(&self, address: IpAddr) -> bool {
        let differ = match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                u128::from(own.to_bits() ^ other.to_bits()) << 96
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => own.to_bits() ^ other.to_bits(),
            _ => return false,
        };
        differ.leading_zeros() >= u32::from(self.bits)
    }
}

/// What the layer knows. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Arrival {
    proxies: Arc<[AddressRange]>,
    hosts: Option<Arc<[String]>>,
    is_secure: bool,
}

impl Arrival {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            proxies: settings.proxies.clone().into(),
            hosts: settings.hosts.clone().map(Into::into),
            is_secure: settings.is_secure,
        }
    }

    /// The client's own address, and whether it came to a proxy by TLS.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> (IpAddr, bool) {
        let is_proxy = |address| self.proxies.iter().any(|range| range.has(address));
        if !is_proxy(peer) {
            return (peer, false);
        }
        // Each proxy writes behind what it was told: what stands before a stranger, the stranger wrote.
        let mut client = peer;
        for text in from_behind(headers, &FORWARDED_FOR) {
            let Some(address) = address(text) else {
                break;
            };
            client = address;
            if !is_proxy(client) {
                break;
            }
        }
        let proto = from_behind(headers, &FORWARDED_PROTO).next();
        let is_secure = proto.is_some_and(|proto| proto.eq_ignore_ascii_case("https"));
        (client, is_secure)
    }

    /// Whether a request may ask for this name.
    fn knows(&self, headers: &HeaderMap, uri: &Uri) -> bool {
        let Some(known) = &self.hosts else {
            return true;
        };
        let host = headers.get(header::HOST).map(|host| host.to_str());
        let host = match (host, uri.authority()) {
            (Some(Ok(host)), _) => host,
            (Some(Err(_)), _) => return false,
            (None, Some(authority)) => Authority::as_str(authority),
            // No browser leaves it out.
            (None, None) => return true,
        };
        let name = without_port(host).to_ascii_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        let is_address = name.parse::<IpAddr>().is_ok() || name.starts_with('[');
        // A name without a dot is nobody's whom a browser could ask where it leads.
        is_address
            || !name.contains('.')
            || name.ends_with(".localhost")
            || known.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// The parts of a list that may go over several headers, the last one first.
fn from_behind<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    let values: Vec<_> = headers.get_all(name).iter().collect();
    let values = values.into_iter().rev();
    let texts = values.map(|value| value.to_str().unwrap_or_default());
    texts.flat_map(|text| text.rsplit(',').map(str::trim))
}

/// An address, which may have a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let with_port = || Some(text.parse::<std::net::SocketAddr>().ok()?.ip());
    bare.parse().ok().or_else(with_port)
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.is_empty() => name,
        _ => host,
    }
}

/// Says to all that is within where the request comes from, and refuses it if it isn't for this server.
///
/// A page of any web site may ask the browser of whoever looks at it for a name of that site, and have
/// that name lead to 127.0.0.1: for the browser it is the same site then. That the name is a strange one
/// is all that can be told of it.
pub(crate) async fn arrival(
    State(arrival): State<Arrival>,
    mut request: Request,
    next: Next,
) -> Response {
    if !arrival.knows(request.headers(), request.uri()) {
        let detail = "this server is not known by the name that the request asks for: expected its \
                      address, localhost, or a name of http-hosts";
        return Refusal::new(Code::StrangeHost, detail).into_response();
    }
    let mut is_secure = arrival.is_secure;
    if let Some(Peer(peer)) = request.extensions().get().copied() {
        let (client, came_by_tls) = arrival.client(peer, request.headers());
        is_secure |= came_by_tls;
        request.extensions_mut().insert(Peer(client));
    }
    request.extensions_mut().insert(BySecureWay(is_secure));
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn behind(proxies: &[&str]) -> Arrival {
        Arrival {
            proxies: proxies.iter().map(|range| range.parse().unwrap()).collect(),
            hosts: None,
            is_secure: false,
        }
    }

    #[test]
    fn only_who_is_trusted_says_for_whom_it_asks() {
        let arrival = behind(&["127.0.0.1", "10.0.0.0/8", "fd00::/8"]);
        for (peer, forwarded, expected) in [
            // Nobody who isn't trusted is believed.
            ("192.0.2.1", vec!["198.51.100.7"], "192.0.2.1"),
            ("127.0.0.1", vec![], "127.0.0.1"),
            ("127.0.0.1", vec!["198.51.100.7"], "198.51.100.7"),
            ("::ffff:127.0.0.1", vec!["198.51.100.7"], "198.51.100.7"),
            // What a client wrote itself stands before what the proxy saw.
            ("127.0.0.1", vec!["1.2.3.4, 198.51.100.7"], "198.51.100.7"),
            ("127.0.0.1", vec!["1.2.3.4", "198.51.100.7"], "198.51.100.7"),
            // Proxies in a row.
            ("127.0.0.1", vec!["198.51.100.7, 10.1.2.3"], "198.51.100.7"),
            ("fd00::1", vec!["10.1.2.3"], "10.1.2.3"),
            ("127.0.0.1", vec!["198.51.100.7:4711"], "198.51.100.7"),
            ("127.0.0.1", vec!["[2001:db8::7]:4711"], "2001:db8::7"),
            ("127.0.0.1", vec!["2001:db8::7"], "2001:db8::7"),
            ("127.0.0.1", vec!["1.2.3.4, unknown"], "127.0.0.1"),
        ] {
            let pairs: Vec<_> = forwarded
                .iter()
                .map(|it| ("x-forwarded-for", *it))
                .collect();
            let (client, _) = arrival.client(peer.parse().unwrap(), &headers(&pairs));
            assert_eq!(client.to_string(), expected, "{peer} {forwarded:?}");
        }
        let https = headers(&[("x-forwarded-proto", "https")]);
        let by_tls = |peer: &str, headers| arrival.client(peer.parse().unwrap(), headers).1;
        assert!(by_tls("10.0.0.1", &https));
        assert!(!by_tls("192.0.2.1", &https));
        assert!(!by_tls(
            "10.0.0.1",
            &headers(&[("x-forwarded-proto", "http")])
        ));
    }

    #[test]
    fn ranges_are_read_and_others_refused() {
        for bad in [
            "",
            "x",
            "10.0.0.0/33",
            "10.0.0.0/x",
            "::/129",
            "10.0.0.0/-1",
        ] {
            assert_eq!(bad.parse::<AddressRange>(), Err(AddressRangeError), "{bad}");
        }
        let all: AddressRange = "0.0.0.0/0".parse().unwrap();
        assert!(all.has("203.0.113.9".parse().unwrap()));
        assert!(!all.has("::1".parse().unwrap()));
    }

    #[test]
    fn a_name_that_anybody_may_have_led_here_is_strange() {
        let arrival = Arrival {
            hosts: Some(["cloud.example.org".to_owned()].into()),
            ..behind(&[])
        };
        for (host, expected) in [
            ("127.0.0.1:8080", true),
            ("[::1]:8080", true),
            ("[::1]", true),
            ("localhost:8080", true),
            ("LOCALHOST", true),
            ("x.localhost", true),
            ("master", true),
            ("cloud.example.org", true),
            ("Cloud.Example.org.:8080", true),
            ("evil.example", false),
            ("evil.example:8080", false),
            ("127.0.0.1.evil.example", false),
            ("evil.example.:8080", false),
        ] {
            let uri = Uri::from_static("/api/tasks");
            assert_eq!(
                arrival.knows(&headers(&[("host", host)]), &uri),
                expected,
                "{host}"
            );
            assert!(behind(&[]).knows(&headers(&[("host", host)]), &uri));
        }
        let nothing = HeaderMap::new();
        assert!(arrival.knows(&nothing, &Uri::from_static("/health")));
        assert!(!arrival.knows(&nothing, &Uri::from_static("https://evil.example/health")));
    }
}
