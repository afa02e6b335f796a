//! From what a caller sent to a [`TaskSpec`]: every mistake is named at once, with its field.

use std::{collections::BTreeMap, fmt, time::Duration};

use crate::{
    container::{ContainerDraft, allowed::Allowed},
    ids::{TaskId, UserName},
    resources::{GpuRequest, LEAST_CPU_MILLI, Resources, gb_to_bytes, milli_cores, shown},
    spec::{Command, Priority, SlaMultiplier, SubmitKey, TaskSpec},
    time::Wall,
};

/// The most that a command and its environment may take together, in bytes.
pub const COMMAND_LIMIT: usize = 128 * 1024;
/// The most characters of a name, a tag, or a label's key or value.
pub const WORD_LIMIT: usize = 256;
/// The smallest memory limit that engines accept, in GB: 6 MiB.
const LEAST_MEMORY_GB: f64 = 6.0 / 1024.0;
/// The longest span of time that is believed: ten years, in seconds.
const LONGEST_S: f64 = 10.0 * 365.0 * 86_400.0;

/// So many mistakes of one field are named; nobody reads a thousand.
const MOST_OF_A_FIELD: usize = 16;
/// Behind so many bytes of words mistakes are only counted.
const LONGEST_TOLD: usize = 8192;

/// One field that can't be as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The field's name in the contract's task body.
    pub field: &'static str,
    /// What is wrong and what was expected.
    pub message: String,
}

/// Everything that is wrong with a draft; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftErrors(pub Vec<FieldError>);

impl fmt::Display for DraftErrors {
    /// All of them, as long as a person would read on.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut written = 0;
        for (index, error) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            if written > LONGEST_TOLD {
                return write!(f, "{separator}and {} more", self.0.len() - index);
            }
            written += error.message.len();
            write!(f, "{separator}{}: {}", error.field, error.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for DraftErrors {}

/// A task as a caller sent it, unchecked; what is `None` gets its default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TaskDraft {
    /// The client's own id.
    pub task_id: Option<String>,
    /// Shown name.
    pub name: Option<String>,
    /// Owner; `admin` if none.
    pub user_id: Option<String>,
    /// Image, required.
    pub docker_image: String,
    /// What to run.
    pub command: Command,
    /// Cores; 1 if none.
    pub cpu_cores: Option<f64>,
    /// GB of memory; 0.5 if none.
    pub memory_gb: Option<f64>,
    /// GB of disk; 1 if none.
    pub storage_gb: Option<f64>,
    /// GPUs; 0 if none.
    pub gpu_cores: Option<f64>,
    /// The worker it must run on.
    pub worker_id: Option<String>,
    /// Environment.
    pub env: BTreeMap<String, String>,
    /// 0 to 100; 50 if none.
    pub priority: Option<i64>,
    /// When it should be done.
    pub deadline: Option<Wall>,
    /// Longest run in seconds.
    pub timeout_s: Option<f64>,
    /// Longest pull of the image in seconds.
    pub pull_timeout_s: Option<f64>,
    /// Longest wait before it first runs in seconds.
    pub queue_timeout_s: Option<f64>,
    /// Estimated run in seconds.
    pub estimate_s: Option<f64>,
    /// Runs after a failure; 0 if none.
    pub max_retries: Option<i64>,
    /// After which failures; any but time-outs if none.
    pub retry_on: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Free word.
    pub tag: Option<String>,
    /// Kind of work.
    pub task_type: Option<String>,
    /// 1.5 to 2.5; 2.0 if none.
    pub sla_multiplier: Option<f64>,
    /// How its container is set up.
    pub container: ContainerDraft,
    /// Whether it waits until somebody releases it.
    pub hold: bool,
    /// Names the submit; made by the front end, not by the user's words alone.
    pub submit_key: Option<SubmitKey>,
}

impl TaskDraft {
    /// Checks the draft whole, but for what an admin allows: that was asked when it was accepted.
    ///
    /// # Errors
    /// Every field that is wrong, in the order of the contract's task body.
    pub fn check(self) -> Result<(Option<TaskId>, TaskSpec), DraftErrors> {
        self.checked(None)
    }

    /// Checks the draft of a submit whole.
    ///
    /// # Errors
    /// As [`Self::check`]; what is not allowed is among it.
    pub fn check_allowed(
        self,
        allowed: &Allowed,
    ) -> Result<(Option<TaskId>, TaskSpec), DraftErrors> {
        self.checked(Some(allowed))
    }

    fn checked(self, allowed: Option<&Allowed>) -> Result<(Option<TaskId>, TaskSpec), DraftErrors> {
        let mut errors = Errors::default();
        let task_id = errors.parsed("task_id", self.task_id.as_deref());
        let image = errors.take(
            "docker_image",
            self.docker_image
                .parse()
                .map_err(|e: crate::ImageRefError| e.to_string()),
        );
        let resources = Resources {
            cpu_milli: errors.cpu(self.cpu_cores.unwrap_or(1.0)),
            memory_bytes: errors.memory(self.memory_gb.unwrap_or(0.5)),
            storage_bytes: errors
                .take("storage_gb", gb_to_bytes(self.storage_gb.unwrap_or(1.0)))
                .unwrap_or(0),
            gpu: errors
                .take(
                    "gpu_cores",
                    GpuRequest::from_devices(self.gpu_cores.unwrap_or(0.0)),
                )
                .unwrap_or_default(),
        };
        errors.command(&self.command, &self.env);
        let user = errors.parsed("user_id", self.user_id.as_deref());
        let target = errors.parsed("worker_id", self.worker_id.as_deref());
        let task_type = errors.parsed("task_type", self.task_type.as_deref());
        let priority = errors.priority(self.priority);
        let timeout = errors.span("timeout_s", self.timeout_s);
        let pull_timeout = errors.span("pull_timeout_s", self.pull_timeout_s);
        let queue_timeout = errors.span("queue_timeout_s", self.queue_timeout_s);
        let estimate = errors.span("estimate_s", self.estimate_s);
        let max_retries = errors.retries(self.max_retries);
        let retry_on = errors.parsed("retry_on", self.retry_on.as_deref());
        let sla_multiplier = errors.sla(self.sla_multiplier);
        let name = errors.word("name", self.name.unwrap_or_default());
        let tag = errors.word("tag", self.tag.unwrap_or_default());
        let labels = errors.labels(self.labels);
        // Against memory that is wrong itself nothing can be said.
        let memory_bytes = Some(resources.memory_bytes).filter(|bytes| *bytes > 0);
        let container = self.container.check(&mut errors, allowed, memory_bytes);

        match (image, errors.0.is_empty()) {
            (Some(image), true) => Ok((
                task_id,
                TaskSpec {
                    name,
                    user: user.unwrap_or_else(UserName::admin),
                    image,
                    command: self.command,
                    resources,
                    target,
                    env: self.env,
                    priority,
                    deadline: self.deadline,
                    timeout,
                    pull_timeout,
                    queue_timeout,
                    estimate,
                    max_retries,
                    retry_on: retry_on.unwrap_or_default(),
                    labels,
                    tag,
                    task_type,
                    sla_multiplier,
                    container,
                    hold: self.hold,
                    submit_key: self.submit_key,
                },
            )),
            _ => Err(DraftErrors(errors.0)),
        }
    }
}

/// What is wrong so far.
#[derive(Debug, Default)]
pub(crate) struct Errors(pub(crate) Vec<FieldError>);

impl Errors {
    /// Whether nothing is wrong.
    pub(crate) fn into_result(self) -> Result<(), DraftErrors> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(DraftErrors(self.0))
        }
    }

    pub(crate) fn push(&mut self, field: &'static str, message: impl Into<String>) {
        let of_field = self.0.iter().filter(|error| error.field == field);
        let message = match of_field.count() {
            ..MOST_OF_A_FIELD => message.into(),
            MOST_OF_A_FIELD => "and more of the kind".to_owned(),
            _ => return,
        };
        self.0.push(FieldError { field, message });
    }

    pub(crate) fn take<T, E: fmt::Display>(
        &mut self,
        field: &'static str,
        value: Result<T, E>,
    ) -> Option<T> {
        value
            .map_err(|error| self.push(field, error.to_string()))
            .ok()
    }

    /// An absent or empty text is none; the wire can't tell them apart.
    pub(crate) fn parsed<T>(&mut self, field: &'static str, text: Option<&str>) -> Option<T>
    where
        T: std::str::FromStr,
        T::Err: fmt::Display,
    {
        text.filter(|text| !text.is_empty())
            .and_then(|text| self.take(field, text.parse()))
    }

    fn cpu(&mut self, cores: f64) -> u64 {
        let milli = self.take("cpu_cores", milli_cores(cores));
        if milli.is_some_and(|milli| milli < LEAST_CPU_MILLI) {
            self.push(
                "cpu_cores",
                format!(
                    "{cores} is not valid: expected at least 0.01 and at most 1000000 cores, such \
                     as 0.5 or 4"
                ),
            );
        }
        milli.unwrap_or(0)
    }

    /// 0 if it can't be.
    fn memory(&mut self, gb: f64) -> u64 {
        if let Ok(bytes) = gb_to_bytes(gb)
            && gb >= LEAST_MEMORY_GB
        {
            return bytes;
        }
        self.push(
            "memory_gb",
            format!(
                "{} is not valid: expected at least 0.006 (the least that a container can start \
                 with) and at most 1000000 GB, such as 0.5 or 16",
                shown(gb)
            ),
        );
        0
    }

    fn command(&mut self, command: &Command, env: &BTreeMap<String, String>) {
        let words: Vec<&String> = match command {
            Command::Image => Vec::new(),
            Command::Shell(line) => vec![line],
            Command::Exec(words) => words.iter().collect(),
        };
        if matches!(command, Command::Exec(words) if words.is_empty() || words[0].is_empty()) {
            self.push(
                "command",
                "the list is empty: expected a program and its arguments",
            );
        }
        if words.iter().any(|word| word.contains('\0')) {
            self.push("command", "holds a NUL byte: expected text without one");
        }
        for (name, value) in env {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                // A hostile text is shown, but not at any length.
                let name: String = name.chars().take(80).collect();
                self.push(
                    "env",
                    format!("{name:?} is not valid: expected NAME=value without NUL bytes"),
                );
            }
        }
        let size = words.iter().map(|word| word.len()).sum::<usize>()
            + env
                .iter()
                .map(|(name, value)| name.len() + value.len() + 2)
                .sum::<usize>();
        if size > COMMAND_LIMIT {
            self.push(
                "command",
                format!(
                    "command and environment take {size} bytes: expected at most {COMMAND_LIMIT}"
                ),
            );
        }
    }

    pub(crate) fn priority(&mut self, level: Option<i64>) -> Priority {
        let Some(level) = level else {
            return Priority::DEFAULT;
        };
        Priority::new(level).unwrap_or_else(|| {
            self.push(
                "priority",
                format!("{level} is not valid: expected 0 to 100"),
            );
            Priority::DEFAULT
        })
    }

    pub(crate) fn span(&mut self, field: &'static str, seconds: Option<f64>) -> Option<Duration> {
        let seconds = seconds?;
        if (0.001..=LONGEST_S).contains(&seconds) {
            return Some(Duration::from_millis((seconds * 1000.0).round() as u64));
        }
        self.push(
            field,
            format!(
                "{} is not valid: expected at least 0.001 and at most {LONGEST_S} seconds, \
                 such as 90",
                shown(seconds)
            ),
        );
        None
    }

    fn retries(&mut self, retries: Option<i64>) -> u32 {
        let retries = retries.unwrap_or(0);
        u32::try_from(retries)
            .ok()
            .filter(|retries| *retries <= 1000)
            .unwrap_or_else(|| {
                self.push(
                    "max_retries",
                    format!("{retries} is not valid: expected 0 to 1000"),
                );
                0
            })
    }

    fn sla(&mut self, factor: Option<f64>) -> SlaMultiplier {
        let Some(factor) = factor else {
            return SlaMultiplier::DEFAULT;
        };
        SlaMultiplier::new(factor).unwrap_or_else(|| {
            self.push(
                "sla_multiplier",
                format!("{factor} is not valid: expected 1.5 to 2.5"),
            );
            SlaMultiplier::DEFAULT
        })
    }

    pub(crate) fn word(&mut self, field: &'static str, text: String) -> String {
        if text.chars().count() > WORD_LIMIT || text.contains(char::is_control) {
            self.push(
                field,
                format!(
                    "expected at most {WORD_LIMIT} characters, none of them control characters"
                ),
            );
        }
        text
    }

    pub(crate) fn labels(&mut self, labels: BTreeMap<String, String>) -> BTreeMap<String, String> {
        labels
            .into_iter()
            .map(|(key, value)| {
                if key.is_empty() {
                    self.push("labels", "a label has no name: expected name=value");
                }
                (self.word("labels", key), self.word("labels", value))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft() -> TaskDraft {
        TaskDraft {
            docker_image: "alpine:3.20".into(),
            ..TaskDraft::default()
        }
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let (id, spec) = draft().check().unwrap();
        assert_eq!(id, None);
        assert_eq!(spec.user, UserName::admin());
        assert_eq!(spec.resources.cpu_milli, 1000);
        assert_eq!(spec.resources.memory_bytes, 1 << 29);
        assert_eq!(spec.resources.storage_bytes, 1 << 30);
        assert_eq!(spec.resources.gpu, GpuRequest::None);
        assert_eq!(spec.priority.level(), 50);
        assert_eq!(spec.sla_multiplier.factor(), 2.0);
    }

    #[test]
    fn a_thousand_mistakes_are_told_at_a_length_that_is_read() {
        let env = (0..1000).map(|n| (format!("{n}={}", "x".repeat(5000)), String::new()));
        let labels = (0..1000).map(|n| (format!("{n}\n"), String::new()));
        let errors = TaskDraft {
            env: env.collect(),
            labels: labels.collect(),
            priority: Some(101),
            ..draft()
        };
        let errors = errors.check().unwrap_err();
        let of = |field| errors.0.iter().filter(|error| error.field == field).count();
        assert_eq!((of("env"), of("labels"), of("priority")), (17, 17, 1));
        let told = errors.to_string();
        assert!(told.contains("env: and more of the kind"), "{told}");
        assert!(told.len() < 2 * LONGEST_TOLD, "{} bytes", told.len());
    }

    #[test]
    fn every_mistake_is_named_at_once() {
        let bad = TaskDraft {
            task_id: Some("../etc".into()),
            cpu_cores: Some(f64::NAN),
            memory_gb: Some(-1.0),
            gpu_cores: Some(1.5),
            priority: Some(101),
            timeout_s: Some(0.0),
            pull_timeout_s: Some(-1.0),
            queue_timeout_s: Some(f64::INFINITY),
            max_retries: Some(-1),
            retry_on: Some("1,never".into()),
            task_type: Some("big".into()),
            sla_multiplier: Some(9.0),
            name: Some("two\nlines".into()),
            ..TaskDraft::default()
        };
        let errors = bad.check().unwrap_err();
        let fields: Vec<_> = errors.0.iter().map(|error| error.field).collect();
        for field in [
            "task_id",
            "docker_image",
            "cpu_cores",
            "memory_gb",
            "gpu_cores",
            "priority",
            "timeout_s",
            "pull_timeout_s",
            "queue_timeout_s",
            "max_retries",
            "retry_on",
            "task_type",
            "sla_multiplier",
            "name",
        ] {
            assert!(fields.contains(&field), "{field} is missing in {errors}");
        }
    }

    #[test]
    fn an_amount_that_cannot_be_is_answered_with_its_bounds() {
        let cpu = "expected at least 0.01 and at most 1000000 cores";
        let memory = "expected at least 0.006 (the least that a container can start with) and at \
                      most 1000000 GB";
        let storage = "expected at least 0 and at most 1000000 GB";
        let gpu = "expected at least 0 and at most 1000: a share of one device";
        let seconds = "expected at least 0.001 and at most 315360000 seconds";
        type Set = fn(&mut TaskDraft, f64);
        let fields: [(&str, Set, &str, &[f64]); 5] = [
            (
                "cpu_cores",
                |d, n| d.cpu_cores = Some(n),
                cpu,
                &[0.0, 0.0001, 0.009],
            ),
            (
                "memory_gb",
                |d, n| d.memory_gb = Some(n),
                memory,
                &[0.0, 0.001],
            ),
            ("storage_gb", |d, n| d.storage_gb = Some(n), storage, &[]),
            (
                "gpu_cores",
                |d, n| d.gpu_cores = Some(n),
                gpu,
                &[1.5, 0.0001],
            ),
            ("timeout_s", |d, n| d.timeout_s = Some(n), seconds, &[0.0]),
        ];
        for (field, set, expected, more) in fields {
            let everywhere = [-1.0, -0.5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e18];
            for amount in everywhere.iter().chain(more) {
                let mut draft = draft();
                set(&mut draft, *amount);
                let errors = draft.check().unwrap_err();
                assert_eq!(errors.0.len(), 1, "{field} {amount}: {errors}");
                let error = errors.to_string();
                let begins = format!("{field}: {amount} is not valid: {expected}");
                assert!(error.starts_with(&begins), "{error} instead of {begins}");
            }
        }
    }

    #[test]
    fn an_amount_of_hundreds_of_digits_is_told_in_a_few() {
        for (amount, shown) in [
            (1e300, "1e300"),
            (-1e-300, "-1e-300"),
            (1e18, "1000000000000000000"),
        ] {
            let huge = TaskDraft {
                cpu_cores: Some(amount),
                memory_gb: Some(amount),
                timeout_s: Some(amount),
                ..draft()
            };
            let errors = huge.check().unwrap_err().0;
            assert_eq!(errors.len(), 3, "{errors:?}");
            for error in errors {
                assert!(
                    error.message.starts_with(&format!("{shown} is not")),
                    "{error:?}"
                );
            }
        }
    }

    #[test]
    fn an_id_with_a_path_in_it_is_no_id() {
        for id in [
            "../etc",
            "a/b",
            "/a",
            "..",
            ".",
            "a\\b",
            "a\0b",
            &"a".repeat(65),
        ] {
            let bad = TaskDraft {
                task_id: Some(id.to_owned()),
                user_id: Some(id.to_owned()),
                worker_id: Some(id.to_owned()),
                ..draft()
            };
            let errors = bad.check().unwrap_err();
            let fields: Vec<_> = errors.0.iter().map(|error| error.field).collect();
            assert_eq!(fields, ["task_id", "user_id", "worker_id"], "{id}");
            for error in errors.0 {
                let expected = "expected 1 to 64 letters, digits, '.', '_' or '-'";
                assert!(error.message.contains(expected), "{error:?}");
            }
        }
    }

    #[test]
    fn a_deadline_follows_from_the_estimate() {
        let spec = TaskDraft {
            estimate_s: Some(10.0),
            sla_multiplier: Some(1.5),
            ..draft()
        };
        let (_, spec) = spec.check().unwrap();
        assert_eq!(spec.effective_deadline(Wall(1000)), Some(Wall(16_000)));
    }
}
