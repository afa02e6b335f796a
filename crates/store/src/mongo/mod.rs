//! The store for teams that run MongoDB 5.0 or later, as a replica set or a single server.
//!
//! `documents` says what is stored, `plan` what a batch comes to, `head` when it is there, `commit`
//! how it gets there. Whatever fails, the head decides: what it names is there.

mod accounts;
mod adopt;
mod commit;
pub(crate) mod documents;
mod ended;
mod export;
mod failure;
mod filling;
mod forget;
pub(crate) mod fuzzing;
mod head;
mod link;
mod load;
mod open;
mod plan;
mod query;
mod reader;
mod settings;
mod sign_of_life;
mod writer;
mod writes;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use cloudai_model::{
    TaskId, TaskStatus, UserName, Wall,
    account::AuditRecord,
    record::{AssignmentRecord, FilesRecord, Record, Removed, ResultRecord, TaskRecord},
};
use mongodb::bson::oid::ObjectId;
use tokio::sync::mpsc;

pub use self::{
    adopt::Adopted,
    filling::MongoFilling,
    open::MongoOpenError,
    reader::MongoReader,
    settings::{MongoSettings, MongoSettingsError},
};
use self::{
    failure::Failure, head::Claim, link::Link, settings::Limits, sign_of_life::SignOfLife,
    writer::Writer,
};
use crate::{
    AuditQuery, CommitError, EndedQuery, EndedTask, FilesOfTask, FilesQuery, Highest, ReadError,
    Store, StoredAccounts, SubmittedUnder, TaskQuery,
};

/// Keeps records in a database of MongoDB, which it takes over from any other master.
pub struct MongoStore {
    link: Arc<Link>,
    owner: String,
    writer: Writer,
    adopted: Adopted,
    life: SignOfLife,
}

impl MongoStore {
    /// Opens the database, or makes it. Within a tokio runtime: the writer is a task of it.
    ///
    /// # Errors
    /// See [`MongoOpenError`]; none of them says a password.
    pub async fn open(settings: &MongoSettings) -> Result<Self, MongoOpenError> {
        Self::open_as(settings, &Self::fresh_owner(), &[]).await
    }

    /// A name to own a database under, which nobody else has.
    pub(crate) fn fresh_owner() -> String {
        ObjectId::new().to_hex()
    }

    /// Asks whether a commit would find the database, as this store's.
    ///
    /// # Errors
    /// As of a commit.
    pub(crate) async fn ping(&self) -> Result<(), CommitError> {
        let failed = |failure: Failure| failure.at_commit(&self.link.place);
        match head::Head::find(&self.link).await.map_err(failed)? {
            Some(head) if head.owner == self.owner => Ok(()),
            _ => Err(failed(Failure::TakenOver)),
        }
    }

    /// The same for who remembers having had it: under this name from now on, and only if whoever
    /// had it last did so under one of the `former`, if there are any.
    ///
    /// # Errors
    /// See [`MongoOpenError`].
    pub(crate) async fn open_as(
        settings: &MongoSettings,
        owner: &str,
        former: &[String],
    ) -> Result<Self, MongoOpenError> {
        Self::open_claiming(settings, Limits::default(), Claim::of(owner, former)).await
    }

    #[cfg(test)]
    async fn open_within(settings: &MongoSettings, limits: Limits) -> Result<Self, MongoOpenError> {
        Self::open_claiming(settings, limits, Claim::of(&Self::fresh_owner(), &[])).await
    }

    async fn open_claiming(
        settings: &MongoSettings,
        limits: Limits,
        claim: Claim,
    ) -> Result<Self, MongoOpenError> {
        Ok(Self::of(open::open(settings, limits, &claim, false).await?))
    }

    fn of(opened: open::Opened) -> Self {
        Self {
            life: SignOfLife::start(&opened.link, &opened.owner),
            link: opened.link,
            owner: opened.owner,
            writer: Writer::start(opened.committer),
            adopted: opened.adopted,
        }
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

    async fn files_page(&self, query: &FilesQuery) -> Result<Vec<FilesOfTask>, ReadError> {
        self.read(query::files_page(&self.link, query).await)
    }

    async fn files_bytes_of_user(&self, user: &UserName) -> Result<u64, ReadError> {
        self.read(query::files_bytes(&self.link, user).await)
    }

    async fn submitted(
        &self,
        user: &UserName,
        key: &str,
    ) -> Result<Vec<SubmittedUnder>, ReadError> {
        self.read(query::submitted(&self.link, user, key).await)
    }

    async fn accounts(&self) -> Result<StoredAccounts, ReadError> {
        self.read(accounts::all(&self.link).await)
    }

    async fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditRecord>, ReadError> {
        self.read(accounts::audit(&self.link, query).await)
    }

    async fn oldest_audit(&self, before: Wall, limit: usize) -> Result<Vec<Wall>, ReadError> {
        self.read(accounts::oldest(&self.link, before, limit).await)
    }

    async fn ended(&self, query: &EndedQuery) -> Result<Vec<EndedTask>, ReadError> {
        self.read(ended::tasks(&self.link, query).await)
    }

    async fn removed(&self, tasks: &[TaskId]) -> Result<BTreeMap<TaskId, Removed>, ReadError> {
        self.read(ended::removed(&self.link, tasks).await)
    }

    async fn close(&self) -> Result<(), CommitError> {
        self.writer.close().await;
        self.life.end().await;
        self.link.close();
        // Ends the driver's tasks and connections; those of reads under way, too.
        self.link.client.clone().shutdown().immediate(true).await;
        Ok(())
    }
}
