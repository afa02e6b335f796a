//! What goes over the wire between master and workers, in the model's terms. The real programs turn
//! these into messages of the contract and back.

use std::sync::Arc;

use cloudai_core::{Heartbeat, Hello, Reported};
use cloudai_model::{
    AttemptId, AttemptReport, ClusterId, ContainerEnd, Grant, Phase, TaskSpec, WorkerId,
};

/// A call of a worker.
#[derive(Debug, Clone)]
pub enum ToMaster {
    /// RegisterWorker.
    Hello(Hello),
    /// SendHeartbeat.
    Heartbeat(Heartbeat),
    /// ReportTaskProgress.
    Progress {
        /// Who.
        worker: WorkerId,
        /// Which attempt.
        attempt: AttemptId,
        /// How far.
        phase: Phase,
        /// The container's end, with [`Phase::Uploading`].
        end: Option<Box<ContainerEnd>>,
    },
    /// UploadTaskFiles, whole.
    Upload {
        /// Who.
        worker: WorkerId,
        /// Which attempt.
        attempt: AttemptId,
    },
    /// ReportTaskCompletion.
    Report {
        /// Who.
        worker: WorkerId,
        /// What it says.
        report: Box<AttemptReport>,
    },
}

/// An answer of the master.
#[derive(Debug, Clone, PartialEq)]
pub enum FromMaster {
    /// The worker is let in.
    Welcome {
        /// The cluster.
        cluster: ClusterId,
        /// How often to send heartbeats.
        interval_ms: u64,
    },
    /// The heartbeat was taken.
    HeartbeatTaken {
        /// The worker shall say what it is.
        register_again: bool,
    },
    /// The worker's word on an attempt was heard.
    Heard(Reported),
    /// Not now: gRPC's UNAVAILABLE.
    Unavailable(String),
    /// Not this worker: gRPC's PERMISSION_DENIED.
    Denied(String),
}

/// A call of the master.
#[derive(Debug, Clone)]
pub enum ToWorker {
    /// MasterRegister.
    Invite,
    /// AssignTask.
    Assign {
        /// Which attempt.
        attempt: AttemptId,
        /// Its number.
        sequence: u64,
        /// The cluster that gives it.
        cluster: ClusterId,
        /// What it may use.
        grant: Grant,
        /// What to run.
        spec: Arc<TaskSpec>,
    },
    /// CancelTask.
    Cancel {
        /// Which attempt.
        attempt: AttemptId,
        /// Why.
        reason: String,
    },
}

/// An answer of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromWorker {
    /// It has heard the invitation.
    Called,
    /// It has the assignment.
    Taken,
    /// It doesn't take the assignment.
    Refused(String),
    /// It stops the attempt, or that has ended by itself.
    Stopping,
    /// It doesn't hold the attempt and will not start it.
    NotHeld,
    /// Not now: gRPC's UNAVAILABLE.
    Unavailable(String),
}

impl ToMaster {
    /// Its kind in a word.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Hello(_) => "hello",
            Self::Heartbeat(_) => "heartbeat",
            Self::Progress { .. } => "progress",
            Self::Upload { .. } => "upload",
            Self::Report { .. } => "report",
        }
    }

    /// The attempt that it is about, if it is about one.
    #[must_use]
    pub fn attempt(&self) -> Option<&AttemptId> {
        match self {
            Self::Hello(_) | Self::Heartbeat(_) => None,
            Self::Progress { attempt, .. } | Self::Upload { attempt, .. } => Some(attempt),
            Self::Report { report, .. } => Some(&report.attempt),
        }
    }
}

impl ToWorker {
    /// Its kind in a word.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Invite => "invite",
            Self::Assign { .. } => "assign",
            Self::Cancel { .. } => "cancel",
        }
    }

    /// The attempt that it is about, if it is about one.
    #[must_use]
    pub fn attempt(&self) -> Option<&AttemptId> {
        match self {
            Self::Invite => None,
            Self::Assign { attempt, .. } | Self::Cancel { attempt, .. } => Some(attempt),
        }
    }
}

impl std::fmt::Display for ToMaster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Hello(hello) => write!(
                f,
                "hello, offering {} milli-cores",
                hello.capacity.cpu_milli
            ),
            Self::Heartbeat(heartbeat) => {
                let last = heartbeat.last_sequence.unwrap_or(0) & 0xff_ffff;
                write!(f, "heartbeat, last #{last}, holds [")?;
                for (index, held) in heartbeat.held.iter().enumerate() {
                    let between = if index == 0 { "" } else { ", " };
                    write!(f, "{between}{} {}", held.attempt, held.phase)?;
                }
                f.write_str("]")?;
                match &heartbeat.unwell {
                    Some(reason) => write!(f, ", unwell: {reason}"),
                    None => Ok(()),
                }
            }
            Self::Progress { attempt, phase, .. } => write!(f, "progress of {attempt}: {phase}"),
            Self::Upload { attempt, .. } => write!(f, "files of {attempt}"),
            Self::Report { report, .. } => {
                write!(f, "report of {}: {}", report.attempt, report.end.exit)
            }
        }
    }
}

impl std::fmt::Display for ToWorker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Invite => f.write_str("invite"),
            Self::Assign {
                attempt, sequence, ..
            } => write!(f, "assign {attempt} as #{}", sequence & 0xff_ffff),
            Self::Cancel { attempt, reason } => write!(f, "cancel {attempt}: {reason}"),
        }
    }
}
