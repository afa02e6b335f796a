//! Doors for `crates/fuzzing` to what reads the engine's answers and the Docker config. Nothing else
//! goes through them.

use bollard::{
    container::LogOutput,
    errors::Error as BollardError,
    models::{
        ContainerStatsResponse, ContainerSummary, CreateImageInfo, EventMessage, SystemInfo,
        SystemVersion, Volume,
    },
};
use bytes::Bytes;
use cloudai_model::{AttemptId, ImageRef};
use serde::de::DeserializeOwned;

use crate::{
    ContainerId, ContainerState, CredentialError, Credentials, EngineInfo, HeldContainer, LogError,
    LogPiece, LogPosition, PullProgress, Usage, container, credentials, image, logs, memory_kill,
    plan, pull_error, pull_progress::Layers, usage,
};

fn from_json<T: DeserializeOwned>(json: &[u8]) -> Result<T, String> {
    serde_json::from_slice(json).map_err(|error| error.to_string())
}

/// How a container stands, from the state in an answer to an inspection.
///
/// # Errors
/// If it isn't JSON of that form.
pub fn container_state(json: &[u8]) -> Result<ContainerState, String> {
    from_json(json).map(|state| container::state_of(state, None))
}

/// What a container uses, from the engine's figures.
///
/// # Errors
/// If it isn't JSON of that form.
pub fn container_usage(json: &[u8]) -> Result<Option<Usage>, String> {
    from_json::<ContainerStatsResponse>(json).map(|stats| usage::usage_of(&stats))
}

/// What a listed container is, if it is one of ours.
///
/// # Errors
/// If it isn't JSON of that form.
pub fn held_container(json: &[u8]) -> Result<Option<HeldContainer>, String> {
    from_json::<ContainerSummary>(json).map(container::held_container)
}

/// The attempt whose files are in a listed volume, if it is one of ours.
///
/// # Errors
/// If it isn't JSON of that form.
pub fn held_volume(json: &[u8]) -> Result<Option<AttemptId>, String> {
    from_json::<Volume>(json).map(|volume| plan::labelled_attempt(&volume.labels))
}

/// Whether one of these events, one a line, tells of the memory kill of a container.
///
/// # Errors
/// If one that comes before isn't JSON of that form.
pub fn memory_kill(events: &[u8], id: &str) -> Result<bool, String> {
    let id = ContainerId::new(id);
    for event in events.split(|byte| *byte == b'\n') {
        if memory_kill::tells_of_kill(&from_json::<EventMessage>(event)?, &id) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Credentials from a helper, and what of them goes to the engine: user, password, token.
pub type FromHelper = (Credentials, [Option<String>; 3]);

/// What a helper's exit and output say of the credentials for the registry of an image.
///
/// # Errors
/// As of [`crate::CredentialStore::for_image`].
pub fn helper_credentials(
    image: &ImageRef,
    said: (bool, &[u8], &[u8]),
) -> Result<Option<FromHelper>, CredentialError> {
    let found = credentials::of_helper(registry(image), said)?;
    Ok(found.map(|found| {
        let sent = found.to_docker();
        (found, [sent.username, sent.password, sent.identitytoken])
    }))
}

/// What an engine tells of itself.
///
/// # Errors
/// If it isn't JSON of that form.
pub fn engine_info(json: &[u8]) -> Result<EngineInfo, String> {
    from_json::<SystemInfo>(json).map(|info| EngineInfo::new(SystemVersion::default(), info))
}

/// How far a pull is after these messages, one a line.
///
/// # Errors
/// If one isn't JSON of that form.
pub fn pull(messages: &[u8]) -> Result<PullProgress, String> {
    let mut layers = Layers::default();
    for message in messages.split(|byte| *byte == b'\n') {
        layers.take(&from_json::<CreateImageInfo>(message)?);
    }
    Ok(layers.progress())
}

/// What a user is told when the engine refuses a pull in these words.
#[must_use]
pub fn pull_refusal(image: &ImageRef, had_credentials: bool, words: &str) -> String {
    let error = BollardError::DockerStreamError {
        error: words.to_owned(),
    };
    pull_error::pull_error(image, had_credentials, error).to_string()
}

/// The digest that is meant of those that an image has.
#[must_use]
pub fn digest(image: &ImageRef, known: Vec<String>) -> Option<String> {
    image::digest_for(image, known)
}

/// The registry whose credentials go with a pull of this image.
#[must_use]
pub fn registry(image: &ImageRef) -> &str {
    image::registry_of(image)
}

/// The credentials in a Docker config for the registry of an image. No helper is asked.
///
/// # Errors
/// As of [`crate::CredentialStore::for_image`]; if it isn't a config at all, `None`.
pub fn config_credentials(
    config: &[u8],
    image: &ImageRef,
) -> Option<Result<Option<Credentials>, CredentialError>> {
    credentials::in_config(config, registry(image))
}

/// Reads messages as those of an engine's log, each of standard output (1), error (2) or of another
/// kind, from a position on.
pub fn log(
    messages: &[(u8, Bytes)],
    loses_newlines: bool,
    from: LogPosition,
) -> (Vec<LogPiece>, Result<(), LogError>) {
    let messages = messages.iter().map(|(kind, message)| {
        let message = message.clone();
        match kind {
            0 => LogOutput::StdIn { message },
            1 => LogOutput::StdOut { message },
            2 => LogOutput::StdErr { message },
            _ => LogOutput::Console { message },
        }
    });
    logs::read_messages(messages.collect(), loses_newlines, from)
}
