//! What the Go master wrote is taken up: each of its documents that can be read becomes one of
//! ours, with the fields that it lacked.
//!
//! Ours have texts as ids, those of the Go master have object ids. A document is written anew under
//! its text first and removed under its object id then, so this can be broken off anywhere and begun
//! again. What can't be read is left alone, and named.

use std::collections::BTreeMap;

use cloudai_model::{
    AttemptId, Grant, TaskId, TaskStatus, Wall,
    record::{AssignmentRecord, TaskRecord},
};
use mongodb::bson::{Bson, Document, doc};

use super::{
    documents::{Fields, ORDER, accounts, assignments, bits, files, results, tasks, workers},
    failure::Failure,
    head,
    link::{How, Link},
    writes::{Change, Write},
};
use crate::ReadError;

/// What an earlier program had left.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Adopted {
    /// How many documents were taken up.
    pub documents: u64,
    /// Those that can't be read, and why. They stay as they are, and nothing reads them.
    pub left_alone: Vec<String>,
}

/// Takes up what is there. Written as by batch `number`.
pub(super) async fn adopt(link: &Link, number: i64) -> Result<Adopted, Failure> {
    let mut adoption = Adoption {
        link,
        number,
        adopted: Adopted::default(),
    };
    adoption.users().await?;
    adoption.workers().await?;
    adoption.assignments_and_tasks().await?;
    adoption.results().await?;
    adoption.files().await?;
    Ok(adoption.adopted)
}

struct Adoption<'a> {
    link: &'a Link,
    number: i64,
    adopted: Adopted,
}

impl Adoption<'_> {
    async fn users(&mut self) -> Result<(), Failure> {
        for document in self.foreign(accounts::USERS, doc! {}).await? {
            let ours = accounts::read_user(&document)
                .map(|record| (record.user.to_string(), accounts::write_user(&record)));
            self.take_up(accounts::USERS, document, ours).await?;
        }
        Ok(())
    }

    async fn workers(&mut self) -> Result<(), Failure> {
        for document in self.foreign(workers::COLLECTION, doc! {}).await? {
            let ours = workers::read(&document)
                .map(|record| (record.worker.to_string(), workers::write(&record)));
            self.take_up(workers::COLLECTION, document, ours).await?;
        }
        Ok(())
    }

    /// Tasks in the order of their submits, after all that are there already; the attempts of each
    /// by their times.
    async fn assignments_and_tasks(&mut self) -> Result<(), Failure> {
        let mut tasks = Vec::new();
        for mut document in self.foreign(tasks::COLLECTION, doc! { "_id": 1 }).await? {
            document.insert(ORDER, bits(0));
            match tasks::read(&document) {
                Ok(record) => tasks.push((record, document)),
                Err(error) => self.adopted.left_alone.push(error.to_string()),
            }
        }
        tasks.sort_by_key(|(record, _)| record.submitted_at);
        let by_time = doc! { "assigned_at": 1, "_id": 1 };
        let mut attempts: BTreeMap<String, Vec<Document>> = BTreeMap::new();
        for document in self.foreign(assignments::COLLECTION, by_time).await? {
            let task = document.get_str("task_id").unwrap_or_default();
            attempts.entry(task.to_owned()).or_default().push(document);
        }
        let mut order = self.highest_order().await?;
        for (mut record, document) in tasks {
            order += 1;
            record.order = order;
            let id = record.task.to_string();
            let of_task = attempts.get(&id).map(Vec::as_slice);
            place(&mut record, of_task.unwrap_or_default());
            let ours = Ok((id, tasks::write(&record)));
            self.take_up(tasks::COLLECTION, document, ours).await?;
        }
        for (id, documents) in attempts {
            let task = self.link.get(tasks::COLLECTION, &id).await?;
            let task = task.as_ref().map(tasks::read).transpose()?;
            // Of those that were there an earlier start may have taken the first up.
            let count = u32::try_from(documents.len()).unwrap_or(u32::MAX);
            let last = task
                .as_ref()
                .map_or(0, |task| task.state.attempt)
                .max(count);
            for (number, document) in (last - count + 1..).zip(documents) {
                let ours = match &task {
                    Some(task) => attempt(&document, task, number, number == last),
                    None => Err(without_task(assignments::COLLECTION, &document)),
                };
                self.take_up(assignments::COLLECTION, document, ours)
                    .await?;
            }
        }
        Ok(())
    }

    async fn results(&mut self) -> Result<(), Failure> {
        for mut document in self.foreign(results::COLLECTION, doc! { "_id": 1 }).await? {
            let task = self.task_of(&document).await?;
            if let Some(task) = &task {
                document.insert("attempt", i64::from(task.state.attempt));
            }
            // As old workers reported it.
            let status = match document.get_str("status") {
                Ok("success") => Some(TaskStatus::Completed),
                Ok("failure") => Some(TaskStatus::Failed),
                _ => None,
            };
            if let Some(status) = status {
                document.insert("status", status.as_str());
            }
            let ours = match &task {
                Some(task) => results::read(&document)
                    .map(|record| (task.task.to_string(), results::write(&record, task.order))),
                None => Err(without_task(results::COLLECTION, &document)),
            };
            self.take_up(results::COLLECTION, document, ours).await?;
        }
        Ok(())
    }

    async fn files(&mut self) -> Result<(), Failure> {
        for mut document in self.foreign(files::COLLECTION, doc! { "_id": 1 }).await? {
            let task = self.task_of(&document).await?;
            if let Some(task) = &task {
                document.insert("attempt", i64::from(task.state.attempt));
            }
            let ours = match &task {
                // A document of theirs has one page: it was one document before.
                Some(task) => files::read(&document, &[])
                    .map(|record| (task.task.to_string(), files::write(&record, task.order).0)),
                None => Err(without_task(files::COLLECTION, &document)),
            };
            self.take_up(files::COLLECTION, document, ours).await?;
        }
        Ok(())
    }

    async fn task_of(&self, document: &Document) -> Result<Option<TaskRecord>, Failure> {
        let id = document.get_str("task_id").unwrap_or_default();
        let task = self.link.get(tasks::COLLECTION, id).await?;
        Ok(task.as_ref().map(tasks::read).transpose()?)
    }

    /// Documents whose ids are theirs; along the index, since there are mostly none.
    async fn foreign(&self, collection: &str, sort: Document) -> Result<Vec<Document>, Failure> {
        let filter = doc! { "_id": { "$type": "objectId" } };
        let how = How {
            sort,
            ..How::default()
        };
        self.link.find(collection, filter, how).await
    }

    async fn highest_order(&self) -> Result<u64, Failure> {
        let how = How {
            sort: doc! { ORDER: -1 },
            fields: doc! { ORDER: 1 },
            limit: 1,
        };
        let filter = doc! { ORDER: { "$gte": 0_i64 } };
        let found = self.link.find(tasks::COLLECTION, filter, how).await?;
        let order = found.first().map(|task| task.get_i64(ORDER));
        Ok(order.and_then(Result::ok).map_or(0, i64::cast_unsigned))
    }

    /// Writes a document anew under our id, with whatever else it had, and removes the old one. If
    /// ours is there already, an earlier start was broken off in between.
    async fn take_up(
        &mut self,
        collection: &'static str,
        theirs: Document,
        ours: Result<(String, Document), ReadError>,
    ) -> Result<(), Failure> {
        let old_id = theirs.get("_id").cloned().unwrap_or(Bson::Null);
        let (id, fields) = match ours {
            Ok(ours) => ours,
            Err(error) => {
                self.adopted.left_alone.push(error.to_string());
                return Ok(());
            }
        };
        if self.link.get(collection, &id).await?.is_none() {
            let mut whole = theirs;
            whole.remove("_id");
            whole.extend(fields);
            let put = Write {
                collection: collection.to_owned(),
                id,
                change: Change::Put(whole),
            };
            head::carry_out(self.link, vec![put], self.number).await?;
        }
        let old =
            doc! { "delete": collection, "deletes": [{ "q": { "_id": old_id }, "limit": 1 }] };
        self.link.write(old, None).await?;
        self.adopted.documents += 1;
        Ok(())
    }
}

/// Where a task stands, from its attempts: the Go master kept neither their number nor the last
/// worker with the task. What it called pending was still waiting if nobody had been given it.
fn place(record: &mut TaskRecord, attempts: &[Document]) {
    let state = &mut record.state;
    state.attempt = u32::try_from(attempts.len()).unwrap_or(u32::MAX);
    let last = attempts.last().map(|last| last.get_str("worker_id"));
    state.worker = last
        .and_then(Result::ok)
        .and_then(|worker| worker.parse().ok());
    if state.worker.is_none() && !state.status.is_final() {
        state.status = TaskStatus::Queued;
        state.phase = cloudai_model::Phase::Queued;
        state.attempt = 0;
    }
}

fn attempt(
    document: &Document,
    task: &TaskRecord,
    number: u32,
    is_last: bool,
) -> Result<(String, Document), ReadError> {
    let fields = Fields::new(assignments::COLLECTION, document);
    let resources = &task.spec.resources;
    let ended = if is_last && !task.state.status.is_final() {
        None
    } else {
        let at = task.state.completed_at.unwrap_or(task.submitted_at);
        Some((at, String::new()))
    };
    let record = AssignmentRecord {
        attempt: AttemptId::new(TaskId::clone(&task.task), number),
        worker: fields.must("worker_id", Fields::parsed)?,
        sequence: 0,
        grant: Grant {
            cpu_milli: resources.cpu_milli,
            memory_bytes: resources.memory_bytes,
            storage_bytes: resources.storage_bytes,
            devices: Vec::new(),
        },
        assigned_at: fields.wall("assigned_at")?.unwrap_or(Wall(0)),
        ended,
    };
    let id = record.attempt.to_string();
    Ok((id, assignments::write(&record, task.order)))
}

fn without_task(collection: &'static str, document: &Document) -> ReadError {
    Fields::new(collection, document).unreadable("task_id", "there is no such task")
}
