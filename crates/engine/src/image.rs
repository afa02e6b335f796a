//! Images: whether one is there, and fetching it.

use std::{collections::BTreeSet, fmt, time::Duration};

use bollard::{
    auth::DockerCredentials,
    errors::Error as BollardError,
    query_parameters::{
        CreateImageOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptionsBuilder,
    },
};
use cloudai_model::ImageRef;
use futures_util::StreamExt as _;

use crate::{
    Engine, EngineError,
    credentials::Credentials,
    pull_error::{PullError, pull_error},
    pull_progress::{Layers, PullProgress},
};

/// The engine's id of an image, `sha256:` and 64 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageId(String);

impl ImageId {
    /// From an id that the engine gave earlier.
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// An image that the engine has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageInfo {
    /// Its id.
    pub id: ImageId,
    /// Digest of its manifest in the registry it came from, `sha256:` and 64 hex digits; `None`
    /// for one that was built or loaded here.
    pub digest: Option<String>,
}

/// An image as the engine lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedImage {
    /// Its id.
    pub id: ImageId,
    /// Bytes of all its layers; those that it shares with others count for each.
    pub size_bytes: u64,
}

/// What came of removing an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageRemoval {
    /// The engine doesn't know the name any more.
    Removed,
    /// A container uses it.
    InUse,
}

impl Engine {
    /// All images that have a name or stand under no other.
    ///
    /// # Errors
    /// If the engine doesn't answer.
    pub async fn images(&self) -> Result<Vec<ListedImage>, EngineError> {
        let options = ListImagesOptionsBuilder::new().build();
        let found = self.docker.list_images(Some(options)).await;
        let found = found.map_err(EngineError::from_bollard)?;
        let listed = found.into_iter().map(|image| ListedImage {
            id: ImageId(image.id),
            size_bytes: image.size.try_into().unwrap_or(0),
        });
        Ok(listed.collect())
    }

    /// The images of all containers that the engine has, whoever made them, ended ones included.
    ///
    /// # Errors
    /// If the engine doesn't answer.
    pub async fn images_in_use(&self) -> Result<BTreeSet<ImageId>, EngineError> {
        let found = self.with_labels(Vec::new()).await?;
        let ids = found.into_iter().filter_map(|container| container.image_id);
        Ok(ids.map(ImageId).collect())
    }

    /// Takes the name from an image, and deletes the image if that was its last; never by force.
    ///
    /// # Errors
    /// If the engine doesn't answer or can't. A name that is gone is removed.
    pub async fn remove_image(&self, image: &ImageRef) -> Result<ImageRemoval, EngineError> {
        let options = RemoveImageOptionsBuilder::new().build();
        let name = full_name(image);
        let answer = self.docker.remove_image(&name, Some(options), None).await;
        match answer {
            Ok(_)
            | Err(BollardError::DockerResponseServerError {
                status_code: 404, ..
            }) => Ok(ImageRemoval::Removed),
            Err(BollardError::DockerResponseServerError {
                status_code: 409, ..
            }) => Ok(ImageRemoval::InUse),
            Err(error) => Err(EngineError::from_bollard(error)),
        }
    }

    /// The image of this name, if the engine has it.
    ///
    /// # Errors
    /// If the engine doesn't answer.
    pub async fn image(&self, image: &ImageRef) -> Result<Option<ImageInfo>, EngineError> {
        match self.docker.inspect_image(&full_name(image)).await {
            Ok(found) => {
                let id = found
                    .id
                    .ok_or_else(|| EngineError::Unexpected("the image has no id".to_owned()))?;
                Ok(Some(ImageInfo {
                    id: ImageId(id),
                    digest: digest_for(image, found.repo_digests.unwrap_or_default()),
                }))
            }
            Err(BollardError::DockerResponseServerError {
                status_code: 404, ..
            }) => Ok(None),
            Err(error) => Err(EngineError::from_bollard(error)),
        }
    }

    /// Fetches an image from its registry and calls `progress` whenever a layer got further,
    /// which may be often. A pull that is dropped or times out goes no further.
    ///
    /// # Errors
    /// In words for the user who named the image.
    pub async fn pull(
        &self,
        image: &ImageRef,
        credentials: Option<&Credentials>,
        timeout: Duration,
        progress: impl FnMut(PullProgress),
    ) -> Result<ImageInfo, PullError> {
        let had_credentials = credentials.is_some();
        let credentials = credentials.map(Credentials::to_docker);
        tokio::time::timeout(timeout, self.fetch(image, credentials, timeout, progress))
            .await
            .map_err(|_| PullError::TimedOut {
                image: image.clone(),
                seconds: timeout.as_secs(),
            })?
            .map_err(|error| pull_error(image, had_credentials, error))?;
        let found = self.image(image).await?;
        found.ok_or_else(|| PullError::Failed {
            image: image.clone(),
            message: "the engine pulled it and does not have it".to_owned(),
        })
    }

    async fn fetch(
        &self,
        image: &ImageRef,
        credentials: Option<DockerCredentials>,
        timeout: Duration,
        mut progress: impl FnMut(PullProgress),
    ) -> Result<(), BollardError> {
        // The engine sends nothing, not even headers, until the registry has answered.
        let docker = self
            .docker
            .clone()
            .with_timeout(timeout + Duration::from_secs(1));
        let name = full_name(image);
        // Without a tag the engine would fetch every tag; a digest is part of the name.
        let options = CreateImageOptionsBuilder::new().from_image(&name).build();
        let mut layers = Layers::default();
        let mut answers = docker.create_image(Some(options), None, credentials);
        while let Some(answer) = answers.next().await {
            if layers.take(&answer?) {
                progress(layers.progress());
            }
        }
        Ok(())
    }
}

/// The name with the tag that is meant where none is given.
fn full_name(image: &ImageRef) -> String {
    let text = image.as_str();
    let last = text.rsplit('/').next().unwrap_or(text);
    if last.contains([':', '@']) {
        text.to_owned()
    } else {
        format!("{text}:latest")
    }
}

/// The registry that a name is fetched from, as a host with an optional port.
#[must_use]
pub(crate) fn registry_of(image: &ImageRef) -> &str {
    image.registry()
}

/// The digest under which the image's own repository knows it; of any, if it has none.
pub(crate) fn digest_for(image: &ImageRef, repo_digests: Vec<String>) -> Option<String> {
    let repository = repository_of(image.as_str());
    let digests = || repo_digests.iter().filter_map(|text| text.split_once('@'));
    digests()
        .find(|(of, _)| repository_of(of) == repository)
        .or_else(|| digests().next())
        .map(|(_, digest)| digest.to_owned())
}

/// A name without registry defaults, tag and digest, so that spellings of one repository compare.
fn repository_of(name: &str) -> &str {
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    let name = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    };
    let name = name.strip_prefix("index.").unwrap_or(name);
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    name.strip_prefix("library/").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(text: &str) -> ImageRef {
        text.parse().unwrap()
    }

    #[test]
    fn a_name_without_a_tag_means_latest() {
        for (text, full) in [
            ("alpine", "alpine:latest"),
            ("alpine:3.20", "alpine:3.20"),
            ("localhost:5000/a/b", "localhost:5000/a/b:latest"),
            ("localhost:5000/a/b:1", "localhost:5000/a/b:1"),
        ] {
            assert_eq!(full_name(&image(text)), full);
        }
    }

    #[test]
    fn the_registry_is_the_first_part_if_that_can_be_a_host() {
        for (text, registry) in [
            ("alpine", "docker.io"),
            ("team/app", "docker.io"),
            ("docker.io/team/app", "docker.io"),
            ("localhost/app", "localhost"),
            ("registry.example.org/app:1", "registry.example.org"),
            ("127.0.0.1:5000/app", "127.0.0.1:5000"),
            // Credentials of Docker Hub are not for a host of the worker's own network.
            ("INTRANET/app", "INTRANET"),
        ] {
            assert_eq!(registry_of(&image(text)), registry, "{text}");
        }
    }

    #[test]
    fn an_image_under_two_names_has_the_digest_of_the_name_that_was_asked_for() {
        let digests = || {
            vec![
                "other.org/app@sha256:1".to_owned(),
                "alpine@sha256:2".to_owned(),
            ]
        };
        for (text, digest) in [
            ("docker.io/library/alpine:3", "sha256:2"),
            ("other.org/app", "sha256:1"),
            ("retagged", "sha256:1"),
        ] {
            let found = digest_for(&image(text), digests());
            assert_eq!(found.as_deref(), Some(digest), "{text}");
        }
        assert_eq!(digest_for(&image("local"), Vec::new()), None);
    }
}
