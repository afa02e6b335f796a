//! Tasks in the order in which they ended, and what was removed of them.

use std::collections::BTreeMap;

use cloudai_model::{
    TaskId, Wall,
    record::{Removed, RemovedRecord},
};
use mongodb::bson::{Array, Document, doc};

use super::{
    documents::{Fields, ORDER, bits, date, removed, tasks},
    failure::Failure,
    link::{How, Link},
    plan::{among, texts},
};
use crate::{EndedAt, EndedQuery, EndedTask, HIGHEST_ORDER, ReadError};

pub(super) async fn tasks(link: &Link, query: &EndedQuery) -> Result<Vec<EndedTask>, Failure> {
    // To the server 0 is no limit.
    if query.limit == 0 || query.statuses.is_empty() {
        return Ok(Vec::new());
    }
    let how = How {
        sort: doc! { "completed_at": 1, ORDER: 1 },
        fields: doc! { "task_id": 1, "user_id": 1, "completed_at": 1, ORDER: 1 },
        limit: i64::try_from(query.limit).unwrap_or(i64::MAX),
    };
    let found = link.find(tasks::COLLECTION, filter(query), how).await?;
    let mut ended: Vec<EndedTask> = found.iter().map(read).collect::<Result<_, _>>()?;
    let ids: Vec<TaskId> = ended.iter().map(|task| task.task.clone()).collect();
    let mut removed = self::removed(link, &ids).await?;
    for task in &mut ended {
        task.removed = removed.remove(&task.task).unwrap_or_default();
    }
    Ok(ended)
}

/// Each status goes along its own part of an index, and the server merges them.
pub(super) fn filter(query: &EndedQuery) -> Document {
    let words = query.statuses.iter().map(|status| status.as_str().into());
    let mut at = doc! { "$lt": date(query.before) };
    let mut filter = doc! {
        "status": { "$in": words.collect::<Array>() },
        ORDER: { "$gte": 0_i64 },
    };
    if let Some(after) = query.after {
        at.insert("$gte", date(after.at));
        let later = doc! { "completed_at": { "$gt": date(after.at) } };
        let beside = doc! {
            "completed_at": date(after.at),
            ORDER: { "$gt": bits(after.order.min(HIGHEST_ORDER)) },
        };
        filter.insert("$or", vec![later, beside]);
    }
    filter.insert("completed_at", at);
    filter
}

fn read(document: &Document) -> Result<EndedTask, ReadError> {
    let fields = Fields::new(tasks::COLLECTION, document);
    Ok(EndedTask {
        task: fields.must("task_id", Fields::parsed)?,
        user: fields.must("user_id", Fields::parsed)?,
        place: EndedAt {
            at: fields.wall("completed_at")?.unwrap_or(Wall(0)),
            order: fields.must(ORDER, Fields::count)?,
        },
        removed: Removed::default(),
    })
}

pub(super) async fn removed(
    link: &Link,
    tasks: &[TaskId],
) -> Result<BTreeMap<TaskId, Removed>, Failure> {
    let ids = texts(tasks.iter().map(TaskId::to_string).collect());
    let found = among(link, removed::COLLECTION, "_id", ids, doc! {}).await?;
    let read = found.iter().map(removed::read);
    let of_task = |record: RemovedRecord| (record.task, record.removed);
    Ok(read.map(|it| it.map(of_task)).collect::<Result<_, _>>()?)
}
