//! A disk that is soon full: a file system in memory, of a size that a test chooses.

use std::{
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
        let size = format!("size={megabytes}m,mode=0755");
        let mounted = run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs"], folder);
        assert!(
            mounted,
            "mounting a tmpfs at {folder:?} failed: needs root or sudo"
        );
        Self(folder.to_owned())
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
