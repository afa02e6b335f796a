//! Under any sequence of inputs: no over-allocation, no user beyond a limit, nothing placed that is on
//! hold, no lost task, one final state, one result.
//!
//! The checks look only at what was written and sent, and keep their own sums.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

#[path = "../cluster/mod.rs"]
mod cluster;
mod happening;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use cloudai_core::{AssignAnswer, ChangeError, Effect, Input, Reported, StopAnswer, Used};
use cloudai_model::{
    AttemptId, Exit, Grant, Phase, Priority, Setting, TaskChange, TaskDraft, TaskId, TaskSpec,
    TaskStatus, UserLimits, WorkerId,
    record::{Record, TaskState},
};
use cluster::{Cluster, capacity, draft, id, spec};
use happening::{Happening, happening};
use proptest::prelude::*;

const WORKERS: [&str; 3] = ["a", "b", "c"];
const USERS: [&str; 3] = ["ann", "bob", "cid"];

fn phase(index: u8) -> Phase {
    [
        Phase::Assigned,
        Phase::Pulling,
        Phase::Creating,
        Phase::Running,
        Phase::Cancelling,
        Phase::Uploading,
    ][usize::from(index)]
}

fn exit(index: u8) -> Exit {
    [
        Exit::Exited(0),
        Exit::Exited(1),
        Exit::Cancelled,
        Exit::OutOfMemory,
        Exit::NotStarted("no such image".into()),
        Exit::Interrupted("its machine".into()),
        Exit::Signalled(9),
    ][usize::from(index)]
    .clone()
}

/// The cluster with an independent account of what was promised.
struct Audited {
    cluster: Cluster,
    /// How many of `cluster.written` the audit has seen.
    seen: usize,
    states: BTreeMap<TaskId, TaskState>,
    specs: BTreeMap<TaskId, TaskSpec>,
    limits: BTreeMap<&'static str, UserLimits>,
    results: BTreeSet<TaskId>,
    open: BTreeMap<AttemptId, (WorkerId, Grant)>,
    /// Attempts whose container is known to have ended: they hold disk only.
    exited: BTreeSet<AttemptId>,
    every_attempt: Vec<(AttemptId, WorkerId)>,
    written_attempts: BTreeSet<AttemptId>,
    last_sequence: u64,
}

impl Audited {
    fn new() -> Self {
        let mut cluster = Cluster::with(&[("a", capacity(4, 2)), ("b", capacity(2, 0))]);
        cluster.settings.queue_limit = 1000;
        Self {
            cluster,
            seen: 0,
            states: BTreeMap::new(),
            specs: BTreeMap::new(),
            limits: BTreeMap::new(),
            results: BTreeSet::new(),
            open: BTreeMap::new(),
            exited: BTreeSet::new(),
            every_attempt: Vec::new(),
            written_attempts: BTreeSet::new(),
            last_sequence: 0,
        }
    }

    fn is_registered(&self, worker: &str) -> bool {
        self.cluster.core.registry().get(&id(worker)).is_some()
    }

    fn pick(&self, index: usize) -> Option<(AttemptId, WorkerId)> {
        let count = self.every_attempt.len();
        (count > 0).then(|| self.every_attempt[index % count].clone())
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Submit {
                quarter_cores,
                gpu,
                priority,
                target,
                retries,
                time_outs,
                user,
            } => {
                let has = |bit: u8, seconds: f64| (time_outs & bit != 0).then_some(seconds);
                let wanted = spec(TaskDraft {
                    cpu_cores: Some(f64::from(quarter_cores) / 4.0),
                    // Shares of an eighth, or one or two whole devices.
                    gpu_cores: Some(match gpu {
                        0..=3 => 0.0,
                        4..=5 => f64::from(gpu) / 8.0,
                        _ => f64::from(gpu - 5),
                    }),
                    priority: Some(i64::from(priority)),
                    worker_id: target.map(|index| WORKERS[usize::from(index)].to_owned()),
                    max_retries: Some(i64::from(retries)),
                    timeout_s: has(1, 20.0),
                    pull_timeout_s: has(2, 10.0),
                    queue_timeout_s: has(4, 15.0),
                    retry_on: (time_outs & 8 != 0).then(|| "any,timeout".to_owned()),
                    hold: time_outs & 16 != 0,
                    user_id: Some(USERS[usize::from(user)].to_owned()),
                    ..draft()
                });
                let accepted = self.cluster.try_submit(None, &wanted);
                if let Ok(submitted) = accepted {
                    self.audit();
                    assert!(
                        self.states.contains_key(&submitted.task),
                        "accepted means written"
                    );
                }
            }
            Happening::SubmitMany(tasks) => self.submit_many(&tasks),
            Happening::Hold { task, hold } => {
                self.change(
                    task,
                    |spec| spec.hold == hold,
                    || TaskChange {
                        hold: Setting::To(hold),
                        ..TaskChange::default()
                    },
                );
            }
            Happening::Priority { task, level } => {
                let level = Priority::new(i64::from(level)).unwrap();
                self.change(
                    task,
                    |spec| spec.priority == level,
                    || TaskChange {
                        priority: Setting::To(level),
                        ..TaskChange::default()
                    },
                );
            }
            Happening::Limits {
                user,
                quarter_cores,
                gpu,
                queued,
            } => {
                let limits = UserLimits {
                    cpu_milli: quarter_cores.map(|quarters| u64::from(quarters) * 250),
                    gpu_milli: gpu.map(|eighths| u64::from(eighths) * 125),
                    queued_tasks: queued.map(u64::from),
                    ..UserLimits::default()
                };
                let user = USERS[usize::from(user)];
                self.limits.insert(user, limits);
                self.cluster.set_limits(user, limits);
            }
            Happening::Change {
                task: index,
                seconds,
            } => {
                let task = self
                    .states
                    .keys()
                    .nth(index % self.states.len().max(1))
                    .cloned();
                if let Some(task) = task {
                    let timeout = seconds.map_or(Setting::Clear, |seconds| {
                        Setting::To(Duration::from_secs(u64::from(seconds)))
                    });
                    let was_final = self.states[&task].status.is_final();
                    let changed = self.cluster.change_timeout(&task, timeout);
                    let is_live = changed != Err(ChangeError::NotLive(task));
                    assert_eq!(is_live, !was_final);
                }
            }
            Happening::Drain { worker, draining } => {
                let worker = WORKERS[usize::from(worker)];
                if self.is_registered(worker) {
                    self.cluster.drain(worker, draining);
                }
            }
            Happening::Cancel(index) => {
                let task = self
                    .states
                    .keys()
                    .nth(index % self.states.len().max(1))
                    .cloned();
                if let Some(task) = task {
                    let was_final = self.states[&task].status.is_final();
                    assert_eq!(self.cluster.cancel(&task).is_err(), was_final);
                }
            }
            Happening::AddWorker(index) => {
                let worker = WORKERS[usize::from(index)];
                if !self.is_registered(worker) {
                    self.cluster.add_worker(worker);
                }
            }
            Happening::RemoveWorker(index) => {
                let worker = WORKERS[usize::from(index)];
                if self.is_registered(worker) {
                    self.cluster.remove_worker(worker);
                }
            }
            Happening::Hello {
                worker,
                cores,
                gpus,
            } => {
                let worker = WORKERS[usize::from(worker)];
                let said = self
                    .cluster
                    .hello(worker, capacity(u64::from(cores), u16::from(gpus)));
                assert_eq!(said.is_ok(), self.is_registered(worker));
            }
            Happening::Heartbeat {
                worker,
                forgets,
                restarted,
                phase: index,
            } => {
                self.beat(
                    WORKERS[usize::from(worker)],
                    forgets,
                    restarted,
                    phase(index),
                );
            }
            Happening::Accepted(index) => self.answered(index, AssignAnswer::Accepted),
            Happening::Refused(index) => self.answered(index, AssignAnswer::Refused("no".into())),
            Happening::Undelivered(index) => {
                self.answered(index, AssignAnswer::Undelivered("cut".into()));
            }
            Happening::Progress {
                attempt,
                phase: index,
            } => {
                let Some((attempt, worker)) = self.pick(attempt) else {
                    return;
                };
                let known = self.is_registered(worker.as_str());
                if known {
                    let reported = self
                        .cluster
                        .progress(worker.as_str(), &attempt, phase(index));
                    self.note_exit(reported == Reported::Live, &attempt, phase(index));
                }
            }
            Happening::Finished {
                attempt,
                exit: index,
            } => {
                let Some((attempt, worker)) = self.pick(attempt) else {
                    return;
                };
                if self.is_registered(worker.as_str()) {
                    self.cluster.finish(worker.as_str(), &attempt, exit(index));
                }
            }
            Happening::StopAnswered { attempt, held } => {
                let Some((attempt, worker)) = self.pick(attempt) else {
                    return;
                };
                let answer = if held {
                    StopAnswer::Stopping
                } else {
                    StopAnswer::NotHeld
                };
                self.cluster.step(Input::StopAnswered {
                    attempt,
                    worker,
                    answer,
                });
            }
            Happening::Time(ms) => self.cluster.pass_time(u64::from(ms), &[]),
            Happening::Restart => {
                let limits: Vec<_> = self
                    .limits
                    .iter()
                    .map(|(user, own)| (*user, *own))
                    .collect();
                self.cluster = self.cluster.restarted_with(&limits);
                self.seen = self.cluster.written.len();
                // Nothing is known of exits any more, and all that is open is booked in full.
                self.exited.clear();
            }
        }
        self.audit();
    }

    fn submit_many(&mut self, tasks: &[(u8, u8)]) {
        let of = |(quarters, user): &(u8, u8)| {
            spec(TaskDraft {
                cpu_cores: Some(f64::from(*quarters) / 4.0),
                user_id: Some(USERS[usize::from(*user)].to_owned()),
                ..draft()
            })
        };
        let specs: Vec<_> = tasks.iter().map(of).collect();
        let before = self.states.len();
        let taken = self.cluster.submit_many(&specs);
        self.audit();
        let added = self.states.len() - before;
        match taken {
            Ok(taken) => {
                assert_eq!((taken.len(), added), (specs.len(), specs.len()));
                for (taken, spec) in taken.iter().zip(&specs) {
                    assert_eq!(self.specs[&taken.task], **spec);
                }
            }
            Err(_) => assert_eq!(added, 0, "all or none"),
        }
    }

    /// What the queue alone asks for is changed while a task waits, and not later.
    fn change(
        &mut self,
        index: usize,
        is_so: impl FnOnce(&TaskSpec) -> bool,
        change: impl FnOnce() -> TaskChange,
    ) {
        let count = self.states.len().max(1);
        let Some((task, state)) = self.states.iter().nth(index % count) else {
            return;
        };
        let (task, status) = (task.clone(), state.status);
        let same = is_so(&self.specs[&task]);
        match self.cluster.change(&task, change()) {
            Ok(_) => assert!(same || status == TaskStatus::Queued, "{task} was {status}"),
            Err(ChangeError::NotLive(_)) => assert!(status.is_final()),
            Err(ChangeError::WaitsNoMore { .. }) => {
                assert!(!same && matches!(status, TaskStatus::Pending | TaskStatus::Running));
            }
            Err(ChangeError::BeingStopped(..)) => assert!(!status.is_final()),
            Err(error) => panic!("{error}"),
        }
    }

    fn answered(&mut self, index: usize, answer: AssignAnswer) {
        let Some((attempt, _)) = self.pick(index) else {
            return;
        };
        self.cluster.step(Input::AssignAnswered { attempt, answer });
    }

    fn beat(&mut self, worker: &str, forgets: bool, restarted: bool, phase: Phase) {
        let Some(entry) = self.cluster.core.registry().get(&id(worker)) else {
            return;
        };
        let attempts = if forgets {
            BTreeSet::new()
        } else {
            entry.attempts.clone()
        };
        let held: Vec<_> = attempts.iter().map(|attempt| (attempt, phase)).collect();
        let incarnation = if restarted { "other" } else { "first" };
        self.cluster
            .heartbeat_with(worker, &held, Some(u64::MAX), incarnation);
        for attempt in &attempts {
            self.note_exit(true, attempt, phase);
        }
    }

    fn note_exit(&mut self, taken: bool, attempt: &AttemptId, phase: Phase) {
        if taken && phase == Phase::Uploading {
            self.exited.insert(attempt.clone());
        }
    }

    /// Reads what was written and sent since the last look.
    fn audit(&mut self) {
        for record in self.cluster.written.split_off(self.seen) {
            self.read(&record);
            self.cluster.written.push(record);
        }
        self.seen = self.cluster.written.len();
        for effect in std::mem::take(&mut self.cluster.effects) {
            if let Effect::Assign(assignment) = effect {
                let written = self.written_attempts.contains(&assignment.attempt);
                assert!(written, "written before it is sent: {assignment:?}");
            }
        }
        let live = self
            .states
            .values()
            .filter(|state| !state.status.is_final())
            .count();
        assert_eq!(self.cluster.core.live_count(), live, "no task is lost");
        assert_eq!(
            self.cluster.core.registry().reservation_count(),
            self.open.len()
        );
    }

    fn read(&mut self, record: &Record) {
        match record {
            Record::TaskAdded(task) => {
                let before = self.states.insert(task.task.clone(), task.state.clone());
                assert!(before.is_none(), "{} was added twice", task.task);
                self.specs.insert(task.task.clone(), task.spec.clone());
            }
            Record::SpecChanged(task, change) => {
                change.apply(
                    self.specs
                        .get_mut(task)
                        .expect("changed after it was added"),
                );
            }
            Record::TaskChanged(task, state) => {
                let before = self.states.insert(task.clone(), state.clone());
                let before = before.expect("changed after it was added");
                assert!(!before.status.is_final(), "{task} changed after its end");
                assert!(state.attempt >= before.attempt);
                self.check_tries(task, &before, state);
            }
            Record::Result(result) => {
                let task = &result.attempt.task;
                assert!(self.results.insert(task.clone()), "{task} has two results");
                assert_eq!(self.states[task].status, result.status);
                assert!(result.status.is_final());
            }
            Record::Assignment(assignment) => {
                let attempt = assignment.attempt.clone();
                if assignment.ended.is_some() {
                    let was_open = self.open.remove(&attempt);
                    assert!(was_open.is_some(), "{attempt} ended twice");
                } else {
                    assert!(assignment.sequence > self.last_sequence, "numbers rise");
                    self.last_sequence = assignment.sequence;
                    let grant = (assignment.worker.clone(), assignment.grant.clone());
                    self.open.insert(attempt.clone(), grant);
                    self.written_attempts.insert(attempt.clone());
                    self.every_attempt
                        .push((attempt.clone(), assignment.worker.clone()));
                    self.check_promises(&assignment.worker, &assignment.grant);
                    self.check_user(&attempt.task, &assignment.grant);
                }
            }
            _ => {}
        }
    }

    /// Nothing of what was tried is forgotten, and no more is tried than was asked for.
    fn check_tries(&self, task: &TaskId, before: &TaskState, now: &TaskState) {
        assert!((before.failures..=before.failures + 1).contains(&now.failures));
        let retries = self.specs[task].max_retries;
        assert!(now.failures <= retries, "{task}: {now:?}");
        assert!(
            now.taken_down.starts_with(&before.taken_down),
            "{task}: {now:?}"
        );
        let limit = self.cluster.settings.machine_failure_limit as usize;
        assert!(now.taken_down.len() <= limit, "{task}: {now:?}");
        let gave_up = now.taken_down.len() == limit && before.taken_down.len() < limit;
        assert!(!gave_up || now.status.is_final(), "{task}: {now:?}");
        if now.retry_at.is_some() {
            assert_eq!(now.status, TaskStatus::Queued);
            assert_eq!(now.failures, before.failures + 1);
        }
        if before.first_started_at.is_some() {
            assert_eq!(now.first_started_at, before.first_started_at);
        }
        if now.status.is_final() && now.time_out.is_some() {
            assert_eq!(now.status, TaskStatus::Failed, "{task}: {now:?}");
        }
    }

    /// With what was just granted, no more is open on this worker than it offers, in any resource
    /// or device of the grant.
    fn check_promises(&self, worker: &WorkerId, granted: &Grant) {
        let capacity = self
            .cluster
            .core
            .registry()
            .get(worker)
            .unwrap()
            .capacity
            .unwrap();
        let mine = self.open.iter().filter(|(_, (on, _))| on == worker);
        let (mut cpu, mut memory, mut storage) = (0, 0, 0);
        let mut devices: BTreeMap<u16, u32> = BTreeMap::new();
        for (attempt, (_, grant)) in mine {
            storage += grant.storage_bytes;
            if self.exited.contains(attempt) {
                continue;
            }
            cpu += grant.cpu_milli;
            memory += grant.memory_bytes;
            for share in &grant.devices {
                *devices.entry(share.device).or_default() += u32::from(share.milli);
            }
        }
        // A worker that came back smaller may hold more than it offers, but gets nothing new.
        assert!(
            cpu <= capacity.cpu_milli,
            "{worker}: {cpu} of {}",
            capacity.cpu_milli
        );
        assert!(memory <= capacity.memory_bytes);
        assert!(storage <= capacity.storage_bytes);
        for share in &granted.devices {
            assert!(
                share.device < capacity.gpus,
                "{worker} has no device {}",
                share.device
            );
            assert!(
                devices[&share.device] <= 1000,
                "{worker}: device {}",
                share.device
            );
        }
    }

    /// With what was just granted, its user has no more than they may, in whatever it is of.
    fn check_user(&self, task: &TaskId, granted: &Grant) {
        let spec = &self.specs[task];
        assert!(!spec.hold, "{task} is on hold");
        let limits = self.limits.get(spec.user.as_str());
        let limits = limits.copied().unwrap_or_default();
        let gpu_milli = |grant: &Grant| -> u64 {
            let shares = grant.devices.iter();
            shares.map(|share| u64::from(share.milli)).sum()
        };
        let (mut cpu, mut gpu) = (0, 0);
        for (attempt, (_, grant)) in &self.open {
            if self.specs[&attempt.task].user == spec.user && !self.exited.contains(attempt) {
                cpu += grant.cpu_milli;
                gpu += gpu_milli(grant);
            }
        }
        let cpu_limit = limits.cpu_milli.unwrap_or(u64::MAX);
        let gpu_limit = limits.gpu_milli.unwrap_or(u64::MAX);
        assert!(cpu <= cpu_limit, "{}: {cpu} of {cpu_limit}", spec.user);
        assert!(
            gpu <= gpu_limit || gpu_milli(granted) == 0,
            "{}: {gpu} of {gpu_limit}",
            spec.user
        );
    }

    /// With all trouble over, everything comes to rest.
    fn come_to_rest(&mut self) {
        for user in USERS {
            self.limits.remove(user);
            self.cluster.set_limits(user, UserLimits::default());
        }
        for task in self.states.keys().cloned().collect::<Vec<_>>() {
            if self.specs[&task].hold && !self.states[&task].status.is_final() {
                self.cluster.hold(&task, false).unwrap();
                self.audit();
            }
        }
        for worker in WORKERS {
            self.happen(Happening::AddWorker(
                u8::try_from(WORKERS.iter().position(|name| *name == worker).unwrap()).unwrap(),
            ));
            self.cluster.hello(worker, capacity(8, 4)).unwrap();
            self.cluster.drain(worker, false);
        }
        for _ in 0..200 {
            self.cluster.pass_time(2000, &WORKERS);
            self.audit();
            for (attempt, (worker, _)) in self.open.clone() {
                self.cluster
                    .finish(worker.as_str(), &attempt, Exit::Exited(0));
            }
            self.audit();
            if self.cluster.core.live_count() == 0 {
                break;
            }
        }
        assert_eq!(self.cluster.core.live_count(), 0, "everything ends");
        assert_eq!(self.cluster.core.waiting_count(), 0);
        assert_eq!(
            self.cluster.core.registry().reservation_count(),
            0,
            "nothing stays reserved"
        );
        assert_eq!(
            self.results.len(),
            self.states.len(),
            "one result for each task"
        );
        for user in USERS {
            let users = self.cluster.core.registry().users();
            assert_eq!(users.used(&user.parse().unwrap()), Used::default());
        }
        for worker in self.cluster.core.registry().iter() {
            assert_eq!(worker.allocated.cpu_milli, 0);
            assert_eq!(worker.allocated.gpu_milli(), 0);
            assert_eq!(worker.allocated.storage_bytes, 0);
        }
        let completed = |state: &&TaskState| state.status == TaskStatus::Completed;
        assert!(self.states.values().filter(completed).count() <= self.results.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_promises_hold(
        happenings in proptest::collection::vec(happening(), 1..120)
    ) {
        let mut audited = Audited::new();
        for happening in happenings {
            audited.happen(happening);
        }
        audited.come_to_rest();
    }
}
