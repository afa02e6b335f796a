//! A way to the engine that can be cut, as by a restart of the engine.

use std::{path::PathBuf, sync::Arc};

use tokio::{
    net::{UnixListener, UnixStream},
    sync::watch,
};

/// A socket that passes everything on to the engine's, until it is cut.
pub struct Proxy {
    folder: tempfile::TempDir,
    open: Arc<watch::Sender<bool>>,
    freezes: Arc<watch::Sender<u64>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Proxy {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("docker.sock")).unwrap();
        let open = Arc::new(watch::Sender::new(true));
        let state = Arc::clone(&open);
        let freezes = Arc::new(watch::Sender::new(0));
        let frozen = Arc::clone(&freezes);
        let accepting = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (mut state, mut frozen) = (state.subscribe(), frozen.subscribe());
                if !*state.borrow_and_update() {
                    continue;
                }
                tokio::spawn(async move {
                    let mut client = client;
                    let mut engine = UnixStream::connect(engine_socket()).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut engine) => {}
                        _ = state.changed() => {}
                        // Both ends stay open.
                        _ = frozen.changed() => drop(state.changed().await),
                    }
                });
            }
        });
        Self {
            folder,
            open,
            freezes,
            accepting,
        }
    }

    /// Its address, as for `DOCKER_HOST`.
    pub fn host(&self) -> String {
        format!(
            "unix://{}",
            self.folder.path().join("docker.sock").display()
        )
    }

    /// Breaks every connection, and every new one until [`Self::mend`].
    pub fn cut(&self) {
        self.open.send_replace(false);
    }

    pub fn mend(&self) {
        self.open.send_replace(true);
    }

    /// Leaves every connection open and dead, until it is [`cut`](Self::cut). New ones are well.
    pub fn freeze(&self) {
        self.freezes.send_modify(|freezes| *freezes += 1);
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.open.receiver_count()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn engine_socket() -> PathBuf {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    let path = host
        .strip_prefix("unix://")
        .unwrap_or("/var/run/docker.sock");
    PathBuf::from(path)
}
