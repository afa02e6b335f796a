//! Connections to workers: one for each address, made when first needed, kept alive.

use std::{
    collections::{BTreeSet, HashMap},
    error::Error as _,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use cloudai_model::WorkerAddress;
use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use tonic::transport::{Channel, Endpoint};

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(10);
const KEEP_ALIVE_WITHIN: Duration = Duration::from_secs(10);
/// What a worker may send of one log before the master has taken it in, and of all together: 100
/// MB/s over 20 ms of distance. The whole is larger, so that calls get by a log that waits.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Logs come in large pieces; cutting them into 16 KiB costs more than it keeps fair.
const FRAME: u32 = 128 << 10;

/// No connection could be made: nothing was sent.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{address} can't be reached: {reason}")]
pub struct Unreachable {
    address: WorkerAddress,
    reason: String,
}

/// A connection, or one being made: whoever needs it meanwhile waits for the same.
type Connection = Shared<BoxFuture<'static, Result<Channel, Unreachable>>>;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Channels(Mutex<HashMap<WorkerAddress, Connection>>);

impl Channels {
    /// A connection to this address.
    ///
    /// # Errors
    /// If there is none and none can be made.
    pub(super) async fn get(&self, address: &WorkerAddress) -> Result<Channel, Unreachable> {
        let connection = {
            let mut channels = self.lock();
            let known = channels.entry(address.clone());
            known
                .or_insert_with(|| connect(address.clone()).boxed().shared())
                .clone()
        };
        let connected = connection.clone().await;
        if connected.is_err() {
            self.drop_this(address, &connection);
        }
        connected
    }

    /// Forgets a connection over which a call failed, unless the worker itself said no: the next
    /// call makes a new one, and so finds out whether anybody is there before it sends anything.
    pub(super) fn drop_if_broken(&self, address: &WorkerAddress, status: &tonic::Status) {
        if status.source().is_some() {
            self.lock().remove(address);
        }
    }

    /// Forgets the connections to all other addresses.
    pub(super) fn keep_only(&self, wanted: &BTreeSet<&WorkerAddress>) {
        self.lock().retain(|address, _| wanted.contains(address));
    }

    fn drop_this(&self, address: &WorkerAddress, connection: &Connection) {
        let mut channels = self.lock();
        if channels
            .get(address)
            .is_some_and(|known| known.ptr_eq(connection))
        {
            channels.remove(address);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<WorkerAddress, Connection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn connect(address: WorkerAddress) -> Result<Channel, Unreachable> {
    let connected = match endpoint(&address) {
        Ok(endpoint) => endpoint.connect().await,
        Err(error) => Err(error),
    };
    connected.map_err(|error| Unreachable {
        reason: innermost(&error),
        address,
    })
}

fn endpoint(address: &WorkerAddress) -> Result<Endpoint, tonic::transport::Error> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?
        .connect_timeout(CONNECT_WITHIN)
        .http2_keep_alive_interval(KEEP_ALIVE_EVERY)
        .keep_alive_timeout(KEEP_ALIVE_WITHIN)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
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
