//! Users and admins ask for what [`crate::plan::What`] has besides tasks and cancels: several tasks at
//! once, holds, other priorities, and limits of users.
//!
//! Limits are kept with the accounts, which are not the core's: a master is told them at its start.

use std::{collections::BTreeMap, rc::Rc, sync::Arc};

use cloudai_core::{Answer, ChangeError, Input, Which};
use cloudai_model::{
    ChangeDraft, Priority, Setting, TaskChange, TaskId, TaskSpec, UserLimits, UserName,
};

use crate::{
    audit::{BATCH_LABEL, Seen, Told},
    bugs::Bug,
    plan::{LimitPlan, Plan, TaskPlan},
    users::{MOST_TRIES, PAUSE_MS, draft_of},
    world::World,
};

impl World {
    pub(crate) async fn submit_many(self: &Rc<Self>, tasks: &[TaskPlan], hold: bool) {
        let Some(first) = tasks.first() else { return };
        let label = format!("{}/{}", first.task, tasks.len());
        let specs = tasks.iter().filter_map(|task| {
            let mut draft = draft_of(task);
            draft.labels = BTreeMap::from([(BATCH_LABEL.to_owned(), label.clone())]);
            draft.hold = hold;
            Some(Arc::new(draft.check().ok()?.1))
        });
        let specs: Vec<Arc<TaskSpec>> = specs.collect();
        debug_assert_eq!(specs.len(), tasks.len(), "plans hold valid tasks");
        if self.bug == Some(Bug::TornBatches) {
            return self.submit_one_by_one(specs).await;
        }
        self.note("user", || format!("submits {} tasks at once", specs.len()));
        for _ in 0..MOST_TRIES {
            let wanted = specs.clone();
            let was_there = self.master_shell().is_some();
            let asked = self.ask_master(|call| Input::SubmitMany {
                call,
                specs: wanted,
            });
            match asked.await {
                Ok(Answer::SubmittedMany(Ok(taken))) => {
                    for (plan, taken) in tasks.iter().zip(taken) {
                        self.known_as(plan.task, taken.task.clone());
                        self.see(&Seen::UserTold(&Told::Submitted(taken.task)));
                    }
                    return;
                }
                // It may be there, and can't be told from another one.
                Err(_) if was_there => return,
                _ => self.sim.sleep(PAUSE_MS).await,
            }
        }
    }

    async fn submit_one_by_one(&self, specs: Vec<Arc<TaskSpec>>) {
        for spec in specs {
            let asked = self.ask_master(|call| Input::Submit {
                call,
                task: None,
                spec,
            });
            // Whatever comes of it.
            let _ = asked.await.is_ok();
        }
    }

    pub(crate) async fn hold(self: &Rc<Self>, task: u64, hold: bool) {
        if let Some(id) = self.id_of(task) {
            self.hold_id(&id, hold).await;
        }
    }

    async fn hold_id(&self, id: &TaskId, hold: bool) {
        let wish = ChangeDraft {
            hold: Setting::To(hold),
            ..ChangeDraft::default()
        };
        self.wish(id, wish).await;
    }

    pub(crate) async fn prioritise(self: &Rc<Self>, task: u64, priority: u8) {
        debug_assert!(
            Priority::new(i64::from(priority)).is_some(),
            "plans are valid"
        );
        let Some(id) = self.id_of(task) else { return };
        let wish = ChangeDraft {
            priority: Setting::To(i64::from(priority)),
            ..ChangeDraft::default()
        };
        self.wish(&id, wish).await;
    }

    async fn wish(&self, id: &TaskId, wish: ChangeDraft) {
        let change: TaskChange = match wish.check() {
            Ok(change) => change,
            Err(error) => return debug_assert!(false, "plans hold valid changes: {error}"),
        };
        self.note("user", || format!("changes {id}: {change:?}"));
        for _ in 0..MOST_TRIES {
            let (task, wanted) = (id.clone(), change.clone());
            let asked = self.ask_master(move |call| Input::Change {
                call,
                task,
                change: wanted,
            });
            match asked.await {
                Ok(Answer::Changed(Ok(_))) => {
                    let told = Told::Changed(id.clone(), change);
                    return self.see(&Seen::UserTold(&told));
                }
                Ok(Answer::Changed(Err(ChangeError::NotReady(_)))) | Err(_) => {
                    self.sim.sleep(PAUSE_MS).await;
                }
                // It is with a worker, or over.
                Ok(_) => return,
            }
        }
    }

    pub(crate) async fn limit(self: &Rc<Self>, plan: &LimitPlan) {
        let limits = UserLimits {
            queued_tasks: plan.queued_tasks,
            cpu_milli: plan.cpu_milli,
            gpu_milli: plan.gpu_milli,
            ..UserLimits::default()
        };
        let Ok(user) = Plan::user_name(plan.user).parse() else {
            return debug_assert!(false, "a letter and a number are a valid name");
        };
        self.limit_user(user, limits).await;
    }

    async fn limit_user(&self, user: UserName, limits: UserLimits) {
        self.note("admin", || format!("limits {user} to {limits:?}"));
        self.see(&Seen::LimitsAsked(&user, &limits));
        let known = &self.users.limits;
        known.borrow_mut().insert(user.clone(), limits);
        for _ in 0..MOST_TRIES {
            if known.borrow().get(&user) != Some(&limits) {
                // Somebody has changed them again, and sees to it.
                return;
            }
            if let Some(shell) = self.master_shell() {
                shell.tell(Input::Limits {
                    user: user.clone(),
                    limits,
                });
            }
            // Its answer comes after the flush of all that was decided before.
            let which = Which::First(0);
            let asked = self.ask_master(|call| Input::WhyWaiting { call, which });
            if let Ok(Answer::Waiting(Ok(_))) = asked.await {
                let told = Told::Limited(user, limits);
                return self.see(&Seen::UserTold(&told));
            }
            self.sim.sleep(PAUSE_MS).await;
        }
    }

    /// Nobody leaves a task on hold for ever, or a user with limits that a task waits for.
    pub(crate) async fn grant_all_wishes(self: &Rc<Self>) {
        let limited: Vec<UserName> = self.users.limits.borrow().keys().cloned().collect();
        for user in limited {
            self.limit_user(user, UserLimits::default()).await;
        }
        for _ in 0..MOST_TRIES {
            // Who still tries to submit something may want it on hold.
            let all_are_in = self.users.busy.get() == 0;
            for task in self.tasks_on_hold() {
                self.hold_id(&task, false).await;
            }
            if all_are_in {
                return;
            }
            self.sim.sleep(PAUSE_MS).await;
        }
    }

    fn tasks_on_hold(&self) -> Vec<TaskId> {
        let tables = self.store.tables();
        let tasks = tables.tasks.values();
        let held = tasks.filter(|task| task.spec.hold && !task.state.status.is_final());
        held.map(|task| task.task.clone()).collect()
    }
}
