//! A typed line as a [`Command`].

use cloudai_model::{
    ChangeDraft, IdError, Role, TaskDraft, TaskId, TaskStatus, UserName, Wall, WorkerAddress,
    WorkerId,
};

use crate::{
    help::{self, TOPICS, Topic},
    options::{self, OptionError, Words},
};
use cloudai_operator::TaskFilter;

/// How many rows a listing shows unless told.
const DEFAULT_LIMIT: usize = 100;

/// What an operator wants.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Command {
    /// The commands, or one of them.
    Help(Option<&'static Topic>),
    /// The cluster as a whole.
    Status {
        /// For scripts.
        json: bool,
    },
    /// The cluster as a whole, from now on.
    Watch,
    /// The workers.
    Workers {
        /// For scripts.
        json: bool,
    },
    /// Let a worker in.
    Register {
        /// Its id.
        worker: WorkerId,
        /// Where it is dialled.
        address: WorkerAddress,
    },
    /// Forget a worker.
    Unregister(WorkerId),
    /// What a worker has, has promised and uses.
    Stats {
        /// Which.
        worker: WorkerId,
        /// For scripts.
        json: bool,
    },
    /// Give a worker nothing new, or let it have tasks again.
    Drain {
        /// Which.
        worker: WorkerId,
        /// Whether it drains from now on.
        draining: bool,
    },
    /// Submit a task.
    Submit(Box<TaskDraft>),
    /// Cancel a task.
    Cancel(TaskId),
    /// Change something of a task.
    Change {
        /// Which.
        task: TaskId,
        /// What of it.
        change: ChangeDraft,
    },
    /// Let a task wait until it is released, or release it.
    Hold {
        /// Which.
        task: TaskId,
        /// Whether it waits from now on.
        hold: bool,
    },
    /// Follow a task.
    Monitor(TaskId),
    /// Show tasks.
    ListTasks {
        /// Which.
        filter: TaskFilter,
        /// For scripts.
        json: bool,
    },
    /// Show what waits.
    Queue {
        /// At most so many.
        limit: usize,
        /// For scripts.
        json: bool,
    },
    /// Say why a task waits, or where it stands.
    Explain {
        /// Which.
        task: TaskId,
        /// For scripts.
        json: bool,
    },
    /// Show which of a user's tasks left files.
    Files {
        /// Whose.
        user: UserName,
        /// At most so many.
        limit: usize,
        /// For scripts.
        json: bool,
    },
    /// Show what files a task left.
    TaskFiles {
        /// Which.
        task: TaskId,
        /// Whose.
        user: UserName,
        /// For scripts.
        json: bool,
    },
    /// Show what is promised and what workers say.
    InternalState {
        /// For scripts.
        json: bool,
    },
    /// Put right what differs.
    FixResources,
    /// Copy a task's files.
    Download {
        /// Which task's.
        task: TaskId,
        /// Whose.
        user: UserName,
        /// Where to.
        folder: String,
    },
    /// Show the users.
    Users {
        /// At most so many.
        limit: usize,
        /// For scripts.
        json: bool,
    },
    /// Make another password for a user.
    ResetPassword(UserName),
    /// Give a user another role.
    SetRole {
        /// Whom.
        user: UserName,
        /// Which.
        role: Role,
    },
    /// End the program.
    Exit,
}

/// Why a line is no command.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum ParseError {
    /// A quote is open at the end.
    #[error("a quote is not closed: expected a second \" or ' in the line")]
    OpenQuote,
    /// There is no such command.
    #[error("Unknown command {word:?}: {}", match nearest {
        Some(name) => format!("did you mean `{name}`? `help` lists all"),
        None => "`help` lists all".to_owned(),
    })]
    Unknown {
        /// What was typed.
        word: String,
        /// What was probably meant.
        nearest: Option<&'static str>,
    },
    /// Its words are not those it takes.
    #[error("{problem}: expected `{}`, such as `{}`", topic.form, topic.example)]
    Form {
        /// Which command.
        topic: &'static Topic,
        /// What is wrong.
        problem: String,
    },
    /// An option is wrong, and says what was expected.
    #[error("{0}")]
    Option(#[from] OptionError),
    /// An id, address or status is wrong, and says what was expected.
    #[error("{0}")]
    Value(String),
}

/// Reads a line; `None` if there is nothing on it but a comment. Spans count from `now`.
///
/// # Errors
/// What is wrong, what was expected, and an example.
pub(crate) fn parse(line: &str, now: Wall) -> Result<Option<Command>, ParseError> {
    // An apostrophe in a comment is no quote.
    if line.trim_start().starts_with('#') {
        return Ok(None);
    }
    let words = shell_words::split(line).map_err(|_| ParseError::OpenQuote)?;
    let Some((name, words)) = words.split_first() else {
        return Ok(None);
    };
    let topic = help::find(name).ok_or_else(|| ParseError::Unknown {
        word: shown(name),
        nearest: help::nearest(name, TOPICS.iter().map(|topic| topic.name)),
    })?;
    command(topic, words, now).map(Some)
}

fn command(topic: &'static Topic, words: &[String], now: Wall) -> Result<Command, ParseError> {
    let form = |problem: String| ParseError::Form { topic, problem };
    if matches!(topic.name, "task" | "dispatch") {
        let mut words = Words::new(words, topic);
        let names = words.leading();
        let (worker, image) = match (topic.name, names) {
            ("task", [image]) => (None, image),
            (_, [worker, image]) => (Some(worker.clone()), image),
            (_, [_, _, extra, ..]) => {
                let extra = shown(extra);
                return Err(form(format!("{extra:?} is one word too many")));
            }
            _ => return Err(form("an image is missing".to_owned())),
        };
        let mut draft = options::task(&mut words, now)?;
        draft.docker_image.clone_from(image);
        draft.worker_id = worker;
        return Ok(Command::Submit(Box::new(draft)));
    }

    if topic.name == "change" {
        let mut words = Words::new(words, topic);
        let task = match words.leading() {
            [task] => value(task)?,
            [] => return Err(form("a task is missing".to_owned())),
            [_, extra, ..] => {
                let extra = shown(extra);
                return Err(form(format!("{extra:?} is one word too many")));
            }
        };
        let change = options::change(&mut words, topic, now)?;
        if change == ChangeDraft::default() {
            return Err(form("what to change is missing".to_owned()));
        }
        return Ok(Command::Change { task, change });
    }

    let mut listing = options::Listing::default();
    let mut names = Vec::new();
    let mut rest = Words::new(words, topic);
    while let Some(word) = rest.next_word() {
        if options::is_option(word) {
            listing.take(topic, word, &mut rest)?;
        } else {
            names.push(word);
        }
    }
    let limit = listing.limit.unwrap_or(DEFAULT_LIMIT);
    let json = listing.json;
    let command = match (topic.name, names.as_slice()) {
        ("help", []) => Command::Help(None),
        ("help", [name]) => Command::Help(Some(help::find(name).ok_or_else(|| {
            ParseError::Unknown {
                word: shown(name),
                nearest: help::nearest(name, TOPICS.iter().map(|topic| topic.name)),
            }
        })?)),
        ("status", []) if listing.watch && json => return Err(OptionError::WatchedJson.into()),
        ("status", []) if listing.watch => Command::Watch,
        ("status", []) => Command::Status { json },
        ("workers", []) => Command::Workers { json },
        ("register", [id, address]) => Command::Register {
            worker: value(id)?,
            address: address
                .parse()
                .map_err(|error| ParseError::Value(format!("{error}")))?,
        },
        ("stats", [id]) => Command::Stats {
            worker: value(id)?,
            json,
        },
        ("drain" | "undrain", [id]) => Command::Drain {
            worker: value(id)?,
            draining: topic.name == "drain",
        },
        ("unregister", [id]) => Command::Unregister(value(id)?),
        ("cancel", [task]) => Command::Cancel(value(task)?),
        ("hold" | "release", [task]) => Command::Hold {
            task: value(task)?,
            hold: topic.name == "hold",
        },
        ("monitor", [task]) => Command::Monitor(value(task)?),
        ("list-tasks", [] | [_]) => Command::ListTasks {
            filter: TaskFilter {
                statuses: names
                    .iter()
                    .map(|word| status(word))
                    .collect::<Result<_, _>>()?,
                user: listing.user.as_deref().map(value).transpose()?,
                limit,
                ..TaskFilter::default()
            },
            json,
        },
        ("queue", []) => Command::Queue { limit, json },
        ("explain", [task]) => Command::Explain {
            task: value(task)?,
            json,
        },
        ("files", [user]) => Command::Files {
            user: value(user)?,
            limit,
            json,
        },
        ("task-files", [task, user]) => Command::TaskFiles {
            task: value(task)?,
            user: value(user)?,
            json,
        },
        ("internal-state", []) => Command::InternalState { json },
        ("fix-resources", []) => Command::FixResources,
        ("download", [task, user, folder]) => Command::Download {
            task: value(task)?,
            user: value(user)?,
            folder: (*folder).to_owned(),
        },
        ("users", []) => Command::Users { limit, json },
        ("reset-password", [user]) => Command::ResetPassword(value(user)?),
        ("set-role", [user, role]) => Command::SetRole {
            user: value(user)?,
            role: role
                .parse()
                .map_err(|error| ParseError::Value(format!("{error}")))?,
        },
        ("exit" | "quit", []) => Command::Exit,
        (_, names) => {
            let takes = topic.form.matches('<').count();
            return Err(form(match names.get(takes) {
                Some(_) if names.len() > takes => {
                    let extra = shown(names.last().expect("longer than what it takes"));
                    format!("{extra:?} is one word too many")
                }
                _ => format!("{} takes more words", topic.name),
            }));
        }
    };
    Ok(command)
}

fn value<T: std::str::FromStr<Err = IdError>>(text: &str) -> Result<T, ParseError> {
    text.parse()
        .map_err(|error: IdError| ParseError::Value(error.to_string()))
}

fn status(text: &str) -> Result<TaskStatus, ParseError> {
    text.parse()
        .map_err(|error| ParseError::Value(format!("{error}")))
}

/// A word as an error quotes it: not at any length.
fn shown(word: &str) -> String {
    word.chars().take(80).collect()
}

#[cfg(test)]
mod tests;
