//! Commands that only root may run: as they are where this is root, and by sudo elsewhere, which must not
//! ask for a password.

use std::{os::unix::fs::MetadataExt as _, process::Command};

/// Who runs this.
///
/// # Panics
/// If the system has no `/proc`.
#[must_use]
pub fn own_user() -> u32 {
    let me = std::fs::metadata("/proc/self").expect("Linux has a /proc");
    me.uid()
}

/// The words before a command that root is to run.
#[must_use]
pub fn prefix() -> &'static [&'static str] {
    match own_user() {
        0 => &[],
        _ => &["sudo", "-n"],
    }
}

/// A command that root runs.
///
/// # Panics
/// If there are no words.
#[must_use]
pub fn as_root(words: &[&str]) -> Command {
    let all = [prefix(), words].concat();
    let mut command = Command::new(all[0]);
    command.args(&all[1..]);
    command
}
