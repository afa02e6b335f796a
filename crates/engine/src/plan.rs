//! What a container shall be, and how that is said to the engine.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    path::PathBuf,
    time::Duration,
};

use bollard::models::{
    ContainerCreateBody, DeviceRequest, HostConfig, HostConfigLogConfig, Mount, MountType,
    RestartPolicy, RestartPolicyNameEnum,
};
use cloudai_model::{
    AttemptId, ClusterId, Command, ContainerSpec, WorkerId, resources::LEAST_CPU_MILLI,
};

use crate::{about::EngineInfo, asked, image::ImageId, volume::name_of};

/// Labels by which the containers of a cluster are known and found again.
pub mod labels {
    /// The cluster's id.
    pub const CLUSTER: &str = "cloudai.cluster";
    /// The task's id.
    pub const TASK: &str = "cloudai.task";
    /// The attempt's number.
    pub const ATTEMPT: &str = "cloudai.attempt";
    /// The id of the worker that runs it.
    pub const WORKER: &str = "cloudai.worker";
}

/// The attempt that the labels of a container or a volume name; `None` if they are not all there as
/// [`ContainerPlan`] writes them: it was not made by us.
pub(crate) fn labelled_attempt(labels: &HashMap<String, String>) -> Option<AttemptId> {
    let task = labels.get(labels::TASK)?.parse().ok()?;
    let written = labels.get(labels::ATTEMPT)?;
    let number: u32 = written.parse().ok()?;
    // `+2` and `02` are numbers, too.
    (number.to_string() == *written).then(|| AttemptId::new(task, number))
}

/// Where a command leaves its files.
pub(crate) const OUTPUT: &str = "/output";
/// Nanoseconds of CPU a second that a thousandth of a core is.
const NANO_PER_MILLI: u64 = 1_000_000;

/// The engine's id of a container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(pub(crate) String);

impl ContainerId {
    /// From an id that the engine gave earlier.
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What the task asked for, and what holds for every container of a worker unless said otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerSettings {
    /// What the task asked for.
    pub asked: ContainerSpec,
    /// The most processes and threads at once, so that a fork bomb stays in its container.
    pub pids_limit: u32,
    /// Whether the engine's small init is process 1, where the engine has it. The kernel keeps
    /// signals without a handler from process 1, so that without it most commands outlive the
    /// SIGTERM of a cancel until the SIGKILL. A program that isn't there then ends with code 127
    /// and a line in the log instead of an error at the start.
    pub init: bool,
    /// How long the engine itself waits between SIGTERM and SIGKILL when someone stops the
    /// container past the worker (`docker stop`, the shutdown of the machine).
    pub stop_grace: Duration,
    /// `/output` is a volume of the engine, named as the container, in place of a folder.
    pub output_in_volume: bool,
}

impl Default for ContainerSettings {
    fn default() -> Self {
        Self {
            asked: ContainerSpec::default(),
            pids_limit: 4096,
            init: true,
            stop_grace: Duration::from_secs(10),
            output_in_volume: false,
        }
    }
}

/// What a container shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerPlan {
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// The worker that runs it.
    pub worker: WorkerId,
    /// The attempt that it is.
    pub attempt: AttemptId,
    /// The image, by the id that [`crate::Engine::image`] or [`crate::Engine::pull`] gave, so that
    /// a name that moves meanwhile changes nothing.
    pub image: ImageId,
    /// What runs in it. A line runs by `/bin/sh -c` and a list runs as it is, both in place of the
    /// image's entry point; without either the image's own entry point and command run.
    pub command: Command,
    /// Environment on top of the image's. `CLOUDAI_TASK_ID`, `CLOUDAI_ATTEMPT` and
    /// `CLOUDAI_OUTPUT` are added and win.
    pub env: BTreeMap<String, String>,
    /// CPU limit in thousandths of a core.
    pub cpu_milli: u64,
    /// Memory limit in bytes; there is no swap beyond it.
    pub memory_bytes: u64,
    /// Devices by the engine's device ids (index or UUID).
    pub gpu_devices: Vec<String>,
    /// An existing folder of the engine's machine that becomes `/output`, as an absolute path;
    /// not looked at with [`ContainerSettings::output_in_volume`].
    pub output_dir: PathBuf,
    /// The rest.
    pub settings: ContainerSettings,
}

impl ContainerPlan {
    /// The container's name: one for each attempt of a cluster on an engine.
    #[must_use]
    pub fn name(&self) -> String {
        name_of(&self.cluster, &self.attempt)
    }

    /// The labels by which it is found again.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            (labels::CLUSTER, self.cluster.to_string()),
            (labels::TASK, self.attempt.task.to_string()),
            (labels::ATTEMPT, self.attempt.number.to_string()),
            (labels::WORKER, self.worker.to_string()),
        ])
    }

    /// The plan in the engine's words.
    pub(crate) fn to_body(&self, engine: &EngineInfo) -> ContainerCreateBody {
        let (entrypoint, cmd) = entrypoint_and_cmd(&self.command);
        let mut body = ContainerCreateBody {
            image: Some(self.image.as_str().to_owned()),
            entrypoint,
            cmd,
            env: Some(self.env_list()),
            labels: Some(owned(self.labels())),
            stop_timeout: Some(self.settings.stop_grace.as_secs().cast_signed()),
            attach_stdin: Some(false),
            attach_stdout: Some(false),
            attach_stderr: Some(false),
            // A terminal would merge the two outputs and rewrite line ends.
            tty: Some(false),
            open_stdin: Some(false),
            host_config: Some(self.host_config(engine)),
            ..ContainerCreateBody::default()
        };
        asked::apply(&self.settings.asked, self.memory_bytes, &mut body);
        body
    }

    fn host_config(&self, engine: &EngineInfo) -> HostConfig {
        let memory = i64::try_from(self.memory_bytes).unwrap_or(i64::MAX);
        HostConfig {
            nano_cpus: Some(self.nano_cpus(engine.cpus)),
            memory: Some(memory),
            // Memory and swap together: equal to memory, so that there is no swap.
            memory_swap: Some(memory),
            pids_limit: Some(i64::from(self.settings.pids_limit)),
            init: Some(self.settings.init && engine.has_init),
            mounts: Some(vec![self.output_mount()]),
            device_requests: self.device_requests(),
            log_config: Some(log_config()),
            restart_policy: Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::NO),
                maximum_retry_count: None,
            }),
            auto_remove: Some(false),
            ..HostConfig::default()
        }
    }

    /// An engine refuses more than the cores of its machine, and less than the kernel can give.
    fn nano_cpus(&self, cores: u32) -> i64 {
        let most = match u64::from(cores) {
            0 => u64::MAX,
            cores => cores * 1000,
        };
        let milli = self.cpu_milli.min(most).max(LEAST_CPU_MILLI);
        i64::try_from(milli.saturating_mul(NANO_PER_MILLI)).unwrap_or(i64::MAX)
    }

    fn output_mount(&self) -> Mount {
        if self.settings.output_in_volume {
            return self.output_volume();
        }
        // A mount, not a bind: a folder that isn't there is an error, not made by the engine.
        Mount {
            typ: Some(MountType::BIND),
            source: Some(self.output_dir.to_string_lossy().into_owned()),
            target: Some(OUTPUT.to_owned()),
            ..Mount::default()
        }
    }

    fn device_requests(&self) -> Option<Vec<DeviceRequest>> {
        (!self.gpu_devices.is_empty()).then(|| {
            vec![DeviceRequest {
                device_ids: Some(self.gpu_devices.clone()),
                capabilities: Some(vec![vec!["gpu".to_owned()]]),
                ..DeviceRequest::default()
            }]
        })
    }

    fn env_list(&self) -> Vec<String> {
        let mut env = self.env.clone();
        env.extend([
            ("CLOUDAI_TASK_ID".to_owned(), self.attempt.task.to_string()),
            (
                "CLOUDAI_ATTEMPT".to_owned(),
                self.attempt.number.to_string(),
            ),
            ("CLOUDAI_OUTPUT".to_owned(), OUTPUT.to_owned()),
        ]);
        env.into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }
}

/// The command as entry point and arguments; `None` leaves the image's.
///
/// The whole command is the entry point: one that the image has would otherwise be put before it,
/// and it would not be what runs. Naming an entry point also drops the image's `CMD`.
fn entrypoint_and_cmd(command: &Command) -> (Option<Vec<String>>, Option<Vec<String>>) {
    let words = match command {
        Command::Image => return (None, None),
        Command::Shell(line) => vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()],
        Command::Exec(words) if words.is_empty() => return (None, None),
        Command::Exec(words) => words.clone(),
    };
    (Some(words), None)
}

/// The driver `local`: it keeps any byte as it is (`json-file` makes text of it). One file that
/// practically never is full, so that nothing is rotated away unread; the worker watches the disk.
fn log_config() -> HostConfigLogConfig {
    HostConfigLogConfig {
        typ: Some("local".to_owned()),
        config: Some(owned(BTreeMap::from([
            ("max-size", "1000t".to_owned()),
            ("max-file", "1".to_owned()),
            // Refused together with a single file.
            ("compress", "false".to_owned()),
        ]))),
    }
}

fn owned(map: BTreeMap<&'static str, String>) -> HashMap<String, String> {
    map.into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

#[cfg(test)]
mod tests {
    use cloudai_model::TaskId;

    use super::*;

    #[test]
    fn what_is_labelled_in_another_spelling_is_not_ours() {
        let attempt = |task: &str, number: &str| {
            let labels = [(labels::TASK, task), (labels::ATTEMPT, number)];
            let owned = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
            labelled_attempt(&HashMap::from(owned))
        };
        let ours = AttemptId::new(TaskId::numbered(7), 2);
        assert_eq!(attempt("task-7", "2"), Some(ours));
        for number in ["+2", "02", " 2", "", "-2", "4294967298"] {
            assert_eq!(attempt("task-7", number), None, "{number:?}");
        }
        assert_eq!(attempt("../task-7", "2"), None);
    }

    fn engine() -> EngineInfo {
        EngineInfo {
            cpus: 64,
            has_init: true,
            ..EngineInfo::default()
        }
    }

    fn plan() -> ContainerPlan {
        ContainerPlan {
            cluster: "c-1".parse().unwrap(),
            worker: "worker-1".parse().unwrap(),
            attempt: AttemptId::new("task-7".parse().unwrap(), 2),
            image: ImageId::new("sha256:abc"),
            command: Command::Image,
            env: BTreeMap::new(),
            cpu_milli: 1500,
            memory_bytes: 64 << 20,
            gpu_devices: Vec::new(),
            output_dir: "/spool/task-7-2/output".into(),
            settings: ContainerSettings::default(),
        }
    }

    #[test]
    fn limits_are_hard_and_without_swap() {
        let host = plan().to_body(&engine()).host_config.unwrap();
        assert_eq!(host.nano_cpus, Some(1_500_000_000));
        assert_eq!(host.memory, Some(64 << 20));
        assert_eq!(host.memory_swap, host.memory);
        assert_eq!(host.pids_limit, Some(4096));
        assert_eq!(
            host.security_opt,
            Some(vec!["no-new-privileges".to_owned()])
        );
        assert_eq!(host.auto_remove, Some(false));
    }

    #[test]
    fn a_command_takes_the_place_of_the_images_own() {
        let words = |list: &[&str]| Some(list.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
        for (command, expected) in [
            (Command::Image, None),
            (
                Command::Shell("a | b".to_owned()),
                words(&["/bin/sh", "-c", "a | b"]),
            ),
            (
                Command::Exec(vec!["a".to_owned(), "b c".to_owned()]),
                words(&["a", "b c"]),
            ),
        ] {
            let body = ContainerPlan { command, ..plan() }.to_body(&engine());
            assert_eq!(body.entrypoint, expected);
            assert_eq!(body.cmd, None);
        }
    }

    #[test]
    fn a_task_cannot_claim_to_be_another() {
        let mut plan = plan();
        plan.env.insert("A".to_owned(), "b=c".to_owned());
        plan.env
            .insert("CLOUDAI_TASK_ID".to_owned(), "task-8".to_owned());
        let env = plan.to_body(&engine()).env.unwrap();
        assert_eq!(
            env,
            [
                "A=b=c",
                "CLOUDAI_ATTEMPT=2",
                "CLOUDAI_OUTPUT=/output",
                "CLOUDAI_TASK_ID=task-7"
            ]
        );
    }

    #[test]
    fn cores_are_what_the_engine_and_the_kernel_can_give() {
        let given = |cpu_milli, cpus| {
            let plan = ContainerPlan {
                cpu_milli,
                ..plan()
            };
            let engine = EngineInfo { cpus, ..engine() };
            plan.to_body(&engine).host_config.unwrap().nano_cpus
        };
        assert_eq!(given(1500, 2), Some(1_500_000_000));
        assert_eq!(given(4000, 2), Some(2_000_000_000));
        assert_eq!(given(4000, 0), Some(4_000_000_000));
        assert_eq!(given(1, 2), Some(10_000_000));
    }

    #[test]
    fn init_is_used_where_the_engine_has_it() {
        let init = |has_init| {
            let engine = EngineInfo {
                has_init,
                ..engine()
            };
            plan().to_body(&engine).host_config.unwrap().init
        };
        assert_eq!(init(true), Some(true));
        assert_eq!(init(false), Some(false));
    }

    #[test]
    fn output_is_a_folder_or_a_volume_that_is_known_by_the_containers_labels() {
        let mount = |plan: ContainerPlan| {
            let host = plan.to_body(&engine()).host_config.unwrap();
            host.mounts.unwrap().remove(0)
        };
        let folder = mount(plan());
        assert_eq!(folder.typ, Some(MountType::BIND));
        assert_eq!(folder.source.as_deref(), Some("/spool/task-7-2/output"));

        let mut plan = plan();
        plan.settings.output_in_volume = true;
        let volume = mount(plan);
        assert_eq!(volume.typ, Some(MountType::VOLUME));
        assert_eq!(volume.source.as_deref(), Some("cloudai-c-1-task-7-2"));
        let labels = volume.volume_options.unwrap().labels.unwrap();
        assert_eq!(labels[labels::TASK], "task-7");
        assert_eq!(labels.len(), 4);
    }

    #[test]
    fn devices_are_asked_for_by_id() {
        assert_eq!(
            plan()
                .to_body(&engine())
                .host_config
                .unwrap()
                .device_requests,
            None
        );
        let plan = ContainerPlan {
            gpu_devices: vec!["0".to_owned(), "GPU-3f".to_owned()],
            ..plan()
        };
        let requests = plan.to_body(&engine()).host_config.unwrap().device_requests;
        let request = &requests.unwrap()[0];
        assert_eq!(
            request.device_ids,
            Some(vec!["0".to_owned(), "GPU-3f".to_owned()])
        );
        assert_eq!(request.capabilities, Some(vec![vec!["gpu".to_owned()]]));
    }
}
