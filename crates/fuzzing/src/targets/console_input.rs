//! What comes through a pipe instead of a terminal, taken apart into lines.
//!
//! What holds: put together again, the lines are the input, byte for byte, as long as all of it is
//! text; a line that is none costs itself alone; no line holds a break but at its end; and what is
//! wrong is said in a line.

use cloudai_console::fuzzing::lines;

use crate::{Seed, Verdict, said::assert_said};

/// See the module.
pub(super) fn check(bytes: &[u8]) -> Verdict {
    let read = lines(bytes);
    let expected: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    assert_eq!(read.len(), expected.len(), "a line for each line");
    let mut refused = false;
    for (line, expected) in read.iter().zip(expected) {
        match line {
            Ok(line) => assert_eq!(line.as_bytes(), expected),
            Err(error) => {
                assert!(
                    std::str::from_utf8(expected).is_err(),
                    "{expected:?} is text"
                );
                assert_said(error);
                refused = true;
            }
        }
    }
    Verdict::accepted_if(!refused && !read.is_empty())
}

/// Scripts, and what is no text.
pub(super) fn seeds() -> Vec<Seed> {
    vec![
        Seed::good("script", "# a script\n\nregister w 10.0.0.2\r\nstatus\n"),
        Seed::good("last-line-without-a-break", "status\nexit"),
        Seed::good("nul", "a\0b\n"),
        Seed::good("wide", "task größe\n\u{2028}x\n"),
        Seed::bad("nothing", ""),
        Seed::bad("no-text", &b"status\n\xff\xfe\nexit\n"[..]),
        Seed::bad("cut-character", &b"a \xc3"[..]),
    ]
}
