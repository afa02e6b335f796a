//! One connection to a master, and how calls are made on it.

use std::{future::Future, time::Duration};

use cloudai_model::ClusterId;
use cloudai_proto::cluster::master_worker_client::MasterWorkerClient;
use tonic::{
    Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How often a connection is tried with an HTTP/2 ping, and how long that may take.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

pub(crate) type Client = MasterWorkerClient<InterceptedService<Channel, Bearer>>;

/// A master at which this worker is registered.
#[derive(Clone)]
pub(crate) struct Connected {
    pub(crate) client: Client,
    pub(crate) address: String,
    /// It knows only the fields of the earlier Go nodes.
    pub(crate) is_old: bool,
    pub(crate) cluster: Option<ClusterId>,
}

/// Puts the worker's token on every call.
#[derive(Clone)]
pub(crate) struct Bearer(Option<MetadataValue<Ascii>>);

/// A token that can't be sent.
#[derive(Debug, thiserror::Error)]
#[error("-token is not valid: expected what the master's `register` printed")]
pub(crate) struct TokenError;

impl Bearer {
    pub(crate) fn new(token: Option<&str>) -> Result<Self, TokenError> {
        let header = token.map(|token| {
            let mut header: MetadataValue<Ascii> =
                format!("Bearer {token}").parse().map_err(|_| TokenError)?;
            header.set_sensitive(true);
            Ok(header)
        });
        header.transpose().map(Self)
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(header) = &self.0 {
            request
                .metadata_mut()
                .insert("authorization", header.clone());
        }
        Ok(request)
    }
}

/// Where a master is dialled.
pub(crate) fn endpoint(address: &str) -> Result<Endpoint, tonic::transport::Error> {
    Endpoint::from_shared(format!("http://{address}"))
}

/// Connects to a master.
pub(super) async fn connect(
    address: &str,
    bearer: Bearer,
) -> Result<Client, tonic::transport::Error> {
    let channel = endpoint(address)?
        .connect_timeout(CONNECT_LIMIT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true)
        .connect()
        .await?;
    Ok(MasterWorkerClient::with_interceptor(channel, bearer))
}

/// Makes a call that has to be answered within `limit`. The master is told of the limit, too.
pub(crate) async fn call<Q, A, F>(
    limit: Duration,
    message: Q,
    make: impl FnOnce(Request<Q>) -> F,
) -> Result<A, Status>
where
    F: Future<Output = Result<Response<A>, Status>>,
{
    let mut request = Request::new(message);
    request.set_timeout(limit);
    match tokio::time::timeout(limit, make(request)).await {
        Ok(answer) => answer.map(Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded(format!(
            "the master did not answer within {} s",
            limit.as_secs()
        ))),
    }
}
