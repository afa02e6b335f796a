//! All of a store, read while a master may be at work on it, and given to another store.

use std::sync::Arc;

use cloudai_model::{
    TaskStatus, Wall,
    record::{ForgottenRecord, Record},
};
use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};
use tokio::sync::mpsc;

use super::{
    ExportPlace, arbitrary, commit, loaded, sample,
    sample::{stop_order, worker},
};
use crate::{Export, Highest, Holdings, LOAD_CHUNK, MemoryStore, Piece, ReadError, Store};

/// All that an export sends, checked for the size of its chunks.
pub(crate) async fn exported(export: &dyn Export) -> Result<Vec<Record>, ReadError> {
    let (sink, mut source) = mpsc::channel(2);
    let collect = async {
        let mut records = Vec::new();
        while let Some(piece) = source.recv().await {
            let Piece::Records(chunk) = piece else {
                panic!("{piece:?}");
            };
            assert!((1..=LOAD_CHUNK).contains(&chunk.len()), "{}", chunk.len());
            records.extend(chunk);
        }
        records
    };
    let (sent, records) = tokio::join!(export.export(sink), collect);
    sent.map(|()| records)
}

/// Everything that two hundred lives leave, to the ends of what the types allow, and some more
/// tasks than one chunk holds.
async fn filled(store: &dyn Store) {
    let mut runner = TestRunner::deterministic();
    for number in 1..=200 {
        let life = arbitrary::life(number * 3);
        let life = life.new_tree(&mut runner).unwrap().current();
        let mut batch = vec![
            Record::Cluster(life.cluster),
            Record::Worker(life.worker),
            Record::TaskAdded(Box::new(life.task)),
            Record::Result(Box::new(life.result)),
            Record::Files(Box::new(life.files)),
            Record::StopOrder(life.stop),
            Record::Removed(life.removed),
            Record::Forgotten(life.forgotten),
        ];
        batch.extend(life.people.records());
        batch.extend(life.assignments.into_iter().map(Record::Assignment));
        commit(store, batch).await;
    }
    let mut batch = Vec::new();
    for number in (1_000..2_500).rev() {
        let it = sample(number);
        let mut ended = it.assignment.clone();
        ended.ended = Some((Wall(9), "exit code 0".to_owned()));
        batch.extend([it.added(), it.assigned(), it.now_done(), it.resulted()]);
        batch.extend([it.uploaded(), Record::Assignment(ended)]);
        batch.push(Record::StopOrder(stop_order(number)));
    }
    commit(store, batch).await;
    // Some of it was removed since, and some tasks are forgotten.
    let batch = (1_500..1_600).flat_map(|number| {
        let removed = sample(number).log_removed();
        [removed, sample(number + 200).forgotten()]
    });
    commit(store, batch).await;
}

/// What a start gets. Stop orders come in no particular order.
async fn started(store: &dyn Store) -> (Vec<String>, Highest) {
    let (records, highest) = loaded(store).await;
    let mut records: Vec<_> = records.iter().map(|it| format!("{it:?}")).collect();
    records.sort();
    (records, highest)
}

pub(crate) async fn what_is_exported_makes_an_equal_store(place: &ExportPlace) {
    // Given a store with everything, live and over,
    let (store, export) = (place.open)();
    filled(&*store).await;

    // when all of it is read, while the store is open, and committed to one of another kind, and
    // what that gives to a fresh one of this kind,
    let records = exported(&*export).await.unwrap();
    let (other, (again, again_export)) = (MemoryStore::new(), (place.open)());
    for chunk in records.chunks(700) {
        commit(&other, chunk.to_vec()).await;
    }
    let through_another = exported(&other).await.unwrap();
    for chunk in through_another.chunks(900) {
        commit(&*again, chunk.to_vec()).await;
    }

    // then each gives the same records in the same order, and a start gets the same of each.
    assert!(records.len() > 8_000, "{}", records.len());
    assert!(through_another == records);
    let of_again = exported(&*again_export).await.unwrap();
    assert!(of_again == records);
    let start = started(&*store).await;
    assert!(started(&other).await == start);
    assert!(started(&*again).await == start);
    let counts = store.count_by_status().await.unwrap();
    assert_eq!(again.count_by_status().await.unwrap(), counts);
}

pub(crate) async fn what_was_removed_and_forgotten_goes_with_an_export(place: &ExportPlace) {
    // Given three tasks, of which one has lost its log, and the newest two are forgotten,
    let (store, export) = (place.open)();
    let (one, two, three) = (sample(1), sample(2), sample(3));
    for it in [&one, &two, &three] {
        let life = [it.added(), it.assigned(), it.now_done(), it.resulted()];
        commit(&*store, life).await;
        commit(&*store, [it.uploaded(), it.log_removed()]).await;
    }
    commit(&*store, [three.forgotten()]).await;
    commit(&*store, [two.forgotten()]).await;

    // when all of it is read,
    let records = exported(&*export).await.unwrap();

    // then it says what was removed behind the task, and of the forgotten ones their numbers alone,
    let mut done = one.task.clone();
    done.state = one.done.clone();
    let numbers = Record::Forgotten(ForgottenRecord {
        order: 3,
        task_number: three.id().number(),
    });
    let expected = [
        Record::TaskAdded(Box::new(done)),
        one.log_removed(),
        one.assigned(),
        one.resulted(),
        one.uploaded(),
        numbers.clone(),
    ];
    assert_eq!(records, expected);
    let holdings = export.holdings().await.unwrap();
    assert_eq!((holdings.removed, holdings.has_forgotten), (1, true));
    assert!(holdings.to_string().contains(", 1 removal"), "{holdings}");

    // and a store that is made of it says the same: what was removed, and which numbers are gone.
    let (again, _) = (place.open)();
    commit(&*again, records).await;
    let id = one.id().clone();
    let removed = store.removed(std::slice::from_ref(&id)).await.unwrap();
    assert!(removed[&id].log.is_some());
    assert_eq!(again.removed(&[id]).await.unwrap(), removed);
    assert_eq!(loaded(&*again).await.1, loaded(&*store).await.1);
    assert_eq!(loaded(&*again).await.1.order, 3);
    let (bare, bare_export) = (place.open)();
    commit(&*bare, [numbers.clone()]).await;
    assert!(!bare_export.holdings().await.unwrap().is_empty());
    assert_eq!(exported(&*bare_export).await.unwrap(), [numbers]);
}

pub(crate) async fn what_there_is_is_counted(place: &ExportPlace) {
    let (store, export) = (place.open)();
    assert_eq!(export.holdings().await.unwrap(), Holdings::default());
    assert!(export.holdings().await.unwrap().is_empty());
    assert_eq!(exported(&*export).await.unwrap(), []);

    filled(&*store).await;

    let mut counted = Holdings::default();
    let records = exported(&*export).await.unwrap();
    records.iter().for_each(|record| counted.add(record));
    assert_eq!(export.holdings().await.unwrap(), counted);
    assert_eq!(counted.record_count(), records.len() as u64);
    assert_eq!(export.integrity().await.unwrap(), Vec::<String>::new());
}

pub(crate) async fn an_export_is_of_one_instant(place: &ExportPlace) {
    // Given a master that is at work: each batch adds a task that is over, with its result, and
    // counts itself in three other records,
    let (store, export) = (place.open)();
    filled(&*store).await;
    let before = export.holdings().await.unwrap();
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let (told, mut begun) = tokio::sync::watch::channel(0);
    let writing = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let mut number = 1;
            while !*stopped.borrow_and_update() {
                let it = sample(10_000 + number);
                let mut counter = worker("counter");
                counter.registration = number;
                let mut added = vec![
                    it.added_as(TaskStatus::Completed),
                    it.resulted(),
                    Record::Worker(counter),
                    Record::StopOrder(stop_order(100_000 + number)),
                ];
                added.push(it.assigned());
                commit(&*store, added).await;
                told.send_replace(number);
                number += 1;
            }
        })
    };
    begun.wait_for(|number| *number > 3).await.unwrap();

    // when all of it is read meanwhile,
    let mut snapshots = Vec::new();
    for _ in 0..5 {
        match exported(&*export).await {
            Ok(records) => snapshots.push(records),
            // Without snapshots: then that is said.
            Err(error) => assert!(
                matches!(error, ReadError::WrittenMeanwhile { .. }),
                "{error}"
            ),
        }
    }
    stop.send_replace(true);
    writing.await.unwrap();
    snapshots.push(exported(&*export).await.unwrap());

    // then each is what some batch left, whole.
    for records in snapshots {
        let mut counted = Holdings::default();
        records.iter().for_each(|record| counted.add(record));
        let batches = records.iter().find_map(|record| match record {
            Record::Worker(worker) if worker.worker.as_str() == "counter" => {
                Some(worker.registration)
            }
            _ => None,
        });
        let batches = batches.unwrap();
        assert_eq!(counted.task_count() - before.task_count(), batches);
        assert_eq!(counted.results - before.results, batches);
        assert_eq!(counted.assignments - before.assignments, batches);
        assert_eq!(counted.stop_orders - before.stop_orders, batches);
    }
}

pub(crate) async fn an_export_ends_when_nobody_takes_it(place: &ExportPlace) {
    let (store, export) = (place.open)();
    commit(&*store, [sample(1).added()]).await;
    let (sink, source) = mpsc::channel(1);
    drop(source);
    let error = export.export(sink).await.unwrap_err();
    assert!(matches!(error, ReadError::ReceiverGone), "{error}");
    assert_eq!(exported(&*export).await.unwrap(), [sample(1).added()]);
}
