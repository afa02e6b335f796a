//! What is promised and what workers said, compared on request, and put right on request.

use std::{collections::BTreeSet, sync::Arc};

use cloudai_model::{AttemptId, WorkerId};

use crate::{
    answer::Answer,
    core::{Core, Step},
    effect::Effect,
    input::Call,
    inspect::{Deed, Difference, InspectedWorker, Inspection, Mended, Promise},
    registry::Worker,
};

/// Of what one worker holds and nobody wants, so many are told, and stopped, at once.
const MOST_UNWANTED: usize = 1000;

impl Core {
    pub(crate) fn inspect(&self, step: &mut Step<'_>, call: Call) {
        let workers = self.registry.snapshot();
        let live = self.live_on_workers();
        let inspection = Inspection {
            at: step.now.mono,
            workers: workers
                .into_values()
                .map(|worker| self.inspect_worker(worker, &live))
                .collect(),
            stop_orders: self.stop_orders.all().cloned().collect(),
            waiting: self.queue.len(),
            live: self.tasks.len(),
        };
        step.answer(call, Answer::Inspected(Ok(inspection)));
    }

    fn inspect_worker(
        &self,
        worker: Arc<Worker>,
        live: &BTreeSet<(WorkerId, AttemptId)>,
    ) -> InspectedWorker {
        let of_this = worker.attempts.iter();
        let promises = of_this.filter_map(|attempt| {
            let reservation = self.registry.reservation(attempt)?;
            let reported = worker.reported.as_ref();
            Some(Promise {
                attempt: attempt.clone(),
                state: self.live_attempt(attempt).map(|entry| entry.state),
                grant: reservation.grant.clone(),
                said: reported.and_then(|reported| reported.phase_of(attempt)),
            })
        });
        InspectedWorker {
            promises: promises.collect(),
            differences: self.differences(&worker, live),
            worker,
        }
    }

    /// Every live attempt that a worker was given.
    fn live_on_workers(&self) -> BTreeSet<(WorkerId, AttemptId)> {
        let given = self.tasks.iter().filter_map(|(id, task)| {
            let worker = task.given()?.worker.clone();
            Some((worker, AttemptId::new(id.clone(), task.attempt)))
        });
        given.collect()
    }

    fn differences(
        &self,
        worker: &Worker,
        live: &BTreeSet<(WorkerId, AttemptId)>,
    ) -> Vec<Difference> {
        let mut differences = Vec::new();
        let sum = self.registry.promised(&worker.attempts);
        if !sum.equals(&worker.allocated) {
            differences.push(Difference::Miscounted {
                counted: worker.allocated.clone(),
                sum,
            });
        }
        for attempt in &worker.attempts {
            if !live.contains(&(worker.id.clone(), attempt.clone())) {
                differences.push(Difference::Orphaned(attempt.clone()));
            }
        }
        let of_this = live.iter().filter(|(id, _)| *id == worker.id);
        for (_, attempt) in of_this {
            if !worker.attempts.contains(attempt) {
                differences.push(Difference::Unreserved(attempt.clone()));
            }
        }
        // What a worker said before it fell silent says nothing of now.
        let Some(reported) = worker.reported.as_ref().filter(|_| worker.active) else {
            return differences;
        };
        let missing = worker
            .attempts
            .iter()
            .filter(|attempt| reported.phase_of(attempt).is_none());
        differences.extend(missing.cloned().map(Difference::Missing));
        let unwanted = reported
            .held
            .iter()
            .filter(|held| !self.is_wanted(&worker.id, held))
            .take(MOST_UNWANTED)
            .map(|held| Difference::Unwanted(held.attempt.clone(), held.phase));
        differences.extend(unwanted);
        differences
    }

    pub(crate) fn mend(&mut self, step: &mut Step<'_>, call: Call) {
        let workers = self.registry.snapshot();
        let live = self.live_on_workers();
        let mut mended = Vec::new();
        for worker in workers.values() {
            for difference in self.differences(worker, &live) {
                let deed = self.mend_one(step, worker, &difference);
                mended.push(Mended {
                    worker: worker.id.clone(),
                    difference,
                    deed,
                });
            }
        }
        self.blocked.clear();
        step.answer(call, Answer::Mended(Ok(mended)));
    }

    /// What can be done about it now; `None` where only time tells.
    fn mend_one(
        &mut self,
        step: &mut Step<'_>,
        worker: &Worker,
        difference: &Difference,
    ) -> Option<Deed> {
        match difference {
            Difference::Missing(attempt) => {
                let reported = worker.reported.as_ref()?;
                // An old node may only be slow to name it.
                reported.last_sequence?;
                let before = step.out.len();
                self.missing_on_worker(step, &worker.id, attempt, reported, None);
                let sent = |effect: &Effect| matches!(effect, Effect::Assign(_));
                let stopped = |effect: &Effect| matches!(effect, Effect::Stop(_));
                let done = &step.out[before..];
                if self.live_attempt(attempt).is_none() {
                    Some(Deed::CountedAsLost)
                } else if done.iter().any(sent) {
                    Some(Deed::SentAgain)
                } else {
                    done.iter().any(stopped).then_some(Deed::StopAsked)
                }
            }
            Difference::Unwanted(attempt, _) => {
                let reason = "the master does not want it any more";
                step.out
                    .push(Self::stop_request(worker, attempt.clone(), reason));
                Some(Deed::StopAsked)
            }
            Difference::Orphaned(attempt) => {
                self.registry.release(attempt).ok()?;
                Some(Deed::Released)
            }
            Difference::Unreserved(attempt) => {
                let grant = self.live_attempt(attempt)?.grant.clone();
                let user = &self.tasks.get(&attempt.task)?.line.user;
                let reserved = self
                    .registry
                    .restore(attempt, user, &worker.id, grant, None);
                reserved.ok().map(|()| Deed::Reserved)
            }
            Difference::Miscounted { .. } => {
                self.registry.recount(&worker.id);
                Some(Deed::Recounted)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use cloudai_model::{Capacity, ClusterId, Grant, Mono, Now, TaskDraft, Wall, resources::GB};

    use super::*;
    use crate::{Hello, Input, Settings, policy::RoundRobin};

    const NOW: Now = Now {
        mono: Mono(1000),
        wall: Wall(1_700_000_000_000),
    };

    /// A core whose books are cooked: no input does that, so it is done by hand.
    fn cooked() -> (Core, WorkerId) {
        let cluster: ClusterId = "c-1".parse().unwrap();
        let mut core = Core::new(Settings::default(), Box::new(RoundRobin), cluster);
        let worker: WorkerId = "a".parse().unwrap();
        let draft = TaskDraft {
            docker_image: "busybox".into(),
            ..TaskDraft::default()
        };
        let spec = Arc::new(draft.check().expect("nothing is wrong with it").1);
        for input in [
            Input::Restored {
                highest_task_number: None,
                highest_order: 0,
            },
            Input::AddWorker {
                call: Call(1),
                worker: worker.clone(),
                address: "localhost".parse().unwrap(),
                registration: 1,
            },
            Input::Hello {
                call: Call(2),
                hello: Hello {
                    worker: worker.clone(),
                    shown_ip: String::new(),
                    capacity: Capacity {
                        cpu_milli: 8000,
                        memory_bytes: 8 * GB,
                        storage_bytes: 8 * GB,
                        gpus: 0,
                    },
                    version: Some("1".into()),
                    labels: std::collections::BTreeMap::new(),
                    home: None,
                    incarnation: None,
                },
            },
            Input::Submit {
                call: Call(3),
                task: None,
                spec,
            },
        ] {
            core.step(NOW, input, &mut Vec::new());
        }
        let live = core
            .registry
            .get(&worker)
            .unwrap()
            .attempts
            .first()
            .unwrap()
            .clone();
        core.registry.release(&live).unwrap();
        let orphan = AttemptId::new(live.task.clone(), 77);
        let grant = Grant {
            cpu_milli: 1000,
            ..Grant::default()
        };
        core.registry
            .reserve(
                &orphan,
                &"ann".parse().unwrap(),
                &worker,
                grant,
                Mono(9_000),
            )
            .unwrap();
        let miscount = |worker: &mut Worker| worker.allocated.cpu_milli += 5;
        core.registry.update(&worker, miscount).unwrap();
        (core, worker)
    }

    #[test]
    fn whatever_is_wrong_in_the_books_is_put_right_at_once() {
        let (mut core, worker) = cooked();

        let mut effects = Vec::new();
        core.step(NOW, Input::Mend { call: Call(9) }, &mut effects);

        let mended = effects.iter().find_map(|effect| match effect {
            Effect::Answer(_, Answer::Mended(Ok(mended))) => Some(mended),
            _ => None,
        });
        let deeds: Vec<_> = mended.unwrap().iter().map(|mended| mended.deed).collect();
        assert_eq!(
            deeds,
            [Deed::Recounted, Deed::Released, Deed::Reserved].map(Some)
        );
        let live = core.live_on_workers();
        let entry = core.registry.get(&worker).unwrap();
        assert_eq!(core.differences(entry, &live), []);
        assert_eq!(entry.allocated.cpu_milli, 1000);
    }
}
