//! What a placing agent sees and says: `ClusterState` and `TaskAssignments`.

use cloudai_model::{Resources, TaskId, TaskType, WorkerId, WorkerStatus, resources::bytes_to_gb};

use crate::{agent, error::WireError, field};

/// What a worker has free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentWorker {
    /// Its id.
    pub worker: WorkerId,
    /// Thousandths of a core free.
    pub cpu_milli: u64,
    /// Bytes of memory free.
    pub memory_bytes: u64,
    /// Milli-GPUs free over all devices.
    pub gpu_milli: u64,
    /// Whether it can be given tasks.
    pub status: WorkerStatus,
}

/// A task that waits for a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingTask {
    /// Its id.
    pub task: TaskId,
    /// What it needs.
    pub resources: Resources,
    /// What kind of work it is.
    pub task_type: Option<TaskType>,
}

/// Where an agent wants a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Which task.
    pub task: TaskId,
    /// Where.
    pub worker: WorkerId,
}

/// The answer to FetchClusterState.
#[must_use]
pub fn cluster_state(
    workers: impl IntoIterator<Item = AgentWorker>,
    waiting: impl IntoIterator<Item = WaitingTask>,
) -> agent::ClusterState {
    let worker = |worker: AgentWorker| agent::AgentWorkerInfo {
        worker_id: worker.worker.to_string(),
        cpu_available: field::whole(worker.cpu_milli),
        memory_available: bytes_to_gb(worker.memory_bytes),
        gpu_available: field::whole(worker.gpu_milli),
        status: worker.status.to_string(),
    };
    let task = |waiting: WaitingTask| agent::TaskInfo {
        task_id: waiting.task.to_string(),
        req_cpu: field::whole(waiting.resources.cpu_milli),
        req_memory: bytes_to_gb(waiting.resources.memory_bytes),
        req_gpu: waiting.resources.gpu.devices(),
        task_type: waiting
            .task_type
            .map_or_else(String::new, |kind| kind.to_string()),
    };
    agent::ClusterState {
        workers: workers.into_iter().map(worker).collect(),
        pending_tasks: waiting.into_iter().map(task).collect(),
    }
}

/// Reads what an agent wants, in its order.
///
/// # Errors
/// At the first id that can't be meant.
pub fn placements(wire: &agent::TaskAssignments) -> Result<Vec<Placement>, WireError> {
    wire.assignments
        .iter()
        .map(|assignment| {
            Ok(Placement {
                task: field::parsed("task_id", &assignment.task_id)?,
                worker: field::parsed("worker_id", &assignment.worker_id)?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use cloudai_model::GpuRequest;

    use super::*;

    #[test]
    fn an_agent_sees_the_cluster_in_the_contracts_units() {
        let worker = AgentWorker {
            worker: "worker-1".parse().unwrap(),
            cpu_milli: 2500,
            memory_bytes: 1 << 29,
            gpu_milli: 750,
            status: WorkerStatus::Active,
        };
        let task = WaitingTask {
            task: TaskId::numbered(7),
            resources: Resources {
                cpu_milli: 500,
                memory_bytes: 1 << 30,
                storage_bytes: 0,
                gpu: GpuRequest::Whole(2),
            },
            task_type: Some(TaskType::GpuTraining),
        };
        let state = cluster_state([worker], [task]);
        let (worker, task) = (&state.workers[0], &state.pending_tasks[0]);
        assert_eq!((worker.cpu_available, worker.memory_available), (2.5, 0.5));
        assert_eq!(
            (worker.gpu_available, worker.status.as_str()),
            (0.75, "active")
        );
        assert_eq!((task.task_id.as_str(), task.req_cpu), ("task-7", 0.5));
        assert_eq!(
            (task.req_gpu, task.task_type.as_str()),
            (2.0, "gpu-training")
        );
    }

    #[test]
    fn what_an_agent_wants_is_read_or_refused() {
        let wire = |worker_id: &str| agent::TaskAssignments {
            assignments: vec![agent::Assignment {
                task_id: "task-7".to_owned(),
                worker_id: worker_id.to_owned(),
            }],
        };
        let expected = Placement {
            task: TaskId::numbered(7),
            worker: "worker-1".parse().unwrap(),
        };
        assert_eq!(placements(&wire("worker-1")), Ok(vec![expected]));
        assert_eq!(placements(&wire("")).unwrap_err().field, "worker_id");
    }
}
