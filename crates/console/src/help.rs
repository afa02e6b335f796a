//! What each command is for: its form, an example, what its options mean.
//!
//! The one list of command names; parsing, completion and near misses take them from here.

use std::fmt::Write as _;

use crate::render::text::wrapped;

/// A command, as help tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Topic {
    /// Its name.
    pub name: &'static str,
    /// How it is typed.
    pub form: &'static str,
    /// One line that works.
    pub example: &'static str,
    /// What it does.
    pub about: &'static str,
}

impl Topic {
    /// The options that its form shows, with their dashes. Those of `task` have a list of their
    /// own.
    pub(crate) fn options(&self) -> impl Iterator<Item = &'static str> {
        let words = self.form.split(['[', ']', ' ']);
        words.filter(|word| word.starts_with('-') && *word != "--")
    }
}

const fn topic(
    name: &'static str,
    form: &'static str,
    example: &'static str,
    about: &'static str,
) -> Topic {
    Topic {
        name,
        form,
        example,
        about,
    }
}

/// Every command, in the order of help.
pub(crate) const TOPICS: &[Topic] = &[
    topic(
        "help",
        "help [command]",
        "help task",
        "List the commands, or tell of one.",
    ),
    topic(
        "status",
        "status [-w] [--json]",
        "status -w",
        "Show the cluster at a glance; -w goes on until a key is hit.",
    ),
    topic(
        "workers",
        "workers [--json]",
        "workers",
        "Show every registered worker.",
    ),
    topic(
        "stats",
        "stats <worker> [--json]",
        "stats worker-1",
        "Show what a worker has, has promised, uses and runs.",
    ),
    topic(
        "register",
        "register <id> <host[:port]>",
        "register worker-2 192.168.1.100:50052",
        "Let a worker in; without a port it is 50052.",
    ),
    topic(
        "unregister",
        "unregister <id>",
        "unregister worker-2",
        "Forget a worker; its tasks are stopped there and queued again.",
    ),
    topic(
        "drain",
        "drain <id>",
        "drain worker-2",
        "Give a worker nothing new; what runs there goes on.",
    ),
    topic(
        "undrain",
        "undrain <id>",
        "undrain worker-2",
        "Let a worker have tasks again, also one that was set aside.",
    ),
    topic(
        "task",
        "task [worker] <image> [options] [-- command...]",
        "task alpine:3.22 -cpu_cores 2 -mem 1 -- echo hello",
        "Submit a task; with a worker named it runs there alone.",
    ),
    topic(
        "dispatch",
        "dispatch <worker> <image> [options] [-- command...]",
        "dispatch worker-1 alpine:3.22 -- echo hello",
        "Submit a task for one worker.",
    ),
    topic(
        "cancel",
        "cancel <task>",
        "cancel task-1697123456000001",
        "Stop a task, or take it out of the queue.",
    ),
    topic(
        "change",
        "change <task> [-name s] [-priority n] [-deadline t] [-timeout span] [-label k=v]",
        "change task-1697123456000001 -timeout 2h",
        "Change a task that has not ended; `none` takes away.",
    ),
    topic(
        "hold",
        "hold <task>",
        "hold task-1697123456000001",
        "Let a waiting task wait until it is released.",
    ),
    topic(
        "release",
        "release <task>",
        "release task-1697123456000001",
        "Let a task that is on hold have its place in the queue again.",
    ),
    topic(
        "monitor",
        "monitor <task>",
        "monitor task-1697123456000001",
        "Follow a task's output to its end; any key leaves it running.",
    ),
    topic(
        "list-tasks",
        "list-tasks [status] [-user name] [-limit n] [--json]",
        "list-tasks running",
        "Show tasks, the newest first.",
    ),
    topic(
        "queue",
        "queue [-limit n] [--json]",
        "queue",
        "Show the waiting tasks in order, and why each waits.",
    ),
    topic(
        "explain",
        "explain <task> [--json]",
        "explain task-1697123456000001",
        "Say why a task waits: what doesn't fit where, and by how much.",
    ),
    topic(
        "files",
        "files <user> [-limit n] [--json]",
        "files admin",
        "Show which of a user's tasks left files.",
    ),
    topic(
        "task-files",
        "task-files <task> <user> [--json]",
        "task-files task-1697123456000001 admin",
        "Show what a task left in /output.",
    ),
    topic(
        "download",
        "download <task> <user> <dir>",
        "download task-1697123456000001 admin ./results",
        "Copy what a task left in /output into a folder.",
    ),
    topic(
        "users",
        "users [-limit n] [--json]",
        "users",
        "Show who may log in, by name.",
    ),
    topic(
        "reset-password",
        "reset-password <user>",
        "reset-password admin",
        "Make a user's password anew, said once; their logins end.",
    ),
    topic(
        "set-role",
        "set-role <user> <role>",
        "set-role alice admin",
        "Make a user an admin, or an admin a user.",
    ),
    topic(
        "internal-state",
        "internal-state [--json]",
        "internal-state",
        "Show what is promised beside what workers say they hold.",
    ),
    topic(
        "fix-resources",
        "fix-resources",
        "fix-resources",
        "Put right what differs between the two, and say what.",
    ),
    topic(
        "exit",
        "exit",
        "exit",
        "Shut down cleanly; running containers go on.",
    ),
    topic("quit", "quit", "quit", "The same as exit."),
];

/// The options of `task` and `dispatch`: name, value, meaning.
pub(crate) const TASK_OPTIONS: &[(&str, &str, &str)] = &[
    ("name", "name", "a name to show"),
    ("cpu_cores", "n", "CPU cores (1.0)"),
    ("mem", "gb", "memory in GB (0.5)"),
    ("storage", "gb", "disk in GB (1.0)"),
    (
        "gpu_cores",
        "n",
        "GPUs, below 1 a share of one, else whole ones (0)",
    ),
    (
        "cmd",
        "\"line\"",
        "run this line by /bin/sh -c; after -- a command runs as it is",
    ),
    (
        "env",
        "NAME=value",
        "set an environment variable; may be repeated",
    ),
    ("priority", "n", "0 to 100, higher goes first (50)"),
    ("hold", "", "let it wait until `release <task>`"),
    (
        "deadline",
        "time",
        "when it should be done: 2026-01-31T08:00:00Z, or 2h from now",
    ),
    ("timeout", "span", "stop it when it has run so long: 90s"),
    (
        "pull_timeout",
        "span",
        "give up when pulling its image takes so long: 10m",
    ),
    (
        "queue_timeout",
        "span",
        "give up when it has not started so long after its submit: 1h",
    ),
    ("estimate", "span", "how long it will run: 30m"),
    ("retries", "n", "run it again so often after it failed (0)"),
    (
        "retry-on",
        "list",
        "after these failures alone: exit codes and ranges, exit, signal, oom, start, stopped, \
         timeout, pull-timeout (any, which is all but the time-outs): 1,75,100-110,oom",
    ),
    (
        "label",
        "name=value",
        "a label to find it by; may be repeated",
    ),
    ("user", "name", "whose task it is (admin)"),
    (
        "type",
        "word",
        "cpu-light, cpu-heavy, memory-heavy, gpu-inference, gpu-training, mixed",
    ),
    (
        "network",
        "name",
        "none, bridge, or one that the admin allows (bridge)",
    ),
    (
        "volume",
        "name:/path[:ro]",
        "mount a volume that the admin allows; may be repeated",
    ),
    ("read-only", "", "make the root file system read-only"),
    (
        "run-as",
        "uid[:gid]",
        "run the command as this user (the image's)",
    ),
    (
        "tmpfs",
        "/path[:gb]",
        "a file system in the task's memory; may be repeated",
    ),
    ("shm", "gb", "size of /dev/shm in GB (0.0625)"),
    (
        "stop-signal",
        "signal",
        "what asks the command to end (the image's, or SIGTERM)",
    ),
    ("hostname", "name", "the container's own name"),
    (
        "add-host",
        "name:ip",
        "a name that the task can look up; may be repeated",
    ),
    (
        "cap-add",
        "name",
        "a capability that the admin allows; may be repeated",
    ),
];

/// The command with this name.
pub(crate) fn find(name: &str) -> Option<&'static Topic> {
    TOPICS.iter().find(|topic| topic.name == name)
}

/// The one of `names` that `word` was probably meant to be.
pub(crate) fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let names: Vec<&str> = names.into_iter().collect();
    let alike = names
        .iter()
        .map(|name| (strsim::jaro_winkler(&word, name), *name))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name);
    // Short words that begin alike count as little alike otherwise: `gpus` and `gpu_cores`.
    alike.or_else(|| names.into_iter().find(|name| begin_alike(&word, name)))
}

fn begin_alike(word: &str, name: &str) -> bool {
    let pairs = word.chars().zip(name.chars());
    let common = pairs.take_while(|(one, other)| one == other).count();
    common >= 3 || (common > 0 && (name.starts_with(word) || word.starts_with(name)))
}

/// The list of commands.
pub(crate) fn overview() -> String {
    let mut text = "Commands:\n".to_owned();
    for topic in TOPICS {
        let _ = writeln!(text, "  {:<16}{}", topic.name, topic.about);
    }
    text.push_str("`help <command>` shows how one is typed. Options take one dash or two.\n");
    text
}

/// One command at length.
pub(crate) fn details(topic: &Topic) -> String {
    let mut text = format!(
        "{}\n  {}\n  Example: {}\n",
        topic.form, topic.about, topic.example
    );
    if matches!(topic.name, "task" | "dispatch") {
        text.push_str("Options:\n");
        let options = TASK_OPTIONS.iter().map(|(name, value, meaning)| {
            let option = format!("  -{name} {value}");
            (option.trim_end().to_owned(), meaning)
        });
        let options: Vec<_> = options.collect();
        let widest = options.iter().map(|(option, _)| option.len()).max();
        let column = widest.unwrap_or(0) + 2;
        for (option, meaning) in options {
            let first = format!("{option:<column$}");
            text.push_str(&wrapped(&first, &" ".repeat(column), meaning, 80));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_overview_names_every_command_and_fits_eighty_columns() {
        let text = overview();
        for topic in TOPICS {
            assert!(text.contains(&format!("  {:<16}", topic.name)), "{topic:?}");
        }
        let widest = text
            .lines()
            .max_by_key(|line| line.chars().count())
            .unwrap();
        assert!(widest.chars().count() <= 80, "{widest}");
    }

    #[test]
    fn a_command_at_length_has_form_example_and_options() {
        let text = details(find("dispatch").unwrap());
        assert!(text.starts_with("dispatch <worker> <image> [options] [-- command...]\n"));
        assert!(text.contains("Example: dispatch worker-1 alpine:3.22 -- echo hello\n"));
        assert!(
            text.contains("  -volume name:/path[:ro]  mount a volume"),
            "{text}"
        );
        for (name, value, meaning) in TASK_OPTIONS {
            let start = text.find(&format!("  -{name} {value}").trim_end().to_owned());
            let rest = &text[start.unwrap()..].lines().next().unwrap()[3..];
            let (_, said) = rest.split_once("  ").expect("columns stand apart");
            assert!(meaning.starts_with(said.trim()), "{rest}");
        }
    }

    #[test]
    fn a_near_miss_is_recognised_and_a_far_one_is_not() {
        let names = || TOPICS.iter().map(|topic| topic.name);
        assert_eq!(nearest("wokers", names()), Some("workers"));
        assert_eq!(nearest("List-Task", names()), Some("list-tasks"));
        assert_eq!(nearest("xyzzy", names()), None);
        let options = || TASK_OPTIONS.iter().map(|(name, ..)| *name);
        for (typed, meant) in [
            ("cpus", "cpu_cores"),
            ("cpu", "cpu_cores"),
            ("gpus", "gpu_cores"),
            ("memory", "mem"),
            ("retrys", "retries"),
            ("retryon", "retry-on"),
            ("timeouts", "timeout"),
            ("volumes", "volume"),
        ] {
            assert_eq!(nearest(typed, options()), Some(meant), "{typed}");
        }
        assert_eq!(nearest("watch", ["w", "json"]), Some("w"));
        assert_eq!(nearest("", options()), None);
    }
}
