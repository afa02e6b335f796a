//! `/output` from a volume of the engine into the spool, once its container has ended.

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use bytes::{Buf as _, Bytes};
use cloudai_engine::{ContainerId, Engine, EngineError};
use cloudai_files::output::{UnpackError, Unpacked, unpack};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use crate::{
    context::blocking,
    spool::{SpoolError, SpoolPlace},
};

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

/// Fetches it, unless that was done before.
pub(crate) async fn output(
    engine: &Engine,
    container: &ContainerId,
    place: &SpoolPlace,
) -> Result<(), FetchError> {
    let fetching = place.clone();
    let Some(part) = blocking(move || fetching.begin_fetch()).await? else {
        return Ok(());
    };
    let (sender, receiver) = mpsc::channel(AHEAD);
    let unpacking = blocking(move || unpack_pieces(receiver, &part));
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
    let (unpacked, failed) = tokio::join!(unpacking, copying);
    if let Some(error) = failed {
        return Err(error.into());
    }
    let unpacked = unpacked?;
    let place = place.clone();
    blocking(move || place.end_fetch(&unpacked)).await?;
    Ok(())
}

fn unpack_pieces(
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    folder: &Path,
) -> Result<Unpacked, UnpackError> {
    let stream = Pieces {
        pieces,
        current: Bytes::new(),
    };
    unpack(stream, folder)
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

/// Removes a folder and what is in it, or finds it gone.
pub(crate) fn remove_folder(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
