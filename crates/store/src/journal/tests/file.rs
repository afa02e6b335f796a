//! The journal's file: what was answered is read back whatever a crash left behind it, and damage is
//! told from a crash.

use std::{
    fs,
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use cloudai_model::{AttemptId, record::Record};
use proptest::prelude::*;

use super::{FakeDatabase, kill, life, open};
use crate::{
    JournalError, JournaledStore, Store as _,
    conformance::{arbitrary, commit, sample},
    journal::{
        content::Content,
        entry::{self, Entry},
        file::{FILE, Journal},
    },
};

async fn append(journal: &Journal, entries: impl IntoIterator<Item = Entry>) {
    journal.append(entries.into_iter().collect()).await.unwrap();
}

fn batch(number: u64) -> Entry {
    Entry::Batch(life(number))
}

/// How many batches are read from such a file.
fn batches(data_dir: &Path, bytes: &[u8]) -> Result<usize, JournalError> {
    fs::write(data_dir.join(FILE), bytes).unwrap();
    let journal = Journal::open(data_dir)?;
    let content = journal.content();
    Ok(content.batches.len())
}

async fn written(data_dir: &Path, count: u64) -> (Vec<u8>, Vec<usize>) {
    let journal = Journal::open(data_dir).unwrap();
    let mut ends = Vec::new();
    for number in 1..=count {
        append(&journal, [batch(number)]).await;
        ends.push(usize::try_from(journal.content().length).unwrap());
    }
    (fs::read(journal.path()).unwrap(), ends)
}

#[tokio::test]
async fn a_torn_end_is_cut_back_wherever_it_was_torn() {
    let folder = tempfile::tempdir().unwrap();
    let (bytes, ends) = written(folder.path(), 3).await;
    assert_eq!(bytes.len(), ends[2]);
    let cuts = (0..bytes.len()).step_by(7).chain(ends.iter().copied());
    for cut in cuts {
        let whole = ends.iter().filter(|end| **end <= cut).count();
        assert_eq!(
            batches(folder.path(), &bytes[..cut]).unwrap(),
            whole,
            "{cut}"
        );
        let left = fs::read(folder.path().join(FILE)).unwrap_or_default();
        // What was torn is gone, so that the next frame stands where it began.
        assert!(whole == 0 || left.len() == ends[whole - 1], "{cut}");
    }
    // A disk that had made room for the last frame and not filled it.
    let mut torn = bytes.clone();
    torn[ends[1] + 30..].fill(0);
    assert_eq!(batches(folder.path(), &torn).unwrap(), 2);
}

#[tokio::test]
async fn a_damaged_middle_is_said_and_the_file_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (bytes, ends) = written(folder.path(), 3).await;
    for at in (20..ends[1]).step_by(13) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x40;
        let error = batches(folder.path(), &damaged).unwrap_err();
        assert!(
            matches!(error, JournalError::Damaged { .. }),
            "{at}: {error}"
        );
        assert!(error.to_string().contains("left as it is"), "{error}");
        assert!(fs::read(folder.path().join(FILE)).unwrap() == damaged);
    }
    // A frame is missing, whole ones stand around it.
    let gap = [&bytes[..ends[0]], &bytes[ends[1]..]].concat();
    let error = batches(folder.path(), &gap).unwrap_err();
    assert!(matches!(error, JournalError::Damaged { .. }), "{error}");
    // Another program's file, or a newer CloudAI's.
    for begin in [*b"CAJOURN2", *b"SQLite f"] {
        let mut foreign = bytes.clone();
        foreign[..8].copy_from_slice(&begin);
        let error = batches(folder.path(), &foreign).unwrap_err();
        assert!(matches!(error, JournalError::Foreign { .. }), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_journal_keeps_the_store_from_being_opened() {
    let (folder, database) = (tempfile::tempdir().unwrap(), FakeDatabase::default());
    let store = open(folder.path(), &database).await;
    database.goes_away();
    for number in 1..=3 {
        store.commit(life(number)).await.unwrap();
    }
    kill(store).await;
    let path = JournaledStore::left_in(folder.path()).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[200] ^= 1;
    fs::write(&path, &bytes).unwrap();
    database.comes_back();
    let error = super::try_open(folder.path(), &database)
        .await
        .err()
        .unwrap();
    assert!(error.to_string().contains("damaged at byte"), "{error}");
    assert!(database.how().came.is_empty());
}

#[tokio::test]
async fn the_file_is_private_and_gone_when_nothing_in_it_is_owed() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    assert!(!journal.path().exists());
    append(&journal, [Entry::Owner("a".to_owned()), batch(1)]).await;
    let mode = fs::metadata(journal.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    journal.clear().await.unwrap();
    assert!(journal.path().exists(), "a batch is owed");
    let at = journal.content().batches[0].at;
    append(&journal, [Entry::Done(at)]).await;
    journal.clear().await.unwrap();
    assert!(!journal.path().exists());
    let empty = |content: &Content| content.owners.is_empty() && content.length == 0;
    assert!(empty(&journal.content()));
    append(&journal, [batch(2)]).await;
    drop(journal);
    let journal = Journal::open(folder.path()).unwrap();
    assert_eq!(journal.content().batches.len(), 1);
}

/// The fault is made by the test: no disk does that when it is asked to.
#[tokio::test]
async fn what_is_written_after_a_removal_that_was_not_flushed_is_in_a_file_that_has_a_name() {
    // Given a journal that is removed, and whose folder can't be flushed then,
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    append(&journal, [batch(1)]).await;
    let at = journal.content().batches[0].at;
    append(&journal, [Entry::Done(at)]).await;
    let fault = &journal.faults().no_sync_of_folder;
    fault.store(true, Ordering::Relaxed);
    journal.clear().await.unwrap_err();

    // when more is written once it can be,
    journal.append(vec![batch(2)]).await.unwrap_err();
    fault.store(false, Ordering::Relaxed);
    append(&journal, [batch(2)]).await;

    // then the next process finds it.
    drop(journal);
    let journal = Journal::open(folder.path()).unwrap();
    assert_eq!(journal.content().batches.len(), 1);
    let oldest = journal.content().batches[0];
    assert_eq!(journal.batch(oldest).await.unwrap(), batch(2));
}

#[tokio::test]
async fn what_was_found_is_read_where_it_was_found_when_the_journal_is_begun_anew() {
    // Given what a journal knows of a task,
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    let (it, other) = (sample(1), sample(2));
    append(&journal, [batch(1)]).await;
    let noted = journal.content().noted(it.id());

    // when another task stands in its place in another file,
    let at = journal.content().batches[0].at;
    append(&journal, [Entry::Done(at)]).await;
    journal.clear().await.unwrap();
    append(&journal, [batch(2)]).await;
    let result = noted.known.result;
    let now = journal.content().noted(other.id());
    assert_eq!(now.known.result, result);

    // then its own is read.
    let places: Vec<_> = result.into_iter().collect();
    let records = Journal::records(noted.file, places).await.unwrap();
    assert_eq!(records, [it.resulted()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_data_directory_has_one_master() {
    let (folder, database) = (tempfile::tempdir().unwrap(), FakeDatabase::default());
    let store = open(folder.path(), &database).await;
    let error = super::try_open(folder.path(), &database)
        .await
        .err()
        .unwrap();
    assert!(
        error.to_string().contains("in use by another master"),
        "{error}"
    );
    let sqlite = crate::SqliteStore::open(folder.path()).err().unwrap();
    assert!(matches!(sqlite, crate::OpenError::InUse { .. }), "{sqlite}");
    store.close().await.unwrap();
    drop(store);
    open(folder.path(), &database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_added_before_is_known_by_its_last_state_alone() {
    let (folder, database) = (tempfile::tempdir().unwrap(), FakeDatabase::default());
    let store = open(folder.path(), &database).await;
    let it = sample(1);
    commit(&store, [it.added(), it.now_running(), it.assigned()]).await;
    database.goes_away();
    commit(&store, [it.now_done(), it.resulted(), it.uploaded()]).await;
    assert_eq!(
        store.result(it.id()).await.unwrap(),
        Some(it.result.clone())
    );
    assert_eq!(store.files(it.id()).await.unwrap(), Some(it.files.clone()));
    store.task(it.id()).await.unwrap_err();
    store.assignments(it.id()).await.unwrap_err();
    store.close().await.unwrap();
}

fn encoded(entry: Entry) -> Vec<u8> {
    let mut content = Vec::new();
    entry::encode(entry, &mut content).unwrap();
    content
}

proptest! {
    #[test]
    fn every_record_comes_back_as_it_was_written(life in arbitrary::life(7)) {
        let task = life.task.task.clone();
        let mut records = vec![
            Record::Cluster(life.cluster),
            Record::Worker(life.worker.clone()),
            Record::WorkerRemoved(life.worker.worker),
            Record::TaskAdded(Box::new(life.task.clone())),
            Record::TaskChanged(task.clone(), life.later),
            Record::Result(Box::new(life.result)),
            Record::Files(Box::new(life.files)),
            Record::StopOrder(life.stop),
            Record::StopOrderDone(AttemptId::new(task.clone(), 3)),
            Record::Removed(life.removed),
            Record::TaskForgotten(task.clone()),
            Record::Forgotten(life.forgotten),
        ];
        records.extend(life.assignments.into_iter().map(Record::Assignment));
        let entries = [
            Entry::Owner("ann".to_owned()),
            Entry::Batch(Arc::new(records.clone())),
            Entry::Done(u64::MAX >> 1),
            Entry::Submitted(Box::new(life.task)),
            Entry::Cancelled(task.clone()),
            Entry::HandedOver(task),
        ];
        let mut content = Vec::new();
        let mut placed = Vec::new();
        for entry in entries {
            placed.push(entry::encode(entry, &mut content).unwrap());
        }
        let read = entry::decode(&content).unwrap();
        prop_assert_eq!(&read, &placed);
        // What is read back is written as the same bytes: a batch that is sent again is identical.
        let batch = read.into_iter().nth(1).unwrap();
        let bytes = &content[batch.at..batch.end];
        prop_assert_eq!(encoded(batch.entry), bytes);
        for (record, at) in records.into_iter().zip(&placed[1].records) {
            prop_assert_eq!(entry::decode_record(&content[*at..]).unwrap(), record);
        }
    }

    #[test]
    fn nothing_that_is_read_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = entry::decode(&bytes);
        let folder = tempfile::tempdir().unwrap();
        let file = [b"CAJOURN1", bytes.as_slice()].concat();
        fs::write(folder.path().join(FILE), file).unwrap();
        // It is cut back to nothing: no frame is in it.
        prop_assert_eq!(Journal::open(folder.path()).unwrap().content().batches.len(), 0);
    }
}
