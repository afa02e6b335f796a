//! From a listening socket to connections: no more than there are places, and none that says nothing.
//!
//! A connection without a call under way goes when its place is needed, who has had none for longest
//! first; so a worker, which calls every few seconds, outstays whoever is silent.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use cloudai_http::{Doorway, PAUSE, Place, is_of_one_connection};
use futures_util::Stream;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tonic::transport::server::{Connected, TcpConnectInfo};
use tracing::{debug, warn};

/// So long a new connection has for its first call.
const FIRST_CALL_WITHIN: Duration = Duration::from_secs(30);

/// The connections that have found a place. It never ends and is never an error.
pub(super) fn arrivals(
    listener: TcpListener,
    doorway: Doorway,
) -> impl Stream<Item = io::Result<Connection>> {
    futures_util::stream::unfold((listener, doorway), async |(listener, doorway)| {
        let connection = next(&listener, &doorway).await;
        Some((Ok(connection), (listener, doorway)))
    })
}

async fn next(listener: &TcpListener, doorway: &Doorway) -> Connection {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => match doorway.enter(peer.ip()) {
                Some(place) => return Connection::new(stream, place),
                None => {
                    debug!(%peer, "turned away: all connections, or all of one address, are in use");
                }
            },
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                warn!(%error, "no gRPC connection can be taken just now");
                // It is file descriptors, mostly: whoever asks for nothing gives one back.
                doorway.send_idle_away();
                sleep(PAUSE).await;
            }
        }
    }
}

/// A connection that has a place, until it loses it.
pub(super) struct Connection {
    stream: TcpStream,
    place: Arc<Place>,
    lost: Pin<Box<dyn Future<Output = ()> + Send>>,
    is_lost: bool,
}

impl Connection {
    fn new(stream: TcpStream, place: Place) -> Self {
        // Answers are written whole; to wait for more would only delay them.
        let _ = stream.set_nodelay(true).is_ok();
        let place = Arc::new(place);
        let lost = Box::pin(lost(place.clone()));
        Self {
            stream,
            place,
            lost,
            is_lost: false,
        }
    }

    /// Fails once the place is lost. What is polled here wakes whoever reads or writes.
    fn holds(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        self.is_lost = self.is_lost || self.lost.as_mut().poll(cx).is_ready();
        match self.is_lost {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => Ok(()),
        }
    }
}

/// Resolves when the place is needed for somebody else, or nothing was called for within the time.
async fn lost(place: Arc<Place>) {
    let silent = async {
        sleep(FIRST_CALL_WITHIN).await;
        let (_, called) = place.counts();
        if called > 0 {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = place.sent_away() => {}
        () = silent => {}
    }
}

/// Where a call comes from, and the place of its connection.
#[derive(Clone)]
pub(super) struct Guest {
    pub(super) tcp: TcpConnectInfo,
    pub(super) place: Arc<Place>,
}

impl Connected for Connection {
    type ConnectInfo = Guest;

    fn connect_info(&self) -> Guest {
        Guest {
            tcp: self.stream.connect_info(),
            place: self.place.clone(),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.holds(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.holds(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.holds(cx)?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use tokio::{io::AsyncReadExt as _, time::Instant};

    use super::*;

    /// The server's side of a new connection, and the client's.
    async fn met(
        arrivals: &mut (impl Stream<Item = io::Result<Connection>> + Unpin),
        at: std::net::SocketAddr,
    ) -> (Connection, TcpStream) {
        let (here, there) = tokio::join!(arrivals.next(), TcpStream::connect(at));
        (here.unwrap().unwrap(), there.unwrap())
    }

    #[tokio::test]
    async fn who_is_silent_goes_when_their_place_is_needed_and_who_calls_stays() {
        // Given two places, of one who calls and one who doesn't,
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let mut arrivals = std::pin::pin!(arrivals(listener, Doorway::new(2, 2)));
        let (caller, _caller) = met(&mut arrivals, at).await;
        let guest = caller.connect_info();
        let call = guest.place.begin();
        let (mut silent, _silent) = met(&mut arrivals, at).await;

        // when a third comes,
        let (third, _third) = met(&mut arrivals, at).await;

        // then the silent one loses theirs,
        let lost = silent.read(&mut [0]).await.unwrap_err();
        assert_eq!(lost.kind(), io::ErrorKind::TimedOut);
        // and the caller, and who has come, don't.
        for mut stays in [caller, third] {
            let mut byte = [0];
            let read = stays.read(&mut byte);
            let read = tokio::time::timeout(Duration::from_millis(50), read).await;
            assert!(read.is_err(), "{read:?}");
        }
        drop(call);
    }

    #[tokio::test(start_paused = true)]
    async fn who_calls_for_nothing_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let mut arrivals = std::pin::pin!(arrivals(listener, Doorway::new(2, 2)));
        let (mut here, _there) = met(&mut arrivals, at).await;
        let begun = Instant::now();
        let lost = here.read(&mut [0]).await.unwrap_err();
        assert_eq!(lost.kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() >= FIRST_CALL_WITHIN);
    }
}
