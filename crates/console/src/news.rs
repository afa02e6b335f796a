//! What happens in the cluster, a line each, while nobody asks.

use std::collections::BTreeMap;

use cloudai_core::{Event, TaskNews, WorkerChange};
use cloudai_model::{Phase, TaskStatus, WorkerId, resources::bytes_to_gb, time::span_words};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::{output::Output, render::text::safe};

/// Prints events until the master has no more.
pub async fn announce(mut events: Receiver<Event>, output: Output) {
    let mut refused = Refused::default();
    loop {
        match events.recv().await {
            Ok(event) if refused.was_told(&event) => {}
            Ok(event) => {
                if let Some(line) = line(&event) {
                    output.news(line);
                }
            }
            Err(RecvError::Lagged(count)) => output.missed(count),
            Err(RecvError::Closed) => return,
        }
    }
}

/// Workers that are not let in, as told last: they try again every few seconds.
#[derive(Debug, Default)]
struct Refused(BTreeMap<WorkerId, String>);

impl Refused {
    /// Anybody may knock under any name: no more are remembered.
    const MOST: usize = 100;

    /// Whether the event says again what was said before.
    fn was_told(&mut self, event: &Event) -> bool {
        match event {
            Event::WorkerRefused { worker, reason } => {
                let told = self.0.get(worker) == Some(reason);
                if !told && self.0.len() < Self::MOST {
                    self.0.insert(worker.clone(), reason.clone());
                }
                // Beyond that, silence: the screen is the operator's.
                told || !self.0.contains_key(worker)
            }
            Event::WorkerAdded(worker)
            | Event::WorkerUpdated {
                worker,
                change: WorkerChange::Introduced { .. },
            } => {
                self.0.remove(worker);
                false
            }
            _ => false,
        }
    }
}

/// An event as a line; `None` for one that an operator wouldn't want to see unasked.
fn line(event: &Event) -> Option<String> {
    match event {
        Event::WorkerUpdated { worker, change } => match change {
            WorkerChange::Introduced { shown_ip, capacity } => Some(format!(
                "Worker registration: {worker} (IP: {}, CPU: {:.2}, Memory: {:.2} GB)",
                safe(shown_ip),
                capacity.cpu_milli as f64 / 1000.0,
                bytes_to_gb(capacity.memory_bytes)
            )),
            // Of a drain whoever asked for it has the answer on the screen.
            WorkerChange::Heartbeat | WorkerChange::Draining(_) => None,
            WorkerChange::Active => Some(format!("Worker active: {worker}")),
            WorkerChange::Inactive => Some(format!("Worker inactive: {worker} is silent")),
            WorkerChange::Lost => Some(format!(
                "Worker lost: {worker} was silent for too long, its tasks go elsewhere"
            )),
            WorkerChange::Health(Some(reason)) => Some(format!(
                "Worker unwell: {worker} takes nothing new: {}",
                safe(reason)
            )),
            WorkerChange::SetAside(Some(aside)) => Some(format!(
                "Worker set aside: {worker} is given nothing new for {}: {}; `undrain {worker}` \
                 takes it back at once",
                span_words(aside.span),
                safe(&aside.reason)
            )),
            WorkerChange::SetAside(None) => {
                Some(format!("Worker taken back: {worker} is given tasks again"))
            }
            WorkerChange::Health(None) => Some(format!("Worker well: {worker} takes tasks again")),
        },
        Event::WorkerRefused { reason, .. } => Some(format!("Worker refused: {}", safe(reason))),
        // Whoever did it has the answer on the screen.
        Event::WorkerAdded(_) | Event::WorkerRemoved(_) => None,
        Event::Task(news) if news.phase == Phase::Done => Some(completion(news)),
        Event::Task(_) => None,
    }
}

fn completion(news: &TaskNews) -> String {
    let status = match news.status {
        TaskStatus::Completed => "success",
        TaskStatus::Cancelled => "cancelled",
        _ => "failure",
    };
    let worker = news
        .worker
        .as_ref()
        .map(|worker| format!(" from worker {worker}"))
        .unwrap_or_default();
    let reason = match news.detail.as_str() {
        "" | "cancelled" => String::new(),
        reason => format!(" {}", safe(reason)),
    };
    format!(
        "Task completion: {}{worker} [Status: {status}]{reason}",
        news.task
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cloudai_core::registry::SetAside;
    use cloudai_model::{Capacity, Mono, Wall, resources::GB};

    use super::*;

    fn updated(change: WorkerChange) -> Option<String> {
        line(&Event::WorkerUpdated {
            worker: "worker-1".parse().unwrap(),
            change,
        })
    }

    fn ended(status: TaskStatus, worker: Option<&str>, detail: &str) -> Option<String> {
        line(&Event::Task(TaskNews {
            task: "task-1697123455000001".parse().unwrap(),
            attempt: 1,
            worker: worker.map(|worker| worker.parse().unwrap()),
            status,
            phase: Phase::Done,
            detail: detail.to_owned(),
            at: Wall(0),
        }))
    }

    #[test]
    fn a_worker_that_introduces_itself_is_shown_with_what_it_offers() {
        let change = WorkerChange::Introduced {
            shown_ip: "localhost".to_owned(),
            capacity: Capacity {
                cpu_milli: 4000,
                memory_bytes: 8 * GB,
                ..Capacity::default()
            },
        };
        assert_eq!(
            updated(change).unwrap(),
            "Worker registration: worker-1 (IP: localhost, CPU: 4.00, Memory: 8.00 GB)"
        );
    }

    #[test]
    fn a_refusal_is_told_once_until_something_changes() {
        let mut refused = Refused::default();
        let knock = |worker: &str, reason: &str| Event::WorkerRefused {
            worker: worker.parse().unwrap(),
            reason: reason.to_owned(),
        };
        assert_eq!(
            line(&knock("w", "worker w not authorized")).unwrap(),
            "Worker refused: worker w not authorized"
        );
        assert!(!refused.was_told(&knock("w", "not authorized")));
        assert!(refused.was_told(&knock("w", "not authorized")));
        assert!(!refused.was_told(&knock("w", "wrong token")));
        assert!(!refused.was_told(&Event::WorkerAdded("w".parse().unwrap())));
        assert!(!refused.was_told(&knock("w", "wrong token")));
        // A flood of names is cut off.
        let told = (0..1000).filter(|n| !refused.was_told(&knock(&format!("w{n}"), "no")));
        assert_eq!(told.count(), Refused::MOST - 1);
    }

    #[test]
    fn a_heartbeat_is_no_news_and_silence_is() {
        assert_eq!(updated(WorkerChange::Heartbeat), None);
        let lines = [
            WorkerChange::Inactive,
            WorkerChange::Lost,
            WorkerChange::Active,
        ]
        .map(|change| updated(change).unwrap());
        assert_eq!(
            lines,
            [
                "Worker inactive: worker-1 is silent",
                "Worker lost: worker-1 was silent for too long, its tasks go elsewhere",
                "Worker active: worker-1",
            ]
        );
        assert_eq!(
            updated(WorkerChange::Health(Some("disk\x07full".to_owned()))).unwrap(),
            "Worker unwell: worker-1 takes nothing new: disk\\u{7}full"
        );
    }

    #[test]
    fn a_worker_that_is_set_aside_is_told_with_why_and_how_to_take_it_back() {
        let aside = SetAside {
            until: Mono(0),
            span: Duration::from_secs(120),
            reason: "5 different tasks".to_owned(),
        };
        assert_eq!(
            updated(WorkerChange::SetAside(Some(aside))).unwrap(),
            "Worker set aside: worker-1 is given nothing new for 2m: 5 different tasks; `undrain \
             worker-1` takes it back at once"
        );
        assert_eq!(
            updated(WorkerChange::SetAside(None)).unwrap(),
            "Worker taken back: worker-1 is given tasks again"
        );
    }

    #[test]
    fn the_end_of_a_task_says_how_and_why() {
        assert_eq!(
            ended(TaskStatus::Completed, Some("worker-1"), "").unwrap(),
            "Task completion: task-1697123455000001 from worker worker-1 [Status: success]"
        );
        assert_eq!(
            ended(TaskStatus::Failed, Some("worker-1"), "exit code 3").unwrap(),
            "Task completion: task-1697123455000001 from worker worker-1 [Status: failure] exit code 3"
        );
        assert_eq!(
            ended(TaskStatus::Cancelled, None, "cancelled").unwrap(),
            "Task completion: task-1697123455000001 [Status: cancelled]"
        );
    }
}
