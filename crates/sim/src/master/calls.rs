//! Calls to workers, and what their failures mean: `crates/master/src/workers/call.rs`.

use std::{rc::Rc, sync::Arc};

use cloudai_core::{AssignAnswer, Assignment, Input, StopAnswer, StopRequest};
use cloudai_model::WorkerId;

use super::MasterShell;
use crate::{
    audit::Seen,
    network::CallError,
    wire::{FromWorker, ToWorker},
};

/// How long a worker has to answer a call.
const ANSWER_WITHIN_MS: u64 = 10_000;

pub(super) async fn assign(shell: Rc<MasterShell>, assignment: Assignment) {
    let attempt = assignment.attempt.clone();
    let answer = match try_assign(&shell, assignment).await {
        Ok(()) => AssignAnswer::Accepted,
        Err(failure) => failure,
    };
    shell.tell(Input::AssignAnswered { attempt, answer });
}

async fn try_assign(shell: &Rc<MasterShell>, assignment: Assignment) -> Result<(), AssignAnswer> {
    let not_sent = |reason: &str| AssignAnswer::NotSent(reason.to_owned());
    let (registered, cluster) = {
        let snapshot = shell.snapshot.borrow();
        let registered = snapshot.workers.contains_key(&assignment.worker);
        (registered, snapshot.cluster.clone())
    };
    if !registered {
        return Err(not_sent("it is not registered any more"));
    }
    let task = &assignment.attempt.task;
    let remembered = shell.specs.borrow().get(task).cloned();
    let spec = match remembered {
        Some(spec) => spec,
        None => {
            let stored = shell.world.store.task(task);
            let stored = stored.ok_or_else(|| not_sent("its task is not in the store"))?;
            Arc::new(stored.spec)
        }
    };
    let request = ToWorker::Assign {
        attempt: assignment.attempt,
        sequence: assignment.sequence,
        cluster,
        grant: assignment.grant,
        spec,
    };
    match call(shell, &assignment.worker, request).await {
        Ok(FromWorker::Taken) => Ok(()),
        Ok(FromWorker::Refused(reason)) => Err(AssignAnswer::Refused(reason)),
        Ok(FromWorker::Unavailable(reason)) => Err(AssignAnswer::Undelivered(reason)),
        Ok(answer) => Err(AssignAnswer::Undelivered(format!("{answer:?}"))),
        // Nothing was sent.
        Err(error @ CallError::NotConnected(_)) => Err(AssignAnswer::Refused(error.to_string())),
        Err(error) => Err(AssignAnswer::Undelivered(error.to_string())),
    }
}

pub(super) async fn stop(shell: Rc<MasterShell>, request: StopRequest) {
    let wanted = ToWorker::Cancel {
        attempt: request.attempt.clone(),
        reason: request.reason,
    };
    let answer = match call(&shell, &request.worker, wanted).await {
        Ok(FromWorker::Stopping) => StopAnswer::Stopping,
        Ok(FromWorker::NotHeld) => StopAnswer::NotHeld,
        Ok(answer) => StopAnswer::Undelivered(format!("{answer:?}")),
        Err(error) => StopAnswer::Undelivered(error.to_string()),
    };
    shell.tell(Input::StopAnswered {
        attempt: request.attempt,
        worker: request.worker,
        answer,
    });
}

pub(super) async fn invite(shell: Rc<MasterShell>, worker: WorkerId) {
    // What comes of it is the worker's hello.
    let _ = call(&shell, &worker, ToWorker::Invite).await.is_ok();
}

async fn call(
    shell: &Rc<MasterShell>,
    worker: &WorkerId,
    request: ToWorker,
) -> Result<FromWorker, CallError> {
    let world = &shell.world;
    let Some(index) = world.index_of(worker) else {
        return Err(CallError::NotConnected("no such host"));
    };
    world.see(&Seen::SentToWorker {
        worker: index,
        request: &request,
    });
    world.note("master", || format!("-> w{index}: {request}"));
    let answer = world
        .call_worker(index, request.clone(), ANSWER_WITHIN_MS)
        .await;
    world.see(&Seen::HeardFromWorker {
        worker: index,
        request: &request,
        answer: &answer,
    });
    world.note("master", || match &answer {
        Ok(answer) => format!("<- w{index} on {request}: {answer:?}"),
        Err(error) => format!("<- w{index} on {request}: {error}"),
    });
    answer
}
