//! Real pulls, from a registry that the test starts.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod support;

use std::{os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cloudai_engine::{CredentialError, CredentialStore, Credentials, PullError, PullProgress};
use cloudai_model::ImageRef;
use support::{
    LIMIT, engine,
    registry::{PASSWORD, Registry, USER, forget, free_address},
};

async fn pull(
    name: &str,
    credentials: Option<&Credentials>,
) -> Result<Vec<PullProgress>, PullError> {
    let image: ImageRef = name.parse().unwrap();
    let mut seen = Vec::new();
    let engine = engine().await;
    let pulled = engine
        .pull(&image, credentials, LIMIT, |progress| seen.push(progress))
        .await?;
    // What a pull gives is what a look gives.
    assert_eq!(engine.image(&image).await.unwrap(), Some(pulled.clone()));
    let digest = pulled.digest.unwrap();
    assert!(digest.starts_with("sha256:"), "{digest}");
    forget(name).await;
    assert_eq!(engine.image(&image).await.unwrap(), None);
    Ok(seen)
}

#[tokio::test]
async fn an_image_that_is_not_there_is_fetched_with_progress() {
    let registry = Registry::start(false).await;
    let image = registry.with_image("team/app").await;
    let seen = pull(&image, None).await.unwrap();
    let (first, last) = (&seen[0], &seen[seen.len() - 1]);
    assert_eq!((first.layers_done, first.layers_total), (0, 1));
    assert_eq!((last.layers_done, last.layers_total), (1, 1));
}

#[tokio::test]
async fn a_name_or_tag_that_does_not_exist_is_said_to() {
    let registry = Registry::start(false).await;
    let image = registry.with_image("app").await;
    let address = registry.address;
    for name in [
        image.replace(":1", ":2"),
        format!("{address}/other:1"),
        format!("{address}/app"),
    ] {
        let error = pull(&name, None).await.unwrap_err();
        assert!(
            matches!(error, PullError::NotFound { .. }),
            "{name}: {error}"
        );
        assert!(error.to_string().contains("check name and tag"), "{error}");
        assert!(!error.is_transient());
    }
}

#[tokio::test]
async fn a_registry_with_a_password_wants_the_right_one() {
    let registry = Registry::start(true).await;
    let name = registry.with_image("secret/app").await;
    let image: ImageRef = name.parse().unwrap();

    let without = pull(&name, None).await.unwrap_err();
    assert!(matches!(without, PullError::Denied { .. }), "{without}");
    assert!(without.to_string().contains("docker login"), "{without}");

    let wrong = Credentials::password(&image, USER, "wrong");
    let error = pull(&name, Some(&wrong)).await.unwrap_err();
    assert!(matches!(error, PullError::Denied { .. }), "{error}");

    // Given the config that `docker login` writes
    let folder = tempfile::tempdir().unwrap();
    let auth = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let config = format!(
        r#"{{"auths": {{"{}": {{"auth": "{auth}"}}}}}}"#,
        registry.address
    );
    std::fs::write(folder.path().join("config.json"), config).unwrap();
    let store = CredentialStore::in_folder(folder.path());
    let right = store.for_image(&image).await.unwrap().unwrap();
    pull(&name, Some(&right)).await.unwrap();

    // Given a helper that knows it
    let folder = tempfile::tempdir().unwrap();
    let address = registry.address;
    helper(
        folder.path(),
        &format!(
            r#"read -r server; [ "$1 $server" = "get {address}" ] || exit 9
               printf '{{"ServerURL": "%s", "Username": "{USER}", "Secret": "{PASSWORD}"}}' "$server""#
        ),
    );
    let asked = store_with_helper(folder.path()).for_image(&image).await;
    pull(&name, Some(&asked.unwrap().unwrap())).await.unwrap();
}

#[tokio::test]
async fn a_helper_that_has_nothing_is_told_from_one_that_fails() {
    let image: ImageRef = "registry.example.org/app".parse().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = store_with_helper(folder.path());

    let missing = store.for_image(&image).await.unwrap_err();
    assert!(
        matches!(missing, CredentialError::HelperMissing { .. }),
        "{missing}"
    );

    helper(
        folder.path(),
        "echo 'credentials not found in native keychain'; exit 1",
    );
    assert_eq!(store.for_image(&image).await.unwrap(), None);

    helper(folder.path(), "echo 'the keychain is locked' >&2; exit 1");
    let locked = store.for_image(&image).await.unwrap_err().to_string();
    assert!(locked.contains("the keychain is locked"), "{locked}");

    helper(folder.path(), "echo not-json-but-secret");
    let confused = store.for_image(&image).await.unwrap_err().to_string();
    assert!(!confused.contains("secret"), "{confused}");
}

#[tokio::test]
async fn without_a_config_there_are_no_credentials() {
    let folder = tempfile::tempdir().unwrap();
    let image: ImageRef = "registry.example.org/app".parse().unwrap();
    let store = CredentialStore::from_settings(None, Some(folder.path()));
    assert_eq!(store.for_image(&image).await.unwrap(), None);

    std::fs::create_dir(folder.path().join(".docker")).unwrap();
    std::fs::write(folder.path().join(".docker/config.json"), "{").unwrap();
    let error = store.for_image(&image).await.unwrap_err();
    assert!(
        matches!(error, CredentialError::Malformed { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_registry_that_is_away_is_said_to_be() {
    let name = format!("{}/app:1", free_address());
    let error = pull(&name, None).await.unwrap_err();
    assert!(
        matches!(error, PullError::RegistryUnreachable { .. }),
        "{error}"
    );
    assert!(error.is_transient());
}

#[tokio::test]
async fn a_registry_that_never_answers_is_given_up() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let image: ImageRef = format!("{}/app:1", silent.local_addr().unwrap())
        .parse()
        .unwrap();
    let limit = Duration::from_secs(1);
    let error = engine()
        .await
        .pull(&image, None, limit, drop)
        .await
        .unwrap_err();
    assert!(matches!(error, PullError::TimedOut { .. }), "{error}");
    assert!(error.to_string().contains("within 1 s"), "{error}");
}

/// A config that names a helper in the same folder for every registry.
fn store_with_helper(folder: &Path) -> CredentialStore {
    std::fs::write(folder.join("config.json"), r#"{"credsStore": "test"}"#).unwrap();
    CredentialStore::in_folder(folder).with_helpers_in(folder)
}

/// Puts another script in the helper's place.
fn helper(folder: &Path, script: &str) {
    let path = folder.join("docker-credential-test");
    let new = folder.join("new");
    std::fs::write(&new, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(new, path).unwrap();
}
