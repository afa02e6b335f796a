//! What a worker reads from its master: assignments, cancels, requests, and answers to its own calls.
//!
//! The first byte says which message it is, the rest is the message. What holds of each: what could
//! be read is the same once it was written and read again; an assignment grants what its spec asks
//! for and each device once; the id under which an old worker would get it leads back to the attempt;
//! a command for an old worker is taken apart by a shell into the same words; and what is refused is
//! said in words.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use cloudai_model::{AttemptId, Command, TaskStatus, Wall, old_node};
use cloudai_proto::{
    CancelAnswer, CancelRequest, HeartbeatReport, HeartbeatTaken, LogMessage, LogPiece, LogRequest,
    MasterContact, Order, OrderTaken, OutputStream, Refused, Registered, ReportAnswer, Submitted,
    UploadAnswer, cluster,
};

use super::{
    task_spec,
    wire::{kind, seed, survives},
};
use crate::{Seed, Verdict};

/// See the module.
pub(super) fn check(bytes: &[u8]) -> Verdict {
    let Some((kind, message)) = kind(bytes) else {
        return Verdict::Refused;
    };
    match kind {
        0 => survives(message, Order::from_wire, order, |_| true),
        1 => survives(
            message,
            MasterContact::from_wire,
            MasterContact::into_wire,
            |_| true,
        ),
        2 => survives(
            message,
            CancelRequest::from_wire,
            CancelRequest::into_wire,
            |_| true,
        ),
        3 => survives(message, LogRequest::from_wire, log_request, |_| true),
        4 => survives(message, Registered::from_wire, Registered::to_wire, |_| {
            true
        }),
        5 => answer(message, HeartbeatTaken::from_wire, HeartbeatTaken::to_wire),
        6 => survives(message, Submitted::from_wire, Submitted::to_wire, |_| true),
        7 => answer(message, OrderTaken::from_wire, OrderTaken::to_wire),
        8 => answer(message, CancelAnswer::from_wire, CancelAnswer::into_wire),
        9 => answer(message, ReportAnswer::from_wire, ReportAnswer::into_wire),
        10 => answer(message, UploadAnswer::from_wire, UploadAnswer::into_wire),
        11 => survives(message, LogMessage::from_wire, log_message, |_| true),
        _ => Verdict::Refused,
    }
}

/// Answers that can always be read.
fn answer<W, T>(message: &[u8], read: impl Fn(W) -> T, write: impl Fn(T) -> W) -> Verdict
where
    W: prost::Message + Default,
    T: Clone + std::fmt::Debug,
{
    let read = |wire| Ok::<_, Infallible>(read(wire));
    survives(message, read, write, |_| true)
}

fn order(read: Order) -> cluster::Task {
    task_spec::is_within_limits(&read.spec);
    let (grant, asked) = (&read.grant, &read.spec.resources);
    assert_eq!(grant.cpu_milli, asked.cpu_milli);
    assert_eq!(grant.memory_bytes, asked.memory_bytes);
    assert_eq!(grant.storage_bytes, asked.storage_bytes);
    let devices = &grant.devices;
    assert!(devices.is_sorted_by(|one, other| one.device < other.device));
    assert!(
        devices
            .iter()
            .all(|share| (1..=1000).contains(&share.milli))
    );
    for_an_old_worker(&read);
    read.into_wire()
}

fn for_an_old_worker(order: &Order) {
    let wire = order.clone().into_old_wire();
    if let Command::Exec(words) = &order.spec.command {
        let again = shell_words::split(&wire.command);
        assert_eq!(again.as_ref(), Ok(words), "{:?}", wire.command);
    }
    // As it comes back in its heartbeat.
    let held = cluster::Heartbeat {
        worker_id: "worker-1".to_owned(),
        running_tasks: vec![cluster::RunningTask {
            task_id: wire.task_id,
            ..Default::default()
        }],
        ..Default::default()
    };
    let held = HeartbeatReport::from_wire(held).expect("a heartbeat of somebody is read");
    let readings = held
        .held
        .iter()
        .flat_map(|held| old_node::readings(&held.attempt));
    assert!(
        readings.clone().any(|reading| reading == order.attempt),
        "{} came back as {:?}",
        order.attempt,
        readings.collect::<Vec<_>>()
    );
}

fn log_request(read: LogRequest) -> cluster::TaskLogRequest {
    let attempt = AttemptId::new(read.task.clone(), read.attempt.unwrap_or(1));
    let old = read.clone().into_old_wire();
    assert_eq!(old.task_id, old_node::task_id(&attempt));
    read.into_wire()
}

fn log_message(read: LogMessage) -> cluster::LogChunk {
    if let Some(LogPiece::Framed { data, .. } | LogPiece::Output { data, .. }) = &read.piece {
        assert!(!data.is_empty());
    }
    let with_text = LogMessage::from_wire(read.clone().into_wire());
    let without = LogMessage::from_wire(read.clone().into_wire_without_text());
    assert_eq!(with_text, without, "the text is beside the bytes");
    read.into_wire()
}

/// One of each kind, of new masters and of old ones.
pub(super) fn seeds() -> Vec<Seed> {
    let order = cluster::Task {
        attempt: 2,
        sequence: 1 << 33,
        cluster_id: "c-5f2a90d1".to_owned(),
        gpu_devices: vec![
            cluster::GpuShare {
                device: 0,
                milli_gpus: 1000,
            },
            cluster::GpuShare {
                device: 3,
                milli_gpus: 1000,
            },
        ],
        stop_grace_ms: Some(10_000),
        submitted_at: 1_700_000_000,
        submitted_at_ms: Some(1_700_000_000_250),
        task_id: "task-7".to_owned(),
        ..task_spec::everything_on_the_wire()
    };
    let old_order = cluster::Task {
        task_id: "task-7".to_owned(),
        docker_image: "alpine".to_owned(),
        command: "echo \"it's $HOME\"".to_owned(),
        req_cpu: Some(0.5),
        task_type: "of-its-own".to_owned(),
        submitted_at: 1_700_000_000,
        ..Default::default()
    };
    let contact = MasterContact {
        master_id: "master".to_owned(),
        address: "10.0.0.1:50051".to_owned(),
        cluster: "c-1".parse().ok(),
        worker: "worker-1".parse().ok(),
    };
    let ack = |message: &str| cluster::TaskAck {
        success: true,
        message: message.to_owned(),
        task_id: "task-7".to_owned(),
        position: 3,
        status: "queued".to_owned(),
        not_held: false,
        degraded: "MongoDB is out of reach".to_owned(),
    };
    let output = LogPiece::Output {
        stream: OutputStream::Stderr,
        at: Some(Wall(1_700_000_000_250)),
        data: Bytes::from_static(b"caf\xc3\xa9 \xff"),
    };
    let framed = LogPiece::Framed {
        offset: 4096,
        data: Bytes::from_static(b"\x01\xff"),
    };
    let registered = Registered {
        message: "welcome".to_owned(),
        cluster: "c-1".parse().ok(),
        heartbeat_interval: Some(Duration::from_secs(5)),
    };
    let task = cloudai_model::TaskId::numbered(7);
    vec![
        seed("order", 0, &order),
        seed("order-of-an-old-master", 0, &old_order),
        Seed::bad("order-without-an-image", [0, 0x0a, 1, b'a']),
        seed("contact", 1, &contact.into_wire()),
        seed(
            "cancel-of-an-old-master",
            2,
            &cluster::TaskId {
                task_id: "task-7-2".to_owned(),
                ..Default::default()
            },
        ),
        seed(
            "log-request",
            3,
            &cluster::TaskLogRequest {
                task_id: "task-7".to_owned(),
                attempt: 4,
                follow: true,
                ..Default::default()
            },
        ),
        seed("registered", 4, &Registered::to_wire(Ok(registered))),
        seed(
            "register-refused",
            4,
            &Registered::to_wire(Err(Refused("unknown".to_owned()))),
        ),
        seed(
            "heartbeat-taken",
            5,
            &HeartbeatTaken::to_wire(Ok(HeartbeatTaken {
                register_again: true,
            })),
        ),
        seed("submitted", 6, &ack("kept")),
        Seed::bad("submitted-as-nobody", [6, 0x08, 1]),
        seed("order-taken", 7, &ack("taken")),
        seed(
            "cancel-not-held",
            8,
            &CancelAnswer::NotHeld {
                message: "never came".to_owned(),
            }
            .into_wire(),
        ),
        seed(
            "report-superseded",
            9,
            &cluster::Ack {
                superseded: true,
                ..Default::default()
            },
        ),
        seed(
            "files-taken",
            10,
            &UploadAnswer::Taken {
                files: 3,
                message: String::new(),
            }
            .into_wire(),
        ),
        seed(
            "log-output",
            11,
            &LogMessage::piece(&task, output).into_wire(),
        ),
        seed(
            "log-framed",
            11,
            &LogMessage::piece(&task, framed).into_wire(),
        ),
        seed(
            "log-end",
            11,
            &LogMessage::end(&task, Some(TaskStatus::Completed)).into_wire(),
        ),
        Seed::bad("unknown-kind", [200]),
    ]
}
