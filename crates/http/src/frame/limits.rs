//! How many requests wait for the beginning of their answers, and for how long.
//!
//! A request whose body is on its way has no turn: else those who send none would have all turns.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use cloudai_api::Code;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Settings, refusal::Refusal};

/// How long a request waits for its turn.
const TURN_WITHIN: Duration = Duration::from_secs(2);
/// What is asked to learn whether the master is alive is answered at once, however much there is to do.
const ALWAYS: [&str; 2] = ["/health", "/ready"];

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Limits {
    turns: Arc<Semaphore>,
    answer_within: Duration,
}

impl Limits {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            turns: Arc::new(Semaphore::new(settings.most_requests)),
            answer_within: settings.answer_within,
        }
    }
}

/// The turn of one request, among its extensions.
#[derive(Clone)]
pub(crate) struct Turn {
    turns: Arc<Semaphore>,
    held: Arc<Mutex<Option<OwnedSemaphorePermit>>>,
}

impl Turn {
    fn new(turns: Arc<Semaphore>) -> Self {
        Self {
            turns,
            held: Arc::default(),
        }
    }

    /// Takes it, when it comes.
    pub(crate) async fn take(&self) -> Result<(), Refusal> {
        let turn = self.turns.clone().acquire_owned();
        let Ok(Ok(turn)) = tokio::time::timeout(TURN_WITHIN, turn).await else {
            let detail = "too many requests wait for their answers: try again in a moment";
            return Err(Refusal::new(Code::Overloaded, detail));
        };
        self.hold(Some(turn));
        Ok(())
    }

    /// Lets others have it.
    pub(crate) fn lay_down(&self) {
        self.hold(None);
    }

    fn hold(&self, turn: Option<OwnedSemaphorePermit>) {
        // A panic elsewhere leaves it whole: it changes in one step.
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = turn;
    }
}

tokio::task_local! {
    /// Of the request that is being answered.
    static UNTIL: Arc<Until>;
}

/// Lays a turn down when nobody has this any more, whoever still knows of the turn.
pub(crate) struct Until(Turn);

/// What makes the turn of the request that is being answered last: work that goes on when who asked has
/// gone holds it.
pub(crate) fn until() -> Option<Arc<Until>> {
    UNTIL.try_with(Arc::clone).ok()
}

impl Drop for Until {
    fn drop(&mut self) {
        self.0.lay_down();
    }
}

/// Lets a request through when it is its turn, and gives it up when it takes too long.
pub(crate) async fn within_limits(
    State(limits): State<Limits>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request.extensions().get::<MatchedPath>();
    if path.is_some_and(|path| ALWAYS.contains(&path.as_str())) {
        return next.run(request).await;
    }
    let turn = Turn::new(limits.turns);
    let until = Arc::new(Until(turn.clone()));
    if let Err(refusal) = turn.take().await {
        return refusal.into_response();
    }
    request.extensions_mut().insert(turn);
    let answer = UNTIL.scope(until, next.run(request));
    match tokio::time::timeout(limits.answer_within, answer).await {
        Ok(response) => response,
        Err(_) => {
            let within = limits.answer_within.as_secs();
            let detail = format!(
                "there was no answer within {within} s; what was asked for may have been done"
            );
            Refusal::new(Code::TimedOut, detail).into_response()
        }
    }
}
