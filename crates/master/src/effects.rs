//! Carries out what the core wants done beyond writing and answering.

use std::{sync::Arc, time::Duration};

use cloudai_core::{Effect, Event, Input, registry::Registry};
use cloudai_metrics::{Metrics, Tally};
use cloudai_model::{Now, TaskId, record::TaskRecord};
use tokio::sync::broadcast;

use crate::{core_loop, live::LiveTasks, logs::LogFollowers, specs::Specs, workers::Workers};

/// News that a listener may fall behind by before it loses some.
pub const EVENT_BACKLOG: usize = 1024;

/// See the module.
pub struct EffectRunner {
    /// Calls to workers.
    pub workers: Arc<Workers>,
    /// Followers of workers' logs.
    pub logs: LogFollowers,
    /// What is live.
    pub live: LiveTasks,
    /// Specs of waiting tasks.
    pub specs: Specs,
    /// Whoever listens. Sending never waits: a slow listener loses news and is told how many.
    pub events: broadcast::Sender<Event>,
    /// What is counted of what the core decides,
    pub tally: Tally,
    /// and of how it is stored.
    pub metrics: Metrics,
}

impl core_loop::Effects for EffectRunner {
    fn added(&mut self, task: &TaskRecord) {
        self.specs
            .remember(task.task.clone(), Arc::new(task.spec.clone()));
    }

    fn changed(&mut self, task: &TaskId) {
        // It is read from the store where it is needed.
        self.specs.forget(task);
    }

    fn takes(&mut self, input: &Input) {
        self.tally.takes(input);
    }

    fn decided(&mut self, now: Now, workers: &Registry, effects: &[Effect]) {
        self.tally.decided(now.mono, workers, effects);
    }

    fn committed(&mut self, records: usize, took: Duration) {
        self.metrics.committed(records, took);
    }

    fn run(&mut self, effect: Effect) {
        match effect {
            Effect::Assign(assignment) => self.workers.assign(assignment),
            Effect::Stop(request) => self.workers.stop(request),
            Effect::Invite {
                worker,
                address,
                registration,
            } => {
                self.workers.invite(worker, address, registration);
            }
            Effect::FollowLog { worker, attempt } => self.logs.follow(worker, attempt),
            Effect::LeaveLog(attempt) => self.logs.leave(&attempt),
            Effect::Publish(event) => {
                match &event {
                    Event::Task(news) => {
                        self.live.take(news);
                        if news.status.is_final() {
                            self.specs.forget(&news.task);
                        }
                    }
                    Event::WorkerRemoved(_) => self.workers.close_unused(),
                    Event::WorkerAdded(_)
                    | Event::WorkerUpdated { .. }
                    | Event::WorkerRefused { .. } => {}
                }
                // Nobody listens: nothing is lost but news.
                let _ = self.events.send(event);
            }
            Effect::Write(_) | Effect::Answer(..) => {
                debug_assert!(false, "the loop writes and answers itself");
            }
        }
    }
}
