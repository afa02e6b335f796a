//! The worker's gRPC server: where it listens, and what it serves.

use std::{future::Future, io, net::SocketAddr, time::Duration};

use cloudai_config::ListenAddr;
use cloudai_proto::{
    DESCRIPTORS,
    cluster::master_worker_server::{MasterWorkerServer, SERVICE_NAME},
};
use tokio::net::TcpListener;
use tonic::{service::interceptor::InterceptedService, transport::server::TcpIncoming};
use tonic_health::{ServingStatus, pb::health_server::HealthServer, server::HealthService};

use crate::{auth::Gate, server::WorkerService};

const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// The largest message that is taken: an order with its command and environment fits many times.
const MESSAGE_BYTES: usize = 4 << 20;

/// Why the worker can't listen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    /// Someone else does.
    #[error("port {} is in use: another worker, or another program, listens at {listen}; \
             expected a free one (-port)", listen.port())]
    InUse { listen: ListenAddr },
    /// The system refuses.
    #[error("can't listen at {listen}: {source}; expected a free port of this machine (-port)")]
    Refused {
        listen: ListenAddr,
        #[source]
        source: io::Error,
    },
}

/// Takes hold of the port.
pub(crate) async fn bind(listen: &ListenAddr) -> Result<(TcpListener, SocketAddr), ListenError> {
    let refused = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse {
            listen: listen.clone(),
        },
        _ => ListenError::Refused {
            listen: listen.clone(),
            source,
        },
    };
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in listen.candidates().map_err(refused)? {
        match TcpListener::bind(address).await {
            Ok(listener) => {
                let address = listener.local_addr().map_err(refused)?;
                return Ok((listener, address));
            }
            // A port that is taken on one interface is not taken on another instead.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(refused(error)),
            Err(error) => last = error,
        }
    }
    Err(refused(last))
}

/// Serves until `stop`, then finishes the calls under way.
pub(crate) async fn serve(
    listener: TcpListener,
    service: WorkerService,
    gate: Gate,
    stop: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let (reporter, _) = tonic_health::server::health_reporter();
    for service in ["", SERVICE_NAME] {
        reporter
            .set_service_status(service, ServingStatus::Serving)
            .await;
    }
    let health = HealthServer::new(HealthService::from_health_reporter(reporter));
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("the descriptors are compiled in");
    let service = MasterWorkerServer::new(service).max_decoding_message_size(MESSAGE_BYTES);
    tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .add_service(InterceptedService::new(service, gate.clone()))
        .add_service(InterceptedService::new(health, gate.clone()))
        .add_service(InterceptedService::new(reflection, gate))
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), stop)
        .await
}
