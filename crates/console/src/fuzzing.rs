//! Doors for `crates/fuzzing` to what reads an operator's words. Nothing else goes through them.

use cloudai_model::{TaskDraft, Wall};
use rustyline::{Context, completion::Completer as _, history::DefaultHistory};

use crate::{
    command::{self, Command},
    complete::{Known, Words},
    piped,
    render::text::safe,
};

/// A line as it was understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Understood {
    /// The command, as `Debug` shows it.
    pub shown: String,
    /// The task that it submits, if it is one that does.
    pub submits: Option<TaskDraft>,
}

/// Reads a line; `None` if there is nothing on it.
///
/// # Errors
/// What the operator is told, as it is printed.
pub fn line(line: &str, now: Wall) -> Result<Option<Understood>, String> {
    let command = command::parse(line, now).map_err(|error| safe(&error.to_string()))?;
    Ok(command.map(|command| Understood {
        shown: format!("{command:?}"),
        submits: match command {
            Command::Submit(draft) => Some(*draft),
            _ => None,
        },
    }))
}

/// What the Tab key offers at this place of a line, in a cluster of which nothing is known: where
/// the completed word begins, and what takes its place. Folders of this machine are not looked for.
#[must_use]
pub fn completions(line: &str, at: usize) -> Option<(usize, Vec<String>)> {
    let words = Words::new(Known::default());
    if words.looks_for_files(&line[..at]) {
        return None;
    }
    let history = DefaultHistory::new();
    let (start, pairs) = words.complete(line, at, &Context::new(&history)).ok()?;
    let replacements = pairs.into_iter().map(|pair| pair.replacement);
    Some((start, replacements.collect()))
}

/// Takes what comes through a pipe apart into lines.
#[must_use]
pub fn lines(mut input: &[u8]) -> Vec<Result<String, String>> {
    std::iter::from_fn(|| piped::next_line(&mut input))
        .map(|line| line.map_err(|error| error.to_string()))
        .collect()
}
