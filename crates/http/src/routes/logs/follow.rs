//! Following a task's log through its attempts, until it is final, nobody listens any more, whoever
//! listens may not any more, or the master ends.

use std::time::Duration;

use bytes::Bytes;
use cloudai_core::Event;
use cloudai_model::{AttemptId, TaskId, TaskStatus};
use cloudai_operator::{FrameSource, LogFailure, LogPart, LogStart};
use futures_util::FutureExt as _;
use tokio::{
    sync::{
        broadcast::{Receiver, error::RecvError},
        mpsc::Sender,
        watch,
    },
    time::{Interval, MissedTickBehavior, interval},
};
use tracing::warn;

use super::text::Form;
use crate::{Context, auth::StillMay, refusal::Refusal};

/// How often it is asked whether whoever listens still may, and a sign of life is given.
const CHECK_INTERVAL: Duration = Duration::from_secs(15);
/// Pieces that are given before it is looked whether there is a reason to end.
const UNTIL_LOOK: usize = 64;
/// How often a task is looked at that no event tells of.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What is to be followed.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) task: TaskId,
    /// The attempt to begin with; 0 before the first.
    pub(super) attempt: u32,
    /// That attempt alone.
    pub(super) only: bool,
    pub(super) start: LogStart,
    pub(super) follow: bool,
}

impl Wanted {
    /// Whether it can go on in this attempt: in that one alone that was asked for, or else in one that
    /// there has been.
    pub(super) fn takes(&self, attempt: u32) -> bool {
        match self.only {
            true => attempt == self.attempt,
            false => attempt <= self.attempt,
        }
    }
}

/// A log on its way.
pub(super) struct Following {
    context: Context,
    still: StillMay,
    wanted: Wanted,
    form: Form,
    log: Option<Box<dyn FrameSource>>,
    events: Receiver<Event>,
    closing: watch::Receiver<bool>,
    checks: Interval,
}

/// Why it ends before the task does.
enum Ended {
    /// Nobody listens.
    Gone,
    /// It breaks off, with a last word.
    Said(Option<Bytes>),
}

impl Following {
    /// Opens the log.
    ///
    /// # Errors
    /// If it can't be, which is told before an answer has begun.
    pub(super) async fn begin(
        context: Context,
        still: StillMay,
        wanted: Wanted,
        form: Form,
    ) -> Result<Self, Refusal> {
        // Before the log is opened, so that nothing falls between.
        let events = context.operator.events();
        let log = match wanted.attempt {
            0 => None,
            number => {
                let attempt = AttemptId::new(wanted.task.clone(), number);
                let (start, follow) = (wanted.start, wanted.follow);
                let part = LogPart { start, follow };
                Some(context.operator.read_log(&attempt, part).await?)
            }
        };
        let mut checks = interval(CHECK_INTERVAL);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        checks.reset();
        Ok(Self {
            closing: context.closing.clone(),
            context,
            still,
            wanted,
            form,
            log,
            events,
            checks,
        })
    }

    /// Sends it to its end.
    ///
    /// # Errors
    /// If nobody listens any more.
    pub(super) async fn send(&mut self, sender: &Sender<Bytes>) -> Result<(), ()> {
        if let Some(opening) = self.form.opening() {
            sender.send(opening).await.map_err(drop)?;
        }
        let last = match self.run(sender).await {
            Ok(last) | Err(Ended::Said(last)) => last,
            Err(Ended::Gone) => return Err(()),
        };
        match last {
            Some(last) => sender.send(last).await.map_err(drop),
            None => Ok(()),
        }
    }

    async fn run(&mut self, sender: &Sender<Bytes>) -> Result<Option<Bytes>, Ended> {
        loop {
            if let Some(log) = self.log.take() {
                self.copy(log, sender).await?;
            }
            let status = loop {
                let (status, last) = self.stands().await?;
                let goes_on = self.wanted.follow && !self.wanted.only;
                if goes_on && last > self.wanted.attempt {
                    // None of those between is left out.
                    self.open(self.wanted.attempt + 1, sender).await?;
                    break None;
                }
                if !goes_on || status.is_final() {
                    break Some(status);
                }
                self.wait(sender).await?;
            };
            if let Some(status) = status {
                return Ok(self.form.end(status, self.wanted.attempt));
            }
        }
    }

    /// Where the task stands, and its last attempt.
    async fn stands(&mut self) -> Result<(TaskStatus, u32), Ended> {
        match self.context.operator.task(&self.wanted.task).await {
            Ok(Some(view)) => Ok((view.record.state.status, view.record.state.attempt)),
            Ok(None) => Err(self.failed("the task was forgotten")),
            Err(error) => Err(self.unreadable(&error)),
        }
    }

    fn failed(&self, reason: &str) -> Ended {
        Ended::Said(self.form.failed(reason))
    }

    /// What went wrong is for the master's log.
    fn unreadable(&self, error: &(dyn std::error::Error + 'static)) -> Ended {
        warn!(task = %self.wanted.task, error, "a log can't be read on");
        self.failed("it can't be read on; the master's log says more")
    }

    async fn open(&mut self, number: u32, sender: &Sender<Bytes>) -> Result<(), Ended> {
        let attempt = AttemptId::new(self.wanted.task.clone(), number);
        if let Some(said) = self.form.attempt(number) {
            sender.send(said).await.map_err(|_| Ended::Gone)?;
        }
        let opened = self.context.operator.follow_log(&attempt).await;
        self.wanted.attempt = number;
        self.log = match opened {
            Ok(log) => Some(log),
            // That it was removed the task itself says.
            Err(LogFailure::Removed { .. }) => None,
            Err(error) => return Err(self.unreadable(&error)),
        };
        Ok(())
    }

    /// Copies one attempt's log to its end.
    async fn copy(
        &mut self,
        mut log: Box<dyn FrameSource>,
        sender: &Sender<Bytes>,
    ) -> Result<(), Ended> {
        for given in 0_usize.. {
            if given.is_multiple_of(UNTIL_LOOK) {
                // While there is always a next piece and room for it nobody else would ask.
                self.look(sender)?;
            }
            let frame = tokio::select! {
                biased;
                frame = log.next() => frame,
                ended = Self::interrupted(&mut self.closing, &mut self.checks, sender) => {
                    self.after(ended, sender).await?;
                    continue;
                }
            };
            match frame {
                Ok(Some(frame)) => {
                    let piece = self.form.piece(frame, self.wanted.attempt, log.position());
                    self.give(piece, sender).await?;
                }
                Ok(None) => return Ok(()),
                Err(error) => return Err(self.unreadable(&error)),
            }
        }
        Ok(())
    }

    /// Whether it goes on, without waiting for anything.
    fn look(&mut self, sender: &Sender<Bytes>) -> Result<(), Ended> {
        let interrupted = Self::interrupted(&mut self.closing, &mut self.checks, sender);
        match interrupted.now_or_never() {
            Some(Interrupted::Check) => self.recheck(),
            Some(ended) => Err(self.interrupt(ended)),
            None => Ok(()),
        }
    }

    /// Sends a piece, for as long as the reader takes.
    async fn give(&mut self, piece: Bytes, sender: &Sender<Bytes>) -> Result<(), Ended> {
        loop {
            let room = tokio::select! {
                biased;
                room = sender.reserve() => room,
                ended = Self::interrupted(&mut self.closing, &mut self.checks, sender) => {
                    if let Interrupted::Closing | Interrupted::Gone = ended {
                        return Err(self.interrupt(ended));
                    }
                    self.recheck()?;
                    continue;
                }
            };
            room.map_err(|_| Ended::Gone)?.send(piece);
            return Ok(());
        }
    }

    /// Waits for news of the task.
    async fn wait(&mut self, sender: &Sender<Bytes>) -> Result<(), Ended> {
        let ended = tokio::select! {
            () = news_of(&self.wanted.task, &mut self.events) => return Ok(()),
            () = tokio::time::sleep(LOOK_INTERVAL) => return Ok(()),
            ended = Self::interrupted(&mut self.closing, &mut self.checks, sender) => ended,
        };
        self.after(ended, sender).await
    }

    async fn interrupted(
        closing: &mut watch::Receiver<bool>,
        checks: &mut Interval,
        sender: &Sender<Bytes>,
    ) -> Interrupted {
        tokio::select! {
            biased;
            // An error means that nobody is left who could say it.
            _ = closing.wait_for(|closing| *closing) => Interrupted::Closing,
            // A quiet log would never tell.
            () = sender.closed() => Interrupted::Gone,
            _ = checks.tick() => Interrupted::Check,
        }
    }

    async fn after(&mut self, what: Interrupted, sender: &Sender<Bytes>) -> Result<(), Ended> {
        if let Interrupted::Closing | Interrupted::Gone = what {
            return Err(self.interrupt(what));
        }
        self.recheck()?;
        match self.form.alive() {
            Some(alive) => sender.send(alive).await.map_err(|_| Ended::Gone),
            None => Ok(()),
        }
    }

    fn interrupt(&self, what: Interrupted) -> Ended {
        match what {
            Interrupted::Gone => Ended::Gone,
            Interrupted::Closing | Interrupted::Check => {
                Ended::Said(self.form.closing("the master is shutting down"))
            }
        }
    }

    /// Whether whoever listens still may: a token ends, a user is locked.
    fn recheck(&self) -> Result<(), Ended> {
        match self.still.holds() {
            true => Ok(()),
            false => Err(self.failed("whoever listens may not any more")),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Interrupted {
    Closing,
    Gone,
    Check,
}

/// Resolves at the next event about the task, or when some were missed, of which one may have been it.
async fn news_of(task: &TaskId, events: &mut Receiver<Event>) {
    loop {
        match events.recv().await {
            Ok(Event::Task(news)) if news.task == *task => return,
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
