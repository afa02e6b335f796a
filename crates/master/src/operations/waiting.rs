//! Why a task waits, and what is live laid over what is stored.

use std::{collections::BTreeMap, sync::Arc};

use cloudai_core::{
    Snapshot, TaskClass, WaitCause, Waiting,
    explain::{Explanation, ON_HOLD, Outlook, explain},
};
use cloudai_model::{Mono, TaskStatus, UserName, record::TaskRecord};
use cloudai_operator::{QueueEntry, Standing};

use super::Master;

/// Between two lists of tasks nobody asks more workers than this why tasks wait: some 20 ms.
const MOST_ASKED: usize = 10_000;

/// Why the tasks of a list wait: those of one user and class for the same.
pub(super) struct Reasons {
    snapshot: Arc<Snapshot>,
    now: Mono,
    known: BTreeMap<(UserName, TaskClass), Option<String>>,
    /// How many workers were asked.
    asked: usize,
}

impl Reasons {
    fn new(snapshot: Arc<Snapshot>, now: Mono) -> Self {
        Self {
            snapshot,
            now,
            known: BTreeMap::new(),
            asked: 0,
        }
    }

    /// Why it waits; `None`: it could start.
    fn of(&mut self, record: &TaskRecord) -> Option<String> {
        let of = (record.spec.user.clone(), TaskClass::of(&record.spec));
        if let Some(known) = self.known.get(&of) {
            return known.clone();
        }
        let reason = if self.asked < MOST_ASKED {
            self.asked += self.snapshot.workers.len();
            // It could start, and doesn't: then what was stored says why.
            let why = self.explain(record, &of.1);
            (why.outlook != Outlook::Now).then_some(why.summary)
        } else {
            let wanted = self.snapshot.users.admit(&of.0, &record.spec.resources);
            let limit = wanted.err().map(|limit| limit.to_string());
            limit.or_else(|| Some("it waits for room, or for its turn".to_owned()))
        };
        self.known.insert(of, reason.clone());
        reason
    }

    fn explain(&self, record: &TaskRecord, class: &TaskClass) -> Explanation {
        let snapshot = &self.snapshot;
        let workers = snapshot.workers.values().map(Arc::as_ref);
        let why = explain(class, workers, self.now);
        let why = match snapshot
            .users
            .admit(&record.spec.user, &record.spec.resources)
        {
            Ok(()) => why,
            Err(limit) => why.limited(limit),
        };
        match &snapshot.held_up {
            Some(held_up) => why.held_up(held_up),
            None => why,
        }
    }
}

impl Master {
    /// Why tasks wait, now.
    pub(super) fn reasons(&self) -> Reasons {
        Reasons::new(self.snapshots.latest(), cloudai_clock::now().mono)
    }

    /// What stands against a waiting task, now.
    pub(super) fn standing_of_waiting(&self, entry: Waiting, record: TaskRecord) -> Standing {
        let class = TaskClass::of(&record.spec);
        let (snapshot, now) = (self.snapshots.latest(), cloudai_clock::now().mono);
        let workers = snapshot.workers.values();
        let workers = workers.map(|worker| (worker.id.clone(), class.obstacles(worker, now)));
        Standing::Waiting {
            workers: workers.collect(),
            entry: Box::new(QueueEntry {
                position: entry.position,
                why: why(entry.cause, &record),
                record,
            }),
        }
    }

    /// Lays what is live over what is stored.
    pub(super) fn brought_up_to_date(
        &self,
        mut record: TaskRecord,
        reasons: &mut Reasons,
    ) -> TaskRecord {
        self.live.overlay(&record.task, &mut record.state);
        if record.state.status == TaskStatus::Queued && record.spec.hold {
            record.state.reason = ON_HOLD.to_owned();
        } else if let Some(left) = record.pause_left(cloudai_clock::now().wall) {
            record.state.reason = record.retry_words(left);
        } else if record.state.status == TaskStatus::Queued
            && let Some(reason) = reasons.of(&record)
        {
            record.state.reason = reason;
        }
        record
    }
}

/// Why a task waits; its record is as stored, with the reason for a pause.
pub(super) fn why(cause: WaitCause, record: &TaskRecord) -> Explanation {
    match cause {
        WaitCause::Room(why) => why,
        WaitCause::OnHold => Explanation::on_hold(),
        WaitCause::BackOff(left) => Explanation {
            outlook: Outlook::Later,
            verdicts: Vec::new(),
            limit: None,
            summary: record.retry_words(left),
        },
    }
}

#[cfg(test)]
mod tests {
    use cloudai_core::registry::Worker;
    use cloudai_model::{
        TaskDraft, TaskId, Wall,
        record::{TaskState, WorkerRecord},
    };

    use super::*;

    fn waiting(number: u64, cpu_cores: f64) -> TaskRecord {
        let draft = TaskDraft {
            docker_image: "alpine".to_owned(),
            cpu_cores: Some(cpu_cores),
            ..TaskDraft::default()
        };
        TaskRecord {
            task: TaskId::numbered(number),
            order: number,
            spec: draft.check().unwrap().1,
            submitted_at: Wall(0),
            state: TaskState::queued(""),
        }
    }

    #[test]
    fn a_list_asks_the_workers_once_for_equal_tasks_and_not_for_any_number_of_others() {
        // Given a hundred workers that nobody has heard of,
        let mut snapshot = Snapshot::unready("c-1".parse().unwrap());
        for number in 0..100 {
            let worker = Worker::from_record(WorkerRecord {
                worker: format!("worker-{number}").parse().unwrap(),
                address: "localhost".parse().unwrap(),
                capacity: None,
                version: None,
                labels: BTreeMap::new(),
                registration: 1,
                registered_at: Wall(0),
                last_seen_at: None,
                draining: false,
            });
            snapshot.workers.insert(worker.id.clone(), Arc::new(worker));
        }
        let mut reasons = Reasons::new(Arc::new(snapshot), Mono(0));
        // when a list has equal tasks, then the workers are asked once;
        let told: Vec<_> = (0..1000).map(|n| reasons.of(&waiting(n, 1.0))).collect();
        assert!(
            told[0]
                .as_ref()
                .is_some_and(|why| why.contains("never seen"))
        );
        assert!(told.iter().all(|why| *why == told[0]));
        assert_eq!(reasons.asked, 100);
        // when all its tasks differ, then not for each of them.
        for number in 0..1000 {
            let cores = 1.0 + number as f64 / 1000.0;
            assert!(reasons.of(&waiting(number, cores)).is_some());
        }
        assert_eq!(reasons.asked, MOST_ASKED);
    }
}
