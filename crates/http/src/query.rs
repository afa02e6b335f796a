//! The parameters of a query, and the names in a path.

use std::{collections::BTreeMap, fmt, str::FromStr};

use axum::{
    extract::{FromRequestParts, Path},
    http::{Uri, request::Parts},
};
use cloudai_api::{Cursor, Mistake, Problem};
use cloudai_model::{Wall, rfc3339};
use serde::de::DeserializeOwned;

use crate::refusal::Refusal;

/// The most lines that the tail of a log can have.
pub(crate) const MOST_TAIL: usize = 100_000;
/// The longest list that is answered at once, and what is answered if none says.
const MOST_ITEMS: usize = 1000;
const ITEMS: usize = 100;

/// The parameters of a query, taken one by one; what is left at the end is unknown.
#[derive(Debug)]
pub(crate) struct Query {
    given: BTreeMap<String, String>,
    mistakes: Vec<Mistake>,
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        Ok(Self::of(&parts.uri))
    }
}

/// A part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paging<K> {
    /// At most so many items.
    pub(crate) limit: usize,
    /// Behind this one.
    pub(crate) after: Option<K>,
}

impl Query {
    fn of(uri: &Uri) -> Self {
        let mut query = Self {
            given: BTreeMap::new(),
            mistakes: Vec::new(),
        };
        for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
            if query
                .given
                .insert(name.to_string(), value.into_owned())
                .is_some()
            {
                query.mistake(&name, "it is there twice: expected it once");
            }
        }
        query
    }

    /// Something is wrong with this parameter.
    pub(crate) fn mistake(&mut self, name: &str, detail: impl Into<String>) {
        let name: String = name.chars().take(80).collect();
        self.mistakes.push(Mistake::parameter(name, detail));
    }

    /// A parameter as a text.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        self.given.remove(name)
    }

    /// A parameter that is read as something. An empty one is as good as none.
    pub(crate) fn parsed<T: FromStr<Err: fmt::Display>>(&mut self, name: &str) -> Option<T> {
        let text = self.text(name).filter(|text| !text.is_empty())?;
        let parsed = text.parse();
        parsed
            .map_err(|error: T::Err| self.mistake(name, error.to_string()))
            .ok()
    }

    /// A parameter that is a number within bounds.
    pub(crate) fn number(&mut self, name: &str, least: usize, most: usize) -> Option<usize> {
        let text = self.text(name)?;
        let number = text.parse().ok();
        let number = number.filter(|number| (least..=most).contains(number));
        if number.is_none() {
            let detail = format!("expected a whole number from {least} to {most}");
            self.mistake(name, detail);
        }
        number
    }

    /// A parameter that is a time.
    pub(crate) fn instant(&mut self, name: &str) -> Option<Wall> {
        let at = rfc3339::wall(&self.text(name)?);
        if at.is_none() {
            let detail = "expected a time such as 2026-01-31T08:00:00Z, from 1678 to 2261";
            self.mistake(name, detail);
        }
        at
    }

    /// A parameter that is `true` or `false`; `false` if it is missing.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        match self.text(name).as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => {
                self.mistake(name, "expected true or false");
                false
            }
        }
    }

    /// `limit` and `cursor` of this list.
    pub(crate) fn paging<K: DeserializeOwned>(&mut self, list: &str) -> Paging<K> {
        let limit = self.number("limit", 1, MOST_ITEMS).unwrap_or(ITEMS);
        let cursor = self.text("cursor").filter(|cursor| !cursor.is_empty());
        let after = cursor.and_then(|cursor| {
            let read = Cursor::read(list, &cursor);
            if read.is_err() {
                let detail = "expected the next_cursor of an answer for the same list";
                self.mistake("cursor", detail);
            }
            read.ok()
        });
        Paging { limit, after }
    }

    /// Refuses if anything was wrong or is left.
    pub(crate) fn finish(mut self) -> Result<(), Refusal> {
        for name in std::mem::take(&mut self.given).into_keys() {
            self.mistake(&name, "there is no such parameter");
        }
        match self.mistakes.is_empty() {
            true => Ok(()),
            false => Err(Problem::of_parameters(self.mistakes).into()),
        }
    }
}

/// The one name in a path, as what it names. One that nothing can have is not there.
#[derive(Debug)]
pub(crate) struct Id<T>(pub(crate) T);

impl<S: Send + Sync, T: FromStr> FromRequestParts<S> for Id<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let named = path.ok().and_then(|Path(name)| name.parse().ok());
        named.map(Self).ok_or_else(Refusal::not_found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(query: &'static str) -> Vec<String> {
        let mut query = Query::of(&query.parse().unwrap());
        let _: Paging<u64> = query.paging("tasks");
        query.flag("follow");
        let refusal = query.finish().unwrap_err();
        let problem = serde_json::to_value(refusal.problem).unwrap();
        let errors = problem["errors"].as_array().unwrap().clone();
        errors
            .iter()
            .map(|error| error["parameter"].as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn whatever_is_wrong_is_named_at_once() {
        assert_eq!(
            wrong("/?limit=0&cursor=x&follow=yes&folow=true"),
            ["limit", "cursor", "follow", "folow"]
        );
        assert_eq!(wrong("/?limit=1&limit=2"), ["limit"]);
        assert_eq!(wrong("/?limit=1001"), ["limit"]);
        assert_eq!(wrong("/?limit=-1"), ["limit"]);
    }

    #[test]
    fn an_absent_or_empty_parameter_is_none() {
        let mut query = Query::of(&"/?status=&cursor=".parse().unwrap());
        assert_eq!(query.parsed::<cloudai_model::TaskStatus>("status"), None);
        let paging: Paging<u64> = query.paging("tasks");
        assert_eq!((paging.limit, paging.after), (100, None));
        assert!(query.finish().is_ok());
    }
}
