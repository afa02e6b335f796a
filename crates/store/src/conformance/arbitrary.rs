//! Arbitrary valid records, to the ends of what the types allow.

use std::time::Duration;

use cloudai_model::{
    AccountState, AttemptId, Capacity, Command, ContainerEnd, ContainerSpec, DeviceShare, Exit,
    GpuRequest, Grant, KeyScope, PeakUsage, Phase, Priority, Resources, Role, Setting,
    SlaMultiplier, SubmitKey, TaskChange, TaskId, TaskSpec, TaskStatus, TaskType, TimeOut,
    UserLimits, Wall, Whole, WorkerAddress,
    account::{AccountChange, AuditRecord, EndedToken, KeyRecord, UserRecord},
    container::process::RunAs,
    record::{
        AssignmentRecord, ClusterRecord, FileRecord, FilesRecord, ForgottenRecord, Record, Removal,
        Removed, RemovedRecord, ResultRecord, StopOrder, TaskRecord, TaskState, WorkerRecord,
    },
};
use proptest::{
    collection::{btree_map, btree_set, vec},
    option,
    prelude::*,
    sample::select,
};

use crate::HIGHEST_ORDER;

/// One task with all that may hang on it, and a cluster, a worker, a stop order and the numbers of
/// forgotten tasks.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    pub(crate) cluster: ClusterRecord,
    pub(crate) worker: WorkerRecord,
    pub(crate) task: TaskRecord,
    pub(crate) later: TaskState,
    pub(crate) assignments: Vec<AssignmentRecord>,
    pub(crate) result: ResultRecord,
    pub(crate) files: FilesRecord,
    pub(crate) stop: StopOrder,
    pub(crate) removed: RemovedRecord,
    pub(crate) forgotten: ForgottenRecord,
    /// What is changed of the task's spec later.
    pub(crate) change: TaskChange,
    pub(crate) people: People,
}

/// A life whose order is `order`.
pub(crate) fn life(order: u64) -> impl Strategy<Value = Life> {
    let id = prop_oneof![
        any::<u64>().prop_map(TaskId::numbered),
        word().prop_map(move |word| format!("{word}-{order}").parse().unwrap()),
    ];
    let of_task = (id, task(order), state(), btree_set(any::<u32>(), 0..4));
    let of_others = (cluster(), worker(), stop_order());
    let hanging = (vec(assignment(), 4), result(), files(), removed());
    let of_others = (of_others, forgotten(), change(), people(order));
    (of_task, of_others, hanging).prop_map(
        |((id, mut task, later, attempts), (of_others, forgotten, change, people), hanging)| {
            let (cluster, worker, stop) = of_others;
            let (assignments, mut result, mut files, removed) = hanging;
            task.task = id.clone();
            result.attempt.task = id.clone();
            files.attempt.task = id.clone();
            let removed = RemovedRecord {
                task: id.clone(),
                removed,
            };
            let assignments = attempts.into_iter().zip(assignments);
            Life {
                cluster,
                worker,
                later,
                assignments: assignments
                    .map(|(number, assignment)| AssignmentRecord {
                        attempt: AttemptId::new(id.clone(), number),
                        ..assignment
                    })
                    .collect(),
                task,
                result,
                files,
                stop,
                removed,
                forgotten,
                change,
                people,
            }
        },
    )
}

fn word() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9][a-zA-Z0-9._-]{0,30}"
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Debug> + std::fmt::Debug>() -> impl Strategy<Value = T>
{
    word().prop_map(|word| word.parse().unwrap())
}

fn text() -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..12).prop_map(String::from_iter)
}

fn wall() -> impl Strategy<Value = Wall> {
    any::<i64>().prop_map(Wall)
}

fn span() -> impl Strategy<Value = Duration> {
    any::<u64>().prop_map(Duration::from_nanos)
}

fn map() -> impl Strategy<Value = std::collections::BTreeMap<String, String>> {
    btree_map(text(), text(), 0..4)
}

fn address() -> impl Strategy<Value = WorkerAddress> {
    let host = prop_oneof![
        "[a-z0-9][a-z0-9.-]{0,20}",
        any::<u128>().prop_map(|bits| format!("[{}]", std::net::Ipv6Addr::from(bits))),
    ];
    (host, 1..u16::MAX).prop_map(|(host, port)| format!("{host}:{port}").parse().unwrap())
}

fn attempt() -> impl Strategy<Value = AttemptId> {
    (any::<u64>(), any::<u32>())
        .prop_map(|(task, number)| AttemptId::new(TaskId::numbered(task), number))
}

fn cluster() -> impl Strategy<Value = ClusterRecord> {
    (parsed(), any::<u64>()).prop_map(|(cluster, epoch)| ClusterRecord { cluster, epoch })
}

fn worker() -> impl Strategy<Value = WorkerRecord> {
    let capacity = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u16>()).prop_map(
        |(cpu_milli, memory_bytes, storage_bytes, gpus)| Capacity {
            cpu_milli,
            memory_bytes,
            storage_bytes,
            gpus,
        },
    );
    (
        parsed(),
        address(),
        option::of(capacity),
        option::of(text()),
        map(),
        any::<u64>(),
        wall(),
        option::of(wall()),
        any::<bool>(),
    )
        .prop_map(|fields| WorkerRecord {
            worker: fields.0,
            address: fields.1,
            capacity: fields.2,
            version: fields.3,
            labels: fields.4,
            registration: fields.5,
            registered_at: fields.6,
            last_seen_at: fields.7,
            draining: fields.8,
        })
}

fn stop_order() -> impl Strategy<Value = StopOrder> {
    (attempt(), parsed(), address(), any::<u64>()).prop_map(
        |(attempt, worker, address, registration)| StopOrder {
            attempt,
            worker,
            address,
            registration,
        },
    )
}

fn removed() -> impl Strategy<Value = Removed> {
    let removal = || option::of((wall(), text()).prop_map(|(at, by)| Removal { at, by }));
    (removal(), removal()).prop_map(|(log, files)| Removed { log, files })
}

fn forgotten() -> impl Strategy<Value = ForgottenRecord> {
    // What has no number at all says nothing, and isn't kept.
    (1..=HIGHEST_ORDER, option::of(any::<u64>()))
        .prop_map(|(order, task_number)| ForgottenRecord { order, task_number })
}

fn resources() -> impl Strategy<Value = Resources> {
    let gpu = prop_oneof![
        Just(GpuRequest::None),
        (1..1000_u16).prop_map(GpuRequest::Share),
        (1..=u16::MAX).prop_map(GpuRequest::Whole),
    ];
    (any::<u64>(), any::<u64>(), any::<u64>(), gpu).prop_map(
        |(cpu_milli, memory_bytes, storage_bytes, gpu)| Resources {
            cpu_milli,
            memory_bytes,
            storage_bytes,
            gpu,
        },
    )
}

fn spec() -> impl Strategy<Value = TaskSpec> {
    let command = prop_oneof![
        Just(Command::Image),
        text().prop_map(Command::Shell),
        vec(text(), 0..4).prop_map(Command::Exec),
    ];
    let image = "[a-z0-9]{1,12}(/[a-z0-9]{1,12})?(:[A-Za-z0-9_]{1,12})?"
        .prop_map(|name| name.parse().unwrap());
    let asked = (text(), parsed(), image, command, resources());
    let placed = (
        option::of(parsed()),
        map(),
        (0..=100_i64).prop_map(|level| Priority::new(level).unwrap()),
        option::of(wall()),
        (
            option::of(span()),
            option::of(span()),
            option::of(span()),
            option::of(span()),
        ),
        any::<u32>(),
        select(&["any", "1,75,100-110,oom", "timeout"][..]),
    );
    let described = (
        map(),
        text(),
        option::of(select(TaskType::ALL)),
        (1500..=2500_u32).prop_map(|milli| SlaMultiplier::new(f64::from(milli) / 1e3).unwrap()),
        container(),
        (any::<bool>(), option::of(submit_key())),
    );
    (asked, placed, described).prop_map(|(asked, placed, described)| TaskSpec {
        name: asked.0,
        user: asked.1,
        image: asked.2,
        command: asked.3,
        resources: asked.4,
        target: placed.0,
        env: placed.1,
        priority: placed.2,
        deadline: placed.3,
        timeout: placed.4.0,
        pull_timeout: placed.4.1,
        queue_timeout: placed.4.2,
        estimate: placed.4.3,
        max_retries: placed.5,
        retry_on: placed.6.parse().unwrap(),
        labels: described.0,
        tag: described.1,
        task_type: described.2,
        sla_multiplier: described.3,
        container: described.4,
        hold: described.5.0,
        submit_key: described.5.1,
    })
}

fn submit_key() -> impl Strategy<Value = SubmitKey> {
    ("[ -~]{1,255}", any::<[u8; 32]>(), any::<u32>()).prop_map(|(key, body, index)| SubmitKey {
        key,
        body,
        index,
    })
}

fn priority() -> impl Strategy<Value = Priority> {
    (0..=100_i64).prop_map(|level| Priority::new(level).unwrap())
}

fn setting<T: Clone + std::fmt::Debug>(
    to: impl Strategy<Value = T>,
) -> impl Strategy<Value = Setting<T>> {
    prop_oneof![
        Just(Setting::Keep),
        Just(Setting::Clear),
        to.prop_map(Setting::To),
    ]
}

/// A change of any of what may be changed of a task.
pub(crate) fn change() -> impl Strategy<Value = TaskChange> {
    (
        setting(text()),
        setting(priority()),
        setting(wall()),
        setting(span()),
        setting(map()),
        setting(any::<bool>()),
    )
        .prop_map(|fields| TaskChange {
            name: fields.0,
            priority: fields.1,
            deadline: fields.2,
            timeout: fields.3,
            labels: fields.4,
            hold: fields.5,
        })
}

/// A user, a key of theirs, an ended token and an entry of the audit; `number` makes their names.
#[derive(Debug, Clone)]
pub(crate) struct People {
    pub(crate) user: UserRecord,
    pub(crate) key: KeyRecord,
    pub(crate) token: EndedToken,
    pub(crate) entry: AuditRecord,
}

impl People {
    /// All of them, as an empty store can take them.
    pub(crate) fn records(&self) -> [Record; 4] {
        let Self {
            user,
            key,
            token,
            entry,
        } = self.clone();
        [
            Record::Account(AccountChange::User(Box::new(user))),
            Record::Account(AccountChange::Key(Box::new(key))),
            Record::Account(AccountChange::TokenEnded(token)),
            Record::Account(AccountChange::Audit(Box::new(entry))),
        ]
    }
}

fn people(number: u64) -> impl Strategy<Value = People> {
    let limits = vec(option::of(any::<u64>()), 5).prop_map(|limits| UserLimits {
        queued_tasks: limits[0],
        cpu_milli: limits[1],
        memory_bytes: limits[2],
        gpu_milli: limits[3],
        files_bytes: limits[4],
    });
    let user = (
        (word(), text(), text(), text()),
        select(Role::ALL),
        select(AccountState::ALL),
        any::<u64>(),
        limits,
        (wall(), wall()),
    );
    let user = user.prop_map(move |fields| UserRecord {
        user: format!("{}-{number}", fields.0.0).parse().unwrap(),
        name: fields.0.1,
        email: fields.0.2,
        password_hash: fields.0.3,
        role: fields.1,
        state: fields.2,
        generation: fields.3,
        limits: fields.4,
        created_at: fields.5.0,
        updated_at: fields.5.1,
    });
    let key = (
        text(),
        text(),
        any::<[u8; 32]>(),
        select(KeyScope::ALL),
        wall(),
        option::of(wall()),
    );
    let token = (word(), wall());
    let did = (
        wall(),
        option::of(parsed()),
        option::of(text()),
        any::<bool>(),
        vec(text(), 5),
    );
    (user, key, token, did).prop_map(move |(user, key, token, did)| People {
        key: KeyRecord {
            id: format!("{}-{number}", key.0),
            user: user.user.clone(),
            name: key.1,
            hash: key.2,
            scope: key.3,
            created_at: key.4,
            expires_at: key.5,
        },
        user,
        token: EndedToken {
            id: format!("{}-{number}", token.0),
            until: token.1,
        },
        entry: AuditRecord {
            number,
            at: did.0,
            user: did.1,
            key: did.2,
            from: did.4[0].clone(),
            action: did.4[1].clone(),
            target: did.4[2].clone(),
            done: did.3,
            detail: did.4[3].clone(),
            request: did.4[4].clone(),
        },
    })
}

fn container() -> impl Strategy<Value = ContainerSpec> {
    let texts = (
        "[a-z0-9][a-z0-9._-]{1,12}",
        vec("[a-z0-9][a-z0-9._-]{1,12}:/v/[a-z]{1,9}(:ro)?", 0..2),
        vec("/t/[a-z]{1,9}(:0\\.[1-9]{1,9})?", 0..2),
        vec("[a-z]{1,9}:(10\\.[1-9]\\.0\\.5|fd00::[1-9])", 0..3),
    );
    let numbers = (
        any::<bool>(),
        option::of((0..u32::MAX, option::of(0..u32::MAX))),
        option::of(1..=1_000_000_u64 << 30),
        option::of(34..=64_u8),
    );
    let lists = btree_set(select(&["NET_RAW", "SYS_PTRACE", "CHOWN"][..]), 0..3);
    let asked = (
        texts,
        numbers,
        lists,
        option::of("[a-z]{1,9}(-[a-z0-9]{1,9})?"),
    );
    let asked = asked.prop_map(|(texts, numbers, capabilities, hostname)| ContainerSpec {
        network: texts.0.parse().unwrap(),
        volumes: texts
            .1
            .iter()
            .take(1)
            .map(|text| text.parse().unwrap())
            .collect(),
        read_only: numbers.0,
        run_as: numbers.1.map(|(uid, gid)| RunAs { uid, gid }),
        tmpfs: texts
            .2
            .iter()
            .take(1)
            .map(|text| text.parse().unwrap())
            .collect(),
        shm_bytes: numbers.2,
        stop_signal: numbers.3.map(|number| number.to_string().parse().unwrap()),
        hostname: hostname.map(|name| name.parse().unwrap()),
        extra_hosts: texts.3.iter().map(|text| text.parse().unwrap()).collect(),
        cap_add: capabilities
            .iter()
            .map(|name| name.parse().unwrap())
            .collect(),
    });
    prop_oneof![Just(ContainerSpec::default()), asked]
}

fn state() -> impl Strategy<Value = TaskState> {
    let stands = (
        select(TaskStatus::ALL),
        select(Phase::ALL),
        any::<u32>(),
        option::of(parsed()),
        text(),
    );
    let times = (
        option::of(any::<i32>()),
        option::of(wall()),
        option::of(wall()),
        any::<bool>(),
        any::<u32>(),
    );
    let tries = (
        option::of(wall()),
        vec(parsed(), 0..4),
        option::of(wall()),
        option::of(select(TimeOut::ALL)),
    );
    (stands, times, tries).prop_map(|(stands, times, tries)| TaskState {
        status: stands.0,
        phase: stands.1,
        attempt: stands.2,
        worker: stands.3,
        reason: stands.4,
        exit_code: times.0,
        started_at: times.1,
        completed_at: times.2,
        cancel_requested: times.3,
        failures: times.4,
        retry_at: tries.0,
        taken_down: tries.1,
        first_started_at: tries.2,
        time_out: tries.3,
    })
}

fn task(order: u64) -> impl Strategy<Value = TaskRecord> {
    (spec(), wall(), state()).prop_map(move |(spec, submitted_at, state)| TaskRecord {
        task: TaskId::numbered(order),
        order,
        spec,
        submitted_at,
        state,
    })
}

fn assignment() -> impl Strategy<Value = AssignmentRecord> {
    let share =
        (any::<u16>(), any::<u16>()).prop_map(|(device, milli)| DeviceShare { device, milli });
    let grant = (any::<u64>(), any::<u64>(), any::<u64>(), vec(share, 0..4)).prop_map(
        |(cpu_milli, memory_bytes, storage_bytes, devices)| Grant {
            cpu_milli,
            memory_bytes,
            storage_bytes,
            devices,
        },
    );
    let ended = option::of((wall(), text()));
    (attempt(), parsed(), any::<u64>(), grant, wall(), ended).prop_map(
        |(attempt, worker, sequence, grant, assigned_at, ended)| AssignmentRecord {
            attempt,
            worker,
            sequence,
            grant,
            assigned_at,
            ended,
        },
    )
}

fn whole() -> impl Strategy<Value = Whole> {
    prop_oneof![Just(Whole::Complete), text().prop_map(Whole::Incomplete)]
}

fn end() -> impl Strategy<Value = ContainerEnd> {
    let exit = prop_oneof![
        any::<i32>().prop_map(Exit::Exited),
        any::<i32>().prop_map(Exit::Signalled),
        Just(Exit::OutOfMemory),
        Just(Exit::Cancelled),
        text().prop_map(Exit::NotStarted),
        text().prop_map(Exit::Stopped),
        text().prop_map(Exit::Interrupted),
    ];
    let usage = (any::<u64>(), span()).prop_map(|(memory_bytes, cpu_time)| PeakUsage {
        memory_bytes,
        cpu_time,
    });
    (exit, option::of(wall()), wall(), usage, option::of(text())).prop_map(
        |(exit, started_at, finished_at, usage, image_digest)| ContainerEnd {
            exit,
            started_at,
            finished_at,
            usage,
            image_digest,
        },
    )
}

fn result() -> impl Strategy<Value = ResultRecord> {
    let ended = (
        attempt(),
        option::of(parsed()),
        select(TaskStatus::ALL),
        text(),
        option::of(end()),
    );
    let left = (whole(), whole(), text(), wall(), option::of(any::<bool>()));
    (ended, left).prop_map(|(ended, left)| ResultRecord {
        attempt: ended.0,
        worker: ended.1,
        status: ended.2,
        reason: ended.3,
        end: ended.4,
        log: left.0,
        files: left.1,
        log_tail: left.2,
        completed_at: left.3,
        sla_success: left.4,
    })
}

fn files() -> impl Strategy<Value = FilesRecord> {
    let file = (text(), any::<u64>(), "[0-9a-f]{64}").prop_map(|(path, size, sha256)| FileRecord {
        path,
        size,
        sha256,
    });
    (attempt(), parsed(), text(), text(), vec(file, 0..4), wall()).prop_map(
        |(attempt, user, task_name, storage_path, files, uploaded_at)| FilesRecord {
            attempt,
            user,
            task_name,
            storage_path,
            files,
            uploaded_at,
        },
    )
}
