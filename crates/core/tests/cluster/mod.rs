//! A core driven by hand: each call is one step, and its effects are looked at.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "each test uses its part"
)]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use cloudai_core::{
    Answer, AssignAnswer, Assignment, Call, CancelError, CancelOutcome, ChangeError, ChangeOutcome,
    Core, Effect, Event, Heartbeat, Held, Hello, Input, PlaceError, Reported, Settings,
    StopRequest, SubmitError, SubmitManyError, Submitted, Taken, WaitCause, Waiting, Which,
    WorkerCallError, policy::RoundRobin,
};
use cloudai_model::{
    AttemptId, AttemptReport, Capacity, ContainerEnd, Exit, HostUsage, Mono, Now, PeakUsage, Phase,
    Setting, TaskChange, TaskDraft, TaskId, TaskSpec, UserLimits, Wall, Whole, WorkerId,
    record::Record, resources::GB,
};

pub struct Cluster {
    pub core: Core,
    pub now: Now,
    pub settings: Settings,
    /// Effects of the steps so far that no test has looked at.
    pub effects: Vec<Effect>,
    /// Everything written, as a store would hold it.
    pub written: Vec<Record>,
    next_call: u64,
}

pub fn id(text: &str) -> WorkerId {
    text.parse().unwrap()
}

pub fn draft() -> TaskDraft {
    TaskDraft {
        docker_image: "busybox".into(),
        ..TaskDraft::default()
    }
}

pub fn spec(draft: TaskDraft) -> Arc<TaskSpec> {
    Arc::new(draft.check().unwrap().1)
}

/// A task of a user that needs so many cores.
pub fn of(user: &str, cores: f64) -> Arc<TaskSpec> {
    spec(TaskDraft {
        user_id: Some(user.into()),
        cpu_cores: Some(cores),
        ..draft()
    })
}

pub fn cores(cores: f64) -> Arc<TaskSpec> {
    spec(TaskDraft {
        cpu_cores: Some(cores),
        ..draft()
    })
}

/// How a node of the time before versions says hello.
pub fn old_node(worker: &str, capacity: Capacity) -> Hello {
    Hello {
        worker: id(worker),
        shown_ip: "localhost".into(),
        capacity,
        version: None,
        labels: BTreeMap::new(),
        home: None,
        incarnation: None,
    }
}

pub fn capacity(cores: u64, gpus: u16) -> Capacity {
    let bytes = 1000 * GB;
    Capacity {
        cpu_milli: cores * 1000,
        memory_bytes: bytes,
        storage_bytes: bytes,
        gpus,
    }
}

pub fn report(attempt: &AttemptId, exit: Exit) -> AttemptReport {
    let end = ContainerEnd {
        exit,
        started_at: Some(Wall(1)),
        finished_at: Wall(2),
        usage: PeakUsage::default(),
        image_digest: None,
    };
    AttemptReport {
        attempt: attempt.clone(),
        end,
        log: Whole::Complete,
        files: Whole::Complete,
        in_order: false,
    }
}

impl Cluster {
    /// A core before its store was read.
    pub fn unread() -> Self {
        Self::unread_with(Settings::default())
    }

    /// The same, with settings of the test's own.
    pub fn unread_with(settings: Settings) -> Self {
        let core = Core::new(
            settings.clone(),
            Box::new(RoundRobin),
            "c-1".parse().unwrap(),
        );
        let now = Now {
            mono: Mono(1000),
            wall: Wall(1_700_000_000_000),
        };
        let (effects, written) = (Vec::new(), Vec::new());
        Self {
            core,
            now,
            settings,
            effects,
            written,
            next_call: 0,
        }
    }

    /// A core with an empty store.
    pub fn new() -> Self {
        let mut cluster = Self::unread();
        cluster.step(Input::Restored {
            highest_task_number: None,
            highest_order: 0,
        });
        cluster.effects.clear();
        cluster
    }

    /// With these workers, active.
    pub fn with(workers: &[(&str, Capacity)]) -> Self {
        Self::with_settings(Settings::default(), workers)
    }

    /// The same, with settings of the test's own.
    pub fn with_settings(settings: Settings, workers: &[(&str, Capacity)]) -> Self {
        let mut cluster = Self::unread_with(settings);
        cluster.step(Input::Restored {
            highest_task_number: None,
            highest_order: 0,
        });
        cluster.effects.clear();
        for (worker, capacity) in workers {
            cluster.add_worker(worker);
            cluster.hello(worker, *capacity).unwrap();
        }
        cluster.effects.clear();
        cluster
    }

    pub fn step(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.core.step(self.now, input, &mut effects);
        self.written
            .extend(effects.iter().filter_map(|effect| match effect {
                Effect::Write(record) => Some(record.clone()),
                _ => None,
            }));
        self.effects.extend(effects);
    }

    /// One step with a call; its one answer.
    pub fn call(&mut self, input: impl FnOnce(Call) -> Input) -> Answer {
        self.next_call += 1;
        let call = Call(self.next_call);
        self.step(input(call));
        let is_mine = |effect: &Effect| matches!(effect, Effect::Answer(to, _) if *to == call);
        let mine = self.effects.extract_if(.., |effect| is_mine(effect));
        let answers: Vec<_> = mine.collect();
        assert_eq!(answers.len(), 1, "each call is answered once: {answers:?}");
        match answers.into_iter().next() {
            Some(Effect::Answer(_, answer)) => answer,
            other => panic!("{other:?}"),
        }
    }

    pub fn add_worker(&mut self, worker: &str) {
        self.add_worker_at(worker, "localhost");
    }

    pub fn add_worker_at(&mut self, worker: &str, address: &str) {
        let answer = self.call(|call| Input::AddWorker {
            call,
            worker: id(worker),
            address: address.parse().unwrap(),
            registration: 7,
        });
        assert!(matches!(answer, Answer::WorkerAdded(Ok(_))), "{answer:?}");
    }

    pub fn remove_worker(&mut self, worker: &str) -> Vec<AttemptId> {
        match self.call(|call| Input::RemoveWorker {
            call,
            worker: id(worker),
        }) {
            Answer::WorkerRemoved(Ok(attempts)) => attempts,
            other => panic!("{other:?}"),
        }
    }

    pub fn hello(&mut self, worker: &str, capacity: Capacity) -> Result<(), WorkerCallError> {
        self.hello_from(worker, capacity, None)
    }

    pub fn hello_from(
        &mut self,
        worker: &str,
        capacity: Capacity,
        home: Option<&str>,
    ) -> Result<(), WorkerCallError> {
        self.introduced(Hello {
            version: Some("1".into()),
            home: home.map(str::to_owned),
            ..old_node(worker, capacity)
        })
    }

    pub fn introduced(&mut self, hello: Hello) -> Result<(), WorkerCallError> {
        match self.call(|call| Input::Hello { call, hello }) {
            Answer::Welcomed(welcome) => welcome.map(|_| ()),
            other => panic!("{other:?}"),
        }
    }

    /// A heartbeat of a worker that has seen every assignment and holds these attempts.
    pub fn heartbeat(&mut self, worker: &str, held: &[(&AttemptId, Phase)]) {
        self.heartbeat_with(worker, held, Some(u64::MAX), "first");
    }

    pub fn heartbeat_with(
        &mut self,
        worker: &str,
        held: &[(&AttemptId, Phase)],
        last_sequence: Option<u64>,
        incarnation: &str,
    ) {
        let held = held.iter().map(|(attempt, phase)| Held {
            attempt: AttemptId::clone(attempt),
            phase: *phase,
        });
        let heartbeat = Heartbeat {
            worker: id(worker),
            incarnation: Some(incarnation.into()),
            home: None,
            usage: HostUsage::default(),
            held: held.collect(),
            last_sequence,
            unwell: None,
        };
        let answer = self.call(|call| Input::Heartbeat { call, heartbeat });
        assert!(
            matches!(answer, Answer::HeartbeatTaken(Ok(_))),
            "{answer:?}"
        );
    }

    pub fn submit(&mut self, spec: &Arc<TaskSpec>) -> Submitted {
        self.try_submit(None, spec).unwrap()
    }

    pub fn try_submit(
        &mut self,
        task: Option<TaskId>,
        spec: &Arc<TaskSpec>,
    ) -> Result<Submitted, SubmitError> {
        let spec = spec.clone();
        match self.call(|call| Input::Submit { call, task, spec }) {
            Answer::Submitted(submitted) => submitted,
            other => panic!("{other:?}"),
        }
    }

    pub fn cancel(&mut self, task: &TaskId) -> Result<CancelOutcome, CancelError> {
        let task = task.clone();
        match self.call(|call| Input::Cancel { call, task }) {
            Answer::Cancelled(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    /// Changes a task's time-out of the run.
    pub fn change_timeout(
        &mut self,
        task: &TaskId,
        timeout: Setting<Duration>,
    ) -> Result<ChangeOutcome, ChangeError> {
        let change = TaskChange {
            timeout,
            ..TaskChange::default()
        };
        self.change(task, change)
    }

    pub fn change(
        &mut self,
        task: &TaskId,
        change: TaskChange,
    ) -> Result<ChangeOutcome, ChangeError> {
        let task = task.clone();
        match self.call(|call| Input::Change { call, task, change }) {
            Answer::Changed(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    /// Puts a task on hold, or releases it.
    pub fn hold(&mut self, task: &TaskId, hold: bool) -> Result<ChangeOutcome, ChangeError> {
        let change = TaskChange {
            hold: Setting::To(hold),
            ..TaskChange::default()
        };
        self.change(task, change)
    }

    pub fn submit_many(&mut self, specs: &[Arc<TaskSpec>]) -> Result<Vec<Taken>, SubmitManyError> {
        let specs = specs.to_vec();
        match self.call(|call| Input::SubmitMany { call, specs }) {
            Answer::SubmittedMany(taken) => taken,
            other => panic!("{other:?}"),
        }
    }

    pub fn set_limits(&mut self, user: &str, limits: UserLimits) {
        let user = user.parse().unwrap();
        self.step(Input::Limits { user, limits });
    }

    pub fn place(&mut self, task: &TaskId, worker: &str) -> Result<AttemptId, PlaceError> {
        let (task, worker) = (task.clone(), id(worker));
        match self.call(|call| Input::Place { call, task, worker }) {
            Answer::Placed(placed) => placed,
            other => panic!("{other:?}"),
        }
    }

    /// Why a task waits, in a line.
    pub fn why(&mut self, task: &TaskId) -> String {
        let waiting = self.waiting(Which::One(task.clone())).pop();
        match waiting.expect("it waits").cause {
            WaitCause::Room(why) => why.summary,
            WaitCause::OnHold => "on hold".to_owned(),
            WaitCause::BackOff(_) => "back-off".to_owned(),
        }
    }

    pub fn drain(&mut self, worker: &str, draining: bool) -> Vec<AttemptId> {
        let worker = id(worker);
        match self.call(|call| Input::Drain {
            call,
            worker,
            draining,
        }) {
            Answer::Drained(Ok(attempts)) => attempts,
            other => panic!("{other:?}"),
        }
    }

    /// The first waiting tasks in order, and why each waits.
    pub fn waiting(&mut self, which: Which) -> Vec<Waiting> {
        match self.call(|call| Input::WhyWaiting { call, which }) {
            Answer::Waiting(Ok(waiting)) => waiting,
            other => panic!("{other:?}"),
        }
    }

    pub fn accepted(&mut self, attempt: &AttemptId) {
        let answer = AssignAnswer::Accepted;
        self.step(Input::AssignAnswered {
            attempt: attempt.clone(),
            answer,
        });
    }

    pub fn progress(&mut self, worker: &str, attempt: &AttemptId, phase: Phase) -> Reported {
        let (worker, attempt) = (id(worker), attempt.clone());
        let detail = String::new();
        let progress = |call| Input::Progress {
            call,
            worker,
            attempt,
            phase,
            detail,
            end: None,
        };
        match self.call(progress) {
            Answer::Reported(Ok(reported)) => reported,
            other => panic!("{other:?}"),
        }
    }

    pub fn finish(&mut self, worker: &str, attempt: &AttemptId, exit: Exit) -> Reported {
        let (worker, report) = (id(worker), Box::new(report(attempt, exit)));
        let log_tail = String::new();
        match self.call(|call| Input::Finished {
            call,
            worker,
            report,
            log_tail,
        }) {
            Answer::Reported(Ok(reported)) => reported,
            other => panic!("{other:?}"),
        }
    }

    /// Time passes, with a tick every 500 ms, and every worker named stays in touch, holding what
    /// it was given.
    pub fn pass_time(&mut self, ms: u64, in_touch: &[&str]) {
        let end = self.now.mono.0 + ms;
        while self.now.mono.0 < end {
            let span = 500.min(end - self.now.mono.0);
            self.now.mono.0 += span;
            self.now.wall.0 += i64::try_from(span).unwrap();
            for worker in in_touch {
                let attempts = self
                    .core
                    .registry()
                    .get(&id(worker))
                    .unwrap()
                    .attempts
                    .clone();
                let held: Vec<_> = attempts
                    .iter()
                    .map(|attempt| (attempt, Phase::Assigned))
                    .collect();
                self.heartbeat(worker, &held);
            }
            self.step(Input::Tick);
        }
    }

    pub fn take_assignments(&mut self) -> Vec<Assignment> {
        let is_one = |effect: &mut Effect| matches!(effect, Effect::Assign(_));
        self.effects
            .extract_if(.., is_one)
            .filter_map(|effect| match effect {
                Effect::Assign(assignment) => Some(assignment),
                _ => None,
            })
            .collect()
    }

    pub fn take_stops(&mut self) -> Vec<StopRequest> {
        let is_one = |effect: &mut Effect| matches!(effect, Effect::Stop(_));
        self.effects
            .extract_if(.., is_one)
            .filter_map(|effect| match effect {
                Effect::Stop(stop) => Some(stop),
                _ => None,
            })
            .collect()
    }

    pub fn take_events(&mut self) -> Vec<Event> {
        let is_one = |effect: &mut Effect| matches!(effect, Effect::Publish(_));
        self.effects
            .extract_if(.., is_one)
            .filter_map(|effect| match effect {
                Effect::Publish(event) => Some(event),
                _ => None,
            })
            .collect()
    }

    /// The one assignment made since the last look.
    #[track_caller]
    pub fn assigned(&mut self) -> Assignment {
        let mut assignments = self.take_assignments();
        assert_eq!(assignments.len(), 1, "{assignments:?}");
        assignments.remove(0)
    }

    /// The last state written of a task.
    pub fn state(&self, task: &TaskId) -> cloudai_model::record::TaskState {
        let states = self.written.iter().rev().find_map(|record| match record {
            Record::TaskAdded(added) if added.task == *task => Some(added.state.clone()),
            Record::TaskChanged(changed, state) if changed == task => Some(state.clone()),
            _ => None,
        });
        states.expect("every accepted task is written")
    }

    /// What a store would give back: a core that starts on everything written so far.
    pub fn restarted(&self) -> Self {
        self.restarted_with(&[])
    }

    /// The same where users have limits, which are kept elsewhere.
    pub fn restarted_with(&self, limits: &[(&str, UserLimits)]) -> Self {
        let mut again = Self::unread_with(self.settings.clone());
        again.now = Now {
            mono: Mono(0),
            wall: self.now.wall,
        };
        again.written = stored(&self.written);
        let (mut number, mut order) = (None, 0);
        for record in &again.written {
            if let Record::TaskAdded(task) = record {
                number = number.max(task.task.number());
                order = order.max(task.order);
            }
        }
        for (user, limits) in limits {
            again.set_limits(user, *limits);
        }
        for record in live(&again.written) {
            again.step(Input::Restore(Box::new(record)));
        }
        again.step(Input::Restored {
            highest_task_number: number,
            highest_order: order,
        });
        again
    }
}

/// The records as a store holds them after these writes: one of each, the last.
fn stored(written: &[Record]) -> Vec<Record> {
    let mut cluster = None;
    let (mut workers, mut tasks) = (BTreeMap::new(), BTreeMap::new());
    let (mut assignments, mut orders) = (BTreeMap::new(), BTreeMap::new());
    let mut rest = Vec::new();
    for record in written.iter().cloned() {
        match record {
            Record::Cluster(_) => cluster = Some(record),
            Record::Worker(worker) => {
                workers.insert(worker.worker.clone(), worker);
            }
            Record::WorkerRemoved(worker) => {
                workers.remove(&worker);
            }
            Record::TaskAdded(task) => {
                tasks.insert(task.task.clone(), task);
            }
            Record::TaskChanged(task, state) => {
                tasks.get_mut(&task).expect("added before changed").state = state;
            }
            Record::SpecChanged(task, change) => {
                let task: &mut Box<_> = tasks.get_mut(&task).expect("added before changed");
                change.apply(&mut task.spec);
            }
            Record::Assignment(assignment) => {
                assignments.insert(assignment.attempt.clone(), assignment);
            }
            Record::StopOrder(order) => {
                orders.insert(order.attempt.clone(), order);
            }
            Record::StopOrderDone(attempt) => {
                orders.remove(&attempt);
            }
            Record::TaskForgotten(task) => {
                tasks.remove(&task);
                assignments.retain(|attempt, _| attempt.task != task);
            }
            Record::Result(_)
            | Record::Files(_)
            | Record::Removed(_)
            | Record::Forgotten(_)
            | Record::Account(_) => rest.push(record),
        }
    }
    let mut tasks: Vec<_> = tasks.into_values().collect();
    tasks.sort_by_key(|task| task.order);
    let all = cluster
        .into_iter()
        .chain(workers.into_values().map(Record::Worker));
    let all = all.chain(tasks.into_iter().map(Record::TaskAdded));
    let all = all.chain(assignments.into_values().map(Record::Assignment));
    all.chain(orders.into_values().map(Record::StopOrder))
        .chain(rest)
        .collect()
}

/// What of it a start reads.
fn live(stored: &[Record]) -> Vec<Record> {
    let is_live = |record: &&Record| match record {
        Record::TaskAdded(task) => !task.state.status.is_final(),
        Record::Assignment(assignment) => assignment.ended.is_none(),
        Record::Result(_)
        | Record::Files(_)
        | Record::Removed(_)
        | Record::Forgotten(_)
        | Record::Account(_) => false,
        _ => true,
    };
    stored.iter().filter(is_live).cloned().collect()
}
