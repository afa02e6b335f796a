//! A way to a server that a test can make slow or long, cut and mend: from a TCP port or a socket of its
//! own to another.

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream},
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep_until},
};

use crate::wait::Deadline;

/// The most bytes that are taken from one end at once.
const PIECE: usize = 16 * 1024;
/// The most pieces that are on a long way at a time, in one direction of one connection.
const ON_THE_WAY: usize = 64;

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
    /// The address that the far end sees as its caller's, if it matters.
    caller: Option<IpAddr>,
    /// How many bytes may come from the far end, over all connections.
    allowed: Arc<watch::Sender<u64>>,
    passed: Arc<AtomicU64>,
    /// How often those connected until then were frozen.
    freezes: Arc<watch::Sender<u64>>,
    /// How long each piece is on its way.
    delay: Arc<watch::Sender<Duration>>,
    accepting: Option<JoinHandle<()>>,
}

/// What a connection goes by.
#[derive(Clone)]
struct Course {
    far: End,
    caller: Option<IpAddr>,
    allowed: watch::Receiver<u64>,
    passed: Arc<AtomicU64>,
    freezes: Arc<watch::Sender<u64>>,
    delay: watch::Receiver<Duration>,
}

impl Relay {
    /// From a port of its own on loopback.
    pub async fn over_tcp(far: End) -> Self {
        Self::new(End::Tcp(([127, 0, 0, 1], 0).into()), far).await
    }

    /// From this end to that.
    pub async fn new(near: End, far: End) -> Self {
        Self::calling_from(None, near, far).await
    }

    /// The same, that calls the far end, a port, from this address of the machine's.
    pub async fn calling_from(caller: Option<IpAddr>, near: End, far: End) -> Self {
        let mut relay = Self {
            near,
            far,
            caller,
            allowed: Arc::new(watch::Sender::new(u64::MAX)),
            passed: Arc::default(),
            freezes: Arc::new(watch::Sender::new(0)),
            delay: Arc::new(watch::Sender::new(Duration::ZERO)),
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

    /// Has every byte from now on take so long, in either direction, as on a long line. Their order
    /// stays.
    pub fn delay(&self, each: Duration) {
        self.delay.send_replace(each);
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
                let listener = bind(*address).await;
                self.near = End::Tcp(listener.local_addr().unwrap());
                Listener::Tcp(listener)
            }
            End::Unix(path) => Listener::Unix(UnixListener::bind(path).unwrap()),
        };
        let course = Course {
            far: self.far.clone(),
            caller: self.caller,
            allowed: self.allowed.subscribe(),
            passed: self.passed.clone(),
            freezes: self.freezes.clone(),
            delay: self.delay.subscribe(),
        };
        self.accepting = Some(tokio::spawn(accept(listener, course)));
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(accepting) = &self.accepting {
            accepting.abort();
        }
    }
}

/// A program that is being started has what is open here for a moment, an earlier listener too.
async fn bind(address: SocketAddr) -> TcpListener {
    let deadline = Deadline::new("the port of a relay to be free");
    loop {
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == ErrorKind::AddrInUse => deadline.again().await,
            bound => return bound.expect("a port of this machine can be listened at"),
        }
    }
}

/// Connections end with the task that runs this.
async fn accept(listener: Listener, course: Course) {
    let mut connections = JoinSet::new();
    loop {
        let near: Box<dyn Wire> = match &listener {
            Listener::Tcp(listener) => Box::new(listener.accept().await.unwrap().0),
            Listener::Unix(listener) => Box::new(listener.accept().await.unwrap().0),
        };
        while connections.try_join_next().is_some() {}
        let course = course.clone();
        let mut freezes = course.freezes.subscribe();
        connections.spawn(async move {
            // Dropped with both its ends when the relay is cut, and not before.
            let mut connected = std::pin::pin!(connect(near, course));
            tokio::select! {
                biased;
                _ = freezes.changed() => std::future::pending().await,
                () = &mut connected => {}
            }
        });
    }
}

async fn connect(near: Box<dyn Wire>, course: Course) {
    let far: Box<dyn Wire> = match course.far {
        End::Tcp(address) => match call(course.caller, address).await {
            Ok(stream) => Box::new(stream),
            Err(_) => return,
        },
        End::Unix(path) => Box::new(UnixStream::connect(path).await.unwrap()),
    };
    let (near_read, near_write) = tokio::io::split(near);
    let (far_read, far_write) = tokio::io::split(far);
    let gate = Gate {
        allowed: course.allowed,
        passed: course.passed,
    };
    let there = carry(near_read, far_write, course.delay.clone(), None);
    let back = carry(far_read, near_write, course.delay, Some(gate));
    tokio::join!(there, back);
}

async fn call(caller: Option<IpAddr>, address: SocketAddr) -> std::io::Result<TcpStream> {
    let Some(caller) = caller else {
        return TcpStream::connect(address).await;
    };
    let socket = TcpSocket::new_v4()?;
    socket.bind((caller, 0).into())?;
    socket.connect(address).await
}

/// What holds bytes up at an end.
struct Gate {
    allowed: watch::Receiver<u64>,
    passed: Arc<AtomicU64>,
}

impl Gate {
    /// Waits until so many bytes more may pass; whether they ever may.
    async fn opens(&mut self, bytes: usize) -> bool {
        let bytes = bytes as u64;
        let now = self.passed.fetch_add(bytes, Ordering::SeqCst) + bytes;
        self.allowed
            .wait_for(|allowed| now <= *allowed)
            .await
            .is_ok()
    }
}

/// Carries one direction of a connection until either side ends it.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    delay: watch::Receiver<Duration>,
    mut gate: Option<Gate>,
) {
    let (sender, mut on_the_way) = mpsc::channel::<(Instant, Bytes)>(ON_THE_WAY);
    let reading = async move {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(PIECE);
            let Ok(read @ 1..) = from.read_buf(&mut buffer).await else {
                return;
            };
            if let Some(gate) = &mut gate
                && !gate.opens(read).await
            {
                return;
            }
            let due = Instant::now() + *delay.borrow();
            if sender.send((due, buffer.split().freeze())).await.is_err() {
                return;
            }
        }
    };
    let writing = async move {
        while let Some((due, piece)) = on_the_way.recv().await {
            // A timer is no finer than a millisecond, which is much for what is due at once.
            if due > Instant::now() {
                sleep_until(due).await;
            }
            if to.write_all(&piece).await.is_err() {
                break;
            }
        }
        drop(to.shutdown().await);
    };
    tokio::join!(reading, writing);
}
