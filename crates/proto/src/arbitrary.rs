//! Any valid value of the model, for property tests.

use std::{sync::Arc, time::Duration};

use cloudai_model::{
    AttemptId, AttemptReport, Command, ContainerDraft, ContainerEnd, ContainerSpec, DeviceShare,
    Exit, FailureKind, GpuRequest, Grant, PeakUsage, Phase, Priority, Resources, RetryOn,
    SlaMultiplier, TaskDraft, TaskId, TaskSpec, TaskType, Wall, Whole,
    container::process::RunAs,
    resources::{GB, WHOLE_DEVICE},
};
use proptest::{collection::btree_map, option, prelude::*, sample::select};

use crate::order::Order;

pub(crate) fn task() -> impl Strategy<Value = TaskId> {
    prop_oneof![
        any::<u64>().prop_map(TaskId::numbered),
        "[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}".prop_map(|text| text.parse().unwrap()),
    ]
}

pub(crate) fn attempt() -> impl Strategy<Value = AttemptId> {
    (task(), 1..=u32::MAX).prop_map(|(task, number)| AttemptId::new(task, number))
}

pub(crate) fn phase() -> impl Strategy<Value = Phase> {
    select(Phase::ALL)
}

pub(crate) fn wall() -> impl Strategy<Value = Wall> {
    any::<i64>().prop_map(Wall)
}

fn exit() -> impl Strategy<Value = Exit> {
    prop_oneof![
        any::<i32>().prop_map(Exit::Exited),
        (1..=64).prop_map(Exit::Signalled),
        Just(Exit::OutOfMemory),
        Just(Exit::Cancelled),
        any::<String>().prop_map(Exit::NotStarted),
        any::<String>().prop_map(Exit::Stopped),
        any::<String>().prop_map(Exit::Interrupted),
    ]
}

pub(crate) fn container_end() -> impl Strategy<Value = ContainerEnd> {
    let usage = (any::<u64>(), any::<u64>()).prop_map(|(memory_bytes, ns)| PeakUsage {
        memory_bytes,
        cpu_time: Duration::from_nanos(ns),
    });
    (
        exit(),
        option::of(wall()),
        wall(),
        usage,
        option::of(any::<String>()),
    )
        .prop_map(
            |(exit, started_at, finished_at, usage, image_digest)| ContainerEnd {
                exit,
                started_at,
                finished_at,
                usage,
                image_digest,
            },
        )
}

fn whole() -> impl Strategy<Value = Whole> {
    prop_oneof![
        Just(Whole::Complete),
        any::<String>().prop_map(Whole::Incomplete)
    ]
}

pub(crate) fn report() -> impl Strategy<Value = AttemptReport> {
    let parts = (attempt(), container_end(), whole(), whole(), any::<bool>());
    parts.prop_map(|(attempt, end, log, files, in_order)| AttemptReport {
        attempt,
        end,
        log,
        files,
        in_order,
    })
}

fn resources() -> impl Strategy<Value = Resources> {
    let gpu = prop_oneof![
        Just(GpuRequest::None),
        (1_u16..1000).prop_map(GpuRequest::Share),
        (1_u16..=1000).prop_map(GpuRequest::Whole),
    ];
    let least_memory = 6 * GB / 1024;
    let most = 1_000_000 * GB;
    (1..=1_000_000_000_u64, least_memory..=most, 0..=most, gpu).prop_map(
        |(cpu_milli, memory_bytes, storage_bytes, gpu)| Resources {
            cpu_milli,
            memory_bytes,
            storage_bytes,
            gpu,
        },
    )
}

fn command() -> impl Strategy<Value = Command> {
    let words = (
        "[^\0]{1,20}",
        proptest::collection::vec("[^\0]{0,20}", 0..4),
    );
    prop_oneof![
        Just(Command::Image),
        "[^\0]{0,40}".prop_map(Command::Shell),
        words.prop_map(|(program, mut args)| {
            args.insert(0, program);
            Command::Exec(args)
        }),
    ]
}

fn span() -> impl Strategy<Value = Option<Duration>> {
    option::of((1..=315_360_000_000_u64).prop_map(Duration::from_millis))
}

fn retry_on() -> impl Strategy<Value = RetryOn> {
    let rule = prop_oneof![
        (1..=255_u8).prop_map(|code| code.to_string()),
        (1..=255_u8, 0..9_u8)
            .prop_map(|(first, more)| { format!("{first}-{}", first.saturating_add(more)) }),
        select(FailureKind::ALL).prop_map(|kind| kind.to_string()),
    ];
    proptest::collection::vec(rule, 1..5).prop_map(|rules| rules.join(",").parse().unwrap())
}

fn spec() -> impl Strategy<Value = TaskSpec> {
    let image = "[a-z0-9]{1,20}(/[a-z0-9]{1,20})?(:[a-z0-9]{1,9})?(@sha256:[0-9a-f]{64})?";
    let who = ("\\PC{0,30}", "[a-z0-9][a-z0-9._-]{0,63}", image);
    let where_to = (resources(), option::of("[a-z0-9][a-z0-9._-]{0,63}"));
    let when = (
        0..=100_i64,
        option::of(wall()),
        (span(), span(), span()),
        span(),
        (0..=1000_u32, retry_on()),
    );
    let words = (
        btree_map("[^=\0]{1,10}", "[^\0]{0,10}", 0..4),
        btree_map("\\PC{1,10}", "\\PC{0,10}", 0..4),
        "\\PC{0,20}",
        option::of(select(TaskType::ALL)),
        container(),
    );
    (who, where_to, command(), when, words, 1500..=2500_u16).prop_map(
        |(who, where_to, command, when, words, sla)| TaskSpec {
            name: who.0,
            user: who.1.parse().unwrap(),
            image: who.2.parse().unwrap(),
            command,
            resources: where_to.0,
            target: where_to.1.map(|id| id.parse().unwrap()),
            env: words.0,
            priority: Priority::new(when.0).unwrap(),
            deadline: when.1,
            timeout: when.2.0,
            pull_timeout: when.2.1,
            queue_timeout: when.2.2,
            estimate: when.3,
            max_retries: when.4.0,
            retry_on: when.4.1,
            labels: words.1,
            tag: words.2,
            task_type: words.3,
            sla_multiplier: SlaMultiplier::new(f64::from(sla) / 1000.0).unwrap(),
            container: words.4,
            hold: false,
            submit_key: None,
        },
    )
}

fn devices(gpu: GpuRequest) -> Vec<DeviceShare> {
    match gpu {
        GpuRequest::None => Vec::new(),
        GpuRequest::Share(milli) => vec![DeviceShare { device: 3, milli }],
        GpuRequest::Whole(count) => (0..count)
            .map(|device| DeviceShare {
                device,
                milli: WHOLE_DEVICE as u16,
            })
            .collect(),
    }
}

pub(crate) fn order() -> impl Strategy<Value = Order> {
    let cluster = option::of("[a-z0-9][a-z0-9._-]{0,63}");
    (
        attempt(),
        any::<u64>(),
        cluster,
        spec(),
        wall(),
        any::<u64>(),
    )
        .prop_map(
            |(attempt, sequence, cluster, spec, submitted_at, grace_ms)| Order {
                attempt,
                sequence,
                cluster: cluster.map(|id| id.parse().unwrap()),
                grant: Grant {
                    cpu_milli: spec.resources.cpu_milli,
                    memory_bytes: spec.resources.memory_bytes,
                    storage_bytes: spec.resources.storage_bytes,
                    devices: devices(spec.resources.gpu),
                },
                spec: Arc::new(spec),
                submitted_at,
                stop_grace: Duration::from_millis(grace_ms),
            },
        )
}

/// Any draft, wrong ones too; its texts are absent or not empty, as the wire tells them apart.
pub(crate) fn draft() -> impl Strategy<Value = TaskDraft> {
    let text = || option::of("\\PC{1,20}");
    // NaN is no equal of itself.
    let number = || option::of(any::<f64>().prop_filter("a number", |n| !n.is_nan()));
    let wild = prop_oneof![command(), Just(Command::Exec(Vec::new()))];
    let texts = (text(), text(), text(), text(), text(), text(), text());
    let numbers = (
        number(),
        number(),
        number(),
        number(),
        number(),
        number(),
        number(),
        number(),
        number(),
    );
    let rest = (
        any::<String>(),
        wild,
        option::of(any::<i64>()),
        option::of(any::<i64>()),
        option::of(wall()),
        btree_map(any::<String>(), any::<String>(), 0..4),
        btree_map(any::<String>(), any::<String>(), 0..4),
        container_draft(),
    );
    (texts, numbers, rest).prop_map(|(texts, numbers, rest)| TaskDraft {
        task_id: texts.0,
        name: texts.1,
        user_id: texts.2,
        worker_id: texts.3,
        tag: texts.4,
        task_type: texts.5,
        cpu_cores: numbers.0,
        memory_gb: numbers.1,
        storage_gb: numbers.2,
        gpu_cores: numbers.3,
        timeout_s: numbers.4,
        estimate_s: numbers.5,
        sla_multiplier: numbers.6,
        pull_timeout_s: numbers.7,
        queue_timeout_s: numbers.8,
        retry_on: texts.6,
        docker_image: rest.0,
        command: rest.1,
        priority: rest.2,
        max_retries: rest.3,
        deadline: rest.4,
        env: rest.5,
        labels: rest.6,
        container: rest.7,
        hold: false,
        submit_key: None,
    })
}

/// Settings of an order, which fit into the least memory that a task has.
fn container() -> impl Strategy<Value = ContainerSpec> {
    let asked = (
        "[a-z0-9][a-z0-9._-]{1,12}",
        option::of("[a-z0-9]{2,12}:/v/[a-z]{1,9}(:ro)?"),
        any::<bool>(),
        option::of((0..u32::MAX, option::of(0..u32::MAX))),
        option::of("/t/[a-z]{1,9}(:0\\.00[1-5])?"),
        option::of(1..=6 * GB / 1024),
        option::of(select(&["SIGINT", "SIGTERM", "37"][..])),
        option::of("[a-z]{1,9}(-[a-z0-9]{1,9})?"),
        option::of("[a-z]{1,9}:(10\\.[1-9]\\.0\\.5|fd00::[1-9])"),
        option::of(select(&["NET_RAW", "SYS_PTRACE", "CHOWN"][..])),
    );
    let asked = asked.prop_map(|asked| ContainerSpec {
        network: asked.0.parse().unwrap(),
        volumes: asked.1.iter().map(|text| text.parse().unwrap()).collect(),
        read_only: asked.2,
        run_as: asked.3.map(|(uid, gid)| RunAs { uid, gid }),
        tmpfs: asked.4.iter().map(|text| text.parse().unwrap()).collect(),
        shm_bytes: asked.5,
        stop_signal: asked.6.map(|text| text.parse().unwrap()),
        hostname: asked.7.map(|text| text.parse().unwrap()),
        extra_hosts: asked.8.iter().map(|text| text.parse().unwrap()).collect(),
        cap_add: asked.9.iter().map(|text| text.parse().unwrap()).collect(),
    });
    prop_oneof![Just(ContainerSpec::default()), asked]
}

/// Any settings, wrong ones too.
fn container_draft() -> impl Strategy<Value = ContainerDraft> {
    let text = || option::of("\\PC{1,20}");
    let list = || proptest::collection::vec(any::<String>(), 0..3);
    let number = option::of(any::<f64>().prop_filter("a number", |n| !n.is_nan()));
    let texts = (text(), text(), text(), text());
    let lists = (list(), list(), list(), list());
    (texts, lists, any::<bool>(), number).prop_map(|(texts, lists, read_only, shm_gb)| {
        ContainerDraft {
            network: texts.0,
            volumes: lists.0,
            read_only,
            run_as: texts.1,
            tmpfs: lists.1,
            shm_gb,
            stop_signal: texts.2,
            hostname: texts.3,
            extra_hosts: lists.2,
            cap_add: lists.3,
        }
    })
}
