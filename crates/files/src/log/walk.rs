//! A walk along framed bytes that keeps none of them.
//!
//! It knows at each byte whether that byte is a header's or a payload's. Memory is a few words,
//! whatever the length of log or frames; what needs whole frames uses the decoder instead.

use super::frame::{FrameError, HEADER_LEN, Header, LogStream};

/// Where in a frame the walk has come to.
#[derive(Debug, Clone)]
pub(super) struct FrameWalk {
    position: u64,
    whole: u64,
    header: [u8; HEADER_LEN],
    header_have: usize,
    payload: Option<Payload>,
}

#[derive(Debug, Clone, Copy)]
struct Payload {
    stream: LogStream,
    missing: usize,
}

impl FrameWalk {
    /// A walk that begins at the log's first byte.
    pub(super) fn new() -> Self {
        Self {
            position: 0,
            whole: 0,
            header: [0; HEADER_LEN],
            header_have: 0,
            payload: None,
        }
    }

    /// Walks over `bytes` and hands each run of payload in them to `on_payload`.
    ///
    /// After an error the walk stands before the malformed header.
    pub(super) fn feed(
        &mut self,
        mut bytes: &[u8],
        mut on_payload: impl FnMut(LogStream, &[u8]),
    ) -> Result<(), FrameError> {
        while !bytes.is_empty() {
            let taken = match &mut self.payload {
                None => {
                    let taken = (HEADER_LEN - self.header_have).min(bytes.len());
                    self.header[self.header_have..][..taken].copy_from_slice(&bytes[..taken]);
                    self.header_have += taken;
                    if self.header_have == HEADER_LEN {
                        self.header_have = 0;
                        let header = match Header::parse(self.header, self.whole) {
                            Ok(header) => header,
                            Err(error) => {
                                self.rewind_to_whole();
                                return Err(error);
                            }
                        };
                        self.payload = Some(Payload {
                            stream: header.stream,
                            missing: header.payload_len,
                        });
                    }
                    taken
                }
                Some(payload) => {
                    let taken = payload.missing.min(bytes.len());
                    on_payload(payload.stream, &bytes[..taken]);
                    payload.missing -= taken;
                    if payload.missing == 0 {
                        self.payload = None;
                        self.whole = self.position + taken as u64;
                    }
                    taken
                }
            };
            self.position += taken as u64;
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    /// Stands where the last whole frame ends, as if nothing behind it had been walked over.
    pub(super) fn rewind_to_whole(&mut self) {
        self.position = self.whole;
        self.header_have = 0;
        self.payload = None;
    }

    /// Bytes walked over.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Where the last whole frame ends.
    pub(super) fn whole(&self) -> u64 {
        self.whole
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::frame::tests::{any_frames, framed, split, stdout},
        *,
    };

    proptest! {
        #[test]
        fn the_payload_is_that_of_the_frames_whatever_the_chunks(
            frames in any_frames(),
            cut in any::<prop::sample::Index>(),
            sizes in prop::collection::vec(1_usize..64, 1..10),
        ) {
            let bytes = framed(&frames);
            let cut = cut.index(bytes.len() + 1);
            let mut walk = FrameWalk::new();
            let mut seen = Vec::new();
            for piece in split(&bytes[..cut], &sizes) {
                walk.feed(piece, |_, payload| seen.extend_from_slice(payload)).unwrap();
            }
            let payload: Vec<u8> = frames.iter().flat_map(|f| f.data.to_vec()).collect();
            prop_assert!(payload.starts_with(&seen));
            prop_assert_eq!(walk.position(), cut as u64);
            let ends = frames.iter().scan(0, |end, f| {
                *end += HEADER_LEN + f.data.len();
                Some(*end)
            });
            let whole = ends.filter(|end| *end <= cut).max().unwrap_or(0);
            prop_assert_eq!(walk.whole(), whole as u64);
        }
    }

    #[test]
    fn a_malformed_header_stops_the_walk_before_it() {
        let mut bytes = framed(&[stdout(1, "abc")]);
        let whole = bytes.len() as u64;
        bytes.extend_from_slice(&[0; 40]);
        let mut walk = FrameWalk::new();
        let error = walk.feed(&bytes, |_, _| ()).unwrap_err();
        assert_eq!(error.offset, whole);
        assert_eq!((walk.position(), walk.whole()), (whole, whole));
    }
}
