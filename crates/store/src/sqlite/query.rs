//! Pages of tasks, newest first, and counts: the SQL that fits the indexes.

use std::collections::BTreeMap;

use cloudai_model::{TaskStatus, record::TaskRecord};
use rusqlite::{Connection, Row, ToSql, params_from_iter};

use super::{
    columns::{Table, bits},
    failure::RowError,
    tables,
};
use crate::{HIGHEST_ORDER, ReadError, StoredAccounts, TaskQuery};

/// The tasks that fit.
pub(super) fn tasks(db: &Connection, query: &TaskQuery) -> Result<Vec<TaskRecord>, RowError> {
    let (sql, values) = statement(query);
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(tables::tasks::read(row)?);
    }
    Ok(found)
}

/// By user or by status, or by both, one branch a status runs along the index and SQLite merges
/// them, so that no page ever sorts, nor reads what it doesn't give. A worker's tasks are read along
/// their index and the status is looked at row by row.
fn statement(query: &TaskQuery) -> (String, Vec<Box<dyn ToSql>>) {
    let mut values: Vec<Box<dyn ToSql>> =
        vec![Box::new(i64::try_from(query.limit).unwrap_or(i64::MAX))];
    let mut bind = |value: Box<dyn ToSql>| {
        values.push(value);
        format!("?{}", values.len())
    };
    let mut conditions = Vec::new();
    if let Some(before) = query.before.filter(|before| *before <= HIGHEST_ORDER) {
        conditions.push(format!("order_number < {}", bind(Box::new(bits(before)))));
    }
    if let Some(user) = &query.user {
        let user = user.as_str().to_owned();
        conditions.push(format!("user_id = {}", bind(Box::new(user))));
    }
    if let Some(worker) = &query.worker {
        let worker = worker.as_str().to_owned();
        conditions.push(format!("worker_id = {}", bind(Box::new(worker))));
    }
    let every = TaskStatus::ALL.iter().copied().collect();
    let chosen = match query.statuses.is_empty() && query.user.is_some() {
        true => &every,
        false => &query.statuses,
    };
    let statuses: Vec<_> = chosen
        .iter()
        .map(|status| bind(Box::new(status.as_str())))
        .collect();
    let select = |more: Option<String>| {
        let all: Vec<_> = conditions.iter().cloned().chain(more).collect();
        let filter = if all.is_empty() {
            String::new()
        } else {
            format!(" WHERE {}", all.join(" AND "))
        };
        format!(
            "SELECT {} FROM tasks{filter}",
            tables::tasks::TABLE.list("")
        )
    };
    let by_worker = query.user.is_none() && query.worker.is_some();
    let branches: Vec<_> = if statuses.is_empty() {
        vec![select(None)]
    } else if by_worker {
        // The plus keeps SQLite off the index by status.
        vec![select(Some(format!(
            "+status IN ({})",
            statuses.join(", ")
        )))]
    } else {
        statuses
            .iter()
            .map(|status| select(Some(format!("status = {status}"))))
            .collect()
    };
    let sql = format!(
        "{} ORDER BY order_number DESC LIMIT ?1",
        branches.join(" UNION ALL ")
    );
    (sql, values)
}

/// Every user, key and ended token.
pub(super) fn accounts(db: &Connection) -> Result<StoredAccounts, RowError> {
    Ok(StoredAccounts {
        users: all(db, &tables::users::TABLE, tables::users::read)?,
        keys: all(db, &tables::users::KEYS, tables::users::read_key)?,
        ended_tokens: all(db, &tables::ended_tokens::TABLE, tables::ended_tokens::read)?,
        highest_audit: tables::audit::highest(db)?,
    })
}

/// All rows of a table, by its first column.
fn all<T>(
    db: &Connection,
    table: &Table,
    read: fn(&Row<'_>) -> Result<T, ReadError>,
) -> Result<Vec<T>, RowError> {
    let sql = format!("SELECT {} FROM {} ORDER BY 1", table.list(""), table.name);
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

/// How many tasks stand at each status.
pub(super) fn count_by_status(db: &Connection) -> Result<BTreeMap<TaskStatus, u64>, RowError> {
    let mut statement = db.prepare_cached("SELECT status, count(*) FROM tasks GROUP BY status")?;
    let mut rows = statement.query([])?;
    let mut counts = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let (word, count): (String, i64) = (row.get(0)?, row.get(1)?);
        let status = word.parse().map_err(|error| ReadError::Unreadable {
            table: "tasks",
            key: format!("(any of {count})"),
            column: "status",
            problem: format!("{error}"),
        })?;
        counts.insert(status, count.cast_unsigned());
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use cloudai_model::{UserName, WorkerId};

    use super::*;
    use crate::sqlite::migrate::{self, MIGRATIONS};

    #[test]
    fn no_page_of_tasks_sorts_or_reads_the_whole_table() {
        // Given an empty database with the indexes of the real one.
        let mut db = Connection::open_in_memory().unwrap();
        migrate::apply(&mut db, MIGRATIONS).unwrap();
        let newest = TaskQuery::newest(50);
        let live = [TaskStatus::Queued, TaskStatus::Pending, TaskStatus::Running];
        let queries = [
            TaskQuery {
                before: Some(7),
                ..newest.clone()
            },
            TaskQuery {
                statuses: [TaskStatus::Failed].into(),
                ..newest.clone()
            },
            TaskQuery {
                statuses: live.into(),
                before: Some(7),
                ..newest.clone()
            },
            TaskQuery {
                user: Some(UserName::admin()),
                statuses: live.into(),
                ..newest.clone()
            },
            TaskQuery {
                user: Some(UserName::admin()),
                before: Some(7),
                ..newest.clone()
            },
            TaskQuery {
                user: Some(UserName::admin()),
                worker: Some("w".parse::<WorkerId>().unwrap()),
                ..newest.clone()
            },
            TaskQuery {
                worker: Some("w".parse::<WorkerId>().unwrap()),
                ..newest
            },
        ];
        for query in queries {
            // When SQLite plans the query.
            let (sql, values) = statement(&query);
            let mut plan = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let steps: Vec<String> = plan
                .query_map(params_from_iter(values), |row| row.get("detail"))
                .unwrap()
                .map(Result::unwrap)
                .collect();

            // Then it goes along an index.
            let plan = steps.join("\n");
            assert!(plan.contains("SEARCH"), "{query:?}:\n{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{query:?}:\n{plan}");
            assert!(!plan.contains("SCAN tasks"), "{query:?}:\n{plan}");
            if query.user.is_some() && query.worker.is_none() {
                // Nothing is read that is not given.
                let along = "INDEX tasks_by_user_and_status (user_id=? AND status=?";
                let branches = plan.matches("SEARCH tasks").count();
                assert_eq!(plan.matches(along).count(), branches, "{query:?}:\n{plan}");
            }
        }
    }
}
