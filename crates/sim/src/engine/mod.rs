//! A simulated Docker Engine on each worker's machine. It outlives the worker's process, and what it
//! was asked for it does, whether or not anybody hears the answer.

mod container;

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use cloudai_model::AttemptId;
use cloudai_worker_core::Blame;

pub use container::{Container, ContainerId, EndCause, RawEnd, State};

use crate::{
    audit::Seen,
    life::Life,
    plan::{Behaviour, FaultKind},
    time::{Watch, oneshot},
    world::World,
};

/// Why the engine did not do what it was asked for, or did and wasn't heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// It doesn't answer.
    #[error("the Docker Engine doesn't answer")]
    Unavailable,
    /// It failed; perhaps not the next time.
    #[error("the Docker Engine failed: 500")]
    Failed,
    /// No container has this id.
    #[error("no such container")]
    NoSuchContainer,
}

impl EngineError {
    /// Whose doing it is, as `engine_link::blame` of the worker says.
    #[must_use]
    pub fn blame(self) -> Blame {
        match self {
            Self::Unavailable => Blame::Machine,
            Self::Failed => Blame::Passing,
            Self::NoSuchContainer => Blame::Task,
        }
    }
}

/// Whether a stop found its container running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// It did, and ended it.
    ByUs,
    /// It had ended, or never ran.
    Already,
}

/// See the module.
#[derive(Default)]
pub struct Engine {
    /// Runs for as long as the machine does.
    pub life: Life,
    containers: RefCell<BTreeMap<ContainerId, Rc<Container>>>,
    /// The tasks whose image is here.
    images: RefCell<BTreeSet<u64>>,
    last_serial: Cell<u64>,
}

impl Engine {
    /// Every container, by attempt.
    #[must_use]
    pub fn containers(&self) -> Vec<Rc<Container>> {
        self.containers.borrow().values().cloned().collect()
    }

    fn of(&self, attempt: &AttemptId) -> Option<Rc<Container>> {
        let containers = self.containers.borrow();
        let mut of = containers.values().filter(|it| it.id.attempt == *attempt);
        of.next().cloned()
    }

    /// The container with this id.
    ///
    /// # Errors
    /// If there is none.
    pub fn get(&self, id: &ContainerId) -> Result<Rc<Container>, EngineError> {
        let known = self.containers.borrow().get(id).cloned();
        known.ok_or(EngineError::NoSuchContainer)
    }
}

impl World {
    /// Whether a worker's engine answers.
    #[must_use]
    pub fn engine_answers(&self, worker: usize) -> bool {
        self.workers[worker].engine.life.is_running()
            && !self.conditions.is(FaultKind::EngineAway, Some(worker))
            && !self.conditions.is(FaultKind::EngineStop, Some(worker))
    }

    fn away_bites(&self, worker: usize) {
        if self.conditions.is(FaultKind::EngineAway, Some(worker)) {
            self.bites(FaultKind::EngineAway);
        }
    }

    /// Asks an engine for something. `act` is done by the engine even if whoever asked dies.
    async fn ask_engine<T: 'static>(
        self: &Rc<Self>,
        worker: usize,
        what: &str,
        attempt: Option<&AttemptId>,
        act: impl FnOnce(&Rc<Self>) -> Result<T, EngineError> + 'static,
    ) -> Result<T, EngineError> {
        let engine = &self.workers[worker].engine;
        let about = attempt.map_or(0, |attempt| u64::from(attempt.number));
        let name = attempt.map_or_else(String::new, |attempt| attempt.task.to_string());
        let mut chance = self.chance.of("engine").nth(worker as u64).of(what);
        chance = chance.of(&name).nth(about).nth(self.sim.now_ms());
        let slow = self
            .conditions
            .strength(FaultKind::Slow, Some(worker))
            .max(1);
        let (there_ms, back_ms) = (chance.between(1, 8) * slow, chance.between(0, 3) * slow);
        let fails = chance.percent(
            self.conditions
                .percent(FaultKind::EngineErrors, Some(worker)),
        );
        let done_all_the_same = chance.percent(30);
        let Some(process) = engine
            .life
            .process()
            .filter(|_| self.engine_answers(worker))
        else {
            self.away_bites(worker);
            self.sim.sleep(1).await;
            return Err(EngineError::Unavailable);
        };
        if slow > 1 {
            self.bites(FaultKind::Slow);
        }
        if fails {
            self.bites(FaultKind::EngineErrors);
        }
        let (reply, replied) = oneshot();
        let world = self.clone();
        self.sim.spawn(&process, async move {
            world.sim.sleep(there_ms).await;
            if !world.engine_answers(worker) {
                return reply.send(Err(EngineError::Unavailable));
            }
            if fails && !done_all_the_same {
                return reply.send(Err(EngineError::Failed));
            }
            let done = act(&world);
            world.sim.sleep(back_ms).await;
            reply.send(match (world.engine_answers(worker), fails) {
                (false, _) => Err(EngineError::Unavailable),
                (true, true) => Err(EngineError::Failed),
                (true, false) => done,
            });
        });
        replied.await.unwrap_or(Err(EngineError::Unavailable))
    }

    /// Whether the image of a task is there.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn has_image(self: &Rc<Self>, worker: usize, task: u64) -> Result<bool, EngineError> {
        let act = move |world: &Rc<Self>| {
            let images = world.workers[worker].engine.images.borrow();
            Ok(images.contains(&task))
        };
        self.ask_engine(worker, "image", None, act).await
    }

    /// Pulls the image of a task; whether a registry has it.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn pull_image(
        self: &Rc<Self>,
        worker: usize,
        task: u64,
        does: &Behaviour,
    ) -> Result<bool, EngineError> {
        let slow = self
            .conditions
            .strength(FaultKind::Slow, Some(worker))
            .max(1);
        self.sim.sleep(does.pull_ms * slow.min(5)).await;
        let known = !does.unknown_image;
        let act = move |world: &Rc<Self>| {
            if known {
                let mut images = world.workers[worker].engine.images.borrow_mut();
                images.insert(task);
            }
            Ok(known)
        };
        self.ask_engine(worker, "pull", None, act).await
    }

    /// The container of an attempt, by its labels.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn find_container(
        self: &Rc<Self>,
        worker: usize,
        attempt: &AttemptId,
    ) -> Result<Option<Rc<Container>>, EngineError> {
        let wanted = attempt.clone();
        let act = move |world: &Rc<Self>| Ok(world.workers[worker].engine.of(&wanted));
        self.ask_engine(worker, "find", Some(attempt), act).await
    }

    /// The attempts that containers are there of.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn list_containers(
        self: &Rc<Self>,
        worker: usize,
    ) -> Result<Vec<AttemptId>, EngineError> {
        let act = move |world: &Rc<Self>| {
            let containers = world.workers[worker].engine.containers();
            Ok(containers.iter().map(|it| it.id.attempt.clone()).collect())
        };
        self.ask_engine(worker, "list", None, act).await
    }

    /// Makes the container of an attempt, or finds the one that was made for it.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn create_container(
        self: &Rc<Self>,
        worker: usize,
        attempt: &AttemptId,
        does: Behaviour,
    ) -> Result<ContainerId, EngineError> {
        let of = attempt.clone();
        let act = move |world: &Rc<Self>| {
            let engine = &world.workers[worker].engine;
            if let Some(known) = engine.of(&of) {
                return Ok(known.id.clone());
            }
            engine.last_serial.set(engine.last_serial.get() + 1);
            let id = ContainerId {
                attempt: of,
                serial: engine.last_serial.get(),
            };
            let container = Container {
                id: id.clone(),
                state: Watch::new(State::Created),
                does,
            };
            let mut containers = engine.containers.borrow_mut();
            containers.insert(id.clone(), Rc::new(container));
            drop(containers);
            let attempt = &id.attempt;
            world.see(&Seen::ContainerCreated { worker, attempt });
            Ok(id)
        };
        self.ask_engine(worker, "create", Some(attempt), act).await
    }

    /// Starts a container. One that runs goes on; one that has ended runs again, as Docker has it.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn start_container(
        self: &Rc<Self>,
        worker: usize,
        id: &ContainerId,
    ) -> Result<(), EngineError> {
        let wanted = id.clone();
        let act = move |world: &Rc<Self>| {
            let container = world.workers[worker].engine.get(&wanted)?;
            if !matches!(container.state.get(), State::Running { .. }) {
                world.container_begins(worker, container);
            }
            Ok(())
        };
        self.ask_engine(worker, "start", Some(&id.attempt), act)
            .await
    }

    fn container_begins(self: &Rc<Self>, worker: usize, container: Rc<Container>) {
        let since = self.wall(Some(worker));
        container.state.set(State::Running { since });
        let attempt = &container.id.attempt;
        self.see(&Seen::ContainerStarted { worker, attempt });
        let Some(process) = self.workers[worker].engine.life.process() else {
            return;
        };
        let world = self.clone();
        self.sim.spawn(&process, async move {
            world.sim.sleep(container.does.run_ms).await;
            let (exit_code, oom_killed) = container.own_end();
            world.end_container(worker, &container, exit_code, oom_killed, EndCause::Itself);
        });
    }

    fn end_container(
        &self,
        worker: usize,
        container: &Container,
        exit_code: i64,
        oom_killed: bool,
        cause: EndCause,
    ) {
        let State::Running { since } = container.state.get() else {
            return;
        };
        let end = RawEnd {
            exit_code,
            oom_killed,
            cause,
            started_at: since,
            finished_at: self.wall(Some(worker)),
        };
        let attempt = &container.id.attempt;
        let seen = Seen::ContainerEnded {
            worker,
            attempt,
            end: &end,
        };
        self.see(&seen);
        container.state.set(State::Ended(end));
    }

    /// How a container stands.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn inspect_container(
        self: &Rc<Self>,
        worker: usize,
        id: &ContainerId,
    ) -> Result<State, EngineError> {
        let wanted = id.clone();
        let act = move |world: &Rc<Self>| {
            let container = world.workers[worker].engine.get(&wanted)?;
            Ok(container.state.get())
        };
        self.ask_engine(worker, "inspect", Some(&id.attempt), act)
            .await
    }

    /// Stops a container, by force after its grace.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn stop_container(
        self: &Rc<Self>,
        worker: usize,
        id: &ContainerId,
        grace_ms: u64,
    ) -> Result<Stopped, EngineError> {
        let wanted = id.clone();
        let act = move |world: &Rc<Self>| {
            // One that is gone has ended.
            let Ok(container) = world.workers[worker].engine.get(&wanted) else {
                return Ok(None);
            };
            if !matches!(container.state.get(), State::Running { .. }) {
                return Ok(None);
            }
            let attempt = &container.id.attempt;
            world.see(&Seen::ContainerStopAsked { worker, attempt });
            let after_ms = match container.does.ignores_stop {
                true => grace_ms,
                false => 30,
            };
            if let Some(process) = world.workers[worker].engine.life.process() {
                let (there, stopped) = (world.clone(), container.clone());
                world.sim.spawn(&process, async move {
                    there.sim.sleep(after_ms).await;
                    let code = stopped.stopped_code();
                    there.end_container(worker, &stopped, code, false, EndCause::Stop);
                });
            }
            Ok(Some(container))
        };
        let asked = self.ask_engine(worker, "stop", Some(&id.attempt), act);
        let Some(container) = asked.await? else {
            return Ok(Stopped::Already);
        };
        match self.wait_container(worker, &container).await {
            Ok(_) => Ok(Stopped::ByUs),
            Err(EngineError::NoSuchContainer) => Ok(Stopped::Already),
            Err(error) => Err(error),
        }
    }

    /// Waits for a container's end. Breaks off if the engine is away by then.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn wait_container(
        &self,
        worker: usize,
        container: &Container,
    ) -> Result<RawEnd, EngineError> {
        let ended = container.state.wait_for(|state| match state {
            State::Ended(end) => Some(end.clone()),
            State::Created | State::Running { .. } => None,
        });
        let end = ended.await;
        let answers = self.engine_answers(worker);
        let known = self.workers[worker].engine.get(&container.id).is_ok();
        match (answers, known) {
            (true, true) => Ok(end),
            (true, false) => Err(EngineError::NoSuchContainer),
            (false, _) => Err(EngineError::Unavailable),
        }
    }

    /// Removes the containers of an attempt, running or not.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn remove_container(
        self: &Rc<Self>,
        worker: usize,
        attempt: &AttemptId,
    ) -> Result<(), EngineError> {
        let of = attempt.clone();
        let act = move |world: &Rc<Self>| {
            let engine = &world.workers[worker].engine;
            while let Some(container) = engine.of(&of) {
                world.end_container(worker, &container, 137, false, EndCause::Removal);
                engine.containers.borrow_mut().remove(&container.id);
                world.see(&Seen::ContainerRemoved {
                    worker,
                    attempt: &container.id.attempt,
                    by_worker: true,
                });
            }
            Ok(())
        };
        self.ask_engine(worker, "remove", Some(attempt), act).await
    }

    /// The engine, or its machine, goes down and takes its containers with it.
    pub fn end_containers(&self, worker: usize) {
        for container in self.workers[worker].engine.containers() {
            let mut chance = self.chance.of("engine stops").nth(self.sim.now_ms());
            let code = chance.pick(&[137, 143, 255]);
            self.end_container(worker, &container, code, false, EndCause::Machine);
        }
    }

    /// What the engine has is lost with its disk.
    pub fn lose_containers(&self, worker: usize) {
        self.end_containers(worker);
        let engine = &self.workers[worker].engine;
        engine.images.borrow_mut().clear();
        let lost = std::mem::take(&mut *engine.containers.borrow_mut());
        for id in lost.keys() {
            self.see(&Seen::ContainerRemoved {
                worker,
                attempt: &id.attempt,
                by_worker: false,
            });
        }
    }
}
