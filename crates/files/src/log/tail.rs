//! Where the last lines of a log begin.

use std::{collections::VecDeque, path::Path};

use super::{LogError, LogReader};

/// A place within a log's output: behind the first `skip` bytes of the payload of the frame that
/// begins at `frame`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogPlace {
    /// Where in the framed log the frame begins.
    pub frame: u64,
    /// Bytes of its payload that lie before the place.
    pub skip: usize,
}

/// Where the last `lines` lines of both streams begin, in the order in which they were written; its
/// end for none. A last line without its end is one, too.
///
/// Reads all of the log and holds one frame, and a place for each of the lines. Before each frame
/// `goes_on` is asked; `None`: it said no.
///
/// # Errors
///
/// The file can't be read or is not framed.
pub fn last_lines(
    path: &Path,
    lines: usize,
    goes_on: impl Fn() -> bool,
) -> Result<Option<LogPlace>, LogError> {
    let reader = LogReader::open(path)?;
    let mut frames = reader.frames_from(0);
    let mut places: VecDeque<LogPlace> = VecDeque::new();
    let mut begins_line = true;
    while goes_on() {
        let frame = frames.position();
        let Some(read) = frames.next().transpose()? else {
            let end = LogPlace { frame, skip: 0 };
            return Ok(Some(places.front().copied().unwrap_or(end)));
        };
        for (skip, byte) in read.data.iter().enumerate() {
            if std::mem::take(&mut begins_line) {
                places.push_back(LogPlace { frame, skip });
                if places.len() > lines {
                    places.pop_front();
                }
            }
            begins_line = *byte == b'\n';
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Frame, LogStream, encode};

    #[test]
    fn lines_are_counted_from_the_end_across_frames() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut framed = Vec::new();
        for text in ["one\ntwo", "\nthr", "ee\n", "four"] {
            let frame = Frame {
                stream: LogStream::Stdout,
                at_ns: 1,
                data: text.into(),
            };
            encode(&frame, &mut framed);
        }
        std::fs::write(&path, &framed).unwrap();

        let place = |frame, skip| LogPlace { frame, skip };
        let second = 16 + 7;
        let fourth = second + 16 + 4 + 16 + 3;
        for (lines, expected) in [
            (0, place(framed.len() as u64, 0)),
            (1, place(fourth, 0)),
            (2, place(second, 1)),
            (3, place(0, 4)),
            (4, place(0, 0)),
            (99, place(0, 0)),
        ] {
            let found = last_lines(&path, lines, || true).unwrap();
            assert_eq!(found, Some(expected), "{lines}");
        }
    }
    #[test]
    fn a_search_that_nobody_waits_for_any_more_ends_at_the_next_frame() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let frame = Frame {
            stream: LogStream::Stdout,
            at_ns: 1,
            data: "a\n".into(),
        };
        let mut framed = Vec::new();
        for _ in 0..100 {
            encode(&frame, &mut framed);
        }
        std::fs::write(&path, &framed).unwrap();
        let asked = std::cell::Cell::new(0);
        let three_times = || asked.replace(asked.get() + 1) < 3;
        assert_eq!(last_lines(&path, 1, three_times).unwrap(), None);
        assert_eq!(asked.get(), 4);
    }
}
