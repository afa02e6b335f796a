//! What a worker serves: its master's calls (`crates/worker/src/server.rs`).

use std::{rc::Rc, sync::Arc, time::Duration};

use cloudai_worker_core::{AssignAnswer, CancelAnswer, Job, Order, StopTarget};

use super::{Message, WorkerShell};
use crate::{
    audit::Seen,
    time::{Sender, oneshot},
    wire::{FromWorker, ToWorker},
    world::World,
};

/// How long a container has between SIGTERM and SIGKILL.
const STOP_GRACE: Duration = Duration::from_secs(10);

impl World {
    /// A call of the master has arrived.
    pub(crate) fn arrive_at_worker(
        self: &Rc<Self>,
        index: usize,
        request: ToWorker,
        reply: Sender<FromWorker>,
    ) {
        let shell = self.workers[index].shell.borrow().clone();
        // Nobody listens: the way back is dropped, and so the connection breaks.
        let Some(shell) = shell else { return };
        let process = shell.process.clone();
        let world = self.clone();
        self.sim.spawn(&process, async move {
            let seen = Seen::ArrivedAtWorker {
                worker: index,
                request: &request,
            };
            world.see(&seen);
            let answer = serve(&shell, request.clone()).await;
            let seen = Seen::AnsweredByWorker {
                worker: index,
                request: &request,
                answer: &answer,
            };
            world.see(&seen);
            reply.send(answer);
        });
    }
}

async fn serve(shell: &Rc<WorkerShell>, request: ToWorker) -> FromWorker {
    let ending = || FromWorker::Unavailable("the worker is being shut down".to_owned());
    let not_ready = || FromWorker::Unavailable("its spool is still being read".to_owned());
    match request {
        ToWorker::Invite => {
            shell.contacts.send(());
            FromWorker::Called
        }
        ToWorker::Assign {
            attempt,
            sequence,
            cluster,
            grant,
            spec,
        } => {
            let order = Order {
                attempt,
                sequence,
                cluster,
                grant,
                stop_grace: STOP_GRACE,
                job: Arc::new(Job {
                    user: spec.user.clone(),
                    name: spec.name.clone(),
                    image: spec.image.clone(),
                    command: spec.command.clone(),
                    env: spec.env.clone(),
                    container: spec.container.clone(),
                }),
            };
            let (reply, answer) = oneshot();
            shell.inbox.send(Message::Assign(Box::new(order), reply));
            match answer.await {
                Ok(AssignAnswer::Accepted) => FromWorker::Taken,
                Ok(AssignAnswer::Refused(refusal)) => FromWorker::Refused(refusal.to_string()),
                Ok(AssignAnswer::NotReady) => not_ready(),
                Err(_) => ending(),
            }
        }
        ToWorker::Cancel { attempt, reason } => {
            let (reply, answer) = oneshot();
            let target = StopTarget::Attempt(attempt);
            shell.inbox.send(Message::Cancel(target, reason, reply));
            match answer.await {
                Ok(CancelAnswer::Stopping { .. } | CancelAnswer::Ended(_)) => FromWorker::Stopping,
                Ok(CancelAnswer::NotHeld) => FromWorker::NotHeld,
                Ok(CancelAnswer::NotReady) => not_ready(),
                Err(_) => ending(),
            }
        }
    }
}
