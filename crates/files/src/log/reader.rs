//! Reading a log's file: framed bytes from any offset, frames from where one begins.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::{Decoder, Frame, LogError};

/// Bytes asked of the file at once.
pub(super) const READ_LEN: usize = 64 * 1024;

/// Reads a log's file. The file may grow meanwhile.
#[derive(Debug)]
pub struct LogReader {
    path: PathBuf,
    file: File,
}

impl LogReader {
    /// Opens the log in the file `path`.
    ///
    /// # Errors
    ///
    /// The file can't be opened; one that is not there is an I/O error of kind `NotFound`.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let file = File::open(path).map_err(LogError::io(path, "open it"))?;
        Ok(Self {
            path: path.to_owned(),
            file,
        })
    }

    /// The file's length in bytes.
    ///
    /// # Errors
    ///
    /// The file's properties can't be read.
    pub fn file_len(&self) -> Result<u64, LogError> {
        let metadata = self.file.metadata();
        Ok(metadata
            .map_err(LogError::io(&self.path, "read its length"))?
            .len())
    }

    /// The framed bytes from `offset` on, at most `limit`; fewer only at the file's end. They may
    /// begin and end within a frame.
    ///
    /// # Errors
    ///
    /// The file can't be read.
    pub fn read_at(&self, offset: u64, limit: usize) -> Result<Vec<u8>, LogError> {
        // The file's length bounds the buffer, so that a limit of "all" costs what is there.
        let available = self.file_len()?.saturating_sub(offset);
        let mut bytes = vec![0; usize::try_from(available).unwrap_or(usize::MAX).min(limit)];
        let mut have = 0;
        while have < bytes.len() {
            let read = self.file.read_at(&mut bytes[have..], offset + have as u64);
            match read {
                Ok(0) => break,
                Ok(read) => have += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(LogError::io(&self.path, "read it")(error)),
            }
        }
        bytes.truncate(have);
        Ok(bytes)
    }

    /// The frames from `offset` on, where a frame must begin, to the end of the file as it is when
    /// that is reached. A last frame that is not whole is left out.
    #[must_use]
    pub fn frames_from(&self, offset: u64) -> Frames<'_> {
        Frames {
            reader: self,
            decoder: Decoder::starting_at(offset),
            failed: false,
        }
    }

    /// Hands all bytes from `offset` on to `take`, in pieces, until the end or its error.
    pub(super) fn for_each_piece<E: From<LogError>>(
        &self,
        mut offset: u64,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        loop {
            let piece = self.read_at(offset, READ_LEN)?;
            if piece.is_empty() {
                return Ok(());
            }
            offset += piece.len() as u64;
            take(&piece)?;
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// The frames of a log, read as they are asked for.
#[derive(Debug)]
pub struct Frames<'a> {
    reader: &'a LogReader,
    decoder: Decoder,
    failed: bool,
}

impl Frames<'_> {
    /// Where in the log the next frame begins.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.decoder.position()
    }

    fn advance(&mut self) -> Result<Option<Frame>, LogError> {
        loop {
            let frame = self
                .decoder
                .next_frame()
                .map_err(|source| LogError::Malformed {
                    path: self.reader.path.clone(),
                    source,
                })?;
            if frame.is_some() {
                return Ok(frame);
            }
            let offset = self.decoder.position() + self.decoder.pending_len() as u64;
            let bytes = self.reader.read_at(offset, READ_LEN)?;
            if bytes.is_empty() {
                return Ok(None);
            }
            self.decoder.feed(&bytes);
        }
    }
}

impl Iterator for Frames<'_> {
    type Item = Result<Frame, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let frame = self.advance();
        self.failed = frame.is_err();
        frame.transpose()
    }
}
