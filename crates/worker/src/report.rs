//! What the master is told of an attempt: how far it is, and its last word.

use std::time::Duration;

use cloudai_files::{log::tail_text, output::collect};
use cloudai_model::{AttemptId, ContainerEnd, Phase};
use cloudai_proto::{Completion, Progress, ReportAnswer, completion::OldResult};
use cloudai_worker_core::{Delivery, Outcome, Report};
use tonic::Code;

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
/// An old master has no word for "never": so many refusals mean it.
pub(crate) const OLD_REFUSALS: u32 = 10;

/// Sends a last word once, and tells the core what came of it.
pub(crate) async fn run(context: Context, report: Report, tries: u32) {
    backoff::wait(tries).await;
    let attempt = report.report.attempt.clone();
    let master = context.master.ready().await;
    let delivery = match send(&context, &master, report).await {
        Answered::Refused(reason) if master.is_old && tries >= OLD_REFUSALS => {
            console::task(
                &attempt.task,
                format_args!("the master will not have this result: {reason}"),
            );
            Delivery::Superseded
        }
        Answered::Refused(reason) => Delivery::Undelivered(reason),
        Answered::Finally(delivery) => delivery,
    };
    if let Delivery::Undelivered(reason) = &delivery {
        tracing::debug!(%attempt, reason, "the report will be sent again");
    }
    context.core.outcome(&attempt, Outcome::Reported(delivery));
}

/// What came of one try.
enum Answered {
    Finally(Delivery<()>),
    /// The master said no, which may change.
    Refused(String),
}

async fn send(context: &Context, master: &Connected, report: Report) -> Answered {
    let attempt = report.report.attempt.clone();
    let completion = Completion {
        worker: context.settings.id.clone(),
        log_length: Some(report.log_length_bytes),
        old: if master.is_old {
            old_result(context, &attempt).await
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
            Answered::Finally(Delivery::Acknowledged(()))
        }
        Ok(ReportAnswer::Superseded { message }) => {
            console::task(
                &attempt.task,
                format_args!("the master has no use for this result: {message}"),
            );
            Answered::Finally(Delivery::Superseded)
        }
        Ok(ReportAnswer::Refused(refused)) => Answered::Refused(refused.to_string()),
        Err(status) => Answered::Finally(Delivery::Undelivered(status.message().to_owned())),
    }
}

/// What an old master can show of the log, and the names of the files that it was sent.
async fn old_result(context: &Context, attempt: &AttemptId) -> Option<OldResult> {
    let place = context.spool.held(attempt)?;
    let (tail, collected) = blocking(move || {
        let tail = tail_text(&place.log(), OLD_LOG_BYTES);
        (tail, collect(&place.output()))
    })
    .await;
    // Why some can't be read was said when they were to be sent.
    let files = collected.map_or_else(|_| Vec::new(), |collected| collected.files);
    let logs = tail.inspect_err(|error| tracing::warn!(%error, "no log for an old master"));
    Some(OldResult {
        logs: logs.unwrap_or_default(),
        output_files: files.iter().map(|file| file.path.to_string()).collect(),
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
