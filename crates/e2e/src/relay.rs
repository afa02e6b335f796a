//! A way to a server that a test can make slow, cut and mend: from a TCP port or a socket of its
//! own to another.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// The engine's own socket.
pub const ENGINE: &str = "/var/run/docker.sock";

/// One end.
#[derive(Debug, Clone)]
pub enum End {
    /// A port.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// See the module. Cut when it is dropped.
pub struct Relay {
    near: End,
    far: End,
    /// How many bytes may come from the far end, over all connections.
    allowed: Arc<watch::Sender<u64>>,
    passed: Arc<AtomicU64>,
    /// How often those connected until then were frozen.
    freezes: Arc<watch::Sender<u64>>,
    accepting: Option<JoinHandle<()>>,
}

impl Relay {
    /// From a port of its own on loopback.
    pub async fn over_tcp(far: End) -> Self {
        Self::new(End::Tcp(([127, 0, 0, 1], 0).into()), far).await
    }

    /// From this end to that.
    pub async fn new(near: End, far: End) -> Self {
        let mut relay = Self {
            near,
            far,
            allowed: Arc::new(watch::Sender::new(u64::MAX)),
            passed: Arc::default(),
            freezes: Arc::new(watch::Sender::new(0)),
            accepting: None,
        };
        relay.mend().await;
        relay
    }

    /// Where it listens, if that is a port.
    pub fn address(&self) -> SocketAddr {
        match &self.near {
            End::Tcp(address) => *address,
            End::Unix(path) => panic!("it listens at {}", path.display()),
        }
    }

    /// As `DOCKER_HOST` takes it.
    pub fn host(&self) -> String {
        match &self.near {
            End::Tcp(address) => format!("tcp://{address}"),
            End::Unix(path) => format!("unix://{}", path.display()),
        }
    }

    /// Lets so many bytes more come from the far end; what comes beyond waits.
    pub fn allow(&self, bytes: u64) {
        let passed = self.passed.load(Ordering::SeqCst);
        self.allowed.send_replace(passed + bytes);
    }

    /// Leaves every connection open and dead, as when a machine between vanishes. New ones are well.
    pub fn freeze(&self) {
        self.freezes.send_modify(|freezes| *freezes += 1);
    }

    /// Breaks every connection and takes no new one.
    pub async fn cut(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            drop(accepting.await);
        }
        if let End::Unix(path) = &self.near {
            std::fs::remove_file(path).unwrap();
        }
    }

    /// Takes connections again and holds nothing up.
    pub async fn mend(&mut self) {
        self.allowed.send_replace(u64::MAX);
        let listener = match &self.near {
            End::Tcp(address) => {
                let listener = TcpListener::bind(address).await.unwrap();
                self.near = End::Tcp(listener.local_addr().unwrap());
                Listener::Tcp(listener)
            }
            End::Unix(path) => Listener::Unix(UnixListener::bind(path).unwrap()),
        };
        let (far, allowed, passed) = (self.far.clone(), self.allowed.clone(), self.passed.clone());
        let freezes = self.freezes.clone();
        self.accepting = Some(tokio::spawn(accept(
            listener, far, allowed, passed, freezes,
        )));
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(accepting) = &self.accepting {
            accepting.abort();
        }
    }
}

/// Connections end with the task that runs this.
async fn accept(
    listener: Listener,
    far: End,
    allowed: Arc<watch::Sender<u64>>,
    passed: Arc<AtomicU64>,
    freezes: Arc<watch::Sender<u64>>,
) {
    let mut connections = JoinSet::new();
    loop {
        let near: Box<dyn Wire> = match &listener {
            Listener::Tcp(listener) => Box::new(listener.accept().await.unwrap().0),
            Listener::Unix(listener) => Box::new(listener.accept().await.unwrap().0),
        };
        while connections.try_join_next().is_some() {}
        let (far, allowed, passed) = (far.clone(), allowed.subscribe(), passed.clone());
        let mut freezes = freezes.subscribe();
        connections.spawn(async move {
            // Dropped with both its ends when the relay is cut, and not before.
            let mut connected = std::pin::pin!(connect(near, far, allowed, passed));
            tokio::select! {
                biased;
                _ = freezes.changed() => std::future::pending().await,
                () = &mut connected => {}
            }
        });
    }
}

async fn connect(
    near: Box<dyn Wire>,
    far: End,
    mut allowed: watch::Receiver<u64>,
    passed: Arc<AtomicU64>,
) {
    let far: Box<dyn Wire> = match far {
        End::Tcp(address) => match TcpStream::connect(address).await {
            Ok(stream) => Box::new(stream),
            Err(_) => return,
        },
        End::Unix(path) => Box::new(UnixStream::connect(path).await.unwrap()),
    };
    let (mut near_read, mut near_write) = tokio::io::split(near);
    let (mut far_read, mut far_write) = tokio::io::split(far);
    let there = async {
        // Either side may end it; so below.
        drop(tokio::io::copy(&mut near_read, &mut far_write).await);
        drop(far_write.shutdown().await);
    };
    let back = async {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(read @ 1..) = far_read.read(&mut buffer).await {
            let now = passed.fetch_add(read as u64, Ordering::SeqCst) + read as u64;
            let over = allowed.wait_for(|allowed| now <= *allowed).await.is_err();
            if over || near_write.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
        drop(near_write.shutdown().await);
    };
    tokio::join!(there, back);
}
