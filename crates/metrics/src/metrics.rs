//! What is counted as it happens, and the text that Prometheus reads.

use std::time::Duration;

use cloudai_core::{SubmitError, SubmitManyError};
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder, core::Collector, process_collector::ProcessCollector,
};

use crate::{
    catalogue::{self, Family, Kind},
    http::HttpMetrics,
    state::State,
};

/// The content type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// Why a submit was refused. Each is a label's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubmitRefused {
    /// A field can't be as it is.
    Invalid,
    /// The id was used before, or can't be used.
    IdTaken,
    /// The worker named is not registered.
    UnknownWorker,
    /// The queue is full.
    QueueFull,
    /// The user has as much as a user may have.
    UserLimit,
    /// A disk has no room.
    HeldUp,
    /// The store is not read, can't be read or written, or the master is ending.
    Unavailable,
}

impl SubmitRefused {
    const ALL: [Self; 7] = [
        Self::Invalid,
        Self::IdTaken,
        Self::UnknownWorker,
        Self::QueueFull,
        Self::UserLimit,
        Self::HeldUp,
        Self::Unavailable,
    ];

    /// Why the core refused it.
    pub(crate) fn by(error: &SubmitError) -> Self {
        match error {
            SubmitError::NotReady(_) => Self::Unavailable,
            SubmitError::IdTaken(_) | SubmitError::IdAhead(_) => Self::IdTaken,
            SubmitError::UnknownTarget(_) => Self::UnknownWorker,
            SubmitError::QueueFull(_) => Self::QueueFull,
            SubmitError::UserQueueFull { .. } | SubmitError::BeyondLimit(_) => Self::UserLimit,
            SubmitError::HeldUp(_) => Self::HeldUp,
        }
    }

    /// Why the core refused several: one refusal, by the first reason of it.
    pub(crate) fn by_many(error: &SubmitManyError) -> Self {
        match error {
            SubmitManyError::NotReady(_) => Self::Unavailable,
            SubmitManyError::QueueFull { .. } => Self::QueueFull,
            SubmitManyError::HeldUp(_) => Self::HeldUp,
            SubmitManyError::Refused(refused) => refused
                .first()
                .map_or(Self::Invalid, |first| Self::by(&first.error)),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::IdTaken => "id_taken",
            Self::UnknownWorker => "unknown_worker",
            Self::QueueFull => "queue_full",
            Self::UserLimit => "user_limit",
            Self::HeldUp => "held_up",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Why an attempt did not reach its worker. Each is a label's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AssignmentRefused {
    /// The worker doesn't take it.
    Refused,
    /// It could not be sent.
    NotSent,
    /// No answer came.
    Undelivered,
}

impl AssignmentRefused {
    const ALL: [Self; 3] = [Self::Refused, Self::NotSent, Self::Undelivered];

    fn word(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::NotSent => "not_sent",
            Self::Undelivered => "undelivered",
        }
    }
}

/// See the module. Cheap to clone: clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    pub(crate) tasks: IntGaugeVec,
    pub(crate) submitted: IntCounter,
    submits_refused: IntCounterVec,
    pub(crate) ended: IntCounterVec,
    pub(crate) retries: IntCounterVec,
    pub(crate) wait: Histogram,
    pub(crate) run: HistogramVec,
    pub(crate) placements: IntCounterVec,
    assignments_refused: IntCounterVec,
    pub(crate) heartbeats: IntCounterVec,
    batch_records: Histogram,
    commit_seconds: Histogram,
    log_bytes: IntCounter,
    file_bytes: IntCounter,
    files: IntCounter,
    http: HttpMetrics,
}

impl Default for Metrics {
    fn default() -> Self {
        let registry = Registry::new();
        let metrics = Self {
            tasks: gauges(&registry, &catalogue::TASKS),
            submitted: counter(&registry, &catalogue::SUBMITTED),
            submits_refused: counters(&registry, &catalogue::SUBMITS_REFUSED),
            ended: counters(&registry, &catalogue::ENDED),
            retries: counters(&registry, &catalogue::RETRIES),
            wait: histogram(&registry, &catalogue::WAIT),
            run: histograms(&registry, &catalogue::RUN),
            placements: counters(&registry, &catalogue::PLACEMENTS),
            assignments_refused: counters(&registry, &catalogue::ASSIGNMENTS_REFUSED),
            heartbeats: counters(&registry, &catalogue::HEARTBEATS),
            batch_records: histogram(&registry, &catalogue::BATCH_RECORDS),
            commit_seconds: histogram(&registry, &catalogue::COMMIT_SECONDS),
            log_bytes: counter(&registry, &catalogue::LOG_BYTES),
            file_bytes: counter(&registry, &catalogue::FILE_BYTES),
            files: counter(&registry, &catalogue::FILES),
            http: HttpMetrics::new(&registry),
            registry,
        };
        // What has not happened yet is 0, not absent: a rate can be told from the first one on.
        for reason in SubmitRefused::ALL {
            metrics.submits_refused.with_label_values(&[reason.word()]);
        }
        for reason in AssignmentRefused::ALL {
            let words = [reason.word()];
            metrics.assignments_refused.with_label_values(&words);
        }
        let process = Box::new(ProcessCollector::for_self());
        metrics.registry.register(process).expect(ONCE);
        metrics
    }
}

impl Metrics {
    /// What the HTTP server counts.
    #[must_use]
    pub fn http(&self) -> &HttpMetrics {
        &self.http
    }

    /// A submit was refused.
    pub fn submit_refused(&self, reason: SubmitRefused) {
        self.submits_refused
            .with_label_values(&[reason.word()])
            .inc();
    }

    /// An attempt did not reach its worker.
    pub fn assignment_refused(&self, reason: AssignmentRefused) {
        self.assignments_refused
            .with_label_values(&[reason.word()])
            .inc();
    }

    /// The store has written a batch.
    pub fn committed(&self, records: usize, took: Duration) {
        self.batch_records.observe(records as f64);
        self.commit_seconds.observe(took.as_secs_f64());
    }

    /// So much of a log was written to the disk.
    pub fn log_written(&self, bytes: u64) {
        self.log_bytes.inc_by(bytes);
    }

    /// So much of an output file came.
    pub fn file_received(&self, bytes: u64) {
        self.file_bytes.inc_by(bytes);
    }

    /// An upload was put to its place, with so many files.
    pub fn files_kept(&self, files: u64) {
        self.files.inc_by(files);
    }

    /// Everything, with what is as it is now, in the text form of Prometheus.
    #[must_use]
    pub fn text(&self, state: &State<'_>) -> String {
        let mut families = self.registry.gather();
        families.extend(state.families());
        families.sort_by(|one, other| one.name().cmp(other.name()));
        TextEncoder::new()
            .encode_to_string(&families)
            .expect("every family gathered has a name and figures")
    }
}

fn opts(family: &Family) -> Opts {
    Opts::new(family.name, family.help)
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> C {
    registry.register(Box::new(collector.clone())).expect(ONCE);
    collector
}

const ONCE: &str = "a family is registered once";
const VALID: &str = "the catalogue has valid names: a test makes them all";

pub(crate) fn counter(registry: &Registry, family: &Family) -> IntCounter {
    register(registry, IntCounter::with_opts(opts(family)).expect(VALID))
}

pub(crate) fn counters(registry: &Registry, family: &Family) -> IntCounterVec {
    let made = IntCounterVec::new(opts(family), family.labels);
    register(registry, made.expect(VALID))
}

pub(crate) fn gauge(registry: &Registry, family: &Family) -> IntGauge {
    register(registry, IntGauge::with_opts(opts(family)).expect(VALID))
}

pub(crate) fn gauges(registry: &Registry, family: &Family) -> IntGaugeVec {
    let made = IntGaugeVec::new(opts(family), family.labels);
    register(registry, made.expect(VALID))
}

fn bounds(family: &Family) -> HistogramOpts {
    let Kind::Histogram(bounds) = family.kind else {
        unreachable!("{} is no histogram in the catalogue", family.name);
    };
    HistogramOpts::from(opts(family)).buckets(bounds.to_vec())
}

pub(crate) fn histogram(registry: &Registry, family: &Family) -> Histogram {
    let made = Histogram::with_opts(bounds(family));
    register(registry, made.expect(VALID))
}

pub(crate) fn histograms(registry: &Registry, family: &Family) -> HistogramVec {
    let made = HistogramVec::new(bounds(family), family.labels);
    register(registry, made.expect(VALID))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use cloudai_core::Snapshot;

    use super::*;
    use crate::{Dropped, StreamKind, Tally, history::History, state::DiskState};

    fn text(metrics: &Metrics) -> String {
        let snapshot = Snapshot::unready("c-test".parse().unwrap());
        metrics.text(&State {
            version: "1.2.3",
            store: "sqlite",
            snapshot: &snapshot,
            degraded: None,
            held_up: false,
            disks: &[DiskState {
                holds: "logs",
                total_bytes: 1000,
                free_bytes: 400,
                keep_free_bytes: 50,
            }],
            kept: &[("logs", 7)],
        })
    }

    #[test]
    fn every_family_of_the_catalogue_is_there_and_no_other() {
        // Given a master in which everything has happened once,
        let metrics = Metrics::default();
        let _tally = Tally::new(metrics.clone(), History::default().into(), "round-robin");
        metrics
            .http()
            .answered(Some("/health"), "GET", 200, Duration::ZERO);
        // then what it tells is what the catalogue names, each with its labels.
        let text = text(&metrics);
        let told: BTreeSet<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
            .collect();
        let named: BTreeSet<_> = catalogue::all().map(|family| family.name).collect();
        assert_eq!(told, named);
        for (name, labels) in catalogue::all().flat_map(Family::series) {
            let line = text.lines().find(|line| {
                line.strip_prefix(name.as_str())
                    .is_some_and(|rest| rest.starts_with(['{', ' ']))
            });
            let line = line.unwrap_or_else(|| panic!("{name} is not told:\n{text}"));
            for label in &labels {
                assert!(line.contains(&format!("{label}=\"")), "{label}: {line}");
            }
            assert_eq!(line.matches("=\"").count(), labels.len(), "{line}");
        }
    }

    #[test]
    fn what_has_not_happened_yet_is_nought() {
        let text = text(&Metrics::default());
        for line in [
            "cloudai_submits_refused_total{reason=\"queue_full\"} 0",
            "cloudai_websocket_dropped_total{reason=\"slow\"} 0",
            "cloudai_store_degraded 0",
            "cloudai_disk_free_bytes{holds=\"logs\"} 400",
        ] {
            assert!(text.lines().any(|told| told == line), "{line}:\n{text}");
        }
    }

    #[test]
    fn a_client_adds_no_label_of_its_own() {
        let metrics = Metrics::default();
        metrics.http().answered(None, "BREW", 999, Duration::ZERO);
        let text = text(&metrics);
        let line = "cloudai_http_requests_total{method=\"other\",route=\"none\",status=\"5xx\"} 1";
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn what_goes_on_is_counted_until_it_ends() {
        let metrics = Metrics::default();
        let watches = "cloudai_websocket_connections{kind=\"telemetry\"}";
        let open = metrics.http().stream(StreamKind::Telemetry);
        assert!(text(&metrics).contains(&format!("{watches} 1")));
        drop(open);
        metrics.http().dropped(Dropped::Slow);
        assert!(text(&metrics).contains(&format!("{watches} 0")));
    }
}
