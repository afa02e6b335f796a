//! Who watches while it happens: what the engine does with the cluster's containers, whether more of
//! them ever run on a worker than it has room for, and what endings the master tells.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tokio::{process::Command, sync::watch, time::sleep};

use super::{
    chronicle::Chronicle,
    listed::Listed,
    site::{PLACES, Site},
};
use crate::{engine::docker, process::Process};

/// Between two looks at the master.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What the engine did with the container of an attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Run {
    /// How often it was started.
    pub starts: usize,
    /// The exit codes that it ended with.
    pub exit_codes: Vec<i64>,
    /// When it was started, the last time, since the beginning of the run.
    pub started_at: Option<Duration>,
    /// When it ended, the last time.
    pub ended_at: Option<Duration>,
}

/// Runs by task and attempt.
pub type Runs = BTreeMap<(String, u32), Run>;

/// All that the engine did.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// With each container.
    pub runs: Runs,
    /// What runs now, by worker.
    running: BTreeMap<String, BTreeSet<(String, u32)>>,
    /// Too much at a time, in words.
    pub crowded: Vec<String>,
}

/// Follows the engine's events of a cluster until it is dropped.
pub struct EngineWitness {
    seen: Arc<Mutex<Seen>>,
    watching: Process,
}

impl EngineWitness {
    /// Begins.
    #[must_use]
    pub fn new(cluster: &str, folder: &Path, chronicle: &Chronicle) -> Self {
        let mut command = Command::from(docker());
        // Since before it can be listening.
        let since_s = cloudai_clock::now().wall.0 / 1000;
        command.args(["events", "--since", &since_s.to_string()]);
        command.args(["--format", "{{json .}}", "--filter"]);
        command.arg(format!("label=cloudai.cluster={cluster}"));
        for event in ["create", "start", "die", "destroy"] {
            command.args(["--filter", &format!("event={event}")]);
        }
        let seen = Arc::<Mutex<Seen>>::default();
        let (kept, chronicle) = (seen.clone(), chronicle.clone());
        let told = move |line: &str| {
            let Some(event) = Event::read(line) else {
                chronicle.note("engine", format!("says {line}"));
                return;
            };
            chronicle.note("engine", event.in_words());
            let mut seen = kept.lock().unwrap_or_else(PoisonError::into_inner);
            event.count(chronicle.elapsed(), &mut seen);
        };
        let watching = Process::spawn_apart("docker events", command, folder, Arc::new(told));
        Self { seen, watching }
    }

    /// What was seen, if nothing was missed.
    ///
    /// # Errors
    /// If the engine broke off, so that something may have been missed.
    pub fn seen(&mut self) -> Result<Seen, String> {
        if let Some(status) = self.watching.ended() {
            return Err(format!("`docker events` ended with {status}"));
        }
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(seen.clone())
    }
}

/// Something that happened to a container.
struct Event {
    action: String,
    task: String,
    attempt: u32,
    worker: String,
    exit_code: Option<i64>,
}

impl Event {
    fn read(line: &str) -> Option<Self> {
        let event: Value = serde_json::from_str(line).ok()?;
        let labels = &event["Actor"]["Attributes"];
        let label = |name: &str| labels[name].as_str().map(str::to_owned);
        Some(Self {
            action: event["Action"].as_str()?.to_owned(),
            task: label("cloudai.task")?,
            attempt: label("cloudai.attempt")?.parse().ok()?,
            worker: label("cloudai.worker")?,
            exit_code: label("exitCode").and_then(|code| code.parse().ok()),
        })
    }

    fn in_words(&self) -> String {
        let Self {
            action,
            task,
            attempt,
            worker,
            ..
        } = self;
        let code = self.exit_code.map(|code| format!(", exit code {code}"));
        let code = code.unwrap_or_default();
        format!("{action} {task} attempt {attempt} on {worker}{code}")
    }

    fn count(self, at: Duration, seen: &mut Seen) {
        let attempt = (self.task, self.attempt);
        let running = seen.running.entry(self.worker.clone()).or_default();
        let run = seen.runs.entry(attempt.clone()).or_default();
        match self.action.as_str() {
            "start" => {
                run.starts += 1;
                run.started_at = Some(at);
                running.insert(attempt);
                if running.len() > PLACES {
                    let (worker, all) = (&self.worker, running);
                    seen.crowded.push(format!(
                        "{worker} has room for {PLACES} containers and runs {all:?}"
                    ));
                }
            }
            "die" => {
                run.exit_codes.extend(self.exit_code);
                run.ended_at = Some(at);
                running.remove(&attempt);
            }
            _ => {}
        }
    }
}

/// What the master told while it was looked at.
#[derive(Debug, Default)]
pub struct Told {
    /// The first ending that was told of each task.
    pub endings: BTreeMap<String, Listed>,
    /// What can't be.
    pub contradictions: Vec<String>,
}

impl Told {
    /// Takes in a look at some tasks.
    pub fn tasks(&mut self, tasks: Vec<Listed>) {
        for task in tasks.into_iter().filter(Listed::is_final) {
            match self.endings.get(&task.id) {
                None => {
                    self.endings.insert(task.id.clone(), task);
                }
                Some(first) if first.ending() != task.ending() => {
                    self.contradictions.push(format!(
                        "{} ended twice: first as {:?}, then as {:?}",
                        task.id,
                        first.ending(),
                        task.ending()
                    ));
                }
                Some(_) => {}
            }
        }
    }
}

/// Looks at the master again and again, for ever; `ended` tells which tasks have ended.
pub async fn watch(
    site: Arc<Site>,
    told: Arc<Mutex<Told>>,
    ended: watch::Sender<BTreeSet<String>>,
) {
    loop {
        // Whatever is live is among the newest.
        if let Some(list) = site.ask("list-tasks -limit 300").await
            && let Some(tasks) = Listed::all(&list)
        {
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            told.tasks(tasks);
            ended.send_replace(told.endings.keys().cloned().collect());
        }
        sleep(LOOK_AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(action: &str, task: &str) -> Event {
        let line = json!({"Action": action, "Actor": {"Attributes": {
            "cloudai.task": task, "cloudai.attempt": "2", "cloudai.worker": "w", "exitCode": "7",
        }}});
        Event::read(&line.to_string()).unwrap()
    }

    #[test]
    fn events_are_counted_by_attempt() {
        let mut seen = Seen::default();
        for (second, action) in (1..).zip(["create", "start", "die", "destroy"]) {
            event(action, "task-1").count(Duration::from_secs(second), &mut seen);
        }
        let expected = Run {
            starts: 1,
            exit_codes: vec![7],
            started_at: Some(Duration::from_secs(2)),
            ended_at: Some(Duration::from_secs(3)),
        };
        assert_eq!(seen.runs[&("task-1".to_owned(), 2)], expected);
        assert!(Event::read("Error: no engine").is_none());
    }

    #[test]
    fn more_containers_than_places_are_too_many() {
        let mut seen = Seen::default();
        for number in 0..PLACES {
            event("start", &format!("task-{number}")).count(Duration::ZERO, &mut seen);
        }
        event("die", "task-0").count(Duration::ZERO, &mut seen);
        event("start", "task-8").count(Duration::ZERO, &mut seen);
        assert!(seen.crowded.is_empty());
        event("start", "task-9").count(Duration::ZERO, &mut seen);
        assert_eq!(seen.crowded.len(), 1);
    }

    #[test]
    fn a_second_ending_is_a_contradiction_and_the_same_again_is_none() {
        let task = |status: &str, attempt: u32| Listed {
            id: "task-1".to_owned(),
            status: status.to_owned(),
            attempt,
            ..Listed::default()
        };
        let mut told = Told::default();
        told.tasks(vec![task("running", 1)]);
        told.tasks(vec![task("completed", 1)]);
        told.tasks(vec![task("completed", 1)]);
        assert!(told.contradictions.is_empty());
        told.tasks(vec![task("completed", 2)]);
        assert_eq!(told.contradictions.len(), 1);
    }
}
