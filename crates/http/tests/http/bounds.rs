//! Who takes little for long, or comes and does nothing: it costs nobody else their place.

use std::time::Duration;

use cloudai_http::Settings;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::support::{
    Setup, Site,
    client::{PATIENCE, get},
};

async fn site_with(settings: Settings) -> Site {
    let setup = Setup {
        settings,
        ..Setup::default()
    };
    Site::with(setup).await
}

/// A connection that has asked once and stays.
async fn asked_once(site: &Site) -> TcpStream {
    let mut stream = TcpStream::connect(site.at).await.unwrap();
    let ask = b"GET /ready HTTP/1.1\r\nHost: here\r\n\r\n";
    stream.write_all(ask).await.unwrap();
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, async {
        while !answer.ends_with(b"{\"ready\":true}") {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
        }
    });
    read.await.unwrap();
    stream
}

#[tokio::test]
async fn connections_that_asked_once_make_room() {
    // Given two places, taken by clients that have their answers and stay,
    let site = site_with(Settings {
        most_connections: 2,
        ..Settings::default()
    })
    .await;
    let mut first = asked_once(&site).await;
    let _second = asked_once(&site).await;

    // when another comes, then it is served, and who had an answer first has gone.
    site.served().await;
    let mut rest = Vec::new();
    let gone = timeout(PATIENCE, first.read_to_end(&mut rest));
    assert!(gone.await.unwrap().is_ok_and(|read| read == 0));
}

#[tokio::test]
async fn an_answer_on_http_2_that_is_given_no_room_ends_its_connection() {
    // Given a client that answers pings and takes nothing of what it asks for,
    let site = site_with(Settings {
        stalled_for: Duration::from_millis(300),
        ..Settings::default()
    })
    .await;
    let stream = TcpStream::connect(site.at).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let mut client = hyper::client::conn::http2::Builder::new(executor);
    client.initial_stream_window_size(0);
    let (mut sender, connection) = client.handshake(io).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = hyper::Request::get("http://here/api-docs/openapi.json")
        .body(http_body_util::Empty::<bytes::Bytes>::new())
        .unwrap();
    let reply = sender.send_request(request).await.unwrap();
    assert_eq!(reply.status().as_u16(), 200);

    // then it is given up, and with it what the answer held.
    let ended = timeout(PATIENCE, connection).await;
    // In whatever way.
    let _ = ended.expect("the connection is given up").unwrap().is_ok();
    site.under_way(0).await;
    drop((reply, sender));
}

#[tokio::test]
async fn all_web_sites_at_once_are_none() {
    let site = site_with(Settings {
        origins: vec!["*".to_owned()],
        ..Settings::default()
    })
    .await;
    let asked = get("/health").header("Origin", "https://evil.example.org");
    let reply = site.send(asked).await.expect(200);
    assert_eq!(reply.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn one_user_does_not_take_all_places_for_archives() {
    // Given room for two archives, and one of each user,
    let site = site_with(Settings {
        most_archives: 2,
        most_archives_of_user: 1,
        ..Settings::default()
    })
    .await;
    let mut asks = Vec::new();
    // of files that fill more than what is on its way
    let noise: Vec<u8> = (0..30_000_000_u64)
        .map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
        .collect();
    for (user, number) in [("alice", 1), ("bob", 2)] {
        let task = site.master.put(user, number);
        site.master.start(&task, 1);
        site.master.end(&task, cloudai_model::TaskStatus::Completed);
        site.master.leave(&task, &[("noise", noise.as_slice())]);
        let token = site.token(user).await;
        asks.push(get(format!("/api/files/{task}/archive")).by(&token));
    }
    // when alice begins one and takes nothing of it,
    let mut slow = TcpStream::connect(site.at).await.unwrap();
    slow.write_all(&asks[0].bytes()).await.unwrap();
    let mut begun = [0; 12];
    slow.read_exact(&mut begun).await.unwrap();
    assert_eq!(&begun, b"HTTP/1.1 200");

    // then she has no second, and bob has his.
    let second = site.send(asks[0].clone()).await;
    second.expect_problem(503, "overloaded");
    site.send(asks[1].clone()).await.expect(200);
}
