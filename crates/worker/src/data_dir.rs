//! The folder that must survive a restart, held by one worker process at a time.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use cloudai_model::{ClusterId, IdError};
use rustix::fs::{FlockOperation, flock};

/// Holds the cluster id of old masters.
const OLD_CLUSTER: &str = "cluster-of-old-masters";

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
    /// A file is not as this program writes it.
    #[error("{} is not valid: {source}", path.display())]
    Malformed {
        path: PathBuf,
        #[source]
        source: IdError,
    },
    /// Another process has it.
    #[error("data directory {} is in use by another worker{}; expected a folder of its own for \
             each (-data-dir)", path.display(), Process(*pid))]
    Held { path: PathBuf, pid: Option<u32> },
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

    /// The cluster that containers of an old master are labelled with, which doesn't name its own:
    /// made with `fresh` at the first start, and kept for as long as this folder is.
    ///
    /// It belongs to this folder and not to the master's address, which may change: what it labels
    /// is known by the spool, and nothing else could take it up again.
    pub(crate) fn old_cluster(&self, fresh: u64) -> Result<ClusterId, DataDirError> {
        let path = self.path.join(OLD_CLUSTER);
        let failed = |source| DataDirError::Io {
            path: path.clone(),
            source,
        };
        let kept = match fs::read_to_string(&path) {
            Ok(kept) => kept,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let made = format!("old-{fresh:016x}");
                let whole = path.with_extension("new");
                let mut file = File::create(&whole).map_err(failed)?;
                file.write_all(made.as_bytes()).map_err(failed)?;
                file.sync_all().map_err(failed)?;
                fs::rename(&whole, &path).map_err(failed)?;
                File::open(&self.path)
                    .and_then(|folder| folder.sync_all())
                    .map_err(failed)?;
                made
            }
            Err(error) => return Err(failed(error)),
        };
        kept.trim()
            .parse()
            .map_err(|source| DataDirError::Malformed { path, source })
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
        drop(held);
        DataDir::hold(&path).unwrap();
    }

    #[test]
    fn the_cluster_of_old_masters_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let held = DataDir::hold(folder.path()).unwrap();
        let made = held.old_cluster(7).unwrap();
        assert_eq!(made.to_string(), "old-0000000000000007");
        assert_eq!(held.old_cluster(8).unwrap(), made);
        fs::write(folder.path().join(OLD_CLUSTER), "no id!").unwrap();
        let error = held.old_cluster(9).unwrap_err().to_string();
        assert!(error.contains(OLD_CLUSTER), "{error}");
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
