//! The master's side on a real disk: hostile names, replacement, crashes, copies.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use cloudai_files::output::{
    Checksum, CopyError, CopySummary, OutputStore, RelativePath, StageError, Zeros, collect,
    disk_usage, read_chunks,
};
use cloudai_model::{AttemptId, TaskId, UserName, record::FileRecord};
use sha2::{Digest as _, Sha256};

fn path(text: &str) -> RelativePath {
    text.parse().unwrap()
}

fn alice() -> UserName {
    "alice".parse().unwrap()
}

fn task() -> TaskId {
    TaskId::numbered(7)
}

fn attempt(number: u32) -> AttemptId {
    AttemptId::new(task(), number)
}

/// Takes in `files` as one attempt's and publishes them.
fn publish(store: &OutputStore, number: u32, files: &[(&str, &str)]) -> Vec<FileRecord> {
    let mut staging = store.begin(&attempt(number)).unwrap();
    for (name, content) in files {
        staging.write(&path(name), 0, content.as_bytes()).unwrap();
        staging.finish_file(&path(name), None).unwrap();
    }
    staging.publish(&alice()).unwrap()
}

/// Everything beneath `root`: files with their content, folders and links as such.
fn tree(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            let name = entry
                .path()
                .strip_prefix(root)
                .unwrap()
                .display()
                .to_string();
            let content = if kind.is_dir() {
                folders.push(entry.path());
                "folder".to_owned()
            } else if kind.is_symlink() {
                "link".to_owned()
            } else {
                fs::read_to_string(entry.path()).unwrap()
            };
            found.insert(name, content);
        }
    }
    found
}

fn files(root: &Path) -> BTreeMap<String, String> {
    let mut found = tree(root);
    found.retain(|_, content| content != "folder");
    found
}

fn expected(files: &[(&str, &str)]) -> BTreeMap<String, String> {
    files
        .iter()
        .map(|(name, content)| ((*name).to_owned(), (*content).to_owned()))
        .collect()
}

#[test]
fn no_spelling_of_a_path_leaves_the_folder() {
    // Given a store deep in a folder, beside which everything is watched.
    let outside = tempfile::tempdir().unwrap();
    for decoy in [
        "etc/passwd",
        "etc/shadow",
        "etc/hosts",
        "boot.ini",
        ".htaccess",
    ] {
        let decoy = outside.path().join(decoy);
        fs::create_dir_all(decoy.parent().unwrap()).unwrap();
        fs::write(decoy, "untouched").unwrap();
    }
    let root = outside.path().join("a/b/c/files");
    let store = OutputStore::open(&root).unwrap();
    let watched = |outside: &Path| {
        let mut found = tree(outside);
        found.retain(|name, _| !name.starts_with("a/b/c/files/"));
        found
    };
    let before = watched(outside.path());

    // When each spelling arrives as a file's name, with a file's name put in where it belongs.
    let spellings = include_str!("data/path-traversal.txt");
    let (mut refused, mut taken) = (0, 0);
    for (number, spelling) in (1..).zip(spellings.lines()) {
        let attempt = AttemptId::new(TaskId::numbered(number), 1);
        for text in [spelling.to_owned(), spelling.replace("{FILE}", "passwd")] {
            let Ok(path) = text.parse::<RelativePath>() else {
                refused += 1;
                continue;
            };
            taken += 1;
            let mut staging = store.begin(&attempt).unwrap();
            staging.write(&path, 0, b"evil").unwrap();
            staging.finish_file(&path, None).unwrap();
            staging.publish(&alice()).unwrap();

            // Then what is not refused lies in the task's folder, and nowhere else.
            let place = root.join("alice").join(attempt.task.to_string());
            let inside = collect(&place).unwrap().files;
            assert_eq!(inside.len(), 1, "{text}");
            assert_eq!(inside[0].path, path, "{text}");
            let within: Vec<String> = fs::read_dir(root.join("alice"))
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .filter(|name| *name != attempt.task.to_string())
                .collect();
            assert!(
                within.iter().all(|name| name.starts_with("task-")),
                "{text}: {within:?}"
            );
        }
    }
    assert_eq!(watched(outside.path()), before);
    assert_eq!(refused + taken, 280);
    assert!(
        refused > 100 && taken > 50,
        "refused {refused}, taken {taken}"
    );
}

#[test]
fn files_go_from_worker_to_master_byte_for_byte() {
    // Given a folder with files of all lengths around a chunk's.
    let output = tempfile::tempdir().unwrap();
    for size in [0, 1, 99, 100, 101, 1000] {
        let folder = output.path().join(format!("size/{size}"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("50%20 é"), "x".repeat(size)).unwrap();
    }

    // When it is sent and published.
    let root = tempfile::tempdir().unwrap();
    let store = OutputStore::open(root.path()).unwrap();
    let mut staging = store.begin(&attempt(1)).unwrap();
    for file in collect(output.path()).unwrap().files {
        for chunk in read_chunks(output.path(), &file, 100, Zeros::Told).unwrap() {
            let chunk = chunk.unwrap();
            staging
                .write(&file.path, chunk.offset, &chunk.data)
                .unwrap();
            if let Some(checksum) = &chunk.checksum {
                staging.finish_file(&file.path, Some(checksum)).unwrap();
            }
        }
    }
    let records = staging.publish(&alice()).unwrap();

    // Then it lies in the task's folder under its own names, and the records say so.
    assert_eq!(tree(&root.path().join("alice/task-7")), tree(output.path()));
    assert_eq!(records.len(), 6);
    assert!(
        records
            .iter()
            .any(|record| record.path == "size/0/50%2520 é" && record.size == 0)
    );
    let listed = store.list(&alice(), &task()).unwrap();
    let listed: Vec<_> = listed.iter().map(|file| file.path.as_str()).collect();
    for record in &records {
        assert!(listed.contains(&record.path.as_str()));
    }
    let mut content = String::new();
    let mut file = store
        .open_file(&alice(), &task(), &path("size/99/50%2520 é"))
        .unwrap();
    file.read_to_string(&mut content).unwrap();
    assert_eq!(content, "x".repeat(99));
    assert_eq!(
        fs::read_dir(root.path().join(".incoming")).unwrap().count(),
        0
    );
}

#[test]
fn nothing_stored_can_be_run_or_read_by_others() {
    let root = tempfile::tempdir().unwrap();
    let store = OutputStore::open(root.path().join("files")).unwrap();
    publish(&store, 1, &[("bin/tool", "#!/bin/sh")]);
    let mode = |path: &str| {
        let metadata = fs::metadata(root.path().join("files").join(path)).unwrap();
        metadata.permissions().mode() & 0o7777
    };
    assert_eq!(mode("alice/task-7/bin/tool"), 0o600);
    for folder in ["", "alice", "alice/task-7", "alice/task-7/bin"] {
        assert_eq!(mode(folder), 0o700, "{folder}");
    }
}

#[test]
fn a_later_attempt_replaces_the_files_whole() {
    let root = tempfile::tempdir().unwrap();
    let store = OutputStore::open(root.path()).unwrap();
    publish(&store, 1, &[("old", "1"), ("both", "1")]);
    publish(&store, 2, &[("both", "2"), ("new/one", "2")]);
    let place = root.path().join("alice/task-7");
    assert_eq!(files(&place), expected(&[("both", "2"), ("new/one", "2")]));
    assert_eq!(
        fs::read_dir(root.path().join(".incoming")).unwrap().count(),
        0
    );

    // An attempt without files leaves none.
    publish(&store, 3, &[]);
    assert_eq!(store.list(&alice(), &task()).unwrap(), []);
    assert!(store.remove(&alice(), &task()).unwrap());
    assert!(!store.remove(&alice(), &task()).unwrap());
    assert!(!place.exists());
}

#[test]
fn more_files_than_are_flushed_one_by_one_are_kept_too() {
    let root = tempfile::tempdir().unwrap();
    let store = OutputStore::open(root.path()).unwrap();
    let names: Vec<String> = (0..200).map(|number| format!("{number:03}")).collect();
    let set: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let records = publish(&store, 1, &set);
    assert_eq!(records.len(), 200);
    assert_eq!(files(&root.path().join("alice/task-7")), expected(&set));
}

#[test]
fn what_is_dropped_or_fails_leaves_the_earlier_files() {
    let root = tempfile::tempdir().unwrap();
    let store = OutputStore::open(root.path()).unwrap();
    publish(&store, 1, &[("model", "1")]);
    let before = tree(root.path());

    let mut dropped = store.begin(&attempt(2)).unwrap();
    dropped.write(&path("model"), 0, b"22").unwrap();
    drop(dropped);
    assert_eq!(tree(root.path()), before);

    let mut unfinished = store.begin(&attempt(2)).unwrap();
    unfinished.write(&path("model"), 0, b"22").unwrap();
    let error = unfinished.publish(&alice()).unwrap_err();
    assert!(matches!(error, StageError::Unfinished { .. }), "{error}");
    assert_eq!(tree(root.path()), before);
}

#[test]
fn what_is_left_out_of_a_file_is_a_hole() {
    let root = tempfile::tempdir().unwrap();
    let store = OutputStore::open(root.path()).unwrap();
    let mut staging = store.begin(&attempt(1)).unwrap();
    let end = 64 << 20;
    staging.write(&path("sparse"), end, b"abc").unwrap();
    let mut content = vec![0; end as usize];
    content.extend(b"abc");
    let expected = Checksum {
        size: end + 3,
        sha256: hex::encode(Sha256::digest(&content)),
    };
    staging
        .finish_file(&path("sparse"), Some(&expected))
        .unwrap();
    staging.publish(&alice()).unwrap();

    let kept = root.path().join(format!("alice/{}/sparse", task()));
    assert!(fs::read(&kept).unwrap() == content);
    assert!(
        disk_usage(root.path()).unwrap() < 1 << 20,
        "it takes no room"
    );
}

#[test]
fn pieces_that_do_not_make_the_file_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let store = OutputStore::open(root.path()).unwrap();
    let mut staging = store.begin(&attempt(1)).unwrap();
    let model = path("model");
    staging.write(&model, 0, b"abc").unwrap();
    let twice = staging.write(&model, 0, b"abc").unwrap_err();
    assert!(
        matches!(
            twice,
            StageError::Offset {
                expected: 3,
                offset: 0,
                ..
            }
        ),
        "{twice}"
    );
    let other = staging.write(&path("other"), 0, b"x").unwrap_err();
    assert!(matches!(other, StageError::Unfinished { .. }), "{other}");

    // The right bytes with the right checksum end it, in whatever case the digits come.
    let sha256 = "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD".to_owned();
    staging
        .finish_file(&model, Some(&Checksum { size: 3, sha256 }))
        .unwrap();
    let again = staging.write(&model, 0, b"x").unwrap_err();
    assert!(matches!(again, StageError::Repeated { .. }), "{again}");
    let beneath_a_file = staging.write(&path("model/x"), 0, b"x").unwrap_err();
    assert!(
        matches!(beneath_a_file, StageError::Io { .. }),
        "{beneath_a_file}"
    );

    let wrong = path("wrong");
    staging.write(&wrong, 0, b"abd").unwrap();
    let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned();
    let error = staging
        .finish_file(&wrong, Some(&Checksum { size: 3, sha256 }))
        .unwrap_err();
    assert!(matches!(error, StageError::Mismatch { .. }), "{error}");
    assert!(
        staging.publish(&alice()).is_err(),
        "a set with a damaged file is not published"
    );
}

#[test]
fn a_crash_within_a_replacement_is_healed_at_the_next_start() {
    // Given a process that ended between moving the old set away and the new one in.
    let root = tempfile::tempdir().unwrap();
    let store = OutputStore::open(root.path()).unwrap();
    publish(&store, 1, &[("model", "1")]);
    std::mem::forget(store.begin(&attempt(2)).unwrap());
    fs::create_dir_all(root.path().join(".replaced/alice")).unwrap();
    fs::rename(
        root.path().join("alice/task-7"),
        root.path().join(".replaced/alice/task-7"),
    )
    .unwrap();

    // When the store is opened, then the old set is back, and what was arriving is gone.
    OutputStore::open(root.path()).unwrap();
    let old = expected(&[("alice/task-7/model", "1")]);
    assert_eq!(files(root.path()), old);
    assert!(!root.path().join(".replaced").exists());
    assert_eq!(
        fs::read_dir(root.path().join(".incoming")).unwrap().count(),
        0
    );

    // Given one that ended after moving the new one in, then the new one stays.
    fs::create_dir_all(root.path().join(".replaced/alice/task-7")).unwrap();
    fs::write(root.path().join(".replaced/alice/task-7/model"), "0").unwrap();
    OutputStore::open(root.path()).unwrap();
    assert_eq!(files(root.path()), old);
}

#[test]
fn a_link_in_the_store_is_not_followed() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    let root = tempfile::tempdir().unwrap();
    let store = OutputStore::open(root.path()).unwrap();
    publish(&store, 1, &[("model", "1")]);
    let place = root.path().join("alice/task-7");
    symlink(outside.path(), place.join("folder")).unwrap();
    symlink(outside.path().join("secret"), place.join("file")).unwrap();
    for name in ["folder/secret", "file"] {
        assert!(
            store.open_file(&alice(), &task(), &path(name)).is_err(),
            "{name}"
        );
    }
    assert_eq!(store.list(&alice(), &task()).unwrap().len(), 1);
}

#[test]
fn a_copy_is_checked_and_tells_how_far_it_is() {
    let root = tempfile::tempdir().unwrap();
    let store = OutputStore::open(root.path()).unwrap();
    let set = [("a", "12"), ("n/b", "345"), ("empty", "")];
    let records = publish(&store, 1, &set);
    let target = tempfile::tempdir().unwrap();
    let destination = target.path().join("made/here");

    let mut seen = Vec::new();
    let copy = |seen: &mut Vec<u64>| {
        store.copy_out(&alice(), &task(), &records, &destination, |progress| {
            assert_eq!(progress.total_bytes, 5);
            seen.push(progress.done_bytes);
        })
    };
    let summary = copy(&mut seen).unwrap();
    assert_eq!(
        summary,
        CopySummary {
            copied: 3,
            copied_bytes: 5,
            unchanged: 0
        }
    );
    assert_eq!(seen, [2, 5]);
    assert_eq!(files(&destination), expected(&set));

    // The same again changes nothing.
    let summary = copy(&mut seen).unwrap();
    assert_eq!(
        summary,
        CopySummary {
            copied: 0,
            copied_bytes: 0,
            unchanged: 3
        }
    );

    // A file of other content is named and kept, of the same length or not.
    for content in ["34X", "mine"] {
        fs::write(destination.join("n/b"), content).unwrap();
        let error = copy(&mut seen).unwrap_err();
        assert!(
            matches!(&error, CopyError::Exists { path } if path.ends_with("n/b")),
            "{error}"
        );
        assert_eq!(
            fs::read_to_string(destination.join("n/b")).unwrap(),
            content
        );
    }
}

#[test]
fn a_copy_follows_no_link_that_lies_in_the_destination() {
    let root = tempfile::tempdir().unwrap();
    let store = OutputStore::open(root.path()).unwrap();
    let records = publish(&store, 1, &[("n/a", "1")]);
    let outside = tempfile::tempdir().unwrap();
    let target = tempfile::tempdir().unwrap();

    // A link in place of the folder, then one in place of the file, to where nothing is yet.
    symlink(outside.path(), target.path().join("n")).unwrap();
    let copy = || store.copy_out(&alice(), &task(), &records, target.path(), |_| ());
    assert!(matches!(copy().unwrap_err(), CopyError::Io { .. }));
    fs::remove_file(target.path().join("n")).unwrap();
    fs::create_dir(target.path().join("n")).unwrap();
    symlink(outside.path().join("new"), target.path().join("n/a")).unwrap();
    assert!(matches!(copy().unwrap_err(), CopyError::Exists { .. }));
    assert_eq!(tree(outside.path()), BTreeMap::new());
}

#[test]
fn a_damaged_file_is_not_handed_out() {
    let root = tempfile::tempdir().unwrap();
    let store = OutputStore::open(root.path()).unwrap();
    let records = publish(&store, 1, &[("a", "12")]);
    fs::write(root.path().join("alice/task-7/a"), "1X").unwrap();
    let target = tempfile::tempdir().unwrap();
    let error = store
        .copy_out(&alice(), &task(), &records, target.path(), |_| ())
        .unwrap_err();
    assert!(matches!(error, CopyError::Damaged { .. }), "{error}");
    assert_eq!(tree(target.path()), BTreeMap::new(), "no part of it stays");
}
