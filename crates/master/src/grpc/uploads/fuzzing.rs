//! A door for `crates/fuzzing`: see [`crate::fuzzing`].

use cloudai_files::output::OutputStore;
use cloudai_model::{AttemptId, UserName, record::FileRecord};
use cloudai_proto::cluster::FileChunk;
use futures_util::stream;

use super::{Incoming, Metrics, Places, Problem, Room, come_in, next, publish};

/// What became of the files in a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Uploaded {
    /// They are in their place, with what is written down of them.
    Published(Vec<FileRecord>),
    /// They are not kept, in the words that the sender hears.
    Refused(String),
}

/// Takes in all files of one attempt, at most `limit` bytes, out of a stream that its worker, or
/// an old node, sends; as a call does, but for who may send and whether the files are still wanted.
#[must_use]
pub fn upload(
    store: &OutputStore,
    (user, attempt): (&UserName, &AttemptId),
    limit: u64,
    chunks: Vec<FileChunk>,
) -> Uploaded {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime on this thread, without I/O, takes nothing of the system");
    let received = runtime.block_on(async {
        let mut stream = stream::iter(chunks.into_iter().map(Ok));
        let refused = |words: &str| Err(words.to_owned());
        let first = match next(&mut stream).await {
            Ok(Some(first)) => first,
            Ok(None) => return refused("the stream is empty"),
            Err(status) => return refused(status.message()),
        };
        let is_theirs = match &first.worker {
            Some(_) => first.attempt == *attempt,
            None => first.attempt.task == attempt.task,
        };
        if !is_theirs {
            return refused("the files are not those of an attempt of this worker");
        }
        let staging = store.begin(attempt).map_err(|error| error.to_string())?;
        let incoming = Incoming::new(staging, limit, None);
        let (places, room) = (Places::default(), Room::endless());
        let staging = come_in(
            &mut stream,
            first,
            incoming,
            (&places, &room),
            &Metrics::default(),
        )
        .await;
        staging.map_err(|problem| match problem {
            Problem::ForNow(words) => words,
            Problem::ForGood(status) => status.message().to_owned(),
        })
    });
    // What was given up is removed by a thread of the runtime, which ends with it.
    drop(runtime);
    let published = received.and_then(|staging| publish(staging, store, user, &attempt.task));
    match published {
        Ok(files) => Uploaded::Published(files),
        Err(words) => Uploaded::Refused(words),
    }
}
