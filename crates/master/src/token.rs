//! Worker tokens: each follows from the cluster's secret and the worker's registration.
//!
//! So the store holds no token, the master can always say a worker's token again, and a worker
//! that is unregistered and registered anew gets another one.

use std::{
    fs, io,
    io::{Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use cloudai_model::WorkerId;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

const SECRET_LEN: usize = 32;

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It can't be read or made.
    #[error("the worker token secret {path} can't be read or made")]
    Io {
        /// Where it lies.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not a secret of ours.
    #[error(
        "the worker token secret {path} holds {len} bytes: expected {SECRET_LEN}; \
         restore it, or remove it and register every worker anew"
    )]
    Length {
        /// Where it lies.
        path: PathBuf,
        /// How long it is.
        len: usize,
    },
}

/// Makes and checks worker tokens.
#[derive(Clone)]
pub struct Tokens {
    secret: Arc<[u8; SECRET_LEN]>,
}

impl Tokens {
    /// Reads the secret from the data directory, or makes it there with mode 0600.
    ///
    /// # Errors
    /// If it can't be read or made, or isn't one.
    pub fn open(data_dir: &Path) -> Result<Self, SecretError> {
        let path = data_dir.join("worker-token.key");
        let io = |source| SecretError::Io {
            path: path.clone(),
            source,
        };
        let mut bytes = Vec::new();
        match fs::File::open(&path) {
            Ok(mut file) => {
                file.read_to_end(&mut bytes).map_err(io)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                bytes = make_secret(&path).map_err(io)?;
            }
            Err(error) => return Err(io(error)),
        }
        let len = bytes.len();
        let secret = bytes
            .try_into()
            .map_err(|_| SecretError::Length { path, len })?;
        Ok(Self {
            secret: Arc::new(secret),
        })
    }

    /// The token of a worker under this registration: 64 hex digits.
    #[must_use]
    pub fn of(&self, worker: &WorkerId, registration: u64) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.as_slice())
            .expect("HMAC takes a key of any length");
        mac.update(b"cloudai worker token\0");
        mac.update(worker.as_str().as_bytes());
        mac.update(b"\0");
        mac.update(&registration.to_le_bytes());
        hex::encode(mac.finalize().into_bytes())
    }

    /// Whether `given` is that token, in a time that doesn't tell how much of it is right.
    #[must_use]
    pub fn matches(&self, given: &str, worker: &WorkerId, registration: u64) -> bool {
        self.of(worker, registration)
            .as_bytes()
            .ct_eq(given.as_bytes())
            .into()
    }
}

/// Written under another name first: a secret cut short by a crash would lock every worker out.
fn make_secret(path: &Path) -> io::Result<Vec<u8>> {
    let mut secret = vec![0; SECRET_LEN];
    getrandom::fill(&mut secret).map_err(|error| io::Error::other(error.to_string()))?;
    let unfinished = path.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)?;
    file.write_all(&secret)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    if let Some(folder) = path.parent() {
        fs::File::open(folder)?.sync_all()?;
    }
    Ok(secret)
}

/// A random number that tells one registration from another; fits a signed 64-bit column.
///
/// # Errors
/// If the system has no randomness.
pub fn random_registration() -> io::Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(u64::from_le_bytes(bytes) >> 1)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_token_outlives_a_restart_and_not_a_new_registration() {
        let folder = tempfile::tempdir().unwrap();
        let worker: WorkerId = "worker-1".parse().unwrap();
        let token = Tokens::open(folder.path()).unwrap().of(&worker, 7);
        let again = Tokens::open(folder.path()).unwrap();
        assert!(again.matches(&token, &worker, 7));
        assert!(!again.matches(&token, &worker, 8));
        assert!(!again.matches(&token, &"worker-2".parse().unwrap(), 7));
        assert!(!again.matches("", &worker, 7));
        let mode = fs::metadata(folder.path().join("worker-token.key"))
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_secret_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("worker-token.key"), b"short").unwrap();
        let error = Tokens::open(folder.path())
            .map(|_| ())
            .unwrap_err()
            .to_string();
        assert!(error.contains("holds 5 bytes: expected 32"), "{error}");
    }
}
