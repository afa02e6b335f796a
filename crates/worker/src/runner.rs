//! Carries out what the core wants: each wish becomes a task that tells the core what came of it.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cloudai_engine::{
    ContainerPlan, ContainerSettings, CreateError, EngineError, HeldState, PullError,
};
use cloudai_model::{AttemptId, ContainerEnd, Phase, WorkerId, resources::most_kept_bytes};
use cloudai_worker_core::{Blame, Effect, Failure, Found, Input, Order, Outcome, PulledImage};
use tokio::{sync::oneshot, task::AbortHandle, time::sleep};

use crate::{
    backoff, console,
    container::{self, Begin, StopRequest},
    context::{Context, blocking},
    engine_link::{self, blame},
    fetch::{self, FetchError},
    report, storage, sweep, upload,
};

/// How often the master is told how far a pull is, at most.
const PULL_NEWS_INTERVAL: Duration = Duration::from_millis(500);

/// Carries out effects for one worker.
pub(crate) struct Runner {
    context: Context,
    pulls: BTreeMap<AttemptId, AbortHandle>,
    stops: BTreeMap<AttemptId, oneshot::Sender<StopRequest>>,
}

impl Runner {
    pub(crate) fn new(context: Context) -> Self {
        Self {
            context,
            pulls: BTreeMap::new(),
            stops: BTreeMap::new(),
        }
    }

    fn follow(&mut self, record: cloudai_worker_core::SpoolRecord, begin: Begin) {
        let (sender, stop) = oneshot::channel();
        self.stops.insert(record.attempt().clone(), sender);
        tokio::spawn(container::run(self.context.clone(), record, begin, stop));
    }
}

impl crate::core_loop::CarryOut for Runner {
    fn carry_out(&mut self, effect: Effect) {
        let context = self.context.clone();
        match effect {
            Effect::Answer(..) => debug_assert!(false, "the loop answers"),
            Effect::Save { record, tries } => {
                // The place is taken now, so that a deletion that is asked for later comes later.
                let place = context.spool.place(record.attempt());
                tokio::spawn(async move {
                    backoff::wait(tries).await;
                    let (attempt, revision) = (record.attempt().clone(), record.revision);
                    let saved = blocking(move || place.save(&record, true)).await;
                    let outcome = match saved {
                        Ok(()) => Outcome::Saved(revision),
                        Err(error) => Outcome::SaveFailed(revision, error.to_string()),
                    };
                    context.core.outcome(&attempt, outcome);
                });
            }
            Effect::SaveTombstones { revision, attempts } => {
                tokio::spawn(async move {
                    let attempts = Arc::new(attempts);
                    let mut tries = 0;
                    // Answered only when it is safe: after a restart it must not be started either.
                    loop {
                        let (spool, attempts) = (context.spool.clone(), attempts.clone());
                        let saved =
                            blocking(move || spool.save_tombstones(revision, &attempts)).await;
                        let Err(error) = saved else { break };
                        tracing::warn!(%error, "cancels of what hasn't come yet aren't on disk");
                        tries += 1;
                        backoff::wait(tries).await;
                    }
                    context.core.tell(Input::TombstonesSaved { revision });
                });
            }
            Effect::Locate { order } => {
                tokio::spawn(locate(context, order));
            }
            Effect::Pull { order, tries } => {
                let attempt = order.attempt.clone();
                let task = tokio::spawn(pull(context, order, tries));
                self.pulls.insert(attempt, task.abort_handle());
            }
            Effect::AbortPull(attempt) => {
                if let Some(pull) = self.pulls.remove(&attempt) {
                    pull.abort();
                }
            }
            Effect::Create {
                order,
                image,
                tries,
            } => {
                self.pulls.remove(&order.attempt);
                tokio::spawn(create(context, order, image, tries));
            }
            Effect::Start {
                record,
                asked_before,
                tries,
            } => {
                let begin = Begin::Start {
                    asked_before,
                    tries,
                };
                self.follow(*record, begin);
            }
            Effect::Follow { record } => self.follow(*record, Begin::Follow),
            Effect::Stop {
                attempt,
                grace,
                cause,
            } => {
                if let Some(stop) = self.stops.remove(&attempt) {
                    // One that has ended meanwhile needs no stop.
                    let _ = stop.send(StopRequest { grace, cause }).is_ok();
                }
            }
            Effect::Seal(order) => {
                self.pulls.remove(&order.attempt);
                tokio::spawn(async move {
                    take_in_unheard(&context, &order).await;
                    let attempt = order.attempt;
                    let log = context.logs.seal(&attempt).await;
                    let place = context.spool.place(&attempt);
                    if let Err(error) = blocking(move || place.sync_output()).await {
                        tracing::warn!(%attempt, %error, "the output may not survive a power cut");
                    }
                    context.core.outcome(&attempt, Outcome::Sealed(log));
                });
            }
            Effect::Remove { order, tries } => {
                self.stops.remove(&order.attempt);
                tokio::spawn(remove(context, order, tries));
            }
            Effect::Upload { order, tries } => {
                tokio::spawn(upload::run(context, order, tries));
            }
            Effect::Report { report, tries } => {
                if tries == 0 && report.report.end.started_at.is_none() {
                    show_end(&report.report.attempt, &report.report.end);
                }
                tokio::spawn(report::run(context, *report, tries));
            }
            Effect::Delete { attempt, tries } => {
                let place = context.spool.place(&attempt);
                tokio::spawn(async move {
                    backoff::wait(tries).await;
                    context.logs.forget(&attempt);
                    context.made(&attempt, None);
                    let outcome = match blocking(move || place.delete()).await {
                        Ok(()) => {
                            context.spool.let_go(&attempt);
                            context.logs.let_go(&attempt);
                            Outcome::Deleted
                        }
                        Err(error) => Outcome::DeleteFailed(error.to_string()),
                    };
                    context.core.outcome(&attempt, outcome);
                });
            }
            Effect::Progress {
                attempt,
                phase,
                detail,
                end,
            } => {
                if let (Phase::Uploading, Some(end)) = (phase, &end) {
                    show_end(&attempt, end);
                }
                tokio::spawn(report::progress(context, attempt, phase, detail, end));
            }
            Effect::GivenUp { attempt, reason } => console::task(
                &attempt.task,
                format_args!("✗ Its result is dropped, the master won't have it: {reason}"),
            ),
            Effect::RemoveOrphan(orphan) => {
                tokio::spawn(sweep::remove(context, orphan));
            }
        }
    }
}

fn show_end(attempt: &AttemptId, end: &ContainerEnd) {
    if end.exit.is_success() {
        console::task(&attempt.task, "✓ Completed successfully");
    } else {
        console::task(&attempt.task, format_args!("✗ Ended: {}", end.exit));
    }
}

/// Takes in the log of a container whose start was never heard of, if it began all the same; one
/// that still runs is stopped, for its attempt has ended.
async fn take_in_unheard(context: &Context, order: &Order) {
    let attempt = &order.attempt;
    if context.logs.is_pumped(attempt) {
        return;
    }
    let Some(container) = context.known(attempt) else {
        return;
    };
    let Ok(engine) = context.engine.ready_soon().await else {
        return context.logs.lose(attempt);
    };
    let state = async {
        let state = engine.inspect(&container).await?;
        if state.running {
            engine.stop(&container, order.stop_grace).await?;
        }
        Ok(state)
    };
    match state.await {
        Ok(state) if state.started_at.is_some() => {
            let limit = storage::limit(order);
            context.logs.pump(attempt, container, None, limit);
        }
        Ok(_) | Err(EngineError::NoSuchContainer(_)) => {}
        Err(error) => {
            tracing::warn!(%attempt, %error, "whether it ever began can't be known");
            context.logs.lose(attempt);
        }
    }
}

async fn locate(context: Context, order: Order) {
    let attempt = order.attempt.clone();
    let mut tries = 0;
    let found = loop {
        let engine = context.engine.ready().await;
        let worker: &WorkerId = &context.settings.id;
        match engine_link::find(&engine, &order.cluster, worker, &attempt).await {
            Ok(found) => break found,
            Err(error) => tracing::debug!(%attempt, %error, "the container can't be looked for"),
        }
        tries += 1;
        backoff::wait(tries).await;
    };
    let found = match found {
        None => Found::Nothing,
        Some(held) => {
            context.made(&attempt, Some(held.id));
            match held.state {
                HeldState::Created => Found::Created,
                HeldState::Running | HeldState::Ended => Found::Started,
            }
        }
    };
    tracing::info!(%attempt, ?found, "taken up again");
    context.core.outcome(&attempt, Outcome::Located(found));
}

async fn pull(context: Context, order: Order, tries: u32) {
    backoff::wait(tries).await;
    let attempt = &order.attempt;
    let outcome = match try_pull(&context, &order).await {
        Ok(image) => Outcome::Pulled(image),
        Err(failure) => {
            if failure.blame != Blame::Task {
                let (image, why) = (&order.job.image, &failure.reason);
                let text = format_args!("Pulling {image} failed, it is tried again: {why}");
                console::task(&attempt.task, text);
            }
            Outcome::PullFailed(failure)
        }
    };
    context.core.outcome(attempt, outcome);
}

async fn try_pull(context: &Context, order: &Order) -> Result<PulledImage, Failure> {
    let (image, attempt) = (&order.job.image, &order.attempt);
    let engine = context.engine.ready_soon().await?;
    // An image that is being removed just now is gone before it is looked for.
    context.images.settle().await;
    let present = engine.image(image).await.map_err(|error| Failure {
        blame: blame(&error),
        reason: error.to_string(),
    })?;
    let found = match present {
        Some(found) => found,
        None => {
            console::task(&attempt.task, format_args!("Pulling image: {image}"));
            let progress = |detail: String| {
                context.core.outcome(attempt, Outcome::PullProgress(detail));
            };
            progress(String::new());
            let credentials = context.credentials.for_image(image).await;
            // A file or a program of this worker that is broken.
            let credentials = credentials.map_err(|error| Failure {
                reason: error.to_string(),
                blame: Blame::Machine,
            })?;
            let latest = Mutex::new(String::new());
            let pulled = engine.pull(
                image,
                credentials.as_ref(),
                context.settings.pull_timeout,
                |at| *latest.lock().unwrap_or_else(PoisonError::into_inner) = at.to_string(),
            );
            let pulled = tokio::select! {
                pulled = pulled => pulled,
                never = tell_now_and_then(&latest, progress) => match never {},
            };
            let pulled = pulled.map_err(|error| {
                if let PullError::DiskFull { .. } = error {
                    context.images.wake();
                }
                error
            });
            let pulled = pulled.map_err(|error| Failure {
                blame: match &error {
                    // One that took too long once would take as long again.
                    PullError::TimedOut { .. } => Blame::Task,
                    PullError::DiskFull { .. } => Blame::Machine,
                    PullError::Engine(error) => blame(error),
                    error if error.is_transient() => Blame::Passing,
                    _ => Blame::Task,
                },
                reason: error.to_string(),
            })?;
            context.images.pulled(image, &pulled.id).await;
            pulled
        }
    };
    Ok(PulledImage {
        id: found.id.as_str().to_owned(),
        // One that was built or loaded on this machine has no digest but its id.
        digest: Some(found.digest.unwrap_or_else(|| found.id.to_string())),
    })
}

/// Tells how far a pull is while that changes. It changes more often than is worth a message, and
/// may stop at any point, which must be told, too.
async fn tell_now_and_then(latest: &Mutex<String>, tell: impl Fn(String)) -> Infallible {
    let mut told = String::new();
    loop {
        sleep(PULL_NEWS_INTERVAL).await;
        let now = latest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if now != told {
            told.clone_from(&now);
            tell(now);
        }
    }
}

async fn create(context: Context, order: Order, image: PulledImage, tries: u32) {
    backoff::wait(tries).await;
    let created = try_create(&context, &order, &image).await;
    let outcome = created.unwrap_or_else(Outcome::CreateFailed);
    context.core.outcome(&order.attempt, outcome);
}

async fn try_create(
    context: &Context,
    order: &Order,
    image: &PulledImage,
) -> Result<Outcome, Failure> {
    let engine = context.engine.ready_soon().await?;
    let output_in_volume = context.wants_volume(&engine);
    let place = context.spool.place(&order.attempt);
    let output_dir = blocking(move || match output_in_volume {
        true => place.mark_volume().map(|()| place.output()),
        false => place.make_output(),
    });
    let output_dir = output_dir.await.map_err(|error| Failure {
        reason: format!("this worker's disk refuses to be written to: {error}"),
        blame: Blame::Machine,
    })?;
    let plan = ContainerPlan {
        cluster: order.cluster.clone(),
        worker: context.settings.id.clone(),
        attempt: order.attempt.clone(),
        image: cloudai_engine::ImageId::new(image.id.clone()),
        command: order.job.command.clone(),
        env: order.job.env.clone(),
        cpu_milli: order.grant.cpu_milli,
        memory_bytes: order.grant.memory_bytes,
        gpu_devices: order
            .grant
            .devices
            .iter()
            .map(|share| share.device.to_string())
            .collect(),
        output_dir,
        settings: ContainerSettings {
            asked: order.job.container.clone(),
            pids_limit: context.settings.pids_limit,
            stop_grace: order.stop_grace,
            output_in_volume,
            ..ContainerSettings::default()
        },
    };
    let created = async {
        if output_in_volume && plan.settings.asked.read_only {
            engine.make_open_output(&plan).await?;
        }
        engine.create(&plan).await
    };
    match created.await {
        Ok(created) => {
            context.made(&order.attempt, Some(created.id));
            Ok(Outcome::Created)
        }
        // Pulled a moment ago and gone: removed by another worker of this engine, or by hand.
        Err(CreateError::NoSuchImage(_)) => Ok(Outcome::ImageGone),
        Err(error) => {
            if let CreateError::OutputOutOfSight(_) = error {
                context.engine_sees_other_files();
            }
            Err(Failure {
                blame: create_blame(&error),
                reason: error.to_string(),
            })
        }
    }
}

fn create_blame(error: &CreateError) -> Blame {
    match error {
        CreateError::NoSuchNetwork(_) | CreateError::NoSuchVolume(_) | CreateError::Refused(_) => {
            Blame::Task
        }
        CreateError::NoSuchImage(_)
        | CreateError::NameTaken(_)
        | CreateError::DiskFull(_)
        | CreateError::OutputOutOfSight(_) => Blame::Machine,
        CreateError::Engine(error) => blame(error),
    }
}

async fn remove(context: Context, order: Order, tries: u32) {
    backoff::wait(tries).await;
    let failed = |error: EngineError| Failure {
        blame: blame(&error),
        reason: error.to_string(),
    };
    let removed = async {
        let engine = context.engine.ready_soon().await?;
        let container = context.container(&engine, &order).await;
        let container = container.map_err(failed)?;
        let place = context.spool.place(&order.attempt);
        let has_volume = place.has_volume();
        if let Some(id) = container {
            if has_volume {
                let _turn = context.fetches.acquire().await;
                let most = storage::limit(&order).map_or(u64::MAX, most_kept_bytes);
                match fetch::output(&engine, &id, &place, most).await {
                    // Removed by someone else; what it left can't be reached any more.
                    Ok(()) | Err(FetchError::Engine(EngineError::NoSuchContainer(_))) => {}
                    Err(FetchError::Engine(error)) => return Err(failed(error)),
                    Err(error) => {
                        return Err(Failure {
                            reason: error.to_string(),
                            blame: match error.is_no_room() {
                                true => Blame::Machine,
                                false => Blame::Passing,
                            },
                        });
                    }
                }
            }
            engine.remove(&id).await.map_err(failed)?;
        }
        if has_volume {
            let removed = engine.remove_volume(&order.cluster, &order.attempt).await;
            removed.map_err(failed)?;
        }
        Ok(())
    };
    let removed: Result<(), Failure> = removed.await;
    let outcome = match removed {
        Ok(()) => Outcome::Removed,
        Err(failure) => {
            let reason = &failure.reason;
            tracing::warn!(attempt = %order.attempt, reason, "its container can't be removed");
            Outcome::RemoveFailed(failure)
        }
    };
    context.core.outcome(&order.attempt, outcome);
}
