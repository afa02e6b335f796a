//! Reads: pages of tasks, newest first, counts, and what hangs on a task.

use std::{collections::BTreeMap, future::IntoFuture as _};

use cloudai_model::{
    TaskId, TaskStatus, UserName,
    record::{AssignmentRecord, FilesRecord, ResultRecord, TaskRecord},
};
use mongodb::bson::{Array, Bson, Document, doc};

use super::{
    documents::{Fields, ORDER, assignments, bits, files, removed, results, tasks},
    failure::Failure,
    link::{How, Link},
    plan::{among, texts},
};
use crate::{FilesOfTask, FilesQuery, HIGHEST_ORDER, ReadError, SubmittedUnder, TaskQuery};

pub(super) async fn task(link: &Link, task: &TaskId) -> Result<Option<TaskRecord>, Failure> {
    let found = link.get(tasks::COLLECTION, &task.to_string()).await?;
    Ok(found.as_ref().map(tasks::read).transpose()?)
}

pub(super) async fn tasks(link: &Link, query: &TaskQuery) -> Result<Vec<TaskRecord>, Failure> {
    // To the server 0 is no limit.
    if query.limit == 0 {
        return Ok(Vec::new());
    }
    let how = How {
        sort: doc! { ORDER: -1 },
        limit: i64::try_from(query.limit).unwrap_or(i64::MAX),
        ..How::default()
    };
    let found = link.find(tasks::COLLECTION, filter(query), how).await?;
    Ok(found.iter().map(tasks::read).collect::<Result<_, _>>()?)
}

/// Each of these goes along an index that holds the order as its last part, so that no page ever
/// sorts.
pub(super) fn filter(query: &TaskQuery) -> Document {
    let mut order = doc! { "$gte": 0_i64 };
    if let Some(before) = query.before.filter(|before| *before <= HIGHEST_ORDER) {
        order.insert("$lt", bits(before));
    }
    let mut filter = doc! { ORDER: order };
    if let Some(user) = &query.user {
        filter.insert("user_id", user.as_str());
    }
    if let Some(worker) = &query.worker {
        filter.insert("worker_id", worker.as_str());
    }
    if !query.statuses.is_empty() {
        let words = query.statuses.iter().map(|status| status.as_str().into());
        filter.insert("status", doc! { "$in": words.collect::<Array>() });
    }
    filter
}

pub(super) async fn count_by_status(link: &Link) -> Result<BTreeMap<TaskStatus, u64>, Failure> {
    let words = TaskStatus::ALL.iter().map(|status| status.as_str().into());
    // By status, and no more than that: the index alone answers.
    let pipeline = [
        doc! { "$match": {
            "status": { "$in": words.collect::<Array>() },
            ORDER: { "$gte": 0_i64 },
        } },
        doc! { "$group": { "_id": "$status", "count": { "$sum": 1_i64 } } },
    ];
    let mut session = link.session().await?;
    let collection = link.collection(tasks::COLLECTION);
    let aggregate = collection
        .aggregate(pipeline)
        .max_time(link.limits.work)
        .session(&mut session);
    let mut cursor = link.within(aggregate.into_future()).await?;
    let mut counts = BTreeMap::new();
    while let Some(group) = link.next(&mut cursor, &mut session).await? {
        let word = group.get_str("_id").unwrap_or_default();
        let status = word.parse().map_err(|error| ReadError::Unreadable {
            table: tasks::COLLECTION,
            key: "(a count)".to_owned(),
            column: "status",
            problem: format!("{error}"),
        })?;
        let count = group.get("count").and_then(Bson::as_i64).unwrap_or(0);
        counts.insert(status, count.cast_unsigned());
    }
    Ok(counts)
}

pub(super) async fn attempts(link: &Link, task: &TaskId) -> Result<Vec<AssignmentRecord>, Failure> {
    let filter = doc! { "task_id": task.to_string(), ORDER: { "$gte": 0_i64 } };
    let how = How {
        sort: doc! { "attempt": 1 },
        ..How::default()
    };
    let found = link.find(assignments::COLLECTION, filter, how).await?;
    let read = found.iter().map(assignments::read);
    Ok(read.collect::<Result<_, _>>()?)
}

pub(super) async fn result(link: &Link, task: &TaskId) -> Result<Option<ResultRecord>, Failure> {
    let found = link.get(results::COLLECTION, &task.to_string()).await?;
    Ok(found.as_ref().map(results::read).transpose()?)
}

pub(super) async fn files(link: &Link, task: &TaskId) -> Result<Option<FilesRecord>, Failure> {
    match link.get(files::COLLECTION, &task.to_string()).await? {
        Some(document) => Ok(Some(with_pages(link, &document).await?)),
        None => Ok(None),
    }
}

pub(super) async fn files_of_user(
    link: &Link,
    user: &UserName,
) -> Result<Vec<FilesRecord>, Failure> {
    let filter = doc! { "user_id": user.as_str(), ORDER: { "$gte": 0_i64 } };
    let how = How {
        sort: doc! { ORDER: -1 },
        ..How::default()
    };
    let mut all = Vec::new();
    for document in link.find(files::COLLECTION, filter, how).await? {
        all.push(with_pages(link, &document).await?);
    }
    Ok(all)
}

pub(super) async fn files_page(
    link: &Link,
    query: &FilesQuery,
) -> Result<Vec<FilesOfTask>, Failure> {
    if query.limit == 0 {
        return Ok(Vec::new());
    }
    let how = How {
        sort: doc! { ORDER: -1 },
        limit: i64::try_from(query.limit).unwrap_or(i64::MAX),
        ..How::default()
    };
    let mut page = Vec::new();
    for document in link
        .find(files::COLLECTION, files_filter(query), how)
        .await?
    {
        let fields = Fields::new(files::COLLECTION, &document);
        page.push(FilesOfTask {
            order: fields.must(ORDER, Fields::count)?,
            files: with_pages(link, &document).await?,
        });
    }
    Ok(page)
}

pub(super) fn files_filter(query: &FilesQuery) -> Document {
    let mut order = doc! { "$gte": 0_i64 };
    if let Some(before) = query.before.filter(|before| *before <= HIGHEST_ORDER) {
        order.insert("$lt", bits(before));
    }
    doc! { "user_id": query.user.as_str(), ORDER: order }
}

/// What a user's files take. Those that were removed have nothing in their lists, or are about to.
pub(super) async fn files_bytes(link: &Link, user: &UserName) -> Result<u64, Failure> {
    let mut sizes = BTreeMap::new();
    let counted = doc! { "user_id": user.as_str(), "bytes": { "$gt": 0_i64 } };
    let how = How {
        fields: doc! { "bytes": 1 },
        ..How::default()
    };
    for document in link.find(files::COLLECTION, counted, how).await? {
        let bytes = Fields::new(files::COLLECTION, &document).must("bytes", Fields::count)?;
        sizes.insert(document_id(&document), bytes);
    }
    // Those of an earlier version, and of the Go master.
    let uncounted =
        doc! { "user_id": user.as_str(), "bytes": Bson::Null, ORDER: { "$gte": 0_i64 } };
    for document in link
        .find(files::COLLECTION, uncounted, How::default())
        .await?
    {
        let bytes = with_pages(link, &document).await?.bytes();
        sizes.insert(document_id(&document), bytes);
    }
    let tasks = texts(sizes.keys().cloned().collect());
    for document in among(link, removed::COLLECTION, "_id", tasks, doc! {}).await? {
        if removed::read(&document)?.removed.files.is_some() {
            sizes.remove(&document_id(&document));
        }
    }
    Ok(sizes.into_values().fold(0, u64::saturating_add))
}

fn document_id(document: &Document) -> String {
    document.get_str("_id").unwrap_or_default().to_owned()
}

/// The tasks that a user submitted under a key.
pub(super) async fn submitted(
    link: &Link,
    user: &UserName,
    key: &str,
) -> Result<Vec<SubmittedUnder>, Failure> {
    let how = How {
        sort: doc! { ORDER: 1 },
        fields: tasks::submit_fields(),
        ..How::default()
    };
    let found = link
        .find(tasks::COLLECTION, submit_filter(user, key), how)
        .await?;
    Ok(found
        .iter()
        .map(tasks::read_submit)
        .collect::<Result<_, _>>()?)
}

pub(super) fn submit_filter(user: &UserName, key: &str) -> Document {
    doc! { "user_id": user.as_str(), "submit_key": key, ORDER: { "$gte": 0_i64 } }
}

async fn with_pages(link: &Link, document: &Document) -> Result<FilesRecord, Failure> {
    let mut pages = Vec::new();
    for number in 1..=files::pages(document)? {
        let task = document.get_str("_id").unwrap_or_default();
        let id = files::page_id(task, number);
        let page = link.get(files::PAGES, &id).await?;
        pages.push(page.ok_or_else(|| missing_page(id))?);
    }
    Ok(files::read(document, &pages)?)
}

/// Why the files of a task can't be read.
pub(super) fn missing_page(id: String) -> ReadError {
    ReadError::Unreadable {
        table: files::PAGES,
        key: id,
        column: "file_paths",
        problem: "the page is missing".to_owned(),
    }
}
