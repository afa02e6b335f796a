//! What a machine uses, compact: seven numbers of four bytes, exact to seven digits.

use cloudai_model::HostUsage;

/// How many figures there are.
pub(super) const COUNT: usize = 7;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Figures {
    /// Percent of all cores.
    pub cpu_percent: f32,
    /// Bytes of memory in use.
    pub memory_bytes: f32,
    /// Bytes of disk in use.
    pub storage_bytes: f32,
    /// Percent of all GPUs.
    pub gpu_percent: f32,
    /// Bytes a second read from disks.
    pub disk_read_bytes_per_s: f32,
    /// Bytes a second written to disks.
    pub disk_write_bytes_per_s: f32,
    /// Attempts that it was given and that have not ended.
    pub attempts: f32,
}

impl Figures {
    /// From what a worker said, and what it was given.
    #[must_use]
    pub fn of(usage: &HostUsage, attempts: usize) -> Self {
        Self::from([
            usage.cpu_percent,
            usage.memory_bytes as f64,
            usage.storage_bytes as f64,
            usage.gpu_percent,
            usage.disk_read_bytes_per_s,
            usage.disk_write_bytes_per_s,
            attempts as f64,
        ])
    }

    pub(super) fn to_array(self) -> [f32; COUNT] {
        [
            self.cpu_percent,
            self.memory_bytes,
            self.storage_bytes,
            self.gpu_percent,
            self.disk_read_bytes_per_s,
            self.disk_write_bytes_per_s,
            self.attempts,
        ]
    }
}

impl From<[f64; COUNT]> for Figures {
    /// What is no number reads as nothing, what is too large as the largest.
    fn from(figures: [f64; COUNT]) -> Self {
        let finite = |it: f64| if it.is_nan() { 0.0 } else { it };
        let most = f64::from(f32::MAX);
        figures
            .map(|it| finite(it).clamp(-most, most) as f32)
            .into()
    }
}

impl From<[f32; COUNT]> for Figures {
    fn from(figures: [f32; COUNT]) -> Self {
        let [
            cpu_percent,
            memory_bytes,
            storage_bytes,
            gpu_percent,
            disk_read_bytes_per_s,
            disk_write_bytes_per_s,
            attempts,
        ] = figures;
        Self {
            cpu_percent,
            memory_bytes,
            storage_bytes,
            gpu_percent,
            disk_read_bytes_per_s,
            disk_write_bytes_per_s,
            attempts,
        }
    }
}
