//! One worker at length: what it has, has promised, uses and runs.

use std::fmt::Write as _;

use cloudai_core::registry::Worker;
use cloudai_model::{AttemptId, Capacity, Now, record::TaskRecord, resources::bytes_to_gb};

use super::{
    amounts::Amounts,
    table::{Cut, table, table_with_reasons},
    text::{counted, painted, safe, wrapped},
    workers::{last_seen, takes_nothing},
};
use crate::{output::Style, time::short_span};

/// An attempt that a worker has, and its task, unless that is gone or is at a later attempt, which
/// says nothing of this one.
pub(crate) type Running = (AttemptId, Option<TaskRecord>);

/// The screen.
pub(crate) fn stats(worker: &Worker, running: &[Running], now: Now, style: Style) -> String {
    let mut text = format!(
        "Worker {}: {}\n  Last heartbeat: {}\n",
        worker.id,
        worker.status(),
        last_seen(worker, now)
    );
    if worker.draining {
        text.push_str("  Draining: it is given nothing new\n");
    }
    for why in takes_nothing(worker, now) {
        text.push_str(&wrapped("  ", "    ", &why, style.width));
    }
    let version = worker.version.as_deref().map(safe);
    let version = version.map_or_else(String::new, |version| format!(", version {version}"));
    let _ = writeln!(text, "  Address: {}{version}", worker.address);
    if !worker.labels.is_empty() {
        let labels = worker.labels.iter();
        let labels: Vec<_> = labels
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let labels = safe(&labels.join(", "));
        text.push_str(&wrapped("  Labels:  ", "           ", &labels, style.width));
    }
    text.push_str(&amounts(worker, style));
    text.push_str(&attempts(running, now, style));
    text
}

fn amounts(worker: &Worker, style: Style) -> String {
    let Some(capacity) = &worker.capacity else {
        return "  Its capacity is not known until it connects\n".to_owned();
    };
    let heads = [
        ("", Cut::Never),
        ("CAPACITY", Cut::Never),
        ("PROMISED", Cut::Never),
        ("FREE", Cut::Never),
        ("MACHINE USES", Cut::Never),
    ];
    table(heads, &rows(worker, capacity), style.width, |_, _, cell| {
        cell
    })
}

fn rows(worker: &Worker, capacity: &Capacity) -> Vec<[String; 5]> {
    let (taken, usage) = (&worker.allocated, &worker.usage);
    // What it said before it fell silent says nothing of now.
    let known = |text: String| if worker.active { text } else { "?".to_owned() };
    let gb = |bytes| format!("{:.1} GB", bytes_to_gb(bytes));
    let milli = |milli: u64| format!("{}", milli as f64 / 1000.0);
    let row = |name: &str, all: u64, taken: u64, shown: &dyn Fn(u64) -> String, used: String| {
        let free = all.saturating_sub(taken);
        [
            name.to_owned(),
            shown(all),
            shown(taken),
            shown(free),
            known(used),
        ]
    };
    let percent = |percent: f64| format!("{percent:.0} %");
    let mut rows = vec![
        row(
            "CPU",
            capacity.cpu_milli,
            taken.cpu_milli,
            &milli,
            percent(usage.cpu_percent),
        ),
        row(
            "Memory",
            capacity.memory_bytes,
            taken.memory_bytes,
            &gb,
            gb(usage.memory_bytes),
        ),
        row(
            "Storage",
            capacity.storage_bytes,
            taken.storage_bytes,
            &gb,
            gb(usage.storage_bytes),
        ),
        row(
            "GPU",
            u64::from(capacity.gpus) * 1000,
            u64::from(taken.gpu_milli()),
            &milli,
            percent(usage.gpu_percent),
        ),
    ];
    for device in 0..capacity.gpus {
        let taken = taken.device_milli.get(usize::from(device));
        let taken = u64::from(taken.copied().unwrap_or(0));
        let mut device = row(&format!("GPU {device}"), 1000, taken, &milli, String::new());
        device[4].clear();
        rows.push(device);
    }
    rows
}

fn attempts(running: &[Running], now: Now, style: Style) -> String {
    if running.is_empty() {
        return "It runs nothing\n".to_owned();
    }
    let rows: Vec<_> = running
        .iter()
        .map(|(attempt, record)| row(attempt, record.as_ref(), now))
        .collect();
    let heads = [
        ("TASK", Cut::Never),
        ("TRY", Cut::Never),
        ("PHASE", Cut::Never),
        ("FOR", Cut::Never),
        ("NEEDS", Cut::End(10)),
        ("NAME", Cut::End(8)),
        ("DETAIL", Cut::Never),
    ];
    let text = table_with_reasons(heads, &rows, style.width, |row, column, cell| {
        match (&running[row].1, column) {
            (Some(record), 2) => painted(&cell, record.state.status, style),
            _ => cell,
        }
    });
    format!("{}:\n{text}", counted(running.len(), "attempt"))
}

fn row(attempt: &AttemptId, record: Option<&TaskRecord>, now: Now) -> [String; 7] {
    let (task, number) = (attempt.task.to_string(), attempt.number.to_string());
    let Some(record) = record else {
        return [
            task,
            number,
            "?".into(),
            String::new(),
            String::new(),
            String::new(),
            String::new(),
        ];
    };
    let state = &record.state;
    let since = state.started_at.map(|at| short_span(now.wall.since(at)));
    [
        task,
        number,
        state.phase.to_string(),
        since.unwrap_or_default(),
        Amounts::from(&record.spec.resources).in_short(),
        safe(&record.spec.name),
        safe(&state.reason),
    ]
}

#[cfg(test)]
mod tests {
    use cloudai_model::{HostUsage, Phase, TaskStatus, resources::GB};

    use super::*;
    use crate::{
        render::text::columns,
        testing::{NOW, finished, task, worker},
    };

    fn busy() -> Worker {
        let mut worker = worker("worker-1", "localhost");
        worker.active = true;
        worker.version = Some("0.1.0".to_owned());
        worker.labels.insert("zone".to_owned(), "a".to_owned());
        worker.allocated.cpu_milli = 1500;
        worker.allocated.memory_bytes = 2 * GB;
        worker.allocated.device_milli = vec![0, 500];
        if let Some(capacity) = &mut worker.capacity {
            capacity.gpus = 2;
        }
        worker.usage = HostUsage {
            cpu_percent: 41.6,
            memory_bytes: 3 * GB,
            storage_bytes: 20 * GB,
            gpu_percent: 7.0,
            ..HostUsage::default()
        };
        worker
    }

    fn running() -> Vec<Running> {
        let mut record = finished(
            task(1_697_123_456_000_001, "training"),
            TaskStatus::Running,
            0,
        );
        record.state.phase = Phase::Running;
        let attempt = |number| AttemptId::new(record.task.clone(), number);
        vec![(attempt(1), Some(record.clone())), (attempt(2), None)]
    }

    #[test]
    fn capacity_promises_use_and_attempts_are_on_one_screen() {
        let text = stats(&busy(), &running(), NOW, Style::PLAIN);
        assert_eq!(
            text,
            "\
Worker worker-1: active
  Last heartbeat: 2s ago
  Address: localhost:50052, version 0.1.0
  Labels:  zone=a
         CAPACITY  PROMISED  FREE      MACHINE USES
CPU      4         1.5       2.5       42 %
Memory   8.0 GB    2.0 GB    6.0 GB    3.0 GB
Storage  100.0 GB  0.0 GB    100.0 GB  20.0 GB
GPU      2         0.5       1.5       7 %
GPU 0    1         0         1
GPU 1    1         0.5       0.5
2 attempts:
TASK                   TRY  PHASE    FOR  NEEDS          NAME      DETAIL
task-1697123456000001  1    running  9s   4 cpu, 8.0 GB  training
task-1697123456000001  2    ?
"
        );
        let narrow = Style {
            width: 80,
            ..Style::PLAIN
        };
        let text = stats(&busy(), &running(), NOW, narrow);
        assert!(text.lines().all(|line| columns(line) <= 80), "{text}");
    }

    #[test]
    fn what_is_not_known_is_not_shown_as_nothing() {
        let mut away = busy();
        away.active = false;
        away.draining = true;
        away.unwell = Some("engine gone".to_owned());
        let text = stats(&away, &[], NOW, Style::PLAIN);
        assert!(
            text.contains("CPU      4         1.5       2.5       ?\n"),
            "{text}"
        );
        assert!(text.starts_with("Worker worker-1: inactive\n"), "{text}");
        assert!(text.contains("  Draining: "), "{text}");
        assert!(
            text.contains("  Takes nothing new: engine gone\n"),
            "{text}"
        );
        assert!(text.ends_with("It runs nothing\n"), "{text}");

        away.capacity = None;
        let text = stats(&away, &[], NOW, Style::PLAIN);
        assert!(text.contains("not known until it connects"), "{text}");
    }
}
