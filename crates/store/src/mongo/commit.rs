//! One batch at a time: checked, written, and, where its outcome is not known, settled before the
//! next.
//!
//! On a replica set a batch is one transaction, and the head in it. Where there are no
//! transactions, or the batch is too large for one, it goes into the head or into chunks first,
//! then the head names it, and then it is carried out.

use std::{future::IntoFuture as _, pin::pin, sync::Arc, time::Duration};

use cloudai_model::record::Record;
use mongodb::{ClientSession, error::UNKNOWN_TRANSACTION_COMMIT_RESULT};
use sha2::{Digest as _, Sha256};

use super::{
    failure::Failure,
    head::{self, Head},
    link::Link,
    plan,
    settings::write_concern,
    writes::{self, Write},
};
use crate::CommitError;

/// The pause before a commit is tried again, at first; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How often the end of a transaction is asked for once more before all of it is tried again.
const COMMIT_AGAIN: usize = 1;

/// The one who writes.
pub(super) struct Committer {
    link: Arc<Link>,
    owner: String,
    /// The last batch that is known to be there.
    number: i64,
    /// A batch that was sent and of which it is not known whether it came through.
    unsettled: Option<Unsettled>,
    /// Kept: a later transaction on a session ends an earlier one that was left open on the server.
    session: Option<ClientSession>,
}

struct Unsettled {
    number: i64,
    digest: String,
    batch: Arc<Vec<Record>>,
}

impl Committer {
    pub(super) fn new(link: Arc<Link>, owner: String, number: i64) -> Self {
        Self {
            link,
            owner,
            number,
            unsettled: None,
            session: None,
        }
    }

    /// Commits a batch; tries again for a while what may pass.
    pub(super) async fn commit(&mut self, batch: &Arc<Vec<Record>>) -> Result<(), CommitError> {
        let place = self.link.place.clone();
        let mut give_up = pin!(tokio::time::sleep(self.link.limits.retry));
        let mut pause = FIRST_PAUSE;
        loop {
            let failure = match self.attempt(batch).await {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            if matches!(failure, Failure::NoAnswer(_)) {
                // What became of it on the server is not known; neither is what it is in.
                self.session = None;
            }
            if !failure.passes() {
                return Err(failure.at_commit(&place));
            }
            tokio::select! {
                biased;
                () = &mut give_up => return Err(failure.at_commit(&place)),
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
            }
        }
    }

    async fn attempt(&mut self, batch: &Arc<Vec<Record>>) -> Result<(), Failure> {
        if let Some(settled) = self.settle().await?
            && (Arc::ptr_eq(&settled, batch) || settled == *batch)
        {
            return Ok(());
        }
        let writes = plan::plan(&self.link, batch).await?;
        if writes.is_empty() {
            return Ok(());
        }
        let chunks = writes::encode(&writes)?;
        let digest = digest(&chunks);
        let number = self.number + 1;
        self.unsettled = Some(Unsettled {
            number,
            digest: digest.clone(),
            batch: Arc::clone(batch),
        });
        self.write(number, &digest, writes, &chunks).await?;
        self.number = number;
        self.unsettled = None;
        Ok(())
    }

    /// Finds out what became of a batch of unknown outcome, and carries it out to its end if it is
    /// there: then it is returned.
    async fn settle(&mut self) -> Result<Option<Arc<Vec<Record>>>, Failure> {
        let Some(unsettled) = &self.unsettled else {
            return Ok(None);
        };
        let head = Head::find(&self.link).await?.ok_or(Failure::TakenOver)?;
        if head.owner != self.owner {
            return Err(Failure::TakenOver);
        }
        let committed = head.number == unsettled.number && head.digest == unsettled.digest;
        if head.number > self.number {
            let _still = self.link.still.lock().await;
            head.redo(&self.link).await?;
            if head.has_chunks() {
                head::clear(&self.link, &self.owner, head.number).await?;
            }
        }
        self.number = head.number;
        let settled = self.unsettled.take();
        Ok(settled.filter(|_| committed).map(|it| it.batch))
    }

    async fn write(
        &mut self,
        number: i64,
        digest: &str,
        writes: Vec<Write>,
        chunks: &[Vec<u8>],
    ) -> Result<(), Failure> {
        if self.link.replica_set && chunks.len() == 1 {
            match self.transaction(number, digest, &writes).await {
                Err(failure) if failure.is_too_large() => {}
                outcome => return outcome,
            }
        }
        let link = Arc::clone(&self.link);
        let _still = link.still.lock().await;
        self.chunks(number, digest, writes, chunks).await
    }

    async fn transaction(
        &mut self,
        number: i64,
        digest: &str,
        writes: &[Write],
    ) -> Result<(), Failure> {
        let link = Arc::clone(&self.link);
        let mut session = match self.session.take() {
            Some(session) => session,
            None => link.session().await?,
        };
        let outcome = transaction(&link, &mut session, &self.owner, number, digest, writes).await;
        link.note(&session);
        self.session = Some(session);
        outcome
    }

    async fn chunks(
        &mut self,
        number: i64,
        digest: &str,
        writes: Vec<Write>,
        chunks: &[Vec<u8>],
    ) -> Result<(), Failure> {
        let link = &*self.link;
        let (here, count) = match chunks {
            [only] => (Some(only.as_slice()), 0),
            several => {
                for (place, bytes) in (0..).zip(several) {
                    let keep = head::keep_chunk(number, digest, place, bytes);
                    link.write(keep, None).await?;
                }
                (None, i64::try_from(several.len()).unwrap_or(i64::MAX))
            }
        };
        let advance = head::advance(&self.owner, number, digest, here, count);
        let mut session = link.session().await?;
        let reply = link.write(advance, Some(&mut session)).await?;
        if head::matched(&reply) == 0 {
            return Err(Failure::HeadMoved);
        }
        // From here on the batch is there, and what fails is done again by whoever comes next.
        match here {
            Some(_) => head::carry_out(link, writes, number).await?,
            None => {
                drop(writes);
                for bytes in chunks {
                    let writes = writes::decode(bytes).map_err(|problem| Failure::Refused {
                        code: 0,
                        message: problem,
                    })?;
                    head::carry_out(link, writes, number).await?;
                }
            }
        }
        if count > 0 || link.replica_set {
            head::clear(link, &self.owner, number).await?;
        }
        Ok(())
    }
}

async fn transaction(
    link: &Link,
    session: &mut ClientSession,
    owner: &str,
    number: i64,
    digest: &str,
    writes: &[Write],
) -> Result<(), Failure> {
    let concern = write_concern(&link.limits);
    let start = session.start_transaction().write_concern(concern);
    link.within(start.max_commit_time(link.limits.work).into_future())
        .await?;
    if let Err(failure) = fill(link, session, owner, number, digest, writes).await {
        // If it can't be aborted either, the server does so by itself.
        let _ = link.within(session.abort_transaction().into_future()).await;
        return Err(failure);
    }
    let mut left = COMMIT_AGAIN;
    loop {
        match link
            .within(session.commit_transaction().into_future())
            .await
        {
            Err(Failure::Driver(error))
                if left > 0 && error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT) =>
            {
                left -= 1;
            }
            outcome => return outcome,
        }
    }
}

async fn fill(
    link: &Link,
    session: &mut ClientSession,
    owner: &str,
    number: i64,
    digest: &str,
    writes: &[Write],
) -> Result<(), Failure> {
    let advance = head::advance(owner, number, digest, None, 0);
    let reply = link.write_in(advance, session).await?;
    if head::matched(&reply) == 0 {
        return Err(Failure::HeadMoved);
    }
    for command in writes::commands(writes.to_vec(), number, true) {
        link.write_in(command, session).await?;
    }
    Ok(())
}

fn digest(chunks: &[Vec<u8>]) -> String {
    let mut hash = Sha256::new();
    for chunk in chunks {
        hash.update(chunk);
    }
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
