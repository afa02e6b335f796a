//! The state machine itself: what it holds, and which handler an input goes to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cloudai_model::{AttemptId, ClusterId, Mono, Now, TaskId};

use crate::{
    answer::{Answer, AssignAnswer, CancelAnswer},
    attempt::{Attempt, HeldAttempt},
    effect::Effect,
    input::{Call, Input, Labelled},
    memory::Memory,
    record::HostRun,
    settings::Settings,
    simulation::Sabotage,
};

/// The worker's core. See the crate's documentation.
#[derive(Debug)]
pub struct WorkerCore {
    pub(crate) settings: Settings,
    /// Whether the spool has been read. Before, no call is taken.
    pub(crate) ready: bool,
    pub(crate) shutting_down: bool,
    pub(crate) cluster: Option<ClusterId>,
    pub(crate) last_sequence: u64,
    /// The highest that a heartbeat has told of.
    pub(crate) told_sequence: u64,
    /// At most one attempt of a task is not being stopped.
    pub(crate) attempts: BTreeMap<AttemptId, Attempt>,
    pub(crate) memory: Memory,
    pub(crate) tombstones_revision: u64,
    /// Answers that leave when the tombstones of their revision are on disk.
    pub(crate) waiting_for_tombstones: VecDeque<(u64, Call)>,
    pub(crate) engine_unwell: Option<String>,
    /// What is known of the run of machine and engine.
    pub(crate) host_run: HostRun,
    /// When and why the disk last refused a record.
    pub(crate) spool_unwell: Option<(Mono, String)>,
    /// A disk that has no room, and which.
    pub(crate) disk_full: Option<String>,
    /// When containers that no record knows were first seen.
    pub(crate) orphans: BTreeMap<Labelled, Mono>,
    /// Those that are being removed.
    pub(crate) removing: BTreeSet<Labelled>,
    /// Attempts whose containers are known to be nobody's: they need no grace.
    pub(crate) disowned: BTreeSet<AttemptId>,
    /// Nothing, but in a simulation.
    pub(crate) sabotage: Sabotage,
}

/// What a handler has at hand besides the core: the time, and where its effects go.
pub(crate) struct Step<'a> {
    pub(crate) now: Now,
    pub(crate) out: &'a mut Vec<Effect>,
}

impl Step<'_> {
    pub(crate) fn answer_assign(&mut self, call: Call, answer: AssignAnswer) {
        self.out.push(Effect::Answer(call, Answer::Assign(answer)));
    }

    pub(crate) fn answer_cancel(&mut self, call: Call, answer: CancelAnswer) {
        self.out.push(Effect::Answer(call, Answer::Cancel(answer)));
    }
}

impl WorkerCore {
    /// A core that has read nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            ready: false,
            shutting_down: false,
            cluster: None,
            last_sequence: 0,
            told_sequence: 0,
            attempts: BTreeMap::new(),
            memory: Memory::default(),
            tombstones_revision: 0,
            waiting_for_tombstones: VecDeque::new(),
            engine_unwell: None,
            host_run: HostRun::default(),
            spool_unwell: None,
            disk_full: None,
            orphans: BTreeMap::new(),
            removing: BTreeSet::new(),
            disowned: BTreeSet::new(),
            sabotage: Sabotage::default(),
        }
    }

    /// Takes one input in and appends what is to be done because of it.
    ///
    /// Every call in an input is answered by exactly one effect, now or in a later step.
    pub fn step(&mut self, now: Now, input: Input, effects: &mut Vec<Effect>) {
        let mut step = Step { now, out: effects };
        match input {
            Input::Adopt(record) => self.adopt(*record),
            Input::AdoptDamaged { order, problem } => self.adopt_damaged(*order, problem),
            Input::AdoptLost(attempt) => drop(self.disowned.insert(attempt)),
            Input::AdoptTombstones(attempts) => self.adopt_tombstones(now, attempts),
            Input::AdoptionDone => self.adoption_done(&mut step),
            Input::Registered { cluster } => self.registered(cluster),
            Input::Assign { call, order } => self.assign(&mut step, call, *order),
            Input::Cancel {
                call,
                target,
                reason,
            } => self.cancel(&mut step, call, target, reason),
            Input::Outcome(attempt, outcome) => self.outcome(&mut step, &attempt, outcome),
            Input::TombstonesSaved { revision } => self.tombstones_saved(&mut step, revision),
            Input::Containers(found) => self.containers(&mut step, found),
            Input::OrphanDone(orphan) => drop(self.removing.remove(&orphan)),
            Input::EngineWell => self.engine_unwell = None,
            Input::EngineUnwell(reason) => self.engine_unwell = Some(reason),
            Input::HostRun(run) => self.host_run = run,
            Input::DiskFull(reason) => self.disk_full = Some(reason),
            Input::DiskHasRoom => self.disk_has_room(),
            Input::Shutdown { stop_tasks } => self.shutdown(&mut step, stop_tasks),
            Input::Tick => self.tick(now),
        }
    }

    /// The numbers of a cluster's assignments begin anew with its store.
    fn registered(&mut self, cluster: ClusterId) {
        if self.cluster.as_ref() != Some(&cluster) {
            let of_this = self.attempts.values().map(|held| &held.record.order);
            let of_this = of_this.filter(|order| order.cluster == cluster);
            self.last_sequence = of_this.map(|order| order.sequence).max().unwrap_or(0);
            self.told_sequence = 0;
        }
        self.cluster = Some(cluster);
    }

    /// The attempts that this worker holds or owes the report of: all of them, once
    /// [`Input::AdoptionDone`] has come.
    #[must_use]
    pub fn held(&self) -> Vec<HeldAttempt> {
        self.attempts
            .values()
            .filter(|attempt| attempt.state.is_owed())
            .map(|attempt| HeldAttempt {
                attempt: attempt.id().clone(),
                phase: attempt.phase(),
                grant: attempt.record.order.grant.clone(),
                image: attempt.record.order.job.image.clone(),
                exit: attempt.exit().cloned(),
                stop_grace: attempt.record.order.stop_grace,
            })
            .collect()
    }

    /// The highest assignment number that was taken in, for a heartbeat that tells of
    /// [`Self::held`] at this moment.
    ///
    /// Its master concludes that what has a lower number and is not held never will be. So it
    /// won't: such an assignment, overtaken on its way, is refused from now on.
    #[must_use]
    pub fn tell_sequence(&mut self) -> u64 {
        self.told_sequence = self.last_sequence;
        self.told_sequence
    }

    /// Why nothing new is taken just now.
    #[must_use]
    pub fn unwell(&self) -> Option<String> {
        if self.shutting_down {
            return Some("it is being shut down".to_owned());
        }
        if let Some(reason) = &self.engine_unwell {
            return Some(reason.clone());
        }
        if let Some(reason) = &self.disk_full {
            return Some(reason.clone());
        }
        let (_, reason) = self.spool_unwell.as_ref()?;
        Some(format!("its disk refuses to be written to: {reason}"))
    }

    /// How many attempts are held in memory, those that are only being cleaned up included.
    #[must_use]
    pub fn attempt_count(&self) -> usize {
        self.attempts.len()
    }

    /// The attempt of a task that is held or owed; the newest, if there are several.
    pub(crate) fn held_of(&self, task: &TaskId) -> Option<&AttemptId> {
        self.attempts_of(task).next_back()
    }

    /// The attempts of a task that are held or owed, by number.
    pub(crate) fn attempts_of(
        &self,
        task: &TaskId,
    ) -> impl DoubleEndedIterator<Item = &AttemptId> + use<'_> {
        let all = AttemptId::new(task.clone(), 0)..=AttemptId::new(task.clone(), u32::MAX);
        self.attempts
            .range(all)
            .filter(|(_, attempt)| attempt.state.is_owed())
            .map(|(id, _)| id)
    }
}
