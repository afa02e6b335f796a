//! What users' programs ask for over gRPC, each as the user that it comes in as.
//!
//! What belongs to somebody else is answered as what doesn't exist, to the letter.

use cloudai_accounts::{Action, HIGHEST_OWN_PRIORITY, Permission};
use cloudai_core::{CancelOutcome, SubmitError};
use cloudai_model::{AttemptId, TaskDraft, TaskId, TaskStatus, UserName};
use cloudai_operator::{CancelFailure, LogFailure, Operator as _, SubmitFailure};
use cloudai_proto::{
    CancelAnswer, LogRequest, Refused, Submitted, WorkerEntry, worker_view::Allocated,
};
use tonic::Status;
use tracing::Instrument as _;

use super::{
    auth::Client,
    cluster_service::ClusterService,
    log_stream::{self, LogChunks},
};

impl Client {
    /// Refuses what this client may not do.
    ///
    /// # Errors
    /// The status to answer with.
    pub(super) fn may(&self, wanted: Permission) -> Result<(), Status> {
        let may = self.identity.authorize(wanted);
        may.map_err(|error| Status::permission_denied(error.to_string()))
    }

    fn may_act_for_all(&self) -> bool {
        self.identity.authorize(Permission::ActForAll).is_ok()
    }
}

/// Does something to its end, and whatever belongs to it, as its record in the audit: also when whoever
/// asked goes meanwhile, or their time is over.
pub(super) async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Status>> + Send + 'static,
) -> Result<T, Status> {
    let done = tokio::spawn(work.in_current_span()).await;
    done.unwrap_or_else(|error| Err(Status::internal(error.to_string())))
}

/// Submits a task: a user's own, whatever user it names; an admin may name another one.
pub(super) async fn submit(
    service: &ClusterService,
    client: &Client,
    draft: TaskDraft,
) -> Result<Result<Submitted, Refused>, Status> {
    client.may(Permission::Act)?;
    let master = &service.master;
    let draft = match owned(client, draft) {
        Ok(draft) => draft,
        Err(refused) => return Ok(Err(refused)),
    };
    let submitted = match master.submit(draft).await {
        Ok(submitted) => submitted,
        Err(failure) => return Ok(Err(refused(&failure)?)),
    };
    let gate = &service.gate;
    gate.audit(client, Action::TaskSubmit, &submitted.task)
        .await;
    Ok(Ok(Submitted {
        degraded: master.degraded().map(|it| it.to_string()),
        message: match &submitted.waiting {
            Some(why) => format!("queued: {}", why.summary),
            None => "sent to a worker".to_owned(),
        },
        task: submitted.task,
        position: u32::try_from(submitted.position).unwrap_or(u32::MAX),
        status: submitted.status,
    }))
}

/// The draft as the client's, if they may ask for that.
fn owned(client: &Client, draft: TaskDraft) -> Result<TaskDraft, Refused> {
    let own = client.identity.user.to_string();
    if client.may_act_for_all() {
        let user_id = Some(draft.user_id.unwrap_or(own));
        return Ok(TaskDraft { user_id, ..draft });
    }
    let level = draft.priority;
    if level.is_some_and(|level| level > HIGHEST_OWN_PRIORITY) {
        let words = format!("priority: only an admin may go above {HIGHEST_OWN_PRIORITY}");
        return Err(Refused(words));
    }
    Ok(TaskDraft {
        user_id: Some(own),
        ..draft
    })
}

/// Asks for a task's end.
pub(super) async fn cancel(
    service: &ClusterService,
    client: &Client,
    task: &TaskId,
) -> Result<CancelAnswer, Status> {
    client.may(Permission::Act)?;
    let outcome = match reaches(service, client, task).await? {
        true => service.master.cancel(task).await,
        false => Err(CancelFailure::Unknown(task.clone())),
    };
    match outcome {
        Ok(outcome) => {
            service.gate.audit(client, Action::TaskCancel, task).await;
            Ok(taken(&outcome))
        }
        Err(failure @ (CancelFailure::Final(..) | CancelFailure::Unknown(_))) => {
            Ok(CancelAnswer::Refused(Refused(failure.to_string())))
        }
        Err(failure) => Err(Status::unavailable(failure.to_string())),
    }
}

/// A task's log, for as long as the client may see it.
pub(super) async fn log(
    service: &ClusterService,
    client: Client,
    wanted: LogRequest,
) -> Result<LogChunks, Status> {
    client.may(Permission::Look)?;
    let (attempt, owner) = attempt_of(service, &client, &wanted).await?;
    let offset = if wanted.framed { wanted.offset } else { 0 };
    let follower = service.master.log_from(&attempt, offset).await;
    let follower = follower.map_err(|failure| match failure {
        // It would be the same each time.
        LogFailure::Removed { .. } => Status::not_found(failure.to_string()),
        failure => Status::unavailable(failure.to_string()),
    })?;
    let (master, gate) = (service.master.clone(), service.gate.clone());
    let still = move || gate.still(&client, &owner, cloudai_clock::now());
    Ok(log_stream::send(master, follower, wanted, still))
}

/// The workers of the last snapshot.
pub(super) fn workers(service: &ClusterService) -> Vec<WorkerEntry> {
    let snapshot = service.master.snapshot();
    let entries = snapshot.workers.values().map(|worker| WorkerEntry {
        worker: worker.id.clone(),
        shown_ip: worker.address.host().to_owned(),
        address: worker.address.to_string(),
        capacity: worker.capacity,
        version: worker.version.clone(),
        labels: worker.labels.clone(),
        status: worker.status(),
        allocated: Allocated {
            cpu_milli: worker.allocated.cpu_milli,
            memory_bytes: worker.allocated.memory_bytes,
            storage_bytes: worker.allocated.storage_bytes,
            gpu_milli: u64::from(worker.allocated.gpu_milli()),
        },
        running_tasks: u32::try_from(worker.attempts.len()).unwrap_or(u32::MAX),
        last_seen: worker.last_seen_at,
    });
    entries.collect()
}

/// Whether there is such a task, as far as the client may know. An admin is not asked about: what they
/// ask for says itself whether there is.
async fn reaches(service: &ClusterService, client: &Client, task: &TaskId) -> Result<bool, Status> {
    if client.may_act_for_all() {
        return Ok(true);
    }
    let view = service.master.task(task).await;
    let view = view.map_err(|failure| Status::unavailable(failure.to_string()))?;
    let owner: Option<UserName> = view.map(|view| view.record.spec.user);
    Ok(owner.is_some_and(|owner| client.identity.reaches(&owner)))
}

/// The attempt whose log is wanted, the one named, or the last; and whose task it is.
async fn attempt_of(
    service: &ClusterService,
    client: &Client,
    wanted: &LogRequest,
) -> Result<(AttemptId, UserName), Status> {
    let task = &wanted.task;
    let record = service.master.store.task(task).await;
    let record = record.map_err(|error| Status::unavailable(error.to_string()))?;
    let record = record.filter(|record| client.identity.reaches(&record.spec.user));
    let record = record.ok_or_else(|| Status::not_found(format!("task {task} is not known")))?;
    let last = record.state.attempt;
    let number = wanted.attempt.unwrap_or(last);
    if (1..=last).contains(&number) {
        let attempt = AttemptId::new(task.clone(), number);
        return Ok((attempt, record.spec.user));
    }
    if last == 0 {
        return Err(Status::failed_precondition(format!(
            "task {task} has not been started: it has no log yet"
        )));
    }
    Err(Status::not_found(format!(
        "task {task} has no attempt {number}: it has had {last} so far"
    )))
}

/// A task that is not taken is answered so; a master that can't tell yet is out of reach, so that
/// the same submit is tried again.
fn refused(failure: &SubmitFailure) -> Result<Refused, Status> {
    match failure {
        SubmitFailure::Refused(SubmitError::NotReady(_))
        | SubmitFailure::Read(_)
        | SubmitFailure::NotKept(_)
        | SubmitFailure::NoAnswer(_) => Err(Status::unavailable(failure.to_string())),
        SubmitFailure::Draft(_) | SubmitFailure::KeyReused(_) | SubmitFailure::Refused(_) => {
            Ok(Refused(failure.to_string()))
        }
    }
}

fn taken(outcome: &CancelOutcome) -> CancelAnswer {
    let (message, status) = match outcome {
        CancelOutcome::Cancelled => ("cancelled".to_owned(), Some(TaskStatus::Cancelled)),
        CancelOutcome::Stopping(worker) => (format!("{worker} was asked to stop it"), None),
        CancelOutcome::AlreadyEnded => (
            "it has ended by itself, and that result stands".to_owned(),
            None,
        ),
    };
    CancelAnswer::Taken { message, status }
}

#[cfg(test)]
mod tests {
    use cloudai_core::NotReady;
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn what_has_begun_is_done_to_its_end_when_whoever_asked_has_gone() {
        let (go_on, goes_on) = tokio::sync::oneshot::channel();
        let (done, is_done) = tokio::sync::oneshot::channel();
        let mut asked = Box::pin(to_the_end(async move {
            let _ = goes_on.await.is_ok();
            done.send(()).unwrap();
            Ok(())
        }));
        assert!((&mut asked).now_or_never().is_none());
        drop(asked);
        go_on.send(()).unwrap();
        is_done.await.unwrap();
    }

    #[test]
    fn a_submit_that_comes_too_early_is_not_refused_for_good() {
        let too_early = SubmitFailure::Refused(NotReady.into());
        let status = refused(&too_early).unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unavailable);
        let full = SubmitFailure::Refused(SubmitError::QueueFull(7));
        assert!(refused(&full).unwrap().0.contains("7 tasks wait"));
    }
}
