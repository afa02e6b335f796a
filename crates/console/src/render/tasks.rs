//! The table of tasks, and the line with which a task ends.

use std::time::Duration;

use cloudai_model::{
    Phase, TaskStatus, Wall, WorkerId,
    record::{Removed, ResultRecord, TaskRecord},
    retry::retry_words,
};

use super::{
    table::{Cut, table_with_reasons},
    text::{painted, safe},
};
use crate::{output::Style, time::short_span};
use cloudai_operator::TaskView;

/// Tasks as rows, in the order given.
pub(crate) fn tasks(records: &[TaskRecord], now: Wall, style: Style) -> String {
    let rows: Vec<_> = records.iter().map(|record| row(record, now)).collect();
    let heads = [
        ("TASK", Cut::Never),
        ("NAME", Cut::End(8)),
        ("STATUS", Cut::Never),
        ("WORKER", Cut::End(8)),
        ("AGE", Cut::Never),
        ("IMAGE", Cut::Start(8)),
        ("REASON", Cut::Never),
    ];
    table_with_reasons(heads, &rows, style.width, |row, column, cell| {
        if column == 2 {
            painted(&cell, records[row].state.status, style)
        } else {
            cell
        }
    })
}

fn row(record: &TaskRecord, now: Wall) -> [String; 7] {
    let state = &record.state;
    let worker = state.worker.as_ref().map(ToString::to_string);
    [
        record.task.to_string(),
        safe(&record.spec.name),
        state.status.to_string(),
        worker.unwrap_or_default(),
        short_span(now.since(record.submitted_at)),
        record.spec.image.to_string(),
        safe(&standing(record)),
    ]
}

/// What the status doesn't say: the phase where it is finer, and the reason.
fn standing(record: &TaskRecord) -> String {
    let state = &record.state;
    let finer = match state.phase {
        Phase::Queued | Phase::Running | Phase::Done => "",
        phase => phase.as_str(),
    };
    match (finer, state.reason.as_str()) {
        ("", "") if !state.status.is_final() => tries(record).join("; "),
        (finer, "") => finer.to_owned(),
        (_, reason) if reason == state.status.as_str() => String::new(),
        ("", reason) => reason.to_owned(),
        (finer, reason) => format!("{finer}: {reason}"),
    }
}

/// What became of its tries so far: retries that were taken, workers that failed under it.
pub(crate) fn tries(record: &TaskRecord) -> Vec<String> {
    let (state, most) = (&record.state, record.spec.max_retries);
    let retries = (state.failures > 0).then(|| retry_words(state.failures, most, None, ""));
    let down = state.taken_down.len();
    let workers = (down > 0).then(|| {
        let mut names: Vec<_> = state.taken_down.iter().map(WorkerId::as_str).collect();
        names.sort_unstable();
        names.dedup();
        let times = match down {
            1 => "once".to_owned(),
            times => format!("{times} times"),
        };
        format!("its worker was lost {times}: {}", names.join(", "))
    });
    retries.into_iter().chain(workers).collect()
}

/// How a task ended, in one line, and a line for whatever of it is not whole.
pub(crate) fn ending(view: &TaskView) -> String {
    let state = &view.record.state;
    let task = &view.record.task;
    let mut facts = Vec::new();
    if let Some(code) = state.exit_code {
        facts.push(format!("exit code {code}"));
    }
    if let Some(span) = ran(&view.record) {
        facts.push(span);
    }
    match state.failures {
        0 => {}
        1 => facts.push("after 1 retry".to_owned()),
        retries => facts.push(format!("after {retries} retries")),
    }
    let worker = state
        .worker
        .as_ref()
        .map(|worker| format!(" on {worker}"))
        .unwrap_or_default();
    let facts = if facts.is_empty() {
        String::new()
    } else {
        format!(" ({})", facts.join(", "))
    };
    let said = state.exit_code.map(|code| format!("exit code {code}"));
    let reason = match state.reason.as_str() {
        "" | "cancelled" => String::new(),
        reason if said.as_deref() == Some(reason) => String::new(),
        reason => format!(": {}", safe(reason)),
    };
    let mark = match state.status {
        TaskStatus::Completed => "✓",
        _ => "❌",
    };
    let mut text = format!(
        "{mark} Task {task} {}{worker}{facts}{reason}\n",
        state.status
    );
    if let Some(result) = &view.result {
        push_gaps(&mut text, result, &state.reason);
    }
    let Removed { log, files } = &view.removed;
    if let Some(removal) = log {
        text.push_str(&format!(
            "   Note: the log was {}\n",
            safe(&removal.to_string())
        ));
    }
    if let Some(removal) = files {
        text.push_str(&format!(
            "   Note: its files were {}\n",
            safe(&removal.to_string())
        ));
    }
    text
}

/// What is not whole, unless that has been `said`.
fn push_gaps(text: &mut String, result: &ResultRecord, said: &str) {
    for (what, whole) in [("log", &result.log), ("files", &result.files)] {
        if let Some(reason) = whole.reason().filter(|reason| !said.contains(reason)) {
            text.push_str(&format!("   Note: {what} not complete: {}\n", safe(reason)));
        }
    }
}

/// How long the last attempt ran, to the tenth of a second below a minute.
fn ran(record: &TaskRecord) -> Option<String> {
    let span = record.state.completed_at?.since(record.state.started_at?);
    Some(if span < Duration::from_secs(60) {
        format!("{:.1}s", span.as_secs_f64())
    } else {
        short_span(span)
    })
}

#[cfg(test)]
mod tests {
    use cloudai_model::Whole;

    use super::*;
    use crate::{
        render::text::columns,
        testing::{NOW, finished, result_of, task},
    };

    fn three() -> Vec<TaskRecord> {
        let mut running = task(1_697_123_456_000_003, "ml-training");
        running.state.status = TaskStatus::Running;
        running.state.phase = Phase::Running;
        running.state.worker = Some("worker-1".parse().unwrap());
        let mut waiting = task(1_697_123_456_000_002, "evil\x1b[31m");
        waiting.state.reason = "no worker with 1 GPU".to_owned();
        let failed = finished(task(1_697_123_456_000_001, ""), TaskStatus::Failed, 3);
        vec![running, waiting, failed]
    }

    #[test]
    fn at_two_hundred_columns_everything_is_there() {
        assert_eq!(
            tasks(&three(), NOW.wall, Style::PLAIN),
            "\
TASK                   NAME            STATUS   WORKER    AGE  IMAGE                               REASON
task-1697123456000003  ml-training     running  worker-1  10s  docker.io/username/gpu-task:latest
task-1697123456000002  evil\\u{1b}[31m  queued             10s  docker.io/username/gpu-task:latest  no worker with 1 GPU
task-1697123456000001                  failed   worker-1  10s  docker.io/username/gpu-task:latest  exit code 3
"
        );
    }

    #[test]
    fn what_became_of_earlier_tries_is_said_of_what_runs_and_of_what_has_ended() {
        let mut record = three().remove(0);
        record.spec.max_retries = 3;
        record.state.failures = 2;
        let down = ["worker-2", "worker-1", "worker-2"].map(|id| id.parse().unwrap());
        record.state.taken_down = down.to_vec();
        let text = tasks(std::slice::from_ref(&record), NOW.wall, Style::PLAIN);
        let said = "retry 2 of 3; its worker was lost 3 times: worker-1, worker-2\n";
        assert!(text.ends_with(said), "{text}");

        let mut ended = finished(record, TaskStatus::Failed, 3);
        ended.state.failures = 3;
        let view = TaskView {
            record: ended,
            result: None,
            removed: Removed::default(),
        };
        assert_eq!(
            ending(&view),
            "❌ Task task-1697123456000003 failed on worker-1 (exit code 3, 1.5s, after 3 retries)\n"
        );
    }

    #[test]
    fn at_eighty_columns_nothing_wraps_and_ids_stay_whole() {
        let style = Style {
            colour: false,
            width: 80,
            ..Style::PLAIN
        };
        let text = tasks(&three(), NOW.wall, style);
        assert!(text.lines().all(|line| columns(line) <= 80), "{text}");
        assert!(text.contains("\ntask-1697123456000002  evil"), "{text}");
        assert!(text.contains("\n     no worker with 1 GPU\n"), "{text}");
    }

    #[test]
    fn a_status_has_its_colour_on_a_terminal() {
        let style = Style {
            colour: true,
            width: 200,
            ..Style::PLAIN
        };
        let text = tasks(&three(), NOW.wall, style);
        assert!(
            text.contains("  \x1b[31mfailed\x1b[0m   worker-1"),
            "{text}"
        );
    }

    #[test]
    fn an_ending_names_worker_exit_code_and_what_is_missing() {
        let done = finished(task(7, ""), TaskStatus::Completed, 0);
        let mut result = result_of(&done);
        result.files = Whole::Incomplete("disk full".to_owned());
        let view = |record, result| TaskView {
            record,
            result,
            removed: Removed::default(),
        };
        assert_eq!(
            ending(&view(done, Some(result))),
            "✓ Task task-7 completed on worker-1 (exit code 0, 1.5s)\n\
             \x20  Note: files not complete: disk full\n"
        );

        // Once is enough.
        let mut done = finished(task(7, ""), TaskStatus::Completed, 0);
        done.state.reason = "files incomplete: disk full".to_owned();
        let mut result = result_of(&done);
        result.files = Whole::Incomplete("disk full".to_owned());
        assert_eq!(
            ending(&view(done, Some(result))),
            "✓ Task task-7 completed on worker-1 (exit code 0, 1.5s): files incomplete: disk full\n"
        );

        let failed = finished(task(8, ""), TaskStatus::Failed, 3);
        assert_eq!(
            ending(&view(failed, None)),
            "❌ Task task-8 failed on worker-1 (exit code 3, 1.5s)\n"
        );

        let mut cancelled = task(9, "");
        cancelled.state.status = TaskStatus::Cancelled;
        cancelled.state.reason = "cancelled".to_owned();
        assert_eq!(ending(&view(cancelled, None)), "❌ Task task-9 cancelled\n");
    }
}
