//! A log as what people read: the payload without its frames.

use std::{
    io::{self, Write},
    path::Path,
};

use super::{FrameError, LogError, LogReader, LogStream, reader::READ_LEN, walk::FrameWalk};

/// Writes what the task printed to `out`, both streams in the order in which they were written or
/// one of them alone. Returns the bytes written.
///
/// # Errors
///
/// The file can't be read or is not framed; `out` refuses, reported as [`io::Error`].
pub fn render(path: &Path, only: Option<LogStream>, out: &mut impl Write) -> io::Result<u64> {
    let reader = LogReader::open(path).map_err(io::Error::other)?;
    let mut walk = FrameWalk::new();
    let mut written = 0;
    let mut payload = Vec::with_capacity(READ_LEN);
    reader.for_each_piece(0, |piece| {
        payload.clear();
        let walked = walk.feed(piece, |stream, run| {
            if only.is_none_or(|only| only == stream) {
                payload.extend_from_slice(run);
            }
        });
        // What precedes a malformed header is still the task's output.
        out.write_all(&payload).map_err(RenderError::Out)?;
        written += payload.len() as u64;
        walked.map_err(|source| RenderError::Log(malformed(&reader, source)))
    })?;
    Ok(written)
}

/// The last `limit` bytes that the task printed on either stream, as text: what is not UTF-8 is
/// replaced, and a character that the cut went through is left out.
///
/// Holds two times `limit` in memory, whatever the log's length, and reads all of it.
///
/// # Errors
///
/// The file can't be read or is not framed.
pub fn tail_text(path: &Path, limit: usize) -> Result<String, LogError> {
    tail_text_from(path, 0, limit)
}

/// The same, of what stands behind `start`, where a frame begins.
pub(super) fn tail_text_from(path: &Path, start: u64, limit: usize) -> Result<String, LogError> {
    let reader = LogReader::open(path)?;
    let mut walk = FrameWalk::new();
    let mut tail = Vec::new();
    let mut cut = start > 0;
    reader.for_each_piece(start, |piece| {
        walk.feed(piece, |_, run| {
            tail.extend_from_slice(run);
            if tail.len() > limit.saturating_mul(2).max(READ_LEN) {
                tail.drain(..tail.len() - limit);
                cut = true;
            }
        })
        .map_err(|source| malformed(&reader, source))
    })?;
    if tail.len() > limit {
        tail.drain(..tail.len() - limit);
        cut = true;
    }
    let text = if cut {
        without_torn_start(&tail)
    } else {
        &tail
    };
    Ok(String::from_utf8_lossy(text).into_owned())
}

fn malformed(reader: &LogReader, source: FrameError) -> LogError {
    LogError::Malformed {
        path: reader.path().to_owned(),
        source,
    }
}

/// Without the rest of a character at the start: at most three continuation bytes.
fn without_torn_start(bytes: &[u8]) -> &[u8] {
    let torn = bytes
        .iter()
        .take(3)
        .take_while(|byte| (0x80..0xc0).contains(*byte))
        .count();
    &bytes[torn..]
}

enum RenderError {
    Log(LogError),
    Out(io::Error),
}

impl From<LogError> for RenderError {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

impl From<RenderError> for io::Error {
    fn from(error: RenderError) -> Self {
        match error {
            RenderError::Log(error) => Self::other(error),
            RenderError::Out(error) => error,
        }
    }
}
