//! Workers: listed, told, registered, drained, unregistered.

use std::collections::BTreeSet;

use axum::{
    Json as Answer,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use cloudai_accounts::{Action, Permission};
use cloudai_api::{
    Drain, Drained, Mistake, Mistakes, NewWorker, Page, RegisteredWorker, Task, Unregistered,
    Worker,
};
use cloudai_core::registry;
use cloudai_model::{TaskStatus, WorkerAddress, WorkerId};
use cloudai_operator::TaskFilter;

use super::tasks::{tasks_page, unless_known};
use crate::{
    Context,
    auth::Caller,
    body::{Json, OptionalJson},
    openapi::problems,
    query::{Id, Query},
    refusal::Refusal,
};

problems! {
    /// What a look at workers may answer.
    ListProblems: InvalidParameter, Unauthenticated, MethodNotAllowed, NotAcceptable, Internal, Starting, StoreAway,
        TimedOut, Overloaded
}
problems! {
    /// What a look at one worker may answer.
    LookProblems: InvalidParameter, Unauthenticated, NotFound, MethodNotAllowed, NotAcceptable, Internal, Starting,
        StoreAway, TimedOut, Overloaded
}
problems! {
    /// What a registration may answer.
    RegisterProblems: BadRequest, InvalidJson, InvalidBody, Unauthenticated, AdminOnly, KeyScope,
        CrossOrigin, MethodNotAllowed, NotAcceptable, RequestTimeout, WorkerElsewhere, TooLarge,
        UnsupportedMediaType, Internal, Starting, StoreAway, TimedOut, Overloaded, ShuttingDown
}
problems! {
    /// What a change of a worker may answer.
    ChangeProblems: BadRequest, InvalidJson, InvalidBody, Unauthenticated, AdminOnly, KeyScope,
        CrossOrigin, NotFound, MethodNotAllowed, NotAcceptable, RequestTimeout, TooLarge, UnsupportedMediaType,
        Internal, Starting, StoreAway, TimedOut, Overloaded, ShuttingDown
}

/// So many of a user's own running tasks are named among those of workers.
const MOST_OWN: usize = 10_000;

/// Workers as whoever asks may see them: others' tasks are not named.
pub(super) async fn seen(
    context: &Context,
    caller: &Caller,
    workers: Vec<&registry::Worker>,
) -> Result<Vec<Worker>, Refusal> {
    let now = context.operator.now();
    let shown = workers.iter().map(|worker| Worker::new(worker, now));
    if caller.may_look_at_all() || workers.iter().all(|worker| worker.attempts.is_empty()) {
        return Ok(shown.collect());
    }
    let filter = TaskFilter {
        statuses: [TaskStatus::Pending, TaskStatus::Running].into(),
        user: Some(caller.identity.user.clone()),
        // Of one worker no more is read than it has.
        worker: match workers.as_slice() {
            [one] => Some(one.id.clone()),
            _ => None,
        },
        limit: MOST_OWN,
        ..TaskFilter::default()
    };
    let own = context.operator.tasks(&filter).await?;
    let own: BTreeSet<String> = own.iter().map(|record| record.task.to_string()).collect();
    Ok(shown
        .map(|worker| worker.with_tasks(|task| own.contains(task)))
        .collect())
}

/// The workers, by id.
#[utoipa::path(
    get,
    path = "/api/workers",
    operation_id = "list_workers",
    tag = "workers",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000,
            description = "At most so many; 100 if none."),
        ("cursor" = Option<String>, Query, pattern = "^[A-Za-z0-9_-]*$",
            description = "The next_cursor of the page before."),
    ),
    responses((status = 200, description = "Workers.", body = Page<Worker>), ListProblems)
)]
pub(super) async fn list(
    State(context): State<Context>,
    caller: Caller,
    mut query: Query,
) -> Result<Answer<Page<Worker>>, Refusal> {
    caller.may(Permission::Look)?;
    let paging = query.paging::<String>("workers");
    query.finish()?;
    let snapshot = context.operator.snapshot();
    let after = paging.after.as_deref();
    let workers = snapshot.workers.values().map(AsRef::as_ref);
    let behind = workers.filter(|worker| after.is_none_or(|after| worker.id.as_str() > after));
    let page: Vec<&registry::Worker> = behind.take(paging.limit + 1).collect();
    let page = Page::cut(page, paging.limit, "workers", |worker| {
        worker.id.to_string()
    });
    let items = seen(&context, &caller, page.items).await?;
    Ok(Answer(Page {
        items,
        next_cursor: page.next_cursor,
    }))
}

/// One worker.
#[utoipa::path(
    get,
    path = "/api/workers/{id}",
    operation_id = "get_worker",
    tag = "workers",
    params(
        ("id" = String, Path, description = "The worker."),
        ("If-None-Match" = Option<String>, Header, description = "The ETag of what is known."),
    ),
    responses(
        (status = 200, description = "The worker.", body = Worker,
            headers(("ETag" = String, description = "Names this state of the worker."))),
        (status = 304, description = "It is what is known."),
        LookProblems,
    )
)]
pub(super) async fn one(
    State(context): State<Context>,
    caller: Caller,
    Id(worker): Id<WorkerId>,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, Refusal> {
    caller.may(Permission::Look)?;
    query.finish()?;
    let snapshot = context.operator.snapshot();
    let found = snapshot
        .workers
        .get(&worker)
        .ok_or_else(Refusal::not_found)?;
    let mut shown = seen(&context, &caller, vec![found]).await?;
    let shown = shown.pop().ok_or_else(Refusal::not_found)?;
    unless_known(&headers, &shown)
}

/// The tasks whose last attempt was given to a worker, the newest first.
#[utoipa::path(
    get,
    path = "/api/workers/{id}/tasks",
    operation_id = "worker_tasks",
    tag = "workers",
    params(
        ("id" = String, Path, description = "The worker."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000,
            description = "At most so many; 100 if none."),
        ("cursor" = Option<String>, Query, pattern = "^[A-Za-z0-9_-]*$",
            description = "The next_cursor of the page before."),
    ),
    responses((status = 200, description = "Tasks.", body = Page<Task>), LookProblems)
)]
pub(super) async fn tasks(
    State(context): State<Context>,
    caller: Caller,
    Id(worker): Id<WorkerId>,
    mut query: Query,
) -> Result<Answer<Page<Task>>, Refusal> {
    caller.may(Permission::Look)?;
    let paging = query.paging("worker-tasks");
    query.finish()?;
    if !context.operator.snapshot().workers.contains_key(&worker) {
        return Err(Refusal::not_found());
    }
    let filter = TaskFilter {
        worker: Some(worker),
        before: paging.after,
        limit: paging.limit,
        ..TaskFilter::default()
    };
    tasks_page(&context, &caller, filter, "worker-tasks")
        .await
        .map(Answer)
}

/// Makes a worker known.
#[utoipa::path(
    post,
    path = "/api/workers",
    operation_id = "register_worker",
    tag = "workers",
    request_body = NewWorker,
    responses(
        (status = 201, description = "It is known now.", body = RegisteredWorker),
        (status = 200, description = "It was known at this address before.", body = RegisteredWorker),
        RegisterProblems,
    )
)]
pub(super) async fn register(
    State(context): State<Context>,
    caller: Caller,
    body: Json<NewWorker>,
) -> Result<(StatusCode, Answer<RegisteredWorker>), Refusal> {
    let action = Action::WorkerRegister;
    let NewWorker { worker_id, address } = body.value;
    let wanted = Permission::Administer;
    caller
        .may_noted(&context, wanted, action, &worker_id)
        .await?;
    let mut mistakes = Mistakes::default();
    let mut wrong = |at: &str, error: String| mistakes.push(Mistake::at(at, error));
    let worker: Result<WorkerId, _> = worker_id.parse();
    if let Err(error) = &worker {
        wrong("/worker_id", error.to_string());
    }
    let at: Result<WorkerAddress, _> = address.parse();
    if let Err(error) = &at {
        wrong("/address", error.to_string());
    }
    let (Ok(worker), Ok(at)) = (worker, at) else {
        return Err(Refusal::mistakes(mistakes));
    };
    let entry = caller
        .did(action)
        .target(worker.as_str())
        .detail(at.to_string());
    let here = context.clone();
    let done = context.to_the_end(async move {
        let registered = here.operator.register(worker, at).await?;
        here.audit(entry).await;
        Ok(registered)
    });
    let registered = done.await?;
    let status = match registered.already {
        true => StatusCode::OK,
        false => StatusCode::CREATED,
    };
    Ok((status, Answer(RegisteredWorker::from(&registered))))
}

/// Forgets a worker; what it ran is run elsewhere.
#[utoipa::path(
    delete,
    path = "/api/workers/{id}",
    operation_id = "unregister_worker",
    tag = "workers",
    params(("id" = String, Path, description = "The worker.")),
    responses(
        (status = 200, description = "It is forgotten; what was taken from it.", body = Unregistered),
        ChangeProblems,
    )
)]
pub(super) async fn unregister(
    State(context): State<Context>,
    caller: Caller,
    Id(worker): Id<WorkerId>,
) -> Result<Answer<Unregistered>, Refusal> {
    let (action, wanted) = (Action::WorkerUnregister, Permission::Administer);
    caller
        .may_noted(&context, wanted, action, worker.as_str())
        .await?;
    let entry = caller.did(action).target(worker.as_str());
    let (here, gone) = (context.clone(), worker.clone());
    let done = context.to_the_end(async move {
        let taken = here.operator.unregister(&gone).await?;
        here.audit(entry).await;
        Ok(taken)
    });
    let taken = done.await?;
    Ok(Answer(Unregistered::new(worker.to_string(), &taken)))
}

/// Gives a worker nothing new, or lets it have tasks again.
#[utoipa::path(
    post,
    path = "/api/workers/{id}/drain",
    operation_id = "drain_worker",
    tag = "workers",
    params(("id" = String, Path, description = "The worker.")),
    request_body = Option<Drain>,
    responses(
        (status = 200, description = "What it still has to run.", body = Drained),
        ChangeProblems,
    )
)]
pub(super) async fn drain(
    State(context): State<Context>,
    caller: Caller,
    Id(worker): Id<WorkerId>,
    body: OptionalJson<Drain>,
) -> Result<Answer<Drained>, Refusal> {
    let (action, wanted) = (Action::WorkerDrain, Permission::Administer);
    caller
        .may_noted(&context, wanted, action, worker.as_str())
        .await?;
    let draining = body.0.is_none_or(|drain| drain.draining);
    let entry = caller.did(action).target(worker.as_str());
    let detail = if draining { "drained" } else { "used again" };
    let (here, drained) = (context.clone(), worker.clone());
    let done = context.to_the_end(async move {
        let left = here.operator.drain(&drained, draining).await?;
        here.audit(entry.detail(detail)).await;
        Ok(left)
    });
    let left = done.await?;
    Ok(Answer(Drained::new(worker.to_string(), draining, &left)))
}
