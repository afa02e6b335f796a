//! What was said to be committed is there after `kill -9`, whenever that came.
//!
//! The test starts itself again as the process that is killed.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, mpsc},
    time::Duration,
};

use crate::{
    SqliteStore, Store as _,
    conformance::{loaded, sample},
};

const DIR: &str = "CLOUDAI_STORE_KILL_TEST_DIR";
const NAME: &str = "sqlite::tests::kill::what_was_committed_survives_a_kill_at_any_instant";
const ROUNDS: u64 = 12;
/// The longest a round lasts after its first commit.
const LONGEST_US: u64 = 40_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_committed_survives_a_kill_at_any_instant() {
    if let Ok(dir) = std::env::var(DIR) {
        return commit_until_killed(Path::new(&dir)).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut last = 0;
    for round in 0..ROUNDS {
        // Given a process that commits and says so after each commit,
        let instant =
            Duration::from_micros(RandomState::new().build_hasher().finish() % LONGEST_US);
        let said = run_and_kill(dir.path(), instant);
        assert!(said > last, "round {round}: {said} after {last}");

        // when it was killed and the store is opened again,
        let store = SqliteStore::open(dir.path()).unwrap();
        let (_, highest) = loaded(&store).await;

        // then what it said is there, and what is there is whole.
        assert!(
            highest.order >= said,
            "round {round}, {instant:?}: said {said}, found {highest:?}"
        );
        for number in last + 1..=highest.order {
            let it = sample(number);
            let task = store.task(it.id()).await.unwrap().unwrap();
            assert_eq!(task.state, it.done, "task {number}");
            assert_eq!(store.assignments(it.id()).await.unwrap(), [it.assignment]);
            assert_eq!(store.result(&it.task.task).await.unwrap(), Some(it.result));
        }
        last = highest.order;
        store.close().await.unwrap();
    }
}

/// The last number that the process said before it was killed, `instant` after its first.
fn run_and_kill(dir: &Path, instant: Duration) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([NAME, "--exact", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (sender, said) = mpsc::channel();
    let reading = std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if let Some(number) = line.strip_prefix("committed ") {
                sender.send(number.parse::<u64>().unwrap()).unwrap();
            }
        }
    });
    let first = said.recv_timeout(Duration::from_secs(60));
    // The instant itself, not a wait for something: nothing is expected at its end.
    #[expect(clippy::disallowed_methods, reason = "see above")]
    std::thread::sleep(instant);
    child.kill().unwrap();
    child.wait().unwrap();
    reading.join().unwrap();
    let first = first.expect("the process commits within a minute");
    said.try_iter().last().unwrap_or(first)
}

async fn commit_until_killed(dir: &Path) {
    let store = SqliteStore::open(dir).unwrap();
    let (_, highest) = loaded(&store).await;
    // Libtest has begun a line of its own.
    println!();
    for number in highest.order + 1.. {
        let it = sample(number);
        let batch = vec![
            it.added(),
            it.now_running(),
            it.assigned(),
            it.now_done(),
            it.resulted(),
        ];
        store.commit(Arc::new(batch)).await.unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "committed {number}").unwrap();
        out.flush().unwrap();
    }
}
