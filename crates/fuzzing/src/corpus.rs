//! The inputs that are kept in `fuzz/`: the seeds of each target, and what once failed.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The folder of the package for libFuzzer.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().nth(2).unwrap_or(here);
    root.join("fuzz")
}

/// Where the seeds of a target lie.
#[must_use]
pub fn seeds(target: &str) -> PathBuf {
    root().join("corpus").join(target)
}

/// Where the inputs lie that a target once failed with.
#[must_use]
pub fn regressions(target: &str) -> PathBuf {
    root().join("regressions").join(target)
}

/// The files of a folder with their names, in order; none if there is no such folder.
///
/// # Errors
/// If they can't be read.
pub fn files(folder: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        files.push((name.into_owned(), fs::read(&path)?));
    }
    files.sort();
    Ok(files)
}
