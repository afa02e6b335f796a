//! Output files come in: each chunk to its file, all of them to their place at the end.

pub(super) mod fuzzing;
mod incoming;
mod places;
mod quota;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use cloudai_core::{Input, Reported};
use cloudai_files::output::{OutputStore, Staging};
use cloudai_metrics::Metrics;
use cloudai_model::{
    AttemptId, TaskId, UserName, WorkerId,
    record::{FileRecord, FilesRecord, TaskRecord},
    resources::most_kept_bytes,
};
use cloudai_operator::with_causes;
use cloudai_proto::{Refused, UploadAnswer, UploadChunk, cluster::FileChunk};
use cloudai_store::Store;
use futures_util::{Stream, StreamExt as _};
use tokio::{
    sync::{OwnedMutexGuard, mpsc},
    time::timeout,
};
use tonic::{Status, Streaming};
use tracing::warn;

use super::{
    auth::Caller,
    cluster_service::ClusterService,
    old_nodes,
    reports::{reported, vet},
};
use crate::{core_loop::CoreHandle, room::Room, snapshot::Snapshots};
use incoming::{Came, Incoming, Problem};
pub(super) use places::Places;
use quota::Quota;

/// Chunks that may wait for the disk.
const CHUNKS_AHEAD: usize = 4;
/// A stream in which nothing comes for so long is given up. Its worker sends a sign more often,
/// whatever it has to read.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);

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
        return receive(service, (worker, attempt), is_live, first, stream).await;
    }
    service.gate.unnamed(caller)?;
    let meant = old_nodes::meant(service, None, &first.attempt).await?;
    let Some((worker, attempt)) = meant else {
        return Ok(old_nodes::in_old_words(superseded()));
    };
    let sender = (worker.clone(), attempt.clone());
    let under_way = service.old_uploads.begin(&attempt);
    let receiving = receive(service, sender, is_live_or_late, first, stream);
    let answer = old_nodes::while_busy(service, &worker, &attempt, receiving).await;
    under_way.ended(&answer);
    answer.map(old_nodes::in_old_words)
}

/// Whether files are still to be taken from a worker that stands so to their attempt. It reports
/// when they are here, and sends none after.
fn is_live(standing: Reported) -> bool {
    match standing {
        Reported::Live => true,
        Reported::Ended | Reported::Superseded => false,
    }
}

/// The same of an old node, which may report first.
fn is_live_or_late(standing: Reported) -> bool {
    match standing {
        Reported::Live | Reported::Ended => true,
        Reported::Superseded => false,
    }
}

/// Takes in the files of an attempt that is known, as long as they are wanted.
async fn receive(
    service: &ClusterService,
    (worker, attempt): (WorkerId, AttemptId),
    is_wanted: fn(Reported) -> bool,
    first: UploadChunk,
    mut stream: Streaming<FileChunk>,
) -> Result<UploadAnswer, Status> {
    if !is_wanted(vet(service, &worker, &attempt).await?) {
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

    let room = &service.master.room;
    if let Some(why) = room.files_wait() {
        // The worker has them, and sends them again for as long as it takes.
        return Ok(UploadAnswer::Refused(Refused(why)));
    }
    let place = service.uploads.take(&worker, &attempt).await;
    let mut place = place.ok_or_else(replaced)?;
    let staging = service.master.files.begin(&attempt);
    let staging = staging.map_err(|error| Status::unavailable(error.to_string()))?;
    let (store, snapshots) = (&service.master.store, &service.master.snapshots);
    let quota = Quota::of((&**store, snapshots), &record.spec.user, &attempt.task).await;
    let incoming = Incoming::new(
        staging,
        most_kept_bytes(record.spec.resources.storage_bytes),
        quota.map_err(|error| Status::unavailable(error.to_string()))?,
    );
    let at = (&service.uploads, room);
    let received = tokio::select! {
        received = come_in(&mut stream, first, incoming, at, &service.master.metrics) => received,
        () = place.lost() => return Err(replaced()),
    };
    let came = match received {
        Ok(staging) => Ok(staging),
        Err(Problem::ForNow(problem)) => {
            // Perhaps it was room that was missing.
            room.found_full();
            return Ok(UploadAnswer::Refused(Refused(problem)));
        }
        Err(Problem::ForGood(status)) => Err(status),
    };
    // A long upload may have been superseded meanwhile: then it replaces nothing.
    if !is_wanted(vet(service, &worker, &attempt).await?) {
        return Ok(superseded());
    }
    // A caller that leaves now must not leave files behind that nothing is written down of.
    let filing = Filing {
        files: service.master.files.clone(),
        store: service.master.store.clone(),
        snapshots: service.master.snapshots.clone(),
        core: service.master.core.clone(),
        places: service.uploads.clone(),
        metrics: service.master.metrics.clone(),
    };
    let filing = tokio::spawn(async move {
        let answer = filing
            .file_away((worker, attempt), is_wanted, record, came)
            .await;
        drop(place);
        answer
    });
    filing.await.expect("filing does not panic")
}

/// What files are put away with that have all come.
struct Filing {
    files: Arc<OutputStore>,
    store: Arc<dyn Store>,
    snapshots: Snapshots,
    core: CoreHandle,
    places: Places,
    metrics: Metrics,
}

impl Filing {
    /// Puts files to their place and writes them down. If their attempt has ended in the instant
    /// between the two, so that nothing is written down of them, they are removed again.
    async fn file_away(
        &self,
        (worker, attempt): (WorkerId, AttemptId),
        is_wanted: fn(Reported) -> bool,
        record: TaskRecord,
        came: Result<Option<Box<Staging>>, Status>,
    ) -> Result<UploadAnswer, Status> {
        let (user, task) = (record.spec.user.clone(), attempt.task.clone());
        let (quota, _counted) = self.counted(&user, &task).await?;
        let came = came.and_then(|staging| {
            let bytes = staging.as_ref().map_or(0, |staging| staging.size());
            match quota.map(|quota| quota.admit(bytes)) {
                Some(Err(Problem::ForGood(status))) => {
                    // What is given up is removed, which may take long.
                    tokio::task::spawn_blocking(move || drop(staging));
                    Err(status)
                }
                _ => Ok(staging),
            }
        });
        let (staging, refused) = match came {
            Ok(staging) => (staging, None),
            // What an attempt before left is replaced all the same: nobody would see it, and it would
            // be counted.
            Err(status) if self.has_older(&attempt).await => (None, Some(status)),
            Err(status) => return Err(status),
        };
        // To the end: what is at the place is what was put there here.
        let _turn = self.places.filing(&task).await;
        let (files, owner, of_task) = (self.files.clone(), user.clone(), task.clone());
        let published =
            tokio::task::spawn_blocking(move || publish(staging, &files, &owner, &of_task));
        let files = match published.await.expect("publishing does not panic") {
            Ok(files) => files,
            Err(problem) => return Ok(UploadAnswer::Refused(Refused(problem))),
        };

        let count = u32::try_from(files.len()).unwrap_or(u32::MAX);
        // An empty set is recorded, too: it replaces what an earlier attempt left.
        let stored = FilesRecord {
            storage_path: format!("{user}/{task}"),
            user: user.clone(),
            task_name: record.spec.name.clone(),
            attempt,
            files,
            uploaded_at: cloudai_clock::now().wall,
        };
        let told = stored.clone();
        let input = move |call| Input::FilesStored {
            call,
            worker,
            files: Box::new(told),
        };
        let standing = reported(self.core.call(input).await)?;
        if standing != Reported::Live && self.is_not_written_down(&stored).await {
            let files = self.files.clone();
            let removed = tokio::task::spawn_blocking(move || files.remove(&user, &task));
            if let Err(error) = removed.await.expect("removing does not panic") {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "files that nobody wants any more can't be removed"
                );
            }
            return Ok(superseded());
        }
        if !is_wanted(standing) {
            return Ok(superseded());
        }
        if let Some(status) = refused {
            return Err(status);
        }
        self.metrics.files_kept(u64::from(count));
        Ok(UploadAnswer::Taken {
            files: count,
            message: format!("{count} files received"),
        })
    }

    /// The user's quota, and the turn to use it up; nothing of both for who has none.
    async fn counted(
        &self,
        user: &UserName,
        task: &TaskId,
    ) -> Result<(Option<Quota>, Option<OwnedMutexGuard<()>>), Status> {
        let limits = self.snapshots.latest().users.limits(user);
        if limits.files_bytes.is_none() {
            return Ok((None, None));
        }
        let turn = self.places.counting(user).await;
        let quota = Quota::of((&*self.store, &self.snapshots), user, task).await;
        let quota = quota.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok((quota, Some(turn)))
    }

    /// Whether files of an attempt before are kept.
    async fn has_older(&self, attempt: &AttemptId) -> bool {
        let stored = self.store.files(&attempt.task).await;
        matches!(stored, Ok(Some(stored))
            if stored.attempt.number < attempt.number && !stored.files.is_empty())
    }

    /// Whether the store says that other files are kept of the task, or none. While it can't be
    /// asked they stay.
    async fn is_not_written_down(&self, files: &FilesRecord) -> bool {
        match self.store.files(&files.attempt.task).await {
            Ok(Some(known)) => {
                (&known.attempt, known.uploaded_at) != (&files.attempt, files.uploaded_at)
            }
            Ok(None) => true,
            Err(_) => false,
        }
    }
}

/// A stream of chunks as it comes from the wire.
trait Chunks: Stream<Item = Result<FileChunk, Status>> + Unpin {}
impl<S: Stream<Item = Result<FileChunk, Status>> + Unpin> Chunks for S {}

async fn next(stream: &mut impl Chunks) -> Result<Option<UploadChunk>, Status> {
    let chunk = timeout(LONGEST_SILENCE, stream.next()).await;
    let chunk = chunk.map_err(|_| {
        Status::deadline_exceeded(format!(
            "nothing of the upload came for {LONGEST_SILENCE:?}: send it again"
        ))
    })?;
    Ok(chunk.transpose()?.map(UploadChunk::from_wire).transpose()?)
}

/// All chunks of a stream, written as they come; `None` if there are no files.
async fn come_in(
    stream: &mut impl Chunks,
    first: UploadChunk,
    incoming: Incoming,
    (places, room): (&Places, &Room),
    metrics: &Metrics,
) -> Result<Option<Box<Staging>>, Problem> {
    let (chunks, inbox) = mpsc::channel(CHUNKS_AHEAD);
    let ((), staging) = tokio::try_join!(
        pass_on(stream, first, chunks, metrics),
        write(places, room, incoming, inbox),
    )?;
    Ok(staging)
}

/// Hands every chunk to the writer; fails if the stream breaks, so that nothing of it is kept.
async fn pass_on(
    stream: &mut impl Chunks,
    first: UploadChunk,
    chunks: mpsc::Sender<UploadChunk>,
    metrics: &Metrics,
) -> Result<(), Problem> {
    let attempt = first.attempt.clone();
    let mut chunk = first;
    loop {
        if chunk.attempt != attempt {
            return Err(Problem::ForGood(Status::invalid_argument(format!(
                "a chunk of {} in the stream of {attempt}: expected one attempt in a stream",
                chunk.attempt
            ))));
        }
        metrics.file_received(chunk.data.len() as u64);
        let last = chunk.empty_set || (chunk.last_file && chunk.last_chunk);
        if chunks.send(chunk).await.is_err() || last {
            // The writer has stopped and says why, or this is all.
            return Ok(());
        }
        let next = next(stream).await.map_err(Problem::ForGood)?;
        chunk = next.ok_or_else(|| {
            let words = "the stream ended before the last chunk of the last file";
            Problem::ForGood(Status::data_loss(words))
        })?;
    }
}

/// Writes chunks until the last; `None` if there are no files. No thread waits for a chunk: one is
/// taken for what has come, and given back.
async fn write(
    places: &Places,
    room: &Room,
    mut incoming: Incoming,
    mut inbox: mpsc::Receiver<UploadChunk>,
) -> Result<Option<Box<Staging>>, Problem> {
    let mut chunks = VecDeque::new();
    loop {
        if chunks.is_empty() {
            let chunk = inbox.recv().await.ok_or_else(|| {
                Problem::ForNow("the stream broke off before the last file".to_owned())
            })?;
            chunks.push_back(chunk);
            chunks.extend(std::iter::from_fn(|| inbox.try_recv().ok()).take(CHUNKS_AHEAD));
        }
        if let Some(why) = room.files_wait() {
            return Err(Problem::ForNow(why));
        }
        let turn = places.at_disk().await;
        let worked = tokio::task::spawn_blocking(move || {
            let came = incoming.work(&mut chunks);
            drop(turn);
            (incoming, chunks, came)
        });
        let came;
        (incoming, chunks, came) = worked.await.expect("writing does not panic");
        if let Came::All(staging) = came? {
            return Ok(staging);
        }
    }
}

/// Moves the files to their place, over those of an earlier attempt.
fn publish(
    staging: Option<Box<Staging>>,
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

fn replaced() -> Status {
    Status::aborted("another upload of this attempt has begun")
}

fn superseded() -> UploadAnswer {
    let message = "this attempt was superseded: drop its files".to_owned();
    UploadAnswer::Superseded { message }
}

#[cfg(test)]
mod quota_tests;

#[cfg(test)]
mod tests {
    use cloudai_core::{Core, Effect, Settings, policy::RoundRobin};
    use cloudai_model::{
        TaskDraft, Wall,
        record::{Record, TaskState, WorkerRecord},
    };
    use cloudai_store::MemoryStore;
    use tokio::time::Instant;

    use super::*;
    use crate::core_loop::{self, Effects};

    struct Nobody;

    impl Effects for Nobody {
        fn added(&mut self, _task: &TaskRecord) {}
        fn changed(&mut self, _task: &TaskId) {}
        fn run(&mut self, _effect: Effect) {}
    }

    #[tokio::test]
    async fn files_of_a_task_that_was_forgotten_as_they_came_are_not_kept() {
        // Given a master that knows the worker, and the task no more,
        let folder = tempfile::tempdir().unwrap();
        let files = Arc::new(OutputStore::open(folder.path()).unwrap());
        let worker: WorkerId = "w-1".parse().unwrap();
        let known = WorkerRecord {
            worker: worker.clone(),
            address: "10.0.0.2:50052".parse().unwrap(),
            capacity: None,
            version: None,
            labels: Default::default(),
            registration: 7,
            registered_at: Wall(0),
            last_seen_at: None,
            draining: false,
        };
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        store
            .commit(Arc::new(vec![Record::Worker(known)]))
            .await
            .unwrap();
        let cluster: cloudai_model::ClusterId = "c-test".parse().unwrap();
        let core = Core::new(Settings::default(), Box::new(RoundRobin), cluster.clone());
        let snapshots = Snapshots::unready(cluster);
        let (told, room) = (snapshots.clone(), Room::endless());
        let started = core_loop::start(core, store.clone(), Nobody, told, room);
        started.ready.await.unwrap();
        let filing = Filing {
            files: files.clone(),
            store,
            snapshots,
            core: started.core.clone(),
            places: Places::default(),
            metrics: Metrics::default(),
        };

        // when its files have all come, of an attempt that was live when they began to come,
        let attempt = AttemptId::new(TaskId::numbered(7), 1);
        let mut chunks = VecDeque::from([UploadChunk {
            attempt: attempt.clone(),
            worker: Some(worker.clone()),
            user_text: String::new(),
            task_name: String::new(),
            path_text: "x".to_owned(),
            offset: Some(0),
            data: b"x".as_slice().into(),
            last_chunk: true,
            finish: None,
            last_file: true,
            empty_set: false,
        }]);
        let mut incoming = Incoming::new(files.begin(&attempt).unwrap(), u64::MAX, None);
        let Came::All(staging) = incoming.work(&mut chunks).unwrap() else {
            panic!("there is no more to come");
        };
        let draft = TaskDraft {
            docker_image: "alpine".to_owned(),
            ..TaskDraft::default()
        };
        let record = TaskRecord {
            task: attempt.task.clone(),
            order: 1,
            spec: draft.check().unwrap().1,
            submitted_at: Wall(0),
            state: TaskState::queued(""),
        };
        let user = record.spec.user.clone();
        assert!(staging.is_some());
        let answer = filing
            .file_away((worker, attempt.clone()), is_live, record, Ok(staging))
            .await;

        // then they are not wanted, and none is left.
        assert!(
            matches!(answer, Ok(UploadAnswer::Superseded { .. })),
            "{answer:?}"
        );
        assert!(!files.has_any(&user, &attempt.task));
        assert_eq!(files_with_a_byte(folder.path()), 0);
        started.core.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_falls_silent_is_given_up() {
        let begun = Instant::now();
        let silent = next(&mut futures_util::stream::pending()).await;
        assert_eq!(silent.unwrap_err().code(), tonic::Code::DeadlineExceeded);
        assert!(begun.elapsed() >= LONGEST_SILENCE);
    }

    fn files_with_a_byte(folder: &std::path::Path) -> usize {
        let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
        let counts = entries.map(|entry| {
            let about = entry.metadata().unwrap();
            if about.is_dir() {
                return files_with_a_byte(&entry.path());
            }
            usize::from(about.len() == 1)
        });
        counts.sum()
    }

    #[tokio::test]
    async fn while_nothing_comes_no_thread_is_held() {
        // Given more uploads than there are threads, each with a chunk and then silence
        let folder = tempfile::tempdir().unwrap();
        let store = OutputStore::open(folder.path()).unwrap();
        let places = Arc::new(Places::default());
        let chunk = |number: u64| UploadChunk {
            attempt: AttemptId::new(TaskId::numbered(number), 1),
            worker: None,
            user_text: String::new(),
            task_name: String::new(),
            path_text: "x".to_owned(),
            offset: Some(0),
            data: b"x".as_slice().into(),
            last_chunk: false,
            finish: None,
            last_file: false,
            empty_set: false,
        };
        let mut senders = Vec::new();
        for number in 0..600 {
            let first = chunk(number);
            let staging = store.begin(&first.attempt).unwrap();
            let (sender, inbox) = mpsc::channel(CHUNKS_AHEAD);
            let (incoming, places) = (Incoming::new(staging, u64::MAX, None), places.clone());
            let room = Room::endless();
            tokio::spawn(async move { write(&places, &room, incoming, inbox).await });
            sender.send(first).await.unwrap();
            senders.push(sender);
        }
        // then all that came is written, though the silent ones go on: none of them keeps a place.
        let written = async {
            while files_with_a_byte(folder.path()) < senders.len() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let done = timeout(Duration::from_secs(30), written).await;
        assert!(done.is_ok(), "{}", files_with_a_byte(folder.path()));
    }
}
