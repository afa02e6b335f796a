//! The wall clock of a machine that a test steps, forth and back. Real programs get it from a small
//! library that is loaded into them (`clock_shim.c`); they know nothing of it.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
};

/// What the library is made of.
const SHIM: &str = include_str!("clock_shim.c");

/// See the module.
#[derive(Debug)]
pub struct WallClock {
    shim: PathBuf,
    path: PathBuf,
    offset: File,
}

impl WallClock {
    /// One that shows the true time as yet. It keeps its parts in this folder, which holds no other.
    ///
    /// # Panics
    /// If the folder can't be made, or there is no C compiler.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        fs::create_dir_all(folder).expect("the folder can be made");
        let (source, shim) = (folder.join("shim.c"), folder.join("shim.so"));
        fs::write(&source, SHIM).expect("there is room");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&shim, &source])
            .arg("-ldl")
            .status();
        let built = built.is_ok_and(|status| status.success());
        assert!(
            built,
            "expected a C compiler: `apt-get install gcc libc6-dev`"
        );
        let path = folder.join("offset");
        fs::write(&path, 0_i64.to_ne_bytes()).expect("there is room");
        let offset = File::options().write(true).open(&path);
        let offset = offset.expect("it was just made");
        Self { shim, path, offset }
    }

    /// The library that a process loads that goes by it.
    #[must_use]
    pub fn library(&self) -> &Path {
        &self.shim
    }

    /// What a process needs in its environment to go by it.
    #[must_use]
    pub fn env(&self) -> [(&'static str, String); 2] {
        [
            ("LD_PRELOAD", self.shim.display().to_string()),
            ("CLOUDAI_TEST_CLOCK", self.path.display().to_string()),
        ]
    }

    /// Steps it to so far from the true time.
    ///
    /// # Panics
    /// If its file is gone.
    pub fn step_to(&self, offset_s: i64) {
        let written = self.offset.write_all_at(&offset_s.to_ne_bytes(), 0);
        written.expect("the file is there");
    }
}
