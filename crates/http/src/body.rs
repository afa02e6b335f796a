//! A request's body: JSON, of some length at most, and in some time.

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

use crate::{Context, refusal::Refusal};

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

    /// A body that may be longer than others, as of a batch.
    pub(crate) async fn long(request: Request, context: &Context) -> Result<Self, Refusal>
    where
        T: Send + 'static,
    {
        let bytes = read(request, context.settings.most_batch_bytes, context).await?;
        // Thousands of tasks take some milliseconds that nobody else shall wait for.
        let parsed = tokio::task::spawn_blocking(move || Self::of(&bytes));
        parsed
            .await
            .unwrap_or_else(|error| Err(Refusal::internal(&error)))
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

async fn read(request: Request, most: usize, context: &Context) -> Result<Bytes, Refusal> {
    check_kind(request.headers())?;
    let within = context.settings.body_within;
    let body = collect(request.into_body(), most);
    match tokio::time::timeout(within, body).await {
        Ok(body) => body,
        Err(_) => Err(Refusal::new(
            Code::RequestTimeout,
            format!("the body did not come within {} s", within.as_secs()),
        )),
    }
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

async fn collect(mut body: Body, most: usize) -> Result<Bytes, Refusal> {
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
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes.freeze())
}
