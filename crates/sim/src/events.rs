//! Brings about what a plan says: each item at its time, each fault for as long as it lasts.

use std::rc::Rc;

use crate::{
    audit::Seen,
    plan::{Fault, FaultKind, Item, Plan, What},
    world::World,
};

impl World {
    /// Sets everything up that the plan says.
    pub(crate) fn schedule(self: &Rc<Self>) {
        for item in self.plan.items.clone() {
            let world = self.clone();
            // Nothing new happens after the horizon.
            if item.at_ms < self.plan.horizon_ms {
                self.sim.spawn(&self.supervisor, async move {
                    world.sim.sleep_until(item.at_ms).await;
                    world.bring_about(item).await;
                });
            }
        }
        let world = self.clone();
        self.sim.spawn(&self.supervisor, async move {
            loop {
                world.sim.sleep(1_000).await;
                let troubles = [
                    FaultKind::StoreStall,
                    FaultKind::StoreFailure,
                    FaultKind::Pause,
                    FaultKind::MasterCrash,
                ];
                let active = |kind: &FaultKind| world.conditions.is(*kind, None);
                let master_troubled =
                    !world.master.life.is_running() || troubles.iter().any(active);
                world.see(&Seen::Second { master_troubled });
            }
        });
    }

    async fn bring_about(self: &Rc<Self>, item: Item) {
        if let What::Fault(fault) = item.what {
            return self.break_something(item.at_ms, fault).await;
        }
        let is_admin = matches!(
            item.what,
            What::Register { .. }
                | What::Unregister { .. }
                | What::Drain { .. }
                | What::Hold { .. }
                | What::Limit(_)
        );
        let busy = match is_admin {
            true => &self.users.admins_busy,
            false => &self.users.busy,
        };
        busy.set(busy.get() + 1);
        match item.what {
            What::Submit(task) => self.submit(&task).await,
            What::Cancel { task } => self.cancel(task).await,
            What::Change { task, timeout_s } => self.change(task, timeout_s).await,
            What::SubmitMany { tasks, hold } => self.submit_many(&tasks, hold).await,
            What::Hold { task, hold } => self.hold(task, hold).await,
            What::Prioritise { task, priority } => self.prioritise(task, priority).await,
            What::Limit(plan) => self.limit(&plan).await,
            What::Place { task, worker } => self.place(task, worker).await,
            What::Register { worker } => self.register(worker).await,
            What::Unregister { worker } => self.unregister(worker).await,
            What::Drain { worker, draining } => self.drain(worker, draining).await,
            What::ShutDown {
                worker,
                stop_tasks,
                for_ms,
            } => {
                let until_ms = item.at_ms + for_ms;
                self.shut_down(worker, stop_tasks, until_ms).await;
            }
            What::Mend => self.mend().await,
            What::Fault(_) => {}
        }
        busy.set(busy.get() - 1);
    }

    async fn shut_down(self: &Rc<Self>, worker: usize, stop_tasks: bool, until_ms: u64) {
        let node = &self.workers[worker];
        self.note("admin", || {
            format!("shuts {} down, stopping: {stop_tasks}", node.id)
        });
        if stop_tasks {
            self.see(&Seen::ShutDown { worker });
        }
        self.shut_down_worker(worker, stop_tasks).await;
        node.held_down.set(node.held_down.get() + 1);
        self.sim
            .sleep_until(until_ms.min(self.plan.horizon_ms))
            .await;
        node.held_down.set(node.held_down.get() - 1);
        self.start_worker(worker);
    }

    async fn break_something(self: &Rc<Self>, at_ms: u64, fault: Fault) {
        let until_ms = (at_ms + fault.for_ms).min(self.plan.horizon_ms);
        let begun = |kind| {
            let mut begun = self.faults_begun.borrow_mut();
            *begun.entry(kind).or_default() += 1;
        };
        begun(fault.kind);
        let whom = fault.worker.map_or("master".to_owned(), Plan::worker_name);
        let (kind, strength) = (fault.kind, fault.strength);
        self.note("fault", || format!("{kind} of {strength} at {whom} begins"));
        let number = self.conditions.begin(fault);
        self.fault_begins(fault);
        self.sim.sleep_until(until_ms).await;
        self.conditions.end(number);
        self.note("fault", || format!("{kind} at {whom} is over"));
        self.fault_ends(fault);
    }

    /// What a fault does at its beginning, besides being there.
    fn fault_begins(self: &Rc<Self>, fault: Fault) {
        let Some(worker) = fault.worker else {
            return self.begins_at_master(fault);
        };
        let node = &self.workers[worker];
        match fault.kind {
            FaultKind::WorkerCrash => {
                if node.life.is_running() {
                    self.bites(fault.kind);
                }
                node.held_down.set(node.held_down.get() + 1);
                self.kill_worker(worker, "it was killed");
            }
            FaultKind::MachineCrash => {
                if node.engine.life.is_running() {
                    self.bites(fault.kind);
                }
                self.machine_goes_down(worker);
                let chance = self.chance.of("unlinked").nth(self.sim.now_ms());
                node.spool
                    .lose_unflushed(|attempt| chance.of(&attempt.to_string()).percent(50));
            }
            FaultKind::DiskLoss => {
                self.bites(fault.kind);
                let whole_disk = fault.strength > 0;
                if whole_disk {
                    self.machine_goes_down(worker);
                    self.lose_containers(worker);
                } else {
                    node.held_down.set(node.held_down.get() + 1);
                    self.kill_worker(worker, "its folder was deleted");
                }
                node.spool.lose_all();
                node.disk.set(node.disk.get() + 1);
                self.see(&Seen::DiskLost { worker });
            }
            FaultKind::Pause => {
                if let Some(process) = node.life.process() {
                    self.bites(fault.kind);
                    self.sim.pause(&process);
                    // Each pull is a process of its own.
                    node.pulls().iter().for_each(|pull| self.sim.pause(pull));
                }
            }
            FaultKind::EngineStop => {
                if node.engine.life.is_running() {
                    self.bites(fault.kind);
                }
                self.end_containers(worker);
            }
            FaultKind::ContainersLost => {
                if !node.engine.containers().is_empty() {
                    self.bites(fault.kind);
                }
                self.see(&Seen::ContainersLost { worker });
                self.lose_containers(worker);
            }
            FaultKind::Smaller => {
                if node.life.is_running() {
                    self.bites(fault.kind);
                }
                self.kill_worker(worker, "it is started anew with less");
                self.start_worker(worker);
            }
            _ => {}
        }
    }

    fn begins_at_master(self: &Rc<Self>, fault: Fault) {
        match fault.kind {
            FaultKind::MasterCrash => {
                if self.master.life.is_running() {
                    self.bites(fault.kind);
                }
                self.master_held_down.set(self.master_held_down.get() + 1);
                self.kill_master("it was killed");
            }
            FaultKind::Pause => {
                if let Some(process) = self.master.life.process() {
                    self.bites(fault.kind);
                    self.sim.pause(&process);
                    self.see(&Seen::MasterStandsStill);
                }
            }
            _ => {}
        }
    }

    fn machine_goes_down(self: &Rc<Self>, worker: usize) {
        let node = &self.workers[worker];
        node.machine_down.set(node.machine_down.get() + 1);
        self.kill_worker(worker, "its machine went down");
        self.end_containers(worker);
        node.engine.life.end(&self.sim);
    }

    /// What a fault does at its end.
    fn fault_ends(self: &Rc<Self>, fault: Fault) {
        let Some(worker) = fault.worker else {
            match fault.kind {
                FaultKind::MasterCrash => {
                    self.master_held_down.set(self.master_held_down.get() - 1);
                    if self.master_may_run() {
                        self.start_master();
                    }
                }
                FaultKind::Pause if !self.conditions.is(FaultKind::Pause, None) => {
                    if let Some(process) = self.master.life.process() {
                        self.see(&Seen::MasterGoesOn);
                        self.sim.resume(&process);
                    }
                }
                _ => {}
            }
            return;
        };
        let node = &self.workers[worker];
        let less = |count: &std::cell::Cell<u32>| count.set(count.get() - 1);
        match fault.kind {
            FaultKind::WorkerCrash => less(&node.held_down),
            FaultKind::MachineCrash => less(&node.machine_down),
            FaultKind::DiskLoss if fault.strength > 0 => less(&node.machine_down),
            FaultKind::DiskLoss => less(&node.held_down),
            FaultKind::Pause if !self.conditions.is(FaultKind::Pause, Some(worker)) => {
                if let Some(process) = node.life.process() {
                    node.pulls().iter().for_each(|pull| self.sim.resume(pull));
                    self.sim.resume(&process);
                }
                return;
            }
            FaultKind::Smaller => self.kill_worker(worker, "it is started anew with all"),
            _ => return,
        }
        self.start_worker(worker);
    }
}
