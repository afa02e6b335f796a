//! Users, agents and admins: what they ask the master for, on its own machine.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    sync::Arc,
};

use cloudai_core::{
    AddWorkerError, Answer, Call, CancelError, ChangeError, DrainError, Input, RemoveWorkerError,
    SubmitError,
};
use cloudai_model::{ChangeDraft, Setting, TaskDraft, TaskId, UserLimits, UserName};

use crate::{
    audit::{Kind, Seen, Told, Violation},
    plan::{Plan, TaskPlan},
    time::Gone,
    world::World,
};

/// The pause before the same is asked again.
pub(crate) const PAUSE_MS: u64 = 1_000;
/// How often something that has no answer is asked again: longer than anything is broken.
pub(crate) const MOST_TRIES: u32 = 600;
/// A master that runs answers within this time, whatever breaks.
const ANSWER_LIMIT_MS: u64 = 600_000;

/// See the module.
#[derive(Default)]
pub(crate) struct Users {
    /// The ids of the plan's tasks, as far as users know them.
    ids: RefCell<BTreeMap<u64, TaskId>>,
    /// How many wait for something.
    pub(crate) busy: Cell<u64>,
    /// How many admins do.
    pub(crate) admins_busy: Cell<u64>,
    registrations: Cell<u64>,
    /// What users may have, as it is kept with their accounts.
    pub(crate) limits: RefCell<BTreeMap<UserName, UserLimits>>,
}

/// What became of asking once.
enum Asked {
    Done,
    Again,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// No master was there to be asked.
    Nobody,
    /// The master that was asked is gone; it may have done it.
    Gone,
}

impl World {
    /// Asks the master; nobody answers while it is down.
    pub(crate) async fn ask_master(
        &self,
        input: impl FnOnce(Call) -> Input + 'static,
    ) -> Result<Answer, NoAnswer> {
        let shell = self.master_shell().ok_or(NoAnswer::Nobody)?;
        let answer = self.sim.within(ANSWER_LIMIT_MS, shell.call(input)).await;
        let Some(answer) = answer else {
            let what = "the master leaves a user without an answer";
            let owed = Violation::new(Kind::StillOwed, what);
            self.see(&Seen::Restless(&owed));
            return Err(NoAnswer::Gone);
        };
        answer.map_err(|Gone| NoAnswer::Gone)
    }

    /// A user gives up.
    fn in_vain(&self, what: &str) {
        let what = format!("{what}, {MOST_TRIES} times");
        let vain = Violation::new(Kind::AskedInVain, what);
        self.see(&Seen::Restless(&vain));
    }

    fn tell_user(&self, told: Told) {
        self.see(&Seen::UserTold(&told));
    }

    /// A user knows a task of the plan by this id from now on.
    pub(crate) fn known_as(&self, task: u64, id: TaskId) {
        self.users.ids.borrow_mut().insert(task, id);
    }

    pub(crate) fn id_of(&self, task: u64) -> Option<TaskId> {
        self.users.ids.borrow().get(&task).cloned()
    }

    pub(crate) async fn submit(self: &Rc<Self>, plan: &TaskPlan) {
        let draft = draft_of(plan);
        let Ok((id, spec)) = draft.check() else {
            debug_assert!(false, "plans hold valid tasks: {plan:?}");
            return;
        };
        let spec = Arc::new(spec);
        for _ in 0..MOST_TRIES {
            let (wanted, spec) = (id.clone(), spec.clone());
            // `operations.rs` looks in the store first.
            let known = wanted.as_ref().and_then(|id| self.store.task(id)).is_some();
            let answer = match known && self.master.life.is_running() {
                true => Ok(id.clone()),
                false => {
                    let asked = self.ask_master(move |call| Input::Submit {
                        call,
                        task: wanted,
                        spec,
                    });
                    match asked.await {
                        Ok(Answer::Submitted(Ok(submitted))) => Ok(Some(submitted.task)),
                        Ok(Answer::Submitted(Err(SubmitError::IdTaken(taken)))) => Ok(Some(taken)),
                        Ok(_) => Ok(None),
                        Err(failure) => Err(failure),
                    }
                }
            };
            match answer {
                Ok(Some(task)) => {
                    self.users.ids.borrow_mut().insert(plan.task, task.clone());
                    return self.tell_user(Told::Submitted(task));
                }
                // Without an id of its own nobody can tell whether it is there.
                Err(NoAnswer::Gone) if id.is_none() => return,
                Ok(None) | Err(_) => self.sim.sleep(PAUSE_MS).await,
            }
        }
        self.in_vain(&format!("task {} was submitted", plan.task));
    }

    /// Asks until there is an answer, or it was in vain too often.
    async fn insist<F: Future<Output = Asked>>(&self, what: &str, ask: impl Fn() -> F) {
        for _ in 0..MOST_TRIES {
            if matches!(ask().await, Asked::Done) {
                return;
            }
            self.sim.sleep(PAUSE_MS).await;
        }
        self.in_vain(what);
    }

    pub(crate) async fn cancel(self: &Rc<Self>, task: u64) {
        let Some(id) = self.id_of(task) else { return };
        self.see(&Seen::CancelAsked(&id));
        self.note("user", || format!("cancels {id}"));
        self.insist(&format!("{id} was cancelled"), || async {
            let wanted = id.clone();
            let asked = self.ask_master(move |call| Input::Cancel { call, task: wanted });
            match asked.await {
                Ok(Answer::Cancelled(Ok(outcome))) => {
                    self.tell_user(Told::Cancelled(id.clone(), outcome));
                    Asked::Done
                }
                Ok(Answer::Cancelled(Err(CancelError::NotLive(_)))) => {
                    self.tell_user(Told::IsFinal(id.clone()));
                    Asked::Done
                }
                _ => Asked::Again,
            }
        })
        .await;
    }

    /// Who waits for a task that never ends by itself gives it up in the end.
    pub(crate) async fn cancel_endless(self: &Rc<Self>) {
        let endless = self.plan.tasks().filter(|task| task.does.is_endless());
        let endless: Vec<u64> = endless.map(|task| task.task).collect();
        for task in endless {
            self.cancel(task).await;
        }
    }

    pub(crate) async fn change(self: &Rc<Self>, task: u64, timeout_s: Option<u64>) {
        let Some(id) = self.id_of(task) else { return };
        let timeout_s = timeout_s.map_or(Setting::Clear, |seconds| Setting::To(seconds as f64));
        let Ok(change) = (ChangeDraft {
            timeout_s,
            ..ChangeDraft::default()
        })
        .check() else {
            debug_assert!(false, "plans hold valid changes");
            return;
        };
        self.note("user", || format!("changes {id}: {change:?}"));
        self.insist(&format!("{id} was changed"), || async {
            let (wanted, wish) = (id.clone(), change.clone());
            let asked = self.ask_master(move |call| Input::Change {
                call,
                task: wanted,
                change: wish,
            });
            match asked.await {
                Ok(Answer::Changed(Ok(_))) => {
                    self.tell_user(Told::Changed(id.clone(), change.clone()));
                    Asked::Done
                }
                Ok(Answer::Changed(Err(ChangeError::NotReady(_)))) | Err(_) => Asked::Again,
                _ => Asked::Done,
            }
        })
        .await;
    }

    pub(crate) async fn place(self: &Rc<Self>, task: u64, worker: usize) {
        let Some(id) = self.id_of(task) else { return };
        let worker = self.workers[worker].id.clone();
        let asked = self.ask_master(move |call| Input::Place {
            call,
            task: id,
            worker,
        });
        // Whatever comes of it: what was placed is in the store.
        let _ = asked.await.is_ok();
    }

    pub(crate) async fn mend(self: &Rc<Self>) {
        self.note("admin", || "has what is amiss mended".to_owned());
        let _ = self.ask_master(|call| Input::Mend { call }).await.is_ok();
    }

    pub(crate) async fn register(self: &Rc<Self>, index: usize) {
        let id = self.workers[index].id.clone();
        let address: cloudai_model::WorkerAddress = format!("{id}.simulated:50052")
            .parse()
            .expect("a name and a port are a valid address");
        let number = self.users.registrations.get() + 1;
        self.users.registrations.set(number);
        let registration = self.chance.of("registration").nth(number).draw();
        self.note("admin", || format!("registers {id}"));
        self.insist(&format!("{id} was registered"), || async {
            let (worker, address) = (id.clone(), address.clone());
            let asked = self.ask_master(move |call| Input::AddWorker {
                call,
                worker,
                address,
                registration,
            });
            match asked.await {
                Ok(Answer::WorkerAdded(Ok(_))) => {
                    self.tell_user(Told::Registered(id.clone()));
                    Asked::Done
                }
                Ok(Answer::WorkerAdded(Err(AddWorkerError::AlreadyRegistered(_)))) => Asked::Done,
                _ => Asked::Again,
            }
        })
        .await;
    }

    pub(crate) async fn unregister(self: &Rc<Self>, index: usize) {
        let id = self.workers[index].id.clone();
        self.note("admin", || format!("unregisters {id}"));
        self.insist(&format!("{id} was unregistered"), || async {
            let worker = id.clone();
            let asked = self.ask_master(move |call| Input::RemoveWorker { call, worker });
            match asked.await {
                Ok(Answer::WorkerRemoved(Ok(_))) => {
                    self.tell_user(Told::Unregistered(id.clone()));
                    Asked::Done
                }
                Ok(Answer::WorkerRemoved(Err(RemoveWorkerError::UnknownWorker(_)))) => Asked::Done,
                _ => Asked::Again,
            }
        })
        .await;
    }

    pub(crate) async fn drain(self: &Rc<Self>, index: usize, draining: bool) {
        let id = self.workers[index].id.clone();
        self.note("admin", || format!("drains {id}: {draining}"));
        self.insist(&format!("{id} was drained: {draining}"), || async {
            let worker = id.clone();
            let asked = self.ask_master(move |call| Input::Drain {
                call,
                worker,
                draining,
            });
            match asked.await {
                Ok(Answer::Drained(Ok(_))) => {
                    self.tell_user(Told::Drained(id.clone(), draining));
                    Asked::Done
                }
                Ok(Answer::Drained(Err(DrainError::UnknownWorker(_)))) => Asked::Done,
                _ => Asked::Again,
            }
        })
        .await;
    }
}

pub(crate) fn draft_of(plan: &TaskPlan) -> TaskDraft {
    TaskDraft {
        task_id: plan.own_id.then(|| format!("own-{}", plan.task)),
        name: Some(format!("t{}", plan.task)),
        user_id: Some(Plan::user_of(plan.task)),
        docker_image: format!("simulated/task-{}", plan.task),
        cpu_cores: Some(plan.cpu_milli as f64 / 1000.0),
        memory_gb: Some(plan.memory_mb as f64 / 1024.0),
        storage_gb: Some(plan.storage_mb as f64 / 1024.0),
        gpu_cores: Some(plan.gpu_milli as f64 / 1000.0),
        worker_id: plan.target.map(Plan::worker_name),
        priority: Some(i64::from(plan.priority)),
        timeout_s: plan.timeout_s.map(|seconds| seconds as f64),
        pull_timeout_s: plan.pull_timeout_s.map(|seconds| seconds as f64),
        queue_timeout_s: plan.queue_timeout_s.map(|seconds| seconds as f64),
        max_retries: Some(i64::from(plan.max_retries)),
        retry_on: plan.retry_on.clone(),
        ..TaskDraft::default()
    }
}
