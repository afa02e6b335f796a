//! One connection: its handshake, its requests, and when it is given up.

use std::{
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, body::Body, extract::Request, response::Response};
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{net::TcpStream, sync::watch, time::timeout};
use tower::ServiceExt as _;
use tracing::debug;

use super::{doorway::Place, stall::Stalling, tls::Tls};
use crate::{
    Settings,
    context::{Connected, Peer},
};

/// Streams that one HTTP/2 connection may have at a time.
const MOST_STREAMS: u32 = 128;

/// What all connections share.
pub(super) struct Connections {
    router: Router,
    tls: Option<Tls>,
    protocol: auto::Builder<TokioExecutor>,
    first_request_within: Duration,
    idle_for: Duration,
    stalled_for: Duration,
    closing: watch::Receiver<bool>,
}

impl Connections {
    pub(super) fn new(
        router: Router,
        tls: Option<Tls>,
        settings: &Settings,
        closing: watch::Receiver<bool>,
    ) -> Self {
        let mut protocol = auto::Builder::new(TokioExecutor::new());
        protocol
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(settings.idle_for)
            .max_buf_size(settings.most_header_bytes);
        protocol
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(settings.idle_for)
            .max_concurrent_streams(MOST_STREAMS)
            .max_header_list_size(u32::try_from(settings.most_header_bytes).unwrap_or(u32::MAX));
        Self {
            router,
            tls,
            protocol,
            first_request_within: settings.first_request_within,
            idle_for: settings.idle_for,
            stalled_for: settings.stalled_for,
            closing,
        }
    }

    /// Serves one connection to its end.
    pub(super) async fn run(&self, stream: TcpStream, peer: SocketAddr, place: Place) {
        // Answers are written whole; to wait for more would only delay them.
        let _ = stream.set_nodelay(true).is_ok();
        let stream = Stalling::new(stream, self.stalled_for);
        let Some(tls) = &self.tls else {
            return self.talk(stream, peer, place).await;
        };
        let handshake = tls.accept(stream);
        let handshake = tokio::select! {
            handshake = timeout(self.first_request_within, handshake) => handshake,
            () = place.sent_away() => return,
        };
        match handshake {
            Ok(Ok(stream)) => self.talk(stream, peer, place).await,
            Ok(Err(error)) => debug!(%peer, %error, "a TLS handshake failed"),
            Err(_) => debug!(%peer, "a TLS handshake took too long"),
        }
    }

    async fn talk<S>(&self, stream: S, peer: SocketAddr, place: Place)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let under_way = UnderWay::default();
        let place = Arc::new(place);
        let service = service_fn(|request: hyper::Request<Incoming>| {
            place.spoke();
            let counted = under_way.begin();
            let mut request: Request = request.map(Body::new);
            request.extensions_mut().insert(Peer(peer.ip()));
            request.extensions_mut().insert(Connected(place.clone()));
            let answer = self.router.clone().oneshot(request);
            async move { answer.await.map(|answer| counted.with(answer)) }
        });
        let connection = self
            .protocol
            .serve_connection_with_upgrades(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let mut closing = self.closing.clone();
        let mut is_told = false;
        loop {
            let patience = match under_way.asked() {
                0 => self.first_request_within,
                _ => self.idle_for,
            };
            let asked = under_way.asked();
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        debug!(%peer, %error, "a connection ended badly");
                    }
                    return;
                }
                () = place.sent_away() => return,
                _ = closing.wait_for(|closing| *closing), if !is_told => {
                    is_told = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = tokio::time::sleep(patience) => {
                    // It was never heard of, or all that it asked for is answered since then.
                    if under_way.count() == 0 && under_way.asked() == asked {
                        if asked == 0 || is_told {
                            return;
                        }
                        is_told = true;
                        connection.as_mut().graceful_shutdown();
                    }
                }
            }
        }
    }
}

/// How many requests of a connection are under way, and how many there have been.
#[derive(Debug, Clone, Default)]
struct UnderWay(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    now: AtomicUsize,
    ever: AtomicUsize,
}

impl UnderWay {
    fn begin(&self) -> Counted {
        self.0.now.fetch_add(1, Ordering::Relaxed);
        self.0.ever.fetch_add(1, Ordering::Relaxed);
        Counted(self.0.clone())
    }

    fn count(&self) -> usize {
        self.0.now.load(Ordering::Relaxed)
    }

    fn asked(&self) -> usize {
        self.0.ever.load(Ordering::Relaxed)
    }
}

/// One request that is under way until this is dropped.
struct Counted(Arc<Counts>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Counted {
    /// The answer, which is under way until its body has been sent.
    fn with(self, answer: Response) -> hyper::Response<CountedBody> {
        answer.map(|body| CountedBody {
            body,
            _counted: self,
        })
    }
}

struct CountedBody {
    body: Body,
    _counted: Counted,
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
