//! The mark of a data directory that is being filled: by a copy or a restore. While it is there, no
//! master starts, so that a half is never taken for the whole.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use super::open::OpenError;

/// The file's name in the data directory.
const MARK: &str = "cloudai.unfinished";

/// See the module. Dropped without [`Self::done`], the mark stays.
#[derive(Debug)]
pub struct Unfinished {
    data_dir: PathBuf,
}

impl Unfinished {
    /// Marks a data directory, on disk when it returns. `what` says what it is filled with.
    ///
    /// # Errors
    /// If it can't be marked.
    pub fn begin(data_dir: &Path, what: &str) -> io::Result<Self> {
        let mut mark = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(data_dir.join(MARK))?;
        writeln!(mark, "{what}")?;
        mark.sync_all()?;
        File::open(data_dir)?.sync_all()?;
        Ok(Self {
            data_dir: data_dir.to_owned(),
        })
    }

    /// What a marked data directory was to be filled with; `None`: it is not marked.
    ///
    /// # Errors
    /// If that can't be found out.
    pub fn find(data_dir: &Path) -> Result<Option<String>, OpenError> {
        match fs::read_to_string(data_dir.join(MARK)) {
            Ok(what) => Ok(Some(what.trim().to_owned())),
            Err(error) if is_not_there(&error) => Ok(None),
            Err(cause) => Err(OpenError::Directory {
                path: data_dir.join(MARK),
                cause,
            }),
        }
    }

    pub(super) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Takes the mark away: what is there is whole.
    ///
    /// # Errors
    /// If the disk refuses. Then the mark may stay.
    pub fn done(self) -> io::Result<()> {
        File::open(&self.data_dir)?.sync_all()?;
        fs::remove_file(self.data_dir.join(MARK))?;
        File::open(&self.data_dir)?.sync_all()
    }
}

/// Also where the directory is none: opening it says so better.
fn is_not_there(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
