//! One WebSocket from its beginning to its end: what comes from its source is sent as the other side
//! takes it, and whoever takes nothing, says nothing or says the wrong thing is let go.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use cloudai_metrics::Dropped;
use tokio::{
    sync::watch,
    time::{Instant, interval_at, timeout},
};

/// Signs of life that are taken between two of ours. Each is read and answered: whoever sends nothing
/// else would have that done for nothing.
const MOST_SIGNS: u32 = 1000;
/// How long the last word may take to be sent.
const LAST_WORD_WITHIN: Duration = Duration::from_secs(2);

/// Where messages come from.
pub(super) trait Source: Send {
    /// The next message, when there is one; why there is none any more. Dropping the future loses
    /// nothing.
    fn next(&mut self) -> impl Future<Output = Result<Utf8Bytes, Ended>> + Send;
}

/// Whether whoever watches still may.
pub(super) trait Permit: Send {
    /// `false`: not any more.
    fn holds(&self) -> bool;
}

/// Why a WebSocket is closed. Each has a code that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// There is no more.
    Complete,
    /// The master is shutting down.
    ShuttingDown,
    /// It spoke, and nothing is taken here.
    Spoke,
    /// What it sent breaks the protocol.
    Protocol,
    /// What it sent is too large.
    TooLarge,
    /// What is watched can't be read.
    Failed,
    /// Its token or key has ended.
    Unauthenticated,
    /// What was watched is there no more.
    Gone,
    /// It gave no sign of life.
    Silent,
    /// It took nothing.
    Slow,
}

impl Ended {
    /// The code, of RFC 6455 or of our own (4000 and above, by the status of HTTP that says the
    /// same), and the words.
    pub(super) fn code(self) -> (u16, &'static str) {
        match self {
            Self::Complete => (1000, "that is all"),
            Self::ShuttingDown => (1001, "the master is shutting down"),
            Self::Protocol => (1002, "a frame can't be read"),
            Self::Spoke => (1008, "nothing is taken here"),
            Self::TooLarge => (1009, "a message is too large"),
            Self::Failed => (1011, "it can't be read; the master's log says more"),
            Self::Unauthenticated => (4401, "the token or key has ended"),
            Self::Gone => (4404, "it is there no more"),
            Self::Silent => (4408, "no pong came"),
            Self::Slow => (4413, "what was sent was not taken"),
        }
    }

    /// As what it is counted; `None`: it was nobody's fault.
    fn dropped(self) -> Option<Dropped> {
        match self {
            Self::Slow => Some(Dropped::Slow),
            Self::Silent => Some(Dropped::Silent),
            Self::Spoke | Self::Protocol | Self::TooLarge => Some(Dropped::Broken),
            Self::Complete
            | Self::ShuttingDown
            | Self::Failed
            | Self::Unauthenticated
            | Self::Gone => None,
        }
    }
}

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patience {
    /// How often a sign of life is asked for; without one until the next it is over.
    pub(super) ping_every: Duration,
    /// How long a message may wait to be taken.
    pub(super) stalled_for: Duration,
}

/// Sends what `source` gives until one side has enough. What came of it: `None` if the other side
/// went.
pub(super) async fn run(
    mut socket: WebSocket,
    mut source: impl Source,
    permit: impl Permit,
    patience: Patience,
    mut closing: watch::Receiver<bool>,
) -> Option<Dropped> {
    let ended = talk(&mut socket, &mut source, &permit, patience, &mut closing).await?;
    let (code, reason) = ended.code();
    let word = CloseFrame {
        code,
        reason: Utf8Bytes::from_static(reason),
    };
    // Who takes nothing doesn't take this either.
    let said = timeout(LAST_WORD_WITHIN, async {
        if socket.send(Message::Close(Some(word))).await.is_ok() {
            // Its own last word, so that ours arrives before the connection goes.
            while let Some(Ok(_)) = socket.recv().await {}
        }
    });
    let _ = said.await.is_ok();
    ended.dropped()
}

async fn talk(
    socket: &mut WebSocket,
    source: &mut impl Source,
    permit: &impl Permit,
    patience: Patience,
    closing: &mut watch::Receiver<bool>,
) -> Option<Ended> {
    let mut ping = interval_at(Instant::now() + patience.ping_every, patience.ping_every);
    let (mut has_spoken, mut signs) = (true, 0);
    loop {
        let message = tokio::select! {
            biased;
            // An error means that nobody is left who could say it.
            _ = closing.wait_for(|closing| *closing) => return Some(Ended::ShuttingDown),
            incoming = socket.recv() => match incoming {
                None | Some(Ok(Message::Close(_))) => return None,
                // Any sign is a sign of life; pings are answered below this.
                Some(Ok(Message::Pong(_) | Message::Ping(_))) => {
                    has_spoken = true;
                    signs += 1;
                    if signs > MOST_SIGNS {
                        return Some(Ended::Spoke);
                    }
                    continue;
                }
                Some(Ok(Message::Text(_) | Message::Binary(_))) => return Some(Ended::Spoke),
                Some(Err(error)) => return broken(&error),
            },
            _ = ping.tick() => {
                if !has_spoken {
                    return Some(Ended::Silent);
                }
                if !permit.holds() {
                    return Some(Ended::Unauthenticated);
                }
                (has_spoken, signs) = (false, 0);
                Message::Ping(bytes::Bytes::new())
            }
            message = source.next() => match message {
                Ok(text) => Message::Text(text),
                Err(ended) => return Some(ended),
            },
        };
        match timeout(patience.stalled_for, socket.send(message)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return None,
            Err(_) => return Some(Ended::Slow),
        }
    }
}

/// What a frame that can't be read comes to; `None`: the connection is gone.
fn broken(error: &axum::Error) -> Option<Ended> {
    use tokio_tungstenite::tungstenite::{Error, error::ProtocolError};
    let cause = std::error::Error::source(error)?;
    match cause.downcast_ref::<Error>()? {
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        Error::Capacity(_) => Some(Ended::TooLarge),
        Error::Protocol(_) | Error::Utf8(_) => Some(Ended::Protocol),
        _ => None,
    }
}
