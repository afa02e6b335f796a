//! Around every call: who may not come in is told so before anything of the message is read, a message
//! has its time, and the connection counts as busy until the answer is through.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Sleep, sleep};
use tonic::{
    Status,
    body::Body,
    codegen::http::{Request, Response},
    metadata::MetadataMap,
};
use tower::{Layer, Service};

use super::{
    arrivals::Guest,
    auth::{Caller, Gate},
};

/// So long the one message of a call may take to come.
const MESSAGE_WITHIN: Duration = Duration::from_secs(30);
/// The calls whose messages are a stream, which has deadlines of its own.
const STREAMS: [&str; 2] = ["UploadTaskFiles", "ServerReflectionInfo"];
/// The calls of users' programs.
const OF_CLIENTS: [&str; 6] = [
    "AssignTask",
    "CancelTask",
    "StreamTaskLogs",
    "ListWorkers",
    "FetchClusterState",
    "SubmitAssignments",
];
/// Of the messages that can be said to be short, this is the longest, from another machine.
const SHORT_MESSAGE_BYTES: usize = 1 << 20;
/// Workers' calls that have one. It comes before it is known whether a worker sends it.
const SHORT: [&str; 3] = ["RegisterWorker", "SendHeartbeat", "ReportTaskProgress"];

/// See the module.
#[derive(Clone)]
pub(super) struct Calls(pub(super) Gate);

impl<S> Layer<S> for Calls {
    type Service = Call<S>;

    fn layer(&self, inner: S) -> Call<S> {
        let gate = self.0.clone();
        Call { inner, gate }
    }
}

/// A service with this around it.
#[derive(Clone)]
pub(super) struct Call<S> {
    inner: S,
    gate: Gate,
}

type Answering<E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

impl<S> Service<Request<Body>> for Call<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering<Infallible>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let guest = request.extensions_mut().remove::<Guest>();
        let under_way = guest.map(|Guest { tcp, place }| {
            request.extensions_mut().insert(tcp);
            place.begin()
        });
        let (parts, body) = request.into_parts();
        let method = parts.uri.path().rsplit('/').next().unwrap_or_default();
        let metadata = MetadataMap::from_headers(parts.headers.clone());
        let shown = tonic::Request::from_parts(metadata, parts.extensions.clone(), ());
        let caller = Caller::of(&shown);
        if OF_CLIENTS.contains(&method)
            && let Err(refusal) = self.gate.client(&caller)
        {
            return Box::pin(async { Ok(refusal.into_http()) });
        }
        let body = match STREAMS.contains(&method) {
            true => body,
            false => Body::new(Message {
                body,
                over: Box::pin(sleep(MESSAGE_WITHIN)),
                left: (SHORT.contains(&method) && !caller.is_here()).then_some(SHORT_MESSAGE_BYTES),
            }),
        };
        let answer = self.inner.call(Request::from_parts(parts, body));
        Box::pin(async move {
            let answer = answer.await?;
            Ok(answer.map(|body| {
                Body::new(Held {
                    body,
                    _under_way: under_way,
                })
            }))
        })
    }
}

/// The message of a call, for as long as it may take, and as far as it may be long.
struct Message {
    body: Body,
    over: Pin<Box<Sleep>>,
    left: Option<usize>,
}

impl http_body::Body for Message {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let next = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &next
            && let (Some(data), Some(left)) = (frame.data_ref(), &mut self.left)
        {
            let Some(rest) = left.checked_sub(data.len()) else {
                let words = format!("expected a message of {SHORT_MESSAGE_BYTES} bytes at most");
                return Poll::Ready(Some(Err(Status::resource_exhausted(words))));
            };
            *left = rest;
        }
        if next.is_pending() && self.over.as_mut().poll(cx).is_ready() {
            let words = format!("expected the message within {MESSAGE_WITHIN:?}");
            return Poll::Ready(Some(Err(Status::deadline_exceeded(words))));
        }
        next
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer. While it goes on its connection has something under way.
struct Held<H> {
    body: Body,
    _under_way: H,
}

impl<H: Unpin> http_body::Body for Held<H> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, net::SocketAddr};

    use cloudai_model::ClusterId;
    use http_body::Body as _;
    use tonic::{Code, transport::server::TcpConnectInfo};
    use tower::{ServiceExt as _, service_fn};

    use super::*;
    use crate::{snapshot::Snapshots, token::Tokens};

    /// What never comes.
    struct Never;

    impl http_body::Body for Never {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Pending
        }
    }

    /// What a call is answered with whose message never comes.
    async fn answered(method: &str, from: &str) -> Option<Code> {
        let folder = tempfile::tempdir().unwrap();
        let cluster: ClusterId = "c-1".parse().unwrap();
        let (_accounts, accounts) = tokio::sync::watch::channel(None);
        let tokens = Tokens::open(folder.path()).unwrap();
        let gate = Gate::new(Snapshots::unready(cluster), tokens, accounts, false);
        let reads = service_fn(|request: Request<Body>| async move {
            let mut body = request.into_body();
            let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
            let error = frame.unwrap().unwrap_err();
            Ok::<_, Infallible>(error.into_http())
        });
        let mut request = Request::new(Body::new(Never));
        *request.uri_mut() = format!("/cluster.MasterWorker/{method}").parse().unwrap();
        let remote_addr: SocketAddr = from.parse().unwrap();
        request.extensions_mut().insert(TcpConnectInfo {
            local_addr: None,
            remote_addr: Some(remote_addr),
        });
        let answer = Calls(gate).layer(reads).oneshot(request).await.unwrap();
        Status::from_header_map(answer.headers()).map(|status| status.code())
    }

    #[tokio::test(start_paused = true)]
    async fn who_shows_nothing_is_refused_before_the_message_is_there() {
        for method in OF_CLIENTS {
            let begun = tokio::time::Instant::now();
            let code = answered(method, "192.0.2.1:1").await;
            assert_eq!(code, Some(Code::Unauthenticated), "{method}");
            assert!(begun.elapsed() < Duration::from_secs(1));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_never_comes_is_given_up() {
        for (method, from) in [
            ("AssignTask", "127.0.0.1:1"),
            ("SendHeartbeat", "192.0.2.1:1"),
        ] {
            let begun = tokio::time::Instant::now();
            let code = answered(method, from).await;
            assert_eq!(code, Some(Code::DeadlineExceeded), "{method}");
            assert!(begun.elapsed() >= MESSAGE_WITHIN);
        }
    }
}
