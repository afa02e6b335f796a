//! How many requests wait for the beginning of their answers, and for how long.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use cloudai_api::Code;
use tokio::sync::Semaphore;

use crate::{Settings, refusal::Refusal};

/// How long a request waits for its turn.
const TURN_WITHIN: Duration = Duration::from_secs(2);

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

/// Lets a request through when it is its turn, and gives it up when it takes too long.
pub(crate) async fn within_limits(
    State(limits): State<Limits>,
    request: Request,
    next: Next,
) -> Response {
    let turn = tokio::time::timeout(TURN_WITHIN, limits.turns.acquire()).await;
    let Ok(Ok(_turn)) = turn else {
        let detail = "too many requests wait for their answers: try again in a moment";
        return Refusal::new(Code::Overloaded, detail).into_response();
    };
    match tokio::time::timeout(limits.answer_within, next.run(request)).await {
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
