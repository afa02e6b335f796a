//! From a listening socket to requests, and to an end in order.

mod connection;
mod descriptors;
pub(crate) mod doorway;
mod stall;
mod taken;
mod tls;

use std::{io, sync::Arc, time::Duration};

use axum::Router;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tracing::{debug, warn};

use self::connection::Connections;
pub use self::{
    descriptors::places,
    doorway::{Doorway, Place, UnderWay},
    tls::{Tls, TlsError, TlsFiles},
};
use crate::Settings;

/// After an accept that failed for want of something that others hold.
pub const PAUSE: Duration = Duration::from_millis(50);
/// Of what the system gives of file descriptors. gRPC takes a share besides, and the rest is for the
/// store, logs and workers.
const SIXTEENTHS: usize = 9;

/// Serves until `closing` says so, then lets what is under way come to its end.
///
/// What goes on for as long as a task does ends by itself when it is told, too: whoever made the
/// router gave it the same [`watch`].
pub async fn serve(
    listener: TcpListener,
    router: Router,
    tls: Option<Tls>,
    settings: &Settings,
    mut closing: watch::Receiver<bool>,
) {
    let most = places(settings.most_connections, SIXTEENTHS);
    let doorway = Doorway::new(most, settings.most_connections_of_address);
    let connections = Arc::new(Connections::new(router, tls, settings, closing.clone()));
    let mut serving = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            // An error means that nobody is left who could say it.
            _ = closing.wait_for(|closing| *closing) => break,
            Some(_) = serving.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => match doorway.enter(peer.ip()) {
                Some(place) => {
                    let connections = connections.clone();
                    serving.spawn(async move { connections.run(stream, peer, place).await });
                }
                None => {
                    debug!(%peer, "turned away: all connections, or all of one address, are in use");
                }
            },
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                warn!(%error, "no connection can be taken just now");
                // It is file descriptors, mostly: whoever asks for nothing gives one back.
                doorway.send_idle_away();
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    while serving.join_next().await.is_some() {}
}

/// Whether a connection failed before it was taken, which says nothing of the next.
#[must_use]
pub fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
    )
}
