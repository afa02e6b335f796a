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

use rustix::fs::{FileType, Mode};

use super::{
    folder::Folder,
    is_no_room,
    left_out::{LeftOut, word},
    path::RelativePath,
    tar::{Entry, EntryKind, TarReader},
};

/// Read at once. What is all zeros becomes a hole.
const PIECE: usize = 64 * 1024;

/// A stream that can't be unpacked, or a disk that refuses it.
#[derive(Debug, thiserror::Error)]
#[error("cannot unpack the output into {}: {source}", folder.display())]
pub struct UnpackError {
    folder: PathBuf,
    source: io::Error,
}

impl UnpackError {
    /// Whether there was no room on the disk: there may be later.
    #[must_use]
    pub fn is_no_room(&self) -> bool {
        is_no_room(&self.source)
    }
}

/// Unpacks a tar stream of a folder, by whatever name the stream calls it, into the empty folder
/// `root`, and flushes it. Rights and times are not kept, nor are empty folders. Files that would
/// make it more than `most` bytes are left out, and what follows them is not read.
///
/// # Errors
///
/// The stream breaks off or is no tar, or the disk refuses; `root` then holds a part.
pub fn unpack(stream: impl Read, root: &Path, most: u64) -> Result<LeftOut, UnpackError> {
    unpack_into(stream, root, most).map_err(|source| UnpackError {
        folder: root.to_owned(),
        source,
    })
}

fn unpack_into(stream: impl Read, root: &Path, most: u64) -> io::Result<LeftOut> {
    let folder = Folder::open(root)?;
    let mut tar = TarReader::new(stream);
    let mut left_out = LeftOut::default();
    let mut room = most;
    while let Some(entry) = tar.next_entry()? {
        let Some(path) = beneath_first(&entry.path) else {
            continue;
        };
        let path = match RelativePath::from_os(Path::new(std::ffi::OsStr::from_bytes(path))) {
            Ok(path) => path,
            Err(error) => {
                left_out.add(error);
                continue;
            }
        };
        match entry.kind {
            EntryKind::Folder => {}
            EntryKind::File if entry.size > room => {
                left_out.add(format_args!(
                    "{path} and what follows it: together more than {most} bytes"
                ));
                break;
            }
            EntryKind::File => match begin(&folder, &path) {
                Ok(file) => {
                    write(&mut tar, &file, entry.size)?;
                    room -= entry.size;
                }
                // A name that comes twice, or lies beneath a file.
                Err(error) if is_hostile(&error) => {
                    left_out.add(format_args!("{path}: can't be written: {error}"));
                }
                Err(error) => return Err(error),
            },
            EntryKind::HardLink => {
                if let Err(error) = link(&folder, &entry, &path) {
                    left_out.add(format_args!(
                        "{path}: is a link to what isn't kept: {error}"
                    ));
                }
            }
            kind => left_out.add(format_args!("{path}: is {}", word(kind_of(kind)))),
        }
    }
    folder.sync_file_system()?;
    Ok(left_out)
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

fn kind_of(kind: EntryKind) -> FileType {
    match kind {
        EntryKind::SymbolicLink => FileType::Symlink,
        EntryKind::Fifo => FileType::Fifo,
        EntryKind::Device => FileType::CharacterDevice,
        _ => FileType::Unknown,
    }
}
