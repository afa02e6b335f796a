//! What the HTTP server counts of its requests and WebSockets.

use std::time::Duration;

use prometheus::{HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use crate::{
    catalogue,
    metrics::{counter, counters, gauge, gauges, histograms},
};

/// Methods that are told apart; a client may send any word.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
/// What a request is counted under that fits no route: its path is the client's word.
const NO_ROUTE: &str = "none";

/// What a WebSocket shows. Each is a label's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamKind {
    /// All workers.
    Telemetry,
    /// One worker.
    Worker,
    /// A task's log.
    TaskLogs,
}

impl StreamKind {
    const ALL: [Self; 3] = [Self::Telemetry, Self::Worker, Self::TaskLogs];

    fn word(self) -> &'static str {
        match self {
            Self::Telemetry => "telemetry",
            Self::Worker => "worker",
            Self::TaskLogs => "task_logs",
        }
    }
}

/// Why the master closed a WebSocket. Each is a label's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// It did not read.
    Slow,
    /// It gave no sign of life.
    Silent,
    /// What it sent can't be meant.
    Broken,
}

impl Dropped {
    const ALL: [Self; 3] = [Self::Slow, Self::Silent, Self::Broken];

    fn word(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::Silent => "silent",
            Self::Broken => "broken",
        }
    }
}

/// See the module. Cheap to clone: clones count together.
#[derive(Debug, Clone)]
pub struct HttpMetrics {
    requests: IntCounterVec,
    seconds: HistogramVec,
    in_flight: IntGauge,
    streams: IntGaugeVec,
    dropped: IntCounterVec,
    refused: IntCounter,
}

impl Default for HttpMetrics {
    /// Counts that nobody asks for.
    fn default() -> Self {
        Self::new(&Registry::new())
    }
}

impl HttpMetrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        let this = Self {
            requests: counters(registry, &catalogue::HTTP_REQUESTS),
            seconds: histograms(registry, &catalogue::HTTP_SECONDS),
            in_flight: gauge(registry, &catalogue::HTTP_IN_FLIGHT),
            streams: gauges(registry, &catalogue::STREAMS),
            dropped: counters(registry, &catalogue::STREAMS_DROPPED),
            refused: counter(registry, &catalogue::STREAMS_REFUSED),
        };
        for kind in StreamKind::ALL {
            this.streams.with_label_values(&[kind.word()]);
        }
        for reason in Dropped::ALL {
            this.dropped.with_label_values(&[reason.word()]);
        }
        this
    }

    /// A request begins to be answered; it ends with the guard.
    #[must_use]
    pub fn begin(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// A request was answered. `route` is the template that it fits, such as `/api/tasks/{id}`, and
    /// never the path that was asked for; `None`: it fits none.
    pub fn answered(&self, route: Option<&str>, method: &str, status: u16, took: Duration) {
        let route = route.unwrap_or(NO_ROUTE);
        let known = METHODS.into_iter().find(|known| *known == method);
        let method = known.unwrap_or("other");
        let class = match status {
            100..=199 => "1xx",
            200..=299 => "2xx",
            300..=399 => "3xx",
            400..=499 => "4xx",
            _ => "5xx",
        };
        self.requests
            .with_label_values(&[route, method, class])
            .inc();
        self.seconds
            .with_label_values(&[route, method])
            .observe(took.as_secs_f64());
    }

    /// A WebSocket is open; it is until the guard goes.
    #[must_use]
    pub fn stream(&self, kind: StreamKind) -> InFlight {
        let gauge = self.streams.with_label_values(&[kind.word()]);
        gauge.inc();
        InFlight(gauge)
    }

    /// A WebSocket was closed by the master.
    pub fn dropped(&self, why: Dropped) {
        self.dropped.with_label_values(&[why.word()]).inc();
    }

    /// A WebSocket was not let in, since too many are open.
    pub fn refused(&self) {
        self.refused.inc();
    }
}

/// Something that goes on, and is counted until this is dropped.
#[derive(Debug)]
pub struct InFlight(IntGauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
