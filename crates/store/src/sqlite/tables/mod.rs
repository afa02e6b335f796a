//! One file a table, or a small group of them: its columns, how a record is written, how a row is
//! read.

pub(super) mod assignments;
pub(super) mod audit;
pub(super) mod cluster;
pub(super) mod ended_tokens;
pub(super) mod files;
pub(super) mod forgotten;
pub(super) mod removed;
pub(super) mod results;
pub(super) mod stop_orders;
pub(super) mod submits;
pub(super) mod tasks;
pub(super) mod users;
pub(super) mod workers;

use cloudai_model::TaskId;

use super::failure::WriteError;

/// What wrote no row found no task to write it for.
fn written(rows: usize, record: &'static str, task: &TaskId) -> Result<(), WriteError> {
    if rows == 0 {
        return Err(WriteError::UnknownTask {
            record,
            task: task.clone(),
        });
    }
    Ok(())
}
