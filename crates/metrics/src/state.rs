//! What is not counted but looked at when somebody asks: workers, the store, disks.
//!
//! It goes into a registry of its own each time. So nothing of a worker or disk that is gone stays,
//! and two that ask at once don't mix.

use cloudai_core::{Snapshot, registry::Worker};
use cloudai_model::{Degraded, Mono, WorkerStatus, resources::WHOLE_DEVICE};
use prometheus::{GaugeVec, Opts, Registry, proto::MetricFamily};

use crate::catalogue::{self, Family};

/// See the module.
#[derive(Debug)]
pub struct State<'a> {
    /// The program's version.
    pub version: &'a str,
    /// The kind of store: `sqlite`, `memory`, `mongodb`.
    pub store: &'a str,
    /// The cluster.
    pub snapshot: &'a Snapshot,
    /// Whether the store's database is out of reach, and how.
    pub degraded: Option<&'a Degraded>,
    /// Whether no new task is taken.
    pub held_up: bool,
    /// The master's disks, one entry for each thing that lies on one.
    pub disks: &'a [DiskState],
    /// Bytes kept, by what: `logs`, `files`, `store`.
    pub kept: &'a [(&'static str, u64)],
}

/// The disk that something lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskState {
    /// What: `store` or `data`, `logs`, `files`.
    pub holds: &'static str,
    /// Its size.
    pub total_bytes: u64,
    /// What may still be taken.
    pub free_bytes: u64,
    /// With less free than this no new task is taken.
    pub keep_free_bytes: u64,
}

/// Why an active worker is given nothing new for now; `None`: it is.
fn held_back(worker: &Worker, now: Mono) -> Option<&'static str> {
    let is_aside = worker.set_aside.as_ref().is_some_and(|it| it.until > now);
    let is_off = worker.hold_off.as_ref().is_some_and(|it| it.until > now);
    match (worker.status(), &worker.unwell) {
        (WorkerStatus::Inactive | WorkerStatus::Draining, _) => None,
        (WorkerStatus::Active, Some(_)) => Some("unwell"),
        (WorkerStatus::Active, None) if is_aside => Some("set_aside"),
        (WorkerStatus::Active, None) if is_off => Some("held_off"),
        (WorkerStatus::Active, None) => None,
    }
}

impl State<'_> {
    /// The families, filled.
    pub(crate) fn families(&self) -> Vec<MetricFamily> {
        let filled = Filled(Registry::new());
        filled.set(
            &catalogue::BUILD_INFO,
            [([self.version, self.store].as_slice(), 1.0)],
        );
        filled.set_one(&catalogue::READY, flag(self.snapshot.ready));
        filled.set_one(&catalogue::HELD_UP, flag(self.held_up));
        self.fill_workers(&filled);
        self.fill_store(&filled);
        filled.set_words(&catalogue::KEPT_BYTES, self.kept.iter().copied());
        let disk = |figure: fn(&DiskState) -> u64| {
            let of = move |disk: &DiskState| (disk.holds, figure(disk));
            self.disks.iter().map(of)
        };
        filled.set_words(&catalogue::DISK_FREE, disk(|disk| disk.free_bytes));
        filled.set_words(&catalogue::DISK_SIZE, disk(|disk| disk.total_bytes));
        filled.set_words(&catalogue::DISK_KEEP_FREE, disk(|it| it.keep_free_bytes));
        filled.0.gather()
    }

    fn fill_workers(&self, filled: &Filled) {
        let workers = || self.snapshot.workers.values();
        let with = |status| {
            workers()
                .filter(move |worker| worker.status() == status)
                .count()
        };
        let statuses = WorkerStatus::ALL.iter();
        let statuses = statuses.map(|status| (status.as_str(), with(*status) as u64));
        filled.set_words(&catalogue::WORKERS, statuses);

        let now = self.snapshot.now.mono;
        let reasons = ["unwell", "set_aside", "held_off"].map(|reason| {
            let held = workers().filter(|worker| held_back(worker, now) == Some(reason));
            (reason, held.count() as u64)
        });
        filled.set_words(&catalogue::WORKERS_HELD_BACK, reasons);

        let active = || workers().filter(|worker| worker.active);
        let capacity = || active().filter_map(|worker| worker.capacity);
        let promised = || workers().map(|worker| &worker.allocated);
        let used_cores = active().filter_map(|worker| {
            let cores = worker.capacity?.cpu_milli as f64 / 1000.0;
            Some(worker.usage.cpu_percent / 100.0 * cores)
        });
        let cores = |milli: u64| milli as f64 / 1000.0;
        let gpus = |milli: u64| milli as f64 / f64::from(WHOLE_DEVICE);
        for (family, amount) in [
            (
                &catalogue::CAPACITY_CPU,
                cores(capacity().map(|it| it.cpu_milli).sum()),
            ),
            (
                &catalogue::PROMISED_CPU,
                cores(promised().map(|it| it.cpu_milli).sum()),
            ),
            (&catalogue::USED_CPU, used_cores.sum()),
            (
                &catalogue::CAPACITY_MEMORY,
                capacity().map(|it| it.memory_bytes as f64).sum(),
            ),
            (
                &catalogue::PROMISED_MEMORY,
                promised().map(|it| it.memory_bytes as f64).sum(),
            ),
            (
                &catalogue::USED_MEMORY,
                active()
                    .map(|worker| worker.usage.memory_bytes as f64)
                    .sum(),
            ),
            (
                &catalogue::CAPACITY_STORAGE,
                capacity().map(|it| it.storage_bytes as f64).sum(),
            ),
            (
                &catalogue::PROMISED_STORAGE,
                promised().map(|it| it.storage_bytes as f64).sum(),
            ),
            (
                &catalogue::CAPACITY_GPUS,
                capacity().map(|it| f64::from(it.gpus)).sum(),
            ),
            (
                &catalogue::PROMISED_GPUS,
                gpus(promised().map(|it| u64::from(it.gpu_milli())).sum()),
            ),
        ] {
            filled.set_one(family, amount);
        }
    }

    fn fill_store(&self, filled: &Filled) {
        let away = self.degraded;
        filled.set_one(&catalogue::STORE_DEGRADED, flag(away.is_some()));
        let changes = away.map_or(0, |away| away.changes);
        filled.set_one(&catalogue::JOURNALED_CHANGES, changes as f64);
        let submits = away.map_or(0, |away| away.submitted);
        filled.set_one(&catalogue::JOURNALED_SUBMITS, submits as f64);
        let bytes = away.map_or(0, |away| away.journal_bytes);
        filled.set_one(&catalogue::JOURNAL_BYTES, bytes as f64);
    }
}

fn flag(it: bool) -> f64 {
    f64::from(u8::from(it))
}

/// Gauges of one instant.
struct Filled(Registry);

impl Filled {
    fn set<'a>(&self, family: &Family, figures: impl IntoIterator<Item = (&'a [&'a str], f64)>) {
        let opts = Opts::new(family.name, family.help);
        let gauge = GaugeVec::new(opts, family.labels)
            .expect("the catalogue has valid names: a test makes them all");
        for (labels, figure) in figures {
            gauge.with_label_values(labels).set(figure);
        }
        self.0
            .register(Box::new(gauge))
            .expect("a family is registered once");
    }

    fn set_one(&self, family: &Family, figure: f64) {
        self.set(family, [([].as_slice(), figure)]);
    }

    /// One label, and a whole number for each of its words.
    fn set_words(&self, family: &Family, figures: impl IntoIterator<Item = (&'static str, u64)>) {
        let figures: Vec<_> = figures.into_iter().collect();
        let of = figures
            .iter()
            .map(|(word, figure)| (std::slice::from_ref(word), *figure as f64));
        self.set(family, of);
    }
}
