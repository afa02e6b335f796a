//! Users, and the keys of their programs.

use std::sync::LazyLock;

use cloudai_model::{
    UserLimits, UserName,
    account::{KeyRecord, UserRecord},
};
use rusqlite::{Connection, Row, params};

use crate::{
    ReadError,
    sqlite::{
        columns::{Columns, Table, bits},
        failure::WriteError,
    },
};

pub(crate) static TABLE: Table = Table {
    name: "users",
    columns: &[
        "username",
        "name",
        "email",
        "password_hash",
        "role",
        "state",
        "generation",
        "most_queued_tasks",
        "most_cpu_milli",
        "most_memory_bytes",
        "most_gpu_milli",
        "most_files_bytes",
        "created_at_ms",
        "updated_at_ms",
    ],
    key: 1,
};

pub(crate) static KEYS: Table = Table {
    name: "api_keys",
    columns: &[
        "key_id",
        "username",
        "name",
        "hash",
        "scope",
        "created_at_ms",
        "expires_at_ms",
    ],
    key: 1,
};

static PUT: LazyLock<String> = LazyLock::new(|| {
    let replacing = TABLE.replacing();
    TABLE.insert(&format!("ON CONFLICT DO UPDATE SET {replacing}"))
});

/// Writes nothing if the user is not there.
static PUT_KEY: LazyLock<String> = LazyLock::new(|| {
    let (columns, replacing) = (KEYS.list(""), KEYS.replacing());
    format!(
        "INSERT INTO api_keys ({columns}) SELECT ?1, username, ?3, ?4, ?5, ?6, ?7 \
         FROM users WHERE username = ?2 ON CONFLICT DO UPDATE SET {replacing}"
    )
});

pub(crate) fn put(db: &Connection, record: &UserRecord) -> Result<(), WriteError> {
    let limits = &record.limits;
    db.prepare_cached(&PUT)?.execute(params![
        record.user.as_str(),
        record.name,
        record.email,
        record.password_hash,
        record.role.as_str(),
        record.state.as_str(),
        bits(record.generation),
        limits.queued_tasks.map(bits),
        limits.cpu_milli.map(bits),
        limits.memory_bytes.map(bits),
        limits.gpu_milli.map(bits),
        limits.files_bytes.map(bits),
        record.created_at.0,
        record.updated_at.0,
    ])?;
    Ok(())
}

/// Removes a user, and all of their keys.
pub(crate) fn remove(db: &Connection, user: &UserName) -> Result<(), WriteError> {
    for delete in [
        "DELETE FROM api_keys WHERE username = ?1",
        "DELETE FROM users WHERE username = ?1",
    ] {
        db.prepare_cached(delete)?.execute([user.as_str()])?;
    }
    Ok(())
}

pub(crate) fn put_key(db: &Connection, record: &KeyRecord) -> Result<(), WriteError> {
    db.prepare_cached(&PUT_KEY)?.execute(params![
        record.id,
        record.user.as_str(),
        record.name,
        record.hash,
        record.scope.as_str(),
        record.created_at.0,
        record.expires_at.map(|at| at.0),
    ])?;
    Ok(())
}

pub(crate) fn remove_key(db: &Connection, key: &str) -> Result<(), WriteError> {
    db.prepare_cached("DELETE FROM api_keys WHERE key_id = ?1")?
        .execute([key])?;
    Ok(())
}

pub(crate) fn read(row: &Row<'_>) -> Result<UserRecord, ReadError> {
    let mut columns = Columns::new(&TABLE, row);
    Ok(UserRecord {
        user: columns.parsed()?,
        name: columns.raw()?,
        email: columns.raw()?,
        password_hash: columns.raw()?,
        role: columns.parsed()?,
        state: columns.parsed()?,
        generation: columns.count()?,
        limits: UserLimits {
            queued_tasks: columns.count_if_any()?,
            cpu_milli: columns.count_if_any()?,
            memory_bytes: columns.count_if_any()?,
            gpu_milli: columns.count_if_any()?,
            files_bytes: columns.count_if_any()?,
        },
        created_at: columns.wall()?,
        updated_at: columns.wall()?,
    })
}

pub(crate) fn read_key(row: &Row<'_>) -> Result<KeyRecord, ReadError> {
    let mut columns = Columns::new(&KEYS, row);
    Ok(KeyRecord {
        id: columns.raw()?,
        user: columns.parsed()?,
        name: columns.raw()?,
        hash: columns.raw()?,
        scope: columns.parsed()?,
        created_at: columns.wall()?,
        expires_at: columns.wall_if_any()?,
    })
}
