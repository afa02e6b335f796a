//! To submit a task, or many.

use std::collections::BTreeSet;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use cloudai_accounts::{Action, HIGHEST_OWN_PRIORITY, Permission};
use cloudai_api::{Accepted, Batch, Code, Mistake, Mistakes, NewTask, Page, Problem, Task};
use cloudai_model::{
    SubmitKey, TaskDraft, TaskId, UserName, Wall,
    record::{TaskRecord, TaskState},
};
use cloudai_operator::SubmitFailure;

use crate::{Context, auth::Caller, body::Json, openapi::problems, refusal::Refusal};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

problems! {
    /// What a submit may answer.
    SubmitProblems: BadRequest, InvalidJson, InvalidBody, InvalidParameter, Unauthenticated,
        KeyScope, CrossOrigin, NotAllowed, MethodNotAllowed, NotAcceptable, RequestTimeout, IdTaken, KeyReused,
        TooLarge, UnsupportedMediaType, QueueFull, UserLimit, Internal, Starting, StoreAway,
        HeldUp, TimedOut, Overloaded, ShuttingDown
}

/// Submits a task.
#[utoipa::path(
    post,
    path = "/api/tasks",
    operation_id = "submit_task",
    tag = "tasks",
    params(("Idempotency-Key" = Option<String>, Header,
        description = "1 to 255 printable characters of ASCII. For 24 hours the same key and body \
            of the same user give the same task.")),
    request_body = NewTask,
    responses(
        (status = 201, description = "It is kept.", body = Task,
            headers(("Location" = String, description = "The task."))),
        SubmitProblems,
    )
)]
pub(super) async fn submit(
    State(context): State<Context>,
    caller: Caller,
    headers: HeaderMap,
    body: Json<NewTask>,
) -> Result<Response, Refusal> {
    caller.may(Permission::Act)?;
    let key = submit_key(&headers, body.digest)?;
    let now = context.operator.now().wall;
    let mut checked = Checking::new(&caller, now);
    let mut draft = checked.draft(body.value.clone(), "");
    draft.submit_key = checked.own(key, &draft);
    if let Err(refusal) = checked.finish() {
        let known = taken_before(&context, &draft).await?;
        let known = known.first().ok_or(refusal)?;
        let view = context.operator.task(known).await?;
        let view = view.ok_or_else(|| Refusal::new(Code::NotFound, "the task was forgotten"))?;
        return created(known, &Task::new(&view.record, view.result.as_ref()));
    }
    // It was just checked: this is for what is shown if the task can't be read back.
    let spec = draft.clone().check().map(|(_, spec)| spec);
    let (here, entry) = (context.clone(), caller.did(Action::TaskSubmit));
    let done = context.to_the_end(async move {
        let submitted = match here.operator.submit(draft).await {
            Ok(submitted) => submitted,
            // What only the master knows, as what an admin allows.
            Err(SubmitFailure::Draft(errors)) => {
                let mut mistakes = Mistakes::default();
                body.value.explain(errors, "", &mut mistakes);
                return Err(Refusal::mistakes(mistakes));
            }
            Err(error) => return Err(error.into()),
        };
        here.audit(entry.target(submitted.task.to_string())).await;
        Ok(submitted)
    });
    let submitted = done.await?;
    let id = submitted.task.clone();
    let task = match (context.operator.task(&submitted.task).await, spec) {
        (Ok(Some(view)), _) => Task::new(&view.record, view.result.as_ref()),
        // It is kept, whatever can't be read.
        (_, Ok(spec)) => {
            let why = submitted.waiting.map(|why| why.summary).unwrap_or_default();
            let record = TaskRecord {
                task: submitted.task,
                order: 0,
                spec,
                submitted_at: now,
                state: TaskState {
                    status: submitted.status,
                    worker: submitted.worker,
                    ..TaskState::queued(why)
                },
            };
            Task::new(&record, None)
        }
        (_, Err(errors)) => return Err(SubmitFailure::Draft(errors).into()),
    };
    created(&id, &task)
}

fn created(id: &TaskId, task: &Task) -> Result<Response, Refusal> {
    // An id is letters, digits and a few signs that need no escape.
    let location = HeaderValue::from_str(&format!("/api/tasks/{id}"));
    let location = location.map_err(|error| Refusal::internal(&error))?;
    let about = [(header::LOCATION, location)];
    Ok((StatusCode::CREATED, about, axum::Json(task)).into_response())
}

/// What was taken under the key of this draft before. It stays taken, also when by now its deadline has
/// passed, or whoever submits may do less: only what is new is refused for that.
async fn taken_before(context: &Context, draft: &TaskDraft) -> Result<Vec<TaskId>, Refusal> {
    let user: Option<Result<UserName, _>> = draft.user_id.as_deref().map(str::parse);
    match (&draft.submit_key, user) {
        (Some(key), Some(Ok(user))) => Ok(context.operator.submitted_before(&user, key).await?),
        _ => Ok(Vec::new()),
    }
}

/// Submits up to 10,000 tasks, all or none.
#[utoipa::path(
    post,
    path = "/api/tasks/batch",
    operation_id = "submit_batch",
    tag = "tasks",
    params(("Idempotency-Key" = Option<String>, Header,
        description = "As for a single task; it holds for the batch as a whole.")),
    request_body = Batch,
    responses(
        (status = 201, description = "All are kept, in this order.", body = Page<Accepted>),
        SubmitProblems,
    )
)]
pub(super) async fn submit_batch(
    State(context): State<Context>,
    caller: Caller,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Refusal> {
    caller.may(Permission::Act)?;
    let (body, reading) = Json::<Batch>::long(request, &caller.identity.user, &context).await?;
    let key = submit_key(&headers, body.digest)?;
    let now = context.operator.now().wall;
    let who = caller.clone();
    let tasks = body.value.tasks;
    let on_their_way = context.batches.tasks(tasks.len()).await;
    drop(reading);
    // Thousands of tasks take some milliseconds that nobody else shall wait for.
    let drafts = tokio::task::spawn_blocking(move || {
        let mut checked = Checking::new(&who, now);
        let mut drafts = Vec::with_capacity(tasks.len());
        for (index, task) in tasks.into_iter().enumerate() {
            let mut draft = checked.draft(task, &format!("/tasks/{index}"));
            let key = key.clone().map(|key| SubmitKey {
                index: u32::try_from(index).unwrap_or(u32::MAX),
                ..key
            });
            draft.submit_key = checked.own(key, &draft);
            drafts.push(draft);
        }
        (drafts, checked.finish())
    });
    let (drafts, checked) = drafts.await.map_err(|error| Refusal::internal(&error))?;
    let known = match (&checked, drafts.first()) {
        (Err(_), Some(first)) => taken_before(&context, first).await?,
        _ => Vec::new(),
    };
    if known.is_empty() {
        checked?;
    }
    one_owner_of_a_key(&drafts)?;
    let (here, entry) = (context.clone(), caller.did(Action::TaskSubmit));
    let done = context.to_the_end(async move {
        let taken = here.operator.submit_many(drafts).await?;
        drop(on_their_way);
        if let (Some(first), Some(last)) = (taken.first(), taken.last()) {
            let entry = entry.target(first.task.to_string());
            let detail = format!("{} tasks, to {}", taken.len(), last.task);
            here.audit(entry.detail(detail)).await;
        }
        Ok(taken)
    });
    let taken = done.await?;
    let page = Page {
        items: taken.iter().map(Accepted::from).collect(),
        next_cursor: None,
    };
    Ok((StatusCode::CREATED, axum::Json(page)).into_response())
}

/// The key of a submit, for its first task.
fn submit_key(headers: &HeaderMap, body: [u8; 32]) -> Result<Option<SubmitKey>, Refusal> {
    let mut given = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = given.next() else {
        return Ok(None);
    };
    // What `to_str` takes is printable, but for the tabulator.
    let key = value.to_str().ok();
    let key = key.filter(|key| (1..=255).contains(&key.len()) && !key.contains('\t'));
    match (key, given.next()) {
        (Some(key), None) => Ok(Some(SubmitKey {
            key: key.to_owned(),
            body,
            index: 0,
        })),
        _ => Err(Refusal::parameter(Mistake::header(
            IDEMPOTENCY_KEY.as_str(),
            "expected it once, of 1 to 255 printable characters of ASCII",
        ))),
    }
}

/// A key is its tasks' user's: of a batch for several of them it could name a part alone.
fn one_owner_of_a_key(drafts: &[TaskDraft]) -> Result<(), Refusal> {
    let users: BTreeSet<_> = drafts.iter().map(|draft| &draft.user_id).collect();
    if users.len() > 1 && drafts.iter().any(|draft| draft.submit_key.is_some()) {
        return Err(Refusal::parameter(Mistake::header(
            IDEMPOTENCY_KEY.as_str(),
            "expected none with tasks of several users, or a batch for each of them",
        )));
    }
    Ok(())
}

/// A key is whoever's who submits: with what others submit for a user it is another one. No key that
/// somebody sends has a tabulator in it.
fn of_submitter(key: SubmitKey, own: &str, owner: &str) -> SubmitKey {
    match own == owner {
        true => key,
        false => SubmitKey {
            key: format!("{own}\t{}", key.key),
            ..key
        },
    }
}

/// Makes drafts of bodies; whatever is wrong with any of them is told at once.
struct Checking<'a> {
    caller: &'a Caller,
    now: Wall,
    mistakes: Mistakes,
    /// What only an admin may ask for.
    forbidden: Vec<Mistake>,
}

impl<'a> Checking<'a> {
    fn new(caller: &'a Caller, now: Wall) -> Self {
        Self {
            caller,
            now,
            mistakes: Mistakes::default(),
            forbidden: Vec::new(),
        }
    }

    fn draft(&mut self, task: NewTask, at: &str) -> TaskDraft {
        let own = self.caller.identity.user.to_string();
        let mut draft = task.into_draft(self.now, at, &mut self.mistakes);
        if !self.caller.may_act_for_all() {
            let mut forbid = |field: &str, detail: &str| {
                self.forbidden
                    .push(Mistake::at(format!("{at}/{field}"), detail));
            };
            if draft.user_id.as_ref().is_some_and(|user| *user != own) {
                forbid("user_id", "only an admin may submit for somebody else");
            }
            if draft.task_id.is_some() {
                // Whether it is free tells whether anybody has such a task.
                forbid(
                    "task_id",
                    "only an admin may choose the id; to submit once, send an Idempotency-Key",
                );
            }
            if draft
                .priority
                .is_some_and(|level| level > HIGHEST_OWN_PRIORITY)
            {
                forbid("priority", "only an admin may go above 50");
            }
        }
        draft.user_id.get_or_insert(own);
        draft
    }

    /// The key as it is kept with a task.
    fn own(&self, key: Option<SubmitKey>, draft: &TaskDraft) -> Option<SubmitKey> {
        let own = self.caller.identity.user.as_str();
        let owner = draft.user_id.as_deref().unwrap_or(own);
        key.map(|key| of_submitter(key, own, owner))
    }

    fn finish(mut self) -> Result<(), Refusal> {
        let is_only_forbidden = self.mistakes.is_empty();
        for mistake in self.forbidden {
            self.mistakes.push(mistake);
        }
        if self.mistakes.is_empty() {
            return Ok(());
        }
        if is_only_forbidden {
            return Err(not_allowed(self.mistakes));
        }
        Err(Refusal::mistakes(self.mistakes))
    }
}

/// What only an admin may ask for.
pub(super) fn not_allowed(mistakes: Mistakes) -> Refusal {
    let details: Vec<&str> = mistakes
        .named()
        .iter()
        .map(|it| it.detail.as_str())
        .collect();
    let problem = Problem::new(Code::NotAllowed, details.join("; "));
    problem.with_mistakes(mistakes).into()
}
