//! Limits that control groups put on this process: a quota of CPU time, a limit of memory.
//!
//! A limit may stand on any group above the process's own, and the lowest of them holds. Both
//! cgroup versions are read where distributions mount them.

use std::path::{Path, PathBuf};

/// What this process may have; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Limits {
    /// Thousandths of a core.
    pub(crate) cpu_milli: Option<u64>,
    pub(crate) memory_bytes: Option<u64>,
}

impl Limits {
    /// Reads the limits of the groups in `proc_self_cgroup` (the text of `/proc/self/cgroup`)
    /// under the mount point `root` (`/sys/fs/cgroup`).
    pub(crate) fn read(proc_self_cgroup: &str, root: &Path) -> Self {
        let mut limits = Self::default();
        for line in proc_self_cgroup.lines() {
            // hierarchy:controllers:path, with no controllers for version 2
            let mut parts = line.splitn(3, ':');
            let (Some(_), Some(controllers), Some(path)) =
                (parts.next(), parts.next(), parts.next())
            else {
                continue;
            };
            let path = Path::new(path.trim_start_matches('/'));
            if controllers.is_empty() {
                limits.take(lowest(root, path, cpu_max), lowest(root, path, memory_max));
            }
            for controller in controllers.split(',') {
                let mount = root.join(controller);
                match controller {
                    "cpu" => limits.take(lowest(&mount, path, cfs_quota), None),
                    "memory" => limits.take(None, lowest(&mount, path, limit_in_bytes)),
                    _ => {}
                }
            }
        }
        limits
    }

    fn take(&mut self, cpu_milli: Option<u64>, memory_bytes: Option<u64>) {
        self.cpu_milli = smaller(self.cpu_milli, cpu_milli);
        self.memory_bytes = smaller(self.memory_bytes, memory_bytes);
    }
}

fn smaller(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    a.into_iter().chain(b).min()
}

/// The lowest limit from a group up to the mount point. In a container the path may be that of the
/// host, of which only the mount point exists here, as the container's own group.
fn lowest(mount: &Path, group: &Path, limit: fn(&Path) -> Option<u64>) -> Option<u64> {
    let group: PathBuf = mount.join(group);
    group
        .ancestors()
        .take_while(|folder| folder.starts_with(mount))
        .filter_map(limit)
        .min()
}

/// Version 2: `max 100000` or `150000 100000`.
fn cpu_max(group: &Path) -> Option<u64> {
    let text = read(group, "cpu.max")?;
    let (quota, period) = text.split_once(' ')?;
    milli(quota.parse().ok()?, period.parse().ok()?)
}

/// Version 2: `max` or bytes.
fn memory_max(group: &Path) -> Option<u64> {
    read(group, "memory.max")?.parse().ok()
}

/// Version 1: microseconds, -1 for no limit.
fn cfs_quota(group: &Path) -> Option<u64> {
    let quota = read(group, "cpu.cfs_quota_us")?.parse().ok()?;
    milli(quota, read(group, "cpu.cfs_period_us")?.parse().ok()?)
}

/// Version 1: bytes; no limit is a number near 2^63, more than any machine has.
fn limit_in_bytes(group: &Path) -> Option<u64> {
    let bytes: u64 = read(group, "memory.limit_in_bytes")?.parse().ok()?;
    (bytes < 1 << 60).then_some(bytes)
}

fn milli(quota_us: u64, period_us: u64) -> Option<u64> {
    quota_us.saturating_mul(1000).checked_div(period_us)
}

fn read(group: &Path, file: &str) -> Option<String> {
    let text = std::fs::read_to_string(group.join(file)).ok()?;
    Some(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn the_lowest_limit_on_the_way_up_holds_in_version_2() {
        let root = tree(&[
            ("system.slice/cpu.max", "150000 100000\n"),
            ("system.slice/worker.service/cpu.max", "max 100000\n"),
            ("system.slice/worker.service/memory.max", "1073741824\n"),
            ("system.slice/memory.max", "2147483648\n"),
        ]);
        let limits = Limits::read("0::/system.slice/worker.service\n", root.path());
        assert_eq!(limits.cpu_milli, Some(1500));
        assert_eq!(limits.memory_bytes, Some(1 << 30));
    }

    #[test]
    fn version_1_has_a_folder_for_each_controller() {
        let root = tree(&[
            ("cpu/a/cpu.cfs_quota_us", "50000\n"),
            ("cpu/a/cpu.cfs_period_us", "100000\n"),
            ("memory/a/memory.limit_in_bytes", "9223372036854771712\n"),
        ]);
        let text = "4:memory:/a\n3:cpu,cpuacct:/a\n1:name=systemd:/a\n";
        let limits = Limits::read(text, root.path());
        assert_eq!(limits.cpu_milli, Some(500));
        assert_eq!(limits.memory_bytes, None, "that is no limit");
    }

    #[test]
    fn a_container_that_sees_its_hosts_path_has_its_limit_at_the_mount_point() {
        let root = tree(&[("memory/memory.limit_in_bytes", "1048576\n")]);
        let limits = Limits::read("4:memory:/docker/0123\n", root.path());
        assert_eq!(limits.memory_bytes, Some(1 << 20));
    }

    #[test]
    fn without_groups_there_is_no_limit() {
        let root = tree(&[("cpu/cpu.cfs_quota_us", "-1\n")]);
        assert_eq!(
            Limits::read("3:cpu:/\n0::/x\nnonsense\n", root.path()),
            Limits::default()
        );
    }
}
