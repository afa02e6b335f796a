//! What an operator can set about the master's disks: how long things are kept, and what is to stay
//! free.

use clap::Arg;
use cloudai_config::{Keep, Setting, Settings, bytes, keep};

use crate::room::{Watermark, watermark};

/// How long what ended tasks left is kept: of those that failed, never shorter than of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keeping {
    /// Logs.
    pub logs: Keep,
    /// Output files.
    pub files: Keep,
    /// The task itself, its result and all that is known of it.
    pub results: Keep,
}

impl Keeping {
    fn at_least(self, other: Self) -> Self {
        Self {
            logs: self.logs.max(other.logs),
            files: self.files.max(other.files),
            results: self.results.max(other.results),
        }
    }
}

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DiskSettings {
    /// Of tasks that were completed or cancelled.
    pub keep: Keeping,
    /// Of tasks that failed.
    pub keep_failed: Keeping,
    /// How long it is known what users did.
    pub keep_audit: Keep,
    /// The most that logs and files take together; `None`: any amount.
    pub keep_bytes: Option<u64>,
    /// With less than this free no new task is taken.
    pub min_free: Watermark,
}

/// The settings, to be declared with the others.
pub fn settings() -> Vec<Setting> {
    let kept = |id: &'static str, variable: &'static str, help: &'static str| {
        let arg = Arg::new(id).value_name("SPAN").help(help);
        Setting::flag(arg.value_parser(|text: &str| keep(text))).env(variable)
    };
    vec![
        kept(
            "keep-logs",
            "CLOUDAI_KEEP_LOGS",
            "Keep the logs of ended tasks so long, or forever",
        ),
        kept(
            "keep-failed-logs",
            "CLOUDAI_KEEP_FAILED_LOGS",
            "Keep the logs of failed tasks so long",
        ),
        kept(
            "keep-files",
            "CLOUDAI_KEEP_FILES",
            "Keep the output files of ended tasks so long",
        ),
        kept(
            "keep-failed-files",
            "CLOUDAI_KEEP_FAILED_FILES",
            "Keep the output files of failed tasks so long",
        ),
        kept(
            "keep-results",
            "CLOUDAI_KEEP_RESULTS",
            "Keep ended tasks in the listings so long",
        ),
        kept(
            "keep-failed-results",
            "CLOUDAI_KEEP_FAILED_RESULTS",
            "Keep failed tasks in the listings so long",
        ),
        kept(
            "keep-audit",
            "CLOUDAI_KEEP_AUDIT",
            "Keep the audit of what users did so long",
        ),
        Setting::flag(
            Arg::new("keep-bytes")
                .value_name("AMOUNT")
                .help("Keep at most so much of logs and files, such as 100GB; the oldest go first")
                .value_parser(|text: &str| most(text)),
        )
        .env("CLOUDAI_KEEP_BYTES"),
        Setting::flag(
            Arg::new("min-free")
                .value_name("AMOUNT")
                .help("Take no new task with less than this free on a disk: 5%, 2GB, or both")
                .value_parser(|text: &str| watermark(text)),
        )
        .env("CLOUDAI_MIN_FREE"),
    ]
}

/// A text that says no amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected the most that is kept, such as 100GB (units of 1024), or unlimited")]
pub struct MostError;

/// Reads an amount that is not zero, or `unlimited`.
fn most(text: &str) -> Result<Option<u64>, MostError> {
    if text.trim().eq_ignore_ascii_case("unlimited") {
        return Ok(None);
    }
    match bytes(text) {
        // Nothing at all, or no limit: whoever writes 0 may mean either.
        Ok(amount) if amount > 0 => Ok(Some(amount)),
        _ => Err(MostError),
    }
}

impl DiskSettings {
    /// As they were found.
    #[must_use]
    pub fn of(found: &Settings) -> Self {
        let keep = Keeping {
            logs: found.get("keep-logs"),
            files: found.get("keep-files"),
            results: found.get("keep-results"),
        };
        let keep_failed = Keeping {
            logs: found.get("keep-failed-logs"),
            files: found.get("keep-failed-files"),
            results: found.get("keep-failed-results"),
        };
        Self {
            keep,
            keep_failed: keep_failed.at_least(keep),
            keep_audit: found.get("keep-audit"),
            keep_bytes: found.get("keep-bytes"),
            min_free: found.get("min-free"),
        }
    }
}
