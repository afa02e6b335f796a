//! Tasks: listed, told, changed, cancelled.

use std::collections::BTreeSet;

use axum::{
    Json as Answer,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use cloudai_accounts::{Action, HIGHEST_OWN_PRIORITY, Permission};
use cloudai_api::{
    Code, Mistake, Mistakes, Page, Standing, Task, TaskPatch, TimelineEvent, timeline,
};
use cloudai_core::CancelOutcome;
use cloudai_model::{TaskId, TaskStatus, UserName};
use cloudai_operator::{ChangeFailure, TaskFilter, TaskView};
use sha2::{Digest as _, Sha256};

use super::submit::not_allowed;
use crate::{
    Context,
    auth::Caller,
    body::Json,
    openapi::problems,
    query::{Id, Query},
    refusal::Refusal,
};

problems! {
    /// What a look at tasks may answer.
    ListProblems: InvalidParameter, Unauthenticated, MethodNotAllowed, NotAcceptable, Internal, Starting, StoreAway,
        TimedOut, Overloaded
}
problems! {
    /// What a look at one task may answer.
    LookProblems: InvalidParameter, Unauthenticated, NotFound, MethodNotAllowed, NotAcceptable, Internal, Starting,
        StoreAway, TimedOut, Overloaded, ShuttingDown
}
problems! {
    /// What a change of a task may answer.
    ChangeProblems: BadRequest, InvalidJson, InvalidBody, InvalidParameter, Unauthenticated,
        KeyScope, CrossOrigin, NotAllowed, NotFound, MethodNotAllowed, NotAcceptable, RequestTimeout, TaskFinal,
        TaskStopping, TooLate, PreconditionFailed, TooLarge, UnsupportedMediaType, Internal,
        Starting, StoreAway, TimedOut, Overloaded, ShuttingDown
}
problems! {
    /// What a cancel may answer.
    CancelProblems: Unauthenticated, KeyScope, CrossOrigin, NotFound, MethodNotAllowed, NotAcceptable, TaskFinal,
        Internal, Starting, StoreAway, TimedOut, Overloaded, ShuttingDown
}

/// The task of this id, if it is there for whoever asks.
pub(super) async fn find(
    context: &Context,
    caller: &Caller,
    task: &TaskId,
) -> Result<TaskView, Refusal> {
    let view = context.operator.task(task).await?;
    let view = view.ok_or_else(Refusal::not_found)?;
    caller.reaches(&view.record.spec.user)?;
    Ok(view)
}

fn shown(view: &TaskView) -> Task {
    Task::new(&view.record, view.result.as_ref()).with_removed(&view.removed)
}

/// Own tasks, the newest first; of an admin everybody's.
#[utoipa::path(
    get,
    path = "/api/tasks",
    operation_id = "list_tasks",
    tag = "tasks",
    params(
        ("status" = Option<String>, Query,
            description = "Only those that stand so; several with commas between.",
            pattern = "^((queued|pending|running|completed|failed|cancelled)(,(queued|pending|running|completed|failed|cancelled))*)?$",
            example = "queued,running"),
        ("user" = Option<String>, Query, pattern = "^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?$",
            description = "Only this user's."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000,
            description = "At most so many; 100 if none."),
        ("cursor" = Option<String>, Query, pattern = "^[A-Za-z0-9_-]*$",
            description = "The next_cursor of the page before."),
    ),
    responses((status = 200, description = "Tasks.", body = Page<Task>), ListProblems)
)]
pub(super) async fn list(
    State(context): State<Context>,
    caller: Caller,
    mut query: Query,
) -> Result<Answer<Page<Task>>, Refusal> {
    caller.may(Permission::Look)?;
    let mut statuses = BTreeSet::new();
    let words = query.text("status").filter(|words| !words.is_empty());
    for word in words.iter().flat_map(|words| words.split(',')) {
        match word.parse::<TaskStatus>() {
            Ok(status) => {
                statuses.insert(status);
            }
            Err(error) => query.mistake("status", error.to_string()),
        }
    }
    let user: Option<UserName> = query.parsed("user");
    let paging = query.paging("tasks");
    query.finish()?;
    let filter = TaskFilter {
        statuses,
        user,
        before: paging.after,
        limit: paging.limit,
        ..TaskFilter::default()
    };
    tasks_page(&context, &caller, filter, "tasks")
        .await
        .map(Answer)
}

/// A page of what whoever asks may see of these tasks.
pub(super) async fn tasks_page(
    context: &Context,
    caller: &Caller,
    mut filter: TaskFilter,
    list: &'static str,
) -> Result<Page<Task>, Refusal> {
    let own = &caller.identity.user;
    if !caller.may_look_at_all() {
        if filter.user.as_ref().is_some_and(|user| user != own) {
            // Nobody learns whether there is such a user.
            return Ok(Page {
                items: Vec::new(),
                next_cursor: None,
            });
        }
        filter.user = Some(own.clone());
    }
    let limit = filter.limit;
    filter.limit += 1;
    let records = context.operator.tasks(&filter).await?;
    let page = Page::cut(records, limit, list, |record| record.order);
    Ok(page.map(|record| Task::new(&record, None)))
}

/// One task.
#[utoipa::path(
    get,
    path = "/api/tasks/{id}",
    operation_id = "get_task",
    tag = "tasks",
    params(
        ("id" = String, Path, description = "The task."),
        ("If-None-Match" = Option<String>, Header, description = "The ETag of what is known."),
    ),
    responses(
        (status = 200, description = "The task.", body = Task,
            headers(("ETag" = String, description = "Names this state of the task."))),
        (status = 304, description = "It is what is known."),
        LookProblems,
    )
)]
pub(super) async fn one(
    State(context): State<Context>,
    caller: Caller,
    Id(task): Id<TaskId>,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, Refusal> {
    caller.may(Permission::Look)?;
    query.finish()?;
    let view = find(&context, &caller, &task).await?;
    unless_known(&headers, &shown(&view))
}

/// The JSON of a single thing with its tag, or that it is what whoever asks has already.
pub(super) fn unless_known(
    headers: &HeaderMap,
    shown: &impl serde::Serialize,
) -> Result<Response, Refusal> {
    let (tag, body) = tagged_as(shown)?;
    let known = headers.get_all(header::IF_NONE_MATCH);
    if names(known.iter(), &tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    Ok(with_tag(tag, body))
}

/// The JSON of a task, and the tag that names it.
fn tagged(view: &TaskView) -> Result<(HeaderValue, Vec<u8>), Refusal> {
    tagged_as(&shown(view))
}

/// The JSON of anything, and the tag that names it.
fn tagged_as(shown: &impl serde::Serialize) -> Result<(HeaderValue, Vec<u8>), Refusal> {
    let body = serde_json::to_vec(shown).map_err(|error| Refusal::internal(&error))?;
    let digest = hex::encode(&Sha256::digest(&body)[..16]);
    let tag = HeaderValue::from_str(&format!("\"{digest}\""));
    Ok((tag.map_err(|error| Refusal::internal(&error))?, body))
}

fn with_tag(tag: HeaderValue, body: Vec<u8>) -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(header::ETAG, tag), (header::CONTENT_TYPE, json)], body).into_response()
}

/// Whether one of the tags in these headers is this one, or `*`. A tag that somebody in between made
/// weak names the same.
pub(super) fn names<'h>(values: impl Iterator<Item = &'h HeaderValue>, tag: &HeaderValue) -> bool {
    let tag = tag.to_str().unwrap_or_default();
    let texts = values.filter_map(|value| value.to_str().ok());
    let mut tags = texts.flat_map(|text| text.split(',').map(str::trim));
    tags.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

/// Changes what may be changed of a task that has not ended.
#[utoipa::path(
    patch,
    path = "/api/tasks/{id}",
    operation_id = "change_task",
    tag = "tasks",
    params(
        ("id" = String, Path, description = "The task."),
        ("If-Match" = Option<String>, Header,
            description = "The ETag of what is to be changed; 412 if it is another by now. Of two that \
                are sent together one is refused; what the master itself changes meanwhile, as when the \
                task is started, is not."),
    ),
    request_body = TaskPatch,
    responses(
        (status = 200, description = "The task as it is now.", body = Task,
            headers(("ETag" = String, description = "Names this state of the task."))),
        ChangeProblems,
    )
)]
pub(super) async fn change(
    State(context): State<Context>,
    caller: Caller,
    Id(task): Id<TaskId>,
    headers: HeaderMap,
    query: Query,
    body: Json<TaskPatch>,
) -> Result<Response, Refusal> {
    caller.may(Permission::Act)?;
    query.finish()?;
    // What isn't theirs is not there, and waits for nothing.
    find(&context, &caller, &task).await?;
    // Of two who have seen the same, the second is told that it has changed.
    let turn = context.changes.turn(&task).await;
    let view = find(&context, &caller, &task).await?;
    let mut mistakes = Mistakes::default();
    let level = body.value.priority();
    let draft = body
        .value
        .into_draft(context.operator.now().wall, &mut mistakes);
    if !mistakes.is_empty() {
        return Err(Refusal::mistakes(mistakes));
    }
    if level.is_some_and(|level| level > HIGHEST_OWN_PRIORITY) && !caller.may_act_for_all() {
        mistakes.push(Mistake::at("/priority", "only an admin may go above 50"));
        return Err(not_allowed(mistakes));
    }
    let wanted = headers.get_all(header::IF_MATCH);
    if wanted.iter().next().is_some() && !names(wanted.iter(), &tagged(&view)?.0) {
        let detail = "the task is not what If-Match names any more: read it again";
        return Err(Refusal::new(Code::PreconditionFailed, detail));
    }
    let entry = caller.did(Action::TaskChange).target(task.to_string());
    let checked = draft.clone().check();
    // A change of nothing is not written down: with those anybody could fill the disk.
    let is_change = checked.as_ref().is_ok_and(|change| {
        let mut spec = view.record.spec.clone();
        change.apply(&mut spec);
        spec != view.record.spec
    });
    let (here, changed) = (context.clone(), task.clone());
    let done = context.to_the_end(async move {
        here.operator.change(&changed, draft).await?;
        // The next one waits until this is done, also if whoever asked has gone.
        drop(turn);
        if is_change {
            here.audit(entry).await;
        }
        Ok(())
    });
    done.await?;
    let view = match (context.operator.task(&task).await, checked) {
        (Ok(Some(view)), _) => view,
        // It was made, whatever can't be read: this is what it came to.
        (_, Ok(change)) => {
            let mut view = view;
            change.apply(&mut view.record.spec);
            view
        }
        (_, Err(errors)) => return Err(ChangeFailure::Draft(errors).into()),
    };
    let (tag, body) = tagged(&view)?;
    Ok(with_tag(tag, body))
}

/// Asks for a task's end.
#[utoipa::path(
    delete,
    path = "/api/tasks/{id}",
    operation_id = "cancel_task",
    tag = "tasks",
    params(("id" = String, Path, description = "The task.")),
    responses(
        (status = 202, description = "It was asked for; the task as it is now.", body = Task),
        CancelProblems,
    )
)]
pub(super) async fn cancel(
    State(context): State<Context>,
    caller: Caller,
    Id(task): Id<TaskId>,
) -> Result<(StatusCode, Answer<Task>), Refusal> {
    caller.may(Permission::Act)?;
    let mut seen = find(&context, &caller, &task).await?;
    let entry = caller.did(Action::TaskCancel).target(task.to_string());
    let (here, cancelled) = (context.clone(), task.clone());
    let done = context.to_the_end(async move {
        let outcome = here.operator.cancel(&cancelled).await?;
        let is_cancelled = matches!(outcome, CancelOutcome::Cancelled);
        let detail = match outcome {
            CancelOutcome::Cancelled => "before it ran".to_owned(),
            CancelOutcome::Stopping(worker) => format!("is being stopped on {worker}"),
            CancelOutcome::AlreadyEnded => "had just ended by itself".to_owned(),
        };
        here.audit(entry.detail(detail)).await;
        Ok(is_cancelled)
    });
    let is_cancelled = done.await?;
    let view = match context.operator.task(&task).await {
        Ok(Some(view)) => view,
        // It was taken, whatever can't be read: this is what is known.
        _ => {
            if is_cancelled {
                seen.record.state.status = TaskStatus::Cancelled;
            }
            seen
        }
    };
    Ok((StatusCode::ACCEPTED, Answer(shown(&view))))
}

/// What happened to a task, and when.
#[utoipa::path(
    get,
    path = "/api/tasks/{id}/events",
    operation_id = "task_events",
    tag = "tasks",
    params(("id" = String, Path, description = "The task.")),
    responses(
        (status = 200, description = "Its timeline, all on one page.", body = Page<TimelineEvent>),
        LookProblems,
    )
)]
pub(super) async fn events(
    State(context): State<Context>,
    caller: Caller,
    Id(task): Id<TaskId>,
    query: Query,
) -> Result<Answer<Page<TimelineEvent>>, Refusal> {
    caller.may(Permission::Look)?;
    query.finish()?;
    let view = find(&context, &caller, &task).await?;
    let attempts = context.operator.attempts(&task).await?;
    Ok(Answer(Page {
        items: timeline(&view, &attempts),
        next_cursor: None,
    }))
}

/// Why a task waits, or else where it stands.
#[utoipa::path(
    get,
    path = "/api/tasks/{id}/explain",
    operation_id = "explain_task",
    tag = "tasks",
    params(("id" = String, Path, description = "The task.")),
    responses((status = 200, description = "Why.", body = Standing), LookProblems)
)]
pub(super) async fn explain(
    State(context): State<Context>,
    caller: Caller,
    Id(task): Id<TaskId>,
    query: Query,
) -> Result<Answer<Standing>, Refusal> {
    caller.may(Permission::Look)?;
    query.finish()?;
    find(&context, &caller, &task).await?;
    let standing = context.operator.explain(&task).await?;
    Ok(Answer(Standing::from(&standing)))
}
