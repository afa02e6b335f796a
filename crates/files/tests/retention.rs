//! What retention does to logs and files on a real disk: counts them, removes them, and leaves what
//! is being read or written.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

use std::{collections::BTreeMap, fs, path::Path};

use bytes::Bytes;
use cloudai_files::{
    log::{Frame, LogStore, LogStream, render},
    output::OutputStore,
};
use cloudai_model::{AttemptId, TaskId, UserName, record::FileRecord};

fn task(number: u64) -> TaskId {
    TaskId::numbered(number)
}

fn write_log(store: &LogStore, attempt: &AttemptId, bytes: usize) {
    let (log, _) = store.writer(attempt).unwrap();
    let frame = Frame {
        stream: LogStream::Stdout,
        at_ns: 0,
        data: Bytes::from(vec![b'x'; bytes]),
    };
    log.append(&[frame]).unwrap();
    log.sync().unwrap();
}

fn publish(store: &OutputStore, number: u64, user: &UserName, bytes: usize) {
    let attempt = AttemptId::new(task(number), 1);
    let mut staging = store.begin(&attempt).unwrap();
    let path = "deep/data.bin".parse().unwrap();
    staging.write(&path, 0, &vec![1; bytes]).unwrap();
    staging.finish_file(&path, None).unwrap();
    staging.publish(user).unwrap();
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn logs_are_counted_by_task_and_removed_with_all_attempts() {
    let root = tempfile::tempdir().unwrap();
    let store = LogStore::new(root.path().join("logs"));
    assert_eq!(store.kept().unwrap().count(), 0, "none was ever written");
    for (number, attempt, bytes) in [(7, 1, 100_000), (7, 2, 100_000), (8, 1, 10)] {
        let attempt = AttemptId::new(task(number), attempt);
        write_log(&store, &attempt, bytes);
        store.close(&attempt).unwrap();
    }
    let kept: BTreeMap<TaskId, u64> = store.kept().unwrap().map(Result::unwrap).collect();
    assert_eq!(kept.len(), 2);
    assert!(
        kept[&task(7)] >= 200_000 && kept[&task(7)] < 300_000,
        "{kept:?}"
    );
    assert_eq!(kept[&task(7)], store.disk_bytes(&task(7)));

    // Whoever reads one reads on, after it is gone.
    let mut reader = store.follow(&AttemptId::new(task(7), 1), 0).unwrap();
    assert!(store.remove(&task(7)).unwrap());
    assert!(!store.has_any(&task(7)) && store.has_any(&task(8)));
    assert!(reader.read(usize::MAX).unwrap().len() > 100_000);
    // Once more is as well.
    assert!(store.remove(&task(7)).unwrap());
}

#[test]
fn a_log_that_is_being_written_is_not_removed() {
    let root = tempfile::tempdir().unwrap();
    let store = LogStore::new(root.path());
    let attempt = AttemptId::new(task(7), 3);
    write_log(&store, &attempt, 10);
    assert!(!store.remove(&task(7)).unwrap());
    // Its neighbours in the order of ids say nothing of it.
    assert!(store.remove(&task(6)).unwrap() && store.remove(&task(8)).unwrap());
    store.close(&attempt).unwrap();
    let mut text = Vec::new();
    render(&store.path(&attempt), None, &mut text).unwrap();
    assert_eq!(text, b"xxxxxxxxxx");
    assert!(store.remove(&task(7)).unwrap());
}

#[test]
fn what_a_crash_left_of_a_removal_is_removed_at_the_next_start() {
    let root = tempfile::tempdir().unwrap();
    let away = root.path().join(".removed/4711-0");
    fs::create_dir_all(&away).unwrap();
    fs::write(away.join("1.log"), "x").unwrap();
    let store = LogStore::new(root.path());
    assert_eq!(store.kept().unwrap().count(), 0, "it is no task's");
    store.finish_removals().unwrap();
    assert!(names(root.path()).is_empty());
    store.finish_removals().unwrap();
}

#[test]
fn files_are_counted_by_task_and_left_while_somebody_reads_them() {
    let root = tempfile::tempdir().unwrap();
    let store = OutputStore::open(root.path()).unwrap();
    let (ann, bob): (UserName, UserName) = ("ann".parse().unwrap(), "bob".parse().unwrap());
    publish(&store, 7, &ann, 500_000);
    publish(&store, 8, &bob, 10);
    let mut kept: Vec<_> = store.kept().unwrap().map(Result::unwrap).collect();
    kept.sort();
    let whose: Vec<_> = kept.iter().map(|(user, task, _)| (user, task)).collect();
    assert_eq!(whose, [(&ann, &task(7)), (&bob, &task(8))]);
    assert!((500_000..600_000).contains(&kept[0].2), "{kept:?}");
    assert_eq!(kept[0].2, store.disk_bytes(&ann, &task(7)));

    // Given two who read
    let (first, second) = (store.reading(&task(7)), store.reading(&task(7)));
    assert!(!store.remove_unless_read(&ann, &task(7)).unwrap());
    drop(first);
    assert!(store.is_read(&task(7)));
    assert!(!store.remove_unless_read(&ann, &task(7)).unwrap());
    assert!(store.has_any(&ann, &task(7)));
    // others are removed all the same
    assert!(store.remove_unless_read(&bob, &task(8)).unwrap());
    // and these when the last has read.
    drop(second);
    assert!(store.remove_unless_read(&ann, &task(7)).unwrap());
    assert!(!store.has_any(&ann, &task(7)));
    assert!(
        store.remove_unless_read(&ann, &task(7)).unwrap(),
        "once more"
    );
    assert!(names(&root.path().join(".incoming")).is_empty());
}

#[test]
fn a_download_under_way_finishes_though_its_files_are_due() {
    let root = tempfile::tempdir().unwrap();
    let store = OutputStore::open(root.path().join("files")).unwrap();
    let ann: UserName = "ann".parse().unwrap();
    publish(&store, 7, &ann, 3_000_000);
    let listed = store.list(&ann, &task(7)).unwrap();
    let records: Vec<FileRecord> = listed
        .into_iter()
        .map(|file| FileRecord {
            path: file.path.to_string(),
            size: file.size,
            sha256: String::new(),
        })
        .collect();
    let target = root.path().join("target");
    let reading = store.reading(&task(7));
    let mut tries = 0;
    let copied = store.copy_out(&ann, &task(7), &records, &target, |_| {
        // In the middle of it.
        assert!(!store.remove_unless_read(&ann, &task(7)).unwrap());
        tries += 1;
    });
    assert_eq!(copied.unwrap().copied_bytes, 3_000_000);
    assert!(tries > 1, "{tries}");
    drop(reading);
    assert!(store.remove_unless_read(&ann, &task(7)).unwrap());
    let bytes = fs::read(target.join("deep/data.bin")).unwrap();
    assert!(bytes == vec![1; 3_000_000]);
}
