//! A client of the real server: requests, answers that go on, and bytes that are no request at all.

use std::{net::IpAddr, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    HeaderMap, Request,
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message, client::IntoClientRequest as _},
};

/// How long an answer may take before a test has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A request to be sent.
#[derive(Debug, Clone)]
pub struct Ask {
    method: &'static str,
    /// What is asked for, with its query.
    pub path: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

/// What was answered, whole.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// All of its body.
    pub body: Bytes,
}

/// A connection that is kept for one request after the other.
#[derive(Debug)]
pub struct Connection(SendRequest<Full<Bytes>>);

/// An answer that is read while it comes.
#[derive(Debug)]
pub struct Live {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    body: Incoming,
    read: Vec<u8>,
}

/// A GET of this path.
#[must_use]
pub fn get(path: impl Into<String>) -> Ask {
    Ask::new("GET", path)
}

/// A POST of this path.
#[must_use]
pub fn post(path: impl Into<String>) -> Ask {
    Ask::new("POST", path)
}

/// A PATCH of this path.
#[must_use]
pub fn patch(path: impl Into<String>) -> Ask {
    Ask::new("PATCH", path)
}

/// A DELETE of this path.
#[must_use]
pub fn delete(path: impl Into<String>) -> Ask {
    Ask::new("DELETE", path)
}

impl Ask {
    fn new(method: &'static str, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a token or a key.
    #[must_use]
    pub fn by(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    /// With a body of JSON.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.header("Content-Type", "application/json")
            .body(body.to_string())
    }

    /// With these bytes as its body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into().into();
        self
    }

    /// Sends it over a connection of its own and reads the answer whole.
    ///
    /// # Panics
    /// If none comes in time.
    pub async fn send(&self, to: &str) -> Reply {
        self.open(to).await.end().await
    }

    /// The same over a stream that is there already.
    ///
    /// # Panics
    /// As [`Self::send`].
    pub async fn send_over(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Reply {
        let mut connection = self.in_time(Connection::over(stream)).await;
        connection.open(self).await.end().await
    }

    /// Sends it over a connection of its own and reads the head of the answer.
    ///
    /// # Panics
    /// As [`Self::send`].
    pub async fn open(&self, to: &str) -> Live {
        let mut connection = self.in_time(Connection::open_to(to)).await;
        connection.open(self).await
    }

    async fn in_time<T>(&self, what: impl Future<Output = T>) -> T {
        let done = timeout(PATIENCE, what).await;
        done.unwrap_or_else(|_| panic!("no answer to {} {}", self.method, self.path))
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::builder().method(self.method).uri(&self.path);
        request = request.header("Host", "localhost");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(Full::new(self.body.clone())).unwrap()
    }
}

impl Connection {
    /// A connection to this address.
    ///
    /// # Panics
    /// If nobody listens there.
    pub async fn open_to(to: &str) -> Self {
        let stream = TcpStream::connect(to).await.expect("the server listens");
        Self::over(stream).await
    }

    /// The same from this one of the machine's addresses: clients are told apart by theirs.
    ///
    /// # Panics
    /// If it is none of the machine's, or nobody listens there.
    pub async fn open_from(from: IpAddr, to: &str) -> Self {
        let socket = TcpSocket::new_v4().expect("sockets can be had");
        socket
            .bind((from, 0).into())
            .expect("the address is the machine's");
        let to = to.parse().expect("an address of IPv4 with a port");
        let stream = socket.connect(to).await.expect("the server listens");
        // As whoever waits for an answer does.
        stream.set_nodelay(true).expect("it is a connection");
        Self::over(stream).await
    }

    async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        // It ends with the last answer; whatever is wrong with it is seen there.
        tokio::spawn(async move { connection.await.is_ok() });
        Self(sender)
    }

    /// Sends a request and reads the answer whole.
    ///
    /// # Panics
    /// If none comes in time, or the server has closed the connection.
    pub async fn ask(&mut self, ask: &Ask) -> Reply {
        self.open(ask).await.end().await
    }

    /// Sends a request and reads the head of the answer.
    ///
    /// # Panics
    /// As [`Self::ask`].
    pub async fn open(&mut self, ask: &Ask) -> Live {
        let exchange = async {
            self.0.ready().await.unwrap();
            self.0.send_request(ask.request()).await.unwrap()
        };
        let (head, body) = ask.in_time(exchange).await.into_parts();
        Live {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
            read: Vec::new(),
        }
    }
}

impl Live {
    /// What has come so far, as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.read).into_owned()
    }

    /// Reads until this has come.
    ///
    /// # Panics
    /// If it doesn't.
    pub async fn until(&mut self, wanted: &str) {
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

    /// The next bytes as they come, which are not kept; `None` at the end.
    ///
    /// # Panics
    /// If it breaks off, or nothing comes in time.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            let frame = timeout(PATIENCE, self.body.frame()).await;
            let frame = frame.expect("it goes on in time")?;
            if let Ok(data) = frame.expect("it goes on in order").into_data() {
                return Some(data);
            }
        }
    }

    /// Reads to the end.
    ///
    /// # Panics
    /// If it breaks off, or takes too long.
    pub async fn end(self) -> Reply {
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
    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Its body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Its body as JSON.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        let text = self.text();
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text:?}"))
    }

    /// Itself.
    ///
    /// # Panics
    /// If its status is another.
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// The problem that this must be.
    ///
    /// # Panics
    /// If it is another, or none.
    pub fn expect_problem(self, status: u16, code: &str) -> Self {
        let reply = self.expect(status);
        let problem = reply.json();
        let kind = reply.header("content-type");
        assert_eq!(kind, Some("application/problem+json"), "{problem}");
        assert_eq!(problem["code"], code, "{problem}");
        reply
    }

    /// A problem's body without what differs by request.
    ///
    /// # Panics
    /// If it doesn't name the request that it answers.
    #[must_use]
    pub fn nameless(&self) -> Value {
        let mut problem = self.json();
        let id = problem["request_id"].take();
        assert_eq!(id.as_str(), self.header("x-request-id"), "{problem}");
        problem
    }
}

/// Sends bytes, and reads whatever comes until the other side closes, in order or not.
///
/// # Panics
/// If it doesn't close in time.
pub async fn exchange(to: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(to).await.expect("the server listens");
    // A server that has refused need not read on.
    let _ = stream.write_all(bytes).await.is_ok();
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    let _ = read.expect("an answer in time").is_ok();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Events of a stream as name, id and data.
///
/// # Panics
/// If it is none.
#[must_use]
pub fn events(text: &str) -> Vec<(String, Option<String>, Value)> {
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

/// A WebSocket.
pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Opens a WebSocket.
///
/// # Errors
/// Status and body of a refusal.
///
/// # Panics
/// If nothing comes in time, or no HTTP.
pub async fn socket(to: &str, path: &str, token: &str) -> Result<Socket, (u16, Value)> {
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

/// The next message.
///
/// # Errors
/// The code of the last word.
///
/// # Panics
/// If nothing comes in time, or no JSON.
pub async fn next(socket: &mut Socket) -> Result<Value, u16> {
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
