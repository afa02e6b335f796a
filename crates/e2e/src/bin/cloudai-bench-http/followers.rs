//! Two hundred who follow one log, half of them as text and half as events.

use std::time::Duration;

use cloudai_tests::{
    engine::TEST_SHELL,
    measuring::processor_time,
    wait::until,
    web::{Connection, get},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::{task::JoinSet, time::Instant};

use crate::{
    probe::{Probe, Waits},
    site::{Site, print_memory},
};

const FOLLOWERS: usize = 200;
/// Lines of the container, of so many bytes each.
const LINES: usize = 200;
const LINE: usize = 27_000;
/// A line every tenth of a second: 270 kB/s, and 54 MB/s to all.
const PAUSE: &str = "0.1";

/// Measures and prints.
pub(crate) async fn run() {
    let mut site = Site::start(&[]).await;
    site.cluster.add_worker("worker-1", 2.0).await;
    let small = site.small_request().await;
    until("what the probe asks for to have ended", async || {
        let told = small.send(site.at()).await.expect(200).json();
        (told["status"] == "completed").then_some(())
    })
    .await;
    let before = site.memory_before();
    let idle = Probe::idle(site.at(), small.clone()).await;
    let mut waits = vec![("idle", idle)];
    println!("\n{FOLLOWERS} who read one log, half as text and half as events");
    println!(
        "{:<34}{:>10}{:>12}{:>14}{:>10}",
        "", "MB/s", "had all", "of them s", "cores"
    );

    // While it is written, one alone and all.
    for (name, followers) in [("one follows", 1), ("all follow", FOLLOWERS)] {
        let task = site.submit(&writer()).await;
        let probe = Probe::start(site.at(), small.clone());
        let read = read(&site, &task, followers, true).await;
        if followers == FOLLOWERS {
            waits.push((name, probe.end().await));
        } else {
            let _ = probe.end().await;
        }
        read.print(name, followers);
        if followers == FOLLOWERS {
            // As fast as it goes, when all of it is there.
            for (name, readers) in [("one reads it afterwards", 1), ("all read it", FOLLOWERS)] {
                let probe = Probe::start(site.at(), small.clone());
                let read = self::read(&site, &task, readers, false).await;
                let told = probe.end().await;
                if readers == FOLLOWERS {
                    waits.push((name, told));
                }
                read.print(name, readers);
            }
        }
    }
    print_memory(&site, before);
    Waits::print_head();
    for (when, waits) in waits {
        waits.print(when);
    }
    site.cluster.end().await;
}

/// A task that writes lines of a known length, one after the other.
fn writer() -> Value {
    let rest = LINE - 10;
    let line = format!(
        "x=$(head -c {rest} /dev/zero | tr '\\0' x); i=0; while [ $i -lt {LINES} ]; do \
         printf '%08d %s\\n' $i \"$x\"; i=$((i+1)); sleep {PAUSE}; done"
    );
    json!({"docker_image": TEST_SHELL, "command": line, "cpu_cores": 0.5, "memory_gb": 0.125, "storage_gb": 1})
}

/// The SHA-256 of what that writes.
fn expected() -> [u8; 32] {
    let mut hash = Sha256::new();
    let rest = "x".repeat(LINE - 10);
    for number in 0..LINES {
        hash.update(format!("{number:08} {rest}\n"));
    }
    hash.finalize().into()
}

/// What reading came to.
struct Read {
    /// Bytes of the log that came to all together, and in which time from the first of them.
    bytes: usize,
    took: Duration,
    /// Who had all of it and nothing else.
    whole: usize,
    processor: Duration,
}

impl Read {
    fn print(&self, name: &str, readers: usize) {
        let seconds = self.took.as_secs_f64();
        println!(
            "{name:<34}{:>10.1}{:>12}{seconds:>14.1}{:>10.2}",
            self.bytes as f64 / 1e6 / seconds,
            format!("{} of {readers}", self.whole),
            self.processor.as_secs_f64() / seconds
        );
    }
}

async fn read(site: &Site, task: &str, readers: usize, follow: bool) -> Read {
    let mut reading = JoinSet::new();
    let processor = processor_time(site.pid());
    let query = if follow { "?follow=true" } else { "" };
    for number in 0..readers {
        let as_events = number % 2 == 1;
        let mut asked = get(format!("/api/tasks/{task}/logs{query}")).by(&site.admin);
        if as_events {
            asked = asked.header("Accept", "text/event-stream");
        }
        let at = site.at().to_owned();
        reading.spawn(async move {
            let mut connection = Connection::open_to(&at).await;
            let mut answer = connection.open(&asked).await;
            assert_eq!(answer.status, 200);
            let mut log = Log::default();
            while let Some(bytes) = answer.next().await {
                log.began.get_or_insert_with(Instant::now);
                match as_events {
                    true => log.events(&bytes),
                    false => log.bytes(&bytes),
                }
            }
            log
        });
    }
    let logs = reading.join_all().await;
    let processor = processor_time(site.pid()).saturating_sub(processor);
    let began = logs.iter().filter_map(|log| log.began).min();
    let took = began.expect("something came").elapsed();
    let (expected, length) = (expected(), LINE * LINES);
    let bytes = logs.iter().map(|log| log.length).sum();
    let whole = logs.into_iter().filter(|log| log.length == length);
    let whole = whole
        .filter(|log| <[u8; 32]>::from(log.hash.clone().finalize()) == expected)
        .count();
    Read {
        bytes,
        took,
        whole,
        processor,
    }
}

/// What one of them was told of the log.
#[derive(Default)]
struct Log {
    began: Option<Instant>,
    length: usize,
    hash: Sha256,
    /// The beginning of an event whose end has not come.
    event: Vec<u8>,
}

impl Log {
    fn bytes(&mut self, bytes: &[u8]) {
        self.length += bytes.len();
        self.hash.update(bytes);
    }

    fn events(&mut self, bytes: &[u8]) {
        self.event.extend_from_slice(bytes);
        while let Some(end) = self.event.windows(2).position(|two| two == b"\n\n") {
            let event: Vec<u8> = self.event.drain(..end + 2).collect();
            let event = String::from_utf8(event).unwrap();
            let data = event.lines().find_map(|line| line.strip_prefix("data: "));
            if let (true, Some(data)) = (event.starts_with("event: log\n"), data) {
                let data: Value = serde_json::from_str(data).unwrap();
                self.bytes(data["text"].as_str().unwrap().as_bytes());
            }
        }
    }
}
