//! What a container uses, from the engine's figures, which have two shapes for the two cgroup
//! versions.

use std::time::Duration;

use bollard::{
    errors::Error as BollardError,
    models::{ContainerMemoryStats, ContainerStatsResponse},
    query_parameters::{InspectContainerOptionsBuilder, StatsOptionsBuilder},
};
use cloudai_model::PeakUsage;
use futures_util::StreamExt as _;
use tokio::time::timeout;

use crate::{Engine, EngineError, plan::ContainerId};

/// How long a sample may take; one that is late is of no use.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// What a running container uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Memory it holds now, in bytes, without page cache that the kernel would give back: what
    /// `docker stats` shows.
    pub memory_bytes: u64,
    /// The most it held so far, in bytes, as far as it is known: the kernel's own mark where the
    /// engine gives it (cgroup v1), less the page cache of now; what it holds now elsewhere.
    pub memory_peak_bytes: u64,
    /// CPU time so far, over all cores.
    pub cpu_time: Duration,
}

impl Usage {
    /// Takes this sample into the peak of those before it.
    pub fn fold_into(&self, peak: &mut PeakUsage) {
        peak.memory_bytes = peak.memory_bytes.max(self.memory_peak_bytes);
        peak.cpu_time = peak.cpu_time.max(self.cpu_time);
    }
}

impl Engine {
    /// What a container uses just now; `None` if it doesn't run. Its figures vanish with its end,
    /// so ask while it runs.
    ///
    /// # Errors
    /// If the engine doesn't answer.
    pub async fn sample(&self, id: &ContainerId) -> Result<Option<Usage>, EngineError> {
        // One shot: without it the engine takes two samples a second apart to compare them.
        let options = StatsOptionsBuilder::new()
            .stream(false)
            .one_shot(true)
            .build();
        let mut answers = std::pin::pin!(self.docker.stats(id.as_str(), Some(options)));
        let Ok(answer) = timeout(ANSWER_LIMIT, answers.next()).await else {
            return Err(EngineError::stood_still());
        };
        match answer {
            Some(Ok(stats)) => Ok(usage_of(&stats)),
            Some(Err(BollardError::DockerResponseServerError {
                status_code: 404 | 409,
                ..
            }))
            | None => Ok(None),
            Some(Err(error)) => Err(EngineError::from_bollard(error)),
        }
    }
}

impl Engine {
    /// What a container has written to its own layer, in bytes: everything but volumes and what is
    /// mounted. The engine walks the layer's files for it, so it takes the longer the more they are.
    ///
    /// # Errors
    /// If the container isn't there, or the engine isn't.
    pub async fn written_bytes(&self, id: &ContainerId) -> Result<u64, EngineError> {
        let options = InspectContainerOptionsBuilder::new().size(true).build();
        let answer = self
            .docker
            .inspect_container(id.as_str(), Some(options))
            .await;
        let size = answer.map_err(EngineError::from_bollard)?.size_rw;
        Ok(size.and_then(|size| size.try_into().ok()).unwrap_or(0))
    }
}

/// `None` if the figures are those of a container that doesn't run: all empty.
pub(crate) fn usage_of(stats: &ContainerStatsResponse) -> Option<Usage> {
    let memory = stats.memory_stats.as_ref()?;
    let held = memory.usage?;
    let cache = reclaimable_cache(memory);
    let memory_bytes = held.saturating_sub(cache);
    let mark = memory.max_usage.unwrap_or(0).saturating_sub(cache);
    let cpu_ns = stats
        .cpu_stats
        .as_ref()
        .and_then(|cpu| cpu.cpu_usage.as_ref()?.total_usage)
        .unwrap_or(0);
    Some(Usage {
        memory_bytes,
        memory_peak_bytes: memory_bytes.max(mark),
        cpu_time: Duration::from_nanos(cpu_ns),
    })
}

/// Page cache that isn't in use: `total_inactive_file` on cgroup v1, `inactive_file` on v2, as
/// `docker stats` counts it (docker/cli, `cli/command/container/stats_helpers.go`).
fn reclaimable_cache(memory: &ContainerMemoryStats) -> u64 {
    let Some(stats) = &memory.stats else { return 0 };
    ["total_inactive_file", "inactive_file"]
        .iter()
        .find_map(|key| stats.get(*key).copied())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Captured from an engine 20.10.24 on cgroup v1 (what isn't read is left out): a shell that
    /// holds 8 MB, after it has written a file of 20 MiB.
    const V1: &str = r#"{
        "read": "2026-11-21T07:13:09.937781475Z", "preread": "0001-01-01T00:00:00Z",
        "cpu_stats": {
            "cpu_usage": {
                "total_usage": 313123696, "percpu_usage": [237137241, 75986455],
                "usage_in_kernelmode": 210000000, "usage_in_usermode": 100000000
            },
            "system_cpu_usage": 7544900000000, "online_cpus": 2
        },
        "memory_stats": {
            "usage": 30527488, "max_usage": 31735808, "limit": 67108864,
            "stats": {
                "active_anon": 4096, "cache": 20975616, "inactive_anon": 8204288,
                "inactive_file": 20971520, "total_cache": 20975616,
                "total_inactive_file": 20971520, "total_rss": 8208384
            }
        }
    }"#;

    /// Written after the description of `GET /containers/{id}/stats` in the Engine API reference
    /// (v1.41 and later): on cgroup v2 there is no `max_usage` and no `percpu_usage`, and the
    /// names in `stats` are those of the kernel's `memory.stat`.
    const V2: &str = r#"{
        "read": "2026-11-21T07:13:09.937781475Z", "preread": "0001-01-01T00:00:00Z",
        "cpu_stats": {
            "cpu_usage": {
                "total_usage": 313123000,
                "usage_in_kernelmode": 210000000, "usage_in_usermode": 103123000
            },
            "system_cpu_usage": 7544900000000, "online_cpus": 2
        },
        "memory_stats": {
            "usage": 30527488, "limit": 67108864,
            "stats": {
                "active_anon": 4096, "active_file": 4096, "anon": 8208384, "file": 20975616,
                "inactive_anon": 8204288, "inactive_file": 20971520, "kernel_stack": 49152,
                "pgfault": 10364, "slab": 262144
            }
        }
    }"#;

    /// Captured from the same engine as the first, of a container that has ended.
    const ENDED: &str = r#"{
        "read": "0001-01-01T00:00:00Z", "preread": "0001-01-01T00:00:00Z", "pids_stats": {},
        "cpu_stats": {
            "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0}
        },
        "memory_stats": {}
    }"#;

    fn usage(json: &str) -> Option<Usage> {
        usage_of(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn both_cgroup_versions_give_memory_without_idle_page_cache() {
        let (v1, v2) = (usage(V1).unwrap(), usage(V2).unwrap());
        assert_eq!(v1.memory_bytes, 30_527_488 - 20_971_520);
        assert_eq!(v2.memory_bytes, v1.memory_bytes);
        assert_eq!(v1.cpu_time, Duration::from_nanos(313_123_696));
        assert_eq!(v2.cpu_time, Duration::from_nanos(313_123_000));
    }

    #[test]
    fn the_kernels_mark_counts_where_there_is_one() {
        assert_eq!(
            usage(V1).unwrap().memory_peak_bytes,
            31_735_808 - 20_971_520
        );
        let v2 = usage(V2).unwrap();
        assert_eq!(v2.memory_peak_bytes, v2.memory_bytes);
    }

    #[test]
    fn a_container_that_has_ended_uses_nothing_that_is_known() {
        assert_eq!(usage(ENDED), None);
    }

    #[test]
    fn a_peak_only_rises() {
        let mut peak = PeakUsage::default();
        for (memory_peak_bytes, ms) in [(5, 10), (9, 20), (7, 30)] {
            let sample = Usage {
                memory_bytes: 1,
                memory_peak_bytes,
                cpu_time: Duration::from_millis(ms),
            };
            sample.fold_into(&mut peak);
        }
        assert_eq!(peak.memory_bytes, 9);
        assert_eq!(peak.cpu_time, Duration::from_millis(30));
    }
}
