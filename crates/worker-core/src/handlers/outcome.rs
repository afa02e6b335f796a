//! What came of the things that the core wanted done: each outcome takes its attempt one step
//! further.

use cloudai_model::{AttemptId, ContainerEnd, Exit, Now, Phase, Whole};

use crate::{
    answer::{Answer, AssignAnswer, Refusal},
    attempt::Attempt,
    core::{Step, WorkerCore},
    effect::Effect,
    input::{Blame, Delivery, Failure, Found, Outcome, PulledImage, SealedLog, SentFiles},
    lifecycle::{AttemptEvent as E, AttemptState as S},
    record::StopCause,
};

impl WorkerCore {
    pub(crate) fn outcome(&mut self, step: &mut Step<'_>, id: &AttemptId, outcome: Outcome) {
        // An attempt that is no longer held has nothing left to hear.
        if !self.attempts.contains_key(id) {
            return;
        }
        match outcome {
            Outcome::Saved(revision) => self.saved(step, id, revision),
            Outcome::SaveFailed(revision, reason) => self.save_failed(step, id, revision, reason),
            Outcome::Located(found) => self.located(step, id, found),
            Outcome::PullProgress(detail) => self.pull_progress(step, id, detail),
            Outcome::Pulled(image) => self.pulled(step, id, image),
            Outcome::Created => self.created(step, id),
            Outcome::ImageGone => self.image_gone(step, id),
            Outcome::PullFailed(failure)
            | Outcome::CreateFailed(failure)
            | Outcome::StartFailed(failure) => self.failed(step, id, failure),
            Outcome::Started => self.started(step, id),
            Outcome::OverLimit(reason) => self.stop(step, id, StopCause::OverLimit(reason)),
            Outcome::Ended(end) => self.container_ended(step, id, end),
            Outcome::Sealed(log) => self.sealed(step, id, log),
            Outcome::Removed => self.removed(step, id),
            Outcome::RemoveFailed(failure) => self.remove_failed(step, id, &failure),
            Outcome::Uploaded(delivery) => self.uploaded(step, id, delivery),
            Outcome::Reported(delivery) => self.reported(step, id, delivery),
            Outcome::Deleted => self.deleted(id),
            Outcome::DeleteFailed(_) => self.delete_failed(step, id),
        }
    }

    fn attempt_mut(&mut self, id: &AttemptId) -> &mut Attempt {
        self.attempts
            .get_mut(id)
            .expect("`outcome` has seen that it is held")
    }

    fn saved(&mut self, step: &mut Step<'_>, id: &AttemptId, revision: u64) {
        self.spool_unwell = None;
        let held = self.attempt_mut(id);
        step.out.extend(held.saved(revision));
        if revision < held.record.revision {
            return;
        }
        step.out.extend(held.stop_now());
        let event = match (held.state, held.had_container) {
            (S::Securing, false) => E::SaveBare,
            (S::Accepting | S::Securing, _) => E::Save,
            _ => return,
        };
        if held.advance(event) {
            self.enter(step, id);
        }
    }

    fn save_failed(&mut self, step: &mut Step<'_>, id: &AttemptId, revision: u64, reason: String) {
        self.spool_unwell = Some((step.now.mono, reason.clone()));
        let held = self.attempt_mut(id);
        if revision < held.record.revision {
            return;
        }
        // Better without its reason than not at all.
        step.out.extend(held.stop_now());
        if !held.advance(E::Refuse) {
            held.save_tries += 1;
            step.out.push(held.write());
            return;
        }
        let refused = AssignAnswer::Refused(Refusal::NotSaved(reason));
        for (call, _) in held.take_waiting() {
            step.out
                .push(Effect::Answer(call, Answer::Assign(refused.clone())));
        }
        self.remember(step.now, id, refused);
        self.enter(step, id);
    }

    fn located(&mut self, step: &mut Step<'_>, id: &AttemptId, found: Found) {
        let now = step.now;
        let host_run = self.host_run.clone();
        let held = self.attempt_mut(id);
        let event = match found {
            Found::Nothing if held.record.started => E::FindLoss,
            Found::Nothing => E::FindNothing,
            Found::Created => E::FindCreated,
            Found::Started => E::FindStarted,
        };
        if !held.advance(event) {
            return;
        }
        held.had_container |= found != Found::Nothing;
        if event == E::FindCreated && held.record.started {
            // A start of it was asked for in vain; the next one is in this run.
            held.record.host_run = host_run;
            held.record.revision += 1;
        }
        if held.state == S::Draining {
            held.is_lost = event == E::FindLoss;
            held.end_without_container(now, Exit::Interrupted(held.loss()));
            return self.ended(step, id);
        }
        match event {
            E::FindStarted => {
                // A container found started counts so from now on, whatever the record says.
                held.record.started = true;
                step.out.push(Effect::Follow {
                    record: Box::new(held.record.clone()),
                });
                // One that was told to stop before it was found.
                held.stop_waits |= held.state == S::Stopping;
                if held.is_saved() {
                    step.out.extend(held.stop_now());
                }
            }
            _ => self.enter(step, id),
        }
    }

    fn pull_progress(&mut self, step: &mut Step<'_>, id: &AttemptId, detail: String) {
        let held = self.attempt_mut(id);
        if held.state == S::Pulling {
            step.out.push(progress(held, detail));
        }
    }

    fn pulled(&mut self, step: &mut Step<'_>, id: &AttemptId, image: PulledImage) {
        let held = self.attempt_mut(id);
        if held.advance(E::Pull) {
            held.record.image_digest.clone_from(&image.digest);
            held.image = Some(image);
            step.out.push(progress(held, String::new()));
            self.enter(step, id);
        }
    }

    fn created(&mut self, step: &mut Step<'_>, id: &AttemptId) {
        let held = self.attempt_mut(id);
        if !held.advance(E::Create) {
            return;
        }
        held.had_container = true;
        if held.state == S::Draining {
            held.end_without_container(step.now, Exit::Cancelled);
            self.ended(step, id);
        } else {
            self.enter(step, id);
        }
    }

    /// Another worker of the engine, or a hand, has removed the image since it was pulled. It is pulled
    /// again, as at first: what its name stands for by then is what runs.
    fn image_gone(&mut self, step: &mut Step<'_>, id: &AttemptId) {
        let limit = self.settings.engine_tries;
        let held = self.attempt_mut(id);
        held.image_losses += 1;
        let losses = held.image_losses;
        if losses >= limit || held.state != S::Creating {
            let reason = format!("its image was removed {losses} times before it could be used");
            let blame = Blame::Machine;
            held.tries = limit;
            return self.failed(step, id, Failure { reason, blame });
        }
        held.advance(E::MissImage);
        held.tries = losses;
        let detail = "its image was removed by someone else".to_owned();
        step.out.push(progress(held, detail));
        self.enter(step, id);
    }

    /// A pull, a create or a start has failed: again, or for good.
    fn failed(&mut self, step: &mut Step<'_>, id: &AttemptId, failure: Failure) {
        let limit = self.settings.engine_tries;
        let held = self.attempt_mut(id);
        let retried = matches!(held.state, S::Pulling | S::Creating | S::Starting);
        if retried && failure.blame != Blame::Task && held.try_again(limit) {
            return self.enter(step, id);
        }
        if held.advance(E::Fail) {
            let exit = match failure.blame {
                Blame::Task | Blame::Passing => Exit::NotStarted(failure.reason),
                Blame::Machine => Exit::Interrupted(failure.reason),
            };
            held.end_without_container(step.now, exit);
            self.ended(step, id);
        }
    }

    fn started(&mut self, step: &mut Step<'_>, id: &AttemptId) {
        let held = self.attempt_mut(id);
        if held.advance(E::Start) && held.state == S::Running {
            step.out.push(progress(held, String::new()));
        }
    }

    fn container_ended(&mut self, step: &mut Step<'_>, id: &AttemptId, mut end: ContainerEnd) {
        let held = self.attempt_mut(id);
        // A container that was quick may have ended before its start was heard of.
        if held.state == S::Starting {
            held.advance(E::Start);
        }
        if held.advance(E::End) {
            end.image_digest = end
                .image_digest
                .or_else(|| held.record.image_digest.clone());
            held.end = Some(end);
            held.ran = true;
            self.ended(step, id);
        }
    }

    /// The attempt is over and drains. If it ran, the master can give its compute to others now.
    pub(crate) fn ended(&mut self, step: &mut Step<'_>, id: &AttemptId) {
        let held = self.attempt_mut(id);
        if held.ran {
            step.out.push(Effect::Progress {
                attempt: id.clone(),
                phase: Phase::Uploading,
                detail: String::new(),
                end: held.end.clone().map(Box::new),
            });
        }
        step.out.push(Effect::Seal(held.record.order.clone()));
    }

    fn sealed(&mut self, step: &mut Step<'_>, id: &AttemptId, log: SealedLog) {
        let held = self.attempt_mut(id);
        if held.advance(E::Seal) {
            held.seal(log);
            step.out.push(held.save());
        }
    }

    fn removed(&mut self, step: &mut Step<'_>, id: &AttemptId) {
        if self.attempt_mut(id).advance(E::Clear) {
            self.enter(step, id);
        }
    }

    /// A container that can't be removed doesn't hold up the result; the sweep gets it. But while
    /// the engine is away, or the disk is full, nothing is given up: what was left in a volume is
    /// still there.
    fn remove_failed(&mut self, step: &mut Step<'_>, id: &AttemptId, failure: &Failure) {
        let limit = self.settings.engine_tries;
        let is_away = self.engine_unwell.is_some();
        let held = self.attempt_mut(id);
        if held.state != S::Clearing {
            return;
        }
        if is_away || failure.blame == Blame::Machine {
            held.tries = held.tries.saturating_add(1);
            return self.enter(step, id);
        }
        if held.try_again(limit) || held.advance(E::Clear) {
            self.enter(step, id);
        }
    }

    fn uploaded(&mut self, step: &mut Step<'_>, id: &AttemptId, delivery: Delivery<SentFiles>) {
        let patience = self.settings.files_patience;
        let held = self.attempt_mut(id);
        if held.state != S::Uploading {
            return;
        }
        let files = match delivery {
            Delivery::Acknowledged(files) => files,
            Delivery::Superseded => return self.superseded(step, id),
            Delivery::Refused(reason) if held.is_refused_for_good(step.now, patience) => {
                let reason = format!("the master refused them: {reason}");
                SentFiles::none(Whole::Incomplete(reason))
            }
            Delivery::Refused(_) | Delivery::Undelivered(_) => return self.send_again(step, id),
        };
        held.advance(E::Upload);
        held.files = files;
        self.enter(step, id);
    }

    fn reported(&mut self, step: &mut Step<'_>, id: &AttemptId, delivery: Delivery<()>) {
        let patience = self.settings.result_patience;
        let held = self.attempt_mut(id);
        if held.state != S::Reporting {
            return;
        }
        match delivery {
            Delivery::Acknowledged(()) => {
                held.advance(E::Acknowledge);
                self.settled(step.now, id);
                self.enter(step, id);
            }
            Delivery::Superseded => self.superseded(step, id),
            Delivery::Refused(reason) if held.is_refused_for_good(step.now, patience) => {
                let attempt = id.clone();
                step.out.push(Effect::GivenUp { attempt, reason });
                self.superseded(step, id);
            }
            Delivery::Refused(_) | Delivery::Undelivered(_) => self.send_again(step, id),
        }
    }

    fn send_again(&mut self, step: &mut Step<'_>, id: &AttemptId) {
        let held = self.attempt_mut(id);
        held.tries = held.tries.saturating_add(1);
        self.enter(step, id);
    }

    fn superseded(&mut self, step: &mut Step<'_>, id: &AttemptId) {
        if self.attempt_mut(id).advance(E::Supersede) {
            self.settled(step.now, id);
            self.enter(step, id);
        }
    }

    /// An assignment of it that is still under way is answered as it was, and not run again.
    fn settled(&mut self, now: Now, id: &AttemptId) {
        self.remember(now, id, AssignAnswer::Accepted);
    }

    fn remember(&mut self, now: Now, id: &AttemptId, answer: AssignAnswer) {
        if !self.attempt_mut(id).record.order.is_of_old_master() {
            self.memory.remember(now.mono, id.clone(), answer);
        }
    }

    fn deleted(&mut self, id: &AttemptId) {
        if self.attempt_mut(id).advance(E::Delete) {
            self.attempts.remove(id);
        }
    }

    fn delete_failed(&mut self, step: &mut Step<'_>, id: &AttemptId) {
        let held = self.attempt_mut(id);
        if held.state == S::Forgetting {
            held.tries = held.tries.saturating_add(1);
            self.enter(step, id);
        }
    }

    /// Asks for what the state that was just entered, or is tried again, needs done.
    fn enter(&mut self, step: &mut Step<'_>, id: &AttemptId) {
        let held = self.attempts.get_mut(id);
        let held = held.expect("`outcome` has seen that it is held");
        let (order, tries) = (&held.record.order, held.tries);
        let effect = match held.state {
            S::Pulling => Effect::Pull {
                order: order.clone(),
                tries,
            },
            S::Creating => {
                let image = held.image.clone().expect("creating comes after the pull");
                Effect::Create {
                    order: order.clone(),
                    image,
                    tries,
                }
            }
            S::Starting => {
                let asked_before = std::mem::replace(&mut held.record.started, true);
                if !asked_before {
                    held.record.revision += 1;
                    held.record.host_run.clone_from(&self.host_run);
                }
                Effect::Start {
                    record: Box::new(held.record.clone()),
                    asked_before,
                    tries,
                }
            }
            S::Clearing => Effect::Remove {
                order: order.clone(),
                tries,
            },
            S::Uploading => Effect::Upload {
                order: order.clone(),
                tries,
            },
            S::Reporting => Effect::Report {
                report: Box::new(held.report().expect("reporting comes after the end")),
                tries,
            },
            S::Forgetting => Effect::Delete {
                attempt: id.clone(),
                tries,
            },
            // What these wait for was asked for by whoever led here.
            S::Accepting
            | S::Searching
            | S::SearchingToStop
            | S::CreatingToStop
            | S::Running
            | S::Stopping
            | S::Draining
            | S::Securing
            | S::Gone => return,
        };
        step.out.push(effect);
    }
}

fn progress(held: &Attempt, detail: String) -> Effect {
    Effect::Progress {
        attempt: held.id().clone(),
        phase: held.phase(),
        detail,
        end: None,
    }
}
