//! What must be read before a task is forgotten, or has other files: its attempts, the pages of its
//! files, and the highest numbers that were forgotten before.

use std::collections::{BTreeMap, BTreeSet};

use cloudai_model::record::ForgottenRecord;
use mongodb::bson::{Bson, doc};

use super::{
    documents::{assignments, files, removed},
    failure::Failure,
    link::Link,
    plan::{among, texts},
};
use crate::Highest;

/// See the module.
#[derive(Default)]
pub(super) struct Leaving {
    attempts: BTreeMap<String, Vec<String>>,
    pages: BTreeMap<String, i64>,
    highest: Highest,
}

impl Leaving {
    /// Of tasks that are to be forgotten, and of others that get files; and of what was forgotten
    /// before, if `numbers` of that are to be raised.
    pub(super) async fn read(
        link: &Link,
        forgotten: BTreeSet<String>,
        with_files: BTreeSet<String>,
        numbers: bool,
    ) -> Result<Self, Failure> {
        let mut leaving = Self::default();
        if (numbers || !forgotten.is_empty())
            && let Some(document) = link.get(removed::FORGOTTEN, removed::HIGHEST).await?
        {
            leaving.highest = removed::read_forgotten(&document)?.into();
        }
        let both: BTreeSet<_> = forgotten.union(&with_files).cloned().collect();
        if both.is_empty() {
            return Ok(leaving);
        }
        let pages = doc! { "pages": 1 };
        for document in among(link, files::COLLECTION, "_id", texts(both), pages).await? {
            if let Ok(task) = document.get_str("_id") {
                leaving
                    .pages
                    .insert(task.to_owned(), files::pages(&document)?);
            }
        }
        if forgotten.is_empty() {
            return Ok(leaving);
        }
        let (of, task) = (texts(forgotten), doc! { "task_id": 1 });
        for document in among(link, assignments::COLLECTION, "task_id", of, task).await? {
            if let (Some(Bson::String(id)), Ok(task)) =
                (document.get("_id"), document.get_str("task_id"))
            {
                let attempts = leaving.attempts.entry(task.to_owned()).or_default();
                attempts.push(id.clone());
            }
        }
        Ok(leaving)
    }

    /// The ids of a task's attempts.
    pub(super) fn attempts(&self, task: &str) -> Vec<String> {
        self.attempts.get(task).cloned().unwrap_or_default()
    }

    /// The ids of those pages of a task's files that are left over when so many pages follow.
    pub(super) fn replace_pages(&mut self, task: &str, with: usize) -> Vec<String> {
        let with = i64::try_from(with).unwrap_or(i64::MAX);
        let pages = self.pages.entry(task.to_owned()).or_default();
        let left_over = (with + 1..=*pages).map(|page| files::page_id(task, page));
        let left_over = left_over.collect();
        // The same batch may write them once more.
        *pages = with.max(*pages);
        left_over
    }

    /// The highest numbers of forgotten tasks, now that these are among them.
    pub(super) fn raise(&mut self, numbers: Highest) -> Option<ForgottenRecord> {
        self.highest = self.highest.and(numbers);
        self.highest.as_forgotten()
    }
}
