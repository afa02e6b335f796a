//! What can be found amiss, and which promise each breaks.

use std::fmt;

/// The promises of the design, and what they rest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// Once a submit is answered, the task survives.
    AcceptedMeansKept,
    /// Each task ends in exactly one final state with exactly one result.
    OneEnding,
    /// A running container survives a restart of the master, and of its worker.
    RestartsAreInvisible,
    /// Nothing is placed beyond what is free, in any resource, on any single device.
    NoMachineTwice,
    /// A dead worker's tasks run elsewhere, and it takes none of their retries.
    TimeNotWork,
    /// Logs and files arrive whole, or the task says that they did not.
    FilesArrive,
    /// When something is missing it says so, and takes nothing new.
    SaysWhatIsMissing,
    /// No worker that is not registered.
    NobodyGetsIn,
    /// Reservations, containers and records are cleaned up.
    NothingLeaks,
    /// Every effect leaves only after the records before it are flushed.
    PersistBeforeSend,
    /// What is not in a table of transitions does not happen.
    TableOfTransitions,
    /// A cancel is carried out, and nothing else is cancelled.
    CancelsEnd,
    /// Users get what they asked for, and no more than they may have.
    AsAsked,
    /// What may take only so long is ended then, and nothing else is.
    LimitsHold,
    /// The core keeps its own rules.
    Sound,
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AcceptedMeansKept => "accepted means kept",
            Self::OneEnding => "one ending",
            Self::RestartsAreInvisible => "restarts are invisible to containers",
            Self::NoMachineTwice => "no machine is promised twice",
            Self::TimeNotWork => "a dead worker costs time, not work",
            Self::FilesArrive => "logs and files arrive whole",
            Self::SaysWhatIsMissing => "when something is missing it says so",
            Self::NobodyGetsIn => "nobody gets in",
            Self::NothingLeaks => "nothing leaks",
            Self::PersistBeforeSend => "persist before send",
            Self::TableOfTransitions => "the table of transitions",
            Self::CancelsEnd => "cancels end",
            Self::AsAsked => "as asked, and no more than allowed",
            Self::LimitsHold => "limits hold",
            Self::Sound => "the core keeps its own rules",
        })
    }
}

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $kind:ident of $promise:ident),+ $(,)?) => {
        /// The kinds of violations.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind { $($(#[doc = $doc])+ $kind),+ }

        impl Kind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$kind),+];

            /// The promise that it breaks.
            #[must_use]
            pub fn promise(self) -> Promise {
                match self { $(Self::$kind => Promise::$promise),+ }
            }

            /// What it is, in a sentence.
            #[must_use]
            pub fn description(self) -> &'static str {
                match self { $(Self::$kind => concat!($($doc),+).trim_ascii()),+ }
            }
        }
    };
}

kinds!(
    /// A submit was answered, and its task is not in the store.
    SubmitLost of AcceptedMeansKept,
    /// Two submits were answered with one task.
    IdGivenTwice of AcceptedMeansKept,
    /// What a user was told is not what the store says.
    AnswerNotTrue of PersistBeforeSend,
    /// An assignment was sent that is not in the store.
    SentBeforePersisted of PersistBeforeSend,
    /// A live attempt is asked to stop, and the store doesn't say that it shall.
    StopBeforePersisted of PersistBeforeSend,
    /// A worker was told that its report is taken, and the store doesn't say so.
    TakenBeforePersisted of PersistBeforeSend,
    /// A worker was told that a live attempt is not wanted.
    LiveRefused of AcceptedMeansKept,
    /// A task's status changed in a way that no table has.
    StatusLeap of TableOfTransitions,
    /// A task changed after it had ended.
    ChangedAfterFinal of OneEnding,
    /// A task has a second result.
    SecondResult of OneEnding,
    /// A task ended without a result, or has a result and has not ended.
    EndWithoutResult of OneEnding,
    /// A task has two attempts that have not ended.
    TwoLiveAttempts of OneEnding,
    /// A task's status doesn't fit to its attempts.
    StatusOutOfStep of OneEnding,
    /// Numbers of attempts, assignments or starts don't rise by one.
    NumberOutOfStep of OneEnding,
    /// A result is of an attempt that is not the task's last, or that nobody reported.
    SupersededCounted of OneEnding,
    /// A result says another end than the one that the container had.
    WrongResult of OneEnding,
    /// A task failed, and nothing that it or its user did is the reason.
    FailedWithoutCause of TimeNotWork,
    /// A retry was taken that the task did not cause, or beyond those that it has.
    RetryNotOwed of TimeNotWork,
    /// A task failed though it has a retry left for that.
    RetryNotTaken of TimeNotWork,
    /// An attempt was given up, and nothing that came over the wire, nor its worker's silence, says why.
    GivenUpUnduly of RestartsAreInvisible,
    /// A task goes on under which as many machines failed as may.
    MachineLimitPassed of TimeNotWork,
    /// A task was timed out that has no such limit, or had not reached it.
    TimedOutUnduly of LimitsHold,
    /// A task's time is over, and it is neither stopped nor ended.
    TimeOutMissed of LimitsHold,
    /// A worker is promised more than it offers.
    Oversubscribed of NoMachineTwice,
    /// A worker is taken for an earlier start of it, which may have offered something else.
    OldOfferKept of NoMachineTwice,
    /// More runs on a machine than it offers.
    MachineOvercommitted of NoMachineTwice,
    /// A task was given to a worker that drains, is not registered or is not the one that it names.
    WrongWorker of NoMachineTwice,
    /// An attempt's container was started a second time.
    StartedTwice of OneEnding,
    /// A container was made of an attempt that the worker was not given.
    NotAssigned of OneEnding,
    /// A container was started after its worker had answered that it won't be.
    StartedAfterCancel of CancelsEnd,
    /// A container was stopped, and nobody had asked for it.
    StoppedUnasked of RestartsAreInvisible,
    /// A worker takes a container for nobody's whose attempt it has.
    OrphanIsHeld of RestartsAreInvisible,
    /// A task was cancelled, or is said to be, and its user had not asked for it.
    CancelledUnasked of CancelsEnd,
    /// A task whose cancel was asked for was given to a worker.
    AssignedAfterCancel of CancelsEnd,
    /// A task failed by a signal that containers are stopped with, and its cancel had been asked for.
    StopTakenForFailure of CancelsEnd,
    /// A worker said that it has an assignment, and its disk hasn't.
    AcceptedUnkept of AcceptedMeansKept,
    /// A worker refused an assignment that it had taken.
    AnsweredOtherwise of OneEnding,
    /// A worker forgot an attempt that it owed a report of.
    ReportDropped of OneEnding,
    /// A container was removed before its end was on its worker's disk.
    RemovedTooSoon of FilesArrive,
    /// A task is completed with all its files, and they are not in the store.
    FilesLost of FilesArrive,
    /// With its disk full the master took a new task, or gave one to a worker.
    TakenWhileFull of SaysWhatIsMissing,
    /// A worker was let in that is not registered.
    StrangerLetIn of NobodyGetsIn,
    /// A worker is silent for longer than makes it lost, and has attempts still.
    LostWorkerKept of TimeNotWork,
    /// With all faults over, a task does not end.
    NeverFinal of AcceptedMeansKept,
    /// With all faults over, something is still promised, ordered or owed.
    StillOwed of NothingLeaks,
    /// With all faults over, a container is left.
    ContainerLeft of NothingLeaks,
    /// A user was given more than they may have at a time.
    OverUserLimit of AsAsked,
    /// A task on hold was given to a worker.
    PlacedOnHold of AsAsked,
    /// Of tasks that were submitted at once only some are in the store.
    BatchTorn of AsAsked,
    /// A user or admin asked for ten minutes, and never had an answer that helps.
    AskedInVain of AcceptedMeansKept,
    /// A core answers a call a second time.
    AnsweredTwice of Sound,
    /// The store refuses a batch: it contradicts what was written before.
    StoreRefused of Sound,
    /// A core gave up.
    Panicked of Sound,
);

/// Something amiss.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Its kind.
    pub kind: Kind,
    /// What exactly.
    pub what: String,
}

impl Violation {
    /// A violation of this kind.
    #[must_use]
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        let what = what.into();
        Self { kind, what }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let promise = self.kind.promise();
        write!(f, "{:?}: {} ({promise})", self.kind, self.what)
    }
}

/// For `?`: an error unless this holds.
pub(super) fn ensure(
    holds: bool,
    kind: Kind,
    what: impl FnOnce() -> String,
) -> Result<(), Violation> {
    match holds {
        true => Ok(()),
        false => Err(Violation::new(kind, what())),
    }
}
