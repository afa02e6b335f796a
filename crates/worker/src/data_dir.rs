//! The folder that must survive a restart, held by one worker process at a time.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use crate::spool::{SpoolError, write_whole};

/// Why the folder can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataDirError {
    /// The file system refuses it.
    #[error("data directory {} can't be used: {source}; expected a folder that this user may \
             write to (-data-dir)", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Another process has it.
    #[error("data directory {} is in use by another worker{}; expected a folder of its own for \
             each (-data-dir)", path.display(), Process(*pid))]
    Held { path: PathBuf, pid: Option<u32> },
    /// A file in it can't be written.
    #[error(transparent)]
    Write(#[from] SpoolError),
}

struct Process(Option<u32>);

impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(pid) => write!(f, " (process {pid})"),
            None => Ok(()),
        }
    }
}

/// Holds the folder until it is dropped, or the process ends.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Takes hold of the folder, which is made if it isn't there.
    pub(crate) fn hold(path: &Path) -> Result<Self, DataDirError> {
        let failed = |source| DataDirError::Io {
            path: path.to_owned(),
            source,
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(failed)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join("lock"))
            .map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut pid = String::new();
                // Without it the message is merely shorter.
                let _ = file.read_to_string(&mut pid).is_ok();
                return Err(DataDirError::Held {
                    path: path.to_owned(),
                    pid: pid.trim().parse().ok(),
                });
            }
            Err(error) => return Err(failed(error.into())),
        }
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| write!(file, "{}", std::process::id()));
        written.map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            _lock: file,
        })
    }

    /// What tells this folder from others, for as long as it exists: `fresh`, if it has no identity
    /// yet.
    pub(crate) fn identity(&self, fresh: &str) -> Result<String, DataDirError> {
        let path = self.path.join("identity");
        let known = match fs::read_to_string(&path) {
            Ok(text) => text.trim().to_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(DataDirError::Io { path, source }),
        };
        if !known.is_empty() {
            return Ok(known);
        }
        // What is labelled with it must be found again.
        write_whole(&self.path, "identity", fresh.as_bytes(), true)?;
        Ok(fresh.to_owned())
    }

    /// Where the spool is.
    pub(crate) fn spool(&self) -> PathBuf {
        self.path.join("spool")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_held_by_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let held = DataDir::hold(&path).unwrap();
        let error = DataDir::hold(&path).unwrap_err().to_string();
        assert!(error.contains("in use by another worker"), "{error}");
        let pid = std::process::id().to_string();
        assert!(error.contains(&pid), "{error}");
        let identity = held.identity("5eed").unwrap();
        drop(held);
        let again = DataDir::hold(&path).unwrap();
        assert_eq!(again.identity("other").unwrap(), identity);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "").unwrap();
        let error = DataDir::hold(&path).unwrap_err().to_string();
        assert!(error.contains("expected a folder"), "{error}");
    }
}
