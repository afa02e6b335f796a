//! A worker and its master: registered, refused, lost and found; and a worker that can't start.

mod support;

use cloudai_proto::cluster::MasterInfo;
use support::{fake_master::FakeMaster, process::Worker, until};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_worker_says_so_once_and_is_let_in_when_it_is_registered() {
    let master = FakeMaster::start().await;
    let refusal = "worker w-7 not authorized: run `register w-7 <host[:port]>` on the master first";
    master.state().refusal = Some(refusal.to_owned());
    let folder = tempfile::tempdir().unwrap();
    let flags = ["-id", "w-7", "-token", "s3cret"];
    let worker = Worker::start(folder.path(), &master.address(), &flags);

    // Given that it has tried several times
    until("several tries", || {
        (master.state().authorizations.len() >= 4).then_some(())
    })
    .await;
    let said = worker.said();
    let refused: Vec<_> = said
        .iter()
        .filter(|line| line.contains("not authorized"))
        .collect();
    assert_eq!(refused, [&format!("❌ Registration refused: {refusal}")]);

    // When it is registered, it is let in by itself
    master.state().refusal = None;
    worker
        .says("✓ Worker registered: Worker registered successfully")
        .await;
    let state = master.state();
    assert_eq!(state.authorizations[0].as_deref(), Some("Bearer s3cret"));
    let info = &state.registrations[0];
    assert_eq!(info.worker_id, "w-7");
    assert_eq!((info.total_cpu, info.total_memory), (4.0, 4.0));
    assert!(!info.version.is_empty() && info.grpc_port != 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_tell_what_is_held() {
    let master = FakeMaster::start().await;
    let folder = tempfile::tempdir().unwrap();
    let worker = Worker::start(folder.path(), &master.address(), &[]);
    let mut order = master.task("job-1", "sleep 600");
    order.sequence = 42;
    worker.assign(order).await;
    until("a heartbeat with the task", || {
        let state = master.state();
        let beat = state.heartbeats.last()?;
        let held = beat.running_tasks.first()?;
        assert_eq!((held.task_id.as_str(), held.attempt), ("job-1", 1));
        assert_eq!(beat.last_sequence, Some(42));
        assert!(beat.holds_complete && beat.unwell.is_empty() && !beat.incarnation.is_empty());
        assert!(beat.memory_usage > 0.0 && beat.storage_usage > 0.0);
        (held.phase == "running").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_master_is_found_again_and_hears_what_it_missed() {
    let mut master = FakeMaster::start().await;
    let folder = tempfile::tempdir().unwrap();
    let worker = Worker::start(folder.path(), &master.address(), &[]);
    worker.assign(master.task("job-1", "sleep 1")).await;
    master.sees_phase("job-1", "running").await;
    master.vanish();
    worker.says("trying again").await;
    worker.says("✓ Completed successfully").await;
    master.come_back();
    assert_eq!(master.report("job-1").await.status, "success");
    assert_eq!(master.state().registrations.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_forgot_is_told_again() {
    let master = FakeMaster::start().await;
    let folder = tempfile::tempdir().unwrap();
    let worker = Worker::start(folder.path(), &master.address(), &[]);
    worker.says("✓ Ready to receive tasks...").await;
    master.state().register_again = true;
    until("a second registration", || {
        (master.state().registrations.len() == 2).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_owed_to_an_old_master_is_not_taken_to_another() {
    // Given a worker that an old master has called,
    let (mut first, second) = (FakeMaster::start().await, FakeMaster::start().await);
    let folder = tempfile::tempdir().unwrap();
    let worker = Worker::start(folder.path(), "127.0.0.1:1", &[]);
    let mut client = worker.client().await;
    for master in [&first, &second] {
        master.state().cluster = String::new();
        let call = MasterInfo {
            master_id: "m".to_owned(),
            master_address: master.address(),
            ..MasterInfo::default()
        };
        // when a second calls, which may be the same one at another address,
        let ack = client.master_register(call).await.unwrap().into_inner();
        assert!(ack.success, "{ack:?}");
        until("a heartbeat at the first", || {
            let state = first.state();
            (!state.heartbeats.is_empty()).then_some(())
        })
        .await;
    }

    // then the worker stays with the first, and comes back to it.
    first.vanish();
    let lost = format!("the master at {} does not answer", first.address());
    worker.says(&lost).await;
    first.come_back();
    until("registration at the first again", || {
        (first.state().registrations.len() == 2).then_some(())
    })
    .await;
    assert!(second.state().registrations.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_calls_is_registered_at() {
    // Given a worker that knows no master that answers
    let master = FakeMaster::start().await;
    let folder = tempfile::tempdir().unwrap();
    let worker = Worker::start(folder.path(), "127.0.0.1:1", &[]);
    worker.says("no master answers at 127.0.0.1:1").await;

    // When a master calls that means another worker, it is told so
    let call = |worker_id: &str| MasterInfo {
        master_id: "m".to_owned(),
        master_address: master.address(),
        cluster_id: master.cluster.clone(),
        worker_id: worker_id.to_owned(),
    };
    let mut client = worker.client().await;
    let ack = client
        .master_register(call("worker-9"))
        .await
        .unwrap()
        .into_inner();
    assert!(
        !ack.success && ack.message.contains("-id worker-9"),
        "{ack:?}"
    );

    // And one that means this worker is registered at
    let ack = client
        .master_register(call("worker-1"))
        .await
        .unwrap()
        .into_inner();
    assert!(ack.success, "{ack:?}");
    worker.says("✓ Worker registered").await;

    // And a second call finds it registered
    let ack = client
        .master_register(call("worker-1"))
        .await
        .unwrap()
        .into_inner();
    assert!(ack.success && ack.message.contains("already"), "{ack:?}");
    assert_eq!(master.state().registrations.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_master_serves_is_answered_with_who_serves_it() {
    let master = FakeMaster::start().await;
    let folder = tempfile::tempdir().unwrap();
    let worker = Worker::start(folder.path(), &master.address(), &[]);
    let mut client = worker.client().await;
    let status = client.list_workers(cloudai_proto::cluster::ListWorkersRequest {});
    let status = status.await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unimplemented);
    assert!(status.message().contains("this is a worker"), "{status}");
    let mut order = master.task("job-1", "true");
    order.docker_image = "No Image".to_owned();
    let status = client.assign_task(order).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    assert!(status.message().contains("image"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_reflection_are_on() {
    let folder = tempfile::tempdir().unwrap();
    let worker = Worker::start(folder.path(), "127.0.0.1:1", &[]);
    let channel =
        tonic::transport::Channel::from_shared(format!("http://{}", worker.address().await));
    let channel = channel.unwrap().connect().await.unwrap();
    let mut health = HealthClient::new(channel.clone());
    for service in ["", "cluster.MasterWorker"] {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let answer = health.check(request).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving);
    }
    let mut reflection = ServerReflectionClient::new(channel);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers = reflection
        .server_reflection_info(tokio_stream::once(request))
        .await;
    let answer = answers.unwrap().into_inner().message().await.unwrap();
    let listed = format!("{:?}", answer.unwrap().message_response);
    assert!(listed.contains("cluster.MasterWorker"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_a_worker_from_starting_is_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    let first = Worker::start(folder.path(), "127.0.0.1:1", &[]);
    let address = first.address().await;

    // The same data directory
    let mut second = Worker::start(folder.path(), "127.0.0.1:1", &[]);
    assert!(!second.ends().await);
    let line = second.says("in use by another worker").await;
    assert!(line.contains(&format!("process {}", first.pid())), "{line}");

    // The same port
    let other = tempfile::tempdir().unwrap();
    let mut third = Worker::start(other.path(), "127.0.0.1:1", &["-port", &address]);
    assert!(!third.ends().await);
    let port = address.rsplit(':').next().unwrap();
    third.says(&format!("port {port} is in use")).await;

    // A flag that means nothing
    let mut fourth = Worker::start(other.path(), "127.0.0.1:1", &["-id", "../x"]);
    assert!(!fourth.ends().await);
    fourth.says("expected 1 to 64 letters").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_engine_it_waits_says_so_and_takes_nothing() {
    let master = FakeMaster::start().await;
    let folder = tempfile::tempdir().unwrap();
    let nowhere = format!("unix://{}/docker.sock", folder.path().display());
    let flags = ["-docker-host", nowhere.as_str()];
    let mut worker = Worker::start(folder.path(), &master.address(), &flags);
    worker.says("no Docker Engine at").await;
    until("a heartbeat that says it", || {
        let state = master.state();
        let unwell = &state.heartbeats.last()?.unwell;
        unwell.contains("no Docker Engine at").then_some(())
    })
    .await;
    let ack = worker.assign(master.task("job-1", "true")).await;
    assert!(!ack.success);
    assert!(
        ack.message.contains("no Docker Engine at"),
        "{}",
        ack.message
    );
    assert!(worker.is_running());
    let said = worker.said();
    assert_eq!(
        said.iter()
            .filter(|line| line.contains("no Docker Engine"))
            .count(),
        2,
        "{said:?}"
    );
}
