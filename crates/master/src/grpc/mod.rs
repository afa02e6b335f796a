//! The gRPC server: thin adapters from wire messages to inputs of the core and back.

mod agent_service;
mod arrivals;
mod auth;
mod calls;
mod clients;
mod cluster_service;
pub(crate) mod fuzzing;
mod log_stream;
mod old_nodes;
mod old_results;
mod old_uploads;
mod reports;
mod uploads;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use cloudai_http::{Doorway, places};

use cloudai_proto::{
    DESCRIPTORS, agent::master_agent_server::MasterAgentServer,
    cluster::master_worker_server::MasterWorkerServer,
};
use tokio::net::TcpListener;
use tonic::transport::Server;

use self::{arrivals::arrivals, calls::Calls};
pub use agent_service::AgentService;
pub use auth::Gate;
pub use cluster_service::ClusterService;

/// A message may be this large: a task with a long command, a chunk of a file.
const LARGEST_MESSAGE: usize = 8 << 20;
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(10);
const KEEP_ALIVE_WITHIN: Duration = Duration::from_secs(20);
/// Files come in chunks of some hundred KB: a window holds a few, so that their sender needn't wait
/// for each to be written.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;
const FRAME: u32 = 256 << 10;
/// Connections at a time, of everybody and of one address, and of what the system gives of file
/// descriptors: HTTP's and these leave a quarter to the store, logs and workers.
const MOST_CONNECTIONS: usize = 4096;
const MOST_CONNECTIONS_OF_ADDRESS: usize = 1024;
const SIXTEENTHS: usize = 3;
/// Calls at a time of one connection: a worker's uploads and reports.
const MOST_CALLS: u32 = 256;

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Reflection can't read what was compiled in.
    #[error("the compiled-in service description can't be read")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The server failed.
    #[error("the gRPC server failed")]
    Transport(#[from] tonic::transport::Error),
}

/// Serves until `shutdown` resolves and the calls under way are answered.
///
/// # Errors
/// If the server can't be built or fails.
pub async fn serve(
    listener: TcpListener,
    gate: Gate,
    cluster: Arc<ClusterService>,
    agent: AgentService,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let (health_reporter, health) = tonic_health::server::health_reporter();
    health_reporter
        .set_serving::<MasterWorkerServer<ClusterService>>()
        .await;
    health_reporter
        .set_serving::<MasterAgentServer<AgentService>>()
        .await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let cluster = MasterWorkerServer::from_arc(cluster)
        .max_decoding_message_size(LARGEST_MESSAGE)
        .max_encoding_message_size(LARGEST_MESSAGE);
    let agent = MasterAgentServer::new(agent)
        .max_decoding_message_size(LARGEST_MESSAGE)
        .max_encoding_message_size(64 << 20);
    let most = places(MOST_CONNECTIONS, SIXTEENTHS);
    let doorway = Doorway::new(most, MOST_CONNECTIONS_OF_ADDRESS);
    Server::builder()
        .layer(Calls(gate))
        .max_concurrent_streams(Some(MOST_CALLS))
        .http2_keepalive_interval(Some(KEEP_ALIVE_EVERY))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_WITHIN))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .add_service(health)
        .add_service(reflection)
        .add_service(cluster)
        .add_service(agent)
        .serve_with_incoming_shutdown(arrivals(listener, doorway), shutdown)
        .await?;
    Ok(())
}

/// Whether a connection comes from this machine. Its own other addresses don't count: only the
/// loopback interface can't be reached by others.
fn is_loopback(peer: Option<SocketAddr>) -> bool {
    peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback())
}

#[cfg(test)]
mod client_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_loopback_interface_is_this_machine() {
        for text in [
            "127.0.0.1:1",
            "127.8.8.8:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert!(is_loopback(Some(text.parse().unwrap())), "{text}");
        }
        for text in [
            "10.0.0.1:1",
            "0.0.0.0:1",
            "[::ffff:10.0.0.1]:1",
            "[fe80::1]:1",
        ] {
            assert!(!is_loopback(Some(text.parse().unwrap())), "{text}");
        }
        assert!(!is_loopback(None));
    }
}
