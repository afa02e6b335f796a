//! The judgement: what became of every task, against what must have become of it. It knows nothing of
//! how the cluster works, only what was ordered, what the master lists, what lies in logs and files,
//! and what the engine did.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    listed::Listed,
    tasks::{End, Kind},
    witness::{Run, Runs},
    workload::{Answer, CancelSaid, Order},
};

/// Whatever is broken, a container is stopped so long after its task's cancel was taken. What is to be
/// cancelled would run for longer by itself.
const STOPS_WITHIN: Duration = Duration::from_secs(40);
/// Whatever else the machine does, a container has written its first line by then.
const WRITES_WITHIN: Duration = Duration::from_secs(5);
/// The exit code of a container that was asked to end and did.
const ENDED_WHEN_ASKED: i64 = 143;
/// How a refusal begins that a master may give: it has no room, or can't write.
const MAY_REFUSE: &str = "no new task is taken: ";

/// What the log or the files of a task are, beside what they must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compared {
    /// All of it, byte for byte.
    Whole,
    /// What is there is right, and something is missing.
    Part(String),
    /// The same of what may have been ended anywhere on its way: so many bytes.
    Beginning(usize),
    /// Something is there that must not be.
    Differs(String),
    /// It can't be read.
    Unreadable(String),
}

/// What an ended task has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Its last attempt's log.
    pub log: Compared,
    /// Its files.
    pub files: Compared,
}

/// All that is known at the end.
pub struct Evidence<'a> {
    /// What was submitted.
    pub orders: &'a [Order],
    /// What the master lists.
    pub listed: &'a [Listed],
    /// What ended tasks have left, by id.
    pub left: &'a BTreeMap<String, Left>,
    /// What the engine did.
    pub runs: &'a Runs,
}

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The task's id, if it is about one.
    pub task: Option<String>,
    /// What is wrong.
    pub what: String,
}

impl Violation {
    /// About no task alone.
    pub fn of_all(what: impl Into<String>) -> Self {
        Self {
            task: None,
            what: what.into(),
        }
    }

    /// About a task.
    pub fn of(task: &str, what: impl Into<String>) -> Self {
        Self {
            task: Some(task.to_owned()),
            what: what.into(),
        }
    }
}

/// Every broken promise.
#[must_use]
pub fn judge(evidence: &Evidence<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    accepted_is_kept(evidence, &mut found);
    let orders: BTreeMap<&str, &Order> = evidence
        .orders
        .iter()
        .map(|order| (order.name.as_str(), order))
        .collect();
    for task in evidence.listed {
        let Some(order) = orders.get(task.name.as_str()) else {
            found.push(Violation::of(&task.id, "is listed and nobody submitted it"));
            continue;
        };
        if !task.is_final() {
            let what = format!("has not ended: {}, {}", task.status, task.reason);
            found.push(Violation::of(&task.id, what));
            continue;
        }
        let of = |what| Violation::of(&task.id, what);
        found.extend(ends_as_it_must(order, task).map(of));
        found.extend(is_cancelled_as_told(order, task, evidence.runs).map(of));
        found.extend(left_what_it_must(&order.kind, task, evidence).map(of));
        found.extend(ran_as_it_says(&order.kind, task, evidence.runs).map(of));
    }
    found.extend(started_once(evidence));
    found
}

/// Answered means there, once; refused means not there; and of no answer at most one comes.
fn accepted_is_kept(evidence: &Evidence<'_>, found: &mut Vec<Violation>) {
    let mut listed: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for task in evidence.listed {
        listed.entry(&task.name).or_default().push(&task.id);
    }
    for order in evidence.orders {
        let there = listed.get(order.name.as_str());
        let there = there.map_or(&[][..], Vec::as_slice);
        if there.len() > 1 {
            let what = format!(
                "was submitted once as {} and is there as {there:?}",
                order.name
            );
            found.push(Violation::of(there[0], what));
        }
        match &order.answer {
            Answer::Accepted(task) if !there.contains(&task.to_string().as_str()) => {
                let what = format!("was accepted as {} and is not listed", order.name);
                found.push(Violation::of(&task.to_string(), what));
            }
            Answer::Refused(why) if !there.is_empty() => {
                let what = format!("was refused ({why}) and is listed");
                found.push(Violation::of(there[0], what));
            }
            Answer::Refused(why) if !why.starts_with(MAY_REFUSE) => {
                let what = format!("{} was refused: {why}", order.name);
                found.push(Violation::of_all(what));
            }
            Answer::Wrong(what) => {
                let what = format!("the submit of {} was answered with {what}", order.name);
                found.push(Violation::of_all(what));
            }
            _ => {}
        }
    }
}

fn ends_as_it_must(order: &Order, task: &Listed) -> Option<String> {
    let end = match task.status.as_str() {
        "completed" => End::Completed,
        "failed" => End::Failed,
        _ => End::Cancelled,
    };
    let may = order.kind.ends();
    if !may.contains(&end) || (end == End::Cancelled && !order.cancel.asked) {
        return Some(format!(
            "ended as {} ({}, exit code {:?}), which {:?} must not",
            task.status, task.reason, task.exit_code, order.kind
        ));
    }
    let figures = (task.exit_code, task.retries_used, task.time_out.as_deref());
    let right = match (&order.kind, end) {
        (Kind::Fails { code, retries }, _) => figures == (Some((*code).into()), *retries, None),
        (Kind::TimesOut { .. }, _) => figures.2 == Some("run") && figures.1 == 0,
        (Kind::Impatient { .. }, End::Failed) => figures.2 == Some("queue"),
        (Kind::FailsTwice, _) => figures.0 == Some(0) && figures.1 <= 2,
        (_, End::Completed) => figures == (Some(0), 0, None),
        (_, End::Failed | End::Cancelled) => true,
    };
    (!right).then(|| {
        let (code, retries, time_out) = figures;
        format!(
            "ended as {} with exit code {code:?}, {retries} retries and time-out {time_out:?}, \
             which {:?} must not: {}",
            task.status, order.kind, task.reason
        )
    })
}

/// A cancel that was taken is not forgotten.
fn is_cancelled_as_told(order: &Order, task: &Listed, runs: &Runs) -> Option<String> {
    let is_cancelled = task.status == "cancelled";
    match order.cancel.said.as_ref()? {
        CancelSaid::Done => (!is_cancelled).then(|| {
            let status = &task.status;
            format!("was answered to be cancelled, and is {status}")
        }),
        CancelSaid::UnderWay { at } if !is_cancelled => {
            let run = runs.get(&(task.id.clone(), task.attempt));
            let ended_at = run.and_then(|run| run.ended_at);
            (ended_at.is_none_or(|ended_at| ended_at > *at + STOPS_WITHIN)).then(|| {
                format!(
                    "its cancel was taken {:.1} s in, and it ran on, as {}, until {ended_at:?}",
                    at.as_secs_f64(),
                    task.status
                )
            })
        }
        CancelSaid::Refused(why) if !why.contains("is final") => Some(format!(
            "was accepted and not known to have ended, and its cancel was refused: {why}"
        )),
        CancelSaid::Never(last) => Some(format!("its cancel was never answered: {last}")),
        CancelSaid::UnderWay { .. } | CancelSaid::Refused(_) => None,
    }
}

/// Whole, or it says that it is not, and then what is there is right.
fn left_what_it_must(kind: &Kind, task: &Listed, evidence: &Evidence<'_>) -> Option<String> {
    let Some(left) = evidence.left.get(&task.id) else {
        return (task.attempt > 0).then(|| "was not looked at".to_owned());
    };
    let run = evidence.runs.get(&(task.id.clone(), task.attempt));
    // A task that ended on the way has left what it had come to.
    let on_the_way = task.status != "completed" && !matches!(kind, Kind::Fails { .. });
    for (name, compared, said_complete) in [
        ("log is", &left.log, task.log_complete),
        ("files are", &left.files, task.files_complete),
    ] {
        let right = match compared {
            Compared::Whole => true,
            Compared::Part(_) => on_the_way || said_complete == Some(false),
            Compared::Beginning(bytes) => {
                on_the_way && (said_complete != Some(true) || !wrote_more(kind, run, *bytes))
            }
            Compared::Differs(_) => false,
            // What never ran has none, and what was lost with its worker.
            Compared::Unreadable(_) => {
                on_the_way && (run.is_none_or(|run| run.starts == 0) || said_complete != Some(true))
            }
        };
        if !right {
            return Some(format!(
                "its {name} not what it wrote, complete is {said_complete:?}, its run {run:?}: \
                 {compared:?}"
            ));
        }
    }
    None
}

/// Whether a run that ended on the way must have written more than so much.
fn wrote_more(kind: &Kind, run: Option<&Run>, bytes: usize) -> bool {
    let Some(run) = run else { return false };
    match kind {
        // It tells of the signal before it ends by it.
        Kind::TimesOut { .. } => run.exit_codes == [ENDED_WHEN_ASKED],
        _ => {
            let ran = run.started_at.zip(run.ended_at);
            bytes == 0 && ran.is_some_and(|(start, end)| end.saturating_sub(start) > WRITES_WITHIN)
        }
    }
}

/// The engine knows of the run that the result tells of.
fn ran_as_it_says(kind: &Kind, task: &Listed, runs: &Runs) -> Option<String> {
    let code = match (task.status.as_str(), kind) {
        ("completed", _) => 0,
        ("failed", Kind::Fails { code, .. }) => i64::from(*code),
        _ => return None,
    };
    let run = runs.get(&(task.id.clone(), task.attempt));
    // An engine drops an event that a reader doesn't take in time: one that is not there proves nothing.
    let ran = |run: &Run| match run.exit_codes.as_slice() {
        [] => run.starts == 1,
        codes => run.starts <= 1 && codes == [code],
    };
    let right = run.is_some_and(ran);
    (!right).then(|| {
        let attempt = task.attempt;
        format!("its result is of attempt {attempt}, of which the engine says {run:?}")
    })
}

/// No attempt is started twice, none comes after the one that ended its task, and none is of a task
/// that there is not.
fn started_once(evidence: &Evidence<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    let last: BTreeMap<&str, u32> = evidence
        .listed
        .iter()
        .map(|task| (task.id.as_str(), task.attempt))
        .collect();
    let mut unknown = BTreeSet::new();
    for ((task, attempt), run) in evidence.runs {
        if run.starts > 1 || run.exit_codes.len() > 1 {
            let what = format!("attempt {attempt} ran more than once: {run:?}");
            found.push(Violation::of(task, what));
        }
        match last.get(task.as_str()) {
            None if unknown.insert(task) => {
                found.push(Violation::of(task, "ran and is not listed"));
            }
            Some(last) if attempt > last => {
                let what = format!("attempt {attempt} ran and its last one is {last}");
                found.push(Violation::of(task, what));
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests;
