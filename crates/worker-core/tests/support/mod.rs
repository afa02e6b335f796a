//! A worker without engine, disk or wire: it carries out what the core wants, when it is told to,
//! and watches that the core keeps its promises.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "support for tests, of which each program uses its part"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use cloudai_model::{
    AttemptId, Capacity, ClusterId, Command, ContainerEnd, Exit, Grant, Mono, Now, PeakUsage,
    Phase, TaskId, UserName, Wall, Whole,
};
use cloudai_worker_core::{
    Answer, AssignAnswer, Blame, Call, CancelAnswer, Delivery, Effect, Failure, Found, Input, Job,
    Labelled, Order, Outcome, PulledImage, Refusal, SealedLog, SentFiles, Settings, SpoolRecord,
    StopCause, StopTarget, WorkerCore,
};

pub(crate) const CAPACITY: Capacity = Capacity {
    cpu_milli: 4000,
    memory_bytes: 4096,
    storage_bytes: 4096,
    gpus: 0,
};

pub(crate) fn attempt(task: u64, number: u32) -> AttemptId {
    AttemptId::new(TaskId::numbered(task), number)
}

/// An assignment that takes this many of the four cores.
pub(crate) fn order(attempt: &AttemptId, sequence: u64, cores: u64) -> Order {
    Order {
        attempt: attempt.clone(),
        sequence,
        cluster: cluster(),
        grant: Grant {
            cpu_milli: cores * 1000,
            memory_bytes: 1,
            storage_bytes: 1,
            devices: Vec::new(),
        },
        stop_grace: Duration::from_secs(10),
        job: Arc::new(Job {
            user: UserName::admin(),
            name: String::new(),
            image: "busybox".parse().unwrap(),
            command: Command::Image,
            env: BTreeMap::new(),
            container: cloudai_model::ContainerSpec::default(),
        }),
    }
}

/// The cluster of all orders here.
pub(crate) fn cluster() -> ClusterId {
    "c-1".parse().unwrap()
}

/// The container of an attempt of that cluster.
pub(crate) fn labelled(attempt: &AttemptId) -> Labelled {
    Labelled {
        cluster: cluster(),
        attempt: attempt.clone(),
    }
}

pub(crate) fn exited(code: i32) -> ContainerEnd {
    ContainerEnd {
        exit: Exit::Exited(code),
        started_at: Some(Wall(1)),
        finished_at: Wall(2),
        usage: PeakUsage::default(),
        image_digest: None,
    }
}

/// A container of the pretended engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Container {
    Created,
    Running,
    Ended(ContainerEnd),
}

/// What the pretended worker consists of. Disk, containers and what the master knows outlive
/// [`Worker::restart`].
pub(crate) struct Worker {
    pub(crate) core: WorkerCore,
    now: Now,
    calls: u64,
    /// What the core wants and nobody has done yet.
    pub(crate) pending: Vec<Effect>,
    pub(crate) disk: BTreeMap<AttemptId, SpoolRecord>,
    tombstones: Vec<AttemptId>,
    pub(crate) containers: BTreeMap<AttemptId, Container>,
    /// Containers whose end this process waits for.
    followed: BTreeSet<AttemptId>,
    unanswered: BTreeSet<Call>,
    assigns: BTreeMap<Call, AttemptId>,
    cancels: BTreeMap<Call, AttemptId>,
    pub(crate) accepted: BTreeSet<AttemptId>,
    pub(crate) refused: BTreeMap<AttemptId, AssignAnswer>,
    pub(crate) cancelled: BTreeSet<AttemptId>,
    pub(crate) starts: BTreeMap<AttemptId, u32>,
    /// Reports that the master took, with how each ended.
    pub(crate) acknowledged: BTreeMap<AttemptId, Exit>,
    /// Attempts of which the master wants nothing more.
    pub(crate) superseded: BTreeSet<AttemptId>,
    /// Settled before a restart. No message about them outlives that, for their connections ended
    /// with the process that settled them.
    bygone: BTreeSet<AttemptId>,
    /// Acknowledged to this process: not to be reported again by it.
    settled: BTreeSet<AttemptId>,
    pub(crate) answers: Vec<Answer>,
    pub(crate) progress: Vec<(AttemptId, Phase)>,
}

impl Worker {
    pub(crate) fn new() -> Self {
        let mut worker = Self {
            core: WorkerCore::new(Settings::new(CAPACITY)),
            now: Now::default(),
            calls: 0,
            pending: Vec::new(),
            disk: BTreeMap::new(),
            tombstones: Vec::new(),
            containers: BTreeMap::new(),
            followed: BTreeSet::new(),
            unanswered: BTreeSet::new(),
            assigns: BTreeMap::new(),
            cancels: BTreeMap::new(),
            accepted: BTreeSet::new(),
            refused: BTreeMap::new(),
            cancelled: BTreeSet::new(),
            starts: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            superseded: BTreeSet::new(),
            bygone: BTreeSet::new(),
            settled: BTreeSet::new(),
            answers: Vec::new(),
            progress: Vec::new(),
        };
        worker.step(Input::AdoptionDone);
        worker
    }

    /// The process is killed and started again: whatever was not on disk is lost.
    pub(crate) fn restart(&mut self) {
        self.core = WorkerCore::new(Settings::new(CAPACITY));
        self.pending.clear();
        self.followed.clear();
        self.unanswered.clear();
        self.refused.clear();
        self.settled.clear();
        self.bygone.extend(self.acknowledged.keys().cloned());
        self.bygone.extend(self.superseded.iter().cloned());
        for record in self.disk.values().cloned().collect::<Vec<_>>() {
            self.step(Input::Adopt(Box::new(record)));
        }
        self.step(Input::AdoptTombstones(self.tombstones.clone()));
        self.step(Input::AdoptionDone);
    }

    /// The same, where the state of an attempt in the spool can't be read any more.
    pub(crate) fn restart_with_damaged(&mut self, damaged: &AttemptId) {
        let record = self.disk.remove(damaged).unwrap();
        self.core = WorkerCore::new(Settings::new(CAPACITY));
        self.pending.clear();
        self.followed.clear();
        self.settled.clear();
        self.step(Input::AdoptDamaged {
            order: Box::new(record.order),
            problem: "it is cut short".to_owned(),
        });
        self.step(Input::AdoptionDone);
    }

    /// Whether the master may still send this assignment.
    pub(crate) fn may_come(&self, attempt: &AttemptId) -> bool {
        !self.bygone.contains(attempt)
    }

    /// An old master may give the same id once more; all that was before is bygone.
    pub(crate) fn begin_anew(&mut self, attempt: &AttemptId) {
        self.accepted.remove(attempt);
        self.refused.remove(attempt);
        self.cancelled.remove(attempt);
        self.starts.remove(attempt);
        self.acknowledged.remove(attempt);
        self.superseded.remove(attempt);
        self.settled.remove(attempt);
    }

    pub(crate) fn tick(&mut self, seconds: u64) {
        self.now.mono = Mono(self.now.mono.0 + seconds * 1000);
        self.step(Input::Tick);
    }

    pub(crate) fn assign(&mut self, order: Order) -> Call {
        let call = self.call();
        self.assigns.insert(call, order.attempt.clone());
        let order = Box::new(order);
        self.step(Input::Assign { call, order });
        call
    }

    pub(crate) fn cancel(&mut self, attempt: &AttemptId) -> Call {
        self.cancel_target(StopTarget::Attempt(attempt.clone()), attempt)
    }

    /// A cancel that means `attempt`, in these words.
    pub(crate) fn cancel_target(&mut self, target: StopTarget, attempt: &AttemptId) -> Call {
        let call = self.call();
        self.cancels.insert(call, attempt.clone());
        self.step(Input::Cancel {
            call,
            target,
            reason: "its user wants it".to_owned(),
        });
        call
    }

    pub(crate) fn is_answered(&self, call: Call) -> bool {
        !self.unanswered.contains(&call)
    }

    /// Where the first thing to do for this attempt is.
    pub(crate) fn pending_of(&self, id: &AttemptId) -> Option<usize> {
        self.pending.iter().position(|effect| match effect {
            Effect::Save { record, .. } | Effect::Start { record, .. } => record.attempt() == id,
            Effect::Pull { order, .. }
            | Effect::Create { order, .. }
            | Effect::Remove { order, .. }
            | Effect::Upload { order, .. } => order.attempt == *id,
            Effect::Seal(order) => order.attempt == *id,
            Effect::Delete { attempt, .. } => attempt == id,
            Effect::Report { report, .. } => report.report.attempt == *id,
            _ => false,
        })
    }

    fn call(&mut self) -> Call {
        self.calls += 1;
        self.unanswered.insert(Call(self.calls));
        Call(self.calls)
    }

    pub(crate) fn step(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.core.step(self.now, input, &mut effects);
        for effect in effects {
            match effect {
                Effect::Answer(call, answer) => self.answered(call, answer),
                Effect::Progress { attempt, phase, .. } => self.progress.push((attempt, phase)),
                Effect::AbortPull(attempt) => self.pending.retain(
                    |e| !matches!(e, Effect::Pull { order, .. } if order.attempt == attempt),
                ),
                Effect::Report { report, tries } => {
                    let attempt = &report.report.attempt;
                    assert!(
                        !self.settled.contains(attempt),
                        "{attempt} is reported again"
                    );
                    self.pending.push(Effect::Report { report, tries });
                }
                Effect::GivenUp { attempt, .. } => {
                    self.superseded.insert(attempt);
                }
                Effect::Follow { record } => {
                    self.followed.insert(record.attempt().clone());
                }
                other => self.pending.push(other),
            }
        }
        self.check_capacity();
    }

    fn answered(&mut self, call: Call, answer: Answer) {
        assert!(self.unanswered.remove(&call), "{call:?} is answered twice");
        match &answer {
            Answer::Assign(assign) => {
                let attempt = self.assigns[&call].clone();
                match assign {
                    AssignAnswer::Accepted => {
                        let kept = self.disk.contains_key(&attempt)
                            || self.acknowledged.contains_key(&attempt)
                            || self.superseded.contains(&attempt);
                        assert!(kept, "{attempt} was accepted and is not on disk");
                        assert!(
                            !self.refused.contains_key(&attempt),
                            "{attempt} was refused"
                        );
                        self.accepted.insert(attempt);
                    }
                    // The attempt itself is held, with what it was given first.
                    AssignAnswer::Refused(Refusal::OtherJob(held)) => assert_eq!(*held, attempt),
                    AssignAnswer::Refused(_) => {
                        assert!(!self.accepted.contains(&attempt), "{attempt} was accepted");
                        let before = self.refused.insert(attempt, assign.clone());
                        assert!(before.is_none_or(|before| before == *assign));
                    }
                    AssignAnswer::NotReady => {}
                }
            }
            Answer::Cancel(
                CancelAnswer::Stopping { .. } | CancelAnswer::NotHeld | CancelAnswer::Ended(_),
            ) => {
                self.cancelled.insert(self.cancels[&call].clone());
            }
            Answer::Cancel(CancelAnswer::NotReady) => {}
        }
        self.answers.push(answer);
    }

    fn check_capacity(&self) {
        let held = self.core.held();
        // Between a restart and the look at its container an ended one is not known for one.
        let ended = |id| matches!(self.containers.get(id), Some(Container::Ended(_)));
        let computing = held
            .iter()
            .filter(|held| held.phase != Phase::Uploading && !ended(&held.attempt));
        let cores: u64 = computing.map(|held| held.grant.cpu_milli).sum();
        assert!(
            cores <= CAPACITY.cpu_milli,
            "{cores} milli-cores are promised"
        );
    }

    pub(crate) fn outcome(&mut self, attempt: &AttemptId, outcome: Outcome) {
        self.step(Input::Outcome(attempt.clone(), outcome));
    }

    fn write(&mut self, record: SpoolRecord) {
        let attempt = record.attempt().clone();
        let newer = self.disk.get(&attempt);
        if newer.is_none_or(|newer| newer.revision <= record.revision) {
            self.disk.insert(attempt, record);
        }
    }

    /// A running container ends by itself.
    pub(crate) fn container_ends(&mut self, attempt: &AttemptId, code: i32) {
        if self.containers.get(attempt) == Some(&Container::Running) {
            let ended = Container::Ended(exited(code));
            self.containers.insert(attempt.clone(), ended);
        }
        self.see_end(attempt);
    }

    /// Whoever follows the container hears of its end, if it has ended.
    fn see_end(&mut self, attempt: &AttemptId) {
        if let Some(Container::Ended(end)) = self.containers.get(attempt).cloned()
            && self.followed.remove(attempt)
        {
            self.outcome(attempt, Outcome::Ended(end));
        }
    }

    /// Takes what is pending at `index`, or what must be done before it: what is written and
    /// deleted is done in order.
    fn take(&mut self, index: usize) -> Effect {
        let written = |effect: &Effect| match effect {
            Effect::Save { record, .. } => Some(Some(record.attempt().clone())),
            Effect::Delete { attempt, .. } => Some(Some(attempt.clone())),
            Effect::SaveTombstones { .. } => Some(None),
            _ => None,
        };
        let place = written(&self.pending[index]).and_then(|place| {
            let mut all = self.pending.iter();
            all.position(|earlier| written(earlier).as_ref() == Some(&place))
        });
        self.pending.remove(place.unwrap_or(index))
    }

    /// Carries out what is pending at `index`, with success.
    pub(crate) fn succeed(&mut self, index: usize) {
        match self.take(index) {
            Effect::Save { record, .. } => {
                let (attempt, revision) = (record.attempt().clone(), record.revision);
                self.write(*record);
                self.outcome(&attempt, Outcome::Saved(revision));
            }
            Effect::SaveTombstones { revision, attempts } => {
                self.tombstones = attempts;
                self.step(Input::TombstonesSaved { revision });
            }
            Effect::Locate { order } => {
                let found = match self.containers.get(&order.attempt) {
                    None => Found::Nothing,
                    Some(Container::Created) => Found::Created,
                    Some(_) => Found::Started,
                };
                self.outcome(&order.attempt, Outcome::Located(found));
                self.see_end(&order.attempt);
            }
            Effect::Pull { order, .. } => {
                let image = PulledImage {
                    id: "sha256:1".to_owned(),
                    digest: None,
                };
                self.outcome(&order.attempt, Outcome::Pulled(image));
            }
            Effect::Create { order, .. } => {
                self.containers
                    .entry(order.attempt.clone())
                    .or_insert(Container::Created);
                self.outcome(&order.attempt, Outcome::Created);
            }
            Effect::Start { record, .. } => {
                let attempt = record.attempt().clone();
                // A start that was under way when the cancel came may still succeed; its stop
                // follows.
                let stop_follows = self
                    .pending
                    .iter()
                    .any(|e| matches!(e, Effect::Stop { attempt: a, .. } if *a == attempt));
                assert!(
                    !self.cancelled.contains(&attempt) || stop_follows,
                    "{attempt} is started although its cancel was answered"
                );
                assert!(record.started);
                self.write(*record);
                *self.starts.entry(attempt.clone()).or_default() += 1;
                assert_eq!(self.starts[&attempt], 1, "{attempt} is run again");
                self.containers.insert(attempt.clone(), Container::Running);
                self.followed.insert(attempt.clone());
                self.outcome(&attempt, Outcome::Started);
            }
            Effect::Stop { attempt, cause, .. } => self.stop(&attempt, &cause),
            Effect::Seal(order) => {
                let attempt = order.attempt;
                let log = SealedLog {
                    length_bytes: 7,
                    whole: Whole::Complete,
                };
                self.outcome(&attempt, Outcome::Sealed(log));
            }
            Effect::Remove { order, .. } => {
                self.containers.remove(&order.attempt);
                self.outcome(&order.attempt, Outcome::Removed);
            }
            Effect::Upload { order, .. } => {
                let delivery = if self.superseded.contains(&order.attempt) {
                    Delivery::Superseded
                } else {
                    Delivery::Acknowledged(SentFiles::none(Whole::Complete))
                };
                self.outcome(&order.attempt, Outcome::Uploaded(delivery));
            }
            Effect::Report { report, .. } => {
                let attempt = report.report.attempt.clone();
                let durable = self.disk.get(&attempt).is_some_and(|r| r.end.is_some());
                assert!(durable, "{attempt} is reported and its end is not on disk");
                let delivery = if self.superseded.contains(&attempt) {
                    Delivery::Superseded
                } else {
                    let exit = report.report.end.exit;
                    let before = self.acknowledged.insert(attempt.clone(), exit.clone());
                    assert!(
                        before.is_none_or(|b| b == exit),
                        "{attempt} has two results"
                    );
                    Delivery::Acknowledged(())
                };
                self.settled.insert(attempt.clone());
                self.outcome(&attempt, Outcome::Reported(delivery));
            }
            Effect::Delete { attempt, .. } => {
                self.disk.remove(&attempt);
                self.outcome(&attempt, Outcome::Deleted);
            }
            Effect::RemoveOrphan(found) => {
                self.containers.remove(&found.attempt);
                self.step(Input::OrphanDone(found));
            }
            other => panic!("{other:?} is never pending"),
        }
    }

    /// The stop reaches a container that is being started, runs or has ended.
    fn stop(&mut self, attempt: &AttemptId, cause: &StopCause) {
        let start = self
            .pending
            .iter()
            .position(|e| matches!(e, Effect::Start { record, .. } if record.attempt() == attempt));
        if let Some(start) = start {
            self.pending.remove(start);
            let failure = Failure {
                reason: "it was stopped before".to_owned(),
                blame: Blame::Task,
            };
            return self.outcome(attempt, Outcome::StartFailed(failure));
        }
        if self.containers.get(attempt) == Some(&Container::Running) {
            let end = ContainerEnd {
                exit: cause.exit(),
                ..exited(143)
            };
            self.containers
                .insert(attempt.clone(), Container::Ended(end));
        }
        self.see_end(attempt);
    }

    /// Lets what is pending at `index` fail, in a way that may pass.
    pub(crate) fn fail(&mut self, index: usize) {
        let failure = || Failure {
            reason: "the engine is away".to_owned(),
            blame: Blame::Passing,
        };
        let lost = || "no answer".to_owned();
        // These are carried out until they succeed, whatever that takes.
        let certain = |effect: &Effect| {
            matches!(
                effect,
                Effect::SaveTombstones { .. }
                    | Effect::Locate { .. }
                    | Effect::Stop { .. }
                    | Effect::Seal(_)
                    | Effect::RemoveOrphan(_)
            )
        };
        if certain(&self.pending[index]) {
            return;
        }
        match self.take(index) {
            Effect::Save { record, .. } => self.outcome(
                record.attempt(),
                Outcome::SaveFailed(record.revision, "disk full".to_owned()),
            ),
            Effect::Pull { order, .. } => {
                self.outcome(&order.attempt, Outcome::PullFailed(failure()));
            }
            Effect::Create { order, .. } => {
                self.outcome(&order.attempt, Outcome::CreateFailed(failure()));
            }
            Effect::Start { record, .. } => {
                self.outcome(record.attempt(), Outcome::StartFailed(failure()));
            }
            Effect::Remove { order, .. } => {
                self.outcome(&order.attempt, Outcome::RemoveFailed(failure()));
            }
            Effect::Upload { order, .. } => {
                let delivery = Delivery::Undelivered(lost());
                self.outcome(&order.attempt, Outcome::Uploaded(delivery));
            }
            Effect::Report { report, .. } => {
                let attempt = report.report.attempt.clone();
                let delivery = Delivery::Undelivered(lost());
                self.outcome(&attempt, Outcome::Reported(delivery));
            }
            Effect::Delete { attempt, .. } => {
                self.outcome(&attempt, Outcome::DeleteFailed(lost()));
            }
            other => panic!("{other:?} is never pending"),
        }
    }

    /// Carries everything out until only running containers are left.
    pub(crate) fn settle(&mut self) {
        for _ in 0..10_000 {
            if self.pending.is_empty() {
                return;
            }
            self.succeed(0);
        }
        panic!("the core never comes to rest: {:?}", self.pending);
    }

    /// Carries out what is pending until an effect of this kind comes first; leaves that.
    pub(crate) fn settle_until(&mut self, stop: impl Fn(&Effect) -> bool) {
        while !self.pending.first().is_some_and(&stop) {
            assert!(!self.pending.is_empty(), "the effect never came");
            self.succeed(0);
        }
    }

    /// The phase in which a heartbeat would show the attempt.
    pub(crate) fn phase(&self, attempt: &AttemptId) -> Option<Phase> {
        let held = self.core.held();
        let held = held.into_iter().find(|held| held.attempt == *attempt);
        held.map(|held| held.phase)
    }

    /// Lets every container end and everything be carried out; then nothing may be left.
    pub(crate) fn finish(&mut self) {
        self.settle();
        for attempt in self.containers.keys().cloned().collect::<Vec<_>>() {
            self.container_ends(&attempt, 0);
        }
        self.settle();
        let all: Vec<_> = self.containers.keys().cloned().collect();
        let all: Vec<_> = all.iter().map(labelled).collect();
        self.step(Input::Containers(all.clone()));
        self.tick(3600);
        self.step(Input::Containers(all));
        self.settle();
        assert!(self.unanswered.is_empty(), "{:?}", self.unanswered);
        assert_eq!(self.core.attempt_count(), 0, "{:?}", self.core);
        assert!(self.disk.is_empty(), "{:?}", self.disk);
        assert!(self.containers.is_empty(), "{:?}", self.containers);
        for attempt in &self.accepted {
            let known =
                self.acknowledged.contains_key(attempt) || self.superseded.contains(attempt);
            assert!(known, "{attempt} was accepted and never reported");
        }
    }
}
