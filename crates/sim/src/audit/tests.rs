//! Each kind of violation is found in a made history that has it, and none in one that is sound.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use cloudai_core::{CancelOutcome, Heartbeat, Held, Hello, Reported};
use cloudai_model::{
    AttemptReport, ClusterId, ContainerEnd, Exit, Grant, HostUsage, PeakUsage, Phase, Setting,
    TaskDraft, TaskSpec, TimeOut, UserName, Wall, Whole,
    record::{
        AssignmentRecord, ClusterRecord, FilesRecord, ResultRecord, TaskRecord, TaskState,
        WorkerRecord,
    },
};
use cloudai_worker_core::{EndRecord, HostRun, Job, Order, SealedLog};

use super::*;
use crate::{
    engine::EndCause,
    plan::{Behaviour, Item, Offer, TaskPlan, What},
};

const CAPACITY: Capacity = Capacity {
    cpu_milli: 2000,
    memory_bytes: 2048 << 20,
    storage_bytes: 8192 << 20,
    gpus: 0,
};

fn attempt(number: u32) -> AttemptId {
    AttemptId::new("own-0".parse().unwrap(), number)
}

fn task() -> TaskId {
    attempt(1).task
}

fn worker(index: usize) -> WorkerId {
    Plan::worker_name(index).parse().unwrap()
}

fn cluster() -> ClusterId {
    "c-simulated".parse().unwrap()
}

fn grant() -> Grant {
    Grant {
        cpu_milli: 1000,
        memory_bytes: 1 << 20,
        storage_bytes: 0,
        devices: Vec::new(),
    }
}

fn spec(change: impl FnOnce(&mut TaskDraft)) -> TaskSpec {
    let mut draft = TaskDraft {
        name: Some("t0".to_owned()),
        docker_image: "simulated/task-0".to_owned(),
        ..TaskDraft::default()
    };
    change(&mut draft);
    draft.check().unwrap().1
}

fn end(exit: Exit) -> ContainerEnd {
    ContainerEnd {
        exit,
        started_at: Some(Wall(1)),
        finished_at: Wall(2),
        usage: PeakUsage::default(),
        image_digest: None,
    }
}

fn raw(exit_code: i64, cause: EndCause) -> RawEnd {
    RawEnd {
        exit_code,
        oom_killed: false,
        cause,
        started_at: Wall(1),
        finished_at: Wall(2),
    }
}

fn state(status: TaskStatus, attempt: u32) -> TaskState {
    TaskState {
        status,
        attempt,
        ..TaskState::queued("")
    }
}

/// What an auditor is shown, and what it makes of it.
struct History {
    auditor: Auditor,
    now_ms: u64,
    found: Option<Violation>,
}

impl History {
    /// Of a cluster with two workers and a task that leaves files.
    fn new() -> Self {
        let offer = Offer {
            cpu_milli: 2000,
            memory_mb: 2048,
            storage_mb: 8192,
            gpus: 0,
        };
        let task = TaskPlan {
            task: 0,
            own_id: true,
            cpu_milli: 1000,
            memory_mb: 1,
            storage_mb: 0,
            gpu_milli: 0,
            target: None,
            priority: 50,
            timeout_s: None,
            pull_timeout_s: None,
            queue_timeout_s: None,
            max_retries: 0,
            retry_on: None,
            does: Behaviour {
                leaves_files: true,
                ..Behaviour::default()
            },
        };
        let plan = Plan {
            seed: 0,
            horizon_ms: 60_000,
            workers: vec![offer; 2],
            items: vec![Item {
                at_ms: 0,
                what: What::Submit(task),
            }],
        };
        let mut this = Self {
            auditor: Auditor::new(&plan),
            now_ms: 1_000,
            found: None,
        };
        for worker in 0..2 {
            this.see(&Seen::WorkerStarts {
                worker,
                capacity: &CAPACITY,
            });
        }
        this.see(&Seen::MasterReady);
        this.write(&[Record::Cluster(ClusterRecord {
            cluster: cluster(),
            epoch: 1,
        })]);
        this
    }

    fn see(&mut self, seen: &Seen<'_>) -> &mut Self {
        if self.found.is_none() {
            self.found = self.auditor.see(self.now_ms, seen).err();
        }
        self
    }

    fn after(&mut self, span_ms: u64) -> &mut Self {
        self.now_ms += span_ms;
        self
    }

    fn write(&mut self, records: &[Record]) -> &mut Self {
        for record in records {
            self.see(&Seen::Decided(record));
        }
        self.see(&Seen::Flushed(records))
    }

    fn joined(&mut self, index: usize) -> &mut Self {
        let hello = self.hello(index, "start-1");
        self.write(&[Record::Worker(WorkerRecord {
            worker: worker(index),
            address: "w.simulated:50052".parse().unwrap(),
            capacity: Some(CAPACITY),
            version: None,
            labels: BTreeMap::new(),
            registration: 1,
            registered_at: Wall(0),
            last_seen_at: None,
            draining: false,
        })]);
        self.exchange(index, &hello, &welcome())
    }

    fn hello(&self, index: usize, incarnation: &str) -> ToMaster {
        ToMaster::Hello(Hello {
            worker: worker(index),
            shown_ip: String::new(),
            capacity: CAPACITY,
            version: None,
            labels: BTreeMap::new(),
            home: None,
            incarnation: Some(incarnation.to_owned()),
        })
    }

    /// A call of a worker, and its answer.
    fn exchange(&mut self, worker: usize, request: &ToMaster, answer: &FromMaster) -> &mut Self {
        self.see(&Seen::SentToMaster { worker, request });
        self.see(&Seen::ArrivedAtMaster { worker, request });
        let arrived_ms = self.now_ms;
        self.see(&Seen::AnsweredByMaster {
            worker,
            request,
            arrived_ms,
            answer,
        })
    }

    fn arrives(&mut self, request: &ToMaster) -> &mut Self {
        self.see(&Seen::SentToMaster { worker: 0, request });
        self.see(&Seen::ArrivedAtMaster { worker: 0, request })
    }

    fn added(&mut self, spec: TaskSpec) -> &mut Self {
        self.write(&[added(spec)])
    }

    /// Worker 0 has joined and is given an attempt.
    fn given(&mut self) -> &mut Self {
        self.given_with(spec(|_| {}))
    }

    fn given_with(&mut self, spec: TaskSpec) -> &mut Self {
        self.joined(0).added(spec);
        self.write(&[given(1, 0, 1), changed(state(TaskStatus::Pending, 1))])
    }

    fn sent(&mut self) -> &mut Self {
        self.see(&Seen::SentToWorker {
            worker: 0,
            request: &assign(1),
        })
    }

    fn taken(&mut self) -> &mut Self {
        self.given().sent().spooled(None);
        self.answered(&assign(1), &FromWorker::Taken)
    }

    fn spooled(&mut self, end: Option<EndRecord>) -> &mut Self {
        let record = SpoolRecord {
            revision: 1,
            order: order(),
            started: false,
            host_run: HostRun::default(),
            image_digest: None,
            stop: None,
            end,
        };
        self.see(&Seen::SpoolFlushed {
            worker: 0,
            record: &record,
        })
    }

    fn answered(&mut self, request: &ToWorker, answer: &FromWorker) -> &mut Self {
        self.see(&Seen::ArrivedAtWorker { worker: 0, request });
        self.see(&Seen::AnsweredByWorker {
            worker: 0,
            request,
            answer,
        });
        self.see(&Seen::HeardFromWorker {
            worker: 0,
            request,
            answer: &Ok(answer.clone()),
        })
    }

    fn running(&mut self) -> &mut Self {
        let attempt = &attempt(1);
        self.taken();
        self.see(&Seen::ContainerCreated { worker: 0, attempt });
        self.see(&Seen::ContainerStartAsked { worker: 0, attempt });
        self.see(&Seen::ContainerStarted { worker: 0, attempt });
        self.arrives(&progress(Phase::Running));
        self.write(&[changed(state(TaskStatus::Running, 1))])
    }

    fn ended(&mut self, exit_code: i64) -> &mut Self {
        self.running();
        self.see(&Seen::ContainerEnded {
            worker: 0,
            attempt: &attempt(1),
            end: &raw(exit_code, EndCause::Itself),
        });
        self.arrives(&progress(Phase::Uploading))
    }

    fn reported(&mut self, exit_code: i32) -> &mut Self {
        self.ended(i64::from(exit_code)).write(&[files()]);
        self.arrives(&report(Exit::Exited(exit_code)))
    }

    fn cancelled(&mut self) -> &mut Self {
        self.see(&Seen::CancelAsked(&task()))
    }
}

fn welcome() -> FromMaster {
    FromMaster::Welcome {
        cluster: cluster(),
        interval_ms: 5_000,
    }
}

fn added(spec: TaskSpec) -> Record {
    Record::TaskAdded(Box::new(TaskRecord {
        task: task(),
        order: 1,
        spec,
        submitted_at: Wall(0),
        state: TaskState::queued(""),
    }))
}

fn changed(state: TaskState) -> Record {
    Record::TaskChanged(task(), state)
}

fn given(number: u32, to: usize, sequence: u64) -> Record {
    Record::Assignment(AssignmentRecord {
        attempt: attempt(number),
        worker: worker(to),
        sequence,
        grant: grant(),
        assigned_at: Wall(0),
        ended: None,
    })
}

fn over(number: u32, sequence: u64) -> Record {
    Record::Assignment(AssignmentRecord {
        attempt: attempt(number),
        worker: worker(0),
        sequence,
        grant: grant(),
        assigned_at: Wall(0),
        ended: Some((Wall(1), "over".to_owned())),
    })
}

fn result(status: TaskStatus, exit: Option<Exit>) -> Record {
    Record::Result(Box::new(ResultRecord {
        attempt: attempt(1),
        worker: exit.is_some().then(|| worker(0)),
        status,
        reason: String::new(),
        end: exit.map(end),
        log: Whole::Complete,
        files: Whole::Complete,
        log_tail: String::new(),
        completed_at: Wall(1),
        sla_success: None,
    }))
}

fn files() -> Record {
    Record::Files(Box::new(FilesRecord {
        attempt: attempt(1),
        user: UserName::admin(),
        task_name: String::new(),
        storage_path: String::new(),
        files: Vec::new(),
        uploaded_at: Wall(1),
    }))
}

fn order() -> Order {
    let spec = spec(|_| {});
    Order {
        attempt: attempt(1),
        sequence: 1,
        cluster: cluster(),
        grant: grant(),
        stop_grace: Duration::from_secs(10),
        job: Arc::new(Job {
            user: spec.user,
            name: spec.name,
            image: spec.image,
            command: spec.command,
            env: spec.env,
            container: spec.container,
        }),
    }
}

fn assign(sequence: u64) -> ToWorker {
    ToWorker::Assign {
        attempt: attempt(1),
        sequence,
        cluster: cluster(),
        grant: grant(),
        spec: Arc::new(spec(|_| {})),
    }
}

fn cancel() -> ToWorker {
    ToWorker::Cancel {
        attempt: attempt(1),
        reason: String::new(),
    }
}

fn progress(phase: Phase) -> ToMaster {
    ToMaster::Progress {
        worker: worker(0),
        attempt: attempt(1),
        phase,
        end: None,
    }
}

fn report(exit: Exit) -> ToMaster {
    ToMaster::Report {
        worker: worker(0),
        report: Box::new(AttemptReport {
            attempt: attempt(1),
            end: end(exit),
            log: Whole::Complete,
            files: Whole::Complete,
            in_order: false,
        }),
    }
}

fn heartbeat(held: bool, last_sequence: u64, incarnation: &str) -> ToMaster {
    let held = held.then(|| Held {
        attempt: attempt(1),
        phase: Phase::Running,
    });
    ToMaster::Heartbeat(Heartbeat {
        worker: worker(0),
        incarnation: Some(incarnation.to_owned()),
        home: None,
        usage: HostUsage::default(),
        held: held.into_iter().collect(),
        last_sequence: Some(last_sequence),
        unwell: None,
    })
}

fn taken(register_again: bool) -> FromMaster {
    FromMaster::HeartbeatTaken { register_again }
}

fn completed() -> [Record; 3] {
    [
        over(1, 1),
        changed(state(TaskStatus::Completed, 1)),
        result(TaskStatus::Completed, Some(Exit::Exited(0))),
    ]
}

fn failed(time_out: Option<TimeOut>, exit: Option<Exit>) -> [Record; 3] {
    let failed = TaskState {
        time_out,
        ..state(TaskStatus::Failed, 1)
    };
    let ends = result(TaskStatus::Failed, exit);
    [over(1, 1), changed(failed), ends]
}

#[test]
fn a_sound_history_has_nothing_amiss() {
    let mut history = History::new();
    history.reported(0).write(&completed());
    let told = Told::Submitted(task());
    history.see(&Seen::UserTold(&told));
    let heard = FromMaster::Heard(Reported::Live);
    history.exchange(0, &report(Exit::Exited(0)), &heard);
    let end = EndRecord {
        end: end(Exit::Exited(0)),
        log: SealedLog {
            length_bytes: 0,
            whole: Whole::Complete,
        },
        had_container: true,
    };
    history.spooled(Some(end));
    let attempt = &attempt(1);
    history.see(&Seen::ContainerRemoved {
        worker: 0,
        attempt,
        by_worker: true,
    });
    history.see(&Seen::SpoolDeleted { worker: 0, attempt });
    assert_eq!(history.found, None);
}

#[test]
fn an_attempt_may_be_given_up_for_what_came_over_the_wire_and_for_silence() {
    let again = || [over(1, 1), changed(state(TaskStatus::Queued, 1))];
    let reasons: &[fn(&mut History)] = &[
        |history| {
            history.answered(&assign(1), &FromWorker::Refused(String::new()));
        },
        |history| {
            history.answered(&cancel(), &FromWorker::NotHeld);
        },
        |history| {
            history.arrives(&heartbeat(false, 1, "start-1"));
        },
        |history| {
            history.after(30_000);
        },
        |history| {
            history.arrives(&report(Exit::Interrupted(String::new())));
        },
    ];
    for (index, reason) in reasons.iter().enumerate() {
        let mut history = History::new();
        history.given().sent();
        reason(&mut history);
        history.write(&again());
        assert_eq!(history.found, None, "reason {index}");
    }
}

#[test]
fn silence_that_nobody_could_hear_is_none() {
    let mut history = History::new();
    history.given().after(5_000).see(&Seen::MasterStandsStill);
    history.after(40_000).see(&Seen::MasterGoesOn);
    history.after(1_000).write(&[over(1, 1)]);
    let kind = history.found.map(|found| found.kind);
    assert_eq!(kind, Some(Kind::GivenUpUnduly));
}

/// A kind, and a history that has it.
type Case = (Kind, fn(&mut History));

const CASES: &[Case] = &[
    (Kind::SubmitLost, |history| {
        history.see(&Seen::UserTold(&Told::Submitted(task())));
    }),
    (Kind::IdGivenTwice, |history| {
        history.added(spec(|_| {})).added(spec(|_| {}));
    }),
    (Kind::AnswerNotTrue, |history| {
        history.running();
        let told = Told::Cancelled(task(), CancelOutcome::AlreadyEnded);
        history.see(&Seen::UserTold(&told));
    }),
    (Kind::SentBeforePersisted, |history| {
        history.joined(0).added(spec(|_| {})).sent();
    }),
    (Kind::StopBeforePersisted, |history| {
        history.given().see(&Seen::SentToWorker {
            worker: 0,
            request: &cancel(),
        });
    }),
    (Kind::TakenBeforePersisted, |history| {
        let heard = FromMaster::Heard(Reported::Ended);
        history
            .running()
            .exchange(0, &report(Exit::Exited(0)), &heard);
    }),
    (Kind::LiveRefused, |history| {
        let heard = FromMaster::Heard(Reported::Superseded);
        history
            .running()
            .exchange(0, &progress(Phase::Running), &heard);
    }),
    (Kind::StatusLeap, |history| {
        history.added(spec(|_| {}));
        history.write(&[changed(state(TaskStatus::Running, 0))]);
    }),
    (Kind::ChangedAfterFinal, |history| {
        history.reported(0).write(&completed());
        history.write(&[changed(state(TaskStatus::Queued, 1))]);
    }),
    (Kind::SecondResult, |history| {
        history.reported(0).write(&completed());
        history.write(&[result(TaskStatus::Completed, Some(Exit::Exited(0)))]);
    }),
    (Kind::EndWithoutResult, |history| {
        history.reported(0).write(&completed()[..2]);
    }),
    (Kind::TwoLiveAttempts, |history| {
        history.given().write(&[given(2, 0, 2)]);
    }),
    (Kind::StatusOutOfStep, |history| {
        history.joined(0).added(spec(|_| {}));
        history.write(&[changed(state(TaskStatus::Pending, 1))]);
    }),
    (Kind::NumberOutOfStep, |history| {
        history.joined(0).added(spec(|_| {}));
        history.write(&[given(3, 0, 1)]);
    }),
    (Kind::SupersededCounted, |history| {
        history.ended(0).write(&[files()]);
        history.after(31_000).write(&completed());
    }),
    (Kind::WrongResult, |history| {
        history.ended(3).arrives(&report(Exit::Exited(0)));
        history.write(&[files()]).write(&completed());
    }),
    (Kind::FailedWithoutCause, |history| {
        history.given().sent().after(31_000);
        history.write(&failed(None, None));
    }),
    (Kind::RetryNotOwed, |history| {
        history.given().sent().after(31_000);
        let failures = TaskState {
            failures: 1,
            ..state(TaskStatus::Queued, 1)
        };
        history.write(&[over(1, 1), changed(failures)]);
    }),
    (Kind::RetryNotTaken, |history| {
        let spec = spec(|draft| draft.max_retries = Some(2));
        history.given_with(spec).sent().spooled(None);
        history.answered(&assign(1), &FromWorker::Taken);
        let attempt = &attempt(1);
        history.see(&Seen::ContainerStarted { worker: 0, attempt });
        history.see(&Seen::ContainerEnded {
            worker: 0,
            attempt,
            end: &raw(3, EndCause::Itself),
        });
        history.arrives(&report(Exit::Exited(3)));
        history.write(&failed(None, Some(Exit::Exited(3))));
    }),
    (Kind::GivenUpUnduly, |history| {
        history.running().after(5_000).write(&[over(1, 1)]);
    }),
    (Kind::MachineLimitPassed, |history| {
        history.joined(0).added(spec(|_| {}));
        for number in 1..=5 {
            let sequence = u64::from(number);
            let pending = changed(state(TaskStatus::Pending, number));
            history.write(&[given(number, 0, sequence), pending]);
            let mut interrupted = report(Exit::Interrupted(String::new()));
            if let ToMaster::Report { report, .. } = &mut interrupted {
                report.attempt = attempt(number);
            }
            history.arrives(&interrupted);
            let queued = changed(state(TaskStatus::Queued, number));
            history.write(&[over(number, sequence), queued]);
        }
    }),
    (Kind::TimedOutUnduly, |history| {
        let spec = spec(|draft| draft.timeout_s = Some(60.0));
        history.given_with(spec).sent();
        history.see(&Seen::ContainerStarted {
            worker: 0,
            attempt: &attempt(1),
        });
        history.arrives(&progress(Phase::Running));
        history.write(&[changed(state(TaskStatus::Running, 1))]);
        let timed_out = TaskState {
            time_out: Some(TimeOut::Run),
            ..state(TaskStatus::Running, 1)
        };
        history.after(59_000).write(&[changed(timed_out)]);
    }),
    (Kind::TimeOutMissed, |history| {
        history.added(spec(|draft| draft.queue_timeout_s = Some(10.0)));
        history.after(13_000).see(&Seen::Second {
            master_troubled: false,
        });
    }),
    (Kind::Oversubscribed, |history| {
        history.joined(0).added(spec(|_| {}));
        let Record::Assignment(mut whole) = given(1, 0, 1) else {
            return;
        };
        whole.grant.cpu_milli = 2001;
        history.write(&[Record::Assignment(whole)]);
    }),
    (Kind::OldOfferKept, |history| {
        history.joined(0);
        history.exchange(0, &heartbeat(false, 0, "start-2"), &taken(false));
    }),
    (Kind::MachineOvercommitted, |history| {
        let small = Capacity {
            cpu_milli: 500,
            ..CAPACITY
        };
        history.given().sent();
        history.see(&Seen::WorkerStarts {
            worker: 0,
            capacity: &small,
        });
        history.spooled(None).see(&Seen::ContainerStarted {
            worker: 0,
            attempt: &attempt(1),
        });
    }),
    (Kind::WrongWorker, |history| {
        history.joined(0).added(spec(|_| {}));
        history.write(&[given(1, 1, 1)]);
    }),
    (Kind::StartedTwice, |history| {
        let attempt = &attempt(1);
        history.running();
        history.see(&Seen::ContainerStarted { worker: 0, attempt });
    }),
    (Kind::NotAssigned, |history| {
        let attempt = &attempt(1);
        history.see(&Seen::ContainerCreated { worker: 0, attempt });
    }),
    (Kind::StartedAfterCancel, |history| {
        history.taken().answered(&cancel(), &FromWorker::NotHeld);
        let attempt = &attempt(1);
        history.see(&Seen::ContainerStartAsked { worker: 0, attempt });
    }),
    (Kind::StoppedUnasked, |history| {
        let attempt = &attempt(1);
        history.running();
        history.see(&Seen::ContainerStopAsked { worker: 0, attempt });
    }),
    (Kind::OrphanIsHeld, |history| {
        let attempt = &attempt(1);
        history.running();
        history.see(&Seen::OrphanFound { worker: 0, attempt });
    }),
    (Kind::CancelledUnasked, |history| {
        let cancelled = TaskState {
            cancel_requested: true,
            ..state(TaskStatus::Pending, 1)
        };
        history.given().write(&[changed(cancelled)]);
    }),
    (Kind::AssignedAfterCancel, |history| {
        let cancelled = TaskState {
            cancel_requested: true,
            ..state(TaskStatus::Queued, 0)
        };
        history.joined(0).added(spec(|_| {})).cancelled();
        history.write(&[changed(cancelled)]);
        history.write(&[given(1, 0, 1)]);
    }),
    (Kind::AcceptedUnkept, |history| {
        history.given().sent();
        history.answered(&assign(1), &FromWorker::Taken);
    }),
    (Kind::AnsweredOtherwise, |history| {
        let refused = FromWorker::Refused(String::new());
        history.taken().answered(&assign(1), &refused);
    }),
    (Kind::ReportDropped, |history| {
        let attempt = &attempt(1);
        history.taken();
        history.see(&Seen::SpoolDeleted { worker: 0, attempt });
    }),
    (Kind::RemovedTooSoon, |history| {
        history.ended(0).see(&Seen::ContainerRemoved {
            worker: 0,
            attempt: &attempt(1),
            by_worker: true,
        });
    }),
    (Kind::FilesLost, |history| {
        history.ended(0).arrives(&report(Exit::Exited(0)));
        history.write(&completed());
    }),
    (Kind::TakenWhileFull, |history| {
        history.see(&Seen::DiskIsFull(true)).added(spec(|_| {}));
    }),
    (Kind::StrangerLetIn, |history| {
        let hello = history.hello(1, "start-1");
        history.exchange(1, &hello, &welcome());
    }),
    (Kind::LostWorkerKept, |history| {
        history.given().after(36_000).see(&Seen::Second {
            master_troubled: false,
        });
    }),
    (Kind::AnsweredTwice, |history| {
        history.see(&Seen::AnsweredTwice);
    }),
    (Kind::StoreRefused, |history| {
        history.see(&Seen::StoreRefused(&TableError::UnknownTask(task())));
    }),
];

/// What a run finds at its end by looking, or by catching a panic: `tests/bugs.rs` and `run.rs` show
/// those.
const OF_THE_RUN: &[Kind] = &[
    Kind::NeverFinal,
    Kind::StillOwed,
    Kind::ContainerLeft,
    Kind::AskedInVain,
    Kind::Panicked,
];

#[test]
fn each_kind_is_found_in_a_history_that_has_it() {
    for (kind, tell) in CASES {
        let mut history = History::new();
        tell(&mut history);
        let found = history.found.as_ref().map(|found| found.kind);
        assert_eq!(found, Some(*kind), "{:?}", history.found);
    }
}

#[test]
fn each_kind_has_its_history() {
    for kind in Kind::ALL {
        let cases = CASES.iter().filter(|(of, _)| of == kind).count();
        let expected = usize::from(!OF_THE_RUN.contains(kind));
        assert_eq!(cases, expected, "{kind:?}");
    }
}

#[test]
fn a_change_of_a_time_out_counts_from_then_on() {
    let mut history = History::new();
    let spec = spec(|draft| draft.timeout_s = Some(60.0));
    history.given_with(spec).sent();
    history.see(&Seen::ContainerStarted {
        worker: 0,
        attempt: &attempt(1),
    });
    history.arrives(&progress(Phase::Running));
    history.write(&[changed(state(TaskStatus::Running, 1))]);
    let sooner = cloudai_model::TaskChange {
        timeout: Setting::To(Duration::from_secs(20)),
    };
    history.write(&[Record::SpecChanged(task(), sooner)]);
    history.exchange(0, &heartbeat(true, 1, "start-1"), &taken(false));
    let timed_out = TaskState {
        time_out: Some(TimeOut::Run),
        ..state(TaskStatus::Running, 1)
    };
    history.after(20_000).write(&[changed(timed_out)]);
    assert_eq!(history.found, None);
}
