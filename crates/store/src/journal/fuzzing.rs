//! Doors for `crates/fuzzing` to the journal's entries and its file.

use std::{path::Path, sync::Arc};

use cloudai_model::TaskId;

use super::{
    content::Content,
    entry::{self, Entry},
    file,
    frame::{self, FILE_MAGIC, SALT_BYTES},
};
use crate::JournalError;

/// Reads the content of a frame, takes it in as a start does, and gives what would be written of it.
///
/// # Errors
/// What is wrong with it.
pub fn entries(content: &[u8]) -> Result<Vec<u8>, String> {
    let mut known = Content::default();
    let mut again = Vec::new();
    for placed in entry::decode(content)? {
        entry::encode(placed.entry.clone(), &mut again)?;
        known.apply(placed, 0);
    }
    Ok(again)
}

/// Contents of frames: one of each kind of entry that needs no record.
///
/// # Errors
/// None, unless the encoding is broken.
pub fn sample() -> Result<Vec<Vec<u8>>, String> {
    let task = TaskId::numbered(7);
    let entries = [
        Entry::Owner("master-1".to_owned()),
        Entry::Batch(Arc::new(vec![
            cloudai_model::record::Record::TaskForgotten(task.clone()),
        ])),
        Entry::Done,
        Entry::Cancelled(task.clone()),
        Entry::HandedOver(task),
    ];
    let encoded = entries.into_iter().map(|entry| {
        let mut content = Vec::new();
        entry::encode(entry, &mut content).map(|_| content)
    });
    encoded.collect()
}

/// A journal's file of these frames, in order.
#[must_use]
pub fn file_of(contents: &[Vec<u8>]) -> Vec<u8> {
    let salt = [0x5a; SALT_BYTES];
    let mut file = [&FILE_MAGIC[..], &salt[..]].concat();
    for (number, content) in (1..).zip(contents) {
        file.extend(frame::encode(&salt, number, content).unwrap_or_default());
    }
    file
}

/// Reads a journal's file as a start does, with its repair: how many frames it has.
///
/// # Errors
/// If it can't be used; then it is left as it is.
pub fn take_up(path: &Path) -> Result<u64, JournalError> {
    file::taken_up(path)
}
