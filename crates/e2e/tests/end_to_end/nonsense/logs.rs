//! Logs of a worker that lies.

use cloudai_tests::wait::until;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_log_without_end_is_cut_off_and_the_result_says_so() {
    let (mut cluster, _) = with(Logs::Babbling).await;
    let task = given(&mut cluster).await;
    let log = cluster.path("master").join(format!("logs/{task}/1.log"));
    let length = || std::fs::metadata(&log).map_or(0, |log| log.len());
    // Given a log that would fill the disk, of a task with a MB of storage
    until("a part of it is here", async || {
        (length() > 1 << 20).then_some(())
    })
    .await;

    // when its end is reported,
    let mut client = cluster.client().await.0;
    let result = TaskResult {
        log_length: Some(u64::MAX),
        ..result(&task.to_string(), 1)
    };
    until("the report is taken", async || {
        let report = client.report_task_completion(result.clone());
        report.await.unwrap().into_inner().success.then_some(())
    })
    .await;

    // then what is kept of it is bounded, and everybody knows.
    let entry = cluster.has_status(&task, "completed").await;
    assert_eq!(entry["log_complete"], false, "{entry}");
    let reason = entry["log_reason"].as_str().unwrap();
    assert!(reason.contains("it is cut after"), "{reason}");
    assert!(length() < 300 << 20, "{} bytes", length());
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_piece_of_a_log_that_is_too_large_ends_it_and_the_result_says_so() {
    let (mut cluster, _) = with(Logs::Oversized).await;
    let task = given(&mut cluster).await;
    let result = TaskResult {
        log_length: Some(17 << 20),
        ..result(&task.to_string(), 1)
    };
    let mut client = cluster.client().await.0;
    let answer = client.report_task_completion(result).await.unwrap();
    assert!(answer.into_inner().success);
    let entry = cluster.has_status(&task, "completed").await;
    assert_eq!(entry["log_complete"], false, "{entry}");
    let reason = entry["log_reason"].as_str().unwrap();
    assert!(reason.contains("too large"), "{reason}");
    an_honest_task_completes(&mut cluster).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_never_says_anything_holds_up_nothing() {
    let mut cluster = with_liar().await;
    let task = given(&mut cluster).await;
    let mut client = cluster.client().await.0;
    let answer = client.report_task_completion(result(&task.to_string(), 1));
    assert!(answer.await.unwrap().into_inner().success);
    let entry = cluster.has_status(&task, "completed").await;
    assert_eq!(entry["log_complete"], true, "{entry}");
    an_honest_task_completes(&mut cluster).await;
    cluster.end().await;
}
