//! How an attempt can end, and what its end means for its task.

use std::{collections::BTreeMap, time::Duration};

use cloudai_model::{AttemptReport, Exit, Failure, RetryOn, TimeOut, WorkerId, time::span_words};

use crate::{
    lifecycle::{AttemptEvent, AttemptState, TaskEvent},
    task::{Overdue, StopCause},
};

/// What containers are stopped with: SIGTERM and then SIGKILL, or what their image names, mostly SIGINT or
/// SIGQUIT.
const STOP_SIGNALS: [i32; 4] = [2, 3, 9, 15];
/// So much later than its end a time-out is noticed where nothing is amiss.
const NOTICED_LATE: Duration = Duration::from_secs(5);

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
    /// It could not be sent, by no fault of its worker.
    NotSent(String),
    /// The worker has shown that it doesn't hold it.
    Vanished,
    /// Its worker was silent for too long.
    Lost(String),
    /// Its worker was taken out of the cluster, and how.
    Withdrawn(String),
}

impl Ending {
    pub(crate) fn event(&self) -> AttemptEvent {
        match self {
            Self::Reported { .. } => AttemptEvent::Report,
            Self::Refused(_) | Self::NotSent(_) => AttemptEvent::Refuse,
            Self::Vanished => AttemptEvent::Vanish,
            Self::Lost(_) | Self::Withdrawn(_) => AttemptEvent::Lose,
        }
    }

    /// Whether a container may have run of whose end its worker has told nothing.
    pub(crate) fn is_untold(&self) -> bool {
        matches!(self, Self::Vanished | Self::Lost(_) | Self::Withdrawn(_))
    }

    /// In words, of an attempt that might use so much memory.
    pub(crate) fn describe(&self, memory_bytes: u64) -> String {
        match self {
            Self::Reported { report, .. } => report.end.reason(memory_bytes),
            Self::Refused(reason) => format!("refused: {reason}"),
            Self::NotSent(reason) => format!("it could not be sent: {reason}"),
            Self::Vanished => "the worker does not hold it".to_owned(),
            Self::Lost(reason) | Self::Withdrawn(reason) => reason.clone(),
        }
    }
}

/// What is to be known of an attempt that has just ended.
pub(crate) struct Ended {
    /// How far it was before.
    pub(crate) state: AttemptState,
    pub(crate) stop: Option<StopCause>,
    pub(crate) worker: WorkerId,
    pub(crate) died_of: String,
}

/// A task's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TaskEnd {
    pub(crate) event: TaskEvent,
    pub(crate) reason: String,
    /// The time-out that ended it.
    pub(crate) time_out: Option<TimeOut>,
}

impl TaskEnd {
    pub(crate) fn new(event: TaskEvent, reason: impl Into<String>) -> Self {
        Self {
            event,
            reason: reason.into(),
            time_out: None,
        }
    }
}

/// What becomes of the task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It ends.
    End(TaskEnd),
    /// It failed by itself, and is run again after a pause.
    Retry(String),
    /// It waits again as if nothing had been: it was none of its doing.
    Requeue(String),
}

/// Whether a task that failed by itself is run again.
pub(crate) struct Retries<'a> {
    pub(crate) are_left: bool,
    pub(crate) on: &'a RetryOn,
}

impl Retries<'_> {
    fn allow(&self, failure: Failure<'_>) -> bool {
        self.are_left && self.on.counts(failure)
    }
}

impl Overdue {
    /// As the reason of a task that ended so.
    pub(crate) fn reason(&self) -> String {
        let (limit, took) = (span_words(self.limit), span_words(self.took));
        match self.what {
            TimeOut::Run if self.took <= self.limit + NOTICED_LATE => {
                format!("timed out after {limit}")
            }
            // The time-out was shortened, or no master was there to notice.
            TimeOut::Run => format!("timed out: it had run for {took} and may run for {limit}"),
            TimeOut::Pull => format!("the pull of its image timed out after {limit}"),
            TimeOut::Queue => format!("timed out after {limit} in the queue"),
        }
    }
}

/// Decides what an attempt's end means for its task. A failure of the machine takes none of the
/// task's retries; a cancel that came first is carried out; a result that came first stands.
pub(crate) fn verdict(
    ending: &Ending,
    stop: Option<StopCause>,
    died_of: String,
    retries: &Retries<'_>,
) -> Verdict {
    let cancelled = || Verdict::End(TaskEnd::new(TaskEvent::Cancel, "cancelled"));
    let timed_out = |overdue: Overdue| {
        let reason = overdue.reason();
        if retries.allow(Failure::TimedOut(overdue.what)) {
            return Verdict::Retry(reason);
        }
        Verdict::End(TaskEnd {
            time_out: Some(overdue.what),
            ..TaskEnd::new(TaskEvent::Fail, reason)
        })
    };
    let Ending::Reported { report, .. } = ending else {
        return match stop {
            Some(StopCause::User) => cancelled(),
            Some(StopCause::TimedOut(overdue)) => timed_out(overdue),
            Some(StopCause::Unconfirmed) | None => Verdict::Requeue(died_of),
        };
    };
    match (&report.end.exit, stop) {
        (Exit::Exited(0), _) => {
            let missing = report.files.reason();
            let missing = missing.map(|why| format!("files incomplete: {why}"));
            Verdict::End(TaskEnd::new(
                TaskEvent::Succeed,
                missing.unwrap_or_default(),
            ))
        }
        (exit, Some(StopCause::User)) if may_be_of_a_stop(exit) => cancelled(),
        (exit, Some(StopCause::TimedOut(overdue))) if may_be_of_a_stop(exit) => timed_out(overdue),
        (Exit::Cancelled, Some(StopCause::Unconfirmed) | None) => {
            Verdict::Requeue("stopped by its worker".to_owned())
        }
        (Exit::Interrupted(_), Some(StopCause::Unconfirmed) | None) => Verdict::Requeue(died_of),
        (exit, stop) if stop != Some(StopCause::User) && retries.allow(Failure::Ended(exit)) => {
            Verdict::Retry(died_of)
        }
        _ => Verdict::End(TaskEnd::new(TaskEvent::Fail, died_of)),
    }
}

/// Whether an attempt that was to be stopped may have ended so because it was. A worker that could not
/// write down that it stopped the container, and was killed, finds an end by a signal.
fn may_be_of_a_stop(exit: &Exit) -> bool {
    match exit {
        Exit::Cancelled | Exit::Interrupted(_) => true,
        Exit::Signalled(signal) => STOP_SIGNALS.contains(signal),
        _ => false,
    }
}

/// Whether the worker, or its machine, failed while the attempt was there: perhaps because of it.
///
/// What never ran was at most not created: its start may not have been heard of, so the report tells
/// that, too.
pub(crate) fn took_its_worker_down(ending: &Ending, state: AttemptState) -> bool {
    use AttemptState as S;
    match ending {
        Ending::Lost(_) | Ending::Vanished => matches!(
            state,
            S::Accepted | S::Pulling | S::Creating | S::Running | S::Uploading
        ),
        Ending::Reported { report, .. } => {
            let ran = matches!(state, S::Running | S::Uploading) || report.end.started_at.is_some();
            matches!(report.end.exit, Exit::Interrupted(_)) && ran && !report.in_order
        }
        Ending::Refused(_) | Ending::NotSent(_) | Ending::Withdrawn(_) => false,
    }
}

/// Why a task is given up under which too many workers failed.
pub(crate) fn given_up(workers: &[WorkerId]) -> String {
    let mut times: BTreeMap<&WorkerId, usize> = BTreeMap::new();
    for worker in workers {
        *times.entry(worker).or_default() += 1;
    }
    let named = times.into_iter().map(|(worker, times)| match times {
        1 => worker.to_string(),
        2 => format!("{worker} twice"),
        times => format!("{worker} {times} times"),
    });
    let named = named.collect::<Vec<_>>().join(", ");
    match workers.len() {
        1 => format!("given up: a worker was lost or failed under it: {named}"),
        count => format!("given up: {count} times a worker was lost or failed under it: {named}"),
    }
}

#[cfg(test)]
mod tests {
    use cloudai_model::{AttemptId, ContainerEnd, PeakUsage, TaskId, Wall, Whole};

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
            in_order: false,
        });
        Ending::Reported {
            report,
            log_tail: String::new(),
        }
    }

    fn judged(ending: &Ending, stop: Option<StopCause>, retries_left: bool) -> Verdict {
        let on = &RetryOn::default();
        let are_left = retries_left;
        let died_of = ending.describe(1 << 30);
        verdict(ending, stop, died_of, &Retries { are_left, on })
    }

    fn ends_as(ending: &Ending, stop: Option<StopCause>, retries_left: bool) -> Option<TaskEvent> {
        match judged(ending, stop, retries_left) {
            Verdict::End(end) => Some(end.event),
            Verdict::Retry(_) | Verdict::Requeue(_) => None,
        }
    }

    const USER: Option<StopCause> = Some(StopCause::User);
    const LATE: Option<StopCause> = Some(StopCause::TimedOut(Overdue {
        what: TimeOut::Run,
        limit: Duration::from_secs(1),
        took: Duration::from_secs(1),
    }));

    #[test]
    fn a_result_that_came_before_the_cancel_stands() {
        let failed = reported(Exit::Exited(3));
        let done = reported(Exit::Exited(0));
        assert_eq!(ends_as(&done, USER, true), Some(TaskEvent::Succeed));
        assert_eq!(ends_as(&failed, USER, true), Some(TaskEvent::Fail));
        assert_eq!(ends_as(&done, LATE, true), Some(TaskEvent::Succeed));
        // It failed before its time was over.
        assert_eq!(
            judged(&failed, LATE, true),
            Verdict::Retry("exit code 3".into())
        );
    }

    #[test]
    fn a_stop_ends_as_its_cause_says() {
        let stopped = reported(Exit::Cancelled);
        let interrupted = reported(Exit::Interrupted("x".into()));
        // By SIGTERM or SIGKILL, where its worker doesn't know any more that these were its own.
        let [ended, killed] = [15, 9].map(|signal| reported(Exit::Signalled(signal)));
        let lost = Ending::Lost("gone".into());
        for ending in [stopped.clone(), interrupted, ended, killed, lost] {
            assert_eq!(ends_as(&ending, USER, true), Some(TaskEvent::Cancel));
            assert_eq!(ends_as(&ending, LATE, true), Some(TaskEvent::Fail));
        }
        assert_eq!(ends_as(&stopped, None, false), None, "not the task's doing");
        let crashed = reported(Exit::Signalled(11));
        assert_eq!(ends_as(&crashed, USER, true), Some(TaskEvent::Fail));
    }

    #[test]
    fn a_time_out_is_tried_again_only_where_that_was_asked_for() {
        let judged = |list: &str| {
            let on = &list.parse().unwrap();
            let retries = Retries { are_left: true, on };
            verdict(&reported(Exit::Cancelled), LATE, String::new(), &retries)
        };
        assert_eq!(
            judged("any,pull-timeout"),
            Verdict::End(TaskEnd {
                event: TaskEvent::Fail,
                reason: "timed out after 1s".into(),
                time_out: Some(TimeOut::Run),
            })
        );
        assert_eq!(
            judged("timeout"),
            Verdict::Retry("timed out after 1s".into())
        );
    }

    #[test]
    fn a_time_out_that_was_noticed_late_says_how_late() {
        let overdue = |what, took_s| Overdue {
            what,
            limit: Duration::from_secs(2),
            took: Duration::from_secs(took_s),
        };
        assert_eq!(overdue(TimeOut::Run, 3).reason(), "timed out after 2s");
        assert_eq!(
            overdue(TimeOut::Run, 90).reason(),
            "timed out: it had run for 1m 30s and may run for 2s"
        );
    }

    #[test]
    fn only_the_tasks_own_failure_takes_a_retry() {
        for exit in [Exit::Exited(1), Exit::OutOfMemory] {
            let judged = judged(&reported(exit), None, true);
            assert!(matches!(judged, Verdict::Retry(_)), "{judged:?}");
        }
        for ending in [
            reported(Exit::Interrupted("shut down".into())),
            Ending::Vanished,
            Ending::Lost("x".into()),
            Ending::Withdrawn("x".into()),
            Ending::Refused("x".into()),
        ] {
            let judged = judged(&ending, None, true);
            assert!(matches!(judged, Verdict::Requeue(_)), "{ending:?}");
        }
        assert_eq!(
            ends_as(&reported(Exit::Exited(1)), None, false),
            Some(TaskEvent::Fail)
        );
    }

    #[test]
    fn what_takes_a_worker_down_is_told_from_what_only_ends_there() {
        use AttemptState as S;
        let lost = Ending::Lost("silent".into());
        for (state, expected) in [
            (S::Sent, false),
            (S::Accepted, true),
            (S::Pulling, true),
            (S::Creating, true),
            (S::Running, true),
            (S::Stopping, false),
            (S::Uploading, true),
        ] {
            assert_eq!(took_its_worker_down(&lost, state), expected, "{state:?}");
        }
        let interrupted = |started_at, in_order| {
            let mut ending = reported(Exit::Interrupted("x".into()));
            if let Ending::Reported { report, .. } = &mut ending {
                report.end.started_at = started_at;
                report.in_order = in_order;
            }
            ending
        };
        let began = Some(Wall(1));
        for started_at in [None, began] {
            let went_away = interrupted(started_at, false);
            assert!(took_its_worker_down(&went_away, S::Running));
            let shut_down = interrupted(started_at, true);
            assert!(!took_its_worker_down(&shut_down, S::Running));
        }
        // That it ran had not been heard of.
        let went_away = interrupted(began, false);
        assert!(took_its_worker_down(&went_away, S::Creating));
        // It never ran: the engine couldn't create it.
        let not_created = interrupted(None, false);
        assert!(!took_its_worker_down(&not_created, S::Creating));
        for ending in [
            Ending::Withdrawn("unregistered".into()),
            Ending::Refused("full".into()),
            reported(Exit::Exited(1)),
        ] {
            assert!(!took_its_worker_down(&ending, S::Running), "{ending:?}");
        }
    }

    #[test]
    fn who_was_taken_down_is_named_with_how_often() {
        let workers = ["b", "a", "b", "c", "b", "a"].map(|id| id.parse().unwrap());
        assert_eq!(
            given_up(&workers),
            "given up: 6 times a worker was lost or failed under it: a twice, b 3 times, c"
        );
    }
}
