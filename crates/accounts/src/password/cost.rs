//! What hashing a password costs, for us and for whoever guesses.

use std::str::FromStr;

use argon2::Params;

/// Why a cost is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CostError {
    /// Guessing would be too cheap.
    #[error(
        "argon2 with {memory_kib} KiB and {passes} passes is too weak: expected at least 7168 KiB, and \
         memory times passes of at least 35840, such as 19456 KiB and 2 passes"
    )]
    TooWeak {
        /// The memory asked for.
        memory_kib: u32,
        /// The passes asked for.
        passes: u32,
    },
    /// A login would take a machine's memory, or minutes.
    #[error(
        "argon2 with {memory_kib} KiB, {passes} passes and {lanes} lanes is too much: expected at most \
         1048576 KiB, 64 passes and 16 lanes"
    )]
    TooMuch {
        /// The memory asked for.
        memory_kib: u32,
        /// The passes asked for.
        passes: u32,
        /// The lanes asked for.
        lanes: u32,
    },
}

/// A text that is no cost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasswordCostError {
    /// It is written otherwise.
    #[error("expected KiB of memory, passes and lanes, such as m=19456,t=2,p=1")]
    Form,
    /// Too little, or too much.
    #[error(transparent)]
    Cost(#[from] CostError),
}

/// The parameters of argon2id under which new hashes are made.
///
/// The default, and the least, are those of OWASP's Password Storage Cheat Sheet: 19 MiB and 2 passes,
/// or another of its pairs, which all come to the same work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordCost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// The weakest of OWASP's pairs: 7 MiB and 5 passes.
const LEAST_MEMORY_KIB: u32 = 7168;
const LEAST_WORK: u64 = 7168 * 5;
const MOST_MEMORY_KIB: u32 = 1024 * 1024;
const MOST_PASSES: u32 = 64;
const MOST_LANES: u32 = 16;

impl PasswordCost {
    /// The default: 19 MiB, 2 passes, 1 lane.
    pub const OWASP: Self = Self {
        memory_kib: 19_456,
        passes: 2,
        lanes: 1,
    };

    /// Memory in KiB, passes over it, and lanes.
    ///
    /// # Errors
    /// If guessing would be too cheap, or a login too dear.
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, CostError> {
        let cost = Self {
            memory_kib,
            passes,
            lanes,
        };
        if !cost.is_bearable() {
            return Err(CostError::TooMuch {
                memory_kib,
                passes,
                lanes,
            });
        }
        if memory_kib < LEAST_MEMORY_KIB || cost.work() < LEAST_WORK {
            return Err(CostError::TooWeak { memory_kib, passes });
        }
        Ok(cost)
    }

    /// So cheap that tests can log in thousands of times.
    #[cfg(any(test, feature = "fakes"))]
    #[must_use]
    pub fn for_tests() -> Self {
        Self {
            memory_kib: 8,
            passes: 1,
            lanes: 1,
        }
    }

    pub(super) fn of(params: &Params) -> Self {
        Self {
            memory_kib: params.m_cost(),
            passes: params.t_cost(),
            lanes: params.p_cost(),
        }
    }

    /// Whether a login under it can be afforded, also where the hash is somebody else's.
    pub(super) fn is_bearable(&self) -> bool {
        self.memory_kib <= MOST_MEMORY_KIB
            && self.passes <= MOST_PASSES
            && (1..=MOST_LANES).contains(&self.lanes)
    }

    /// Blocks that are computed: what a guess costs.
    pub(super) fn work(&self) -> u64 {
        u64::from(self.memory_kib) * u64::from(self.passes)
    }

    pub(super) fn params(&self) -> Result<Params, argon2::Error> {
        Params::new(self.memory_kib, self.passes, self.lanes, None)
    }
}

impl FromStr for PasswordCost {
    type Err = PasswordCostError;

    /// As they stand in a hash: `m=19456,t=2,p=1`.
    fn from_str(text: &str) -> Result<Self, PasswordCostError> {
        let mut parts = text.split(',');
        let mut figure = |name: &str| -> Option<u32> {
            let part = parts.next()?.trim();
            part.strip_prefix(name)?.strip_prefix('=')?.parse().ok()
        };
        let figures = (figure("m"), figure("t"), figure("p"));
        match (figures, parts.next()) {
            ((Some(memory_kib), Some(passes), Some(lanes)), None) => {
                Ok(Self::new(memory_kib, passes, lanes)?)
            }
            _ => Err(PasswordCostError::Form),
        }
    }
}

impl Default for PasswordCost {
    fn default() -> Self {
        Self::OWASP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owasps_pairs_are_taken_and_less_is_not() {
        for (memory_kib, passes) in [(47_104, 1), (19_456, 2), (12_288, 3), (9216, 4), (7168, 5)] {
            assert!(PasswordCost::new(memory_kib, passes, 1).is_ok());
        }
        for (memory_kib, passes) in [(19_456, 1), (7168, 4), (4096, 64)] {
            let error = PasswordCost::new(memory_kib, passes, 1).unwrap_err();
            assert!(matches!(error, CostError::TooWeak { .. }), "{error}");
        }
    }

    #[test]
    fn a_cost_is_written_as_in_a_hash() {
        assert_eq!("m=19456,t=2,p=1".parse(), Ok(PasswordCost::OWASP));
        for bad in [
            "",
            "19456",
            "m=19456,t=2",
            "t=2,m=19456,p=1",
            "m=19456,t=2,p=1,x",
            "m=-1,t=2,p=1",
        ] {
            let error = bad.parse::<PasswordCost>().unwrap_err();
            assert_eq!(error, PasswordCostError::Form, "{bad}");
        }
        let error = "m=8,t=1,p=1".parse::<PasswordCost>().unwrap_err();
        assert!(matches!(error, PasswordCostError::Cost(_)), "{error}");
    }

    #[test]
    fn what_no_machine_bears_is_refused() {
        for (memory_kib, passes, lanes) in [
            (u32::MAX, 1, 1),
            (19_456, u32::MAX, 1),
            (19_456, 2, 0),
            (19_456, 2, 17),
        ] {
            let error = PasswordCost::new(memory_kib, passes, lanes).unwrap_err();
            assert!(matches!(error, CostError::TooMuch { .. }), "{error}");
        }
    }
}
