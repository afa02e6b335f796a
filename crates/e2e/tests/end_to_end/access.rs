//! Who gets in: workers that were registered, with the right token from other machines.

use cloudai_tests::{
    cluster::{Cluster, free_port},
    namespace::Namespace,
    process::Process,
    programs::programs,
};

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_worker_is_refused_and_let_in_once_it_is_registered() {
    let mut cluster = Cluster::start().await;
    let port = free_port();
    cluster.start_worker("stranger", port, 1.0);
    let worker = cluster.workers.get_mut("stranger").unwrap();
    let refusal = worker.says("not authorized").await;
    assert!(
        refusal.contains("worker stranger not authorized"),
        "{refusal}"
    );
    assert!(
        refusal.contains("register stranger"),
        "it names the command: {refusal}"
    );
    cluster
        .master
        .says("Worker refused: worker stranger not authorized: run `register stranger")
        .await;
    assert_eq!(
        cluster.json("workers").await.as_array().map(Vec::len),
        Some(0)
    );

    cluster
        .master
        .type_line(&format!("register stranger 127.0.0.1:{port}"))
        .await;
    cluster.worker_is_active("stranger").await;
    cluster
        .workers
        .get_mut("stranger")
        .unwrap()
        .says("✓ Worker registered")
        .await;
    let seen = cluster.master.lines().len();
    cluster
        .master
        .type_line(&format!("register stranger 127.0.0.1:{port}"))
        .await;
    cluster
        .master
        .says_after(seen, "worker stranger already registered")
        .await;
    cluster
        .master
        .says_after(seen, "worker-node -id stranger -master 127.0.0.1")
        .await;
    cluster.master.type_line("register stranger 10.0.0.9").await;
    cluster
        .master
        .says_after(
            seen,
            &format!("worker stranger already registered at 127.0.0.1:{port}"),
        )
        .await;
    cluster.end().await;
}

/// Starts a worker on another machine.
fn start_there(
    cluster: &Cluster,
    machine: &Namespace,
    id: &str,
    port: u16,
    extra: &[&str],
) -> Process {
    let mut command = machine.command(&programs().worker);
    let master = format!("{}:{}", machine.here, cluster.grpc_port());
    let bind = format!("{}:{port}", machine.there);
    let data = cluster.path(id).display().to_string();
    command.args([
        "-id",
        id,
        "-master",
        &master,
        "-port",
        &bind,
        "-data-dir",
        &data,
    ]);
    command
        .args(["-cpu", "1", "-mem", "4", "-storage", "20"])
        .args(extra);
    Process::spawn(id, command, &cluster.path(""))
}

fn token(line: &str) -> String {
    line.rsplit("-token ").next().unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn from_another_machine_the_token_must_be_right() {
    let machine = Namespace::new();
    let mut cluster = Cluster::start_with("0.0.0.0", &[]).await;
    let (id, port) = ("worker-far", free_port());
    cluster
        .master
        .type_line(&format!("register {id} {}:{port}", machine.there))
        .await;
    let line = cluster.master.says("-token ").await;
    let right = token(&line);
    let master = format!("-master {}:{}", machine.here, cluster.grpc_port());
    assert!(
        line.contains(&master),
        "the line can be copied to that machine: {line}"
    );

    // Without a token, and with a wrong one.
    let mut worker = start_there(&cluster, &machine, id, port, &[]);
    worker.says("without its token").await;
    worker.kill().await;
    let wrong = "0".repeat(right.len());
    let mut worker = start_there(&cluster, &machine, id, port, &["-token", &wrong]);
    worker.says("the token is not that of worker").await;
    assert_eq!(cluster.json("workers").await[0]["status"], "inactive");
    worker.kill().await;

    // With the right one it gets in, and runs what it is given.
    let _worker = start_there(&cluster, &machine, id, port, &["-token", &right]);
    cluster.worker_is_active(id).await;
    let task = cluster.submit(&["exit", "0"]).await;
    cluster.has_status(&task, "completed").await;

    // A worker's port answers nobody but its master: not even this machine, without the token.
    let address = format!("{}:{port}", machine.there);
    let mut stranger = cloudai_tests::client::Client::connect(&address).await;
    let refused = stranger
        .0
        .cancel_task(cloudai_proto::cluster::TaskId::default())
        .await;
    let code = refused.unwrap_err().code();
    let no = [tonic::Code::Unauthenticated, tonic::Code::PermissionDenied];
    assert!(no.contains(&code), "{code:?}");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn insecure_lets_a_registered_worker_in_without_a_token() {
    let machine = Namespace::new();
    let mut cluster = Cluster::start_with("0.0.0.0", &["-insecure"]).await;
    let (id, port) = ("worker-far", free_port());
    cluster
        .master
        .type_line(&format!("register {id} {}:{port}", machine.there))
        .await;
    let _worker = start_there(&cluster, &machine, id, port, &["-insecure"]);
    cluster.worker_is_active(id).await;
    let task = cluster.submit(&["exit", "0"]).await;
    cluster.has_status(&task, "completed").await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_worker_under_one_id_is_refused_and_the_first_goes_on() {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 1.0).await;
    let task = cluster.submit(&["sleep", "600"]).await;
    cluster.has_status(&task, "running").await;

    let other_folder = cluster.path("other");
    let args = [
        ["-id", "worker-1"],
        ["-master", &cluster.grpc],
        ["-port", &format!("127.0.0.1:{}", free_port())],
        ["-data-dir", other_folder.to_str().unwrap()],
        ["-cpu", "64"],
    ];
    let args: Vec<_> = args.concat().into_iter().map(str::to_owned).collect();
    let mut other = Process::start("other", &programs().worker, &args, &cluster.path("."));

    let refusal = other.says("Registration refused").await;
    assert!(refusal.contains("with another data directory"), "{refusal}");
    let workers = cluster.json("workers").await;
    assert_eq!(workers[0]["total_cpu"], 1.0, "{workers}");
    cluster.has_status(&task, "running").await;
    cluster.client().await.cancel(&task).await;
    cluster.has_status(&task, "cancelled").await;
    other.signal("TERM").await;
    other.ends().await;
    cluster.end().await;
}
