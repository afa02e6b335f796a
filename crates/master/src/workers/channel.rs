//! Connections to workers: one for each address, made when first needed, kept alive.

use std::{
    collections::HashMap,
    error::Error as _,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use cloudai_model::WorkerAddress;
use tonic::transport::{Channel, Endpoint};

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(10);
const KEEP_ALIVE_WITHIN: Duration = Duration::from_secs(10);

/// No connection could be made: nothing was sent.
#[derive(Debug, thiserror::Error)]
#[error("{address} can't be reached: {reason}")]
pub struct Unreachable {
    address: WorkerAddress,
    reason: String,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Channels(Mutex<HashMap<WorkerAddress, Channel>>);

impl Channels {
    /// A connection to this address.
    ///
    /// # Errors
    /// If there is none and none can be made.
    pub(super) async fn get(&self, address: &WorkerAddress) -> Result<Channel, Unreachable> {
        let known = {
            let channels = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            channels.get(address).cloned()
        };
        if let Some(channel) = known {
            return Ok(channel);
        }
        let unreachable = |error: &tonic::transport::Error| Unreachable {
            address: address.clone(),
            reason: innermost(error),
        };
        let channel = endpoint(address)
            .map_err(|error| unreachable(&error))?
            .connect()
            .await
            .map_err(|error| unreachable(&error))?;
        let mut channels = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        channels.insert(address.clone(), channel.clone());
        Ok(channel)
    }

    /// Forgets a connection that has failed: the next call makes a new one, and so finds out
    /// whether anybody is there before it sends anything.
    pub(super) fn drop_failed(&self, address: &WorkerAddress) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(address);
    }
}

fn endpoint(address: &WorkerAddress) -> Result<Endpoint, tonic::transport::Error> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?
        .connect_timeout(CONNECT_WITHIN)
        .http2_keep_alive_interval(KEEP_ALIVE_EVERY)
        .keep_alive_timeout(KEEP_ALIVE_WITHIN)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true))
}

/// The address of this machine that a connection to `address` leaves from.
///
/// # Errors
/// If the name is not known or there is no way to it.
pub(super) async fn local_address_towards(address: &WorkerAddress) -> std::io::Result<SocketAddr> {
    let target = (address.host(), address.port());
    // A datagram socket is connected without sending anything: only the route is looked up.
    let mut failure = std::io::Error::other("the name has no address");
    for candidate in tokio::net::lookup_host(target).await? {
        let any: SocketAddr = if candidate.is_ipv4() {
            ([0; 4], 0).into()
        } else {
            ([0_u16; 8], 0).into()
        };
        let socket = tokio::net::UdpSocket::bind(any).await?;
        match socket.connect(candidate).await {
            Ok(()) => return socket.local_addr(),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// The deepest cause, which says most: "Connection refused" rather than "transport error".
pub(super) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// What a failed call failed of.
pub(super) fn cause(status: &tonic::Status) -> String {
    match status.source() {
        Some(source) => innermost(source),
        None => status.message().to_owned(),
    }
}
