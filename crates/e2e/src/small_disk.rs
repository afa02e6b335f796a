//! A disk that is soon full: a file system in memory, of a size that a test chooses.

use std::{
    fs::File,
    io::{ErrorKind, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use crate::namespace::as_root;

/// See the module. Unmounted when dropped, even while in use.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one of so many MB at a folder, which it makes.
    ///
    /// # Panics
    /// If that fails: needs root or sudo.
    #[must_use]
    pub fn at(folder: &Path, megabytes: u32) -> Self {
        std::fs::create_dir_all(folder).expect("the folder can be made");
        // Whoever made the folder may write to it, also where another one mounted the disk.
        let owner = std::fs::metadata(folder).expect("it was just made");
        let (user, group) = (owner.uid(), owner.gid());
        let size = format!("size={megabytes}m,mode=0755,uid={user},gid={group}");
        let mounted = run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs"], folder);
        assert!(
            mounted,
            "mounting a tmpfs at {folder:?} failed: needs root or sudo"
        );
        Self(folder.to_owned())
    }

    /// Takes room until only so many MB are left.
    ///
    /// # Panics
    /// If there are not as many now.
    pub fn fill_but(&self, megabytes: u64) {
        let space = rustix::fs::statvfs(&self.0).expect("it is mounted");
        let free = space.f_bavail * space.f_frsize;
        let take = free.checked_sub(megabytes << 20);
        let take = take.unwrap_or_else(|| panic!("{free} bytes are free, not {megabytes} MB"));
        let mut file = File::create(self.filler()).expect("a file can be made");
        let piece = vec![1; 1 << 20];
        for _ in 0..take >> 20 {
            file.write_all(&piece).expect("there is room");
        }
    }

    /// Takes all room that is left.
    ///
    /// # Panics
    /// If something else than the end of the room ends it.
    pub fn fill(&self) {
        let mut file = File::create(self.filler()).expect("a file can be made");
        let mut piece = vec![1; 1 << 20];
        while !piece.is_empty() {
            match file.write(&piece) {
                Ok(0) => piece.clear(),
                Ok(_) => {}
                // Whatever is left is less than this.
                Err(error) if error.kind() == ErrorKind::StorageFull => {
                    piece.truncate(piece.len() / 2);
                }
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

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        run("umount", &["--lazy"], &self.0);
    }
}

fn run(program: &str, args: &[&str], folder: &Path) -> bool {
    let mut words = as_root();
    words.push(program.to_owned());
    let status = Command::new(&words[0])
        .args(&words[1..])
        .args(args)
        .arg(folder)
        .status();
    status.is_ok_and(|status| status.success())
}
