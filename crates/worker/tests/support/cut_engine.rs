//! A way to the engine that can be cut: a socket that passes on to the real one, or to nobody.

use std::path::{Path, PathBuf};

use tokio::{
    io::copy_bidirectional,
    net::{UnixListener, UnixStream},
    runtime::Runtime,
};

const ENGINE: &str = "/var/run/docker.sock";

pub struct CutEngine {
    socket: PathBuf,
    runtime: Option<Runtime>,
}

impl CutEngine {
    pub async fn new(folder: &Path) -> Self {
        let mut engine = Self {
            socket: folder.join("docker.sock"),
            runtime: None,
        };
        engine.mend().await;
        engine
    }

    /// As `-docker-host` takes it.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Every connection breaks, and no new one is taken.
    pub fn cut(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        std::fs::remove_file(&self.socket).unwrap();
    }

    /// Connections are passed on again.
    pub async fn mend(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let socket = self.socket.clone();
        let listening = runtime.spawn(async move { UnixListener::bind(socket).unwrap() });
        let listener = listening.await.unwrap();
        runtime.spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut far = UnixStream::connect(ENGINE).await.unwrap();
                    // Either side may end it.
                    drop(copy_bidirectional(&mut near, &mut far).await);
                });
            }
        });
        self.runtime = Some(runtime);
    }
}

impl Drop for CutEngine {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
