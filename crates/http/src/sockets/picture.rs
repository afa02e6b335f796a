//! What all watchers of telemetry see: drawn once, however many there are.
//!
//! A picture holds the JSON of every worker, and the message that leads to it from the picture before.
//! Who has seen that one is sent this message, the same bytes for all; who has fallen behind is sent
//! the whole picture, which is made once as well. So nobody has a backlog, only a newest state.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, OnceLock},
};

use axum::extract::ws::Utf8Bytes;
use cloudai_api::WorkerTelemetry;
use cloudai_core::{Snapshot, registry::Worker};
use cloudai_model::{Now, Wall, WorkerId};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Picture {
    /// Rises by one from each picture to the next.
    pub(super) version: u64,
    at: Wall,
    workers: BTreeMap<WorkerId, Drawn>,
    changes: Utf8Bytes,
    whole: OnceLock<Utf8Bytes>,
}

/// A worker in the picture.
#[derive(Debug, Clone)]
pub(super) struct Drawn {
    worker: Arc<Worker>,
    json: Arc<str>,
    /// The picture in which it was drawn.
    pub(super) version: u64,
}

impl Picture {
    /// The next picture; `None` if nothing has changed.
    pub(super) fn next(&self, snapshot: &Snapshot, now: Now) -> Option<Self> {
        let version = self.version + 1;
        let mut is_same = self.workers.len() == snapshot.workers.len();
        let mut workers = BTreeMap::new();
        for (id, worker) in &snapshot.workers {
            let known = self.workers.get(id);
            let drawn = match known.filter(|known| Arc::ptr_eq(&known.worker, worker)) {
                Some(known) => known.clone(),
                None => {
                    is_same = false;
                    Drawn {
                        worker: worker.clone(),
                        json: draw(worker, now),
                        version,
                    }
                }
            };
            workers.insert(id.clone(), drawn);
        }
        if is_same {
            return None;
        }
        let removed = self.workers.keys().filter(|id| !workers.contains_key(*id));
        let removed: Vec<_> = removed.cloned().collect();
        let changed = workers.values().filter(|drawn| drawn.version == version);
        let changes = message("changes", now.wall, changed, &removed);
        Some(Self {
            version,
            at: now.wall,
            workers,
            changes,
            whole: OnceLock::new(),
        })
    }

    /// What leads to this picture from the one before.
    pub(super) fn changes(&self) -> Utf8Bytes {
        self.changes.clone()
    }

    /// All of it.
    pub(super) fn whole(&self) -> Utf8Bytes {
        let make = || message("snapshot", self.at, self.workers.values(), &[]);
        self.whole.get_or_init(make).clone()
    }

    /// A worker in it.
    pub(super) fn worker(&self, id: &WorkerId) -> Option<&Drawn> {
        self.workers.get(id)
    }

    /// One worker alone, as a message of its own.
    pub(super) fn alone(&self, drawn: &Drawn, is_first: bool) -> Utf8Bytes {
        let kind = if is_first { "snapshot" } else { "changes" };
        message(kind, self.at, [drawn], &[])
    }
}

fn draw(worker: &Worker, now: Now) -> Arc<str> {
    let telemetry = WorkerTelemetry::new(worker, now);
    // Figures and words have a form in JSON.
    serde_json::to_string(&telemetry).unwrap_or_default().into()
}

/// `{"type":…,"at":…,"workers":[…],"removed":[…]}`; the workers' JSON is there already.
fn message<'a>(
    kind: &str,
    at: Wall,
    workers: impl IntoIterator<Item = &'a Drawn>,
    removed: &[WorkerId],
) -> Utf8Bytes {
    let mut text = String::new();
    // Writing to a text does not fail.
    let _ = write!(text, r#"{{"type":"{kind}","at":"{at}","workers":["#).is_ok();
    for (index, drawn) in workers.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(&drawn.json);
    }
    text.push_str(r#"],"removed":["#);
    for (index, id) in removed.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        // An id has no sign that JSON would have to escape.
        let _ = write!(text, r#"{comma}"{id}""#).is_ok();
    }
    text.push_str("]}");
    text.into()
}

#[cfg(test)]
mod tests {
    use cloudai_model::{Mono, record::WorkerRecord};
    use serde_json::{Value, json};

    use super::*;

    const NOW: Now = Now {
        mono: Mono(1000),
        wall: Wall(1000),
    };

    fn worker(id: &str, percent: f64) -> Arc<Worker> {
        let mut worker = Worker::from_record(WorkerRecord {
            worker: id.parse().unwrap(),
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

    fn snapshot(workers: &[&Arc<Worker>]) -> Snapshot {
        let mut snapshot = Snapshot::unready("c-1".parse().unwrap());
        let workers = workers.iter().map(|it| (it.id.clone(), Arc::clone(it)));
        snapshot.workers = workers.collect();
        snapshot
    }

    fn told(message: &Utf8Bytes) -> Value {
        serde_json::from_str(message).unwrap()
    }

    fn figures(message: &Utf8Bytes) -> Vec<(String, f64)> {
        let message = told(message);
        let workers = message["workers"].as_array().unwrap().iter();
        let figures = workers.map(|worker| {
            let id = worker["worker_id"].as_str().unwrap().to_owned();
            (id, worker["cpu_percent"].as_f64().unwrap())
        });
        figures.collect()
    }

    #[test]
    fn changes_tell_what_is_new_and_what_is_gone() {
        // Given a picture of two workers,
        let (one, two) = (worker("w-1", 10.0), worker("w-2", 20.0));
        let first = Picture::default()
            .next(&snapshot(&[&one, &two]), NOW)
            .unwrap();
        assert_eq!(told(&first.whole())["type"], "snapshot");
        assert_eq!(
            figures(&first.whole()),
            [("w-1".into(), 10.0), ("w-2".into(), 20.0)]
        );
        // when one of them changes and the other goes,
        let changed = worker("w-1", 11.0);
        let second = first.next(&snapshot(&[&changed]), NOW).unwrap();
        // then that is what the next one tells.
        let message = told(&second.changes());
        assert_eq!(
            (&message["type"], &message["removed"]),
            (&json!("changes"), &json!(["w-2"]))
        );
        assert_eq!(figures(&second.changes()), [("w-1".into(), 11.0)]);
        assert_eq!(figures(&second.whole()), [("w-1".into(), 11.0)]);
    }

    #[test]
    fn where_nothing_has_changed_there_is_no_next_picture() {
        let one = worker("w-1", 10.0);
        let first = Picture::default().next(&snapshot(&[&one]), NOW).unwrap();
        assert!(first.next(&snapshot(&[&one]), NOW).is_none());
        assert!(Picture::default().next(&snapshot(&[]), NOW).is_none());
        assert!(first.next(&snapshot(&[]), NOW).is_some());
    }

    #[test]
    fn everybody_is_given_the_same_bytes() {
        let workers: Vec<_> = (0..100).map(|it| worker(&format!("w-{it}"), 1.0)).collect();
        let all: Vec<_> = workers.iter().collect();
        let picture = Picture::default().next(&snapshot(&all), NOW).unwrap();
        let address = |message: &Utf8Bytes| message.as_str().as_ptr();
        assert_eq!(address(&picture.whole()), address(&picture.whole()));
        assert_eq!(address(&picture.changes()), address(&picture.changes()));
    }

    #[test]
    fn a_worker_that_has_not_changed_is_not_drawn_again() {
        let (one, two) = (worker("w-1", 10.0), worker("w-2", 20.0));
        let first = Picture::default()
            .next(&snapshot(&[&one, &two]), NOW)
            .unwrap();
        let second = first
            .next(&snapshot(&[&one, &worker("w-2", 21.0)]), NOW)
            .unwrap();
        let json = |picture: &Picture, id: &str| {
            let drawn = picture.worker(&id.parse().unwrap()).unwrap();
            (drawn.json.as_ptr(), drawn.version)
        };
        assert_eq!(json(&first, "w-1"), json(&second, "w-1"));
        assert_eq!(json(&second, "w-2").1, 2);
    }
}
