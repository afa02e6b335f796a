//! A heartbeat: what the master expects of a worker, compared with what the worker holds.
//!
//! The comparison, not a memory of past messages, keeps both in step. What the worker lacks and
//! can't be on its way is lost; what it holds and nobody wants is stopped there.

use std::sync::Arc;

use cloudai_model::{AttemptId, Mono, Phase, WorkerId};

use crate::{
    answer::{Answer, HeartbeatTaken, WorkerCallError},
    core::{Core, Step},
    effect::{Assignment, Effect, Event, WorkerChange},
    input::{Call, Heartbeat, Held},
    lifecycle::{AttemptEvent, AttemptState},
    registry::HeldReport,
    verdict::Ending,
};

/// Of what a worker holds and nobody wants, so many are stopped at a heartbeat. The rest waits for
/// the next.
const STOPS_A_HEARTBEAT: usize = 64;
/// After so many heartbeats in a row that lack it, an old node doesn't hold an attempt.
const OLD_NODE_MISSES: u8 = 2;

impl HeldReport {
    /// How far the worker is with an attempt; `None`: it doesn't hold it.
    pub(crate) fn phase_of(&self, attempt: &AttemptId) -> Option<Phase> {
        let first = self
            .held
            .partition_point(|held| held.attempt.task < attempt.task);
        let mut of_task = self.held[first..]
            .iter()
            .take_while(|held| held.attempt.task == attempt.task);
        of_task
            .find(|held| held.attempt == *attempt)
            .map(|held| held.phase)
    }
}

impl Core {
    pub(crate) fn heartbeat(&mut self, step: &mut Step<'_>, call: Call, heartbeat: Heartbeat) {
        let id = heartbeat.worker.clone();
        let taken = self.take_heartbeat(step, heartbeat);
        let answer = taken.map(|introduce| HeartbeatTaken { introduce });
        step.answer(call, Answer::HeartbeatTaken(answer));
        debug_assert!(
            self.registry
                .get(&id)
                .is_none_or(|worker| worker.last_heard.is_some())
        );
    }

    fn take_heartbeat(
        &mut self,
        step: &mut Step<'_>,
        heartbeat: Heartbeat,
    ) -> Result<bool, WorkerCallError> {
        let (now, id) = (step.now, heartbeat.worker);
        let was = self.registry.get(&id).cloned();
        let was = was.ok_or_else(|| WorkerCallError::NotAuthorized(id.clone()))?;
        if !was.may_be_at(heartbeat.home.as_deref()) {
            return Err(WorkerCallError::Duplicate(id));
        }
        let active = was.capacity.is_some();
        let is_introduced = was.introduced_as == heartbeat.incarnation;
        let introduced_at = was.introduced_at.filter(|_| is_introduced);
        // What an earlier start of its program offered may have come after what this one did.
        let misintroduced = match (&was.introduced_as, &heartbeat.incarnation) {
            (Some(introduced), Some(this)) => introduced != this,
            _ => false,
        };
        let introduce = !was.introduced || misintroduced;
        let mut held = heartbeat.held;
        for held in held.iter_mut().filter(|held| held.attempt.number == 0) {
            if let Some(meant) = self.meant_by(&id, &held.attempt) {
                held.attempt = meant;
            }
        }
        held.sort_by(|one, other| one.attempt.cmp(&other.attempt));
        let reported = Arc::new(HeldReport {
            at: now.mono,
            held,
            last_sequence: heartbeat.last_sequence,
        });
        let updated = self.registry.update(&id, |worker| {
            worker.reported = Some(reported.clone());
            worker.incarnation = heartbeat.incarnation;
            worker.home = heartbeat.home;
            worker.usage = heartbeat.usage;
            worker.unwell.clone_from(&heartbeat.unwell);
            worker.last_heard = Some(now.mono);
            worker.last_seen_at = Some(now.wall);
            worker.active = active;
        });
        debug_assert!(updated.is_ok(), "looked up just above");

        self.publish_change(step, &id, WorkerChange::Heartbeat);
        if active && !was.active {
            self.invites.remove(&id);
            self.publish_change(step, &id, WorkerChange::Active);
            self.follow_logs(step, &id);
        }
        if was.unwell != heartbeat.unwell {
            self.publish_change(step, &id, WorkerChange::Health(heartbeat.unwell.clone()));
        }
        if active != was.active || was.unwell != heartbeat.unwell {
            self.blocked.clear();
        }

        if self.sabotage.no_reconcile {
            return Ok(introduce);
        }
        self.reconcile_expected(step, &id, &reported, introduced_at);
        self.reconcile_held(step, &id, &reported);
        self.reconcile_stop_orders(step, &id, &reported);
        Ok(introduce)
    }

    fn publish_change(&self, step: &mut Step<'_>, id: &WorkerId, change: WorkerChange) {
        step.publish(Event::WorkerUpdated {
            worker: id.clone(),
            change,
        });
    }

    /// What the master expects there, and whether the worker has it.
    fn reconcile_expected(
        &mut self,
        step: &mut Step<'_>,
        id: &WorkerId,
        reported: &HeldReport,
        introduced_at: Option<Mono>,
    ) {
        let expected = self.registry.get(id).map(|worker| worker.attempts.clone());
        for attempt in expected.into_iter().flatten() {
            match reported.phase_of(&attempt) {
                Some(phase) => self.seen_on_worker(step, id, &attempt, phase),
                None => self.missing_on_worker(step, id, &attempt, reported, introduced_at),
            }
        }
    }

    fn seen_on_worker(
        &mut self,
        step: &mut Step<'_>,
        id: &WorkerId,
        attempt: &AttemptId,
        phase: Phase,
    ) {
        let Some(entry) = self.attempt_mut(attempt) else {
            return;
        };
        entry.missed_heartbeats = 0;
        let stopping = entry.state == AttemptState::Stopping;
        let event = AttemptEvent::of_phase(phase).unwrap_or(AttemptEvent::Accept);
        self.advance(step, attempt, event, "");
        let ended = matches!(phase, Phase::Uploading | Phase::Done);
        if stopping && phase != Phase::Cancelling && !ended {
            self.send_stop(step, id, attempt);
        }
    }

    /// A heartbeat may have left before the assignment came, and arrive when that has been taken: so
    /// its worker lacks an attempt only if this start of it said what it is after the attempt was taken,
    /// or if the heartbeat comes so late that the worker would count as gone.
    pub(crate) fn missing_on_worker(
        &mut self,
        step: &mut Step<'_>,
        id: &WorkerId,
        attempt: &AttemptId,
        reported: &HeldReport,
        introduced_at: Option<Mono>,
    ) {
        let overtaken_within = self.settings.inactive_after;
        // What came while this process stood still may be older than that.
        let forgiven = self.forgiven;
        let Some(entry) = self.attempt_mut(attempt) else {
            return;
        };
        let gone = match reported.last_sequence {
            // It has been told of this attempt, or of a later one, and doesn't hold it. While the
            // call is under way it may have been overtaken by a later assignment.
            Some(last) if last >= entry.sequence => !entry.in_flight,
            // It is asked to stop it, and answers.
            Some(_) if entry.state == AttemptState::Stopping => false,
            // It had it, and forgot: its spool is lost.
            Some(_) if entry.state > AttemptState::Sent => {
                let must_have_it = |taken_at: Mono| {
                    introduced_at.is_some_and(|at| taken_at <= at)
                        || reported.at.since(taken_at.max(forgiven)) > overtaken_within
                };
                entry.taken_at.is_some_and(must_have_it)
            }
            Some(_) => false,
            None => {
                let missed = u8::from(!entry.in_flight);
                entry.missed_heartbeats = entry.missed_heartbeats.saturating_add(missed);
                entry.missed_heartbeats >= OLD_NODE_MISSES
            }
        };
        if gone {
            return self.end_attempt(step, attempt, Ending::Vanished);
        }
        match entry.state {
            // To an old node nothing is sent twice: it might run it twice.
            AttemptState::Sent if !entry.in_flight && reported.last_sequence.is_some() => {
                entry.in_flight = true;
                // It never came there.
                entry.may_pull_since = None;
                let again = Assignment {
                    attempt: attempt.clone(),
                    worker: id.clone(),
                    sequence: entry.sequence,
                    grant: entry.grant.clone(),
                    submitted_at: self
                        .tasks
                        .get(&attempt.task)
                        .map_or(step.now.wall, |task| task.submitted_at),
                };
                step.out.push(Effect::Assign(again));
            }
            AttemptState::Stopping => self.send_stop(step, id, attempt),
            _ => {}
        }
    }

    /// What the worker holds that is not expected there.
    fn reconcile_held(&self, step: &mut Step<'_>, id: &WorkerId, reported: &HeldReport) {
        let Some(worker) = self.registry.get(id) else {
            return;
        };
        let unwanted = reported
            .held
            .iter()
            .filter(|held| !self.is_wanted(id, held));
        for held in unwanted.take(STOPS_A_HEARTBEAT) {
            let reason = "the master does not want it any more";
            step.out
                .push(Self::stop_request(worker, held.attempt.clone(), reason));
        }
    }

    /// Whether what a worker holds is the live attempt of its task, or has only just ended.
    pub(crate) fn is_wanted(&self, id: &WorkerId, held: &Held) -> bool {
        let live = self.tasks.get(&held.attempt.task);
        let current = AttemptId::new(
            held.attempt.task.clone(),
            live.map_or(0, |task| task.attempt),
        );
        let wanted = live
            .and_then(|task| task.given())
            .is_some_and(|attempt| attempt.worker == *id && held.attempt == current);
        // Its report was taken a moment ago, and the heartbeat left before.
        let over_there = matches!(held.phase, Phase::Uploading | Phase::Done);
        wanted || (over_there && self.ended.worker_of(&held.attempt) == Some(id))
    }

    /// What it was to stop, and doesn't hold any more.
    fn reconcile_stop_orders(&mut self, step: &mut Step<'_>, id: &WorkerId, reported: &HeldReport) {
        let gone: Vec<_> = self
            .stop_orders
            .of(id)
            .filter(|order| self.is_at(id, &order.address))
            .filter(|order| reported.phase_of(&order.attempt).is_none())
            .map(|order| order.attempt.clone())
            .collect();
        for attempt in gone {
            self.end_stop_order(step, id, &attempt);
        }
    }
}
