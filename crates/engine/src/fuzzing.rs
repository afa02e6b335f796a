//! Doors for `crates/fuzzing` to what reads the engine's answers and the Docker config. Nothing else
//! goes through them.

use bollard::{
    container::LogOutput,
    errors::Error as BollardError,
    models::{
        ContainerStatsResponse, ContainerSummary, CreateImageInfo, SystemInfo, SystemVersion,
    },
};
use bytes::Bytes;
use cloudai_model::{AttemptId, ImageRef};
use serde::de::DeserializeOwned;

use crate::{
    ContainerState, CredentialError, Credentials, EngineInfo, LogError, LogPiece, LogPosition,
    PullProgress, Usage, container, credentials, image, logs, pull_error, pull_progress::Layers,
    usage,
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

/// The attempt that a listed container is.
///
/// # Errors
/// If it isn't JSON of that form.
pub fn held_attempt(json: &[u8]) -> Result<Option<AttemptId>, String> {
    let held = from_json::<ContainerSummary>(json).map(container::held_container)?;
    Ok(held.map(|held| held.attempt))
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
