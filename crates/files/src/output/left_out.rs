//! What of a task's files is not kept, and why.

use std::fmt::Display;

use rustix::fs::FileType;

/// Notes kept: a million links make no million notes.
const MAX_NOTES: usize = 100;

/// What of a task's files is not kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeftOut {
    /// What and why, for people, one sentence each; the first hundred.
    pub notes: Vec<String>,
    /// How many entries there are.
    pub count: u64,
}

impl LeftOut {
    /// Counts one more; `what` says which it is and why it isn't kept.
    pub fn add(&mut self, what: impl Display) {
        self.count += 1;
        if self.notes.len() < MAX_NOTES {
            self.notes.push(format!("left out {what}"));
        }
    }

    /// Takes `others` in before its own.
    pub fn prepend(&mut self, others: &Self) {
        self.count += others.count;
        self.notes.splice(0..0, others.notes.iter().cloned());
        self.notes.truncate(MAX_NOTES);
    }
}

/// What something is that is no regular file and no folder.
pub(super) fn word(kind: FileType) -> &'static str {
    match kind {
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "no regular file",
    }
}
