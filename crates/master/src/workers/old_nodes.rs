//! How calls to old workers differ: attempts have a name in place of a number, and a refused
//! cancel is the only word there is for what isn't held.

use cloudai_core::{Snapshot, registry::Worker};
use cloudai_model::{AttemptId, WorkerAddress, WorkerId, old_node};
use cloudai_proto::{CancelRequest, cluster};

/// Which words a worker knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    /// All of them.
    New,
    /// Those of the first fields.
    Old,
    /// It isn't registered any more, or not there, or was never seen.
    Unknown,
}

impl Age {
    /// Of the worker with this id at this address.
    pub(super) fn of(snapshot: &Snapshot, worker: &WorkerId, address: &WorkerAddress) -> Self {
        let known = snapshot.workers.get(worker);
        match known.filter(|worker| worker.address == *address && worker.capacity.is_some()) {
            Some(worker) if worker.is_old_node() => Self::Old,
            Some(_) => Self::New,
            None => Self::Unknown,
        }
    }
}

/// Whether an attempt's name among old nodes is that of nothing else on this worker.
///
/// A client may have called one task `a` and another `a-2`: then the second attempt of the one
/// and the first of the other have the same name. The next attempt has another.
///
/// # Errors
/// If it isn't, with whose it is.
pub(super) fn name_is_free(worker: &Worker, attempt: &AttemptId) -> Result<(), String> {
    let name = old_node::task_id(attempt);
    let mut others = worker.attempts.iter().filter(|other| *other != attempt);
    match others.find(|other| old_node::task_id(other) == name) {
        Some(other) => Err(format!(
            "worker {} is an old node and knows attempt {} of task {} as {name}",
            worker.id, other.number, other.task
        )),
        None => Ok(()),
    }
}

/// The messages that ask to cancel, to be sent until one isn't refused.
pub(super) fn cancels(request: CancelRequest, age: Age) -> Vec<cluster::TaskId> {
    match age {
        Age::New => vec![request.into_wire()],
        Age::Old => vec![request.into_old_wire()],
        // A new node knows a later attempt by its number, an old one by its name.
        Age::Unknown if request.attempt.is_some_and(|number| number > 1) => {
            vec![request.clone().into_wire(), request.into_old_wire()]
        }
        Age::Unknown => vec![request.into_wire()],
    }
}

#[cfg(test)]
mod tests {
    use cloudai_model::{Wall, record::WorkerRecord};

    use super::*;

    fn attempt(task: &str, number: u32) -> AttemptId {
        AttemptId::new(task.parse().unwrap(), number)
    }

    fn worker(attempts: &[AttemptId]) -> Worker {
        let mut worker = Worker::from_record(WorkerRecord {
            worker: "w".parse().unwrap(),
            address: "localhost".parse().unwrap(),
            capacity: None,
            version: None,
            labels: std::collections::BTreeMap::new(),
            registration: 1,
            registered_at: Wall(0),
            draining: false,
            last_seen_at: None,
        });
        worker.attempts = attempts.iter().cloned().collect();
        worker
    }

    #[test]
    fn two_attempts_never_have_one_name_on_a_worker() {
        let (second, plain) = (attempt("a", 2), attempt("a-2", 1));
        assert_eq!(
            name_is_free(&worker(&[second.clone(), attempt("b", 2)]), &second),
            Ok(())
        );
        let both = worker(&[second.clone(), plain.clone()]);
        for one in [&second, &plain] {
            let error = name_is_free(&both, one).unwrap_err();
            assert!(error.contains("as a-2"), "{error}");
        }
        let next = attempt("a", 3);
        assert_eq!(name_is_free(&worker(&[plain, next.clone()]), &next), Ok(()));
    }

    #[test]
    fn a_worker_of_unknown_age_is_asked_in_both_ways() {
        let request = |number| CancelRequest {
            task: "a".parse().unwrap(),
            attempt: Some(number),
            user: None,
            reason: String::new(),
        };
        let ids = |number, age| -> Vec<_> {
            let messages = cancels(request(number), age).into_iter();
            messages.map(|wire| (wire.task_id, wire.attempt)).collect()
        };
        let (plain, named) = (("a".to_owned(), 2), ("a-2".to_owned(), 0));
        assert_eq!(ids(2, Age::New), vec![plain.clone()]);
        assert_eq!(ids(2, Age::Old), vec![named.clone()]);
        assert_eq!(ids(2, Age::Unknown), [plain, named]);
        assert_eq!(ids(1, Age::Unknown), [("a".to_owned(), 1)]);
    }
}
