//! What a master reads from workers, clients and placing agents.
//!
//! The first byte says which message it is, the rest is the message. What holds of each, from the raw
//! bytes on: what could be read is the same once it was written and read again; figures are numbers
//! from zero on; texts that are kept or shown are cut; ids, lists and labels are within their limits;
//! a path becomes a path within the task's folder or none; a client's task becomes a spec that is
//! within the limits of the contract; and what is refused is said in words.

use std::convert::Infallible;

use bytes::Bytes;
use cloudai_files::output::RelativePath;
use cloudai_model::{
    AttemptId, AttemptReport, ContainerEnd, Exit, PeakUsage, Phase, TaskDraft, TaskId, Wall, Whole,
    old_node,
};
use cloudai_proto::{
    CancelRequest, Completion, FileDigest, HeartbeatReport, Held, LogRequest, Progress,
    UploadChunk, WorkerHello, agent, agent_view, cluster, submit,
};
use prost::Message as _;

use super::{
    task_spec,
    wire::{kind, seed, survives},
};
use crate::{Seed, Verdict, said::assert_said};

/// When old nodes' results arrive.
const ARRIVAL: Wall = Wall(1_700_000_000_000);
/// Words of a node are cut at 4 KiB, with an ellipsis behind.
const LONGEST_TEXT: usize = 4096 + 3;

/// See the module.
pub(super) fn check(bytes: &[u8]) -> Verdict {
    let Some((kind, message)) = kind(bytes) else {
        return Verdict::Refused;
    };
    match kind {
        0 => survives(message, WorkerHello::from_wire, hello, |_| true),
        1 => survives(message, HeartbeatReport::from_wire, heartbeat, |_| true),
        2 => survives(message, Progress::from_wire, progress, |_| true),
        3 => survives(
            message,
            |wire| Completion::from_wire(wire, ARRIVAL),
            completion,
            |read| read.old.is_none(),
        ),
        4 => survives(message, UploadChunk::from_wire, chunk, |read| {
            // What an old node left out or meant by its id is never sent on.
            let has_place = read.offset.is_some() || read.empty_set;
            let says_all = read.worker.is_some() && read.finish.is_some() == read.last_chunk;
            read.attempt.number > 0 && has_place && says_all
        }),
        5 => client_task(message),
        6 => survives(message, CancelRequest::from_wire, cancel, |_| true),
        7 => survives(
            message,
            LogRequest::from_wire,
            LogRequest::into_wire,
            |_| true,
        ),
        8 => placements(message),
        _ => Verdict::Refused,
    }
}

fn hello(read: WorkerHello) -> cluster::WorkerInfo {
    let labels: usize = read.labels.iter().map(|(k, v)| k.len() + v.len()).sum();
    assert!(labels <= 16 << 10, "labels of {labels} bytes");
    for text in [
        Some(&read.shown_ip),
        read.version.as_ref(),
        read.home.as_ref(),
    ] {
        assert!(text.is_none_or(|text| text.len() <= LONGEST_TEXT));
    }
    read.into_wire()
}

fn heartbeat(read: HeartbeatReport) -> cluster::Heartbeat {
    for figure in [
        read.usage.cpu_percent,
        read.usage.gpu_percent,
        read.usage.disk_read_bytes_per_s,
        read.usage.disk_write_bytes_per_s,
    ] {
        assert!(figure >= 0.0 && figure.is_finite(), "{figure}");
    }
    for text in [&read.unwell, &read.home, &read.incarnation] {
        let text = text.as_ref();
        assert!(text.is_none_or(|text| !text.is_empty() && text.len() <= LONGEST_TEXT));
    }
    for Held { attempt, .. } in &read.held {
        let readings = old_node::readings(attempt);
        assert!((1..=2).contains(&readings.len()), "{readings:?}");
        assert!(readings.iter().all(|attempt| attempt.number > 0));
    }
    read.into_wire()
}

fn progress(read: Progress) -> cluster::TaskProgress {
    assert!(read.attempt.number > 0 && read.detail.len() <= LONGEST_TEXT);
    read.into_wire()
}

fn completion(read: Completion) -> cluster::TaskResult {
    for whole in [&read.report.log, &read.report.files] {
        assert!(
            whole
                .reason()
                .is_none_or(|reason| reason.len() <= LONGEST_TEXT)
        );
    }
    let words = read.report.end.exit.to_string();
    assert!(words.len() <= LONGEST_TEXT + 100, "{} bytes", words.len());
    read.into_wire()
}

fn chunk(read: UploadChunk) -> cluster::FileChunk {
    match read.path_text.parse::<RelativePath>() {
        Ok(path) => super::file_path::stays_within(&path),
        Err(error) => assert_said(error),
    }
    if let Some(finish) = &read.finish {
        assert_eq!(finish.sha256.len(), 64);
    }
    read.into_wire()
}

fn cancel(read: CancelRequest) -> cluster::TaskId {
    assert!(read.reason.len() <= LONGEST_TEXT);
    read.into_wire()
}

/// A client's task: unchecked it travels, checked it is a spec or a list of mistakes.
fn client_task(message: &[u8]) -> Verdict {
    let mut drafts = Vec::new();
    let verdict = survives(
        message,
        |wire| Ok::<_, Infallible>(submit::from_wire(wire)),
        submit::to_wire,
        |_| true,
    );
    if let Ok(wire) = cluster::Task::decode(message) {
        drafts.push(submit::from_wire(wire));
    }
    for draft in drafts {
        task_spec::holds(draft);
    }
    verdict
}

fn placements(message: &[u8]) -> Verdict {
    let Ok(wire) = agent::TaskAssignments::decode(message) else {
        return Verdict::Refused;
    };
    match agent_view::placements(&wire) {
        Ok(placements) => {
            assert_eq!(placements.len(), wire.assignments.len());
            Verdict::Accepted
        }
        Err(error) => {
            assert_said(error);
            Verdict::Refused
        }
    }
}

fn attempt() -> AttemptId {
    AttemptId::new(TaskId::numbered(7), 2)
}

fn ended(exit: Exit) -> ContainerEnd {
    ContainerEnd {
        exit,
        started_at: Some(Wall(1_700_000_000_000)),
        finished_at: Wall(1_700_000_009_000),
        usage: PeakUsage::default(),
        image_digest: Some(format!("sha256:{}", "ab".repeat(32))),
    }
}

/// One of each kind, of new nodes and of old ones.
pub(super) fn seeds() -> Vec<Seed> {
    let worker = || "worker-1".parse().ok();
    let Some(worker_id) = worker() else {
        return Vec::new();
    };
    let old_info = cluster::WorkerInfo {
        worker_id: "worker-1".to_owned(),
        worker_ip: "10.0.0.2".to_owned(),
        total_cpu: 4.0,
        total_memory: 8.0,
        total_storage: 100.0,
        total_gpu: 1.0,
        ..Default::default()
    };
    let info = cluster::WorkerInfo {
        version: "0.1.0".to_owned(),
        labels: [("zone".to_owned(), "a".to_owned())].into(),
        grpc_port: 50052,
        home: "5eed".to_owned(),
        ..old_info.clone()
    };
    let running = |task_id: &str, attempt, phase: &str| cluster::RunningTask {
        task_id: task_id.to_owned(),
        status: "running".to_owned(),
        attempt,
        phase: phase.to_owned(),
        ..Default::default()
    };
    let heartbeat = cluster::Heartbeat {
        worker_id: "worker-1".to_owned(),
        cpu_usage: 12.5,
        memory_usage: 1024.0,
        storage_usage: 2.5,
        running_tasks: vec![running("task-7", 2, "running"), running("a-3", 0, "")],
        gpu_usage: 99.0,
        incarnation: "1f".to_owned(),
        last_sequence: Some(1 << 33),
        holds_complete: true,
        disk_read_bytes_per_s: 1e6,
        disk_write_bytes_per_s: 0.5,
        storage_free: Some(90.0),
        unwell: "no engine".to_owned(),
        home: "5eed".to_owned(),
    };
    let nonsense = cluster::Heartbeat {
        cpu_usage: f64::NAN,
        memory_usage: -1.0,
        storage_free: Some(f64::INFINITY),
        running_tasks: vec![running("no id!", 0, ""), running(&"t".repeat(64), 9, "x")],
        ..heartbeat.clone()
    };
    let progress = Progress {
        worker: worker_id,
        attempt: attempt(),
        phase: Phase::Uploading,
        detail: "3 of 7 layers".to_owned(),
        at: Wall(5),
        end: Some(ended(Exit::Signalled(9))),
    };
    let completion = |exit| Completion {
        worker: progress.worker.clone(),
        report: AttemptReport {
            attempt: attempt(),
            end: ended(exit),
            log: Whole::Complete,
            files: Whole::Incomplete("a FIFO".to_owned()),
            in_order: false,
        },
        log_length: Some(4096),
        old: None,
    };
    let old_result = cluster::TaskResult {
        task_id: "task-7-2".to_owned(),
        worker_id: "worker-1".to_owned(),
        status: "success".to_owned(),
        logs: "hello\n".to_owned(),
        output_files: vec!["a.txt".to_owned()],
        ..Default::default()
    };
    let chunk = UploadChunk {
        attempt: attempt(),
        worker: Some(progress.worker.clone()),
        user_text: "ann".to_owned(),
        task_name: "training".to_owned(),
        path_text: "results/model.bin".to_owned(),
        offset: Some(65_536),
        data: Bytes::from_static(b"\x00\xffdata"),
        last_chunk: true,
        finish: Some(FileDigest {
            size: 65_542,
            sha256: "0123456789abcdef".repeat(4),
        }),
        last_file: true,
        empty_set: false,
    };
    let old_chunk = cluster::FileChunk {
        task_id: format!("{}-2", "t".repeat(64)),
        file_path: "../%2e%2e/x".to_owned(),
        data: Bytes::from_static(b"x"),
        is_last_chunk: true,
        ..Default::default()
    };
    let minimal = TaskDraft {
        docker_image: "alpine".to_owned(),
        ..TaskDraft::default()
    };
    let cancel = CancelRequest {
        task: TaskId::numbered(7),
        attempt: Some(2),
        user: Some("ann".to_owned()),
        reason: "too slow".to_owned(),
    };
    let log = LogRequest {
        task: TaskId::numbered(7),
        attempt: Some(2),
        user: None,
        follow: true,
        framed: true,
        offset: 1 << 40,
        without_text: true,
    };
    let wanted = agent::TaskAssignments {
        assignments: vec![agent::Assignment {
            task_id: "task-7".to_owned(),
            worker_id: "worker-1".to_owned(),
        }],
    };
    vec![
        seed("hello", 0, &info),
        seed("hello-of-an-old-node", 0, &old_info),
        Seed::bad("hello-of-nobody", [0]),
        seed("heartbeat", 1, &heartbeat),
        seed("heartbeat-of-nonsense", 1, &nonsense),
        Seed::bad("heartbeat-cut", [1, 0x0a, 0x20, b'w']),
        seed("progress", 2, &progress.clone().into_wire()),
        seed("result", 3, &completion(Exit::Exited(3)).into_wire()),
        seed(
            "result-stopped",
            3,
            &completion(Exit::Stopped("over its disk".to_owned())).into_wire(),
        ),
        seed("result-of-an-old-node", 3, &old_result),
        seed("upload", 4, &chunk.into_wire()),
        seed("upload-of-an-old-node", 4, &old_chunk),
        seed("task-of-little", 5, &submit::to_wire(minimal)),
        seed(
            "task-of-everything",
            5,
            &task_spec::everything_on_the_wire(),
        ),
        seed("cancel", 6, &cancel.into_wire()),
        seed("log-request", 7, &log.into_wire()),
        seed("placements", 8, &wanted),
        Seed::bad("unknown-kind", [99, 1, 2]),
        Seed::bad("nothing", []),
    ]
}
