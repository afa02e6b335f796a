//! A piece of an output file: `FileChunk` and [`UploadChunk`].
//!
//! Paths stay text here; they are made safe where files are kept, and only there.

use bytes::Bytes;
use cloudai_model::{AttemptId, Wall, WorkerId};

use crate::{cluster, error::WireError, field};

/// A piece of an output file, or the news that there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadChunk {
    /// Whose output; its number is 0 where an old node didn't say (see
    /// [`cloudai_model::old_node::readings`]).
    pub attempt: AttemptId,
    /// Who sends it; `None` for an old node.
    pub worker: Option<WorkerId>,
    /// The task's user, by whom old masters file it; not to be believed.
    pub user_text: String,
    /// The task's name, for old masters.
    pub task_name: String,
    /// The file's path within `/output`, unchecked.
    pub path_text: String,
    /// Where in the file `data` belongs; `None` from an old node, which sends in order.
    pub offset: Option<u64>,
    /// The bytes.
    pub data: Bytes,
    /// Whether the file ends with this piece.
    pub last_chunk: bool,
    /// The whole file's size and checksum, with its last piece; `None` from an old node.
    pub finish: Option<FileDigest>,
    /// Whether no other file follows.
    pub last_file: bool,
    /// There are no files, and nothing else in the stream.
    pub empty_set: bool,
}

/// What tells that a whole file arrived as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDigest {
    /// Bytes.
    pub size: u64,
    /// SHA-256 in lower-case hex.
    pub sha256: String,
}

impl UploadChunk {
    /// As the wire has it.
    #[must_use]
    pub fn into_wire(self) -> cluster::FileChunk {
        let (size, sha256) = self
            .finish
            .map_or_else(Default::default, |finish| (finish.size, finish.sha256));
        cluster::FileChunk {
            task_id: self.attempt.task.to_string(),
            user_id: self.user_text,
            task_name: self.task_name,
            file_path: self.path_text,
            data: self.data,
            is_last_chunk: self.last_chunk,
            is_last_file: self.last_file,
            timestamp: 0,
            attempt: self.attempt.number,
            offset: self.offset,
            sha256,
            size,
            worker_id: self.worker.map_or_else(String::new, |id| id.to_string()),
            is_empty_set: self.empty_set,
        }
    }

    /// For an old master: in the old fields alone, sent at `at`.
    #[must_use]
    pub fn into_old_wire(self, at: Wall) -> cluster::FileChunk {
        let wire = self.into_wire();
        cluster::FileChunk {
            task_id: wire.task_id,
            user_id: wire.user_id,
            task_name: wire.task_name,
            file_path: wire.file_path,
            data: wire.data,
            is_last_chunk: wire.is_last_chunk,
            is_last_file: wire.is_last_file,
            timestamp: at.unix_seconds(),
            ..Default::default()
        }
    }

    /// Reads it from the wire.
    ///
    /// # Errors
    /// If the task, worker or checksum can't be meant, or a new node leaves one out.
    pub fn from_wire(wire: cluster::FileChunk) -> Result<Self, WireError> {
        let worker = field::parsed_if_any("worker_id", &wire.worker_id)?;
        let is_new = wire.attempt != 0;
        if is_new && worker.is_none() {
            return Err(WireError::new(
                "worker_id",
                "absent: expected the sender's id",
            ));
        }
        if is_new && wire.offset.is_none() && !wire.is_empty_set {
            return Err(WireError::new(
                "offset",
                "absent: expected where data belongs",
            ));
        }
        let finish = match (wire.is_last_chunk, wire.sha256) {
            (true, sha256) if is_new || !sha256.is_empty() => Some(FileDigest {
                size: wire.size,
                sha256: checksum(sha256)?,
            }),
            _ => None,
        };
        Ok(Self {
            attempt: field::attempt(&wire.task_id, wire.attempt)?,
            worker,
            user_text: wire.user_id,
            task_name: wire.task_name,
            path_text: wire.file_path,
            offset: wire.offset,
            data: wire.data,
            last_chunk: wire.is_last_chunk,
            finish,
            last_file: wire.is_last_file,
            empty_set: wire.is_empty_set,
        })
    }
}

fn checksum(text: String) -> Result<String, WireError> {
    let is_hex = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if text.len() == 64 && is_hex {
        return Ok(text);
    }
    let shown: String = text.chars().take(80).collect();
    let message = format!("{shown:?} is not valid: expected 64 lower-case hex digits");
    Err(WireError::new("sha256", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last_chunk() -> UploadChunk {
        UploadChunk {
            attempt: AttemptId::new("task-7".parse().unwrap(), 2),
            worker: Some("worker-1".parse().unwrap()),
            user_text: "ann".to_owned(),
            task_name: "n".to_owned(),
            path_text: "a/b.txt".to_owned(),
            offset: Some(4096),
            data: Bytes::from_static(b"\xff\0"),
            last_chunk: true,
            finish: Some(FileDigest {
                size: 4098,
                sha256: "0a".repeat(32),
            }),
            last_file: true,
            empty_set: false,
        }
    }

    #[test]
    fn chunks_survive_the_wire() {
        let last = last_chunk();
        let first = UploadChunk {
            offset: Some(0),
            last_chunk: false,
            finish: None,
            last_file: false,
            ..last.clone()
        };
        let none = UploadChunk {
            path_text: String::new(),
            offset: None,
            data: Bytes::new(),
            last_chunk: false,
            finish: None,
            empty_set: true,
            ..last.clone()
        };
        for chunk in [first, last, none] {
            assert_eq!(UploadChunk::from_wire(chunk.clone().into_wire()), Ok(chunk));
        }
    }

    #[test]
    fn an_old_workers_chunk_is_read_without_what_it_lacks() {
        let chunk = UploadChunk::from_wire(cluster::FileChunk {
            task_id: "task-7".to_owned(),
            file_path: "../../etc/passwd".to_owned(),
            data: Bytes::from_static(b"x"),
            is_last_chunk: true,
            ..Default::default()
        })
        .unwrap();
        assert_eq!(chunk.attempt.number, 0);
        assert_eq!(
            (&chunk.worker, chunk.offset, &chunk.finish),
            (&None, None, &None)
        );
        assert!(chunk.last_chunk);
        assert_eq!(
            chunk.path_text, "../../etc/passwd",
            "judged where files are kept"
        );
    }

    #[test]
    fn a_new_worker_must_say_where_and_with_which_checksum() {
        let field = |change: fn(&mut cluster::FileChunk)| {
            let mut wire = last_chunk().into_wire();
            change(&mut wire);
            UploadChunk::from_wire(wire).unwrap_err().field
        };
        assert_eq!(field(|chunk| chunk.offset = None), "offset");
        assert_eq!(field(|chunk| chunk.worker_id.clear()), "worker_id");
        assert_eq!(field(|chunk| chunk.sha256.clear()), "sha256");
        assert_eq!(field(|chunk| chunk.sha256 = "0A".repeat(32)), "sha256");
        assert_eq!(field(|chunk| chunk.task_id.clear()), "task_id");
    }
}
