//! Uploads of a worker that lies.

use cloudai_files::output::RelativePath;
use cloudai_proto::cluster::FileChunk;
use cloudai_tests::wait::until;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::ReceiverStream;

use super::*;

/// What the liar's files hold, and its SHA-256.
const MARK: &[u8] = b"of a liar\n";
const MARK_SHA256: &str = "755c685aa14bf428b758266c54344c739c9a80ef47ba6899cd2d55d2289c7166";

/// The liar's first attempt of a task, with the beginning of a file.
fn chunk(task: &str, path: &str) -> FileChunk {
    FileChunk {
        task_id: task.to_owned(),
        worker_id: NAME.to_owned(),
        attempt: 1,
        file_path: path.to_owned(),
        offset: Some(0),
        data: MARK.into(),
        ..FileChunk::default()
    }
}

/// The same as a whole file.
fn whole_file(task: &str, path: &str, last: bool) -> FileChunk {
    FileChunk {
        is_last_chunk: true,
        is_last_file: last,
        size: MARK.len() as u64,
        sha256: MARK_SHA256.to_owned(),
        ..chunk(task, path)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_without_end_is_cut_off_and_nothing_of_it_is_kept() {
    let mut cluster = with_liar().await;
    let task = given(&mut cluster).await;
    let mut client = cluster.client().await.0;

    let (chunks, stream) = mpsc::channel(4);
    let task_id = task.to_string();
    let sending = tokio::spawn(async move {
        let data = vec![7_u8; 1 << 20];
        let mut offset = 0_u64;
        loop {
            let chunk = FileChunk {
                offset: Some(offset),
                data: data.clone().into(),
                ..chunk(&task_id, "endless")
            };
            if chunks.send(chunk).await.is_err() {
                return offset;
            }
            offset += data.len() as u64;
        }
    });
    let answer = client.upload_task_files(ReceiverStream::new(stream)).await;
    let refused = answer.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
    assert!(refused.message().contains("larger than"), "{refused}");
    // One MB was asked for.
    let sent = sending.await.unwrap();
    assert!(sent < 1 << 30, "{sent} bytes were sent");
    let folder = cluster.path("master/files");
    until("what came to be removed", async || {
        let left = walk(&folder);
        left.is_empty().then_some(())
    })
    .await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_fall_silent_hold_up_nobody() {
    let mut cluster = with_liar().await;
    // Given more tasks than a worker may upload files of at a time, each with a silent upload,
    let mut silent = Vec::new();
    let mut tasks = Vec::new();
    for _ in 0..40 {
        let task = given(&mut cluster).await.to_string();
        silent.push(begin(&mut cluster, &task).await);
        tasks.push(task);
    }
    // and many more of one of them, over and over,
    let mut answers = JoinSet::new();
    for _ in 0..10 {
        let client = cluster.client().await.0;
        for _ in 0..60 {
            let (sender, stream) = mpsc::channel(1);
            sender.send(chunk(&tasks[0], "silent")).await.unwrap();
            let mut client = client.clone();
            answers.spawn(async move {
                let answer = client.upload_task_files(ReceiverStream::new(stream)).await;
                drop(sender);
                answer.unwrap_err().code()
            });
        }
    }
    // of which all but the last to arrive are told that another has begun,
    for _ in 1..answers.len() {
        let answer = answers.join_next().await.unwrap();
        assert_eq!(answer.unwrap(), Code::Aborted);
    }

    // then an honest worker's log and files come in as ever.
    let task = cluster
        .submit(&["output", "data.bin", "3000000", "7"])
        .await;
    cluster.has_status(&task, "completed").await;
    let kept = cluster.path(&format!("master/files/admin/{task}/data.bin"));
    assert_eq!(std::fs::metadata(kept).unwrap().len(), 3_000_000);
    drop(silent);
    cluster.end().await;
}

/// An upload that says one thing and then nothing, as long as what is returned is kept.
async fn begin(cluster: &mut Cluster, task: &str) -> impl Sized + use<> {
    let mut client = cluster.client().await.0;
    let (sender, stream) = mpsc::channel(1);
    sender.send(chunk(task, "silent")).await.unwrap();
    let call = tokio::spawn(async move {
        // Its answer is an error, sooner or later.
        let _ = client.upload_task_files(ReceiverStream::new(stream)).await;
    });
    (sender, call)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_tries_to_leave_is_refused_and_the_task_ends_with_that() {
    let mut cluster = with_liar().await;
    let task = given(&mut cluster).await.to_string();
    let spellings = include_str!("../../../../files/tests/data/path-traversal.txt");
    let spellings = spellings
        .lines()
        .map(|line| line.replace("{FILE}", "passwd"));
    let is_plain = |text: &String| text.parse::<RelativePath>().is_ok();
    let (plain, leaving): (Vec<_>, Vec<_>) = spellings.partition(is_plain);
    assert!(plain.len() > 10 && leaving.len() > 10);

    // Each that leads out is refused by its name,
    let mut client = cluster.client().await.0;
    for path in &leaving {
        let upload = client.upload_task_files(tokio_stream::once(whole_file(&task, path, true)));
        let refused = upload.await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{path}: {refused}");
        assert!(refused.message().contains("file_path"), "{path}: {refused}");
    }
    // also in the midst of others that don't: then none of them is kept.
    let chunks = [("fine", false), (&leaving[0], false), ("fine, too", true)];
    let chunks = chunks.map(|(path, last)| whole_file(&task, path, last));
    let refused = client.upload_task_files(tokio_stream::iter(chunks)).await;
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
    let marked = |cluster: &Cluster| {
        let all = walk(&cluster.path(""));
        let is_marked = |path: &PathBuf| std::fs::read(path).is_ok_and(|bytes| bytes == MARK);
        all.into_iter().filter(is_marked).collect::<Vec<_>>()
    };
    until("what came to be removed", async || {
        marked(&cluster).is_empty().then_some(())
    })
    .await;

    // What only looks so is a name like any other, within the task's own folder.
    let set: std::collections::BTreeSet<_> = plain.into_iter().collect();
    let mut chunks: Vec<_> = set
        .iter()
        .map(|path| whole_file(&task, path, false))
        .collect();
    chunks.push(whole_file(&task, "last", true));
    let taken = client.upload_task_files(tokio_stream::iter(chunks)).await;
    assert!(taken.unwrap().into_inner().success);
    let home = cluster.path(&format!("master/files/admin/{task}"));
    let kept = marked(&cluster);
    assert_eq!(kept.len(), set.len() + 1);
    assert!(kept.iter().all(|path| path.starts_with(&home)), "{kept:?}");

    // And the task ends as its worker says, without some of its files.
    let end = TaskResult {
        files_complete: false,
        files_reason: "the master refused them".to_owned(),
        ..result(&task, 1)
    };
    let answer = client.report_task_completion(end).await.unwrap();
    assert!(answer.into_inner().success);
    let entry = cluster
        .has_status(&task.parse().unwrap(), "completed")
        .await;
    assert_eq!(entry["files_complete"], false, "{entry}");
    assert_eq!(entry["files_reason"], "the master refused them");
    cluster.end().await;
}
