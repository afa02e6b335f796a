//! The life of one container: made, started, followed to its end, stopped, removed, found again.

use std::{collections::HashMap, path::PathBuf, time::Duration};

use bollard::{
    errors::Error as BollardError,
    models::{ContainerStateStatusEnum, ContainerSummaryStateEnum},
    query_parameters::{
        CreateContainerOptionsBuilder, KillContainerOptionsBuilder, ListContainersOptionsBuilder,
        RemoveContainerOptionsBuilder, StopContainerOptionsBuilder, WaitContainerOptionsBuilder,
    },
};
use cloudai_model::{AttemptId, ClusterId, Wall, WorkerId, rfc3339};
use futures_util::StreamExt as _;
use tokio::time::timeout;

use crate::{
    Engine,
    end::{ContainerState, RawEnd, SIGTERM},
    error::{EngineError, is_connection_failure},
    image::ImageId,
    plan::{ContainerId, ContainerPlan, labelled_attempt, labels},
};

/// The first wait before the engine is asked again after it broke off; doubled each time.
const FIRST_RETRY: Duration = Duration::from_millis(50);
/// The longest such wait.
const LONGEST_RETRY: Duration = Duration::from_secs(5);
/// After so many answers that can't be understood, some minutes' worth, no end is waited for.
const MOST_UNCLEAR: u32 = 100;
/// How long one request may wait for a container's end. It bounds how long a connection that died
/// without a word is trusted.
const WAIT_ROUND: Duration = Duration::from_secs(60);
/// How long the engine may need to stop a container beyond the grace it gives it.
const STOP_MARGIN: Duration = Duration::from_secs(60);

/// A container that stands ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// Its id.
    pub id: ContainerId,
    /// Whether it was there already, made for the same attempt before a crash. Such a one may have
    /// been started: look with [`Engine::inspect`] before [`Engine::start`], which would run an
    /// ended one a second time.
    pub existed: bool,
}

/// Why a container wasn't made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The image is no longer there.
    #[error("the image is gone from the engine: {0}")]
    NoSuchImage(String),
    /// The engine has no network of this name.
    #[error(
        "the worker's Docker Engine has no network {0}; make it there with `docker network create \
         {0}`, or choose a worker that has it"
    )]
    NoSuchNetwork(String),
    /// The engine has no volume of this name.
    #[error(
        "the worker's Docker Engine has no volume {0}; make it there with `docker volume create \
         {0}`, or choose a worker that has it"
    )]
    NoSuchVolume(String),
    /// Another container, not of this attempt on this worker, has the name.
    #[error("container name {0} is taken by another container; remove it (`docker rm -f {0}`)")]
    NameTaken(String),
    /// The engine sees another file system than the one with the output folder.
    #[error(
        "the Docker Engine does not see this worker's folder {}: expected both on one machine, or \
         the worker run with -output volume", .0.display()
    )]
    OutputOutOfSight(PathBuf),
    /// The engine's disk is full.
    #[error("the Docker Engine's disk is full: {0}")]
    DiskFull(String),
    /// The engine refuses it as asked for.
    #[error("the Docker Engine refused to create the container: {0}")]
    Refused(String),
    /// The engine couldn't be asked.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Why a container wasn't started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// What was to run can't: no such program, not executable, no such working folder.
    #[error("the command could not be started: {0}")]
    Command(String),
    /// The engine couldn't start it, for a reason that isn't the command's.
    #[error("the Docker Engine could not start the container: {0}")]
    Refused(String),
    /// The engine couldn't be asked.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Why the end of a container can't be known.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// It was created and never started.
    #[error("the container has not been started")]
    NotStarted,
    /// It was removed by someone, and its end with it.
    #[error("the container was removed by someone else: {0}")]
    Gone(String),
    /// For minutes the engine has answered what can't be understood.
    #[error("how the container ended can't be known: {0}")]
    Unclear(#[source] EngineError),
}

/// Whether a container's end would be seen as it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// It was seen to run, and has been waited for without a break since.
    Kept,
    /// It may have ended while nobody looked: before this process began, or while the engine was out
    /// of reach.
    Lost,
}

/// How a container stood at a look.
enum Seen {
    Running,
    Ended(RawEnd),
    NotStarted,
}

/// What a stop found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// It ran, and the stop ended it.
    ByUs,
    /// It had ended already, or never began, or is gone.
    Already,
}

/// A container of a worker that the engine holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldContainer {
    /// Its id.
    pub id: ContainerId,
    /// The attempt that it is.
    pub attempt: AttemptId,
    /// How it stands.
    pub state: HeldState,
}

/// How a held container stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldState {
    /// Made, not started.
    Created,
    /// Running, or paused.
    Running,
    /// Ended.
    Ended,
}

impl Engine {
    /// Makes the container of a plan, or finds the one that was made for the same attempt.
    ///
    /// # Errors
    /// Why there is none; nothing is left behind.
    pub async fn create(&self, plan: &ContainerPlan) -> Result<Created, CreateError> {
        self.has_what_is_asked(&plan.settings.asked).await?;
        let name = plan.name();
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        let body = plan.to_body(self.info());
        match self.docker.create_container(Some(options), body).await {
            Ok(answer) => Ok(Created {
                id: ContainerId(answer.id),
                existed: false,
            }),
            Err(BollardError::DockerResponseServerError {
                status_code: 409, ..
            }) => {
                let id = self.find(plan).await?.ok_or(CreateError::NameTaken(name))?;
                Ok(Created { id, existed: true })
            }
            Err(error) => Err(create_error(error, plan)),
        }
    }

    /// The container with exactly the plan's labels.
    async fn find(&self, plan: &ContainerPlan) -> Result<Option<ContainerId>, EngineError> {
        let wanted = plan
            .labels()
            .into_iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let found = self.with_labels(wanted).await?;
        let id = found.into_iter().find_map(|summary| summary.id);
        Ok(id.map(ContainerId))
    }

    /// The containers with all these labels, running or not.
    pub(crate) async fn with_labels(
        &self,
        wanted: Vec<String>,
    ) -> Result<Vec<bollard::models::ContainerSummary>, EngineError> {
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&HashMap::from([("label", wanted)]))
            .build();
        self.docker
            .list_containers(Some(options))
            .await
            .map_err(EngineError::from_bollard)
    }

    /// Starts a container; one that runs already is left alone.
    ///
    /// # Errors
    /// Tells a command that can't run from an engine that can't.
    pub async fn start(&self, id: &ContainerId) -> Result<(), StartError> {
        let answer = self.docker.start_container(id.as_str(), None).await;
        answer.map_err(|error| match error {
            BollardError::DockerResponseServerError {
                status_code,
                message,
            } => match status_code {
                404 if message.contains("No such container") => {
                    EngineError::NoSuchContainer(message).into()
                }
                // It was removed after the container was made.
                404 if message.starts_with("network ") => StartError::Refused(message),
                // The engine answers 400 or 404 where it knows that the command is to blame.
                400 | 404 => StartError::Command(message),
                500.. => EngineError::Refused {
                    status: status_code,
                    message,
                }
                .into(),
                _ => StartError::Refused(message),
            },
            error => EngineError::from_bollard(error).into(),
        })
    }

    /// How a container stands.
    ///
    /// # Errors
    /// If it isn't there, or the engine isn't.
    pub async fn inspect(&self, id: &ContainerId) -> Result<ContainerState, EngineError> {
        let answer = self.docker.inspect_container(id.as_str(), None).await;
        let answer = answer.map_err(EngineError::from_bollard)?;
        let stop_signal = answer.config.and_then(|config| config.stop_signal);
        let state = answer
            .state
            .ok_or_else(|| EngineError::Unexpected("it gives no state".to_owned()))?;
        Ok(state_of(state, stop_signal.as_deref()))
    }

    /// The image that a container was made of.
    ///
    /// # Errors
    /// If it isn't there, or the engine isn't.
    pub async fn image_of(&self, id: &ContainerId) -> Result<Option<ImageId>, EngineError> {
        let answer = self.docker.inspect_container(id.as_str(), None).await;
        let image = answer.map_err(EngineError::from_bollard)?.image;
        Ok(image.map(ImageId::new))
    }

    /// Waits until a started container has ended, however long that takes, and says how it did.
    ///
    /// It asks again and again: a connection may be dead without a word, and an engine that breaks
    /// off, restarts or answers what it should not may be well the next time.
    ///
    /// # Errors
    /// If there is no end to wait for.
    pub async fn wait(&self, id: &ContainerId) -> Result<RawEnd, WaitError> {
        self.watch(id, &mut Sight::Kept).await
    }

    /// The same. `sight` says how the container was seen before, and afterwards whether its end was
    /// seen; it holds, too, when this is dropped and called anew.
    ///
    /// # Errors
    /// If there is no end to wait for.
    pub async fn watch(&self, id: &ContainerId, sight: &mut Sight) -> Result<RawEnd, WaitError> {
        let mut retry = FIRST_RETRY;
        let mut unclear = 0;
        loop {
            match timeout(WAIT_ROUND, self.wait_once(id, sight)).await {
                Ok(Ok(Seen::Ended(end))) => return Ok(end),
                Ok(Ok(Seen::NotStarted)) => return Err(WaitError::NotStarted),
                // The wait returned and yet it runs: the engine is going down, or is just back.
                Ok(Ok(Seen::Running)) => *sight = Sight::Kept,
                Ok(Err(EngineError::NoSuchContainer(message))) => {
                    return Err(WaitError::Gone(message));
                }
                Ok(Err(error)) if error.is_transient() => {
                    *sight = Sight::Lost;
                    tracing::debug!(container = %id, %error, "waiting for the engine to be back");
                }
                Ok(Err(error)) => {
                    unclear += 1;
                    if unclear == MOST_UNCLEAR {
                        return Err(WaitError::Unclear(error));
                    }
                    tracing::debug!(container = %id, %error, "whether it has ended can't be told");
                }
                Err(_) => {
                    retry = FIRST_RETRY;
                    continue;
                }
            }
            tokio::time::sleep(retry).await;
            retry = (retry * 2).min(LONGEST_RETRY);
        }
    }

    /// Waits in one request, then looks; sight is lost if the request was not answered.
    async fn wait_once(&self, id: &ContainerId, sight: &mut Sight) -> Result<Seen, EngineError> {
        if *sight == Sight::Lost {
            match self.see(id).await? {
                // What runs now is seen from here on, whatever broke off before.
                Seen::Running => *sight = Sight::Kept,
                seen => return Ok(seen),
            }
        }
        let options = WaitContainerOptionsBuilder::new()
            .condition("not-running")
            .build();
        let answer = {
            let mut answers =
                std::pin::pin!(self.docker.wait_container(id.as_str(), Some(options)));
            answers.next().await
        };
        match answer {
            // A code other than 0 comes as an error; it is read from the state, with the rest.
            Some(Ok(_) | Err(BollardError::DockerContainerWaitError { .. })) => {}
            None => *sight = Sight::Lost,
            Some(Err(error)) if is_connection_failure(&error) => *sight = Sight::Lost,
            Some(Err(error)) => return Err(EngineError::from_bollard(error)),
        }
        self.see(id).await
    }

    async fn see(&self, id: &ContainerId) -> Result<Seen, EngineError> {
        let state = self.inspect(id).await?;
        match (state.running, state.end) {
            (true, _) => Ok(Seen::Running),
            (false, Some(end)) if end.is_by_removal() => Err(EngineError::NoSuchContainer(
                "it is being removed".to_owned(),
            )),
            (false, Some(end)) => Ok(Seen::Ended(self.with_late_memory_kill(id, end).await?)),
            (false, None) => Ok(Seen::NotStarted),
        }
    }

    /// Asks the command to end (the image's stop signal, SIGTERM unless it names another) and
    /// ends it with SIGKILL after `grace`. Returns when it has ended.
    ///
    /// # Errors
    /// If the engine doesn't answer or can't. A container that is gone is stopped.
    pub async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<Stopped, EngineError> {
        // Asked beforehand: the client can't tell "had ended" (304) from "is ended now".
        if !self.runs(id).await? {
            return Ok(Stopped::Already);
        }
        let seconds = grace.as_secs_f64().ceil() as i32;
        let options = StopContainerOptionsBuilder::new().t(seconds).build();
        let docker = self.docker.clone().with_timeout(grace + STOP_MARGIN);
        let answer = docker.stop_container(id.as_str(), Some(options)).await;
        ended(answer)
    }

    /// Ends the command at once, with SIGKILL.
    ///
    /// # Errors
    /// If the engine doesn't answer or can't. A container that is gone is ended.
    pub async fn kill(&self, id: &ContainerId) -> Result<Stopped, EngineError> {
        let options = KillContainerOptionsBuilder::new().signal("SIGKILL").build();
        let answer = self.docker.kill_container(id.as_str(), Some(options)).await;
        ended(answer)
    }

    /// How long ago a time was that the engine has given, by its own clock; `None` if it doesn't say
    /// what that shows. The answer is on its way meanwhile, so it is a little short.
    ///
    /// # Errors
    /// If the engine doesn't answer or can't.
    pub async fn ago(&self, at: Wall) -> Result<Option<Duration>, EngineError> {
        let info = self
            .docker
            .info()
            .await
            .map_err(EngineError::from_bollard)?;
        let shown = info.system_time.as_deref().and_then(rfc3339::wall);
        Ok(shown.map(|now| now.since(at)))
    }

    async fn runs(&self, id: &ContainerId) -> Result<bool, EngineError> {
        match self.inspect(id).await {
            Ok(state) => Ok(state.running),
            Err(EngineError::NoSuchContainer(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes a container with its log and its anonymous volumes, running or not.
    ///
    /// # Errors
    /// If the engine doesn't answer or can't. A container that is gone, or is being removed by
    /// another, is removed.
    pub async fn remove(&self, id: &ContainerId) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::new()
            .force(true)
            .v(true)
            .build();
        let answer = self
            .docker
            .remove_container(id.as_str(), Some(options))
            .await;
        match answer {
            Ok(()) => Ok(()),
            Err(BollardError::DockerResponseServerError {
                status_code: 404, ..
            }) => Ok(()),
            Err(BollardError::DockerResponseServerError {
                status_code: 409,
                message,
            }) if message.contains("already in progress") => Ok(()),
            Err(error) => Err(EngineError::from_bollard(error)),
        }
    }

    /// The containers that this worker of this cluster has on the engine, by attempt.
    ///
    /// # Errors
    /// If the engine doesn't answer.
    pub async fn list(
        &self,
        cluster: &ClusterId,
        worker: &WorkerId,
    ) -> Result<Vec<HeldContainer>, EngineError> {
        let wanted = vec![
            format!("{}={cluster}", labels::CLUSTER),
            format!("{}={worker}", labels::WORKER),
        ];
        let found = self.with_labels(wanted).await?;
        let mut held: Vec<_> = found.into_iter().filter_map(held_container).collect();
        held.sort_by(|a, b| a.attempt.cmp(&b.attempt));
        Ok(held)
    }
}

/// Why a container of this plan was not made, or what was to be written into it was not.
pub(crate) fn create_error(error: BollardError, plan: &ContainerPlan) -> CreateError {
    let BollardError::DockerResponseServerError {
        status_code: status,
        message,
    } = error
    else {
        return EngineError::from_bollard(error).into();
    };
    match status {
        404 => CreateError::NoSuchImage(message),
        _ if message.contains("no space left on device") => CreateError::DiskFull(message),
        _ if message.contains("bind source path does not exist") => {
            CreateError::OutputOutOfSight(plan.output_dir.clone())
        }
        500.. => EngineError::Refused { status, message }.into(),
        _ => CreateError::Refused(message),
    }
}

/// What the answer to a stop or kill says: not running (409) and not there (404) are no errors.
fn ended(answer: Result<(), BollardError>) -> Result<Stopped, EngineError> {
    match answer {
        Ok(()) => Ok(Stopped::ByUs),
        Err(BollardError::DockerResponseServerError {
            status_code: 404 | 409,
            ..
        }) => Ok(Stopped::Already),
        Err(error) => Err(EngineError::from_bollard(error)),
    }
}

/// From the engine's words, of a container that is asked to end with this signal.
pub(crate) fn state_of(
    state: bollard::models::ContainerState,
    stop_signal: Option<&str>,
) -> ContainerState {
    let started_at = state.started_at.as_deref().and_then(rfc3339::wall);
    let finished_at = state.finished_at.as_deref().and_then(rfc3339::wall);
    // The two come from two processes, and the engine notes the start when it has heard of it:
    // for a quick command that is after its end.
    let started_at = match (started_at, finished_at) {
        (Some(started), Some(finished)) if !state.running.unwrap_or(false) => {
            Some(started.min(finished))
        }
        (started, _) => started,
    };
    let running = state.running.unwrap_or(false);
    // A container whose start failed is "created" with a code, and has no end.
    let began = started_at.is_some() && state.status != Some(ContainerStateStatusEnum::CREATED);
    let end = (!running && began).then(|| RawEnd {
        exit_code: state.exit_code.unwrap_or(-1),
        oom_killed: state.oom_killed.unwrap_or(false),
        error: state.error.unwrap_or_default(),
        started_at,
        finished_at,
        stop_signal: stop_signal.map_or(SIGTERM, signal_number),
        removing: state.status == Some(ContainerStateStatusEnum::REMOVING),
    });
    ContainerState {
        running,
        started_at,
        end,
    }
}

/// The number of a signal in the engine's words, such as `SIGINT` or `2`. One that is not known here
/// counts as the usual one.
fn signal_number(text: &str) -> i64 {
    let signal = text.parse::<cloudai_model::container::process::StopSignal>();
    signal.map_or(SIGTERM, |signal| i64::from(signal.number()))
}

/// `None` for a container whose labels are not all there: not made by us.
pub(crate) fn held_container(summary: bollard::models::ContainerSummary) -> Option<HeldContainer> {
    let attempt = labelled_attempt(&summary.labels?)?;
    let state = match summary.state? {
        ContainerSummaryStateEnum::CREATED => HeldState::Created,
        ContainerSummaryStateEnum::RUNNING
        | ContainerSummaryStateEnum::PAUSED
        | ContainerSummaryStateEnum::RESTARTING => HeldState::Running,
        _ => HeldState::Ended,
    };
    Some(HeldContainer {
        id: ContainerId(summary.id?),
        attempt,
        state,
    })
}
