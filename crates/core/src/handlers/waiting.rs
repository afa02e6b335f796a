//! Why tasks wait: the queue's own order, and the scheduler's own reasons.

use std::{sync::Arc, time::Duration};

use cloudai_model::TaskId;

use crate::{
    answer::{Answer, WaitCause, Waiting},
    core::{Core, Step},
    explain::{Explanation, explain},
    input::{Call, Which},
    queue::Line,
    task::{Place, Task},
};

/// What a task waits for that is in a pause: a hold lasts beyond it.
fn paused(task: Option<&Task>, left: Duration) -> WaitCause {
    match task.is_some_and(|task| task.hold) {
        true => WaitCause::OnHold,
        false => WaitCause::BackOff(left),
    }
}

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
        let ready: Vec<(Arc<Line>, TaskId)> = first
            .into_iter()
            .map(|(line, task)| (line.clone(), task.clone()))
            .collect();
        let mut waiting = Vec::new();
        for (line, task) in ready {
            waiting.push(Waiting {
                task,
                position: waiting.len() + 1,
                cause: WaitCause::Room(self.explanation_of(step, &line)),
            });
        }
        let left = limit - waiting.len();
        let backing_off = self.queue.backing_off().take(left);
        waiting.extend(backing_off.enumerate().map(|(index, (until, task))| {
            let left = until.since(step.now.mono);
            Waiting {
                task: task.clone(),
                position: self.queue.ready_count() + index + 1,
                cause: paused(self.tasks.get(task), left),
            }
        }));
        let (left, before) = (limit - waiting.len(), self.before_those_on_hold());
        let on_hold = self.queue.on_hold().take(left).enumerate();
        waiting.extend(on_hold.map(|(index, task)| Waiting {
            task: task.clone(),
            position: before + index + 1,
            cause: WaitCause::OnHold,
        }));
        waiting
    }

    fn one_waiting(&mut self, step: &Step<'_>, id: &TaskId) -> Option<Waiting> {
        let task = self.tasks.get(id)?;
        let (position, cause) = match &task.place {
            Place::Given(_) => return None,
            Place::Ready => {
                let (line, rank) = (task.line.clone(), task.rank());
                let why = self.explanation_of(step, &line);
                (self.queue.ahead_of(rank) + 1, WaitCause::Room(why))
            }
            Place::OnHold => (self.position_on_hold(id), WaitCause::OnHold),
            Place::BackingOff(pause) => {
                let mut others = self.queue.backing_off();
                let ahead = others.position(|(_, other)| other == id).unwrap_or(0);
                let left = pause.until.since(step.now.mono);
                (
                    self.queue.ready_count() + ahead + 1,
                    paused(Some(task), left),
                )
            }
        };
        Some(Waiting {
            task: id.clone(),
            position,
            cause,
        })
    }

    fn before_those_on_hold(&self) -> usize {
        self.queue.ready_count() + self.queue.backing_off_count()
    }

    /// The place of a task on hold, from 1.
    pub(crate) fn position_on_hold(&self, id: &TaskId) -> usize {
        let rank = self.tasks.get(id).map(Task::rank);
        let ahead = rank.map_or(0, |rank| self.queue.held_ahead_of(rank));
        self.before_those_on_hold() + ahead + 1
    }

    /// Why the tasks of a line wait, as the last pass found it, or what holds up everything.
    pub(crate) fn explanation_of(&mut self, step: &Step<'_>, line: &Line) -> Explanation {
        let (registry, class, now) = (&self.registry, &line.class, step.now.mono);
        let explain = || explain(class, registry.iter(), now);
        let why = self.blocked.explanation(class, explain);
        let why = match registry.users().admit(&line.user, &class.resources) {
            Ok(()) => why,
            Err(limit) => why.limited(limit),
        };
        match &self.held_up {
            Some(held_up) => why.held_up(held_up),
            None => why,
        }
    }
}
