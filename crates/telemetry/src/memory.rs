//! Memory of the whole machine, from `/proc/meminfo`.

/// Memory in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) total_bytes: u64,
    /// What programs could have without swapping: free, and cache that can go.
    pub(crate) available_bytes: u64,
}

impl Memory {
    /// Reads `MemTotal` and `MemAvailable` of `/proc/meminfo` (`proc_meminfo(5)`).
    pub(crate) fn parse(meminfo: &str) -> Option<Self> {
        let bytes = |name: &str| {
            let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
            let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
            Some(kib * 1024)
        };
        Some(Self {
            total_bytes: bytes("MemTotal:")?,
            available_bytes: bytes("MemAvailable:")?,
        })
    }

    pub(crate) fn used_bytes(self) -> u64 {
        self.total_bytes.saturating_sub(self.available_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_is_what_could_not_be_had() {
        // In the form of `proc_meminfo(5)`, shortened.
        let memory = Memory::parse(
            "MemTotal:       24684092 kB\nMemFree:        22101220 kB\n\
             MemAvailable:   23567432 kB\nBuffers:           62820 kB\nSwapTotal:             0 kB\n",
        );
        let memory = memory.unwrap();
        assert_eq!(memory.total_bytes, 24_684_092 * 1024);
        assert_eq!(memory.used_bytes(), (24_684_092 - 23_567_432) * 1024);
    }

    #[test]
    fn what_is_no_meminfo_is_none() {
        for text in [
            "",
            "MemTotal: 5 kB\n",
            "MemTotal: x kB\nMemAvailable: 1 kB\n",
        ] {
            assert_eq!(Memory::parse(text), None, "{text}");
        }
    }
}
