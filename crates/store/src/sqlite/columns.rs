//! Between values of the model and columns of SQLite. Which table has which columns is said with
//! each table.

use std::{collections::BTreeMap, fmt::Display, str::FromStr, time::Duration};

use cloudai_model::Wall;
use rusqlite::{
    Row,
    types::{FromSql, ValueRef},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::ReadError;

/// A table's name and its columns, in the order in which they are bound and read.
pub(super) struct Table {
    /// The name.
    pub(super) name: &'static str,
    /// The columns; the first `key` of them name a row to people.
    pub(super) columns: &'static [&'static str],
    /// How many columns the key has.
    pub(super) key: usize,
}

impl Table {
    /// `a, b, c`, each after `prefix`.
    pub(super) fn list(&self, prefix: &str) -> String {
        let columns: Vec<_> = self
            .columns
            .iter()
            .map(|column| format!("{prefix}{column}"))
            .collect();
        columns.join(", ")
    }

    /// `?1, ?2, ?3`.
    fn marks(&self) -> String {
        let marks: Vec<_> = (1..=self.columns.len()).map(|n| format!("?{n}")).collect();
        marks.join(", ")
    }

    /// Inserts a row, or does what `on_conflict` says.
    pub(super) fn insert(&self, on_conflict: &str) -> String {
        let (name, columns, marks) = (self.name, self.list(""), self.marks());
        format!("INSERT INTO {name} ({columns}) VALUES ({marks}) {on_conflict}")
    }

    /// Inserts a row under the order of the task whose id is the first column. Without such a
    /// task nothing is inserted.
    pub(super) fn insert_for_task(&self, on_conflict: &str) -> String {
        let (name, columns, marks) = (self.name, self.list(""), self.marks());
        format!(
            "INSERT INTO {name} (order_number, {columns}) \
             SELECT order_number, {marks} FROM tasks WHERE tasks.task_id = ?1 {on_conflict}"
        )
    }

    /// `a = excluded.a, b = excluded.b`, for all columns but those of the key.
    pub(super) fn replacing(&self) -> String {
        let columns: Vec<_> = self.columns[self.key..]
            .iter()
            .map(|column| format!("{column} = excluded.{column}"))
            .collect();
        columns.join(", ")
    }
}

/// A number without sign as the same 64 bits with one, so that no value is ever refused.
pub(super) fn bits(number: u64) -> i64 {
    number.cast_signed()
}

/// The longest span that is told from longer ones: 584 years.
pub(super) const LONGEST_SPAN: Duration = Duration::from_nanos(u64::MAX);

/// A span in nanoseconds; [`LONGEST_SPAN`] if it is longer.
pub(super) fn nanos(span: Duration) -> i64 {
    bits(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
}

/// As JSON text.
pub(super) fn json<T: Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

/// Takes the columns of a row one after the other, and can name the one that is wrong.
pub(super) struct Columns<'r> {
    table: &'static Table,
    row: &'r Row<'r>,
    next: usize,
}

impl<'r> Columns<'r> {
    pub(super) fn new(table: &'static Table, row: &'r Row<'r>) -> Self {
        Self {
            table,
            row,
            next: 0,
        }
    }

    /// The next column as SQLite's own type.
    pub(super) fn raw<T: FromSql>(&mut self) -> Result<T, ReadError> {
        self.next += 1;
        self.row
            .get(self.next - 1)
            .map_err(|error| self.unreadable(error))
    }

    /// Why the column just taken can't be read.
    pub(super) fn unreadable(&self, problem: impl Display) -> ReadError {
        let key: Vec<_> = (0..self.table.key)
            .map(|column| match self.row.get_ref(column) {
                Ok(ValueRef::Text(text)) => String::from_utf8_lossy(text).into_owned(),
                Ok(ValueRef::Integer(number)) => number.to_string(),
                Ok(_) | Err(_) => "?".to_owned(),
            })
            .collect();
        ReadError::Unreadable {
            table: self.table.name,
            key: key.join("-"),
            column: self.table.columns[self.next - 1],
            problem: problem.to_string(),
        }
    }

    /// A number without sign.
    pub(super) fn count(&mut self) -> Result<u64, ReadError> {
        self.raw().map(i64::cast_unsigned)
    }

    /// A number without sign, or none.
    pub(super) fn count_if_any(&mut self) -> Result<Option<u64>, ReadError> {
        Ok(self.raw::<Option<i64>>()?.map(i64::cast_unsigned))
    }

    /// Text that is read as one of the model's types.
    pub(super) fn parsed<T: FromStr<Err: Display>>(&mut self) -> Result<T, ReadError> {
        let text: String = self.raw()?;
        text.parse().map_err(|error| self.unreadable(error))
    }

    /// The same, or none.
    pub(super) fn parsed_if_any<T: FromStr<Err: Display>>(
        &mut self,
    ) -> Result<Option<T>, ReadError> {
        let text: Option<String> = self.raw()?;
        text.map(|text| text.parse().map_err(|error| self.unreadable(error)))
            .transpose()
    }

    /// Unix milliseconds.
    pub(super) fn wall(&mut self) -> Result<Wall, ReadError> {
        self.raw().map(Wall)
    }

    /// Unix milliseconds, or none.
    pub(super) fn wall_if_any(&mut self) -> Result<Option<Wall>, ReadError> {
        Ok(self.raw::<Option<i64>>()?.map(Wall))
    }

    /// Nanoseconds, or none.
    pub(super) fn span_if_any(&mut self) -> Result<Option<Duration>, ReadError> {
        Ok(self.count_if_any()?.map(Duration::from_nanos))
    }

    /// JSON text.
    pub(super) fn json<T: DeserializeOwned>(&mut self) -> Result<T, ReadError> {
        let text: String = self.raw()?;
        serde_json::from_str(&text).map_err(|error| self.unreadable(error))
    }

    /// JSON text of names and values.
    pub(super) fn map(&mut self) -> Result<BTreeMap<String, String>, ReadError> {
        self.json()
    }
}
