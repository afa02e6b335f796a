//! The worker's side: which files a task left.

use std::{
    io,
    path::{Path, PathBuf},
};

use rustix::fs::FileType;

use super::{
    folder::Folder,
    left_out::{LeftOut, word},
    path::RelativePath,
};

/// The task's folder could not be walked at all.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the output folder {}: expected a folder that can be read", folder.display())]
pub struct CollectError {
    folder: PathBuf,
    source: io::Error,
}

/// What a task left.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Collected {
    /// The files to send, sorted folder by folder.
    pub files: Vec<CollectedFile>,
    /// What is not to be sent.
    pub left_out: LeftOut,
}

/// A regular file that a task left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectedFile {
    /// Where it lies within the folder.
    pub path: RelativePath,
    /// Bytes.
    pub size: u64,
}

/// Finds all regular files beneath `root`, in the same order each time.
///
/// Symbolic links are never followed; they, devices, sockets, FIFOs and whatever can't be read are
/// left out with a note. Empty folders are not kept.
///
/// # Errors
///
/// `root` itself can't be opened.
pub fn collect(root: &Path) -> Result<Collected, CollectError> {
    walk_root(root).map_err(|source| CollectError {
        folder: root.to_owned(),
        source,
    })
}

pub(super) fn walk_root(root: &Path) -> io::Result<Collected> {
    let mut collected = Collected::default();
    walk(&Folder::open(root)?, Path::new(""), &mut collected)?;
    Ok(collected)
}

/// Adds what lies in `folder`, which is `within` the root. Its depth is bounded by that of a
/// [`RelativePath`].
fn walk(folder: &Folder, within: &Path, collected: &mut Collected) -> io::Result<()> {
    for name in folder.names()? {
        let full = within.join(&name);
        let path = match RelativePath::from_os(&full) {
            Ok(path) => path,
            Err(error) => {
                collected.left_out.add(error);
                continue;
            }
        };
        match folder.kind_of(&name) {
            Ok(entry) if entry.kind == FileType::Directory => {
                let walked = folder
                    .subfolder(&name)
                    .and_then(|subfolder| walk(&subfolder, &full, collected));
                if let Err(error) = walked {
                    collected
                        .left_out
                        .add(format_args!("{path}: the folder can't be read: {error}"));
                }
            }
            Ok(entry) if entry.kind == FileType::RegularFile => {
                // Opened once now: what can't be read is known before anything is sent.
                match folder.open_file(&name) {
                    Ok(_) => collected.files.push(CollectedFile {
                        path,
                        size: entry.size,
                    }),
                    Err(error) => collected
                        .left_out
                        .add(format_args!("{path}: can't be read: {error}")),
                }
            }
            Ok(entry) => collected
                .left_out
                .add(format_args!("{path}: is {}", word(entry.kind))),
            Err(error) => collected
                .left_out
                .add(format_args!("{path}: can't be read: {error}")),
        }
    }
    Ok(())
}
