//! Under which key a task was submitted, and which tasks were under one: columns of the tasks.

use cloudai_model::{SubmitKey, UserName};
use rusqlite::{Connection, params};

use crate::{
    ReadError, SubmittedUnder,
    sqlite::{
        columns::{Columns, Table},
        failure::RowError,
    },
};

/// What is read to answer.
static TABLE: Table = Table {
    name: "tasks",
    columns: &[
        "task_id",
        "submit_key",
        "submit_body",
        "submit_index",
        "submitted_at_ms",
    ],
    key: 1,
};

const OF_KEY: &str = "SELECT task_id, submit_key, submit_body, submit_index, submitted_at_ms \
     FROM tasks WHERE user_id = ?1 AND submit_key = ?2 ORDER BY order_number";

/// From the three columns of it: all of them NULL, or none.
pub(crate) fn key(columns: &mut Columns<'_>) -> Result<Option<SubmitKey>, ReadError> {
    let key: Option<String> = columns.raw()?;
    let body: Option<[u8; 32]> = columns.raw()?;
    let index: Option<u32> = columns.raw()?;
    match (key, body, index) {
        (None, None, None) => Ok(None),
        (Some(key), Some(body), Some(index)) => Ok(Some(SubmitKey { key, body, index })),
        _ => Err(columns.unreadable("expected key, body and place, or none of them")),
    }
}

/// The tasks of one submit, by their order.
pub(crate) fn of_key(
    db: &Connection,
    user: &UserName,
    key: &str,
) -> Result<Vec<SubmittedUnder>, RowError> {
    let mut statement = db.prepare_cached(OF_KEY)?;
    let mut rows = statement.query(params![user.as_str(), key])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let mut columns = Columns::new(&TABLE, row);
        let task = columns.parsed()?;
        let key = self::key(&mut columns)?;
        found.push(SubmittedUnder {
            task,
            key: key.ok_or_else(|| columns.unreadable("expected a key"))?,
            submitted_at: columns.wall()?,
        });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::migrate::{self, MIGRATIONS};

    #[test]
    fn a_submit_is_found_by_its_key_and_nothing_else_is_read() {
        let mut db = Connection::open_in_memory().unwrap();
        migrate::apply(&mut db, MIGRATIONS).unwrap();
        let plan: String = db
            .query_row(
                &format!("EXPLAIN QUERY PLAN {OF_KEY}"),
                ["ann", "k"],
                |row| row.get("detail"),
            )
            .unwrap();
        let along = "SEARCH tasks USING INDEX tasks_by_submit_key (user_id=? AND submit_key=?)";
        assert_eq!(plan, along);
    }
}
