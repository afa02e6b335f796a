//! A worker's sign of life: `Heartbeat` and [`HeartbeatReport`].
//!
//! That it came matters more than what it says: only an unknown sender is an error. Figures that
//! can't be meant read as 0, words that aren't known read as the nearest thing to running.

use cloudai_model::{AttemptId, Grant, HostUsage, Phase, TaskStatus, WorkerId};

use crate::{cluster, error::WireError, field};

/// Bytes in the MB of `memory_usage`.
const MB: u64 = 1 << 20;

/// No worker holds more: it would have to be told of them all.
const MOST_HELD: usize = 100_000;

/// What a worker's heartbeat says.
#[derive(Debug, Clone, PartialEq)]
pub struct HeartbeatReport {
    /// Whose.
    pub worker: WorkerId,
    /// Which start of the worker program this is; `None` for an old node.
    pub incarnation: Option<String>,
    /// What its machine uses.
    pub usage: HostUsage,
    /// Bytes free on its disk, if it says.
    pub storage_free_bytes: Option<u64>,
    /// The attempts that it holds or owes a result of.
    pub held: Vec<Held>,
    /// Whether `held` is all of them.
    pub holds_complete: bool,
    /// The highest assignment number that it has taken in, if it counts them.
    pub last_sequence: Option<u64>,
    /// Why it takes nothing new just now.
    pub unwell: Option<String>,
    /// Which data directory it works from; `None` for an old node.
    pub home: Option<String>,
}

/// An attempt that a worker holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Which; its number is 0 where an old worker didn't say (see [`cloudai_model::old_node::readings`]).
    pub attempt: AttemptId,
    /// How far it is.
    pub phase: Phase,
}

impl HeartbeatReport {
    /// As the wire has it.
    #[must_use]
    pub fn into_wire(self) -> cluster::Heartbeat {
        cluster::Heartbeat {
            worker_id: self.worker.to_string(),
            cpu_usage: self.usage.cpu_percent,
            memory_usage: self.usage.memory_bytes as f64 / MB as f64,
            storage_usage: field::gb(self.usage.storage_bytes),
            running_tasks: self.held.into_iter().map(Held::into_wire).collect(),
            gpu_usage: self.usage.gpu_percent,
            incarnation: self.incarnation.unwrap_or_default(),
            last_sequence: self.last_sequence,
            holds_complete: self.holds_complete,
            disk_read_bytes_per_s: self.usage.disk_read_bytes_per_s,
            disk_write_bytes_per_s: self.usage.disk_write_bytes_per_s,
            storage_free: self.storage_free_bytes.map(field::gb),
            unwell: self.unwell.unwrap_or_default(),
            home: self.home.unwrap_or_default(),
        }
    }

    /// For an old master: in the old fields alone, with what each held attempt was granted.
    #[must_use]
    pub fn into_old_wire(self, granted: &[Grant]) -> cluster::Heartbeat {
        let wire = self.into_wire();
        let running_tasks = wire.running_tasks.into_iter().zip(granted);
        let running_tasks = running_tasks.map(|(held, grant)| {
            let shares = grant.devices.iter();
            let gpu_milli = shares.map(|share| u64::from(share.milli)).sum();
            cluster::RunningTask {
                task_id: held.task_id,
                cpu_allocated: field::whole(grant.cpu_milli),
                memory_allocated: field::gb(grant.memory_bytes),
                status: held.status,
                gpu_allocated: field::whole(gpu_milli),
                ..Default::default()
            }
        });
        cluster::Heartbeat {
            worker_id: wire.worker_id,
            cpu_usage: wire.cpu_usage,
            memory_usage: wire.memory_usage,
            storage_usage: wire.storage_usage,
            running_tasks: running_tasks.collect(),
            gpu_usage: wire.gpu_usage,
            ..Default::default()
        }
    }

    /// Reads it from the wire. A held attempt whose id can't be one of ours is left out, and then
    /// `holds_complete` is false.
    ///
    /// # Errors
    /// If the worker's id is none, or it holds more than a worker can.
    pub fn from_wire(wire: cluster::Heartbeat) -> Result<Self, WireError> {
        let told = wire.running_tasks.len();
        if told > MOST_HELD {
            let message = format!("{told} are too many: expected at most {MOST_HELD}");
            return Err(WireError::new("running_tasks", message));
        }
        let held: Vec<_> = wire
            .running_tasks
            .iter()
            .filter_map(Held::from_wire)
            .collect();
        Ok(Self {
            worker: field::parsed("worker_id", &wire.worker_id)?,
            incarnation: field::shown_text_if_any(wire.incarnation),
            usage: HostUsage {
                cpu_percent: field::shown_percent(wire.cpu_usage),
                memory_bytes: field::shown_bytes(wire.memory_usage, MB),
                storage_bytes: field::shown_gb(wire.storage_usage),
                gpu_percent: field::shown_percent(wire.gpu_usage),
                disk_read_bytes_per_s: field::shown(wire.disk_read_bytes_per_s),
                disk_write_bytes_per_s: field::shown(wire.disk_write_bytes_per_s),
            },
            storage_free_bytes: wire.storage_free.map(field::shown_gb),
            holds_complete: wire.holds_complete && held.len() == told,
            held,
            last_sequence: wire.last_sequence,
            unwell: field::shown_text_if_any(wire.unwell),
            home: field::shown_text_if_any(wire.home),
        })
    }
}

impl Held {
    fn into_wire(self) -> cluster::RunningTask {
        cluster::RunningTask {
            task_id: self.attempt.task.to_string(),
            status: status_of(self.phase).to_string(),
            attempt: self.attempt.number,
            phase: self.phase.to_string(),
            ..Default::default()
        }
    }

    fn from_wire(wire: &cluster::RunningTask) -> Option<Self> {
        let attempt = field::attempt(&wire.task_id, wire.attempt).ok()?;
        let phase = wire
            .phase
            .parse()
            .unwrap_or_else(|_| phase_of_an_old_worker(&wire.status));
        Some(Self { attempt, phase })
    }
}

/// What an old master reads of this phase.
fn status_of(phase: Phase) -> TaskStatus {
    match phase {
        Phase::Queued | Phase::Assigned | Phase::Pulling | Phase::Creating => TaskStatus::Pending,
        Phase::Running | Phase::Cancelling | Phase::Uploading => TaskStatus::Running,
        Phase::Done => TaskStatus::Completed,
    }
}

/// An old worker lists what it works on; that its container runs is the best guess.
fn phase_of_an_old_worker(status: &str) -> Phase {
    match status.to_ascii_lowercase().as_str() {
        "queued" | "pending" | "assigned" => Phase::Assigned,
        "pulling" => Phase::Pulling,
        "creating" | "starting" => Phase::Creating,
        "cancelling" | "stopping" => Phase::Cancelling,
        "completed" | "success" | "failed" | "failure" | "cancelled" => Phase::Uploading,
        _ => Phase::Running,
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*};

    use super::*;
    use crate::arbitrary;

    fn usage() -> impl Strategy<Value = HostUsage> {
        let percent = 0.0..=100.0_f64;
        let bytes = 0..=1_u64 << 50;
        let rate = 0.0..=1e12_f64;
        (
            percent.clone(),
            bytes.clone(),
            bytes,
            percent,
            rate.clone(),
            rate,
        )
            .prop_map(|(cpu, memory, storage, gpu, read, write)| HostUsage {
                cpu_percent: cpu,
                memory_bytes: memory,
                storage_bytes: storage,
                gpu_percent: gpu,
                disk_read_bytes_per_s: read,
                disk_write_bytes_per_s: write,
            })
    }

    proptest! {
        #[test]
        fn a_heartbeat_survives_the_wire(
            usage in usage(),
            free in option::of(0..=1_u64 << 50),
            held in vec((arbitrary::attempt(), arbitrary::phase()), 0..5),
            holds_complete: bool,
            words in (option::of("\\PC{1,9}"), option::of("\\PC{1,9}"), option::of("\\PC{1,9}")),
            last_sequence in option::of(any::<u64>()),
        ) {
            let report = HeartbeatReport {
                worker: "worker-1".parse().unwrap(),
                incarnation: words.0,
                usage,
                storage_free_bytes: free,
                held: held.into_iter().map(|(attempt, phase)| Held { attempt, phase }).collect(),
                holds_complete,
                last_sequence,
                unwell: words.1,
                home: words.2,
            };
            prop_assert_eq!(HeartbeatReport::from_wire(report.clone().into_wire()), Ok(report));
        }
    }

    fn running(task_id: &str, status: &str) -> cluster::RunningTask {
        cluster::RunningTask {
            task_id: task_id.to_owned(),
            status: status.to_owned(),
            ..Default::default()
        }
    }

    fn of_an_old_worker() -> cluster::Heartbeat {
        cluster::Heartbeat {
            worker_id: "worker-1".to_owned(),
            cpu_usage: 12.5,
            memory_usage: 1024.0,
            storage_usage: 2.0,
            running_tasks: vec![
                running("task-7", "running"),
                running("task-8-2", "sleeping"),
            ],
            ..Default::default()
        }
    }

    #[test]
    fn an_old_workers_heartbeat_is_read_in_its_units() {
        let report = HeartbeatReport::from_wire(of_an_old_worker()).unwrap();
        assert_eq!(report.usage.memory_bytes, 1 << 30);
        assert_eq!(report.usage.storage_bytes, 2 << 30);
        assert_eq!((report.incarnation, report.last_sequence), (None, None));
        assert_eq!(report.storage_free_bytes, None);
        assert!(!report.holds_complete);
        let held: Vec<_> = report
            .held
            .iter()
            .map(|held| (held.attempt.to_string(), held.phase))
            .collect();
        assert_eq!(
            held,
            [
                ("task-7-0".to_owned(), Phase::Running),
                ("task-8-2-0".to_owned(), Phase::Running),
            ],
            "what the ids mean is for the master to tell"
        );
    }

    #[test]
    fn nonsense_does_not_cost_the_sign_of_life() {
        let report = HeartbeatReport::from_wire(cluster::Heartbeat {
            cpu_usage: f64::NAN,
            memory_usage: -1.0,
            storage_free: Some(f64::INFINITY),
            holds_complete: true,
            running_tasks: vec![running("no id!", "running"), running("task-7", "")],
            ..of_an_old_worker()
        })
        .unwrap();
        assert_eq!(
            (report.usage.cpu_percent, report.usage.memory_bytes),
            (0.0, 0)
        );
        assert_eq!(report.storage_free_bytes, Some(0));
        assert_eq!(report.held.len(), 1);
        assert!(!report.holds_complete, "something was left out");
    }

    #[test]
    fn a_long_id_with_its_attempt_is_told_apart_here() {
        let task = "t".repeat(64);
        let report = HeartbeatReport::from_wire(cluster::Heartbeat {
            running_tasks: vec![running(&format!("{task}-2"), "running")],
            ..of_an_old_worker()
        })
        .unwrap();
        assert_eq!(
            report.held[0].attempt,
            AttemptId::new(task.parse().unwrap(), 2)
        );
    }

    #[test]
    fn more_than_a_worker_can_hold_is_refused() {
        let held = |count| cluster::Heartbeat {
            worker_id: "w".to_owned(),
            running_tasks: vec![cluster::RunningTask::default(); count],
            ..Default::default()
        };
        assert!(HeartbeatReport::from_wire(held(MOST_HELD)).is_ok());
        let error = HeartbeatReport::from_wire(held(MOST_HELD + 1)).unwrap_err();
        assert_eq!(error.field, "running_tasks");
    }

    #[test]
    fn texts_are_cut_where_nobody_reads_on() {
        let wire = cluster::Heartbeat {
            worker_id: "w".to_owned(),
            unwell: "x".repeat(1 << 20),
            home: "y".repeat(1 << 20),
            incarnation: "z".repeat(1 << 20),
            ..Default::default()
        };
        let read = HeartbeatReport::from_wire(wire).unwrap();
        for text in [read.unwell, read.home, read.incarnation] {
            assert!(text.unwrap().len() < 5000);
        }
    }

    #[test]
    fn a_heartbeat_of_nobody_is_refused() {
        let error = HeartbeatReport::from_wire(cluster::Heartbeat::default()).unwrap_err();
        assert_eq!(error.field, "worker_id");
    }
}
