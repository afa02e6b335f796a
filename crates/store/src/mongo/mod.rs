//! The store for teams that run MongoDB 5.0 or later, as a replica set or a single server.
//!
//! `documents` says what is stored, `plan` what a batch comes to, `head` when it is there, `commit`
//! how it gets there. Whatever fails, the head decides: what it names is there.

mod adopt;
mod commit;
mod documents;
mod failure;
mod head;
mod link;
mod load;
mod open;
mod plan;
mod query;
mod settings;
mod writer;
mod writes;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use cloudai_model::{
    TaskId, TaskStatus, UserName,
    record::{AssignmentRecord, FilesRecord, Record, ResultRecord, TaskRecord},
};
use tokio::sync::mpsc;

pub use self::{
    adopt::Adopted,
    open::MongoOpenError,
    settings::{MongoSettings, MongoSettingsError},
};
use self::{failure::Failure, link::Link, settings::Limits, writer::Writer};
use crate::{CommitError, Highest, ReadError, Store, TaskQuery};

/// Keeps records in a database of MongoDB, which it takes over from any other master.
pub struct MongoStore {
    link: Arc<Link>,
    owner: String,
    writer: Writer,
    adopted: Adopted,
}

impl MongoStore {
    /// Opens the database, or makes it. Within a tokio runtime: the writer is a task of it.
    ///
    /// # Errors
    /// See [`MongoOpenError`]; none of them says a password.
    pub async fn open(settings: &MongoSettings) -> Result<Self, MongoOpenError> {
        Self::open_within(settings, Limits::default()).await
    }

    async fn open_within(settings: &MongoSettings, limits: Limits) -> Result<Self, MongoOpenError> {
        let opened = open::open(settings, limits).await?;
        Ok(Self {
            link: opened.link,
            owner: opened.owner,
            writer: Writer::start(opened.committer),
            adopted: opened.adopted,
        })
    }

    /// What was taken up of an earlier program's documents when it was opened.
    #[must_use]
    pub fn adopted(&self) -> &Adopted {
        &self.adopted
    }

    fn read<T>(&self, outcome: Result<T, Failure>) -> Result<T, ReadError> {
        outcome.map_err(|failure| failure.at_read(&self.link.place))
    }
}

#[async_trait]
impl Store for MongoStore {
    fn describe(&self) -> String {
        self.link.place.clone()
    }

    async fn commit(&self, batch: Arc<Vec<Record>>) -> Result<(), CommitError> {
        self.writer.commit(batch).await
    }

    async fn load(&self, sink: mpsc::Sender<Vec<Record>>) -> Result<Highest, ReadError> {
        self.read(load::load(&self.link, &self.owner, &sink).await)
    }

    async fn task(&self, task: &TaskId) -> Result<Option<TaskRecord>, ReadError> {
        self.read(query::task(&self.link, task).await)
    }

    async fn tasks(&self, query: &TaskQuery) -> Result<Vec<TaskRecord>, ReadError> {
        self.read(query::tasks(&self.link, query).await)
    }

    async fn count_by_status(&self) -> Result<BTreeMap<TaskStatus, u64>, ReadError> {
        self.read(query::count_by_status(&self.link).await)
    }

    async fn assignments(&self, task: &TaskId) -> Result<Vec<AssignmentRecord>, ReadError> {
        self.read(query::attempts(&self.link, task).await)
    }

    async fn result(&self, task: &TaskId) -> Result<Option<ResultRecord>, ReadError> {
        self.read(query::result(&self.link, task).await)
    }

    async fn files(&self, task: &TaskId) -> Result<Option<FilesRecord>, ReadError> {
        self.read(query::files(&self.link, task).await)
    }

    async fn files_of_user(&self, user: &UserName) -> Result<Vec<FilesRecord>, ReadError> {
        self.read(query::files_of_user(&self.link, user).await)
    }

    async fn close(&self) -> Result<(), CommitError> {
        self.writer.close().await;
        self.link.close();
        // Ends the driver's tasks and connections; those of reads under way, too.
        self.link.client.clone().shutdown().immediate(true).await;
        Ok(())
    }
}
