//! What the master is told of an attempt: how far it is, and its last word.

use std::time::Duration;

use cloudai_files::log::tail_text;
use cloudai_model::{AttemptId, ContainerEnd, Phase};
use cloudai_proto::{Completion, Progress, ReportAnswer, completion::OldResult};
use cloudai_worker_core::{Delivery, Outcome, Report};
use tonic::{Code, Status};

use crate::{
    backoff, console,
    context::{Context, blocking},
    master_link::{Connected, call},
};

/// The master answers a report when it has the log whole and on disk.
const REPORT_LIMIT: Duration = Duration::from_secs(60);
const PROGRESS_LIMIT: Duration = Duration::from_secs(10);
/// How much of a log an old master gets with the result.
const OLD_LOG_BYTES: usize = 64 * 1024;

/// Sends a last word once, and tells the core what came of it.
pub(crate) async fn run(context: Context, report: Report, tries: u32) {
    backoff::wait(tries).await;
    let attempt = report.report.attempt.clone();
    let master = context.master.ready().await;
    let delivery = send(&context, &master, report).await;
    if let Delivery::Undelivered(reason) | Delivery::Refused(reason) = &delivery {
        tracing::debug!(%attempt, reason, "the report will be sent again");
    }
    context.core.outcome(&attempt, Outcome::Reported(delivery));
}

/// A no that may change; from an old master it may be for good.
pub(crate) fn refused<T>(master: &Connected, reason: String) -> Delivery<T> {
    if master.is_old {
        Delivery::Refused(reason)
    } else {
        Delivery::Undelivered(reason)
    }
}

/// A call that failed. An old master's own error is a no: a Go server says whatever it doesn't like
/// as one, mostly `UNKNOWN`.
pub(crate) fn failed<T>(master: &Connected, status: &Status) -> Delivery<T> {
    let reason = status.message().to_owned();
    if is_said(status) {
        refused(master, reason)
    } else {
        Delivery::Undelivered(reason)
    }
}

/// Whether the other side has said so, rather than not having been reached or heard.
fn is_said(status: &Status) -> bool {
    use std::error::Error as _;
    let away = matches!(
        status.code(),
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled
    );
    // What this side finds wrong with a connection has its cause with it.
    !away && status.source().is_none()
}

async fn send(context: &Context, master: &Connected, report: Report) -> Delivery<()> {
    let attempt = report.report.attempt.clone();
    let completion = Completion {
        worker: context.settings.id.clone(),
        log_length: Some(report.log_length_bytes),
        old: if master.is_old {
            old_result(context, &attempt, report.file_names).await
        } else {
            None
        },
        report: report.report,
    };
    let mut client = master.client.clone();
    let request = if master.is_old {
        completion.into_old_wire()
    } else {
        completion.into_wire()
    };
    let answer = call(REPORT_LIMIT, request, |r| client.report_task_completion(r)).await;
    match answer.map(ReportAnswer::from_wire) {
        Ok(ReportAnswer::Taken { message }) => {
            console::line(format_args!("✓ Task result reported: {message}"));
            Delivery::Acknowledged(())
        }
        Ok(ReportAnswer::Superseded { message }) => {
            console::task(
                &attempt.task,
                format_args!("the master has no use for this result: {message}"),
            );
            Delivery::Superseded
        }
        Ok(ReportAnswer::Refused(reason)) => refused(master, reason.to_string()),
        Err(status) => failed(master, &status),
    }
}

/// What an old master can show of the log, and the names of the files that it was sent.
async fn old_result(
    context: &Context,
    attempt: &AttemptId,
    output_files: Vec<String>,
) -> Option<OldResult> {
    let place = context.spool.held(attempt)?;
    let tail = blocking(move || tail_text(&place.log(), OLD_LOG_BYTES)).await;
    let logs = tail.inspect_err(|error| tracing::warn!(%error, "no log for an old master"));
    Some(OldResult {
        logs: logs.unwrap_or_default(),
        output_files,
        ..OldResult::default()
    })
}

/// Tells the master how far an attempt is. What gets lost is in the next heartbeat.
pub(crate) async fn progress(
    context: Context,
    attempt: AttemptId,
    phase: Phase,
    detail: String,
    end: Option<Box<ContainerEnd>>,
) {
    let Some(master) = context.master.now().filter(|master| !master.is_old) else {
        return;
    };
    let progress = Progress {
        worker: context.settings.id.clone(),
        attempt,
        phase,
        detail,
        at: cloudai_clock::now().wall,
        end: end.map(|end| *end),
    };
    let mut client = master.client.clone();
    let request = progress.into_wire();
    let sent = call(PROGRESS_LIMIT, request, |r| client.report_task_progress(r)).await;
    if let Err(status) = sent
        && status.code() != Code::Unimplemented
    {
        tracing::debug!(%status, "progress got lost");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_master_itself_says_is_a_no() {
        for code in [
            Code::Unknown,
            Code::Internal,
            Code::NotFound,
            Code::ResourceExhausted,
        ] {
            assert!(is_said(&Status::new(code, "no such task")), "{code:?}");
        }
        for code in [Code::Unavailable, Code::DeadlineExceeded, Code::Cancelled] {
            assert!(!is_said(&Status::new(code, "not now")), "{code:?}");
        }
        let broken = Status::from_error(Box::new(std::io::Error::other("the line broke")));
        assert_eq!(broken.code(), Code::Unknown);
        assert!(!is_said(&broken), "nobody has said that");
    }
}
