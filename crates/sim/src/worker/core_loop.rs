//! The loop that owns the core: `crates/worker/src/core_loop.rs`.

use std::{collections::BTreeMap, rc::Rc};

use cloudai_worker_core::{
    Answer, AssignAnswer, Call, CancelAnswer, Effect, HeldAttempt, Input, Order, StopTarget,
    WorkerCore,
};

use super::WorkerShell;
use crate::{
    audit::Seen,
    time::{Sender, oneshot},
};

/// What the loop is told or asked.
pub(crate) enum Message {
    Input(Input),
    Assign(Box<Order>, Sender<AssignAnswer>),
    Cancel(StopTarget, String, Sender<CancelAnswer>),
    Look(Sender<View>),
}

/// What a heartbeat tells of the core.
pub(crate) struct View {
    pub(crate) held: Vec<HeldAttempt>,
    pub(crate) last_sequence: u64,
    pub(crate) unwell: Option<String>,
}

enum Reply {
    Assign(Sender<AssignAnswer>),
    Cancel(Sender<CancelAnswer>),
}

impl WorkerShell {
    /// What the core holds just now; `None` if the worker is ending.
    pub(super) async fn look(&self) -> Option<View> {
        let (reply, view) = oneshot();
        self.inbox.send(Message::Look(reply));
        view.await.ok()
    }
}

/// Runs the core until the process is killed.
pub(super) async fn run(shell: Rc<WorkerShell>, mut core: WorkerCore) {
    let mut replies: BTreeMap<Call, Reply> = BTreeMap::new();
    let mut calls = 0;
    let mut effects = Vec::new();
    loop {
        let message = shell.inbox.recv().await;
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
                reply.send(View {
                    held: core.held(),
                    last_sequence: core.tell_sequence(),
                    unwell: core.unwell(),
                });
                continue;
            }
        };
        shell.world.count_step();
        core.step(shell.now(), input, &mut effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Answer(call, answer) => match replies.remove(&call) {
                    Some(reply) => answer_call(reply, answer),
                    None => shell.world.see(&Seen::AnsweredTwice),
                },
                effect => shell.carry_out(effect),
            }
        }
        shell.unanswered.set(replies.len());
    }
}

fn answer_call(reply: Reply, answer: Answer) {
    match (reply, answer) {
        (Reply::Assign(reply), Answer::Assign(answer)) => reply.send(answer),
        (Reply::Cancel(reply), Answer::Cancel(answer)) => reply.send(answer),
        (_, answer) => debug_assert!(false, "{answer:?} answers no call of its kind"),
    }
}
