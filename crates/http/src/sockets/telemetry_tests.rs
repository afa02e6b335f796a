//! Watchers of a scene that a test changes.

use std::{collections::BTreeMap, sync::Mutex};

use cloudai_core::registry::Worker;
use cloudai_model::{Mono, Wall, record::WorkerRecord};
use futures_util::FutureExt as _;
use serde_json::Value;

use super::*;

struct Stage {
    snapshot: Mutex<Arc<Snapshot>>,
    events: broadcast::Sender<Event>,
    /// What happens, once, between a look at the scene and the picture of it.
    meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

fn worker(number: usize, percent: f64) -> Arc<Worker> {
    let mut worker = Worker::from_record(WorkerRecord {
        worker: format!("w-{number}").parse().unwrap(),
        address: "10.0.0.2".parse().unwrap(),
        capacity: None,
        version: None,
        labels: BTreeMap::new(),
        registration: 1,
        registered_at: Wall(0),
        last_seen_at: None,
        draining: false,
    });
    worker.usage.cpu_percent = percent;
    Arc::new(worker)
}

impl Stage {
    fn with(workers: usize) -> Arc<Self> {
        let mut snapshot = Snapshot::unready("c-1".parse().unwrap());
        for number in 0..workers {
            let worker = worker(number, 0.0);
            snapshot.workers.insert(worker.id.clone(), worker);
        }
        Arc::new(Self {
            snapshot: Mutex::new(Arc::new(snapshot)),
            events: broadcast::Sender::new(16),
            meanwhile: Mutex::default(),
        })
    }

    fn change(&self, change: impl FnOnce(&mut Snapshot)) {
        let mut snapshot = self.snapshot.lock().unwrap();
        let mut changed = Snapshot::clone(&snapshot);
        change(&mut changed);
        *snapshot = Arc::new(changed);
        let _ = self
            .events
            .send(Event::WorkerAdded("w-0".parse().unwrap()))
            .is_ok();
    }

    fn uses(&self, number: usize, percent: f64) {
        let worker = worker(number, percent);
        self.change(|snapshot| {
            snapshot.workers.insert(worker.id.clone(), worker);
        });
    }
}

impl Scene for Stage {
    fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.lock().unwrap().clone()
    }

    fn now(&self) -> Now {
        let meanwhile = self.meanwhile.lock().unwrap().take();
        if let Some(meanwhile) = meanwhile {
            meanwhile();
        }
        Now {
            mono: Mono(1),
            wall: Wall(1),
        }
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }
}

async fn told(watcher: &mut Watcher) -> Value {
    serde_json::from_str(&watcher.next().await.unwrap()).unwrap()
}

fn percent(message: &Value) -> f64 {
    message["workers"][0]["cpu_percent"].as_f64().unwrap()
}

#[tokio::test(start_paused = true)]
async fn one_snapshot_and_then_changes() {
    let stage = Stage::with(3);
    let pictures = Pictures::new(stage.clone());
    let mut watcher = pictures.watch(None);
    let first = told(&mut watcher).await;
    assert_eq!(first["type"], "snapshot");
    assert_eq!(first["workers"].as_array().unwrap().len(), 3);
    tokio::task::yield_now().await;
    stage.uses(1, 50.0);
    let second = told(&mut watcher).await;
    assert_eq!(
        (&second["type"], percent(&second)),
        (&"changes".into(), 50.0)
    );
    assert_eq!(second["workers"].as_array().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_falls_behind_is_sent_the_newest_and_no_backlog() {
    // Given two watchers, of whom one takes nothing for a minute of changes,
    let stage = Stage::with(1);
    let pictures = Pictures::new(stage.clone());
    let (mut slow, mut quick) = (pictures.watch(None), pictures.watch(None));
    told(&mut slow).await;
    told(&mut quick).await;
    tokio::task::yield_now().await;
    let mut messages = 0;
    for second in 1..=60 {
        stage.uses(0, f64::from(second));
        assert_eq!(percent(&told(&mut quick).await), f64::from(second));
        messages += 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(messages, 60);
    // then it is sent one message: how it is now.
    let message = told(&mut slow).await;
    assert_eq!(
        (&message["type"], percent(&message)),
        (&"snapshot".into(), 60.0)
    );
    assert!(slow.next().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_thousand_watchers_of_a_hundred_workers_are_sent_the_same_bytes() {
    let stage = Stage::with(100);
    let pictures = Pictures::new(stage.clone());
    let mut watchers: Vec<_> = (0..1000).map(|_| pictures.watch(None)).collect();
    for round in 1..=3 {
        let mut places = std::collections::BTreeSet::new();
        for watcher in &mut watchers {
            let message = watcher.next().await.unwrap();
            places.insert(message.as_str().as_ptr() as usize);
        }
        assert_eq!(places.len(), 1, "it was made once");
        tokio::task::yield_now().await;
        stage.uses(7, f64::from(round));
    }
}

#[tokio::test(start_paused = true)]
async fn many_changes_within_half_a_second_are_one_message() {
    let stage = Stage::with(2);
    let pictures = Pictures::new(stage.clone());
    let mut watcher = pictures.watch(None);
    told(&mut watcher).await;
    tokio::task::yield_now().await;
    // The first goes at once; of a hundred more the last counts.
    stage.uses(0, 1.0);
    assert_eq!(percent(&told(&mut watcher).await), 1.0);
    for step in 2..=100 {
        stage.uses(0, f64::from(step));
    }
    assert_eq!(percent(&told(&mut watcher).await), 100.0);
    assert!(watcher.next().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn who_watches_one_worker_hears_of_that_one_until_it_is_gone() {
    let stage = Stage::with(2);
    let pictures = Pictures::new(stage.clone());
    let mut watcher = pictures.watch(Some("w-1".parse().unwrap()));
    assert_eq!(told(&mut watcher).await["type"], "snapshot");
    tokio::task::yield_now().await;
    stage.uses(0, 1.0);
    tokio::time::sleep(PACE * 2).await;
    stage.uses(1, 2.0);
    let message = told(&mut watcher).await;
    assert_eq!(
        (&message["type"], percent(&message)),
        (&"changes".into(), 2.0)
    );
    stage.change(|snapshot| {
        snapshot.workers.remove(&"w-1".parse().unwrap());
    });
    assert_eq!(watcher.next().await, Err(Ended::Gone));
}

#[tokio::test(start_paused = true)]
async fn while_nobody_looks_nothing_is_drawn_and_the_next_one_sees_what_is() {
    let stage = Stage::with(1);
    let pictures = Pictures::new(stage.clone());
    let mut first = pictures.watch(None);
    told(&mut first).await;
    drop(first);
    let version = || pictures.0.latest.borrow().version;
    tokio::time::sleep(PACE * 4).await;
    let before = version();
    for step in 1..20 {
        stage.uses(0, f64::from(step));
        tokio::time::sleep(PACE * 2).await;
    }
    // One may have been under way.
    assert!(version() <= before + 1, "{} after {before}", version());
    let mut second = pictures.watch(None);
    assert_eq!(percent(&told(&mut second).await), 19.0);
}

#[tokio::test(start_paused = true)]
async fn a_picture_never_goes_back_in_time() {
    // Given one who has looked at the scene and not drawn it yet,
    let stage = Stage::with(1);
    let pictures = Pictures::new(stage.clone());
    let (looked, has_looked) = std::sync::mpsc::channel();
    let (drew, has_drawn) = std::sync::mpsc::channel::<()>();
    *stage.meanwhile.lock().unwrap() = Some(Box::new(move || {
        looked.send(()).unwrap();
        // Who has to wait for this one can't say so.
        let _ = has_drawn.recv_timeout(Duration::from_millis(200)).is_ok();
    }));
    let first = pictures.clone();
    let first = std::thread::spawn(move || first.0.draw());
    has_looked.recv().unwrap();

    // when another draws what has changed since,
    stage.uses(0, 50.0);
    pictures.0.draw();
    let _ = drew.send(()).is_ok();
    first.join().unwrap();

    // then that is what is seen.
    let latest = pictures.0.latest.borrow().clone();
    let seen = serde_json::from_str(&latest.whole()).unwrap();
    assert_eq!(percent(&seen), 50.0);
}

#[tokio::test(start_paused = true)]
async fn who_comes_and_goes_makes_no_pictures_beyond_the_pace() {
    // Given a watcher,
    let stage = Stage::with(1);
    let pictures = Pictures::new(stage.clone());
    let mut watcher = pictures.watch(None);
    told(&mut watcher).await;
    let before = pictures.0.latest.borrow().version;

    // when a hundred others come and go while something changes all the time,
    for step in 1..=100 {
        stage.uses(0, f64::from(step));
        let mut other = pictures.watch(None);
        told(&mut other).await;
    }

    // then nothing is drawn before its time, and then what is.
    assert_eq!(pictures.0.latest.borrow().version, before);
    assert_eq!(percent(&told(&mut watcher).await), 100.0);
    assert_eq!(pictures.0.latest.borrow().version, before + 1);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_has_just_come_is_found() {
    let stage = Stage::with(1);
    let pictures = Pictures::new(stage.clone());
    told(&mut pictures.watch(None)).await;
    stage.uses(7, 1.0);
    let mut watcher = pictures.watch(Some("w-7".parse().unwrap()));
    assert_eq!(percent(&told(&mut watcher).await), 1.0);
}

#[tokio::test(start_paused = true)]
async fn without_pictures_nobody_draws() {
    let stage = Stage::with(1);
    let pictures = Pictures::new(stage.clone());
    let mut watcher = pictures.watch(None);
    told(&mut watcher).await;
    tokio::time::sleep(PACE * 4).await;
    assert_eq!(stage.events.receiver_count(), 1);
    drop((pictures, watcher));
    stage.uses(0, 1.0);
    tokio::time::sleep(PACE * 4).await;
    assert_eq!(stage.events.receiver_count(), 0);
}
