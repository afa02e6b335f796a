//! A client of the real server: requests, answers that go on, and bytes that are no request at all.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::{BodyExt as _, Full};
use hyper::{HeaderMap, Request, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message, client::IntoClientRequest as _},
};

/// How long an answer may take before a test has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A request to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    method: &'static str,
    pub(crate) path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// What was answered, whole.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// An answer that is read while it comes.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    body: Incoming,
    read: Vec<u8>,
}

pub(crate) fn get(path: impl Into<String>) -> Ask {
    Ask::new("GET", path)
}

pub(crate) fn post(path: impl Into<String>) -> Ask {
    Ask::new("POST", path)
}

pub(crate) fn patch(path: impl Into<String>) -> Ask {
    Ask::new("PATCH", path)
}

pub(crate) fn delete(path: impl Into<String>) -> Ask {
    Ask::new("DELETE", path)
}

impl Ask {
    fn new(method: &'static str, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a token or a key.
    pub(crate) fn by(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.header("Content-Type", "application/json")
            .body(body.to_string())
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends it and reads the answer whole.
    pub(crate) async fn send(&self, to: &str) -> Reply {
        self.open(to).await.end().await
    }

    /// The same over a connection that is there already.
    pub(crate) async fn send_over(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Reply {
        self.open_over(stream).await.end().await
    }

    /// Sends it and reads the head of the answer.
    pub(crate) async fn open(&self, to: &str) -> Live {
        let stream = TcpStream::connect(to).await.expect("the server listens");
        self.open_over(stream).await
    }

    async fn open_over(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Live {
        let exchange = async {
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
            // It ends with the answer; whatever is wrong with it is seen there.
            tokio::spawn(async move { connection.await.is_ok() });
            let mut request = Request::builder().method(self.method).uri(&self.path);
            request = request.header("Host", "localhost");
            for (name, value) in &self.headers {
                request = request.header(name, value);
            }
            let body = Full::new(Bytes::from(self.body.clone()));
            let request = request.body(body).unwrap();
            sender.send_request(request).await.unwrap()
        };
        let what = format!("{} {}", self.method, self.path);
        let answer = timeout(PATIENCE, exchange).await;
        let (head, body) = answer.expect(&what).into_parts();
        Live {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
            read: Vec::new(),
        }
    }
}

impl Live {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.read).into_owned()
    }

    /// Reads until this has come.
    pub(crate) async fn until(&mut self, wanted: &str) {
        let reading = timeout(PATIENCE, async {
            while !self.text().contains(wanted) {
                let frame = self.body.frame().await;
                let frame = frame.unwrap_or_else(|| panic!("it ended before {wanted:?}"));
                self.read.extend(frame.unwrap().into_data().unwrap());
            }
        });
        if reading.await.is_err() {
            panic!("no {wanted:?} in {}", self.text());
        }
    }

    /// Reads to the end.
    pub(crate) async fn end(self) -> Reply {
        let Self {
            status,
            headers,
            body,
            mut read,
        } = self;
        let rest = timeout(PATIENCE, body.collect()).await;
        let rest = rest.expect("it ends in time").expect("it ends in order");
        read.extend(rest.to_bytes());
        Reply {
            status,
            headers,
            body: read.into(),
        }
    }
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        let text = self.text();
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text:?}"))
    }

    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// The problem that this must be.
    pub(crate) fn expect_problem(self, status: u16, code: &str) -> Self {
        let reply = self.expect(status);
        let problem = reply.json();
        let kind = reply.header("content-type");
        assert_eq!(kind, Some("application/problem+json"), "{problem}");
        assert_eq!(problem["code"], code, "{problem}");
        reply
    }

    /// A problem's body without what differs by request.
    pub(crate) fn nameless(&self) -> Value {
        let mut problem = self.json();
        let id = problem["request_id"].take();
        assert_eq!(id.as_str(), self.header("x-request-id"), "{problem}");
        problem
    }
}

/// Sends bytes, and reads whatever comes until the other side closes, in order or not.
pub(crate) async fn exchange(to: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(to).await.expect("the server listens");
    // A server that has refused need not read on.
    let _ = stream.write_all(bytes).await.is_ok();
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    let _ = read.expect("an answer in time").is_ok();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Events of a stream as name, id and data.
pub(crate) fn events(text: &str) -> Vec<(String, Option<String>, Value)> {
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

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Opens a WebSocket; else the status and the body of the refusal.
pub(crate) async fn socket(to: &str, path: &str, token: &str) -> Result<Socket, (u16, Value)> {
    let mut request = format!("ws://{to}{path}").into_client_request().unwrap();
    let bearer = format!("Bearer {token}").parse().unwrap();
    request.headers_mut().insert("authorization", bearer);
    match timeout(PATIENCE, connect_async(request)).await.unwrap() {
        Ok((client, _)) => Ok(client),
        Err(Error::Http(refused)) => {
            let body = refused.body().clone().unwrap_or_default();
            let mut problem: Value = serde_json::from_slice(&body).unwrap_or_default();
            problem["request_id"] = Value::Null;
            Err((refused.status().as_u16(), problem))
        }
        Err(error) => panic!("{error}"),
    }
}

/// The next message, or the code of the last word.
pub(crate) async fn next(socket: &mut Socket) -> Result<Value, u16> {
    loop {
        match timeout(PATIENCE, socket.next())
            .await
            .expect("a message in time")
        {
            Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
            Some(Ok(Message::Close(word))) => return Err(word.unwrap().code.into()),
            Some(Ok(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}
