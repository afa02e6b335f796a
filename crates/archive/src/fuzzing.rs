//! Doors for `crates/fuzzing` to what reads a backup. Nothing else goes through them.

use std::{io::Read as _, path::Path, path::PathBuf};

use cloudai_files::log::LogStore;

use crate::{
    ArchiveError, FILES, Header, LOGS, Manifest, restore::Goes, verify, writing::ArchiveWriter,
};

/// Where a restore puts the part of an archive with this name, relative to the data directory;
/// `None` for a part that it refuses.
#[must_use]
pub fn place_of(name: &str) -> Option<PathBuf> {
    Some(match Goes::of(name)? {
        Goes::Store => PathBuf::from(cloudai_store::DATABASE_FILE),
        Goes::Secret(name) => PathBuf::from(name),
        Goes::Log(attempt) => LogStore::new(LOGS).path(&attempt),
        Goes::Output(user, task, path) => Path::new(FILES)
            .join(user.as_str())
            .join(task.to_string())
            .join(path.to_os()),
    })
}

/// Reads an archive as a restore does: what it says of itself, and the parts that it was handed, with
/// how many bytes each has.
///
/// # Errors
/// As [`verify`](crate::verify).
pub fn walk(path: &Path) -> Result<(Manifest, Vec<(String, u64)>), ArchiveError> {
    let mut parts = Vec::new();
    let manifest = verify::walk::<ArchiveError>(path, |name, source| {
        let mut size = 0;
        let mut piece = [0; 4096];
        loop {
            let read = source
                .read(&mut piece)
                .map_err(ArchiveError::io(path, "read it"))?;
            match read {
                0 => break,
                read => size += read as u64,
            }
        }
        parts.push((name.to_owned(), size));
        Ok(())
    })?;
    Ok((manifest, parts))
}

/// Makes an archive of these parts.
///
/// # Errors
/// If the file can't be written.
pub fn make(path: &Path, header: Header, parts: &[(&str, &[u8])]) -> Result<(), ArchiveError> {
    let mut writer = ArchiveWriter::begin(path, header)?;
    for (name, content) in parts {
        writer.add(name, content.len() as u64, content.take(u64::MAX))?;
    }
    writer.finish([].into(), Vec::new())?.name(path)
}
