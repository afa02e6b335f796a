//! What workers say about attempts: acceptance, phases, files, the end.

use cloudai_model::{
    AttemptId, AttemptReport, ContainerEnd, Exit, Phase, TaskId, TimeOut, WorkerId,
    record::{FilesRecord, Record},
    time::span_words,
};

use crate::{
    answer::{Answer, Reported, WorkerCallError},
    core::{Core, Step},
    effect::Effect,
    input::{AssignAnswer, Call, StopAnswer},
    lifecycle::{AttemptEvent, AttemptState, TaskEvent, next_attempt},
    registry::HoldOff,
    settings::doubled,
    task::{Attempt, StopCause},
    verdict::Ending,
};

impl Core {
    pub(crate) fn assign_answered(
        &mut self,
        step: &mut Step<'_>,
        attempt: &AttemptId,
        answer: AssignAnswer,
    ) {
        let Some(entry) = self.attempt_mut(attempt) else {
            return;
        };
        entry.in_flight = false;
        let worker = entry.worker.clone();
        match answer {
            AssignAnswer::Accepted => {
                let taken = self
                    .registry
                    .update(&worker, |worker| worker.hold_off = None);
                debug_assert!(taken.is_ok(), "attempts are on registered workers");
                if let Some(task) = self.tasks.get_mut(&attempt.task) {
                    task.not_sent = 0;
                }
                self.advance(step, attempt, AttemptEvent::Accept, "");
            }
            AssignAnswer::Refused(reason) => {
                let waited_for = next_attempt(entry.state, AttemptEvent::Refuse).is_ok();
                if waited_for {
                    let stopping = entry.stop.is_some();
                    if !stopping {
                        self.hold_off(step, &worker, &reason);
                    }
                    self.end_attempt(step, attempt, Ending::Refused(reason));
                }
            }
            AssignAnswer::NotSent(reason) => {
                let waited_for = next_attempt(entry.state, AttemptEvent::Refuse).is_ok();
                if waited_for {
                    self.end_attempt(step, attempt, Ending::NotSent(reason));
                }
            }
            AssignAnswer::Undelivered(reason) => self.hold_off(step, &worker, &reason),
        }
    }

    /// Leaves a worker alone for a moment, longer each time in a row.
    fn hold_off(&mut self, step: &Step<'_>, worker: &WorkerId, reason: &str) {
        let (first, longest) = (self.settings.first_hold_off, self.settings.longest_hold_off);
        let now = step.now.mono;
        let held = self.registry.update(worker, |worker| {
            let times = worker
                .hold_off
                .as_ref()
                .map_or(0, |hold_off| hold_off.times);
            let until = now.after(doubled(first, times, longest));
            let reason = reason.to_owned();
            worker.hold_off = Some(HoldOff {
                until,
                reason,
                times: times.saturating_add(1),
            });
        });
        debug_assert!(held.is_ok(), "attempts are on registered workers");
    }

    pub(crate) fn stop_answered(
        &mut self,
        step: &mut Step<'_>,
        attempt: &AttemptId,
        worker: &WorkerId,
        answer: StopAnswer,
    ) {
        if answer != StopAnswer::NotHeld {
            // Asked again at the next heartbeat, or at the next round of stop orders.
            return;
        }
        self.end_stop_order(step, worker, attempt);
        let expected = self
            .attempt_mut(attempt)
            .is_some_and(|entry| entry.worker == *worker);
        if expected {
            self.end_attempt(step, attempt, Ending::Vanished);
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one for each part of the message"
    )]
    pub(crate) fn progress(
        &mut self,
        step: &mut Step<'_>,
        call: Call,
        worker: &WorkerId,
        attempt: &AttemptId,
        phase: Phase,
        detail: String,
        end: Option<Box<ContainerEnd>>,
    ) {
        let reported = self.whose(worker, attempt);
        step.answer(call, Answer::Reported(reported.clone()));
        if reported != Ok(Reported::Live) {
            return;
        }
        let ran_since = end.and_then(|end| end.started_at);
        if let (Some(started_at), Some(task)) = (ran_since, self.tasks.get_mut(&attempt.task)) {
            task.started_at = Some(started_at);
        }
        if let Some(event) = AttemptEvent::of_phase(phase) {
            self.advance(step, attempt, event, &detail);
        }
        if ran_since.is_some() {
            // A heartbeat may have told that it is over, but not that it had begun.
            self.started(step, attempt);
        }
    }

    pub(crate) fn vet(
        &mut self,
        step: &mut Step<'_>,
        call: Call,
        worker: &WorkerId,
        attempt: &AttemptId,
    ) {
        let reported = self.whose(worker, attempt);
        step.answer(call, Answer::Reported(reported));
    }

    pub(crate) fn files_stored(
        &mut self,
        step: &mut Step<'_>,
        call: Call,
        worker: &WorkerId,
        files: Box<FilesRecord>,
    ) {
        let reported = self.whose(worker, &files.attempt);
        let wanted = match reported {
            Ok(Reported::Live) => true,
            Ok(Reported::Ended) => self.may_come_late(worker, &files.attempt),
            Ok(Reported::Superseded) | Err(_) => false,
        };
        if wanted {
            step.out.push(Effect::Write(Record::Files(files)));
        }
        step.answer(call, Answer::Reported(reported));
    }

    pub(crate) fn finished(
        &mut self,
        step: &mut Step<'_>,
        call: Call,
        worker: &WorkerId,
        report: AttemptReport,
        log_tail: String,
    ) {
        let attempt = self.counts_for(&report.attempt);
        let reported = self.whose(worker, &attempt);
        if reported == Ok(Reported::Live) {
            let report = self.as_meant_by(worker, report);
            if let Exit::Interrupted(reason) = &report.end.exit {
                // Whatever it was, the next task would meet it, too.
                let reason = reason.clone();
                self.hold_off(step, worker, &reason);
            }
            let report = Box::new(report);
            self.end_attempt(step, &attempt, Ending::Reported { report, log_tail });
        } else {
            // The one result of an ended task stands. If it was to be stopped: it has ended,
            // and the worker drops it on this answer.
            self.end_stop_order(step, worker, &attempt);
        }
        step.answer(call, Answer::Reported(reported));
    }

    /// How a worker stands to an attempt. Nobody else's worker has a say, neither while it lives
    /// nor after.
    fn whose(&self, worker: &WorkerId, attempt: &AttemptId) -> Result<Reported, WorkerCallError> {
        if self.registry.get(worker).is_none() && !self.stop_orders.has(worker, attempt) {
            return Err(WorkerCallError::NotAuthorized(worker.clone()));
        }
        let live = self.live_attempt(attempt);
        let anyone = self.sabotage.no_fencing;
        Ok(
            if live.is_some_and(|live| anyone || live.worker == *worker) {
                Reported::Live
            } else if self.ended.worker_of(attempt) == Some(worker) {
                Reported::Ended
            } else {
                Reported::Superseded
            },
        )
    }

    /// The attempt that a last word on this one counts for: this one.
    fn counts_for(&self, attempt: &AttemptId) -> AttemptId {
        let task = self.tasks.get(&attempt.task);
        let live = task.filter(|task| self.sabotage.no_fencing && task.given().is_some());
        let number = live.map_or(attempt.number, |task| task.attempt);
        AttemptId::new(attempt.task.clone(), number)
    }

    /// The live attempt with this id.
    pub(crate) fn live_attempt(&self, attempt: &AttemptId) -> Option<&Attempt> {
        let task = self.tasks.get(&attempt.task)?;
        task.given().filter(|_| task.attempt == attempt.number)
    }

    /// The same, to change it.
    pub(crate) fn attempt_mut(&mut self, attempt: &AttemptId) -> Option<&mut Attempt> {
        let task = self.tasks.get_mut(&attempt.task)?;
        if task.attempt != attempt.number {
            return None;
        }
        task.given_mut()
    }

    /// Takes an attempt a step further, and its task with it. What comes late changes nothing.
    pub(crate) fn advance(
        &mut self,
        step: &mut Step<'_>,
        attempt: &AttemptId,
        event: AttemptEvent,
        detail: &str,
    ) {
        let (now, id) = (step.now, &attempt.task);
        let Some(entry) = self.attempt_mut(attempt) else {
            return;
        };
        let next = next_attempt(entry.state, event);
        let Ok(state) = next else {
            if !detail.is_empty() {
                self.publish_task(step, id, detail);
            }
            return;
        };
        let before = std::mem::replace(&mut entry.state, state);
        entry.taken_at.get_or_insert(now.mono);
        let worker = entry.worker.clone();
        if before == AttemptState::Sent {
            let confirmed = self.registry.confirm(attempt);
            debug_assert!(confirmed.is_ok(), "live attempts are reserved for");
            step.out.push(Effect::FollowLog {
                worker,
                attempt: attempt.clone(),
            });
        }
        if state != AttemptState::Stopping {
            self.disarm_pull_time_out(attempt);
        }
        match state {
            AttemptState::Pulling => self.arm_pull_time_out(now, attempt),
            AttemptState::Running => self.started(step, attempt),
            AttemptState::Uploading => {
                let freed = self.registry.release_compute(attempt);
                debug_assert!(freed.is_ok(), "live attempts are reserved for");
                self.blocked.clear();
                // Whether it ever ran, only its start tells.
                if before == AttemptState::Running {
                    self.started(step, attempt);
                }
            }
            _ => {}
        }
        debug_assert!(
            now.mono >= self.last_tick,
            "the monotonic clock never steps back"
        );
        self.publish_task(step, id, detail);
    }

    /// The container runs, or has run: the task is running until its files are in. Once is enough.
    fn started(&mut self, step: &mut Step<'_>, attempt: &AttemptId) {
        let Some(task) = self.tasks.get_mut(&attempt.task) else {
            return;
        };
        if !task.apply(TaskEvent::Start) {
            return;
        }
        task.heard_running = Some(step.now.mono);
        let started_at = *task.started_at.get_or_insert(step.now.wall);
        task.first_started_at.get_or_insert(started_at);
        let state = task.state("");
        step.out.push(Effect::Write(Record::TaskChanged(
            attempt.task.clone(),
            state,
        )));
        self.queue_timers.clear(&attempt.task);
        self.arm_run_time_out(step.now, &attempt.task);
    }

    /// Asks an attempt's worker to stop it, unless it has ended by itself.
    pub(crate) fn ask_stop(&mut self, step: &mut Step<'_>, task: &TaskId, cause: StopCause) {
        let Some(live) = self.tasks.get_mut(task) else {
            return;
        };
        let attempt = AttemptId::new(task.clone(), live.attempt);
        let Some(entry) = live.given_mut() else {
            return;
        };
        match next_attempt(entry.state, AttemptEvent::AskStop) {
            Ok(state) => entry.state = state,
            Err(_) if entry.state == AttemptState::Stopping => {}
            Err(_) => return,
        }
        // A user's wish outranks every other reason, and no other reason replaces one.
        if cause == StopCause::User || entry.stop.is_none() {
            entry.stop = Some(cause);
        }
        let worker = entry.worker.clone();
        let state = live.state("");
        step.out
            .push(Effect::Write(Record::TaskChanged(task.clone(), state)));
        self.send_stop(step, &worker, &attempt);
        self.publish_task(step, task, "");
    }

    pub(crate) fn send_stop(&self, step: &mut Step<'_>, worker: &WorkerId, attempt: &AttemptId) {
        let cause = self
            .tasks
            .get(&attempt.task)
            .and_then(|task| task.given()?.stop);
        if self.sabotage.no_stop_at_cancel && cause == Some(StopCause::User) {
            return;
        }
        let reason = match cause {
            Some(StopCause::User) => "cancelled by its user".to_owned(),
            Some(StopCause::TimedOut(overdue)) => {
                let limit = span_words(overdue.limit);
                match overdue.what {
                    TimeOut::Pull => format!("its pull took longer than {limit}"),
                    TimeOut::Run | TimeOut::Queue => format!("it ran longer than {limit}"),
                }
            }
            Some(StopCause::Unconfirmed) | None => "its acceptance was not confirmed".to_owned(),
        };
        if let Some(worker) = self.registry.get(worker) {
            step.out
                .push(Self::stop_request(worker, attempt.clone(), reason));
        }
    }
}
