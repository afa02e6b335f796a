//! A worker's last word on an attempt: taken when its log is on this disk.

use cloudai_core::{Answer, Input, Reported};
use cloudai_model::{AttemptId, WorkerId};
use cloudai_proto::{Completion, ReportAnswer};
use tonic::Status;

use super::{
    auth::worker_call_status,
    cluster_service::{ClusterService, mixed_up, stopped},
    old_nodes,
};
use crate::core_loop::Stopped;

/// How much of a log's end is stored with the result.
pub(super) const LOG_TAIL: usize = 64 << 10;

/// What the core answered to a worker's word on an attempt.
pub(super) fn reported(answer: Result<Answer, Stopped>) -> Result<Reported, Status> {
    match answer.map_err(stopped)? {
        Answer::Reported(reported) => reported.map_err(|error| worker_call_status(&error)),
        _ => Err(mixed_up()),
    }
}

/// The same for the wire.
pub(super) fn answer(reported: Reported, taken: &str) -> ReportAnswer {
    match reported {
        Reported::Live | Reported::Ended => ReportAnswer::Taken {
            message: taken.to_owned(),
        },
        Reported::Superseded => ReportAnswer::Superseded {
            message: "this attempt was superseded: drop what is held of it".to_owned(),
        },
    }
}

/// How a worker stands to an attempt, before anything is done to its log or its files.
pub(super) async fn vet(
    service: &ClusterService,
    worker: &WorkerId,
    attempt: &AttemptId,
) -> Result<Reported, Status> {
    let (worker, attempt) = (worker.clone(), attempt.clone());
    reported(
        service
            .master
            .core
            .call(|call| Input::Vet {
                call,
                worker,
                attempt,
            })
            .await,
    )
}

/// Takes a result in, once the log is whole here.
pub(super) async fn complete(
    service: &ClusterService,
    completion: Completion,
) -> Result<ReportAnswer, Status> {
    if completion.old.is_some() {
        return old_nodes::complete(service, completion).await;
    }
    let Completion {
        worker,
        mut report,
        log_length,
        ..
    } = completion;
    let attempt = report.attempt.clone();
    let mut log_tail = String::new();
    // Of one that has ended all is here, and a longer log than it had is nobody's.
    let was_live = vet(service, &worker, &attempt).await? == Reported::Live;
    if was_live {
        let length = log_length.unwrap_or(0);
        let here = service
            .logs
            .complete(&worker, &attempt, length, LOG_TAIL)
            .await;
        let (here, tail) = here.map_err(|pending| Status::unavailable(pending.to_string()))?;
        if report.log.is_complete() {
            report.log = here;
        }
        log_tail = tail;
    }
    let input = |call| Input::Finished {
        call,
        worker,
        report: Box::new(report),
        log_tail,
    };
    let reported = reported(service.master.core.call(input).await)?;
    if was_live && reported != Reported::Live {
        // It ended meanwhile, and perhaps before its log was asked for once more above.
        service.logs.leave(&attempt);
    }
    Ok(answer(reported, "Task result received"))
}
