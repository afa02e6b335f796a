//! A list of 100 among many tasks, beside the same list among few.

use std::time::Duration;

use cloudai_tests::{
    measuring::{Memory, memory_mb, percentile},
    web::{Ask, Connection, delete, get, post},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::site::{Site, task};

const FEW: usize = 1000;
/// Tasks of one request.
const BATCH: usize = 10_000;
const LISTS: usize = 200;
/// One task in so many is of the user whose tasks are listed alone.
const OWN_SHARE: usize = 5;
/// Tasks that are cancelled, and listed alone.
const CANCELLED: usize = 500;

/// Measures and prints.
pub(crate) async fn run(many: usize) {
    let (few, _) = of(FEW).await;
    let (lists, made) = of(many).await;
    println!("\na list of 100 among {many} tasks ({LISTS} of each), beside {FEW}; no workers");
    println!(
        "{:<34}{:>10}{:>10}{:>14}{:>10}{:>8}",
        "", "p50 ms", "p99 ms", "of few p50", "p99", "ratio"
    );
    for ((name, lists), (_, few)) in lists.iter().zip(few) {
        let ms = |lists: &[Duration], percent| percentile(lists, percent).as_secs_f64() * 1e3;
        println!(
            "{name:<34}{:>10.1}{:>10.1}{:>14.1}{:>10.1}{:>8.2}",
            ms(lists, 50),
            ms(lists, 99),
            ms(&few, 50),
            ms(&few, 99),
            ms(lists, 50) / ms(&few, 50)
        );
    }
    println!(
        "{:<34}{:>10.0} s, {:.0} a second, in batches of {BATCH}",
        "to submit them took",
        made.took.as_secs_f64(),
        many as f64 / made.took.as_secs_f64()
    );
    println!(
        "{:<34}{:>10.1} MB, of few {:.1} MB",
        "memory of the master after", made.after_mb, made.few_mb
    );
}

/// What making the tasks came to.
struct Made {
    took: Duration,
    /// Resident memory with all of them, and with the first few.
    after_mb: f64,
    few_mb: f64,
}

type Lists = Vec<(&'static str, Vec<Duration>)>;

/// Lists of a new master with so many tasks.
async fn of(count: usize) -> (Lists, Made) {
    let site = Site::start(&[]).await;
    site.user("own").await;
    let mut connection = Connection::open_to(site.at()).await;
    let began = Instant::now();
    let first = submit(&site, &mut connection, FEW).await;
    let few_mb = memory_mb(site.pid(), Memory::Now);
    for begin in (FEW..count).step_by(BATCH) {
        let _ = submit(&site, &mut connection, BATCH.min(count - begin)).await;
    }
    let took = began.elapsed();
    // Those that were submitted first, so that they lie deep in the list.
    for task in first.iter().take(CANCELLED) {
        let asked = delete(format!("/api/tasks/{task}")).by(&site.admin);
        connection.ask(&asked).await.expect(202);
    }
    let page = |query: &str| get(format!("/api/tasks?limit=100{query}")).by(&site.admin);
    let deep = deep(&site, &mut connection, count).await;
    let mut lists = Vec::new();
    for (name, asked) in [
        ("the first page", page("")),
        (
            "a page in the middle, by cursor",
            page(&format!("&cursor={deep}")),
        ),
        ("queued ones", page("&status=queued")),
        ("cancelled ones, the oldest", page("&status=cancelled")),
        ("those of one user", page("&user=own")),
        (
            "cancelled ones of one user",
            page("&user=own&status=cancelled"),
        ),
    ] {
        lists.push((name, timed(&mut connection, &asked).await));
    }
    let after_mb = memory_mb(site.pid(), Memory::Now);
    site.kill().await;
    let made = Made {
        took,
        after_mb,
        few_mb,
    };
    (lists, made)
}

/// Submits tasks, some of them of another user; their ids.
async fn submit(site: &Site, connection: &mut Connection, count: usize) -> Vec<String> {
    let tasks = (0..count).map(|number| {
        let mut task = task();
        if number.is_multiple_of(OWN_SHARE) {
            task["user_id"] = json!("own");
        }
        task
    });
    let body = json!({"tasks": tasks.collect::<Vec<Value>>()});
    let asked = post("/api/tasks/batch").by(&site.admin).json(&body);
    let taken = connection.ask(&asked).await.expect(201).json();
    let taken = taken["items"].as_array().unwrap().iter();
    let ids = taken.map(|task| task["task_id"].as_str().unwrap().to_owned());
    ids.collect()
}

/// The cursor behind half of all tasks: found as a client finds it, page by page.
async fn deep(site: &Site, connection: &mut Connection, count: usize) -> String {
    let (mut cursor, mut seen) = (String::new(), 0);
    while seen < count / 2 {
        let limit = 1000.min(count / 2 - seen);
        let asked = get(format!("/api/tasks?limit={limit}&cursor={cursor}")).by(&site.admin);
        let page = connection.ask(&asked).await.expect(200).json();
        seen += page["items"].as_array().unwrap().len();
        cursor = page["next_cursor"].as_str().unwrap().to_owned();
    }
    cursor
}

/// How long each of many lists takes, sorted; each has 100 tasks.
async fn timed(connection: &mut Connection, asked: &Ask) -> Vec<Duration> {
    let mut lists = Vec::with_capacity(LISTS);
    for _ in 0..LISTS {
        let began = Instant::now();
        let reply = connection.ask(asked).await.expect(200);
        lists.push(began.elapsed());
        let items = reply.json()["items"].as_array().unwrap().len();
        assert_eq!(items, 100, "{asked:?}");
    }
    lists.sort_unstable();
    lists
}
