//! Tasks that ended a short while ago, to know late and repeated messages for what they are.
//!
//! It is a memory of bounded size and span: whatever it has forgotten is answered as unknown,
//! which every sender understands as final, too.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use cloudai_model::{AttemptId, Mono, TaskId, WorkerId};

/// However busy the cluster, no more are remembered.
const LIMIT: usize = 200_000;

#[derive(Debug, Default)]
pub(crate) struct Ended {
    attempts: BTreeMap<TaskId, Last>,
    oldest_first: VecDeque<(Mono, TaskId)>,
}

/// The attempt with which a task ended.
#[derive(Debug)]
struct Last {
    number: u32,
    worker: Option<WorkerId>,
}

impl Ended {
    /// A task has ended with this attempt (0: before any), on this worker.
    pub(crate) fn remember(
        &mut self,
        now: Mono,
        task: TaskId,
        number: u32,
        worker: Option<WorkerId>,
    ) {
        self.oldest_first.push_back((now, task.clone()));
        self.attempts.insert(task, Last { number, worker });
        if self.oldest_first.len() > LIMIT {
            self.forget_oldest();
        }
    }

    /// Forgets what ended longer than `span` ago.
    pub(crate) fn forget(&mut self, now: Mono, span: Duration) {
        while self
            .oldest_first
            .front()
            .is_some_and(|(at, _)| now.since(*at) > span)
        {
            self.forget_oldest();
        }
    }

    /// Whether a task with this id ended lately.
    pub(crate) fn has(&self, task: &TaskId) -> bool {
        self.attempts.contains_key(task)
    }

    /// On which worker it ended, if it was this attempt that ended its task.
    pub(crate) fn worker_of(&self, attempt: &AttemptId) -> Option<&WorkerId> {
        let last = self.attempts.get(&attempt.task);
        last.filter(|last| last.number == attempt.number)?
            .worker
            .as_ref()
    }

    /// What comes late of this task is of no use any more.
    pub(crate) fn close(&mut self, task: &TaskId) {
        self.attempts.remove(task);
    }

    fn forget_oldest(&mut self) {
        if let Some((_, task)) = self.oldest_first.pop_front() {
            self.attempts.remove(&task);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ended_task_is_known_for_a_while() {
        let mut ended = Ended::default();
        let worker: WorkerId = "w".parse().unwrap();
        ended.remember(Mono(0), TaskId::numbered(1), 2, Some(worker.clone()));
        let earlier = AttemptId::new(TaskId::numbered(1), 1);
        assert_eq!(ended.worker_of(&earlier), None);
        let last = AttemptId::new(TaskId::numbered(1), 2);
        assert_eq!(ended.worker_of(&last), Some(&worker));
        ended.forget(Mono(1000), Duration::from_secs(1));
        assert!(ended.has(&TaskId::numbered(1)));
        ended.forget(Mono(1001), Duration::from_secs(1));
        assert!(!ended.has(&TaskId::numbered(1)));
    }
}
