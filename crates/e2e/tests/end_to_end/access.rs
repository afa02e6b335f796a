//! Who gets in: workers that were registered, with the right token from other machines; users' programs
//! with a token of theirs; and what a user may keep.

use cloudai_proto::CancelAnswer;
use cloudai_tests::{
    client::Client,
    cluster::{Cluster, free_port, test_task},
    namespace::Namespace,
    process::Process,
    programs::programs,
    wait::{PATIENCE, until},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};
use tokio_stream::StreamExt as _;
use tonic::{Code, Request};

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

const ADMIN: (&str, &str) = ("CLOUDAI_ADMIN_PASSWORD", "correct horse battery");

/// What a request with a body is answered with: the status, and the body.
async fn ask(
    cluster: &Cluster,
    (method, path): (&str, &str),
    token: Option<&str>,
    body: Value,
) -> (u16, Value) {
    let mut stream = tokio::net::TcpStream::connect(&cluster.http).await.unwrap();
    let body = body.to_string();
    let token = token.map_or_else(String::new, |it| format!("Authorization: Bearer {it}\r\n"));
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{token}\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    (status, serde_json::from_str(body).unwrap_or_default())
}

/// What a login is answered with, once anybody can log in.
async fn login(cluster: &Cluster, user: &str, password: &str) -> (u16, String) {
    until("logins to be possible", async || {
        let shown = json!({"username": user, "password": password});
        let (status, body) = ask(cluster, ("POST", "/api/auth/login"), None, shown).await;
        let token = body["token"].as_str().unwrap_or_default().to_owned();
        (status != 503).then_some((status, token))
    })
    .await
}

/// A user who is made for it, and a token of theirs.
async fn user(cluster: &Cluster, admin: &str, name: &str) -> String {
    let password = format!("the password of {name}");
    let made = json!({"username": name, "password": password});
    let (status, body) = ask(cluster, ("POST", "/api/users"), Some(admin), made).await;
    assert_eq!(status, 201, "{body}");
    login(cluster, name, &password).await.1
}

fn showing<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let header = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", header);
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn from_another_machine_a_program_comes_in_with_a_token_and_reaches_its_users_tasks_alone() {
    let machine = Namespace::new();
    let mut cluster = Cluster::start_in("0.0.0.0", &[], &[ADMIN]).await;
    cluster.add_worker("worker-1", 2.0).await;
    let (_, admin) = login(&cluster, "admin", ADMIN.1).await;
    let (ada, bob) = (
        user(&cluster, &admin, "ada").await,
        user(&cluster, &admin, "bob").await,
    );
    // Whoever comes by this address is not on the master's own machine, as far as it can tell.
    let address = format!("{}:{}", machine.here, cluster.grpc_port());
    let mut client = Client::connect(&address).await.0;
    let task = || cloudai_proto::submit::to_wire(test_task(&["sleep", "600"]));

    let refused = client.assign_task(task()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let refused = client
        .assign_task(showing("nonsense", task()))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);

    let taken = client
        .assign_task(showing(&ada, task()))
        .await
        .unwrap()
        .into_inner();
    assert!(taken.success, "{}", taken.message);
    let id: cloudai_model::TaskId = taken.task_id.parse().unwrap();
    cluster.has_status(&id, "running").await;
    assert_eq!(cluster.task(&id).await["user_id"], "ada");

    let wanted = cloudai_proto::cluster::TaskId {
        task_id: taken.task_id.clone(),
        ..Default::default()
    };
    let log = cloudai_proto::cluster::TaskLogRequest {
        task_id: taken.task_id.clone(),
        ..Default::default()
    };
    let of_bob = client
        .cancel_task(showing(&bob, wanted.clone()))
        .await
        .unwrap();
    assert!(!of_bob.into_inner().success);
    let of_bob = client.stream_task_logs(showing(&bob, log.clone())).await;
    assert_eq!(of_bob.map(drop).unwrap_err().code(), Code::NotFound);
    let log = cloudai_proto::cluster::TaskLogRequest {
        follow: true,
        ..log
    };
    let followed = client.stream_task_logs(showing(&ada, log)).await;
    let mut followed = followed.unwrap().into_inner();

    // Who is locked out meanwhile hears no more of it, and a stream that goes on ends.
    let locked = json!({"state": "locked"});
    let (status, body) = ask(&cluster, ("PATCH", "/api/users/ada"), Some(&admin), locked).await;
    assert_eq!(status, 200, "{body}");
    let refused = client.cancel_task(showing(&ada, wanted.clone())).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
    let ended = async {
        while followed.next().await.transpose()?.is_some() {}
        Ok(())
    };
    let ended: Result<(), tonic::Status> = timeout(PATIENCE, ended).await.expect("it ends");
    assert_eq!(ended.unwrap_err().code(), Code::Unauthenticated);

    let of_admin = client.cancel_task(showing(&admin, wanted)).await.unwrap();
    assert!(of_admin.into_inner().success);
    cluster.has_status(&id, "cancelled").await;

    // On the master's own machine nothing is needed.
    let mut local = cluster.client().await;
    let id = local
        .submit(test_task(&["sleep", "600"]))
        .await
        .unwrap()
        .task;
    assert!(matches!(
        local.cancel(&id).await,
        CancelAnswer::Taken { .. }
    ));
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_beyond_a_users_quota_are_not_kept_and_the_task_ends_as_it_did() {
    let mut cluster = Cluster::start_in("127.0.0.1", &["-user-files", "5MB"], &[ADMIN]).await;
    cluster.add_worker("worker-1", 2.0).await;
    let run = async |cluster: &mut Cluster| {
        let task = cluster
            .submit(&["output", "data.bin", "3000000", "7"])
            .await;
        cluster.has_status(&task, "completed").await;
        task
    };
    // Given files that fit,
    let one = run(&mut cluster).await;
    let of_one = cluster
        .path("master")
        .join(format!("files/admin/{one}/data.bin"));
    assert_eq!(std::fs::metadata(&of_one).unwrap().len(), 3_000_000);

    // when others come that don't fit besides, then none of those is kept, and the result says why.
    let two = run(&mut cluster).await;
    let entry = cluster.task(&two).await;
    assert_eq!(
        (&entry["files_complete"], &entry["exit_code"]),
        (&json!(false), &json!(0)),
        "{entry}"
    );
    let why = entry["files_reason"].as_str().unwrap();
    assert!(why.contains("the quota of files of admin is 5 MB"), "{why}");
    assert!(of_one.exists());
    assert!(
        !cluster
            .path("master")
            .join(format!("files/admin/{two}"))
            .exists()
    );

    // When the first are deleted there is room again.
    let (_, admin) = login(&cluster, "admin", ADMIN.1).await;
    let path = format!("/api/files/{one}");
    let (status, body) = ask(&cluster, ("DELETE", &path), Some(&admin), Value::Null).await;
    assert_eq!(status, 204, "{body}");
    let three = run(&mut cluster).await;
    assert_eq!(cluster.task(&three).await["files_complete"], true);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_password_is_made_anew_at_the_console_and_is_nowhere_else() {
    let mut cluster = Cluster::start_in("127.0.0.1", &[], &[ADMIN]).await;
    let (status, before) = login(&cluster, "admin", ADMIN.1).await;
    assert_eq!(status, 200);
    cluster.master.type_line("reset-password admin").await;
    let said = cluster.master.says("The password of admin is ").await;
    let password = said
        .split(" is ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    assert_eq!(login(&cluster, "admin", ADMIN.1).await.0, 401);
    let (status, token) = login(&cluster, "admin", password).await;
    assert_eq!(status, 200);
    let me = ("GET", "/api/auth/me");
    assert_eq!(ask(&cluster, me, Some(&before), Value::Null).await.0, 401);
    assert_eq!(ask(&cluster, me, Some(&token), Value::Null).await.0, 200);
    let audit = ask(&cluster, ("GET", "/api/audit"), Some(&token), Value::Null)
        .await
        .1;
    let audit = audit.to_string();
    assert!(
        audit.contains("user.password") && !audit.contains(password),
        "{audit}"
    );
    cluster.end().await;
}
