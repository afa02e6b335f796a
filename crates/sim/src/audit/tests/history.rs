//! Histories made by hand: what the auditor is shown, step by step.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use cloudai_core::{Heartbeat, Held, Hello};
use cloudai_model::{
    AttemptReport, ClusterId, ContainerEnd, Exit, Grant, HostUsage, PeakUsage, Phase, TaskDraft,
    TaskSpec, TimeOut, UserName, Wall, Whole,
    record::{
        AssignmentRecord, ClusterRecord, FilesRecord, ResultRecord, TaskRecord, TaskState,
        WorkerRecord,
    },
};
use cloudai_worker_core::{EndRecord, HostRun, Job, Order};

use super::super::*;
use crate::{
    engine::EndCause,
    plan::{Behaviour, Item, Offer, TaskPlan, What},
};

pub(super) const CAPACITY: Capacity = Capacity {
    cpu_milli: 2000,
    memory_bytes: 2048 << 20,
    storage_bytes: 8192 << 20,
    gpus: 0,
};

pub(super) fn attempt(number: u32) -> AttemptId {
    AttemptId::new("own-0".parse().unwrap(), number)
}

pub(super) fn task() -> TaskId {
    attempt(1).task
}

pub(super) fn worker(index: usize) -> WorkerId {
    Plan::worker_name(index).parse().unwrap()
}

pub(super) fn cluster() -> ClusterId {
    "c-simulated".parse().unwrap()
}

pub(super) fn grant() -> Grant {
    Grant {
        cpu_milli: 1000,
        memory_bytes: 1 << 20,
        storage_bytes: 0,
        devices: Vec::new(),
    }
}

pub(super) fn spec(change: impl FnOnce(&mut TaskDraft)) -> TaskSpec {
    let mut draft = TaskDraft {
        name: Some("t0".to_owned()),
        docker_image: "simulated/task-0".to_owned(),
        ..TaskDraft::default()
    };
    change(&mut draft);
    draft.check().unwrap().1
}

pub(super) fn end(exit: Exit) -> ContainerEnd {
    ContainerEnd {
        exit,
        started_at: Some(Wall(1)),
        finished_at: Wall(2),
        usage: PeakUsage::default(),
        image_digest: None,
    }
}

pub(super) fn raw(exit_code: i64, cause: EndCause) -> RawEnd {
    RawEnd {
        exit_code,
        oom_killed: false,
        cause,
        started_at: Wall(1),
        finished_at: Wall(2),
    }
}

pub(super) fn state(status: TaskStatus, attempt: u32) -> TaskState {
    TaskState {
        status,
        attempt,
        ..TaskState::queued("")
    }
}

/// What an auditor is shown, and what it makes of it.
pub(super) struct History {
    auditor: Auditor,
    now_ms: u64,
    pub(super) found: Option<Violation>,
}

impl History {
    /// Of a cluster with two workers and a task that leaves files.
    pub(super) fn new() -> Self {
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

    pub(super) fn see(&mut self, seen: &Seen<'_>) -> &mut Self {
        if self.found.is_none() {
            self.found = self.auditor.see(self.now_ms, seen).err();
        }
        self
    }

    pub(super) fn after(&mut self, span_ms: u64) -> &mut Self {
        self.now_ms += span_ms;
        self
    }

    pub(super) fn write(&mut self, records: &[Record]) -> &mut Self {
        for record in records {
            self.see(&Seen::Decided(record));
        }
        self.see(&Seen::Flushed(records))
    }

    pub(super) fn joined(&mut self, index: usize) -> &mut Self {
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

    pub(super) fn hello(&self, index: usize, incarnation: &str) -> ToMaster {
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
    pub(super) fn exchange(
        &mut self,
        worker: usize,
        request: &ToMaster,
        answer: &FromMaster,
    ) -> &mut Self {
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

    pub(super) fn arrives(&mut self, request: &ToMaster) -> &mut Self {
        self.see(&Seen::SentToMaster { worker: 0, request });
        self.see(&Seen::ArrivedAtMaster { worker: 0, request })
    }

    pub(super) fn added(&mut self, spec: TaskSpec) -> &mut Self {
        self.write(&[added(spec)])
    }

    /// Worker 0 has joined and is given an attempt.
    pub(super) fn given(&mut self) -> &mut Self {
        self.given_with(spec(|_| {}))
    }

    pub(super) fn given_with(&mut self, spec: TaskSpec) -> &mut Self {
        self.joined(0).added(spec);
        self.write(&[given(1, 0, 1), changed(state(TaskStatus::Pending, 1))])
    }

    pub(super) fn sent(&mut self) -> &mut Self {
        self.see(&Seen::SentToWorker {
            worker: 0,
            request: &assign(1),
        })
    }

    pub(super) fn taken(&mut self) -> &mut Self {
        self.given().sent().spooled(None);
        self.answered(&assign(1), &FromWorker::Taken)
    }

    pub(super) fn spooled(&mut self, end: Option<EndRecord>) -> &mut Self {
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

    pub(super) fn answered(&mut self, request: &ToWorker, answer: &FromWorker) -> &mut Self {
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

    pub(super) fn running(&mut self) -> &mut Self {
        let attempt = &attempt(1);
        self.taken();
        self.see(&Seen::ContainerCreated { worker: 0, attempt });
        self.see(&Seen::ContainerStartAsked { worker: 0, attempt });
        self.see(&Seen::ContainerStarted { worker: 0, attempt });
        self.arrives(&progress(Phase::Running));
        self.write(&[changed(state(TaskStatus::Running, 1))])
    }

    pub(super) fn ended(&mut self, exit_code: i64) -> &mut Self {
        self.running();
        self.see(&Seen::ContainerEnded {
            worker: 0,
            attempt: &attempt(1),
            end: &raw(exit_code, EndCause::Itself),
        });
        self.arrives(&progress(Phase::Uploading))
    }

    pub(super) fn reported(&mut self, exit_code: i32) -> &mut Self {
        self.ended(i64::from(exit_code)).write(&[files()]);
        self.arrives(&report(Exit::Exited(exit_code)))
    }

    /// The user of the task is given a limit of cores; the admin may not have heard that it holds.
    pub(super) fn limited(&mut self, cpu_milli: u64, heard: bool) -> &mut Self {
        let user = spec(|_| {}).user;
        let limits = UserLimits {
            cpu_milli: Some(cpu_milli),
            ..UserLimits::default()
        };
        self.see(&Seen::LimitsAsked(&user, &limits));
        if heard {
            self.see(&Seen::UserTold(&Told::Limited(user, limits)));
        }
        self
    }

    pub(super) fn cancelled(&mut self) -> &mut Self {
        self.see(&Seen::CancelAsked(&task()))
    }
}

pub(super) fn welcome() -> FromMaster {
    FromMaster::Welcome {
        cluster: cluster(),
        interval_ms: 5_000,
    }
}

pub(super) fn added(spec: TaskSpec) -> Record {
    Record::TaskAdded(Box::new(TaskRecord {
        task: task(),
        order: 1,
        spec,
        submitted_at: Wall(0),
        state: TaskState::queued(""),
    }))
}

pub(super) fn changed(state: TaskState) -> Record {
    Record::TaskChanged(task(), state)
}

pub(super) fn given(number: u32, to: usize, sequence: u64) -> Record {
    Record::Assignment(AssignmentRecord {
        attempt: attempt(number),
        worker: worker(to),
        sequence,
        grant: grant(),
        assigned_at: Wall(0),
        ended: None,
    })
}

pub(super) fn over(number: u32, sequence: u64) -> Record {
    Record::Assignment(AssignmentRecord {
        attempt: attempt(number),
        worker: worker(0),
        sequence,
        grant: grant(),
        assigned_at: Wall(0),
        ended: Some((Wall(1), "over".to_owned())),
    })
}

pub(super) fn result(status: TaskStatus, exit: Option<Exit>) -> Record {
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

pub(super) fn files() -> Record {
    Record::Files(Box::new(FilesRecord {
        attempt: attempt(1),
        user: UserName::admin(),
        task_name: String::new(),
        storage_path: String::new(),
        files: Vec::new(),
        uploaded_at: Wall(1),
    }))
}

pub(super) fn order() -> Order {
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

pub(super) fn assign(sequence: u64) -> ToWorker {
    ToWorker::Assign {
        attempt: attempt(1),
        sequence,
        cluster: cluster(),
        grant: grant(),
        spec: Arc::new(spec(|_| {})),
    }
}

pub(super) fn cancel() -> ToWorker {
    ToWorker::Cancel {
        attempt: attempt(1),
        reason: String::new(),
    }
}

pub(super) fn progress(phase: Phase) -> ToMaster {
    ToMaster::Progress {
        worker: worker(0),
        attempt: attempt(1),
        phase,
        end: None,
    }
}

pub(super) fn report(exit: Exit) -> ToMaster {
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

pub(super) fn heartbeat(held: bool, last_sequence: u64, incarnation: &str) -> ToMaster {
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

pub(super) fn taken(register_again: bool) -> FromMaster {
    FromMaster::HeartbeatTaken { register_again }
}

pub(super) fn completed() -> [Record; 3] {
    [
        over(1, 1),
        changed(state(TaskStatus::Completed, 1)),
        result(TaskStatus::Completed, Some(Exit::Exited(0))),
    ]
}

pub(super) fn failed(time_out: Option<TimeOut>, exit: Option<Exit>) -> [Record; 3] {
    let failed = TaskState {
        time_out,
        ..state(TaskStatus::Failed, 1)
    };
    let ends = result(TaskStatus::Failed, exit);
    [over(1, 1), changed(failed), ends]
}
