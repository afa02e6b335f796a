//! Why a task waits, worker by worker; or where it stands if it doesn't.

use std::{collections::BTreeMap, fmt::Write as _};

use cloudai_api::outlook;
use cloudai_core::explain::{Obstacle, Outlook};
use cloudai_model::{TaskStatus, Wall, WorkerId};
use cloudai_operator::{QueueEntry, Standing, TaskView};

use super::{
    amounts::Amounts,
    tasks::{ending, tries},
    text::{counted, safe, wrapped},
};
use crate::{output::Style, time::short_span};

/// More workers than these with the same obstacles are counted, and only the first named.
const MOST_NAMED: usize = 8;

/// What stands against a waiting task, or where another stands. `waiting` tasks wait altogether.
pub(crate) fn explain(standing: &Standing, waiting: usize, now: Wall, style: Style) -> String {
    match standing {
        Standing::Waiting { entry, workers } => {
            let waiting = waiting.max(entry.position);
            self::waiting(entry, workers, waiting, now, style)
        }
        Standing::Given { view, assigned_at } => given(view, *assigned_at, now),
    }
}

fn waiting(
    entry: &QueueEntry,
    workers: &[(WorkerId, Vec<Obstacle>)],
    waiting: usize,
    now: Wall,
    style: Style,
) -> String {
    let record = &entry.record;
    let mut text = format!(
        "Task {} has waited for {}, at position {} of {waiting}\n",
        record.task,
        short_span(now.since(record.submitted_at)),
        entry.position,
    );
    let mut fact = |name: &str, what: &str| {
        let first = format!("  {name:<9}");
        text.push_str(&wrapped(&first, &" ".repeat(11), what, style.width));
    };
    let needs = Amounts::from(&record.spec.resources);
    fact("Needs:", &needs.at_length());
    if let Some(target) = &record.spec.target {
        fact("Only on:", target.as_str());
    }
    fact("Waits:", &safe(&entry.why.summary));
    // The retries are told with the wait for the next.
    let paused = record.pause_left(now).is_some();
    for tried in tries(record).iter().skip(usize::from(paused)) {
        fact("Before:", tried);
    }
    if workers.is_empty() {
        text.push_str("  No worker is registered: `register <id> <host[:port]>` adds one\n");
        return text;
    }
    for (outlook, groups) in grouped(workers) {
        text.push_str(match outlook {
            Outlook::Now => "  Fits:\n",
            Outlook::Later => "  Not now:\n",
            Outlook::Unknown => "  Not known:\n",
            Outlook::Never => "  Never fits:\n",
        });
        for (obstacles, workers) in groups {
            let line = match obstacles.as_str() {
                "" => named(&workers),
                obstacles => format!("{}: {obstacles}", named(&workers)),
            };
            text.push_str(&wrapped("    ", "      ", &line, style.width));
        }
    }
    text
}

/// Obstacles in words, and the workers that have them.
type Group<'a> = (String, Vec<&'a WorkerId>);

/// Workers with the same prospect and the same obstacles together, the largest group first.
fn grouped(workers: &[(WorkerId, Vec<Obstacle>)]) -> Vec<(Outlook, Vec<Group<'_>>)> {
    let prospects = [
        Outlook::Now,
        Outlook::Later,
        Outlook::Unknown,
        Outlook::Never,
    ];
    let groups = prospects.map(|prospect| {
        let mut groups: BTreeMap<String, Vec<&WorkerId>> = BTreeMap::new();
        for (worker, obstacles) in workers {
            if outlook(obstacles) == prospect {
                groups.entry(words(obstacles)).or_default().push(worker);
            }
        }
        let mut groups: Vec<Group<'_>> = groups.into_iter().collect();
        groups.sort_by_key(|(_, workers)| std::cmp::Reverse(workers.len()));
        (prospect, groups)
    });
    let there = groups.into_iter().filter(|(_, groups)| !groups.is_empty());
    there.collect()
}

fn words(obstacles: &[Obstacle]) -> String {
    let words = obstacles.iter().map(|obstacle| safe(&obstacle.to_string()));
    words.collect::<Vec<_>>().join("; ")
}

fn named(workers: &[&WorkerId]) -> String {
    let first = workers
        .iter()
        .take(MOST_NAMED)
        .map(|worker| worker.as_str());
    let names = first.collect::<Vec<_>>().join(", ");
    if workers.len() > MOST_NAMED {
        format!("{} ({names}, …)", counted(workers.len(), "worker"))
    } else {
        names
    }
}

fn given(view: &TaskView, assigned_at: Option<Wall>, now: Wall) -> String {
    let (task, state) = (&view.record.task, &view.record.state);
    if state.status.is_final() {
        let at = state.completed_at.map_or_else(String::new, |at| {
            format!("   It ended {} ago, at {at}\n", short_span(now.since(at)))
        });
        return ending(view) + &at;
    }
    let place = state.worker.as_ref();
    let place = place.map_or_else(String::new, |worker| format!(" on {worker}"));
    let since = match state.status {
        TaskStatus::Running => state.started_at,
        _ => assigned_at,
    };
    let since = since.map_or_else(String::new, |at| {
        format!(" for {}, since {at}", short_span(now.since(at)))
    });
    let mut text = format!("Task {task} is {}{place}{since}\n", state.status);
    let detail = match state.reason.as_str() {
        "" => String::new(),
        reason => format!(": {}", safe(reason)),
    };
    let _ = writeln!(
        text,
        "   Attempt {}, {}{detail}",
        state.attempt, state.phase
    );
    for tried in tries(&view.record) {
        let _ = writeln!(text, "   {tried}");
    }
    text
}

#[cfg(test)]
mod tests {
    use cloudai_core::explain::ResourceKind;
    use cloudai_model::Phase;

    use super::*;
    use crate::testing::{NOW, finished, task, waiting_for};

    fn short(kind: ResourceKind, by: u64, never: bool) -> Obstacle {
        Obstacle::Short { kind, by, never }
    }

    fn workers(list: Vec<(&str, Vec<Obstacle>)>) -> Vec<(WorkerId, Vec<Obstacle>)> {
        let list = list.into_iter();
        list.map(|(id, obstacles)| (id.parse().unwrap(), obstacles))
            .collect()
    }

    fn explained(workers: Vec<(WorkerId, Vec<Obstacle>)>, width: usize) -> String {
        let entry = Box::new(QueueEntry {
            position: 2,
            record: task(7, ""),
            why: waiting_for("a, b: CPU short by 1 core"),
        });
        let style = Style {
            width,
            ..Style::PLAIN
        };
        explain(&Standing::Waiting { entry, workers }, 5, NOW.wall, style)
    }

    #[test]
    fn workers_are_grouped_by_what_stands_against_the_task_and_for_how_long() {
        let never = || vec![short(ResourceKind::Gpu, 1000, true), Obstacle::Inactive];
        let list = workers(vec![
            ("a", vec![short(ResourceKind::Cpu, 1000, false)]),
            ("b", vec![short(ResourceKind::Cpu, 1000, false)]),
            ("c", vec![Obstacle::Unwell("disk\x1bfull".to_owned())]),
            ("d", vec![Obstacle::NeverSeen]),
            ("e", never()),
            ("f", never()),
            ("g", Vec::new()),
        ]);
        assert_eq!(
            explained(list, 200),
            "\
Task task-7 has waited for 10s, at position 2 of 5
  Needs:   CPU 4, memory 8.0 GB, storage 1.0 GB
  Waits:   a, b: CPU short by 1 core
  Fits:
    g
  Not now:
    a, b: CPU short by 1 core
    c: takes nothing new: disk\\u{1b}full
  Not known:
    d: never seen, its capacity is not known
  Never fits:
    e, f: 1 GPU short, even when idle; inactive
"
        );
    }

    #[test]
    fn a_task_between_two_tries_is_told_with_how_many_there_were() {
        let mut record = task(7, "");
        record.spec.max_retries = 3;
        record.state.failures = 2;
        record.state.retry_at = Some(NOW.wall.after(std::time::Duration::from_secs(8)));
        record.state.taken_down = vec!["b".parse().unwrap()];
        let told = |record: &cloudai_model::record::TaskRecord, summary: &str| {
            let entry = Box::new(QueueEntry {
                position: 1,
                record: record.clone(),
                why: waiting_for(summary),
            });
            let workers = workers(vec![("a", Vec::new())]);
            explain(
                &Standing::Waiting { entry, workers },
                1,
                NOW.wall,
                Style::PLAIN,
            )
        };
        let text = told(&record, "retry 2 of 3 in 8s: exit code 1");
        assert!(
            text.contains(
                "  Waits:   retry 2 of 3 in 8s: exit code 1\n  Before:  its worker was lost \
                 once: b\n  Fits:\n"
            ),
            "{text}"
        );
        record.state.retry_at = Some(NOW.wall);
        let text = told(&record, "no worker is active");
        assert!(
            text.contains("  Waits:   no worker is active\n  Before:  retry 2 of 3\n"),
            "{text}"
        );
    }

    #[test]
    fn many_workers_are_counted_and_long_rows_are_broken_at_eighty_columns() {
        let ids: Vec<String> = (1..=12).map(|n| format!("machine-{n:02}")).collect();
        let obstacles = || vec![short(ResourceKind::Memory, 3 << 30, true)];
        let list = workers(ids.iter().map(|id| (id.as_str(), obstacles())).collect());
        let text = explained(list, 80);
        assert!(text.contains("    12 workers (machine-01, "), "{text}");
        let joined = text.replace("\n      ", " ");
        assert!(
            joined.contains("machine-08, …): memory short by 3.0 GB, even when idle\n"),
            "{text}"
        );
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        assert!(
            explained(Vec::new(), 80)
                .ends_with("  No worker is registered: `register <id> <host[:port]>` adds one\n")
        );
    }

    #[test]
    fn a_task_that_does_not_wait_is_told_where_and_since_when() {
        let mut record = finished(task(7, ""), TaskStatus::Completed, 0);
        let told = |record: &cloudai_model::record::TaskRecord| {
            let view = Box::new(TaskView {
                removed: Default::default(),
                record: record.clone(),
                result: None,
            });
            let assigned_at = Some(record.submitted_at);
            explain(
                &Standing::Given { view, assigned_at },
                0,
                NOW.wall,
                Style::PLAIN,
            )
        };
        assert_eq!(
            told(&record),
            "✓ Task task-7 completed on worker-1 (exit code 0, 1.5s)\n\
             \x20  It ended 7s ago, at 2023-10-12T15:10:52.500Z\n"
        );
        record.state.status = TaskStatus::Running;
        record.state.phase = Phase::Uploading;
        assert_eq!(
            told(&record),
            "Task task-7 is running on worker-1 for 9s, since 2023-10-12T15:10:51.000Z\n\
             \x20  Attempt 1, uploading\n"
        );
        record.state.status = TaskStatus::Pending;
        record.state.phase = Phase::Pulling;
        record.state.reason = "layer 2 of 3".to_owned();
        assert_eq!(
            told(&record),
            "Task task-7 is pending on worker-1 for 10s, since 2023-10-12T15:10:50.000Z\n\
             \x20  Attempt 1, pulling: layer 2 of 3\n"
        );
    }
}
