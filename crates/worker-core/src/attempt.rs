//! An attempt that this worker holds.

use std::{collections::VecDeque, time::Duration};

use cloudai_model::{
    AttemptId, ContainerEnd, Exit, Grant, ImageRef, Mono, Now, PeakUsage, Phase, Whole,
};

use crate::{
    answer::Answer,
    effect::{Effect, Report},
    input::{Call, PulledImage, SealedLog, SentFiles},
    lifecycle::{AttemptEvent, AttemptState, next},
    order::Order,
    record::{EndRecord, HostRun, SpoolRecord, StopCause},
};

/// However long it took, so many refusals at least mean "never". A master that was away nearly all
/// the time has said little.
const LEAST_REFUSALS: u32 = 10;

/// An attempt as a heartbeat tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldAttempt {
    /// Which.
    pub attempt: AttemptId,
    /// How far it is.
    pub phase: Phase,
    /// What it was given.
    pub grant: Grant,
    /// What it runs.
    pub image: ImageRef,
    /// How it ended, once it has.
    pub exit: Option<Exit>,
    /// How long its container has to end after a stop was asked for.
    pub stop_grace: Duration,
}

/// An attempt that this worker holds or owes the report of.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) record: SpoolRecord,
    pub(crate) state: AttemptState,
    /// The last revision whose saving was asked for. That of a start is behind the record's.
    asked_revision: u64,
    /// The last revision that is known to be on disk.
    saved_revision: u64,
    /// Answers that leave when the record of their revision is on disk.
    waiting: VecDeque<(u64, Call, Answer)>,
    /// How often what is being tried just now was tried in vain.
    pub(crate) tries: u32,
    /// How often an old master refused it, and since when.
    refusals: Option<(u32, Mono)>,
    /// How often the record was written in vain.
    pub(crate) save_tries: u32,
    /// Its container is to be stopped as soon as the reason is on disk.
    pub(crate) stop_waits: bool,
    pub(crate) image: Option<PulledImage>,
    /// How often that was gone when a container was to be made of it.
    pub(crate) image_losses: u32,
    /// Its end, before it is in the record.
    pub(crate) end: Option<ContainerEnd>,
    pub(crate) had_container: bool,
    /// The command ran, and has ended.
    pub(crate) ran: bool,
    /// Its container was taken away, and whatever of its log was not in the spool.
    pub(crate) is_lost: bool,
    /// Its state in the spool could not be read, and why.
    pub(crate) damage: Option<String>,
    pub(crate) files: SentFiles,
}

impl Attempt {
    pub(crate) fn accepted(order: Order) -> Self {
        let record = SpoolRecord {
            revision: 1,
            order,
            started: false,
            host_run: HostRun::default(),
            image_digest: None,
            stop: None,
            end: None,
        };
        Self::new(record, AttemptState::Accepting)
    }

    /// As it was found in the spool.
    pub(crate) fn adopted(record: SpoolRecord) -> Self {
        let state = match (&record.end, &record.stop) {
            (Some(end), _) if end.had_container => AttemptState::Clearing,
            (Some(_), _) => AttemptState::Reporting,
            (None, Some(_)) => AttemptState::SearchingToStop,
            (None, None) => AttemptState::Searching,
        };
        let had_container = record.started || record.end.as_ref().is_some_and(|e| e.had_container);
        let ran = record
            .end
            .as_ref()
            .is_some_and(|e| e.end.started_at.is_some());
        Self {
            had_container,
            ran,
            asked_revision: 0,
            ..Self::new(record, state)
        }
    }

    /// As it was found in the spool, with a state that can't be read. One that has a state was
    /// started, was stopped, or has ended: it is not run a second time.
    pub(crate) fn adopted_damaged(order: Order, problem: String) -> Self {
        let record = SpoolRecord {
            started: true,
            ..Self::accepted(order).record
        };
        Self {
            damage: Some(problem),
            ..Self::adopted(record)
        }
    }

    /// Why it has no container, though it was started.
    pub(crate) fn loss(&self) -> String {
        match &self.damage {
            None => "its container was removed while its worker was away".to_owned(),
            Some(problem) => format!(
                "how it ended can't be known: its container is gone, and its worker's note of it is \
                 damaged: {problem}"
            ),
        }
    }

    fn new(record: SpoolRecord, state: AttemptState) -> Self {
        Self {
            asked_revision: record.revision,
            record,
            state,
            saved_revision: 0,
            waiting: VecDeque::new(),
            tries: 0,
            refusals: None,
            save_tries: 0,
            stop_waits: false,
            image: None,
            image_losses: 0,
            end: None,
            had_container: false,
            ran: false,
            is_lost: false,
            damage: None,
            files: SentFiles::none(Whole::Complete),
        }
    }

    pub(crate) fn id(&self) -> &AttemptId {
        self.record.attempt()
    }

    /// Goes on to the state that `event` leads to; `false` if it leads nowhere.
    pub(crate) fn advance(&mut self, event: AttemptEvent) -> bool {
        let Some(state) = next(self.state, event) else {
            return false;
        };
        self.state = state;
        self.tries = 0;
        self.refusals = None;
        true
    }

    /// Counts one more try in vain; `false` if there were enough.
    pub(crate) fn try_again(&mut self, limit: u32) -> bool {
        self.tries += 1;
        self.tries < limit
    }

    /// Counts one more refusal of what is being sent; whether that is to be taken as the last word.
    pub(crate) fn is_refused_for_good(&mut self, now: Now, patience: Duration) -> bool {
        let (times, since) = self.refusals.get_or_insert((0, now.mono));
        *times += 1;
        *times >= LEAST_REFUSALS && now.mono.since(*since) >= patience
    }

    /// The record has changed: it must be written again.
    pub(crate) fn save(&mut self) -> Effect {
        self.record.revision += 1;
        self.asked_revision = self.record.revision;
        self.save_tries = 0;
        self.write()
    }

    /// Whether all that was asked to be saved is on disk.
    pub(crate) fn is_saved(&self) -> bool {
        self.saved_revision >= self.asked_revision
    }

    /// Asks for the stop of its container, if that waited for the reason to be written down.
    pub(crate) fn stop_now(&mut self) -> Option<Effect> {
        if self.state != AttemptState::Stopping || !std::mem::take(&mut self.stop_waits) {
            return None;
        }
        Some(Effect::Stop {
            attempt: self.id().clone(),
            grace: self.record.order.stop_grace,
            cause: self.record.stop.clone()?,
        })
    }

    /// The record as it is, to be written.
    pub(crate) fn write(&self) -> Effect {
        Effect::Save {
            record: Box::new(self.record.clone()),
            tries: self.save_tries,
        }
    }

    /// Answers a caller when all that was changed so far is on disk; at once if it is.
    pub(crate) fn answer_when_saved(&mut self, call: Call, answer: Answer) -> Option<Effect> {
        if self.is_saved() {
            return Some(Effect::Answer(call, answer));
        }
        self.waiting.push_back((self.asked_revision, call, answer));
        None
    }

    /// Answers a caller when no restart can start it any more: one whose command ran has ended, and
    /// one that never ran is taken up again until its end is on disk.
    pub(crate) fn answer_when_over(&mut self, call: Call, answer: Answer) -> Option<Effect> {
        let with = match self.state {
            // The next record has it.
            AttemptState::Draining if !self.ran => self.record.revision + 1,
            AttemptState::Securing if !self.ran => self.record.revision,
            _ => return Some(Effect::Answer(call, answer)),
        };
        self.waiting.push_back((with, call, answer));
        None
    }

    /// The answers that may leave now that this revision is on disk.
    pub(crate) fn saved(&mut self, revision: u64) -> Vec<Effect> {
        self.saved_revision = self.saved_revision.max(revision);
        let mut released = Vec::new();
        while self.waiting.front().is_some_and(|(at, ..)| *at <= revision) {
            let (_, call, answer) = self.waiting.pop_front().expect("looked at just above");
            released.push(Effect::Answer(call, answer));
        }
        released
    }

    /// Everyone who waits for an answer.
    pub(crate) fn take_waiting(&mut self) -> impl Iterator<Item = (Call, Answer)> {
        std::mem::take(&mut self.waiting)
            .into_iter()
            .map(|(_, call, answer)| (call, answer))
    }

    /// The end of an attempt whose container never ran, or is not to be had.
    pub(crate) fn end_without_container(&mut self, now: Now, reason: Exit) {
        let exit = match &self.record.stop {
            Some(cause) => cause.exit(),
            None => reason,
        };
        self.end = Some(ContainerEnd {
            exit,
            started_at: None,
            finished_at: now.wall,
            usage: PeakUsage::default(),
            image_digest: self.record.image_digest.clone(),
        });
    }

    /// Puts the end into the record, now that the log is sealed.
    pub(crate) fn seal(&mut self, mut log: SealedLog) {
        if self.is_lost && log.whole.is_complete() {
            let reason = "its end was lost with its container";
            log.whole = Whole::Incomplete(reason.to_owned());
        }
        self.record.end = self.end.take().map(|end| EndRecord {
            end,
            log,
            had_container: self.had_container,
        });
    }

    /// Its last word; `None` before its end is in the record.
    pub(crate) fn report(&self) -> Option<Report> {
        let end = self.record.end.as_ref()?;
        Some(Report {
            report: cloudai_model::AttemptReport {
                attempt: self.id().clone(),
                end: end.end.clone(),
                log: end.log.whole.clone(),
                files: self.files.whole.clone(),
                in_order: self.record.stop == Some(StopCause::Shutdown),
            },
            log_length_bytes: end.log.length_bytes,
            file_names: self.files.names.clone(),
        })
    }

    /// What of its grant is in use.
    pub(crate) fn usage(&self) -> Grant {
        let grant = &self.record.order.grant;
        if self.uses_compute() {
            grant.clone()
        } else if self.state.uses_storage() {
            grant.without_compute()
        } else {
            Grant::default()
        }
    }

    /// Whether CPU, memory and devices are in use. A command that has ended uses none. One that
    /// will not run counts until that is on disk, as a restart before would take it up again, and until
    /// its container is removed: an engine that failed may have started it all the same.
    pub(crate) fn uses_compute(&self) -> bool {
        self.state < AttemptState::Draining || self.may_run_yet()
    }

    /// Whether it is over by what is known, and its command may run all the same.
    fn may_run_yet(&self) -> bool {
        use AttemptState::{Clearing, Draining, Securing};
        !self.ran && matches!(self.state, Draining | Securing | Clearing)
    }

    /// How it ended, once it has.
    pub(crate) fn exit(&self) -> Option<&Exit> {
        let saved = self.record.end.as_ref().map(|end| &end.end);
        let end = saved.or(self.end.as_ref())?;
        Some(&end.exit)
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.state {
            AttemptState::Searching if self.record.started => Phase::Running,
            _ if self.may_run_yet() => match self.record.stop {
                Some(_) => Phase::Cancelling,
                None => Phase::Creating,
            },
            state => state.phase(),
        }
    }
}
