//! Space of a file system, and what disks read and write.

use std::{collections::BTreeSet, io, path::Path};

/// A sector of `/proc/diskstats`, whatever the disk's own are.
const SECTOR_BYTES: u64 = 512;

/// Space of the file system that a path is on, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What is taken.
    pub used_bytes: u64,
    /// What users without special rights may still take.
    pub available_bytes: u64,
    /// Whether another file can be made, where that is limited by itself.
    pub has_files: bool,
}

impl Space {
    /// That of the file system on which `path` is.
    ///
    /// # Errors
    /// If there is no such path, or the system can't tell.
    pub fn of(path: &Path) -> io::Result<Self> {
        let found = rustix::fs::statvfs(path)?;
        Ok(Self {
            used_bytes: found.f_blocks.saturating_sub(found.f_bfree) * found.f_frsize,
            available_bytes: found.f_bavail * found.f_frsize,
            // Some file systems have no such limit, and say 0 of both.
            has_files: found.f_favail > 0 || found.f_files == 0,
        })
    }

    /// All that users without special rights can have of it, in bytes: what is taken and what is
    /// available.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.used_bytes.saturating_add(self.available_bytes)
    }

    /// How much of it is taken, in percent, as `df` counts it.
    #[must_use]
    pub fn used_percent(&self) -> f64 {
        match self.total_bytes() {
            0 => 0.0,
            total => 100.0 * self.used_bytes as f64 / total as f64,
        }
    }
}

/// Bytes that disks read and wrote since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct DiskBytes {
    pub(crate) read: u64,
    pub(crate) written: u64,
}

impl DiskBytes {
    /// Sums `/proc/diskstats` over the disks of these names.
    ///
    /// The kernel lists partitions, and the devices that stand on others (LVM, RAID, loop), beside
    /// the disks themselves, so that a sum over all would count bytes more than once.
    pub(crate) fn parse(diskstats: &str, disks: &BTreeSet<String>) -> Self {
        let mut sum = Self::default();
        for line in diskstats.lines() {
            // major minor name reads merged sectors ms writes merged sectors ms ...
            let words: Vec<_> = line.split_ascii_whitespace().take(10).collect();
            let [_, _, name, _, _, read, _, _, _, written] = words[..] else {
                continue;
            };
            if let (true, Ok(read), Ok(written)) = (
                disks.contains(name),
                read.parse::<u64>(),
                written.parse::<u64>(),
            ) {
                sum.read += read * SECTOR_BYTES;
                sum.written += written * SECTOR_BYTES;
            }
        }
        sum
    }
}

/// Names of the disks that stand on no other: those with a device behind them in `/sys/block`.
pub(crate) fn whole_disks(sys_block: &Path) -> BTreeSet<String> {
    let Ok(entries) = std::fs::read_dir(sys_block) else {
        // Without /sys (in a small container) nothing is known of disks.
        return BTreeSet::new();
    };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().join("device").exists())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a machine with LVM over a disk's second partition, and of a second disk.
    const DISKSTATS: &str = "\
   7       0 loop0 53 0 2198 12 0 0 0 0 0 36 12 0 0 0 0 0 0
 259       0 nvme0n1 1000 10 80000 300 500 20 40000 700 0 900 1000 0 0 0 0 9 1
 259       1 nvme0n1p1 10 0 800 3 0 0 0 0 0 9 3 0 0 0 0 0 0
 259       2 nvme0n1p2 990 10 79200 297 500 20 40000 700 0 890 997 0 0 0 0 0 0
 253       0 dm-0 1000 0 79200 297 520 0 40000 700 0 890 997 0 0 0 0 0 0
   8       0 sda 1 0 8 0 2 0 16 0 0 0 0
";

    #[test]
    fn each_byte_is_counted_once() {
        let disks = ["nvme0n1", "sda"].map(str::to_owned).into();
        let bytes = DiskBytes::parse(DISKSTATS, &disks);
        assert_eq!(bytes.read, (80_000 + 8) * 512);
        assert_eq!(bytes.written, (40_000 + 16) * 512);
    }

    #[test]
    fn only_what_has_a_device_behind_it_is_a_disk() {
        let sys = tempfile::tempdir().unwrap();
        for name in ["loop0", "dm-0", "nvme0n1/device", "sda/device"] {
            std::fs::create_dir_all(sys.path().join(name)).unwrap();
        }
        let disks = whole_disks(sys.path());
        assert_eq!(disks, ["nvme0n1", "sda"].map(str::to_owned).into());
        assert!(whole_disks(&sys.path().join("missing")).is_empty());
    }

    #[test]
    fn space_is_that_of_the_paths_file_system() {
        let folder = tempfile::tempdir().unwrap();
        let space = Space::of(folder.path()).unwrap();
        assert!(space.available_bytes > 0 && space.has_files);
        assert!((0.0..=100.0).contains(&space.used_percent()));
        assert!(Space::of(&folder.path().join("missing")).is_err());
    }
}
