//! Puts back the line ends that engines before API 1.42 lose.
//!
//! A line of 16 KiB or more is kept in parts, all with the time at which the line began. Those
//! engines' log driver `local` takes every part for an unfinished one and gives the last of them
//! without the newline that ended it. What is known of a part tells most of it again:
//!
//! - A full part (16 KiB) goes on. It never holds the end of a line.
//! - A shorter part that another message of the same output follows ended with a newline.
//! - So did an empty part: nothing is left over at the end of an output that is empty.
//! - A shorter part that is the last of its output may have ended with a newline or not. If other
//!   long lines of the log show that this engine keeps line ends, it had none; otherwise the
//!   engine's version decides, and of an old engine it can't be known.

use bytes::Bytes;

use super::{LogPiece, LogStream};

/// The size of the engine's line buffer: the length of a part that isn't the last of its line.
pub(super) const FULL_PART: usize = 16 * 1024;

const NEWLINE: Bytes = Bytes::from_static(b"\n");

/// A newline that is to be given before anything else.
pub(super) type Lost = Option<LogPiece>;

/// Follows the parts of long lines.
#[derive(Debug)]
pub(super) struct Lines {
    stdout: Last,
    stderr: Last,
    loses_newlines: bool,
}

/// What the last message of an output was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    /// A whole line, or nothing that matters.
    Whole,
    /// A full part; the line goes on.
    Full { at_ns: i64 },
    /// A shorter part after a full one, without a newline.
    Open { at_ns: i64 },
}

impl Lines {
    /// For an engine that loses newlines or, as far as its version tells, doesn't.
    pub(super) fn new(loses_newlines: bool) -> Self {
        Self {
            stdout: Last::Whole,
            stderr: Last::Whole,
            loses_newlines,
        }
    }

    /// Takes the next message: the newline that was lost before it, if one was.
    pub(super) fn take(&mut self, piece: &LogPiece) -> Lost {
        let ends_line = piece.data.ends_with(b"\n");
        let last = self.of(piece.stream);
        let continues = *last == Last::Full { at_ns: piece.at_ns };
        let before = *last;
        *last = match (ends_line, piece.data.len()) {
            (true, _) => Last::Whole,
            (false, FULL_PART) => Last::Full { at_ns: piece.at_ns },
            (false, _) if continues => Last::Open { at_ns: piece.at_ns },
            (false, _) => Last::Whole,
        };
        if continues && ends_line {
            self.loses_newlines = false;
        } else if continues && piece.data.is_empty() {
            *self.of(piece.stream) = Last::Whole;
            self.loses_newlines = true;
            return Some(newline(piece.stream, piece.at_ns));
        }
        match before {
            Last::Open { at_ns } => {
                self.loses_newlines = true;
                Some(newline(piece.stream, at_ns))
            }
            Last::Whole | Last::Full { .. } => None,
        }
    }

    /// The outputs of which it can't be known whether they ended with a newline.
    pub(super) fn lost_last(&self) -> impl Iterator<Item = LogStream> + use<> {
        let loses = self.loses_newlines;
        let ends = [
            (LogStream::Stdout, self.stdout),
            (LogStream::Stderr, self.stderr),
        ];
        ends.into_iter()
            .filter(move |(_, last)| loses && matches!(last, Last::Open { .. }))
            .map(|(stream, _)| stream)
    }

    fn of(&mut self, stream: LogStream) -> &mut Last {
        match stream {
            LogStream::Stdout => &mut self.stdout,
            LogStream::Stderr => &mut self.stderr,
        }
    }
}

fn newline(stream: LogStream, at_ns: i64) -> LogPiece {
    LogPiece {
        stream,
        at_ns,
        data: NEWLINE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives messages of standard output (time and bytes) to an engine's `Lines` and puts
    /// together what comes out; with it, whether a last newline may be missing.
    fn read_to_end(loses_newlines: bool, messages: &[(i64, &[u8])]) -> (Vec<u8>, bool) {
        let mut lines = Lines::new(loses_newlines);
        let mut whole = Vec::new();
        for (at_ns, data) in messages {
            let piece = LogPiece {
                stream: LogStream::Stdout,
                at_ns: *at_ns,
                data: Bytes::copy_from_slice(data),
            };
            let lost = lines.take(&piece);
            whole.extend(lost.iter().flat_map(|piece| piece.data.to_vec()));
            whole.extend_from_slice(data);
        }
        let doubt = lines.lost_last().eq([LogStream::Stdout]);
        (whole, doubt)
    }

    /// The same of an output whose end is known.
    fn read(loses_newlines: bool, messages: &[(i64, &[u8])]) -> Vec<u8> {
        let (whole, doubt) = read_to_end(loses_newlines, messages);
        assert!(!doubt);
        whole
    }

    const FULL: [u8; FULL_PART] = [b'x'; FULL_PART];

    fn long(rest: &[u8]) -> Vec<u8> {
        [&FULL[..], rest].concat()
    }

    #[test]
    fn a_newline_lost_between_lines_is_put_back() {
        let got = read(true, &[(1, &FULL), (1, b"end"), (2, b"next\n")]);
        assert_eq!(got, long(b"end\nnext\n"));
    }

    #[test]
    fn an_empty_last_part_is_a_newline() {
        let got = read(false, &[(1, &FULL), (1, b""), (2, b"next\n")]);
        assert_eq!(got, long(b"\nnext\n"));
        assert_eq!(read(false, &[(1, &FULL), (1, b"")]), long(b"\n"));
    }

    #[test]
    fn two_long_lines_are_two() {
        let got = read(true, &[(1, &FULL), (1, b"a"), (2, &FULL), (2, b"b\n")]);
        assert_eq!(got, [long(b"a\n"), long(b"b\n")].concat());
    }

    #[test]
    fn an_engine_that_keeps_newlines_is_left_alone() {
        for loses_newlines in [true, false] {
            let got = read(
                loses_newlines,
                &[(1, &FULL), (1, b"a\n"), (2, &FULL), (2, b"no newline")],
            );
            assert_eq!(got, [long(b"a\n"), long(b"no newline")].concat());
        }
        assert_eq!(
            read(false, &[(1, &FULL), (1, b"no newline")]),
            long(b"no newline")
        );
    }

    #[test]
    fn a_short_end_without_a_newline_stays_so() {
        assert_eq!(read(true, &[(1, b"a\n"), (2, b"b")]), b"a\nb");
        assert_eq!(
            read(true, &[(1, &FULL)]),
            FULL,
            "a full part is not the end of a line"
        );
    }

    #[test]
    fn the_end_of_an_old_engines_last_long_line_is_not_made_up() {
        let (got, doubt) = read_to_end(true, &[(1, &FULL), (1, b"end")]);
        assert_eq!(got, long(b"end"));
        assert!(doubt);
    }
}
