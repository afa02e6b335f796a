//! Tokens that were ended before their time.

use cloudai_model::{Wall, account::EndedToken};
use rusqlite::{Connection, Row, params};

use crate::{
    ReadError,
    sqlite::{
        columns::{Columns, Table},
        failure::WriteError,
    },
};

pub(crate) static TABLE: Table = Table {
    name: "ended_tokens",
    columns: &["token_id", "until_ms"],
    key: 1,
};

pub(crate) fn put(db: &Connection, token: &EndedToken) -> Result<(), WriteError> {
    db.prepare_cached(
        "INSERT INTO ended_tokens (token_id, until_ms) VALUES (?1, ?2) \
         ON CONFLICT DO UPDATE SET until_ms = excluded.until_ms",
    )?
    .execute(params![token.id, token.until.0])?;
    Ok(())
}

/// Forgets those that would have ended by themselves before this.
pub(crate) fn forget(db: &Connection, before: Wall) -> Result<(), WriteError> {
    db.prepare_cached("DELETE FROM ended_tokens WHERE until_ms < ?1")?
        .execute([before.0])?;
    Ok(())
}

pub(crate) fn read(row: &Row<'_>) -> Result<EndedToken, ReadError> {
    let mut columns = Columns::new(&TABLE, row);
    Ok(EndedToken {
        id: columns.raw()?,
        until: columns.wall()?,
    })
}
