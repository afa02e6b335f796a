//! Published files copied to where a person wants them.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use cloudai_model::{TaskId, UserName, record::FileRecord};
use rustix::fs::Mode;
use sha2::{Digest, Sha256};

use super::{
    folder::Folder,
    path::{PathError, RelativePath},
    store::OutputStore,
};

/// Bytes copied at once.
const PIECE_LEN: usize = 256 * 1024;

/// Why files could not be copied. Those copied before stay.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The system refused, or a symbolic link lies in the way.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Something else has the file's name already.
    #[error("{} exists and differs: expected no such file, or the same one", path.display())]
    Exists {
        /// What has the name.
        path: PathBuf,
    },
    /// What is stored is not what the task left.
    #[error("stored file {path} is damaged: expected {} bytes with SHA-256 {}", expected.size, expected.sha256)]
    Damaged {
        /// Which file.
        path: RelativePath,
        /// What was recorded when it arrived.
        expected: Box<FileRecord>,
    },
    /// A record names no path within a folder.
    #[error("a stored record is not valid")]
    Path(#[from] PathError),
}

/// What a copy did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CopySummary {
    /// Files written.
    pub copied: usize,
    /// Bytes in them.
    pub copied_bytes: u64,
    /// Files that were there already, the same.
    pub unchanged: usize,
}

/// How far a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyProgress<'a> {
    /// The file being copied.
    pub path: &'a RelativePath,
    /// Bytes of all files so far, those found unchanged included.
    pub done_bytes: u64,
    /// Bytes of all files.
    pub total_bytes: u64,
}

impl OutputStore {
    /// Copies the files of `records` into the folder `destination`, which is made if it is not
    /// there, and checks each against its record on the way. A file that is there already and is
    /// the same stays; one that differs is never overwritten. `destination` may itself be a
    /// symbolic link; beneath it none is followed.
    ///
    /// A record of the Go master has no checksum; such a file is copied unchecked.
    ///
    /// # Errors
    ///
    /// The first file that can't be copied. No part of that file stays.
    pub fn copy_out(
        &self,
        user: &UserName,
        task: &TaskId,
        records: &[FileRecord],
        destination: &Path,
        mut progress: impl FnMut(CopyProgress<'_>),
    ) -> Result<CopySummary, CopyError> {
        let paths: Vec<RelativePath> = records
            .iter()
            .map(|record| record.path.parse())
            .collect::<Result<_, _>>()?;
        fs::create_dir_all(destination).map_err(io_error(destination, "make the folder"))?;
        let place = self.place(user, task);
        let mut copy = Copy {
            stored: self
                .task_folder(user, task)
                .map_err(io_error(&place, "open the files of the task in"))?,
            place,
            target: Folder::open(destination).map_err(io_error(destination, "open the folder"))?,
            destination,
            summary: CopySummary::default(),
            done_bytes: 0,
        };
        let total_bytes = records.iter().map(|record| record.size).sum();
        for (record, path) in records.iter().zip(&paths) {
            copy.file(record, path, &mut |done_bytes| {
                progress(CopyProgress {
                    path,
                    done_bytes,
                    total_bytes,
                });
            })?;
        }
        Ok(copy.summary)
    }
}

struct Copy<'a> {
    stored: Folder,
    place: PathBuf,
    target: Folder,
    destination: &'a Path,
    summary: CopySummary,
    done_bytes: u64,
}

impl Copy<'_> {
    fn file(
        &mut self,
        record: &FileRecord,
        path: &RelativePath,
        progress: &mut impl FnMut(u64),
    ) -> Result<(), CopyError> {
        let from = self.place.join(path.to_os());
        let to = self.destination.join(path.to_os());
        let mut source = self
            .stored
            .holding(path)
            .and_then(|(folder, name)| folder.open_file(name))
            .map_err(io_error(&from, "open the stored file"))?;
        let (folder, name) = self
            .target
            .make_holding(path, Mode::from_raw_mode(0o777))
            .map_err(io_error(&to, "make the folder for"))?;

        let mut file = match folder.create_file(name, Mode::from_raw_mode(0o666)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let existing = folder.open_file(name);
                let same = existing
                    .and_then(|mut existing| same_bytes(&mut source, &mut existing))
                    .unwrap_or(false);
                if !same {
                    return Err(CopyError::Exists { path: to });
                }
                self.summary.unchanged += 1;
                self.done_bytes += record.size;
                progress(self.done_bytes);
                return Ok(());
            }
            Err(error) => return Err(io_error(&to, "make")(error)),
        };
        let copied = self
            .bytes(&mut source, &mut file, progress)
            .map_err(io_error(&to, "copy to"))
            .and_then(|(size, sha256)| {
                let whole = record.sha256.is_empty()
                    || (size == record.size && sha256.eq_ignore_ascii_case(&record.sha256));
                if whole {
                    return Ok(size);
                }
                Err(CopyError::Damaged {
                    path: path.clone(),
                    expected: Box::new(record.clone()),
                })
            });
        match copied {
            Ok(size) => {
                self.summary.copied += 1;
                self.summary.copied_bytes += size;
                Ok(())
            }
            Err(error) => {
                // Nobody should take a part for the whole.
                let _ = folder.remove_file(name).is_ok();
                Err(error)
            }
        }
    }

    fn bytes(
        &mut self,
        source: &mut File,
        target: &mut File,
        progress: &mut impl FnMut(u64),
    ) -> io::Result<(u64, String)> {
        let mut hash = Sha256::new();
        let mut size = 0;
        let mut piece = vec![0; PIECE_LEN];
        loop {
            let read = source.read(&mut piece)?;
            if read == 0 {
                return Ok((size, hex::encode(hash.finalize())));
            }
            target.write_all(&piece[..read])?;
            hash.update(&piece[..read]);
            size += read as u64;
            self.done_bytes += read as u64;
            progress(self.done_bytes);
        }
    }
}

fn same_bytes(one: &mut File, other: &mut File) -> io::Result<bool> {
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut a, mut b) = (vec![0; PIECE_LEN], vec![0; PIECE_LEN]);
    loop {
        let read = one.read(&mut a)?;
        if read == 0 {
            return Ok(true);
        }
        match other.read_exact(&mut b[..read]) {
            Ok(()) if a[..read] == b[..read] => {}
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

fn io_error(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> CopyError {
    let path = path.to_owned();
    move |source| CopyError::Io {
        path,
        doing,
        source,
    }
}
