//! Bugs that are put in on purpose, one at a time, to show that they are found.

use cloudai_core::simulation::Sabotage as MasterSabotage;
use cloudai_worker_core::simulation::Sabotage as WorkerSabotage;

use crate::world::World;

macro_rules! bugs {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal),+ $(,)?) => {
        /// See the module. What is not a switch of a core is left out by the simulated shells.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Bug { $($(#[doc = $doc])+ $variant),+ }

        impl Bug {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its name on the command line.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// What it is, in a sentence.
            #[must_use]
            pub fn description(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii()),+ }
            }
        }
    };
}

bugs!(
    /// The last word on an attempt counts for whichever attempt of its task is live.
    NoFencing = "no-fencing",
    /// The master sends and answers before its records are flushed.
    SendBeforePersist = "send-before-persist",
    /// What is promised of a worker is not counted, so that everything seems to be free.
    NoReservationCheck = "no-reservation-check",
    /// A worker sends each report once, and forgets it.
    NoOutbox = "no-outbox",
    /// A worker takes an assignment that comes again for a new one.
    NoDeduplication = "no-deduplication",
    /// The master takes heartbeats for signs of life alone.
    NoReconcile = "no-reconcile",
    /// An attempt that was cancelled keeps what was promised to it.
    NoReleaseAtCancel = "no-release-at-cancel",
    /// A worker that is silent is never given up.
    NoLostWorkerTimer = "no-lost-worker-timer",
    /// A user's limits are not looked at when something is placed.
    NoUserLimits = "no-user-limits",
    /// A task that is submitted on hold is placed all the same.
    NoHold = "no-hold",
    /// Tasks that are submitted at once are taken one by one.
    TornBatches = "torn-batches",
    /// A worker that is silent for ten seconds is given up.
    HastyLostWorkerTimer = "hasty-lost-worker-timer",
    /// Workers are given up for silence while the master itself stood still.
    NoForgiveness = "no-forgiveness",
    /// A worker sweeps away the containers of attempts that it holds.
    SweepsAll = "sweeps-all",
    /// A cancel is written down, and the worker is not told.
    NoStopAtCancel = "no-stop-at-cancel",
    /// Nothing is ever timed out.
    NoTimeOuts = "no-time-outs",
    /// What may take so long is timed out after half of it.
    HastyTimeOuts = "hasty-time-outs",
    /// What a worker offers is what it offered first.
    FirstOfferCounts = "first-offer-counts",
);

/// No bug has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no bug: expected one of {known}", known = names())]
pub struct UnknownBug(String);

fn names() -> String {
    let names: Vec<_> = Bug::ALL.iter().map(|bug| bug.name()).collect();
    names.join(", ")
}

impl std::str::FromStr for Bug {
    type Err = UnknownBug;

    fn from_str(text: &str) -> Result<Self, UnknownBug> {
        let known = Self::ALL.iter().copied().find(|bug| bug.name() == text);
        known.ok_or_else(|| UnknownBug(text.to_owned()))
    }
}

impl std::fmt::Display for Bug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl World {
    pub(crate) fn master_sabotage(&self) -> MasterSabotage {
        MasterSabotage {
            no_fencing: self.bug == Some(Bug::NoFencing),
            no_reservation_check: self.bug == Some(Bug::NoReservationCheck),
            no_reconcile: self.bug == Some(Bug::NoReconcile),
            no_release_at_cancel: self.bug == Some(Bug::NoReleaseAtCancel),
            no_user_limits: self.bug == Some(Bug::NoUserLimits),
            no_hold: self.bug == Some(Bug::NoHold),
            no_forgiveness: self.bug == Some(Bug::NoForgiveness),
            no_stop_at_cancel: self.bug == Some(Bug::NoStopAtCancel),
            no_time_outs: self.bug == Some(Bug::NoTimeOuts),
            hasty_time_outs: self.bug == Some(Bug::HastyTimeOuts),
            first_offer_counts: self.bug == Some(Bug::FirstOfferCounts),
        }
    }

    pub(crate) fn worker_sabotage(&self) -> WorkerSabotage {
        WorkerSabotage {
            no_deduplication: self.bug == Some(Bug::NoDeduplication),
            sweeps_all: self.bug == Some(Bug::SweepsAll),
        }
    }
}
