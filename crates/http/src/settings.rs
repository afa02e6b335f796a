//! What the server takes at most, and how long it waits.

use std::time::Duration;

use crate::frame::AddressRange;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Connections at a time. Beyond them the one that has asked for nothing for longest goes.
    pub most_connections: usize,
    /// The same from one address, but for this machine's own: a proxy there speaks for many.
    pub most_connections_of_address: usize,
    /// How long a new connection has for its first request, the handshake of TLS included.
    pub first_request_within: Duration,
    /// How long a connection may be idle between two requests, and a request's header may take.
    pub idle_for: Duration,
    /// How long a client may take none of an answer.
    pub stalled_for: Duration,
    /// Bytes of a request's header.
    pub most_header_bytes: usize,
    /// Bytes of a body.
    pub most_body_bytes: usize,
    /// Bytes of the body of a batch.
    pub most_batch_bytes: usize,
    /// Bodies at a time that are on their way.
    pub most_bodies: usize,
    /// The same from one address, or network of IPv6.
    pub most_bodies_of_address: usize,
    /// Bytes that all bodies hold together until they have been read, but for the first of each.
    pub most_bytes_of_bodies: usize,
    /// The same of one address.
    pub most_bytes_of_bodies_of_address: usize,
    /// The same of the batches of one user.
    pub most_bytes_of_batches_of_user: usize,
    /// Tasks of batches at a time that are on their way to the core.
    pub most_tasks_of_batches: usize,
    /// How long a body may take.
    pub body_within: Duration,
    /// How long an answer may take to begin.
    pub answer_within: Duration,
    /// Requests at a time that wait for the beginning of their answers, once their bodies are there.
    pub most_requests: usize,
    /// Answers at a time that go on for as long as a task does: logs and events.
    pub most_streams: usize,
    /// The same of one user.
    pub most_streams_of_user: usize,
    /// Answers at a time that pack an archive: each has a thread of its own.
    pub most_archives: usize,
    /// The same of one user.
    pub most_archives_of_user: usize,
    /// Whether clients come by TLS: cookies stay there then. Of those who come by a proxy it says so.
    pub is_secure: bool,
    /// Proxies: what they say of whom they ask for, and how that came to them, is believed.
    pub proxies: Vec<AddressRange>,
    /// The names by which this server is known, besides addresses and names without a dot; `None`: any.
    pub hosts: Option<Vec<String>>,
    /// WebSockets at a time.
    pub most_sockets: usize,
    /// WebSockets of one user at a time.
    pub most_sockets_of_user: usize,
    /// How often a WebSocket is asked for a sign of life; without one until the next it is closed.
    pub ping_every: Duration,
    /// How long a WebSocket may take nothing of what it is sent.
    pub socket_stalled_for: Duration,
    /// Web sites whose pages may read what is answered here; none if empty.
    pub origins: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            most_connections: 8192,
            most_connections_of_address: 2048,
            first_request_within: Duration::from_secs(10),
            idle_for: Duration::from_secs(60),
            stalled_for: Duration::from_secs(60),
            most_header_bytes: 32 << 10,
            most_body_bytes: 1 << 20,
            most_batch_bytes: 32 << 20,
            most_bodies: 2048,
            most_bodies_of_address: 512,
            most_bytes_of_bodies: 512 << 20,
            most_bytes_of_bodies_of_address: 256 << 20,
            most_bytes_of_batches_of_user: 128 << 20,
            most_tasks_of_batches: 200_000,
            body_within: Duration::from_secs(30),
            answer_within: Duration::from_secs(60),
            most_requests: 1024,
            most_streams: 4096,
            most_streams_of_user: 1024,
            most_archives: 32,
            most_archives_of_user: 8,
            is_secure: false,
            proxies: Vec::new(),
            hosts: None,
            most_sockets: 4096,
            most_sockets_of_user: 1024,
            ping_every: Duration::from_secs(20),
            socket_stalled_for: Duration::from_secs(20),
            origins: Vec::new(),
        }
    }
}
