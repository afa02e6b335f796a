//! Somebody who asks for little all the time, while others ask for much: how long they wait, beside an
//! echo between two threads, which tells what of it is the machine's own doing.
//!
//! Both run on a thread of their own, so that what the benchmark does besides doesn't hold them up. Who
//! asks late, since the answer before took longer than the pause, waits from when they were due.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    thread::{self, JoinHandle},
    time::Duration,
};

use cloudai_tests::{
    measuring::percentile,
    web::{Ask, Connection},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep_until},
};

/// From one request to the next.
const PAUSE: Duration = Duration::from_millis(50);
/// How long the idle master is asked.
const IDLE: Duration = Duration::from_secs(5);
/// Bytes that are echoed: about those of a request.
const ECHO: usize = 300;

/// See the module.
pub(crate) struct Probe {
    stop: watch::Sender<bool>,
    thread: JoinHandle<Waits>,
}

/// How long each answer took, sorted.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    requests: Vec<Duration>,
    echoes: Vec<Duration>,
}

impl Probe {
    /// Begins to ask.
    pub(crate) fn start(at: &str, ask: Ask) -> Self {
        let (stop, stopped) = watch::channel(false);
        let at = at.to_owned();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async {
                let requests = requests(&at, &ask, stopped.clone());
                let echoes = echoes(stopped.clone());
                let (mut requests, mut echoes) = tokio::join!(requests, echoes);
                requests.sort_unstable();
                echoes.sort_unstable();
                Waits { requests, echoes }
            })
        });
        Self { stop, thread }
    }

    /// What it was told until now.
    pub(crate) async fn end(self) -> Waits {
        let Self { stop, thread } = self;
        stop.send_replace(true);
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        joined.unwrap().expect("the probe was answered")
    }

    /// What an idle master is asked, for a while.
    pub(crate) async fn idle(at: &str, ask: Ask) -> Waits {
        let probe = Self::start(at, ask);
        tokio::time::sleep(IDLE).await;
        probe.end().await
    }
}

impl Waits {
    /// The head of a table of them.
    pub(crate) fn print_head() {
        println!(
            "{:<34}{:>10}{:>10}{:>14}{:>10}",
            "another's small request, in ms", "p50", "p99", "bare echo p50", "p99"
        );
    }

    /// A row of it.
    pub(crate) fn print(&self, when: &str) {
        let ms = |waits: &[Duration], percent| percentile(waits, percent).as_secs_f64() * 1e3;
        println!(
            "{when:<34}{:>10.1}{:>10.1}{:>14.2}{:>10.2}",
            ms(&self.requests, 50),
            ms(&self.requests, 99),
            ms(&self.echoes, 50),
            ms(&self.echoes, 99)
        );
    }
}

async fn requests(at: &str, ask: &Ask, stopped: watch::Receiver<bool>) -> Vec<Duration> {
    let mut connection = Connection::open_to(at).await;
    timed(stopped, async || {
        connection.ask(ask).await.expect(200);
    })
    .await
}

async fn echoes(stopped: watch::Receiver<bool>) -> Vec<Duration> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let echoing = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        let mut bytes = [0; ECHO];
        // Until the other side goes.
        while stream.read_exact(&mut bytes).is_ok() && stream.write_all(&bytes).is_ok() {}
    });
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let waits = timed(stopped, async || {
        let mut bytes = [7; ECHO];
        stream.write_all(&bytes).await.unwrap();
        stream.read_exact(&mut bytes).await.unwrap();
    })
    .await;
    drop(stream);
    echoing.join().unwrap();
    waits
}

async fn timed(stopped: watch::Receiver<bool>, mut once: impl AsyncFnMut()) -> Vec<Duration> {
    let mut waits = Vec::new();
    let mut due = Instant::now();
    while !*stopped.borrow() {
        let now = Instant::now();
        let began = match now < due {
            true => {
                sleep_until(due).await;
                Instant::now()
            }
            false => due,
        };
        once().await;
        waits.push(began.elapsed());
        due += PAUSE;
    }
    waits
}
