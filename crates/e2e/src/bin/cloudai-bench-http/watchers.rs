//! A thousand WebSockets that watch the telemetry of a hundred workers.
//!
//! The workers are played: a hundred real ones don't fit in one machine beside what is measured. They
//! register and send heartbeats over gRPC as real ones do, five times as often, and each heartbeat has
//! a figure of its own by which it is found again in what watchers are told.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use cloudai_proto::cluster::{Heartbeat, WorkerInfo};
use cloudai_tests::{
    client::Client,
    measuring::{percentile, processor_time},
    wait::until,
    web::{PATIENCE, Socket, socket},
};
use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    probe::{Probe, Waits},
    site::{Site, print_memory},
};

const WATCHERS: usize = 1000;
const WORKERS: usize = 100;
const BEAT: Duration = Duration::from_secs(1);
/// How long watchers are listened to.
const SPAN: Duration = Duration::from_secs(20);
/// Figures that differ are as many as hundredths of a percent: more than beats.
const FIGURES: u32 = 10_000;
const FLAGS: [&str; 6] = [
    "-websockets",
    "2000",
    "-user-websockets",
    "2000",
    "-http-connections",
    "4000",
];

/// When each heartbeat was sent, by worker and figure.
type Sent = Arc<Mutex<BTreeMap<(String, u32), Instant>>>;

/// What one watcher was told.
#[derive(Default)]
struct Told {
    /// The `at` of each message, which names the picture that it is of, and when it came.
    came: Vec<(String, Instant)>,
    bytes: usize,
    /// What the first watcher was told, whole.
    kept: Vec<String>,
}

/// Measures and prints.
pub(crate) async fn run() {
    let mut site = Site::start(&FLAGS).await;
    let small = site.small_request().await;
    let (stop, stopped) = watch::channel(false);
    let sent = Sent::default();
    let mut workers = JoinSet::new();
    for number in 0..WORKERS {
        let name = format!("played-{number}");
        // Nobody is there to be called: they register by themselves.
        let port = u16::try_from(number + 1).expect("a few");
        site.cluster.register_at(&name, port).await;
        let client = site.cluster.client().await;
        workers.spawn(beat(client, name, number, sent.clone(), stopped.clone()));
    }
    until("all workers to be active", async || {
        let workers = site.cluster.json("workers").await;
        let all = workers.as_array()?.iter();
        let active = all.filter(|worker| worker["status"] == "active").count();
        (active == WORKERS).then_some(())
    })
    .await;
    let before = site.memory_before();
    let idle = Probe::idle(site.at(), small.clone()).await;

    let mut sockets = Vec::with_capacity(WATCHERS);
    for _ in 0..WATCHERS {
        let opened = socket(site.at(), "/ws/telemetry", &site.admin).await;
        sockets.push(opened.expect("there is room for all"));
    }
    let probe = Probe::start(site.at(), small);
    let (processor, began) = (processor_time(site.pid()), Instant::now());
    let mut watching = JoinSet::new();
    for (number, socket) in sockets.into_iter().enumerate() {
        watching.spawn(listen(socket, began + SPAN, number == 0));
    }
    let told = watching.join_all().await;
    let took = began.elapsed();
    let processor = processor_time(site.pid()).saturating_sub(processor);
    let waits = probe.end().await;
    stop.send_replace(true);
    workers.join_all().await;

    let sent = std::mem::take(&mut *sent.lock().unwrap());
    let (delays, missed) = delays(&told, &sent, began);
    let messages: usize = told.iter().map(|told| told.came.len()).sum();
    let bytes: usize = told.iter().map(|told| told.bytes).sum();
    println!(
        "\n{WATCHERS} WebSockets that watch {WORKERS} played workers with a heartbeat every {} s each, for {} s",
        BEAT.as_secs(),
        SPAN.as_secs()
    );
    println!(
        "{:<34}{:>10.0} ms p50{:>8.0} ms p99 (a picture every 500 ms at most)",
        "from heartbeat to watcher",
        percentile(&delays, 50).as_secs_f64() * 1e3,
        percentile(&delays, 99).as_secs_f64() * 1e3
    );
    println!(
        "{:<34}{:>10.0} messages/s, {:.1} MB/s, {missed} pictures skipped by somebody slow",
        "sent",
        messages as f64 / took.as_secs_f64(),
        bytes as f64 / 1e6 / took.as_secs_f64()
    );
    println!(
        "{:<34}{:>10.2} cores",
        "processor time of the master",
        processor.as_secs_f64() / took.as_secs_f64()
    );
    print_memory(&site, before);
    Waits::print_head();
    idle.print("workers alone");
    waits.print("while all watch");
    site.kill().await;
}

/// A worker that does nothing but register and say that it is there.
async fn beat(
    client: Client,
    name: String,
    number: usize,
    sent: Sent,
    mut stopped: watch::Receiver<bool>,
) {
    let mut client = client.0;
    let incarnation = format!("{name}-1");
    let info = WorkerInfo {
        worker_id: name.clone(),
        total_cpu: 4.0,
        total_memory: 8.0,
        total_storage: 20.0,
        version: "1".to_owned(),
        incarnation: incarnation.clone(),
        // None that the task of the probe could be given to.
        ..WorkerInfo::default()
    };
    client.register_worker(info).await.unwrap();
    // Not all in the same moment.
    let first = Instant::now() + BEAT.mul_f64(number as f64 / WORKERS as f64);
    let mut beats = interval_at(first, BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for figure in (0..FIGURES).cycle() {
        tokio::select! {
            _ = beats.tick() => {}
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
        let heartbeat = Heartbeat {
            worker_id: name.clone(),
            incarnation: incarnation.clone(),
            cpu_usage: f64::from(figure) / 100.0,
            memory_usage: 1000.0,
            storage_usage: 1.0,
            holds_complete: true,
            unwell: "it is played".to_owned(),
            ..Heartbeat::default()
        };
        let key = (name.clone(), figure);
        sent.lock().unwrap().insert(key, Instant::now());
        client.send_heartbeat(heartbeat).await.unwrap();
    }
}

/// Takes what comes until then.
async fn listen(mut socket: Socket, end: Instant, keep: bool) -> Told {
    let mut told = Told::default();
    while Instant::now() < end {
        let message = timeout(PATIENCE, socket.next()).await;
        let message = message.expect("there is news all the time");
        let Message::Text(text) = message.expect("it goes on").unwrap() else {
            continue;
        };
        let at = text.split_once(r#""at":""#).map(|(_, rest)| rest);
        let at = at.and_then(|rest| rest.split('"').next()).unwrap();
        told.came.push((at.to_owned(), Instant::now()));
        told.bytes += text.len();
        if keep {
            told.kept.push(text.to_string());
        }
    }
    told
}

/// From each heartbeat that was sent meanwhile to each watcher, sorted; and how many pictures some
/// watcher was not sent.
fn delays(
    told: &[Told],
    sent: &BTreeMap<(String, u32), Instant>,
    began: Instant,
) -> (Vec<Duration>, usize) {
    // Which heartbeats a picture is the first to show.
    let mut pictures: BTreeMap<String, Vec<Instant>> = BTreeMap::new();
    let mut shown: BTreeMap<String, u32> = BTreeMap::new();
    for text in told.iter().flat_map(|told| &told.kept) {
        let message: Value = serde_json::from_str(text).unwrap();
        let picture = pictures.entry(message["at"].as_str().unwrap().to_owned());
        let picture = picture.or_default();
        for worker in message["workers"].as_array().unwrap() {
            let name = worker["worker_id"].as_str().unwrap().to_owned();
            let percent = worker["cpu_percent"].as_f64().unwrap();
            let figure = (percent * 100.0).round() as u32;
            if shown.insert(name.clone(), figure) != Some(figure) {
                let sent = sent.get(&(name, figure)).filter(|sent| **sent > began);
                picture.extend(sent);
            }
        }
    }
    let (mut delays, mut missed) = (Vec::new(), 0);
    for told in told {
        let came: BTreeMap<&str, Instant> = told
            .came
            .iter()
            .map(|(at, came)| (at.as_str(), *came))
            .collect();
        for (at, sent) in &pictures {
            match came.get(at.as_str()) {
                Some(came) => delays.extend(sent.iter().map(|sent| came.duration_since(*sent))),
                None => missed += 1,
            }
        }
    }
    delays.sort_unstable();
    (delays, missed)
}
