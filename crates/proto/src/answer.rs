//! Answers: every acknowledgement of the contract, as a result that can't be overlooked.
//!
//! An acknowledgement with `success` false is a refusal with its message. A call that failed
//! otherwise has a gRPC status and never gets here.

use std::time::Duration;

use cloudai_model::{ClusterId, TaskId, TaskStatus};

use crate::{agent, cluster, error::WireError, field};

/// The other side said no, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

fn split(success: bool, message: String) -> Result<String, Refused> {
    let message = field::shown_text(message);
    if success {
        Ok(message)
    } else {
        Err(Refused(message))
    }
}

/// A worker is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// For people.
    pub message: String,
    /// What its containers are labelled with; `None` from an old master.
    pub cluster: Option<ClusterId>,
    /// How often to send heartbeats, in whole milliseconds; `None` from an old master.
    pub heartbeat_interval: Option<Duration>,
}

impl Registered {
    /// The answer to RegisterWorker and MasterRegister.
    #[must_use]
    pub fn to_wire(answer: Result<Self, Refused>) -> cluster::RegisterAck {
        match answer {
            Ok(registered) => cluster::RegisterAck {
                success: true,
                message: registered.message,
                cluster_id: registered
                    .cluster
                    .map_or_else(String::new, |id| id.to_string()),
                heartbeat_interval_ms: registered.heartbeat_interval.map_or(0, |span| {
                    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
                }),
            },
            Err(Refused(message)) => cluster::RegisterAck {
                message,
                ..Default::default()
            },
        }
    }

    /// Reads it from the wire.
    ///
    /// # Errors
    /// If the cluster's id can't be meant; inside, if the worker was refused.
    pub fn from_wire(wire: cluster::RegisterAck) -> Result<Result<Self, Refused>, WireError> {
        let cluster = field::parsed_if_any("cluster_id", &wire.cluster_id)?;
        Ok(split(wire.success, wire.message).map(|message| Self {
            message,
            cluster,
            heartbeat_interval: Some(wire.heartbeat_interval_ms)
                .filter(|ms| *ms != 0)
                .map(Duration::from_millis),
        }))
    }
}

/// A heartbeat was taken in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeartbeatTaken {
    /// The master doesn't know the worker's capacity: register again.
    pub register_again: bool,
}

impl HeartbeatTaken {
    /// The answer to SendHeartbeat.
    #[must_use]
    pub fn to_wire(answer: Result<Self, Refused>) -> cluster::HeartbeatAck {
        match answer {
            Ok(taken) => cluster::HeartbeatAck {
                success: true,
                message: String::new(),
                register_again: taken.register_again,
            },
            Err(Refused(message)) => cluster::HeartbeatAck {
                message,
                ..Default::default()
            },
        }
    }

    /// Reads it from the wire.
    ///
    /// # Errors
    /// If the heartbeat was refused.
    pub fn from_wire(wire: cluster::HeartbeatAck) -> Result<Self, Refused> {
        split(wire.success, wire.message).map(|_| Self {
            register_again: wire.register_again,
        })
    }
}

/// A client's task was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// Its id.
    pub task: TaskId,
    /// Its place in the queue, from 1; 0 when it was placed at once.
    pub position: u32,
    /// Where it stands.
    pub status: TaskStatus,
    /// For people.
    pub message: String,
    /// Why the store's database is out of reach, if it is: the task is kept elsewhere meanwhile.
    pub degraded: Option<String>,
}

impl Submitted {
    /// The master's answer to AssignTask.
    #[must_use]
    pub fn to_wire(answer: Result<Self, Refused>) -> cluster::TaskAck {
        match answer {
            Ok(submitted) => cluster::TaskAck {
                success: true,
                message: submitted.message,
                task_id: submitted.task.to_string(),
                position: submitted.position,
                status: submitted.status.to_string(),
                not_held: false,
                degraded: submitted.degraded.unwrap_or_default(),
            },
            Err(refused) => refusal(refused),
        }
    }

    /// Reads it from the wire.
    ///
    /// # Errors
    /// If id or status can't be meant; inside, if the task was refused.
    pub fn from_wire(wire: cluster::TaskAck) -> Result<Result<Self, Refused>, WireError> {
        let message = match split(wire.success, wire.message) {
            Ok(message) => message,
            Err(refused) => return Ok(Err(refused)),
        };
        Ok(Ok(Self {
            task: field::parsed("task_id", &wire.task_id)?,
            position: wire.position,
            status: field::parsed("status", &wire.status)?,
            message,
            degraded: Some(field::shown_text(wire.degraded)).filter(|why| !why.is_empty()),
        }))
    }
}

/// A worker took an assignment in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OrderTaken {
    /// For people.
    pub message: String,
}

impl OrderTaken {
    /// A worker's answer to AssignTask.
    #[must_use]
    pub fn to_wire(answer: Result<Self, Refused>) -> cluster::TaskAck {
        match answer {
            Ok(taken) => cluster::TaskAck {
                success: true,
                message: taken.message,
                ..Default::default()
            },
            Err(refused) => refusal(refused),
        }
    }

    /// Reads it from the wire.
    ///
    /// # Errors
    /// If the assignment was refused.
    pub fn from_wire(wire: cluster::TaskAck) -> Result<Self, Refused> {
        split(wire.success, wire.message).map(|message| Self { message })
    }
}

/// The answer to CancelTask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelAnswer {
    /// The cancel is under way.
    Taken {
        /// For people.
        message: String,
        /// The task's status after the call, from a master.
        status: Option<TaskStatus>,
    },
    /// From a worker: it does not hold the attempt and will not start it.
    NotHeld {
        /// For people.
        message: String,
    },
    /// No: unknown, final already, not the caller's.
    Refused(Refused),
}

impl CancelAnswer {
    /// As the wire has it.
    #[must_use]
    pub fn into_wire(self) -> cluster::TaskAck {
        match self {
            Self::Taken { message, status } => cluster::TaskAck {
                success: true,
                message,
                status: status.map_or_else(String::new, |status| status.to_string()),
                ..Default::default()
            },
            Self::NotHeld { message } => cluster::TaskAck {
                message,
                not_held: true,
                ..Default::default()
            },
            Self::Refused(refused) => refusal(refused),
        }
    }

    /// Reads it from the wire.
    #[must_use]
    pub fn from_wire(wire: cluster::TaskAck) -> Self {
        if wire.not_held {
            return Self::NotHeld {
                message: field::shown_text(wire.message),
            };
        }
        match split(wire.success, wire.message) {
            Ok(message) => Self::Taken {
                message,
                status: wire.status.parse().ok(),
            },
            Err(refused) => Self::Refused(refused),
        }
    }
}

fn refusal(Refused(message): Refused) -> cluster::TaskAck {
    cluster::TaskAck {
        message,
        ..Default::default()
    }
}

/// The answer to ReportTaskCompletion and ReportTaskProgress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportAnswer {
    /// It is kept.
    Taken {
        /// For people.
        message: String,
    },
    /// Refused for good: it need not be sent again.
    Superseded {
        /// Why.
        message: String,
    },
    /// Refused for now: send it again.
    Refused(Refused),
}

impl ReportAnswer {
    /// As the wire has it.
    #[must_use]
    pub fn into_wire(self) -> cluster::Ack {
        let (success, superseded, message) = match self {
            Self::Taken { message } => (true, false, message),
            Self::Superseded { message } => (false, true, message),
            Self::Refused(Refused(message)) => (false, false, message),
        };
        cluster::Ack {
            success,
            message,
            superseded,
        }
    }

    /// Reads it from the wire.
    #[must_use]
    pub fn from_wire(wire: cluster::Ack) -> Self {
        let message = field::shown_text(wire.message);
        match (wire.superseded, wire.success) {
            (true, _) => Self::Superseded { message },
            (false, true) => Self::Taken { message },
            (false, false) => Self::Refused(Refused(message)),
        }
    }
}

/// The answer to UploadTaskFiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadAnswer {
    /// All of them are kept.
    Taken {
        /// How many files.
        files: u32,
        /// For people.
        message: String,
    },
    /// Refused for good: they need not be sent again.
    Superseded {
        /// Why.
        message: String,
    },
    /// Refused for now: send them again.
    Refused(Refused),
}

impl UploadAnswer {
    /// As the wire has it.
    #[must_use]
    pub fn into_wire(self) -> cluster::FileUploadAck {
        let (success, superseded, files, message) = match self {
            Self::Taken { files, message } => (true, false, files, message),
            Self::Superseded { message } => (false, true, 0, message),
            Self::Refused(Refused(message)) => (false, false, 0, message),
        };
        cluster::FileUploadAck {
            success,
            message,
            files_received: i32::try_from(files).unwrap_or(i32::MAX),
            superseded,
        }
    }

    /// Reads it from the wire.
    #[must_use]
    pub fn from_wire(wire: cluster::FileUploadAck) -> Self {
        let message = field::shown_text(wire.message);
        match (wire.superseded, wire.success) {
            (true, _) => Self::Superseded { message },
            (false, true) => Self::Taken {
                files: u32::try_from(wire.files_received).unwrap_or(0),
                message,
            },
            (false, false) => Self::Refused(Refused(message)),
        }
    }
}

/// The answer to SubmitAssignments.
#[must_use]
pub fn agent_ack(answer: Result<String, Refused>) -> agent::AgentAck {
    match answer {
        Ok(message) => agent::AgentAck {
            success: true,
            message,
        },
        Err(Refused(message)) => agent::AgentAck {
            success: false,
            message,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused<T>() -> Result<T, Refused> {
        Err(Refused("worker x not authorized".to_owned()))
    }

    fn message() -> String {
        "m".to_owned()
    }

    #[test]
    fn yes_and_no_survive_the_wire() {
        let registered = Ok(Registered {
            message: message(),
            cluster: Some("c-1".parse().unwrap()),
            heartbeat_interval: Some(Duration::from_secs(5)),
        });
        for answer in [registered, refused()] {
            let read = Registered::from_wire(Registered::to_wire(answer.clone()));
            assert_eq!(read, Ok(answer));
        }
        let taken = Ok(HeartbeatTaken {
            register_again: true,
        });
        for answer in [taken, refused()] {
            let read = HeartbeatTaken::from_wire(HeartbeatTaken::to_wire(answer.clone()));
            assert_eq!(read, answer);
        }
        let submitted = Ok(Submitted {
            task: "task-7".parse().unwrap(),
            position: 3,
            status: TaskStatus::Queued,
            message: message(),
            degraded: Some("mongodb db/jobs is out of reach".to_owned()),
        });
        for answer in [submitted, refused()] {
            let read = Submitted::from_wire(Submitted::to_wire(answer.clone()));
            assert_eq!(read, Ok(answer));
        }
        for answer in [Ok(OrderTaken { message: message() }), refused()] {
            assert_eq!(
                OrderTaken::from_wire(OrderTaken::to_wire(answer.clone())),
                answer
            );
        }
    }

    #[test]
    fn answers_of_three_kinds_are_told_apart() {
        for answer in [
            CancelAnswer::Taken {
                message: message(),
                status: Some(TaskStatus::Running),
            },
            CancelAnswer::NotHeld { message: message() },
            CancelAnswer::Refused(Refused(message())),
        ] {
            assert_eq!(CancelAnswer::from_wire(answer.clone().into_wire()), answer);
        }
        for answer in [
            ReportAnswer::Taken { message: message() },
            ReportAnswer::Superseded { message: message() },
            ReportAnswer::Refused(Refused(message())),
        ] {
            assert_eq!(ReportAnswer::from_wire(answer.clone().into_wire()), answer);
        }
        for answer in [
            UploadAnswer::Taken {
                files: 3,
                message: message(),
            },
            UploadAnswer::Superseded { message: message() },
            UploadAnswer::Refused(Refused(message())),
        ] {
            assert_eq!(UploadAnswer::from_wire(answer.clone().into_wire()), answer);
        }
    }

    #[test]
    fn an_old_masters_registration_lacks_cluster_and_interval() {
        let ack = cluster::RegisterAck {
            success: true,
            message: message(),
            ..Default::default()
        };
        let registered = Registered::from_wire(ack).unwrap().unwrap();
        assert_eq!(
            (registered.cluster, registered.heartbeat_interval),
            (None, None)
        );
    }
}
