//! Amounts of compute as exact integers: milli-cores, bytes, milli-GPUs of a device.
//!
//! Outside, CPU is in cores, memory and storage in GB of 2^30 bytes, GPU in devices, fractions
//! allowed. They become integers here, once; sums and comparisons inside are exact.

use std::fmt;

/// Bytes in a GB of the contract.
pub const GB: u64 = 1 << 30;
/// Milli-GPUs in a whole device.
pub const WHOLE_DEVICE: u32 = 1000;

/// Above this no amount is believed: a million cores, GB or devices.
const LIMIT: f64 = 1_000_000.0;

/// An amount that can't be meant.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{} is not valid: expected {expected}", shown(*value))]
pub struct ResourceError {
    value: f64,
    expected: &'static str,
}

/// A number as an error quotes it: not with hundreds of digits.
pub(crate) fn shown(value: f64) -> String {
    match value.abs() {
        size if size == 0.0 || (1e-6..1e21).contains(&size) => format!("{value}"),
        _ => format!("{value:e}"),
    }
}

/// Cores to milli-cores, rounded to the nearest.
///
/// # Errors
/// If it isn't a number from 0 to a million, or so small that nothing is left of it.
pub fn milli_cores(cores: f64) -> Result<u64, ResourceError> {
    scaled(
        cores,
        1000.0,
        "at least 0.01 and at most 1000000 cores, such as 0.5 or 4",
    )
}

/// The smallest share of a core that the kernel's scheduler gives: 1 ms in 100.
pub const LEAST_CPU_MILLI: u64 = 10;

/// GB to bytes, rounded to the nearest.
///
/// # Errors
/// If it isn't a number from 0 to a million.
pub fn gb_to_bytes(gb: f64) -> Result<u64, ResourceError> {
    scaled(
        gb,
        GB as f64,
        "at least 0 and at most 1000000 GB, such as 0.5 or 16",
    )
}

fn scaled(value: f64, unit: f64, expected: &'static str) -> Result<u64, ResourceError> {
    let amount = (value * unit).round();
    if !(0.0..=LIMIT).contains(&value) || (value > 0.0 && amount == 0.0) {
        return Err(ResourceError { value, expected });
    }
    // In range by the check above: at most 2^30 * 10^6, below 2^53.
    Ok(amount as u64)
}

/// Bytes as GB.
#[must_use]
pub fn bytes_to_gb(bytes: u64) -> f64 {
    bytes as f64 / GB as f64
}

/// An amount of memory or disk for people: `512 MB`, `1.5 GB`.
#[must_use]
pub fn size_words(bytes: u64) -> String {
    let (amount, unit) = match bytes {
        GB.. => (bytes_to_gb(bytes), "GB"),
        _ => (bytes as f64 / (1 << 20) as f64, "MB"),
    };
    let amount = format!("{amount:.1}");
    format!("{} {unit}", amount.strip_suffix(".0").unwrap_or(&amount))
}

/// What a task wants of a worker's GPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum GpuRequest {
    /// Nothing.
    #[default]
    None,
    /// A share of one device, in milli-GPUs, 1 to 999.
    Share(u16),
    /// This many whole devices.
    Whole(u16),
}

impl GpuRequest {
    /// From a number of devices.
    ///
    /// # Errors
    /// If it is negative, not a number, huge, or above 1 and not whole.
    pub fn from_devices(devices: f64) -> Result<Self, ResourceError> {
        let expected = "at least 0 and at most 1000: a share of one device below 1 (at least \
                        0.001, such as 0.25), or a whole number of devices";
        let error = || ResourceError {
            value: devices,
            expected,
        };
        if !(0.0..=1000.0).contains(&devices) {
            return Err(error());
        }
        let milli = (devices * 1000.0).round() as u32;
        match milli {
            0 if devices > 0.0 => Err(error()),
            0 => Ok(Self::None),
            1..WHOLE_DEVICE => Ok(Self::Share(milli as u16)),
            _ if milli.is_multiple_of(WHOLE_DEVICE) => {
                Ok(Self::Whole((milli / WHOLE_DEVICE) as u16))
            }
            _ => Err(error()),
        }
    }

    /// In devices.
    #[must_use]
    pub fn devices(self) -> f64 {
        f64::from(self.milli()) / 1000.0
    }

    /// In milli-GPUs over all devices.
    #[must_use]
    pub fn milli(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Share(milli) => u32::from(milli),
            Self::Whole(devices) => u32::from(devices) * WHOLE_DEVICE,
        }
    }
}

/// What a task needs to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Resources {
    /// Thousandths of a core.
    pub cpu_milli: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Bytes of disk.
    pub storage_bytes: u64,
    /// GPUs.
    pub gpu: GpuRequest,
}

/// What a task that asked for no storage may take all the same.
const LEAST_STORAGE: u64 = 64 << 20;
/// What a task may leave beyond twice the storage that it asked for.
const BEYOND_STORAGE: u64 = 256 << 20;

/// Holes of so many bytes together are taken of a task's files: they take no room, but time, as they
/// count for the checksums.
pub const MOST_HOLE_BYTES: u64 = 256 << 30;

/// The most that a task with this much storage may have on disk.
#[must_use]
pub fn storage_limit(storage_bytes: u64) -> u64 {
    match storage_bytes {
        0 => LEAST_STORAGE,
        bytes => bytes,
    }
}

/// The most bytes of a log, and the most bytes of files, that a master takes of a task with this
/// much storage. It is more than the task asked for: a worker looks at its disk now and then only,
/// and what was written until then is kept, too.
#[must_use]
pub fn most_kept_bytes(storage_bytes: u64) -> u64 {
    storage_limit(storage_bytes)
        .saturating_mul(2)
        .saturating_add(BEYOND_STORAGE)
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} cores, {:.2} GB memory, {:.2} GB storage",
            self.cpu_milli as f64 / 1000.0,
            bytes_to_gb(self.memory_bytes),
            bytes_to_gb(self.storage_bytes)
        )?;
        match self.gpu {
            GpuRequest::None => Ok(()),
            gpu => write!(f, ", {} GPU", gpu.devices()),
        }
    }
}

/// A part of one device of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceShare {
    /// The device's index on its worker.
    pub device: u16,
    /// Milli-GPUs of it, 1 to 1000.
    pub milli: u16,
}

/// What a reservation takes from a worker: the request, with its devices named.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Grant {
    /// Thousandths of a core.
    pub cpu_milli: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Bytes of disk.
    pub storage_bytes: u64,
    /// Shares of devices, by rising index, each device once.
    pub devices: Vec<DeviceShare>,
}

impl Grant {
    /// Milli-GPUs over all devices.
    #[must_use]
    pub fn gpu_milli(&self) -> u32 {
        self.devices
            .iter()
            .map(|share| u32::from(share.milli))
            .sum()
    }

    /// What stays taken when the container has ended and only its files are left: the disk.
    #[must_use]
    pub fn without_compute(&self) -> Self {
        Self {
            storage_bytes: self.storage_bytes,
            ..Self::default()
        }
    }
}

/// What a worker offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Capacity {
    /// Thousandths of a core.
    pub cpu_milli: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Bytes of disk.
    pub storage_bytes: u64,
    /// Whole devices, indexed from 0.
    pub gpus: u16,
}

impl Capacity {
    /// From the units of the contract. A fraction of a device is not offered.
    ///
    /// # Errors
    /// Says which amount can't be meant.
    pub fn from_units(
        cores: f64,
        memory_gb: f64,
        storage_gb: f64,
        devices: f64,
    ) -> Result<Self, CapacityError> {
        if !(0.0..=1000.0).contains(&devices) {
            let expected = "at least 0 and at most 1000 devices";
            return Err(CapacityError::Gpu(ResourceError {
                value: devices,
                expected,
            }));
        }
        Ok(Self {
            cpu_milli: milli_cores(cores).map_err(CapacityError::Cpu)?,
            memory_bytes: gb_to_bytes(memory_gb).map_err(CapacityError::Memory)?,
            storage_bytes: gb_to_bytes(storage_gb).map_err(CapacityError::Storage)?,
            gpus: devices as u16,
        })
    }
}

/// Which amount of a worker's capacity can't be meant.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CapacityError {
    /// CPU.
    #[error("CPU {0}")]
    Cpu(#[source] ResourceError),
    /// Memory.
    #[error("memory {0}")]
    Memory(#[source] ResourceError),
    /// Storage.
    #[error("storage {0}")]
    Storage(#[source] ResourceError),
    /// GPUs.
    #[error("GPU {0}")]
    Gpu(#[source] ResourceError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_in_a_few_digits() {
        for (bytes, words) in [
            (6 << 20, "6 MB"),
            (1_500_000, "1.4 MB"),
            (512 << 20, "512 MB"),
            (GB, "1 GB"),
            (3 * GB / 2, "1.5 GB"),
        ] {
            assert_eq!(size_words(bytes), words);
        }
    }

    #[test]
    fn amounts_become_exact() {
        assert_eq!(milli_cores(0.1), Ok(100));
        assert_eq!(milli_cores(0.3), Ok(300));
        assert_eq!(gb_to_bytes(0.5), Ok(GB / 2));
        assert_eq!(gb_to_bytes(0.0), Ok(0));
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for value in [-1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e18] {
            assert!(milli_cores(value).is_err(), "{value}");
            assert!(gb_to_bytes(value).is_err(), "{value}");
            assert!(GpuRequest::from_devices(value).is_err(), "{value}");
            assert!(
                Capacity::from_units(1.0, 1.0, 1.0, value).is_err(),
                "{value}"
            );
        }
        assert!(milli_cores(0.0001).is_err(), "rounds to nothing");
    }

    #[test]
    fn a_gpu_is_shared_or_whole() {
        assert_eq!(GpuRequest::from_devices(0.0), Ok(GpuRequest::None));
        assert_eq!(GpuRequest::from_devices(0.25), Ok(GpuRequest::Share(250)));
        assert_eq!(GpuRequest::from_devices(1.0), Ok(GpuRequest::Whole(1)));
        assert_eq!(GpuRequest::from_devices(8.0), Ok(GpuRequest::Whole(8)));
        let error = GpuRequest::from_devices(1.5).unwrap_err().to_string();
        assert_eq!(
            error,
            "1.5 is not valid: expected at least 0 and at most 1000: a share of one device below 1 \
             (at least 0.001, such as 0.25), or a whole number of devices"
        );
    }
}
