//! Sends what an attempt left in `/output` to the master, in chunks with checksums, all of it in
//! one stream; one that breaks off is sent again from its start.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use bytes::Bytes;
use cloudai_files::output::{
    Collected, LeftOut, ReadError, RelativePath, Zeros, collect, read_chunks,
};
use cloudai_model::{
    Whole, WorkerId,
    resources::{MOST_HOLE_BYTES, most_kept_bytes},
};
use cloudai_proto::{FileDigest, UploadAnswer, UploadChunk, cluster::FileChunk};
use cloudai_worker_core::{Delivery, Order, Outcome, SentFiles};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use crate::{
    backoff,
    context::{Context, blocking},
    master_link::Connected,
    report, storage,
};

const CHUNK_BYTES: usize = 512 * 1024;
/// Chunks read ahead of the network.
const AHEAD: usize = 4;
/// How long a stream may stand still before it counts as broken.
const STALL_LIMIT: Duration = Duration::from_secs(120);
/// How long the master may take to make the files safe once it has them all.
const ANSWER_LIMIT: Duration = Duration::from_secs(600);
/// Uploads at a time; each reads on a thread of its own.
pub(crate) const AT_A_TIME: usize = 8;
/// So much text of file names an old master gets with a result: with the log's end it stays well
/// below the 4 MiB that a gRPC server takes if nobody says otherwise.
const OLD_NAMES_BYTES: usize = 1 << 20;
/// How many notes about files that were left out are passed on.
const NOTES: usize = 5;

/// Sends the files of an attempt once, and tells the core what came of it.
pub(crate) async fn run(context: Context, order: Order, tries: u32) {
    backoff::wait(tries).await;
    let delivery = deliver(&context, &order).await;
    if let Delivery::Undelivered(reason) | Delivery::Refused(reason) = &delivery {
        tracing::debug!(attempt = %order.attempt, reason, "the files will be sent again");
    }
    context
        .core
        .outcome(&order.attempt, Outcome::Uploaded(delivery));
}

async fn deliver(context: &Context, order: &Order) -> Delivery<SentFiles> {
    let none = |whole| Delivery::Acknowledged(SentFiles::none(whole));
    let incomplete = |reason: String| none(Whole::Incomplete(reason));
    let place = context.spool.place(&order.attempt);
    let folder = place.output();
    if place.has_volume() && !folder.exists() {
        let reason = "what it left in /output could not be fetched from its engine";
        return incomplete(reason.to_owned());
    }
    let left_out = match blocking(move || place.left_out()).await {
        Ok(left_out) => left_out,
        Err(error) => LeftOut {
            notes: vec![error.to_string()],
            count: 1,
        },
    };
    let mut unreadable = BTreeSet::new();
    loop {
        let root = folder.clone();
        let collected = match blocking(move || collect(&root)).await {
            Ok(collected) => collected,
            Err(error) => return incomplete(error.to_string()),
        };
        let mut collected = without(collected, &unreadable);
        leave_out_endless(&mut collected, storage::limit(order));
        collected.left_out.prepend(&left_out);
        // Those of a later attempt replace those of the earlier, so that none is news, too.
        if collected.files.is_empty() && order.attempt.number == 1 {
            return none(whole(&collected.left_out));
        }
        let _turn = context.uploads.acquire().await;
        let master = context.master.ready().await;
        let kept = SentFiles {
            whole: whole(&collected.left_out),
            names: if master.is_old {
                names(&collected)
            } else {
                Vec::new()
            },
        };
        match send(
            &context.settings.id,
            &master,
            order,
            folder.clone(),
            collected,
        )
        .await
        {
            Sent::Answered(UploadAnswer::Taken { .. }) => {
                return Delivery::Acknowledged(kept);
            }
            Sent::Answered(UploadAnswer::Superseded { .. }) => return Delivery::Superseded,
            Sent::Answered(UploadAnswer::Refused(refused)) => {
                return report::refused(&master, refused.to_string());
            }
            Sent::Unreadable(path, reason) => {
                unreadable.insert((path, reason));
            }
            Sent::Failed(status) => {
                // What the master can't ever take is not to hold up the result.
                return match status.code() {
                    Code::InvalidArgument | Code::OutOfRange | Code::Unimplemented => {
                        incomplete(format!("the master refused them: {}", status.message()))
                    }
                    _ => report::failed(&master, &status),
                };
            }
        }
    }
}

/// Leaves out files that turned out not to be readable, with a note.
fn without(mut collected: Collected, unreadable: &BTreeSet<(RelativePath, String)>) -> Collected {
    for (path, reason) in unreadable {
        collected.files.retain(|file| file.path != *path);
        collected.left_out.add(format_args!("{path}: {reason}"));
    }
    collected
}

/// What the files are called, as far as there is room for that.
fn names(collected: &Collected) -> Vec<String> {
    let mut room = OLD_NAMES_BYTES;
    let names = collected.files.iter().map(|file| file.path.to_string());
    let fits = |name: &String| {
        room = room.saturating_sub(name.len() + 8);
        room > 0
    };
    names.take_while(fits).collect()
}

/// Leaves out files that are larger than a master ever takes: the holes of a file count for its
/// checksum, and those of the largest would take days.
fn leave_out_endless(collected: &mut Collected, storage: Option<u64>) {
    let Some(storage) = storage else { return };
    let mut room = most_kept_bytes(storage).saturating_add(MOST_HOLE_BYTES);
    let Collected { files, left_out } = collected;
    files.retain(|file| {
        let fits = file.size <= room;
        if fits {
            room -= file.size;
        } else {
            let (path, size) = (&file.path, file.size);
            left_out.add(format_args!("{path}: {size} bytes are too many"));
        }
        fits
    });
}

fn whole(left_out: &LeftOut) -> Whole {
    if left_out.count == 0 {
        return Whole::Complete;
    }
    let shown = &left_out.notes[..left_out.notes.len().min(NOTES)];
    let mut reason = shown.join("; ");
    let more = left_out.count - shown.len() as u64;
    if more > 0 {
        reason.push_str(&format!("; and {more} more"));
    }
    Whole::Incomplete(reason)
}

type ToWire = fn(UploadChunk) -> FileChunk;

enum Sent {
    Answered(UploadAnswer),
    /// A file can't be read any more; the master has been told nothing final.
    Unreadable(RelativePath, String),
    Failed(Status),
}

async fn send(
    worker: &WorkerId,
    master: &Connected,
    order: &Order,
    folder: PathBuf,
    collected: Collected,
) -> Sent {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let blank = UploadChunk {
        attempt: order.attempt.clone(),
        worker: Some(worker.clone()),
        user_text: order.job.user.to_string(),
        task_name: order.job.name.clone(),
        path_text: String::new(),
        offset: None,
        data: Bytes::new(),
        last_chunk: false,
        finish: None,
        last_file: false,
        empty_set: true,
    };
    // An old master takes bytes as they come, wherever they belong.
    let (to_wire, zeros): (ToWire, Zeros) = if master.is_old {
        (
            |chunk| chunk.into_old_wire(cloudai_clock::now().wall),
            Zeros::Told,
        )
    } else {
        (UploadChunk::into_wire, Zeros::LeftOut)
    };
    let (told, progress) = watch::channel(0_u64);
    let reading = tokio::task::spawn_blocking(move || {
        read(
            &folder,
            &collected,
            &blank,
            (to_wire, zeros),
            &sender,
            &told,
        )
    });
    let mut client = master.client.clone();
    let request = tonic::Request::new(ReceiverStream::new(receiver));
    let answer = tokio::select! {
        answer = client.upload_task_files(request) => answer.map(tonic::Response::into_inner),
        status = stalled(progress) => Err(status),
    };
    // Its receiver is gone now, whatever came of the call: the reader ends.
    match reading.await {
        Ok(Err((path, reason))) => Sent::Unreadable(path, reason),
        _ => match answer {
            Ok(answer) => Sent::Answered(UploadAnswer::from_wire(answer)),
            Err(status) => Sent::Failed(status),
        },
    }
}

/// Resolves when the stream has stood still for too long, or its answer doesn't come.
async fn stalled(mut progress: watch::Receiver<u64>) -> Status {
    loop {
        match timeout(STALL_LIMIT, progress.changed()).await {
            Ok(Ok(())) => {}
            // All of it is read and under way.
            Ok(Err(_)) => {
                tokio::time::sleep(ANSWER_LIMIT).await;
                return Status::deadline_exceeded("the master did not confirm the files in time");
            }
            Err(_) => return Status::deadline_exceeded("the upload stood still for too long"),
        }
    }
}

/// Reads the files into the stream, as fast as it takes them. A stream that ends without its last
/// file tells the master that it broke off.
fn read(
    folder: &std::path::Path,
    collected: &Collected,
    blank: &UploadChunk,
    (to_wire, zeros): (ToWire, Zeros),
    sender: &mpsc::Sender<FileChunk>,
    told: &watch::Sender<u64>,
) -> Result<(), (RelativePath, String)> {
    let Some((last, _)) = collected.files.split_last() else {
        // Whether it is taken shows in the answer; so below.
        let _ = sender.blocking_send(to_wire(blank.clone())).is_ok();
        return Ok(());
    };
    for file in &collected.files {
        let failed = |error: ReadError| (file.path.clone(), error.to_string());
        for chunk in read_chunks(folder, file, CHUNK_BYTES, zeros).map_err(failed)? {
            let chunk = chunk.map_err(failed)?;
            let ended = chunk.checksum.is_some();
            let message = UploadChunk {
                path_text: file.path.to_string(),
                offset: Some(chunk.offset),
                data: chunk.data,
                last_chunk: ended,
                finish: chunk.checksum.map(|checksum| FileDigest {
                    size: checksum.size,
                    sha256: checksum.sha256,
                }),
                last_file: ended && file.path == last.path,
                empty_set: false,
                ..blank.clone()
            };
            if sender.blocking_send(to_wire(message)).is_err() {
                return Ok(());
            }
            told.send_modify(|sent| *sent += 1);
        }
    }
    Ok(())
}
