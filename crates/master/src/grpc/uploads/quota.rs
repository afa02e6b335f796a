//! What a user's kept files may take together: whether there is room for those that come.

use cloudai_model::{TaskId, UserName, resources::size_words};
use cloudai_store::{ReadError, Store};
use tonic::Status;

use super::incoming::Problem;
use crate::snapshot::Snapshots;

/// See the module. As of one instant: it is counted anew when files have come and are put away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Quota {
    user: UserName,
    most: u64,
    /// What the user has besides the files that come, and those which they replace.
    others: u64,
}

impl Quota {
    /// What a user may keep of a task; `None`: as much as comes. So it is, too, while the database is out
    /// of reach: what is kept can't be counted then, and a task's end waits for its files.
    ///
    /// # Errors
    /// If what is kept can't be read.
    pub(super) async fn of(
        (store, snapshots): (&dyn Store, &Snapshots),
        user: &UserName,
        task: &TaskId,
    ) -> Result<Option<Self>, ReadError> {
        let Some(most) = snapshots.latest().users.limits(user).files_bytes else {
            return Ok(None);
        };
        let all = match store.files_bytes_of_user(user).await {
            Err(ReadError::OutOfReach { .. }) => return Ok(None),
            all => all?,
        };
        let replaced = store.files(task).await?;
        let replaced = replaced.iter().flat_map(|files| &files.files);
        let replaced: u64 = replaced.map(|file| file.size).sum();
        Ok(Some(Self {
            user: user.clone(),
            most,
            others: all.saturating_sub(replaced),
        }))
    }

    /// Refuses more bytes than there is room for; sent again, they would be refused again.
    pub(super) fn admit(&self, bytes: u64) -> Result<(), Problem> {
        if bytes == 0 || self.others.saturating_add(bytes) <= self.most {
            return Ok(());
        }
        let (user, most, others) = (&self.user, size_words(self.most), size_words(self.others));
        Err(Problem::ForGood(Status::out_of_range(format!(
            "the quota of files of {user} is {most}, and other tasks' files take {others} of it: \
             there is no room for these"
        ))))
    }
}

#[cfg(test)]
impl Quota {
    /// For tests.
    pub(super) fn with(most: u64, others: u64) -> Self {
        let user = "ada".parse().expect("it is a name");
        Self { user, most, others }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_to_the_byte_is_taken_and_one_more_is_not() {
        let quota = Quota::with(10 << 30, 9 << 30);
        assert!(quota.admit(1 << 30).is_ok());
        let Err(Problem::ForGood(refusal)) = quota.admit((1 << 30) + 1) else {
            panic!("one byte too many");
        };
        // As out of range a worker gives files up, and its result says so.
        assert_eq!(refusal.code(), tonic::Code::OutOfRange);
        let words = "the quota of files of ada is 10 GB, and other tasks' files take 9 GB of it";
        assert!(refusal.message().starts_with(words), "{refusal}");
        // A limit that was lowered below what there is takes nothing away, and lets nothing in but what
        // takes no room.
        let lowered = Quota::with(1, 9 << 30);
        assert!(lowered.admit(1).is_err() && lowered.admit(0).is_ok());
    }
}
