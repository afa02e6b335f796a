//! A task's timeline: what happened to it, and when.

use cloudai_model::record::AssignmentRecord;
use cloudai_operator::TaskView;
use serde::Serialize;
use utoipa::{ToSchema, openapi::Object};

use crate::figures::{Time, words};

/// Something that happened to a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TimelineEvent {
    /// When.
    at: Time,
    /// What.
    #[schema(schema_with = kind_schema)]
    kind: &'static str,
    /// Of which attempt; null of the task as a whole.
    attempt: Option<u32>,
    /// Where.
    worker_id: Option<String>,
    /// More, in words.
    detail: String,
}

fn kind_schema() -> Object {
    words([
        "submitted",
        "assigned",
        "started",
        "ended",
        "retry",
        "completed",
        "failed",
        "cancelled",
    ])
    .into()
}

/// All that is known to have happened to a task, in its order.
#[must_use]
pub fn timeline(view: &TaskView, attempts: &[AssignmentRecord]) -> Vec<TimelineEvent> {
    let (record, state) = (&view.record, &view.record.state);
    let of_task = |at, kind, detail: &str| TimelineEvent {
        at: Time(at),
        kind,
        attempt: None,
        worker_id: None,
        detail: detail.to_owned(),
    };
    let mut events = vec![of_task(record.submitted_at, "submitted", "")];
    for attempt in attempts {
        let number = attempt.attempt.number;
        let of_attempt = |at, kind, detail: &str| TimelineEvent {
            attempt: Some(number),
            worker_id: Some(attempt.worker.to_string()),
            ..of_task(at, kind, detail)
        };
        events.push(of_attempt(attempt.assigned_at, "assigned", ""));
        if number == state.attempt
            && let Some(at) = state.started_at
        {
            events.push(of_attempt(at, "started", ""));
        }
        if let Some((at, how)) = &attempt.ended {
            events.push(of_attempt(*at, "ended", how));
        }
    }
    if let Some(at) = state.retry_at {
        events.push(of_task(at, "retry", &state.reason));
    }
    if let Some(at) = state.completed_at {
        events.push(of_task(at, state.status.as_str(), &state.reason));
    }
    // What has the same time keeps its order.
    events.sort_by_key(|event| event.at);
    events
}

#[cfg(test)]
mod tests {
    use cloudai_model::{
        AttemptId, Grant, Phase, TaskDraft, TaskId, TaskStatus, Wall,
        record::{Removed, TaskRecord, TaskState},
    };

    use super::*;

    #[test]
    fn two_attempts_are_told_in_their_order() {
        let draft = TaskDraft {
            docker_image: "alpine".into(),
            ..TaskDraft::default()
        };
        let record = TaskRecord {
            task: TaskId::numbered(1),
            order: 1,
            spec: draft.check().unwrap().1,
            submitted_at: Wall(10),
            state: TaskState {
                status: TaskStatus::Failed,
                phase: Phase::Done,
                attempt: 2,
                started_at: Some(Wall(50)),
                completed_at: Some(Wall(60)),
                ..TaskState::queued("exit code 1")
            },
        };
        let attempt = |number, assigned_at, ended| AssignmentRecord {
            attempt: AttemptId::new(TaskId::numbered(1), number),
            worker: "w".parse().unwrap(),
            sequence: u64::from(number),
            grant: Grant::default(),
            assigned_at: Wall(assigned_at),
            ended: Some((Wall(ended), "exit code 1".to_owned())),
        };
        let view = TaskView {
            record,
            result: None,
            removed: Removed::default(),
        };
        let told = timeline(&view, &[attempt(1, 20, 30), attempt(2, 40, 60)]);
        let told: Vec<_> = told
            .iter()
            .map(|event| (event.at.0.0, event.kind, event.attempt))
            .collect();
        assert_eq!(
            told,
            [
                (10, "submitted", None),
                (20, "assigned", Some(1)),
                (30, "ended", Some(1)),
                (40, "assigned", Some(2)),
                (50, "started", Some(2)),
                (60, "ended", Some(2)),
                (60, "failed", None),
            ]
        );
    }
}
