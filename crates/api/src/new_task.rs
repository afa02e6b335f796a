//! The body of a submit.

use std::{collections::BTreeMap, time::Duration};

use cloudai_model::{Command, ContainerDraft, DraftErrors, TaskDraft, TaskType, Wall, rfc3339};
use serde::Serialize;
use serde_json::Value;
use utoipa::{
    ToSchema,
    openapi::{
        Object as Schema,
        schema::{ObjectBuilder, SchemaType, Type},
    },
};

use crate::{
    figures::words_or_null,
    problem::{Mistake, Mistakes},
    read::{FromJson, Object, below},
};

/// The most tasks in one batch.
pub const MOST_IN_BATCH: usize = 10_000;

/// A deadline may lie at most so far ahead, as a time-out may be so long: ten years, in seconds.
const FURTHEST_S: f64 = 10.0 * 365.0 * 86_400.0;

/// The four resources, and what they were called before.
const OLD_NAMES: [(&str, &str); 4] = [
    ("cpu_cores", "cpu_required"),
    ("memory_gb", "memory_required"),
    ("storage_gb", "storage_required"),
    ("gpu_cores", "gpu_required"),
];

/// What a container's settings are called; all others are fields of the task itself.
const CONTAINER_FIELDS: [&str; 10] = [
    "network",
    "volumes",
    "read_only",
    "run_as",
    "tmpfs",
    "shm_gb",
    "stop_signal",
    "hostname",
    "extra_hosts",
    "cap_add",
];

/// A task to be run. What is missing or null gets its default.
#[derive(Debug, Clone, PartialEq, Default, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTask {
    /// The image to run.
    #[schema(
        pattern = "^((([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)(\\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*|\\[[A-Fa-f0-9:]+\\])(:[0-9]+)?/)?[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$",
        example = "python:3.13-slim"
    )]
    pub docker_image: String,
    /// A string runs by `/bin/sh -c`, an array as it is; without it the image's own command runs.
    pub command: Option<CommandText>,
    /// Shown to people.
    #[schema(
        max_length = 256,
        pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$",
        example = "sum"
    )]
    pub name: Option<String>,
    /// The client's own id, which was never used before.
    #[schema(pattern = "^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?$")]
    pub task_id: Option<String>,
    /// Whose task it is; only an admin may name somebody else.
    #[schema(pattern = "^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?$")]
    pub user_id: Option<String>,
    /// Cores; 1 if none.
    #[schema(minimum = 0.01, maximum = 1_000_000.0, example = 0.5)]
    pub cpu_cores: Option<f64>,
    /// GB of memory; 0.5 if none.
    #[schema(minimum = 0.006, maximum = 1_000_000.0)]
    pub memory_gb: Option<f64>,
    /// GB of disk; 1 if none.
    #[schema(minimum = 0.0, maximum = 1_000_000.0)]
    pub storage_gb: Option<f64>,
    /// GPUs; below 1 a share of one, from 1 on whole ones; 0 if none.
    #[schema(minimum = 0.0, maximum = 1000.0)]
    pub gpu_cores: Option<f64>,
    /// The old name of `cpu_cores`.
    #[schema(deprecated)]
    pub cpu_required: Option<f64>,
    /// The old name of `memory_gb`.
    #[schema(deprecated)]
    pub memory_required: Option<f64>,
    /// The old name of `storage_gb`.
    #[schema(deprecated)]
    pub storage_required: Option<f64>,
    /// The old name of `gpu_cores`.
    #[schema(deprecated)]
    pub gpu_required: Option<f64>,
    /// Environment of the command. It is not shown again.
    #[schema(schema_with = env_schema, required = false)]
    pub env: Option<BTreeMap<String, String>>,
    /// Its place in the queue; 50 if none, above 50 only by an admin.
    #[schema(minimum = 0, maximum = 100)]
    pub priority: Option<i64>,
    /// When it should be done.
    pub deadline: Option<Deadline>,
    /// Longest run in seconds.
    #[schema(minimum = 0.001, maximum = 315_360_000.0)]
    pub timeout_s: Option<f64>,
    /// Longest pull of the image in seconds.
    #[schema(minimum = 0.001, maximum = 315_360_000.0)]
    pub pull_timeout_s: Option<f64>,
    /// Longest wait before it first runs in seconds.
    #[schema(minimum = 0.001, maximum = 315_360_000.0)]
    pub queue_timeout_s: Option<f64>,
    /// Estimated run in seconds.
    #[schema(minimum = 0.001, maximum = 315_360_000.0)]
    pub estimate_s: Option<f64>,
    /// Runs after a failure; 0 if none.
    #[schema(minimum = 0, maximum = 1000)]
    pub max_retries: Option<i64>,
    /// After which failures: `any`, or exit codes and kinds such as `1,oom`.
    #[schema(
        pattern = "^((any|exit|signal|oom|start|stopped|timeout|pull-timeout|[0-9]{1,3}(-[0-9]{1,3})?)(,(any|exit|signal|oom|start|stopped|timeout|pull-timeout|[0-9]{1,3}(-[0-9]{1,3})?)){0,20})?$"
    )]
    pub retry_on: Option<String>,
    /// Words to find it by.
    #[schema(schema_with = labels_schema, required = false)]
    pub labels: Option<BTreeMap<String, String>>,
    /// Not there yet: only an empty list is taken.
    #[schema(max_items = 0)]
    pub constraints: Option<Vec<String>>,
    /// The worker it must run on, past the scheduler's choice.
    #[schema(pattern = "^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?$")]
    pub worker_id: Option<String>,
    /// Not there yet: only an empty list is taken.
    #[schema(max_items = 0)]
    pub after: Option<Vec<String>>,
    /// A free word.
    #[schema(max_length = 256, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    pub tag: Option<String>,
    /// What kind of work it is.
    #[schema(schema_with = task_type_schema, required = false)]
    pub task_type: Option<String>,
    /// Times the estimate it gives a deadline where none is set; 2.0 if none.
    #[schema(minimum = 1.5, maximum = 2.5)]
    pub sla_multiplier: Option<f64>,
    /// Whether it waits until somebody releases it.
    pub hold: Option<bool>,
    /// How its container is set up.
    pub container: Option<Container>,
}

fn task_type_schema() -> Schema {
    words_or_null(TaskType::ALL.iter().map(|word| word.as_str()))
        .description(Some("What kind of work it is."))
        .into()
}

fn env_schema() -> Schema {
    let name = text_of("^[^=\\u0000]+$");
    map_of(
        name,
        text_of("^[^\\u0000]*$"),
        "Environment of the command. It is not shown again.",
    )
}

/// Labels: also those of a change.
pub(crate) fn labels_schema() -> Schema {
    let word = |least| {
        text_of(NO_CONTROLS)
            .min_length(Some(least))
            .max_length(Some(256))
    };
    map_of(word(1), word(0), "Words to find it by.")
}

/// No control characters.
const NO_CONTROLS: &str = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$";

fn text_of(pattern: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(pattern))
}

/// Texts by name, or null.
fn map_of(name: ObjectBuilder, value: ObjectBuilder, description: &str) -> Schema {
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Object, Type::Null]))
        .property_names(Some(name))
        .additional_properties(Some(value))
        .description(Some(description))
        .into()
}

/// A line for `/bin/sh -c`, or a program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(example = json!(["python", "-c", "print(40 + 2)"]))]
pub enum CommandText {
    /// For `/bin/sh -c`.
    Shell(String),
    /// As it is.
    Exec(Vec<String>),
}

/// An instant: RFC 3339, or seconds from now.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Deadline {
    /// RFC 3339.
    #[schema(format = DateTime)]
    At(String),
    /// Seconds from now.
    In(f64),
}

/// How a task's container is set up. What is missing gets its default.
#[derive(Debug, Clone, PartialEq, Default, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Container {
    /// `none`, `bridge` or a name that an admin allows.
    pub network: Option<String>,
    /// `name:/path` or `name:/path:ro`, of volumes that an admin allows.
    pub volumes: Option<Vec<String>>,
    /// Whether the root is read-only.
    pub read_only: Option<bool>,
    /// `uid` or `uid:gid`.
    pub run_as: Option<String>,
    /// `/path` or `/path:GB`.
    pub tmpfs: Option<Vec<String>>,
    /// Size of `/dev/shm` in GB.
    pub shm_gb: Option<f64>,
    /// `SIGINT`, `INT` or `2`.
    pub stop_signal: Option<String>,
    /// The container's own name.
    pub hostname: Option<String>,
    /// `name:ip`.
    pub extra_hosts: Option<Vec<String>>,
    /// Capabilities that an admin allows.
    pub cap_add: Option<Vec<String>>,
}

/// Several tasks: all of them are taken, or none.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// The tasks.
    #[schema(min_items = 1, max_items = 10_000)]
    pub tasks: Vec<NewTask>,
}

impl FromJson for CommandText {
    fn from_json(value: Value, at: &str, mistakes: &mut Mistakes) -> Option<Self> {
        match value {
            Value::String(line) => Some(Self::Shell(line)),
            Value::Array(_) => Vec::from_json(value, at, mistakes).map(Self::Exec),
            _ => {
                let detail = "expected a string for the shell, or an array of a program and its \
                              arguments";
                mistakes.push(Mistake::at(at, detail));
                None
            }
        }
    }
}

impl FromJson for Deadline {
    fn from_json(value: Value, at: &str, mistakes: &mut Mistakes) -> Option<Self> {
        match value {
            Value::String(text) => match rfc3339::wall(&text) {
                Some(_) => Some(Self::At(text)),
                None => {
                    let shown: String = text.chars().take(80).collect();
                    let detail = format!(
                        "{shown:?} is no time: expected one such as \"2026-01-31T08:00:00Z\", or a \
                         number of seconds from now"
                    );
                    mistakes.push(Mistake::at(at, detail));
                    None
                }
            },
            Value::Number(number) => number.as_f64().map(Self::In),
            _ => {
                let detail =
                    "expected a time such as \"2026-01-31T08:00:00Z\", or seconds from now";
                mistakes.push(Mistake::at(at, detail));
                None
            }
        }
    }
}

impl Deadline {
    /// The instant that it means.
    ///
    /// # Errors
    /// What is wrong with it: it is no time, or none that anything can be done by.
    pub fn instant(&self, now: Wall) -> Result<Wall, String> {
        let last = now.after(Duration::from_secs_f64(FURTHEST_S));
        let (at, shown) = match self {
            Self::At(text) => (rfc3339::wall(text), text.chars().take(80).collect()),
            Self::In(seconds) => {
                let span = Duration::try_from_secs_f64(*seconds).ok();
                let span = span.filter(|span| span.as_secs_f64() <= FURTHEST_S);
                (span.map(|span| now.after(span)), format!("{seconds:e}"))
            }
        };
        at.filter(|at| (now..=last).contains(at)).ok_or_else(|| {
            format!("{shown} can't be: expected a time from now on and at most 10 years ahead")
        })
    }
}

impl FromJson for Container {
    fn from_json(value: Value, at: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let mut fields = Object::of(value, at, mistakes)?;
        let container = Self {
            network: fields.take("network"),
            volumes: fields.take("volumes"),
            read_only: fields.take("read_only"),
            run_as: fields.take("run_as"),
            tmpfs: fields.take("tmpfs"),
            shm_gb: fields.take("shm_gb"),
            stop_signal: fields.take("stop_signal"),
            hostname: fields.take("hostname"),
            extra_hosts: fields.take("extra_hosts"),
            cap_add: fields.take("cap_add"),
        };
        fields.finish();
        Some(container)
    }
}

impl Container {
    fn into_draft(self) -> ContainerDraft {
        ContainerDraft {
            network: self.network,
            volumes: self.volumes.unwrap_or_default(),
            read_only: self.read_only.unwrap_or_default(),
            run_as: self.run_as,
            tmpfs: self.tmpfs.unwrap_or_default(),
            shm_gb: self.shm_gb,
            stop_signal: self.stop_signal,
            hostname: self.hostname,
            extra_hosts: self.extra_hosts.unwrap_or_default(),
            cap_add: self.cap_add.unwrap_or_default(),
        }
    }
}

impl FromJson for NewTask {
    fn from_json(value: Value, at: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let mut fields = Object::of(value, at, mistakes)?;
        for (name, old) in OLD_NAMES {
            if fields.has(name) && fields.has(old) {
                fields.mistake(
                    old,
                    format!("it is the old name of {name}: expected one of them"),
                );
            }
        }
        let docker_image = fields.required("docker_image");
        let is_named = docker_image.is_some();
        let task = Self {
            docker_image: docker_image.unwrap_or_default(),
            command: fields.take("command"),
            name: fields.take("name"),
            task_id: fields.take("task_id"),
            user_id: fields.take("user_id"),
            cpu_cores: fields.take("cpu_cores"),
            memory_gb: fields.take("memory_gb"),
            storage_gb: fields.take("storage_gb"),
            gpu_cores: fields.take("gpu_cores"),
            cpu_required: fields.take("cpu_required"),
            memory_required: fields.take("memory_required"),
            storage_required: fields.take("storage_required"),
            gpu_required: fields.take("gpu_required"),
            env: fields.take("env"),
            priority: fields.take("priority"),
            deadline: fields.take("deadline"),
            timeout_s: fields.take("timeout_s"),
            pull_timeout_s: fields.take("pull_timeout_s"),
            queue_timeout_s: fields.take("queue_timeout_s"),
            estimate_s: fields.take("estimate_s"),
            max_retries: fields.take("max_retries"),
            retry_on: fields.take("retry_on"),
            labels: fields.take("labels"),
            constraints: fields.take("constraints"),
            worker_id: fields.take("worker_id"),
            after: fields.take("after"),
            tag: fields.take("tag"),
            task_type: fields.take("task_type"),
            sla_multiplier: fields.take("sla_multiplier"),
            hold: fields.take("hold"),
            container: fields.take("container"),
        };
        for (name, list) in [("constraints", &task.constraints), ("after", &task.after)] {
            if list.as_ref().is_some_and(|list| !list.is_empty()) {
                fields.mistake(
                    name,
                    "it is not there yet: expected no such field, or an empty list",
                );
            }
        }
        fields.finish();
        // What can be read can be wrong all the same: all of it is told at once. A deadline is checked
        // against the clock later, and an image that is missing was named.
        let draft = task
            .clone()
            .into_draft(Wall(0), at, &mut Mistakes::default());
        if let Err(mut errors) = draft.check() {
            errors
                .0
                .retain(|error| is_named || error.field != "docker_image");
            task.explain(errors, at, mistakes);
        }
        Some(task)
    }
}

impl FromJson for Batch {
    fn from_json(value: Value, at: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let mut fields = Object::of(value, at, mistakes)?;
        let tasks: Option<TasksOfBatch> = fields.required("tasks");
        fields.finish();
        Some(Self { tasks: tasks?.0 })
    }
}

/// As many tasks as a batch may have. They are counted before any of them is read: a task takes
/// hundreds of times what a wrong one takes in a body.
struct TasksOfBatch(Vec<NewTask>);

impl FromJson for TasksOfBatch {
    fn from_json(value: Value, at: &str, mistakes: &mut Mistakes) -> Option<Self> {
        if let Value::Array(tasks) = &value
            && !(1..=MOST_IN_BATCH).contains(&tasks.len())
        {
            let count = tasks.len();
            let detail = format!("it has {count} tasks: expected 1 to {MOST_IN_BATCH}");
            mistakes.push(Mistake::at(at, detail));
            return None;
        }
        Vec::from_json(value, at, mistakes).map(Self)
    }
}

impl NewTask {
    /// A draft, as submitted `now`; all but what an admin allows was checked when the body was read.
    /// A deadline that is over, or too far, is added to the mistakes. The body is at `at`.
    pub fn into_draft(self, now: Wall, at: &str, mistakes: &mut Mistakes) -> TaskDraft {
        let deadline = self.deadline.and_then(|deadline| {
            let instant = deadline.instant(now);
            let wrong = |detail| mistakes.push(Mistake::at(below(at, "deadline"), detail));
            instant.map_err(wrong).ok()
        });
        TaskDraft {
            task_id: self.task_id,
            name: self.name,
            user_id: self.user_id,
            docker_image: self.docker_image,
            command: match self.command {
                None => Command::Image,
                Some(CommandText::Shell(line)) => Command::Shell(line),
                Some(CommandText::Exec(words)) => Command::Exec(words),
            },
            cpu_cores: self.cpu_cores.or(self.cpu_required),
            memory_gb: self.memory_gb.or(self.memory_required),
            storage_gb: self.storage_gb.or(self.storage_required),
            gpu_cores: self.gpu_cores.or(self.gpu_required),
            worker_id: self.worker_id,
            env: self.env.unwrap_or_default(),
            priority: self.priority,
            deadline,
            timeout_s: self.timeout_s,
            pull_timeout_s: self.pull_timeout_s,
            queue_timeout_s: self.queue_timeout_s,
            estimate_s: self.estimate_s,
            max_retries: self.max_retries,
            retry_on: self.retry_on,
            labels: self.labels.unwrap_or_default(),
            tag: self.tag,
            task_type: self.task_type,
            sla_multiplier: self.sla_multiplier,
            container: self
                .container
                .map(Container::into_draft)
                .unwrap_or_default(),
            hold: self.hold.unwrap_or_default(),
            submit_key: None,
        }
    }

    /// Adds what the model found wrong with the draft of this body, under the names that were sent.
    pub fn explain(&self, errors: DraftErrors, at: &str, mistakes: &mut Mistakes) {
        mistakes.extend(errors, |field| match field {
            "cpu_cores" if self.cpu_required.is_some() => below(at, "cpu_required"),
            "memory_gb" if self.memory_required.is_some() => below(at, "memory_required"),
            "storage_gb" if self.storage_required.is_some() => below(at, "storage_required"),
            "gpu_cores" if self.gpu_required.is_some() => below(at, "gpu_required"),
            field if CONTAINER_FIELDS.contains(&field) => below(&below(at, "container"), field),
            field => below(at, field),
        });
    }
}

#[cfg(test)]
mod tests;
