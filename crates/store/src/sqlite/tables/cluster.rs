//! The one row of the cluster.

use std::sync::LazyLock;

use cloudai_model::record::ClusterRecord;
use rusqlite::{Connection, Row, params};

use crate::{
    ReadError,
    sqlite::{
        columns::{Columns, Table, bits},
        failure::WriteError,
    },
};

pub(crate) static TABLE: Table = Table {
    name: "cluster",
    columns: &["only_row", "cluster_id", "epoch"],
    key: 1,
};

static PUT: LazyLock<String> = LazyLock::new(|| {
    let replacing = TABLE.replacing();
    TABLE.insert(&format!("ON CONFLICT DO UPDATE SET {replacing}"))
});

pub(crate) fn put(db: &Connection, record: &ClusterRecord) -> Result<(), WriteError> {
    db.prepare_cached(&PUT)?
        .execute(params![1, record.cluster.as_str(), bits(record.epoch)])?;
    Ok(())
}

pub(crate) fn read(row: &Row<'_>) -> Result<ClusterRecord, ReadError> {
    let mut columns = Columns::new(&TABLE, row);
    let _only_row: i64 = columns.raw()?;
    Ok(ClusterRecord {
        cluster: columns.parsed()?,
        epoch: columns.count()?,
    })
}
