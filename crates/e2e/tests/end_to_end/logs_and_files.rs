//! Logs and files arrive whole, byte for byte.

use std::{fs, os::unix::ffi::OsStrExt as _, path::Path};

use cloudai_test_task::{Flood, output_bytes};
use cloudai_tests::{
    cluster::{Cluster, first, test_task},
    wait::until,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_seen_while_the_task_runs() {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    // Given a task that writes, then waits to be told to go on,
    let draft = cloudai_model::TaskDraft {
        docker_image: cloudai_tests::engine::TEST_SHELL.to_owned(),
        command: cloudai_model::Command::Shell(
            "echo first; printf 'no newline'; sleep 600".to_owned(),
        ),
        ..test_task(&[])
    };
    let task = cluster.submit_draft(draft).await;
    cluster.has_status(&task, "running").await;

    // when somebody watches, then its first line is there long before its end.
    let mut watcher = cluster.client().await;
    let attempt = first(&task);
    let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let watching = tokio::spawn(async move {
        watcher
            .follow(&attempt, |log| {
                let _ = sender.send(log.stdout.clone());
            })
            .await
    });
    let early = seen.recv().await.unwrap();
    assert!(early.starts_with(b"first\n"), "{early:?}");
    assert_eq!(cluster.task(&task).await["status"], "running");
    cluster.client().await.cancel(&task).await;
    let log = watching.await.unwrap();
    assert_eq!(log.stdout, b"first\nno newline");
    cluster.has_status(&task, "cancelled").await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn binary_output_on_both_streams_arrives_byte_for_byte() {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    let text = cluster
        .submit(&["log-flood", "3000000", "--line", "100"])
        .await;
    let binary = cluster
        .submit(&[
            "log-flood",
            "500000",
            "--line",
            "100",
            "--binary",
            "--stderr",
        ])
        .await;
    for task in [&text, &binary] {
        cluster.has_status(task, "completed").await;
    }
    let mut client = cluster.client().await;
    let log = client.follow(&first(&text), |_| {}).await;
    let expected: Vec<u8> = Flood {
        line_bytes: 100,
        ..Flood::text(3_000_000)
    }
    .content()
    .collect();
    assert!(
        log.stdout == expected,
        "{} of {} bytes",
        log.stdout.len(),
        expected.len()
    );
    assert!(log.stderr.is_empty());

    let log = client.follow(&first(&binary), |_| {}).await;
    let expected: Vec<u8> = Flood {
        line_bytes: 100,
        binary: true,
        ..Flood::text(500_000)
    }
    .content()
    .collect();
    assert!(
        log.stderr == expected,
        "{} of {} bytes",
        log.stderr.len(),
        expected.len()
    );
    assert!(log.stdout.is_empty());
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn output_files_come_back_byte_for_byte() {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    let task = cluster
        .submit(&["output", "deep/folder/data.bin", "3000000", "7"])
        .await;
    cluster.has_status(&task, "completed").await;
    let destination = cluster.path("downloaded");
    download(&mut cluster, &task.to_string(), &destination).await;
    let found = fs::read(destination.join("deep/folder/data.bin")).unwrap();
    assert!(found == output_bytes(3_000_000, 7), "{} bytes", found.len());

    // Where the contract says that they lie.
    let kept = cluster
        .path("master")
        .join(format!("files/admin/{task}/deep/folder/data.bin"));
    assert_eq!(fs::metadata(kept).unwrap().len(), 3_000_000);

    // Nobody learns of another's files.
    let seen = cluster.master.lines().len();
    cluster
        .master
        .type_line(&format!("download {task} eve {}", destination.display()))
        .await;
    cluster.master.says_after(seen, "❌").await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_and_odd_files_come_back_and_links_are_not_followed_out() {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    let many = cluster.submit(&["files", "many", "500"]).await;
    let odd = cluster.submit(&["files", "odd"]).await;
    for task in [&many, &odd] {
        cluster.has_status(task, "completed").await;
    }
    let destination = cluster.path("many");
    download(&mut cluster, &many.to_string(), &destination).await;
    let mut count = 0;
    walk(&destination, &mut |_| count += 1);
    assert_eq!(count, 500);

    let destination = cluster.path("odd");
    download(&mut cluster, &odd.to_string(), &destination).await;
    let mut names = Vec::new();
    walk(&destination, &mut |path| {
        assert!(path.symlink_metadata().unwrap().is_file(), "{path:?}");
        names.push(path.file_name().unwrap().as_bytes().to_vec());
    });
    assert!(
        names.iter().any(|name| std::str::from_utf8(name).is_err()),
        "a name that isn't UTF-8"
    );
    assert!(
        names.iter().any(|name| name.contains(&b'\n')),
        "a name with a newline"
    );
    cluster.end().await;
}

async fn download(cluster: &mut Cluster, task: &str, destination: &Path) {
    let seen = cluster.master.lines().len();
    let line = format!("download {task} admin {}", destination.display());
    cluster.master.type_line(&line).await;
    // Whatever it says, an answer to another command comes after it.
    cluster.json("workers").await;
    let said = cluster.master.lines().split_off(seen).join("\n");
    assert!(!said.contains('❌'), "{said}");
    until("the files to be there", async || {
        destination.is_dir().then_some(())
    })
    .await;
}

fn walk(folder: &Path, each: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.symlink_metadata().unwrap().is_dir() {
            walk(&path, each);
        } else {
            each(&path);
        }
    }
}
