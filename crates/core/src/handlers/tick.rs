//! What the passing of time brings about.

use cloudai_model::Mono;

use crate::{
    core::{Core, Invite, Step},
    effect::{Effect, Event, WorkerChange},
    registry::Worker,
    settings::jittered,
    task::StopCause,
    verdict::Ending,
};

impl Core {
    pub(crate) fn tick(&mut self, step: &mut Step<'_>) {
        let now = step.now.mono;
        let stood_still = now.since(self.last_tick) > self.settings.tick_gap();
        if stood_still && !self.sabotage.no_forgiveness {
            // This process stood still, and heard nobody meanwhile.
            self.forgive(now);
        }
        self.last_tick = now;
        self.notice_silence(step);
        self.doubt_unconfirmed(step);
        self.end_overdue(step);
        self.take_back_due(step);
        for task in self.queue.backed_off(now) {
            if let Some(entry) = self.tasks.get_mut(&task) {
                entry.stand_in(&mut self.queue, &task);
            }
        }
        self.send_invites(step);
        self.repeat_stop_orders(step);
        self.ended.forget(now, self.settings.remember_ended);
        // A full look at everything: hold-offs end, and whatever an event missed is found.
        self.blocked.tick();
    }

    /// Counts silence, and time without acceptance, from `now` on.
    pub(crate) fn forgive(&mut self, now: Mono) {
        self.forgiven = now;
        self.registry
            .forgive(now.after(self.settings.accept_within));
    }

    fn notice_silence(&mut self, step: &mut Step<'_>) {
        let now = step.now.mono;
        for id in self
            .registry
            .silence(now, self.forgiven, self.settings.inactive_after)
        {
            self.invites
                .insert(id.clone(), Invite { due: now, times: 0 });
            let change = WorkerChange::Inactive;
            step.publish(Event::WorkerUpdated { worker: id, change });
        }
        let silent = |last_heard: Option<Mono>| {
            now.since(last_heard.unwrap_or_default().max(self.forgiven)) > self.settings.lost_after
        };
        let lost: Vec<Worker> = self
            .registry
            .iter()
            .filter(|worker| !worker.attempts.is_empty() && silent(worker.last_heard))
            .cloned()
            .collect();
        for worker in lost {
            let change = WorkerChange::Lost;
            step.publish(Event::WorkerUpdated {
                worker: worker.id.clone(),
                change,
            });
            for attempt in &worker.attempts {
                self.order_stop(step, &worker, attempt);
                let reason = format!("worker {} was lost", worker.id);
                self.end_attempt(step, attempt, Ending::Lost(reason));
            }
        }
    }

    /// Reservations whose worker never confirmed: stop the attempt there, if it has it; its
    /// answer, or its loss, frees the reservation.
    fn doubt_unconfirmed(&mut self, step: &mut Step<'_>) {
        for attempt in self.registry.expired(step.now.mono) {
            let confirmed = self.registry.confirm(&attempt);
            debug_assert!(confirmed.is_ok(), "listed just above");
            self.ask_stop(step, &attempt.task, StopCause::Unconfirmed);
        }
    }

    /// Calls the inactive workers that are due, so that they register.
    pub(crate) fn send_invites(&mut self, step: &mut Step<'_>) {
        let now = step.now.mono;
        for (id, invite) in &mut self.invites {
            if invite.due > now {
                continue;
            }
            invite.times += 1;
            invite.due = now.after(jittered(
                self.settings.invite_interval,
                id.as_str(),
                invite.times,
            ));
            if let Some(worker) = self.registry.get(id) {
                step.out.push(Effect::Invite {
                    worker: id.clone(),
                    address: worker.address.clone(),
                    registration: worker.registration,
                });
            }
        }
    }

    fn repeat_stop_orders(&mut self, step: &mut Step<'_>) {
        if self.next_stop_orders > step.now.mono {
            return;
        }
        self.next_stop_orders = step.now.mono.after(self.settings.invite_interval);
        for worker in self.stop_orders.workers() {
            self.send_stop_orders(step, &worker);
        }
    }
}
