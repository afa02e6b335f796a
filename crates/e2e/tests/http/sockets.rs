//! WebSocket frames that are too large, broken, or meant for nobody.

use futures_util::SinkExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    Site,
    web::{PATIENCE, get, next, socket},
};

/// Opens a WebSocket by hand, sends these bytes behind it, and reads to the end of the connection:
/// the code of the server's last word, if it had one.
async fn sent(site: &Site, token: &str, bytes: &[u8]) -> Option<u16> {
    let mut stream = TcpStream::connect(site.at()).await.unwrap();
    let request = format!(
        "GET /ws/telemetry HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Authorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut told = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut told)).await;
    let _ = read.expect("it ends in time").is_ok();
    let begin = told
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .expect("an answer")
        + 4;
    assert!(
        told.starts_with(b"HTTP/1.1 101"),
        "{}",
        String::from_utf8_lossy(&told)
    );
    let mut rest = &told[begin..];
    // The server's frames are whole and without a mask.
    while let [kind, length, ..] = *rest {
        let (length, head) = match length {
            126 => (usize::from(u16::from_be_bytes([rest[2], rest[3]])), 4),
            127 => panic!("no message is that long"),
            length => (usize::from(length), 2),
        };
        if kind == 0x88 {
            return Some(u16::from_be_bytes([rest[head], rest[head + 1]]));
        }
        rest = &rest[head + length..];
    }
    None
}

/// A frame of a client, with a mask of zeros.
fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    match u16::try_from(payload.len()) {
        Ok(length) if length < 126 => bytes.push(0x80 | length as u8),
        Ok(length) => {
            bytes.push(0x80 | 126);
            bytes.extend(length.to_be_bytes());
        }
        Err(_) => {
            bytes.push(0x80 | 127);
            bytes.extend((payload.len() as u64).to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_is_too_large_or_broken_ends_that_socket_with_a_code_and_no_other() {
    let site = Site::with_worker().await;
    let alice = site.user("alice").await;
    let mut watcher = socket(site.at(), "/ws/telemetry", &alice).await.unwrap();
    next(&mut watcher).await.unwrap();
    let mut unmasked = frame(0x81, b"hello");
    unmasked[1] &= 0x7f;
    // By its own word it has 2^62 bytes, and none of them comes.
    let announced = [&[0x82, 0xff][..], &(1_u64 << 62).to_be_bytes(), &[0; 4]].concat();
    let endless = [frame(0x02, &[0; 3000]), frame(0x00, &[0; 3000])].concat();
    for (what, bytes, code) in [
        ("a text", frame(0x81, b"hello"), 1008),
        ("bytes", frame(0x82, b"hello"), 1008),
        ("a large message", frame(0x82, &[0; 5000]), 1009),
        ("one of a megabyte", frame(0x82, &vec![0; 1 << 20]), 1009),
        ("one that is announced", announced, 1009),
        ("a large one in parts", endless, 1009),
        ("one without a mask", unmasked, 1002),
        ("reserved bits", frame(0xf1, b"hello"), 1002),
        ("a kind that there isn't", frame(0x83, b"hello"), 1002),
        ("a ping in parts", frame(0x09, b"hello"), 1002),
        ("a long ping", frame(0x89, &[0; 126]), 1002),
        ("a part of nothing", frame(0x80, b"hello"), 1002),
    ] {
        assert_eq!(sent(&site, &alice, &bytes).await, Some(code), "{what}");
    }
    // A text that is none; it may be refused for being one.
    let odd = sent(&site, &alice, &frame(0x81, b"\xff\xfe")).await;
    assert!(
        [Some(1002), Some(1007), Some(1008)].contains(&odd),
        "{odd:?}"
    );
    // Who asks for a sign of life gets one; others go on being told.
    watcher
        .send(Message::Ping(bytes::Bytes::from_static(b"here?")))
        .await
        .unwrap();
    site.submit(&alice, "sleep 600").await;
    assert_eq!(next(&mut watcher).await.unwrap()["type"], "changes");
    let counted = get("/metrics").send(site.at()).await.expect(200).text();
    let line = "cloudai_websocket_dropped_total{reason=\"broken\"} ";
    let dropped = counted
        .lines()
        .find_map(|it| it.strip_prefix(line))
        .unwrap();
    assert!(dropped.parse::<f64>().unwrap() >= 12.0, "{dropped}");
    site.cluster.end().await;
}
