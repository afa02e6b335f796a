//! The shell around the real master core: what `crates/master` is in the real program, over the
//! simulated store and network.
//!
//! It does what the real one does, in the same order: inputs are stepped through as they come, their
//! records go to the store as one commit while the next gather, and every effect leaves only after
//! the flush of the records before it. Not here: accounts and tokens (nodes are let in as with
//! `-insecure`), old nodes, retention, the contents of logs and files, and the journal of a MongoDB
//! that is out of reach.

mod calls;
mod core_loop;
mod service;

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, sync::Arc};

use cloudai_core::{Answer, Call, Core, Effect, Input, Settings, Snapshot, policy::RoundRobin};
use cloudai_model::{Mono, Now, TaskId, TaskSpec};

use crate::{
    bugs::Bug,
    life::Life,
    time::{Gone, Inbox, Process, Sender, oneshot},
    world::World,
};

/// The master's machine.
#[derive(Default)]
pub struct MasterNode {
    /// Of its program.
    pub life: Life,
    /// What runs there.
    pub(crate) shell: RefCell<Option<Rc<MasterShell>>>,
}

/// What the loop is told or asked.
enum Message {
    Input(Input),
    Call(Box<dyn FnOnce(Call) -> Input>, Sender<Answer>),
}

/// A running master.
pub(crate) struct MasterShell {
    world: Rc<World>,
    process: Process,
    started_at_ms: u64,
    inbox: Inbox<Message>,
    /// As of the last flush.
    snapshot: RefCell<Snapshot>,
    /// How many calls have no answer yet.
    pub(crate) unanswered: std::cell::Cell<usize>,
    /// Specs of tasks submitted or read since the start; the store has the others.
    specs: RefCell<BTreeMap<TaskId, Arc<TaskSpec>>>,
}

impl World {
    /// Starts the master, unless it runs.
    pub fn start_master(self: &Rc<Self>) {
        if self.master.life.is_running() {
            return;
        }
        let process = self.master.life.begin();
        let cluster: cloudai_model::ClusterId =
            "c-simulated".parse().expect("the text is a valid id");
        let shell = Rc::new(MasterShell {
            world: self.clone(),
            process: process.clone(),
            started_at_ms: self.sim.now_ms(),
            inbox: Inbox::default(),
            snapshot: RefCell::new(Snapshot::unready(cluster.clone())),
            unanswered: std::cell::Cell::default(),
            specs: RefCell::default(),
        });
        *self.master.shell.borrow_mut() = Some(shell.clone());
        let mut settings = Settings::default();
        if self.bug == Some(Bug::NoLostWorkerTimer) {
            settings.lost_after = std::time::Duration::MAX;
        }
        if self.bug == Some(Bug::HastyLostWorkerTimer) {
            settings.lost_after = std::time::Duration::from_secs(10);
        }
        let mut core = Core::new(settings, Box::new(RoundRobin), cluster);
        core.sabotage(self.master_sabotage());
        self.note("master", || "starts".to_owned());
        self.sim.spawn(&process, core_loop::run(shell, core));
    }

    /// Kills the master, if it runs.
    pub fn kill_master(self: &Rc<Self>, why: &str) {
        if self.master.life.end(&self.sim) {
            self.note("master", || format!("is gone: {why}"));
            if let Some(shell) = self.master.shell.borrow_mut().take() {
                shell.inbox.close();
            }
            self.store_loses_its_master();
            self.see(&crate::audit::Seen::MasterGone);
        }
    }

    /// The master that runs.
    pub(crate) fn master_shell(&self) -> Option<Rc<MasterShell>> {
        self.master.shell.borrow().clone()
    }
}

impl MasterShell {
    fn now(&self) -> Now {
        Now {
            mono: Mono(self.world.sim.now_ms() - self.started_at_ms),
            wall: self.world.wall(None),
        }
    }

    pub(crate) fn tell(&self, input: Input) {
        self.inbox.send(Message::Input(input));
    }

    /// Hands in a call and waits for its answer, which comes when what it rests on is flushed.
    pub(crate) async fn call(
        &self,
        input: impl FnOnce(Call) -> Input + 'static,
    ) -> Result<Answer, Gone> {
        let (reply, answer) = oneshot();
        self.inbox.send(Message::Call(Box::new(input), reply));
        answer.await
    }

    fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        self.world.sim.spawn(&self.process, future);
    }

    /// Carries out an effect that is neither a write nor an answer.
    fn carry_out(self: &Rc<Self>, effect: Effect) {
        let this = self.clone();
        match effect {
            Effect::Assign(assignment) => {
                self.spawn(async move { calls::assign(this, assignment).await });
            }
            Effect::Stop(request) => self.spawn(async move { calls::stop(this, request).await }),
            Effect::Invite { worker, .. } => {
                self.spawn(async move { calls::invite(this, worker).await });
            }
            Effect::Publish(cloudai_core::Event::Task(news)) if news.status.is_final() => {
                self.specs.borrow_mut().remove(&news.task);
            }
            // Logs are not simulated; listeners lose nothing but news.
            Effect::FollowLog { .. } | Effect::LeaveLog(_) | Effect::Publish(_) => {}
            Effect::Write(_) | Effect::Answer(..) => {
                debug_assert!(false, "the loop writes and answers itself");
            }
        }
    }
}
