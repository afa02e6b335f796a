//! What a journal holds, and how it becomes bytes: BSON documents one behind another, records as
//! the MongoDB store writes them.

use std::{io, sync::Arc};

use cloudai_model::{
    AttemptId, TaskId, Wall,
    account::AccountChange,
    record::{Record, TaskRecord},
};
use mongodb::bson::{Bson, Document, doc};

use super::content::Place;
use crate::mongo::documents::{
    Fields, accounts, assignments, cluster, files, removed, results, stop_orders, tasks, workers,
};

/// One thing that was written down.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Entry {
    /// From here on this master has the database under this name, or is about to take it.
    Owner(String),
    /// A batch that the database has not confirmed.
    Batch(Arc<Vec<Record>>),
    /// Every batch up to the one that begins here in the file is in the database.
    Done(Place),
    /// A task that was accepted before the store had been read. Its order is 0: it has none yet.
    Submitted(Box<TaskRecord>),
    /// Such a task was cancelled.
    Cancelled(TaskId),
    /// Such a task is in the store.
    HandedOver(TaskId),
}

/// An entry, and where it stands in the content of its frame.
#[derive(Debug, PartialEq)]
pub(super) struct Placed {
    pub(super) entry: Entry,
    pub(super) at: usize,
    pub(super) end: usize,
    /// Where the document of each record of a batch begins.
    pub(super) records: Vec<usize>,
}

/// Why something could not be written as bytes, or read back.
pub(super) type Problem = String;

/// Appends an entry to the content of a frame.
pub(super) fn encode(entry: Entry, content: &mut Vec<u8>) -> Result<Placed, Problem> {
    let at = content.len();
    let mut records = Vec::new();
    let head = match &entry {
        Entry::Owner(owner) => doc! { "entry": "owner", "owner": owner },
        Entry::Batch(batch) => {
            let count = i64::try_from(batch.len()).unwrap_or(i64::MAX);
            doc! { "entry": "batch", "records": count }
        }
        Entry::Done(last) => doc! { "entry": "done", "last": last.cast_signed() },
        Entry::Submitted(task) => doc! { "entry": "submitted", "task": tasks::write(task) },
        Entry::Cancelled(task) => doc! { "entry": "cancelled", "task_id": task.to_string() },
        Entry::HandedOver(task) => doc! { "entry": "handed over", "task_id": task.to_string() },
    };
    push(head, content)?;
    if let Entry::Batch(batch) = &entry {
        records.reserve(batch.len());
        for record in batch.iter() {
            records.push(content.len());
            push(write(record), content)?;
        }
    }
    Ok(Placed {
        entry,
        at,
        end: content.len(),
        records,
    })
}

fn push(document: Document, content: &mut Vec<u8>) -> Result<(), Problem> {
    content.extend(document.to_vec().map_err(|error| error.to_string())?);
    Ok(())
}

/// Reads the content of a frame.
pub(super) fn decode(content: &[u8]) -> Result<Vec<Placed>, Problem> {
    let mut rest = io::Cursor::new(content);
    let mut entries = Vec::new();
    while place(&rest) < content.len() {
        entries.push(next(&mut rest)?);
    }
    Ok(entries)
}

/// Reads the one record whose document this is.
pub(super) fn decode_record(document: &[u8]) -> Result<Record, Problem> {
    read(&pull(&mut io::Cursor::new(document))?)
}

fn place(rest: &io::Cursor<&[u8]>) -> usize {
    usize::try_from(rest.position()).unwrap_or(usize::MAX)
}

fn pull(rest: &mut io::Cursor<&[u8]>) -> Result<Document, Problem> {
    // It may quote what stands there, as it is.
    Document::from_reader(rest)
        .map_err(|error| error.to_string().replace(char::is_control, "\u{fffd}"))
}

fn next(rest: &mut io::Cursor<&[u8]>) -> Result<Placed, Problem> {
    let at = place(rest);
    let head = pull(rest)?;
    let fields = Fields::new("journal", &head);
    let said = |error: crate::ReadError| error.to_string();
    let task_id = || fields.must("task_id", Fields::parsed).map_err(said);
    let mut records = Vec::new();
    let entry = match head.get_str("entry").unwrap_or_default() {
        "owner" => Entry::Owner(fields.must("owner", Fields::text).map_err(said)?),
        "batch" => {
            let count: usize = fields.must("records", Fields::small).map_err(said)?;
            let mut batch = Vec::new();
            for _ in 0..count {
                records.push(place(rest));
                batch.push(read(&pull(rest)?)?);
            }
            Entry::Batch(Arc::new(batch))
        }
        "done" => Entry::Done(fields.must("last", Fields::count).map_err(said)?),
        "submitted" => {
            let task = fields.must("task", Fields::document).map_err(said)?;
            Entry::Submitted(Box::new(tasks::read(task).map_err(said)?))
        }
        "cancelled" => Entry::Cancelled(task_id()?),
        "handed over" => Entry::HandedOver(task_id()?),
        other => return Err(format!("{other:?} is no entry that this program knows")),
    };
    Ok(Placed {
        entry,
        at,
        end: place(rest),
        records,
    })
}

/// What a task's order is good for in a document is none of a journal's business.
const NO_ORDER: u64 = 0;

fn write(record: &Record) -> Document {
    let attempt = |attempt: &AttemptId| {
        doc! { "task_id": attempt.task.to_string(), "attempt": i64::from(attempt.number) }
    };
    let (kind, mut document) = match record {
        Record::Cluster(record) => ("cluster", cluster::write(record)),
        Record::Worker(record) => ("worker", workers::write(record)),
        Record::WorkerRemoved(worker) => ("worker removed", doc! { "worker_id": worker.as_str() }),
        Record::TaskAdded(record) => ("task added", tasks::write(record)),
        Record::TaskChanged(task, state) => {
            let mut document = tasks::write_state(state);
            document.insert("task_id", task.to_string());
            ("task changed", document)
        }
        Record::SpecChanged(task, change) => {
            let mut document = tasks::write_change(change);
            document.insert("task_id", task.to_string());
            ("spec changed", document)
        }
        Record::Assignment(record) => ("assignment", assignments::write(record, NO_ORDER)),
        Record::Result(record) => ("result", results::write(record, NO_ORDER)),
        Record::Files(record) => {
            let (mut document, pages) = files::write(record, NO_ORDER);
            document.insert("further", pages);
            ("files", document)
        }
        Record::StopOrder(record) => ("stop order", stop_orders::write(record)),
        Record::StopOrderDone(done) => ("stop order done", attempt(done)),
        Record::Removed(record) => ("removed", removed::write(record, NO_ORDER)),
        Record::TaskForgotten(task) => ("task forgotten", doc! { "task_id": task.to_string() }),
        Record::Forgotten(numbers) => ("forgotten", removed::write_forgotten(*numbers)),
        Record::Account(change) => write_account(change),
    };
    document.insert("record", kind);
    document
}

fn read(document: &Document) -> Result<Record, Problem> {
    let fields = Fields::new("journal", document);
    let said = |error: crate::ReadError| error.to_string();
    Ok(match document.get_str("record").unwrap_or_default() {
        "cluster" => Record::Cluster(cluster::read(document).map_err(said)?),
        "worker" => Record::Worker(workers::read(document).map_err(said)?),
        "worker removed" => {
            Record::WorkerRemoved(fields.must("worker_id", Fields::parsed).map_err(said)?)
        }
        "task added" => Record::TaskAdded(Box::new(tasks::read(document).map_err(said)?)),
        "task changed" => Record::TaskChanged(
            fields.must("task_id", Fields::parsed).map_err(said)?,
            tasks::read_state(document).map_err(said)?,
        ),
        "spec changed" => Record::SpecChanged(
            fields.must("task_id", Fields::parsed).map_err(said)?,
            tasks::read_change(document).map_err(said)?,
        ),
        "assignment" => Record::Assignment(assignments::read(document).map_err(said)?),
        "result" => Record::Result(Box::new(results::read(document).map_err(said)?)),
        "files" => {
            let further = fields.list("further").map_err(said)?;
            let page = |page: &Bson| page.as_document().cloned();
            let pages = further.into_iter().flatten().map(page);
            let pages: Option<Vec<Document>> = pages.collect();
            let pages = pages.ok_or("expected pages of files as documents")?;
            Record::Files(Box::new(files::read(document, &pages).map_err(said)?))
        }
        "stop order" => Record::StopOrder(stop_orders::read(document).map_err(said)?),
        "stop order done" => Record::StopOrderDone(AttemptId::new(
            fields.must("task_id", Fields::parsed).map_err(said)?,
            fields.must("attempt", Fields::small).map_err(said)?,
        )),
        "removed" => Record::Removed(removed::read(document).map_err(said)?),
        "task forgotten" => {
            Record::TaskForgotten(fields.must("task_id", Fields::parsed).map_err(said)?)
        }
        "forgotten" => Record::Forgotten(removed::read_forgotten(document).map_err(said)?),
        kind if kind.starts_with(ACCOUNT) => Record::Account(read_account(kind, document)?),
        other => return Err(format!("{other:?} is no record that this program knows")),
    })
}

/// What the kinds of changes of accounts begin with.
const ACCOUNT: &str = "account: ";

fn write_account(change: &AccountChange) -> (&'static str, Document) {
    match change {
        AccountChange::User(user) => ("account: user", accounts::write_user(user)),
        AccountChange::UserRemoved(user) => {
            ("account: user removed", doc! { "username": user.as_str() })
        }
        AccountChange::Key(key) => ("account: key", accounts::write_key(key)),
        AccountChange::KeyRemoved(key) => ("account: key removed", doc! { "key_id": key }),
        AccountChange::TokenEnded(token) => ("account: token ended", accounts::write_token(token)),
        AccountChange::TokensForgotten(before) => {
            ("account: tokens forgotten", doc! { "before_ms": before.0 })
        }
        AccountChange::Audit(entry) => ("account: audit", accounts::write_audit(entry)),
        AccountChange::AuditForgotten(before) => {
            ("account: audit forgotten", doc! { "before_ms": before.0 })
        }
    }
}

fn read_account(kind: &str, document: &Document) -> Result<AccountChange, Problem> {
    let fields = Fields::new("journal", document);
    let said = |error: crate::ReadError| error.to_string();
    let before = || {
        fields
            .must("before_ms", Fields::whole)
            .map(Wall)
            .map_err(said)
    };
    Ok(match kind.strip_prefix(ACCOUNT).unwrap_or_default() {
        "user" => AccountChange::User(Box::new(accounts::read_user(document).map_err(said)?)),
        "user removed" => {
            AccountChange::UserRemoved(fields.must("username", Fields::parsed).map_err(said)?)
        }
        "key" => AccountChange::Key(Box::new(accounts::read_key(document).map_err(said)?)),
        "key removed" => {
            AccountChange::KeyRemoved(fields.must("key_id", Fields::text).map_err(said)?)
        }
        "token ended" => AccountChange::TokenEnded(accounts::read_token(document).map_err(said)?),
        "tokens forgotten" => AccountChange::TokensForgotten(before()?),
        "audit" => AccountChange::Audit(Box::new(accounts::read_audit(document).map_err(said)?)),
        "audit forgotten" => AccountChange::AuditForgotten(before()?),
        _ => return Err(format!("{kind:?} is no record that this program knows")),
    })
}
