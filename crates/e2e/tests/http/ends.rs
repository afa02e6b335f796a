//! The end of a master: whatever goes on is told, and what was begun is answered.

use serde_json::json;

use crate::{
    Site,
    web::{events, get, next, post, socket},
};

#[tokio::test(flavor = "multi_thread")]
async fn streams_have_a_last_word_when_the_master_is_asked_to_end() {
    // Given somebody who follows a log as events, as text and by a WebSocket, and telemetry,
    let mut site = Site::with_worker().await;
    let alice = site.user("alice").await;
    let task = site.submit(&alice, "echo begun; sleep 600").await;
    site.has_status(&alice, &task, "running").await;
    let followed = get(format!("/api/tasks/{task}/logs?follow=true")).by(&alice);
    let as_events = followed.clone().header("Accept", "text/event-stream");
    let mut stream = as_events.open(site.at()).await;
    let mut text = followed.open(site.at()).await;
    let path = format!("/ws/tasks/{task}/logs");
    let mut log = socket(site.at(), &path, &alice).await.unwrap();
    let mut telemetry = socket(site.at(), "/ws/telemetry", &alice).await.unwrap();
    stream.until("begun").await;
    text.until("begun").await;
    // when the master is asked to end,
    site.cluster.master.signal("TERM").await;
    // then each is told so, and it ends well and soon.
    let told = events(&stream.end().await.text());
    assert_eq!(told.last().unwrap().0, "closing", "{told:?}");
    assert_eq!(text.end().await.text(), "begun\n");
    for socket in [&mut log, &mut telemetry] {
        let code = loop {
            if let Err(code) = next(socket).await {
                break code;
            }
        };
        assert_eq!(code, 1001);
    }
    assert_eq!(site.cluster.master.ends().await, Some(0));

    // Whoever comes back to the next one is told what is new alone.
    site.cluster.restart_master().await;
    let last = told.iter().rev().find_map(|(_, id, _)| id.clone()).unwrap();
    let mut again = as_events
        .header("Last-Event-ID", &last)
        .open(site.at())
        .await;
    while again.status == 503 {
        again = get(format!("/api/tasks/{task}/logs?follow=true"))
            .by(&alice)
            .header("Accept", "text/event-stream")
            .header("Last-Event-ID", &last)
            .open(site.at())
            .await;
    }
    let cancel = crate::web::delete(format!("/api/tasks/{task}")).by(&alice);
    cancel.send(site.at()).await.expect(202);
    let rest = again.end().await.expect(200).text();
    assert!(
        !rest.contains("begun") && rest.contains("event: end"),
        "{rest}"
    );
    site.cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_while_somebody_watches_stops_the_watching() {
    // Given somebody who watches, when they log out,
    let site = Site::with_worker().await;
    let alice = site.user("alice").await;
    let mut telemetry = socket(site.at(), "/ws/telemetry", &alice).await.unwrap();
    next(&mut telemetry).await.unwrap();
    post("/api/auth/logout")
        .by(&alice)
        .send(site.at())
        .await
        .expect(204);
    // then the watching ends, too.
    let code = loop {
        match next(&mut telemetry).await {
            Ok(message) => assert_ne!(message["type"], json!("snapshot")),
            Err(code) => break code,
        }
    };
    assert_eq!(code, 4401);
    site.cluster.end().await;
}
