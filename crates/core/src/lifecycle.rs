//! The life of a task and of an attempt, as tables of transitions.
//!
//! A change that is not in a table does not happen: [`next_attempt`] and [`next_task`] are the only
//! ways from one state to another. `docs/lifecycle.md` shows the tables as pictures; a test keeps
//! it so.

use cloudai_model::{Phase, TaskStatus};

/// Where an attempt stands, as the master knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AttemptState {
    /// Sent or about to be sent; the worker hasn't said that it has it.
    Sent,
    /// The worker has it.
    Accepted,
    /// The worker pulls the image.
    Pulling,
    /// The worker creates the container.
    Creating,
    /// The container runs.
    Running,
    /// The worker was asked to stop it.
    Stopping,
    /// The container has ended; log and files are on their way.
    Uploading,
    /// Over for the master, whatever the worker still holds.
    Ended,
}

/// What can happen to an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AttemptEvent {
    /// The worker took it.
    Accept,
    /// The worker did not take it.
    Refuse,
    /// Its image is being pulled.
    Pull,
    /// Its container is being created.
    Create,
    /// Its container runs.
    Start,
    /// Its container has ended.
    Exit,
    /// It shall be stopped.
    AskStop,
    /// The worker's last word on it.
    Report,
    /// The worker has shown that it doesn't hold it.
    Vanish,
    /// Its worker is lost or was unregistered.
    Lose,
}

use AttemptEvent as E;
use AttemptState as S;

/// Every transition of an attempt.
pub const ATTEMPT_TRANSITIONS: &[(AttemptState, AttemptEvent, AttemptState)] = &[
    (S::Sent, E::Accept, S::Accepted),
    (S::Sent, E::Refuse, S::Ended),
    (S::Sent, E::Pull, S::Pulling),
    (S::Sent, E::Create, S::Creating),
    (S::Sent, E::Start, S::Running),
    (S::Sent, E::Exit, S::Uploading),
    (S::Sent, E::AskStop, S::Stopping),
    (S::Sent, E::Report, S::Ended),
    (S::Sent, E::Vanish, S::Ended),
    (S::Sent, E::Lose, S::Ended),
    (S::Accepted, E::Pull, S::Pulling),
    (S::Accepted, E::Create, S::Creating),
    (S::Accepted, E::Start, S::Running),
    (S::Accepted, E::Exit, S::Uploading),
    (S::Accepted, E::AskStop, S::Stopping),
    (S::Accepted, E::Report, S::Ended),
    (S::Accepted, E::Vanish, S::Ended),
    (S::Accepted, E::Lose, S::Ended),
    (S::Pulling, E::Create, S::Creating),
    (S::Pulling, E::Start, S::Running),
    (S::Pulling, E::Exit, S::Uploading),
    (S::Pulling, E::AskStop, S::Stopping),
    (S::Pulling, E::Report, S::Ended),
    (S::Pulling, E::Vanish, S::Ended),
    (S::Pulling, E::Lose, S::Ended),
    (S::Creating, E::Start, S::Running),
    (S::Creating, E::Exit, S::Uploading),
    (S::Creating, E::AskStop, S::Stopping),
    (S::Creating, E::Report, S::Ended),
    (S::Creating, E::Vanish, S::Ended),
    (S::Creating, E::Lose, S::Ended),
    (S::Running, E::Exit, S::Uploading),
    (S::Running, E::AskStop, S::Stopping),
    (S::Running, E::Report, S::Ended),
    (S::Running, E::Vanish, S::Ended),
    (S::Running, E::Lose, S::Ended),
    (S::Stopping, E::Refuse, S::Ended),
    (S::Stopping, E::Exit, S::Uploading),
    (S::Stopping, E::Report, S::Ended),
    (S::Stopping, E::Vanish, S::Ended),
    (S::Stopping, E::Lose, S::Ended),
    (S::Uploading, E::Report, S::Ended),
    (S::Uploading, E::Vanish, S::Ended),
    (S::Uploading, E::Lose, S::Ended),
];

/// A transition that no table has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} does not happen to {what} that is {state:?}")]
pub struct IllegalTransition<State: std::fmt::Debug, Event: std::fmt::Debug> {
    what: &'static str,
    state: State,
    event: Event,
}

/// The state that `event` leads to.
///
/// # Errors
/// If it leads nowhere: a message that comes late or twice.
pub fn next_attempt(
    state: AttemptState,
    event: AttemptEvent,
) -> Result<AttemptState, IllegalTransition<AttemptState, AttemptEvent>> {
    let next = look_up(ATTEMPT_TRANSITIONS, state, event).ok_or(IllegalTransition {
        what: "an attempt",
        state,
        event,
    });
    #[cfg(feature = "simulation")]
    if next.is_ok() {
        crate::simulation::note(state, event);
    }
    next
}

impl AttemptState {
    /// The contract's word for it.
    #[must_use]
    pub fn phase(self) -> Phase {
        match self {
            Self::Sent | Self::Accepted => Phase::Assigned,
            Self::Pulling => Phase::Pulling,
            Self::Creating => Phase::Creating,
            Self::Running => Phase::Running,
            Self::Stopping => Phase::Cancelling,
            Self::Uploading => Phase::Uploading,
            Self::Ended => Phase::Done,
        }
    }
}

impl AttemptEvent {
    /// What a worker's word for its phase means for the attempt; `None` where it is no step.
    #[must_use]
    pub fn of_phase(phase: Phase) -> Option<Self> {
        match phase {
            Phase::Assigned => Some(Self::Accept),
            Phase::Pulling => Some(Self::Pull),
            Phase::Creating => Some(Self::Create),
            Phase::Running => Some(Self::Start),
            Phase::Uploading | Phase::Done => Some(Self::Exit),
            Phase::Queued | Phase::Cancelling => None,
        }
    }
}

/// What can happen to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TaskEvent {
    /// An attempt of it was sent to a worker.
    Assign,
    /// Its container runs.
    Start,
    /// Its attempt ended without a result that counts; it waits again.
    Requeue,
    /// It ended with exit code 0.
    Succeed,
    /// It ended otherwise, or could not be run.
    Fail,
    /// It was stopped on request, or never ran because of one.
    Cancel,
}

use TaskEvent as T;
use TaskStatus as Q;

/// Every transition of a task.
pub const TASK_TRANSITIONS: &[(TaskStatus, TaskEvent, TaskStatus)] = &[
    (Q::Queued, T::Assign, Q::Pending),
    (Q::Queued, T::Fail, Q::Failed),
    (Q::Queued, T::Cancel, Q::Cancelled),
    (Q::Pending, T::Start, Q::Running),
    (Q::Pending, T::Requeue, Q::Queued),
    (Q::Pending, T::Succeed, Q::Completed),
    (Q::Pending, T::Fail, Q::Failed),
    (Q::Pending, T::Cancel, Q::Cancelled),
    (Q::Running, T::Requeue, Q::Queued),
    (Q::Running, T::Succeed, Q::Completed),
    (Q::Running, T::Fail, Q::Failed),
    (Q::Running, T::Cancel, Q::Cancelled),
];

/// The status that `event` leads to.
///
/// # Errors
/// If it leads nowhere: no event leads out of a final status.
pub fn next_task(
    status: TaskStatus,
    event: TaskEvent,
) -> Result<TaskStatus, IllegalTransition<TaskStatus, TaskEvent>> {
    look_up(TASK_TRANSITIONS, status, event).ok_or(IllegalTransition {
        what: "a task",
        state: status,
        event,
    })
}

fn look_up<State: Copy + PartialEq, Event: Copy + PartialEq>(
    table: &[(State, Event, State)],
    state: State,
    event: Event,
) -> Option<State> {
    table
        .iter()
        .find(|(from, on, _)| *from == state && *on == event)
        .map(|(_, _, to)| *to)
}

#[cfg(test)]
mod tests {
    use std::fmt::{Debug, Write as _};

    use super::*;

    fn picture<State: Debug, Event: Debug>(table: &[(State, Event, State)]) -> String {
        let mut text = String::from("```mermaid\nstateDiagram-v2\n");
        for (from, event, to) in table {
            writeln!(text, "    {from:?} --> {to:?}: {event:?}").unwrap();
        }
        text + "```\n"
    }

    #[test]
    fn the_pictures_in_the_docs_are_the_tables() {
        let docs = include_str!("../../../docs/lifecycle.md");
        for picture in [picture(TASK_TRANSITIONS), picture(ATTEMPT_TRANSITIONS)] {
            assert!(
                docs.contains(&picture),
                "docs/lifecycle.md should hold:\n{picture}"
            );
        }
    }

    #[test]
    fn each_state_and_event_has_one_outcome() {
        for (index, (state, event, _)) in ATTEMPT_TRANSITIONS.iter().enumerate() {
            let rest = &ATTEMPT_TRANSITIONS[index + 1..];
            assert!(
                !rest.iter().any(|(s, e, _)| s == state && e == event),
                "{state:?} {event:?}"
            );
        }
    }

    #[test]
    fn an_end_is_an_end() {
        assert!(
            ATTEMPT_TRANSITIONS
                .iter()
                .all(|(from, _, _)| *from != AttemptState::Ended)
        );
        assert!(TASK_TRANSITIONS.iter().all(|(from, _, _)| !from.is_final()));
        for status in TaskStatus::ALL.iter().filter(|status| status.is_final()) {
            let error = next_task(*status, TaskEvent::Cancel)
                .unwrap_err()
                .to_string();
            assert!(error.contains("does not happen to a task"), "{error}");
        }
    }

    #[test]
    fn an_attempt_that_has_exited_can_no_longer_be_stopped() {
        assert!(next_attempt(AttemptState::Uploading, AttemptEvent::AskStop).is_err());
    }

    #[test]
    fn a_late_phase_does_not_undo_a_later_one() {
        assert!(next_attempt(AttemptState::Running, AttemptEvent::Pull).is_err());
        assert!(next_attempt(AttemptState::Stopping, AttemptEvent::Start).is_err());
    }
}
