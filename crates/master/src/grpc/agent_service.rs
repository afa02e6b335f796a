//! `MasterAgent`: what an agent that places tasks sees, and says.

use std::sync::Arc;

use cloudai_accounts::{Action, Permission};
use cloudai_model::resources::WHOLE_DEVICE;
use cloudai_operator::Operator as _;
use cloudai_proto::{
    AgentWorker, Refused, WaitingTask,
    agent::{AgentAck, ClusterState, Empty, TaskAssignments, master_agent_server::MasterAgent},
    agent_view::{cluster_state, placements},
    answer::agent_ack,
};
use tonic::{Request, Response, Status};

use super::{
    auth::{Caller, Gate},
    clients,
};
use crate::operations::Master;

/// How many waiting tasks an agent is shown at a time.
const MOST_TASKS: usize = 1000;

/// See the module.
pub struct AgentService {
    master: Arc<Master>,
    gate: Gate,
}

impl AgentService {
    /// A service over this master.
    #[must_use]
    pub fn new(master: Arc<Master>, gate: Gate) -> Self {
        Self { master, gate }
    }
}

#[tonic::async_trait]
impl MasterAgent for AgentService {
    async fn fetch_cluster_state(
        &self,
        request: Request<Empty>,
    ) -> Result<Response<ClusterState>, Status> {
        // What waits is everybody's.
        let client = self.gate.client(&Caller::of(&request))?;
        client.may(Permission::LookAtAll)?;
        let waiting = self.master.queue(MOST_TASKS).await;
        let waiting = waiting.map_err(|error| Status::unavailable(error.to_string()))?;
        // What is on hold is not to be placed.
        let waiting = waiting
            .into_iter()
            .filter(|waiting| !waiting.record.spec.hold);
        let tasks = waiting.map(|waiting| WaitingTask {
            task: waiting.record.task,
            resources: waiting.record.spec.resources,
            task_type: waiting.record.spec.task_type,
        });
        let snapshot = self.master.snapshot();
        let workers = snapshot.workers.values().map(|worker| {
            let capacity = worker.capacity.unwrap_or_default();
            let taken = &worker.allocated;
            let gpu_milli = u64::from(capacity.gpus) * u64::from(WHOLE_DEVICE);
            AgentWorker {
                worker: worker.id.clone(),
                cpu_milli: capacity.cpu_milli.saturating_sub(taken.cpu_milli),
                memory_bytes: capacity.memory_bytes.saturating_sub(taken.memory_bytes),
                gpu_milli: gpu_milli.saturating_sub(u64::from(taken.gpu_milli())),
                status: worker.status(),
            }
        });
        Ok(Response::new(cluster_state(workers, tasks)))
    }

    async fn submit_assignments(
        &self,
        request: Request<TaskAssignments>,
    ) -> Result<Response<AgentAck>, Status> {
        let client = self.gate.client(&Caller::of(&request))?;
        client.may(Permission::ActForAll)?;
        let placements = placements(&request.into_inner())?;
        let (master, gate) = (self.master.clone(), self.gate.clone());
        let done = clients::to_the_end(async move {
            let (mut placed, mut refused) = (0_usize, Vec::new());
            for placement in placements {
                let (task, worker) = (placement.task, placement.worker);
                match master.place(task.clone(), worker).await {
                    Ok(_) => {
                        placed += 1;
                        gate.audit(&client, Action::TaskPlace, &task).await;
                    }
                    Err(failure) => refused.push(failure.to_string()),
                }
            }
            Ok((placed, refused))
        });
        let (placed, refused) = done.await?;
        // Every choice stands for itself: those that fit are followed, the others named.
        let answer = if refused.is_empty() {
            Ok(format!("{placed} tasks placed"))
        } else {
            Err(Refused(format!(
                "{placed} tasks placed; {}",
                refused.join("; ")
            )))
        };
        Ok(Response::new(agent_ack(answer)))
    }
}
