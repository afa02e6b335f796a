//! Which part of a log is wanted, and how it comes.

use async_trait::async_trait;
use cloudai_files::log::{Decoder, Frame, LogFollower};

use crate::LogFailure;

/// Log bytes read at a time.
const PIECE_BYTES: usize = 64 << 10;

/// A part of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogPart {
    /// Where it begins.
    pub start: LogStart,
    /// Whether what is yet to be written belongs to it; else it ends with what is there.
    pub follow: bool,
}

/// Where a part of a log begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStart {
    /// At this byte of the framed log, where a frame begins.
    Byte(u64),
    /// With the last so many lines of what is there now.
    Lines(usize),
}

impl LogPart {
    /// All of it, live.
    pub const WHOLE: Self = Self {
        start: LogStart::Byte(0),
        follow: true,
    };
}

/// A log that is read as it grows.
#[async_trait]
pub trait FrameSource: Send {
    /// The next frame; `None` at the end. Dropping the future loses no frame.
    async fn next(&mut self) -> Result<Option<Frame>, LogFailure>;

    /// Which byte of the framed log comes behind the frames that were read so far.
    fn position(&self) -> u64;
}

/// The frames of a log that is followed.
#[derive(Debug)]
pub struct LogFrames {
    log: LogFollower,
    decoder: Decoder,
    follow: bool,
    /// Bytes of the first frame's data that are not wanted.
    skip: usize,
}

impl LogFrames {
    /// From where the follower stands; without `follow` to the end of what is there.
    #[must_use]
    pub fn new(log: LogFollower, follow: bool) -> Self {
        Self::skipping(log, follow, 0)
    }

    /// The same without the first bytes of the first frame's data.
    #[must_use]
    pub fn skipping(log: LogFollower, follow: bool, skip: usize) -> Self {
        Self {
            decoder: Decoder::starting_at(log.offset()),
            log,
            follow,
            skip,
        }
    }
}

#[async_trait]
impl FrameSource for LogFrames {
    async fn next(&mut self) -> Result<Option<Frame>, LogFailure> {
        loop {
            if let Some(mut frame) = self.decoder.next_frame()? {
                let skip = std::mem::take(&mut self.skip).min(frame.data.len());
                frame.data = frame.data.split_off(skip);
                if frame.data.is_empty() {
                    continue;
                }
                return Ok(Some(frame));
            }
            if self.follow && !self.log.wait().await {
                return Ok(None);
            }
            let bytes = self.log.read(PIECE_BYTES)?;
            if bytes.is_empty() && !self.follow {
                return Ok(None);
            }
            self.decoder.feed(&bytes);
        }
    }

    fn position(&self) -> u64 {
        self.decoder.position()
    }
}
