//! One connection: its handshake, its requests, and when it is given up.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use axum::{Router, body::Body, extract::Request};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::TcpStream,
    sync::watch,
    time::{Sleep, sleep},
};
use tower::ServiceExt as _;
use tracing::debug;

use super::{doorway::Place, stall::Stalling, taken::Answers, tls::Tls};
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
        // One for both: the handshake, and the first request.
        let mut first_request = pin!(sleep(self.first_request_within));
        let Some(tls) = &self.tls else {
            return self.talk(stream, peer, place, first_request).await;
        };
        let handshake = tokio::select! {
            handshake = tls.accept(stream) => handshake,
            () = place.sent_away() => return,
            () = first_request.as_mut() => {
                return debug!(%peer, "a TLS handshake took too long");
            }
        };
        match handshake {
            Ok(stream) => self.talk(stream, peer, place, first_request).await,
            Err(error) => debug!(%peer, %error, "a TLS handshake failed"),
        }
    }

    /// Until `first_request` there must be one.
    async fn talk<S>(
        &self,
        stream: S,
        peer: SocketAddr,
        place: Place,
        mut first_request: Pin<&mut Sleep>,
    ) where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let (place, answers) = (Arc::new(place), Answers::default());
        let service = service_fn(|request: hyper::Request<Incoming>| {
            // Whatever comes of the request holds this, a WebSocket, too.
            let under_way = Arc::new(place.begin());
            let mut request: Request = request.map(Body::new);
            request.extensions_mut().insert(Peer(peer.ip()));
            let connected = Connected::new(under_way.clone());
            request.extensions_mut().insert(connected);
            let answer = self.router.clone().oneshot(request);
            let answers = answers.clone();
            async move {
                let answer = answer.await?;
                Ok::<_, Infallible>(answer.map(|body| answers.body(body, under_way)))
            }
        });
        let connection = self
            .protocol
            .serve_connection_with_upgrades(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let mut closing = self.closing.clone();
        let mut is_told = false;
        loop {
            let (_, asked) = place.counts();
            let patience = async {
                match asked {
                    0 => first_request.as_mut().await,
                    _ => sleep(self.idle_for).await,
                }
            };
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        debug!(%peer, %error, "a connection ended badly");
                    }
                    return;
                }
                () = place.sent_away() => return,
                () = answers.stalled(self.stalled_for) => {
                    debug!(%peer, "given up: an answer is not taken");
                    return;
                }
                _ = closing.wait_for(|closing| *closing), if !is_told => {
                    is_told = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = patience => {
                    // It was never heard of, or all that it asked for is answered since then.
                    if place.counts() == (0, asked) {
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
