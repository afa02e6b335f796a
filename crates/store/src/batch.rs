//! What of a batch counts. What it says of a task and then forgets leaves nothing but numbers,
//! whether or not the task is known: so a batch that forgets can be sent again like any other.

use std::{borrow::Cow, collections::BTreeMap};

use cloudai_model::{
    TaskId,
    record::{ForgottenRecord, Record},
};

use crate::HIGHEST_ORDER;

/// The records that count, in their order.
pub(crate) fn that_count<'a>(batch: &'a [Record]) -> impl Iterator<Item = Cow<'a, Record>> {
    let places = batch.iter().enumerate();
    let forgotten: BTreeMap<&TaskId, usize> = places
        .filter_map(|(place, record)| match record {
            Record::TaskForgotten(task) => Some((task, place)),
            _ => None,
        })
        .collect();
    let counts = move |(place, record): (usize, &'a Record)| {
        let is_forgotten = |task: &TaskId| forgotten.get(task).is_some_and(|at| place < *at);
        match record {
            Record::TaskAdded(task) if is_forgotten(&task.task) && task.order <= HIGHEST_ORDER => {
                Some(Cow::Owned(Record::Forgotten(ForgottenRecord {
                    order: task.order,
                    task_number: task.task.number(),
                })))
            }
            Record::TaskAdded(_) => Some(Cow::Borrowed(record)),
            record if task_of(record).is_some_and(is_forgotten) => None,
            record => Some(Cow::Borrowed(record)),
        }
    };
    batch.iter().enumerate().filter_map(counts)
}

/// The task that a record is about, if what is kept of it hangs on one.
pub(crate) fn task_of(record: &Record) -> Option<&TaskId> {
    match record {
        Record::TaskAdded(task) => Some(&task.task),
        Record::TaskChanged(task, _)
        | Record::SpecChanged(task, _)
        | Record::TaskForgotten(task) => Some(task),
        Record::Assignment(assignment) => Some(&assignment.attempt.task),
        Record::Result(result) => Some(&result.attempt.task),
        Record::Files(files) => Some(&files.attempt.task),
        Record::Removed(removed) => Some(&removed.task),
        Record::Cluster(_)
        | Record::Worker(_)
        | Record::WorkerRemoved(_)
        | Record::StopOrder(_)
        | Record::StopOrderDone(_)
        | Record::Forgotten(_)
        | Record::Account(_) => None,
    }
}
