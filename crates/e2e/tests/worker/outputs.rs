//! Whatever a task leaves in `/output` arrives as it was, or the result says what didn't.

use std::{
    ffi::OsStr,
    fs,
    io::Read as _,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{FileExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
};

use cloudai_model::{Command, TaskDraft, TaskId};
use cloudai_test_task::{SeededBytes, many_file_content, many_file_path};
use cloudai_tests::{
    cluster::{Cluster, test_task},
    engine::TEST_SHELL,
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Bytes of the large file here; `make bench` sends 1 GB.
const LARGE_BYTES: usize = 100 << 20;
const MANY: usize = 10_000;

/// Where the master keeps the files of a task.
pub(crate) fn kept(cluster: &Cluster, task: &TaskId) -> PathBuf {
    cluster.path("master").join(format!("files/admin/{task}"))
}

/// Runs a task that leaves files.
pub(crate) async fn leaves(cluster: &mut Cluster, words: &[&str]) -> (TaskId, Value) {
    let task = cluster.submit(words).await;
    let entry = cluster.has_status(&task, "completed").await;
    (task, entry)
}

/// All files beneath a folder; panics at what is none.
fn files_beneath(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(files_beneath(&entry.path()));
        } else {
            assert!(kind.is_file(), "{:?} is {kind:?}", entry.path());
            found.push(entry.path());
        }
    }
    found
}

/// Checks what `test_task files odd` left: every file as it was, nothing followed out, and words
/// for the rest. A volume's archive has no sockets in it, so that `sockets_are_told` there is
/// false.
pub(crate) fn odd_files_are_kept(folder: &Path, entry: &Value, sockets_are_told: bool) {
    let bottom = (0..30).map(|level| format!("/level-{level}"));
    let bottom = format!("deep{}/bottom.txt", bottom.collect::<String>());
    let long = "n".repeat(255);
    let expected: [(&[u8], &[u8]); 15] = [
        (b"plain.txt", b"plain\n"),
        (b"with some spaces.txt", b"spaces\n"),
        ("grüße-世界-🦀.txt".as_bytes(), b"unicode\n"),
        (b"new\nline.txt", b"newline in the name\n"),
        (b"-rf", b"looks like an option\n"),
        (b"100%25.txt", b"looks percent-encoded\n"),
        (b"back\\slash.txt", b"backslash\n"),
        (b".hidden", b"hidden\n"),
        (b"not-utf8-\xff\xfe.bin", b"not UTF-8\n"),
        (long.as_bytes(), b"long name\n"),
        (bottom.as_bytes(), b"deep\n"),
        (b"empty", b""),
        (b"hard-link.txt", b"plain\n"),
        (b"unreadable.txt", b"mode 000\n"),
        (b"executable", b"#!/bin/sh\n"),
    ];
    for (name, content) in &expected {
        let path = folder.join(OsStr::from_bytes(name));
        let found = fs::read(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        assert_eq!(found, *content, "{path:?}");
    }
    let sparse = fs::read(folder.join("sparse.bin")).unwrap();
    assert!(sparse.len() == 8 << 20 && sparse.iter().all(|byte| *byte == 0));
    assert_eq!(
        files_beneath(folder).len(),
        expected.len() + 1,
        "and nothing more"
    );

    // Nobody is left to guess what is missing.
    assert_eq!(
        (&entry["status"], &entry["exit_code"]),
        (&"completed".into(), &0.into())
    );
    assert_eq!(entry["files_complete"], false);
    let reason = entry["files_reason"].as_str().unwrap();
    assert!(reason.contains("left out fifo: is a FIFO"), "{reason}");
    assert!(
        reason.contains("link-dangling: is a symbolic link"),
        "{reason}"
    );
    let left_out = if sockets_are_told { 8 } else { 7 };
    assert!(
        reason.ends_with(&format!("and {} more", left_out - 5)),
        "{reason}"
    );
    assert!(
        entry["reason"]
            .as_str()
            .unwrap()
            .starts_with("files incomplete: "),
        "{entry}"
    );
}

/// Checks what `test_task files many` left.
pub(crate) fn many_files_are_kept(folder: &Path, count: usize) {
    for index in 0..count {
        let path = folder.join(many_file_path(index));
        let found = fs::read(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        assert!(found == many_file_content(index).into_bytes(), "{path:?}");
    }
    assert_eq!(files_beneath(folder).len(), count);
}

/// Checks what `test_task output` left, however long it is.
pub(crate) fn large_file_is_kept(path: &Path, bytes: usize, seed: u64) {
    let mut file = fs::File::open(path).unwrap();
    assert_eq!(file.metadata().unwrap().len(), bytes as u64);
    let (mut found, mut expected) = (Sha256::new(), Sha256::new());
    let mut content = SeededBytes::new(seed).take(bytes);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer).unwrap();
        if read == 0 {
            break;
        }
        found.update(&buffer[..read]);
        expected.update(content.by_ref().take(read).collect::<Vec<u8>>());
    }
    assert_eq!(found.finalize(), expected.finalize());
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_files_arrive_as_they_were_and_what_is_no_file_is_named() {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    let (task, entry) = leaves(&mut cluster, &["files", "odd"]).await;
    odd_files_are_kept(&kept(&cluster, &task), &entry, true);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sparse_file_larger_than_the_tasks_storage_arrives_with_its_holes() {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    // Given a file of 3 GB that takes next to nothing, of a task with half a GB
    let length = 3_u64 << 30;
    let line = format!(
        "printf end | dd of=/output/disk.img bs=1 seek={}",
        length - 3
    );
    let task = cluster
        .submit_draft(TaskDraft {
            docker_image: TEST_SHELL.to_owned(),
            command: Command::Shell(line),
            ..test_task(&[])
        })
        .await;

    // then it is as long on the master, and takes as little.
    let entry = cluster.has_status(&task, "completed").await;
    assert_eq!(entry["files_complete"], true, "{entry}");
    let kept = fs::File::open(kept(&cluster, &task).join("disk.img")).unwrap();
    let metadata = kept.metadata().unwrap();
    assert_eq!(metadata.len(), length);
    assert!(metadata.blocks() < 2048, "{} blocks", metadata.blocks());
    let mut end = [0; 3];
    kept.read_exact_at(&mut end, length - 3).unwrap();
    assert_eq!(&end, b"end");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_small_files_and_a_large_one_arrive() {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    let (task, entry) = leaves(&mut cluster, &["files", "many", &MANY.to_string()]).await;
    assert_eq!(entry["files_complete"], true, "{entry}");
    many_files_are_kept(&kept(&cluster, &task), MANY);

    let bytes = LARGE_BYTES.to_string();
    let (task, entry) = leaves(&mut cluster, &["output", "a/large.bin", &bytes, "7"]).await;
    assert_eq!(entry["files_complete"], true, "{entry}");
    large_file_is_kept(&kept(&cluster, &task).join("a/large.bin"), LARGE_BYTES, 7);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_leaves_nothing_or_only_folders_is_whole() {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    let draft = cloudai_model::TaskDraft {
        docker_image: cloudai_tests::engine::TEST_SHELL.to_owned(),
        command: cloudai_model::Command::Shell("mkdir -p /output/a/b/c".to_owned()),
        ..test_task(&[])
    };
    let task = cluster.submit_draft(draft).await;
    let entry = cluster.has_status(&task, "completed").await;
    assert_eq!(entry["files_complete"], true, "{entry}");
    assert!(entry.get("files_reason").is_none(), "{entry}");
    cluster.end().await;
}
