//! `/output` as a volume of the engine: for an engine that shares no file system with the worker,
//! and for a worker that may not read what a container's root wrote. What was left in it is
//! fetched with the archive API, as a tar stream.

use std::{collections::HashMap, time::Duration};

use bollard::{
    body_full,
    errors::Error as BollardError,
    models::{ContainerCreateBody, HostConfig, Mount, MountType, MountVolumeOptions},
    query_parameters::{
        CreateContainerOptionsBuilder, DownloadFromContainerOptionsBuilder,
        ListVolumesOptionsBuilder, RemoveVolumeOptionsBuilder, UploadToContainerOptionsBuilder,
    },
};
use bytes::Bytes;
use cloudai_model::{AttemptId, ClusterId, WorkerId};
use futures_util::{Stream, StreamExt as _, stream};
use tokio::time::timeout;

use crate::{
    CreateError, Engine, EngineError,
    container::create_error,
    plan::{ContainerId, ContainerPlan, OUTPUT, labelled_attempt, labels},
};

/// How long nothing may come of a stream before its connection counts as dead.
const STALL_LIMIT: Duration = Duration::from_secs(60);
/// Whoever the container runs as may write there.
const OPEN_TO_ALL: u32 = 0o777;

impl ContainerPlan {
    /// The mount that makes the engine make the volume, with the container's own labels.
    pub(crate) fn output_volume(&self) -> Mount {
        let labels = self.labels().into_iter();
        Mount {
            typ: Some(MountType::VOLUME),
            source: Some(self.name()),
            target: Some(OUTPUT.to_owned()),
            volume_options: Some(MountVolumeOptions {
                labels: Some(
                    labels
                        .map(|(name, value)| (name.to_owned(), value))
                        .collect(),
                ),
                ..MountVolumeOptions::default()
            }),
            ..Mount::default()
        }
    }
}

/// The name of an attempt's container, and of its volume.
pub(crate) fn name_of(cluster: &ClusterId, attempt: &AttemptId) -> String {
    format!("cloudai-{cluster}-{attempt}")
}

fn opener_of(cluster: &ClusterId, attempt: &AttemptId) -> String {
    format!("{}-open", name_of(cluster, attempt))
}

impl Engine {
    /// Makes the volume of a plan whose container could not be used for it: the engine writes into
    /// no container with a read-only root, not even before its start. What comes of it is the same
    /// as of [`open_output`](Self::open_output).
    ///
    /// # Errors
    /// If the engine can't.
    pub async fn make_open_output(&self, plan: &ContainerPlan) -> Result<(), CreateError> {
        self.remove_opener(&plan.cluster, &plan.attempt).await?;
        let name = opener_of(&plan.cluster, &plan.attempt);
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        let body = ContainerCreateBody {
            image: Some(plan.image.as_str().to_owned()),
            // It never runs; but an image may have no command of its own.
            entrypoint: Some(vec![OUTPUT.to_owned()]),
            host_config: Some(HostConfig {
                mounts: Some(vec![plan.output_volume()]),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let made = self.docker.create_container(Some(options), body).await;
        let made = made.map_err(|error| create_error(error, plan))?;
        let opened = self.open_output(&ContainerId(made.id)).await;
        self.remove_opener(&plan.cluster, &plan.attempt).await?;
        Ok(opened?)
    }

    /// The container of [`make_open_output`](Self::make_open_output) has no labels: it is told by
    /// its name, and goes at the latest with its volume.
    async fn remove_opener(
        &self,
        cluster: &ClusterId,
        attempt: &AttemptId,
    ) -> Result<(), EngineError> {
        self.remove(&ContainerId(opener_of(cluster, attempt))).await
    }

    /// Lets whichever user a container runs as write to its volume, whose folder is root's at
    /// first. Only for a container that has not been started.
    ///
    /// # Errors
    /// If the engine can't, as with a root file system that is read-only.
    pub async fn open_output(&self, id: &ContainerId) -> Result<(), EngineError> {
        let options = UploadToContainerOptionsBuilder::new().path("/").build();
        let archive = body_full(output_folder().into());
        self.docker
            .upload_to_container(id.as_str(), Some(options), archive)
            .await
            .map_err(EngineError::from_bollard)
    }

    /// What a container has in `/output`, as a tar stream of that folder. Works while it runs and
    /// after its end; it can't be inspected or stopped while the stream is read. The stream ends
    /// early with an error.
    pub fn output(
        &self,
        id: &ContainerId,
    ) -> impl Stream<Item = Result<Bytes, EngineError>> + Send + use<> {
        let options = DownloadFromContainerOptionsBuilder::new()
            .path(OUTPUT)
            .build();
        let pieces = self
            .docker
            .download_from_container(id.as_str(), Some(options));
        stream::unfold(Some(Box::pin(pieces)), async |pieces| {
            let mut pieces = pieces?;
            match timeout(STALL_LIMIT, pieces.next()).await {
                Ok(Some(Ok(piece))) => Some((Ok(piece), Some(pieces))),
                Ok(Some(Err(error))) => Some((Err(EngineError::from_bollard(error)), None)),
                Ok(None) => None,
                Err(_) => Some((Err(EngineError::stood_still()), None)),
            }
        })
    }

    /// About how much a container has in `/output`, in bytes, holes included; read no further than
    /// `most`. The engine has no cheaper way to say so of one volume.
    ///
    /// # Errors
    /// If the container isn't there, or the engine isn't.
    pub async fn output_bytes(&self, id: &ContainerId, most: u64) -> Result<u64, EngineError> {
        let mut pieces = std::pin::pin!(self.output(id));
        let mut bytes = 0;
        while let Some(piece) = pieces.next().await {
            bytes += piece?.len() as u64;
            if bytes > most {
                break;
            }
        }
        Ok(bytes)
    }

    /// Removes the volume of an attempt, whose container is gone; whether there was one.
    ///
    /// # Errors
    /// If the engine doesn't answer or can't.
    pub async fn remove_volume(
        &self,
        cluster: &ClusterId,
        attempt: &AttemptId,
    ) -> Result<bool, EngineError> {
        self.remove_opener(cluster, attempt).await?;
        let options = RemoveVolumeOptionsBuilder::new().build();
        let name = name_of(cluster, attempt);
        match self.docker.remove_volume(&name, Some(options)).await {
            Ok(()) => Ok(true),
            Err(BollardError::DockerResponseServerError {
                status_code: 404, ..
            }) => Ok(false),
            Err(error) => Err(EngineError::from_bollard(error)),
        }
    }

    /// The attempts of this worker of this cluster that have a volume on the engine.
    ///
    /// # Errors
    /// If the engine doesn't answer.
    pub async fn volumes(
        &self,
        cluster: &ClusterId,
        worker: &WorkerId,
    ) -> Result<Vec<AttemptId>, EngineError> {
        let wanted = vec![
            format!("{}={cluster}", labels::CLUSTER),
            format!("{}={worker}", labels::WORKER),
        ];
        let options = ListVolumesOptionsBuilder::new()
            .filters(&HashMap::from([("label", wanted)]))
            .build();
        let found = self.docker.list_volumes(Some(options)).await;
        let found = found.map_err(EngineError::from_bollard)?.volumes;
        let found = found.unwrap_or_default().into_iter();
        let attempts = found.filter_map(|volume| labelled_attempt(&volume.labels));
        Ok(attempts.collect())
    }
}

/// A tar archive of the folder alone, with the rights that it shall have.
fn output_folder() -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_mode(OPEN_TO_ALL);
    header.set_size(0);
    let mut archive = tar::Builder::new(Vec::new());
    archive
        .append_data(
            &mut header,
            OUTPUT.trim_start_matches('/'),
            std::io::empty(),
        )
        .and_then(|()| archive.into_inner())
        .expect("writing to memory succeeds, and the name is short")
}
