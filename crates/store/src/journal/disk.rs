//! What the journal asks of its disk beyond writing a file that is open; tests make it fail there.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::Path,
};

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    #[cfg(any(test, feature = "fakes"))]
    faults: std::sync::Arc<Faults>,
}

/// What fails, as on a disk that is full, broken or mounted read-only.
#[cfg(any(test, feature = "fakes"))]
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) no_write: std::sync::atomic::AtomicBool,
    pub(super) no_remove: std::sync::atomic::AtomicBool,
    pub(super) no_sync_of_folder: std::sync::atomic::AtomicBool,
}

impl Disk {
    #[cfg(any(test, feature = "fakes"))]
    pub(super) fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Writes at a place of the file, on the disk when it returns.
    pub(super) fn write(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        #[cfg(any(test, feature = "fakes"))]
        fails_if(&self.faults.no_write)?;
        file.write_all_at(bytes, at)?;
        file.sync_data()
    }

    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        #[cfg(any(test, feature = "fakes"))]
        fails_if(&self.faults.no_remove)?;
        fs::remove_file(path)
    }

    /// Flushes which files a folder holds.
    pub(super) fn sync_folder_of(&self, path: &Path) -> io::Result<()> {
        #[cfg(any(test, feature = "fakes"))]
        fails_if(&self.faults.no_sync_of_folder)?;
        match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
            _ => File::open(".")?.sync_all(),
        }
    }
}

#[cfg(any(test, feature = "fakes"))]
fn fails_if(fault: &std::sync::atomic::AtomicBool) -> io::Result<()> {
    match fault.load(std::sync::atomic::Ordering::Relaxed) {
        true => Err(io::Error::other("the disk fails, as the test wants")),
        false => Ok(()),
    }
}
