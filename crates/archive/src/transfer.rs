//! All records of one store on their way into another, and the proof that they have come.
//!
//! What is sent and what is read back are compared as they go by, so that neither is ever held as a
//! whole, and the one sent may change meanwhile: of each record 64 bits are kept.

use std::{
    fmt::Write as _,
    hash::{DefaultHasher, Hasher},
    sync::Arc,
};

use cloudai_model::{
    account::{AccountChange, KeyRecord},
    record::Record,
};
use cloudai_store::{CommitError, Export, Holdings, Piece, ReadError, Store};
use tokio::sync::mpsc;

use crate::Progress;

/// Chunks that may wait to be written.
const WAITING_CHUNKS: usize = 4;

/// Why records didn't get from one store to the other.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// They can't be read.
    #[error("the records of {place} can't be read")]
    Read {
        /// From where.
        place: String,
        /// Why.
        #[source]
        cause: ReadError,
    },
    /// One of them is not as it was written.
    #[error(
        "a record of {place} can't be read; `master-node store check` names all that is wrong there"
    )]
    Unreadable {
        /// Where.
        place: String,
        /// Which, and why.
        #[source]
        cause: ReadError,
    },
    /// They can't be written.
    #[error("the records can't be written to {place}")]
    Write {
        /// Where to.
        place: String,
        /// Why.
        #[source]
        cause: CommitError,
    },
    /// What is read back is not what was written.
    #[error(
        "what {place} holds is not what was written there: {problem}. This should never be; keep \
         both stores and report it"
    )]
    Differs {
        /// Where.
        place: String,
        /// What differs.
        problem: String,
    },
}

/// What was sent: how much of what, and 64 bits of each.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    pub(crate) holdings: Holdings,
    seals: Vec<u64>,
}

/// Hands every piece of a store to `take`.
pub(crate) async fn each<E: From<ReadError>>(
    export: &Arc<dyn Export>,
    mut take: impl AsyncFnMut(Piece) -> Result<(), E>,
) -> Result<(), E> {
    let (sink, mut source) = mpsc::channel(WAITING_CHUNKS);
    let from = export.clone();
    let sending = tokio::spawn(async move { from.export(sink).await });
    while let Some(piece) = source.recv().await {
        take(piece).await?;
    }
    Ok(sending.await.expect("reading a store does not panic")?)
}

/// Hands every record of a store to `take`; one that can't be read ends it.
pub(crate) async fn each_record(
    export: &Arc<dyn Export>,
    mut take: impl FnMut(Record),
) -> Result<(), TransferError> {
    let place = export.describe();
    let read = each(export, async |piece| match piece {
        Piece::Records(records) => {
            records.into_iter().for_each(&mut take);
            Ok(())
        }
        Piece::Unreadable(cause) => Err(Broken::Unreadable(cause)),
    });
    read.await.map_err(|broken| broken.at(&place, ""))
}

/// Writes every record of one store to another, as `adjust` leaves it.
pub(crate) async fn transfer(
    from: &Arc<dyn Export>,
    to: &Arc<dyn Store>,
    mut adjust: impl FnMut(&mut Record) + Send,
    progress: &Progress,
) -> Result<Sent, TransferError> {
    let (place, target) = (from.describe(), to.describe());
    let mut sent = Sent::default();
    let written = each(from, async |piece| {
        let mut records = match piece {
            Piece::Records(records) => records,
            Piece::Unreadable(cause) => return Err(Broken::Unreadable(cause)),
        };
        for record in &mut records {
            adjust(record);
            sent.holdings.add(record);
            sent.seals.push(seal(record));
        }
        to.commit(Arc::new(records)).await?;
        progress("records written", sent.seals.len() as u64);
        Ok(())
    });
    written.await.map_err(|broken| broken.at(&place, &target))?;
    Ok(sent)
}

/// Makes sure that a store holds what was sent there, and nothing else. Each record is handed to
/// `take` besides.
pub(crate) async fn compare(
    sent: &Sent,
    with: &Arc<dyn Export>,
    progress: &Progress,
    mut take: impl FnMut(Record),
) -> Result<(), TransferError> {
    let place = with.describe();
    let differs = |problem: String| TransferError::Differs {
        place: place.clone(),
        problem,
    };
    let mut count = 0;
    let mut wrong = None;
    each_record(with, |record| {
        if wrong.is_none() && sent.seals.get(count) != Some(&seal(&record)) {
            wrong = Some(name(&record));
        }
        count += 1;
        if count.is_multiple_of(1000) {
            progress("records compared", count as u64);
        }
        take(record);
    })
    .await?;
    progress("records compared", count as u64);
    if let Some(name) = wrong {
        return Err(differs(format!("{name} differs")));
    }
    if count != sent.seals.len() {
        let expected = sent.seals.len();
        return Err(differs(format!("{count} records of {expected} are there")));
    }
    Ok(())
}

enum Broken {
    Read(ReadError),
    Unreadable(ReadError),
    Write(CommitError),
}

impl From<ReadError> for Broken {
    fn from(cause: ReadError) -> Self {
        Self::Read(cause)
    }
}

impl From<CommitError> for Broken {
    fn from(cause: CommitError) -> Self {
        Self::Write(cause)
    }
}

impl Broken {
    fn at(self, from: &str, to: &str) -> TransferError {
        let (from, to) = (from.to_owned(), to.to_owned());
        match self {
            Self::Read(cause) => TransferError::Read { place: from, cause },
            Self::Unreadable(cause) => TransferError::Unreadable { place: from, cause },
            Self::Write(cause) => TransferError::Write { place: to, cause },
        }
    }
}

/// 64 bits of all that a record says. Its debug form shows every field, and numbers exactly.
fn seal(record: &Record) -> u64 {
    struct Text(DefaultHasher);
    impl std::fmt::Write for Text {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            self.0.write(text.as_bytes());
            Ok(())
        }
    }
    let mut text = Text(DefaultHasher::new());
    write!(text, "{record:?}").expect("hashing takes any text");
    if let Record::Account(AccountChange::Key(key)) = record {
        // What its debug form holds back.
        let KeyRecord { name, hash, .. } = &**key;
        write!(text, "{name:?}{hash:?}{:?}", key.created_at).expect("hashing takes any text");
    }
    text.0.finish()
}

/// Which record it is, for people.
fn name(record: &Record) -> String {
    match record {
        Record::Cluster(_) => "the cluster".to_owned(),
        Record::Worker(worker) => format!("worker {}", worker.worker),
        Record::WorkerRemoved(worker) => format!("worker {worker}"),
        Record::TaskAdded(task) => format!("task {}", task.task),
        Record::TaskChanged(task, _) | Record::SpecChanged(task, _) => format!("task {task}"),
        Record::Assignment(assignment) => format!("attempt {}", assignment.attempt),
        Record::Result(result) => format!("the result of {}", result.attempt),
        Record::Files(files) => format!("the files of {}", files.attempt),
        Record::StopOrder(order) => format!("the stop order of {}", order.attempt),
        Record::StopOrderDone(attempt) => format!("the stop order of {attempt}"),
        Record::Removed(record) => format!("what was removed of task {}", record.task),
        Record::TaskForgotten(task) => format!("task {task}"),
        Record::Forgotten(_) => "the highest numbers of forgotten tasks".to_owned(),
        Record::Account(change) => match change {
            AccountChange::User(user) => format!("user {}", user.user),
            AccountChange::UserRemoved(user) => format!("user {user}"),
            AccountChange::Key(key) => format!("key {}", key.id),
            AccountChange::KeyRemoved(key) => format!("key {key}"),
            AccountChange::TokenEnded(_) | AccountChange::TokensForgotten(_) => {
                "an ended token".to_owned()
            }
            AccountChange::Audit(entry) => format!("entry {} of the audit", entry.number),
            AccountChange::AuditForgotten(_) => "the audit".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use cloudai_model::{KeyScope, Wall};

    use super::*;

    #[test]
    fn keys_that_differ_in_what_is_not_shown_have_other_seals() {
        let key = KeyRecord {
            id: "k-1".to_owned(),
            user: "ann".parse().unwrap(),
            name: "ci".to_owned(),
            hash: [1; 32],
            scope: KeyScope::Read,
            created_at: Wall(1),
            expires_at: None,
        };
        let of =
            |key: &KeyRecord| seal(&Record::Account(AccountChange::Key(Box::new(key.clone()))));
        let mut others = [key.clone(), key.clone(), key.clone()];
        others[0].hash[31] = 2;
        others[1].name = "cd".to_owned();
        others[2].created_at = Wall(2);
        for other in &others {
            assert_ne!(of(other), of(&key), "{other:?}");
        }
        assert_eq!(of(&key), of(&key.clone()));
    }
}
