//! The box of registered workers.

use std::fmt::Write as _;

use cloudai_core::registry::Worker;
use cloudai_model::{
    Now, WorkerAddress, WorkerStatus, resources::bytes_to_gb, worker::DEFAULT_WORKER_PORT,
};

use super::text::{safe, wrapped};
use cloudai_core::Snapshot;

use crate::{output::Style, time::short_span};

/// Every worker, in order of id.
pub(crate) fn workers(snapshot: &Snapshot, now: Now, style: Style) -> String {
    let mut text = "╔═══ Registered Workers ═══\n".to_owned();
    if snapshot.workers.is_empty() {
        text.push_str("║ none: add one with `register <id> <host[:port]>`\n");
    }
    for worker in snapshot.workers.values() {
        push_worker(&mut text, worker, now, style);
    }
    text.push_str("╚══════════════════════════\n");
    text
}

fn push_worker(text: &mut String, worker: &Worker, now: Now, style: Style) {
    let light = match worker.status() {
        WorkerStatus::Active => "🟢 Active",
        WorkerStatus::Inactive => "🔴 Inactive",
        WorkerStatus::Draining => "🟡 Draining",
    };
    // The wish outlasts the silence.
    let draining = worker.draining && worker.status() != WorkerStatus::Draining;
    let status = if draining {
        format!("{light}, draining")
    } else {
        light.to_owned()
    };
    let resources = worker.capacity.map_or_else(
        || "not known until it connects".to_owned(),
        |capacity| {
            format!(
                "CPU={:.1}, Memory={:.1}GB, GPU={:.1}",
                capacity.cpu_milli as f64 / 1000.0,
                bytes_to_gb(capacity.memory_bytes),
                f64::from(capacity.gpus)
            )
        },
    );
    let _ = writeln!(text, "║ {}", worker.id);
    let _ = writeln!(text, "║   Status: {status}");
    for why in takes_nothing(worker, now) {
        text.push_str(&wrapped("║   ", "║     ", &why, style.width));
    }
    let _ = writeln!(text, "║   IP: {}", place(&worker.address));
    let _ = writeln!(text, "║   Resources: {resources}");
    let _ = writeln!(text, "║   Running Tasks: {}", worker.attempts.len());
    let _ = writeln!(text, "║   Last seen: {}", last_seen(worker, now));
}

/// Why it is given nothing new, apart from silence and an admin's wish.
pub(crate) fn takes_nothing(worker: &Worker, now: Now) -> Vec<String> {
    let unwell = worker.unwell.as_deref();
    let unwell = unwell.map(|reason| format!("Takes nothing new: {}", safe(reason)));
    let held_off = worker.hold_off.as_ref();
    let held_off = held_off.filter(|hold_off| hold_off.until > now.mono);
    let held_off = held_off.map(|hold_off| {
        let left = short_span(hold_off.until.since(now.mono));
        format!("Left alone for {left}: {}", safe(&hold_off.reason))
    });
    let aside = worker.set_aside.as_ref();
    let aside = aside.filter(|aside| aside.until > now.mono);
    let aside = aside.map(|aside| {
        let left = short_span(aside.until.since(now.mono));
        format!(
            "Set aside for {left}: {}; `undrain {}` takes it back at once",
            safe(&aside.reason),
            worker.id
        )
    });
    unwell.into_iter().chain(held_off).chain(aside).collect()
}

/// The host alone where the port is the usual one.
fn place(address: &WorkerAddress) -> String {
    if address.port() == DEFAULT_WORKER_PORT {
        address.host().to_owned()
    } else {
        address.to_string()
    }
}

/// By the monotonic clock if it was heard since this master started, else by the wall clock.
pub(crate) fn last_seen(worker: &Worker, now: Now) -> String {
    let span = match (worker.last_heard, worker.last_seen_at) {
        (Some(heard), _) => now.mono.since(heard),
        (None, Some(seen)) => now.wall.since(seen),
        (None, None) => return "never".to_owned(),
    };
    format!("{} ago", short_span(span))
}

#[cfg(test)]
mod tests {
    use cloudai_core::registry::{HoldOff, SetAside};
    use cloudai_model::{AttemptId, Mono};

    use super::*;
    use crate::testing::{NOW, snapshot_of, worker};

    #[test]
    fn an_active_worker_one_never_seen_and_one_that_takes_nothing() {
        let mut full = worker("worker-3", "10.0.0.3:6000");
        full.active = true;
        full.unwell = Some("disk\nfull".to_owned());
        full.last_heard = None;
        full.draining = true;
        full.hold_off = Some(HoldOff {
            until: Mono(NOW.mono.0 + 8000),
            reason: "connection refused".to_owned(),
            times: 2,
        });
        full.set_aside = Some(SetAside {
            until: Mono(NOW.mono.0 + 60_000),
            span: std::time::Duration::from_secs(60),
            reason: "5 different tasks in a row failed there, the last: exit code 1".to_owned(),
        });
        let mut unseen = worker("worker-2", "10.0.0.2");
        unseen.capacity = None;
        unseen.draining = true;
        // That is over.
        unseen.hold_off = Some(HoldOff {
            until: NOW.mono,
            reason: "refused".to_owned(),
            times: 1,
        });
        unseen.last_heard = None;
        unseen.last_seen_at = None;
        let mut busy = worker("worker-1", "localhost");
        busy.active = true;
        busy.attempts
            .insert(AttemptId::new("task-1".parse().unwrap(), 1));

        assert_eq!(
            workers(&snapshot_of([full, unseen, busy]), NOW, Style::PLAIN),
            "\
╔═══ Registered Workers ═══
║ worker-1
║   Status: 🟢 Active
║   IP: localhost
║   Resources: CPU=4.0, Memory=8.0GB, GPU=0.0
║   Running Tasks: 1
║   Last seen: 2s ago
║ worker-2
║   Status: 🔴 Inactive, draining
║   IP: 10.0.0.2
║   Resources: not known until it connects
║   Running Tasks: 0
║   Last seen: never
║ worker-3
║   Status: 🟡 Draining
║   Takes nothing new: disk\\nfull
║   Left alone for 8s: connection refused
║   Set aside for 60s: 5 different tasks in a row failed there, the last: exit code 1; `undrain worker-3` takes it back at once
║   IP: 10.0.0.3:6000
║   Resources: CPU=4.0, Memory=8.0GB, GPU=0.0
║   Running Tasks: 0
║   Last seen: 5s ago
╚══════════════════════════
"
        );
    }

    #[test]
    fn an_empty_registry_says_how_to_fill_it() {
        assert_eq!(
            workers(&snapshot_of([]), NOW, Style::PLAIN),
            "╔═══ Registered Workers ═══\n\
             ║ none: add one with `register <id> <host[:port]>`\n\
             ╚══════════════════════════\n"
        );
    }
}
