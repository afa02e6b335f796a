//! Frames of the journal's file. One frame is one flush: the next is written only when the one
//! before it is on the disk, so what a crash cuts short is the last one, and nothing follows it.
//!
//! A file begins with [`FILE_MAGIC`] and a salt that goes into every checksum: nothing that a user
//! writes into a task can look like a frame.
//!
//! A frame: magic, number (8 bytes), length of its content (4), checksum (8: the first of
//! SHA-256 over salt, number, length and content), content. Numbers are little-endian and rise by
//! one from 1.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use sha2::{Digest as _, Sha256};

/// What a journal's file begins with; its last byte is the version of what follows.
pub(super) const FILE_MAGIC: [u8; 8] = *b"CAJOURN1";
/// Bytes of the salt, which stands behind the magic.
pub(super) const SALT_BYTES: usize = 12;
/// Where the first frame begins.
pub(super) const FIRST_FRAME: u64 = (FILE_MAGIC.len() + SALT_BYTES) as u64;

const MAGIC: [u8; 4] = *b"CAJf";
const HEADER_BYTES: u64 = 24;
/// How much of a file is searched at once for what may follow a broken frame.
const SEARCH_BYTES: usize = 1 << 20;

/// Tells this journal's frames from all else.
pub(super) type Salt = [u8; SALT_BYTES];

/// Where the content of a frame that begins at `at` begins.
pub(super) fn content_at(at: u64) -> u64 {
    at + HEADER_BYTES
}

/// A frame as bytes; `None` if the content is longer than a frame's can be, 4 GiB.
pub(super) fn encode(salt: &Salt, number: u64, content: &[u8]) -> Option<Vec<u8>> {
    let length = u32::try_from(content.len()).ok()?;
    let mut frame = Vec::with_capacity(content.len() + HEADER_BYTES as usize);
    frame.extend(MAGIC);
    frame.extend(number.to_le_bytes());
    frame.extend(length.to_le_bytes());
    frame.extend(checksum(salt, number, content));
    frame.extend(content);
    Some(frame)
}

fn checksum(salt: &Salt, number: u64, content: &[u8]) -> [u8; 8] {
    let mut hash = Sha256::new();
    hash.update(salt);
    hash.update(number.to_le_bytes());
    hash.update((content.len() as u64).to_le_bytes());
    hash.update(content);
    let hash = hash.finalize();
    std::array::from_fn(|index| hash[index])
}

/// What stands at a place of the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A whole frame: its number and content.
    Frame(u64, Vec<u8>),
    /// The end of the file.
    End,
    /// Something else, or a part of a frame.
    Broken,
}

/// Looks at what stands at `at` in a file of `length` bytes.
pub(super) fn look(file: &File, salt: &Salt, length: u64, at: u64) -> io::Result<Found> {
    if at >= length {
        return Ok(Found::End);
    }
    if length - at < HEADER_BYTES {
        return Ok(Found::Broken);
    }
    let mut header = [0; HEADER_BYTES as usize];
    file.read_exact_at(&mut header, at)?;
    let (magic, rest) = header.split_at(MAGIC.len());
    let (number, rest) = rest.split_at(8);
    let (bytes, sum) = rest.split_at(4);
    let number = u64::from_le_bytes(number.try_into().unwrap_or_default());
    let bytes = u32::from_le_bytes(bytes.try_into().unwrap_or_default());
    if magic != MAGIC || u64::from(bytes) > length - content_at(at) {
        return Ok(Found::Broken);
    }
    let mut content = vec![0; bytes as usize];
    file.read_exact_at(&mut content, content_at(at))?;
    if checksum(salt, number, &content) != sum {
        return Ok(Found::Broken);
    }
    Ok(Found::Frame(number, content))
}

/// Whether a whole frame stands anywhere behind `at`: then what is broken there was whole once, for
/// the next frame is written only behind one that is on the disk.
pub(super) fn follows(file: &File, salt: &Salt, length: u64, at: u64) -> io::Result<bool> {
    let mut at = at + 1;
    let mut window = vec![0; SEARCH_BYTES];
    while at < length {
        let bytes = usize::try_from(length - at).map_or(SEARCH_BYTES, |it| it.min(SEARCH_BYTES));
        let window = &mut window[..bytes];
        file.read_exact_at(window, at)?;
        let begins = |place: &usize| window[*place..].starts_with(&MAGIC);
        for place in (0..window.len()).filter(begins) {
            let candidate = at + place as u64;
            if matches!(look(file, salt, length, candidate)?, Found::Frame(..)) {
                return Ok(true);
            }
        }
        // One may begin in the last bytes of this window.
        at += match bytes {
            SEARCH_BYTES => (SEARCH_BYTES - MAGIC.len() + 1) as u64,
            last => last as u64,
        };
    }
    Ok(false)
}
