//! The way to the master: found, registered at, kept alive with heartbeats, and found again for as
//! long as it takes.

mod connection;
mod keeper;

use cloudai_model::ClusterId;
use tokio::sync::{mpsc, oneshot, watch};

pub(crate) use connection::{Bearer, Connected, TokenError, call, endpoint};
pub(crate) use keeper::{Keeper, KeeperParts, hello};

/// The master, when this worker is registered at one. Cheap to clone.
#[derive(Clone)]
pub(crate) struct MasterLink {
    current: watch::Receiver<Option<Connected>>,
    cluster: watch::Receiver<Option<ClusterId>>,
    contacts: mpsc::Sender<String>,
    farewells: mpsc::Sender<oneshot::Sender<()>>,
}

impl MasterLink {
    /// The master, as soon as this worker is registered.
    pub(crate) async fn ready(&self) -> Connected {
        let mut current = self.current.clone();
        loop {
            if let Some(master) = current.borrow_and_update().clone() {
                return master;
            }
            if current.changed().await.is_err() {
                // The keeper ends with the program only.
                std::future::pending::<()>().await;
            }
        }
    }

    /// The master, if this worker is registered.
    pub(crate) fn now(&self) -> Option<Connected> {
        self.current.borrow().clone()
    }

    /// The cluster that this worker belongs to, to be told once it was registered.
    pub(crate) fn watch_cluster(&self) -> watch::Receiver<Option<ClusterId>> {
        self.cluster.clone()
    }

    /// A master has called: this worker shall register there, unless it is.
    pub(crate) fn contact(&self, address: String) {
        // A call that comes on top of several others under way says nothing new.
        let _ = self.contacts.try_send(address).is_ok();
    }

    /// Sends a heartbeat now, so that the master knows before this worker falls silent that it
    /// takes nothing new; returns when the master has heard. Without a master it does nothing.
    pub(crate) async fn say_farewell(&self) {
        if self.now().is_none() {
            return;
        }
        let (said, heard) = oneshot::channel();
        if self.farewells.send(said).await.is_ok() {
            // A master that is lost just now finds out by itself.
            let _ = heard.await.is_ok();
        }
    }
}
