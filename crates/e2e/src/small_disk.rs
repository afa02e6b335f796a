//! A disk that is soon full: a file system of a size that a test chooses, in a file that is mounted.

use std::{
    fs::File,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::{
    fs::{FallocateFlags, fallocate},
    io::Errno,
};

use crate::root::as_root;

/// See the module. Unmounted when dropped, even while in use; its file goes with it.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

/// No journal, for which a small disk has no room, and no blocks that only root gets: programs run as root.
const FORMAT: &[&str] = &[
    "-q",
    "-F",
    "-m0",
    "-b4096",
    "-i16384",
    "-O^has_journal,^resize_inode",
];

impl SmallDisk {
    /// Mounts one of so many MB at a folder, which it makes.
    ///
    /// # Panics
    /// If that fails: needs root or sudo, and loop devices.
    #[must_use]
    pub fn at(folder: &Path, megabytes: u32) -> Self {
        std::fs::create_dir_all(folder).expect("the folder can be made");
        // Whoever made the folder may write to it, also where another one mounted the disk.
        let owner = std::fs::metadata(folder).expect("it was just made");
        let owner = format!("nodiscard,root_owner={}:{}", owner.uid(), owner.gid());
        let holder = tempfile::NamedTempFile::new().expect("there is room for an empty file");
        let sized = holder.as_file().set_len(u64::from(megabytes) << 20);
        sized.expect("a file may be long");
        let mut format = Command::new("/sbin/mkfs.ext4");
        format.args(FORMAT).args(["-E", &owner]).arg(holder.path());
        let made = format.status().is_ok_and(|status| status.success());
        assert!(made, "mkfs.ext4 failed: `apt-get install e2fsprogs`");
        // The device keeps the file after its name is gone, until it is unmounted.
        let file = holder.path().display().to_string();
        let mounted = root(
            "mount",
            &["-o", "loop,noatime,noinit_itable", &file],
            folder,
        );
        assert!(
            mounted,
            "mounting a file at {folder:?} failed: needs root or sudo, and loop devices"
        );
        let this = Self(folder.to_owned());
        root("rmdir", &[], &folder.join("lost+found"));
        this
    }

    /// Takes room until only so many MB are left.
    ///
    /// # Panics
    /// If there are not as many now.
    pub fn fill_but(&self, megabytes: u64) {
        let free = self.free_bytes();
        let take = free.checked_sub(megabytes << 20);
        let take = take.unwrap_or_else(|| panic!("{free} bytes are free, not {megabytes} MB"));
        let file = File::create(self.filler()).expect("a file can be made");
        fallocate(&file, FallocateFlags::empty(), 0, take).expect("there is room");
    }

    /// Takes all room that is left. Nothing is written for it.
    ///
    /// # Panics
    /// If something else than the end of the room ends it.
    pub fn fill(&self) {
        let file = File::create(self.filler()).expect("a file can be made");
        let (mut taken, mut piece) = (0, self.free_bytes().max(BLOCK));
        while piece >= BLOCK {
            match fallocate(&file, FallocateFlags::empty(), taken, piece) {
                Ok(()) => taken += piece,
                // Whatever is left is less than this.
                Err(Errno::NOSPC) => piece /= 2,
                Err(Errno::INTR) => {}
                Err(error) => panic!("filling {:?}: {error}", self.0),
            }
        }
    }

    /// Gives back what [`fill`](Self::fill) took.
    ///
    /// # Panics
    /// If there is nothing to give back.
    pub fn empty(&self) {
        std::fs::remove_file(self.filler()).expect("it was filled");
    }

    /// The folder that it is mounted at.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.0
    }

    fn free_bytes(&self) -> u64 {
        let space = rustix::fs::statvfs(&self.0).expect("it is mounted");
        space.f_bavail * space.f_frsize
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

/// What the file system gives at once.
const BLOCK: u64 = 4096;

impl Drop for SmallDisk {
    fn drop(&mut self) {
        root("umount", &["--lazy"], &self.0);
    }
}

fn root(program: &str, args: &[&str], path: &Path) -> bool {
    let status = as_root(&[program]).args(args).arg(path).status();
    status.is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use std::{fs, io::ErrorKind};

    use super::*;

    #[test]
    fn a_full_disk_takes_nothing_until_it_is_emptied_and_costs_no_room_itself() {
        let folder = tempfile::tempdir().unwrap();
        let disk = SmallDisk::at(&folder.path().join("disk"), 64);
        let file = disk.folder().join("file");

        disk.fill();

        let refused = fs::write(&file, [1; 4096]).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::StorageFull);
        disk.empty();
        fs::write(&file, vec![1; 32 << 20]).unwrap();
        disk.fill_but(2);
        let refused = fs::write(disk.folder().join("other"), vec![1; 3 << 20]).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::StorageFull);
    }

    #[test]
    fn it_is_unmounted_with_whoever_had_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("disk");
        let disk = SmallDisk::at(&at, 16);
        fs::write(disk.folder().join("file"), "content").unwrap();

        drop(disk);

        assert_eq!(fs::read_dir(&at).unwrap().count(), 0);
    }
}
