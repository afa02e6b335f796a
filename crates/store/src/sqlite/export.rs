//! All of a database: its rows as records, how many there are, and what SQLite finds wrong with it.

use cloudai_model::{account::AccountChange, record::Record};
use rusqlite::{Connection, Row};
use tokio::sync::mpsc;

use super::{columns::Table, failure::RowError, open, query, tables};
use crate::{Holdings, Piece, ReadError, export::Chunk};

/// How many faults SQLite names at most. A database with more has no need of them.
const MOST_FAULTS: usize = 20;

/// Sends everything, from within one read transaction.
pub(super) fn export(db: &Connection, sink: &mpsc::Sender<Piece>) -> Result<(), RowError> {
    let mut export = Export {
        db,
        sink,
        chunk: Chunk::default(),
    };
    export.table(&tables::cluster::TABLE, "1", |row| {
        tables::cluster::read(row).map(Record::Cluster)
    })?;
    export.table(&tables::workers::TABLE, "1", |row| {
        tables::workers::read(row).map(Record::Worker)
    })?;
    export.table(&tables::users::TABLE, "1", |row| {
        tables::users::read(row).map(|user| Record::Account(AccountChange::User(Box::new(user))))
    })?;
    export.table(&tables::users::KEYS, "1", |row| {
        tables::users::read_key(row).map(|key| Record::Account(AccountChange::Key(Box::new(key))))
    })?;
    export.table(&tables::ended_tokens::TABLE, "1", |row| {
        tables::ended_tokens::read(row)
            .map(|token| Record::Account(AccountChange::TokenEnded(token)))
    })?;
    export.table(&tables::tasks::TABLE, "order_number", |row| {
        tables::tasks::read(row).map(|task| Record::TaskAdded(Box::new(task)))
    })?;
    export.table(&tables::removed::TABLE, "order_number", |row| {
        tables::removed::read(row).map(Record::Removed)
    })?;
    let by_attempt = "order_number, attempt";
    export.table(&tables::assignments::TABLE, by_attempt, |row| {
        tables::assignments::read(row).map(Record::Assignment)
    })?;
    export.table(&tables::results::TABLE, "order_number", |row| {
        tables::results::read(row).map(|result| Record::Result(Box::new(result)))
    })?;
    export.table(&tables::files::TABLE, "order_number", |row| {
        tables::files::read(row).map(|files| Record::Files(Box::new(files)))
    })?;
    export.table(&tables::stop_orders::TABLE, "1, 2", |row| {
        tables::stop_orders::read(row).map(Record::StopOrder)
    })?;
    export.table(&tables::audit::TABLE, "1", |row| {
        tables::audit::read(row).map(|entry| Record::Account(AccountChange::Audit(Box::new(entry))))
    })?;
    export.table(&tables::forgotten::TABLE, "1", |row| {
        tables::forgotten::read(row).map(Record::Forgotten)
    })?;
    let rest = export.chunk.take();
    export.send(rest)
}

struct Export<'a> {
    db: &'a Connection,
    sink: &'a mpsc::Sender<Piece>,
    chunk: Chunk,
}

impl Export<'_> {
    fn table(
        &mut self,
        table: &Table,
        order: &str,
        read: impl Fn(&Row<'_>) -> Result<Record, ReadError>,
    ) -> Result<(), RowError> {
        let (columns, name) = (table.list(""), table.name);
        let sql = format!("SELECT {columns} FROM {name} ORDER BY {order}");
        let mut statement = self.db.prepare_cached(&sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            match read(row) {
                Ok(record) => {
                    let full = self.chunk.add(record);
                    self.send(full)?;
                }
                Err(error) => {
                    let before = self.chunk.take();
                    self.send(before)?;
                    self.send(Some(Piece::Unreadable(error)))?;
                }
            }
        }
        Ok(())
    }

    fn send(&self, piece: Option<Piece>) -> Result<(), RowError> {
        match piece {
            Some(piece) => Ok(self
                .sink
                .blocking_send(piece)
                .map_err(|_| ReadError::ReceiverGone)?),
            None => Ok(()),
        }
    }
}

/// How much there is.
pub(super) fn holdings(db: &Connection) -> Result<Holdings, RowError> {
    let count = |table: &Table| -> Result<u64, RowError> {
        let sql = format!("SELECT count(*) FROM {}", table.name);
        let count: i64 = db.query_row(&sql, [], |row| row.get(0))?;
        Ok(count.cast_unsigned())
    };
    let table = &tables::cluster::TABLE;
    let sql = format!("SELECT {} FROM {}", table.list(""), table.name);
    let mut statement = db.prepare(&sql)?;
    let mut rows = statement.query([])?;
    let cluster = match rows.next()? {
        Some(row) => Some(tables::cluster::read(row)?),
        None => None,
    };
    Ok(Holdings {
        cluster,
        workers: count(&tables::workers::TABLE)?,
        tasks: query::count_by_status(db)?,
        assignments: count(&tables::assignments::TABLE)?,
        results: count(&tables::results::TABLE)?,
        files: count(&tables::files::TABLE)?,
        stop_orders: count(&tables::stop_orders::TABLE)?,
        removed: count(&tables::removed::TABLE)?,
        has_forgotten: count(&tables::forgotten::TABLE)? > 0,
        users: count(&tables::users::TABLE)?,
        keys: count(&tables::users::KEYS)?,
        ended_tokens: count(&tables::ended_tokens::TABLE)?,
        audit: count(&tables::audit::TABLE)?,
        not_taken_up: 0,
    })
}

/// What SQLite finds wrong, looking at every page and every index.
pub(super) fn integrity(db: &Connection) -> Result<Vec<String>, RowError> {
    match look(db) {
        // So damaged that it can't even be looked at.
        Err(RowError::Sqlite(error)) if open::is_damage(&error) => Ok(vec![error.to_string()]),
        looked => looked,
    }
}

fn look(db: &Connection) -> Result<Vec<String>, RowError> {
    let mut statement = db.prepare(&format!("PRAGMA integrity_check({MOST_FAULTS})"))?;
    let mut rows = statement.query([])?;
    let mut faults = Vec::new();
    while let Some(row) = rows.next()? {
        let fault: String = row.get(0)?;
        if fault != "ok" {
            faults.push(fault);
        }
    }
    Ok(faults)
}
