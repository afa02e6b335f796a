//! Following a task from wherever it stands to its end.

use std::time::Duration;

use cloudai_core::{Event, TaskNews};
use cloudai_model::{AttemptId, Phase, TaskId, TaskStatus, WorkerId};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::{
    output::Answer,
    render::{tasks::ending, text::safe},
    session::Failed,
};
use cloudai_operator::{FrameSource, LogFailure, Operator};

/// How often a task is looked at that no event tells of: why it waits changes silently.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Prints why the task waits, once a change; then what it prints, byte for byte, from the first
/// line on; then how it ended. An attempt that follows a lost one is followed, too.
pub(crate) async fn follow(
    operator: &dyn Operator,
    answer: &Answer,
    task: &TaskId,
) -> Result<(), Failed> {
    // Before the first look, so that nothing falls between.
    let mut events = operator.events();
    let mut screen = Screen {
        answer,
        task,
        told: String::new(),
        within_line: false,
    };
    let mut followed = 0;
    loop {
        let Some(view) = operator.task(task).await? else {
            return Err(Failed(format!(
                "There is no task {task}: `list-tasks` shows those that there are"
            )));
        };
        let state = &view.record.state;
        if !state.status.is_final() {
            let standing = (state.status, state.phase, state.worker.as_ref());
            screen.tell(standing, &state.reason).await;
        }
        if state.attempt > followed {
            followed = state.attempt;
            let attempt = AttemptId::new(task.clone(), followed);
            match operator.follow_log(&attempt).await {
                Ok(log) => screen.copy(log, &mut events).await?,
                // How it ended is said below, and that its log was removed.
                Err(LogFailure::Removed { .. }) => {}
                Err(error) => return Err(Failed::to("read the log")(error)),
            }
        } else if state.status.is_final() {
            answer.calm();
            screen.end_line().await;
            answer.text(ending(&view)).await;
            return Ok(());
        } else {
            // Whether it was news or the time: look again.
            let _ = tokio::time::timeout(LOOK_INTERVAL, news_of(task, &mut events)).await;
        }
    }
}

struct Screen<'a> {
    answer: &'a Answer,
    task: &'a TaskId,
    told: String,
    /// Whether what the task printed last ended without a line break.
    within_line: bool,
}

impl Screen<'_> {
    /// Says where the task stands while it prints nothing, unless that is what was said last.
    async fn tell(
        &mut self,
        (status, phase, worker): (TaskStatus, Phase, Option<&WorkerId>),
        reason: &str,
    ) {
        let task = self.task;
        let text = match (status, worker) {
            (TaskStatus::Queued, _) if reason.is_empty() => format!("Task {task} {status}"),
            (TaskStatus::Queued, _) => format!("Task {task} {status}: {}", safe(reason)),
            (TaskStatus::Pending, Some(worker)) if reason.is_empty() => {
                format!("Task {task} {status} on {worker}: {phase}")
            }
            (TaskStatus::Pending, Some(worker)) => {
                format!(
                    "Task {task} {status} on {worker}: {phase}: {}",
                    safe(reason)
                )
            }
            _ => return,
        };
        if text != self.told {
            self.end_line().await;
            self.answer.line(text.clone()).await;
            self.told = text;
        }
    }

    async fn end_line(&mut self) {
        if std::mem::take(&mut self.within_line) {
            self.answer.text("\n").await;
        }
    }

    /// Prints a log to its end; before its first byte, what the attempt is at.
    async fn copy(
        &mut self,
        mut log: Box<dyn FrameSource>,
        events: &mut Receiver<Event>,
    ) -> Result<(), Failed> {
        let mut silent = true;
        loop {
            tokio::select! {
                biased;
                frame = log.next() => match frame.map_err(Failed::to("read the log"))? {
                    Some(frame) => {
                        silent = false;
                        self.within_line = frame.data.last().is_some_and(|byte| *byte != b'\n');
                        self.answer.bytes(frame.data.to_vec()).await;
                    }
                    None => return Ok(()),
                },
                news = news_of(self.task, events), if silent => if let Some(news) = news {
                    let standing = (news.status, news.phase, news.worker.as_ref());
                    self.tell(standing, &news.detail).await;
                },
            }
        }
    }
}

/// The next event about the task; `None` if some were missed, of which one may have been it.
async fn news_of(task: &TaskId, events: &mut Receiver<Event>) -> Option<TaskNews> {
    loop {
        match events.recv().await {
            Ok(Event::Task(news)) if news.task == *task => return Some(news),
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => return None,
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
