//! Reports and uploads of old workers: which attempt they mean, and answers in the words that
//! they know.

use std::{future::Future, pin::pin, time::Duration};

use cloudai_core::{Answer, Input, Reported};
use cloudai_model::{AttemptId, Whole, WorkerId};
use cloudai_proto::{Completion, OldResult, Refused, ReportAnswer, UploadAnswer};
use tokio::time::{MissedTickBehavior, interval};
use tonic::Status;

use super::{
    cluster_service::{ClusterService, mixed_up, stopped},
    reports::{LOG_TAIL, answer, reported, vet},
};

/// How often the core is told that an old worker is still at work on an attempt that its
/// heartbeats lack. Two of those in a row would make it missing.
const SIGN_INTERVAL: Duration = Duration::from_millis(500);

/// Which attempt an old node means, and on which worker it is; `None`: none that is known.
pub(super) async fn meant(
    service: &ClusterService,
    worker: Option<&WorkerId>,
    told: &AttemptId,
) -> Result<Option<(WorkerId, AttemptId)>, Status> {
    let (worker, told) = (worker.cloned(), told.clone());
    let ask = |call| Input::WhichAttempt { call, worker, told };
    match service.master.core.call(ask).await.map_err(stopped)? {
        Answer::Attempt(meant) => meant.map_err(|error| Status::unavailable(error.to_string())),
        _ => Err(mixed_up()),
    }
}

/// Waits for work on what an old worker sends, while the attempt doesn't count as missing.
pub(super) async fn while_busy<T>(
    service: &ClusterService,
    worker: &WorkerId,
    attempt: &AttemptId,
    work: impl Future<Output = T>,
) -> T {
    let mut work = pin!(work);
    let mut sign = interval(SIGN_INTERVAL);
    sign.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = sign.tick() => {
                // If it can't be told, the work itself will find out.
                let _ = meant(service, Some(worker), attempt).await;
            }
        }
    }
}

/// An answer without the word "superseded", which old workers don't know.
pub(super) fn in_old_words(answer: UploadAnswer) -> UploadAnswer {
    match answer {
        UploadAnswer::Superseded { message } => UploadAnswer::Refused(Refused(message)),
        other => other,
    }
}

/// Takes an old worker's result in, also if it doesn't wait for that. It need not come a second
/// time, so nothing but the store and room on the disk is waited for without a limit.
pub(super) async fn complete(
    service: &ClusterService,
    completion: Completion,
) -> Result<ReportAnswer, Status> {
    let told = (completion.worker.clone(), completion.report.attempt.clone());
    let work = {
        let service = service.clone();
        async move { take_in(&service, completion).await }
    };
    service.old_results.take(told, work).await
}

async fn take_in(service: &ClusterService, completion: Completion) -> Result<ReportAnswer, Status> {
    let Completion {
        worker,
        mut report,
        old,
        ..
    } = completion;
    let old = old.unwrap_or_default();
    if let Some((_, attempt)) = meant(service, Some(&worker), &report.attempt).await? {
        report.attempt = attempt;
    }
    let attempt = report.attempt.clone();
    let mut log_tail = String::new();
    // Of one that is repeated all is here.
    let was_live = vet(service, &worker, &attempt).await? == Reported::Live;
    if was_live {
        let room = service.master.room.until_logs_are_taken();
        while_busy(service, &worker, &attempt, room).await;
        let logs = service.logs.clone();
        let at = report.end.finished_at;
        let log = logs.complete_old(&worker, &attempt, old.logs.clone(), at, LOG_TAIL);
        let log = while_busy(service, &worker, &attempt, log).await;
        (report.log, log_tail) =
            log.unwrap_or_else(|error| (Whole::Incomplete(error.to_string()), String::new()));
        let files = files(service, &attempt, &old);
        report.files = while_busy(service, &worker, &attempt, files).await?;
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
    Ok(match answer(reported, "Task result received") {
        ReportAnswer::Superseded { message } => ReportAnswer::Refused(Refused(message)),
        other => other,
    })
}

/// Whether the files are here that the worker named, or tried to send.
async fn files(
    service: &ClusterService,
    attempt: &AttemptId,
    old: &OldResult,
) -> Result<Whole, Status> {
    let named = old.output_files.len();
    let stored = stored(service, attempt).await?;
    let expected = named > 0 && !stored;
    let not_taken = service.old_uploads.settle(attempt, expected).await;
    if stored || self::stored(service, attempt).await? {
        return Ok(Whole::Complete);
    }
    Ok(match not_taken {
        Some(why) => Whole::Incomplete(format!("its worker's upload was not taken: {why}")),
        None if named == 0 => Whole::Complete,
        None => Whole::Incomplete(format!(
            "its worker had named {named} and sent none when it reported"
        )),
    })
}

/// Whether files of this attempt are here.
async fn stored(service: &ClusterService, attempt: &AttemptId) -> Result<bool, Status> {
    let stored = service.master.store.files(&attempt.task).await;
    let stored = stored.map_err(|error| Status::unavailable(error.to_string()))?;
    Ok(stored.is_some_and(|stored| stored.attempt == *attempt))
}
