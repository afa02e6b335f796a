//! What users and admins want besides tasks and cancels: several tasks at once, holds, other
//! priorities, and limits of users.
//!
//! All of it has chance of its own: a plan without it is the same plan otherwise.

use super::{Behaviour, Item, LimitPlan, Offer, Plan, TaskPlan, What, generate::task_items};
use crate::chance::Chance;

const SECOND: u64 = 1000;

/// Wishes about the tasks of a plan, and batches of tasks with numbers beyond theirs.
pub(super) fn wishes(
    chance: Chance,
    tasks: u64,
    workers: &[Offer],
    submitted_ms: impl Fn(u64) -> u64,
    horizon_ms: u64,
) -> Vec<Item> {
    let mut items = Vec::new();
    for task in 0..tasks {
        let source = chance.of("wish").nth(task);
        items.extend(about_task(source, task, submitted_ms(task), horizon_ms));
    }
    for batch in 0..2 {
        let source = chance.of("batch").nth(batch);
        let first = tasks + batch * MOST_IN_A_BATCH;
        items.extend(self::batch(source, first, workers, horizon_ms));
    }
    for user in 0..Plan::USERS {
        items.extend(limits(
            chance.of("limit").nth(user),
            user,
            workers,
            horizon_ms,
        ));
    }
    items
}

const MOST_IN_A_BATCH: u64 = 8;

fn about_task(mut chance: Chance, task: u64, at_ms: u64, horizon_ms: u64) -> Vec<Item> {
    let mut items = Vec::new();
    let mut push = |at_ms: u64, what| items.push(Item { at_ms, what });
    if chance.percent(12) {
        // Most tasks are soon with a worker.
        let held_ms = at_ms + chance.pick(&[10, 50, 300, 4 * SECOND]);
        push(held_ms, What::Hold { task, hold: true });
        if chance.percent(70) {
            let at_ms = chance.between(held_ms, held_ms.max(horizon_ms));
            push(at_ms, What::Hold { task, hold: false });
        }
    }
    if chance.percent(10) {
        let priority = chance.pick(&[0, 10, 60, 100]);
        let at_ms = at_ms + chance.between(0, 10 * SECOND);
        push(at_ms, What::Prioritise { task, priority });
    }
    items
}

/// Perhaps several tasks at once, perhaps on hold.
fn batch(mut chance: Chance, first: u64, workers: &[Offer], horizon_ms: u64) -> Vec<Item> {
    if !chance.percent(30) {
        return Vec::new();
    }
    let at_ms = chance.between(0, horizon_ms * 2 / 3);
    let hold = chance.percent(30);
    let numbers = first..first + chance.between(2, MOST_IN_A_BATCH);
    let tasks: Vec<TaskPlan> = numbers
        .filter_map(|number| {
            let items = task_items(chance.of("task").nth(number), number, workers, horizon_ms);
            items.into_iter().find_map(|item| match item.what {
                What::Submit(task) => Some(one_of_many(task)),
                _ => None,
            })
        })
        .collect();
    let mut items = Vec::new();
    if hold {
        for task in &tasks {
            if chance.percent(60) {
                items.push(Item {
                    at_ms: chance.between(at_ms, horizon_ms),
                    what: What::Hold {
                        task: task.task,
                        hold: false,
                    },
                });
            }
        }
    }
    items.push(Item {
        at_ms,
        what: What::SubmitMany { tasks, hold },
    });
    items
}

/// A task as one of several: who gets no answer knows none of them, and can't cancel one that never ends.
fn one_of_many(task: TaskPlan) -> TaskPlan {
    let run_ms = task.does.run_ms.min(60 * SECOND);
    TaskPlan {
        own_id: false,
        target: None,
        does: Behaviour {
            run_ms,
            ..task.does.clone()
        },
        ..task
    }
}

/// Perhaps limits of a user, and perhaps others later.
fn limits(mut chance: Chance, user: u64, workers: &[Offer], horizon_ms: u64) -> Vec<Item> {
    let mut items = Vec::new();
    let cores: u64 = workers.iter().map(|worker| worker.cpu_milli).sum();
    for rate in [25, 12] {
        if !chance.percent(rate) {
            break;
        }
        let at_ms = match chance.percent(50) {
            true => chance.between(0, 2 * SECOND),
            false => chance.between(0, horizon_ms),
        };
        let what = What::Limit(LimitPlan {
            user,
            cpu_milli: chance
                .percent(70)
                .then(|| cores * chance.pick(&[0, 1, 2, 5]) / 10),
            gpu_milli: chance.percent(30).then(|| chance.pick(&[0, 500, 1000])),
            queued_tasks: chance.percent(20).then(|| chance.between(0, 5)),
        });
        items.push(Item { at_ms, what });
    }
    items
}
