//! What a task asks for, seen from inside a real container.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod support;

use std::{os::unix::fs::PermissionsExt as _, time::Duration};

use bollard::{
    models::{NetworkCreateRequest, VolumeCreateRequest},
    query_parameters::RemoveVolumeOptions,
};
use cloudai_engine::{CreateError, StopCause, Stopped, end_of};
use cloudai_model::{ContainerSpec, Exit, container::network::Network};
use support::{Place, appears, docker, within};

/// Runs a line in a container set up so; what it wrote to both outputs.
async fn seen(place: &Place, asked: ContainerSpec, line: &str) -> String {
    let mut plan = place.shell(line).await;
    // As a worker makes it, for commands of any user.
    let anyone = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(&plan.output_dir, anyone).unwrap();
    plan.settings.asked = asked;
    let (_, written) = place.run_with_log(&plan).await;
    written.text() + &String::from_utf8_lossy(&written.stderr)
}

fn without_network() -> ContainerSpec {
    ContainerSpec {
        network: Network::None,
        ..ContainerSpec::default()
    }
}

fn status(text: &str, field: &str) -> u64 {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .unwrap();
    u64::from_str_radix(line.trim_start_matches(':').trim(), 16).unwrap()
}

#[tokio::test]
async fn root_keeps_six_capabilities_and_seccomp_is_on() {
    let place = Place::new().await;
    let line = "grep -E '^(Cap(Eff|Bnd)|Seccomp|NoNewPrivs)' /proc/self/status";
    let text = seen(&place, without_network(), line).await;
    // CHOWN 0, DAC_OVERRIDE 1, FOWNER 3, KILL 5, SETGID 6, SETUID 7.
    let six = 0b1110_1011;
    assert_eq!(
        (status(&text, "CapEff"), status(&text, "CapBnd")),
        (six, six),
        "{text}"
    );
    assert!(text.contains("Seccomp:\t2\n"), "a filter is on: {text}");
    assert!(text.contains("NoNewPrivs:\t1\n"), "{text}");

    // One more is one more: NET_RAW is 13.
    let asked = ContainerSpec {
        cap_add: ["NET_RAW".parse().unwrap()].into(),
        ..without_network()
    };
    let text = seen(&place, asked, line).await;
    assert_eq!(status(&text, "CapEff"), six | 1 << 13, "{text}");
    assert!(text.contains("Seccomp:\t2\n"), "{text}");
}

#[tokio::test]
async fn what_images_do_as_root_still_works() {
    let place = Place::new().await;
    let line = "mkdir -p /etc; echo root::0:0:root:/:/bin/sh > /etc/passwd;
        echo user::1000:1000:user:/:/bin/sh >> /etc/passwd;
        touch /tmp/f && busybox chown 1000:1000 /tmp/f && busybox chmod 600 /tmp/f &&
        echo over > /tmp/f && busybox stat -c %u:%a /tmp/f &&
        busybox su user -c 'cat /tmp/f; busybox id -u; echo $$ > /tmp/pid; exec sleep 100' &
        while ! [ -s /tmp/pid ]; do usleep 10000; done
        kill $(cat /tmp/pid) && wait && echo killed";
    let text = seen(&place, without_network(), line).await;
    assert_eq!(text, "1000:600\nover\n1000\nkilled\n");
}

#[tokio::test]
async fn a_read_only_root_leaves_output_and_tmpfs() {
    let place = Place::new().await;
    let asked = ContainerSpec {
        read_only: true,
        tmpfs: vec!["/scratch:0.0078125".parse().unwrap()],
        ..without_network()
    };
    let line = "touch /f; echo out > /output/f && echo kept; touch /scratch/f && echo in memory;
        grep ' /scratch ' /proc/mounts; dd if=/dev/zero of=/scratch/g bs=1M count=20";
    let text = seen(&place, asked, line).await;
    assert!(text.contains("touch: /f: Read-only file system"), "{text}");
    assert!(text.contains("kept\nin memory\n"), "{text}");
    assert!(text.contains("size=8192k"), "{text}");
    assert!(text.contains("No space left on device"), "{text}");
}

#[tokio::test]
async fn user_names_and_memory_are_those_asked_for() {
    let place = Place::new().await;
    let asked = ContainerSpec {
        run_as: Some("1000:100".parse().unwrap()),
        hostname: Some("trainer-1".parse().unwrap()),
        extra_hosts: vec![
            "db:10.0.0.5".parse().unwrap(),
            "db6:fd00::5".parse().unwrap(),
        ],
        shm_bytes: Some(16 << 20),
        tmpfs: vec!["/t".parse().unwrap()],
        ..ContainerSpec::default()
    };
    let line =
        "busybox id; busybox hostname; cat /etc/hosts; grep -E ' (/dev/shm|/t) ' /proc/mounts;
        echo mine > /output/f && echo written";
    let text = seen(&place, asked, line).await;
    assert!(text.contains("uid=1000 gid=100"), "{text}");
    assert!(text.contains("\ntrainer-1\n"), "{text}");
    assert!(
        text.contains("10.0.0.5\tdb\n") && text.contains("fd00::5\tdb6\n"),
        "{text}"
    );
    assert!(text.contains("size=16384k"), "/dev/shm: {text}");
    assert!(
        text.contains("size=65536k"),
        "a tmpfs without a size has the task's memory: {text}"
    );
    assert!(text.contains("written"), "{text}");
}

#[tokio::test]
async fn none_is_loopback_alone_and_the_bridge_is_a_network() {
    let place = Place::new().await;
    let line = "busybox ip -o link | sed 's/^[0-9]*: \\([a-z0-9]*\\).*/\\1/'";
    assert_eq!(seen(&place, without_network(), line).await, "lo\n");
    let text = seen(&place, ContainerSpec::default(), line).await;
    assert_eq!(text.lines().collect::<Vec<_>>(), ["lo", "eth0"], "{text}");
}

#[tokio::test]
async fn a_named_network_and_volume_are_used_and_missing_ones_are_said() {
    let place = Place::new().await;
    let name = format!("cloudai-engine-test-{}", place.cluster);
    let docker = docker();

    // Given neither, then each is named, and nothing was made.
    let mut plan = place.shell("true").await;
    plan.settings.asked.network = name.parse().unwrap();
    let error = place.engine.create(&plan).await.unwrap_err();
    assert!(
        matches!(&error, CreateError::NoSuchNetwork(network) if *network == name),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains(&format!("docker network create {name}")),
        "{error}"
    );
    plan.settings.asked = ContainerSpec {
        volumes: vec![format!("{name}:/data").parse().unwrap()],
        ..without_network()
    };
    let error = place.engine.create(&plan).await.unwrap_err();
    assert!(
        matches!(&error, CreateError::NoSuchVolume(volume) if *volume == name),
        "{error}"
    );
    assert!(
        docker.inspect_volume(&name).await.is_err(),
        "it was not made"
    );

    // Given both
    let request = NetworkCreateRequest {
        name: name.clone(),
        driver: Some("bridge".to_owned()),
        internal: Some(true),
        ..NetworkCreateRequest::default()
    };
    let network = docker.create_network(request).await.unwrap().id;
    let request = VolumeCreateRequest {
        name: Some(name.clone()),
        ..VolumeCreateRequest::default()
    };
    docker.create_volume(request).await.unwrap();

    // then what one task writes another reads, and can't write where it may only read.
    let with_volume = |mode: &str| ContainerSpec {
        network: name.parse().unwrap(),
        volumes: vec![format!("{name}:/data{mode}").parse().unwrap()],
        ..ContainerSpec::default()
    };
    let wrote = seen(
        &place,
        with_volume(""),
        "echo kept > /data/f; busybox ip -o link",
    )
    .await;
    let read = seen(&place, with_volume(":ro"), "cat /data/f; touch /data/g").await;

    // The beginning of its id is not its name.
    let mut plan = place.shell("true").await;
    plan.settings.asked.network = network[..12].parse().unwrap();
    let by_id = place.engine.create(&plan).await;

    for held in place
        .engine
        .list(&place.cluster, &"worker-1".parse().unwrap())
        .await
        .unwrap()
    {
        place.engine.remove(&held.id).await.unwrap();
    }
    docker.remove_network(&name).await.unwrap();
    docker
        .remove_volume(&name, None::<RemoveVolumeOptions>)
        .await
        .unwrap();
    assert!(wrote.contains("eth0"), "{wrote}");
    assert!(
        read.starts_with("kept\n") && read.contains("Read-only file system"),
        "{read}"
    );
    let error = by_id.unwrap_err();
    assert!(matches!(error, CreateError::NoSuchNetwork(_)), "{error}");
}

#[tokio::test]
async fn a_stop_comes_as_the_signal_asked_for() {
    let place = Place::new().await;
    let mut plan = place
        .shell("trap 'echo int > /output/heard; exit 0' INT; touch /output/up; while :; do sleep 0.1; done")
        .await;
    plan.settings.asked.stop_signal = Some("SIGINT".parse().unwrap());
    let id = place.start(&plan).await;
    appears(&plan.output_dir.join("up")).await;
    let stopped = place
        .engine
        .stop(&id, Duration::from_secs(100))
        .await
        .unwrap();
    let end = within(place.engine.wait(&id)).await.unwrap();
    assert_eq!(stopped, Stopped::ByUs);
    assert_eq!(end_of(&end, Some(&StopCause::Cancel)), Exit::Cancelled);
    assert_eq!(
        std::fs::read_to_string(plan.output_dir.join("heard")).unwrap(),
        "int\n"
    );
}
