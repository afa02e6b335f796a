//! What a frame of the master's journal holds: entries and records as documents.
//!
//! What holds: what was read is taken in, and what is written of it is read again and written as the
//! same bytes; what can't be read is said.

use cloudai_store::fuzzing::{entries, sample};

use crate::{
    Seed, Verdict,
    said::{LONGEST, assert_said_within},
};

/// See the module.
pub(super) fn check(bytes: &[u8]) -> Verdict {
    match entries(bytes) {
        Ok(written) => {
            let again = entries(&written).expect("what was written can be read");
            assert_eq!(again, written);
            Verdict::accepted_if(!written.is_empty())
        }
        Err(problem) => {
            // It may quote a word of the document.
            assert_said_within(problem, 8 * LONGEST);
            Verdict::Refused
        }
    }
}

/// Each entry and each record, all in one frame, and what is cut short.
pub(super) fn seeds() -> Vec<Seed> {
    let entries = sample().expect("what a master writes can be written");
    let all = entries.concat();
    let mut seeds: Vec<_> = (0..)
        .zip(&entries)
        .map(|(number, entry)| Seed::good(&format!("entry-{number}"), entry.clone()))
        .collect();
    let mut lie = entries[0].clone();
    lie[3] = 0x7f;
    seeds.extend([
        Seed::good("all", all.clone()),
        Seed::bad("cut", all[..all.len() - 3].to_vec()),
        Seed::bad("length-lies", lie),
        Seed::bad("empty-document", [5, 0, 0, 0, 0]),
        Seed::bad("nothing", []),
    ]);
    seeds
}
