//! A task's log: as text, or as events that can be taken up again where they broke off.

mod follow;
mod text;

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use cloudai_accounts::Permission;
use cloudai_api::{Code, Mistake};
use cloudai_model::TaskId;
use cloudai_operator::LogStart;
use tokio::sync::mpsc;
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};

use self::{
    follow::{Following, Wanted},
    text::Form,
};
use super::tasks::find;
use crate::{
    Context,
    auth::{Caller, StillMay},
    frame::preferred,
    openapi::problems,
    query::{Id, MOST_TAIL, Query},
    refusal::Refusal,
};

problems! {
    /// What a look at a log may answer before it begins.
    LogProblems: InvalidParameter, Unauthenticated, NotFound, MethodNotAllowed, NotAcceptable, Removed, Internal,
        Starting, StoreAway, TimedOut, Overloaded, ShuttingDown
}

const TEXT: &str = "text/plain";
const EVENTS: &str = "text/event-stream";
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Pieces on their way: with their size the memory that a slow reader costs.
const AHEAD: usize = 8;

/// What a task printed.
///
/// As `text/plain` the bytes themselves, both outputs in the order in which they were written. As
/// `text/event-stream`: `log` has `stream`, `at`, and `text`, or `base64` where it is not UTF-8;
/// `attempt` says that another attempt begins; `end` how the task stands when no more comes, and
/// `closing` that the master is shutting down. After a break, `Last-Event-ID` takes it up where it
/// broke off. With `follow` the attempts after a retry are followed, too.
#[utoipa::path(
    get,
    path = "/api/tasks/{id}/logs",
    operation_id = "task_logs",
    tag = "tasks",
    params(
        ("id" = String, Path, description = "The task."),
        ("follow" = Option<bool>, Query, description = "Go on until the task is final."),
        ("tail" = Option<u32>, Query, maximum = 100_000,
            description = "Only the last so many lines of what is there."),
        ("attempt" = Option<u32>, Query, minimum = 1, maximum = 4_294_967_295_u64,
            description = "Of this attempt alone; of the last if none."),
        ("timestamps" = Option<bool>, Query,
            description = "Before each line of text, when it was written."),
        ("Last-Event-ID" = Option<String>, Header,
            description = "The id of the last event that was received."),
    ),
    responses(
        (status = 200, description = "The log.",
            content((String = "text/plain"), (String = "text/event-stream"))),
        (status = 204, description = "The last event was the end: nothing more will come."),
        LogProblems,
    )
)]
pub(super) async fn log(
    State(context): State<Context>,
    caller: Caller,
    Id(task): Id<TaskId>,
    headers: HeaderMap,
    mut query: Query,
) -> Result<Response, Refusal> {
    caller.may(Permission::Look)?;
    let follow = query.flag("follow");
    let tail = query.number("tail", 0, MOST_TAIL);
    let most = u32::MAX as usize;
    let attempt = query.number("attempt", 1, most);
    let timestamps = query.flag("timestamps");
    query.finish()?;
    let Some(kind) = preferred(&headers, &[TEXT, EVENTS]) else {
        let detail = "a log is text/plain or text/event-stream, and Accept leaves both out";
        return Err(Refusal::new(Code::NotAcceptable, detail));
    };
    let view = find(&context, &caller, &task).await?;
    let named = attempt.and_then(|number| u32::try_from(number).ok());
    let mut wanted = Wanted {
        task,
        attempt: named.unwrap_or(view.record.state.attempt),
        only: named.is_some(),
        start: tail.map_or(LogStart::Byte(0), LogStart::Lines),
        follow,
    };
    if named.is_some_and(|number| number > view.record.state.attempt) {
        // Of an attempt that there hasn't been nothing can be told, or waited for.
        return Err(Refusal::not_found());
    }
    if kind == EVENTS
        && let Some(id) = headers.get(LAST_EVENT_ID)
    {
        match EventId::read(id) {
            Some(EventId::End) => return Ok(StatusCode::NO_CONTENT.into_response()),
            Some(EventId::Behind { attempt, byte }) if wanted.takes(attempt) => {
                wanted.attempt = attempt;
                wanted.start = LogStart::Byte(byte);
            }
            _ => {
                let detail = "expected the id of an event of this log";
                let mistake = Mistake::header(LAST_EVENT_ID.as_str(), detail);
                return Err(Refusal::parameter(mistake));
            }
        }
    }
    let form = match kind {
        EVENTS => Form::Events,
        _ => Form::text(timestamps),
    };
    let place = context.stream(&caller.identity.user)?;
    let still = StillMay::new(&context, &caller, Some(view.record.spec.user))?;
    let mut following = Following::begin(context, still, wanted, form).await?;
    let (sender, receiver) = mpsc::channel::<Bytes>(AHEAD);
    tokio::spawn(async move {
        let _place = place;
        // Whoever went away needs no more.
        let _ = following.send(&sender).await.is_ok();
    });
    let pieces = ReceiverStream::new(receiver).map(Ok::<_, std::convert::Infallible>);
    let about = [(
        header::CONTENT_TYPE,
        match kind {
            EVENTS => HeaderValue::from_static(EVENTS),
            // A browser shall not guess what a task printed.
            _ => HeaderValue::from_static("text/plain; charset=utf-8"),
        },
    )];
    Ok((about, Body::from_stream(pieces)).into_response())
}

/// What names a place in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EventId {
    /// Behind this byte of the framed log of this attempt.
    Behind { attempt: u32, byte: u64 },
    /// Behind all that will ever come.
    End,
}

impl EventId {
    fn read(value: &HeaderValue) -> Option<Self> {
        let text = value.to_str().ok()?;
        if text == "end" {
            return Some(Self::End);
        }
        let (attempt, byte) = text.split_once(':')?;
        Some(Self::Behind {
            attempt: attempt.parse().ok()?,
            byte: byte.parse().ok()?,
        })
    }
}

impl std::fmt::Display for EventId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Behind { attempt, byte } => write!(f, "{attempt}:{byte}"),
            Self::End => f.write_str("end"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_id_is_read_back_and_anything_else_is_none() {
        let read = |text: &str| EventId::read(&HeaderValue::from_str(text).unwrap());
        for id in [
            EventId::Behind {
                attempt: 3,
                byte: u64::MAX,
            },
            EventId::End,
        ] {
            assert_eq!(read(&id.to_string()), Some(id));
        }
        for text in ["", "3", "3:", ":3", "-1:3", "3:4:5", "99999999999:1", "END"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
