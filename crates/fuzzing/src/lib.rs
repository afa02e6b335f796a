//! What must hold of every reader of foreign bytes, whatever the bytes.
//!
//! A [`Target`] is one reader, or a few that belong together, and a check that takes any bytes, hands
//! them to the reader and panics where something doesn't hold. The same checks are run by libFuzzer
//! (`fuzz/`, `make fuzz`) for as long as one likes, and by this crate's tests for some seconds on
//! stable. Nothing is read here that the project doesn't read; nothing but tests is built upon this.

pub mod corpus;
pub mod mutate;
pub mod said;
pub mod scratch;
pub mod sections;
pub mod targets;

pub use targets::TARGETS;

/// What a reader made of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was what the reader reads.
    Accepted,
    /// It was not, and the reader said so.
    Refused,
}

impl Verdict {
    /// Accepted, if it is.
    #[must_use]
    pub fn accepted_if(it_is: bool) -> Self {
        if it_is { Self::Accepted } else { Self::Refused }
    }
}

/// A reader of foreign bytes and what must hold of it.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name: that of its module here, of its binary and of its corpus in `fuzz/`.
    pub name: &'static str,
    /// Reads the bytes and panics where something doesn't hold.
    pub check: fn(&[u8]) -> Verdict,
    /// The corpus that it begins with.
    pub seeds: fn() -> Vec<Seed>,
    /// How many mutations the short run tries: what a debug build does in a few tenths of a second.
    pub mutations: u32,
}

/// An input made by hand: a valid one of each kind, and what lies at the edges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    /// The name of its file.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What the reader must make of it.
    pub verdict: Verdict,
}

impl Seed {
    /// One that is read.
    #[must_use]
    pub fn good(name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            name: format!("good-{name}"),
            bytes: bytes.into(),
            verdict: Verdict::Accepted,
        }
    }

    /// One that is refused.
    #[must_use]
    pub fn bad(name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            name: format!("bad-{name}"),
            bytes: bytes.into(),
            verdict: Verdict::Refused,
        }
    }
}

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// For the fuzzers' entry points: the check of the target of this name, its verdict left aside.
///
/// # Panics
/// If something doesn't hold, or there is no such target.
pub fn fuzz(name: &str, bytes: &[u8]) {
    let target = target(name).expect("a binary in fuzz/ is named after its target");
    let _verdict = (target.check)(bytes);
}
