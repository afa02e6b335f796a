//! What the Tab key completes: commands, the options of `task`, the words for a status.

use cloudai_model::TaskStatus;
use rustyline::{
    Context, Helper, Highlighter, Hinter, Result, Validator,
    completion::{Completer, Pair},
};

use crate::help::{TASK_OPTIONS, TOPICS};

/// For the line editor.
#[derive(Helper, Hinter, Highlighter, Validator)]
pub(crate) struct Words;

impl Completer for Words {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> Result<(usize, Vec<Pair>)> {
        let (start, words) = candidates(&line[..at]);
        let pairs = words.into_iter().map(|word| Pair {
            replacement: format!("{word} "),
            display: word,
        });
        Ok((start, pairs.collect()))
    }
}

/// Where the word under the cursor begins, and what it could become.
fn candidates(typed: &str) -> (usize, Vec<String>) {
    let start = typed.rfind(char::is_whitespace).map_or(0, |at| at + 1);
    let word = &typed[start..];
    let mut before = typed[..start].split_whitespace();
    let commands = || TOPICS.iter().map(|topic| topic.name.to_owned());
    let all: Vec<String> = match (before.next(), before.next()) {
        (None, _) | (Some("help"), None) => commands().collect(),
        (Some("task" | "dispatch"), _) if word.starts_with("--") => options("--"),
        (Some("task" | "dispatch"), _) if word.starts_with('-') => options("-"),
        (Some("list-tasks"), None) => TaskStatus::ALL.iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    };
    let matching = all.into_iter().filter(|name| name.starts_with(word));
    (start, matching.collect())
}

fn options(dashes: &str) -> Vec<String> {
    let names = TASK_OPTIONS.iter();
    names
        .map(|(name, _, _)| format!("{dashes}{name}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(typed: &str) -> Vec<String> {
        candidates(typed).1
    }

    #[test]
    fn commands_options_and_statuses_are_completed() {
        assert_eq!(of("un"), ["unregister"]);
        assert_eq!(of("help dis"), ["dispatch"]);
        assert_eq!(of("task img --cp"), ["--cpu_cores"]);
        assert_eq!(of("task img -mem 2 -e"), ["-env", "-estimate"]);
        assert_eq!(of("list-tasks ru"), ["running"]);
        assert!(of("cancel t").is_empty());
        assert_eq!(candidates("task  img -cm"), (10, vec!["-cmd".to_owned()]));
    }
}
