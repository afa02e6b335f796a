//! An attempt is over: what becomes of its task.

use cloudai_model::{
    AttemptId, AttemptReport, Exit, TaskId, TaskStatus, Whole,
    record::{AssignmentRecord, Record, ResultRecord},
};

use crate::{
    core::{Core, Step},
    effect::{Effect, Event, TaskNews},
    lifecycle::{AttemptEvent, TaskEvent, next_attempt},
    settings::doubled,
    task::{Place, StopCause},
};

/// How an attempt ended, as far as the master is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The worker's last word.
    Reported {
        /// What it says.
        report: Box<AttemptReport>,
        /// The last part of the log.
        log_tail: String,
    },
    /// The worker didn't take it.
    Refused(String),
    /// The worker has shown that it doesn't hold it.
    Vanished,
    /// Its worker is gone, and how.
    Lost(String),
}

impl Ending {
    fn event(&self) -> AttemptEvent {
        match self {
            Self::Reported { .. } => AttemptEvent::Report,
            Self::Refused(_) => AttemptEvent::Refuse,
            Self::Vanished => AttemptEvent::Vanish,
            Self::Lost(_) => AttemptEvent::Lose,
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Reported { report, .. } => report.end.exit.to_string(),
            Self::Refused(reason) => format!("refused: {reason}"),
            Self::Vanished => "the worker does not hold it".to_owned(),
            Self::Lost(reason) => reason.clone(),
        }
    }
}

/// What becomes of the task.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// It ends.
    End(TaskEvent, String),
    /// It waits again; whether this counts as a failure of its own.
    Again { failed: bool, reason: String },
}

/// Decides what an attempt's end means for its task. A failure of the machine takes none of the
/// task's retries; a cancel that came first is carried out; a result that came first stands.
fn verdict(ending: &Ending, stop: Option<StopCause>, retries_left: bool) -> Verdict {
    let end = |event, reason: &str| Verdict::End(event, reason.to_owned());
    let Ending::Reported { report, .. } = ending else {
        return match stop {
            Some(StopCause::User) => end(TaskEvent::Cancel, "cancelled"),
            Some(StopCause::TimedOut(timeout)) => {
                Verdict::End(TaskEvent::Fail, format!("timed out after {timeout:?}"))
            }
            Some(StopCause::Unconfirmed) | None => Verdict::Again {
                failed: false,
                reason: ending.describe(),
            },
        };
    };
    match (&report.end.exit, stop) {
        (Exit::Exited(0), _) => {
            let missing = report
                .files
                .reason()
                .map(|why| format!("files incomplete: {why}"));
            Verdict::End(TaskEvent::Succeed, missing.unwrap_or_default())
        }
        (Exit::Cancelled, Some(StopCause::User)) => end(TaskEvent::Cancel, "cancelled"),
        (Exit::Cancelled, Some(StopCause::TimedOut(timeout))) => {
            Verdict::End(TaskEvent::Fail, format!("timed out after {timeout:?}"))
        }
        (Exit::Cancelled, Some(StopCause::Unconfirmed) | None) => Verdict::Again {
            failed: false,
            reason: "stopped by its worker".to_owned(),
        },
        (Exit::Interrupted(reason), None | Some(StopCause::Unconfirmed)) => Verdict::Again {
            failed: false,
            reason: reason.clone(),
        },
        (Exit::Interrupted(_), Some(StopCause::User)) => end(TaskEvent::Cancel, "cancelled"),
        (exit, None | Some(StopCause::Unconfirmed)) if retries_left => Verdict::Again {
            failed: true,
            reason: exit.to_string(),
        },
        (exit, _) => Verdict::End(TaskEvent::Fail, exit.to_string()),
    }
}

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
        let stop = entry.stop;
        step.out
            .push(Effect::Write(Record::Assignment(AssignmentRecord {
                attempt: id.clone(),
                worker: entry.worker.clone(),
                sequence: entry.sequence,
                grant: entry.grant.clone(),
                assigned_at: entry.assigned_at,
                ended: Some((step.now.wall, ending.describe())),
            })));
        // A worker that was unregistered took its reservations with it.
        let released = self.registry.release(id);
        debug_assert!(released.is_ok() || matches!(ending, Ending::Lost(_)));
        self.blocked.clear();
        self.disarm_timeout(id);

        self.settle_task(step, &id.task, stop, ending);
        // Whoever watches it to its end finds the task as it is then.
        step.out.push(Effect::LeaveLog(id.clone()));
    }

    /// Ends the task of an attempt that has ended, or queues it again.
    fn settle_task(
        &mut self,
        step: &mut Step<'_>,
        id: &TaskId,
        stop: Option<StopCause>,
        ending: Ending,
    ) {
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        match verdict(&ending, stop, task.failures < task.max_retries) {
            Verdict::End(event, reason) => {
                self.finalise(step, id, event, &reason, Some(ending));
            }
            Verdict::Again { failed, reason } => {
                task.failures += u32::from(failed);
                self.requeue(step, id, failed, &reason);
            }
        }
    }

    /// Puts a task back into the queue; after a failure of its own it waits a moment first.
    fn requeue(&mut self, step: &mut Step<'_>, id: &TaskId, failed: bool, reason: &str) {
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        let legal = task.apply(TaskEvent::Requeue);
        debug_assert!(legal, "a task with an attempt is pending or running");
        if failed {
            let (first, longest) = (self.settings.first_back_off, self.settings.longest_back_off);
            let wait = doubled(first, task.failures.saturating_sub(1), longest);
            let until = step.now.mono.after(wait);
            task.place = Place::BackingOff(until);
            self.queue.back_off(until, id.clone());
        } else {
            task.place = Place::Ready;
            self.queue.insert(&task.class, task.rank(), id.clone());
        }
        let reason = format!("waiting again: {reason}");
        let state = task.state(reason.as_str());
        step.out
            .push(Effect::Write(Record::TaskChanged(id.clone(), state)));
        self.publish_task(step, id, &reason);
    }

    /// Ends a task, with its one result.
    pub(crate) fn finalise(
        &mut self,
        step: &mut Step<'_>,
        id: &TaskId,
        event: TaskEvent,
        reason: &str,
        ending: Option<Ending>,
    ) {
        let Some(mut task) = self.tasks.remove(id) else {
            return;
        };
        let worker = task.given().map(|attempt| attempt.worker.clone());
        let legal = task.apply(event);
        debug_assert!(legal, "every live task can end");
        let now = step.now.wall;
        let ended_on = worker.clone();
        let (end, log, files, log_tail) = match ending {
            Some(Ending::Reported { report, log_tail }) => {
                (Some(report.end), report.log, report.files, log_tail)
            }
            // There is a log and there are files only of what was reported.
            _ => (None, Whole::Complete, Whole::Complete, String::new()),
        };
        let mut state = task.state(reason);
        state.completed_at = Some(now);
        state.exit_code = end.as_ref().and_then(|end| end.exit.code());
        state.started_at = end
            .as_ref()
            .and_then(|end| end.started_at)
            .or(state.started_at);
        let on_time = task.status == TaskStatus::Completed;
        let result = ResultRecord {
            attempt: AttemptId::new(id.clone(), task.attempt),
            worker: worker.clone(),
            status: task.status,
            reason: reason.to_owned(),
            end,
            log,
            files,
            log_tail,
            completed_at: now,
            sla_success: task.deadline.map(|deadline| on_time && now <= deadline),
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cloudai_model::{ContainerEnd, PeakUsage, Wall};

    use super::*;

    fn reported(exit: Exit) -> Ending {
        let end = ContainerEnd {
            exit,
            started_at: Some(Wall(1)),
            finished_at: Wall(2),
            usage: PeakUsage::default(),
            image_digest: None,
        };
        let attempt = AttemptId::new(TaskId::numbered(1), 1);
        let report = Box::new(AttemptReport {
            attempt,
            end,
            log: Whole::Complete,
            files: Whole::Complete,
        });
        Ending::Reported {
            report,
            log_tail: String::new(),
        }
    }

    fn ends_as(ending: &Ending, stop: Option<StopCause>, retries_left: bool) -> Option<TaskEvent> {
        match verdict(ending, stop, retries_left) {
            Verdict::End(event, _) => Some(event),
            Verdict::Again { .. } => None,
        }
    }

    const USER: Option<StopCause> = Some(StopCause::User);
    const LATE: Option<StopCause> = Some(StopCause::TimedOut(Duration::from_secs(1)));

    #[test]
    fn a_result_that_came_before_the_cancel_stands() {
        assert_eq!(
            ends_as(&reported(Exit::Exited(0)), USER, true),
            Some(TaskEvent::Succeed)
        );
        assert_eq!(
            ends_as(&reported(Exit::Exited(3)), USER, true),
            Some(TaskEvent::Fail)
        );
        assert_eq!(
            ends_as(&reported(Exit::Exited(0)), LATE, true),
            Some(TaskEvent::Succeed)
        );
    }

    #[test]
    fn a_stop_ends_as_its_cause_says() {
        assert_eq!(
            ends_as(&reported(Exit::Cancelled), USER, true),
            Some(TaskEvent::Cancel)
        );
        assert_eq!(
            ends_as(&reported(Exit::Cancelled), LATE, true),
            Some(TaskEvent::Fail)
        );
        assert_eq!(
            ends_as(&reported(Exit::Cancelled), None, false),
            None,
            "not the task's doing"
        );
        assert_eq!(
            ends_as(&Ending::Lost("gone".into()), USER, true),
            Some(TaskEvent::Cancel)
        );
    }

    #[test]
    fn only_the_tasks_own_failure_takes_a_retry() {
        let failed = |ending: &Ending| match verdict(ending, None, true) {
            Verdict::Again { failed, .. } => Some(failed),
            Verdict::End(..) => None,
        };
        assert_eq!(failed(&reported(Exit::Exited(1))), Some(true));
        assert_eq!(failed(&reported(Exit::OutOfMemory)), Some(true));
        for ending in [
            reported(Exit::Interrupted("shut down".into())),
            Ending::Vanished,
            Ending::Lost("x".into()),
            Ending::Refused("x".into()),
        ] {
            assert_eq!(failed(&ending), Some(false), "{ending:?}");
        }
        assert_eq!(
            ends_as(&reported(Exit::Exited(1)), None, false),
            Some(TaskEvent::Fail)
        );
    }
}
