//! All files of a task as one archive, packed as the reader takes it: nothing of it is on a disk, and
//! little of it in memory.

use std::io::{self, Read as _, Write};

use bytes::Bytes;
use cloudai_model::{UserName, Wall, record::FileRecord};
use cloudai_operator::{OpenFiles, with_causes};
use flate2::{Compression, write::GzEncoder};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tracing::warn;

use crate::shares::Share;

/// Bytes of the archive in one piece, and pieces on their way.
const PIECE_BYTES: usize = 256 << 10;
const AHEAD: usize = 2;

/// The bytes of the archive. What can't be read makes it break off, so that nobody takes a part for
/// the whole.
pub(super) fn pieces(
    files: OpenFiles,
    task: String,
    now: Wall,
    place: Share<UserName>,
) -> Receiver<io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        let _place = place;
        if let Err(error) = pack(&files, &task, now, &sender) {
            if error.kind() != io::ErrorKind::BrokenPipe {
                let error = &error as &dyn std::error::Error;
                warn!(%task, reason = with_causes(error), "an archive broke off");
            }
            // Whoever went away needs no word of it.
            let broken = io::Error::other("the archive broke off");
            let _ = sender.blocking_send(Err(broken)).is_ok();
        }
    });
    receiver
}

fn pack(
    files: &OpenFiles,
    task: &str,
    now: Wall,
    sender: &Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let out = Pieces {
        sender,
        piece: Vec::with_capacity(PIECE_BYTES),
    };
    let mut archive = tar::Builder::new(GzEncoder::new(out, Compression::fast()));
    for record in &files.left.files {
        add(&mut archive, files, record, task, now)?;
    }
    let mut out = archive.into_inner()?.finish()?;
    out.flush()
}

fn add<W: Write>(
    archive: &mut tar::Builder<W>,
    files: &OpenFiles,
    record: &FileRecord,
    task: &str,
    now: Wall,
) -> io::Result<()> {
    let opened = files.open(record).map_err(io::Error::other)?;
    let Some(file) = opened else {
        // It is no path within a folder: no archive shall hold it.
        let message = format!("a record of task {task} names no path within its folder");
        return Err(io::Error::other(message));
    };
    // Names as the system has them; they were checked when they came in.
    let path = record.path.parse::<cloudai_files::output::RelativePath>();
    let path = path.map_err(io::Error::other)?.to_os();
    let mut header = tar::Header::new_gnu();
    header.set_size(record.size);
    header.set_mode(0o644);
    header.set_mtime(u64::try_from(now.unix_seconds()).unwrap_or(0));
    header.set_entry_type(tar::EntryType::Regular);
    let mut content = Whole {
        rest: record.size,
        file: file.take(record.size),
    };
    archive.append_data(
        &mut header,
        std::path::Path::new(task).join(path),
        &mut content,
    )
}

/// A file that must be as long as it is on record.
struct Whole {
    rest: u64,
    file: io::Take<std::fs::File>,
}

impl io::Read for Whole {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.rest -= read as u64;
        if read == 0 && !buffer.is_empty() && self.rest > 0 {
            let message = format!("a stored file lacks its last {} bytes", self.rest);
            return Err(io::Error::other(message));
        }
        Ok(read)
    }
}

/// Writes into pieces that are sent when they are full.
struct Pieces<'a> {
    sender: &'a Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let full = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE_BYTES));
        let sent = self.sender.blocking_send(Ok(full.into()));
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
