//! What was done, by whom: rows are added and, at their age, deleted; never changed.

use std::sync::LazyLock;

use cloudai_model::{Wall, account::AuditRecord};
use rusqlite::{Connection, OptionalExtension as _, Row, ToSql, params, params_from_iter};

use crate::{
    AuditQuery, HIGHEST_ORDER, ReadError,
    sqlite::{
        columns::{Columns, Table, bits},
        failure::{RowError, WriteError},
    },
};

pub(crate) static TABLE: Table = Table {
    name: "audit",
    columns: &[
        "number",
        "at_ms",
        "username",
        "key_id",
        "from_address",
        "action",
        "target",
        "done",
        "detail",
        "request_id",
    ],
    key: 1,
};

static ADD: LazyLock<String> = LazyLock::new(|| TABLE.insert("ON CONFLICT DO NOTHING"));

static FIND: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {} FROM audit WHERE number = ?1", TABLE.list("")));

/// The last entry stays, and with it its number.
const FORGET: &str =
    "DELETE FROM audit WHERE at_ms < ?1 AND number < (SELECT max(number) FROM audit)";

const OLDEST: &str = "SELECT at_ms FROM audit \
     WHERE at_ms < ?1 AND number < (SELECT max(number) FROM audit) ORDER BY at_ms LIMIT ?2";

/// Adds an entry; the same one may be there.
pub(crate) fn add(db: &Connection, record: &AuditRecord) -> Result<(), WriteError> {
    let rows = db.prepare_cached(&ADD)?.execute(params![
        bits(record.number),
        record.at.0,
        record.user.as_ref().map(cloudai_model::UserName::as_str),
        record.key,
        record.from,
        record.action,
        record.target,
        record.done,
        record.detail,
        record.request,
    ])?;
    if rows == 1 {
        return Ok(());
    }
    let known = db
        .prepare_cached(&FIND)?
        .query_row([bits(record.number)], |row| Ok(read(row)))
        .optional()?;
    match known.transpose().map_err(RowError::from)? {
        Some(known) if known == *record => Ok(()),
        _ => Err(WriteError::Conflict {
            what: "audit entry",
            key: record.number.to_string(),
        }),
    }
}

pub(crate) fn forget(db: &Connection, before: Wall) -> Result<(), WriteError> {
    db.prepare_cached(FORGET)?.execute([before.0])?;
    Ok(())
}

/// The highest number; 0 if there is none.
pub(crate) fn highest(db: &Connection) -> Result<u64, RowError> {
    let sql = "SELECT coalesce(max(number), 0) FROM audit";
    let number: i64 = db.query_row(sql, [], |row| row.get(0))?;
    Ok(number.cast_unsigned())
}

pub(crate) fn oldest(db: &Connection, before: Wall, limit: usize) -> Result<Vec<Wall>, RowError> {
    let mut statement = db.prepare_cached(OLDEST)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let times = statement.query_map([before.0, limit], |row| row.get(0).map(Wall))?;
    Ok(times.collect::<Result<_, _>>()?)
}

/// The entries that fit, those of the highest numbers first.
pub(crate) fn page(db: &Connection, query: &AuditQuery) -> Result<Vec<AuditRecord>, RowError> {
    let (sql, values) = statement(query);
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

/// Along the index of the user or of the action, or from the end of the table: never sorted. Times
/// are looked at row by row: they rise with the numbers, but for a clock that was set back.
fn statement(query: &AuditQuery) -> (String, Vec<Box<dyn ToSql>>) {
    let mut values: Vec<Box<dyn ToSql>> =
        vec![Box::new(i64::try_from(query.limit).unwrap_or(i64::MAX))];
    let mut conditions = Vec::new();
    let mut with = |condition: &str, value: Box<dyn ToSql>| {
        values.push(value);
        conditions.push(format!("{condition} ?{}", values.len()));
    };
    if let Some(before) = query.before.filter(|before| *before <= HIGHEST_ORDER) {
        with("number <", Box::new(bits(before)));
    }
    if let Some(user) = &query.user {
        with("username =", Box::new(user.as_str().to_owned()));
    }
    if let Some(action) = &query.action {
        // The plus leaves the index to the user: one does less than there are entries of an action.
        let column = match query.user {
            Some(_) => "+action =",
            None => "action =",
        };
        with(column, Box::new(action.clone()));
    }
    if let Some(since) = query.since {
        with("+at_ms >=", Box::new(since.0));
    }
    if let Some(until) = query.until {
        with("+at_ms <", Box::new(until.0));
    }
    let filter = match conditions.is_empty() {
        true => String::new(),
        false => format!("WHERE {}", conditions.join(" AND ")),
    };
    let columns = TABLE.list("");
    let sql = format!("SELECT {columns} FROM audit {filter} ORDER BY number DESC LIMIT ?1");
    (sql, values)
}

pub(crate) fn read(row: &Row<'_>) -> Result<AuditRecord, ReadError> {
    let mut columns = Columns::new(&TABLE, row);
    Ok(AuditRecord {
        number: columns.count()?,
        at: columns.wall()?,
        user: columns.parsed_if_any()?,
        key: columns.raw()?,
        from: columns.raw()?,
        action: columns.raw()?,
        target: columns.raw()?,
        done: columns.raw()?,
        detail: columns.raw()?,
        request: columns.raw()?,
    })
}

#[cfg(test)]
mod tests {
    use cloudai_model::UserName;

    use super::*;
    use crate::sqlite::migrate::{self, MIGRATIONS};

    fn plan(db: &Connection, sql: &str, values: Vec<Box<dyn ToSql>>) -> String {
        let mut plan = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let steps: Vec<String> = plan
            .query_map(params_from_iter(values), |row| row.get("detail"))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        steps.join("\n")
    }

    #[test]
    fn no_page_of_the_audit_sorts_and_what_is_old_is_found_by_its_age() {
        let mut db = Connection::open_in_memory().unwrap();
        migrate::apply(&mut db, MIGRATIONS).unwrap();
        let newest = AuditQuery::newest(50);
        let user = Some(UserName::admin());
        let action = Some("task.cancel".to_owned());
        let cases = [
            (newest.clone(), "SCAN audit"),
            (
                AuditQuery {
                    before: Some(7),
                    since: Some(Wall(1)),
                    until: Some(Wall(9)),
                    ..newest.clone()
                },
                "SEARCH audit USING INTEGER PRIMARY KEY",
            ),
            (
                AuditQuery {
                    action: action.clone(),
                    since: Some(Wall(1)),
                    ..newest.clone()
                },
                "SEARCH audit USING INDEX audit_by_action",
            ),
            (
                AuditQuery {
                    user,
                    action,
                    before: Some(7),
                    ..newest
                },
                "SEARCH audit USING INDEX audit_by_user",
            ),
        ];
        for (query, along) in cases {
            let (sql, values) = statement(&query);
            let plan = plan(&db, &sql, values);
            assert!(plan.contains(along), "{query:?}:\n{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{query:?}:\n{plan}");
        }
        let plan = plan(&db, OLDEST, vec![Box::new(1), Box::new(2)]);
        assert!(plan.contains("INDEX audit_by_time (at_ms<?)"), "{plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{plan}");
    }
}
