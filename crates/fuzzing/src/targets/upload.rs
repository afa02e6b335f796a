//! Output files as they are uploaded: pieces of a stream, from a worker that may be hostile, through
//! the reader of a master into its folder.
//!
//! An input is messages of the wire, one behind another, each with its length before it. What holds:
//! a set is published if, and only if, its stream is in order, within its limit and tells no lies, and
//! then it is, file by file, the bytes that were sent, with their checksum; what is refused is said;
//! what an earlier attempt left is replaced as a whole or not at all; and on every path nothing else
//! is changed: nothing of other tasks, of other users, or beside the folder, and nothing is left over.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use cloudai_files::output::{OutputStore, RelativePath};
use cloudai_master::fuzzing::{self, Uploaded};
use cloudai_model::{AttemptId, TaskId, UserName, record::FileRecord, resources::MOST_HOLE_BYTES};
use cloudai_proto::{
    FileDigest, UploadChunk,
    cluster::{self, FileChunk},
};
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use crate::{Seed, Verdict, said::assert_told, scratch};

/// Messages that are taken of one input.
const MOST: usize = 40;
/// Holes are this large at the most, or so large that none is taken: what lies between takes long.
const FURTHEST: u64 = 256 << 10;
/// What the task may leave.
const MOST_BYTES: u64 = 64 << 10;
/// What is counted for a file and for a folder beside its bytes, at the most.
const FILE_BYTES: u64 = 256;
const FOLDER_BYTES: u64 = 4096;
/// A path may be shown whole, twice escaped.
const LONGEST_REFUSAL: usize = 64 << 10;

/// Files, or any tree: folders have no bytes.
type Tree = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// See the module.
pub(super) fn check(bytes: &[u8]) -> Verdict {
    let (user, attempt) = (UserName::admin(), attempt_of_task());
    let outside = scratch::folder();
    let store = OutputStore::open(outside.path().join("files")).expect("a folder is made");
    for (path, content) in [
        ("files/admin/task-7/before/it", "of an earlier attempt"),
        ("files/admin/task-8/kept", "of another task"),
        ("files/bob/task-7/kept", "of another user"),
        ("stranger", "of nobody here"),
    ] {
        let path = outside.path().join(path);
        fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("it is made");
        fs::write(path, content).expect("a small file can be written");
    }
    let before = tree(outside.path());

    let chunks = messages(bytes);
    let expected = expected(&chunks);
    let uploaded = fuzzing::upload(&store, (&user, &attempt), MOST_BYTES, chunks);

    let (of_task, others) = parted(tree(outside.path()));
    let (of_task_before, others_before) = parted(before);
    assert_eq!(others, others_before, "what is nobody's business here");
    match uploaded {
        Uploaded::Published(records) => {
            let (files, bytes) = expected.expect("it is in order and true");
            assert!(bytes <= MOST_BYTES, "{bytes} bytes are too many");
            are_in_place(&of_task, &files);
            are_written_down(&records, &files);
            Verdict::Accepted
        }
        Uploaded::Refused(words) => {
            assert_told(&words, LONGEST_REFUSAL);
            assert_eq!(of_task, of_task_before, "the earlier set stays: {words}");
            if let Some((files, bytes)) = expected {
                let counted: u64 = files.keys().map(most_counted).sum();
                assert!(bytes + counted > MOST_BYTES, "it was in order: {words}");
            }
            Verdict::Refused
        }
    }
}

/// The one whose files are taken in.
fn attempt_of_task() -> AttemptId {
    AttemptId::new(TaskId::numbered(7), 1)
}

fn messages(mut bytes: &[u8]) -> Vec<FileChunk> {
    let mut chunks = Vec::new();
    while chunks.len() < MOST
        && let Ok(mut chunk) = cluster::FileChunk::decode_length_delimited(&mut bytes)
    {
        chunk.offset = chunk.offset.map(|offset| match offset {
            ..=FURTHEST => offset,
            _ if offset > 2 * MOST_HOLE_BYTES => offset,
            _ => offset % FURTHEST,
        });
        chunks.push(chunk);
    }
    chunks
}

/// The files that these messages bring and the bytes that were sent of them; `None` for what is not
/// to be taken, however large it is.
fn expected(chunks: &[FileChunk]) -> Option<(BTreeMap<RelativePath, Vec<u8>>, u64)> {
    let mut complete: BTreeMap<RelativePath, Vec<u8>> = BTreeMap::new();
    let mut open: Option<(RelativePath, Vec<u8>)> = None;
    let (mut first, mut bytes) = (None, 0);
    for chunk in chunks {
        let chunk = UploadChunk::from_wire(chunk.clone()).ok()?;
        let of_first = first.get_or_insert_with(|| chunk.clone());
        let is_theirs = match of_first.worker {
            Some(_) => of_first.attempt == attempt_of_task(),
            None => of_first.attempt.task == attempt_of_task().task,
        };
        if !is_theirs || chunk.attempt != of_first.attempt {
            return None;
        }
        if chunk.empty_set {
            return Some((BTreeMap::new(), 0));
        }
        let path: RelativePath = chunk.path_text.parse().ok()?;
        let (of, mut data) = open.take().unwrap_or_else(|| (path.clone(), Vec::new()));
        let inside =
            |one: &RelativePath, other: &RelativePath| one.to_os().starts_with(other.to_os());
        let in_the_way = |known: &RelativePath| inside(known, &path) || inside(&path, known);
        let offset = chunk.offset.unwrap_or(data.len() as u64);
        if of != path
            || complete.keys().any(in_the_way)
            || offset < data.len() as u64
            || offset > MOST_HOLE_BYTES
        {
            return None;
        }
        data.resize(offset as usize, 0);
        data.extend_from_slice(&chunk.data);
        bytes += chunk.data.len() as u64;
        if !chunk.last_chunk {
            open = Some((path, data));
            continue;
        }
        if let Some(FileDigest { size, sha256 }) = chunk.finish {
            let is_true = size == data.len() as u64
                && sha256.eq_ignore_ascii_case(&hex::encode(Sha256::digest(&data)));
            if !is_true {
                return None;
            }
        }
        complete.insert(path, data);
        if chunk.last_file {
            return Some((complete, bytes));
        }
    }
    None
}

fn most_counted(path: &RelativePath) -> u64 {
    let text = path.as_str();
    let folders = text.matches('/').count() as u64;
    FILE_BYTES + text.len() as u64 + FOLDER_BYTES * folders
}

fn are_in_place(of_task: &Tree, files: &BTreeMap<RelativePath, Vec<u8>>) {
    let mut expected = Tree::new();
    for (path, content) in files {
        let path = path.to_os();
        for folder in path.ancestors().skip(1) {
            expected.insert(folder.to_owned(), None);
        }
        expected.insert(path, Some(content.clone()));
    }
    assert_eq!(*of_task, expected);
}

fn are_written_down(records: &[FileRecord], files: &BTreeMap<RelativePath, Vec<u8>>) {
    let expected = files.iter().map(|(path, content)| FileRecord {
        path: path.as_str().to_owned(),
        size: content.len() as u64,
        sha256: hex::encode(Sha256::digest(content)),
    });
    assert_eq!(records, expected.collect::<Vec<_>>());
}

/// What lies at the place of the task, relative to it, and the rest.
fn parted(tree: Tree) -> (Tree, Tree) {
    let place = Path::new("files/admin/task-7");
    let (of_task, others): (Tree, Tree) = tree
        .into_iter()
        .partition(|(path, _)| path.starts_with(place));
    let relative = of_task.into_iter().map(|(path, content)| {
        let path = path.strip_prefix(place).expect("it lies there");
        (path.to_owned(), content)
    });
    (relative.collect(), others)
}

/// Everything beneath a folder, which holds nothing but folders and files.
fn tree(root: &Path) -> Tree {
    let (mut tree, mut folders) = (Tree::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("it can be read") {
            let path = entry.expect("it is listed").path();
            let kind = fs::symlink_metadata(&path)
                .expect("it is there")
                .file_type();
            assert!(
                kind.is_dir() || kind.is_file(),
                "{} is {kind:?}",
                path.display()
            );
            let content = kind
                .is_file()
                .then(|| fs::read(&path).expect("it can be read"));
            let within = path.strip_prefix(root).expect("it lies beneath");
            tree.insert(within.to_owned(), content);
            if kind.is_dir() {
                folders.push(path);
            }
        }
    }
    tree
}

/// Uploads in order, with holes, of old nodes, and of liars.
pub(super) fn seeds() -> Vec<Seed> {
    let whole = |path: &str, data: &'static [u8]| UploadChunk {
        attempt: AttemptId::new(TaskId::numbered(7), 1),
        worker: "worker-1".parse().ok(),
        user_text: "ann".to_owned(),
        task_name: String::new(),
        path_text: path.to_owned(),
        offset: Some(0),
        data: Bytes::from_static(data),
        last_chunk: true,
        finish: Some(FileDigest {
            size: data.len() as u64,
            sha256: hex::encode(Sha256::digest(data)),
        }),
        last_file: false,
        empty_set: false,
    };
    let part = |path: &str, offset: u64, data: &'static [u8]| UploadChunk {
        offset: Some(offset),
        last_chunk: false,
        finish: None,
        ..whole(path, data)
    };
    let last = |path: &str, offset: u64, all: &'static [u8]| UploadChunk {
        offset: Some(offset),
        data: Bytes::from_static(all).slice(offset as usize..),
        ..whole(path, all)
    };
    let old = |path: &str, data: &'static [u8]| UploadChunk {
        attempt: AttemptId::new(TaskId::numbered(7), 0),
        worker: None,
        offset: None,
        finish: None,
        ..whole(path, data)
    };
    let of = |task: u64, number: u32, chunk: UploadChunk| UploadChunk {
        attempt: AttemptId::new(TaskId::numbered(task), number),
        ..chunk
    };
    let empty = UploadChunk {
        empty_set: true,
        ..part("", 0, b"")
    };
    let cut_off = |chunks: Vec<UploadChunk>| {
        let chunks = chunks.into_iter().map(UploadChunk::into_wire);
        chunks
            .flat_map(|wire| wire.encode_length_delimited_to_vec())
            .collect::<Vec<u8>>()
    };
    let stream = |mut chunks: Vec<UploadChunk>| {
        if let Some(last) = chunks.last_mut() {
            last.last_file = true;
        }
        cut_off(chunks)
    };
    let deep = vec!["d"; 40].join("/");
    vec![
        Seed::good("one", stream(vec![whole("a.txt", b"hello")])),
        Seed::good(
            "several",
            stream(vec![
                whole("a/b/c", b""),
                whole("a/d", b"\0\xff"),
                whole("e", b"x"),
            ]),
        ),
        Seed::good(
            "pieces",
            stream(vec![part("a", 0, b"hel"), last("a", 3, b"hello")]),
        ),
        Seed::good(
            "hole",
            stream(vec![part("a", 0, b"x"), last("a", 5, b"x\0\0\0\0y")]),
        ),
        Seed::good(
            "old-node",
            stream(vec![old("a", b"hello"), old("b%25", b"2")]),
        ),
        Seed::good("none", stream(vec![empty.clone()])),
        Seed::good(
            "same-path-as-before",
            stream(vec![whole("before/it", b"new"), whole("before/more", b"")]),
        ),
        Seed::good(
            "more-behind-the-last",
            [
                stream(vec![whole("a", b"1")]),
                stream(vec![whole("../x", b"2")]),
            ]
            .concat(),
        ),
        Seed::bad("out-of-the-folder", stream(vec![whole("../x", b"1")])),
        Seed::bad(
            "to-another-task",
            stream(vec![whole("ok", b"1"), whole("../task-8/kept", b"2")]),
        ),
        Seed::bad("absolute", stream(vec![whole("/etc/x", b"1")])),
        Seed::bad("of-another-task", stream(vec![of(8, 1, whole("a", b"1"))])),
        Seed::bad(
            "of-another-attempt",
            stream(vec![of(7, 2, whole("a", b"1"))]),
        ),
        Seed::bad(
            "two-attempts",
            stream(vec![whole("a", b"1"), of(8, 1, whole("b", b"2"))]),
        ),
        Seed::bad(
            "file-as-folder",
            stream(vec![whole("a", b"1"), whole("a/b", b"2")]),
        ),
        Seed::bad("twice", stream(vec![whole("a", b"1"), whole("a", b"1")])),
        Seed::bad(
            "two-at-once",
            stream(vec![part("a", 0, b"1"), part("b", 0, b"1")]),
        ),
        Seed::bad("wrong-checksum", stream(vec![last("a", 2, b"hello")])),
        Seed::bad(
            "back",
            stream(vec![part("a", 0, b"1234"), part("a", 2, b"x")]),
        ),
        Seed::bad("endless-hole", stream(vec![part("a", 1 << 60, b"x")])),
        Seed::bad("too-many-folders", stream(vec![whole(&deep, b"")])),
        Seed::bad("cut", cut_off(vec![part("a", 0, b"1234")])),
        Seed::bad("cut-between-files", cut_off(vec![whole("a", b"1234")])),
        Seed::bad("not-ended", stream(vec![part("a", 0, b"1234")])),
        Seed::bad(
            "none-behind-some",
            cut_off(vec![whole("a", b"1"), of(7, 2, empty)]),
        ),
        Seed::bad("nothing", ""),
    ]
}
