//! Tasks that ended a short while ago, to know late and repeated messages for what they are.
//!
//! It is a memory of bounded size and span: whatever it has forgotten is answered as unknown,
//! which every sender understands as final, too.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use cloudai_model::{AttemptId, Mono, TaskId};

/// However busy the cluster, no more are remembered.
const LIMIT: usize = 200_000;

#[derive(Debug, Default)]
pub(crate) struct Ended {
    attempts: BTreeMap<TaskId, u32>,
    oldest_first: VecDeque<(Mono, TaskId)>,
}

impl Ended {
    /// A task has ended with this attempt (0: before any).
    pub(crate) fn remember(&mut self, now: Mono, task: TaskId, attempt: u32) {
        self.oldest_first.push_back((now, task.clone()));
        self.attempts.insert(task, attempt);
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

    /// Whether it was this attempt that ended its task.
    pub(crate) fn was_last(&self, attempt: &AttemptId) -> bool {
        self.attempts.get(&attempt.task) == Some(&attempt.number)
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
        ended.remember(Mono(0), TaskId::numbered(1), 2);
        assert!(ended.was_last(&AttemptId::new(TaskId::numbered(1), 2)));
        assert!(!ended.was_last(&AttemptId::new(TaskId::numbered(1), 1)));
        ended.forget(Mono(1000), Duration::from_secs(1));
        assert!(ended.has(&TaskId::numbered(1)));
        ended.forget(Mono(1001), Duration::from_secs(1));
        assert!(!ended.has(&TaskId::numbered(1)));
    }
}
