//! Tasks that say afterwards whether anything of them was lost or came twice.

use std::{
    fs,
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

use cloudai_model::{AttemptId, Command, TaskDraft, TaskId};
use cloudai_tests::{
    cluster::{Cluster, test_task},
    engine::TEST_SHELL,
};
use serde_json::Value;

/// A task that runs this line.
pub(crate) fn shell(line: &str) -> TaskDraft {
    TaskDraft {
        docker_image: TEST_SHELL.to_owned(),
        command: Command::Shell(line.to_owned()),
        ..test_task(&[])
    }
}

/// Prints `attempt N`, ends when its file `go` appears, and prints and leaves that it has.
pub(crate) fn gated() -> TaskDraft {
    shell(
        "echo attempt $CLOUDAI_ATTEMPT; while [ ! -e /output/go ]; do usleep 10000; done; \
         rm /output/go; echo attempt $CLOUDAI_ATTEMPT > /output/end; echo end",
    )
}

/// Lets the container of a gated attempt end.
pub(crate) fn let_go(cluster: &Cluster, worker: &str, attempt: &AttemptId) {
    let go = cluster.path(&format!("{worker}/spool/{attempt}/output/go"));
    fs::write(go, "").unwrap();
}

/// Prints so many lines, so many milliseconds apart, then leaves a file of so many KB with its
/// checksum beside it.
pub(crate) fn telling(lines: u32, pause_ms: u32, kilobytes: u32) -> TaskDraft {
    shell(&format!(
        "i=0; while [ $i -lt {lines} ]; do i=$((i+1)); echo line $i; usleep {pause_ms}000; done; \
         dd if=/dev/urandom of=/output/file bs=1k count={kilobytes} 2>/dev/null; \
         cd /output; sha256sum file > sum"
    ))
}

/// Checks that the log of a telling task's last attempt has each line once and that its file is what
/// it wrote.
pub(crate) async fn is_whole(cluster: &mut Cluster, task: &TaskId, lines: u32, entry: &Value) {
    let number = entry["attempt"].as_u64().unwrap();
    let attempt = AttemptId::new(task.clone(), u32::try_from(number).unwrap());
    let log = cluster.client().await.follow(&attempt, |_| {}).await;
    let expected: String = (1..=lines).map(|i| format!("line {i}\n")).collect();
    assert_eq!(String::from_utf8(log.stdout).unwrap(), expected, "{task}");
    assert_eq!(
        (&entry["log_complete"], &entry["files_complete"]),
        (&true.into(), &true.into()),
        "{entry}"
    );
    let folder = cluster.path("master").join(format!("files/admin/{task}"));
    let sum = fs::read_to_string(folder.join("sum")).unwrap();
    let file = fs::read(folder.join("file")).unwrap();
    let digest = <sha2::Sha256 as sha2::Digest>::digest(&file);
    assert_eq!(sum.split(' ').next(), Some(&*hex::encode(digest)), "{task}");
}

/// Some span of up to this long.
pub(crate) fn some(most: Duration) -> Duration {
    let random = RandomState::new().hash_one(0) % 1000;
    most.mul_f64(random as f64 / 1000.0)
}
