//! A container's log as an engine hands it out: messages of lines and parts of lines, with times.
//!
//! An input is messages, each of three bytes (its kind, and its length as two bytes, the higher one
//! first) and its content; the first byte of all says whether the engine is one that loses newlines.
//! What holds: whatever the engine sends, reading ends, with pieces of the two outputs or an error in
//! words; what is read from a position on is what is read from the start but for what was had; and a
//! position behind the end is no success.

use bytes::Bytes;
use cloudai_engine::{LogError, LogPiece, LogPosition, LogStream, fuzzing::log};

use crate::{
    Seed, Verdict,
    said::{LONGEST, assert_said_within},
};

/// Parts of long lines are as long as the engine's buffer; `{full}` at a content's end stands for one.
const FULL_PART: usize = 16 * 1024;
/// So many of them: a debug build goes through each half a dozen times.
const MOST_FULL_PARTS: usize = 32;

/// See the module.
pub(super) fn check(bytes: &[u8]) -> Verdict {
    let Some((loses, rest)) = bytes.split_first() else {
        return Verdict::Refused;
    };
    let (loses, messages) = (loses & 1 == 1, messages(rest));
    let (pieces, end) = log(&messages, loses, LogPosition::START);
    is_said(&end);
    let all = Outputs::of(&pieces);
    // From a few positions within, and from the very end.
    for (out, err) in [(1, 0), (0, 1), (3, 5), (all.stdout.len(), all.stderr.len())] {
        let from = LogPosition {
            stdout_bytes: out.min(all.stdout.len()) as u64,
            stderr_bytes: err.min(all.stderr.len()) as u64,
        };
        let (pieces, ended) = log(&messages, loses, from);
        let rest = Outputs::of(&pieces);
        assert_eq!(rest.stdout, all.stdout[from.stdout_bytes as usize..]);
        assert_eq!(rest.stderr, all.stderr[from.stderr_bytes as usize..]);
        assert_eq!(end.is_ok(), ended.is_ok(), "{end:?} and {ended:?}");
    }
    let behind = LogPosition::START.after(LogStream::Stdout, all.stdout.len() + 2);
    let (_, ended) = log(&messages, loses, behind);
    assert!(ended.is_err(), "more was had than there is");
    Verdict::accepted_if(end.is_ok() && !pieces.is_empty())
}

fn is_said(end: &Result<(), LogError>) {
    if let Err(error) = end
        // The engine's own words are its own.
        && !matches!(error, LogError::Unreadable(_))
    {
        assert_said_within(error, LONGEST);
    }
}

struct Outputs {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Outputs {
    fn of(pieces: &[LogPiece]) -> Self {
        let of = |stream| {
            let pieces = pieces.iter().filter(move |piece| piece.stream == stream);
            pieces.flat_map(|piece| piece.data.to_vec()).collect()
        };
        Self {
            stdout: of(LogStream::Stdout),
            stderr: of(LogStream::Stderr),
        }
    }
}

fn messages(mut rest: &[u8]) -> Vec<(u8, Bytes)> {
    let mut messages = Vec::new();
    let mut full_parts = 0;
    while let [kind, high, low, behind @ ..] = rest {
        let length = usize::from(*high) << 8 | usize::from(*low);
        let (content, after) = behind.split_at(length.min(behind.len()));
        // So that a line of many parts takes no more than its time.
        let full = match content.strip_suffix(b"{full}") {
            Some(time) if full_parts < MOST_FULL_PARTS => {
                full_parts += 1;
                Bytes::from([time, &[b'x'; FULL_PART]].concat())
            }
            _ => Bytes::copy_from_slice(content),
        };
        messages.push((*kind, full));
        rest = after;
    }
    messages
}

/// Logs of short lines and long ones, of engines old and new, and what no engine sends.
pub(super) fn seeds() -> Vec<Seed> {
    let sent = |loses: u8, messages: &[(u8, &str, &[u8])]| {
        let mut input = vec![loses];
        for (kind, time, content) in messages {
            let content = [time.as_bytes(), content].concat();
            input.extend([*kind, (content.len() >> 8) as u8, content.len() as u8]);
            input.extend(content);
        }
        input
    };
    let (one, two) = ("2026-01-31T08:00:00.5Z ", "2026-01-31T08:00:01Z ");
    vec![
        Seed::good(
            "lines",
            sent(
                0,
                &[(1, one, b"hello\n"), (2, two, b"oh\n"), (1, two, b"no end")],
            ),
        ),
        Seed::good(
            "long-line",
            sent(
                0,
                &[(1, one, b"{full}"), (1, one, b"{full}"), (1, one, b"end\n")],
            ),
        ),
        Seed::good(
            "lost-newline",
            sent(
                1,
                &[(1, one, b"{full}"), (1, one, b"end"), (1, two, b"next\n")],
            ),
        ),
        Seed::good(
            "empty-part",
            sent(1, &[(1, one, b"{full}"), (1, one, b""), (2, one, b"x\n")]),
        ),
        Seed::good(
            "engine-that-keeps-them",
            sent(
                1,
                &[
                    (1, one, b"{full}"),
                    (1, one, b"a\n"),
                    (1, two, b"{full}"),
                    (1, two, b"b"),
                ],
            ),
        ),
        Seed::bad(
            "last-newline-unknown",
            sent(1, &[(1, one, b"{full}"), (1, one, b"end")]),
        ),
        Seed::bad("input", sent(0, &[(0, one, b"x")])),
        Seed::bad(
            "engines-error",
            sent(0, &[(3, "", b"\x03\0\0\0\0\0\0\x05error")]),
        ),
        Seed::bad("no-time", sent(0, &[(1, "", b"hello world\n")])),
        Seed::bad("no-space", sent(0, &[(2, "", &[b'x'; 60])])),
        Seed::bad("empty", sent(0, &[])),
        Seed::bad("nothing", []),
    ]
}
