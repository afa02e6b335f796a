//! The master's side: a task's files while they arrive.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Seek as _, SeekFrom, Write},
    path::PathBuf,
};

use cloudai_model::{AttemptId, UserName, record::FileRecord};
use rustix::fs::Mode;
use sha2::{Digest, Sha256};

use super::{
    Checksum, StoreError, ZEROS, folder::Folder, path::RelativePath, remove::remove_tree,
    store::OutputStore,
};

/// Up to so many files each is flushed by itself. Beyond, one flush of the file system is cheaper
/// than a thousand small ones, though it may flush what others wrote.
const FLUSHED_ONE_BY_ONE: usize = 64;

/// A piece that can't be taken. The upload should be given up; the worker may begin it anew.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The file system refused.
    #[error("output file {path}: cannot {doing}")]
    Io {
        /// Which file.
        path: RelativePath,
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A piece came twice.
    #[error("output file {path}: expected bytes from offset {expected} on, got offset {offset}")]
    Offset {
        /// Which file.
        path: RelativePath,
        /// Where it goes on.
        expected: u64,
        /// Where the piece begins.
        offset: u64,
    },
    /// Another file was begun before this one ended, or the set ended.
    #[error("output file {path} is incomplete: expected its last piece before anything else")]
    Unfinished {
        /// The file that has not ended.
        path: RelativePath,
    },
    /// A file was sent twice.
    #[error("output file {path} is complete: expected no more of it")]
    Repeated {
        /// Which file.
        path: RelativePath,
    },
    /// What arrived is not what was sent.
    #[error(
        "output file {path}: expected {} bytes with SHA-256 {}, got {} with {}",
        expected.size, expected.sha256, got.size, got.sha256
    )]
    Mismatch {
        /// Which file.
        path: RelativePath,
        /// What the sender said.
        expected: Checksum,
        /// What arrived.
        got: Checksum,
    },
    /// The set could not take its place.
    #[error("output files cannot be published")]
    Publish(#[from] StoreError),
}

impl StageError {
    fn io(path: &RelativePath, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.clone();
        move |source| Self::Io {
            path,
            doing,
            source,
        }
    }
}

/// The files of one attempt while they arrive, one after the other. Dropped without
/// [publishing](Self::publish), it is removed.
#[derive(Debug)]
pub struct Staging {
    store: OutputStore,
    attempt: AttemptId,
    path: PathBuf,
    folder: Folder,
    arriving: Option<Arriving>,
    complete: BTreeMap<RelativePath, Checksum>,
}

#[derive(Debug)]
struct Arriving {
    path: RelativePath,
    file: File,
    written: u64,
    hash: Sha256,
}

impl Arriving {
    /// Goes on at `offset`, which is not before the end.
    fn leave_hole(&mut self, offset: u64) -> io::Result<()> {
        if offset == self.written {
            return Ok(());
        }
        self.file.seek(SeekFrom::Start(offset))?;
        while self.written < offset {
            let hole = (offset - self.written).min(ZEROS.len() as u64);
            self.hash.update(&ZEROS[..hole as usize]);
            self.written += hole;
        }
        Ok(())
    }
}

impl Staging {
    pub(super) fn new(
        store: OutputStore,
        attempt: AttemptId,
        path: PathBuf,
    ) -> Result<Self, StoreError> {
        let folder = Folder::open(&path).map_err(StoreError::io(&path, "open it"))?;
        Ok(Self {
            store,
            attempt,
            path,
            folder,
            arriving: None,
            complete: BTreeMap::new(),
        })
    }

    /// Adds the next bytes of the file `path`; the first begin it. None are fine. What `offset`
    /// leaves out since the last bytes is a hole: it reads as zeros, and takes no room.
    ///
    /// # Errors
    ///
    /// The bytes lie before where the file ends, another file is not finished yet, this one is,
    /// or the disk refuses.
    pub fn write(
        &mut self,
        path: &RelativePath,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), StageError> {
        let arriving = self.arriving(path)?;
        if offset < arriving.written {
            return Err(StageError::Offset {
                path: path.clone(),
                expected: arriving.written,
                offset,
            });
        }
        arriving
            .leave_hole(offset)
            .map_err(StageError::io(path, "seek in it"))?;
        arriving
            .file
            .write_all(bytes)
            .map_err(StageError::io(path, "write it"))?;
        arriving.hash.update(bytes);
        arriving.written += bytes.len() as u64;
        Ok(())
    }

    /// Ends the file `path` and returns what it amounts to. `expected` is what the sender says it
    /// does; senders of old say nothing.
    ///
    /// # Errors
    ///
    /// What arrived is something else, another file is not finished yet, this one is already, or
    /// the disk refuses.
    pub fn finish_file(
        &mut self,
        path: &RelativePath,
        expected: Option<&Checksum>,
    ) -> Result<Checksum, StageError> {
        let arriving = self.arriving(path)?;
        let got = Checksum {
            size: arriving.written,
            sha256: hex::encode(arriving.hash.clone().finalize()),
        };
        if let Some(expected) = expected
            && (expected.size != got.size || !expected.sha256.eq_ignore_ascii_case(&got.sha256))
        {
            return Err(StageError::Mismatch {
                path: path.clone(),
                expected: expected.clone(),
                got,
            });
        }
        let flush = self.complete.len() < FLUSHED_ONE_BY_ONE;
        if let Some(arriving) = self.arriving.take()
            && flush
        {
            arriving
                .file
                .sync_data()
                .map_err(StageError::io(path, "flush it"))?;
        }
        self.complete.insert(path.clone(), got.clone());
        Ok(got)
    }

    /// How many bytes the files have together that are finished.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.complete.values().map(|file| file.size).sum()
    }

    /// Flushes the files and lets them take the place of whatever an earlier attempt of the task
    /// left, all at once. Returns them sorted by path. After a crash at any point the one set or
    /// the other is there, whole.
    ///
    /// # Errors
    ///
    /// A file is not finished, or the disk refuses; then the earlier set stays.
    pub fn publish(mut self, user: &UserName) -> Result<Vec<FileRecord>, StageError> {
        if let Some(arriving) = self.arriving.take() {
            return Err(StageError::Unfinished {
                path: arriving.path,
            });
        }
        self.flush()
            .map_err(StoreError::io(&self.path, "flush it"))?;
        self.store
            .take_place(&self.path, user, &self.attempt.task)?;
        let complete = std::mem::take(&mut self.complete);
        let records = complete.into_iter().map(|(path, checksum)| FileRecord {
            path: path.as_str().to_owned(),
            size: checksum.size,
            sha256: checksum.sha256,
        });
        Ok(records.collect())
    }

    /// The file that `path` is arriving as; begins it if no other is.
    fn arriving(&mut self, path: &RelativePath) -> Result<&mut Arriving, StageError> {
        if let Some(other) = self.arriving.as_ref().filter(|open| open.path != *path) {
            return Err(StageError::Unfinished {
                path: other.path.clone(),
            });
        }
        let arriving = match self.arriving.take() {
            Some(arriving) => arriving,
            None => self.begin_file(path)?,
        };
        Ok(self.arriving.insert(arriving))
    }

    fn begin_file(&self, path: &RelativePath) -> Result<Arriving, StageError> {
        if self.complete.contains_key(path) {
            return Err(StageError::Repeated { path: path.clone() });
        }
        let file = self
            .folder
            .make_holding(path, Mode::RWXU)
            .and_then(|(folder, name)| folder.create_file(name, Mode::RUSR | Mode::WUSR))
            .map_err(StageError::io(path, "make it"))?;
        Ok(Arriving {
            path: path.clone(),
            file,
            written: 0,
            hash: Sha256::new(),
        })
    }

    fn flush(&self) -> io::Result<()> {
        if self.complete.len() > FLUSHED_ONE_BY_ONE {
            return self.folder.sync_file_system();
        }
        // The files are flushed; their names are in the folders on the way to each.
        for path in self.complete.keys() {
            let (folders, _) = path.split();
            let mut above: Option<Folder> = None;
            for name in folders {
                let folder = above.as_ref().unwrap_or(&self.folder).subfolder(name)?;
                folder.sync()?;
                above = Some(folder);
            }
        }
        self.folder.sync()
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // After publishing nothing is there any more. What can't be removed goes at the next start.
        let _ = remove_tree(&self.path).is_ok();
    }
}
