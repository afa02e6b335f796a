//! Real WebSockets over real connections, with sources that a test writes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router, extract::State, extract::ws::Utf8Bytes, extract::ws::WebSocketUpgrade, routing,
};
use cloudai_metrics::Dropped;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, protocol::CloseFrame},
};

use super::{
    limited,
    session::{Ended, Patience, Permit, Source, run},
};

/// Long enough for a slow, shared machine.
const SOON: Duration = Duration::from_secs(30);

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Says how a test wants it.
#[derive(Clone)]
struct Script {
    patience: Patience,
    /// Whether it never runs dry.
    is_endless: bool,
    permit: Arc<AtomicBool>,
    closing: watch::Receiver<bool>,
    told: mpsc::UnboundedSender<Option<Dropped>>,
}

struct Scripted {
    left: usize,
    is_endless: bool,
}

impl Source for Scripted {
    async fn next(&mut self) -> Result<Utf8Bytes, Ended> {
        if self.is_endless {
            return Ok("x".repeat(64 << 10).into());
        }
        match self.left {
            0 => Err(Ended::Complete),
            // Waits for somebody to end it.
            usize::MAX => std::future::pending().await,
            _ => {
                self.left -= 1;
                Ok(format!("{}", self.left).into())
            }
        }
    }
}

impl Permit for Arc<AtomicBool> {
    fn holds(&self) -> bool {
        self.load(Ordering::Relaxed)
    }
}

struct Server {
    address: String,
    script: Script,
    close: watch::Sender<bool>,
    came: mpsc::UnboundedReceiver<Option<Dropped>>,
}

impl Server {
    async fn start(adjust: impl FnOnce(&mut Script)) -> Self {
        let (close, closing) = watch::channel(false);
        let (told, came) = mpsc::unbounded_channel();
        let mut script = Script {
            patience: Patience {
                ping_every: SOON,
                stalled_for: SOON,
            },
            is_endless: false,
            permit: Arc::new(AtomicBool::new(true)),
            closing,
            told,
        };
        adjust(&mut script);
        let serve = |left: usize| {
            routing::get(
                async move |State(script): State<Script>, upgrade: WebSocketUpgrade| {
                    limited(upgrade).on_upgrade(async move |socket| {
                        let source = Scripted {
                            left,
                            is_endless: script.is_endless,
                        };
                        let (permit, closing) = (script.permit.clone(), script.closing.clone());
                        let came = run(socket, source, permit, script.patience, closing).await;
                        let _ = script.told.send(came).is_ok();
                    })
                },
            )
        };
        let router = Router::new()
            .route("/three", serve(3))
            .route("/quiet", serve(usize::MAX))
            .with_state(script.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            address,
            script,
            close,
            came,
        }
    }

    async fn connect(&self, path: &str) -> Client {
        let url = format!("ws://{}{path}", self.address);
        connect_async(url).await.unwrap().0
    }

    /// What came of one WebSocket.
    async fn came_of_one(&mut self) -> Option<Dropped> {
        timeout(SOON, self.came.recv()).await.unwrap().unwrap()
    }
}

/// Everything until the last word: texts, and the code.
async fn read(client: &mut Client) -> (Vec<String>, Option<u16>) {
    let mut texts = Vec::new();
    loop {
        match timeout(SOON, client.next()).await.unwrap() {
            Some(Ok(Message::Text(text))) => texts.push(text.to_string()),
            Some(Ok(Message::Close(word))) => {
                return (texts, word.map(|CloseFrame { code, .. }| code.into()));
            }
            Some(Ok(_)) => {}
            None | Some(Err(_)) => return (texts, None),
        }
    }
}

#[tokio::test]
async fn what_there_is_comes_and_then_a_last_word() {
    let mut server = Server::start(|_| ()).await;
    let mut client = server.connect("/three").await;
    let (texts, code) = read(&mut client).await;
    assert_eq!(
        (texts.as_slice(), code),
        (["2", "1", "0"].map(String::from).as_slice(), Some(1000))
    );
    assert_eq!(server.came_of_one().await, None);
}

#[tokio::test]
async fn a_server_that_ends_says_so() {
    let mut server = Server::start(|_| ()).await;
    let mut client = server.connect("/quiet").await;
    server.close.send_replace(true);
    assert_eq!(read(&mut client).await.1, Some(1001));
    assert_eq!(server.came_of_one().await, None);
}

#[tokio::test]
async fn whoever_speaks_is_told_that_nothing_is_taken() {
    let mut server = Server::start(|_| ()).await;
    let mut client = server.connect("/quiet").await;
    client.send(Message::text("hello")).await.unwrap();
    assert_eq!(read(&mut client).await.1, Some(1008));
    assert_eq!(server.came_of_one().await, Some(Dropped::Broken));
}

#[tokio::test]
async fn whoever_does_nothing_but_ping_is_let_go() {
    let mut server = Server::start(|_| ()).await;
    let mut client = server.connect("/quiet").await;
    for _ in 0..=1000 {
        client
            .feed(Message::Ping(bytes::Bytes::new()))
            .await
            .unwrap();
    }
    client.flush().await.unwrap();
    assert_eq!(read(&mut client).await.1, Some(1008));
    assert_eq!(server.came_of_one().await, Some(Dropped::Broken));
}

#[tokio::test]
async fn a_message_that_is_too_large_is_not_waited_for() {
    let mut server = Server::start(|_| ()).await;
    let mut client = server.connect("/quiet").await;
    client
        .send(Message::text("x".repeat(64 << 10)))
        .await
        .unwrap();
    assert_eq!(read(&mut client).await.1, Some(1009));
    assert_eq!(server.came_of_one().await, Some(Dropped::Broken));
}

#[tokio::test]
async fn a_broken_frame_ends_it() {
    // Given a client that speaks the protocol as far as the upgrade,
    let mut server = Server::start(|_| ()).await;
    let mut stream = TcpStream::connect(&server.address).await.unwrap();
    let request = "GET /quiet HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = vec![0; 4096];
    let length = timeout(SOON, stream.read(&mut head))
        .await
        .unwrap()
        .unwrap();
    assert!(head[..length].starts_with(b"HTTP/1.1 101"));
    // when it sends a frame with bits that mean nothing,
    stream
        .write_all(&[0xff, 0x81, 1, 2, 3, 4, 5])
        .await
        .unwrap();
    // then it is told why it is let go.
    let mut rest = Vec::new();
    let _ = timeout(SOON, stream.read_to_end(&mut rest)).await.unwrap();
    let code = 1002_u16.to_be_bytes();
    assert!(rest.windows(2).any(|two| two == code), "{rest:?}");
    assert_eq!(server.came_of_one().await, Some(Dropped::Broken));
}

#[tokio::test]
async fn whoever_gives_no_sign_of_life_is_let_go() {
    let quick = Duration::from_millis(200);
    let mut server = Server::start(|script| script.patience.ping_every = quick).await;
    // Given one that answers pings, and one that doesn't look,
    let mut lively = server.connect("/quiet").await;
    let dead = server.connect("/quiet").await;
    let lively = tokio::spawn(async move { read(&mut lively).await.1 });
    // then the latter goes, and the former stays.
    assert_eq!(server.came_of_one().await, Some(Dropped::Silent));
    let mut dead = dead;
    assert_eq!(read(&mut dead).await.1, Some(4408));
    assert!(!lively.is_finished());
    server.close.send_replace(true);
    assert_eq!(lively.await.unwrap(), Some(1001));
}

#[tokio::test]
async fn whoever_doesn_t_read_is_dropped_and_others_don_t_notice() {
    let mut server = Server::start(|script| {
        script.is_endless = true;
        script.patience.stalled_for = Duration::from_millis(500);
    })
    .await;
    // Given a reader that reads, and one that doesn't,
    let mut reader = server.connect("/three").await;
    let _idle = server.connect("/three").await;
    let reading = tokio::spawn(async move {
        let mut bytes = 0;
        while let Some(Ok(message)) = reader.next().await {
            bytes += message.len();
        }
        bytes
    });
    // then that one is dropped, and the other has had all the while.
    assert_eq!(server.came_of_one().await, Some(Dropped::Slow));
    server.close.send_replace(true);
    assert!(timeout(SOON, reading).await.unwrap().unwrap() > 1 << 20);
}

#[tokio::test]
async fn a_token_that_has_ended_ends_what_was_opened_with_it() {
    let quick = Duration::from_millis(100);
    let mut server = Server::start(|script| script.patience.ping_every = quick).await;
    let mut client = server.connect("/quiet").await;
    server.script.permit.store(false, Ordering::Relaxed);
    assert_eq!(read(&mut client).await.1, Some(4401));
    assert_eq!(server.came_of_one().await, None);
}

#[tokio::test]
async fn a_client_that_goes_leaves_nothing() {
    let mut server = Server::start(|_| ()).await;
    let client = server.connect("/quiet").await;
    drop(client);
    assert_eq!(server.came_of_one().await, None);
}
