//! What an engine tells of itself, and which of the protections of containers it can't give.

use std::fmt;

use bollard::models::{SystemInfo, SystemVersion};

/// What an engine tells of itself and of the machine that it runs containers on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EngineInfo {
    /// Version of the engine, such as `20.10.24`.
    pub version: String,
    /// The newest API it speaks, such as `1.41`.
    pub api_version: String,
    /// 1 or 2; `None` where it doesn't say.
    pub cgroup_version: Option<u8>,
    /// Storage driver, such as `overlay2`.
    pub storage_driver: String,
    /// Where it keeps images and containers, on its machine.
    pub root_dir: String,
    /// Cores of its machine.
    pub cpus: u32,
    /// Memory of its machine in bytes.
    pub memory_bytes: u64,
    /// Operating system of its containers, such as `linux`.
    pub os: String,
    /// Architecture, such as `x86_64`.
    pub arch: String,
    /// Whether it has the small init process that `docker run --init` uses.
    pub has_init: bool,
    /// What containers go without there.
    pub lacks: Vec<Lack>,
}

/// A protection that every container should have and that an engine can't give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// It filters no system calls.
    Seccomp,
    /// It limits no memory.
    MemoryLimit,
    /// It limits memory, but not what is swapped out beside it.
    SwapLimit,
    /// It limits no CPU time.
    CpuLimit,
    /// It limits no number of processes.
    PidsLimit,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Seccomp => "has no seccomp profile: containers may make any system call",
            Self::MemoryLimit => "can't limit memory: a task may take all of this machine's",
            Self::SwapLimit => "can't limit swap: a task may take more memory than it was given",
            Self::CpuLimit => "can't limit CPU time: a task may take all cores",
            Self::PidsLimit => "can't limit processes: a task may start any number",
        })
    }
}

impl EngineInfo {
    pub(crate) fn new(version: SystemVersion, info: SystemInfo) -> Self {
        Self {
            has_init: has_init(&info),
            lacks: lacks(&info),
            version: version.version.unwrap_or_default(),
            api_version: version.api_version.unwrap_or_default(),
            cgroup_version: info
                .cgroup_version
                .and_then(|version| version.to_string().parse().ok()),
            storage_driver: info.driver.unwrap_or_default(),
            root_dir: info.docker_root_dir.unwrap_or_default(),
            cpus: info.ncpu.and_then(|n| n.try_into().ok()).unwrap_or(0),
            memory_bytes: info.mem_total.and_then(|n| n.try_into().ok()).unwrap_or(0),
            os: info.os_type.unwrap_or_default(),
            arch: info.architecture.unwrap_or_default(),
        }
    }
}

/// An engine without `docker-init` beside it gives its commit as `N/A`.
fn has_init(info: &SystemInfo) -> bool {
    let commit = info.init_commit.as_ref().and_then(|c| c.id.as_deref());
    commit != Some("N/A")
}

/// What an engine says plainly that it lacks. A limit that it doesn't mention is no lack: engines leave
/// words out that have no meaning with their version of cgroups. A seccomp profile must be named.
fn lacks(info: &SystemInfo) -> Vec<Lack> {
    let options = info.security_options.as_deref().unwrap_or_default();
    // Such as `name=seccomp,profile=builtin`; `unconfined` is what `--seccomp-profile` may say.
    let filters = options
        .iter()
        .any(|option| option.starts_with("name=seccomp") && !option.contains("unconfined"));
    let no_memory = info.memory_limit == Some(false);
    let no_cpu = info.cpu_cfs_quota == Some(false);
    let each = [
        (Lack::Seccomp, !filters),
        (Lack::MemoryLimit, no_memory),
        (
            Lack::SwapLimit,
            !no_memory && info.swap_limit == Some(false),
        ),
        (Lack::CpuLimit, no_cpu),
        (Lack::PidsLimit, info.pids_limit == Some(false)),
    ];
    let lacking = each.into_iter().filter(|(_, lacking)| *lacking);
    lacking.map(|(lack, _)| lack).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of Docker 20.10 with cgroup v1 on Debian 12, cut to what is read.
    const CGROUP_1: &str = r#"{"MemoryLimit":true,"SwapLimit":true,"CpuCfsPeriod":true,
        "CpuCfsQuota":true,"PidsLimit":true,"CgroupDriver":"cgroupfs","CgroupVersion":"1",
        "NCPU":2,"MemTotal":25200000000,"Driver":"overlay2","OSType":"linux",
        "Architecture":"x86_64","InitCommit":{"ID":"","Expected":"de40ad0"},
        "SecurityOptions":["name=seccomp,profile=default"],"Warnings":null}"#;
    /// The same with cgroup v2, an init beside it, and a profile's newer name.
    const CGROUP_2: &str = r#"{"MemoryLimit":true,"SwapLimit":true,"CpuCfsPeriod":true,
        "CpuCfsQuota":true,"PidsLimit":true,"CgroupDriver":"systemd","CgroupVersion":"2",
        "NCPU":8,"MemTotal":16000000000,"Driver":"overlay2","OSType":"linux",
        "Architecture":"aarch64","InitCommit":{"ID":"de40ad0","Expected":"de40ad0"},
        "SecurityOptions":["name=apparmor","name=seccomp,profile=builtin","name=cgroupns"]}"#;

    fn info(json: &str) -> EngineInfo {
        EngineInfo::new(
            SystemVersion::default(),
            serde_json::from_str(json).unwrap(),
        )
    }

    #[test]
    fn engines_with_either_cgroup_version_lack_nothing() {
        for (json, version) in [(CGROUP_1, 1), (CGROUP_2, 2)] {
            let info = info(json);
            assert_eq!(info.cgroup_version, Some(version));
            assert_eq!(info.lacks, []);
            assert!(info.has_init);
        }
    }

    #[test]
    fn what_an_engine_lacks_is_named() {
        let without = |from: &str, to: &str| {
            let json = CGROUP_2.replace(from, to);
            assert_ne!(json, CGROUP_2);
            info(&json).lacks
        };
        assert_eq!(
            without(r#""name=seccomp,profile=builtin","#, ""),
            [Lack::Seccomp]
        );
        assert_eq!(without("=builtin", "=unconfined"), [Lack::Seccomp]);
        let words = [
            ("SwapLimit", Lack::SwapLimit),
            ("CpuCfsQuota", Lack::CpuLimit),
            ("PidsLimit", Lack::PidsLimit),
            ("MemoryLimit", Lack::MemoryLimit),
        ];
        for (word, lack) in words {
            let (has, has_not) = (format!(r#""{word}":true"#), format!(r#""{word}":false"#));
            assert_eq!(without(&has, &has_not), [lack]);
        }
    }
}
