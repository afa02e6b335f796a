//! The state machine itself: what it holds, and which handler an input goes to.

use std::{collections::BTreeMap, sync::Arc};

use cloudai_model::{AttemptId, ClusterId, Mono, Now, TaskId, TimeOut, WorkerId};

use crate::{
    answer::{
        AddWorkerError, Answer, CancelError, ChangeError, DrainError, NotReady, PlaceError,
        RemoveWorkerError, SubmitError, SubmitManyError, WorkerCallError,
    },
    blocked::Blocked,
    effect::{Effect, Event},
    ended::Ended,
    input::{Call, Input},
    policy::Policy,
    queue::Queue,
    registry::Registry,
    settings::Settings,
    simulation::Sabotage,
    stop_orders::StopOrders,
    suspicion::Suspicion,
    task::Task,
    timers::Timers,
};

/// The master's core. See the crate's documentation.
pub struct Core {
    pub(crate) settings: Settings,
    pub(crate) policy: Box<dyn Policy>,
    pub(crate) cluster: ClusterId,
    /// Rises with each start; assignment numbers begin anew above it.
    pub(crate) epoch: u64,
    pub(crate) assignments_sent: u64,
    /// Whether the store has been read. Before, nobody is refused and nothing is cancelled.
    pub(crate) ready: bool,
    /// Why no new task is taken and none is placed.
    pub(crate) held_up: Option<Arc<str>>,
    pub(crate) registry: Registry,
    pub(crate) tasks: BTreeMap<TaskId, Task>,
    pub(crate) queue: Queue,
    pub(crate) blocked: Blocked,
    pub(crate) ended: Ended,
    /// When attempts have pulled or run for too long.
    pub(crate) attempt_timers: Timers<AttemptId, TimeOut>,
    /// When tasks have waited too long for their first start.
    pub(crate) queue_timers: Timers<TaskId, ()>,
    /// Who is to blame for failures.
    pub(crate) suspicion: Suspicion,
    /// When workers that are set aside are given tasks again.
    pub(crate) aside_timers: Timers<WorkerId, ()>,
    pub(crate) stop_orders: StopOrders,
    /// When each inactive worker is called next, and how often it was.
    pub(crate) invites: BTreeMap<WorkerId, Invite>,
    pub(crate) last_task_number: u64,
    pub(crate) last_order: u64,
    pub(crate) last_tick: Mono,
    /// Silence counts from here at the earliest.
    pub(crate) forgiven: Mono,
    pub(crate) next_stop_orders: Mono,
    /// Nothing, but in a simulation.
    pub(crate) sabotage: Sabotage,
}

/// See [`Core::invites`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Invite {
    pub(crate) due: Mono,
    pub(crate) times: u64,
}

/// What a handler has at hand besides the core: the time, and where its effects go.
pub(crate) struct Step<'a> {
    pub(crate) now: Now,
    pub(crate) out: &'a mut Vec<Effect>,
}

impl Step<'_> {
    pub(crate) fn answer(&mut self, call: Call, answer: Answer) {
        self.out.push(Effect::Answer(call, answer));
    }

    pub(crate) fn publish(&mut self, event: Event) {
        self.out.push(Effect::Publish(event));
    }
}

impl Core {
    /// A core that has read nothing yet. `fresh_cluster` names the cluster if the store knows no
    /// name.
    #[must_use]
    pub fn new(settings: Settings, policy: Box<dyn Policy>, fresh_cluster: ClusterId) -> Self {
        let registry = Registry::new(settings.user_limits);
        Self {
            settings,
            policy,
            cluster: fresh_cluster,
            epoch: 0,
            assignments_sent: 0,
            ready: false,
            held_up: None,
            registry,
            tasks: BTreeMap::new(),
            queue: Queue::default(),
            blocked: Blocked::default(),
            ended: Ended::default(),
            attempt_timers: Timers::default(),
            queue_timers: Timers::default(),
            suspicion: Suspicion::default(),
            aside_timers: Timers::default(),
            stop_orders: StopOrders::default(),
            invites: BTreeMap::new(),
            last_task_number: 0,
            last_order: 0,
            last_tick: Mono::default(),
            forgiven: Mono::default(),
            next_stop_orders: Mono::default(),
            sabotage: Sabotage::default(),
        }
    }

    /// Takes one input in and appends what is to be done because of it.
    ///
    /// Every call in an input is answered by exactly one effect, now or in a later step.
    pub fn step(&mut self, now: Now, input: Input, effects: &mut Vec<Effect>) {
        let mut step = Step { now, out: effects };
        if self.ready {
            self.handle(&mut step, input);
            self.pass(&mut step);
        } else {
            self.handle_unready(&mut step, input);
        }
    }

    fn handle(&mut self, step: &mut Step<'_>, input: Input) {
        match input {
            Input::Restore(_) | Input::Restored { .. } => {
                debug_assert!(false, "the store is read once");
            }
            Input::Tick => self.tick(step),
            Input::HoldUp(why) => self.hold_up(why),
            Input::Limits { user, limits } => self.registry.users_mut().set_limits(user, limits),
            Input::Submit { call, task, spec } => self.submit(step, call, task, &spec),
            Input::SubmitMany { call, specs } => self.submit_many(step, call, specs),
            Input::Accepted {
                call,
                task,
                spec,
                submitted_at,
            } => self.accepted(step, call, task, &spec, submitted_at),
            Input::Cancel { call, task } => self.cancel(step, call, &task),
            Input::Change { call, task, change } => self.change(step, call, &task, &change),
            Input::Place { call, task, worker } => self.place(step, call, &task, &worker),
            Input::WhyWaiting { call, which } => self.why_waiting(step, call, &which),
            Input::AddWorker {
                call,
                worker,
                address,
                registration,
            } => {
                self.add_worker(step, call, worker, address, registration);
            }
            Input::RemoveWorker { call, worker } => self.remove_worker(step, call, &worker),
            Input::Drain {
                call,
                worker,
                draining,
            } => self.drain(step, call, &worker, draining),
            Input::Inspect { call } => self.inspect(step, call),
            Input::Mend { call } => self.mend(step, call),
            Input::Retire { call, tasks } => self.retire(step, call, tasks),
            Input::Hello { call, hello } => self.hello(step, call, hello),
            Input::Heartbeat { call, heartbeat } => self.heartbeat(step, call, heartbeat),
            Input::AssignAnswered { attempt, answer } => {
                self.assign_answered(step, &attempt, answer);
            }
            Input::StopAnswered {
                attempt,
                worker,
                answer,
            } => {
                self.stop_answered(step, &attempt, &worker, answer);
            }
            Input::Progress {
                call,
                worker,
                attempt,
                phase,
                detail,
                end,
            } => {
                self.progress(step, call, &worker, &attempt, phase, detail, end);
            }
            Input::WhichAttempt { call, worker, told } => {
                self.which_attempt(step, call, worker, &told);
            }
            Input::Vet {
                call,
                worker,
                attempt,
            } => self.vet(step, call, &worker, &attempt),
            Input::FilesStored {
                call,
                worker,
                files,
            } => {
                self.files_stored(step, call, &worker, files);
            }
            Input::Finished {
                call,
                worker,
                report,
                log_tail,
            } => {
                self.finished(step, call, &worker, *report, log_tail);
            }
        }
    }

    fn handle_unready(&mut self, step: &mut Step<'_>, input: Input) {
        match input {
            Input::Restore(record) => self.restore(step, *record),
            Input::Restored {
                highest_task_number,
                highest_order,
            } => {
                self.restored(step, highest_task_number, highest_order);
            }
            Input::HoldUp(why) => self.hold_up(why),
            Input::Limits { user, limits } => self.registry.users_mut().set_limits(user, limits),
            Input::Tick | Input::AssignAnswered { .. } | Input::StopAnswered { .. } => {}
            Input::Submit { call, .. } | Input::Accepted { call, .. } => {
                step.answer(
                    call,
                    Answer::Submitted(Err(SubmitError::NotReady(NotReady))),
                );
            }
            Input::SubmitMany { call, .. } => {
                let error = SubmitManyError::NotReady(NotReady);
                step.answer(call, Answer::SubmittedMany(Err(error)));
            }
            Input::Cancel { call, .. } => {
                step.answer(
                    call,
                    Answer::Cancelled(Err(CancelError::NotReady(NotReady))),
                );
            }
            Input::Change { call, .. } => {
                step.answer(call, Answer::Changed(Err(ChangeError::NotReady(NotReady))));
            }
            Input::Place { call, .. } => {
                step.answer(call, Answer::Placed(Err(PlaceError::NotReady(NotReady))));
            }
            Input::WhyWaiting { call, .. } => step.answer(call, Answer::Waiting(Err(NotReady))),
            Input::AddWorker { call, .. } => {
                step.answer(
                    call,
                    Answer::WorkerAdded(Err(AddWorkerError::NotReady(NotReady))),
                );
            }
            Input::RemoveWorker { call, .. } => {
                let error = RemoveWorkerError::NotReady(NotReady);
                step.answer(call, Answer::WorkerRemoved(Err(error)));
            }
            Input::Drain { call, .. } => {
                step.answer(call, Answer::Drained(Err(DrainError::NotReady(NotReady))));
            }
            Input::Inspect { call } => step.answer(call, Answer::Inspected(Err(NotReady))),
            Input::Mend { call } => step.answer(call, Answer::Mended(Err(NotReady))),
            Input::Retire { call, .. } => step.answer(call, Answer::Retired(Err(NotReady))),
            Input::Hello { call, .. } => {
                step.answer(
                    call,
                    Answer::Welcomed(Err(WorkerCallError::NotReady(NotReady))),
                );
            }
            Input::Heartbeat { call, .. } => {
                let error = WorkerCallError::NotReady(NotReady);
                step.answer(call, Answer::HeartbeatTaken(Err(error)));
            }
            Input::WhichAttempt { call, .. } => {
                step.answer(call, Answer::Attempt(Err(NotReady)));
            }
            Input::Progress { call, .. }
            | Input::Vet { call, .. }
            | Input::FilesStored { call, .. }
            | Input::Finished { call, .. } => {
                step.answer(
                    call,
                    Answer::Reported(Err(WorkerCallError::NotReady(NotReady))),
                );
            }
        }
    }

    /// The workers and what is promised of them.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The cluster's id; settled once the store has been read.
    #[must_use]
    pub fn cluster(&self) -> &ClusterId {
        &self.cluster
    }

    /// How many tasks wait.
    #[must_use]
    pub fn waiting_count(&self) -> usize {
        self.queue.len()
    }

    /// How many tasks wait or run.
    #[must_use]
    pub fn live_count(&self) -> usize {
        self.tasks.len()
    }
}
