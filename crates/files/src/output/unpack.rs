//! The worker's side where `/output` is not a folder of its own machine: a tar stream of it
//! becomes one.
//!
//! The stream was made of what a hostile container left, by an engine elsewhere. Of its names only
//! those that are a [`RelativePath`] become files, one plain name at a time; links, devices and
//! FIFOs become a note.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::{ffi::OsStrExt as _, fs::FileExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::Mode;

use super::{
    folder::Folder,
    path::RelativePath,
    tar::{Entry, EntryKind, TarReader},
};

/// Read at once. What is all zeros becomes a hole.
const PIECE: usize = 64 * 1024;
/// Notes kept: a million links make no million notes.
const MAX_NOTES: usize = 100;

/// A stream that can't be unpacked, or a disk that refuses it.
#[derive(Debug, thiserror::Error)]
#[error("cannot unpack the output into {}: {source}", folder.display())]
pub struct UnpackError {
    folder: PathBuf,
    source: io::Error,
}

/// What was not unpacked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unpacked {
    /// What was left out and why, for people, one sentence each; the first hundred.
    pub notes: Vec<String>,
    /// How many entries were left out.
    pub left_out: u64,
}

/// Unpacks a tar stream of a folder, by whatever name the stream calls it, into the empty folder
/// `root`, and flushes it. Rights and times are not kept, nor are empty folders.
///
/// # Errors
///
/// The stream breaks off or is no tar, or the disk refuses; `root` then holds a part.
pub fn unpack(stream: impl Read, root: &Path) -> Result<Unpacked, UnpackError> {
    unpack_into(stream, root).map_err(|source| UnpackError {
        folder: root.to_owned(),
        source,
    })
}

fn unpack_into(stream: impl Read, root: &Path) -> io::Result<Unpacked> {
    let folder = Folder::open(root)?;
    let mut tar = TarReader::new(stream);
    let mut unpacked = Unpacked::default();
    while let Some(entry) = tar.next_entry()? {
        let Some(path) = beneath_first(&entry.path) else {
            continue;
        };
        let path = match RelativePath::from_os(Path::new(std::ffi::OsStr::from_bytes(path))) {
            Ok(path) => path,
            Err(error) => {
                unpacked.leave_out(&error.to_string());
                continue;
            }
        };
        match entry.kind {
            EntryKind::Folder => {}
            EntryKind::File => match begin(&folder, &path) {
                Ok(file) => write(&mut tar, &file, entry.size)?,
                // A name that comes twice, or lies beneath a file.
                Err(error) if is_hostile(&error) => {
                    unpacked.leave_out(&format!("{path}: can't be written: {error}"));
                }
                Err(error) => return Err(error),
            },
            EntryKind::HardLink => {
                if let Err(error) = link(&folder, &entry, &path) {
                    unpacked.leave_out(&format!("{path}: is a link to what isn't kept: {error}"));
                }
            }
            kind => unpacked.leave_out(&format!("{path}: is {}", word(kind))),
        }
    }
    folder.sync_file_system()?;
    Ok(unpacked)
}

impl Unpacked {
    fn leave_out(&mut self, why: &str) {
        self.left_out += 1;
        if self.notes.len() < MAX_NOTES {
            self.notes.push(format!("left out {why}"));
        }
    }
}

/// The path beneath the folder that the stream is of; `None` for that folder itself.
fn beneath_first(path: &[u8]) -> Option<&[u8]> {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let slash = path.iter().position(|byte| *byte == b'/')?;
    Some(&path[slash + 1..]).filter(|rest| !rest.is_empty())
}

fn begin(folder: &Folder, path: &RelativePath) -> io::Result<File> {
    let (folder, name) = folder.make_holding(path, Mode::RWXU)?;
    folder.create_file(name, Mode::RUSR | Mode::WUSR)
}

/// Whether it is the stream's doing that a name can't be made, not the disk's.
fn is_hostile(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory
    )
}

fn write(bytes: &mut impl Read, file: &File, size: u64) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    let mut offset = 0;
    while offset < size {
        let most = usize::try_from(size - offset).map_or(PIECE, |left| left.min(PIECE));
        let mut filled = 0;
        while filled < most {
            match bytes.read(&mut piece[filled..most])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => filled += read,
            }
        }
        if piece[..filled].iter().any(|byte| *byte != 0) {
            file.write_all_at(&piece[..filled], offset)?;
        }
        offset += filled as u64;
    }
    file.set_len(size)
}

fn link(folder: &Folder, entry: &Entry, path: &RelativePath) -> io::Result<()> {
    let target = beneath_first(&entry.link).unwrap_or_default();
    let target = RelativePath::from_os(Path::new(std::ffi::OsStr::from_bytes(target)))
        .map_err(io::Error::other)?;
    let (from, name) = folder.holding(&target)?;
    let (into, new_name) = folder.make_holding(path, Mode::RWXU)?;
    from.link(name, &into, new_name)
}

fn word(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::SymbolicLink => "a symbolic link",
        EntryKind::Fifo => "a FIFO",
        EntryKind::Device => "a device",
        _ => "no regular file",
    }
}
