//! The options of commands: `-mem 2`, `--mem 2`, `-mem=2`.

use std::{collections::BTreeMap, num::NonZeroUsize};

use cloudai_model::{ChangeDraft, ContainerDraft, Setting, TaskDraft, Wall, spec};

use crate::{
    help::{TASK_OPTIONS, Topic, nearest},
    time::{InstantError, RangeError, SpanError, parse_instant, parse_span, still_to_come},
};

/// Why an option is not taken. Each text shows a form that is.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum OptionError {
    /// There is no such option.
    #[error("unknown option {option}: {}", match nearest {
        Some(name) => format!("did you mean {name}?"),
        None => format!("`help {command}` shows those that there are"),
    })]
    Unknown {
        /// As it was typed.
        option: String,
        /// Of which command.
        command: &'static str,
        /// The option that was probably meant.
        nearest: Option<String>,
    },
    /// Nothing follows that could be its value.
    #[error("{option} has no value: expected {option} {example}")]
    NoValue {
        /// The option.
        option: String,
        /// A value.
        example: &'static str,
    },
    /// It is a switch, and was given a value.
    #[error("{0} takes no value: expected it alone")]
    NotTaken(String),
    /// It was given before.
    #[error("{0} is there twice: expected it once")]
    Twice(String),
    /// Its value is no number, or one that it can't be.
    #[error("{option} {value:?} can't be: expected {what}, such as {option} {example}")]
    Number {
        /// The option.
        option: String,
        /// What was typed.
        value: String,
        /// What it can be.
        what: &'static str,
        /// A value.
        example: &'static str,
    },
    /// Its value is no pair.
    #[error("{option} {value:?} has no '=': expected {option} {example}")]
    Pair {
        /// The option.
        option: String,
        /// What was typed.
        value: String,
        /// A value.
        example: &'static str,
    },
    /// Its value is no span.
    #[error("{0} {1}")]
    Span(String, #[source] SpanError),
    /// Its value is no time.
    #[error("{0} {1}")]
    Instant(String, #[source] InstantError),
    /// Its value is a time that can't be meant.
    #[error("{0} {1}")]
    Range(String, #[source] RangeError),
    /// A word stands where only an option can.
    #[error("{0:?} is no option: expected the image first, then options, and a command after --")]
    Stray(String),
    /// A word stands where only an option can, of a command that takes no image.
    #[error("{0:?} is no option: expected options after the task, such as -timeout 2h")]
    Extra(String),
    /// `--` is the last word.
    #[error("nothing follows --: expected a command, such as -- python train.py")]
    NoCommand,
    /// A picture that moves can't be read by a script.
    #[error("-w and -json exclude each other: expected one of them")]
    WatchedJson,
    /// Two commands.
    #[error("-cmd and -- both give a command: expected one of them")]
    TwoCommands,
}

/// The words of a line, one after the other.
#[derive(Debug)]
pub(crate) struct Words<'a> {
    rest: &'a [String],
    /// The options of the command, without their dashes.
    options: Vec<&'static str>,
}

impl<'a> Words<'a> {
    pub(crate) fn new(rest: &'a [String], topic: &'static Topic) -> Self {
        let options = match topic.name {
            "task" | "dispatch" => TASK_OPTIONS.iter().map(|(name, ..)| *name).collect(),
            _ => {
                let options = topic.options();
                options
                    .map(|option| option.trim_start_matches('-'))
                    .collect()
            }
        };
        Self { rest, options }
    }

    pub(crate) fn next_word(&mut self) -> Option<&'a str> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    /// The words before the first option.
    pub(crate) fn leading(&mut self) -> &'a [String] {
        let end = self.rest.iter().position(|word| is_option(word));
        let (names, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        names
    }

    /// The value of an option: what stood behind its `=`, or the next word unless that is itself
    /// an option of the same command.
    fn value(&mut self, option: &Given<'_>, example: &'static str) -> Result<String, OptionError> {
        if let Some(value) = option.value {
            return Ok(value.to_owned());
        }
        let next = self.rest.first().filter(|word| {
            *word != "--" && !(is_option(word) && self.options.contains(&Given::read(word).name))
        });
        let value = next.cloned().ok_or_else(|| OptionError::NoValue {
            option: option.shown(),
            example,
        })?;
        self.rest = &self.rest[1..];
        Ok(value)
    }

    /// Takes the value of an option if it is this word.
    fn takes(&mut self, option: &Given<'_>, word: &str) -> bool {
        match (option.value, self.rest) {
            (Some(value), _) => value == word,
            (None, [next, rest @ ..]) if next == word => {
                self.rest = rest;
                true
            }
            (None, _) => false,
        }
    }
}

/// Whether a word is an option and not a name: a dash and more.
pub(crate) fn is_option(word: &str) -> bool {
    word.len() > 1 && word.starts_with('-')
}

/// An option as it was typed.
struct Given<'a> {
    name: &'a str,
    value: Option<&'a str>,
}

impl<'a> Given<'a> {
    fn read(word: &'a str) -> Self {
        let bare = word.strip_prefix("--").or_else(|| word.strip_prefix('-'));
        let bare = bare.unwrap_or(word);
        match bare.split_once('=') {
            Some((name, value)) => Self {
                name,
                value: Some(value),
            },
            None => Self {
                name: bare,
                value: None,
            },
        }
    }

    fn shown(&self) -> String {
        format!("-{}", self.name.chars().take(80).collect::<String>())
    }

    fn unknown<'n>(
        &self,
        command: &'static str,
        names: impl IntoIterator<Item = &'n str>,
    ) -> OptionError {
        OptionError::Unknown {
            option: self.shown(),
            command,
            nearest: nearest(self.name, names).map(|name| format!("-{name}")),
        }
    }
}

/// The options of listings.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) json: bool,
    pub(crate) watch: bool,
    pub(crate) limit: Option<usize>,
    pub(crate) user: Option<String>,
}

impl Listing {
    /// Takes one option; a command has those that its form shows.
    pub(crate) fn take(
        &mut self,
        topic: &'static Topic,
        word: &str,
        words: &mut Words<'_>,
    ) -> Result<(), OptionError> {
        let given = Given::read(word);
        if !words.options.contains(&given.name) {
            return Err(given.unknown(topic.name, words.options.iter().copied()));
        }
        match given.name {
            "json" | "w" if given.value.is_some() => {
                return Err(OptionError::NotTaken(given.shown()));
            }
            "json" => self.json = true,
            "w" => self.watch = true,
            "limit" => {
                let limit: NonZeroUsize = number_of(&given, words, "20", "a number from 1 on")?;
                self.limit = Some(limit.get());
            }
            _ => self.user = Some(words.value(&given, "alice")?),
        }
        Ok(())
    }
}

/// The options of `task`, and the command behind them.
pub(crate) fn task(words: &mut Words<'_>, now: Wall) -> Result<TaskDraft, OptionError> {
    let mut draft = TaskDraft::default();
    while let Some(word) = words.next_word() {
        if word == "--" {
            let command: Vec<_> = std::mem::take(&mut words.rest).to_vec();
            if command.is_empty() {
                return Err(OptionError::NoCommand);
            }
            if draft.command != spec::Command::Image {
                return Err(OptionError::TwoCommands);
            }
            draft.command = spec::Command::Exec(command);
            return Ok(draft);
        }
        if !is_option(word) {
            return Err(OptionError::Stray(word.chars().take(80).collect()));
        }
        task_option(&mut draft, &Given::read(word), words, now)?;
    }
    Ok(draft)
}

fn task_option(
    draft: &mut TaskDraft,
    given: &Given<'_>,
    words: &mut Words<'_>,
    now: Wall,
) -> Result<(), OptionError> {
    match given.name {
        "name" => once(given, &mut draft.name, words.value(given, "training")?),
        "cpu_cores" => once(given, &mut draft.cpu_cores, number(given, words, "0.5")?),
        "mem" => once(given, &mut draft.memory_gb, number(given, words, "0.5")?),
        "storage" => once(given, &mut draft.storage_gb, number(given, words, "10")?),
        "gpu_cores" => once(given, &mut draft.gpu_cores, number(given, words, "1")?),
        "priority" => once(given, &mut draft.priority, number(given, words, "80")?),
        "retries" => once(given, &mut draft.max_retries, number(given, words, "3")?),
        "user" => once(given, &mut draft.user_id, words.value(given, "alice")?),
        "type" => once(given, &mut draft.task_type, words.value(given, "mixed")?),
        "timeout" => once(given, &mut draft.timeout_s, span_s(given, words)?),
        "pull_timeout" => once(given, &mut draft.pull_timeout_s, span_s(given, words)?),
        "queue_timeout" => once(given, &mut draft.queue_timeout_s, span_s(given, words)?),
        "retry-on" => once(given, &mut draft.retry_on, words.value(given, "1,75,oom")?),
        "estimate" => once(given, &mut draft.estimate_s, span_s(given, words)?),
        "deadline" => {
            let text = words.value(given, "2h")?;
            once(given, &mut draft.deadline, deadline(given, &text, now)?)
        }
        "hold" if given.value.is_some() => Err(OptionError::NotTaken(given.shown())),
        "hold" => {
            draft.hold = true;
            Ok(())
        }
        "env" => pair(given, words, &mut draft.env, "MODE=fast"),
        "label" => pair(given, words, &mut draft.labels, "team=vision"),
        "cmd" => {
            let line = words.value(given, "\"python train.py\"")?;
            if draft.command != spec::Command::Image {
                return Err(OptionError::Twice(given.shown()));
            }
            draft.command = spec::Command::Shell(line);
            Ok(())
        }
        _ if container_option(&mut draft.container, given, words)? => Ok(()),
        _ => Err(given.unknown("task", words.options.iter().copied())),
    }
}

/// The options of `change`: what is to be different, `none` for not at all.
pub(crate) fn change(
    words: &mut Words<'_>,
    topic: &'static Topic,
    now: Wall,
) -> Result<ChangeDraft, OptionError> {
    let mut change = ChangeDraft::default();
    let mut labels = BTreeMap::new();
    while let Some(word) = words.next_word() {
        if !is_option(word) {
            return Err(OptionError::Extra(word.chars().take(80).collect()));
        }
        let given = Given::read(word);
        match given.name {
            "name" => {
                let name = Setting::To(words.value(&given, "training")?);
                set_once(&given, &mut change.name, name)?;
            }
            "priority" => {
                let level = Setting::To(number(&given, words, "80")?);
                set_once(&given, &mut change.priority, level)?;
            }
            "timeout" => {
                let span = match words.value(&given, "2h")?.as_str() {
                    NONE => Setting::Clear,
                    text => Setting::To(seconds(&given, text)?),
                };
                set_once(&given, &mut change.timeout_s, span)?;
            }
            "deadline" => {
                let until = match words.value(&given, "2h")?.as_str() {
                    NONE => Setting::Clear,
                    text => Setting::To(deadline(&given, text, now)?),
                };
                set_once(&given, &mut change.deadline, until)?;
            }
            "label" if words.takes(&given, NONE) => {
                set_once(&given, &mut change.labels, Setting::Clear)?;
            }
            "label" => {
                if change.labels == Setting::Clear {
                    return Err(OptionError::Twice(given.shown()));
                }
                pair(&given, words, &mut labels, "team=vision")?;
                change.labels = Setting::To(labels.clone());
            }
            _ => return Err(given.unknown(topic.name, words.options.iter().copied())),
        }
    }
    Ok(change)
}

/// Takes something away.
const NONE: &str = "none";

fn set_once<T>(
    given: &Given<'_>,
    place: &mut Setting<T>,
    value: Setting<T>,
) -> Result<(), OptionError> {
    match std::mem::replace(place, value).is_kept() {
        true => Ok(()),
        false => Err(OptionError::Twice(given.shown())),
    }
}

fn deadline(given: &Given<'_>, text: &str, now: Wall) -> Result<Wall, OptionError> {
    let deadline = parse_instant(text, now);
    let deadline = deadline.map_err(|error| OptionError::Instant(given.shown(), error))?;
    let deadline = still_to_come(deadline, text, now);
    deadline.map_err(|error| OptionError::Range(given.shown(), error))
}

/// Takes an option that is about the container; `false` if it is none.
fn container_option(
    container: &mut ContainerDraft,
    given: &Given<'_>,
    words: &mut Words<'_>,
) -> Result<bool, OptionError> {
    match given.name {
        "network" => once(given, &mut container.network, words.value(given, "none")?)?,
        "volume" => container
            .volumes
            .push(words.value(given, "datasets:/data:ro")?),
        "read-only" if given.value.is_some() => return Err(OptionError::NotTaken(given.shown())),
        "read-only" => container.read_only = true,
        "run-as" => once(
            given,
            &mut container.run_as,
            words.value(given, "1000:1000")?,
        )?,
        "tmpfs" => container.tmpfs.push(words.value(given, "/scratch:0.25")?),
        "shm" => once(given, &mut container.shm_gb, number(given, words, "1")?)?,
        "stop-signal" => {
            let signal = words.value(given, "SIGINT")?;
            once(given, &mut container.stop_signal, signal)?;
        }
        "hostname" => once(
            given,
            &mut container.hostname,
            words.value(given, "trainer")?,
        )?,
        "add-host" => container
            .extra_hosts
            .push(words.value(given, "db:10.0.0.5")?),
        "cap-add" => container.cap_add.push(words.value(given, "NET_RAW")?),
        _ => return Ok(false),
    }
    Ok(true)
}

fn once<T>(given: &Given<'_>, place: &mut Option<T>, value: T) -> Result<(), OptionError> {
    match place.replace(value) {
        Some(_) => Err(OptionError::Twice(given.shown())),
        None => Ok(()),
    }
}

fn number<T: std::str::FromStr>(
    given: &Given<'_>,
    words: &mut Words<'_>,
    example: &'static str,
) -> Result<T, OptionError> {
    number_of(given, words, example, "a number")
}

/// A number of a kind that `what` tells.
fn number_of<T: std::str::FromStr>(
    given: &Given<'_>,
    words: &mut Words<'_>,
    example: &'static str,
    what: &'static str,
) -> Result<T, OptionError> {
    let text = words.value(given, example)?;
    text.parse().map_err(|_| OptionError::Number {
        option: given.shown(),
        value: text.chars().take(80).collect(),
        what,
        example,
    })
}

fn span_s(given: &Given<'_>, words: &mut Words<'_>) -> Result<f64, OptionError> {
    let text = words.value(given, "90s")?;
    seconds(given, &text)
}

fn seconds(given: &Given<'_>, text: &str) -> Result<f64, OptionError> {
    parse_span(text)
        .map(|span| span.as_secs_f64())
        .map_err(|error| OptionError::Span(given.shown(), error))
}

fn pair(
    given: &Given<'_>,
    words: &mut Words<'_>,
    pairs: &mut BTreeMap<String, String>,
    example: &'static str,
) -> Result<(), OptionError> {
    let text = words.value(given, example)?;
    let (key, value) = text.split_once('=').ok_or_else(|| OptionError::Pair {
        option: given.shown(),
        value: text.chars().take(80).collect(),
        example,
    })?;
    pairs.insert(key.to_owned(), value.to_owned());
    Ok(())
}
