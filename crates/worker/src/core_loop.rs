//! The loop that owns the core: takes what has happened, steps, and has the effects carried out.
//!
//! It never waits for anything but the next message, and nothing but it touches the core.

use std::collections::BTreeMap;

use cloudai_model::AttemptId;
use cloudai_worker_core::{
    Answer, AssignAnswer, Call, CancelAnswer, Effect, HeldAttempt, Input, Order, Outcome,
    StopTarget, WorkerCore,
};
use tokio::sync::{mpsc, oneshot};

/// What the loop is told or asked.
enum Message {
    Input(Input),
    Assign(Box<Order>, oneshot::Sender<AssignAnswer>),
    Cancel(StopTarget, String, oneshot::Sender<CancelAnswer>),
    Look(oneshot::Sender<View>),
}

/// What a heartbeat tells of the core.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) held: Vec<HeldAttempt>,
    pub(crate) last_sequence: u64,
    pub(crate) unwell: Option<String>,
}

/// The worker is ending; nobody answers any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the worker is being shut down")]
pub(crate) struct LoopEnded;

/// The way to the core. Cheap to clone.
#[derive(Clone)]
pub(crate) struct CoreHandle(mpsc::UnboundedSender<Message>);

/// The receiving end, for the loop.
pub(crate) struct Inbox(mpsc::UnboundedReceiver<Message>);

/// Carries out what the core wants. Must not wait.
pub(crate) trait CarryOut {
    /// Begins to carry it out; what comes of it is told to the core later.
    fn carry_out(&mut self, effect: Effect);
}

/// A way to a core, and the inbox at its end.
pub(crate) fn channel() -> (CoreHandle, Inbox) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (CoreHandle(sender), Inbox(receiver))
}

impl CoreHandle {
    /// Tells the core that something happened.
    pub(crate) fn tell(&self, input: Input) {
        // When the loop has ended, so has whatever the input was good for.
        let _ = self.0.send(Message::Input(input)).is_ok();
    }

    /// Tells the core what came of something.
    pub(crate) fn outcome(&self, attempt: &AttemptId, outcome: Outcome) {
        self.tell(Input::Outcome(attempt.clone(), outcome));
    }

    pub(crate) async fn assign(&self, order: Order) -> Result<AssignAnswer, LoopEnded> {
        self.ask(|reply| Message::Assign(Box::new(order), reply))
            .await
    }

    pub(crate) async fn cancel(
        &self,
        target: StopTarget,
        reason: String,
    ) -> Result<CancelAnswer, LoopEnded> {
        self.ask(|reply| Message::Cancel(target, reason, reply))
            .await
    }

    pub(crate) async fn look(&self) -> Result<View, LoopEnded> {
        self.ask(Message::Look).await
    }

    async fn ask<T>(
        &self,
        message: impl FnOnce(oneshot::Sender<T>) -> Message,
    ) -> Result<T, LoopEnded> {
        let (reply, answer) = oneshot::channel();
        self.0.send(message(reply)).map_err(|_| LoopEnded)?;
        answer.await.map_err(|_| LoopEnded)
    }
}

enum Reply {
    Assign(oneshot::Sender<AssignAnswer>),
    Cancel(oneshot::Sender<CancelAnswer>),
}

/// Runs the core until every handle is gone.
pub(crate) async fn run(mut core: WorkerCore, mut inbox: Inbox, mut effects_to: impl CarryOut) {
    let mut replies: BTreeMap<Call, Reply> = BTreeMap::new();
    let mut calls = 0_u64;
    let mut effects = Vec::new();
    while let Some(message) = inbox.0.recv().await {
        let mut waits = |reply| {
            calls += 1;
            replies.insert(Call(calls), reply);
            Call(calls)
        };
        let input = match message {
            Message::Input(input) => input,
            Message::Assign(order, reply) => Input::Assign {
                call: waits(Reply::Assign(reply)),
                order,
            },
            Message::Cancel(target, reason, reply) => Input::Cancel {
                call: waits(Reply::Cancel(reply)),
                target,
                reason,
            },
            Message::Look(reply) => {
                // Whoever asked may be gone by now; so with all answers here.
                let _ = reply.send(view(&mut core)).is_ok();
                continue;
            }
        };
        tracing::trace!(?input, "step");
        core.step(cloudai_clock::now(), input, &mut effects);
        for effect in effects.drain(..) {
            tracing::trace!(?effect, "effect");
            match effect {
                Effect::Answer(call, answer) => answer_call(replies.remove(&call), answer),
                effect => effects_to.carry_out(effect),
            }
        }
    }
}

fn view(core: &mut WorkerCore) -> View {
    View {
        held: core.held(),
        last_sequence: core.tell_sequence(),
        unwell: core.unwell(),
    }
}

fn answer_call(reply: Option<Reply>, answer: Answer) {
    let _ = match (reply, answer) {
        (Some(Reply::Assign(reply)), Answer::Assign(answer)) => reply.send(answer).is_ok(),
        (Some(Reply::Cancel(reply)), Answer::Cancel(answer)) => reply.send(answer).is_ok(),
        (_, answer) => {
            debug_assert!(false, "{answer:?} answers no call of its kind");
            false
        }
    };
}
