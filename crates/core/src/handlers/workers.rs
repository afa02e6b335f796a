//! Workers come and go: registered, introduced, unregistered.

use cloudai_model::{
    AttemptId, WorkerAddress, WorkerId,
    record::{Record, StopOrder, WorkerRecord},
};

use crate::{
    answer::{AddWorkerError, Answer, DrainError, RemoveWorkerError, Welcome, WorkerCallError},
    core::{Core, Invite, Step},
    effect::{Effect, Event, StopRequest, WorkerChange},
    input::{Call, Hello},
    registry::Worker,
    verdict::Ending,
};

/// A worker that is gone for good is called no more often than this at a time.
const ORDERS_A_ROUND: usize = 64;

impl Core {
    pub(crate) fn add_worker(
        &mut self,
        step: &mut Step<'_>,
        call: Call,
        worker: WorkerId,
        address: WorkerAddress,
        registration: u64,
    ) {
        let record = WorkerRecord {
            worker: worker.clone(),
            address,
            capacity: None,
            version: None,
            labels: std::collections::BTreeMap::new(),
            registration,
            registered_at: step.now.wall,
            last_seen_at: None,
            draining: false,
        };
        let added = self.registry.add(record.clone()).map(|_| ());
        let answer = added.map_err(AddWorkerError::from).map(|()| {
            self.blocked.clear();
            self.invites.insert(
                worker.clone(),
                Invite {
                    due: step.now.mono,
                    times: 0,
                },
            );
            step.out.push(Effect::Write(Record::Worker(record.clone())));
            step.publish(Event::WorkerAdded(worker.clone()));
            record
        });
        step.answer(call, Answer::WorkerAdded(answer));
        self.send_invites(step);
    }

    pub(crate) fn remove_worker(&mut self, step: &mut Step<'_>, call: Call, worker: &WorkerId) {
        let removed = self.take_out(step, worker);
        step.answer(call, Answer::WorkerRemoved(removed));
    }

    fn take_out(
        &mut self,
        step: &mut Step<'_>,
        id: &WorkerId,
    ) -> Result<Vec<AttemptId>, RemoveWorkerError> {
        let worker = self.registry.remove(id)?;
        self.blocked.clear();
        self.invites.remove(id);
        self.aside_timers.clear(id);
        self.suspicion.absolve(id);
        step.out
            .push(Effect::Write(Record::WorkerRemoved(id.clone())));
        step.publish(Event::WorkerRemoved(id.clone()));
        for attempt in &worker.attempts {
            self.order_stop(step, &worker, attempt);
            self.end_attempt(
                step,
                attempt,
                Ending::Withdrawn(format!("worker {id} was unregistered")),
            );
        }
        self.send_stop_orders(step, id);
        Ok(worker.attempts.iter().cloned().collect())
    }

    pub(crate) fn drain(&mut self, step: &mut Step<'_>, call: Call, id: &WorkerId, draining: bool) {
        let drained = self.registry.update(id, |worker| {
            let changed = std::mem::replace(&mut worker.draining, draining) != draining;
            let attempts = worker.attempts.iter().cloned().collect();
            (attempts, changed.then(|| worker.to_record()))
        });
        let answer = drained
            .map_err(DrainError::from)
            .map(|(attempts, changed)| {
                if let Some(record) = changed {
                    self.blocked.clear();
                    step.out.push(Effect::Write(Record::Worker(record)));
                    step.publish(Event::WorkerUpdated {
                        worker: id.clone(),
                        change: WorkerChange::Draining(draining),
                    });
                }
                attempts
            });
        if answer.is_ok() && !draining {
            self.absolve(step, id);
        }
        step.answer(call, Answer::Drained(answer));
    }

    pub(crate) fn hello(&mut self, step: &mut Step<'_>, call: Call, hello: Hello) {
        let now = step.now;
        let id = hello.worker.clone();
        if self.is_duplicate(&id, hello.home.as_deref()) {
            let error = WorkerCallError::Duplicate(id.clone());
            step.publish(Event::WorkerRefused {
                worker: id,
                reason: error.to_string(),
            });
            return step.answer(call, Answer::Welcomed(Err(error)));
        }
        let first_counts = self.sabotage.first_offer_counts;
        let introduced = self.registry.update(&id, |worker| {
            let known = worker.capacity.filter(|_| first_counts);
            worker.capacity = Some(known.unwrap_or(hello.capacity));
            worker.version = hello.version;
            worker.labels = hello.labels;
            worker.home = hello.home;
            if worker.introduced_as != hello.incarnation || worker.introduced_at.is_none() {
                worker.introduced_at = Some(now.mono);
            }
            worker.introduced_as = hello.incarnation;
            worker.introduced = true;
            worker.active = true;
            worker.hold_off = None;
            worker.last_heard = Some(now.mono);
            worker.last_seen_at = Some(now.wall);
            worker.to_record()
        });
        let answer = introduced
            .map_err(|unknown| {
                let error = WorkerCallError::NotAuthorized(unknown.0);
                step.publish(Event::WorkerRefused {
                    worker: id.clone(),
                    reason: error.to_string(),
                });
                error
            })
            .map(|record| {
                self.blocked.clear();
                self.invites.remove(&id);
                step.out.push(Effect::Write(Record::Worker(record)));
                let change = WorkerChange::Introduced {
                    shown_ip: hello.shown_ip,
                    capacity: hello.capacity,
                };
                step.publish(Event::WorkerUpdated {
                    worker: id.clone(),
                    change,
                });
                self.follow_logs(step, &id);
                Welcome {
                    cluster: self.cluster.clone(),
                    heartbeat_interval: self.settings.heartbeat_interval,
                }
            });
        step.answer(call, Answer::Welcomed(answer));
    }

    /// Whether another program works under this id just now.
    pub(crate) fn is_duplicate(&self, id: &WorkerId, home: Option<&str>) -> bool {
        let known = self.registry.get(id);
        known.is_some_and(|worker| !worker.may_be_at(home))
    }

    /// Asks for the logs of everything that a worker holds.
    pub(crate) fn follow_logs(&self, step: &mut Step<'_>, worker: &WorkerId) {
        let attempts = self.registry.get(worker).map(|worker| &worker.attempts);
        for attempt in attempts.into_iter().flatten() {
            let follow = Effect::FollowLog {
                worker: worker.clone(),
                attempt: attempt.clone(),
            };
            step.out.push(follow);
        }
    }

    /// Keeps in mind that a worker may hold an attempt that is not wanted any more.
    pub(crate) fn order_stop(&mut self, step: &mut Step<'_>, worker: &Worker, attempt: &AttemptId) {
        let order = StopOrder {
            attempt: attempt.clone(),
            worker: worker.id.clone(),
            address: worker.address.clone(),
            registration: worker.registration,
        };
        if self.stop_orders.add(order.clone()) {
            step.out.push(Effect::Write(Record::StopOrder(order)));
        }
    }

    /// The attempt is known to be gone from its worker.
    pub(crate) fn end_stop_order(
        &mut self,
        step: &mut Step<'_>,
        worker: &WorkerId,
        attempt: &AttemptId,
    ) {
        if self.stop_orders.end(worker, attempt) {
            step.out
                .push(Effect::Write(Record::StopOrderDone(attempt.clone())));
        }
    }

    /// Calls a worker that is not registered any more about what it is to stop. Of one that is
    /// registered at that address its heartbeats tell what it holds.
    pub(crate) fn send_stop_orders(&self, step: &mut Step<'_>, worker: &WorkerId) {
        let here = |order: &&StopOrder| self.is_at(worker, &order.address);
        let elsewhere = self.stop_orders.of(worker).filter(|order| !here(order));
        for order in elsewhere.take(ORDERS_A_ROUND) {
            step.out.push(Effect::Stop(StopRequest {
                attempt: order.attempt.clone(),
                worker: order.worker.clone(),
                address: order.address.clone(),
                registration: order.registration,
                reason: "its worker was unregistered".to_owned(),
            }));
        }
    }

    /// Whether a worker with this id is registered at this address.
    pub(crate) fn is_at(&self, worker: &WorkerId, address: &WorkerAddress) -> bool {
        let registered = self.registry.get(worker);
        registered.is_some_and(|worker| worker.address == *address)
    }

    pub(crate) fn stop_request(
        worker: &Worker,
        attempt: AttemptId,
        reason: impl Into<String>,
    ) -> Effect {
        Effect::Stop(StopRequest {
            attempt,
            worker: worker.id.clone(),
            address: worker.address.clone(),
            registration: worker.registration,
            reason: reason.into(),
        })
    }
}
