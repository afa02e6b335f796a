//! Amounts of every resource in one line, at length and in short.

use cloudai_core::registry::Allocated;
use cloudai_model::{Resources, resources::bytes_to_gb};

/// What a task wants, or a worker has promised. GPUs in thousandths of one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Amounts {
    cpu_milli: u64,
    memory_bytes: u64,
    storage_bytes: u64,
    gpu_milli: u32,
}

impl From<&Resources> for Amounts {
    fn from(of: &Resources) -> Self {
        Self {
            cpu_milli: of.cpu_milli,
            memory_bytes: of.memory_bytes,
            storage_bytes: of.storage_bytes,
            gpu_milli: of.gpu.milli(),
        }
    }
}

impl From<&Allocated> for Amounts {
    fn from(of: &Allocated) -> Self {
        Self {
            cpu_milli: of.cpu_milli,
            memory_bytes: of.memory_bytes,
            storage_bytes: of.storage_bytes,
            gpu_milli: of.gpu_milli(),
        }
    }
}

impl Amounts {
    /// `CPU 4, memory 8.0 GB, storage 1.0 GB, GPU 1`.
    pub(crate) fn at_length(self) -> String {
        let gpu = match self.gpu_milli {
            0 => String::new(),
            milli => format!(", GPU {}", f64::from(milli) / 1000.0),
        };
        format!(
            "CPU {}, memory {:.1} GB, storage {:.1} GB{gpu}",
            self.cpu_milli as f64 / 1000.0,
            bytes_to_gb(self.memory_bytes),
            bytes_to_gb(self.storage_bytes)
        )
    }

    /// `4 cpu, 8.0 GB, 1 gpu`.
    pub(crate) fn in_short(self) -> String {
        let gpu = match self.gpu_milli {
            0 => String::new(),
            milli => format!(", {} gpu", f64::from(milli) / 1000.0),
        };
        let (cores, memory) = (
            self.cpu_milli as f64 / 1000.0,
            bytes_to_gb(self.memory_bytes),
        );
        format!("{cores} cpu, {memory:.1} GB{gpu}")
    }
}
