//! What the Tab key completes: commands and their options, ids of workers and tasks, users, words.

use std::{
    sync::{Arc, OnceLock, mpsc},
    time::Duration,
};

use cloudai_core::registry::Worker;
use cloudai_model::{TaskId, TaskStatus, TaskType, UserName, record::TaskRecord};
use cloudai_operator::{Operator, TaskFilter};
use rustyline::{
    Context, Helper, Highlighter, Hinter, Result, Validator,
    completion::{Completer, FilenameCompleter, Pair},
};
use tokio::runtime::Handle;

use crate::help::{self, TASK_OPTIONS, TOPICS};

/// How many tasks of a status are offered, the newest first.
const MOST_TASKS: usize = 50;
/// Among how many of a status the beginning of an id is looked for.
const LOOKED_THROUGH: usize = 500;

/// Those that have not ended, what an operator most often means first.
const LIVE: [TaskStatus; 3] = [TaskStatus::Running, TaskStatus::Pending, TaskStatus::Queued];
const ENDED: [TaskStatus; 3] = [
    TaskStatus::Completed,
    TaskStatus::Failed,
    TaskStatus::Cancelled,
];

/// A person who has hit Tab doesn't wait longer for ids.
const PATIENCE: Duration = Duration::from_millis(300);

/// For the line editor.
#[derive(Helper, Hinter, Highlighter, Validator)]
pub(crate) struct Words {
    known: Known,
    files: FilenameCompleter,
}

impl Words {
    pub(crate) fn new(known: Known) -> Self {
        Self {
            known,
            files: FilenameCompleter::new(),
        }
    }

    /// Whether what follows these words is a folder of this machine.
    pub(crate) fn looks_for_files(&self, typed: &str) -> bool {
        Typed::read(typed).kind() == Kind::Folder
    }
}

impl Completer for Words {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, context: &Context<'_>) -> Result<(usize, Vec<Pair>)> {
        let typed = Typed::read(&line[..at]);
        let kind = typed.kind();
        if kind == Kind::Folder {
            return self.files.complete(line, at, context);
        }
        let words = self.known.words(&kind, typed.word).into_iter();
        let pairs = words.map(|word| Pair {
            replacement: format!("{word} "),
            display: word,
        });
        Ok((typed.start, pairs.collect()))
    }
}

/// What is typed before the cursor.
struct Typed<'a> {
    /// The word under the cursor, and where it begins.
    word: &'a str,
    start: usize,
    /// The words before it.
    before: Vec<&'a str>,
    /// Whether it stands within quotes: then it is text of the operator's own.
    quoted: bool,
}

/// What a word can be.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// One of these.
    Fixed(Vec<String>),
    /// A worker.
    Worker,
    /// A worker that is given nothing new, by an admin's wish or the master's.
    UnusedWorker,
    /// A task that has not ended.
    LiveTask,
    /// A task that has.
    EndedTask,
    /// Any task.
    Task,
    /// The user of this task.
    OwnerOf(String),
    /// Somebody who has tasks.
    User,
    /// A folder on this machine.
    Folder,
    Nothing,
}

impl<'a> Typed<'a> {
    fn read(typed: &'a str) -> Self {
        // A blank may be of several bytes, such as one that was pasted from a page.
        let mut blanks = typed.char_indices().rev();
        let blank = blanks.find(|(_, c)| c.is_whitespace());
        let start = blank.map_or(0, |(at, c)| at + c.len_utf8());
        Self {
            word: &typed[start..],
            start,
            before: typed[..start].split_whitespace().collect(),
            quoted: is_quoted(typed),
        }
    }

    fn kind(&self) -> Kind {
        if self.quoted {
            return Kind::Nothing;
        }
        let names = || TOPICS.iter().map(|topic| topic.name.to_owned()).collect();
        let Some((command, rest)) = self.before.split_first() else {
            return Kind::Fixed(names());
        };
        if rest.contains(&"--") {
            return Kind::Nothing;
        }
        if self.word.starts_with('-') {
            return Kind::Fixed(self.options(command));
        }
        match rest.last().map(|option| option.trim_start_matches('-')) {
            Some("user") if is_option(rest.last()) => return Kind::User,
            Some("type") if is_option(rest.last()) => {
                return Kind::Fixed(TaskType::ALL.iter().map(ToString::to_string).collect());
            }
            _ => {}
        }
        let place = rest
            .iter()
            .take_while(|word| !is_option(Some(word)))
            .count();
        match (*command, place, rest.len()) {
            ("help", 0, 0) => Kind::Fixed(names()),
            ("undrain", 0, _) => Kind::UnusedWorker,
            ("stats" | "drain" | "unregister" | "task" | "dispatch", 0, 0) => Kind::Worker,
            ("cancel" | "change", 0, _) => Kind::LiveTask,
            ("monitor" | "explain", 0, _) => Kind::Task,
            ("task-files" | "download", 0, _) => Kind::EndedTask,
            ("task-files" | "download", 1, _) => Kind::OwnerOf(rest[0].to_owned()),
            ("files" | "reset-password" | "set-role", 0, 0) => Kind::User,
            ("set-role", 1, 1) => Kind::Fixed(vec!["admin".to_owned(), "user".to_owned()]),
            ("download", 2, _) => Kind::Folder,
            ("list-tasks", 0, 0) => {
                Kind::Fixed(TaskStatus::ALL.iter().map(ToString::to_string).collect())
            }
            _ => Kind::Nothing,
        }
    }

    /// The options of a command, with as many dashes as were typed.
    fn options(&self, command: &str) -> Vec<String> {
        let dashes = if self.word.starts_with("--") {
            "--"
        } else {
            "-"
        };
        let dashed = |name: &str| format!("{dashes}{name}");
        match help::find(command) {
            Some(topic) if matches!(topic.name, "task" | "dispatch") => {
                TASK_OPTIONS.iter().map(|(name, ..)| dashed(name)).collect()
            }
            Some(topic) => {
                let names = topic.options().map(|option| option.trim_start_matches('-'));
                names.map(dashed).collect()
            }
            None => Vec::new(),
        }
    }
}

/// Whether a quote is open at the end, by the rules of a shell.
fn is_quoted(typed: &str) -> bool {
    let (mut open, mut escaped) = (None, false);
    for c in typed.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if open != Some('\'') => escaped = true,
            '"' | '\'' if open.is_none() => open = Some(c),
            _ if open == Some(c) => open = None,
            _ => {}
        }
    }
    open.is_some()
}

fn is_option(word: Option<&&str>) -> bool {
    word.is_some_and(|word| word.len() > 1 && word.starts_with('-'))
}

/// What there is in the cluster, for the editor's thread. Knows nothing before it may ask.
#[derive(Clone, Default)]
pub(crate) struct Known(Arc<OnceLock<(Arc<dyn Operator>, Handle)>>);

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Known").finish_non_exhaustive()
    }
}

impl Known {
    /// Asks `operator` from now on. Within a tokio runtime.
    pub(crate) fn ask(&self, operator: Arc<dyn Operator>) {
        // A second one is the same master.
        let _ = self.0.set((operator, Handle::current())).is_ok();
    }

    /// What a word of this kind that begins with `typed` could be, the likeliest first.
    fn words(&self, kind: &Kind, typed: &str) -> Vec<String> {
        let mut words = match kind {
            Kind::Fixed(words) => words.clone(),
            Kind::Worker => self.workers(|_| true),
            Kind::UnusedWorker => {
                self.workers(|worker| worker.draining || worker.set_aside.is_some())
            }
            Kind::LiveTask => self.tasks(&LIVE, typed),
            Kind::EndedTask => self.tasks(&ENDED, typed),
            Kind::Task => self.tasks(&[LIVE, ENDED].concat(), typed),
            Kind::OwnerOf(task) => self.owner_of(task),
            Kind::User => self.users(),
            Kind::Folder | Kind::Nothing => Vec::new(),
        };
        words.retain(|word| word.starts_with(typed));
        words
    }

    fn workers(&self, wanted: impl Fn(&Worker) -> bool) -> Vec<String> {
        let Some((operator, _)) = self.0.get() else {
            return Vec::new();
        };
        let snapshot = operator.snapshot();
        let wanted = snapshot.workers.values().filter(|worker| wanted(worker));
        wanted.map(|worker| worker.id.to_string()).collect()
    }

    /// Each status apart, so that the many that wait don't hide the few that run.
    fn tasks(&self, statuses: &[TaskStatus], typed: &str) -> Vec<String> {
        let limit = match typed {
            "" => MOST_TASKS,
            _ => LOOKED_THROUGH,
        };
        let (statuses, typed) = (statuses.to_vec(), typed.to_owned());
        let tasks = self.answer(|operator| async move {
            let mut found = Vec::new();
            for status in statuses {
                let filter = TaskFilter {
                    statuses: [status].into(),
                    limit,
                    ..TaskFilter::default()
                };
                let records = operator.tasks(&filter).await.unwrap_or_default();
                let ids = records.iter().map(|record| record.task.to_string());
                let ids = ids.filter(|id| id.starts_with(&typed));
                found.extend(ids.take(MOST_TASKS));
            }
            found
        });
        tasks.unwrap_or_default()
    }

    fn users(&self) -> Vec<String> {
        let mut users: Vec<UserName> = Vec::new();
        for record in self.newest() {
            if !users.contains(&record.spec.user) {
                users.push(record.spec.user);
            }
        }
        users.iter().map(ToString::to_string).collect()
    }

    fn owner_of(&self, task: &str) -> Vec<String> {
        let Ok(task) = task.parse::<TaskId>() else {
            return Vec::new();
        };
        let view = self.answer(|operator| async move { operator.task(&task).await.ok().flatten() });
        let owner = view.flatten().map(|view| view.record.spec.user.to_string());
        owner.into_iter().collect()
    }

    /// The newest tasks. Pages of tasks are read along an index, however many there are.
    fn newest(&self) -> Vec<TaskRecord> {
        let filter = TaskFilter {
            limit: LOOKED_THROUGH,
            ..TaskFilter::default()
        };
        let tasks = self.answer(|operator| async move { operator.tasks(&filter).await });
        tasks.and_then(std::result::Result::ok).unwrap_or_default()
    }

    /// What the master answers, if it does so soon. The editor's thread is none of the runtime's,
    /// so it may wait.
    fn answer<T, F>(&self, ask: impl FnOnce(Arc<dyn Operator>) -> F) -> Option<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let (operator, runtime) = self.0.get()?;
        let (sender, answer) = mpsc::sync_channel(1);
        let asking = ask(Arc::clone(operator));
        runtime.spawn(async move {
            // Nobody waits any more if this fails.
            let _ = sender.send(asking.await).is_ok();
        });
        answer.recv_timeout(PATIENCE).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(typed: &str) -> Kind {
        Typed::read(typed).kind()
    }

    fn of(typed: &str) -> Vec<String> {
        let typed = Typed::read(typed);
        Known::default().words(&typed.kind(), typed.word)
    }

    #[test]
    fn commands_options_and_words_are_completed() {
        assert_eq!(of("un"), ["unregister", "undrain"]);
        assert_eq!(of("help dis"), ["dispatch"]);
        assert_eq!(of("task img --cp"), ["--cpu_cores"]);
        assert_eq!(of("task img -mem 2 -es"), ["-estimate"]);
        assert_eq!(of("list-tasks ru"), ["running"]);
        assert_eq!(of("list-tasks running -"), ["-user", "-limit", "-json"]);
        assert_eq!(of("status --"), ["--w", "--json"]);
        assert_eq!(of("change task-7 -t"), ["-timeout"]);
        assert_eq!(of("task img -type gpu"), ["gpu-inference", "gpu-training"]);
        assert_eq!(Typed::read("task  img -cm").start, 10);
        // Pasted from a page, with blanks of several bytes.
        assert_eq!(of("task img\u{a0}--cp"), ["--cpu_cores"]);
        assert_eq!(of("list-tasks\u{3000}ru"), ["running"]);
    }

    #[test]
    fn ids_are_offered_where_they_belong() {
        for (typed, expected) in [
            ("stats w", Kind::Worker),
            ("task ", Kind::Worker),
            ("dispatch w", Kind::Worker),
            ("undrain ", Kind::UnusedWorker),
            ("cancel t", Kind::LiveTask),
            ("change t", Kind::LiveTask),
            ("monitor ", Kind::Task),
            ("explain ", Kind::Task),
            ("download t", Kind::EndedTask),
            ("download task-7 ", Kind::OwnerOf("task-7".to_owned())),
            ("download task-7 admin ./re", Kind::Folder),
            ("task-files task-7 a", Kind::OwnerOf("task-7".to_owned())),
            ("files ", Kind::User),
            ("reset-password a", Kind::User),
            ("list-tasks -user a", Kind::User),
            ("task img -user ", Kind::User),
            // Nothing is known of what the command is for the container.
            ("task img -- -", Kind::Nothing),
            ("cancel task-7 ", Kind::Nothing),
            ("register worker-3 ", Kind::Nothing),
            ("nonsense ", Kind::Nothing),
            // Nor of what stands within quotes.
            ("task img -cmd \"run -cp", Kind::Nothing),
            ("task img -cmd 'it \"is\" ", Kind::Nothing),
            ("task img -cmd \"a \\\" b\" -user ", Kind::User),
            ("task img -cmd it\\'s -user ", Kind::User),
        ] {
            assert_eq!(kind(typed), expected, "{typed:?}");
        }
        assert!(of("stats w").is_empty(), "before a master may be asked");
    }
}
