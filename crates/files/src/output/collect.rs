//! The worker's side: which files a task left.

use std::{
    io,
    path::{Path, PathBuf},
};

use rustix::fs::FileType;

use super::{folder::Folder, path::RelativePath};

/// The task's folder could not be walked at all.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the output folder {}: expected a folder that can be read", folder.display())]
pub struct CollectError {
    folder: PathBuf,
    source: io::Error,
}

/// Notes kept: a million links make no million notes.
const MAX_NOTES: usize = 100;

/// What a task left.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Collected {
    /// The files to send, sorted folder by folder.
    pub files: Vec<CollectedFile>,
    /// What was left out and why, for people, one sentence each; the first hundred.
    pub notes: Vec<String>,
    /// How many entries were left out.
    pub left_out: u64,
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
                collected.leave_out(&error.to_string());
                continue;
            }
        };
        match folder.kind_of(&name) {
            Ok(entry) if entry.kind == FileType::Directory => {
                let walked = folder
                    .subfolder(&name)
                    .and_then(|subfolder| walk(&subfolder, &full, collected));
                if let Err(error) = walked {
                    collected.leave_out(&format!("{path}: the folder can't be read: {error}"));
                }
            }
            Ok(entry) if entry.kind == FileType::RegularFile => {
                // Opened once now: what can't be read is known before anything is sent.
                match folder.open_file(&name) {
                    Ok(_) => collected.files.push(CollectedFile {
                        path,
                        size: entry.size,
                    }),
                    Err(error) => collected.leave_out(&format!("{path}: can't be read: {error}")),
                }
            }
            Ok(entry) => collected.leave_out(&format!("{path}: is {}", word(entry.kind))),
            Err(error) => collected.leave_out(&format!("{path}: can't be read: {error}")),
        }
    }
    Ok(())
}

impl Collected {
    fn leave_out(&mut self, why: &str) {
        self.left_out += 1;
        if self.notes.len() < MAX_NOTES {
            self.notes.push(format!("left out {why}"));
        }
    }
}

fn word(kind: FileType) -> &'static str {
    match kind {
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "no regular file",
    }
}
