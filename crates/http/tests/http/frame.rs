//! What stands around every request, and how the server ends.

use std::time::Duration;

use cloudai_core::SubmitError;
use cloudai_http::Settings;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::support::{
    Setup, Site,
    client::{Ask, PATIENCE, Reply, exchange, get, post},
    master::Fault,
};

#[tokio::test]
async fn health_and_readiness_say_how_the_master_is() {
    let site = Site::new().await;
    let health = site.send(get("/health")).await.expect(200).json();
    assert_eq!(
        (
            &health["status"],
            &health["version"],
            &health["workers"],
            &health["store"]
        ),
        (&json!("ok"), &json!("0.1.0"), &json!(0), &json!("memory"))
    );
    assert_eq!(
        site.send(get("/ready")).await.expect(200).json(),
        json!({"ready": true})
    );

    // When there is no room for new tasks, then it is alive and can't be used.
    *site.master.held_up.lock().unwrap() = Some("the disk is full".to_owned());
    let health = site.send(get("/health")).await.expect(200).json();
    assert_eq!(
        (&health["status"], &health["reason"]),
        (&json!("full"), &json!("the disk is full"))
    );
    let ready = site.send(get("/ready")).await.expect(503);
    assert_eq!(
        ready.json(),
        json!({"ready": false, "reason": "the disk is full"})
    );

    // Who comes from elsewhere is told words alone, unless it is an admin.
    let strange = |path: &str| get(path).header("X-Forwarded-For", "192.0.2.1");
    let health = site.send(strange("/health")).await.expect(200).json();
    assert_eq!(
        (&health["status"], &health["reason"], &health["disks"]),
        (
            &json!("full"),
            &json!("there is no room for new tasks"),
            &json!([])
        )
    );
    let ready = site.send(strange("/ready")).await.expect(503).json();
    assert_eq!(ready["reason"], "new tasks are not taken just now");
    let (alice, admin) = (site.token("alice").await, site.token("admin").await);
    for (token, full) in [(&alice, false), (&admin, true)] {
        let health = site.send(strange("/health").by(token)).await.json();
        assert_eq!(health["reason"] == "the disk is full", full);
    }
}

#[tokio::test]
async fn metrics_are_open_to_whoever_is_on_the_machine() {
    let site = Site::new().await;
    let metrics = site.send(get("/metrics")).await.expect(200);
    assert_eq!(metrics.text(), "# nothing is counted here\n");
    assert!(
        metrics
            .header("content-type")
            .unwrap()
            .starts_with("text/plain")
    );
}

#[tokio::test]
async fn every_error_is_a_problem_with_its_code() {
    let site = Site::new().await;
    let token = site.token("alice").await;
    let task = json!({"docker_image": "alpine"});

    site.send(get("/nowhere"))
        .await
        .expect_problem(404, "not_found");
    site.send(get("/api/nowhere").by(&token))
        .await
        .expect_problem(404, "not_found");
    let wrong = site.send(Ask::new("PUT", "/api/tasks").by(&token)).await;
    let wrong = wrong.expect_problem(405, "method_not_allowed");
    assert_eq!(wrong.header("allow"), Some("GET,HEAD,POST"));
    let wrong = site
        .send(post("/health"))
        .await
        .expect_problem(405, "method_not_allowed");
    assert_eq!(wrong.header("allow"), Some("GET,HEAD"));
    let asked = get("/api/tasks").by(&token).header("Accept", "text/html");
    site.send(asked).await.expect_problem(406, "not_acceptable");
    let plain = post("/api/tasks").by(&token).body("docker_image=alpine");
    site.send(plain)
        .await
        .expect_problem(415, "unsupported_media_type");
    let zipped = post("/api/tasks")
        .by(&token)
        .header("Content-Encoding", "gzip")
        .json(&task);
    site.send(zipped)
        .await
        .expect_problem(415, "unsupported_media_type");
    let broken = post("/api/tasks")
        .by(&token)
        .header("Content-Type", "application/json");
    site.send(broken.body("{"))
        .await
        .expect_problem(400, "invalid_json");
    let long = json!({"docker_image": "a".repeat(2 << 20)});
    site.send(post("/api/tasks").by(&token).json(&long))
        .await
        .expect_problem(413, "too_large");
    let unasked = site
        .send(get("/api/tasks"))
        .await
        .expect_problem(401, "unauthenticated");
    assert_eq!(
        unasked.header("www-authenticate"),
        Some("Bearer realm=\"cloudai\"")
    );

    *site.master.refusal.lock().unwrap() = Some(SubmitError::QueueFull(7));
    let full = site.send(post("/api/tasks").by(&token).json(&task)).await;
    let full = full.expect_problem(429, "queue_full");
    assert_eq!(full.header("retry-after"), Some("1"));
    *site.master.refusal.lock().unwrap() = Some(SubmitError::HeldUp("no room".into()));
    site.send(post("/api/tasks").by(&token).json(&task))
        .await
        .expect_problem(503, "held_up");
    *site.master.fault.lock().unwrap() = Fault::Unwritable;
    site.send(post("/api/tasks").by(&token).json(&task))
        .await
        .expect_problem(503, "store_away");
    *site.master.fault.lock().unwrap() = Fault::Unreadable;
    let unread = site.send(get("/api/tasks").by(&token)).await;
    // What the store's database said is for the log.
    let detail = unread.expect_problem(503, "store_away").json()["detail"].clone();
    assert!(
        detail.as_str().unwrap().contains("the master's log"),
        "{detail}"
    );
}

#[tokio::test]
async fn a_panic_is_a_problem_and_the_server_goes_on() {
    let site = Site::new().await;
    *site.master.fault.lock().unwrap() = Fault::Panics;
    let reply = site
        .send(get("/health").header("X-Request-Id", "r-7"))
        .await;
    let reply = reply.expect_problem(500, "internal");
    assert_eq!(reply.header("x-request-id"), Some("r-7"));
    assert!(!reply.text().contains("on purpose"), "{}", reply.text());
    *site.master.fault.lock().unwrap() = Fault::None;
    site.send(get("/health")).await.expect(200);
}

#[tokio::test]
async fn an_answer_has_the_requests_id_and_says_what_a_browser_may_do_with_it() {
    let site = Site::new().await;
    let reply = site
        .send(get("/health").header("X-Request-Id", "job-1.a"))
        .await
        .expect(200);
    assert_eq!(reply.header("x-request-id"), Some("job-1.a"));
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
        (
            "content-security-policy",
            "default-src 'none'; frame-ancestors 'none'",
        ),
    ] {
        assert_eq!(reply.header(name), Some(value), "{name}");
    }
    let made = site
        .send(get("/health").header("X-Request-Id", "a b"))
        .await
        .expect(200);
    assert_eq!(made.header("x-request-id").unwrap().len(), 16);
}

#[tokio::test]
async fn no_other_site_reads_answers_unless_the_settings_name_it() {
    let asked = || get("/health").header("Origin", "https://dash.example.org");
    let site = Site::new().await;
    assert_eq!(
        site.send(asked())
            .await
            .header("access-control-allow-origin"),
        None
    );

    let settings = Settings {
        origins: vec!["https://dash.example.org".to_owned()],
        ..Settings::default()
    };
    let site = Site::with(Setup {
        settings,
        ..Setup::default()
    })
    .await;
    let reply = site.send(asked()).await.expect(200);
    let allowed = reply.header("access-control-allow-origin");
    assert_eq!(allowed, Some("https://dash.example.org"));
    assert_eq!(reply.header("access-control-allow-credentials"), None);
    // A page that downloads a part of a file may ask for it, and sees which it got.
    let shown = reply.header("access-control-expose-headers").unwrap();
    assert!(
        shown.contains("content-range") && shown.contains("accept-ranges"),
        "{shown}"
    );
    let asks_first = Ask::new("OPTIONS", "/health")
        .header("Origin", "https://dash.example.org")
        .header("Access-Control-Request-Method", "GET");
    let reply = site.send(asks_first).await;
    let may_send = reply.header("access-control-allow-headers").unwrap();
    assert!(may_send.contains("if-range"), "{may_send}");
    let other = get("/health").header("Origin", "https://evil.example.org");
    assert_eq!(
        site.send(other).await.header("access-control-allow-origin"),
        None
    );
}

#[tokio::test]
async fn long_json_is_compressed_for_whoever_takes_it_and_short_is_not() {
    let site = Site::new().await;
    let zipped = |path: &str| get(path).header("Accept-Encoding", "gzip");
    let reply = site
        .send(zipped("/api-docs/openapi.json"))
        .await
        .expect(200);
    assert_eq!(reply.header("content-encoding"), Some("gzip"));
    assert_eq!(reply.body[..2], [0x1f, 0x8b]);
    assert_eq!(
        site.send(zipped("/health"))
            .await
            .header("content-encoding"),
        None
    );
    let plain = site.send(get("/api-docs/openapi.json")).await;
    assert_eq!(plain.header("content-encoding"), None);
}

/// A server with these settings.
async fn site_with(settings: Settings) -> Site {
    let setup = Setup {
        settings,
        ..Setup::default()
    };
    Site::with(setup).await
}

/// The head of a request whose body does not come.
async fn begun(site: &Site, head: &str) -> TcpStream {
    let mut slow = TcpStream::connect(site.at).await.unwrap();
    let head =
        format!("{head}Host: here\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n");
    slow.write_all(head.as_bytes()).await.unwrap();
    slow
}

#[tokio::test]
async fn too_many_requests_at_once_are_told_to_come_again() {
    // Given a server that answers one request at a time, and one whose answer takes long,
    let site = site_with(Settings {
        most_requests: 1,
        ..Settings::default()
    })
    .await;
    let token = site.token("alice").await;
    let waits = site.master.slow.acquire().await.unwrap();
    let submit = post("/api/tasks").by(&token);
    let submit = submit.json(&json!({"docker_image": "alpine"})).bytes();
    let mut slow = TcpStream::connect(site.at).await.unwrap();
    slow.write_all(&submit).await.unwrap();

    // when another comes, then it is told so once the first has its turn;
    let answer = timeout(PATIENCE, async {
        loop {
            let reply = site.send(get("/api/tasks").by(&token)).await;
            if reply.status == 503 {
                return reply;
            }
        }
    });
    let reply = answer.await.unwrap().expect_problem(503, "overloaded");
    assert_eq!(reply.header("retry-after"), Some("1"));
    // but whether the master is alive is told all the same.
    site.send(get("/health")).await.expect(200);
    site.send(get("/ready")).await.expect(200);
    drop(waits);
    let mut answer = Vec::new();
    timeout(PATIENCE, slow.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    Reply::read(&answer).expect(201);
}

#[tokio::test]
async fn bodies_that_do_not_come_keep_nobody_waiting_but_their_own_address() {
    // Given a server that answers one request at a time, and two logins without their bodies,
    let site = site_with(Settings {
        most_requests: 1,
        most_bodies_of_address: 2,
        ..Settings::default()
    })
    .await;
    let head = "POST /api/auth/login HTTP/1.1\r\n";
    let first = begun(&site, head).await;
    let _second = begun(&site, head).await;
    site.under_way(2).await;

    // when others ask, then they are answered;
    for _ in 0..3 {
        site.send(get("/api-docs/openapi.json")).await.expect(200);
    }
    // when the same address begins a third body, then it is refused until one of the others has ended.
    let token = site.token("alice").await;
    let submit = || {
        post("/api/tasks")
            .by(&token)
            .json(&json!({"docker_image": "alpine"}))
    };
    site.send(submit()).await.expect_problem(503, "overloaded");
    drop(first);
    site.under_way(1).await;
    site.send(submit()).await.expect(201);
}

#[tokio::test]
async fn large_bodies_share_room_and_small_ones_need_none() {
    let site = site_with(Settings {
        most_bytes_of_bodies: 64 << 10,
        ..Settings::default()
    })
    .await;
    let token = site.token("alice").await;
    let of = |bytes: usize| {
        let task = json!({"docker_image": "alpine", "name": "a".repeat(bytes)});
        post("/api/tasks").by(&token).json(&task)
    };
    let large = site.send(of(200 << 10)).await;
    large.expect_problem(503, "overloaded");
    // What there is room for is read, here to be told that the name is too long.
    let long = site.send(of(100 << 10)).await;
    long.expect_problem(400, "invalid_body");
    site.send(of(10)).await.expect(201);
}

#[tokio::test]
async fn neither_an_address_nor_a_user_takes_all_room_for_bodies() {
    // Given room for much, and less of it for one address, and still less for one user's batches,
    let site = site_with(Settings {
        most_bytes_of_bodies_of_address: 128 << 10,
        most_bytes_of_batches_of_user: 64 << 10,
        ..Settings::default()
    })
    .await;
    let token = site.token("alice").await;
    let task = |bytes: usize| json!({"docker_image": "alpine", "name": "a".repeat(bytes)});
    let single = |bytes| post("/api/tasks").by(&token).json(&task(bytes));
    let batch = |bytes| {
        let tasks = json!({"tasks": [task(bytes)]});
        post("/api/tasks/batch").by(&token).json(&tasks)
    };
    // when bodies are larger than that, then they are refused, for all the room that there is;
    let refused = site.send(single(300 << 10)).await;
    refused.expect_problem(503, "overloaded");
    let refused = site.send(batch(150 << 10)).await;
    refused.expect_problem(503, "overloaded");
    // others are read, here to be told that the name is too long.
    for fits in [single(150 << 10), batch(100 << 10)] {
        let long = site.send(fits).await;
        long.expect_problem(400, "invalid_body");
    }
}

#[tokio::test]
async fn who_is_not_known_yet_sends_little() {
    let site = site_with(Settings::default()).await;
    let login = json!({"username": "alice", "password": "a".repeat(65 << 10)});
    let login = post("/api/auth/login").json(&login);
    site.send(login).await.expect_problem(413, "too_large");
}

#[tokio::test]
async fn what_goes_on_when_who_asked_has_gone_counts_as_a_request() {
    // Given a server that answers one request at a time, and a submit that takes long,
    let site = site_with(Settings {
        most_requests: 1,
        ..Settings::default()
    })
    .await;
    let token = site.token("alice").await;
    let waits = site.master.slow.acquire().await.unwrap();
    let submit = post("/api/tasks").by(&token);
    let submit = submit.json(&json!({"docker_image": "alpine"})).bytes();
    let mut gone = TcpStream::connect(site.at).await.unwrap();
    gone.write_all(&submit).await.unwrap();
    let look = async |status| {
        let answer = timeout(PATIENCE, async {
            while site.send(get("/api/tasks").by(&token)).await.status != status {}
        });
        answer.await.unwrap();
    };
    look(503).await;

    // when its client goes, then others are told to come again all the same,
    drop(gone);
    site.under_way(0).await;
    let next = site.send(get("/api/tasks").by(&token)).await;
    next.expect_problem(503, "overloaded");

    // until it has come to its end.
    drop(waits);
    look(200).await;
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up() {
    let settings = Settings {
        body_within: Duration::from_millis(300),
        ..Settings::default()
    };
    let site = Site::with(Setup {
        settings,
        ..Setup::default()
    })
    .await;
    let token = site.token("alice").await;
    let head = format!(
        "POST /api/tasks HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    );

    // When a client says that bytes will come and sends none, then it is told.
    let mut stalled = head.clone().into_bytes();
    stalled.extend_from_slice(b"5\r\nab");
    exchange(site.at, &stalled)
        .await
        .expect_problem(408, "request_timeout");

    // When it sends more than may be, then it is told before it is at its end.
    let mut endless = head.into_bytes();
    for _ in 0..40 {
        endless.extend_from_slice(b"10000\r\n");
        endless.extend_from_slice(&vec![b' '; 0x10000]);
        endless.extend_from_slice(b"\r\n");
    }
    exchange(site.at, &endless)
        .await
        .expect_problem(413, "too_large");
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_given_up() {
    let settings = Settings {
        answer_within: Duration::from_millis(200),
        ..Settings::default()
    };
    let site = Site::with(Setup {
        settings,
        ..Setup::default()
    })
    .await;
    let token = site.token("alice").await;
    let mut stalled = post("/api/tasks").by(&token).json(&json!({"a": 1})).bytes();
    stalled.truncate(stalled.len() - 2);
    exchange(site.at, &stalled)
        .await
        .expect_problem(503, "timed_out");
}

#[tokio::test]
async fn a_header_without_end_is_refused() {
    let site = Site::new().await;
    let mut request = b"GET /health HTTP/1.1\r\nHost: here\r\n".to_vec();
    for n in 0..90 {
        request.extend_from_slice(format!("X-{n}: {}\r\n", "a".repeat(1000)).as_bytes());
    }
    request.extend_from_slice(b"\r\n");
    assert_eq!(exchange(site.at, &request).await.status, 431);
    let many: String = (0..200).map(|n| format!("X-{n}: a\r\n")).collect();
    let request = format!("GET /health HTTP/1.1\r\nHost: here\r\n{many}\r\n");
    assert_eq!(exchange(site.at, request.as_bytes()).await.status, 431);
    site.send(get("/health")).await.expect(200);
}

#[tokio::test]
async fn http_2_is_spoken_with_whoever_begins_so() {
    let site = Site::new().await;
    let stream = TcpStream::connect(site.at).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io)
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = hyper::Request::get("http://here/health")
        .body(http_body_util::Empty::<bytes::Bytes>::new())
        .unwrap();
    let reply = sender.send_request(request).await.unwrap();
    assert_eq!(
        (reply.status().as_u16(), reply.version()),
        (200, hyper::Version::HTTP_2)
    );
}

/// Whether the other side has closed.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    let read = timeout(PATIENCE, stream.read(&mut byte))
        .await
        .expect("it is closed in time");
    read.map_or(true, |read| read == 0)
}

#[tokio::test]
async fn whoever_says_nothing_is_sent_away() {
    let settings = Settings {
        first_request_within: Duration::from_millis(200),
        ..Settings::default()
    };
    let site = Site::with(Setup {
        settings,
        ..Setup::default()
    })
    .await;
    let mut silent = TcpStream::connect(site.at).await.unwrap();
    let mut slow = TcpStream::connect(site.at).await.unwrap();
    slow.write_all(b"GET /health HTTP/1.1\r\nHost:")
        .await
        .unwrap();
    assert!(is_closed(&mut silent).await);
    assert!(is_closed(&mut slow).await);
}

#[tokio::test]
async fn silent_connections_keep_nobody_out() {
    // Given a server with few places, all of them taken by clients that say nothing,
    let settings = Settings {
        most_connections: 50,
        first_request_within: PATIENCE * 10,
        ..Settings::default()
    };
    let site = Site::with(Setup {
        settings,
        ..Setup::default()
    })
    .await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(site.at).await.unwrap());
    }

    // when others come, then each is served,
    for _ in 0..20 {
        site.send(get("/health")).await.expect(200);
    }
    // and those that were silent for longest are gone.
    assert!(is_closed(&mut silent[0]).await);
}

#[tokio::test]
async fn at_its_end_the_server_lets_requests_finish_and_takes_no_others() {
    let site = Site::new().await;
    let token = site.token("alice").await;
    // Given a request that is half sent,
    let bytes = post("/api/tasks")
        .by(&token)
        .header("Expect", "100-continue")
        .json(&json!({"docker_image": "alpine"}))
        .bytes();
    let (begin, rest) = bytes.split_at(bytes.len() - 4);
    let mut under_way = TcpStream::connect(site.at).await.unwrap();
    under_way.write_all(begin).await.unwrap();
    let mut go_on = [0; 25];
    under_way.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    // and one that is idle after an answer,
    let mut idle = TcpStream::connect(site.at).await.unwrap();
    idle.write_all(b"GET /health HTTP/1.1\r\nHost: here\r\n\r\n")
        .await
        .unwrap();
    let mut answered = [0; 12];
    idle.read_exact(&mut answered).await.unwrap();
    assert_eq!(&answered, b"HTTP/1.1 200");

    // when the server ends, then the first is answered,
    let at = site.at;
    site.close();
    under_way.write_all(rest).await.unwrap();
    let mut answer = Vec::new();
    timeout(PATIENCE, under_way.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    Reply::read(&answer).expect(201);
    // and nobody else is let in.
    site.closed().await;
    assert!(TcpStream::connect(at).await.is_err());
}
