//! WebSockets, through all of the server: who is let in, and what comes.

use std::sync::atomic::Ordering;

use cloudai_http::Settings;
use cloudai_model::TaskStatus;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message, client::IntoClientRequest as _},
};

use crate::support::{
    Setup, Site,
    client::{PATIENCE, get},
};

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Opens a WebSocket with these headers; else the status and the problem's code.
async fn open(
    site: &Site,
    path: &str,
    headers: &[(&'static str, String)],
) -> Result<Client, (u16, String)> {
    let url = format!("ws://{}{path}", site.at);
    let mut request = url.into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    match timeout(PATIENCE, connect_async(request)).await.unwrap() {
        Ok((client, _)) => Ok(client),
        Err(Error::Http(refused)) => {
            let body = refused.body().clone().unwrap_or_default();
            let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
            let code = problem["code"].as_str().unwrap_or_default().to_owned();
            Err((refused.status().as_u16(), code))
        }
        Err(error) => panic!("{error}"),
    }
}

fn by(token: &str) -> [(&'static str, String); 1] {
    [("authorization", format!("Bearer {token}"))]
}

/// The next text, or the code of the last word.
async fn next(client: &mut Client) -> Result<Value, u16> {
    loop {
        match timeout(PATIENCE, client.next()).await.unwrap() {
            Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
            Some(Ok(Message::Close(word))) => return Err(word.unwrap().code.into()),
            Some(Ok(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn telemetry_comes_whole_and_then_as_it_changes() {
    let site = Site::new().await;
    site.master.add_worker("w-1", &[]);
    site.master.add_worker("w-2", &[]);
    let token = site.token("alice").await;
    let mut all = open(&site, "/ws/telemetry", &by(&token)).await.unwrap();
    let first = next(&mut all).await.unwrap();
    assert_eq!(
        (&first["type"], first["workers"].as_array().unwrap().len()),
        (&json!("snapshot"), 2)
    );
    let mut one = open(&site, "/ws/telemetry/w-2", &by(&token)).await.unwrap();
    assert_eq!(
        next(&mut one).await.unwrap()["workers"][0]["worker_id"],
        "w-2"
    );
    // Whether the first drawing has begun to listen nobody knows: it changes until it is seen.
    let change = async {
        loop {
            for percent in [42.0, 43.0] {
                site.master.uses("w-2", percent);
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    };
    let changed = tokio::select! {
        () = change => unreachable!(),
        changed = next(&mut all) => changed.unwrap(),
    };
    assert_eq!(changed["type"], "changes");
    assert_eq!(changed["workers"].as_array().unwrap().len(), 1);
    assert_eq!(
        next(&mut one).await.unwrap()["workers"][0]["worker_id"],
        "w-2"
    );
    // At the end of the server everybody is told.
    site.close();
    for client in [&mut all, &mut one] {
        let code = loop {
            if let Err(code) = next(client).await {
                break code;
            }
        };
        assert_eq!(code, 1001);
    }
}

#[tokio::test]
async fn a_token_comes_in_any_of_three_ways_and_a_cookie_from_this_server_s_pages_alone() {
    let site = Site::new().await;
    let token = site.token("alice").await;
    let here = format!("http://{}", site.at);
    let cookie = || ("cookie", format!("cloudai_session={token}"));
    let origin = |origin: &str| ("origin", origin.to_owned());
    let protocol = |token: &str| ("sec-websocket-protocol", format!("bearer, {token}"));
    let refused = |status, code: &str| Err((status, code.to_owned()));
    for (headers, expected) in [
        (vec![], refused(401, "unauthenticated")),
        (vec![origin(&here)], refused(401, "unauthenticated")),
        (by(&token).to_vec(), Ok(())),
        (by("x").to_vec(), refused(401, "unauthenticated")),
        (vec![protocol(&token)], Ok(())),
        (vec![protocol("x")], refused(401, "unauthenticated")),
        // What is shown by a token may come from anywhere.
        (vec![protocol(&token), origin("http://elsewhere")], Ok(())),
        (vec![cookie(), origin(&here)], Ok(())),
        (vec![cookie()], refused(403, "cross_origin")),
        (
            vec![cookie(), origin("http://evil.example")],
            refused(403, "cross_origin"),
        ),
        (vec![cookie(), origin("null")], refused(403, "cross_origin")),
    ] {
        let came = open(&site, "/ws/telemetry", &headers).await.map(|_| ());
        assert_eq!(came, expected, "{headers:?}");
    }
}

#[tokio::test]
async fn another_user_s_log_is_as_one_that_is_not_there() {
    let site = Site::new().await;
    let task = site.master.put("alice", 7);
    site.master.start(&task, 1);
    let path = |task: &str| format!("/ws/tasks/{task}/logs");
    let bob = site.token("bob").await;
    let others = open(&site, &path("task-7"), &by(&bob)).await.map(|_| ());
    let nobodys = open(&site, &path("task-8"), &by(&bob)).await.map(|_| ());
    assert_eq!(others, Err((404, "not_found".to_owned())));
    assert_eq!(others, nobodys);
    for user in ["alice", "admin"] {
        let token = site.token(user).await;
        assert!(
            open(&site, &path("task-7"), &by(&token)).await.is_ok(),
            "{user}"
        );
    }
}

#[tokio::test]
async fn a_log_comes_from_its_begin_to_the_end_of_the_task_through_a_retry() {
    // Given a task that has printed something and prints more,
    let site = Site::new().await;
    let task = site.master.put("alice", 7);
    site.master.start(&task, 1);
    site.master.print(&task, 1, b"one\n");
    let token = site.token("alice").await;
    let mut log = open(&site, "/ws/tasks/task-7/logs", &by(&token))
        .await
        .unwrap();
    assert_eq!(
        next(&mut log).await,
        Ok(json!({"type": "attempt", "attempt": 1}))
    );
    let one = next(&mut log).await.unwrap();
    assert_eq!(
        (&one["stream"], &one["text"]),
        (&json!("stdout"), &json!("one\n"))
    );
    site.master.print(&task, 1, b"two\n");
    assert_eq!(next(&mut log).await.unwrap()["text"], "two\n");
    // when it is tried again,
    site.master.start(&task, 2);
    site.master.print(&task, 2, b"three\n");
    site.master.close_log(&task, 1);
    // then that comes, too, and an end when the task has ended.
    assert_eq!(next(&mut log).await.unwrap()["attempt"], 2);
    assert_eq!(next(&mut log).await.unwrap()["text"], "three\n");
    site.master.end(&task, TaskStatus::Completed);
    assert_eq!(next(&mut log).await, Err(1000));
    // The last lines alone can be had, too.
    let path = "/ws/tasks/task-7/logs?tail=1&attempt=1";
    let mut tail = open(&site, path, &by(&token)).await.unwrap();
    assert_eq!(next(&mut tail).await.unwrap()["attempt"], 1);
    assert_eq!(next(&mut tail).await.unwrap()["text"], "two\n");
    assert_eq!(next(&mut tail).await, Err(1000));
}

#[tokio::test]
async fn a_log_that_takes_long_to_open_is_opened_once_whatever_the_client_sends_meanwhile() {
    // Given a log that takes long to be searched for its last lines,
    let site = Site::new().await;
    let task = site.master.put("alice", 7);
    site.master.start(&task, 1);
    site.master.print(&task, 1, b"one\ntwo\n");
    let token = site.token("alice").await;
    let long = site.master.opening.lock().await;
    let path = "/ws/tasks/task-7/logs?tail=1";
    let mut log = open(&site, path, &by(&token)).await.unwrap();

    // when the client pings all the while,
    for _ in 0..50 {
        log.send(Message::Ping(bytes::Bytes::new())).await.unwrap();
        let pong = timeout(PATIENCE, log.next()).await.unwrap().unwrap();
        assert!(matches!(pong.unwrap(), Message::Pong(_)));
    }

    // then it was searched once, and is told.
    assert_eq!(site.master.openings.load(Ordering::Relaxed), 1);
    drop(long);
    assert_eq!(next(&mut log).await.unwrap()["attempt"], 1);
    assert_eq!(next(&mut log).await.unwrap()["text"], "two\n");
}

#[tokio::test]
async fn no_attempt_is_left_out() {
    // Given a watcher of a first attempt,
    let site = Site::new().await;
    let task = site.master.put("alice", 7);
    site.master.start(&task, 1);
    let token = site.token("alice").await;
    let path = "/ws/tasks/task-7/logs";
    let mut log = open(&site, path, &by(&token)).await.unwrap();
    assert_eq!(next(&mut log).await.unwrap()["attempt"], 1);
    // when two others come before the first has been read to its end,
    for (number, text) in [(2, b"two"), (3, b"3.."), (4, b"...")] {
        site.master.start(&task, number);
        site.master.print(&task, number, text);
        site.master.close_log(&task, number);
    }
    site.master.end(&task, TaskStatus::Completed);
    site.master.close_log(&task, 1);
    // then all are told.
    for number in 2..=4 {
        assert_eq!(next(&mut log).await.unwrap()["attempt"], number);
        assert_eq!(next(&mut log).await.unwrap()["type"], "output");
    }
    assert_eq!(next(&mut log).await, Err(1000));
}

#[tokio::test]
async fn a_websocket_keeps_its_place_when_idle_connections_make_room() {
    // Given two places, of which a WebSocket has one on which nothing happens,
    let settings = Settings {
        most_connections: 2,
        ..Settings::default()
    };
    let setup = Setup {
        settings,
        ..Setup::default()
    };
    let site = Site::with(setup).await;
    site.master.add_worker("w-1", &[]);
    let token = site.token("alice").await;
    let mut watcher = open(&site, "/ws/telemetry", &by(&token)).await.unwrap();
    next(&mut watcher).await.unwrap();
    // when others come and go, then it stays.
    for _ in 0..5 {
        site.served().await;
    }
    site.master.uses("w-1", 50.0);
    assert_eq!(next(&mut watcher).await.unwrap()["type"], "changes");
}

#[tokio::test]
async fn beyond_the_limits_there_is_no_place() {
    // Given room for three, and two of one user,
    let settings = Settings {
        most_sockets: 3,
        most_sockets_of_user: 2,
        ..Settings::default()
    };
    let setup = Setup {
        settings,
        ..Setup::default()
    };
    let site = Site::with(setup).await;
    let (alice, bob) = (site.token("alice").await, site.token("bob").await);
    let enter = async |token: &str| open(&site, "/ws/telemetry", &by(token)).await;
    let full = || (503, "overloaded".to_owned());
    let first = enter(&alice).await.unwrap();
    let _second = enter(&alice).await.unwrap();
    assert_eq!(enter(&alice).await.map(|_| ()), Err(full()));
    let _third = enter(&bob).await.unwrap();
    assert_eq!(enter(&bob).await.map(|_| ()), Err(full()));
    // When one goes, then there is room again.
    drop(first);
    let again = async {
        while enter(&bob).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, again).await.unwrap();
}

#[tokio::test]
async fn a_plain_request_is_told_what_the_path_is_for() {
    let site = Site::new().await;
    let token = site.token("alice").await;
    let plain = site.send(get("/ws/telemetry").by(&token)).await;
    let detail = plain.expect_problem(400, "bad_request").json()["detail"].clone();
    assert!(detail.as_str().unwrap().contains("WebSockets"), "{detail}");
}
