//! Attempts as old nodes know them: by a task id alone.
//!
//! A first attempt goes to an old worker under the task's own id, a later one under
//! `<task id>-<attempt>`, so that its reports, files and cancels are told apart. Which of the two
//! an id that comes back means is not written on it: a client may have chosen a task id that ends
//! in a number. Only the master, which knows what it sent there, can say.

use crate::AttemptId;

/// The task id under which an old node gets this attempt.
#[must_use]
pub fn task_id(attempt: &AttemptId) -> String {
    if attempt.number <= 1 {
        attempt.task.to_string()
    } else {
        attempt.to_string()
    }
}

/// What an attempt read from a message may mean, likeliest first.
///
/// A new node says its attempt's number and there is one reading. An old one says none (0): then
/// its id is that of a first attempt, or names a later one.
#[must_use]
pub fn readings(attempt: &AttemptId) -> Vec<AttemptId> {
    if attempt.number > 0 {
        return vec![attempt.clone()];
    }
    let first = AttemptId::new(attempt.task.clone(), 1);
    std::iter::once(first)
        .chain(split(&attempt.task.to_string()))
        .collect()
}

/// Takes `<task id>-<attempt>` apart, for attempts from 2.
#[must_use]
pub fn split(text: &str) -> Option<AttemptId> {
    let (task, number) = text.rsplit_once('-')?;
    let canonical = number.bytes().all(|b| b.is_ascii_digit()) && !number.starts_with('0');
    let number: u32 = number.parse().ok().filter(|number| *number > 1)?;
    let task = task.parse().ok().filter(|_| canonical)?;
    Some(AttemptId::new(task, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(task: &str, number: u32) -> AttemptId {
        AttemptId::new(task.parse().unwrap(), number)
    }

    #[test]
    fn a_later_attempt_gets_an_id_of_its_own() {
        assert_eq!(task_id(&attempt("task-7", 1)), "task-7");
        assert_eq!(task_id(&attempt("task-7", 3)), "task-7-3");
    }

    #[test]
    fn every_id_that_was_sent_is_among_the_readings_of_what_comes_back() {
        for sent in [
            attempt("task-7", 1),
            attempt("task-7", 2),
            attempt("a-2", 1),
            attempt("a-2", 12),
        ] {
            let back = AttemptId::new(task_id(&sent).parse().unwrap(), 0);
            assert!(readings(&back).contains(&sent), "{sent}");
        }
    }

    #[test]
    fn what_only_looks_like_an_attempt_is_a_task() {
        for text in ["a", "a-1", "a-02", "a-+3", "a-", "-5"] {
            assert_eq!(split(text), None, "{text}");
        }
        let new = attempt("task-7-2", 4);
        assert_eq!(readings(&new), vec![new], "a new node says what it means");
    }
}
