//! A request's body: JSON, of some length at most, in some time, and of all bodies together not too much.

use std::{ops::Deref, sync::Arc};

use axum::{
    body::{Body, HttpBody as _},
    extract::{FromRequest, Request},
    http::{HeaderMap, header},
};
use bytes::{Bytes, BytesMut};
use cloudai_api::{Code, FromJson, Mistakes, parse};
use http_body_util::BodyExt as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Context, Settings, context::Peer, frame::Turn, refusal::Refusal, shares::Shares};

/// A body that could be read.
#[derive(Debug)]
pub(crate) struct Json<T> {
    pub(crate) value: T,
    /// SHA-256 of its bytes.
    pub(crate) digest: [u8; 32],
}

impl<T: FromJson> FromRequest<Context> for Json<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, context: &Context) -> Result<Self, Refusal> {
        let bytes = read(request, context.settings.most_body_bytes, context).await?;
        Self::of(&bytes)
    }
}

impl<T: FromJson> Json<T> {
    fn of(bytes: &[u8]) -> Result<Self, Refusal> {
        Ok(Self {
            value: parse(bytes)?,
            digest: Sha256::digest(bytes).into(),
        })
    }

    /// A body that may be longer than others, as of a batch; and what lets the next one be read when it
    /// is dropped.
    pub(crate) async fn long(
        request: Request,
        context: &Context,
    ) -> Result<(Self, Reading), Refusal>
    where
        T: Send + 'static,
    {
        let bytes = read(request, context.settings.most_batch_bytes, context).await?;
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
    places: Shares<Option<Peer>>,
    /// For what is not free, in units of [`UNIT`].
    room: Arc<Semaphore>,
}

/// The first bytes of a body need no room, so that large ones of others don't keep it out.
const FREE: usize = 64 << 10;
/// What room is counted in.
const UNIT: usize = 64 << 10;

impl Bodies {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            places: Shares::new(settings.most_bodies, settings.most_bodies_of_address),
            room: Arc::new(Semaphore::new(settings.most_bytes_of_bodies / UNIT)),
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
#[derive(Default)]
struct Room(Option<OwnedSemaphorePermit>);

impl Room {
    /// Room for so many bytes in all.
    fn grow(&mut self, bodies: &Bodies, bytes: usize) -> Result<(), Refusal> {
        let wanted = bytes.saturating_sub(FREE).div_ceil(UNIT);
        let held = self.0.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = u32::try_from(wanted.saturating_sub(held)).unwrap_or(u32::MAX);
        if more == 0 {
            return Ok(());
        }
        let more = bodies.room.clone().try_acquire_many_owned(more);
        let more = more.map_err(|_| {
            let detail = "there is no room for a body of this length: try again in a moment";
            Refusal::new(Code::Overloaded, detail)
        })?;
        match &mut self.0 {
            Some(held) => held.merge(more),
            held => *held = Some(more),
        }
        Ok(())
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

impl<T: FromJson> FromRequest<Context> for OptionalJson<T> {
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

async fn read(request: Request, most: usize, context: &Context) -> Result<Whole, Refusal> {
    check_kind(request.headers())?;
    let from = request.extensions().get::<Peer>().copied();
    let place = context.bodies.places.take(&from);
    let place = place.map_err(|full| Refusal::full(full, "bodies are on their way"))?;
    let turn = request.extensions().get::<Turn>().cloned();
    if let Some(turn) = &turn {
        turn.lay_down();
    }
    let within = context.settings.body_within;
    let body = collect(request.into_body(), most, &context.bodies);
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

async fn collect(mut body: Body, most: usize, bodies: &Bodies) -> Result<Whole, Refusal> {
    let too_large = || {
        let detail = format!("expected a body of at most {most} bytes");
        Refusal::new(Code::TooLarge, detail)
    };
    if body.size_hint().lower() > most as u64 {
        // By its own word; not a byte of it is read.
        return Err(too_large());
    }
    let (mut bytes, mut room) = (BytesMut::new(), Room::default());
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
            room.grow(bodies, bytes.len() + data.len())?;
            bytes.extend_from_slice(&data);
        }
    }
    Ok(Whole {
        bytes: bytes.freeze(),
        _room: room,
    })
}
