//! A file's bytes, read piece by piece as the reader takes them.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt as _};

use bytes::Bytes;
use cloudai_model::{UserName, record::FileRecord};
use cloudai_operator::OpenFiles;
use tokio::sync::mpsc::{self, Receiver};

use crate::{refusal::Refusal, shares::Share};

/// Bytes read at once, and pieces on their way: their product is what a slow reader costs.
const PIECE_BYTES: u64 = 256 << 10;
const AHEAD: usize = 2;

/// The bytes of a range of a file. A file that is shorter than what is on record breaks off.
pub(super) async fn pieces(
    files: OpenFiles,
    record: FileRecord,
    range: Range<u64>,
    place: Share<UserName>,
) -> Result<Receiver<io::Result<Bytes>>, Refusal> {
    let opened = tokio::task::spawn_blocking(move || {
        let file = files.open(&record)?;
        Ok::<_, cloudai_files::output::StoreError>((files, file))
    });
    let opened = opened.await.map_err(|error| Refusal::internal(&error))?;
    let (files, Some(file)) = opened? else {
        return Err(Refusal::not_found());
    };
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        // Both are held until the last byte has gone.
        let (_files, _place) = (files, place);
        let (mut file, mut at) = (file, range.start);
        while at < range.end {
            // Not before there is room for it.
            let Ok(room) = sender.reserve().await else {
                return;
            };
            let length = PIECE_BYTES.min(range.end - at);
            let read = tokio::task::spawn_blocking(move || {
                let piece = read_piece(&file, at, length);
                (file, piece)
            });
            let Ok((back, piece)) = read.await else {
                return;
            };
            file = back;
            at += length;
            let is_broken = piece.is_err();
            room.send(piece);
            if is_broken {
                return;
            }
        }
    });
    Ok(receiver)
}

fn read_piece(file: &File, at: u64, length: u64) -> io::Result<Bytes> {
    let mut piece = vec![0; usize::try_from(length).unwrap_or(0)];
    file.read_exact_at(&mut piece, at)?;
    Ok(piece.into())
}
