//! The log of a run, for people.

use std::cell::RefCell;

use cloudai_model::record::Record;

/// Nothing, or every line so far.
#[derive(Debug, Default)]
pub struct Log(Option<RefCell<Vec<String>>>);

impl Log {
    /// One that keeps what is noted.
    #[must_use]
    pub fn kept() -> Self {
        Self(Some(RefCell::default()))
    }

    /// Notes a line: the time, the step, who, and what.
    pub fn note(&self, now_ms: u64, step: u64, who: &str, what: impl FnOnce() -> String) {
        if let Some(lines) = &self.0 {
            let line = format!(
                "{:>5}.{:03}  {step:>6}  {who:<8} {}",
                now_ms / 1000,
                now_ms % 1000,
                what()
            );
            lines.borrow_mut().push(line);
        }
    }

    /// Notes what is in the store from now on.
    pub fn records(&self, now_ms: u64, step: u64, batch: &[Record]) {
        for record in batch {
            self.note(now_ms, step, "store", || words(record));
        }
    }

    /// Takes all lines out.
    #[must_use]
    pub fn take(&self) -> Vec<String> {
        self.0.as_ref().map(RefCell::take).unwrap_or_default()
    }
}

fn words(record: &Record) -> String {
    match record {
        Record::Cluster(cluster) => format!("start {} of a master", cluster.epoch),
        Record::Worker(worker) => {
            let cores = worker.capacity.map_or(0, |capacity| capacity.cpu_milli);
            let drains = if worker.draining { ", drains" } else { "" };
            format!("{} registered, {cores} milli-cores{drains}", worker.worker)
        }
        Record::WorkerRemoved(worker) => format!("{worker} unregistered"),
        Record::TaskAdded(task) => {
            let (id, name, status) = (&task.task, &task.spec.name, task.state.status);
            format!("{id} ({name}) added, {status}")
        }
        Record::TaskChanged(task, state) => {
            let cancel = if state.cancel_requested {
                ", to be cancelled"
            } else {
                ""
            };
            let (status, attempt, reason) = (state.status, state.attempt, &state.reason);
            format!("{task} {status}, attempt {attempt}{cancel}: {reason}")
        }
        Record::SpecChanged(task, change) => format!("{task} changed: {change:?}"),
        Record::Assignment(assignment) => {
            let (attempt, worker) = (&assignment.attempt, &assignment.worker);
            match &assignment.ended {
                None => {
                    let number = assignment.sequence & 0xff_ffff;
                    format!("{attempt} given to {worker} as #{number}")
                }
                Some((_, how)) => format!("{attempt} on {worker} ended: {how}"),
            }
        }
        Record::Result(result) => {
            format!("{} gives the result: {}", result.attempt, result.status)
        }
        Record::Files(files) => format!("files of {}", files.attempt),
        Record::StopOrder(order) => format!("{} is to stop {}", order.worker, order.attempt),
        Record::StopOrderDone(attempt) => format!("{attempt} is known to be gone"),
        Record::Removed(_)
        | Record::TaskForgotten(_)
        | Record::Forgotten(_)
        | Record::Account(_) => format!("{record:?}"),
    }
}
