//! CPU time of the whole machine, from `/proc/stat`.

/// CPU time since boot over all cores, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CpuTicks {
    /// Not idle: time that the host of a virtual machine took away ("steal") counts, as nobody
    /// here could have it.
    pub(crate) busy: u64,
    pub(crate) total: u64,
}

impl CpuTicks {
    /// Reads the line `cpu` of `/proc/stat` (`proc_stat(5)`).
    pub(crate) fn parse(stat: &str) -> Option<Self> {
        let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
        // user nice system idle iowait irq softirq steal; guest time is part of user and nice.
        let mut ticks = [0_u64; 8];
        let mut words = line.split_ascii_whitespace();
        for (index, slot) in ticks.iter_mut().enumerate() {
            match words.next() {
                Some(word) => *slot = word.parse().ok()?,
                // Old kernels lack the last ones.
                None if index >= 4 => break,
                None => return None,
            }
        }
        let total = ticks.iter().sum();
        let idle = ticks[3] + ticks[4];
        Some(Self {
            busy: total - idle,
            total,
        })
    }

    /// Percent of all cores that was busy since `earlier`; `None` if no tick has passed.
    pub(crate) fn percent_since(self, earlier: Self) -> Option<f64> {
        // iowait may step back by a tick or two.
        let total = self.total.saturating_sub(earlier.total);
        let busy = self.busy.saturating_sub(earlier.busy).min(total);
        (total > 0).then(|| busy as f64 * 100.0 / total as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In the form of `proc_stat(5)`.
    const STAT: &str = "cpu  14361 11 5306 258421 2297 0 283 41 0 0\n\
                        cpu0 7141 6 2681 129199 1122 0 155 21 0 0\n\
                        intr 1205339 0 0\nctxt 2441043\nbtime 1795243000\n";

    #[test]
    fn all_that_is_not_idle_is_busy() {
        let ticks = CpuTicks::parse(STAT).unwrap();
        assert_eq!(ticks.busy, 14361 + 11 + 5306 + 283 + 41);
        assert_eq!(ticks.total, ticks.busy + 258_421 + 2297);
    }

    #[test]
    fn percent_is_of_what_passed_between() {
        let at = |busy, total| CpuTicks { busy, total };
        assert_eq!(at(150, 1200).percent_since(at(100, 1000)), Some(25.0));
        assert_eq!(at(100, 1000).percent_since(at(100, 1000)), None);
        assert_eq!(at(90, 1010).percent_since(at(100, 1000)), Some(0.0));
        assert_eq!(at(120, 1010).percent_since(at(100, 1000)), Some(100.0));
    }

    #[test]
    fn what_is_no_stat_is_none() {
        for text in [
            "",
            "cpu0 1 2 3 4 5 6 7 8",
            "cpu  1 2 3",
            "cpu  a b c d e f g h",
        ] {
            assert_eq!(CpuTicks::parse(text), None, "{text}");
        }
        assert!(CpuTicks::parse("cpu  1 2 3 4").is_some());
    }
}
