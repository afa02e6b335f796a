//! What has come of one upload: its files so far, and how much more is taken.
//!
//! Whoever sends may be lying: bytes, holes, names and folders are all counted, and work is done
//! in pieces after each of which it can be left.

use std::collections::VecDeque;

use cloudai_files::output::{Checksum, RelativePath, StageError, Staging};
use cloudai_model::resources::MOST_HOLE_BYTES;
use cloudai_operator::with_causes;
use cloudai_proto::UploadChunk;
use tokio::runtime::Handle;
use tonic::Status;

use super::quota::Quota;

/// A task may leave so many files, and so many folders that hold them.
const MOST_FILES: usize = 1_000_000;
const MOST_FOLDERS: usize = 1_000_000;
/// The paths of one upload are kept in memory until its end.
const MOST_PATH_BYTES: usize = 256 << 20;
/// What a file takes of a disk beside its bytes, and what a folder does, where they are small.
const FILE_BYTES: u64 = 256;
const FOLDER_BYTES: u64 = 4096;
/// So much of a hole at once: some hundredths of a second.
const HOLE_STEP: u64 = 32 << 20;

/// Why what came isn't kept.
#[derive(Debug)]
pub(super) enum Problem {
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

fn too_much(words: String) -> Problem {
    Problem::ForGood(Status::out_of_range(words))
}

/// How far an upload is.
#[derive(Debug)]
pub(super) enum Came {
    /// There is more to come, or to do.
    Part,
    /// This is all; `None`: there are no files.
    All(Option<Box<Staging>>),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Incoming {
    /// There until all has come.
    staging: Option<Box<Staging>>,
    /// The most bytes that are taken.
    limit: u64,
    /// What is left for the user's files.
    quota: Option<Quota>,
    bytes: u64,
    /// What the files that are whole take.
    whole_bytes: u64,
    hole_bytes: u64,
    files: usize,
    folders: usize,
    path_bytes: usize,
    /// The file whose bytes come.
    current: Option<RelativePath>,
    /// The one before it.
    last: Option<RelativePath>,
    /// Where the next bytes of the file belong, from a sender that doesn't say.
    position: u64,
}

impl Incoming {
    /// Files for `staging`, of at most `limit` bytes together, names and folders included, and within
    /// the `quota` of their user.
    pub(super) fn new(staging: Staging, limit: u64, quota: Option<Quota>) -> Self {
        Self {
            staging: Some(Box::new(staging)),
            limit,
            quota,
            bytes: 0,
            whole_bytes: 0,
            hole_bytes: 0,
            files: 0,
            folders: 0,
            path_bytes: 0,
            current: None,
            last: None,
            position: 0,
        }
    }

    /// Takes in chunks from the front, until there are none or it has been at it for a while.
    pub(super) fn work(&mut self, chunks: &mut VecDeque<UploadChunk>) -> Result<Came, Problem> {
        while let Some(chunk) = chunks.pop_front() {
            if chunk.empty_set {
                return Ok(Came::All(None));
            }
            let path: RelativePath = chunk.path_text.parse().map_err(|error| {
                Problem::ForGood(Status::invalid_argument(format!("file_path: {error}")))
            })?;
            if self.current.as_ref() != Some(&path) {
                self.count_file(&path)?;
            }
            let offset = chunk.offset.unwrap_or(self.position);
            let end = offset.saturating_add(chunk.data.len() as u64);
            if let Some(quota) = &self.quota {
                quota.admit(self.whole_bytes.saturating_add(end))?;
            }
            let hole = offset.saturating_sub(self.position);
            if self.hole_bytes.saturating_add(hole) > MOST_HOLE_BYTES {
                return Err(too_much(format!(
                    "the holes in the files are larger than {MOST_HOLE_BYTES} bytes together"
                )));
            }
            if hole > HOLE_STEP {
                self.hole_bytes += HOLE_STEP;
                self.position += HOLE_STEP;
                let position = self.position;
                self.write(&path, position, &[])?;
                chunks.push_front(chunk);
                return Ok(Came::Part);
            }
            self.hole_bytes += hole;
            self.count_bytes(chunk.data.len() as u64)?;
            self.write(&path, offset, &chunk.data)?;
            self.position = end;
            if chunk.last_chunk {
                self.finish_file(path, &chunk)?;
                if chunk.last_file {
                    return Ok(Came::All(self.staging.take()));
                }
            }
        }
        Ok(Came::Part)
    }

    fn count_file(&mut self, path: &RelativePath) -> Result<(), Problem> {
        // They come folder by folder: what a path shares with the one before it is there.
        let before = self.last.as_ref().map_or("", RelativePath::as_str);
        let mut names = path.as_str().split('/').zip(before.split('/'));
        let shared = names.by_ref().take_while(|(one, other)| one == other);
        let folders = path.as_str().matches('/').count();
        let new_folders = folders.saturating_sub(shared.count());
        self.files += 1;
        self.folders += new_folders;
        self.path_bytes += path.as_str().len();
        for (count, most, what) in [
            (self.files, MOST_FILES, "files"),
            (self.folders, MOST_FOLDERS, "folders"),
            (self.path_bytes, MOST_PATH_BYTES, "bytes of paths"),
        ] {
            if count > most {
                return Err(too_much(format!("more than {most} {what} are not taken")));
            }
        }
        self.current = Some(path.clone());
        let of_names = FILE_BYTES + path.as_str().len() as u64;
        self.count_bytes(of_names + FOLDER_BYTES * new_folders as u64)
    }

    fn count_bytes(&mut self, more: u64) -> Result<(), Problem> {
        self.bytes = self.bytes.saturating_add(more);
        if self.bytes > self.limit {
            return Err(too_much(format!(
                "the files and their names are larger than {} bytes, which is what the task's \
                 storage allows",
                self.limit
            )));
        }
        Ok(())
    }

    fn write(&mut self, path: &RelativePath, offset: u64, data: &[u8]) -> Result<(), Problem> {
        let written = self.staging()?.write(path, offset, data);
        written.map_err(|error| Problem::of(&error))
    }

    fn finish_file(&mut self, path: RelativePath, last: &UploadChunk) -> Result<(), Problem> {
        let expected = last.finish.as_ref().map(|digest| Checksum {
            size: digest.size,
            sha256: digest.sha256.clone(),
        });
        let finished = self.staging()?.finish_file(&path, expected.as_ref());
        let finished = finished.map_err(|error| Problem::of(&error))?;
        self.whole_bytes = self.whole_bytes.saturating_add(finished.size);
        self.position = 0;
        self.current = None;
        self.last = Some(path);
        Ok(())
    }

    fn staging(&mut self) -> Result<&mut Staging, Problem> {
        self.staging.as_deref_mut().ok_or_else(|| {
            Problem::ForGood(Status::invalid_argument("a chunk after the last of all"))
        })
    }
}

impl Drop for Incoming {
    /// What is given up is removed; that may take long, and not on a thread that serves calls.
    fn drop(&mut self) {
        if let (Some(staging), Ok(runtime)) = (self.staging.take(), Handle::try_current()) {
            runtime.spawn_blocking(move || drop(staging));
        }
    }
}

#[cfg(test)]
mod tests {
    use cloudai_files::output::OutputStore;
    use cloudai_model::{AttemptId, TaskId};

    use super::*;

    fn incoming(limit: u64) -> (tempfile::TempDir, Incoming) {
        let folder = tempfile::tempdir().unwrap();
        let store = OutputStore::open(folder.path()).unwrap();
        let staging = store.begin(&AttemptId::new(TaskId::numbered(7), 1));
        (folder, Incoming::new(staging.unwrap(), limit, None))
    }

    fn chunk(path: &str, offset: Option<u64>, data: &'static [u8], last: bool) -> UploadChunk {
        UploadChunk {
            attempt: AttemptId::new(TaskId::numbered(7), 1),
            worker: None,
            user_text: String::new(),
            task_name: String::new(),
            path_text: path.to_owned(),
            offset,
            data: data.into(),
            last_chunk: last,
            finish: None,
            last_file: false,
            empty_set: false,
        }
    }

    /// How many pieces of work it is, and what came of it.
    fn works(incoming: &mut Incoming, chunk: UploadChunk) -> (u32, Result<Came, Problem>) {
        let mut chunks = VecDeque::from([chunk]);
        let mut pieces = 0;
        loop {
            pieces += 1;
            match incoming.work(&mut chunks) {
                Ok(Came::Part) if !chunks.is_empty() => {}
                came => return (pieces, came),
            }
        }
    }

    fn refusal(came: Result<Came, Problem>) -> String {
        match came {
            Err(Problem::ForGood(status)) => status.message().to_owned(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_hole_is_many_pieces_of_work_and_ends_where_it_should() {
        let (_folder, mut incoming) = incoming(1 << 20);
        let far = 3 * HOLE_STEP + 5;
        let (pieces, came) = works(&mut incoming, chunk("sparse", Some(far), b"end", true));
        assert!(matches!(came, Ok(Came::Part)), "{came:?}");
        assert_eq!(pieces, 4);
        assert_eq!(incoming.hole_bytes, far);

        let (pieces, came) = works(&mut incoming, chunk("huge", Some(1 << 60), b"", false));
        assert_eq!(pieces, 1, "it is refused before any of it is done");
        assert!(refusal(came).contains("holes"));
    }

    #[test]
    fn names_and_folders_count_with_the_bytes() {
        let (_folder, mut incoming) = incoming(1 << 20);
        let deep = vec!["d"; 100].join("/");
        let mut taken = 0;
        let refused = loop {
            let path = format!("{taken}/{deep}/empty");
            match works(&mut incoming, chunk(&path, None, b"", true)).1 {
                Ok(_) => taken += 1,
                refused => break refusal(refused),
            }
        };
        assert!(refused.contains("names are larger than"), "{refused}");
        assert_eq!(taken, 2, "each of more than 400 KB of folders");
    }

    #[test]
    fn no_more_comes_than_the_quota_has_room_for_holes_and_all() {
        let (_folder, mut incoming) = incoming(u64::MAX);
        incoming.quota = Some(Quota::with(110, 100));
        for (path, offset, data) in [("a", None, b"1234".as_slice()), ("b", Some(4), b"56")] {
            let came = works(&mut incoming, chunk(path, offset, data, true)).1;
            assert!(matches!(came, Ok(Came::Part)), "{path}: {came:?}");
        }
        // Ten bytes are there, of ten.
        let came = works(&mut incoming, chunk("c", None, b"", true)).1;
        assert!(matches!(came, Ok(Came::Part)), "{came:?}");
        let refused = refusal(works(&mut incoming, chunk("d", None, b"7", true)).1);
        assert!(
            refused.starts_with("the quota of files of ada is"),
            "{refused}"
        );
    }

    #[test]
    fn what_is_there_already_is_counted_once() {
        let (_folder, mut incoming) = incoming(u64::MAX);
        for path in ["a/b/1", "a/b/2", "a/3", "a/c/4", "ab/5", "6"] {
            let (_, came) = works(&mut incoming, chunk(path, None, b"x", true));
            assert!(matches!(came, Ok(Came::Part)), "{path}: {came:?}");
        }
        assert_eq!((incoming.files, incoming.folders), (6, 4));
    }

    #[test]
    fn a_path_that_leaves_the_folder_is_refused_for_good() {
        let (_folder, mut incoming) = incoming(u64::MAX);
        let refused = refusal(works(&mut incoming, chunk("../x", None, b"x", true)).1);
        assert!(refused.starts_with("file_path: "), "{refused}");
    }
}
