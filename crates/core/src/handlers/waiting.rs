//! Why tasks wait: the queue's own order, and the scheduler's own reasons.

use std::sync::Arc;

use cloudai_model::TaskId;

use crate::{
    answer::{Answer, WaitCause, Waiting},
    class::TaskClass,
    core::{Core, Step},
    explain::{Explanation, explain},
    input::{Call, Which},
    task::Place,
};

impl Core {
    pub(crate) fn why_waiting(&mut self, step: &mut Step<'_>, call: Call, which: &Which) {
        let waiting = match which {
            Which::First(limit) => self.first_waiting(step, *limit),
            Which::One(task) => self.one_waiting(step, task).into_iter().collect(),
        };
        step.answer(call, Answer::Waiting(Ok(waiting)));
    }

    fn first_waiting(&mut self, step: &Step<'_>, limit: usize) -> Vec<Waiting> {
        let first = self.queue.first(limit);
        let ready: Vec<(Arc<TaskClass>, TaskId)> = first
            .into_iter()
            .map(|(class, task)| (class.clone(), task.clone()))
            .collect();
        let mut waiting = Vec::new();
        for (class, task) in ready {
            waiting.push(Waiting {
                task,
                position: waiting.len() + 1,
                cause: WaitCause::Room(self.explanation_of(step, &class)),
            });
        }
        let left = limit - waiting.len();
        let backing_off = self.queue.backing_off().take(left);
        waiting.extend(backing_off.enumerate().map(|(index, (until, task))| {
            let task = task.clone();
            Waiting {
                task,
                position: self.queue.ready_count() + index + 1,
                cause: WaitCause::BackOff(until.since(step.now.mono)),
            }
        }));
        waiting
    }

    fn one_waiting(&mut self, step: &Step<'_>, id: &TaskId) -> Option<Waiting> {
        let task = self.tasks.get(id)?;
        let (position, cause) = match &task.place {
            Place::Given(_) => return None,
            Place::Ready => {
                let (class, rank) = (task.class.clone(), task.rank());
                let why = self.explanation_of(step, &class);
                (self.queue.ahead_of(rank) + 1, WaitCause::Room(why))
            }
            Place::BackingOff(pause) => {
                let mut others = self.queue.backing_off();
                let ahead = others.position(|(_, other)| other == id).unwrap_or(0);
                let left = pause.until.since(step.now.mono);
                (
                    self.queue.ready_count() + ahead + 1,
                    WaitCause::BackOff(left),
                )
            }
        };
        Some(Waiting {
            task: id.clone(),
            position,
            cause,
        })
    }

    /// Why a class waits, as the last pass found it, or what holds up everything.
    pub(crate) fn explanation_of(&mut self, step: &Step<'_>, class: &TaskClass) -> Explanation {
        let (registry, now) = (&self.registry, step.now.mono);
        let explain = || explain(class, registry.iter(), now);
        let why = self.blocked.explanation(class, explain);
        match &self.held_up {
            Some(held_up) => why.held_up(held_up),
            None => why,
        }
    }
}
