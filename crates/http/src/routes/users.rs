//! Users, for admins.

use axum::{
    Json as Answer,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use cloudai_accounts::Permission;
use cloudai_api::{Mistake, Mistakes, NewUser, Page, User, UserChange};
use cloudai_model::{AccountState, Role, Setting, UserLimits, UserName};

use super::{auth::draft, tasks::unless_known};
use crate::{
    Context,
    auth::Caller,
    body::Json,
    openapi::problems,
    query::{Id, Query},
    refusal::Refusal,
};

problems! {
    /// What a list of users may answer.
    ListProblems: InvalidParameter, Unauthenticated, AdminOnly, KeyScope, MethodNotAllowed, NotAcceptable, Internal, Starting, TimedOut,
        Overloaded
}
problems! {
    /// What a look at one user may answer.
    LookProblems: InvalidParameter, Unauthenticated, AdminOnly, KeyScope, NotFound, MethodNotAllowed, NotAcceptable,
        Internal, Starting, TimedOut, Overloaded
}
problems! {
    /// What the making of a user may answer.
    MakeProblems: BadRequest, InvalidJson, InvalidBody, Unauthenticated, AdminOnly, KeyScope,
        CrossOrigin, MethodNotAllowed, NotAcceptable, RequestTimeout, NameTaken, TooMany, TooLarge,
        UnsupportedMediaType, Internal, Starting, StoreAway, TimedOut, Overloaded
}
problems! {
    /// What a change of a user may answer.
    ChangeProblems: BadRequest, InvalidJson, InvalidBody, Unauthenticated, AdminOnly, KeyScope,
        CrossOrigin, NotFound, MethodNotAllowed, NotAcceptable, RequestTimeout, WrongState,
        LastAdmin, TooLarge, UnsupportedMediaType, Internal, Starting, StoreAway, TimedOut, Overloaded,
        ShuttingDown
}

/// The users, by name.
#[utoipa::path(
    get,
    path = "/api/users",
    operation_id = "list_users",
    tag = "accounts",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000,
            description = "At most so many; 100 if none."),
        ("cursor" = Option<String>, Query, pattern = "^[A-Za-z0-9_-]*$",
            description = "The next_cursor of the page before."),
    ),
    responses((status = 200, description = "Users.", body = Page<User>), ListProblems)
)]
pub(super) async fn list(
    State(context): State<Context>,
    caller: Caller,
    mut query: Query,
) -> Result<Answer<Page<User>>, Refusal> {
    let paging = query.paging::<String>("users");
    query.finish()?;
    let after: Option<UserName> = paging.after.and_then(|name| name.parse().ok());
    let accounts = context.accounts()?;
    let (users, next) = accounts.users(&caller.identity, after.as_ref(), paging.limit)?;
    Ok(Answer(Page::ending_at(
        users.iter().map(User::from).collect(),
        "users",
        next.map(|name| name.to_string()),
    )))
}

/// One user; everybody sees themselves.
#[utoipa::path(
    get,
    path = "/api/users/{name}",
    operation_id = "get_user",
    tag = "accounts",
    params(
        ("name" = String, Path, description = "The user."),
        ("If-None-Match" = Option<String>, Header,
            description = "The ETag of what is known; 304 if it is that still."),
    ),
    responses(
        (status = 200, description = "The user.", body = User,
            headers(("ETag" = String, description = "Names this state of the user."))),
        (status = 304, description = "It is what If-None-Match names."),
        LookProblems,
    )
)]
pub(super) async fn one(
    State(context): State<Context>,
    caller: Caller,
    Id(user): Id<UserName>,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, Refusal> {
    query.finish()?;
    let user = context.accounts()?.user(&caller.identity, &user)?;
    unless_known(&headers, &User::from(&user))
}

/// Makes somebody a user who may log in at once.
#[utoipa::path(
    post,
    path = "/api/users",
    operation_id = "create_user",
    tag = "accounts",
    request_body = NewUser,
    responses((status = 201, description = "There is such a user now.", body = User), MakeProblems)
)]
pub(super) async fn create(
    State(context): State<Context>,
    caller: Caller,
    body: Json<NewUser>,
) -> Result<(StatusCode, Answer<User>), Refusal> {
    let NewUser { user, role } = body.value;
    let (call, who) = (&caller.call.0, &caller.identity);
    let role = role.unwrap_or(Role::User);
    let accounts = context.accounts()?;
    let made = accounts.create_user(call, who, draft(user), role);
    Ok((StatusCode::CREATED, Answer(User::from(&made.await?))))
}

/// Changes role, state, limits and password: all that is asked for, or nothing.
#[utoipa::path(
    patch,
    path = "/api/users/{name}",
    operation_id = "change_user",
    tag = "accounts",
    params(("name" = String, Path, description = "The user.")),
    request_body = UserChange,
    responses((status = 200, description = "The user as it is now.", body = User), ChangeProblems)
)]
pub(super) async fn change(
    State(context): State<Context>,
    caller: Caller,
    Id(user): Id<UserName>,
    body: Json<UserChange>,
) -> Result<Answer<User>, Refusal> {
    let (call, who, accounts) = (&caller.call.0, &caller.identity, context.accounts()?);
    let change = body.value;
    if change.state == Some(AccountState::AwaitsApproval) {
        caller.may(Permission::Administer)?;
        let mut mistakes = Mistakes::default();
        let detail = "nobody is sent back to await approval: expected active or locked";
        mistakes.push(Mistake::at("/state", detail));
        return Err(Refusal::mistakes(mistakes));
    }
    let limits = match change.limits {
        Setting::Keep => None,
        Setting::Clear => Some(UserLimits::default()),
        Setting::To(limits) => Some(limits),
    };
    let wanted = cloudai_accounts::UserChange {
        role: change.role,
        state: change.state,
        limits,
        password: change.password,
    };
    let changed = accounts.change_user(call, who, &user, wanted).await?;
    Ok(Answer(User::from(&changed)))
}

/// Removes a user with all of their keys. Their tasks go on, and stay with logs and files; nobody can
/// register under the name for as long as there are any.
#[utoipa::path(
    delete,
    path = "/api/users/{name}",
    operation_id = "delete_user",
    tag = "accounts",
    params(("name" = String, Path, description = "The user.")),
    responses((status = 204, description = "There is no such user any more."), ChangeProblems)
)]
pub(super) async fn delete(
    State(context): State<Context>,
    caller: Caller,
    Id(user): Id<UserName>,
) -> Result<StatusCode, Refusal> {
    let (call, who) = (&caller.call.0, &caller.identity);
    context.accounts()?.delete_user(call, who, &user).await?;
    Ok(StatusCode::NO_CONTENT)
}
