//! What a task may ask of its container, and what an admin has to allow.

use cloudai_model::{AttemptId, Command, ContainerDraft, TaskDraft, TaskId};
use cloudai_proto::CancelAnswer;
use cloudai_tests::{
    cluster::{Cluster, first, test_task},
    engine::{TEST_SHELL, TEST_TASK},
};
use serde_json::Value;

/// A network and a volume of the engine under a name of the test's own, removed at its end.
struct Named(String);

impl Named {
    fn new(what: &str) -> Self {
        let port = cloudai_tests::cluster::free_port();
        let named = Self(format!("cloudai-e2e-{what}-{}-{port}", std::process::id()));
        named.docker(&["network", "create", "--internal", &named.0]);
        named.docker(&["volume", "create", &named.0]);
        named
    }

    fn docker(&self, words: &[&str]) {
        let run = std::process::Command::new("docker").args(words).output();
        let run = run.expect("docker: apt-get install docker-cli");
        let error = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(
            run.status.success() || std::thread::panicking(),
            "{words:?}: {error}"
        );
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        self.docker(&["network", "rm", &self.0]);
        self.docker(&["volume", "rm", &self.0]);
    }
}

fn shell(line: &str, container: ContainerDraft) -> TaskDraft {
    TaskDraft {
        docker_image: TEST_SHELL.to_owned(),
        command: Command::Shell(line.to_owned()),
        container,
        ..test_task(&[])
    }
}

async fn written(cluster: &Cluster, attempt: &AttemptId) -> String {
    let log = cluster.client().await.follow(attempt, |_| {}).await;
    String::from_utf8_lossy(&[log.stdout, log.stderr].concat()).into_owned()
}

/// Submits by the console, and waits for the end; what the task wrote.
async fn typed(cluster: &mut Cluster, options: &str, line: &str) -> (Value, String) {
    let seen = cluster.master.lines().len();
    let small = "-cpu_cores 0.5 -mem 0.125 -storage 0.5";
    cluster
        .master
        .type_line(&format!(
            "task {TEST_SHELL} {small} {options} -- sh -c '{line}'"
        ))
        .await;
    let answer = cluster.master.says_after(seen, "✓ Task ").await;
    let id: TaskId = answer.split_whitespace().nth(2).unwrap().parse().unwrap();
    let entry = cluster.has_status(&id, "completed").await;
    (entry, written(cluster, &first(&id)).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_setting_is_seen_from_inside_the_container() {
    let named = Named::new("settings");
    let name = &named.0;
    let flags = [
        "-allow-networks",
        name,
        "-allow-volumes",
        name,
        "-allow-capabilities",
        "NET_RAW",
    ];
    let mut cluster = Cluster::start_with("127.0.0.1", &flags).await;
    cluster.add_worker("worker-1", 2.0).await;

    let options = format!(
        "-network {name} -volume {name}:/data -read-only -run-as 1000:100 -tmpfs /t:0.0078125 \
         -shm 0.015625 -hostname trainer-1 -add-host db:10.0.0.5 -stop-signal SIGINT"
    );
    let line = "id -u; id -g; hostname; touch /f; touch /t/f && echo in memory; cat /etc/hosts; \
                grep -E \" (/t|/dev/shm|/data) \" /proc/mounts; ip -o link; echo out > /output/f";
    let (entry, text) = typed(&mut cluster, &options, line).await;
    for expected in [
        "1000\n100\ntrainer-1\n",
        "touch: /f: Read-only file system",
        "in memory",
        "10.0.0.5\tdb",
        "size=8192k",
        "size=16384k",
        "/data",
        "eth0",
    ] {
        assert!(text.contains(expected), "{expected} is missing in {text}");
    }
    assert_eq!(entry["container"]["network"][0], name.as_str(), "{entry}");
    assert_eq!(entry["container"]["stop_signal"][0], "SIGINT", "{entry}");
    assert_eq!(entry["files_complete"], true, "{entry}");

    // Without a wish: six capabilities, a seccomp filter, the bridge, and a root to write to.
    let line = "grep -E \"^(CapEff|CapBnd|Seccomp|NoNewPrivs):\" /proc/self/status; ip -o link; \
                touch /f && chown 1000:1000 /f && stat -c %u /f";
    let (entry, text) = typed(&mut cluster, "", line).await;
    for expected in [
        "CapBnd:\t00000000000000eb",
        "CapEff:\t00000000000000eb",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "eth0",
        "\n1000\n",
    ] {
        assert!(text.contains(expected), "{expected} is missing in {text}");
    }
    assert_eq!(entry["container"], serde_json::json!({}), "{entry}");

    // No network, and one capability more.
    let line = "grep CapEff: /proc/self/status; ip -o link";
    let (_, text) = typed(&mut cluster, "-network none -cap-add cap_net_raw", line).await;
    assert!(text.contains("CapEff:\t00000000000020eb"), "{text}");
    assert!(!text.contains("eth0"), "{text}");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_allowed_is_refused_alike_by_console_and_grpc() {
    let flags = [
        "-allow-networks",
        "lab,training",
        "-allow-volumes",
        "datasets:ro",
    ];
    let mut cluster = Cluster::start_with("127.0.0.1", &flags).await;
    for (option, draft, expected) in [
        (
            "-network other",
            ContainerDraft {
                network: Some("other".to_owned()),
                ..ContainerDraft::default()
            },
            "network: network other is not allowed: expected one of none, bridge, lab, training",
        ),
        (
            "-network host",
            ContainerDraft {
                network: Some("host".to_owned()),
                ..ContainerDraft::default()
            },
            "network: network \"host\" is not valid: expected none, bridge or a named network",
        ),
        (
            "-volume secrets:/data",
            ContainerDraft {
                volumes: vec!["secrets:/data".to_owned()],
                ..ContainerDraft::default()
            },
            "volumes: volume secrets is not allowed: expected datasets:ro",
        ),
        (
            "-volume datasets:/data",
            ContainerDraft {
                volumes: vec!["datasets:/data".to_owned()],
                ..ContainerDraft::default()
            },
            "volumes: volume datasets for writing is not allowed: expected datasets:/data:ro",
        ),
        (
            "-volume /etc:/data",
            ContainerDraft {
                volumes: vec!["/etc:/data".to_owned()],
                ..ContainerDraft::default()
            },
            "volumes: volume \"/etc\" is not valid: expected the name of a volume that the admin",
        ),
        (
            "-cap-add SYS_ADMIN",
            ContainerDraft {
                cap_add: vec!["SYS_ADMIN".to_owned()],
                ..ContainerDraft::default()
            },
            "cap_add: capability SYS_ADMIN is not allowed: expected one of CHOWN, DAC_OVERRIDE",
        ),
    ] {
        let seen = cluster.master.lines().len();
        cluster
            .master
            .type_line(&format!("task {TEST_SHELL} {option}"))
            .await;
        cluster
            .master
            .says_after(seen, &format!("❌ Failed to submit task: {expected}"))
            .await;
        let refused = cluster.client().await.submit(shell("true", draft)).await;
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused}");
    }
    // All at once.
    let seen = cluster.master.lines().len();
    let wrong = "-network other -volume secrets:/data -cap-add SYS_ADMIN -mem -1";
    cluster
        .master
        .type_line(&format!("task {TEST_SHELL} {wrong}"))
        .await;
    let line = cluster
        .master
        .says_after(seen, "❌ Failed to submit task:")
        .await;
    for field in ["memory_gb: ", "network: ", "volumes: ", "cap_add: "] {
        assert!(line.contains(field), "{field} is missing in {line}");
    }
    assert_eq!(
        cluster.json("list-tasks").await,
        serde_json::json!([]),
        "nothing was kept"
    );
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_workers_engine_lacks_ends_the_task_with_the_reason() {
    let flags = [
        "-allow-networks",
        "cloudai-nowhere",
        "-allow-volumes",
        "cloudai-nothing",
    ];
    let mut cluster = Cluster::start_with("127.0.0.1", &flags).await;
    cluster.add_worker("worker-1", 2.0).await;
    let without_network = ContainerDraft {
        network: Some("cloudai-nowhere".to_owned()),
        ..ContainerDraft::default()
    };
    let without_volume = ContainerDraft {
        volumes: vec!["cloudai-nothing:/data".to_owned()],
        ..ContainerDraft::default()
    };
    for (asked, expected) in [
        (
            without_network,
            "Docker Engine has no network cloudai-nowhere",
        ),
        (
            without_volume,
            "Docker Engine has no volume cloudai-nothing",
        ),
    ] {
        let task = cluster.submit_draft(shell("true", asked)).await;
        let entry = cluster.has_status(&task, "failed").await;
        assert!(
            entry["reason"].as_str().unwrap().contains(expected),
            "{entry}"
        );
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_comes_as_the_stop_signal_also_after_a_restart_of_the_worker() {
    let mut cluster = Cluster::start_with("127.0.0.1", &["-stop-grace", "50s"]).await;
    cluster.add_worker("worker-1", 2.0).await;
    let asked = ContainerDraft {
        stop_signal: Some("SIGUSR1".to_owned()),
        ..ContainerDraft::default()
    };
    let line = "trap 'echo heard usr1; exit 0' USR1; trap 'echo heard term' TERM; echo up; \
                while :; do sleep 0.1; done";
    let task = cluster.submit_draft(shell(line, asked)).await;
    cluster.has_status(&task, "running").await;
    cluster.workers.remove("worker-1").unwrap().kill().await;
    cluster.restart_worker("worker-1", 2.0);
    cluster.worker_is_active("worker-1").await;
    let taken = cluster.client().await.cancel(&task).await;
    assert!(matches!(taken, CancelAnswer::Taken { .. }), "{taken:?}");
    cluster.has_status(&task, "cancelled").await;
    let text = written(&cluster, &first(&task)).await;
    assert_eq!(text, "up\nheard usr1\n");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_survive_a_restart_of_the_master() {
    let mut cluster = Cluster::start().await;
    let asked = ContainerDraft {
        network: Some("none".to_owned()),
        hostname: Some("kept".to_owned()),
        ..ContainerDraft::default()
    };
    let task = cluster
        .submit_draft(shell("hostname; ip -o link", asked))
        .await;
    cluster.kill_master().await;
    cluster.restart_master().await;
    cluster.add_worker("worker-1", 2.0).await;
    cluster.has_status(&task, "completed").await;
    let text = written(&cluster, &first(&task)).await;
    assert!(
        text.starts_with("kept\n") && !text.contains("eth0"),
        "{text}"
    );
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_images_digest_is_kept_with_the_result() {
    let mut cluster = Cluster::start().await;
    cluster.add_worker("worker-1", 2.0).await;
    let task = cluster.submit(&["exit", "3"]).await;
    let entry = cluster.has_status(&task, "failed").await;
    // It was built on this machine and has no digest of a registry.
    let image = cluster.engine.image(&TEST_TASK.parse().unwrap()).await;
    let id = image.unwrap().unwrap().id.to_string();
    assert_eq!(entry["image_digest"], id.as_str(), "{entry}");
    cluster.end().await;
}
