//! To register, to log in and out, and to change one's password.

use axum::{
    Extension, Json as Answer,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use cloudai_accounts::{Session, UserDraft};
use cloudai_api::{ChangePassword, LoggedIn, Login, Register, RotateTokenKey, User};
use cloudai_model::Wall;

use super::tasks::unless_known;
use crate::{
    Context,
    auth::{Call, Caller},
    body::{Json, OptionalJson},
    context::BySecureWay,
    openapi::{cookie_name, problems},
    query::Query,
    refusal::Refusal,
};

problems! {
    /// What a registration may answer.
    RegisterProblems: BadRequest, InvalidJson, InvalidBody, RegistrationClosed, MethodNotAllowed,
        NotAcceptable, RequestTimeout, NameTaken, TooMany, TooLarge, UnsupportedMediaType,
        TooManyTries, Internal, Starting, StoreAway, TimedOut, Overloaded
}
problems! {
    /// What a login may answer.
    LoginProblems: BadRequest, InvalidJson, InvalidBody, WrongPassword, AwaitsApproval, Locked,
        MethodNotAllowed, NotAcceptable, RequestTimeout, TooLarge, UnsupportedMediaType,
        TooManyTries, Internal, Starting, TimedOut, Overloaded
}
problems! {
    /// What a logout may answer.
    LogoutProblems: Unauthenticated, CrossOrigin, MethodNotAllowed, NotAcceptable, WrongState,
        Internal, Starting, StoreAway, TimedOut, Overloaded
}
problems! {
    /// What a look at oneself may answer.
    MeProblems: InvalidParameter, Unauthenticated, MethodNotAllowed, NotAcceptable, NotFound, Internal, Starting,
        TimedOut, Overloaded
}
problems! {
    /// What a change of one's password may answer.
    PasswordProblems: BadRequest, InvalidJson, InvalidBody, Unauthenticated, KeyScope, CrossOrigin,
        WrongCurrentPassword, NotFound, MethodNotAllowed, NotAcceptable, RequestTimeout, WrongState,
        TooLarge, UnsupportedMediaType, TooManyTries, Internal, Starting, StoreAway, TimedOut, Overloaded
}

problems! {
    /// What a change of the tokens' key may answer.
    RotateProblems: BadRequest, InvalidJson, InvalidBody, Unauthenticated, AdminOnly, KeyScope,
        CrossOrigin, MethodNotAllowed, NotAcceptable, RequestTimeout, WrongState, TooLarge,
        UnsupportedMediaType, Internal, Starting, StoreAway, TimedOut, Overloaded
}

/// Makes whoever asks a user, where that is allowed.
#[utoipa::path(
    post,
    path = "/api/auth/register",
    operation_id = "register",
    tag = "accounts",
    security(()),
    request_body = Register,
    responses((status = 201, description = "There is such a user now.", body = User), RegisterProblems)
)]
pub(super) async fn register(
    State(context): State<Context>,
    Call(call): Call,
    body: Json<Register>,
) -> Result<(StatusCode, Answer<User>), Refusal> {
    let draft = draft(body.value);
    let user = context.accounts()?.register(&call, draft).await?;
    Ok((StatusCode::CREATED, Answer(User::from(&user))))
}

pub(super) fn draft(body: Register) -> UserDraft {
    UserDraft {
        username: body.username,
        password: body.password,
        name: body.name,
        email: body.email,
    }
}

/// Trades name and password for a token; it comes as a cookie, too.
#[utoipa::path(
    post,
    path = "/api/auth/login",
    operation_id = "login",
    tag = "accounts",
    security(()),
    request_body = Login,
    responses(
        (status = 200, description = "Here is the token.", body = LoggedIn,
            headers(("Set-Cookie" = String, description = "The token, for browsers."))),
        LoginProblems,
    )
)]
pub(super) async fn login(
    State(context): State<Context>,
    Call(call): Call,
    Extension(way): Extension<BySecureWay>,
    body: Json<Login>,
) -> Result<Response, Refusal> {
    let Login { username, password } = body.value;
    let accounts = context.accounts()?;
    let session = accounts.login(&call, &username, password).await?;
    logged_in(way, session, call.now.wall)
}

fn logged_in(way: BySecureWay, session: Session, now: Wall) -> Result<Response, Refusal> {
    let lasts_s = session.expires_at.since(now).as_secs();
    let cookie = cookie(session.token.expose(), lasts_s, way)?;
    let body = LoggedIn {
        token: session.token,
        token_type: "Bearer",
        expires_at: session.expires_at.into(),
        user: User::from(&session.user),
    };
    Ok(([(header::SET_COOKIE, cookie)], Answer(body)).into_response())
}

/// A cookie that no script reads, no other site sends, and no plain connection carries where there is
/// TLS.
fn cookie(token: &str, lasts_s: u64, way: BySecureWay) -> Result<HeaderValue, Refusal> {
    let (name, secure) = (cookie_name(way.0), if way.0 { "; Secure" } else { "" });
    let text =
        format!("{name}={token}; Path=/; Max-Age={lasts_s}; HttpOnly; SameSite=Strict{secure}");
    let mut value = HeaderValue::from_str(&text).map_err(|error| Refusal::internal(&error))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Ends the token that the request shows.
#[utoipa::path(
    post,
    path = "/api/auth/logout",
    operation_id = "logout",
    tag = "accounts",
    responses(
        (status = 204, description = "It counts no more.",
            headers(("Set-Cookie" = String, description = "Takes the cookie away."))),
        LogoutProblems,
    )
)]
pub(super) async fn logout(
    State(context): State<Context>,
    Extension(way): Extension<BySecureWay>,
    caller: Caller,
) -> Result<Response, Refusal> {
    context
        .accounts()?
        .logout(&caller.call.0, &caller.identity)
        .await?;
    let gone = cookie("", 0, way)?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, gone)]).into_response())
}

/// Who the request comes from.
#[utoipa::path(
    get,
    path = "/api/auth/me",
    operation_id = "me",
    tag = "accounts",
    params(
        ("If-None-Match" = Option<String>, Header, description = "The ETag of what is known."),
    ),
    responses(
        (status = 200, description = "You.", body = User,
            headers(("ETag" = String, description = "Names this state of you."))),
        (status = 304, description = "It is what is known."),
        MeProblems,
    )
)]
pub(super) async fn me(
    State(context): State<Context>,
    caller: Caller,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, Refusal> {
    query.finish()?;
    let user = context.accounts()?.me(&caller.identity)?;
    unless_known(&headers, &User::from(&user))
}

/// Gives whoever asks another password. All their tokens end; the answer has a new one.
#[utoipa::path(
    post,
    path = "/api/auth/password",
    operation_id = "change_password",
    tag = "accounts",
    request_body = ChangePassword,
    responses(
        (status = 200, description = "It holds; here is a new token.", body = LoggedIn,
            headers(("Set-Cookie" = String, description = "The token, for browsers."))),
        PasswordProblems,
    )
)]
pub(super) async fn change_password(
    State(context): State<Context>,
    Extension(way): Extension<BySecureWay>,
    caller: Caller,
    body: Json<ChangePassword>,
) -> Result<Response, Refusal> {
    let ChangePassword {
        current_password,
        new_password,
    } = body.value;
    let (call, who) = (&caller.call.0, &caller.identity);
    let accounts = context.accounts()?;
    let changed = accounts.change_password(call, who, current_password, new_password);
    logged_in(way, changed.await?, call.now.wall)
}

/// Makes another key for tokens. Those of now go on until they end, or all end now.
#[utoipa::path(
    post,
    path = "/api/auth/token-key",
    operation_id = "rotate_token_key",
    tag = "accounts",
    request_body = Option<RotateTokenKey>,
    responses((status = 204, description = "Another key signs."), RotateProblems)
)]
pub(super) async fn rotate_token_key(
    State(context): State<Context>,
    caller: Caller,
    body: OptionalJson<RotateTokenKey>,
) -> Result<StatusCode, Refusal> {
    let at_once = body.0.is_some_and(|body| body.at_once);
    let (call, who) = (&caller.call.0, &caller.identity);
    let accounts = context.accounts()?;
    accounts.rotate_token_key(call, who, at_once).await?;
    Ok(StatusCode::NO_CONTENT)
}
