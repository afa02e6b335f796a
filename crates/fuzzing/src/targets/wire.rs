//! Messages of the wire: decoded as they come, read, written and read again.

use std::fmt::{Debug, Display};

use prost::Message;

use crate::{Seed, Verdict, said::assert_said_within};

/// Of a task several things may be wrong at once; each is told.
pub(super) const LONGEST_REFUSAL: usize = 20 << 10;

/// The kind of message that an input is of, by its first byte, and the message.
pub(super) fn kind(bytes: &[u8]) -> Option<(u8, &[u8])> {
    bytes.split_first().map(|(kind, message)| (*kind, message))
}

/// A seed of this kind.
pub(super) fn seed(name: &str, kind: u8, message: &impl Message) -> Seed {
    Seed::good(name, [&[kind][..], &message.encode_to_vec()].concat())
}

/// Decodes a message and reads it. What was read travels: written, encoded, decoded and read once
/// more it is the same, if `travels` says that it is ever sent on.
pub(super) fn survives<W, T, E>(
    bytes: &[u8],
    read: impl Fn(W) -> Result<T, E>,
    write: impl Fn(T) -> W,
    travels: impl Fn(&T) -> bool,
) -> Verdict
where
    W: Message + Default,
    T: Clone + Debug,
    E: Display,
{
    let Ok(message) = W::decode(bytes) else {
        return Verdict::Refused;
    };
    let first = match read(message) {
        Ok(first) => first,
        Err(error) => {
            assert_said_within(error, LONGEST_REFUSAL);
            return Verdict::Refused;
        }
    };
    let sent = write(first.clone()).encode_to_vec();
    let received = W::decode(&sent[..]).expect("what was encoded can be decoded");
    if travels(&first) {
        match read(received) {
            // By their words: a figure that is no number is no equal of itself.
            Ok(again) => assert_eq!(format!("{first:?}"), format!("{again:?}")),
            Err(error) => panic_with(&format!("{first:?} was refused: {error}")),
        }
    }
    Verdict::Accepted
}

fn panic_with(what: &str) {
    assert!(what.is_empty(), "{what}");
}
