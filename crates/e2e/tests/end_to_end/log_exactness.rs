//! A log is what the container wrote, byte for byte, however much, however long its lines, and
//! whatever breaks on the way; or the task says that it isn't.

use std::time::Duration;

use cloudai_model::{Command, TaskDraft, TaskId, TaskStatus};
use cloudai_proto::OutputStream;
use cloudai_test_task::{Flood, FloodBlocks};
use cloudai_tests::{
    client::Client,
    cluster::{Cluster, first, free_port, test_task},
    relay::{End, Relay},
    wait::{PATIENCE, until},
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep},
};
use tonic::Code;

const MB: usize = 1_000_000;

/// Compares an output with a flood while it comes in.
struct Compared {
    name: &'static str,
    expected: FloodBlocks,
    seen: usize,
    length: usize,
}

impl Compared {
    fn new(name: &'static str, flood: Flood) -> Self {
        Self {
            name,
            expected: FloodBlocks::new(flood),
            seen: 0,
            length: flood.bytes,
        }
    }

    fn seen(&mut self, data: &[u8]) {
        let (name, from) = (self.name, self.seen);
        let expected = self.expected.next_block(data.len());
        let differs = data.iter().zip(&expected).position(|(a, b)| a != b);
        assert_eq!(differs, None, "{name} differs, counted from byte {from}");
        assert_eq!(data.len(), expected.len(), "{name} is too long at {from}");
        self.seen += data.len();
    }
}

const NOTHING: Flood = Flood {
    bytes: 0,
    line_bytes: 1,
    binary: false,
    no_newline: true,
};

/// Watches a task's log from its first byte to its end; panics where it differs.
async fn compare(
    mut client: Client,
    task: TaskId,
    floods: [Flood; 2],
    progress: watch::Sender<usize>,
) -> Result<Option<TaskStatus>, tonic::Status> {
    let deadline = Instant::now() + PATIENCE;
    let attempt = first(&task);
    loop {
        let [stdout, stderr] = floods;
        let mut stdout = Compared::new("stdout", stdout);
        let mut stderr = Compared::new("stderr", stderr);
        let watched = client.watch(&attempt, |stream, data| {
            match stream {
                OutputStream::Stdout => stdout.seen(&data),
                OutputStream::Stderr => stderr.seen(&data),
            }
            progress.send_modify(|seen| *seen += data.len());
        });
        match watched.await {
            // It has no log before it is given to a worker.
            Err(status) if status.code() == Code::FailedPrecondition => {
                assert!(Instant::now() < deadline, "{status}");
                sleep(Duration::from_millis(20)).await;
            }
            Err(status) => return Err(status),
            Ok(status) => {
                for output in [stdout, stderr] {
                    assert_eq!(output.seen, output.length, "length of {}", output.name);
                }
                return Ok(status);
            }
        }
    }
}

type Watching = JoinHandle<Result<Option<TaskStatus>, tonic::Status>>;

/// Begins to watch a task's stdout; with it, how many bytes have come.
async fn watching(
    cluster: &Cluster,
    task: &TaskId,
    flood: Flood,
) -> (Watching, watch::Receiver<usize>) {
    let (progress, seen) = watch::channel(0);
    let client = cluster.client().await;
    let compared = compare(client, task.clone(), [flood, NOTHING], progress);
    (tokio::spawn(compared), seen)
}

async fn reaches(seen: &mut watch::Receiver<usize>, bytes: usize) {
    let reached = seen.wait_for(|seen| *seen >= bytes);
    reached.await.expect("the log goes on so far");
}

async fn log_is_whole(cluster: &mut Cluster, task: &TaskId) {
    let entry = cluster.has_status(task, "completed").await;
    assert_eq!(entry["attempt"], 1, "{entry}");
    assert_eq!(entry["log_complete"], true, "{entry}");
}

fn shell(line: &str) -> TaskDraft {
    TaskDraft {
        docker_image: cloudai_tests::engine::TEST_SHELL.to_owned(),
        command: Command::Shell(line.to_owned()),
        ..test_task(&[])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_megabytes_of_both_outputs_arrive_byte_for_byte() {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    // Given a task that writes what is no text to both outputs, one of them a single line
    let floods = [
        Flood {
            binary: true,
            ..Flood::text(100 * MB)
        },
        Flood {
            binary: true,
            no_newline: true,
            ..Flood::text(100 * MB)
        },
    ];
    let line = "test-task log-flood 100000000 --binary & \
                test-task log-flood 100000000 --binary --no-newline --stderr; wait";
    let task = cluster.submit_draft(shell(line)).await;

    // when somebody watches, then every byte is there.
    let client = cluster.client().await;
    let (progress, _) = watch::channel(0);
    let status = compare(client, task.clone(), floods, progress)
        .await
        .unwrap();
    assert_eq!(status, Some(TaskStatus::Completed));
    log_is_whole(&mut cluster, &task).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_ten_megabytes_arrive_with_their_newlines() {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    let flood = Flood {
        line_bytes: 10 * MB,
        ..Flood::text(25 * MB)
    };
    let words = ["log-flood", "25000000", "--line", "10000000"];
    let task = cluster.submit(&words).await;
    let (watching, _) = watching(&cluster, &task, flood).await;
    watching.await.unwrap().unwrap();
    log_is_whole(&mut cluster, &task).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_connection_to_the_worker_costs_no_byte() {
    // Given a worker that the master reaches on a way that breaks
    let mut cluster = Cluster::start().await;
    let port = free_port();
    let mut relay = Relay::over_tcp(End::Tcp(([127, 0, 0, 1], port).into())).await;
    let near = relay.address().port();
    cluster.register_at("worker-1", near).await;
    cluster.start_worker("worker-1", port, 2.0);
    cluster.worker_is_active("worker-1").await;

    // when it breaks again and again while the log comes in,
    let task = cluster.submit(&["log-flood", "80000000", "--binary"]).await;
    let flood = Flood {
        binary: true,
        ..Flood::text(80 * MB)
    };
    let (watching, mut seen) = watching(&cluster, &task, flood).await;
    for cut in 1..=5 {
        reaches(&mut seen, cut * 10 * MB).await;
        relay.cut().await;
        relay.mend().await;
    }

    // then it goes on at the right byte.
    watching.await.unwrap().unwrap();
    log_is_whole(&mut cluster, &task).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_costs_no_byte() {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    let words = ["log-flood", "60000000", "--line", "1000", "--binary"];
    let task = cluster.submit(&words).await;
    let flood = Flood {
        line_bytes: 1000,
        binary: true,
        ..Flood::text(60 * MB)
    };
    let (watching, mut seen) = watching(&cluster, &task, flood).await;

    // When the worker is killed while the container writes, then that goes on to its end,
    reaches(&mut seen, 10 * MB).await;
    let worker = cluster.workers.remove("worker-1").unwrap();
    worker.kill().await;
    container_ends(&cluster).await;

    // and when the worker is back, then so is the rest of the log.
    cluster.restart_worker("worker-1", 2.0);
    watching.await.unwrap().unwrap();
    log_is_whole(&mut cluster, &task).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_master_costs_no_byte() {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    let task = cluster.submit(&["log-flood", "80000000", "--binary"]).await;
    let flood = Flood {
        binary: true,
        ..Flood::text(80 * MB)
    };
    let (broken, mut seen) = watching(&cluster, &task, flood).await;
    reaches(&mut seen, 10 * MB).await;
    cluster.kill_master().await;
    assert!(broken.await.unwrap().is_err());

    cluster.restart_master().await;
    let (watching, _) = watching(&cluster, &task, flood).await;
    watching.await.unwrap().unwrap();
    log_is_whole(&mut cluster, &task).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_end_was_lost_says_so() {
    const STOPPED_FOR: std::time::Duration = std::time::Duration::from_secs(8);
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    // Given containers that end while their worker is stopped, with about as much unread as the
    // engine holds: of some of them it throws the end away
    for bytes in [1_200_000, 1_300_000, 1_400_000] {
        let line = format!("sleep 2; test-task log-flood {bytes}");
        let task = cluster.submit_draft(shell(&line)).await;
        cluster.has_status(&task, "running").await;
        cluster.workers["worker-1"].signal("STOP").await;
        // Where the engine holds less than that, the container waits for its reader instead.
        let _ = tokio::time::timeout(STOPPED_FOR, container_ends(&cluster)).await;
        cluster.workers["worker-1"].signal("CONT").await;

        // when the log is read, then it is all, or the beginning, and then the task says so.
        let entry = cluster.has_status(&task, "completed").await;
        let mut compared = Compared::new("stdout", Flood::text(bytes));
        let mut client = cluster.client().await;
        let attempt = first(&task);
        let watched = client.watch(&attempt, |_, data| compared.seen(&data));
        watched.await.unwrap();
        assert!(
            compared.seen == bytes || entry["log_complete"] == false,
            "{} of {bytes} bytes: {entry}",
            compared.seen
        );
    }
    cluster.end().await;
}

async fn container_ends(cluster: &Cluster) {
    until("the container to end", async || {
        let id = cluster.id();
        let held = cloudai_tests::engine::containers(&cluster.engine, &id, "worker-1").await;
        held.iter()
            .any(|container| container.state == cloudai_engine::HeldState::Ended)
            .then_some(())
    })
    .await;
}
