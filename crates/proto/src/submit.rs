//! A client's submit: `Task` and [`TaskDraft`].
//!
//! Nothing is checked here: what a client wrote goes to [`TaskDraft::check`] as it is, which names
//! every mistake at once. Old clients send the fields below 100 alone; an absent number or empty
//! text is what was not given.

use cloudai_model::{Command, ContainerDraft, TaskDraft, Wall};

use crate::{cluster, field::text_if_any};

const IMAGE: &str = "image";
const SHELL: &str = "shell";
const EXEC: &str = "exec";

/// What the client wants, unchecked.
#[must_use]
pub fn from_wire(wire: cluster::Task) -> TaskDraft {
    TaskDraft {
        task_id: text_if_any(wire.task_id),
        name: text_if_any(wire.task_name),
        user_id: text_if_any(wire.user_id),
        docker_image: wire.docker_image,
        command: command(&wire.command_form, wire.command, wire.args),
        cpu_cores: wire.req_cpu,
        memory_gb: wire.req_memory,
        storage_gb: wire.req_storage,
        gpu_cores: wire.req_gpu,
        worker_id: text_if_any(wire.target_worker_id),
        env: wire.env,
        priority: wire.priority,
        deadline: wire.deadline_ms.map(Wall),
        timeout_s: wire.timeout_s,
        pull_timeout_s: wire.pull_timeout_s,
        queue_timeout_s: wire.queue_timeout_s,
        estimate_s: wire.estimate_s,
        max_retries: wire.max_retries,
        retry_on: text_if_any(wire.retry_on),
        labels: wire.labels,
        tag: text_if_any(wire.tag),
        task_type: text_if_any(wire.task_type),
        sla_multiplier: wire.sla_multiplier,
        container: container(wire.container.unwrap_or_default()),
        hold: false,
        submit_key: None,
    }
}

fn container(wire: cluster::ContainerSettings) -> ContainerDraft {
    ContainerDraft {
        network: text_if_any(wire.network),
        volumes: wire.volumes,
        read_only: wire.read_only,
        run_as: text_if_any(wire.run_as),
        tmpfs: wire.tmpfs,
        shm_gb: wire.shm_gb,
        stop_signal: text_if_any(wire.stop_signal),
        hostname: text_if_any(wire.hostname),
        extra_hosts: wire.extra_hosts,
        cap_add: wire.cap_add,
    }
}

/// Absent where nothing was asked for.
fn container_to_wire(draft: ContainerDraft) -> Option<cluster::ContainerSettings> {
    (draft != ContainerDraft::default()).then(|| cluster::ContainerSettings {
        network: draft.network.unwrap_or_default(),
        volumes: draft.volumes,
        read_only: draft.read_only,
        run_as: draft.run_as.unwrap_or_default(),
        tmpfs: draft.tmpfs,
        shm_gb: draft.shm_gb,
        stop_signal: draft.stop_signal.unwrap_or_default(),
        hostname: draft.hostname.unwrap_or_default(),
        extra_hosts: draft.extra_hosts,
        cap_add: draft.cap_add,
    })
}

/// As the wire has it. A list of arguments is written as a quoted line as well, for old masters.
#[must_use]
pub fn to_wire(draft: TaskDraft) -> cluster::Task {
    let (form, command, args) = match draft.command {
        Command::Image => (IMAGE, String::new(), Vec::new()),
        Command::Shell(line) => (SHELL, line, Vec::new()),
        Command::Exec(words) => (EXEC, shell_words::join(&words), words),
    };
    cluster::Task {
        task_id: draft.task_id.unwrap_or_default(),
        docker_image: draft.docker_image,
        command,
        req_cpu: draft.cpu_cores,
        req_memory: draft.memory_gb,
        req_storage: draft.storage_gb,
        req_gpu: draft.gpu_cores,
        target_worker_id: draft.worker_id.unwrap_or_default(),
        user_id: draft.user_id.unwrap_or_default(),
        sla_multiplier: draft.sla_multiplier,
        task_type: draft.task_type.unwrap_or_default(),
        task_name: draft.name.unwrap_or_default(),
        args,
        env: draft.env,
        priority: draft.priority,
        command_form: form.to_owned(),
        deadline_ms: draft.deadline.map(|at| at.0),
        timeout_s: draft.timeout_s,
        pull_timeout_s: draft.pull_timeout_s,
        queue_timeout_s: draft.queue_timeout_s,
        estimate_s: draft.estimate_s,
        max_retries: draft.max_retries,
        retry_on: draft.retry_on.unwrap_or_default(),
        labels: draft.labels,
        tag: draft.tag.unwrap_or_default(),
        container: container_to_wire(draft.container),
        ..Default::default()
    }
}

fn command(form: &str, line: String, args: Vec<String>) -> Command {
    match form {
        IMAGE => Command::Image,
        SHELL => Command::Shell(line),
        EXEC => Command::Exec(args),
        _ if !args.is_empty() => Command::Exec(args),
        _ if !line.is_empty() => Command::Shell(line),
        _ => Command::Image,
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
        fn a_draft_survives_the_wire(draft in arbitrary::draft()) {
            let sent = to_wire(draft.clone()).encode_to_vec();
            let read = from_wire(cluster::Task::decode(&sent[..]).unwrap());
            prop_assert_eq!(read, draft);
        }
    }

    #[test]
    fn an_old_client_that_names_only_an_image_gets_the_defaults() {
        let draft = from_wire(cluster::Task {
            docker_image: "alpine:3.20".to_owned(),
            ..Default::default()
        });
        let expected = TaskDraft {
            docker_image: "alpine:3.20".to_owned(),
            ..TaskDraft::default()
        };
        assert_eq!(draft, expected);
        let (task, spec) = draft.check().unwrap();
        assert_eq!(task, None);
        assert_eq!(
            (spec.resources.cpu_milli, spec.user.as_str()),
            (1000, "admin")
        );
    }

    #[test]
    fn an_old_clients_fields_are_read() {
        let draft = from_wire(cluster::Task {
            task_id: "mine".to_owned(),
            docker_image: "alpine".to_owned(),
            command: "echo hi".to_owned(),
            req_cpu: Some(2.0),
            target_worker_id: "worker-2".to_owned(),
            user_id: "ann".to_owned(),
            task_type: "mixed".to_owned(),
            task_name: "n".to_owned(),
            ..Default::default()
        });
        assert_eq!(draft.task_id.as_deref(), Some("mine"));
        assert_eq!(draft.command, Command::Shell("echo hi".to_owned()));
        assert_eq!(draft.cpu_cores, Some(2.0));
        assert_eq!(draft.worker_id.as_deref(), Some("worker-2"));
        assert_eq!(draft.user_id.as_deref(), Some("ann"));
        assert_eq!(draft.name.as_deref(), Some("n"));
        assert_eq!(draft.task_type.as_deref(), Some("mixed"));
    }

    #[test]
    fn what_cannot_be_meant_is_left_for_the_check_to_name() {
        let errors = from_wire(cluster::Task {
            docker_image: "alpine".to_owned(),
            req_cpu: Some(f64::NAN),
            req_memory: Some(-1.0),
            max_retries: Some(-3),
            ..Default::default()
        })
        .check()
        .unwrap_err();
        let fields: Vec<_> = errors.0.iter().map(|error| error.field).collect();
        assert_eq!(fields, ["cpu_cores", "memory_gb", "max_retries"]);
    }

    #[test]
    fn zero_is_told_from_absent() {
        let mut wire = cluster::Task {
            docker_image: "alpine".to_owned(),
            priority: Some(0),
            req_storage: Some(0.0),
            ..Default::default()
        };
        let (_, spec) = from_wire(wire.clone()).check().unwrap();
        assert_eq!(
            (spec.priority.level(), spec.resources.storage_bytes),
            (0, 0)
        );
        (wire.priority, wire.req_storage) = (None, None);
        let (_, spec) = from_wire(wire).check().unwrap();
        assert_eq!(
            (spec.priority.level(), spec.resources.storage_bytes),
            (50, 1 << 30)
        );
    }

    #[test]
    fn arguments_win_over_a_line_and_old_masters_get_a_line() {
        let words = vec!["echo".to_owned(), "a b".to_owned()];
        let wire = to_wire(TaskDraft {
            command: Command::Exec(words.clone()),
            ..TaskDraft::default()
        });
        assert_eq!(wire.command, "echo 'a b'");
        let of_a_client = cluster::Task {
            command_form: String::new(),
            ..wire
        };
        assert_eq!(from_wire(of_a_client).command, Command::Exec(words));
    }
}
