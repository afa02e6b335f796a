//! Which backups were made of a data directory: a list beside the store, so that whoever finds the
//! store damaged is told of them.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::{ffi::OsStrExt as _, fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// The list's name in the data directory: a path a line, the newest last.
const LIST: &str = "cloudai.backups";

/// Notes that a backup was made.
///
/// # Errors
/// If the list can't be written. The backup is as good without it.
pub fn note_backup(data_dir: &Path, backup: &Path) -> io::Result<()> {
    let mut line = backup.as_os_str().as_bytes().to_vec();
    if line.contains(&b'\n') {
        return Err(io::Error::other("a name with a newline is not noted"));
    }
    line.push(b'\n');
    let mut list = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(data_dir.join(LIST))?;
    list.write_all(&line)?;
    list.sync_all()
}

/// The newest backup that is noted and still there.
pub(super) fn newest_backup(data_dir: &Path) -> Option<PathBuf> {
    let list = fs::read(data_dir.join(LIST)).ok()?;
    let paths = list.split(|byte| *byte == b'\n').rev();
    paths
        .filter(|path| !path.is_empty())
        .map(|path| PathBuf::from(std::ffi::OsStr::from_bytes(path)))
        .find(|path| path.is_file())
}
