//! What the state of the master's disks brings about: new work waits while there is no room, and what
//! ended tasks left is removed, or they are forgotten, but never anything of a task that lives.

use std::sync::Arc;

use crate::{
    answer::Answer,
    core::{Core, Step},
    effect::Effect,
    input::{Call, Retired},
};

impl Core {
    /// Takes no new task and places none, or does so again.
    pub(crate) fn hold_up(&mut self, why: Option<Arc<str>>) {
        self.held_up = why;
        // Whoever waits is to learn why, and then to be looked at again.
        self.blocked.clear();
    }

    pub(crate) fn retire(&mut self, step: &mut Step<'_>, call: Call, tasks: Vec<Retired>) {
        let mut live = Vec::new();
        for retired in tasks {
            if self.tasks.contains_key(&retired.task) {
                live.push(retired.task);
                continue;
            }
            // Files or a report that come late must not bring back what is gone.
            self.ended.close(&retired.task);
            step.out
                .extend(retired.records.into_iter().map(Effect::Write));
        }
        step.answer(call, Answer::Retired(Ok(live)));
    }
}
