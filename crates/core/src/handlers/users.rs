//! What users and agents ask: submit, cancel, place.

use std::sync::Arc;

use cloudai_model::{
    AttemptId, TaskId, TaskSpec, TaskStatus, Wall, WorkerId,
    record::{Record, TaskRecord, TaskState},
};

use crate::{
    answer::{Answer, CancelError, CancelOutcome, PlaceError, SubmitError, Submitted},
    class::TaskClass,
    core::{Core, Step},
    effect::Effect,
    input::Call,
    lifecycle::{AttemptState, TaskEvent},
    policy::Placement,
    registry::{ReserveError, UnknownWorker},
    task::{Place, StopCause, Task},
    verdict::TaskEnd,
};

impl Core {
    pub(crate) fn submit(
        &mut self,
        step: &mut Step<'_>,
        call: Call,
        wanted: Option<TaskId>,
        spec: &Arc<TaskSpec>,
    ) {
        match self.admit(step, wanted, spec) {
            Ok(id) => self.take_in(step, call, id, spec, step.now.wall),
            Err(error) => step.answer(call, Answer::Submitted(Err(error))),
        }
    }

    /// Takes in what was accepted before the store had been read. It can't be refused any more: not
    /// for a full queue, nor for a worker that turns out not to be registered.
    pub(crate) fn accepted(
        &mut self,
        step: &mut Step<'_>,
        call: Call,
        id: TaskId,
        spec: &Arc<TaskSpec>,
        submitted_at: Wall,
    ) {
        if self.tasks.contains_key(&id) || self.ended.has(&id) {
            let taken = SubmitError::IdTaken(id);
            return step.answer(call, Answer::Submitted(Err(taken)));
        }
        // The clock may have stepped back since.
        self.last_task_number = self.last_task_number.max(id.number().unwrap_or(0));
        self.take_in(step, call, id, spec, submitted_at);
    }

    fn take_in(
        &mut self,
        step: &mut Step<'_>,
        call: Call,
        id: TaskId,
        spec: &Arc<TaskSpec>,
        submitted_at: Wall,
    ) {
        self.last_order += 1;
        let mut record = TaskRecord {
            task: id.clone(),
            order: self.last_order,
            spec: TaskSpec::clone(spec),
            submitted_at,
            state: TaskState::queued(""),
        };
        let class = self.queue.intern(TaskClass::of(spec));
        let task = Task::from_record(&record, class.clone());
        let position = self.queue.ahead_of_new(task.priority) + 1;
        self.queue.insert(&class, task.rank(), id.clone());
        self.tasks.insert(id.clone(), task);
        self.arm_queue_time_out(step.now, &id);

        // What the pass writes of the new task goes into its first record.
        let mut passed = Vec::new();
        self.pass(&mut Step {
            now: step.now,
            out: &mut passed,
        });
        let waits = self
            .tasks
            .get(&id)
            .is_some_and(|task| task.given().is_none());
        let waiting = waits.then(|| self.explanation_of(step, &class));
        let reason = waiting
            .as_ref()
            .map_or("", |explanation| explanation.summary.as_str());
        record.state = self
            .tasks
            .get(&id)
            .map_or(record.state, |task| task.state(reason));
        let answer = Submitted {
            task: id.clone(),
            status: record.state.status,
            worker: record.state.worker.clone(),
            position: if waiting.is_some() { position } else { 0 },
            waiting,
        };
        let placed = record.state.status != TaskStatus::Queued;
        step.out
            .push(Effect::Write(Record::TaskAdded(Box::new(record))));
        let is_own_change = |effect: &Effect| matches!(effect, Effect::Write(Record::TaskChanged(task, _)) if *task == id);
        step.out
            .extend(passed.into_iter().filter(|effect| !is_own_change(effect)));
        if !placed {
            let summary = answer
                .waiting
                .as_ref()
                .map_or("", |why| why.summary.as_str());
            self.publish_task(step, &id, summary);
        }
        step.answer(call, Answer::Submitted(Ok(answer)));
    }

    /// Whether a task may come in, and under which id.
    fn admit(
        &mut self,
        step: &Step<'_>,
        wanted: Option<TaskId>,
        spec: &TaskSpec,
    ) -> Result<TaskId, SubmitError> {
        if let Some(why) = &self.held_up {
            return Err(SubmitError::HeldUp(why.to_string()));
        }
        if self.queue.len() >= self.settings.queue_limit {
            return Err(SubmitError::QueueFull(self.queue.len()));
        }
        if let Some(target) = &spec.target
            && self.registry.get(target).is_none()
        {
            return Err(SubmitError::UnknownTarget(UnknownWorker(target.clone())));
        }
        let clock = u64::try_from(step.now.wall.0)
            .unwrap_or(0)
            .saturating_mul(1000);
        let Some(id) = wanted else {
            // Microseconds since 1970, but always above the last: the clock may step back.
            self.last_task_number = self.last_task_number.saturating_add(1).max(clock);
            return Ok(TaskId::numbered(self.last_task_number));
        };
        if self.tasks.contains_key(&id) || self.ended.has(&id) {
            return Err(SubmitError::IdTaken(id));
        }
        if let Some(number) = id.number() {
            // One far ahead would push every later id ahead of the clock.
            if number > clock.max(self.last_task_number) {
                return Err(SubmitError::IdAhead(id));
            }
            self.last_task_number = self.last_task_number.max(number);
        }
        Ok(id)
    }

    pub(crate) fn cancel(&mut self, step: &mut Step<'_>, call: Call, id: &TaskId) {
        let outcome = self.cancel_outcome(step, id);
        step.answer(call, Answer::Cancelled(outcome));
    }

    fn cancel_outcome(
        &mut self,
        step: &mut Step<'_>,
        id: &TaskId,
    ) -> Result<CancelOutcome, CancelError> {
        let task = self
            .tasks
            .get_mut(id)
            .ok_or_else(|| CancelError::NotLive(id.clone()))?;
        if let Some(attempt) = task.given_mut() {
            if attempt.state == AttemptState::Uploading {
                // If it has not ended by itself after all, or failed, it is not run again.
                attempt.stop = Some(StopCause::User);
                task.cancel_requested = true;
                let state = task.state("");
                let record = Record::TaskChanged(id.clone(), state);
                step.out.push(Effect::Write(record));
                return Ok(CancelOutcome::AlreadyEnded);
            }
            let worker = attempt.worker.clone();
            task.cancel_requested = true;
            self.ask_stop(step, id, StopCause::User);
            return Ok(CancelOutcome::Stopping(worker));
        }
        task.cancel_requested = true;
        self.leave_queue(id);
        let end = TaskEnd::new(TaskEvent::Cancel, "cancelled before it was started");
        self.finalise(step, id, end, None);
        Ok(CancelOutcome::Cancelled)
    }

    /// Takes a task that waits out of the queue, ready or not.
    pub(crate) fn leave_queue(&mut self, id: &TaskId) {
        let Some(task) = self.tasks.get(id) else {
            return;
        };
        match &task.place {
            Place::Ready => {
                self.queue.remove(&task.class, task.rank());
            }
            Place::BackingOff(pause) => {
                self.queue.remove_backing_off(pause.until, id);
            }
            Place::Given(_) => {}
        }
    }

    pub(crate) fn place(
        &mut self,
        step: &mut Step<'_>,
        call: Call,
        task: &TaskId,
        worker: &WorkerId,
    ) {
        let placed = self.place_now(step, task, worker);
        step.answer(call, Answer::Placed(placed));
    }

    fn place_now(
        &mut self,
        step: &mut Step<'_>,
        id: &TaskId,
        worker: &WorkerId,
    ) -> Result<AttemptId, PlaceError> {
        if let Some(why) = &self.held_up {
            return Err(PlaceError::HeldUp(why.to_string()));
        }
        let waiting = self
            .tasks
            .get(id)
            .filter(|task| matches!(task.place, Place::Ready));
        let task = waiting.ok_or_else(|| PlaceError::NotWaiting(id.clone()))?;
        let entry = self
            .registry
            .get(worker)
            .ok_or_else(|| UnknownWorker(worker.clone()))?;
        let does_not_fit = |obstacle| PlaceError::DoesNotFit(id.clone(), worker.clone(), obstacle);
        let grant = task.class.fit(entry, step.now.mono).map_err(does_not_fit)?;
        let placement = Placement {
            worker: worker.clone(),
            grant,
        };
        self.assign(step, id, placement)
            .map_err(|error| match error {
                ReserveError::UnknownWorker(error) => error.into(),
                ReserveError::Short(_, obstacle) => does_not_fit(obstacle),
                // `fit` just named free devices for an attempt that is new.
                ReserveError::AlreadyReserved(_) | ReserveError::Devices(..) => {
                    PlaceError::NotWaiting(id.clone())
                }
            })
    }
}
