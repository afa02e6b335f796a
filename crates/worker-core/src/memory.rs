//! What was answered about attempts that are not held: those refused, those cancelled before they
//! came, those reported and acknowledged.
//!
//! A memory of bounded size and span. What it has forgotten can only be asked by a message that
//! was under way for as long.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use cloudai_model::{AttemptId, Mono};

use crate::answer::{AssignAnswer, Refusal};

/// However busy the worker, no more are remembered.
const LIMIT: usize = 20_000;

#[derive(Debug, Default)]
pub(crate) struct Memory {
    answers: BTreeMap<AttemptId, AssignAnswer>,
    tombstones: BTreeSet<AttemptId>,
    oldest_first: VecDeque<(Mono, AttemptId)>,
}

impl Memory {
    /// What an assignment of this attempt is answered.
    pub(crate) fn answer(&self, attempt: &AttemptId) -> Option<&AssignAnswer> {
        self.answers.get(attempt)
    }

    pub(crate) fn remember(&mut self, now: Mono, attempt: AttemptId, answer: AssignAnswer) {
        if self.answers.insert(attempt.clone(), answer).is_none() {
            self.oldest_first.push_back((now, attempt));
        }
        if self.oldest_first.len() > LIMIT {
            self.forget_oldest();
        }
    }

    /// Forgets what was remembered longer than `span` ago.
    pub(crate) fn forget(&mut self, now: Mono, span: Duration) {
        while self
            .oldest_first
            .front()
            .is_some_and(|(at, _)| now.since(*at) > span)
        {
            self.forget_oldest();
        }
    }

    /// A cancel named this attempt, which is not held. It is refused when it comes, also after a
    /// restart; one that was answered before keeps its answer until then.
    pub(crate) fn bury(&mut self, now: Mono, attempt: AttemptId) {
        self.tombstones.insert(attempt.clone());
        if self.answer(&attempt).is_none() {
            let refusal = Refusal::CancelledBefore(attempt.clone());
            self.remember(now, attempt, AssignAnswer::Refused(refusal));
        }
    }

    /// The attempts that a cancel named and that were not held.
    pub(crate) fn tombstones(&self) -> Vec<AttemptId> {
        self.tombstones.iter().cloned().collect()
    }

    fn forget_oldest(&mut self) {
        if let Some((_, attempt)) = self.oldest_first.pop_front() {
            self.answers.remove(&attempt);
            self.tombstones.remove(&attempt);
        }
    }
}
