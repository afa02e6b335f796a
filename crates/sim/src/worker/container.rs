//! One container from its start to its end: `crates/worker/src/container.rs`.

use std::rc::Rc;

use cloudai_model::{AttemptId, ContainerEnd, Exit, PeakUsage};
use cloudai_worker_core::{Blame, Failure, Outcome, SpoolRecord, StopCause};

use super::{WorkerShell, backoff, runner::disk_failure};
use crate::{
    audit::Seen,
    engine::{Container, ContainerId, EngineError, RawEnd, State, Stopped},
    time::{First, Receiver, first},
};

/// How often it is measured what a container takes of the disk.
const MEASURE_INTERVAL_MS: u64 = 5_000;

/// How a container comes to be followed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Begin {
    /// It is to be started.
    Start {
        /// It may run already.
        asked_before: bool,
        tries: u32,
    },
    /// It was started by an earlier process.
    Follow,
}

/// Starts or takes up a container and follows it to its end.
pub(super) async fn run(
    shell: Rc<WorkerShell>,
    record: SpoolRecord,
    begin: Begin,
    mut stop: Receiver<StopCause>,
) {
    let attempt = record.attempt().clone();
    let id = match begin {
        Begin::Start {
            asked_before,
            tries,
        } => match start(&shell, &record, asked_before, tries, &mut stop).await {
            Ok(started) => {
                shell.outcome(&attempt, Outcome::Started);
                started
            }
            Err(failure) => {
                return shell.outcome(&attempt, Outcome::StartFailed(failure));
            }
        },
        Begin::Follow => match find(&shell, &attempt).await {
            Some(container) => container.id.clone(),
            None => {
                shell.pumped.borrow_mut().insert(attempt.clone());
                return shell.outcome(&attempt, Outcome::Ended(gone(&shell)));
            }
        },
    };
    shell.pumped.borrow_mut().insert(attempt.clone());
    let end = follow(&shell, &record, &id, stop).await;
    shell.outcome(&attempt, Outcome::Ended(end));
}

async fn start(
    shell: &Rc<WorkerShell>,
    record: &SpoolRecord,
    asked_before: bool,
    tries: u32,
    stop: &mut Receiver<StopCause>,
) -> Result<ContainerId, Failure> {
    let stopped = || Failure {
        reason: "it was stopped before it began".to_owned(),
        blame: Blame::Task,
    };
    let attempt = record.attempt();
    let pause = backoff::wait(shell, "start", tries);
    if let First::One(Ok(_)) = first(&mut *stop, pause).await {
        return Err(stopped());
    }
    if shell.disk_refuses() {
        return Err(disk_failure());
    }
    let lane = shell.lane(attempt);
    shell.node().spool.save(&lane, record, false);
    shell.engine_ready_soon().await?;
    let (world, index) = (&shell.world, shell.index);
    let container = match shell.known(attempt) {
        Some(known) => Some(known),
        None => {
            let found = world.find_container(index, attempt).await.map_err(failed)?;
            found.map(|container| container.id.clone())
        }
    };
    let container = container.ok_or_else(|| Failure {
        reason: "its container was removed by someone else before it began".to_owned(),
        blame: Blame::Machine,
    })?;
    if asked_before {
        let state = world.inspect_container(index, &container).await;
        if !matches!(state.map_err(failed)?, State::Created) {
            return Ok(container);
        }
    }
    if stop.try_take().is_some() {
        return Err(stopped());
    }
    if world.behaviour(attempt).no_command {
        return Err(Failure {
            reason: "its command was not found".to_owned(),
            blame: Blame::Task,
        });
    }
    let worker = index;
    world.see(&Seen::ContainerStartAsked { worker, attempt });
    let started = world.start_container(index, &container).await;
    started.map_err(failed)?;
    Ok(container)
}

pub(super) fn failed(error: EngineError) -> Failure {
    Failure {
        reason: error.to_string(),
        blame: error.blame(),
    }
}

/// The container that an earlier process started; `None` if it is gone.
async fn find(shell: &Rc<WorkerShell>, attempt: &AttemptId) -> Option<Rc<Container>> {
    let mut tries = 0;
    loop {
        shell.engine_ready().await;
        match shell.world.find_container(shell.index, attempt).await {
            Ok(found) => return found,
            Err(_) => tries += 1,
        }
        backoff::wait(shell, "find", tries).await;
    }
}

async fn follow(
    shell: &Rc<WorkerShell>,
    record: &SpoolRecord,
    id: &ContainerId,
    stop: Receiver<StopCause>,
) -> ContainerEnd {
    let Ok(container) = shell.node().engine.get(id) else {
        return gone(shell);
    };
    let watched = wait(shell, &container, stop);
    let (ended, cause) = match first(watched, measure(shell, &container)).await {
        First::One(ended) => ended,
        First::Other(never) => match never {},
    };
    let Ok(raw) = ended else {
        return gone(shell);
    };
    // A process before this one may have stopped it and been killed before it could say so.
    let earlier = record.stop.clone().filter(|_| raw.is_by_stop_signal());
    let exit = match cause.or(earlier) {
        Some(cause) => cause.exit(),
        None => raw.exit(),
    };
    ContainerEnd {
        exit,
        started_at: Some(raw.started_at),
        finished_at: raw.finished_at,
        usage: PeakUsage::default(),
        image_digest: record.image_digest.clone(),
    }
}

/// Waits for the end, and stops the container when that is asked for; with why, if a stop ended it.
async fn wait(
    shell: &Rc<WorkerShell>,
    container: &Container,
    mut stop: Receiver<StopCause>,
) -> (Result<RawEnd, EngineError>, Option<StopCause>) {
    let (world, index) = (&shell.world, shell.index);
    let mut stopped = None;
    let mut may_stop = true;
    loop {
        shell.engine_ready().await;
        let ended = world.wait_container(index, container);
        if !may_stop {
            match ended.await {
                Err(EngineError::Unavailable | EngineError::Failed) => {
                    world.sim.sleep(200).await;
                    continue;
                }
                ended => return (ended, stopped),
            }
        }
        match first(ended, &mut stop).await {
            First::One(Err(EngineError::Unavailable | EngineError::Failed)) => {
                world.sim.sleep(200).await;
            }
            First::One(ended) => return (ended, stopped),
            First::Other(request) => {
                may_stop = false;
                if let Ok(cause) = request {
                    stopped = stop_container(shell, &container.id, cause).await;
                }
            }
        }
    }
}

/// Stops a container, however often the engine breaks off; `None` if it had ended by itself.
async fn stop_container(
    shell: &Rc<WorkerShell>,
    id: &ContainerId,
    cause: StopCause,
) -> Option<StopCause> {
    const GRACE_MS: u64 = 10_000;
    let mut tries = 0;
    loop {
        shell.engine_ready().await;
        match shell.world.stop_container(shell.index, id, GRACE_MS).await {
            Ok(Stopped::ByUs) => return Some(cause),
            // A try that broke off may have been the one that stopped it.
            Ok(Stopped::Already) => return (tries > 0).then_some(cause),
            Err(_) => tries += 1,
        }
        backoff::wait(shell, "stop", tries).await;
    }
}

/// `storage.rs`: looks at what the container takes of the disk.
async fn measure(shell: &Rc<WorkerShell>, container: &Container) -> std::convert::Infallible {
    let began_ms = shell.world.sim.now_ms();
    loop {
        shell.world.sim.sleep(MEASURE_INTERVAL_MS).await;
        let ran_ms = shell.world.sim.now_ms() - began_ms;
        let running = matches!(container.state.get(), State::Running { .. });
        let over = container.does.overflows_after_ms;
        if running && over.is_some_and(|over| ran_ms > over) {
            let reason = "it took more disk than it was given".to_owned();
            shell.outcome(&container.id.attempt, Outcome::OverLimit(reason));
        }
    }
}

fn gone(shell: &WorkerShell) -> ContainerEnd {
    ContainerEnd {
        // No doing of the task's, whether its worker was there to see it or not.
        exit: Exit::Interrupted("its container was removed by someone else".to_owned()),
        started_at: None,
        finished_at: shell.world.wall(Some(shell.index)),
        usage: PeakUsage::default(),
        image_digest: None,
    }
}
