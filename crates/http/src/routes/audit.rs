//! Who did what, for admins.

use axum::{Json as Answer, extract::State};
use cloudai_accounts::AuditQuery;
use cloudai_api::{AuditEntry, Page};
use cloudai_model::UserName;

use crate::{Context, auth::Caller, openapi::problems, query::Query, refusal::Refusal};

problems! {
    /// What a look at the audit may answer.
    AuditProblems: InvalidParameter, Unauthenticated, AdminOnly, KeyScope, MethodNotAllowed, NotAcceptable,
        Internal, Starting, StoreAway, TimedOut, Overloaded
}

/// What was done, the latest first.
#[utoipa::path(
    get,
    path = "/api/audit",
    operation_id = "list_audit",
    tag = "accounts",
    params(
        ("user" = Option<String>, Query, pattern = "^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?$",
            description = "Only what this user did."),
        ("action" = Option<String>, Query, description = "Only this action.",
            example = "task.cancel"),
        ("since" = Option<String>, Query, format = DateTime,
            description = "Only what was done then or later."),
        ("until" = Option<String>, Query, format = DateTime,
            description = "Only what was done before that."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000,
            description = "At most so many; 100 if none."),
        ("cursor" = Option<String>, Query, pattern = "^[A-Za-z0-9_-]*$",
            description = "The next_cursor of the page before."),
    ),
    responses((status = 200, description = "What was done.", body = Page<AuditEntry>), AuditProblems)
)]
pub(super) async fn list(
    State(context): State<Context>,
    caller: Caller,
    mut query: Query,
) -> Result<Answer<Page<AuditEntry>>, Refusal> {
    let user: Option<UserName> = query.parsed("user");
    let action = query.text("action").filter(|action| !action.is_empty());
    let since = query.instant("since");
    let until = query.instant("until");
    let paging = query.paging("audit");
    query.finish()?;
    let wanted = AuditQuery {
        before: paging.after,
        user,
        action,
        since,
        until,
        limit: paging.limit,
    };
    let page = context
        .accounts()?
        .audit_page(&caller.identity, wanted)
        .await?;
    let items = page.records.iter().map(AuditEntry::from).collect();
    Ok(Answer(Page::ending_at(items, "audit", page.next)))
}
