//! Between values of the model and fields of a document.

use std::{collections::BTreeMap, fmt::Display, str::FromStr, time::Duration};

use cloudai_model::Wall;
use mongodb::bson::{Array, Bson, DateTime, Document};

use crate::ReadError;

/// What Go writes for a time that was never set: the first of January of the year 1.
const UNSET_IN_GO: Wall = Wall(-62_135_596_800_000);

/// A number without sign as the same 64 bits with one, so that no value is ever refused.
pub(crate) fn bits(number: u64) -> Bson {
    Bson::Int64(number.cast_signed())
}

/// A span in nanoseconds; 584 years if it is longer.
pub(crate) fn nanos(span: Duration) -> Bson {
    bits(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
}

/// A date, exact to the millisecond; but the one that Go takes for none is moved by one, so that
/// it is read back as a date.
pub(crate) fn date(at: Wall) -> Bson {
    let at = if at == UNSET_IN_GO { at.0 + 1 } else { at.0 };
    Bson::DateTime(DateTime::from_millis(at))
}

/// Null if there is none: a state that is set must also take away what was there.
pub(crate) fn if_any<T>(value: Option<T>, field: impl FnOnce(T) -> Bson) -> Bson {
    value.map_or(Bson::Null, field)
}

/// Names and values as a list of pairs.
pub(crate) fn pairs(map: &BTreeMap<String, String>) -> Bson {
    let pair = |(name, value): (&String, &String)| {
        Bson::Array(vec![name.as_str().into(), value.as_str().into()])
    };
    Bson::Array(map.iter().map(pair).collect())
}

/// Takes fields out of a document, and can name the one that is wrong. A null is a missing field.
pub(crate) struct Fields<'d> {
    collection: &'static str,
    document: &'d Document,
}

impl<'d> Fields<'d> {
    pub(crate) fn new(collection: &'static str, document: &'d Document) -> Self {
        Self {
            collection,
            document,
        }
    }

    /// Why a field can't be read.
    pub(crate) fn unreadable(&self, field: &'static str, problem: impl Display) -> ReadError {
        let key = match self.document.get("_id") {
            Some(Bson::String(id)) => id.clone(),
            Some(other) => other.to_string(),
            None => "?".to_owned(),
        };
        ReadError::Unreadable {
            table: self.collection,
            key,
            column: field,
            problem: problem.to_string(),
        }
    }

    /// What must be there.
    pub(crate) fn must<T>(
        &self,
        field: &'static str,
        read: impl FnOnce(&Self, &'static str) -> Result<Option<T>, ReadError>,
    ) -> Result<T, ReadError> {
        read(self, field)?.ok_or_else(|| self.unreadable(field, "it is missing"))
    }

    pub(crate) fn has(&self, field: &str) -> bool {
        self.get(field).is_some()
    }

    fn get(&self, field: &str) -> Option<&'d Bson> {
        match self.document.get(field) {
            Some(Bson::Null | Bson::Undefined) | None => None,
            Some(value) => Some(value),
        }
    }

    fn expected(&self, field: &'static str, what: &str, found: &Bson) -> ReadError {
        let found = format!("{:?}", found.element_type());
        self.unreadable(field, format!("expected {what}, found {found}"))
    }

    pub(crate) fn text(&self, field: &'static str) -> Result<Option<String>, ReadError> {
        match self.get(field) {
            None => Ok(None),
            Some(Bson::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(self.expected(field, "text", other)),
        }
    }

    /// Text that is read as one of the model's types.
    pub(crate) fn parsed<T: FromStr<Err: Display>>(
        &self,
        field: &'static str,
    ) -> Result<Option<T>, ReadError> {
        self.text(field)?
            .map(|text| text.parse().map_err(|error| self.unreadable(field, error)))
            .transpose()
    }

    /// A whole number. Other programs write small ones with 32 bits, or as real ones.
    pub(crate) fn whole(&self, field: &'static str) -> Result<Option<i64>, ReadError> {
        match self.get(field) {
            None => Ok(None),
            Some(Bson::Int64(number)) => Ok(Some(*number)),
            Some(Bson::Int32(number)) => Ok(Some(i64::from(*number))),
            #[expect(
                clippy::cast_possible_truncation,
                reason = "whole, and far from the ends"
            )]
            Some(Bson::Double(real)) if real.fract() == 0.0 && real.abs() < 1e15 => {
                Ok(Some(*real as i64))
            }
            Some(other) => Err(self.expected(field, "a whole number", other)),
        }
    }

    /// A whole number of a narrower type.
    pub(crate) fn small<T: TryFrom<i64>>(
        &self,
        field: &'static str,
    ) -> Result<Option<T>, ReadError> {
        self.whole(field)?
            .map(|number| {
                T::try_from(number)
                    .map_err(|_| self.unreadable(field, format!("{number} is out of range")))
            })
            .transpose()
    }

    /// A number without sign.
    pub(crate) fn count(&self, field: &'static str) -> Result<Option<u64>, ReadError> {
        Ok(self.whole(field)?.map(i64::cast_unsigned))
    }

    pub(crate) fn real(&self, field: &'static str) -> Result<Option<f64>, ReadError> {
        match self.get(field) {
            None => Ok(None),
            Some(Bson::Double(real)) => Ok(Some(*real)),
            Some(Bson::Int32(number)) => Ok(Some(f64::from(*number))),
            #[expect(clippy::cast_precision_loss, reason = "an amount in cores or GB")]
            Some(Bson::Int64(number)) => Ok(Some(*number as f64)),
            Some(other) => Err(self.expected(field, "a number", other)),
        }
    }

    pub(crate) fn flag(&self, field: &'static str) -> Result<Option<bool>, ReadError> {
        match self.get(field) {
            None => Ok(None),
            Some(Bson::Boolean(flag)) => Ok(Some(*flag)),
            Some(other) => Err(self.expected(field, "true or false", other)),
        }
    }

    /// So many bytes.
    pub(crate) fn bytes<const N: usize>(
        &self,
        field: &'static str,
    ) -> Result<Option<[u8; N]>, ReadError> {
        match self.get(field) {
            None => Ok(None),
            Some(Bson::Binary(binary)) => {
                let bytes = binary.bytes.as_slice().try_into();
                let found = binary.bytes.len();
                let problem = |_| format!("expected {N} bytes, found {found}");
                bytes
                    .map(Some)
                    .map_err(|error| self.unreadable(field, problem(error)))
            }
            Some(other) => Err(self.expected(field, "bytes", other)),
        }
    }

    /// A date, or Unix seconds.
    pub(crate) fn wall(&self, field: &'static str) -> Result<Option<Wall>, ReadError> {
        let at = match self.get(field) {
            None => return Ok(None),
            Some(Bson::DateTime(at)) => Wall(at.timestamp_millis()),
            Some(_) => match self.whole(field)? {
                Some(seconds) => Wall(seconds.saturating_mul(1000)),
                None => return Ok(None),
            },
        };
        Ok((at != UNSET_IN_GO).then_some(at))
    }

    /// Nanoseconds.
    pub(crate) fn span(&self, field: &'static str) -> Result<Option<Duration>, ReadError> {
        Ok(self.count(field)?.map(Duration::from_nanos))
    }

    pub(crate) fn list(&self, field: &'static str) -> Result<Option<&'d Array>, ReadError> {
        match self.get(field) {
            None => Ok(None),
            Some(Bson::Array(list)) => Ok(Some(list)),
            Some(other) => Err(self.expected(field, "a list", other)),
        }
    }

    pub(crate) fn texts(&self, field: &'static str) -> Result<Option<Vec<String>>, ReadError> {
        let Some(list) = self.list(field)? else {
            return Ok(None);
        };
        let text = |item: &Bson| {
            let text = item.as_str().map(str::to_owned);
            text.ok_or_else(|| self.expected(field, "a list of texts", item))
        };
        list.iter().map(text).collect::<Result<_, _>>().map(Some)
    }

    pub(crate) fn document(&self, field: &'static str) -> Result<Option<&'d Document>, ReadError> {
        match self.get(field) {
            None => Ok(None),
            Some(Bson::Document(document)) => Ok(Some(document)),
            Some(other) => Err(self.expected(field, "a document", other)),
        }
    }

    /// Names and values: a list of pairs, or, as others write it, a document.
    pub(crate) fn map(&self, field: &'static str) -> Result<BTreeMap<String, String>, ReadError> {
        let pair = |item: &Bson| match item.as_array().map(Vec::as_slice) {
            Some([Bson::String(name), Bson::String(value)]) => Ok((name.clone(), value.clone())),
            _ => Err(self.expected(field, "pairs of texts", item)),
        };
        match self.get(field) {
            None => Ok(BTreeMap::new()),
            Some(Bson::Array(list)) => list.iter().map(pair).collect(),
            Some(Bson::Document(document)) => document
                .iter()
                .map(|(name, value)| match value {
                    Bson::String(value) => Ok((name.clone(), value.clone())),
                    other => Err(self.expected(field, "texts", other)),
                })
                .collect(),
            Some(other) => Err(self.expected(field, "names and values", other)),
        }
    }
}
