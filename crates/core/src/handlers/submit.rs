//! Tasks come in: one by one, several at once, or accepted before the store had been read.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use cloudai_model::{
    TaskId, TaskSpec, TaskStatus, UserName, Wall,
    record::{Record, TaskRecord},
};

use crate::{
    answer::{Answer, BatchRefused, SubmitError, SubmitManyError, Submitted, Taken},
    class::TaskClass,
    core::{Core, Step},
    effect::Effect,
    explain::Explanation,
    input::Call,
    queue::Line,
    registry::UnknownWorker,
    task::{Place, Task},
};

/// Of so many lines of a submit it is told what each worker says. Each costs a look at all workers.
const MOST_EXPLAINED: usize = 100;

/// Why new tasks wait: all of a line for the same.
#[derive(Default)]
struct Reasons {
    of_lines: BTreeMap<Arc<Line>, String>,
    /// Of the last one asked for, if nobody had asked for its line before.
    last: Option<Explanation>,
}

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
    /// for a full queue or a limit, nor for a worker that turns out not to be registered.
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

    /// Takes several tasks in, or none of them. All records are of this one step, and so of one commit.
    pub(crate) fn submit_many(
        &mut self,
        step: &mut Step<'_>,
        call: Call,
        specs: Vec<Arc<TaskSpec>>,
    ) {
        let taken = self.admit_many(&specs).map(|()| {
            let ids: Vec<_> = specs.iter().map(|_| self.fresh_id(step)).collect();
            let tasks: Vec<_> = ids.into_iter().zip(specs).collect();
            self.take_all_in(step, &tasks, step.now.wall).0
        });
        step.answer(call, Answer::SubmittedMany(taken));
    }

    fn take_in(
        &mut self,
        step: &mut Step<'_>,
        call: Call,
        id: TaskId,
        spec: &Arc<TaskSpec>,
        submitted_at: Wall,
    ) {
        let ahead = self.queue.ahead_of_new(spec.priority);
        let tasks = [(id.clone(), spec.clone())];
        let (mut taken, why) = self.take_all_in(step, &tasks, submitted_at);
        let Some(Taken { status, worker, .. }) = taken.pop() else {
            debug_assert!(false, "what goes in comes out");
            return;
        };
        let position = match (&why, spec.hold) {
            (None, _) => 0,
            (Some(_), false) => ahead + 1,
            (Some(_), true) => self.position_on_hold(&id),
        };
        let submitted = Submitted {
            task: id,
            status,
            worker,
            position,
            waiting: why,
        };
        step.answer(call, Answer::Submitted(Ok(submitted)));
    }

    /// Takes in what nothing stands against, with one pass for all of it. Answers what became of each,
    /// and, if it is one, why it waits.
    fn take_all_in(
        &mut self,
        step: &mut Step<'_>,
        tasks: &[(TaskId, Arc<TaskSpec>)],
        submitted_at: Wall,
    ) -> (Vec<Taken>, Option<Explanation>) {
        for (id, spec) in tasks {
            self.last_order += 1;
            let line = self.queue.line(&spec.user, TaskClass::of(spec));
            let mut task = Task::new(spec, self.last_order, submitted_at, line);
            task.hold &= !self.sabotage.no_hold;
            task.stand_in(&mut self.queue, id);
            self.tasks.insert(id.clone(), task);
            self.arm_queue_time_out(step.now, id);
        }

        // What the pass writes of the new tasks goes into their first records.
        let mut passed = Vec::new();
        self.pass(&mut Step {
            now: step.now,
            out: &mut passed,
        });
        let mut why = Reasons::default();
        let mut taken = Vec::with_capacity(tasks.len());
        for (id, spec) in tasks {
            let reason = self.why_new_waits(step, id, &mut why);
            let Some(task) = self.tasks.get(id) else {
                debug_assert!(false, "no pass ends a task");
                continue;
            };
            let (order, state) = (task.order, task.state(reason.as_str()));
            taken.push(Taken {
                task: id.clone(),
                status: state.status,
                worker: state.worker.clone(),
                reason,
            });
            let record = TaskRecord {
                task: id.clone(),
                order,
                spec: TaskSpec::clone(spec),
                submitted_at,
                state,
            };
            step.out
                .push(Effect::Write(Record::TaskAdded(Box::new(record))));
        }
        let new: BTreeSet<_> = tasks.iter().map(|(id, _)| id).collect();
        let is_of_new = |effect: &Effect| matches!(effect, Effect::Write(Record::TaskChanged(task, _)) if new.contains(task));
        step.out
            .extend(passed.into_iter().filter(|effect| !is_of_new(effect)));
        for task in &taken {
            if task.status == TaskStatus::Queued {
                self.publish_task(step, &task.task, &task.reason);
            }
        }
        (taken, why.last)
    }

    /// Why a task waits that has just come in; empty: it doesn't.
    fn why_new_waits(&mut self, step: &Step<'_>, id: &TaskId, known: &mut Reasons) -> String {
        known.last = None;
        let Some(task) = self.tasks.get(id) else {
            return String::new();
        };
        let why = match task.place {
            Place::Given(_) => return String::new(),
            Place::OnHold => Explanation::on_hold(),
            Place::Ready | Place::BackingOff(_) => {
                let line = task.line.clone();
                if let Some(summary) = known.of_lines.get(&line) {
                    return summary.clone();
                }
                if known.of_lines.len() >= MOST_EXPLAINED {
                    return self.in_short(&line);
                }
                let why = self.explanation_of(step, &line);
                known.of_lines.insert(line, why.summary.clone());
                why
            }
        };
        known.last.insert(why).summary.clone()
    }

    /// Why the tasks of a line wait, without a look at workers.
    fn in_short(&self, line: &Line) -> String {
        let admitted = self
            .registry
            .users()
            .admit(&line.user, &line.class.resources);
        match admitted {
            Err(limit) => limit.to_string(),
            Ok(()) if self.blocked.contains(&line.class) => "no worker has room for it".to_owned(),
            Ok(()) => "it has not been its turn yet".to_owned(),
        }
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
        self.admit_spec(spec, 0)?;
        let Some(id) = wanted else {
            return Ok(self.fresh_id(step));
        };
        if self.tasks.contains_key(&id) || self.ended.has(&id) {
            return Err(SubmitError::IdTaken(id));
        }
        if let Some(number) = id.number() {
            // One far ahead would push every later id ahead of the clock.
            if number > micros(step).max(self.last_task_number) {
                return Err(SubmitError::IdAhead(id));
            }
            self.last_task_number = self.last_task_number.max(number);
        }
        Ok(id)
    }

    /// Whether all of several tasks may come in.
    fn admit_many(&self, specs: &[Arc<TaskSpec>]) -> Result<(), SubmitManyError> {
        if let Some(why) = &self.held_up {
            return Err(SubmitManyError::HeldUp(why.to_string()));
        }
        let room = self.settings.queue_limit.saturating_sub(self.queue.len());
        if specs.len() > room {
            let tasks = specs.len();
            return Err(SubmitManyError::QueueFull { room, tasks });
        }
        let mut of_user: BTreeMap<&UserName, usize> = BTreeMap::new();
        let mut refused = Vec::new();
        for (index, spec) in specs.iter().enumerate() {
            let before = of_user.entry(&spec.user).or_default();
            if let Err(error) = self.admit_spec(spec, *before) {
                refused.push(BatchRefused { index, error });
            }
            *before += 1;
        }
        match refused.is_empty() {
            true => Ok(()),
            false => Err(SubmitManyError::Refused(refused)),
        }
    }

    /// Whether nothing stands against a task, behind so many others of its user that come in with it.
    fn admit_spec(&self, spec: &TaskSpec, before: usize) -> Result<(), SubmitError> {
        if let Some(target) = &spec.target
            && self.registry.get(target).is_none()
        {
            return Err(SubmitError::UnknownTarget(UnknownWorker(target.clone())));
        }
        let user = &spec.user;
        let users = self.registry.users();
        // That the user has too much just now is no reason: then it waits.
        users
            .could_admit(user, &spec.resources)
            .map_err(SubmitError::BeyondLimit)?;
        let waiting = (self.queue.waiting_of(user) + before) as u64;
        match users.limits(user).queued_tasks {
            Some(limit) if waiting >= limit => Err(SubmitError::UserQueueFull {
                user: user.clone(),
                limit,
            }),
            _ => Ok(()),
        }
    }

    /// Microseconds since 1970, but always above the last: the clock may step back.
    fn fresh_id(&mut self, step: &Step<'_>) -> TaskId {
        self.last_task_number = self.last_task_number.saturating_add(1).max(micros(step));
        TaskId::numbered(self.last_task_number)
    }
}

fn micros(step: &Step<'_>) -> u64 {
    let millis = u64::try_from(step.now.wall.0).unwrap_or(0);
    millis.saturating_mul(1000)
}
