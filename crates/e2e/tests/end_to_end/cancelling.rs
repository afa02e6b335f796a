//! Cancel, in every phase that a test can hold still.

use cloudai_proto::CancelAnswer;
use cloudai_tests::{
    cluster::{Cluster, first},
    wait::until,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_task_is_cancelled_at_once_and_stays_so() {
    let mut cluster = Cluster::start().await;
    let task = cluster.submit(&["exit", "0"]).await;
    let seen = cluster.master.lines().len();
    cluster.master.type_line(&format!("cancel {task}")).await;
    cluster.has_status(&task, "cancelled").await;
    cluster.master.says_after(seen, &task.to_string()).await;
    let again = cluster.client().await.cancel(&task).await;
    match again {
        CancelAnswer::Refused(refused) => assert!(refused.0.contains("is final"), "{refused}"),
        other => panic!("{other:?}"),
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_task_hears_sigterm_and_one_that_ignores_it_is_killed() {
    let mut cluster = Cluster::start_with("127.0.0.1", &["-stop-grace", "2s"]).await;
    cluster.add_worker("worker-1", 2.0).await;
    let polite = cluster.submit(&["sleep", "600"]).await;
    let stubborn = cluster.submit(&["ignore-sigterm", "600"]).await;
    for task in [&polite, &stubborn] {
        cluster.has_status(task, "running").await;
    }
    for task in [&polite, &stubborn] {
        assert!(matches!(
            cluster.client().await.cancel(task).await,
            CancelAnswer::Taken { .. }
        ));
    }
    for task in [&polite, &stubborn] {
        let entry = cluster.has_status(task, "cancelled").await;
        assert_eq!(entry["reason"], "cancelled", "{entry}");
    }
    let log = cluster
        .client()
        .await
        .follow(&first(&stubborn), |_| {})
        .await;
    let text = String::from_utf8_lossy(&log.stdout).into_owned();
    assert!(text.contains("got signal 15"), "it was asked first: {text}");
    until("the containers to be gone", async || {
        (cluster.container_count("worker-1").await == 0).then_some(())
    })
    .await;
    cluster.end().await;
}
