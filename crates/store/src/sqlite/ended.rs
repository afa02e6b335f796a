//! Tasks in the order in which they ended: one branch a status along the index, merged by SQLite.

use rusqlite::{Connection, Row, ToSql, params_from_iter};

use super::{
    columns::{Columns, Table, bits},
    failure::RowError,
    tables::removed,
};
use crate::{EndedAt, EndedQuery, EndedTask, HIGHEST_ORDER, ReadError};

/// What is read; the last four from the table of removals, if they are there.
static COLUMNS: Table = Table {
    name: "tasks",
    columns: &[
        "task_id",
        "user_id",
        "completed_at_ms",
        "order_number",
        "log_removed_at_ms",
        "log_removed_by",
        "files_removed_at_ms",
        "files_removed_by",
    ],
    key: 1,
};

/// The tasks that fit.
pub(super) fn tasks(db: &Connection, query: &EndedQuery) -> Result<Vec<EndedTask>, RowError> {
    if query.statuses.is_empty() {
        return Ok(Vec::new());
    }
    let (sql, values) = statement(query);
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

fn statement(query: &EndedQuery) -> (String, Vec<Box<dyn ToSql>>) {
    let after = query.after.map_or((i64::MIN, -1), |after| {
        (after.at.0, bits(after.order.min(HIGHEST_ORDER)))
    });
    let mut values: Vec<Box<dyn ToSql>> = vec![
        Box::new(i64::try_from(query.limit).unwrap_or(i64::MAX)),
        Box::new(query.before.0),
        Box::new(after.0),
        Box::new(after.1),
    ];
    let branches: Vec<_> = query
        .statuses
        .iter()
        .map(|status| {
            values.push(Box::new(status.as_str()));
            format!(
                "SELECT t.task_id, t.user_id, t.completed_at_ms, t.order_number, \
                 r.log_removed_at_ms, r.log_removed_by, r.files_removed_at_ms, r.files_removed_by \
                 FROM tasks t LEFT JOIN removed r ON r.order_number = t.order_number \
                 WHERE t.status = ?{} AND t.completed_at_ms IS NOT NULL \
                 AND t.completed_at_ms < ?2 AND t.completed_at_ms >= ?3 \
                 AND (t.completed_at_ms, t.order_number) > (?3, ?4)",
                values.len()
            )
        })
        .collect();
    let sql = format!("{} ORDER BY 3, 4 LIMIT ?1", branches.join(" UNION ALL "));
    (sql, values)
}

fn read(row: &Row<'_>) -> Result<EndedTask, ReadError> {
    let mut columns = Columns::new(&COLUMNS, row);
    Ok(EndedTask {
        task: columns.parsed()?,
        user: columns.parsed()?,
        place: EndedAt {
            at: columns.wall()?,
            order: columns.count()?,
        },
        removed: removed::of_columns(&mut columns)?,
    })
}

#[cfg(test)]
mod tests {
    use cloudai_model::{TaskStatus, Wall};

    use super::*;
    use crate::sqlite::migrate::{self, MIGRATIONS};

    #[test]
    fn no_step_of_a_sweep_sorts_or_reads_what_lies_behind_it() {
        let mut db = Connection::open_in_memory().unwrap();
        migrate::apply(&mut db, MIGRATIONS).unwrap();
        for statuses in [
            [TaskStatus::Failed].into(),
            [TaskStatus::Completed, TaskStatus::Cancelled].into(),
        ] {
            let query = EndedQuery {
                statuses,
                before: Wall(9),
                after: Some(EndedAt {
                    at: Wall(3),
                    order: 7,
                }),
                limit: 100,
            };
            let (sql, values) = statement(&query);
            let mut plan = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let steps: Vec<String> = plan
                .query_map(params_from_iter(values), |row| row.get("detail"))
                .unwrap()
                .map(Result::unwrap)
                .collect();
            let plan = steps.join("\n");
            let along = "SEARCH t USING INDEX tasks_by_end (status=? AND completed_at_ms>";
            assert!(plan.contains(along), "{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{plan}");
        }
    }
}
