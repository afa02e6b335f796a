//! How much of the capacity is free, in each resource and on each device.

use std::fmt;

use cloudai_model::{
    Capacity, Grant,
    resources::{GB, WHOLE_DEVICE},
};

/// What is free. A worker that holds more than it offers, because it came back smaller, has
/// nothing free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Room {
    cpu_milli: u64,
    memory_bytes: u64,
    storage_bytes: u64,
    /// Milli-GPUs by device.
    devices: Vec<u32>,
}

/// What an assignment lacks here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shortage {
    /// Thousandths of a core.
    Cpu {
        /// Wanted.
        needs: u64,
        /// Free.
        free: u64,
    },
    /// Bytes of memory.
    Memory {
        /// Wanted.
        needs: u64,
        /// Free.
        free: u64,
    },
    /// Bytes of disk.
    Storage {
        /// Wanted.
        needs: u64,
        /// Free.
        free: u64,
    },
    /// Milli-GPUs of a device.
    Gpu {
        /// Its index.
        device: u16,
        /// Wanted.
        needs: u32,
        /// Free.
        free: u32,
    },
    /// There is no such device.
    NoDevice(u16),
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let thousandths = |milli: u64| milli as f64 / 1000.0;
        let gb = |bytes: u64| bytes as f64 / GB as f64;
        match *self {
            Self::Cpu { needs, free } => write!(
                f,
                "needs {} cores, {} free",
                thousandths(needs),
                thousandths(free)
            ),
            Self::Memory { needs, free } => write!(
                f,
                "needs {:.2} GB of memory, {:.2} free",
                gb(needs),
                gb(free)
            ),
            Self::Storage { needs, free } => write!(
                f,
                "needs {:.2} GB of storage, {:.2} free",
                gb(needs),
                gb(free)
            ),
            Self::Gpu {
                device,
                needs,
                free,
            } => write!(
                f,
                "needs {} of GPU {device}, {} free",
                thousandths(needs.into()),
                thousandths(free.into())
            ),
            Self::NoDevice(device) => write!(f, "needs GPU {device}, which is not here"),
        }
    }
}

impl Room {
    /// All of it.
    pub(crate) fn of(capacity: &Capacity) -> Self {
        Self {
            cpu_milli: capacity.cpu_milli,
            memory_bytes: capacity.memory_bytes,
            storage_bytes: capacity.storage_bytes,
            devices: vec![WHOLE_DEVICE; usize::from(capacity.gpus)],
        }
    }

    /// What is left when this is taken.
    pub(crate) fn take(&mut self, grant: &Grant) {
        self.cpu_milli = self.cpu_milli.saturating_sub(grant.cpu_milli);
        self.memory_bytes = self.memory_bytes.saturating_sub(grant.memory_bytes);
        self.storage_bytes = self.storage_bytes.saturating_sub(grant.storage_bytes);
        for share in &grant.devices {
            if let Some(free) = self.devices.get_mut(usize::from(share.device)) {
                *free = free.saturating_sub(share.milli.into());
            }
        }
    }

    /// Whether this fits.
    pub(crate) fn check(&self, grant: &Grant) -> Result<(), Shortage> {
        if grant.cpu_milli > self.cpu_milli {
            let (needs, free) = (grant.cpu_milli, self.cpu_milli);
            return Err(Shortage::Cpu { needs, free });
        }
        if grant.memory_bytes > self.memory_bytes {
            let (needs, free) = (grant.memory_bytes, self.memory_bytes);
            return Err(Shortage::Memory { needs, free });
        }
        if grant.storage_bytes > self.storage_bytes {
            let (needs, free) = (grant.storage_bytes, self.storage_bytes);
            return Err(Shortage::Storage { needs, free });
        }
        for share in &grant.devices {
            let device = share.device;
            let free = self.devices.get(usize::from(device));
            let free = *free.ok_or(Shortage::NoDevice(device))?;
            let needs = u32::from(share.milli);
            if needs > free {
                return Err(Shortage::Gpu {
                    device,
                    needs,
                    free,
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use cloudai_model::DeviceShare;

    use super::*;

    fn room() -> Room {
        Room::of(&Capacity::from_units(4.0, 8.0, 10.0, 2.0).unwrap())
    }

    fn share(device: u16, milli: u16) -> Grant {
        Grant {
            devices: vec![DeviceShare { device, milli }],
            ..Grant::default()
        }
    }

    #[test]
    fn each_resource_is_named_when_it_lacks() {
        let cases = [
            (
                Grant {
                    cpu_milli: 4500,
                    ..Grant::default()
                },
                "needs 4.5 cores, 4 free",
            ),
            (
                Grant {
                    memory_bytes: 9 * GB,
                    ..Grant::default()
                },
                "needs 9.00 GB of memory, 8.00 free",
            ),
            (
                Grant {
                    storage_bytes: 11 * GB,
                    ..Grant::default()
                },
                "needs 11.00 GB of storage, 10.00 free",
            ),
            (share(2, 1), "needs GPU 2, which is not here"),
        ];
        for (grant, words) in cases {
            assert_eq!(room().check(&grant).unwrap_err().to_string(), words);
        }
    }

    #[test]
    fn a_device_is_counted_by_itself() {
        let mut room = room();
        room.take(&share(0, 700));
        assert_eq!(
            room.check(&share(0, 400)),
            Err(Shortage::Gpu {
                device: 0,
                needs: 400,
                free: 300
            })
        );
        assert_eq!(room.check(&share(0, 300)), Ok(()));
        assert_eq!(room.check(&share(1, 1000)), Ok(()));
    }
}
