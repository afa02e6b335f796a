//! An open folder, and what lies beneath it.
//!
//! Every step down is one plain name, opened relative to the folder above it and never through a
//! symbolic link. So nothing that a hostile tree holds, or that is swapped under a walk, leads out.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::Path,
};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, chmodat, linkat, mkdirat, openat, renameat, statat,
    unlinkat,
};

use super::path::RelativePath;

/// An open folder.
#[derive(Debug)]
pub(super) struct Folder(OwnedFd);

/// What something in a folder is, its size in bytes, and the blocks of 512 bytes that it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EntryKind {
    pub(super) kind: FileType,
    pub(super) size: u64,
    pub(super) blocks: u64,
}

const OPEN_FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

impl Folder {
    /// Opens a folder of this machine; `path` is ours and may lead through symbolic links.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(rustix::fs::open(path, OPEN_FOLDER, Mode::empty())?))
    }

    /// The folder called `name` in this one.
    pub(super) fn subfolder(&self, name: &OsStr) -> io::Result<Self> {
        let flags = OPEN_FOLDER | OFlags::NOFOLLOW;
        Ok(Self(openat(&self.0, name, flags, Mode::empty())?))
    }

    /// The folder that holds `path`, and the name that `path` has in it.
    pub(super) fn holding<'a>(&self, path: &'a RelativePath) -> io::Result<(Self, &'a OsStr)> {
        let (folders, name) = path.split();
        let mut folder = Self(self.0.try_clone()?);
        for step in folders {
            folder = folder.subfolder(step)?;
        }
        Ok((folder, name))
    }

    /// Like [`holding`](Self::holding); makes the folders that are missing, with `mode`.
    pub(super) fn make_holding<'a>(
        &self,
        path: &'a RelativePath,
        mode: Mode,
    ) -> io::Result<(Self, &'a OsStr)> {
        let (folders, name) = path.split();
        let mut folder = Self(self.0.try_clone()?);
        for step in folders {
            match folder.make_folder(step, mode) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => folder = folder.subfolder(step)?,
            }
        }
        Ok((folder, name))
    }

    /// Makes the folder called `name`.
    pub(super) fn make_folder(&self, name: &OsStr, mode: Mode) -> io::Result<()> {
        Ok(mkdirat(&self.0, name, mode)?)
    }

    /// Lets its owner do with the folder called `name` whatever is to be done.
    pub(super) fn make_accessible(&self, name: &OsStr) -> io::Result<()> {
        Ok(chmodat(&self.0, name, Mode::RWXU, AtFlags::empty())?)
    }

    /// Moves what is called `name` to another folder.
    pub(super) fn rename(&self, name: &OsStr, into: &Self, new_name: &OsStr) -> io::Result<()> {
        Ok(renameat(&self.0, name, &into.0, new_name)?)
    }

    /// Removes the empty folder called `name`.
    pub(super) fn remove_folder(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(&self.0, name, AtFlags::REMOVEDIR)?)
    }

    /// Opens the regular file called `name` for reading.
    pub(super) fn open_file(&self, name: &OsStr) -> io::Result<File> {
        // Without NONBLOCK the opening of a FIFO would wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(&self.0, name, flags, Mode::empty())?);
        if file.metadata()?.is_file() {
            Ok(file)
        } else {
            Err(io::Error::other("it is not a regular file"))
        }
    }

    /// Makes the file called `name`, which must not exist.
    pub(super) fn create_file(&self, name: &OsStr, mode: Mode) -> io::Result<File> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(&self.0, name, flags, mode)?.into())
    }

    /// Gives the file called `name` a second name in another folder.
    pub(super) fn link(&self, name: &OsStr, into: &Self, new_name: &OsStr) -> io::Result<()> {
        Ok(linkat(&self.0, name, &into.0, new_name, AtFlags::empty())?)
    }

    /// Removes the file called `name`.
    pub(super) fn remove_file(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(&self.0, name, AtFlags::empty())?)
    }

    /// The names in this folder, sorted by their bytes.
    pub(super) fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.0)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(OsStr::from_bytes(name).to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// What is called `name`; a symbolic link is itself.
    pub(super) fn kind_of(&self, name: &OsStr) -> io::Result<EntryKind> {
        let stat = statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(EntryKind {
            kind: FileType::from_raw_mode(stat.st_mode),
            size: u64::try_from(stat.st_size).unwrap_or(0),
            blocks: u64::try_from(stat.st_blocks).unwrap_or(0),
        })
    }

    /// Flushes the names in this folder to disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.0)?)
    }

    /// Flushes the file system that holds this folder to disk.
    pub(super) fn sync_file_system(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.0)?)
    }
}
