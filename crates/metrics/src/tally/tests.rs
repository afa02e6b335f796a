//! A real core under random inputs: what was counted is what its records say.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use cloudai_core::{Call, Core, Heartbeat, Hello, Settings, Snapshot, policy::RoundRobin};
use cloudai_model::{
    AttemptId, AttemptReport, Capacity, ContainerEnd, Exit, HostUsage, Now, PeakUsage, Phase,
    TaskDraft, Whole, WorkerId,
    record::{AssignmentRecord, TaskRecord, WorkerRecord},
};
use proptest::prelude::*;

use super::*;
use crate::{catalogue, state::State};

/// What the records say, read by themselves.
#[derive(Default)]
struct Records {
    tasks: BTreeMap<TaskId, TaskRecord>,
    retries: BTreeMap<&'static str, u64>,
    placements: u64,
    /// Attempts that have not ended.
    attempts: BTreeMap<AttemptId, AssignmentRecord>,
    results: Vec<ResultRecord>,
}

impl Records {
    fn take(&mut self, record: &Record) {
        match record {
            Record::TaskAdded(task) => {
                self.tasks.insert(task.task.clone(), (**task).clone());
            }
            Record::TaskChanged(id, state) => {
                let task = self.tasks.get_mut(id).unwrap();
                let was_given = !matches!(task.state.status, TaskStatus::Queued);
                if was_given && state.status == TaskStatus::Queued {
                    let failed = state.failures > task.state.failures;
                    let cause = if failed { "failure" } else { "machine" };
                    *self.retries.entry(cause).or_default() += 1;
                }
                task.state = state.clone();
            }
            Record::Assignment(record) if record.ended.is_none() => {
                self.placements += 1;
                self.attempts.insert(record.attempt.clone(), record.clone());
            }
            Record::Assignment(record) => {
                self.attempts.remove(&record.attempt);
            }
            Record::Result(result) => self.results.push((**result).clone()),
            _ => {}
        }
    }

    fn with(&self, status: TaskStatus) -> u64 {
        let tasks = self.tasks.values();
        tasks.filter(|task| task.state.status == status).count() as u64
    }
}

struct Site {
    core: Core,
    tally: Tally,
    metrics: Metrics,
    now: Now,
    records: Records,
    /// Attempts that were sent.
    sent: Vec<(WorkerId, AttemptId)>,
    /// How many came to a worker as an agent's choice.
    agents: u64,
    heartbeats: BTreeMap<&'static str, u64>,
}

fn worker(number: u8) -> WorkerId {
    format!("w-{number}").parse().unwrap()
}

const CALL: Call = Call(1);

impl Site {
    /// On what a master before left: live tasks, and their attempts.
    fn on(tasks: Vec<TaskRecord>, attempts: Vec<AssignmentRecord>) -> Self {
        let cluster = "c-test".parse().unwrap();
        let metrics = Metrics::default();
        let history = Arc::new(History::default());
        let mut site = Self {
            core: Core::new(Settings::default(), Box::new(RoundRobin), cluster),
            tally: Tally::new(metrics.clone(), history, "round-robin"),
            metrics,
            now: Now::default(),
            records: Records::default(),
            sent: Vec::new(),
            agents: 0,
            heartbeats: BTreeMap::new(),
        };
        let (number, order) = tasks.iter().fold((0, 0), |(number, order), task| {
            (
                number.max(task.task.number().unwrap_or(0)),
                order.max(task.order),
            )
        });
        for number in 0..2 {
            let known = WorkerRecord {
                worker: worker(number),
                address: "10.0.0.2".parse().unwrap(),
                capacity: None,
                version: None,
                labels: BTreeMap::new(),
                registration: 7,
                registered_at: Wall(0),
                last_seen_at: None,
                draining: false,
            };
            site.step(Input::Restore(Box::new(Record::Worker(known))));
        }
        for task in tasks {
            site.records.tasks.insert(task.task.clone(), task.clone());
            site.step(Input::Restore(Box::new(Record::TaskAdded(Box::new(task)))));
        }
        for attempt in attempts {
            let told = (attempt.worker.clone(), attempt.attempt.clone());
            site.sent.push(told);
            site.step(Input::Restore(Box::new(Record::Assignment(attempt))));
        }
        site.step(Input::Restored {
            highest_task_number: Some(number),
            highest_order: order,
        });
        for number in 0..2 {
            site.step(Input::Hello {
                call: CALL,
                hello: Hello {
                    worker: worker(number),
                    shown_ip: String::new(),
                    capacity: Capacity {
                        cpu_milli: 3000,
                        memory_bytes: 1 << 40,
                        storage_bytes: 1 << 40,
                        gpus: 0,
                    },
                    version: Some("1".to_owned()),
                    labels: BTreeMap::new(),
                    home: None,
                    incarnation: None,
                },
            });
        }
        site
    }

    fn step(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.tally.takes(&input);
        self.core.step(self.now, input, &mut effects);
        self.tally
            .decided(self.now.mono, self.core.registry(), &effects);
        for effect in effects {
            match effect {
                Effect::Write(record) => self.records.take(&record),
                Effect::Assign(it) => self.sent.push((it.worker, it.attempt)),
                Effect::Answer(_, Answer::Placed(Ok(_))) => self.agents += 1,
                Effect::Answer(_, Answer::HeartbeatTaken(taken)) => {
                    let result = if taken.is_ok() { "taken" } else { "refused" };
                    *self.heartbeats.entry(result).or_default() += 1;
                }
                _ => {}
            }
        }
    }

    /// Every figure that is told, by its name and labels.
    fn all_told(&self) -> BTreeMap<String, f64> {
        let snapshot = Snapshot::unready("c-test".parse().unwrap());
        let text = self.metrics.text(&State {
            version: "1",
            store: "memory",
            snapshot: &snapshot,
            degraded: None,
            held_up: false,
            disks: &[],
            kept: &[],
        });
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let figures = lines.map(|line| {
            let (series, figure) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), figure.parse().unwrap())
        });
        figures.collect()
    }

    fn told(&self, series: &str) -> f64 {
        self.all_told()[series]
    }

    fn check(&self) {
        let told = self.all_told();
        let is = |series: &str, expected: u64| {
            assert_eq!(told.get(series), Some(&(expected as f64)), "{series}");
        };
        let tasks = catalogue::TASKS.name;
        for status in [TaskStatus::Queued, TaskStatus::Pending, TaskStatus::Running] {
            is(
                &format!("{tasks}{{status=\"{status}\"}}"),
                self.records.with(status),
            );
        }
        let live = self.core.live_count() as u64;
        let ours = self
            .records
            .tasks
            .values()
            .filter(|it| !it.state.status.is_final());
        assert_eq!(ours.count() as u64, live);

        for status in TaskStatus::ALL.iter().filter(|status| status.is_final()) {
            let results = || {
                self.records
                    .results
                    .iter()
                    .filter(|it| it.status == *status)
            };
            let label = format!("{{status=\"{status}\"}}");
            is(
                &format!("cloudai_tasks_ended_total{label}"),
                results().count() as u64,
            );
            let ran =
                results().filter(|it| it.end.as_ref().is_some_and(|end| end.started_at.is_some()));
            is(
                &format!("cloudai_task_run_seconds_count{label}"),
                ran.count() as u64,
            );
        }
        for cause in ["failure", "machine"] {
            let expected = self.records.retries.get(cause).copied().unwrap_or(0);
            is(
                &format!("cloudai_task_retries_total{{cause=\"{cause}\"}}"),
                expected,
            );
        }
        for result in ["taken", "refused"] {
            let expected = self.heartbeats.get(result).copied().unwrap_or(0);
            is(
                &format!("cloudai_heartbeats_total{{result=\"{result}\"}}"),
                expected,
            );
        }
        let policys = self.records.placements - self.agents;
        is("cloudai_placements_total{policy=\"round-robin\"}", policys);
        is("cloudai_placements_total{policy=\"agent\"}", self.agents);
    }

    /// How long each task that has started waited.
    fn waits(&self) -> Vec<f64> {
        let tasks = self.records.tasks.values();
        let waits = tasks.filter_map(|task| {
            let started = task.state.first_started_at?;
            Some(started.since(task.submitted_at).as_secs_f64())
        });
        waits.collect()
    }

    fn submit(&mut self) {
        let draft = TaskDraft {
            docker_image: "alpine".to_owned(),
            max_retries: Some(1),
            ..TaskDraft::default()
        };
        let spec = Arc::new(draft.check().unwrap().1);
        self.step(Input::Submit {
            call: CALL,
            task: None,
            spec,
        });
    }

    fn progress(&mut self, which: usize, phase: Phase) {
        let (worker, attempt) = self.sent[which].clone();
        self.step(Input::Progress {
            call: CALL,
            worker,
            attempt,
            phase,
            detail: String::new(),
            end: None,
        });
    }

    fn finish(&mut self, which: usize, code: i32, ran: bool) {
        let (worker, attempt) = self.sent[which].clone();
        let end = ContainerEnd {
            exit: Exit::Exited(code),
            started_at: ran.then_some(self.now.wall),
            finished_at: self.now.wall,
            usage: PeakUsage::default(),
            image_digest: None,
        };
        let report = Box::new(AttemptReport {
            attempt,
            end,
            log: Whole::Complete,
            files: Whole::Complete,
            in_order: false,
        });
        self.step(Input::Finished {
            call: CALL,
            worker,
            report,
            log_tail: String::new(),
        });
    }

    fn apply(&mut self, action: u8, which: usize, millis: u64) {
        self.now.mono.0 += millis;
        self.now.wall.0 += i64::try_from(millis).unwrap();
        let live: Vec<_> = self.records.tasks.keys().cloned().collect();
        let task = (!live.is_empty()).then(|| live[which % live.len()].clone());
        let sent = (!self.sent.is_empty()).then(|| which % self.sent.len());
        match (action, sent, task) {
            (0..=2, ..) => self.submit(),
            (3 | 4, Some(sent), _) => self.progress(sent, Phase::Running),
            (5, Some(sent), _) => self.progress(sent, Phase::Pulling),
            (6, Some(sent), _) => self.finish(sent, 0, true),
            (7, Some(sent), _) => self.finish(sent, 1, true),
            (8, Some(sent), _) => self.finish(sent, 1, false),
            (9, Some(sent), _) => {
                let answer = match which % 4 {
                    0 => AssignAnswer::Accepted,
                    1 => AssignAnswer::Refused("full".to_owned()),
                    2 => AssignAnswer::NotSent("no spec".to_owned()),
                    _ => AssignAnswer::Undelivered("silence".to_owned()),
                };
                let attempt = self.sent[sent].1.clone();
                self.step(Input::AssignAnswered { attempt, answer });
            }
            (10, _, Some(task)) => self.step(Input::Cancel { call: CALL, task }),
            (11, _, Some(task)) => {
                let worker = worker(u8::try_from(which % 3).unwrap());
                self.step(Input::Place {
                    call: CALL,
                    task,
                    worker,
                });
            }
            (12, ..) => self.step(Input::RemoveWorker {
                call: CALL,
                worker: worker(0),
            }),
            (13, ..) => {
                // The third is not registered.
                let worker = worker(u8::try_from(which % 3).unwrap());
                let heartbeat = Heartbeat {
                    worker,
                    incarnation: None,
                    home: None,
                    usage: HostUsage::default(),
                    held: Vec::new(),
                    last_sequence: None,
                    unwell: None,
                };
                self.step(Input::Heartbeat {
                    call: CALL,
                    heartbeat,
                });
            }
            _ => self.step(Input::Tick),
        }
    }
}

fn actions() -> impl Strategy<Value = Vec<(u8, usize, u64)>> {
    prop::collection::vec((0_u8..16, any::<usize>(), 0_u64..3000), 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_happens_it_is_counted_once(actions in actions(), later in actions()) {
        let mut site = Site::on(Vec::new(), Vec::new());
        for (action, which, millis) in actions {
            site.apply(action, which, millis);
            site.check();
        }
        let waits = site.waits();
        prop_assert_eq!(site.told("cloudai_task_wait_seconds_count"), waits.len() as f64);
        let sum: f64 = waits.iter().sum();
        prop_assert!((site.told("cloudai_task_wait_seconds_sum") - sum).abs() < 0.001);

        // A master that is started again counts the same tasks, and no first start twice.
        let live = site.records.tasks.values().filter(|task| !task.state.status.is_final());
        let live: Vec<_> = live.cloned().collect();
        let started: BTreeSet<_> = live.iter().filter(|task| task.state.first_started_at.is_some())
            .map(|task| task.task.clone()).collect();
        let attempts = site.records.attempts.values().cloned().collect();
        let mut again = Site::on(live, attempts);
        again.check();
        for (action, which, millis) in later {
            again.apply(action, which, millis);
            again.check();
        }
        let waits = again.waits().len() - started.len();
        prop_assert_eq!(again.told("cloudai_task_wait_seconds_count"), waits as f64);
    }
}

#[test]
fn a_retried_task_waited_once() {
    // Given a task that runs, fails, and runs again after its pause,
    let mut site = Site::on(Vec::new(), Vec::new());
    site.submit();
    site.now.wall.0 += 4000;
    site.progress(0, Phase::Running);
    site.finish(0, 1, true);
    site.now.mono.0 += 60_000;
    site.step(Input::Tick);
    site.now.wall.0 += 60_000;
    assert_eq!(site.sent.len(), 2);
    site.progress(1, Phase::Running);
    site.finish(1, 0, true);
    // then its wait is the one before the first start, and it was retried once.
    assert_eq!(site.told("cloudai_task_wait_seconds_count"), 1.0);
    assert_eq!(site.told("cloudai_task_wait_seconds_sum"), 4.0);
    assert_eq!(
        site.told("cloudai_task_retries_total{cause=\"failure\"}"),
        1.0
    );
    site.check();
}

#[test]
fn what_workers_say_they_use_is_remembered_until_they_are_unregistered() {
    let mut site = Site::on(Vec::new(), Vec::new());
    site.apply(13, 1, 0);
    let of = |site: &Site| {
        let resolution = crate::history::Resolution::Minute;
        site.tally
            .history
            .of(&worker(1), resolution, None, site.now)
            .len()
    };
    assert_eq!(of(&site), 1);
    site.step(Input::RemoveWorker {
        call: CALL,
        worker: worker(1),
    });
    assert_eq!(of(&site), 0);
}
