//! Tokens of logins: how they are made and read, and the keys that sign them.

mod jws;
mod ring;
mod ring_file;

pub(crate) use jws::read_signed;
pub use jws::{Claims, LONGEST_TOKEN, TokenError, issue, read};
pub use ring::{KeyOrigin, KeyRing, RingError, SHORTEST_SECRET, check_secret};
pub use ring_file::{RingFile, RingFileError};
