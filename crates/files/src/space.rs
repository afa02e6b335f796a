//! Room on the disk that a folder is on, and some of it that is held back.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// Given up at once.
const STEP: u64 = 256 << 10;

/// How much room there is on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// Tells disks apart.
    pub device: u64,
    /// Bytes that it holds.
    pub total_bytes: u64,
    /// Bytes that users without special rights may still take.
    pub free_bytes: u64,
}

impl DiskSpace {
    /// That of the disk that a folder is on, or will be when it is made.
    ///
    /// # Errors
    /// The system can't tell.
    pub fn of(folder: &Path) -> io::Result<Self> {
        let mut there = folder;
        loop {
            match fs::metadata(there) {
                Ok(metadata) => {
                    let found = statvfs(there)?;
                    return Ok(Self {
                        device: metadata.dev(),
                        total_bytes: found.f_blocks.saturating_mul(found.f_frsize),
                        free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    there = match there.parent() {
                        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
                        Some(parent) => parent,
                        None => return Err(error),
                    };
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Room that is held back for what must be written when a disk is full.
#[derive(Debug, Clone)]
pub struct Reserve {
    path: PathBuf,
    bytes: u64,
}

impl Reserve {
    /// So many bytes in the file `path`. Nothing is taken yet.
    #[must_use]
    pub fn new(path: PathBuf, bytes: u64) -> Self {
        Self { path, bytes }
    }

    /// Takes the room, if it is to be had and not held already.
    ///
    /// # Errors
    /// It is not to be had, or the file system can't promise room.
    pub fn take(&self) -> io::Result<()> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&self.path)?;
        if file.metadata()?.len() < self.bytes {
            fallocate(&file, FallocateFlags::empty(), 0, self.bytes)?;
        }
        Ok(())
    }

    /// Gives some of it up. `false`: there is none left.
    #[must_use]
    pub fn give_up_some(&self) -> bool {
        let given = OpenOptions::new()
            .write(true)
            .open(&self.path)
            .and_then(|file| {
                let held = file.metadata()?.len();
                file.set_len(held.saturating_sub(STEP))?;
                Ok(held > 0)
            });
        given.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_yet_to_be_made_has_the_room_of_where_it_will_be() {
        let folder = tempfile::tempdir().unwrap();
        let here = DiskSpace::of(folder.path()).unwrap();
        let later = DiskSpace::of(&folder.path().join("a/b")).unwrap();
        assert_eq!(
            (here.device, here.total_bytes),
            (later.device, later.total_bytes)
        );
        assert!(here.total_bytes > 0);
        DiskSpace::of(Path::new("not-there/either")).unwrap();
    }

    #[test]
    fn a_reserve_is_given_up_bit_by_bit_and_taken_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reserve");
        let reserve = Reserve::new(path.clone(), 3 * STEP - 1);
        assert!(!reserve.give_up_some(), "nothing was taken");
        let held = || fs::metadata(&path).unwrap().blocks() * 512;
        for _ in 0..2 {
            reserve.take().unwrap();
            assert!(held() >= 3 * STEP - 1);
            assert!((0..3).all(|_| reserve.give_up_some()));
            assert!(!reserve.give_up_some());
            assert_eq!(held(), 0);
        }
    }
}
