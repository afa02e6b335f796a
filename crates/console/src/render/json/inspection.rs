//! Both views of the cluster, in JSON.

use cloudai_api::gb;
use cloudai_core::inspect::{Difference, InspectedWorker, Inspection, Promise};
use cloudai_model::Mono;
use serde::Serialize;

use super::AttemptJson;
use crate::render::inspection::in_words;

/// Both views, worker by worker.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct InspectionJson {
    live: usize,
    waiting: usize,
    workers: Vec<BothJson>,
    stop_orders: Vec<StopOrderJson>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct BothJson {
    worker_id: String,
    status: &'static str,
    promises: Vec<PromiseJson>,
    /// What the worker last said; null if it has said nothing since this master started.
    reported: Option<ReportedJson>,
    differences: Vec<DifferenceJson>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct PromiseJson {
    #[serde(flatten)]
    attempt: AttemptJson,
    /// Where the master thinks it stands; null if it is not live.
    phase: Option<&'static str>,
    /// What the worker says; null if it didn't name it.
    reported_phase: Option<&'static str>,
    cpu_cores: f64,
    memory_gb: f64,
    storage_gb: f64,
    gpu_cores: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct ReportedJson {
    age_s: f64,
    last_sequence: Option<u64>,
    attempts: Vec<HeldJson>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct HeldJson {
    #[serde(flatten)]
    attempt: AttemptJson,
    phase: &'static str,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct DifferenceJson {
    kind: &'static str,
    #[serde(flatten)]
    attempt: Option<AttemptJson>,
    message: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct StopOrderJson {
    #[serde(flatten)]
    attempt: AttemptJson,
    worker_id: String,
    address: String,
}

impl InspectionJson {
    /// Both views.
    #[must_use]
    pub(crate) fn new(both: &Inspection) -> Self {
        let orders = both.stop_orders.iter();
        Self {
            live: both.live,
            waiting: both.waiting,
            workers: both
                .workers
                .iter()
                .map(|worker| BothJson::new(worker, both.at))
                .collect(),
            stop_orders: orders
                .map(|order| StopOrderJson {
                    attempt: AttemptJson::new(&order.attempt),
                    worker_id: order.worker.to_string(),
                    address: order.address.to_string(),
                })
                .collect(),
        }
    }
}

impl BothJson {
    fn new(both: &InspectedWorker, now: Mono) -> Self {
        let reported = both.worker.reported.as_ref();
        Self {
            worker_id: both.worker.id.to_string(),
            status: both.worker.status().as_str(),
            promises: both.promises.iter().map(PromiseJson::new).collect(),
            reported: reported.map(|reported| ReportedJson {
                age_s: now.since(reported.at).as_secs_f64(),
                last_sequence: reported.last_sequence,
                attempts: reported
                    .held
                    .iter()
                    .map(|held| HeldJson {
                        attempt: AttemptJson::new(&held.attempt),
                        phase: held.phase.as_str(),
                    })
                    .collect(),
            }),
            differences: both.differences.iter().map(DifferenceJson::new).collect(),
        }
    }
}

impl PromiseJson {
    fn new(promise: &Promise) -> Self {
        let grant = &promise.grant;
        Self {
            attempt: AttemptJson::new(&promise.attempt),
            phase: promise.state.map(|state| state.phase().as_str()),
            reported_phase: promise.said.map(cloudai_model::Phase::as_str),
            cpu_cores: grant.cpu_milli as f64 / 1000.0,
            memory_gb: gb(grant.memory_bytes),
            storage_gb: gb(grant.storage_bytes),
            gpu_cores: f64::from(grant.gpu_milli()) / 1000.0,
        }
    }
}

impl DifferenceJson {
    fn new(difference: &Difference) -> Self {
        let (kind, attempt) = match difference {
            Difference::Missing(attempt) => ("missing", Some(attempt)),
            Difference::Unwanted(attempt, _) => ("unwanted", Some(attempt)),
            Difference::Orphaned(attempt) => ("orphaned", Some(attempt)),
            Difference::Unreserved(attempt) => ("unreserved", Some(attempt)),
            Difference::Miscounted { .. } => ("miscounted", None),
        };
        Self {
            kind,
            attempt: attempt.map(AttemptJson::new),
            message: in_words(difference),
        }
    }
}
