//! The ring in its file of the data directory: whole after every crash, and nobody else's to read.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use cloudai_model::Wall;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::ring::{KeyOrigin, KeyRing, RingError, SHORTEST_SECRET, SigningKey, kid_of};
use crate::secret::{NoRandomness, Secret, random};

const NAME: &str = "token-keys.json";
const VERSION: u32 = 1;
/// A ring of a few keys is some hundred bytes.
const LONGEST_BYTES: u64 = 1024 * 1024;

/// Why there is no ring.
#[derive(Debug, thiserror::Error)]
pub enum RingFileError {
    /// It can't be read or written.
    #[error("the tokens' keys in {path} can't be read or written")]
    Io {
        /// Where they are.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others than the owner may look at it, or change it.
    #[error(
        "the tokens' keys in {path} are open to others (mode {mode:04o}): expected 0600; do \
         `chmod 600 {path}`, and remove the file first if somebody may have seen it: then all log in anew"
    )]
    OpenToOthers {
        /// Where they are.
        path: PathBuf,
        /// The mode that it has.
        mode: u32,
    },
    /// It isn't what was written there.
    #[error(
        "{path} holds no keys of ours ({why}): restore it, or remove it: then keys are made anew and all \
         log in anew"
    )]
    Damaged {
        /// Where it is.
        path: PathBuf,
        /// What is wrong, without its content.
        why: &'static str,
    },
    /// The settings don't go with it.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// No key can be made.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

/// The ring of one data directory.
#[derive(Debug, Clone)]
pub struct RingFile {
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredRing {
    version: u32,
    /// The one that signs first.
    keys: Vec<StoredKey>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredKey {
    kid: String,
    /// In hex.
    secret: Zeroizing<String>,
    from_settings: bool,
    created_at_ms: i64,
    longest_life_s: u64,
    retired_until_ms: Option<i64>,
}

impl RingFile {
    /// The ring in this data directory, which must be there.
    #[must_use]
    pub fn within(data_dir: &Path) -> Self {
        let path = data_dir.join(NAME);
        Self { path }
    }

    /// Reads the ring, or makes one, and brings it in line with the settings: see
    /// [`KeyRing::at_start`]. What has changed is on the disk before it returns.
    ///
    /// # Errors
    /// See [`RingFileError`].
    pub fn open(
        &self,
        jwt_secret: Option<&Secret>,
        token_lifetime: Duration,
        now: Wall,
    ) -> Result<KeyRing, RingFileError> {
        let kept = self.read()?;
        let secret = jwt_secret.map(|secret| secret.expose().as_bytes());
        let ring = KeyRing::at_start(kept.clone(), secret, token_lifetime, random()?, now)?;
        if kept.as_ref() != Some(&ring) {
            self.write(&ring)?;
        }
        Ok(ring)
    }

    /// Puts a ring in place of what is there.
    ///
    /// # Errors
    /// If it can't be written; then what was there is there still. That a power cut may bring that back,
    /// because the folder can't be synced, is a warning alone: the next start reads the new one.
    pub fn write(&self, ring: &KeyRing) -> Result<(), RingFileError> {
        let keys = std::iter::once(&ring.current).chain(&ring.retired);
        let stored = StoredRing {
            version: VERSION,
            keys: keys.map(StoredKey::of).collect(),
        };
        let text = serde_json::to_vec_pretty(&stored).map(Zeroizing::new);
        let text = text.map_err(|error| self.io(error.into()))?;
        self.replace(&text).map_err(|error| self.io(error))
    }

    fn replace(&self, text: &[u8]) -> io::Result<()> {
        let fresh = self.path.with_extension("new");
        // One that a crash left could have another mode.
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&fresh)?;
        let written = file.write_all(text).and_then(|()| file.sync_all());
        if written.is_err() {
            // On a full disk it would take the room of the next try.
            let _ = fs::remove_file(&fresh).is_ok();
        }
        written?;
        fs::rename(&fresh, &self.path)?;
        let synced = self.path.parent().map_or(Ok(()), |folder| {
            File::open(folder).and_then(|folder| folder.sync_all())
        });
        if let Err(error) = synced {
            tracing::warn!(
                path = ?self.path,
                %error,
                "the tokens' keys are in place, and the system can't say that they stay after a power cut"
            );
        }
        Ok(())
    }

    /// The ring as it was kept; `None` if none was.
    fn read(&self) -> Result<Option<KeyRing>, RingFileError> {
        let opened = OpenOptions::new()
            .read(true)
            // What a link leads to, somebody else may have chosen; a FIFO would hold the start up.
            .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
            .open(&self.path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.io(error)),
        };
        let about = file.metadata().map_err(|error| self.io(error))?;
        if !about.is_file() || about.len() > LONGEST_BYTES {
            return Err(self.damaged("it is no file of that size"));
        }
        let mode = about.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            let path = self.path.clone();
            return Err(RingFileError::OpenToOthers { path, mode });
        }
        let mut text = Zeroizing::new(Vec::new());
        let read = file.take(LONGEST_BYTES).read_to_end(&mut text);
        read.map_err(|error| self.io(error))?;
        let stored: StoredRing =
            serde_json::from_slice(&text).map_err(|_| self.damaged("it can't be read as JSON"))?;
        if stored.version != VERSION {
            return Err(self.damaged("it is of another version"));
        }
        let keys = stored.keys.into_iter().map(StoredKey::back);
        let keys: Option<Vec<SigningKey>> = keys.collect();
        let mut keys = keys
            .ok_or_else(|| self.damaged("a key is broken"))?
            .into_iter();
        let current = keys.next().filter(|key| key.retired_until.is_none());
        let current = current.ok_or_else(|| self.damaged("no key signs"))?;
        let retired: Vec<SigningKey> = keys.collect();
        if retired.iter().any(|key| key.retired_until.is_none()) {
            return Err(self.damaged("two keys sign"));
        }
        Ok(Some(KeyRing { current, retired }))
    }

    fn io(&self, source: io::Error) -> RingFileError {
        let path = self.path.clone();
        RingFileError::Io { path, source }
    }

    fn damaged(&self, why: &'static str) -> RingFileError {
        let path = self.path.clone();
        RingFileError::Damaged { path, why }
    }
}

impl StoredKey {
    fn of(key: &SigningKey) -> Self {
        Self {
            kid: key.kid.clone(),
            secret: Zeroizing::new(hex::encode(key.secret.as_slice())),
            from_settings: key.origin == KeyOrigin::Settings,
            created_at_ms: key.created_at.0,
            longest_life_s: key.longest_life.as_secs(),
            retired_until_ms: key.retired_until.map(|until| until.0),
        }
    }

    fn back(self) -> Option<SigningKey> {
        let secret = Zeroizing::new(hex::decode(self.secret.as_bytes()).ok()?);
        // A secret that was changed has another name.
        if secret.len() < SHORTEST_SECRET || kid_of(&secret) != self.kid {
            return None;
        }
        Some(SigningKey {
            kid: self.kid,
            secret,
            origin: if self.from_settings {
                KeyOrigin::Settings
            } else {
                KeyOrigin::Made
            },
            created_at: Wall(self.created_at_ms),
            longest_life: Duration::from_secs(self.longest_life_s),
            retired_until: self.retired_until_ms.map(Wall),
        })
    }
}

#[cfg(test)]
#[path = "ring_file_tests.rs"]
mod tests;
