//! The compiled .proto files against the contract's tables, number by number.
//!
//! Old nodes are in use, so a change here is a change of the contract and needs a reason.

use std::collections::BTreeMap;

use prost::Message as _;
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};

use crate::DESCRIPTORS;

/// Fields of the contract that old nodes know; `string` where no type stands.
const CLUSTER: &str = "
WorkerInfo | 1 worker_id, 2 worker_ip, 3 total_cpu double, 4 total_memory double, 5 total_storage double, 6 total_gpu double
MasterInfo | 1 master_id, 2 master_address
RegisterAck | 1 success bool, 2 message
TaskAck | 1 success bool, 2 message
Ack | 1 success bool, 2 message
Heartbeat | 1 worker_id, 2 cpu_usage double, 3 memory_usage double, 4 storage_usage double, 5 running_tasks repeated RunningTask, 6 gpu_usage double
RunningTask | 1 task_id, 2 cpu_allocated double, 3 memory_allocated double, 4 status, 5 gpu_allocated double
HeartbeatAck | 1 success bool
Task | 1 task_id, 2 docker_image, 3 command, 4 req_cpu double, 5 req_memory double, 6 req_storage double, 7 req_gpu double, 8 target_worker_id, 9 user_id, 10 sla_multiplier double, 11 task_type, 12 task_name, 13 submitted_at int64
TaskResult | 1 task_id, 2 worker_id, 3 status, 4 logs, 5 result_location, 6 output_files repeated string
TaskID | 1 task_id
TaskLogRequest | 1 task_id, 2 user_id, 3 follow bool
LogChunk | 1 task_id, 2 content, 3 timestamp, 4 is_complete bool, 5 status
FileChunk | 1 task_id, 2 user_id, 3 task_name, 4 file_path, 5 data bytes, 6 is_last_chunk bool, 7 is_last_file bool, 8 timestamp int64
FileUploadAck | 1 success bool, 2 message, 3 files_received int32
";

const AGENT: &str = "
AgentAck | 1 success bool, 2 message
ClusterState | 1 workers repeated AgentWorkerInfo, 2 pending_tasks repeated TaskInfo
AgentWorkerInfo | 1 worker_id, 2 cpu_available double, 3 memory_available double, 4 gpu_available double, 5 status
TaskInfo | 1 task_id, 2 req_cpu double, 3 req_memory double, 4 req_gpu double, 5 task_type
TaskAssignments | 1 assignments repeated Assignment
Assignment | 1 task_id, 2 worker_id
Empty |
";

/// New fields that the contract names.
const NEW: [(&str, &str); 3] = [
    ("WorkerInfo", "100 version string"),
    ("Task", "101 args repeated string"),
    ("TaskAck", "100 task_id string"),
];

const METHODS: [&str; 12] = [
    "cluster.MasterWorker: RegisterWorker(WorkerInfo) RegisterAck",
    "cluster.MasterWorker: SendHeartbeat(Heartbeat) HeartbeatAck",
    "cluster.MasterWorker: ReportTaskCompletion(TaskResult) Ack",
    "cluster.MasterWorker: UploadTaskFiles(stream FileChunk) FileUploadAck",
    "cluster.MasterWorker: ReportTaskProgress(TaskProgress) Ack",
    "cluster.MasterWorker: MasterRegister(MasterInfo) RegisterAck",
    "cluster.MasterWorker: AssignTask(Task) TaskAck",
    "cluster.MasterWorker: CancelTask(TaskID) TaskAck",
    "cluster.MasterWorker: StreamTaskLogs(TaskLogRequest) stream LogChunk",
    "cluster.MasterWorker: ListWorkers(ListWorkersRequest) WorkerList",
    "agent.MasterAgent: FetchClusterState(Empty) ClusterState",
    "agent.MasterAgent: SubmitAssignments(TaskAssignments) AgentAck",
];

fn compiled() -> FileDescriptorSet {
    FileDescriptorSet::decode(DESCRIPTORS).unwrap()
}

fn messages(package: &str) -> BTreeMap<String, DescriptorProto> {
    compiled()
        .file
        .into_iter()
        .filter(|file| file.package() == package)
        .flat_map(|file| file.message_type)
        .map(|message| (message.name().to_owned(), message))
        .collect()
}

/// A field as the tables write it, its type always given.
fn shown(field: &FieldDescriptorProto) -> String {
    let kind = match field.r#type() {
        Type::Message => short(field.type_name()).to_owned(),
        other => other.as_str_name()["TYPE_".len()..].to_lowercase(),
    };
    let repeated = match field.label() {
        Label::Repeated => "repeated ",
        Label::Optional => "",
        Label::Required => "required ",
    };
    format!("{} {} {repeated}{kind}", field.number(), field.name())
}

fn short(type_name: &str) -> &str {
    type_name.rsplit('.').next().unwrap()
}

fn table(text: &str) -> impl Iterator<Item = (&str, Vec<String>)> {
    text.trim().lines().map(|line| {
        let (message, fields) = line.split_once('|').unwrap();
        let fields = fields
            .split(',')
            .map(str::trim)
            .filter(|field| !field.is_empty())
            .map(|field| match field.split(' ').count() {
                2 => format!("{field} string"),
                _ => field.to_owned(),
            });
        (message.trim(), fields.collect())
    })
}

#[test]
fn every_field_that_old_nodes_know_has_its_name_number_and_type() {
    for (package, text) in [("cluster", CLUSTER), ("agent", AGENT)] {
        let messages = messages(package);
        for (name, expected) in table(text) {
            let compiled: Vec<_> = messages[name]
                .field
                .iter()
                .filter(|field| field.number() < 100)
                .map(shown)
                .collect();
            assert_eq!(compiled, expected, "{package}.{name}");
        }
    }
}

#[test]
fn only_messages_that_old_nodes_never_see_are_free_in_their_numbers() {
    let of_old_nodes: Vec<_> = table(CLUSTER).map(|(name, _)| name).collect();
    let new: Vec<_> = messages("cluster")
        .into_keys()
        .filter(|name| !of_old_nodes.contains(&name.as_str()))
        .collect();
    assert_eq!(
        new,
        [
            "ContainerSettings",
            "ExitReport",
            "GpuShare",
            "ListWorkersRequest",
            "TaskProgress",
            "WorkerList",
            "WorkerView"
        ]
    );
    let of_agents: Vec<_> = table(AGENT).map(|(name, _)| name).collect();
    let messages = messages("agent");
    assert_eq!(messages.len(), of_agents.len());
    assert!(
        messages
            .values()
            .flat_map(|message| &message.field)
            .all(|f| f.number() < 100)
    );
}

#[test]
fn the_new_fields_that_the_contract_names_are_there() {
    let messages = messages("cluster");
    for (message, expected) in NEW {
        let found = messages[message]
            .field
            .iter()
            .any(|field| shown(field) == expected);
        assert!(found, "{message} lacks {expected}");
    }
}

#[test]
fn every_method_takes_answers_and_streams_what_the_contract_says() {
    let stream = |is_stream: bool| if is_stream { "stream " } else { "" };
    let mut compiled_methods = Vec::new();
    for file in compiled().file {
        for service in &file.service {
            for method in &service.method {
                compiled_methods.push(format!(
                    "{}.{}: {}({}{}) {}{}",
                    file.package(),
                    service.name(),
                    method.name(),
                    stream(method.client_streaming()),
                    short(method.input_type()),
                    stream(method.server_streaming()),
                    short(method.output_type()),
                ));
            }
        }
    }
    compiled_methods.sort();
    let mut expected = METHODS.map(str::to_owned).to_vec();
    expected.sort();
    assert_eq!(compiled_methods, expected);
}
