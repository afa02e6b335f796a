//! Why a task waits, and what is live laid over what is stored.

use std::sync::Arc;

use cloudai_core::{
    TaskClass, WaitCause, Waiting,
    explain::{Explanation, ON_HOLD, Outlook, explain},
};
use cloudai_model::{TaskStatus, record::TaskRecord};
use cloudai_operator::{QueueEntry, Standing};

use super::Master;

impl Master {
    fn why_waiting(&self, record: &TaskRecord) -> Explanation {
        let snapshot = self.snapshots.latest();
        let workers = snapshot.workers.values().map(Arc::as_ref);
        let why = explain(
            &TaskClass::of(&record.spec),
            workers,
            cloudai_clock::now().mono,
        );
        let (user, wanted) = (&record.spec.user, &record.spec.resources);
        let why = match snapshot.users.admit(user, wanted) {
            Ok(()) => why,
            Err(limit) => why.limited(limit),
        };
        match &snapshot.held_up {
            Some(held_up) => why.held_up(held_up),
            None => why,
        }
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
    pub(super) fn brought_up_to_date(&self, mut record: TaskRecord) -> TaskRecord {
        self.live.overlay(&record.task, &mut record.state);
        if record.state.status == TaskStatus::Queued && record.spec.hold {
            record.state.reason = ON_HOLD.to_owned();
        } else if let Some(left) = record.pause_left(cloudai_clock::now().wall) {
            record.state.reason = record.retry_words(left);
        } else if record.state.status == TaskStatus::Queued {
            let why = self.why_waiting(&record);
            // It could start, and doesn't: then what was stored says why.
            if why.outlook != Outlook::Now {
                record.state.reason = why.summary;
            }
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
