//! One container from its start to its end: started or taken up again, sampled while it runs,
//! stopped when that is asked for.

use std::{
    convert::Infallible,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use cloudai_engine::{
    ContainerId, Engine, EngineError, LogPieces, RawEnd, Sight, StartError,
    StopCause as EngineCause, Stopped, WaitError, end_of,
};
use cloudai_model::{ContainerEnd, Exit, PeakUsage};
use cloudai_worker_core::{Blame, Failure, Outcome, SpoolRecord, StopCause};
use tokio::sync::oneshot;

use crate::{
    backoff,
    context::Context,
    engine_link::{self, blame},
    storage,
};

/// When a container's use is first looked at; then ever more rarely.
const FIRST_SAMPLE: Duration = Duration::from_millis(250);
/// How rarely, at most.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(5);

/// Asks a container to stop.
#[derive(Debug)]
pub(crate) struct StopRequest {
    pub(crate) grace: Duration,
    pub(crate) cause: StopCause,
}

/// How a container comes to be followed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Begin {
    /// It is to be started; so many tries were in vain, and one of them, or one of an earlier
    /// process, may yet have started it.
    Start { asked_before: bool, tries: u32 },
    /// It was started by an earlier process.
    Follow,
}

/// Starts or takes up a container and follows it to its end.
pub(crate) async fn run(
    context: Context,
    record: SpoolRecord,
    begin: Begin,
    mut stop: oneshot::Receiver<StopRequest>,
) {
    let attempt = record.attempt().clone();
    let (container, attached, sight) = match begin {
        Begin::Start {
            asked_before,
            tries,
        } => match start(&context, &record, asked_before, tries, &mut stop).await {
            Ok(started) => {
                context.core.outcome(&attempt, Outcome::Started);
                let (container, attached) = started;
                // A try before may have started it, and it may have ended since.
                let sight = match asked_before {
                    true => Sight::Lost,
                    false => Sight::Kept,
                };
                (container, attached, sight)
            }
            Err(failure) => {
                context
                    .core
                    .outcome(&attempt, Outcome::StartFailed(failure));
                return;
            }
        },
        Begin::Follow => match find(&context, &record).await {
            Some(container) => (container, None, Sight::Lost),
            None => {
                context.logs.lose(&attempt);
                context.core.outcome(&attempt, Outcome::Ended(gone()));
                return;
            }
        },
    };
    let limit = storage::limit(&record.order);
    context
        .logs
        .pump(&attempt, container.clone(), attached, limit);
    let end = follow(&context, &record, &container, sight, stop).await;
    context.core.outcome(&attempt, Outcome::Ended(end));
}

/// Starts a container, with its outputs attached where the engine lets that be done.
async fn start(
    context: &Context,
    record: &SpoolRecord,
    asked_before: bool,
    tries: u32,
    stop: &mut oneshot::Receiver<StopRequest>,
) -> Result<(ContainerId, Option<LogPieces>), Failure> {
    let stopped = || Failure {
        reason: "it was stopped before it began".to_owned(),
        blame: Blame::Task,
    };
    let failed = |error: EngineError| Failure {
        blame: blame(&error),
        reason: error.to_string(),
    };
    tokio::select! {
        biased;
        Ok(_) = &mut *stop => return Err(stopped()),
        () = backoff::wait(tries) => {}
    }
    context.save(record, false).await.map_err(|error| Failure {
        reason: format!("this worker's disk refuses to be written to: {error}"),
        blame: Blame::Machine,
    })?;
    let engine = context.engine.ready_soon().await?;
    let container = context.container(&engine, &record.order).await;
    let container = container.map_err(failed)?.ok_or_else(|| Failure {
        reason: "its container was removed by someone else before it began".to_owned(),
        blame: Blame::Machine,
    })?;
    if asked_before {
        // That may have succeeded without having been heard of. The engine does one thing after the
        // other with a container: where it is about to start it, it answers afterwards.
        let state = engine.inspect(&container).await.map_err(failed)?;
        if state.running || state.end.is_some() {
            return Ok((container, None));
        }
    }
    if stop.try_recv().is_ok() {
        return Err(stopped());
    }
    let order = &record.order;
    let is_volume = context.spool.place(&order.attempt).has_volume();
    // With a read-only root that was done when the volume was made.
    if is_volume && !order.job.container.read_only {
        engine.open_output(&container).await.map_err(failed)?;
    }
    // Outputs of what may run already would lack their beginning.
    let attached = match asked_before {
        true => None,
        false => attach(&engine, &container).await,
    };
    engine.start(&container).await.map_err(|error| Failure {
        blame: match &error {
            StartError::Engine(error) => blame(error),
            _ => Blame::Task,
        },
        reason: error.to_string(),
    })?;
    Ok((container, attached))
}

/// The outputs of a container that has not been started.
async fn attach(engine: &Engine, container: &ContainerId) -> Option<LogPieces> {
    engine
        .attach(container)
        .await
        .inspect_err(
            |error| tracing::debug!(%container, %error, "not attached; its log will be read"),
        )
        .ok()
}

/// The container that an earlier process started; `None` if it is gone.
async fn find(context: &Context, record: &SpoolRecord) -> Option<ContainerId> {
    let mut tries = 0;
    loop {
        let engine = context.engine.ready().await;
        let (cluster, attempt) = (&record.order.cluster, record.attempt());
        match engine_link::find(&engine, cluster, &context.settings.id, attempt).await {
            Ok(found) => return found.map(|held| held.id),
            Err(error) => tracing::debug!(%attempt, %error, "the container can't be looked for"),
        }
        tries += 1;
        backoff::wait(tries).await;
    }
}

async fn follow(
    context: &Context,
    record: &SpoolRecord,
    container: &ContainerId,
    mut sight: Sight,
    mut stop: oneshot::Receiver<StopRequest>,
) -> ContainerEnd {
    let peak = Mutex::new(PeakUsage::default());
    let mut cause = None;
    let ended = {
        let watched = async {
            loop {
                let engine = context.engine.ready().await;
                tokio::select! {
                    biased;
                    ended = engine.watch(container, &mut sight) => return ended,
                    request = &mut stop, if cause.is_none() => match request {
                        Ok(request) => cause = Some(stop_container(context, container, request).await),
                        // The core lets go of a container only when the program ends.
                        Err(_) => std::future::pending().await,
                    },
                }
            }
        };
        tokio::select! {
            ended = watched => ended,
            never = sample(context, container, &peak) => match never {},
            never = storage::watch(context, &record.order, container) => match never {},
        }
    };
    let usage = *peak.lock().unwrap_or_else(PoisonError::into_inner);
    let raw = match ended {
        Ok(raw) => raw,
        Err(WaitError::Gone(_) | WaitError::NotStarted) => return ContainerEnd { usage, ..gone() },
        Err(error @ WaitError::Unclear(_)) => {
            return ContainerEnd {
                exit: Exit::Interrupted(error.to_string()),
                usage,
                ..gone()
            };
        }
    };
    let mut cause = cause.flatten().or_else(|| earlier_stop(record, &raw));
    if cause.is_none() && raw.is_like_an_engines() && went_down(context, record, sight).await {
        let reason = "its Docker Engine or its machine was stopped while it ran";
        cause = Some(EngineCause::Machine(reason.to_owned()));
    }
    let exit = end_of(&raw, cause.as_ref());
    let mut usage = usage;
    if exit == Exit::OutOfMemory {
        // It was ended because it held all that it might; no sample need have come in time.
        usage.memory_bytes = usage.memory_bytes.max(record.order.grant.memory_bytes);
    }
    ContainerEnd {
        exit,
        started_at: raw.started_at,
        finished_at: raw.finished_at.unwrap_or_else(|| cloudai_clock::now().wall),
        usage,
        image_digest: image_digest(context, record, container).await,
    }
}

/// Whether the engine or the machine has gone down since the container was started: either takes its
/// containers with it. Where they don't tell, that is assumed of what nobody has seen end.
async fn went_down(context: &Context, record: &SpoolRecord, sight: Sight) -> bool {
    let now = context.engine.host_run().await;
    let is_still = record.host_run.is_still(&now);
    !is_still.unwrap_or(sight == Sight::Kept)
}

/// The digest of the image that ran. It is in the record unless this process was killed between
/// making the container and starting it: then the engine still knows the image's id.
async fn image_digest(
    context: &Context,
    record: &SpoolRecord,
    container: &ContainerId,
) -> Option<String> {
    if record.image_digest.is_some() {
        return record.image_digest.clone();
    }
    let engine = context.engine.ready_soon().await.ok()?;
    let image = engine.image_of(container).await.ok()?;
    image.map(|id| id.to_string())
}

/// Stops a container, however often the engine breaks off; `None` if it had ended by itself.
async fn stop_container(
    context: &Context,
    container: &ContainerId,
    request: StopRequest,
) -> Option<EngineCause> {
    let mut tries = 0;
    loop {
        let engine = context.engine.ready().await;
        match engine.stop(container, request.grace).await {
            Ok(Stopped::ByUs) => return Some(engine_cause(&request.cause)),
            Ok(Stopped::Already) => {
                // A try that broke off may have been the one that stopped it.
                return (tries > 0).then(|| engine_cause(&request.cause));
            }
            Err(error) => tracing::warn!(%container, %error, "the container can't be stopped"),
        }
        tries += 1;
        backoff::wait(tries).await;
    }
}

/// A process before this one may have stopped the container and been killed before it could say
/// so. A container that a stop's signal ended then counts as stopped.
fn earlier_stop(record: &SpoolRecord, raw: &RawEnd) -> Option<EngineCause> {
    let cause = record.stop.as_ref().filter(|_| raw.is_by_stop_signal())?;
    Some(engine_cause(cause))
}

fn engine_cause(cause: &StopCause) -> EngineCause {
    match cause.exit() {
        Exit::Stopped(reason) => EngineCause::Limit(reason),
        Exit::Interrupted(reason) => EngineCause::Machine(reason),
        _ => EngineCause::Cancel,
    }
}

fn gone() -> ContainerEnd {
    ContainerEnd {
        // No doing of the task's, whether its worker was there to see it or not.
        exit: Exit::Interrupted("its container was removed by someone else".to_owned()),
        started_at: None,
        finished_at: cloudai_clock::now().wall,
        usage: PeakUsage::default(),
        image_digest: None,
    }
}

/// Looks at what the container uses, for as long as it is followed.
async fn sample(context: &Context, container: &ContainerId, peak: &Mutex<PeakUsage>) -> Infallible {
    let mut interval = FIRST_SAMPLE;
    loop {
        tokio::time::sleep(interval).await;
        interval = (interval * 2).min(SAMPLE_INTERVAL);
        let engine: Engine = context.engine.ready().await;
        match engine.sample(container).await {
            Ok(Some(usage)) => {
                usage.fold_into(&mut peak.lock().unwrap_or_else(PoisonError::into_inner));
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(%container, %error, "no figures"),
        }
    }
}
