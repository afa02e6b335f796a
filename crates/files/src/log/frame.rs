//! The frame: how one piece of a task's output is laid out in bytes.
//!
//! | bytes | meaning |
//! |---|---|
//! | 1 | stream: 1 stdout, 2 stderr |
//! | 3 | zero |
//! | 4 | payload length, little-endian, 1 to 1 MiB |
//! | 8 | Unix time in nanoseconds, signed, little-endian |
//! | n | payload |
//!
//! A frame is a piece as it was read, not a line: lines may span frames and frames hold many.

use bytes::{Buf, Bytes, BytesMut};

/// Bytes before a frame's payload.
pub const HEADER_LEN: usize = 16;

/// The most bytes that one frame carries.
pub const MAX_PAYLOAD_LEN: usize = 1 << 20;

/// Which of its two streams a container wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl LogStream {
    /// The stream as a word: `stdout` or `stderr`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Stdout => 1,
            Self::Stderr => 2,
        }
    }
}

/// One piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The stream it was written to.
    pub stream: LogStream,
    /// When it was written: Unix time in nanoseconds.
    pub at_ns: i64,
    /// What was written.
    pub data: Bytes,
}

/// Bytes that are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "no frame at offset {offset}: {problem}; expected stream 1 or 2, three zero bytes and a \
     length of 1 to {MAX_PAYLOAD_LEN}"
)]
pub struct FrameError {
    /// Where in the log the malformed header begins.
    pub offset: u64,
    /// What is wrong with it.
    pub problem: FrameProblem,
}

/// What is wrong with a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameProblem {
    /// The first byte names no stream.
    #[error("its stream is {0}")]
    Stream(u8),
    /// Bytes that must be zero are not.
    #[error("its reserved bytes are {0:?}")]
    Reserved([u8; 3]),
    /// The length is zero or too large.
    #[error("its length is {0}")]
    Length(u32),
}

/// A frame's header, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) stream: LogStream,
    pub(super) payload_len: usize,
    pub(super) at_ns: i64,
}

impl Header {
    fn to_bytes(self) -> [u8; HEADER_LEN] {
        let len = u32::try_from(self.payload_len).expect("a payload is at most 1 MiB");
        let mut bytes = [0; HEADER_LEN];
        bytes[0] = self.stream.code();
        bytes[4..8].copy_from_slice(&len.to_le_bytes());
        bytes[8..].copy_from_slice(&self.at_ns.to_le_bytes());
        bytes
    }

    pub(super) fn parse(bytes: [u8; HEADER_LEN], offset: u64) -> Result<Self, FrameError> {
        let [code, r0, r1, r2, l0, l1, l2, l3, time @ ..] = bytes;
        let fail = |problem| Err(FrameError { offset, problem });
        let stream = match code {
            1 => LogStream::Stdout,
            2 => LogStream::Stderr,
            other => return fail(FrameProblem::Stream(other)),
        };
        if [r0, r1, r2] != [0; 3] {
            return fail(FrameProblem::Reserved([r0, r1, r2]));
        }
        let len = u32::from_le_bytes([l0, l1, l2, l3]);
        match usize::try_from(len) {
            Ok(payload_len @ 1..=MAX_PAYLOAD_LEN) => Ok(Self {
                stream,
                payload_len,
                at_ns: i64::from_le_bytes(time),
            }),
            _ => fail(FrameProblem::Length(len)),
        }
    }
}

/// Appends the framed form of `frame` to `out`.
///
/// Data over [`MAX_PAYLOAD_LEN`] becomes several frames of the same time; no data becomes none.
pub fn encode(frame: &Frame, out: &mut Vec<u8>) {
    for payload in frame.data.chunks(MAX_PAYLOAD_LEN) {
        let header = Header {
            stream: frame.stream,
            payload_len: payload.len(),
            at_ns: frame.at_ns,
        };
        out.extend_from_slice(&header.to_bytes());
        out.extend_from_slice(payload);
    }
}

/// Turns framed bytes, however they were split, back into frames.
#[derive(Debug, Default)]
pub struct Decoder {
    unread: BytesMut,
    position: u64,
}

impl Decoder {
    /// A decoder whose first byte is the log's first.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A decoder whose first byte is the log's at `offset`, where a frame begins.
    #[must_use]
    pub fn starting_at(offset: u64) -> Self {
        Self {
            unread: BytesMut::new(),
            position: offset,
        }
    }

    /// Adds the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    /// The next frame; `None` until more bytes are fed.
    ///
    /// # Errors
    ///
    /// A malformed header. The decoder stays before it: it cannot know where the next frame is.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(header) = self.unread.first_chunk::<HEADER_LEN>() else {
            return Ok(None);
        };
        let header = Header::parse(*header, self.position)?;
        let frame_len = HEADER_LEN + header.payload_len;
        if self.unread.len() < frame_len {
            self.unread.reserve(frame_len - self.unread.len());
            return Ok(None);
        }
        let mut frame = self.unread.split_to(frame_len).freeze();
        frame.advance(HEADER_LEN);
        self.position += frame_len as u64;
        Ok(Some(Frame {
            stream: header.stream,
            at_ns: header.at_ns,
            data: frame,
        }))
    }

    /// Where in the log the next frame begins: behind all frames returned so far.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Bytes that were fed and belong to no frame returned so far.
    #[must_use]
    pub fn pending_len(&self) -> usize {
        self.unread.len()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in crate::log) fn any_frame() -> impl Strategy<Value = Frame> {
        (
            any::<bool>(),
            any::<i64>(),
            prop::collection::vec(any::<u8>(), 1..200),
        )
            .prop_map(|(is_error, at_ns, data)| Frame {
                stream: if is_error {
                    LogStream::Stderr
                } else {
                    LogStream::Stdout
                },
                at_ns,
                data: data.into(),
            })
    }

    pub(in crate::log) fn any_frames() -> impl Strategy<Value = Vec<Frame>> {
        prop::collection::vec(any_frame(), 0..20)
    }

    pub(in crate::log) fn framed(frames: &[Frame]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for frame in frames {
            encode(frame, &mut bytes);
        }
        bytes
    }

    pub(in crate::log) fn stdout(at_ns: i64, text: &str) -> Frame {
        Frame {
            stream: LogStream::Stdout,
            at_ns,
            data: Bytes::copy_from_slice(text.as_bytes()),
        }
    }

    /// `bytes` in pieces of the lengths in `sizes`, which are taken round and round.
    pub(in crate::log) fn split<'a>(bytes: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
        let mut rest = bytes;
        let mut pieces = Vec::new();
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, tail) = rest.split_at((*size).min(rest.len()));
            pieces.push(piece);
            rest = tail;
        }
        pieces
    }

    fn decode(pieces: &[&[u8]]) -> (Vec<Frame>, Decoder) {
        let mut decoder = Decoder::new();
        let mut frames = Vec::new();
        for piece in pieces {
            decoder.feed(piece);
            while let Some(frame) = decoder.next_frame().unwrap() {
                frames.push(frame);
            }
        }
        (frames, decoder)
    }

    #[test]
    fn the_layout_is_what_the_other_side_expects() {
        let bytes = framed(&[Frame {
            stream: LogStream::Stderr,
            at_ns: -2,
            data: Bytes::from_static(b"hi"),
        }]);
        assert_eq!(
            bytes,
            [
                2, 0, 0, 0, 2, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, b'h', b'i'
            ]
        );
    }

    #[test]
    fn data_beyond_one_frame_is_split_and_no_data_is_no_frame() {
        let long = Frame {
            stream: LogStream::Stdout,
            at_ns: 7,
            data: vec![b'x'; MAX_PAYLOAD_LEN + 1].into(),
        };
        let bytes = framed(&[long, stdout(8, "")]);
        let (frames, _) = decode(&[&bytes]);
        let lengths: Vec<usize> = frames.iter().map(|f| f.data.len()).collect();
        assert_eq!(lengths, [MAX_PAYLOAD_LEN, 1]);
        assert!(frames.iter().all(|f| f.at_ns == 7));
    }

    #[test]
    fn a_malformed_header_is_named_with_its_offset() {
        let good = framed(&[stdout(1, "abc")]);
        let header = |f: &dyn Fn(&mut [u8])| {
            let mut bytes = framed(&[stdout(1, "abc")]);
            f(&mut bytes);
            bytes
        };
        let cases: [(Vec<u8>, FrameProblem); 5] = [
            (header(&|b| b[0] = 0), FrameProblem::Stream(0)),
            (header(&|b| b[0] = 3), FrameProblem::Stream(3)),
            (header(&|b| b[2] = 9), FrameProblem::Reserved([0, 9, 0])),
            (header(&|b| b[4] = 0), FrameProblem::Length(0)),
            (header(&|b| b[7] = 1), FrameProblem::Length(0x0100_0003)),
        ];
        for (bad, problem) in cases {
            let mut decoder = Decoder::starting_at(100);
            decoder.feed(&good);
            decoder.feed(&bad);
            assert!(decoder.next_frame().unwrap().is_some());
            let error = decoder.next_frame().unwrap_err();
            assert_eq!(
                error,
                FrameError {
                    offset: 119,
                    problem
                }
            );
            assert!(
                error.to_string().contains("expected stream 1 or 2"),
                "{error}"
            );
            assert_eq!(
                decoder.next_frame().unwrap_err(),
                error,
                "the decoder stays where it is"
            );
        }
    }

    proptest! {
        #[test]
        fn any_frames_in_any_chunks_come_back(
            frames in any_frames(),
            sizes in prop::collection::vec(1_usize..64, 1..10),
        ) {
            let bytes = framed(&frames);
            let (decoded, decoder) = decode(&split(&bytes, &sizes));
            prop_assert_eq!(decoded, frames);
            prop_assert_eq!(decoder.position(), bytes.len() as u64);
            prop_assert_eq!(decoder.pending_len(), 0);
        }

        #[test]
        fn a_cut_log_gives_a_prefix_of_its_frames_and_nothing_else(
            frames in any_frames(),
            cut in any::<prop::sample::Index>(),
            sizes in prop::collection::vec(1_usize..64, 1..10),
        ) {
            let bytes = framed(&frames);
            let cut = cut.index(bytes.len() + 1);
            let (decoded, decoder) = decode(&split(&bytes[..cut], &sizes));
            prop_assert_eq!(&decoded[..], &frames[..decoded.len()]);
            let whole = framed(&decoded).len();
            prop_assert_eq!(decoder.position(), whole as u64);
            prop_assert_eq!(decoder.pending_len(), cut - whole);
            if let Some(next) = frames.get(decoded.len()) {
                prop_assert!(cut - whole < HEADER_LEN + next.data.len(), "a whole frame was kept back");
            }
        }
    }
}
