//! Results of old workers that are being taken in: work that goes on without its caller.
//!
//! An old worker may give its report less time than its log takes to arrive. If the work ended with
//! the call, the result would be thrown away each time, and in the end the task run again.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use cloudai_model::{AttemptId, WorkerId};
use cloudai_proto::ReportAnswer;
use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use tonic::Status;

/// Whose result, as the worker tells it.
type Told = (WorkerId, AttemptId);
type Taking = Shared<BoxFuture<'static, Result<ReportAnswer, Status>>>;

/// See the module. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct OldResults(Arc<Mutex<BTreeMap<Told, Taking>>>);

/// Forgets a result when the work on it is over.
struct Over(OldResults, Told);

impl Drop for Over {
    fn drop(&mut self) {
        let Self(OldResults(all), told) = self;
        all.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(told);
    }
}

impl OldResults {
    /// Waits for the result to be taken in; a repeated report joins the first. The work goes on if
    /// the caller doesn't wait.
    pub(super) async fn take(
        &self,
        told: Told,
        work: impl Future<Output = Result<ReportAnswer, Status>> + Send + 'static,
    ) -> Result<ReportAnswer, Status> {
        let taking = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(taking) = all.get(&told) {
                taking.clone()
            } else {
                let (this, of) = (self.clone(), told.clone());
                let work = async move {
                    // Also if it panics: the next report shall begin anew.
                    let _over = Over(this, of);
                    work.await
                };
                let taking = work.boxed().shared();
                tokio::spawn(taking.clone());
                all.insert(told, taking.clone());
                taking
            }
        };
        taking.await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{sync::oneshot, time::timeout};

    use super::*;

    fn told() -> Told {
        let attempt = AttemptId::new("job".parse().unwrap(), 0);
        ("worker-1".parse().unwrap(), attempt)
    }

    fn taken() -> ReportAnswer {
        ReportAnswer::Taken {
            message: "taken".to_owned(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_work_goes_on_without_its_caller_and_is_done_once() {
        let results = OldResults::default();
        let (finish, finished) = oneshot::channel();

        // Given a caller that gives up,
        let work = async { Ok(finished.await.unwrap()) };
        let first = timeout(Duration::from_secs(5), results.take(told(), work));
        assert!(first.await.is_err());

        // when it reports again, it gets the first's answer,
        let again = tokio::spawn({
            let results = results.clone();
            async move {
                let second = async { Err(Status::internal("it was done twice")) };
                results.take(told(), second).await
            }
        });
        tokio::task::yield_now().await;
        finish.send(taken()).unwrap();
        assert_eq!(again.await.unwrap().unwrap(), taken());

        // and nothing is kept.
        assert!(results.0.lock().unwrap().is_empty());
    }
}
