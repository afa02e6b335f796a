//! Each thing that can be wrong with a store is found, and what to do is said.

use std::fs;

use cloudai_archive::{CheckError, StorePlace, check};
use cloudai_model::{TaskStatus, record::Record};

use crate::master::{Master, added, assigned, id, removed, result, silent};

async fn findings(master: &Master) -> Vec<String> {
    let place = StorePlace::Sqlite(master.data_dir());
    let checked = check(&place, &master.data_dir(), silent()).await.unwrap();
    assert!(
        checked
            .findings
            .iter()
            .all(|found| !found.advice.is_empty())
    );
    let findings = checked.findings.into_iter();
    findings.map(|found| found.problem).collect()
}

#[tokio::test]
async fn a_store_in_use_is_sound_and_counted() {
    let master = Master::at_work().await;
    let place = StorePlace::Sqlite(master.data_dir());
    let checked = check(&place, &master.data_dir(), silent()).await.unwrap();
    assert_eq!(checked.findings, []);
    let shown = format!("{}: {}", checked.place, checked.holdings);
    for expected in [
        "sqlite",
        "cluster c-5f2a90d1",
        "1 worker, 3 tasks",
        "1 running",
        "1 set of files",
    ] {
        assert!(shown.contains(expected), "{shown}");
    }
    assert!(checked.schema >= 1);
}

#[tokio::test]
async fn tasks_and_results_that_contradict_each_other_are_found() {
    let master = Master::begun().await;
    master
        .commits([
            // Over without a result; with one and not over; and as its result does not say.
            added(1, TaskStatus::Completed),
            added(2, TaskStatus::Running),
            assigned(2),
            result(2),
            added(3, TaskStatus::Failed),
            result(3),
            added(4, TaskStatus::Queued),
        ])
        .await;
    assert_eq!(
        findings(&master).await,
        [
            "task task-1001 is completed and has no result",
            "task task-1002 is running and has a result already",
            "task task-1003 is failed and its result says completed",
        ]
    );
}

#[tokio::test]
async fn files_that_are_gone_or_cut_are_found() {
    let master = Master::at_work().await;
    let folder = master.data_dir().join("files/admin/task-1003");
    fs::write(folder.join("model.bin"), b"weig").unwrap();
    fs::remove_file(folder.join("logs/loss")).unwrap();
    let mut found = findings(&master).await;
    found.sort();
    assert_eq!(
        found,
        [
            "file admin/task-1003/logs/loss is missing",
            "file admin/task-1003/model.bin has 4 bytes: expected 7",
        ]
    );
}

#[tokio::test]
async fn a_damaged_database_is_a_finding_or_is_not_opened_at_all() {
    // Given a store of many pages, some of them overwritten,
    let master = Master::begun().await;
    for number in 1..2_000 {
        master.commits([added(number, TaskStatus::Queued)]).await;
    }
    master.ends().await;
    let file = master.data_dir().join("cloudai.db");
    let whole = fs::read(&file).unwrap();
    let mut damaged = whole.clone();
    let pages = damaged.len() / 4096;
    for page in pages / 2..pages {
        damaged[page * 4096..][..64].fill(0xa5);
    }
    fs::write(&file, &damaged).unwrap();

    // when it is checked, then it is said, and nothing is touched;
    let found = findings(&master).await;
    assert!(!found.is_empty());
    assert!(found[0].contains("damaged"), "{found:?}");
    assert_eq!(fs::read(&file).unwrap(), damaged);

    // one that is no database any more is not opened.
    fs::write(&file, b"hello").unwrap();
    let place = StorePlace::Sqlite(master.data_dir());
    let error = check(&place, &master.data_dir(), silent())
        .await
        .unwrap_err();
    assert!(matches!(error, CheckError::Place(_)), "{error}");
    assert!(error.to_string().contains("is damaged"), "{error}");
}

#[tokio::test]
async fn a_stop_order_outlives_its_task_and_is_no_finding() {
    let master = Master::begun().await;
    let stop = cloudai_model::record::StopOrder {
        attempt: crate::master::attempt(9),
        worker: "gone".parse().unwrap(),
        address: "10.0.0.9:50052".parse().unwrap(),
        registration: 1,
    };
    master.commits([Record::StopOrder(stop)]).await;
    assert_eq!(findings(&master).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_retention_removed_and_forgot_is_no_finding() {
    // Given files that are gone from the disk,
    let master = Master::at_work().await;
    fs::remove_dir_all(master.data_dir().join("files/admin/task-1003")).unwrap();
    assert_eq!(findings(&master).await.len(), 2);

    // when it is written down that they were removed, and a task is forgotten with its result,
    let over = [added(4, TaskStatus::Completed), assigned(4), result(4)];
    master.commits(over).await;
    let swept = [removed(3), Record::TaskForgotten(id(4))];
    master.commits(swept).await;

    // then all is as it should be, and counted.
    let place = StorePlace::Sqlite(master.data_dir());
    let checked = check(&place, &master.data_dir(), silent()).await.unwrap();
    assert_eq!(checked.findings, []);
    let shown = checked.holdings.to_string();
    assert!(shown.contains("3 tasks"), "{shown}");
    assert!(shown.contains("1 removal"), "{shown}");
}
