//! Output files as they are uploaded: pieces of a stream, from a worker that may be hostile, into the
//! folder of a master.
//!
//! An input is messages of the wire, one behind another, each with its length before it. What holds:
//! whatever is sent, nothing but the master's own folder changes; a path is taken or refused in words;
//! what is published is, file by file, the bytes that were sent, with their checksum; what is refused
//! is said; and a set that is not published leaves nothing.

use std::{collections::BTreeMap, fs, io::Read as _};

use bytes::Bytes;
use cloudai_files::output::{Checksum, OutputStore, RelativePath};
use cloudai_model::{AttemptId, TaskId, UserName, record::FileRecord};
use cloudai_proto::{FileDigest, UploadChunk, cluster};
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use crate::{
    Seed, Verdict,
    said::{assert_said, assert_told},
    scratch,
};

/// Messages that are taken of one input.
const MOST: usize = 40;
/// Holes further out are the business of whoever counts them.
const FURTHEST: u64 = 1 << 20;
/// A path may be shown whole, twice escaped.
const LONGEST_REFUSAL: usize = 64 << 10;

/// See the module.
pub(super) fn check(bytes: &[u8]) -> Verdict {
    let outside = scratch::folder();
    let root = outside.path().join("files");
    let store = OutputStore::open(&root).expect("a folder for files is made");
    let attempt = AttemptId::new(TaskId::numbered(7), 1);
    let user = UserName::admin();
    let mut staging = store.begin(&attempt).expect("a set is begun");
    let mut sent: BTreeMap<RelativePath, Vec<u8>> = BTreeMap::new();
    let (mut rest, mut given_up) = (bytes, false);
    for _ in 0..MOST {
        let Ok(wire) = cluster::FileChunk::decode_length_delimited(&mut rest) else {
            break;
        };
        let Ok(chunk) = UploadChunk::from_wire(wire) else {
            continue;
        };
        let path: RelativePath = match chunk.path_text.parse() {
            Ok(path) => path,
            Err(error) => {
                assert_said(error);
                continue;
            }
        };
        let known = sent.get(&path).map_or(0, Vec::len) as u64;
        let offset = chunk.offset.unwrap_or(known).min(FURTHEST);
        let mut taken = staging.write(&path, offset, &chunk.data).map(|()| {
            let file = sent.entry(path.clone()).or_default();
            file.resize(offset as usize, 0);
            file.extend_from_slice(&chunk.data);
        });
        if taken.is_ok() && chunk.last_chunk {
            let expected = chunk
                .finish
                .map(|FileDigest { size, sha256 }| Checksum { size, sha256 });
            taken = staging.finish_file(&path, expected.as_ref()).map(drop);
        }
        if let Err(error) = taken {
            assert_told(error, LONGEST_REFUSAL);
            given_up = true;
            break;
        }
    }
    if given_up {
        drop(staging);
        assert!(!store.has_any(&user, &attempt.task), "nothing is left");
        return Verdict::Refused;
    }
    let published = match staging.publish(&user) {
        Ok(records) => {
            assert_eq!(records.len(), sent.len());
            for record in &records {
                is_what_was_sent(&store, &user, &attempt.task, record, &sent);
            }
            let listed = store.list(&user, &attempt.task).expect("it is read");
            assert_eq!(listed.len(), sent.len());
            !records.is_empty()
        }
        Err(error) => {
            assert_told(error, LONGEST_REFUSAL);
            assert!(!store.has_any(&user, &attempt.task), "nothing is left");
            false
        }
    };
    let beside: Vec<_> = fs::read_dir(outside.path()).expect("it is there").collect();
    assert_eq!(beside.len(), 1, "{beside:?}");
    Verdict::accepted_if(published)
}

fn is_what_was_sent(
    store: &OutputStore,
    user: &UserName,
    task: &TaskId,
    record: &FileRecord,
    sent: &BTreeMap<RelativePath, Vec<u8>>,
) {
    let path: RelativePath = record.path.parse().expect("a record names a path");
    let expected = sent.get(&path).expect("nothing else is published");
    let mut held = Vec::new();
    let mut file = store.open_file(user, task, &path).expect("it is there");
    file.read_to_end(&mut held).expect("it is read");
    assert_eq!(&held, expected);
    assert_eq!(record.size, held.len() as u64);
    assert_eq!(record.sha256, hex::encode(Sha256::digest(&held)));
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
    let stream = |chunks: Vec<UploadChunk>| {
        let chunks = chunks.into_iter().map(UploadChunk::into_wire);
        chunks
            .flat_map(|wire| wire.encode_length_delimited_to_vec())
            .collect::<Vec<u8>>()
    };
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
        Seed::good(
            "hostile-paths-beside",
            stream(vec![
                whole("../x", b"1"),
                whole("/etc/x", b"2"),
                whole("ok", b"3"),
            ]),
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
        Seed::bad("cut", stream(vec![part("a", 0, b"1234")])),
        Seed::bad("nothing", ""),
    ]
}
