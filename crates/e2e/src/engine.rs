//! The real engine, as a test looks at it.

use std::process::Command;

use cloudai_engine::{Engine, HeldContainer};
use cloudai_model::{ClusterId, WorkerId};

use crate::relay::ENGINE;

/// The image of `test_task`.
pub const TEST_TASK: &str = "cloudai/test-task";
/// The same with a shell.
pub const TEST_SHELL: &str = "cloudai/test-shell";

/// The engine that the workers use.
///
/// # Panics
/// If none answers, or the test images are not there; names the command that sets them up.
pub async fn engine() -> Engine {
    let host = std::env::var("DOCKER_HOST").ok();
    engine_at(host.as_deref()).await
}

/// The machine's own engine, whatever `DOCKER_HOST` says.
///
/// # Panics
/// As [`engine`].
pub async fn machines_engine() -> Engine {
    engine_at(Some(&format!("unix://{ENGINE}"))).await
}

/// The `docker` of the machine's own engine, whatever `DOCKER_HOST` and contexts say.
#[must_use]
pub fn docker() -> Command {
    let mut command = Command::new("docker");
    command.args(["--host", &format!("unix://{ENGINE}")]);
    command
}

async fn engine_at(host: Option<&str>) -> Engine {
    let engine = Engine::connect(host).await;
    let engine = engine.unwrap_or_else(|error| panic!("{error}: run scripts/engine-up"));
    for image in [TEST_TASK, TEST_SHELL] {
        let found = engine.image(&image.parse().unwrap()).await;
        let there = found.is_ok_and(|image| image.is_some());
        assert!(
            there,
            "image {image} is not there: run scripts/build-images"
        );
    }
    engine
}

/// The containers of a cluster on one of its workers.
///
/// # Panics
/// If the engine doesn't answer.
pub async fn containers(engine: &Engine, cluster: &ClusterId, worker: &str) -> Vec<HeldContainer> {
    let worker: WorkerId = worker.parse().unwrap();
    engine
        .list(cluster, &worker)
        .await
        .expect("the engine answers")
}
