//! The life of an attempt on its worker, as a table of transitions.
//!
//! A change that is not in the table does not happen: [`next`] is the only way from one state to
//! another. `lifecycle.md` shows the table as a picture; a test keeps it so.

use cloudai_model::Phase;

/// Where an attempt stands on its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AttemptState {
    /// Its record is on the way to disk; nobody has been told yet.
    Accepting,
    /// It was held before a restart, and its container is being looked for.
    Searching,
    /// The same, and it shall be stopped.
    SearchingToStop,
    /// The image is being had.
    Pulling,
    /// The container is being made.
    Creating,
    /// The same, and it shall not be started.
    CreatingToStop,
    /// The container is being started.
    Starting,
    /// The container runs.
    Running,
    /// The container shall stop.
    Stopping,
    /// It is over: the rest of the log is being taken in.
    Draining,
    /// Its end is on the way to disk.
    Securing,
    /// The container is being removed.
    Clearing,
    /// Its files are on the way to the master.
    Uploading,
    /// Its report is on the way to the master, again and again.
    Reporting,
    /// The master has its report; the spool is being cleaned.
    Forgetting,
    /// Nothing is left of it here.
    Gone,
}

/// What can happen to an attempt on its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AttemptEvent {
    /// Its record is on disk.
    Save,
    /// The disk refuses its record.
    Refuse,
    /// It shall be stopped.
    Cancel,
    /// It has no container, and never had a started one.
    FindNothing,
    /// Its container was started once and is no longer there.
    FindLoss,
    /// Its container is there and was never started.
    FindCreated,
    /// Its container is there and was started.
    FindStarted,
    /// The image is there.
    Pull,
    /// The container is made.
    Create,
    /// The image is gone again: somebody removed it.
    MissImage,
    /// The container runs.
    Start,
    /// It can't be run, for good.
    Fail,
    /// The container has ended.
    End,
    /// The log is sealed.
    Seal,
    /// Its end is on disk, and there was no container.
    SaveBare,
    /// The container is removed, or left to the sweep.
    Clear,
    /// The master has its files.
    Upload,
    /// The master has its report.
    Acknowledge,
    /// The master wants nothing of it.
    Supersede,
    /// Its folder in the spool is gone.
    Delete,
}

use AttemptEvent as E;
use AttemptState as S;

/// Every transition.
pub const TRANSITIONS: &[(AttemptState, AttemptEvent, AttemptState)] = &[
    (S::Accepting, E::Save, S::Pulling),
    (S::Accepting, E::Refuse, S::Forgetting),
    (S::Accepting, E::Cancel, S::Draining),
    (S::Searching, E::FindNothing, S::Pulling),
    (S::Searching, E::FindLoss, S::Draining),
    (S::Searching, E::FindCreated, S::Starting),
    (S::Searching, E::FindStarted, S::Running),
    (S::Searching, E::Cancel, S::SearchingToStop),
    (S::SearchingToStop, E::FindNothing, S::Draining),
    (S::SearchingToStop, E::FindLoss, S::Draining),
    (S::SearchingToStop, E::FindCreated, S::Draining),
    (S::SearchingToStop, E::FindStarted, S::Stopping),
    (S::Pulling, E::Pull, S::Creating),
    (S::Pulling, E::Fail, S::Draining),
    (S::Pulling, E::Cancel, S::Draining),
    (S::Creating, E::Create, S::Starting),
    (S::Creating, E::MissImage, S::Pulling),
    (S::Creating, E::Fail, S::Draining),
    (S::Creating, E::Cancel, S::CreatingToStop),
    (S::CreatingToStop, E::Create, S::Draining),
    (S::CreatingToStop, E::Fail, S::Draining),
    (S::Starting, E::Start, S::Running),
    (S::Starting, E::Fail, S::Draining),
    (S::Starting, E::Cancel, S::Stopping),
    (S::Running, E::End, S::Draining),
    (S::Running, E::Cancel, S::Stopping),
    (S::Stopping, E::Start, S::Stopping),
    (S::Stopping, E::Fail, S::Draining),
    (S::Stopping, E::End, S::Draining),
    (S::Draining, E::Seal, S::Securing),
    (S::Securing, E::Save, S::Clearing),
    (S::Securing, E::SaveBare, S::Reporting),
    (S::Clearing, E::Clear, S::Uploading),
    (S::Uploading, E::Upload, S::Reporting),
    (S::Uploading, E::Supersede, S::Forgetting),
    (S::Reporting, E::Acknowledge, S::Forgetting),
    (S::Reporting, E::Supersede, S::Forgetting),
    (S::Forgetting, E::Delete, S::Gone),
];

/// The state that `event` leads to; `None` if it leads nowhere: a message that comes late or twice.
pub(crate) fn next(state: AttemptState, event: AttemptEvent) -> Option<AttemptState> {
    let next = TRANSITIONS
        .iter()
        .find(|(from, on, _)| *from == state && *on == event)
        .map(|(_, _, to)| *to);
    #[cfg(feature = "simulation")]
    if next.is_some() {
        crate::simulation::note(state, event);
    }
    next
}

impl AttemptState {
    /// The contract's word for it.
    pub(crate) fn phase(self) -> Phase {
        match self {
            Self::Accepting | Self::Searching => Phase::Assigned,
            Self::Pulling => Phase::Pulling,
            Self::Creating | Self::Starting => Phase::Creating,
            Self::Running => Phase::Running,
            Self::SearchingToStop | Self::CreatingToStop | Self::Stopping => Phase::Cancelling,
            Self::Draining
            | Self::Securing
            | Self::Clearing
            | Self::Uploading
            | Self::Reporting => Phase::Uploading,
            Self::Forgetting | Self::Gone => Phase::Done,
        }
    }

    /// Whether its disk is still in use. What a report waits for is the log alone; and the master
    /// counts the disk as free the moment it has the report, which is before the worker hears it.
    pub(crate) fn uses_storage(self) -> bool {
        self < Self::Reporting
    }

    /// Whether the master may still hear of it.
    pub(crate) fn is_owed(self) -> bool {
        self < Self::Forgetting
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fmt::Write as _};

    use super::*;

    fn picture() -> String {
        let mut text = String::from("```mermaid\nstateDiagram-v2\n");
        text += "    [*] --> Accepting: assigned\n    [*] --> Searching: found in the spool\n";
        for (from, event, to) in TRANSITIONS {
            writeln!(text, "    {from:?} --> {to:?}: {event:?}").unwrap();
        }
        text + "    Gone --> [*]\n```\n"
    }

    #[test]
    fn the_picture_is_the_table() {
        let shown = include_str!("../lifecycle.md");
        let drawn = picture();
        assert!(shown.contains(&drawn), "lifecycle.md should hold:\n{drawn}");
    }

    #[test]
    fn each_state_and_event_has_one_outcome() {
        let pairs: BTreeSet<_> = TRANSITIONS.iter().map(|(s, e, _)| (*s, *e)).collect();
        assert_eq!(pairs.len(), TRANSITIONS.len());
    }

    #[test]
    fn every_state_leads_to_the_end_and_back_only_to_a_pull() {
        for (from, event, to) in TRANSITIONS {
            let pulls_again = *event == AttemptEvent::MissImage && *to == AttemptState::Pulling;
            assert!(
                from <= to || pulls_again,
                "{from:?} {event:?} leads back to {to:?}"
            );
            assert_ne!(*from, AttemptState::Gone);
        }
        let mut reach = BTreeSet::from([AttemptState::Gone]);
        for _ in TRANSITIONS {
            for (from, _, to) in TRANSITIONS {
                if reach.contains(to) {
                    reach.insert(*from);
                }
            }
        }
        for (from, _, _) in TRANSITIONS {
            assert!(reach.contains(from), "{from:?} never ends");
        }
    }

    #[test]
    fn a_cancel_never_leads_towards_a_start() {
        let mut cancelled: BTreeSet<_> = TRANSITIONS
            .iter()
            .filter(|(_, event, _)| *event == AttemptEvent::Cancel)
            .map(|(_, _, to)| *to)
            .collect();
        for _ in TRANSITIONS {
            for (from, _, to) in TRANSITIONS {
                if cancelled.contains(from) {
                    cancelled.insert(*to);
                }
            }
        }
        for state in [
            AttemptState::Pulling,
            AttemptState::Creating,
            AttemptState::Starting,
            AttemptState::Running,
        ] {
            assert!(!cancelled.contains(&state), "{state:?}");
        }
    }
}
