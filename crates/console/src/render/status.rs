//! The cluster as a whole, on one screen.

use std::{collections::BTreeMap, fmt::Write as _};

use cloudai_core::{Snapshot, registry::Worker};
use cloudai_model::{
    Now, TaskStatus,
    resources::{GB, bytes_to_gb},
};
use cloudai_operator::{About, Degraded};

use super::{
    table::{Cut, table},
    text::safe,
    workers::{last_seen, takes_nothing},
};
use crate::output::Style;

/// What all active workers offer, and how much of it is promised, in the contract's units.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Totals {
    /// Registered workers that were heard of lately.
    pub(crate) active: usize,
    /// Promised and offered cores.
    pub(crate) cpu_cores: (f64, f64),
    /// Promised and offered GB of memory.
    pub(crate) memory_gb: (f64, f64),
    /// Promised and offered GB of disk.
    pub(crate) storage_gb: (f64, f64),
    /// Promised and offered GPUs.
    pub(crate) gpus: (f64, f64),
}

impl Totals {
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        let active = || snapshot.workers.values().filter(|worker| worker.active);
        // Integers are summed, so that many small amounts don't drift.
        let sum = |amount: fn(&cloudai_core::registry::Worker) -> (u64, u64)| {
            active()
                .map(|worker| amount(worker))
                .fold((0_u64, 0_u64), |(a, b), (c, d)| (a + c, b + d))
        };
        let milli = |(taken, all)| (taken as f64 / 1000.0, all as f64 / 1000.0);
        let gb = |(taken, all)| (bytes_to_gb(taken), bytes_to_gb(all));
        Self {
            active: active().count(),
            cpu_cores: milli(sum(|w| {
                (
                    w.allocated.cpu_milli,
                    w.capacity.unwrap_or_default().cpu_milli,
                )
            })),
            memory_gb: gb(sum(|w| {
                (
                    w.allocated.memory_bytes,
                    w.capacity.unwrap_or_default().memory_bytes,
                )
            })),
            storage_gb: gb(sum(|w| {
                (
                    w.allocated.storage_bytes,
                    w.capacity.unwrap_or_default().storage_bytes,
                )
            })),
            gpus: milli(sum(|w| {
                let devices = w.capacity.unwrap_or_default().gpus;
                (
                    u64::from(w.allocated.gpu_milli()),
                    u64::from(devices) * 1000,
                )
            })),
        }
    }
}

/// What the store says of itself and of its tasks.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct StoreStatus {
    /// How many tasks there are in each status; `None` if the store can't be asked.
    pub(crate) counts: Option<BTreeMap<TaskStatus, u64>>,
    /// How it is out of reach.
    pub(crate) degraded: Option<Degraded>,
}

impl StoreStatus {
    /// How many tasks there are, as far as that is known.
    fn tasks(&self, snapshot: &Snapshot) -> String {
        match &self.counts {
            Some(counts) => {
                let count = |status| counts.get(status).copied().unwrap_or(0);
                let all = TaskStatus::ALL.iter();
                let all = all.map(|status| format!("{} {status}", count(status)));
                all.collect::<Vec<_>>().join(", ")
            }
            None if snapshot.ready => {
                let (waiting, live) = (snapshot.waiting, snapshot.live);
                let given = live.saturating_sub(waiting);
                format!("{waiting} waiting, {given} with workers, ended ones not known")
            }
            None => "not known yet".to_owned(),
        }
    }

    /// In lines for people.
    fn degraded(&self, text: &mut String) {
        let Some(away) = &self.degraded else { return };
        let _ = writeln!(text, "  Degraded:  {}", safe(&away.to_string()));
        let _ = writeln!(
            text,
            "  Journal:   {} changes and {} new tasks that the store lacks, {}",
            away.changes,
            away.submitted,
            in_units(away.journal_bytes)
        );
    }
}

fn in_units(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..0x10_0000 => format!("{:.1} KB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MB", bytes as f64 / 1_048_576.0),
    }
}

/// The screen.
pub(crate) fn status(about: &About, snapshot: &Snapshot, store: &StoreStatus) -> String {
    let totals = Totals::of(snapshot);
    let mut text = format!("Cluster {}, master {}\n", snapshot.cluster, about.version);
    if !snapshot.ready {
        text.push_str(match store.degraded {
            None => "  Starting: the store is still being read\n",
            Some(_) => "  Starting: the store has not been read yet\n",
        });
    }
    let services = about
        .services
        .iter()
        .map(|(name, address)| format!("{name} {address}"));
    let _ = writeln!(
        text,
        "  Listening: {}",
        services.collect::<Vec<_>>().join(", ")
    );
    let _ = writeln!(text, "  Store:     {}", safe(&about.store));
    store.degraded(&mut text);
    let inactive = snapshot.workers.len() - totals.active;
    let _ = writeln!(
        text,
        "  Workers:   {} active, {inactive} inactive",
        totals.active
    );
    let of = |(taken, all): (f64, f64)| format!("{taken:.1} of {all:.1}");
    let _ = writeln!(
        text,
        "  Promised:  CPU {}, Memory {} GB, GPU {}",
        of(totals.cpu_cores),
        of(totals.memory_gb),
        of(totals.gpus)
    );
    let _ = writeln!(text, "  Tasks:     {}", store.tasks(snapshot));
    text
}

/// A row a worker in at most `most` rows, for a screen that is drawn again and again; what needs
/// somebody to look after it comes first.
pub(crate) fn workers(snapshot: &Snapshot, now: Now, style: Style, most: usize) -> String {
    if snapshot.workers.is_empty() {
        return String::new();
    }
    let mut workers: Vec<_> = snapshot.workers.values().collect();
    workers.sort_by_key(|worker| worker.active && takes_nothing(worker, now).is_empty());
    let all = workers.len();
    if all + 1 > most {
        // Room for the heads and the last row.
        workers.truncate(most.saturating_sub(2).max(1));
    }
    let rows: Vec<_> = workers.iter().map(|worker| row(worker, now)).collect();
    let heads = [
        ("WORKER", Cut::End(8)),
        ("STATUS", Cut::Never),
        ("SEEN", Cut::Never),
        ("TASKS", Cut::Never),
        ("PROMISED", Cut::Never),
        ("CPU", Cut::Never),
        ("MEMORY", Cut::Never),
        ("NOTE", Cut::End(4)),
    ];
    let mut text = table(heads, &rows, style.width, |_, _, cell| cell);
    if rows.len() < all {
        let _ = writeln!(text, "… {} more: `workers` shows all", all - rows.len());
    }
    text
}

fn row(worker: &Worker, now: Now) -> [String; 8] {
    let capacity = worker.capacity.unwrap_or_default();
    let of = |taken: u64, all: u64, unit: f64| {
        // To the tenth, which is left out where it is none.
        let amount = |of: u64| format!("{}", (of as f64 / unit * 10.0).round() / 10.0);
        format!("{}/{}", amount(taken), amount(all))
    };
    let taken = &worker.allocated;
    let promised = format!(
        "{} cpu {} GB",
        of(taken.cpu_milli, capacity.cpu_milli, 1000.0),
        of(taken.memory_bytes, capacity.memory_bytes, GB as f64)
    );
    let usage = &worker.usage;
    // What it said before it fell silent says nothing of now.
    let known = |text: String| if worker.active { text } else { String::new() };
    [
        worker.id.to_string(),
        worker.status().to_string(),
        last_seen(worker, now),
        worker.attempts.len().to_string(),
        promised,
        known(format!("{:.0} %", usage.cpu_percent)),
        known(format!("{:.1} GB", bytes_to_gb(usage.memory_bytes))),
        takes_nothing(worker, now).join("; "),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        render::text::columns,
        testing::{NOW, about, snapshot_of, worker},
    };

    #[test]
    fn one_screen_tells_workers_capacity_and_tasks() {
        let mut busy = worker("worker-1", "localhost");
        busy.active = true;
        busy.allocated.cpu_milli = 1500;
        let away = worker("worker-2", "10.0.0.2");
        let counts = BTreeMap::from([(TaskStatus::Queued, 2), (TaskStatus::Completed, 12)]);
        let store = StoreStatus {
            counts: Some(counts),
            degraded: None,
        };

        assert_eq!(
            status(&about(), &snapshot_of([busy, away]), &store),
            "\
Cluster c-1, master 0.1.0
  Listening: gRPC :50051, HTTP :8080
  Store:     sqlite ./cloudai-data/cloudai.db
  Workers:   1 active, 1 inactive
  Promised:  CPU 1.5 of 4.0, Memory 0.0 of 8.0 GB, GPU 0.0 of 0.0
  Tasks:     2 queued, 0 pending, 0 running, 12 completed, 0 failed, 0 cancelled
"
        );
    }

    #[test]
    fn a_master_that_still_reads_its_store_says_so() {
        let mut snapshot = snapshot_of([]);
        snapshot.ready = false;
        let text = status(&about(), &snapshot, &StoreStatus::default());
        assert!(
            text.contains("\n  Starting: the store is still being read\n"),
            "{text}"
        );
    }

    #[test]
    fn a_store_out_of_reach_is_told_with_what_it_lacks() {
        let degraded = Degraded {
            place: "mongodb db:27017/cluster_db".to_owned(),
            since: NOW.wall,
            reason: "connection refused".to_owned(),
            read: true,
            changes: 12,
            submitted: 0,
            journal_bytes: 2048,
        };
        let store = StoreStatus {
            counts: None,
            degraded: Some(degraded),
        };
        let mut snapshot = snapshot_of([worker("worker-1", "localhost")]);
        (snapshot.waiting, snapshot.live) = (3, 5);
        let text = status(&about(), &snapshot, &store);
        let since = NOW.wall;
        for line in [
            &format!(
                "  Degraded:  mongodb db:27017/cluster_db is out of reach since {since} \
                 (connection refused)\n"
            ),
            "  Journal:   12 changes and 0 new tasks that the store lacks, 2.0 KB\n",
            "  Tasks:     3 waiting, 2 with workers, ended ones not known\n",
        ] {
            assert!(text.contains(line), "{line} is missing in {text}");
        }
        snapshot.ready = false;
        let text = status(&about(), &snapshot, &store);
        assert!(
            text.contains("  Starting: the store has not been read yet\n"),
            "{text}"
        );
        assert!(text.contains("  Tasks:     not known yet\n"), "{text}");
    }

    #[test]
    fn the_table_of_workers_fits_eighty_columns() {
        let mut busy = worker("worker-1", "localhost");
        busy.active = true;
        busy.allocated.cpu_milli = 1500;
        busy.usage.cpu_percent = 12.4;
        busy.usage.memory_bytes = 3 * GB;
        let mut away = worker("a-worker-with-a-name-that-is-long", "10.0.0.2");
        away.unwell = Some("the engine does not answer on its socket".to_owned());
        let style = Style {
            width: 80,
            ..Style::PLAIN
        };
        let text = workers(&snapshot_of([busy, away]), NOW, style, 24);
        assert!(text.lines().all(|line| columns(line) <= 80), "{text}");
        let row = text.lines().last().unwrap().split_whitespace();
        assert_eq!(
            row.collect::<Vec<_>>().join(" "),
            "worker-1 active 2s ago 0 1.5/4 cpu 0/8 GB 12 % 3.0 GB"
        );
        assert_eq!(workers(&snapshot_of([]), NOW, style, 24), "");
    }

    #[test]
    fn what_has_no_room_is_counted_and_who_is_unwell_comes_first() {
        let ids = ["w1", "w2", "w3", "w4", "w5"];
        let cluster = snapshot_of(ids.map(|id| {
            let mut worker = worker(id, "localhost");
            worker.active = id != "w4";
            worker.unwell = (id == "w3").then(|| "engine gone".to_owned());
            worker
        }));
        let shown = |most| {
            let text = workers(&cluster, NOW, Style::PLAIN, most);
            let first = text.lines().skip(1).map(|row| row.split("  ").next());
            let first = first.map(|word| word.unwrap().to_owned());
            first.collect::<Vec<_>>()
        };
        assert_eq!(shown(6), ["w3", "w4", "w1", "w2", "w5"]);
        assert_eq!(
            shown(5),
            ["w3", "w4", "w1", "… 2 more: `workers` shows all"]
        );
    }
}
