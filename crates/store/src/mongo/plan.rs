//! From records to what becomes of each document, checked against what is stored. Records of one
//! document come to one write.
//!
//! Nobody else writes meanwhile: there is one committer, and if another master takes the database
//! over, the head doesn't move for this one any more.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use cloudai_model::{
    AttemptId, TaskId,
    record::{
        AssignmentRecord, FilesRecord, Record, RemovedRecord, ResultRecord, TaskRecord, TaskState,
    },
};
use mongodb::bson::{Bson, Document, doc};

use super::{
    accounts::Changing,
    documents::{
        Fields, ORDER, assignments, bits, cluster, files, removed, results, stop_orders, tasks,
        workers,
    },
    failure::Failure,
    forget::Leaving,
    link::{How, Link},
    writes::{Change, Write},
};
use crate::{CommitError, HIGHEST_ORDER, Highest, ReadError, batch::that_count, same_submit};

/// How many ids one question to the database names.
const IDS_AT_ONCE: usize = 10_000;

/// What a batch comes to.
pub(super) async fn plan(link: &Link, batch: &[Record]) -> Result<Vec<Write>, Failure> {
    let batch: Vec<Cow<'_, Record>> = that_count(batch).collect();
    let mut plan = Plan::read(link, &batch).await?;
    for record in &batch {
        plan.add(record)?;
    }
    Ok(plan.writes())
}

/// What is stored that the batch speaks of, and what becomes of it.
#[derive(Default)]
struct Plan {
    tasks: BTreeMap<TaskId, Task>,
    /// Whose an order is.
    orders: BTreeMap<u64, TaskId>,
    results: BTreeMap<TaskId, ResultRecord>,
    leaving: Leaving,
    accounts: Changing,
    changes: BTreeMap<(&'static str, String), Change>,
}

struct Task {
    order: u64,
    /// As it was submitted; not read where nothing asks for it.
    submitted: Option<TaskRecord>,
    added: bool,
    state: Option<TaskState>,
    /// The fields of what was asked for that have changed.
    changed: Document,
}

impl Plan {
    async fn read(link: &Link, batch: &[Cow<'_, Record>]) -> Result<Self, Failure> {
        let (mut added, mut spoken_of, mut with_result) =
            (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let mut orders = BTreeSet::new();
        let (mut forgotten, mut with_files) = (BTreeSet::new(), BTreeSet::new());
        let mut numbers = false;
        for record in batch {
            match &**record {
                Record::TaskAdded(task) => {
                    added.insert(task.task.to_string());
                    orders.insert(task.order);
                }
                Record::TaskChanged(task, _) | Record::SpecChanged(task, _) => {
                    spoken_of.insert(task.to_string());
                }
                Record::Assignment(assignment) => {
                    spoken_of.insert(assignment.attempt.task.to_string());
                }
                Record::Result(result) => {
                    spoken_of.insert(result.attempt.task.to_string());
                    with_result.insert(result.attempt.task.to_string());
                }
                Record::Files(files) => {
                    spoken_of.insert(files.attempt.task.to_string());
                    with_files.insert(files.attempt.task.to_string());
                }
                Record::Removed(removed) => {
                    spoken_of.insert(removed.task.to_string());
                }
                Record::TaskForgotten(task) => {
                    spoken_of.insert(task.to_string());
                    forgotten.insert(task.to_string());
                }
                Record::Forgotten(_) => numbers = true,
                Record::Cluster(_)
                | Record::Worker(_)
                | Record::WorkerRemoved(_)
                | Record::StopOrder(_)
                | Record::StopOrderDone(_)
                | Record::Account(_) => {}
            }
        }
        let orders = orders.into_iter().map(bits).collect();
        spoken_of.retain(|task| !added.contains(task));
        let (whole, places, of_orders, results, leaving, accounts) = tokio::try_join!(
            among(link, tasks::COLLECTION, "_id", texts(added), doc! {}),
            among(
                link,
                tasks::COLLECTION,
                "_id",
                texts(spoken_of),
                place_only()
            ),
            among(link, tasks::COLLECTION, ORDER, orders, place_only()),
            among(
                link,
                results::COLLECTION,
                "_id",
                texts(with_result),
                doc! {}
            ),
            Leaving::read(link, forgotten, with_files, numbers),
            Changing::read(link, batch.iter().map(Cow::as_ref)),
        )?;
        let mut plan = Self {
            leaving,
            accounts,
            ..Self::default()
        };
        for document in &whole {
            let task = tasks::read(document)?;
            plan.know(task.task.clone(), task.order, Some(task));
        }
        for document in &places {
            let (id, order) = place(document)?;
            plan.know(id, order, None);
        }
        for document in &of_orders {
            let (id, order) = place(document)?;
            plan.orders.insert(order, id);
        }
        for document in &results {
            let result = results::read(document)?;
            plan.results.insert(result.attempt.task.clone(), result);
        }
        Ok(plan)
    }

    fn know(&mut self, id: TaskId, order: u64, submitted: Option<TaskRecord>) {
        let task = Task {
            order,
            submitted,
            added: false,
            state: None,
            changed: Document::new(),
        };
        self.tasks.insert(id, task);
    }

    fn add(&mut self, record: &Record) -> Result<(), Failure> {
        match record {
            Record::Cluster(record) => {
                self.put(cluster::COLLECTION, cluster::ID, cluster::write(record));
            }
            Record::Worker(record) => {
                self.put(
                    workers::COLLECTION,
                    record.worker.as_str(),
                    workers::write(record),
                );
            }
            Record::WorkerRemoved(worker) => self.remove(workers::COLLECTION, worker.as_str()),
            Record::TaskAdded(task) => self.add_task(task)?,
            Record::TaskChanged(task, state) => {
                self.task("task change", task)?.state = Some(state.clone());
            }
            Record::SpecChanged(task, change) => {
                let task = self.task("spec change", task)?;
                if let (true, Some(added)) = (task.added, &mut task.submitted) {
                    change.apply(&mut added.spec);
                }
                task.changed.extend(tasks::write_changed(change));
            }
            Record::Assignment(assignment) => self.put_assignment(assignment)?,
            Record::Result(result) => self.add_result(result)?,
            Record::Files(files) => self.put_files(files)?,
            Record::StopOrder(stop) => {
                let id = stop.attempt.to_string();
                self.put(stop_orders::COLLECTION, &id, stop_orders::write(stop));
            }
            Record::StopOrderDone(attempt) => {
                self.remove(stop_orders::COLLECTION, &AttemptId::to_string(attempt));
            }
            Record::Removed(record) => self.put_removed(record)?,
            Record::TaskForgotten(task) => self.forget(task),
            Record::Forgotten(numbers) => self.raise_forgotten((*numbers).into()),
            Record::Account(change) => self.changes.extend(self.accounts.add(change)?),
        }
        Ok(())
    }

    fn put(&mut self, collection: &'static str, id: &str, document: Document) {
        let key = (collection, id.to_owned());
        self.changes.insert(key, Change::Put(document));
    }

    fn remove(&mut self, collection: &'static str, id: &str) {
        let key = (collection, id.to_owned());
        self.changes.insert(key, Change::Remove);
    }

    fn task(&mut self, record: &'static str, id: &TaskId) -> Result<&mut Task, Failure> {
        let unknown = || CommitError::UnknownTask {
            record,
            task: id.clone(),
        };
        Ok(self.tasks.get_mut(id).ok_or_else(unknown)?)
    }

    fn add_task(&mut self, task: &TaskRecord) -> Result<(), Failure> {
        if task.order > HIGHEST_ORDER {
            return Err(Failure::Record(CommitError::OrderTooHigh {
                task: task.task.clone(),
                order: task.order,
            }));
        }
        let conflict = |what, key| Err(Failure::Record(CommitError::Conflict { what, key }));
        if let Some(known) = self.tasks.get(&task.task) {
            let known = known.submitted.as_ref();
            return if known.is_some_and(|known| same_submit(task, known)) {
                Ok(())
            } else {
                conflict("task", task.task.to_string())
            };
        }
        if self.orders.contains_key(&task.order) {
            return conflict("order", task.order.to_string());
        }
        self.orders.insert(task.order, task.task.clone());
        self.changes
            .remove(&(tasks::COLLECTION, task.task.to_string()));
        let added = Task {
            order: task.order,
            submitted: Some(task.clone()),
            added: true,
            state: None,
            changed: Document::new(),
        };
        self.tasks.insert(task.task.clone(), added);
        Ok(())
    }

    fn put_assignment(&mut self, record: &AssignmentRecord) -> Result<(), Failure> {
        let order = self.task("assignment", &record.attempt.task)?.order;
        let id = record.attempt.to_string();
        self.put(
            assignments::COLLECTION,
            &id,
            assignments::write(record, order),
        );
        Ok(())
    }

    fn add_result(&mut self, record: &ResultRecord) -> Result<(), Failure> {
        let task = &record.attempt.task;
        let order = self.task("result", task)?.order;
        let id = task.to_string();
        let document = results::write(record, order);
        // As it would be read back: a worker may report a time that no field can hold.
        let stored = results::read(&document)?;
        match self.results.get(task) {
            None => {
                self.results.insert(task.clone(), stored);
                self.put(results::COLLECTION, &id, document);
                Ok(())
            }
            Some(known) if *known == stored => Ok(()),
            Some(_) => Err(Failure::Record(CommitError::Conflict {
                what: "result",
                key: id,
            })),
        }
    }

    fn put_files(&mut self, record: &FilesRecord) -> Result<(), Failure> {
        let order = self.task("files", &record.attempt.task)?.order;
        let id = record.attempt.task.to_string();
        let (document, pages) = files::write(record, order);
        for page in self.leaving.replace_pages(&id, pages.len()) {
            self.remove(files::PAGES, &page);
        }
        for (number, page) in (1..).zip(pages) {
            self.put(files::PAGES, &files::page_id(&id, number), page);
        }
        self.put(files::COLLECTION, &id, document);
        Ok(())
    }

    fn put_removed(&mut self, record: &RemovedRecord) -> Result<(), Failure> {
        let order = self.task("removal", &record.task)?.order;
        let document = removed::write(record, order);
        self.put(removed::COLLECTION, &record.task.to_string(), document);
        Ok(())
    }

    fn forget(&mut self, task: &TaskId) {
        let Some(known) = self.tasks.remove(task) else {
            return;
        };
        self.orders.remove(&known.order);
        self.results.remove(task);
        let id = task.to_string();
        let of_task = |document: &Document| document.get_str("task_id").is_ok_and(|it| it == id);
        let just_put = self
            .changes
            .iter()
            .filter_map(|(key, change)| match change {
                Change::Put(document) if key.0 == assignments::COLLECTION && of_task(document) => {
                    Some(key.1.clone())
                }
                _ => None,
            });
        let attempts: Vec<String> = just_put.chain(self.leaving.attempts(&id)).collect();
        for attempt in attempts {
            self.remove(assignments::COLLECTION, &attempt);
        }
        for page in self.leaving.replace_pages(&id, 0) {
            self.remove(files::PAGES, &page);
        }
        for collection in [
            files::COLLECTION,
            removed::COLLECTION,
            results::COLLECTION,
            tasks::COLLECTION,
        ] {
            self.remove(collection, &id);
        }
        self.raise_forgotten(Highest {
            task_number: task.number(),
            order: known.order,
        });
    }

    fn raise_forgotten(&mut self, numbers: Highest) {
        if let Some(numbers) = self.leaving.raise(numbers) {
            let document = removed::write_forgotten(numbers);
            self.put(removed::FORGOTTEN, removed::HIGHEST, document);
        }
    }

    fn writes(self) -> Vec<Write> {
        let tasks = self.tasks.into_iter().filter_map(|(id, task)| {
            let change = match (task.submitted, task.added, task.state) {
                (Some(mut record), true, state) => {
                    record.state = state.unwrap_or(record.state);
                    Change::Put(tasks::write(&record))
                }
                (_, _, state) => {
                    let mut fields = task.changed;
                    fields.extend(state.as_ref().map(tasks::write_state).into_iter().flatten());
                    if fields.is_empty() {
                        return None;
                    }
                    Change::Set(fields)
                }
            };
            Some(((tasks::COLLECTION, id.to_string()), change))
        });
        let all = tasks.chain(self.changes);
        all.map(|((collection, id), change)| Write {
            collection: collection.to_owned(),
            id,
            change,
        })
        .collect()
    }
}

pub(super) fn texts(ids: BTreeSet<String>) -> Vec<Bson> {
    ids.into_iter().map(Bson::String).collect()
}

/// The documents whose field is one of these.
pub(super) async fn among(
    link: &Link,
    collection: &str,
    field: &str,
    values: Vec<Bson>,
    fields: Document,
) -> Result<Vec<Document>, Failure> {
    let mut found = Vec::new();
    for some in values.chunks(IDS_AT_ONCE) {
        let filter = doc! { field: { "$in": some.to_vec() } };
        let how = How {
            fields: fields.clone(),
            ..How::default()
        };
        found.extend(link.find(collection, filter, how).await?);
    }
    Ok(found)
}

fn place_only() -> Document {
    doc! { "task_id": 1, ORDER: 1 }
}

/// A task's id and order.
fn place(document: &Document) -> Result<(TaskId, u64), ReadError> {
    let fields = Fields::new(tasks::COLLECTION, document);
    Ok((
        fields.must("task_id", Fields::parsed)?,
        fields.must(ORDER, Fields::count)?,
    ))
}
