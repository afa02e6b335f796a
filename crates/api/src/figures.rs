//! Amounts and times as JSON has them: GB, cores and seconds as numbers, times as RFC 3339.

use std::time::Duration;

use cloudai_model::{Wall, resources::bytes_to_gb};
use serde::{Serialize, Serializer};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{KnownFormat, ObjectBuilder, SchemaFormat, SchemaType, Type},
    },
};

/// An instant: RFC 3339 in UTC with milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Wall);

impl Time {
    /// The instant, if there is one.
    #[must_use]
    pub fn of(at: Option<Wall>) -> Option<Self> {
        at.map(Self)
    }
}

impl From<Wall> for Time {
    fn from(at: Wall) -> Self {
        Self(at)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl PartialSchema for Time {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .description(Some("RFC 3339 in UTC with milliseconds."))
            .examples(["2026-01-31T08:00:00.250Z"])
            .into()
    }
}

impl ToSchema for Time {}

/// The schema of a text that is one of these words.
pub(crate) fn words<'a>(all: impl IntoIterator<Item = &'a str>) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(all))
}

/// The same of one that may be null.
pub(crate) fn words_or_null<'a>(all: impl IntoIterator<Item = &'a str>) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .enum_values(Some(all.into_iter().map(Some).chain([None])))
}

/// In GB, without the digits that only come of counting in bytes.
#[must_use]
pub fn gb(bytes: u64) -> f64 {
    rounded(bytes_to_gb(bytes))
}

/// Without digits that nobody asked for.
#[must_use]
pub fn rounded(gb: f64) -> f64 {
    (gb * 1e9).round() / 1e9
}

/// Cores or devices of thousandths.
pub(crate) fn of_milli(milli: u64) -> f64 {
    milli as f64 / 1000.0
}

pub(crate) fn seconds(span: Option<Duration>) -> Option<f64> {
    span.map(|span| span.as_secs_f64())
}
