//! The master's store: batches that are atomic, and flushed or lost.
//!
//! It does what `cloudai_store::Store` promises, over the same records. A batch that is under way
//! when the master is killed is there afterwards, or it is not. A batch that failed may be there all
//! the same.

mod tables;

use std::{
    cell::{Ref, RefCell},
    rc::Rc,
};

use cloudai_model::{TaskId, record::Record, record::TaskRecord};

pub use tables::{Highest, TableError, Tables};

use crate::{audit::Seen, plan::FaultKind, world::World};

/// Why a batch was not written, as far as its owner knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Whether it was written is not known. The same batch may be tried again.
    #[error("the database failed")]
    Failed,
    /// It contradicts what is there.
    #[error(transparent)]
    Refused(#[from] TableError),
}

/// See the module.
#[derive(Default)]
pub struct Store {
    tables: RefCell<Tables>,
    under_way: RefCell<Option<Rc<Vec<Record>>>>,
    last_written: RefCell<Option<Rc<Vec<Record>>>>,
}

impl Store {
    /// What is flushed.
    #[must_use]
    pub fn tables(&self) -> Ref<'_, Tables> {
        self.tables.borrow()
    }

    /// A task, as it is flushed.
    #[must_use]
    pub fn task(&self, task: &TaskId) -> Option<TaskRecord> {
        self.tables.borrow().task(task).cloned()
    }
}

impl World {
    /// Writes a batch.
    ///
    /// # Errors
    /// See [`CommitError`].
    pub async fn commit(&self, batch: &Rc<Vec<Record>>) -> Result<(), CommitError> {
        let mut chance = self.chance.of("commit").nth(self.sim.now_ms());
        *self.store.under_way.borrow_mut() = Some(batch.clone());
        self.sim.sleep(chance.between(1, 6)).await;
        if self.conditions.is(FaultKind::StoreStall, None) {
            self.bites(FaultKind::StoreStall);
        }
        let stalls =
            |stalls: FaultKind| move |now: &crate::conditions::Conditions| !now.is(stalls, None);
        self.conditions
            .wait_until(stalls(FaultKind::StoreStall))
            .await;
        self.store.under_way.borrow_mut().take();
        let fails = self.conditions.percent(FaultKind::StoreFailure, None);
        if chance.percent(fails) {
            self.bites(FaultKind::StoreFailure);
            if chance.percent(50) {
                self.flush(batch)?;
            }
            return Err(CommitError::Failed);
        }
        self.flush(batch)?;
        Ok(())
    }

    /// The master is gone: what it was writing is there, or is not.
    pub fn store_loses_its_master(&self) {
        let under_way = self.store.under_way.borrow_mut().take();
        let mut chance = self.chance.of("crash").nth(self.sim.now_ms());
        if let Some(batch) = under_way
            && !self.conditions.is(FaultKind::StoreStall, None)
            && chance.percent(50)
        {
            // What contradicts the store was said by the commit that tried it first.
            let _ = self.flush(&batch).is_ok();
        }
    }

    fn flush(&self, batch: &Rc<Vec<Record>>) -> Result<(), TableError> {
        let again = {
            let last = self.store.last_written.borrow();
            last.as_ref().is_some_and(|last| Rc::ptr_eq(last, batch))
        };
        let applied = self.store.tables.borrow_mut().apply(batch);
        if let Err(error) = &applied {
            self.see(&Seen::StoreRefused(error));
        }
        applied?;
        *self.store.last_written.borrow_mut() = Some(batch.clone());
        if !again {
            self.see(&Seen::Flushed(batch));
        }
        Ok(())
    }
}
