//! Uploads of old workers as their results see them: under way, or not taken and why.
//!
//! A result of an old worker doesn't say whether its files are whole. What became of its uploads
//! does.

use std::{collections::BTreeMap, time::Duration};

use cloudai_model::AttemptId;
use cloudai_proto::UploadAnswer;
use tokio::{sync::watch, time::timeout};
use tonic::Status;

/// How long a result that names files waits for an upload to begin: some workers send both at once.
const WAIT_FOR_BEGIN: Duration = Duration::from_secs(2);
/// However many tasks never report, no more are remembered than this beside those under way.
const LIMIT: usize = 1000;

/// What is known of the uploads of one attempt.
#[derive(Debug, Default)]
struct Known {
    under_way: u32,
    not_taken: Option<String>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct OldUploads(watch::Sender<BTreeMap<AttemptId, Known>>);

/// An upload that is under way; dropped before its end, it broke off.
pub(super) struct UnderWay<'a> {
    uploads: &'a OldUploads,
    attempt: AttemptId,
    outcome: Option<String>,
}

impl OldUploads {
    /// An upload begins.
    pub(super) fn begin(&self, attempt: &AttemptId) -> UnderWay<'_> {
        self.0.send_modify(|known| {
            if known.len() >= LIMIT {
                known.retain(|_, uploads| uploads.under_way > 0);
            }
            known.entry(attempt.clone()).or_default().under_way += 1;
        });
        UnderWay {
            uploads: self,
            attempt: attempt.clone(),
            outcome: Some("it broke off".to_owned()),
        }
    }

    /// Waits for the uploads that are under way, if files are `expected` also for the first to
    /// begin; why the last was not taken, if it wasn't. It is forgotten with that.
    pub(super) async fn settle(&self, attempt: &AttemptId, expected: bool) -> Option<String> {
        let mut known = self.0.subscribe();
        if expected {
            let begun = known.wait_for(|known| known.contains_key(attempt));
            // Whether it did shows below.
            let _ = timeout(WAIT_FOR_BEGIN, begun).await.is_ok();
        }
        let over = |known: &BTreeMap<AttemptId, Known>| {
            let uploads = known.get(attempt);
            uploads.is_none_or(|uploads| uploads.under_way == 0)
        };
        // The sender is `self`: it is there.
        let _ = known.wait_for(over).await.is_ok();
        let mut not_taken = None;
        self.0.send_modify(|known| {
            not_taken = known.remove(attempt).and_then(|uploads| uploads.not_taken);
        });
        not_taken
    }
}

impl UnderWay<'_> {
    /// It has come to its end.
    pub(super) fn ended(mut self, answer: &Result<UploadAnswer, Status>) {
        self.outcome = match answer {
            Ok(UploadAnswer::Taken { .. }) => None,
            Ok(UploadAnswer::Superseded { message }) => Some(message.clone()),
            Ok(UploadAnswer::Refused(refused)) => Some(refused.to_string()),
            Err(status) => Some(status.message().to_owned()),
        };
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.uploads.0.send_modify(|known| {
            let uploads = known.entry(self.attempt.clone()).or_default();
            uploads.under_way = uploads.under_way.saturating_sub(1);
            uploads.not_taken = self.outcome.take();
        });
    }
}

#[cfg(test)]
mod tests {
    use cloudai_proto::Refused;

    use super::*;

    fn attempt() -> AttemptId {
        AttemptId::new("job".parse().unwrap(), 1)
    }

    fn refused() -> Result<UploadAnswer, Status> {
        Ok(UploadAnswer::Refused(Refused("too large".to_owned())))
    }

    #[tokio::test(start_paused = true)]
    async fn a_result_waits_for_the_upload_under_way_and_learns_what_became_of_it() {
        let uploads = OldUploads::default();
        let attempt = attempt();
        let under_way = uploads.begin(&attempt);
        let settled = uploads.settle(&attempt, false);
        let ended = async {
            tokio::time::sleep(Duration::from_secs(300)).await;
            under_way.ended(&refused());
        };
        let (why, ()) = tokio::join!(settled, ended);
        assert_eq!(why.as_deref(), Some("too large"));
        assert_eq!(uploads.settle(&attempt, false).await, None, "once");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_dropped_broke_off_and_a_later_one_mends_it() {
        let uploads = OldUploads::default();
        drop(uploads.begin(&attempt()));
        let why = uploads.settle(&attempt(), true).await;
        assert_eq!(why.as_deref(), Some("it broke off"));

        drop(uploads.begin(&attempt()));
        let message = String::new();
        let taken = Ok(UploadAnswer::Taken { files: 1, message });
        uploads.begin(&attempt()).ended(&taken);
        assert_eq!(uploads.settle(&attempt(), true).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn where_none_comes_a_result_waits_a_moment_only() {
        let uploads = OldUploads::default();
        let attempt = attempt();
        let settled = uploads.settle(&attempt, true);
        let settled = timeout(WAIT_FOR_BEGIN * 2, settled).await;
        assert_eq!(settled, Ok(None));
    }

    #[tokio::test]
    async fn what_never_reports_is_forgotten() {
        let uploads = OldUploads::default();
        let open = uploads.begin(&attempt());
        for number in 1..=LIMIT as u64 * 2 {
            let task = cloudai_model::TaskId::numbered(number);
            uploads.begin(&AttemptId::new(task, 1)).ended(&refused());
        }
        assert!(uploads.0.borrow().len() <= LIMIT);
        assert!(uploads.0.borrow().contains_key(&attempt()));
        drop(open);
    }
}
