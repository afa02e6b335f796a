//! Every family of metrics that the master has: its name, its labels, and what it means.
//!
//! Names and units follow Prometheus' conventions: `cloudai_`, base units (seconds, bytes, cores),
//! `_total` for what only rises.

/// What kind of figures a family has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only rises, from 0 at each start of the master.
    Counter,
    /// As it is now.
    Gauge,
    /// How many were at most so large; these are the bounds.
    Histogram(&'static [f64]),
}

/// One family.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// What it means.
    pub help: &'static str,
    /// Its labels; of fixed sets of values, all of them.
    pub labels: &'static [&'static str],
    /// What kind of figures.
    pub kind: Kind,
}

impl Family {
    /// The names under which its figures are asked for, and the labels of each.
    #[must_use]
    pub fn series(&self) -> Vec<(String, Vec<&'static str>)> {
        let name = self.name;
        match self.kind {
            Kind::Counter | Kind::Gauge => vec![(name.to_owned(), self.labels.to_vec())],
            Kind::Histogram(_) => vec![
                (format!("{name}_bucket"), [self.labels, &["le"]].concat()),
                (format!("{name}_sum"), self.labels.to_vec()),
                (format!("{name}_count"), self.labels.to_vec()),
            ],
        }
    }
}

macro_rules! families {
    ($($(#[$doc:meta])* $constant:ident = $kind:expr, $name:literal [$($label:literal),*] $help:literal;)+) => {
        $(
            $(#[$doc])*
            #[doc = $help]
            pub const $constant: Family = Family {
                name: $name,
                help: $help,
                labels: &[$($label),*],
                kind: $kind,
            };
        )+

        /// All that are ours.
        pub const OURS: &[Family] = &[$($constant),+];
    };
}

/// From a moment to a day: waits and runs of tasks.
const SPANS: &[f64] = &[
    0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0,
];
/// From a flush on a good disk to one that keeps everybody waiting.
const FLUSHES: &[f64] = &[
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
];
const ANSWERS: &[f64] = &[
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];
const BATCHES: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 20_000.0,
];

families! {
    BUILD_INFO = Kind::Gauge, "cloudai_build_info" ["version", "store"]
        "The program that runs, and which kind of store it uses; always 1.";
    READY = Kind::Gauge, "cloudai_ready" []
        "Whether the store has been read: 1, or 0.";
    HELD_UP = Kind::Gauge, "cloudai_held_up" []
        "Whether no new task is taken and none is placed, since a disk has no room: 1, or 0.";

    TASKS = Kind::Gauge, "cloudai_tasks" ["status"]
        "Tasks that have not ended, by status: queued, pending, running.";
    SUBMITTED = Kind::Counter, "cloudai_tasks_submitted_total" []
        "Tasks that were taken.";
    SUBMITS_REFUSED = Kind::Counter, "cloudai_submits_refused_total" ["reason"]
        "Submits that were refused, by reason.";
    ENDED = Kind::Counter, "cloudai_tasks_ended_total" ["status"]
        "Tasks that have ended, by status: completed, failed, cancelled.";
    RETRIES = Kind::Counter, "cloudai_task_retries_total" ["cause"]
        "Attempts after which a task was queued again: failure (its own, takes a retry) or machine (takes none).";
    WAIT = Kind::Histogram(SPANS), "cloudai_task_wait_seconds" []
        "From the submit to the first start of the task's container.";
    RUN = Kind::Histogram(SPANS), "cloudai_task_run_seconds" ["status"]
        "How long the container of the task's last attempt ran, by the status that it ended with.";
    PLACEMENTS = Kind::Counter, "cloudai_placements_total" ["policy"]
        "Attempts given to workers, by the policy that chose, or agent.";
    ASSIGNMENTS_REFUSED = Kind::Counter, "cloudai_assignments_refused_total" ["reason"]
        "Attempts that did not reach their worker: refused by it, not_sent, or undelivered (perhaps they did).";

    WORKERS = Kind::Gauge, "cloudai_workers" ["status"]
        "Registered workers, by status: active, inactive, draining.";
    WORKERS_HELD_BACK = Kind::Gauge, "cloudai_workers_held_back" ["reason"]
        "Active workers that are given nothing new for now: unwell, set_aside, held_off.";
    HEARTBEATS = Kind::Counter, "cloudai_heartbeats_total" ["result"]
        "Workers' heartbeats, taken or refused.";
    CAPACITY_CPU = Kind::Gauge, "cloudai_capacity_cpu_cores" []
        "CPU cores that active workers offer.";
    PROMISED_CPU = Kind::Gauge, "cloudai_promised_cpu_cores" []
        "CPU cores of registered workers that are promised to tasks.";
    USED_CPU = Kind::Gauge, "cloudai_used_cpu_cores" []
        "CPU cores that the machines of active workers use.";
    CAPACITY_MEMORY = Kind::Gauge, "cloudai_capacity_memory_bytes" []
        "Memory that active workers offer.";
    PROMISED_MEMORY = Kind::Gauge, "cloudai_promised_memory_bytes" []
        "Memory of registered workers that is promised to tasks.";
    USED_MEMORY = Kind::Gauge, "cloudai_used_memory_bytes" []
        "Memory that the machines of active workers use.";
    CAPACITY_STORAGE = Kind::Gauge, "cloudai_capacity_storage_bytes" []
        "Disk that active workers offer.";
    PROMISED_STORAGE = Kind::Gauge, "cloudai_promised_storage_bytes" []
        "Disk of registered workers that is promised to tasks.";
    CAPACITY_GPUS = Kind::Gauge, "cloudai_capacity_gpus" []
        "GPUs that active workers offer.";
    PROMISED_GPUS = Kind::Gauge, "cloudai_promised_gpus" []
        "GPUs of registered workers that are promised to tasks, shares of devices included.";

    BATCH_RECORDS = Kind::Histogram(BATCHES), "cloudai_store_batch_records" []
        "Records in each batch that the store has written.";
    COMMIT_SECONDS = Kind::Histogram(FLUSHES), "cloudai_store_commit_duration_seconds" []
        "How long the store took to write a batch, tries that failed included.";
    STORE_DEGRADED = Kind::Gauge, "cloudai_store_degraded" []
        "Whether the store's database is out of reach: 1, or 0.";
    JOURNALED_CHANGES = Kind::Gauge, "cloudai_store_journaled_changes" []
        "Changes in the journal that the database lacks.";
    JOURNALED_SUBMITS = Kind::Gauge, "cloudai_store_journaled_submits" []
        "Tasks in the journal that were taken before the database was read.";
    JOURNAL_BYTES = Kind::Gauge, "cloudai_store_journal_bytes" []
        "What the journal takes on disk.";

    LOG_BYTES = Kind::Counter, "cloudai_logs_received_bytes_total" []
        "Bytes of tasks' logs written to the master's disk, frames included.";
    FILE_BYTES = Kind::Counter, "cloudai_files_received_bytes_total" []
        "Bytes of tasks' output files that came from workers.";
    FILES = Kind::Counter, "cloudai_files_received_total" []
        "Output files that are kept of tasks' uploads.";
    DISK_FREE = Kind::Gauge, "cloudai_disk_free_bytes" ["holds"]
        "Free room on the disk that holds this; several may be on one disk.";
    DISK_SIZE = Kind::Gauge, "cloudai_disk_size_bytes" ["holds"]
        "Size of the disk that holds this.";
    DISK_KEEP_FREE = Kind::Gauge, "cloudai_disk_keep_free_bytes" ["holds"]
        "With less free than this no new task is taken.";
    KEPT_BYTES = Kind::Gauge, "cloudai_kept_bytes" ["what"]
        "What is kept: logs and files as counted last, store as it is now.";

    HTTP_REQUESTS = Kind::Counter, "cloudai_http_requests_total" ["route", "method", "status"]
        "HTTP requests answered, by the route's template, the method and the class of the status.";
    HTTP_SECONDS = Kind::Histogram(ANSWERS), "cloudai_http_request_duration_seconds" ["route", "method"]
        "From an HTTP request to the head of its answer.";
    HTTP_IN_FLIGHT = Kind::Gauge, "cloudai_http_requests_in_flight" []
        "HTTP requests that are being answered.";
    STREAMS = Kind::Gauge, "cloudai_websocket_connections" ["kind"]
        "Open WebSockets: telemetry, worker, task_logs.";
    STREAMS_DROPPED = Kind::Counter, "cloudai_websocket_dropped_total" ["reason"]
        "WebSockets that the master closed: slow (did not read), silent (no pong), broken (of its own making).";
    STREAMS_REFUSED = Kind::Counter, "cloudai_websocket_refused_total" []
        "WebSockets refused since too many are open.";
}

macro_rules! process {
    ($($name:literal $kind:ident;)+) => {
        /// Those of the process, as every exporter has them.
        pub const PROCESS: &[Family] = &[$(
            Family { name: $name, help: "Of this process.", labels: &[], kind: Kind::$kind }
        ),+];
    };
}

process! {
    "process_cpu_seconds_total" Counter;
    "process_max_fds" Gauge;
    "process_open_fds" Gauge;
    "process_resident_memory_bytes" Gauge;
    "process_start_time_seconds" Gauge;
    "process_threads" Gauge;
    "process_virtual_memory_bytes" Gauge;
}

/// All families.
pub fn all() -> impl Iterator<Item = &'static Family> {
    OURS.iter().chain(PROCESS)
}
