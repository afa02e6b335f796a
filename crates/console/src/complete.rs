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

/// How many tasks are offered, the newest first.
const MOST_TASKS: usize = 50;
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
}

impl Completer for Words {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, context: &Context<'_>) -> Result<(usize, Vec<Pair>)> {
        let typed = Typed::read(&line[..at]);
        let kind = typed.kind();
        if kind == Kind::Folder {
            return self.files.complete(line, at, context);
        }
        let words = self.known.words(&kind).into_iter();
        let words = words.filter(|name| name.starts_with(typed.word));
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
}

/// What a word can be.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// One of these.
    Fixed(Vec<String>),
    /// A worker.
    Worker,
    /// A worker that is given nothing new.
    DrainingWorker,
    /// A task that has not ended.
    LiveTask,
    /// A task that has.
    EndedTask,
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
        let start = typed.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        Self {
            word: &typed[start..],
            start,
            before: typed[..start].split_whitespace().collect(),
        }
    }

    fn kind(&self) -> Kind {
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
            ("undrain", 0, _) => Kind::DrainingWorker,
            ("stats" | "drain" | "unregister" | "task" | "dispatch", 0, 0) => Kind::Worker,
            ("cancel" | "monitor" | "explain", 0, _) => Kind::LiveTask,
            ("task-files" | "download", 0, _) => Kind::EndedTask,
            ("task-files" | "download", 1, _) => Kind::OwnerOf(rest[0].to_owned()),
            ("files", 0, 0) => Kind::User,
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

    /// What a word of this kind could be, the likeliest first.
    fn words(&self, kind: &Kind) -> Vec<String> {
        match kind {
            Kind::Fixed(words) => words.clone(),
            Kind::Worker => self.workers(|_| true),
            Kind::DrainingWorker => self.workers(|worker| worker.draining),
            Kind::LiveTask => {
                self.tasks(&[TaskStatus::Queued, TaskStatus::Pending, TaskStatus::Running])
            }
            Kind::EndedTask => self.tasks(&[
                TaskStatus::Completed,
                TaskStatus::Failed,
                TaskStatus::Cancelled,
            ]),
            Kind::OwnerOf(task) => self.owner_of(task),
            Kind::User => self.users(),
            Kind::Folder | Kind::Nothing => Vec::new(),
        }
    }

    fn workers(&self, wanted: impl Fn(&Worker) -> bool) -> Vec<String> {
        let Some((operator, _)) = self.0.get() else {
            return Vec::new();
        };
        let snapshot = operator.snapshot();
        let wanted = snapshot.workers.values().filter(|worker| wanted(worker));
        wanted.map(|worker| worker.id.to_string()).collect()
    }

    fn tasks(&self, statuses: &[TaskStatus]) -> Vec<String> {
        let records = self.newest(statuses);
        records
            .iter()
            .map(|record| record.task.to_string())
            .collect()
    }

    fn users(&self) -> Vec<String> {
        let mut users: Vec<UserName> = Vec::new();
        for record in self.newest(&[]) {
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

    /// The newest tasks in these statuses. Pages of tasks are read along an index, however many
    /// there are.
    fn newest(&self, statuses: &[TaskStatus]) -> Vec<TaskRecord> {
        let filter = TaskFilter {
            statuses: statuses.iter().copied().collect(),
            limit: MOST_TASKS,
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
        let words = Known::default().words(&typed.kind()).into_iter();
        words.filter(|word| word.starts_with(typed.word)).collect()
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
        assert_eq!(of("task img -type gpu"), ["gpu-inference", "gpu-training"]);
        assert_eq!(Typed::read("task  img -cm").start, 10);
    }

    #[test]
    fn ids_are_offered_where_they_belong() {
        for (typed, expected) in [
            ("stats w", Kind::Worker),
            ("task ", Kind::Worker),
            ("dispatch w", Kind::Worker),
            ("undrain ", Kind::DrainingWorker),
            ("cancel t", Kind::LiveTask),
            ("monitor ", Kind::LiveTask),
            ("explain ", Kind::LiveTask),
            ("download t", Kind::EndedTask),
            ("download task-7 ", Kind::OwnerOf("task-7".to_owned())),
            ("download task-7 admin ./re", Kind::Folder),
            ("task-files task-7 a", Kind::OwnerOf("task-7".to_owned())),
            ("files ", Kind::User),
            ("list-tasks -user a", Kind::User),
            ("task img -user ", Kind::User),
            // Nothing is known of what the command is for the container.
            ("task img -- -", Kind::Nothing),
            ("cancel task-7 ", Kind::Nothing),
            ("register worker-3 ", Kind::Nothing),
            ("nonsense ", Kind::Nothing),
        ] {
            assert_eq!(kind(typed), expected, "{typed:?}");
        }
        assert!(of("stats w").is_empty(), "before a master may be asked");
    }
}
