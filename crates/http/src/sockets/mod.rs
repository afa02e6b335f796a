//! WebSockets: telemetry as it changes, and tasks' logs as they are written.
//!
//! Whoever opens one is identified as for any request ([`credential`] says what is different),
//! takes a place ([`Shares`]), and is sent what a source gives until one of the two has enough
//! ([`session`]).

mod credential;
mod log;
mod picture;
mod session;
mod telemetry;
#[cfg(test)]
mod tests;

use std::{convert::Infallible, sync::Arc};

use axum::{
    Router,
    extract::{
        FromRequestParts, State,
        ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    },
    http::{StatusCode, request::Parts},
    middleware,
    response::Response,
    routing::get,
};
use cloudai_accounts::Permission;
use cloudai_api::Code;
use cloudai_core::{Event, Snapshot};
use cloudai_metrics::{HttpMetrics, StreamKind};
use cloudai_model::{Now, TaskId, UserName, WorkerId};
use cloudai_operator::Operator;
use tokio::sync::broadcast;

use self::{
    log::{LogWatcher, Wanted},
    session::{Patience, Permit, Source},
    telemetry::{Pictures, Scene},
};
use crate::{
    Context, Settings,
    auth::{Caller, StillMay},
    context::Connected,
    query::{Id, MOST_TAIL, Query},
    refusal::Refusal,
    shares::Shares,
};

/// Nothing is taken, so that nothing large is.
const MOST_MESSAGE_BYTES: usize = 4096;
/// What is read at a time: with the default a thousand watchers would take 128 MB.
const READ_BYTES: usize = 4096;

/// What all WebSockets share.
#[derive(Clone)]
pub(crate) struct Sockets {
    pictures: Pictures,
    places: Shares<UserName>,
    metrics: HttpMetrics,
}

impl Sockets {
    pub(crate) fn new(operator: Arc<dyn Operator>, settings: &Settings) -> Self {
        Self {
            places: Shares::new(settings.most_sockets, settings.most_sockets_of_user),
            metrics: operator.http_metrics(),
            pictures: Pictures::new(Arc::new(Live(operator))),
        }
    }

    /// Resolves when none is open any more.
    pub(crate) async fn closed(&self) {
        self.places.empty().await;
    }
}

/// The cluster as it is.
struct Live(Arc<dyn Operator>);

impl Scene for Live {
    fn snapshot(&self) -> Arc<Snapshot> {
        self.0.snapshot()
    }

    fn now(&self) -> Now {
        self.0.now()
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.0.events()
    }
}

/// The paths. They are no part of the document: OpenAPI has no words for them.
pub(crate) fn routes() -> Router<Context> {
    Router::new()
        .route("/ws/telemetry", get(all_workers))
        .route("/ws/telemetry/{worker}", get(one_worker))
        .route("/ws/tasks/{id}/logs", get(task_logs))
        .route_layer(middleware::from_fn(credential::shown))
}

/// Somebody who wants a WebSocket.
struct Arriving {
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    /// The place of the connection, which it goes on to need.
    place: Option<Connected>,
}

impl<S: Send + Sync> FromRequestParts<S> for Arriving {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        Ok(Self {
            place: parts.extensions.get::<Connected>().cloned(),
            upgrade: WebSocketUpgrade::from_request_parts(parts, state).await,
        })
    }
}

async fn all_workers(
    State(context): State<Context>,
    caller: Caller,
    query: Query,
    arriving: Arriving,
) -> Result<Response, Refusal> {
    query.finish()?;
    caller.may(Permission::Look)?;
    let permit = StillMay::new(&context, &caller, None)?;
    let source = context.sockets.pictures.watch(None);
    open(
        &context,
        &caller,
        StreamKind::Telemetry,
        arriving,
        source,
        permit,
    )
}

async fn one_worker(
    State(context): State<Context>,
    caller: Caller,
    Id(worker): Id<WorkerId>,
    query: Query,
    arriving: Arriving,
) -> Result<Response, Refusal> {
    query.finish()?;
    caller.may(Permission::Look)?;
    if !context.operator.snapshot().workers.contains_key(&worker) {
        return Err(Refusal::not_found());
    }
    let permit = StillMay::new(&context, &caller, None)?;
    let source = context.sockets.pictures.watch(Some(worker));
    open(
        &context,
        &caller,
        StreamKind::Worker,
        arriving,
        source,
        permit,
    )
}

async fn task_logs(
    State(context): State<Context>,
    caller: Caller,
    Id(task): Id<TaskId>,
    mut query: Query,
    arriving: Arriving,
) -> Result<Response, Refusal> {
    let attempt = query.number("attempt", 1, u32::MAX as usize);
    let tail = query.number("tail", 0, MOST_TAIL);
    query.finish()?;
    caller.may(Permission::Look)?;
    // One that is somebody else's is as one that is not there.
    let view = context.operator.task(&task).await?;
    let record = view.ok_or_else(Refusal::not_found)?.record;
    let owner = record.spec.user.clone();
    caller.reaches(&owner)?;
    let attempt = attempt.map(|number| u32::try_from(number).unwrap_or(u32::MAX));
    if attempt.is_some_and(|number| number > record.state.attempt) {
        return Err(Refusal::not_found());
    }
    let wanted = Wanted {
        task,
        attempt,
        tail,
    };
    let source = LogWatcher::new(context.operator.clone(), wanted);
    let permit = StillMay::new(&context, &caller, Some(owner))?;
    open(
        &context,
        &caller,
        StreamKind::TaskLogs,
        arriving,
        source,
        permit,
    )
}

/// Answers with the upgrade, and goes on behind it.
fn open(
    context: &Context,
    caller: &Caller,
    kind: StreamKind,
    arriving: Arriving,
    source: impl Source + 'static,
    permit: StillMay,
) -> Result<Response, Refusal> {
    let Arriving { upgrade, place } = arriving;
    let upgrade = upgrade.map_err(|rejection| no_upgrade(&rejection))?;
    let Sockets {
        places, metrics, ..
    } = context.sockets.clone();
    let seat = places.take(&caller.identity.user);
    let seat = seat.map_err(|full| {
        metrics.refused();
        Refusal::full(full, "WebSockets are open")
    })?;
    let open = metrics.stream(kind);
    let patience = Patience {
        ping_every: context.settings.ping_every,
        stalled_for: context.settings.socket_stalled_for,
    };
    let closing = context.closing.clone();
    let upgrade = limited(upgrade).protocols([credential::PROTOCOL]);
    Ok(upgrade.on_upgrade(async move |socket| {
        let _until_its_end = (seat, place, open);
        if let Some(why) = session::run(socket, source, permit, patience, closing).await {
            metrics.dropped(why);
        }
    }))
}

/// Within the bounds of what is taken and held for one reader.
fn limited(upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
    upgrade
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(0)
        .max_message_size(MOST_MESSAGE_BYTES)
        .max_frame_size(MOST_MESSAGE_BYTES)
}

fn no_upgrade(rejection: &WebSocketUpgradeRejection) -> Refusal {
    let detail = format!("this path is for WebSockets: {rejection}");
    let code = match rejection.status() {
        StatusCode::METHOD_NOT_ALLOWED => Code::MethodNotAllowed,
        _ => Code::BadRequest,
    };
    Refusal::new(code, detail)
}

impl Permit for StillMay {
    fn holds(&self) -> bool {
        Self::holds(self)
    }
}
