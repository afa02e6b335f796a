//! Keys for programs.

use axum::{
    Json as Answer,
    extract::{Path, State},
    http::StatusCode,
};
use cloudai_accounts::KeyDraft;
use cloudai_api::{Key, MadeKey, NewKey, Page};
use cloudai_model::UserName;

use crate::{Context, auth::Caller, body::Json, openapi::problems, query::Query, refusal::Refusal};

problems! {
    /// What a list of keys may answer.
    ListProblems: InvalidParameter, Unauthenticated, KeyScope, NotFound, MethodNotAllowed, NotAcceptable, Internal, Starting,
        TimedOut, Overloaded
}
problems! {
    /// What the making of a key may answer.
    MakeProblems: BadRequest, InvalidJson, InvalidBody, Unauthenticated, KeyScope, CrossOrigin,
        NotFound, MethodNotAllowed, NotAcceptable, RequestTimeout, TooMany, TooLarge, UnsupportedMediaType,
        Internal, Starting, StoreAway, TimedOut, Overloaded
}
problems! {
    /// What the deletion of a key may answer.
    DeleteProblems: Unauthenticated, AdminOnly, KeyScope, CrossOrigin, NotFound, MethodNotAllowed, NotAcceptable, Internal, Starting,
        StoreAway, TimedOut, Overloaded
}

/// Own keys; an admin may ask for another user's.
#[utoipa::path(
    get,
    path = "/api/keys",
    operation_id = "list_keys",
    tag = "accounts",
    params(("user" = Option<String>, Query, pattern = "^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?$",
        description = "This user's.")),
    responses((status = 200, description = "The keys, all on one page.", body = Page<Key>), ListProblems)
)]
pub(super) async fn list(
    State(context): State<Context>,
    caller: Caller,
    mut query: Query,
) -> Result<Answer<Page<Key>>, Refusal> {
    let user: Option<UserName> = query.parsed("user");
    query.finish()?;
    let user = user.unwrap_or_else(|| caller.identity.user.clone());
    // Nobody learns whether there is such a user.
    caller.reaches(&user)?;
    let keys = context.accounts()?.keys(&caller.identity, &user)?;
    Ok(Answer(Page {
        items: keys.iter().map(Key::from).collect(),
        next_cursor: None,
    }))
}

/// Makes a key. It is shown this once.
#[utoipa::path(
    post,
    path = "/api/keys",
    operation_id = "create_key",
    tag = "accounts",
    request_body = NewKey,
    responses((status = 201, description = "Here it is.", body = MadeKey), MakeProblems)
)]
pub(super) async fn create(
    State(context): State<Context>,
    caller: Caller,
    body: Json<NewKey>,
) -> Result<(StatusCode, Answer<MadeKey>), Refusal> {
    let (call, who) = (&caller.call.0, &caller.identity);
    let expires_at = body.value.expires_at(call.now.wall);
    let draft = KeyDraft {
        expires_at: expires_at.map_err(Refusal::mistakes)?,
        name: body.value.name,
        scope: body.value.scope,
    };
    let (key, secret) = context.accounts()?.create_key(call, who, draft).await?;
    let made = MadeKey {
        secret,
        key: Key::from(&key),
    };
    Ok((StatusCode::CREATED, Answer(made)))
}

/// Deletes a key: from now on it counts no more.
#[utoipa::path(
    delete,
    path = "/api/keys/{id}",
    operation_id = "delete_key",
    tag = "accounts",
    params(("id" = String, Path, description = "The key's id.")),
    responses((status = 204, description = "It is deleted."), DeleteProblems)
)]
pub(super) async fn delete(
    State(context): State<Context>,
    caller: Caller,
    id: Result<Path<String>, axum::extract::rejection::PathRejection>,
) -> Result<StatusCode, Refusal> {
    let Ok(Path(id)) = id else {
        return Err(Refusal::not_found());
    };
    let (call, who) = (&caller.call.0, &caller.identity);
    context.accounts()?.delete_key(call, who, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
