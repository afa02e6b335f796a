//! What tasks left in `/output`: listed, downloaded, packed, deleted.

mod archive;
mod disposition;
mod download;
mod range;

use axum::{
    Json as Answer,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use cloudai_accounts::{Action, Permission};
use cloudai_api::{Code, LeftFiles, Page, TaskFiles};
use cloudai_model::{TaskId, UserName};
use cloudai_operator::{FilesFailure, FilesFilter, OpenFiles};
use tokio_stream::wrappers::ReceiverStream;

use self::{
    disposition::attachment,
    range::{Asked, asked_for},
};
use super::tasks::{find, names, unless_known};
use crate::{
    Context,
    auth::Caller,
    openapi::problems,
    query::{Id, Query},
    refusal::Refusal,
};

problems! {
    /// What a list of files may answer.
    ListProblems: InvalidParameter, Unauthenticated, MethodNotAllowed, NotAcceptable, Internal, Starting, StoreAway,
        TimedOut, Overloaded
}
problems! {
    /// What a look at the files of a task may answer.
    LookProblems: InvalidParameter, Unauthenticated, NotFound, MethodNotAllowed, NotAcceptable, TaskNotFinal,
        Internal, Starting, StoreAway, TimedOut, Overloaded
}
problems! {
    /// What a download may answer before it begins.
    DownloadProblems: InvalidParameter, Unauthenticated, NotFound, MethodNotAllowed, TaskNotFinal, Removed,
        RangeNotSatisfiable, Internal, Starting, StoreAway, TimedOut, Overloaded
}
problems! {
    /// What a deletion may answer.
    DeleteProblems: Unauthenticated, KeyScope, CrossOrigin, NotFound, MethodNotAllowed, NotAcceptable, TaskNotFinal,
        Removed, Internal, Starting, StoreAway, TimedOut, Overloaded, ShuttingDown
}

/// The owner of a task, if whoever asks may reach what is theirs.
async fn owner_of(context: &Context, caller: &Caller, task: &TaskId) -> Result<UserName, Refusal> {
    let view = find(context, caller, task).await?;
    Ok(view.record.spec.user)
}

/// Own tasks that left files, the newest task first.
#[utoipa::path(
    get,
    path = "/api/files",
    operation_id = "list_files",
    tag = "files",
    params(
        ("user" = Option<String>, Query, pattern = "^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?$",
            description = "This user's; an admin may name others."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000,
            description = "At most so many; 100 if none."),
        ("cursor" = Option<String>, Query, pattern = "^[A-Za-z0-9_-]*$",
            description = "The next_cursor of the page before."),
    ),
    responses((status = 200, description = "Tasks.", body = Page<LeftFiles>), ListProblems)
)]
pub(super) async fn list(
    State(context): State<Context>,
    caller: Caller,
    mut query: Query,
) -> Result<Answer<Page<LeftFiles>>, Refusal> {
    caller.may(Permission::Look)?;
    let user: Option<UserName> = query.parsed("user");
    let paging = query.paging::<u64>("files");
    query.finish()?;
    let user = user.unwrap_or_else(|| caller.identity.user.clone());
    let reaches = caller.identity.reaches(&user);
    let filter = FilesFilter {
        user,
        before: paging.after,
        limit: paging.limit + 1,
    };
    let left = match reaches {
        true => context.operator.files_of_user(&filter).await?,
        // Nobody learns whether there is such a user.
        false => Vec::new(),
    };
    let page = Page::cut(left, paging.limit, "files", |left| left.order);
    Ok(Answer(page.map(|left| LeftFiles::from(&left))))
}

/// What one task left.
#[utoipa::path(
    get,
    path = "/api/files/{task}",
    operation_id = "task_files",
    tag = "files",
    params(
        ("task" = String, Path, description = "The task."),
        ("If-None-Match" = Option<String>, Header, description = "The ETag of what is known."),
    ),
    responses(
        (status = 200, description = "The files.", body = TaskFiles,
            headers(("ETag" = String, description = "Names these files."))),
        (status = 304, description = "They are what is known."),
        LookProblems,
    )
)]
pub(super) async fn of_task(
    State(context): State<Context>,
    caller: Caller,
    Id(task): Id<TaskId>,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, Refusal> {
    caller.may(Permission::Look)?;
    query.finish()?;
    let owner = owner_of(&context, &caller, &task).await?;
    let left = context.operator.task_files(&task, &owner).await?;
    unless_known(&headers, &TaskFiles::from(&left))
}

async fn opened(context: &Context, caller: &Caller, task: &TaskId) -> Result<OpenFiles, Refusal> {
    let owner = owner_of(context, caller, task).await?;
    let opened = context.operator.open_files(task, &owner).await;
    opened.map_err(|error: FilesFailure| error.into())
}

/// One file, or a range of it.
#[utoipa::path(
    get,
    path = "/api/files/{task}/download/{path}",
    operation_id = "download_file",
    tag = "files",
    params(
        ("task" = String, Path, description = "The task."),
        ("path" = String, Path,
            description = "The file's path as the list has it, its slashes included."),
        ("Range" = Option<String>, Header, description = "One range of bytes."),
        ("If-Range" = Option<String>, Header,
            description = "The ETag of the part that is there already."),
        ("If-None-Match" = Option<String>, Header, description = "The ETag of what is there."),
    ),
    responses(
        (status = 200, description = "The file.", content_type = "application/octet-stream",
            body = Vec<u8>,
            headers(
                ("ETag" = String, description = "Its SHA-256."),
                ("Accept-Ranges" = String, description = "`bytes`."),
                ("Content-Disposition" = String, description = "Its name."),
            )),
        (status = 206, description = "The range.", content_type = "application/octet-stream",
            body = Vec<u8>),
        (status = 304, description = "It is what is there."),
        DownloadProblems,
    )
)]
pub(super) async fn download(
    State(context): State<Context>,
    caller: Caller,
    path: Result<Path<(String, String)>, axum::extract::rejection::PathRejection>,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, Refusal> {
    caller.may(Permission::Look)?;
    query.finish()?;
    let Ok(Path((task, path))) = path else {
        return Err(Refusal::not_found());
    };
    let task: TaskId = task.parse().map_err(|_| Refusal::not_found())?;
    let files = opened(&context, &caller, &task).await?;
    // A path is one of those on record, letter by letter, or not there: none is made of it here.
    let record = files
        .record(&path)
        .cloned()
        .ok_or_else(Refusal::not_found)?;
    let tag = match record.sha256.as_str() {
        // A master before this one computed none.
        "" => None,
        digest => HeaderValue::from_str(&format!("\"{digest}\"")).ok(),
    };
    let mut about = HeaderMap::new();
    about.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(tag) = &tag {
        about.insert(header::ETAG, tag.clone());
        let known = headers.get_all(header::IF_NONE_MATCH);
        if names(known.iter(), tag) {
            return Ok((StatusCode::NOT_MODIFIED, about).into_response());
        }
    }
    let (status, range) = match asked_for(&headers, tag.as_ref(), record.size) {
        Asked::All => (StatusCode::OK, 0..record.size),
        Asked::Range(range) => {
            let last = range.end.saturating_sub(1);
            let text = format!("bytes {}-{last}/{}", range.start, record.size);
            let value = HeaderValue::from_str(&text);
            about.insert(
                header::CONTENT_RANGE,
                value.map_err(|error| Refusal::internal(&error))?,
            );
            (StatusCode::PARTIAL_CONTENT, range)
        }
        Asked::Beyond => {
            let size = record.size;
            let refusal = Refusal::new(
                Code::RangeNotSatisfiable,
                format!("the file has {size} bytes: expected a range within it"),
            );
            let value = HeaderValue::from_str(&format!("bytes */{size}"));
            let value = value.map_err(|error| Refusal::internal(&error))?;
            return Err(refusal.with(header::CONTENT_RANGE, value));
        }
    };
    let binary = HeaderValue::from_static("application/octet-stream");
    about.insert(header::CONTENT_TYPE, binary);
    about.insert(header::CONTENT_LENGTH, (range.end - range.start).into());
    let name = path.rsplit('/').next().unwrap_or(&path);
    about.insert(header::CONTENT_DISPOSITION, attachment(name));
    let place = context.stream(&caller.identity.user)?;
    let pieces = download::pieces(files, record, range, place).await?;
    let body = Body::from_stream(ReceiverStream::new(pieces));
    Ok((status, about, body).into_response())
}

/// All files of a task, as `.tar.gz`.
#[utoipa::path(
    get,
    path = "/api/files/{task}/archive",
    operation_id = "archive_files",
    tag = "files",
    params(("task" = String, Path, description = "The task.")),
    responses(
        (status = 200, description = "The archive; it breaks off if a file can't be read whole.",
            content_type = "application/gzip", body = Vec<u8>),
        DownloadProblems,
    )
)]
pub(super) async fn archive(
    State(context): State<Context>,
    caller: Caller,
    Id(task): Id<TaskId>,
    query: Query,
) -> Result<Response, Refusal> {
    caller.may(Permission::Look)?;
    query.finish()?;
    let files = opened(&context, &caller, &task).await?;
    let place = context.archive(&caller.identity.user)?;
    let now = context.operator.now().wall;
    let pieces = archive::pieces(files, task.to_string(), now, place);
    let gzip = HeaderValue::from_static("application/gzip");
    let about = [
        (header::CONTENT_TYPE, gzip),
        (
            header::CONTENT_DISPOSITION,
            attachment(&format!("{task}.tar.gz")),
        ),
    ];
    let body = Body::from_stream(ReceiverStream::new(pieces));
    Ok((about, body).into_response())
}

/// Deletes what a task left.
#[utoipa::path(
    delete,
    path = "/api/files/{task}",
    operation_id = "delete_files",
    tag = "files",
    params(("task" = String, Path, description = "The task.")),
    responses(
        (status = 204, description = "It is deleted, or goes when whoever reads it has done so."),
        DeleteProblems,
    )
)]
pub(super) async fn delete(
    State(context): State<Context>,
    caller: Caller,
    Id(task): Id<TaskId>,
) -> Result<StatusCode, Refusal> {
    caller.may(Permission::Act)?;
    let owner = owner_of(&context, &caller, &task).await?;
    let by = caller.identity.user.to_string();
    let entry = caller.did(Action::FilesDelete).target(task.to_string());
    let here = context.clone();
    let done = context.to_the_end(async move {
        here.operator.remove_files(&task, &owner, &by).await?;
        here.audit(entry.detail(format!("of {owner}"))).await;
        Ok(())
    });
    done.await?;
    Ok(StatusCode::NO_CONTENT)
}
