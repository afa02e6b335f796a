//! Forgetting a task: everything that hangs on it goes, its numbers are not given out again.

use cloudai_model::{TaskId, record::ForgottenRecord};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::{
    Highest, ReadError,
    sqlite::{
        columns::{Columns, Table, bits},
        failure::{RowError, WriteError},
    },
};

/// One row, once a task was forgotten.
pub(crate) static TABLE: Table = Table {
    name: "forgotten",
    columns: &["order_number", "task_number"],
    key: 1,
};

/// What belongs to a task, each under its order.
const TABLES: &[&str] = &[
    "DELETE FROM assignments WHERE order_number = ?1",
    "DELETE FROM results WHERE order_number = ?1",
    "DELETE FROM file_metadata WHERE order_number = ?1",
    "DELETE FROM removed WHERE order_number = ?1",
    "DELETE FROM tasks WHERE order_number = ?1",
];

const REMEMBER: &str = "INSERT INTO forgotten (only_row, order_number, task_number) \
     VALUES (1, ?1, ?2) ON CONFLICT DO UPDATE SET \
     order_number = excluded.order_number, task_number = excluded.task_number";

/// Forgets a task, if it is known.
pub(crate) fn forget(db: &Connection, task: &TaskId) -> Result<(), WriteError> {
    let order: Option<i64> = db
        .prepare_cached("SELECT order_number FROM tasks WHERE task_id = ?1")?
        .query_row([task.to_string()], |row| row.get(0))
        .optional()?;
    let Some(order) = order else {
        return Ok(());
    };
    for delete in TABLES {
        db.prepare_cached(delete)?.execute([order])?;
    }
    let numbers = Highest {
        task_number: task.number(),
        order: order.cast_unsigned(),
    };
    raise(db, numbers)
}

/// Keeps these numbers, too, as those of forgotten tasks.
pub(crate) fn raise(db: &Connection, numbers: Highest) -> Result<(), WriteError> {
    let Some(highest) = highest(db)?.and(numbers).as_forgotten() else {
        return Ok(());
    };
    db.prepare_cached(REMEMBER)?
        .execute(params![bits(highest.order), highest.task_number.map(bits)])?;
    Ok(())
}

/// The highest numbers of the tasks that are forgotten.
pub(crate) fn highest(db: &Connection) -> Result<Highest, RowError> {
    let found = db
        .prepare_cached("SELECT order_number, task_number FROM forgotten")?
        .query_row([], |row| Ok(read(row)))
        .optional()?;
    let numbers = found.transpose()?;
    Ok(numbers.map_or_else(Highest::default, Highest::from))
}

pub(crate) fn read(row: &Row<'_>) -> Result<ForgottenRecord, ReadError> {
    let mut columns = Columns::new(&TABLE, row);
    Ok(ForgottenRecord {
        order: columns.count()?,
        task_number: columns.count_if_any()?,
    })
}
