//! A request's body: JSON, of some length at most, in some time, and of all bodies together not too much.

use std::{net::IpAddr, ops::Deref, sync::Arc};

use axum::{
    body::{Body, HttpBody as _},
    extract::{FromRequest, MatchedPath, Request},
    http::{HeaderMap, header},
};
use bytes::{Bytes, BytesMut};
use cloudai_api::{Code, FromJson, Mistakes, parse};
use cloudai_model::UserName;
use http_body_util::BodyExt as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    Context, Settings,
    context::Peer,
    frame::Turn,
    refusal::Refusal,
    server::doorway::share_of,
    shares::{Full, Share, Shares},
};

/// A body that could be read.
#[derive(Debug)]
pub(crate) struct Json<T> {
    pub(crate) value: T,
    /// SHA-256 of its bytes.
    pub(crate) digest: [u8; 32],
}

impl<T: FromJson + Send + 'static> FromRequest<Context> for Json<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, context: &Context) -> Result<Self, Refusal> {
        let path = request.extensions().get::<MatchedPath>();
        let is_open = path.is_some_and(|path| OPEN.contains(&path.as_str()));
        let most = context.settings.most_body_bytes;
        let most = if is_open { most.min(FREE) } else { most };
        let bytes = read(request, most, None, context).await?;
        if bytes.len() <= FREE {
            return Self::of(&bytes);
        }
        // A long one takes some milliseconds that nobody else shall wait for.
        let parsed = tokio::task::spawn_blocking(move || Self::of(&bytes));
        parsed
            .await
            .unwrap_or_else(|error| Err(Refusal::internal(&error)))
    }
}

impl<T: FromJson> Json<T> {
    fn of(bytes: &[u8]) -> Result<Self, Refusal> {
        Ok(Self {
            value: parse(bytes)?,
            digest: Sha256::digest(bytes).into(),
        })
    }

    /// A body of `user` that may be longer than others, as of a batch; and what lets the next one be read when it
    /// is dropped.
    pub(crate) async fn long(
        request: Request,
        user: &UserName,
        context: &Context,
    ) -> Result<(Self, Reading), Refusal>
    where
        T: Send + 'static,
    {
        let bytes = read(
            request,
            context.settings.most_batch_bytes,
            Some(user),
            context,
        )
        .await?;
        let reading = context.batches.reading().await;
        // Thousands of tasks take some milliseconds that nobody else shall wait for. Whoever goes
        // meanwhile doesn't end it: so it holds on to what counts it.
        let parsed = tokio::task::spawn_blocking(move || Ok((Self::of(&bytes)?, reading)));
        parsed
            .await
            .unwrap_or_else(|error| Err(Refusal::internal(&error)))
    }
}

/// What all bodies that are on their way share.
#[derive(Clone)]
pub(crate) struct Bodies {
    places: Shares<Option<IpAddr>>,
    /// For what is not free, in units of [`UNIT`], by address.
    room: Shares<Option<IpAddr>>,
    /// The same by user.
    room_of_users: Shares<UserName>,
}

/// Where whoever is not known yet may send a body. It is short: nobody else's room is taken for it.
const OPEN: [&str; 2] = ["/api/auth/login", "/api/auth/register"];

/// The first bytes of a body need no room, so that large ones of others don't keep it out.
const FREE: usize = 64 << 10;
/// What room is counted in.
const UNIT: usize = 64 << 10;

impl Bodies {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            places: Shares::new(settings.most_bodies, settings.most_bodies_of_address),
            room: Shares::new(
                settings.most_bytes_of_bodies / UNIT,
                settings.most_bytes_of_bodies_of_address / UNIT,
            ),
            room_of_users: Shares::new(
                settings.most_bytes_of_bodies / UNIT,
                settings.most_bytes_of_batches_of_user / UNIT,
            ),
        }
    }
}

/// A body, and the room that it takes until this is dropped.
struct Whole {
    bytes: Bytes,
    _room: Room,
}

impl Deref for Whole {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The room of one body.
struct Room {
    of_address: Share<Option<IpAddr>>,
    of_user: Option<Share<UserName>>,
}

impl Room {
    /// Room for so many bytes in all.
    fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        let units = bytes.saturating_sub(FREE).div_ceil(UNIT);
        let of_user = self.of_user.as_mut();
        let grown = of_user.map_or(Ok(()), |share| share.grow_to(units));
        let grown = grown.and_then(|()| self.of_address.grow_to(units));
        grown.map_err(|full| {
            let detail = match full {
                Full::All(_) => {
                    "there is no room for a body of this length: try again in a moment".to_owned()
                }
                Full::Own(units) => {
                    let most = units * UNIT;
                    format!("bodies of whoever asks may take {most} bytes at a time: try again when one has been read")
                }
            };
            Refusal::new(Code::Overloaded, detail)
        })
    }
}

/// How many batches are read at a time, and how many of their tasks are on their way to the core.
#[derive(Clone)]
pub(crate) struct Batches {
    reading: Arc<Semaphore>,
    tasks: Arc<Semaphore>,
    most_tasks: usize,
}

/// Batches that are read at a time: it takes a processor each, and many times their length.
const MOST_READ: usize = 4;

/// A batch that is being read, until this is dropped.
pub(crate) struct Reading {
    _turn: Option<OwnedSemaphorePermit>,
}

/// Tasks that are on their way, until this is dropped.
pub(crate) struct OnTheirWay {
    _tasks: Option<OwnedSemaphorePermit>,
}

impl Batches {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            reading: Arc::new(Semaphore::new(MOST_READ)),
            tasks: Arc::new(Semaphore::new(settings.most_tasks_of_batches)),
            most_tasks: settings.most_tasks_of_batches,
        }
    }

    async fn reading(&self) -> Reading {
        // Neither is ever closed.
        let turn = self.reading.clone().acquire_owned().await;
        Reading { _turn: turn.ok() }
    }

    /// Waits until so many tasks may be on their way, too.
    pub(crate) async fn tasks(&self, count: usize) -> OnTheirWay {
        let count = u32::try_from(count.min(self.most_tasks)).unwrap_or(u32::MAX);
        let tasks = self.tasks.clone().acquire_many_owned(count).await;
        OnTheirWay { _tasks: tasks.ok() }
    }
}

/// A body that may be missing.
#[derive(Debug)]
pub(crate) struct OptionalJson<T>(pub(crate) Option<T>);

impl<T: FromJson + Send + 'static> FromRequest<Context> for OptionalJson<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, context: &Context) -> Result<Self, Refusal> {
        if request.body().is_end_stream() {
            return Ok(Self(None));
        }
        let json: Json<Nullable<T>> = Json::from_request(request, context).await?;
        Ok(Self(json.value.0))
    }
}

/// A body that may be `null`.
struct Nullable<T>(Option<T>);

impl<T: FromJson> FromJson for Nullable<T> {
    fn from_json(value: Value, at: &str, mistakes: &mut Mistakes) -> Option<Self> {
        match value {
            Value::Null => Some(Self(None)),
            value => T::from_json(value, at, mistakes).map(|value| Self(Some(value))),
        }
    }
}

async fn read(
    request: Request,
    most: usize,
    user: Option<&UserName>,
    context: &Context,
) -> Result<Whole, Refusal> {
    check_kind(request.headers())?;
    let peer = request.extensions().get::<Peer>();
    // This machine's own, of whom nobody can say more, share what one address may have.
    let from = peer.and_then(|Peer(address)| share_of(*address));
    let bodies = &context.bodies;
    let room = Room {
        of_address: bodies.room.none_yet(&from),
        of_user: user.map(|user| bodies.room_of_users.none_yet(user)),
    };
    let place = bodies.places.take(&from);
    let place = place.map_err(|full| Refusal::full(full, "bodies are on their way"))?;
    let turn = request.extensions().get::<Turn>().cloned();
    if let Some(turn) = &turn {
        turn.lay_down();
    }
    let within = context.settings.body_within;
    let body = collect(request.into_body(), most, room);
    let body = tokio::time::timeout(within, body).await.map_err(|_| {
        let within = within.as_secs();
        let detail = format!("the body did not come within {within} s");
        Refusal::new(Code::RequestTimeout, detail)
    })?;
    drop(place);
    if let Some(turn) = &turn {
        turn.take().await?;
    }
    body
}

fn check_kind(headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let kind = text(header::CONTENT_TYPE).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    let is_json = essence.eq_ignore_ascii_case("application/json");
    let coding = headers.get(header::CONTENT_ENCODING);
    if is_json && coding.is_none_or(|coding| coding == "identity") {
        return Ok(());
    }
    Err(Refusal::new(
        Code::UnsupportedMediaType,
        "expected `Content-Type: application/json`, and no Content-Encoding",
    ))
}

async fn collect(mut body: Body, most: usize, mut room: Room) -> Result<Whole, Refusal> {
    let too_large = || {
        let detail = format!("expected a body of at most {most} bytes");
        Refusal::new(Code::TooLarge, detail)
    };
    if body.size_hint().lower() > most as u64 {
        // By its own word; not a byte of it is read.
        return Err(too_large());
    }
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| {
            Refusal::new(
                Code::BadRequest,
                "the body broke off, or is not framed as HTTP has it",
            )
        })?;
        // Trailers say nothing here.
        if let Ok(data) = frame.into_data() {
            if bytes.len() + data.len() > most {
                return Err(too_large());
            }
            room.grow(bytes.len() + data.len())?;
            bytes.extend_from_slice(&data);
        }
    }
    Ok(Whole {
        bytes: bytes.freeze(),
        _room: room,
    })
}
