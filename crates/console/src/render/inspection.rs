//! The two views of the cluster: what is promised, and what workers say that they hold.

use std::fmt::Write as _;

use cloudai_core::{
    Snapshot,
    inspect::{Deed, Difference, InspectedWorker, Inspection, Mended, Promise},
    registry::HeldReport,
};
use cloudai_model::{Mono, resources::bytes_to_gb};

use super::{
    amounts::Amounts,
    table::{Cut, table},
    text::{counted, wrapped},
};
use crate::{output::Style, time::short_span};

/// Both views, worker by worker, and every difference.
pub(crate) fn inspection(both: &Inspection, style: Style) -> String {
    let mut text = format!(
        "{} live, {} of them waiting; {}\n",
        counted(both.live, "task"),
        both.waiting,
        summary(both)
    );
    for worker in &both.workers {
        push_worker(&mut text, worker, both.at, style);
    }
    if !both.stop_orders.is_empty() {
        text.push_str("To be stopped when their worker is reached:\n");
    }
    for order in &both.stop_orders {
        let (attempt, worker, address) = (&order.attempt, &order.worker, &order.address);
        let _ = writeln!(
            text,
            "  {}, attempt {}, on {worker} at {address}",
            attempt.task, attempt.number
        );
    }
    text
}

fn summary(both: &Inspection) -> String {
    let differences = both.workers.iter().map(|worker| worker.differences.len());
    match differences.sum() {
        0 => "both views agree".to_owned(),
        count => format!("{} between the views", counted(count, "difference")),
    }
}

fn push_worker(text: &mut String, both: &InspectedWorker, now: Mono, style: Style) {
    let worker = &both.worker;
    let _ = writeln!(text, "{}: {}", worker.id, worker.status());
    let promised = format!(
        "{} promised to {}",
        Amounts::from(&worker.allocated).at_length(),
        counted(both.promises.len(), "attempt")
    );
    text.push_str(&wrapped("  Master: ", "          ", &promised, style.width));
    let said = said(worker.reported.as_deref(), worker.active, now);
    text.push_str(&wrapped("  Worker: ", "          ", &said, style.width));
    if !both.promises.is_empty() {
        text.push_str(&promises(&both.promises, style));
    }
    for difference in &both.differences {
        let words = in_words(difference);
        text.push_str(&wrapped("  ❗ ", "     ", &words, style.width));
    }
}

fn said(reported: Option<&HeldReport>, active: bool, now: Mono) -> String {
    let Some(reported) = reported else {
        return "has not said yet what it holds".to_owned();
    };
    let ago = short_span(now.since(reported.at));
    let verb = if active { "holds" } else { "held" };
    let held = counted(reported.held.len(), "attempt");
    format!("{verb} {held}, as it said {ago} ago")
}

fn promises(promises: &[Promise], style: Style) -> String {
    let rows: Vec<_> = promises
        .iter()
        .map(|promise| {
            let state = promise.state.map(|state| state.phase().to_string());
            let said = promise.said.map(|phase| phase.to_string());
            [
                format!("  {}", promise.attempt.task),
                promise.attempt.number.to_string(),
                state.unwrap_or_else(|| "not live".to_owned()),
                said.unwrap_or_else(|| "not named".to_owned()),
                format!("{}", promise.grant.cpu_milli as f64 / 1000.0),
                format!("{:.1} GB", bytes_to_gb(promise.grant.memory_bytes)),
                format!("{}", f64::from(promise.grant.gpu_milli()) / 1000.0),
            ]
        })
        .collect();
    let heads = [
        ("  TASK", Cut::Never),
        ("TRY", Cut::Never),
        ("MASTER", Cut::Never),
        ("WORKER", Cut::Never),
        ("CPU", Cut::Never),
        ("MEMORY", Cut::Never),
        ("GPU", Cut::Never),
    ];
    table(heads, &rows, style.width, |_, _, cell| cell)
}

/// A difference as a sentence.
pub(crate) fn in_words(difference: &Difference) -> String {
    match difference {
        Difference::Missing(attempt) => format!(
            "{}, attempt {}: the worker's last word lacks it",
            attempt.task, attempt.number
        ),
        Difference::Unwanted(attempt, phase) => format!(
            "{}, attempt {}: the worker holds it ({phase}), and should not",
            attempt.task, attempt.number
        ),
        Difference::Orphaned(attempt) => format!(
            "{}, attempt {}: something is promised to it, and it is not live",
            attempt.task, attempt.number
        ),
        Difference::Unreserved(attempt) => format!(
            "{}, attempt {}: it is live, and nothing is promised to it",
            attempt.task, attempt.number
        ),
        Difference::Miscounted { counted, sum } => format!(
            "counted as promised: {}; the promises sum up to {}",
            Amounts::from(counted).at_length(),
            Amounts::from(sum).at_length()
        ),
    }
}

/// What was done, as the end of a sentence.
pub(crate) fn deed(deed: Deed) -> &'static str {
    match deed {
        Deed::StopAsked => "asked the worker to stop it",
        Deed::CountedAsLost => "counted as lost: its task waits again, or has ended",
        Deed::SentAgain => "sent it once more",
        Deed::Released => "took the promise back",
        Deed::Reserved => "promised what it needs",
        Deed::Recounted => "counted anew",
    }
}

/// What was put right, and what only time can settle; `snapshot` says how much was looked at.
pub(crate) fn mended(mended: &[Mended], snapshot: &Snapshot, style: Style) -> String {
    let mut text = String::new();
    for Mended {
        worker,
        difference,
        deed,
    } in mended
    {
        let (mark, done) = match deed {
            Some(deed) => ("✓ ", self::deed(*deed)),
            None => ("Note: ", "nothing to be done yet, it may be on its way"),
        };
        let line = format!("{worker}: {}: {done}", in_words(difference));
        text.push_str(&wrapped(mark, "  ", &line, style.width));
    }
    let done = mended.iter().filter(|mended| mended.deed.is_some()).count();
    let left = mended.len() - done;
    text.push_str(&match (done, left) {
        (0, 0) => {
            let workers = snapshot.workers.values();
            let attempts: usize = workers.map(|worker| worker.attempts.len()).sum();
            format!(
                "✓ Nothing is amiss: {} with {} compared\n",
                counted(snapshot.workers.len(), "worker"),
                counted(attempts, "attempt")
            )
        }
        (0, left) => format!("Note: {} left to time\n", counted(left, "difference")),
        (done, 0) => format!("✓ {} put right\n", counted(done, "difference")),
        (done, left) => format!(
            "✓ {} put right, {left} left to time\n",
            counted(done, "difference")
        ),
    });
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cloudai_core::{Held, lifecycle::AttemptState};
    use cloudai_model::{AttemptId, Grant, Phase, TaskId, record::StopOrder, resources::GB};

    use super::*;
    use crate::testing::{NOW, snapshot_of, worker};

    fn attempt(number: u64) -> AttemptId {
        AttemptId::new(TaskId::numbered(number), 1)
    }

    fn both() -> Inspection {
        let mut busy = worker("worker-1", "localhost");
        busy.active = true;
        busy.allocated.cpu_milli = 1500;
        busy.reported = Some(Arc::new(HeldReport {
            at: Mono(NOW.mono.0 - 2000),
            held: vec![Held {
                attempt: attempt(9),
                phase: Phase::Running,
            }],
            last_sequence: Some((1 << 40) + 2),
        }));
        let silent = InspectedWorker {
            worker: Arc::new(worker("worker-2", "10.0.0.2")),
            promises: Vec::new(),
            differences: Vec::new(),
        };
        Inspection {
            at: NOW.mono,
            workers: vec![
                InspectedWorker {
                    worker: Arc::new(busy),
                    promises: vec![Promise {
                        attempt: attempt(7),
                        state: Some(AttemptState::Running),
                        grant: Grant {
                            cpu_milli: 1500,
                            memory_bytes: GB,
                            ..Grant::default()
                        },
                        said: None,
                    }],
                    differences: vec![
                        Difference::Missing(attempt(7)),
                        Difference::Unwanted(attempt(9), Phase::Running),
                    ],
                },
                silent,
            ],
            stop_orders: vec![StopOrder {
                attempt: attempt(3),
                worker: "old".parse().unwrap(),
                address: "10.0.0.9".parse().unwrap(),
                registration: 1,
            }],
            waiting: 2,
            live: 3,
        }
    }

    #[test]
    fn both_views_stand_side_by_side_with_every_difference() {
        assert_eq!(
            inspection(&both(), Style::PLAIN),
            "\
3 tasks live, 2 of them waiting; 2 differences between the views
worker-1: active
  Master: CPU 1.5, memory 0.0 GB, storage 0.0 GB promised to 1 attempt
  Worker: holds 1 attempt, as it said 2s ago
  TASK    TRY  MASTER   WORKER     CPU  MEMORY  GPU
  task-7  1    running  not named  1.5  1.0 GB  0
  ❗ task-7, attempt 1: the worker's last word lacks it
  ❗ task-9, attempt 1: the worker holds it (running), and should not
worker-2: inactive
  Master: CPU 0, memory 0.0 GB, storage 0.0 GB promised to 0 attempts
  Worker: has not said yet what it holds
To be stopped when their worker is reached:
  task-3, attempt 1, on old at 10.0.0.9:50052
"
        );
    }

    #[test]
    fn what_was_put_right_is_told_and_what_only_time_settles_too() {
        let mended_as = |difference, deed| Mended {
            worker: "worker-1".parse().unwrap(),
            difference,
            deed,
        };
        let done = mended_as(
            Difference::Unwanted(attempt(9), Phase::Running),
            Some(Deed::StopAsked),
        );
        let left = mended_as(Difference::Missing(attempt(7)), None);
        let mut busy = worker("worker-1", "localhost");
        busy.attempts.insert(attempt(7));
        let snapshot = snapshot_of([busy, worker("worker-2", "localhost")]);
        let told = |list: &[Mended]| mended(list, &snapshot, Style::PLAIN);
        assert_eq!(
            told(&[done, left.clone()]),
            "\
✓ worker-1: task-9, attempt 1: the worker holds it (running), and should not: asked the worker to stop it
Note: worker-1: task-7, attempt 1: the worker's last word lacks it: nothing to be done yet, it may be on its way
✓ 1 difference put right, 1 left to time
"
        );
        // Nothing was done: nothing to be glad of.
        assert!(told(&[left]).ends_with("\nNote: 1 difference left to time\n"));
        assert_eq!(
            told(&[]),
            "✓ Nothing is amiss: 2 workers with 1 attempt compared\n"
        );
    }
}
