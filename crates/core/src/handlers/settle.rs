//! An attempt is over: what becomes of its task.

use std::time::Duration;

use cloudai_model::{
    AttemptId, TaskId, TaskStatus, Whole,
    record::{AssignmentRecord, Record, ResultRecord},
    retry::retry_words,
};

use crate::{
    core::{Core, Step},
    effect::{Effect, Event, TaskNews},
    lifecycle::{TaskEvent, next_attempt},
    settings::{doubled, jittered},
    task::{Pause, Place, StopCause},
    verdict::{Ended, Ending, Retries, TaskEnd, Verdict, given_up, took_its_worker_down, verdict},
};

impl Core {
    /// Ends a live attempt and decides what becomes of its task. Of an attempt that is not live
    /// any more nothing is changed.
    pub(crate) fn end_attempt(&mut self, step: &mut Step<'_>, id: &AttemptId, ending: Ending) {
        let Some(entry) = self.attempt_mut(id) else {
            return;
        };
        if next_attempt(entry.state, ending.event()).is_err() {
            return;
        }
        let attempt = Ended {
            state: entry.state,
            stop: entry.stop,
            worker: entry.worker.clone(),
            died_of: ending.describe(entry.grant.memory_bytes),
        };
        step.out
            .push(Effect::Write(Record::Assignment(AssignmentRecord {
                attempt: id.clone(),
                worker: entry.worker.clone(),
                sequence: entry.sequence,
                grant: entry.grant.clone(),
                assigned_at: entry.assigned_at,
                ended: Some((step.now.wall, attempt.died_of.clone())),
            })));
        if !(self.sabotage.no_release_at_cancel && attempt.stop == Some(StopCause::User)) {
            // A worker that was unregistered took its reservations with it.
            let released = self.registry.release(id);
            debug_assert!(released.is_ok() || matches!(ending, Ending::Withdrawn(_)));
        }
        self.blocked.clear();
        self.attempt_timers.clear(id);

        self.weigh(step, &id.task, &attempt, &ending);
        self.settle_task(step, &id.task, attempt, ending);
        // Whoever watches it to its end finds the task as it is then.
        step.out.push(Effect::LeaveLog(id.clone()));
    }

    /// Ends the task of an attempt that has ended, or queues it again.
    fn settle_task(&mut self, step: &mut Step<'_>, id: &TaskId, attempt: Ended, ending: Ending) {
        let limit = self.settings.machine_failure_limit;
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        task.untold = ending.is_untold().then(|| attempt.died_of.clone());
        if let Ending::Reported { report, .. } = &ending
            && let Some(started_at) = report.end.started_at
        {
            // Its start may not have been heard of.
            task.first_started_at.get_or_insert(started_at);
            self.queue_timers.clear(id);
        }
        let taken_down = took_its_worker_down(&ending, attempt.state);
        if taken_down {
            task.taken_down.push(attempt.worker);
        }
        let retries = Retries {
            are_left: task.failures < task.max_retries,
            on: &task.retry_on,
        };
        match verdict(&ending, attempt.stop, attempt.died_of, &retries) {
            Verdict::Requeue(_) if taken_down && task.taken_down.len() >= limit as usize => {
                let end = TaskEnd::new(TaskEvent::Fail, given_up(&task.taken_down));
                self.finalise(step, id, end, Some(ending));
            }
            Verdict::End(end) => self.finalise(step, id, end, Some(ending)),
            Verdict::Retry(reason) => self.retry(step, id, &reason),
            Verdict::Requeue(reason) if matches!(ending, Ending::NotSent(_)) => {
                self.try_later(step, id, &reason);
            }
            Verdict::Requeue(reason) => self.requeue(step, id, &reason),
        }
    }

    /// Lets a task wait whose assignment could not be sent, longer each time in a row: what keeps
    /// it from being sent is nothing that a free worker changes.
    fn try_later(&mut self, step: &mut Step<'_>, id: &TaskId, reason: &str) {
        let (first, longest) = (self.settings.first_hold_off, self.settings.longest_hold_off);
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        let wait = doubled(first, task.not_sent, longest);
        let wait = jittered(wait, &id.to_string(), u64::from(task.not_sent));
        task.not_sent = task.not_sent.saturating_add(1);
        let words = format!("waiting again: {reason}");
        self.back_off(step, id, wait, &words, &words);
    }

    /// Puts a task that is not to blame back into the queue.
    fn requeue(&mut self, step: &mut Step<'_>, id: &TaskId, reason: &str) {
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        let legal = task.apply(TaskEvent::Requeue);
        debug_assert!(legal, "a task with an attempt is pending or running");
        task.stand_in(&mut self.queue, id);
        let reason = format!("waiting again: {reason}");
        let state = task.state(reason.as_str());
        step.out
            .push(Effect::Write(Record::TaskChanged(id.clone(), state)));
        self.publish_task(step, id, &reason);
    }

    /// Lets a task that failed by itself wait for its next try.
    fn retry(&mut self, step: &mut Step<'_>, id: &TaskId, reason: &str) {
        let (first, longest) = (self.settings.first_back_off, self.settings.longest_back_off);
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        task.failures += 1;
        let wait = doubled(first, task.failures - 1, longest);
        let wait = jittered(wait, &id.to_string(), u64::from(task.failures));
        let words = retry_words(task.failures, task.max_retries, Some(wait), reason);
        self.back_off(step, id, wait, reason, &words);
    }

    /// Takes a task from its worker and lets it wait before it is queued again. `reason` is stored
    /// with it, `words` are told.
    fn back_off(
        &mut self,
        step: &mut Step<'_>,
        id: &TaskId,
        wait: Duration,
        reason: &str,
        words: &str,
    ) {
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        let legal = task.apply(TaskEvent::Requeue);
        debug_assert!(legal, "a task with an attempt is pending or running");
        let pause = Pause {
            until: step.now.mono.after(wait),
            until_wall: step.now.wall.after(wait),
        };
        task.place = Place::BackingOff(pause);
        self.queue.back_off(&task.line, pause.until, id.clone());
        step.out.push(Effect::Write(Record::TaskChanged(
            id.clone(),
            task.state(reason),
        )));
        self.publish_task(step, id, words);
    }

    /// Ends a task, with its one result.
    pub(crate) fn finalise(
        &mut self,
        step: &mut Step<'_>,
        id: &TaskId,
        task_end: TaskEnd,
        ending: Option<Ending>,
    ) {
        self.queue_timers.clear(id);
        let Some(mut task) = self.tasks.remove(id) else {
            return;
        };
        let worker = task.given().map(|attempt| attempt.worker.clone());
        let legal = task.apply(task_end.event);
        debug_assert!(legal, "every live task can end");
        let now = step.now.wall;
        let ended_on = worker.clone();
        let (end, log, files, log_tail) = match ending {
            Some(Ending::Reported { report, log_tail }) => {
                (Some(report.end), report.log, report.files, log_tail)
            }
            _ => {
                let whole = task.untold.as_deref().map_or(Whole::Complete, cut_short);
                (None, whole.clone(), whole, String::new())
            }
        };
        let mut state = task.state(task_end.reason.as_str());
        state.time_out = task_end.time_out;
        state.completed_at = Some(now);
        state.exit_code = end.as_ref().and_then(|end| end.exit.code());
        state.started_at = end
            .as_ref()
            .and_then(|end| end.started_at)
            .or(state.started_at);
        let on_time = task.status == TaskStatus::Completed;
        let deadline = task.effective_deadline();
        let result = ResultRecord {
            attempt: AttemptId::new(id.clone(), task.attempt),
            worker: worker.clone(),
            status: task.status,
            reason: task_end.reason,
            end,
            log,
            files,
            log_tail,
            completed_at: now,
            sla_success: deadline.map(|deadline| on_time && now <= deadline),
        };
        step.publish(Event::Task(TaskNews {
            task: id.clone(),
            attempt: task.attempt,
            worker,
            status: state.status,
            phase: state.phase,
            detail: state.reason.clone(),
            at: now,
        }));
        step.out
            .push(Effect::Write(Record::TaskChanged(id.clone(), state)));
        step.out
            .push(Effect::Write(Record::Result(Box::new(result))));
        self.ended
            .remember(step.now.mono, id.clone(), task.attempt, ended_on);
    }
}

/// What has come of an attempt whose worker can't tell any more whether that is all.
fn cut_short(why: &str) -> Whole {
    Whole::Incomplete(format!(
        "what its worker had not sent by then is missing: {why}"
    ))
}
