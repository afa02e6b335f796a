//! Logs, as text and as events.

use std::time::Duration;

use cloudai_model::{TaskStatus, Wall, record::Removal};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::support::{
    Site,
    client::{Ask, PATIENCE, Reply, get},
};

/// An answer that is read while it comes.
struct Live {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Live {
    async fn open(site: &Site, ask: &Ask) -> Self {
        let mut stream = TcpStream::connect(site.at).await.unwrap();
        stream.write_all(&ask.bytes()).await.unwrap();
        Self {
            stream,
            read: Vec::new(),
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.read).into_owned()
    }

    async fn until(&mut self, wanted: &str) {
        let reading = timeout(PATIENCE, async {
            while !self.text().contains(wanted) {
                let read = self.stream.read_buf(&mut self.read).await.unwrap();
                assert_ne!(read, 0, "it ended before {wanted:?}: {}", self.text());
            }
        });
        reading
            .await
            .unwrap_or_else(|_| panic!("no {wanted:?} in {}", self.text()));
    }

    async fn end(mut self) -> Reply {
        let read = self.stream.read_to_end(&mut self.read);
        timeout(PATIENCE, read)
            .await
            .expect("it ends in time")
            .unwrap();
        Reply::read(&self.read)
    }
}

/// Events as name, id and data.
fn events(text: &str) -> Vec<(String, Option<String>, Value)> {
    let parts = text.split("\n\n").filter(|part| part.contains("data: "));
    parts
        .map(|part| {
            let field = |name: &str| {
                let mut lines = part.lines();
                let found = lines.find_map(|line| line.strip_prefix(&format!("{name}: ")));
                found.map(str::to_owned)
            };
            let data = serde_json::from_str(&field("data").unwrap()).unwrap();
            (field("event").unwrap(), field("id"), data)
        })
        .collect()
}

#[tokio::test]
async fn a_log_is_told_as_it_was_printed() {
    let site = Site::new().await;
    let token = site.token("alice").await;
    let task = site.master.put("alice", 1);
    site.master.start(&task, 1);
    site.master.print(&task, 1, b"one\ntwo\nthr");
    site.master.print(&task, 1, b"ee\nfo\xff");
    let ask = |query: &str| get(format!("/api/tasks/{task}/logs{query}")).by(&token);

    // What is there now is told and ends, though more may come.
    let whole = site.send(ask("")).await.expect(200);
    assert_eq!(
        whole.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    assert_eq!(whole.body, b"one\ntwo\nthree\nfo\xff");
    assert_eq!(site.send(ask("?tail=2")).await.body, b"three\nfo\xff");
    assert_eq!(site.send(ask("?tail=0")).await.body, b"");
    let stamped = site.send(ask("?tail=2&timestamps=true")).await.body;
    let stamp = "2023-10-12T15:11:00.000Z";
    let stamped = String::from_utf8_lossy(&stamped).into_owned();
    assert_eq!(stamped, format!("{stamp} three\n{stamp} fo\u{fffd}"));

    for wrong in ["tail=-1", "tail=100001", "follow=1", "attempt=0", "since=5"] {
        let reply = site.send(ask(&format!("?{wrong}"))).await;
        let reply = reply.expect_problem(400, "invalid_parameter");
        assert_eq!(reply.places()[0], wrong.split('=').next().unwrap());
    }
    site.send(ask("?attempt=2"))
        .await
        .expect_problem(404, "not_found");
    let html = ask("").header("Accept", "text/html");
    site.send(html).await.expect_problem(406, "not_acceptable");
}

#[tokio::test]
async fn a_log_is_followed_through_a_retry_to_the_end_of_the_task() {
    // Given a task that has not run yet, and somebody who follows its log,
    let site = Site::new().await;
    let token = site.token("alice").await;
    let task = site.master.put("alice", 1);
    let path = format!("/api/tasks/{task}/logs?follow=true");
    let mut live = Live::open(&site, &get(path).by(&token)).await;
    live.until("200 OK").await;

    // when it runs, fails, and runs again, then both attempts are told as they print.
    site.master.start(&task, 1);
    site.master.print(&task, 1, b"first\n");
    live.until("first\n").await;
    site.master
        .change_state(&task, |state| state.status = TaskStatus::Queued);
    site.master.close_log(&task, 1);
    site.master.start(&task, 2);
    site.master.print(&task, 2, b"second\n");
    live.until("second\n").await;
    site.master.end(&task, TaskStatus::Completed);
    assert_eq!(live.end().await.text(), "first\nsecond\n");
}

#[tokio::test]
async fn events_are_taken_up_where_they_broke_off() {
    let site = Site::new().await;
    let token = site.token("alice").await;
    let task = site.master.put("alice", 1);
    site.master.start(&task, 1);
    site.master.print(&task, 1, b"one\n");
    site.master.print(&task, 1, b"caf\xe9\n");
    let path = format!("/api/tasks/{task}/logs?follow=true");
    let ask = get(&path).by(&token).header("Accept", "text/event-stream");
    let mut live = Live::open(&site, &ask).await;
    live.until("base64").await;
    live.until("\n\n").await;
    let before = Reply::read(&live.read);
    assert_eq!(before.header("content-type"), Some("text/event-stream"));
    let seen = events(&before.text());
    let at = "2023-10-12T15:11:00.000Z";
    assert_eq!(
        seen[0].2,
        json!({"stream": "stdout", "at": at, "text": "one\n"})
    );
    drop(live);

    // When it is taken up behind the first event, then the second comes, and what came since.
    site.master.print(&task, 1, b"three\n");
    site.master.end(&task, TaskStatus::Failed);
    let resumed = ask
        .clone()
        .header("Last-Event-ID", seen[0].1.as_ref().unwrap());
    let rest = events(&site.send(resumed).await.expect(200).text());
    let names: Vec<&str> = rest.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["log", "log", "end"]);
    assert_eq!(
        rest[0].2,
        json!({"stream": "stdout", "at": at, "base64": "Y2Fm6Qo="})
    );
    assert_eq!(rest[1].2["text"], "three\n");
    assert_eq!(rest[2].2, json!({"status": "failed", "attempt": 1}));

    // Behind the end nothing comes: a browser that takes it up again is told to stop.
    let over = ask
        .clone()
        .header("Last-Event-ID", rest[2].1.as_ref().unwrap());
    site.send(over).await.expect(204);
    for wrong in ["x", "9:0", "1:"] {
        let reply = site.send(ask.clone().header("Last-Event-ID", wrong)).await;
        let reply = reply.expect_problem(400, "invalid_parameter");
        assert_eq!(reply.places(), ["last-event-id"]);
    }
    // Of an attempt that alone was asked for no other is told.
    site.master.start(&task, 2);
    let second = get(format!("{path}&attempt=2")).by(&token);
    let second = second.header("Accept", "text/event-stream");
    let other = site.send(second.header("Last-Event-ID", "1:0")).await;
    other.expect_problem(400, "invalid_parameter");
    site.master.end(&task, TaskStatus::Failed);
    // A place within a frame is none: it is said, and nothing else is told.
    let within = ask.header("Last-Event-ID", "1:3");
    let told = events(&site.send(within).await.expect(200).text());
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].0, "error");
}

#[tokio::test]
async fn a_log_that_was_removed_says_so() {
    let site = Site::new().await;
    let token = site.token("alice").await;
    let task = site.master.put("alice", 1);
    site.master.start(&task, 1);
    site.master.end(&task, TaskStatus::Completed);
    site.master
        .tasks
        .lock()
        .unwrap()
        .get_mut(&task)
        .unwrap()
        .removed
        .log = Some(Removal {
        at: Wall(0),
        by: "retention after 30 d".to_owned(),
    });
    let gone = site
        .send(get(format!("/api/tasks/{task}/logs")).by(&token))
        .await;
    let gone = gone.expect_problem(410, "removed");
    assert!(
        gone.text().contains("by retention after 30 d"),
        "{}",
        gone.text()
    );
}

#[tokio::test]
async fn at_the_servers_end_streams_end_with_a_last_event() {
    let site = Site::new().await;
    let token = site.token("alice").await;
    let task = site.master.put("alice", 1);
    site.master.start(&task, 1);
    site.master.print(&task, 1, b"one\n");
    let path = format!("/api/tasks/{task}/logs?follow=true");
    let told = get(&path).by(&token).header("Accept", "text/event-stream");
    let mut events_live = Live::open(&site, &told).await;
    let mut text_live = Live::open(&site, &get(&path).by(&token)).await;
    events_live.until("one").await;
    text_live.until("one").await;

    site.close();
    let last = events(&events_live.end().await.text()).pop().unwrap();
    assert_eq!((last.0.as_str(), last.1), ("closing", None));
    assert_eq!(last.2, json!({"reason": "the master is shutting down"}));
    assert_eq!(text_live.end().await.text(), "one\n");
    site.closed().await;
}

#[tokio::test]
async fn a_reader_that_goes_away_gives_its_place_back() {
    // Given a server with a place for one stream, and one who follows,
    let settings = cloudai_http::Settings {
        most_streams: 1,
        ..cloudai_http::Settings::default()
    };
    let setup = crate::support::Setup {
        settings,
        ..crate::support::Setup::default()
    };
    let site = Site::with(setup).await;
    let token = site.token("alice").await;
    let task = site.master.put("alice", 1);
    site.master.start(&task, 1);
    site.master.print(&task, 1, b"one\n");
    let follow = get(format!("/api/tasks/{task}/logs?follow=true")).by(&token);
    let mut live = Live::open(&site, &follow).await;
    live.until("one").await;
    let once = get(format!("/api/tasks/{task}/logs")).by(&token);
    site.send(once.clone())
        .await
        .expect_problem(503, "overloaded");

    // when they hang up, then there is room for another, though the log is silent.
    drop(live);
    let again = timeout(PATIENCE, async {
        while site.send(once.clone()).await.status != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    again.await.unwrap();
}
