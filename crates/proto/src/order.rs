//! An assignment to a worker: `Task` and [`Order`].

use std::{sync::Arc, time::Duration};

use cloudai_model::{
    AttemptId, ClusterId, Command, ContainerDraft, DeviceShare, Grant, TaskDraft, TaskSpec,
    TaskType, Wall, old_node,
    resources::{WHOLE_DEVICE, bytes_to_gb},
};

use crate::{cluster, error::WireError, field, submit};

/// Between SIGTERM and SIGKILL, where the master doesn't say.
pub const DEFAULT_STOP_GRACE: Duration = Duration::from_secs(10);

/// An assignment: run this, with that much of you.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// Task and number; 1 from an old master, which counts none.
    pub attempt: AttemptId,
    /// Rises with each assignment to this worker; 0 from an old master.
    pub sequence: u64,
    /// What containers are labelled with; `None` from an old master.
    pub cluster: Option<ClusterId>,
    /// What is reserved for it: the spec's resources, and the devices for its GPUs.
    pub grant: Grant,
    /// What to run.
    pub spec: Arc<TaskSpec>,
    /// When the task was submitted.
    pub submitted_at: Wall,
    /// Between SIGTERM and SIGKILL, in whole milliseconds.
    pub stop_grace: Duration,
}

impl Order {
    /// As the wire has it. Old nodes can read it, but are to be sent [`Self::into_old_wire`].
    ///
    /// Of the grant only the devices travel; the rest is in the spec.
    #[must_use]
    pub fn into_wire(self) -> cluster::Task {
        let devices = self.grant.devices.iter().map(|share| cluster::GpuShare {
            device: u32::from(share.device),
            milli_gpus: u32::from(share.milli),
        });
        cluster::Task {
            task_id: self.attempt.task.to_string(),
            submitted_at: self.submitted_at.unix_seconds(),
            submitted_at_ms: Some(self.submitted_at.0),
            attempt: self.attempt.number,
            sequence: self.sequence,
            cluster_id: self.cluster.map_or_else(String::new, |id| id.to_string()),
            gpu_devices: devices.collect(),
            stop_grace_ms: Some(u64::try_from(self.stop_grace.as_millis()).unwrap_or(u64::MAX)),
            ..submit::to_wire(draft_of(&self.spec))
        }
    }

    /// For an old worker: under the id by which its reports will tell this attempt, and in the old
    /// fields alone. A command that is a list becomes a line that a shell takes apart the same way.
    #[must_use]
    pub fn into_old_wire(self) -> cluster::Task {
        let task_id = old_node::task_id(&self.attempt);
        let command = match &self.spec.command {
            Command::Image => String::new(),
            Command::Shell(line) => line.clone(),
            Command::Exec(words) => shell_line(words),
        };
        let wire = self.into_wire();
        cluster::Task {
            task_id,
            docker_image: wire.docker_image,
            command,
            req_cpu: wire.req_cpu,
            req_memory: wire.req_memory,
            req_storage: wire.req_storage,
            req_gpu: wire.req_gpu,
            target_worker_id: wire.target_worker_id,
            user_id: wire.user_id,
            sla_multiplier: wire.sla_multiplier,
            task_type: wire.task_type,
            task_name: wire.task_name,
            submitted_at: wire.submitted_at,
            ..Default::default()
        }
    }

    /// Reads it from the wire.
    ///
    /// # Errors
    /// If the id, the cluster, a device or the task itself can't be meant.
    pub fn from_wire(wire: cluster::Task) -> Result<Self, WireError> {
        let number = wire.attempt.max(1);
        let attempt = AttemptId::new(field::parsed("task_id", &wire.task_id)?, number);
        let cluster = field::parsed_if_any("cluster_id", &wire.cluster_id)?;
        let devices = devices(&wire.gpu_devices)?;
        let from_old_master = wire.attempt == 0;
        let (sequence, submitted_at) = (wire.sequence, submitted_at(&wire));
        let stop_grace = wire
            .stop_grace_ms
            .map_or(DEFAULT_STOP_GRACE, Duration::from_millis);

        let mut draft = submit::from_wire(wire);
        if from_old_master {
            // Only shown; no reason to refuse what an old master has accepted.
            draft.task_type = draft
                .task_type
                .filter(|word| word.parse::<TaskType>().is_ok());
        }
        let (_, spec) = draft.check()?;
        Ok(Self {
            attempt,
            sequence,
            cluster,
            grant: Grant {
                cpu_milli: spec.resources.cpu_milli,
                memory_bytes: spec.resources.memory_bytes,
                storage_bytes: spec.resources.storage_bytes,
                devices,
            },
            spec: Arc::new(spec),
            submitted_at,
            stop_grace,
        })
    }
}

/// A line of which a POSIX shell makes these words again.
fn shell_line(words: &[String]) -> String {
    let quoted = words
        .iter()
        .map(|word| format!("'{}'", word.replace('\'', r"'\''")));
    quoted.collect::<Vec<_>>().join(" ")
}

fn submitted_at(wire: &cluster::Task) -> Wall {
    wire.submitted_at_ms
        .map_or_else(|| Wall::from_unix_seconds(wire.submitted_at), Wall)
}

fn devices(shares: &[cluster::GpuShare]) -> Result<Vec<DeviceShare>, WireError> {
    let read = |share: &cluster::GpuShare| {
        let milli = (1..=WHOLE_DEVICE)
            .contains(&share.milli_gpus)
            .then(|| u16::try_from(share.milli_gpus).ok())
            .flatten();
        match (u16::try_from(share.device), milli) {
            (Ok(device), Some(milli)) => Ok(DeviceShare { device, milli }),
            _ => Err(WireError::new(
                "gpu_devices",
                format!(
                    "{} of device {} is not valid: expected 1 to {WHOLE_DEVICE} milli-GPUs of a \
                     device from 0 to {}",
                    share.milli_gpus,
                    share.device,
                    u16::MAX
                ),
            )),
        }
    };
    let devices: Vec<_> = shares.iter().map(read).collect::<Result<_, _>>()?;
    if devices
        .windows(2)
        .any(|pair| pair[0].device >= pair[1].device)
    {
        let message = "out of order: expected each device once, by rising index";
        return Err(WireError::new("gpu_devices", message));
    }
    Ok(devices)
}

/// The draft that [`TaskDraft::check`] makes this spec of.
#[must_use]
pub fn draft_of(spec: &TaskSpec) -> TaskDraft {
    TaskDraft {
        task_id: None,
        name: Some(spec.name.clone()),
        user_id: Some(spec.user.to_string()),
        docker_image: spec.image.to_string(),
        command: spec.command.clone(),
        cpu_cores: Some(field::whole(spec.resources.cpu_milli)),
        memory_gb: Some(bytes_to_gb(spec.resources.memory_bytes)),
        storage_gb: Some(bytes_to_gb(spec.resources.storage_bytes)),
        gpu_cores: Some(spec.resources.gpu.devices()),
        worker_id: spec.target.as_ref().map(ToString::to_string),
        env: spec.env.clone(),
        priority: Some(i64::from(spec.priority.level())),
        deadline: spec.deadline,
        timeout_s: spec.timeout.map(|span| span.as_secs_f64()),
        pull_timeout_s: spec.pull_timeout.map(|span| span.as_secs_f64()),
        queue_timeout_s: spec.queue_timeout.map(|span| span.as_secs_f64()),
        estimate_s: spec.estimate.map(|span| span.as_secs_f64()),
        max_retries: Some(i64::from(spec.max_retries)),
        retry_on: Some(spec.retry_on.to_string()),
        labels: spec.labels.clone(),
        tag: Some(spec.tag.clone()),
        task_type: spec.task_type.map(|kind| kind.to_string()),
        sla_multiplier: Some(spec.sla_multiplier.factor()),
        container: ContainerDraft::from(&spec.container),
        hold: false,
        submit_key: None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::arbitrary;

    proptest! {
        #[test]
        fn an_order_survives_the_wire(order in arbitrary::order()) {
            let sent = order.clone().into_wire().encode_to_vec();
            let read = Order::from_wire(cluster::Task::decode(&sent[..]).unwrap());
            prop_assert_eq!(read, Ok(order));
        }
    }

    fn from_an_old_master() -> cluster::Task {
        cluster::Task {
            task_id: "task-7".to_owned(),
            docker_image: "alpine".to_owned(),
            command: "true".to_owned(),
            req_cpu: Some(0.5),
            req_memory: Some(0.25),
            task_type: "of-its-own".to_owned(),
            submitted_at: 1_700_000_000,
            ..Default::default()
        }
    }

    #[test]
    fn an_old_masters_assignment_is_a_first_attempt() {
        let order = Order::from_wire(from_an_old_master()).unwrap();
        assert_eq!(order.attempt.to_string(), "task-7-1");
        assert_eq!((order.sequence, &order.cluster), (0, &None));
        assert_eq!(order.grant.cpu_milli, 500);
        assert_eq!(order.submitted_at, Wall(1_700_000_000_000));
        assert_eq!(order.stop_grace, DEFAULT_STOP_GRACE);
        assert_eq!(order.spec.task_type, None);
    }

    #[test]
    fn an_old_worker_finds_all_it_knows_in_the_old_fields() {
        let mut order = Order::from_wire(from_an_old_master()).unwrap();
        assert_eq!(order.clone().into_old_wire().task_id, "task-7");
        order.attempt.number = 2;
        let wire = order.into_old_wire();
        assert_eq!(
            wire.task_id, "task-7-2",
            "a later attempt has an id of its own"
        );
        assert_eq!(
            (wire.docker_image.as_str(), wire.command.as_str()),
            ("alpine", "true")
        );
        assert_eq!((wire.req_cpu, wire.req_memory), (Some(0.5), Some(0.25)));
        assert_eq!((wire.req_storage, wire.req_gpu), (Some(1.0), Some(0.0)));
        assert_eq!(
            (wire.user_id.as_str(), wire.submitted_at),
            ("admin", 1_700_000_000)
        );
    }

    #[test]
    fn an_old_worker_gets_old_fields_alone_and_words_as_a_line() {
        let mut wire = from_an_old_master();
        wire.command = String::new();
        wire.args = ["/bin/echo", "it's", "", "$HOME *"]
            .map(str::to_owned)
            .into();
        let order = Order::from_wire(wire).unwrap();
        let sent = order.into_old_wire();
        assert_eq!(sent.command, r"'/bin/echo' 'it'\''s' '' '$HOME *'");
        let new_fields_gone = cluster::Task {
            task_id: "task-7".to_owned(),
            docker_image: "alpine".to_owned(),
            command: sent.command.clone(),
            req_cpu: Some(0.5),
            req_memory: Some(0.25),
            req_storage: Some(1.0),
            req_gpu: Some(0.0),
            user_id: "admin".to_owned(),
            sla_multiplier: sent.sla_multiplier,
            task_name: sent.task_name.clone(),
            submitted_at: 1_700_000_000,
            ..Default::default()
        };
        assert_eq!(sent, new_fields_gone);
    }

    #[test]
    fn an_assignment_that_cannot_be_meant_names_its_field() {
        let broken = |change: fn(&mut cluster::Task)| {
            let mut wire = from_an_old_master();
            change(&mut wire);
            Order::from_wire(wire).unwrap_err().to_string()
        };
        assert!(broken(|task| task.task_id = "../x".to_owned()).starts_with("task_id: "));
        assert!(broken(|task| task.cluster_id = "?".to_owned()).starts_with("cluster_id: "));
        let error = broken(|task| task.req_memory = Some(f64::NAN));
        assert!(error.starts_with("task: memory_gb: NaN"), "{error}");
        let share = |device, milli_gpus| cluster::GpuShare { device, milli_gpus };
        for shares in [
            vec![share(0, 0)],
            vec![share(0, 1001)],
            vec![share(70_000, 1)],
            vec![share(1, 500), share(1, 500)],
        ] {
            let wire = cluster::Task {
                gpu_devices: shares.clone(),
                ..from_an_old_master()
            };
            let error = Order::from_wire(wire).unwrap_err();
            assert_eq!(error.field, "gpu_devices", "{shares:?}");
        }
    }
}
