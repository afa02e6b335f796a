//! A start: stored records become the state that they were written from.

use cloudai_model::{
    AttemptId, TaskStatus,
    record::{AssignmentRecord, ClusterRecord, Record, TaskRecord},
};

use crate::{
    class::TaskClass,
    core::{Core, Invite, Step},
    effect::Effect,
    lifecycle::AttemptState,
    task::{Attempt, Overdue, Pause, Place, StopCause, Task},
    verdict::Ending,
};

impl Core {
    pub(crate) fn restore(&mut self, step: &mut Step<'_>, record: Record) {
        match record {
            Record::Cluster(ClusterRecord { cluster, epoch }) => {
                self.cluster = cluster;
                self.epoch = epoch;
            }
            Record::Worker(record) => {
                let added = self.registry.add(record).map(|_| ());
                debug_assert!(added.is_ok(), "a store holds each worker once");
            }
            Record::TaskAdded(record) => self.restore_task(step, &record),
            Record::Assignment(record) => self.restore_attempt(step, record),
            Record::StopOrder(order) => {
                self.stop_orders.add(order);
            }
            // Who may come in is asked before anything gets here.
            Record::Account(_) => {}
            Record::WorkerRemoved(_)
            | Record::TaskChanged(..)
            | Record::SpecChanged(..)
            | Record::Result(_)
            | Record::Files(_)
            | Record::StopOrderDone(_)
            | Record::Removed(_)
            | Record::TaskForgotten(_)
            | Record::Forgotten(_) => {
                debug_assert!(false, "a start reads what is, not what changed");
            }
        }
    }

    fn restore_task(&mut self, step: &Step<'_>, record: &TaskRecord) {
        if record.state.status.is_final() {
            debug_assert!(false, "a start reads live tasks only");
            return;
        }
        let (user, class) = (&record.spec.user, TaskClass::of(&record.spec));
        let line = self.queue.line(user, class);
        let mut task = Task::from_record(record, line.clone());
        match record.pause_left(step.now.wall) {
            Some(left) => {
                // However the clock was set meanwhile.
                let left = left.min(self.settings.longest_back_off * 6 / 5);
                let pause = Pause {
                    until: step.now.mono.after(left),
                    until_wall: step.now.wall.after(left),
                };
                task.place = Place::BackingOff(pause);
                self.queue.back_off(&line, pause.until, record.task.clone());
            }
            None if task.status == TaskStatus::Queued => {
                task.stand_in(&mut self.queue, &record.task);
            }
            None => {}
        }
        self.tasks.insert(record.task.clone(), task);
        self.arm_queue_time_out(step.now, &record.task);
    }

    fn restore_attempt(&mut self, step: &Step<'_>, record: AssignmentRecord) {
        let id = record.attempt;
        let Some(task) = self.tasks.get_mut(&id.task) else {
            return;
        };
        if task.attempt != id.number || record.ended.is_some() {
            return;
        }
        let overdue = task.stopping_for.take();
        let overdue = overdue.and_then(|what| {
            let limit = task.limits.of(what)?;
            let took = limit;
            Some(StopCause::TimedOut(Overdue { what, limit, took }))
        });
        let stop = match task.cancel_requested {
            true => Some(StopCause::User),
            false => overdue,
        };
        let running = task.status == TaskStatus::Running;
        let state = match (stop.is_some(), running) {
            (true, _) => AttemptState::Stopping,
            (false, true) => AttemptState::Running,
            // Whether it was sent, the worker's first heartbeat tells.
            (false, false) => AttemptState::Sent,
        };
        let deadline =
            (state == AttemptState::Sent).then(|| step.now.mono.after(self.settings.accept_within));
        task.place = Place::Given(Box::new(Attempt {
            worker: record.worker.clone(),
            state,
            sequence: record.sequence,
            grant: record.grant.clone(),
            assigned_at: record.assigned_at,
            may_pull_since: Some(record.assigned_at),
            taken_at: (state > AttemptState::Sent).then_some(step.now.mono),
            in_flight: false,
            stop,
            missed_heartbeats: 0,
        }));
        let user = task.line.user.clone();
        self.arm_run_time_out(step.now, &id.task);
        // An unknown worker is found, and the attempt ended, when all has been read.
        let _ = self
            .registry
            .restore(&id, &user, &record.worker, record.grant, deadline);
    }

    pub(crate) fn restored(
        &mut self,
        step: &mut Step<'_>,
        highest_task_number: Option<u64>,
        highest_order: u64,
    ) {
        let now = step.now.mono;
        self.ready = true;
        self.last_task_number = highest_task_number.unwrap_or(0);
        self.last_order = highest_order;
        self.last_tick = now;
        self.forgive(now);
        self.epoch += 1;
        step.out.push(Effect::Write(Record::Cluster(ClusterRecord {
            cluster: self.cluster.clone(),
            epoch: self.epoch,
        })));
        let workers = self.registry.iter().map(|worker| worker.id.clone());
        self.invites = workers
            .map(|id| (id, Invite { due: now, times: 0 }))
            .collect();
        self.send_invites(step);

        let without_worker: Vec<_> = self
            .tasks
            .iter()
            .filter(|(_, task)| task.status != TaskStatus::Queued)
            .map(|(id, task)| AttemptId::new(id.clone(), task.attempt))
            .filter(|attempt| self.registry.reservation(attempt).is_none())
            .collect();
        for attempt in without_worker {
            let reason = "its worker is not registered any more".to_owned();
            self.end_attempt(step, &attempt, Ending::Withdrawn(reason));
        }
        // Before any worker can report that it stopped them for this very reason.
        self.stop_overdue(step);
    }
}
