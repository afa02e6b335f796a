//! Output files come in: each chunk to its file, all of them to their place at the end.

use cloudai_core::{Input, Reported};
use cloudai_files::output::{Checksum, OutputStore, RelativePath, StageError, Staging};
use cloudai_model::{
    AttemptId, TaskId, UserName, WorkerId,
    record::{FileRecord, FilesRecord, TaskRecord},
};
use cloudai_operator::with_causes;
use cloudai_proto::{Refused, UploadAnswer, UploadChunk, cluster::FileChunk};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::{
    auth::Caller,
    cluster_service::ClusterService,
    old_nodes,
    reports::{reported, vet},
};

/// Chunks that may wait for the disk.
const CHUNKS_AHEAD: usize = 8;
/// A task may leave so many files.
const MOST_FILES: usize = 1_000_000;
/// Holes of so many bytes together are taken in one upload. They take no room, but time: they count
/// for the checksums.
const MOST_HOLE_BYTES: u64 = 1 << 40;

/// Why what came isn't kept.
enum Problem {
    /// It may be sent again.
    ForNow(String),
    /// Sent again, it would be refused again.
    ForGood(Status),
}

impl Problem {
    fn of(error: &StageError) -> Self {
        let words = with_causes(error);
        match error {
            StageError::Offset { .. }
            | StageError::Unfinished { .. }
            | StageError::Repeated { .. } => Self::ForGood(Status::invalid_argument(words)),
            StageError::Io { .. } | StageError::Mismatch { .. } | StageError::Publish(_) => {
                Self::ForNow(words)
            }
        }
    }
}

/// Takes in all files of one attempt.
pub(super) async fn take_in(
    service: &ClusterService,
    caller: &Caller,
    mut stream: Streaming<FileChunk>,
) -> Result<UploadAnswer, Status> {
    let Some(first) = next(&mut stream).await? else {
        return Err(Status::invalid_argument(
            "the stream is empty: expected one chunk at least",
        ));
    };
    if let Some(worker) = first.worker.clone() {
        service.gate.reporter(caller, &worker)?;
        let attempt = first.attempt.clone();
        return receive(service, worker, attempt, first, stream).await;
    }
    service.gate.unnamed(caller)?;
    let meant = old_nodes::meant(service, None, &first.attempt).await?;
    let Some((worker, attempt)) = meant else {
        return Ok(old_nodes::in_old_words(superseded()));
    };
    let under_way = service.old_uploads.begin(&attempt);
    let receiving = receive(service, worker.clone(), attempt.clone(), first, stream);
    let answer = old_nodes::while_busy(service, &worker, &attempt, receiving).await;
    under_way.ended(&answer);
    answer.map(old_nodes::in_old_words)
}

/// Takes in the files of an attempt that is known.
async fn receive(
    service: &ClusterService,
    worker: WorkerId,
    attempt: AttemptId,
    first: UploadChunk,
    mut stream: Streaming<FileChunk>,
) -> Result<UploadAnswer, Status> {
    if vet(service, &worker, &attempt).await? == Reported::Superseded {
        return Ok(superseded());
    }
    let record = service.master.store.task(&attempt.task).await;
    let record = record.map_err(|error| Status::unavailable(error.to_string()))?;
    let Some(record) = record else {
        return Err(Status::not_found(format!(
            "task {} is not known",
            attempt.task
        )));
    };

    let staging = service.master.files.begin(&attempt);
    let staging = staging.map_err(|error| Status::unavailable(error.to_string()))?;
    let (chunks, inbox) = mpsc::channel(CHUNKS_AHEAD);
    let limit = record.spec.resources.most_kept_bytes();
    let written = tokio::task::spawn_blocking(move || write(staging, inbox, limit));
    pass_on(&mut stream, first, chunks).await?;
    let staging = match written.await.expect("writing does not panic") {
        Ok(staging) => staging,
        Err(Problem::ForNow(problem)) => return Ok(UploadAnswer::Refused(Refused(problem))),
        Err(Problem::ForGood(status)) => return Err(status),
    };
    // From here on it goes on without its caller: what is published must be recorded.
    let service = service.clone();
    let kept = tokio::spawn(async move { keep(&service, worker, attempt, record, staging).await });
    kept.await.expect("keeping files does not panic")
}

/// Makes the files that have come those of their task.
async fn keep(
    service: &ClusterService,
    worker: WorkerId,
    attempt: AttemptId,
    record: TaskRecord,
    staging: Option<Staging>,
) -> Result<UploadAnswer, Status> {
    // A long upload may have been superseded meanwhile: then it replaces nothing.
    if vet(service, &worker, &attempt).await? == Reported::Superseded {
        return Ok(superseded());
    }
    let (user, store) = (record.spec.user.clone(), service.master.files.clone());
    let of_task = attempt.task.clone();
    let published = tokio::task::spawn_blocking(move || publish(staging, &store, &user, &of_task));
    let files = match published.await.expect("publishing does not panic") {
        Ok(files) => files,
        Err(problem) => return Ok(UploadAnswer::Refused(Refused(problem))),
    };

    let count = u32::try_from(files.len()).unwrap_or(u32::MAX);
    // An empty set is recorded, too: it replaces what an earlier attempt left.
    let stored = FilesRecord {
        storage_path: format!("{}/{}", record.spec.user, attempt.task),
        user: record.spec.user,
        task_name: record.spec.name,
        attempt,
        files,
        uploaded_at: cloudai_clock::now().wall,
    };
    let input = |call| Input::FilesStored {
        call,
        worker,
        files: Box::new(stored),
    };
    if reported(service.master.core.call(input).await)? == Reported::Superseded {
        return Ok(superseded());
    }
    Ok(UploadAnswer::Taken {
        files: count,
        message: format!("{count} files received"),
    })
}

async fn next(stream: &mut Streaming<FileChunk>) -> Result<Option<UploadChunk>, Status> {
    match stream.message().await? {
        Some(chunk) => Ok(Some(UploadChunk::from_wire(chunk)?)),
        None => Ok(None),
    }
}

/// Hands every chunk to the writer; fails if the stream breaks, so that nothing of it is kept.
async fn pass_on(
    stream: &mut Streaming<FileChunk>,
    first: UploadChunk,
    chunks: mpsc::Sender<UploadChunk>,
) -> Result<(), Status> {
    let attempt = first.attempt.clone();
    let mut chunk = first;
    loop {
        if chunk.attempt != attempt {
            return Err(Status::invalid_argument(format!(
                "a chunk of {} in the stream of {attempt}: expected one attempt in a stream",
                chunk.attempt
            )));
        }
        let last = chunk.empty_set || (chunk.last_file && chunk.last_chunk);
        if chunks.send(chunk).await.is_err() {
            // The writer has stopped, and says why.
            return Ok(());
        }
        if last {
            return Ok(());
        }
        chunk = next(stream).await?.ok_or_else(|| {
            Status::data_loss("the stream ended before the last chunk of the last file")
        })?;
    }
}

/// Writes chunks until the last, at most `limit` bytes of them if there is one; `None` if there are
/// no files.
fn write(
    mut staging: Staging,
    mut chunks: mpsc::Receiver<UploadChunk>,
    limit: Option<u64>,
) -> Result<Option<Staging>, Problem> {
    let (mut bytes, mut hole_bytes, mut files) = (0_u64, 0_u64, 0);
    let too_much = |words| Problem::ForGood(Status::out_of_range(words));
    // Where the next bytes of the file belong, from a sender that doesn't say.
    let mut position = 0;
    while let Some(chunk) = chunks.blocking_recv() {
        if chunk.empty_set {
            return Ok(None);
        }
        let path: RelativePath = chunk.path_text.parse().map_err(|error| {
            Problem::ForGood(Status::invalid_argument(format!("file_path: {error}")))
        })?;
        let offset = chunk.offset.unwrap_or(position);
        hole_bytes = hole_bytes.saturating_add(offset.saturating_sub(position));
        if hole_bytes > MOST_HOLE_BYTES {
            return Err(too_much(format!(
                "the holes in the files are larger than {MOST_HOLE_BYTES} bytes together"
            )));
        }
        position = offset.saturating_add(chunk.data.len() as u64);
        bytes = bytes.saturating_add(chunk.data.len() as u64);
        if let Some(limit) = limit.filter(|limit| bytes > *limit) {
            return Err(too_much(format!(
                "the files are larger than {limit} bytes, which is what the task's storage allows"
            )));
        }
        staging
            .write(&path, offset, &chunk.data)
            .map_err(|error| Problem::of(&error))?;
        if chunk.last_chunk {
            position = 0;
            let expected = chunk.finish.as_ref().map(checksum);
            staging
                .finish_file(&path, expected.as_ref())
                .map_err(|error| Problem::of(&error))?;
            if chunk.last_file {
                return Ok(Some(staging));
            }
            files += 1;
            if files == MOST_FILES {
                return Err(too_much(format!(
                    "more than {MOST_FILES} files are not taken"
                )));
            }
        }
    }
    Err(Problem::ForNow(
        "the stream broke off before the last file".to_owned(),
    ))
}

/// Moves the files to their place, over those of an earlier attempt.
fn publish(
    staging: Option<Staging>,
    store: &OutputStore,
    user: &UserName,
    task: &TaskId,
) -> Result<Vec<FileRecord>, String> {
    match staging {
        Some(staging) => staging.publish(user).map_err(|error| with_causes(&error)),
        None => {
            store
                .remove(user, task)
                .map_err(|error| with_causes(&error))?;
            Ok(Vec::new())
        }
    }
}

fn superseded() -> UploadAnswer {
    let message = "this attempt was superseded: drop its files".to_owned();
    UploadAnswer::Superseded { message }
}

fn checksum(digest: &cloudai_proto::FileDigest) -> Checksum {
    Checksum {
        size: digest.size,
        sha256: digest.sha256.clone(),
    }
}
