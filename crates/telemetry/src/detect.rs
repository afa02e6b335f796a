//! What this machine can offer.

use std::{
    io,
    path::{Path, PathBuf},
};

use cloudai_model::Capacity;

use crate::{cgroup::Limits, disk::Space, memory::Memory};

/// Why it isn't known what this machine has.
#[derive(Debug, thiserror::Error)]
pub enum DetectError {
    /// The kernel doesn't say how much memory there is.
    #[error("/proc/meminfo could not be read; expected Linux with /proc mounted, or -mem")]
    Memory,
    /// The kernel doesn't say which cores this process may use.
    #[error("the cores of this machine could not be counted; name them with -cpu")]
    Cpu(#[source] io::Error),
    /// There is no telling the space at the path.
    #[error("the disk space at {} could not be read; expected an existing folder", path.display())]
    Storage {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What this process may hand on: the cores it may run on and its share of their time, the memory
/// of the machine or of its control group, and the space that is free where `storage` is. GPUs
/// are not looked for: 0.
///
/// # Errors
/// Which of them isn't known.
pub fn detect(storage: &Path) -> Result<Capacity, DetectError> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = Limits::read(&groups, Path::new("/sys/fs/cgroup"));

    let cores =
        rustix::thread::sched_getaffinity(None).map_err(|error| DetectError::Cpu(error.into()))?;
    let cpu_milli = u64::from(cores.count()) * 1000;
    let memory = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| Memory::parse(&text))
        .ok_or(DetectError::Memory)?;
    let space = Space::of(storage).map_err(|source| DetectError::Storage {
        path: storage.to_path_buf(),
        source,
    })?;
    Ok(Capacity {
        cpu_milli: limits
            .cpu_milli
            .map_or(cpu_milli, |quota| quota.min(cpu_milli)),
        memory_bytes: limits
            .memory_bytes
            .map_or(memory.total_bytes, |limit| limit.min(memory.total_bytes)),
        storage_bytes: space.available_bytes,
        gpus: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_something_of_everything_but_gpus() {
        let folder = tempfile::tempdir().unwrap();
        let found = detect(folder.path()).unwrap();
        assert!(found.cpu_milli > 0 && found.memory_bytes > 0 && found.storage_bytes > 0);
        assert_eq!(found.gpus, 0);
        let cores = std::thread::available_parallelism().unwrap().get() as u64;
        // The standard library rounds a quota down to whole cores, but never below one.
        assert_eq!((found.cpu_milli / 1000).max(1), cores);
    }

    #[test]
    fn a_folder_that_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = detect(&folder.path().join("missing")).unwrap_err();
        assert!(error.to_string().contains("missing"), "{error}");
    }
}
