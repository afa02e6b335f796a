//! How calls to old workers differ: attempts have a name in place of a number, and a refused
//! cancel is the only word there is for what isn't held.

use cloudai_core::Snapshot;
use cloudai_model::{WorkerAddress, WorkerId};
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
    use super::*;

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
