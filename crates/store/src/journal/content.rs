//! What a journal says so far: which batches the database still lacks, what they say of tasks, and
//! which submits have not reached the store. Kept small: places in the file, not what stands there.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::File,
    sync::Arc,
};

use cloudai_model::{
    TaskChange, TaskId, UserName,
    record::{Record, TaskRecord, TaskState},
};

use super::entry::{Entry, Placed};
use crate::batch::task_of;

/// Where a batch, or the document of a record, begins in the file.
pub(super) type Place = u64;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// The file; `None` while there is none.
    pub(super) file: Option<Arc<File>>,
    /// How long it is.
    pub(super) length: u64,
    /// The names under which the database was this master's.
    pub(super) owners: Vec<String>,
    /// Batches that the database has not confirmed, the oldest first.
    pub(super) batches: VecDeque<Batch>,
    /// What these say of each task that they speak of, and what those before them in the file did.
    pub(super) tasks: BTreeMap<TaskId, Known>,
    /// Tasks of these that were submitted under a key, by user and key and then by order.
    pub(super) submits: BTreeMap<(UserName, String), BTreeMap<u64, TaskId>>,
    /// Tasks that were accepted before the store had been read, by rising id.
    pub(super) submitted: BTreeMap<TaskId, Submitted>,
    /// How many of these were not cancelled.
    pub(super) waiting_submitted: usize,
    /// The highest number among the ids of all that were accepted so.
    pub(super) highest_submitted: Option<u64>,
}

/// What the journal knows of a task, and the file in which it stands: one that is begun meanwhile
/// has other things in these places.
#[derive(Debug, Default)]
pub(super) struct Noted {
    pub(super) known: Known,
    pub(super) file: Option<Arc<File>>,
}

/// A batch in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Batch {
    /// Where it begins.
    pub(super) at: u64,
    /// How long it is.
    pub(super) bytes: usize,
    /// How many records it holds.
    pub(super) records: usize,
}

/// What the journal knows of a task.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// The whole task as it was added; `None` if that happened before.
    pub(super) added: Option<Place>,
    /// Its order, if it was added here.
    pub(super) order: u64,
    /// The last state.
    pub(super) state: Option<TaskState>,
    /// What was changed of its spec since, in order.
    pub(super) changes: Vec<TaskChange>,
    pub(super) assignments: BTreeMap<u32, Place>,
    pub(super) result: Option<Place>,
    pub(super) files: Option<Place>,
    /// What was removed of what it left.
    pub(super) removed: Option<Place>,
    /// Whether it was forgotten here. Then all of it that counts came after that.
    pub(super) is_forgotten: bool,
}

impl Known {
    /// Whether the journal knows all of it: what it doesn't know is not there.
    pub(super) fn is_whole(&self) -> bool {
        self.added.is_some() || self.is_forgotten
    }
}

/// A task that was accepted before the store had been read.
#[derive(Debug, Clone, PartialEq)]
pub struct Submitted {
    /// The task; its order is 0, for it has none yet.
    pub task: TaskRecord,
    /// Whether it was cancelled since.
    pub cancelled: bool,
}

impl Content {
    /// Takes in what stands in the file now; `base` is where the content of its frame begins.
    pub(super) fn apply(&mut self, placed: Placed, base: u64) {
        let Placed {
            entry,
            at,
            end,
            records,
        } = placed;
        match entry {
            Entry::Owner(owner) => self.owners.push(owner),
            Entry::Batch(batch) => {
                self.batches.push_back(Batch {
                    at: base + at as u64,
                    bytes: end - at,
                    records: batch.len(),
                });
                for (record, place) in batch.iter().zip(records) {
                    self.learn(record, base + place as u64);
                }
            }
            Entry::Done(last) => self.done(last),
            Entry::Submitted(task) => {
                let number = task.task.number();
                self.highest_submitted = self.highest_submitted.max(number);
                let submitted = Submitted {
                    task: *task,
                    cancelled: false,
                };
                let id = submitted.task.task.clone();
                self.waiting_submitted += 1;
                let before = self.submitted.insert(id, submitted);
                self.waits_no_more(before.as_ref());
            }
            Entry::Cancelled(task) => {
                if let Some(submitted) = self.submitted.get_mut(&task) {
                    let before = submitted.clone();
                    submitted.cancelled = true;
                    self.waits_no_more(Some(&before));
                }
            }
            Entry::HandedOver(task) => {
                let before = self.submitted.remove(&task);
                self.waits_no_more(before.as_ref());
            }
        }
    }

    fn waits_no_more(&mut self, before: Option<&Submitted>) {
        if before.is_some_and(|it| !it.cancelled) {
            self.waiting_submitted -= 1;
        }
    }

    /// Every batch up to the one that begins there is in the database.
    fn done(&mut self, last: Place) {
        while self.batches.front().is_some_and(|batch| batch.at <= last) {
            self.batches.pop_front();
        }
        if self.batches.is_empty() {
            self.tasks.clear();
            self.submits.clear();
        }
    }

    fn learn(&mut self, record: &Record, place: Place) {
        let Some(task) = task_of(record) else { return };
        let known = self.tasks.entry(task.clone()).or_default();
        match record {
            Record::TaskAdded(task) => {
                // Added again it keeps the state that it has reached.
                known.added.get_or_insert(place);
                known.order = task.order;
                known.state.get_or_insert_with(|| task.state.clone());
                if let Some(submit) = &task.spec.submit_key {
                    let key = (task.spec.user.clone(), submit.key.clone());
                    let tasks = self.submits.entry(key).or_default();
                    tasks.insert(task.order, task.task.clone());
                }
            }
            Record::TaskChanged(_, state) => known.state = Some(state.clone()),
            Record::SpecChanged(_, change) => known.changes.push(change.clone()),
            Record::Assignment(it) => drop(known.assignments.insert(it.attempt.number, place)),
            Record::Result(_) => known.result = Some(place),
            Record::Files(_) => known.files = Some(place),
            Record::Removed(_) => known.removed = Some(place),
            Record::TaskForgotten(_) => {
                *known = Known {
                    is_forgotten: true,
                    ..Known::default()
                };
            }
            Record::Cluster(_)
            | Record::Worker(_)
            | Record::WorkerRemoved(_)
            | Record::StopOrder(_)
            | Record::StopOrderDone(_)
            | Record::Forgotten(_)
            | Record::Account(_) => {}
        }
    }

    /// What it knows of a task.
    pub(super) fn noted(&self, task: &TaskId) -> Noted {
        Noted {
            known: self.tasks.get(task).cloned().unwrap_or_default(),
            file: self.file.clone(),
        }
    }

    /// Whether nothing of it is owed to the store any more.
    pub(super) fn is_settled(&self) -> bool {
        self.batches.is_empty() && self.submitted.is_empty()
    }

    /// How many records the database lacks.
    pub(super) fn records(&self) -> usize {
        self.batches.iter().map(|batch| batch.records).sum()
    }
}
