//! Registry credentials from the Docker config file, as `docker login` left them.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use base64::{
    Engine as _,
    engine::{
        DecodePaddingMode,
        general_purpose::{GeneralPurpose, GeneralPurposeConfig},
    },
};
use bollard::{BollardRequest, auth::DockerCredentials};
use cloudai_model::ImageRef;
use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;

use crate::image::registry_of;

/// The name under which Docker keeps the credentials of Docker Hub.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";
/// The user name by which a helper says that its secret is a token.
const TOKEN_USER: &str = "<token>";
/// So much of a helper's complaint is shown, in characters: some end with a trace of their stack.
const MOST_SHOWN: usize = 500;
/// How long a credential helper may take. One that asks a person would never end.
const HELPER_LIMIT: Duration = Duration::from_secs(20);

/// Why credentials that may be there can't be read.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The config file can't be read.
    #[error("Docker config {} could not be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The config file is no Docker config.
    #[error("Docker config {} is not valid; expected JSON as `docker login` writes it", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// An entry's `auth` is not base64 of `user:password`.
    #[error(
        "credentials of {registry} in the Docker config are not valid; log in again (`docker login {registry}`)"
    )]
    Entry {
        /// The registry.
        registry: String,
    },
    /// The helper can't be run.
    #[error(
        "credential helper {helper} could not be run; expected it in PATH, or no mention of it in the Docker config"
    )]
    HelperMissing {
        /// Its program.
        helper: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The helper failed, or its answer isn't one.
    #[error("credential helper {helper} failed for {registry}: {message}")]
    HelperFailed {
        /// Its program.
        helper: String,
        /// The registry asked for.
        registry: String,
        /// What it said.
        message: String,
    },
}

/// What a registry knows a user by.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    server: String,
    secret: Secret,
}

// No `Debug` outside tests: a secret is shown to nobody.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
enum Secret {
    Password { user: String, password: String },
    IdentityToken(String),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the secret: this ends up in logs.
        f.debug_struct("Credentials")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl Credentials {
    /// A user and a password for the registry of `image`.
    #[must_use]
    pub fn password(image: &ImageRef, user: &str, password: &str) -> Self {
        Self {
            server: config_key(registry_of(image)).to_owned(),
            secret: Secret::Password {
                user: user.to_owned(),
                password: password.to_owned(),
            },
        }
    }

    pub(crate) fn to_docker(&self) -> DockerCredentials {
        let mut made = DockerCredentials {
            serveraddress: Some(self.server.clone()),
            ..DockerCredentials::default()
        };
        match &self.secret {
            Secret::Password { user, password } => {
                made.username = Some(user.clone());
                made.password = Some(password.clone());
            }
            Secret::IdentityToken(token) => made.identitytoken = Some(token.clone()),
        }
        made
    }
}

/// Where credentials are looked up. It holds none: the file is read for each question, so that a
/// `docker login` counts at once.
#[derive(Debug, Clone)]
pub struct CredentialStore {
    config: Option<PathBuf>,
    helpers: Option<PathBuf>,
}

impl CredentialStore {
    /// Looks in `config.json` in this folder.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            config: Some(folder.join("config.json")),
            helpers: None,
        }
    }

    /// Looks where the Docker client does, by the values of its environment variables
    /// `DOCKER_CONFIG` (a folder) and `HOME`.
    #[must_use]
    pub fn from_settings(docker_config: Option<&Path>, home: Option<&Path>) -> Self {
        let folder = docker_config
            .filter(|folder| !folder.as_os_str().is_empty())
            .map(Path::to_path_buf)
            .or_else(|| home.map(|home| home.join(".docker")));
        Self {
            config: folder.map(|folder| folder.join("config.json")),
            helpers: None,
        }
    }

    /// Looks for credential helpers in this folder instead of in `PATH`.
    #[must_use]
    pub fn with_helpers_in(mut self, folder: &Path) -> Self {
        self.helpers = Some(folder.to_path_buf());
        self
    }

    /// The credentials for the registry of an image, if there are any.
    ///
    /// # Errors
    /// If there may be some and they can't be read.
    pub async fn for_image(
        &self,
        image: &ImageRef,
    ) -> Result<Option<Credentials>, CredentialError> {
        let Some(path) = &self.config else {
            return Ok(None);
        };
        let text = match tokio::fs::read(path).await {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                let path = path.clone();
                return Err(CredentialError::Read { path, source });
            }
        };
        let config: Config =
            serde_json::from_slice(&text).map_err(|source| CredentialError::Malformed {
                path: path.clone(),
                source,
            })?;
        let registry = registry_of(image);
        match config.helper_for(registry) {
            Some(helper) => self.ask_helper(helper, registry).await,
            None => config.entry_for(registry),
        }
    }

    /// Runs `docker-credential-<name> get`, which takes the registry on stdin and answers in JSON.
    async fn ask_helper(
        &self,
        name: &str,
        registry: &str,
    ) -> Result<Option<Credentials>, CredentialError> {
        let helper = format!("docker-credential-{name}");
        let key = config_key(registry);
        let failed = |message: String| CredentialError::HelperFailed {
            helper: helper.clone(),
            registry: registry.to_owned(),
            message,
        };
        let mut child = tokio::process::Command::new(match &self.helpers {
            Some(folder) => folder.join(&helper),
            None => PathBuf::from(&helper),
        })
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| CredentialError::HelperMissing {
            helper: helper.clone(),
            source,
        })?;
        if let Some(mut stdin) = child.stdin.take() {
            // A helper that doesn't read its input says why by its exit.
            drop(stdin.write_all(key.as_bytes()).await);
        }
        let output = tokio::time::timeout(HELPER_LIMIT, child.wait_with_output())
            .await
            .map_err(|_| failed(format!("no answer within {} s", HELPER_LIMIT.as_secs())))?
            .map_err(|error| failed(error.to_string()))?;
        let secret = if output.status.success() {
            answered(&output.stdout)
        } else {
            failed_with(&output.stdout, &output.stderr)
        };
        Ok(secret.map_err(failed)?.map(|secret| Credentials {
            server: key.to_owned(),
            secret,
        }))
    }
}

/// What a helper that succeeded has said.
fn answered(stdout: &[u8]) -> Result<Option<Secret>, String> {
    let answer: HelperAnswer = serde_json::from_slice(stdout)
        // Not the parser's words: they may quote the secret.
        .map_err(|_| "expected JSON with Username and Secret".to_owned())?;
    if answer.username.is_empty() && answer.secret.is_empty() {
        return Ok(None);
    }
    Ok(Some(if answer.username == TOKEN_USER {
        Secret::IdentityToken(answer.secret)
    } else {
        Secret::Password {
            user: answer.username,
            password: answer.secret,
        }
    }))
}

/// What a helper that failed has said.
fn failed_with(stdout: &[u8], stderr: &[u8]) -> Result<Option<Secret>, String> {
    let said = String::from_utf8_lossy(stdout);
    // The protocol's way to say "none", on stdout with a failing exit.
    if said.contains("credentials not found") {
        return Ok(None);
    }
    let also = String::from_utf8_lossy(stderr);
    Err(shown(&format!("{said} {also}")))
}

/// Words of another program in one line, without what would steer a terminal.
fn shown(words: &str) -> String {
    // Of `ESC [ 3 1 m`, which colours what follows, letters would be left.
    let mut plain = String::with_capacity(words.len());
    let mut rest = words.chars();
    while let Some(character) = rest.next() {
        if character == '\u{1b}' {
            let mut sequence = rest.clone();
            if sequence.next() == Some('[') && sequence.any(|end| matches!(end, '@'..='~')) {
                rest = sequence;
            }
        } else {
            plain.push(if character.is_control() {
                ' '
            } else {
                character
            });
        }
    }
    let line = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MOST_SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// The parts of Docker's `config.json` that are about credentials.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Config {
    auths: BTreeMap<String, Entry>,
    creds_store: String,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

impl Config {
    /// The helper that has the registry's credentials: its own, else the one for all.
    fn helper_for(&self, registry: &str) -> Option<&str> {
        self.cred_helpers
            .iter()
            .find(|(key, _)| host_of(key) == host_of(config_key(registry)))
            .map(|(_, helper)| helper.as_str())
            .or(Some(self.creds_store.as_str()))
            .filter(|helper| !helper.is_empty())
    }

    fn entry_for(&self, registry: &str) -> Result<Option<Credentials>, CredentialError> {
        let key = config_key(registry);
        // Older clients wrote whole URLs; the exact name goes first.
        let entry = self.auths.get(key).or_else(|| {
            self.auths
                .iter()
                .find(|(name, _)| host_of(name) == host_of(key))
                .map(|(_, entry)| entry)
        });
        let secret = match entry {
            None => None,
            Some(entry) => entry.secret().map_err(|Malformed| CredentialError::Entry {
                registry: registry.to_owned(),
            })?,
        };
        Ok(secret.map(|secret| Credentials {
            server: key.to_owned(),
            secret,
        }))
    }
}

/// What a config has itself for a registry; `None` if it is no config.
pub(crate) fn in_config(
    text: &[u8],
    registry: &str,
) -> Option<Result<Option<Credentials>, CredentialError>> {
    let config: Config = serde_json::from_slice(text).ok()?;
    Some(config.entry_for(registry))
}

/// What a helper for a registry says by its exit and its output.
pub(crate) fn of_helper(
    registry: &str,
    (succeeded, stdout, stderr): (bool, &[u8], &[u8]),
) -> Result<Option<Credentials>, CredentialError> {
    let secret = if succeeded {
        answered(stdout)
    } else {
        failed_with(stdout, stderr)
    };
    let secret = secret.map_err(|message| CredentialError::HelperFailed {
        helper: "docker-credential-x".to_owned(),
        registry: registry.to_owned(),
        message,
    })?;
    Ok(secret.map(|secret| Credentials {
        server: config_key(registry).to_owned(),
        secret,
    }))
}

struct Malformed;

impl Entry {
    fn secret(&self) -> Result<Option<Secret>, Malformed> {
        if !self.identitytoken.is_empty() {
            return Ok(Some(Secret::IdentityToken(self.identitytoken.clone())));
        }
        if self.auth.is_empty() {
            // A client with a helper leaves an empty entry behind.
            return Ok((!self.username.is_empty()).then(|| Secret::Password {
                user: self.username.clone(),
                password: self.password.clone(),
            }));
        }
        let bytes = lenient_base64()
            .decode(self.auth.trim())
            .map_err(|_| Malformed)?;
        let text = String::from_utf8(bytes).map_err(|_| Malformed)?;
        let (user, password) = text.split_once(':').ok_or(Malformed)?;
        Ok(Some(Secret::Password {
            user: user.to_owned(),
            // The client cuts trailing NULs, which some tools write.
            password: password.trim_end_matches('\0').to_owned(),
        }))
    }
}

/// Standard base64, padded or not: people write these entries by hand.
fn lenient_base64() -> GeneralPurpose {
    let config =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&base64::alphabet::STANDARD, config)
}

/// The key of a registry in the config file.
fn config_key(registry: &str) -> &str {
    match registry {
        "docker.io" | "index.docker.io" => DOCKER_HUB_KEY,
        other => other,
    }
}

/// The host and port in a key that may be a URL.
fn host_of(key: &str) -> &str {
    let key = key.split_once("://").map_or(key, |(_, rest)| rest);
    let host = key.split_once('/').map_or(key, |(host, _)| host);
    if host == "docker.io" {
        "index.docker.io"
    } else {
        host
    }
}

#[derive(Deserialize)]
struct HelperAnswer {
    #[serde(rename = "Username", default)]
    username: String,
    #[serde(rename = "Secret", default)]
    secret: String,
}

/// Makes the credentials header what engines read. It is base64 of the URL alphabet, but bollard
/// writes the standard one, and engines take a header that they can't read for none at all.
pub(crate) fn url_safe_registry_auth(mut request: BollardRequest) -> BollardRequest {
    if let Some(value) = request.headers_mut().get_mut("X-Registry-Auth") {
        let url_safe: Vec<u8> = value
            .as_bytes()
            .iter()
            .map(|byte| match byte {
                b'+' => b'-',
                b'/' => b'_',
                other => *other,
            })
            .collect();
        if let Ok(made) = url_safe.as_slice().try_into() {
            *value = made;
        }
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(config: &str, image: &str) -> Option<Secret> {
        let config: Config = serde_json::from_str(config).unwrap();
        let image: ImageRef = image.parse().unwrap();
        let found = config.entry_for(registry_of(&image)).ok().unwrap();
        found.map(|credentials| credentials.secret)
    }

    fn password(user: &str, password: &str) -> Option<Secret> {
        Some(Secret::Password {
            user: user.to_owned(),
            password: password.to_owned(),
        })
    }

    #[test]
    fn docker_hub_is_known_by_its_old_address() {
        // "me:secret"
        let config = r#"{"auths": {"https://index.docker.io/v1/": {"auth": "bWU6c2VjcmV0"}}}"#;
        for image in ["alpine", "team/app:1", "docker.io/team/app"] {
            assert_eq!(found(config, image), password("me", "secret"), "{image}");
        }
        assert_eq!(found(config, "quay.io/app"), None);
    }

    #[test]
    fn a_registry_is_found_under_its_name_or_its_url() {
        for key in ["r.example.org:5000", "https://r.example.org:5000/v2/"] {
            let config = format!(r#"{{"auths": {{"{key}": {{"auth": "bWU6czpl"}}}}}}"#);
            assert_eq!(
                found(&config, "r.example.org:5000/app"),
                password("me", "s:e")
            );
            assert_eq!(found(&config, "r.example.org/app"), None, "another port");
        }
    }

    #[test]
    fn a_token_goes_before_a_password_and_an_empty_entry_is_none() {
        let config = r#"{"auths": {
            "a.io": {"auth": "bWU6c2VjcmV0", "identitytoken": "t"}, "b.io": {}
        }, "HttpHeaders": {"X": "y"}}"#;
        assert_eq!(
            found(config, "a.io/x"),
            Some(Secret::IdentityToken("t".to_owned()))
        );
        assert_eq!(found(config, "b.io/x"), None);
    }

    #[test]
    fn an_entry_that_is_no_base64_names_the_registry_and_not_the_secret() {
        let config: Config =
            serde_json::from_str(r#"{"auths": {"a.io": {"auth": "?secret?"}}}"#).unwrap();
        let error = config.entry_for("a.io").unwrap_err().to_string();
        assert!(error.contains("docker login a.io"), "{error}");
        assert!(!error.contains("?secret?"), "{error}");
    }

    #[test]
    fn a_registrys_own_helper_goes_before_the_one_for_all() {
        let config: Config = serde_json::from_str(
            r#"{"credsStore": "all", "credHelpers": {"a.io": "own", "docker.io": "hub"}}"#,
        )
        .unwrap();
        assert_eq!(config.helper_for("a.io"), Some("own"));
        assert_eq!(config.helper_for("docker.io"), Some("hub"));
        assert_eq!(config.helper_for("b.io"), Some("all"));
        assert_eq!(Config::default().helper_for("b.io"), None);
    }

    #[test]
    fn what_a_helper_complains_of_is_one_line_of_a_bounded_length() {
        let said = |stdout: &str, stderr: &str| {
            let said = (false, stdout.as_bytes(), stderr.as_bytes());
            of_helper("a.io", said).unwrap_err().to_string()
        };
        let panic = said(
            "",
            "\u{1b}[31mpanic: no keychain\n\ngoroutine 1 [running]:\n\tmain()",
        );
        let shown = "panic: no keychain goroutine 1 [running]: main()";
        assert!(panic.ends_with(shown), "{panic}");
        assert!(!panic.contains(char::is_control), "{panic:?}");
        let endless = said(&"é".repeat(100_000), "");
        assert!(
            endless.len() < 2000 && endless.ends_with('…'),
            "{} bytes",
            endless.len()
        );
    }

    #[test]
    fn an_answer_that_holds_nothing_is_no_credentials() {
        for answer in [
            "{}",
            r#"{"ServerURL": "a.io", "Username": "", "Secret": ""}"#,
        ] {
            let found = of_helper("a.io", (true, answer.as_bytes(), b"")).unwrap();
            assert_eq!(found, None, "{answer}");
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        let image: ImageRef = "a.io/x".parse().unwrap();
        let shown = format!("{:?}", Credentials::password(&image, "me", "secret"));
        assert!(!shown.contains("secret"), "{shown}");
    }
}
