//! Carries out what the core wants: `crates/worker/src/runner.rs`, `report.rs` and `upload.rs`.

use std::rc::Rc;

use cloudai_core::Reported;
use cloudai_model::{AttemptId, ContainerEnd, Phase, Whole};
use cloudai_worker_core::{
    Blame, Delivery, Effect, Failure, Found, Input, Order, Outcome, PulledImage, Report, SealedLog,
    SentFiles, SpoolRecord,
};

use super::{
    WorkerShell, backoff,
    container::{self, Begin, failed},
    sweep,
};
use crate::{
    audit::Seen,
    bugs::Bug,
    engine::State,
    network::CallError,
    plan::FaultKind,
    time::{Process, oneshot},
    wire::{FromMaster, ToMaster},
};

const REPORT_LIMIT_MS: u64 = 60_000;
const UPLOAD_LIMIT_MS: u64 = 120_000;
const PROGRESS_LIMIT_MS: u64 = 10_000;
/// How long something that needs the engine waits for it before it counts as a try in vain.
const READY_LIMIT_MS: u64 = 30_000;

pub(super) fn disk_failure() -> Failure {
    Failure {
        reason: "this worker's disk refuses to be written to".to_owned(),
        blame: Blame::Machine,
    }
}

impl WorkerShell {
    pub(super) fn disk_refuses(&self) -> bool {
        let conditions = &self.world.conditions;
        let refuses = conditions.is(FaultKind::DiskErrors, Some(self.index));
        if refuses {
            self.world.bites(FaultKind::DiskErrors);
        }
        refuses
    }

    pub(super) async fn engine_ready(&self) {
        self.engine.wait_for(|answers| answers.then_some(())).await;
    }

    pub(super) async fn engine_ready_soon(&self) -> Result<(), Failure> {
        let ready = self.world.sim.within(READY_LIMIT_MS, self.engine_ready());
        ready.await.ok_or_else(|| Failure {
            reason: "the Docker Engine of this worker doesn't answer".to_owned(),
            blame: Blame::Machine,
        })
    }

    async fn master_ready(&self) {
        self.master.wait_for(|there| there.then_some(())).await;
    }

    fn follow(self: &Rc<Self>, record: SpoolRecord, begin: Begin) {
        let (sender, stop) = oneshot();
        let attempt = record.attempt().clone();
        self.stops.borrow_mut().insert(attempt, sender);
        self.spawn(container::run(self.clone(), record, begin, stop));
    }

    /// How long the disk takes.
    async fn disk(&self, what: &str, attempt: Option<&AttemptId>) {
        let world = &self.world;
        let name = attempt.map_or_else(String::new, ToString::to_string);
        let chance = world.chance.of("disk").of(what).of(&name);
        let mut chance = chance.nth(world.sim.now_ms());
        world.sim.sleep(chance.between(0, 5)).await;
    }

    /// Begins to carry an effect out; what comes of it is told to the core later.
    pub(super) fn carry_out(self: &Rc<Self>, effect: Effect) {
        let this = self.clone();
        match effect {
            Effect::Answer(..) => debug_assert!(false, "the loop answers"),
            Effect::Save { record, tries } => {
                self.lane(record.attempt());
                self.spawn(async move { this.save(*record, tries).await });
            }
            Effect::SaveTombstones { revision, attempts } => {
                self.spawn(async move { this.save_tombstones(revision, attempts).await });
            }
            Effect::Locate { order } => self.spawn(async move { this.locate(order).await }),
            Effect::Pull { order, tries } => self.pull(order, tries),
            Effect::AbortPull(attempt) => self.abort_pull(&attempt),
            Effect::Create { order, tries, .. } => {
                self.pulls.borrow_mut().remove(&order.attempt);
                self.spawn(async move {
                    let attempt = order.attempt.clone();
                    let outcome = match this.create(order, tries).await {
                        Ok(outcome) => outcome,
                        Err(failure) => Outcome::CreateFailed(failure),
                    };
                    this.outcome(&attempt, outcome);
                });
            }
            Effect::Start {
                record,
                asked_before,
                tries,
            } => {
                let begin = Begin::Start {
                    asked_before,
                    tries,
                };
                self.follow(*record, begin);
            }
            Effect::Follow { record } => self.follow(*record, Begin::Follow),
            Effect::Stop { attempt, cause, .. } => {
                let stop = self.stops.borrow_mut().remove(&attempt);
                if let Some(stop) = stop {
                    stop.send(cause);
                }
            }
            Effect::Seal(order) => {
                self.abort_pull(&order.attempt);
                self.spawn(async move { this.seal(order).await });
            }
            Effect::Remove { order, tries } => {
                self.stops.borrow_mut().remove(&order.attempt);
                self.spawn(async move { this.remove(order, tries).await });
            }
            Effect::Upload { order, tries } => {
                self.spawn(async move { this.upload(order, tries).await });
            }
            Effect::Report { report, tries } => {
                self.spawn(async move { this.report(*report, tries).await });
            }
            Effect::Delete { attempt, tries } => {
                let lane = self.lane(&attempt);
                self.spawn(async move {
                    backoff::wait(&this, "delete", tries).await;
                    this.made.borrow_mut().remove(&attempt);
                    lane.close();
                    this.disk("delete", Some(&attempt)).await;
                    if this.node().spool.delete(&attempt) {
                        let worker = this.index;
                        let attempt = &attempt;
                        this.world.see(&Seen::SpoolDeleted { worker, attempt });
                    }
                    this.lanes.borrow_mut().remove(&attempt);
                    this.outcome(&attempt, Outcome::Deleted);
                });
            }
            Effect::Progress {
                attempt,
                phase,
                end,
                ..
            } => self.spawn(async move { this.progress(attempt, phase, end).await }),
            Effect::GivenUp { .. } => {}
            Effect::RemoveOrphan(orphan) => {
                let attempt = &orphan.attempt;
                let worker = self.index;
                self.world.see(&Seen::OrphanFound { worker, attempt });
                self.spawn(sweep::remove(this, orphan));
            }
        }
    }

    async fn save(&self, record: SpoolRecord, tries: u32) {
        let attempt = record.attempt().clone();
        let lane = self.lane(&attempt);
        backoff::wait(self, "save", tries).await;
        self.disk("save", Some(&attempt)).await;
        if self.disk_refuses() {
            let refused = Outcome::SaveFailed(record.revision, "the disk refuses it".to_owned());
            return self.outcome(&attempt, refused);
        }
        if self.node().spool.save(&lane, &record, true) {
            let (worker, record) = (self.index, &record);
            self.world.see(&Seen::SpoolFlushed { worker, record });
        }
        self.outcome(&attempt, Outcome::Saved(record.revision));
    }

    async fn save_tombstones(&self, revision: u64, attempts: Vec<AttemptId>) {
        let mut tries = 0;
        loop {
            self.disk("tombstones", None).await;
            if !self.disk_refuses() {
                break;
            }
            tries += 1;
            backoff::wait(self, "tombstones", tries).await;
        }
        self.node().spool.save_tombstones(revision, &attempts);
        self.tell(Input::TombstonesSaved { revision });
    }

    async fn locate(self: Rc<Self>, order: Order) {
        let attempt = order.attempt;
        let mut tries = 0;
        let found = loop {
            self.engine_ready().await;
            match self.world.find_container(self.index, &attempt).await {
                Ok(found) => break found,
                Err(_) => tries += 1,
            }
            backoff::wait(&self, "locate", tries).await;
        };
        let found = match found {
            None => Found::Nothing,
            Some(container) => {
                let mut made = self.made.borrow_mut();
                made.insert(attempt.clone(), container.id.clone());
                match container.state.get() {
                    State::Created => Found::Created,
                    State::Running { .. } | State::Ended(_) => Found::Started,
                }
            }
        };
        self.outcome(&attempt, Outcome::Located(found));
    }

    /// A pull is a process of its own, so that it can be broken off.
    fn pull(self: &Rc<Self>, order: Order, tries: u32) {
        let process = Process::start();
        let attempt = order.attempt.clone();
        let pulls = &self.pulls;
        pulls.borrow_mut().insert(attempt.clone(), process.clone());
        let (told, pulled) = oneshot();
        let this = self.clone();
        self.world.sim.spawn(&process, async move {
            backoff::wait(&this, "pull", tries).await;
            told.send(this.try_pull(&order).await);
        });
        let this = self.clone();
        self.spawn(async move {
            let outcome = match pulled.await {
                Ok(Ok(image)) => Outcome::Pulled(image),
                Ok(Err(failure)) => Outcome::PullFailed(failure),
                // It was broken off.
                Err(_) => return,
            };
            this.outcome(&attempt, outcome);
        });
    }

    fn abort_pull(&self, attempt: &AttemptId) {
        let pull = self.pulls.borrow_mut().remove(attempt);
        if let Some(pull) = pull {
            self.world.sim.kill(&pull);
        }
    }

    async fn try_pull(&self, order: &Order) -> Result<PulledImage, Failure> {
        self.engine_ready_soon().await?;
        let world = &self.world;
        let does = world.behaviour(&order.attempt);
        let task = world.task_number(&order.attempt);
        if !world.has_image(self.index, task).await.map_err(failed)? {
            let progress = Outcome::PullProgress(String::new());
            self.outcome(&order.attempt, progress);
            let pulled = world.pull_image(self.index, task, &does).await;
            if !pulled.map_err(failed)? {
                return Err(Failure {
                    reason: "no registry has its image".to_owned(),
                    blame: Blame::Task,
                });
            }
        }
        Ok(PulledImage {
            id: format!("image-{task}"),
            digest: Some(format!("sha256:{task}")),
        })
    }

    async fn create(self: &Rc<Self>, order: Order, tries: u32) -> Result<Outcome, Failure> {
        backoff::wait(self, "create", tries).await;
        self.engine_ready_soon().await?;
        if self.image_is_gone(&order.attempt) {
            return Ok(Outcome::ImageGone);
        }
        if self.disk_refuses() {
            return Err(disk_failure());
        }
        let does = self.world.behaviour(&order.attempt);
        let attempt = &order.attempt;
        let made = self.world.create_container(self.index, attempt, does);
        let made = made.await.map_err(failed)?;
        self.made.borrow_mut().insert(attempt.clone(), made);
        Ok(Outcome::Created)
    }

    /// Whether somebody has removed an image between its pull and its use.
    fn image_is_gone(&self, attempt: &AttemptId) -> bool {
        let world = &self.world;
        let percent = world
            .conditions
            .percent(FaultKind::ImagesRemoved, Some(self.index));
        let chance = world.chance.of("image gone").of(&attempt.to_string());
        let mut chance = chance.nth(world.sim.now_ms());
        let gone = chance.percent(percent);
        if gone {
            world.bites(FaultKind::ImagesRemoved);
        }
        gone
    }

    async fn seal(self: Rc<Self>, order: Order) {
        self.take_in_unheard(&order).await;
        self.disk("seal", Some(&order.attempt)).await;
        let log = SealedLog {
            length_bytes: 0,
            whole: Whole::Complete,
        };
        self.outcome(&order.attempt, Outcome::Sealed(log));
    }

    /// Stops a container whose start was never heard of, if it began all the same.
    async fn take_in_unheard(self: &Rc<Self>, order: &Order) {
        let attempt = &order.attempt;
        if self.pumped.borrow().contains(attempt) {
            return;
        }
        let Some(container) = self.known(attempt) else {
            return;
        };
        if self.engine_ready_soon().await.is_err() {
            return;
        }
        let (world, index) = (&self.world, self.index);
        let state = world.inspect_container(index, &container).await;
        if let Ok(State::Running { .. }) = state {
            let grace_ms = order.stop_grace.as_millis() as u64;
            let stopped = world.stop_container(index, &container, grace_ms).await;
            // Its removal follows, by force.
            let _ = stopped.is_ok();
        }
    }

    async fn remove(self: Rc<Self>, order: Order, tries: u32) {
        backoff::wait(&self, "remove", tries).await;
        let removed = match self.engine_ready_soon().await {
            Ok(()) => {
                let removed = self.world.remove_container(self.index, &order.attempt);
                removed.await.map_err(failed)
            }
            Err(away) => Err(away),
        };
        let outcome = match removed {
            Ok(()) => Outcome::Removed,
            Err(failure) => Outcome::RemoveFailed(failure),
        };
        self.outcome(&order.attempt, outcome);
    }

    async fn upload(self: Rc<Self>, order: Order, tries: u32) {
        backoff::wait(&self, "upload", tries).await;
        let attempt = order.attempt;
        let none = || SentFiles::none(Whole::Complete);
        // Those of a later attempt replace those of the earlier, so that none is news, too.
        if !self.world.behaviour(&attempt).leaves_files && attempt.number == 1 {
            return self.outcome(&attempt, Outcome::Uploaded(Delivery::Acknowledged(none())));
        }
        self.master_ready().await;
        let request = ToMaster::Upload {
            worker: self.node().id.clone(),
            attempt: attempt.clone(),
        };
        let answer = self.world.call_master(self.index, request, UPLOAD_LIMIT_MS);
        let delivery = match delivered(answer.await) {
            Delivery::Acknowledged(()) => Delivery::Acknowledged(none()),
            Delivery::Superseded => Delivery::Superseded,
            Delivery::Undelivered(reason) | Delivery::Refused(reason) => {
                Delivery::Undelivered(reason)
            }
        };
        self.outcome(&attempt, Outcome::Uploaded(delivery));
    }

    async fn report(self: Rc<Self>, report: Report, tries: u32) {
        backoff::wait(&self, "report", tries).await;
        let attempt = report.report.attempt.clone();
        self.master_ready().await;
        let request = ToMaster::Report {
            worker: self.node().id.clone(),
            report: Box::new(report.report),
        };
        let answer = self.world.call_master(self.index, request, REPORT_LIMIT_MS);
        let mut delivery = delivered(answer.await);
        if self.world.bug == Some(Bug::NoOutbox) {
            // Sent, and forgotten.
            delivery = Delivery::Acknowledged(());
        }
        self.outcome(&attempt, Outcome::Reported(delivery));
    }

    async fn progress(
        self: Rc<Self>,
        attempt: AttemptId,
        phase: Phase,
        end: Option<Box<ContainerEnd>>,
    ) {
        if !self.master.get() {
            return;
        }
        let request = ToMaster::Progress {
            worker: self.node().id.clone(),
            attempt,
            phase,
            end,
        };
        let told = self
            .world
            .call_master(self.index, request, PROGRESS_LIMIT_MS);
        // What gets lost is in the next heartbeat.
        let _ = told.await.is_ok();
    }
}

/// What the master's answer means for what was sent.
fn delivered(answer: Result<FromMaster, CallError>) -> Delivery<()> {
    match answer {
        Ok(FromMaster::Heard(Reported::Live | Reported::Ended)) => Delivery::Acknowledged(()),
        Ok(FromMaster::Heard(Reported::Superseded)) => Delivery::Superseded,
        Ok(FromMaster::Unavailable(reason) | FromMaster::Denied(reason)) => {
            Delivery::Undelivered(reason)
        }
        Ok(answer) => Delivery::Undelivered(format!("{answer:?}")),
        Err(error) => Delivery::Undelivered(error.to_string()),
    }
}
