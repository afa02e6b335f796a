//! `/output` from a volume of the engine into the spool, once its container has ended.

use std::{
    io::{self, Read},
    path::Path,
};

use bytes::{Buf as _, Bytes};
use cloudai_engine::{ContainerId, Engine, EngineError};
use cloudai_files::output::{LeftOut, UnpackError, unpack};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use crate::{
    context::blocking,
    spool::{SpoolError, SpoolPlace},
};

/// Fetches at a time; each unpacks on a thread of its own.
pub(crate) const AT_A_TIME: usize = 8;
/// Pieces of the stream read ahead of the disk.
const AHEAD: usize = 16;

/// Why it could not be fetched; it may succeed later.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("what it left in /output can't be fetched: {0}")]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

impl FetchError {
    /// Whether there was no room on this worker's disk: there may be later.
    pub(crate) fn is_no_room(&self) -> bool {
        match self {
            Self::Engine(_) => false,
            Self::Unpack(error) => error.is_no_room(),
            Self::Spool(error) => error.is_no_room(),
        }
    }
}

/// Fetches it, unless that was done before; at most so many bytes of it.
pub(crate) async fn output(
    engine: &Engine,
    container: &ContainerId,
    place: &SpoolPlace,
    most: u64,
) -> Result<(), FetchError> {
    let fetching = place.clone();
    let Some(part) = blocking(move || fetching.begin_fetch()).await? else {
        return Ok(());
    };
    let (sender, receiver) = mpsc::channel(AHEAD);
    let unpacking = blocking(move || unpack_pieces(receiver, &part, most));
    let mut pieces = std::pin::pin!(engine.output(container));
    let copying = async {
        let mut failed = None;
        while let Some(piece) = pieces.next().await {
            let (piece, error) = match piece {
                Ok(piece) => (Ok(piece), None),
                Err(error) => (Err(io::Error::other(error.to_string())), Some(error)),
            };
            failed = error;
            // One who unpacks no more says why.
            if sender.send(piece).await.is_err() || failed.is_some() {
                break;
            }
        }
        drop(sender);
        failed
    };
    let (left_out, failed) = tokio::join!(unpacking, copying);
    if let Some(error) = failed {
        return Err(error.into());
    }
    let left_out = left_out?;
    let place = place.clone();
    blocking(move || place.end_fetch(&left_out)).await?;
    Ok(())
}

fn unpack_pieces(
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    folder: &Path,
    most: u64,
) -> Result<LeftOut, UnpackError> {
    let stream = Pieces {
        pieces,
        current: Bytes::new(),
    };
    unpack(stream, folder, most)
}

/// Pieces of a stream, read where blocking is allowed.
struct Pieces {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.current = piece?,
                None => return Ok(0),
            }
        }
        let most = self.current.len().min(buffer.len());
        self.current.copy_to_slice(&mut buffer[..most]);
        Ok(most)
    }
}
