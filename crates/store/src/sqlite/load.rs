//! What a start needs, streamed in order and in chunks.

use std::sync::LazyLock;

use cloudai_model::record::Record;
use rusqlite::{Connection, Row};
use tokio::sync::mpsc;

use super::{columns::Table, failure::RowError, tables};
use crate::{Highest, LOAD_CHUNK, ReadError};

/// Every status that is not final, each along its index; SQLite merges the three in order.
static LIVE_TASKS: LazyLock<String> = LazyLock::new(|| {
    let columns = tables::tasks::TABLE.list("");
    let branches =
        live().map(|status| format!("SELECT {columns} FROM tasks WHERE status = {status}"));
    format!("{} ORDER BY order_number", branches.join(" UNION ALL "))
});

/// The order stands last, behind what is read.
static OPEN_ASSIGNMENTS: LazyLock<String> = LazyLock::new(|| {
    let columns = tables::assignments::TABLE.list("a.");
    let branches = live().map(|status| {
        format!(
            "SELECT {columns}, a.order_number AS place \
             FROM tasks t CROSS JOIN assignments a ON a.order_number = t.order_number \
             WHERE t.status = {status} AND a.ended_at_ms IS NULL"
        )
    });
    format!("{} ORDER BY place, 2", branches.join(" UNION ALL "))
});

/// The statuses that are not final, as SQL text.
fn live() -> [&'static str; 3] {
    ["'queued'", "'pending'", "'running'"]
}

/// Sends everything, from within one read transaction.
pub(super) fn load(db: &Connection, sink: &mpsc::Sender<Vec<Record>>) -> Result<Highest, RowError> {
    let mut chunks = Chunks {
        db,
        sink,
        chunk: Vec::new(),
    };
    chunks.all(&of(&tables::cluster::TABLE), |row| {
        tables::cluster::read(row).map(Record::Cluster)
    })?;
    chunks.all(&of(&tables::workers::TABLE), |row| {
        tables::workers::read(row).map(Record::Worker)
    })?;
    chunks.all(&LIVE_TASKS, |row| {
        tables::tasks::read(row).map(|task| Record::TaskAdded(Box::new(task)))
    })?;
    chunks.all(&OPEN_ASSIGNMENTS, |row| {
        tables::assignments::read(row).map(Record::Assignment)
    })?;
    chunks.all(&of(&tables::stop_orders::TABLE), |row| {
        tables::stop_orders::read(row).map(Record::StopOrder)
    })?;
    chunks.flush()?;
    tables::tasks::highest(db)
}

/// All rows of a table by its key.
fn of(table: &Table) -> String {
    format!("SELECT {} FROM {} ORDER BY 1", table.list(""), table.name)
}

struct Chunks<'a> {
    db: &'a Connection,
    sink: &'a mpsc::Sender<Vec<Record>>,
    chunk: Vec<Record>,
}

impl Chunks<'_> {
    fn all(
        &mut self,
        sql: &str,
        read: impl Fn(&Row<'_>) -> Result<Record, ReadError>,
    ) -> Result<(), RowError> {
        let mut statement = self.db.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            self.chunk.push(read(row)?);
            if self.chunk.len() == LOAD_CHUNK {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ReadError> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        self.sink
            .blocking_send(std::mem::take(&mut self.chunk))
            .map_err(|_| ReadError::ReceiverGone)
    }
}

#[cfg(test)]
mod tests {
    use cloudai_model::TaskStatus;

    use super::*;
    use crate::sqlite::migrate::{self, MIGRATIONS};

    #[test]
    fn every_status_that_is_not_final_is_loaded() {
        let words = TaskStatus::ALL.iter().filter(|status| !status.is_final());
        let quoted: Vec<_> = words.map(|status| format!("'{status}'")).collect();
        assert_eq!(quoted, live());
    }

    #[test]
    fn loading_looks_at_live_tasks_only_and_sorts_none_of_them() {
        let mut db = Connection::open_in_memory().unwrap();
        migrate::apply(&mut db, MIGRATIONS).unwrap();
        let mut plan = db
            .prepare(&format!("EXPLAIN QUERY PLAN {}", *LIVE_TASKS))
            .unwrap();
        let steps: Vec<String> = plan
            .query_map([], |row| row.get("detail"))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let plan = steps.join("\n");
        assert!(plan.contains("USING INDEX tasks_by_status"), "{plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{plan}");
    }
}
