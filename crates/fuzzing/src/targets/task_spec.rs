//! What a client or an operator asks for, field by field: a draft and its check.
//!
//! An input is lines `field=value`, of a list or a map several; `field*N=value` repeats a line, with
//! the number of the repetition in place of a `#`. What holds: every mistake is said in words and with
//! its field, all of them together at a length that can be shown; what is accepted is within the
//! limits of the contract; the draft that a spec is sent on as is checked to the same spec; what
//! nobody allowed is refused; and a change of a task is held to the same limits.

use std::collections::BTreeSet;

use cloudai_model::{
    Allowed, ChangeDraft, Command, ContainerDraft, DraftErrors, ImageRef, RetryOn, Setting,
    TaskDraft, TaskSpec, Wall,
    container::{capability::KEPT, network::Network},
    draft::{COMMAND_LIMIT, WORD_LIMIT},
    resources::GB,
};
use cloudai_proto::{cluster, order::draft_of, submit};

use super::wire::LONGEST_REFUSAL;
use crate::{Seed, Verdict, said};

/// So many repetitions of a line, together: enough for every limit.
const MOST_LINES: usize = 20_000;
/// Ten years.
const LONGEST_SPAN_MS: u128 = 10 * 365 * 86_400_000;

/// See the module.
pub(super) fn check(bytes: &[u8]) -> Verdict {
    match std::str::from_utf8(bytes) {
        Ok(text) => holds(draft(text)),
        Err(_) => Verdict::Refused,
    }
}

/// What holds of any draft.
pub(super) fn holds(draft: TaskDraft) -> Verdict {
    change_holds(draft.timeout_s);
    let allowed = draft.clone().check_allowed(&Allowed::default());
    if let Ok((_, spec)) = &allowed {
        let container = &spec.container;
        assert!(!matches!(container.network, Network::Named(_)));
        assert_eq!(container.volumes, []);
        assert!(container.cap_add.iter().all(|one| KEPT.contains(one)));
    }
    match draft.check() {
        Ok((_, spec)) => {
            is_within_limits(&spec);
            let again = draft_of(&spec).check();
            assert_eq!(again, Ok((None, spec)));
            Verdict::Accepted
        }
        Err(errors) => {
            are_said(&errors);
            assert!(allowed.is_err(), "what can't be is never allowed");
            Verdict::Refused
        }
    }
}

fn are_said(errors: &DraftErrors) {
    assert!(!errors.0.is_empty(), "a refusal without a reason");
    for error in &errors.0 {
        assert!(!error.field.is_empty());
        said::assert_said(&error.message);
    }
    said::assert_said_within(errors, LONGEST_REFUSAL);
}

/// What the contract promises of every task that was accepted.
pub(super) fn is_within_limits(spec: &TaskSpec) {
    for word in [&spec.name, &spec.tag]
        .into_iter()
        .chain(spec.labels.keys())
    {
        assert!(word.chars().count() <= WORD_LIMIT && !word.contains(char::is_control));
    }
    let most = 1_000_000;
    let resources = &spec.resources;
    assert!((10..=most * 1000).contains(&resources.cpu_milli));
    assert!((6 << 20..=most * GB).contains(&resources.memory_bytes));
    assert!(resources.storage_bytes <= most * GB);
    assert!(resources.gpu.milli() <= 1_000_000);
    assert!(spec.priority.level() <= 100 && spec.max_retries <= 1000);
    assert!((1.5..=2.5).contains(&spec.sla_multiplier.factor()));
    for span in [
        spec.timeout,
        spec.pull_timeout,
        spec.queue_timeout,
        spec.estimate,
    ] {
        assert!(span.is_none_or(|span| (1..=LONGEST_SPAN_MS).contains(&span.as_millis())));
    }
    let words: Vec<&String> = match &spec.command {
        Command::Image => Vec::new(),
        Command::Shell(line) => vec![line],
        Command::Exec(words) => {
            assert!(!words.is_empty() && !words[0].is_empty());
            words.iter().collect()
        }
    };
    let env = spec.env.iter().flat_map(|(name, value)| [name, value]);
    let texts = || words.iter().copied().chain(env.clone());
    assert!(texts().map(String::len).sum::<usize>() <= COMMAND_LIMIT);
    assert!(texts().all(|text| !text.contains('\0')));
    let image: Result<ImageRef, _> = spec.image.as_str().parse();
    assert_eq!(image.as_ref(), Ok(&spec.image));
    let again: Result<RetryOn, _> = spec.retry_on.to_string().parse();
    assert_eq!(again.as_ref(), Ok(&spec.retry_on));
    container_is_within_limits(spec);
    let has_one = spec.deadline.is_some() || spec.estimate.is_some();
    assert_eq!(spec.effective_deadline(Wall(i64::MAX)).is_some(), has_one);
}

fn container_is_within_limits(spec: &TaskSpec) {
    let container = &spec.container;
    let volumes = container.volumes.iter().map(|mount| &mount.path);
    let tmpfs = container.tmpfs.iter().map(|tmpfs| &tmpfs.path);
    let mut paths = BTreeSet::new();
    for path in volumes.chain(tmpfs) {
        let text = path.as_str();
        assert!(text.starts_with('/') && text.len() <= 1024 && paths.insert(text));
        for reserved in ["/output", "/dev", "/proc", "/sys"] {
            let beneath = text.strip_prefix(reserved);
            assert!(!beneath.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
        }
        assert!(
            text.split('/')
                .skip(1)
                .all(|name| !["", ".", ".."].contains(&name))
        );
    }
    assert!(container.volumes.len() <= 64 && container.tmpfs.len() <= 64);
    assert!(container.extra_hosts.len() <= 64 && container.cap_add.len() <= 64);
    let sizes = container.tmpfs.iter().filter_map(|tmpfs| tmpfs.size_bytes);
    for size in sizes.chain(container.shm_bytes) {
        assert!((1..=spec.resources.memory_bytes).contains(&size));
    }
}

fn change_holds(timeout_s: Option<f64>) {
    let Some(seconds) = timeout_s else { return };
    let timeout_s = Setting::To(seconds);
    match (ChangeDraft {
        timeout_s,
        ..ChangeDraft::default()
    })
    .check()
    {
        Ok(change) => assert!(
            matches!(change.timeout, Setting::To(span) if (1..=LONGEST_SPAN_MS).contains(&span.as_millis()))
        ),
        Err(errors) => are_said(&errors),
    }
}

/// The draft that the lines of a text make.
fn draft(text: &str) -> TaskDraft {
    let mut draft = TaskDraft::default();
    let mut lines = 0;
    for line in text.lines() {
        let (field, value) = line.split_once('=').unwrap_or((line, ""));
        let (field, times) = field.split_once('*').unwrap_or((field, "1"));
        let times = times.parse().unwrap_or(1).min(MOST_LINES - lines);
        lines += times;
        for index in 0..times {
            // What needs no number is not copied for each.
            let value = value.replace('#', &index.to_string());
            set(&mut draft, field, value);
        }
    }
    draft
}

fn set(draft: &mut TaskDraft, field: &str, value: String) {
    let number = || value.parse::<f64>().ok();
    let pair = || {
        let (name, value) = value.split_once('=').unwrap_or((&value, ""));
        (name.to_owned(), value.to_owned())
    };
    match field {
        "task_id" => draft.task_id = Some(value),
        "name" => draft.name = Some(value),
        "user_id" => draft.user_id = Some(value),
        "docker_image" => draft.docker_image = value,
        "shell" => draft.command = Command::Shell(value),
        "word" => match &mut draft.command {
            Command::Exec(words) => words.push(value),
            command => *command = Command::Exec(vec![value]),
        },
        "no_words" => draft.command = Command::Exec(Vec::new()),
        "nul" => draft.command = Command::Shell("\0".to_owned()),
        "cpu_cores" => draft.cpu_cores = number(),
        "memory_gb" => draft.memory_gb = number(),
        "storage_gb" => draft.storage_gb = number(),
        "gpu_cores" => draft.gpu_cores = number(),
        "worker_id" => draft.worker_id = Some(value),
        "env" => draft.env.extend([pair()]),
        "priority" => draft.priority = value.parse().ok(),
        "deadline" => draft.deadline = value.parse().ok().map(Wall),
        "timeout_s" => draft.timeout_s = number(),
        "pull_timeout_s" => draft.pull_timeout_s = number(),
        "queue_timeout_s" => draft.queue_timeout_s = number(),
        "estimate_s" => draft.estimate_s = number(),
        "max_retries" => draft.max_retries = value.parse().ok(),
        "retry_on" => {
            // Longer, where it comes again.
            let before = draft.retry_on.take();
            draft.retry_on = Some(before.map_or(value.clone(), |before| before + "," + &value));
        }
        "label" => draft.labels.extend([pair()]),
        "tag" => draft.tag = Some(value),
        "task_type" => draft.task_type = Some(value),
        "sla_multiplier" => draft.sla_multiplier = number(),
        _ => set_container(&mut draft.container, field, value),
    }
}

fn set_container(container: &mut ContainerDraft, field: &str, value: String) {
    match field {
        "network" => container.network = Some(value),
        "volume" => container.volumes.push(value),
        "read_only" => container.read_only = true,
        "run_as" => container.run_as = Some(value),
        "tmpfs" => container.tmpfs.push(value),
        "shm_gb" => container.shm_gb = value.parse().ok(),
        "stop_signal" => container.stop_signal = Some(value),
        "hostname" => container.hostname = Some(value),
        "extra_host" => container.extra_hosts.push(value),
        "cap_add" => container.cap_add.push(value),
        _ => {}
    }
}

const EVERYTHING: &str = "\
task_id=mine-1
name=training
user_id=ann
docker_image=registry.example.org:5000/team/app:1.2
word=python
word=train.py
word=--lr=0.1
cpu_cores=2.5
memory_gb=16
storage_gb=0
gpu_cores=2
worker_id=worker-1
env=MODE=fast
env=EMPTY=
priority=80
deadline=1769846400000
timeout_s=7200
pull_timeout_s=0.5
queue_timeout_s=86400
estimate_s=3600
max_retries=3
retry_on=1,75,100-110,oom
label=team=vision
tag=nightly
task_type=gpu-training
sla_multiplier=1.5
network=lab
volume=datasets:/data:ro
read_only
run_as=1000:100
tmpfs=/scratch:0.25
shm_gb=1
stop_signal=SIGINT
hostname=trainer-1
extra_host=db:fd00::5
cap_add=NET_RAW";

/// A task with all that there is, as a client sends it.
pub(super) fn everything_on_the_wire() -> cluster::Task {
    submit::to_wire(draft(EVERYTHING))
}

/// Every field as it can be, and as it can't.
pub(super) fn seeds() -> Vec<Seed> {
    vec![
        Seed::good("everything", EVERYTHING),
        Seed::good("least", "docker_image=alpine"),
        Seed::good(
            "smallest-amounts",
            "docker_image=a\ncpu_cores=0.01\nmemory_gb=0.006\nstorage_gb=1e-9\ngpu_cores=0.001\n\
             timeout_s=0.001\npriority=0\nsla_multiplier=2.5",
        ),
        Seed::good(
            "largest-amounts",
            "docker_image=a\ncpu_cores=1e6\nmemory_gb=1e6\nstorage_gb=1e6\ngpu_cores=1000\n\
             timeout_s=315360000\npriority=100\nmax_retries=1000",
        ),
        Seed::good(
            "shell",
            "docker_image=alpine:3.22\nshell=echo \"it's $HOME\" | wc",
        ),
        Seed::good(
            "longest-name",
            format!("docker_image=a\nname={}", "ä".repeat(256)),
        ),
        Seed::bad(
            "everything-wrong",
            "task_id=../etc\ndocker_image=Alpine\ncpu_cores=NaN\nmemory_gb=-1\nstorage_gb=inf\n\
             gpu_cores=1.5\nno_words\nenv==x\npriority=101\ntimeout_s=0\nqueue_timeout_s=1e300\n\
             max_retries=-1\nretry_on=0\nlabel==\ntag=\u{7}\ntask_type=big\nsla_multiplier=9\n\
             network=host\nvolume=/etc:/x\nrun_as=root\ntmpfs=/proc/x\nshm_gb=0\nstop_signal=SIGNOPE\n\
             hostname=-\nextra_host=db\ncap_add=ALL\nuser_id=two words\nworker_id=",
        ),
        Seed::bad(
            "many-wrong-names",
            "docker_image=a\nenv*3000=# b\u{0}=x\nlabel*3000==#",
        ),
        Seed::bad(
            "long-wrong-name",
            format!("docker_image=a\nenv={}\u{0}=x", "\u{1}".repeat(3000)),
        ),
        Seed::bad(
            "too-many-hosts",
            "docker_image=a\nextra_host*65=h#:10.0.0.1",
        ),
        Seed::bad(
            "too-long-a-command",
            format!("docker_image=a\nword*10000={}", "x".repeat(14)),
        ),
        Seed::bad("too-many-rules", "docker_image=a\nretry_on*66=#0-#5"),
        Seed::bad("mounted-twice", "docker_image=a\nvolume=vv:/a\ntmpfs=/a/"),
        Seed::bad("nothing", ""),
        Seed::bad("nul", "docker_image=a\nnul"),
    ]
}
