//! What this machine uses, sampled.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

use cloudai_model::{HostUsage, Mono, Now};

use crate::{
    cpu::CpuTicks,
    disk::{DiskBytes, Space, whole_disks},
    memory::Memory,
};

/// Why a sample wasn't taken.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// A file of the kernel's could not be read.
    #[error("{path} could not be read; expected Linux with /proc mounted")]
    Read {
        /// Which.
        path: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of the kernel's is not as documented.
    #[error("{path} is not of the form that proc(5) describes")]
    Malformed {
        /// Which.
        path: &'static str,
    },
    /// There is no telling the space at the path.
    #[error("the disk space at {} could not be read", path.display())]
    Storage {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What counts up since boot.
#[derive(Debug, Clone, Copy)]
struct Counters {
    at: Mono,
    cpu: CpuTicks,
    disks: DiskBytes,
}

/// Takes samples. Rates are over the time since the sample before, 0 in the first.
#[derive(Debug)]
pub struct Sampler {
    storage: PathBuf,
    before: Option<Counters>,
    usage: HostUsage,
}

impl Sampler {
    /// A sampler that gives the use of the file system on which `storage` is.
    #[must_use]
    pub fn new(storage: &Path) -> Self {
        Self {
            storage: storage.to_path_buf(),
            before: None,
            usage: HostUsage::default(),
        }
    }

    /// What the machine uses at `now`. GPUs are not looked at: 0.
    ///
    /// # Errors
    /// Which figure isn't to be had; the sampler can go on.
    pub fn sample(&mut self, now: Now) -> Result<HostUsage, SampleError> {
        let meminfo = read("/proc/meminfo")?;
        let memory = Memory::parse(&meminfo).ok_or(SampleError::Malformed {
            path: "/proc/meminfo",
        })?;
        let stat = read("/proc/stat")?;
        let cpu = CpuTicks::parse(&stat).ok_or(SampleError::Malformed { path: "/proc/stat" })?;
        let space = Space::of(&self.storage).map_err(|source| SampleError::Storage {
            path: self.storage.clone(),
            source,
        })?;
        // Disks come and go; a kernel without block devices has no such file.
        let disks: BTreeSet<_> = whole_disks(Path::new("/sys/block"));
        let diskstats = std::fs::read_to_string("/proc/diskstats").unwrap_or_default();
        let counters = Counters {
            at: now.mono,
            cpu,
            disks: DiskBytes::parse(&diskstats, &disks),
        };
        self.usage.memory_bytes = memory.used_bytes();
        self.usage.storage_bytes = space.used_bytes;
        self.take(counters);
        Ok(self.usage)
    }

    /// Makes rates of what was counted since the sample before. A sample in the same tick keeps
    /// the rates of that one.
    fn take(&mut self, counters: Counters) {
        if let Some(before) = self.before {
            let seconds = counters.at.since(before.at).as_secs_f64();
            let percent = counters.cpu.percent_since(before.cpu);
            let (Some(percent), true) = (percent, seconds > 0.0) else {
                return;
            };
            // A disk that was taken out takes its count with it.
            let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
            self.usage.cpu_percent = percent;
            self.usage.disk_read_bytes_per_s = rate(counters.disks.read, before.disks.read);
            self.usage.disk_write_bytes_per_s = rate(counters.disks.written, before.disks.written);
        }
        self.before = Some(counters);
    }
}

fn read(path: &'static str) -> Result<String, SampleError> {
    std::fs::read_to_string(path).map_err(|source| SampleError::Read { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(at_ms: u64, busy: u64, total: u64, read: u64) -> Counters {
        Counters {
            at: Mono(at_ms),
            cpu: CpuTicks { busy, total },
            disks: DiskBytes { read, written: 0 },
        }
    }

    #[test]
    fn rates_are_over_the_time_between_two_samples() {
        let mut sampler = Sampler::new(Path::new("/"));
        sampler.take(counted(1000, 500, 5000, 1_000_000));
        assert_eq!(sampler.usage.cpu_percent, 0.0, "the first has no before");

        sampler.take(counted(3000, 600, 5400, 5_000_000));
        assert_eq!(sampler.usage.cpu_percent, 25.0);
        assert_eq!(sampler.usage.disk_read_bytes_per_s, 2_000_000.0);

        // When no time has passed, then the rates stand and nothing is lost for the next.
        sampler.take(counted(3000, 600, 5400, 5_000_000));
        assert_eq!(sampler.usage.cpu_percent, 25.0);

        // When a disk is gone, then nothing was read rather than less than nothing.
        sampler.take(counted(4000, 800, 5600, 0));
        assert_eq!(sampler.usage.cpu_percent, 100.0);
        assert_eq!(sampler.usage.disk_read_bytes_per_s, 0.0);
    }

    #[test]
    fn work_on_this_machine_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let mut sampler = Sampler::new(folder.path());
        let at = |ms| Now {
            mono: Mono(ms),
            ..Now::default()
        };
        let first = sampler.sample(at(0)).unwrap();
        assert!(first.memory_bytes > 0);

        // Given a core at work, when samples are taken until ticks have passed,
        // then some of the CPU was busy.
        let mut sum = 0_u64;
        for round in 1..10_000 {
            sum = (0..200_000_u64).fold(sum, |sum, n| sum.wrapping_mul(31).wrapping_add(n));
            let usage = sampler.sample(at(round)).unwrap();
            assert!((0.0..=100.0).contains(&usage.cpu_percent));
            if usage.cpu_percent > 0.0 {
                return;
            }
        }
        panic!("never busy; {sum}");
    }
}
