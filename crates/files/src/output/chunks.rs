//! The worker's side: a collected file's bytes, in pieces for the wire.

use std::{
    fs::{File, Metadata},
    io::{self, Read},
    path::Path,
    time::SystemTime,
};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{Checksum, CollectedFile, ZEROS, folder::Folder, path::RelativePath};

/// A file that can't be sent as it was collected.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is gone, or the system refuses it.
    #[error("output file {path} cannot be read")]
    Io {
        /// Which.
        path: RelativePath,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody wrote to it since it was collected.
    #[error(
        "output file {path} has changed while it was read: expected {expected} unchanged bytes"
    )]
    Changed {
        /// Which.
        path: RelativePath,
        /// Its size when it was collected.
        expected: u64,
    },
}

/// A piece of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Where in the file it begins.
    pub offset: u64,
    /// The bytes; none in the one chunk of an empty file, and in a sign that zeros go on.
    pub data: Bytes,
    /// Of the whole file; with its last chunk only.
    pub checksum: Option<Checksum>,
}

/// Whether every byte is handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zeros {
    /// Every byte, in order.
    Told,
    /// Chunks of nothing but zeros are left out, so that the next begins behind them: holes of
    /// sparse files cost the wire next to nothing. In a long run there is an empty one now and
    /// then, as a sign that it goes on.
    LeftOut,
}

/// In a run of zeros one chunk in so many is handed out, without its data: a few MB, which any disk
/// gives long before its reader is missed.
const ZERO_RUN: u32 = 32;

/// Reads `file` beneath `root` in chunks of `chunk_size` bytes; the last may be shorter. Each file
/// has a last chunk, an empty one too.
///
/// # Errors
///
/// The file is gone, is no regular file any more, or has another size than it was collected with.
pub fn read_chunks(
    root: &Path,
    file: &CollectedFile,
    chunk_size: usize,
    zeros: Zeros,
) -> Result<FileChunks, ReadError> {
    let failed = |source| ReadError::Io {
        path: file.path.clone(),
        source,
    };
    let root = Folder::open(root).map_err(failed)?;
    let (folder, name) = root.holding(&file.path).map_err(failed)?;
    let opened = folder.open_file(name).map_err(failed)?;
    let metadata = opened.metadata().map_err(failed)?;
    if metadata.len() != file.size {
        return Err(ReadError::Changed {
            path: file.path.clone(),
            expected: file.size,
        });
    }
    Ok(FileChunks {
        path: file.path.clone(),
        file: opened,
        size: file.size,
        modified: metadata.modified().ok(),
        chunk_size: chunk_size.max(1),
        zeros,
        left_out: 0,
        offset: 0,
        hash: Sha256::new(),
        ended: false,
    })
}

/// The chunks of a file, read as they are asked for. Ends after the last or after an error.
#[derive(Debug)]
pub struct FileChunks {
    path: RelativePath,
    file: File,
    size: u64,
    modified: Option<SystemTime>,
    chunk_size: usize,
    zeros: Zeros,
    /// Chunks of zeros that were left out since the last that was handed out.
    left_out: u32,
    offset: u64,
    hash: Sha256,
    ended: bool,
}

impl FileChunks {
    fn next_told(&mut self) -> Result<Chunk, ReadError> {
        loop {
            let mut chunk = self.read()?;
            let may_leave_out = self.zeros == Zeros::LeftOut && chunk.checksum.is_none();
            if !may_leave_out || !is_zeros(&chunk.data) {
                self.left_out = 0;
                return Ok(chunk);
            }
            self.left_out += 1;
            if self.left_out == ZERO_RUN {
                self.left_out = 0;
                chunk.data = Bytes::new();
                return Ok(chunk);
            }
        }
    }

    fn read(&mut self) -> Result<Chunk, ReadError> {
        let left = usize::try_from(self.size - self.offset).unwrap_or(usize::MAX);
        let mut data = vec![0; left.min(self.chunk_size)];
        self.file
            .read_exact(&mut data)
            .map_err(|source| match source.kind() {
                io::ErrorKind::UnexpectedEof => self.changed(),
                _ => self.failed(source),
            })?;
        self.hash.update(&data);
        let offset = self.offset;
        self.offset += data.len() as u64;
        let checksum = (self.offset == self.size).then(|| self.finish());
        Ok(Chunk {
            offset,
            data: data.into(),
            checksum: checksum.transpose()?,
        })
    }

    /// All bytes have been read: were they those of one unchanged file?
    fn finish(&mut self) -> Result<Checksum, ReadError> {
        let metadata: Metadata = self.file.metadata().map_err(|e| self.failed(e))?;
        if metadata.len() != self.size || metadata.modified().ok() != self.modified {
            return Err(self.changed());
        }
        self.ended = true;
        Ok(Checksum {
            size: self.size,
            sha256: hex::encode(self.hash.finalize_reset()),
        })
    }

    fn changed(&self) -> ReadError {
        ReadError::Changed {
            path: self.path.clone(),
            expected: self.size,
        }
    }

    fn failed(&self, source: io::Error) -> ReadError {
        ReadError::Io {
            path: self.path.clone(),
            source,
        }
    }
}

fn is_zeros(bytes: &[u8]) -> bool {
    let mut pieces = bytes.chunks(ZEROS.len());
    pieces.all(|piece| *piece == ZEROS[..piece.len()])
}

impl Iterator for FileChunks {
    type Item = Result<Chunk, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let chunk = self.next_told();
        self.ended |= chunk.is_err();
        Some(chunk)
    }
}
