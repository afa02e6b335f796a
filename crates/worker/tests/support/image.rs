//! An image with a shell and little else, and looks at the engine from outside.

use std::collections::HashMap;

use bollard::{
    Docker, body_full,
    query_parameters::{
        CreateImageOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
    },
};
use futures_util::StreamExt as _;
use tokio::sync::OnceCell;

pub const IMAGE: &str = "cloudai-worker-test/busybox:1";
const BUSYBOX: &str = "/bin/busybox";
const APPLETS: &[&str] = &[
    "cat", "dd", "echo", "false", "head", "ln", "ls", "mkdir", "mkfifo", "printf", "seq", "sh",
    "sleep", "touch", "true", "usleep",
];

pub async fn docker() -> Docker {
    let docker = Docker::connect_with_defaults().unwrap();
    docker.ping().await.unwrap_or_else(|error| {
        panic!("these tests need a Docker Engine: {error}; start one with scripts/engine-up")
    });
    docker
}

/// Imports the image if the engine hasn't got it.
pub async fn import() {
    static IMPORTED: OnceCell<()> = OnceCell::const_new();
    let imported = IMPORTED.get_or_init(|| async {
        let docker = docker().await;
        if docker.inspect_image(IMAGE).await.is_ok() {
            return;
        }
        let (repo, tag) = IMAGE.rsplit_once(':').unwrap();
        let options = CreateImageOptionsBuilder::new()
            .from_src("-")
            .repo(repo)
            .tag(tag)
            .build();
        let body = body_full(root_file_system().into());
        let mut answers = docker.create_image(Some(options), Some(body), None);
        while let Some(answer) = answers.next().await {
            answer.unwrap();
        }
    });
    imported.await;
}

fn root_file_system() -> Vec<u8> {
    let busybox = std::fs::read(BUSYBOX)
        .unwrap_or_else(|error| panic!("{BUSYBOX}: {error}; apt-get install busybox-static"));
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_mode(0o1777);
    header.set_size(0);
    for folder in ["bin/", "tmp/", "output/"] {
        tar.append_data(&mut header, folder, &[][..]).unwrap();
    }
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o755);
    header.set_size(busybox.len() as u64);
    tar.append_data(&mut header, "bin/busybox", &busybox[..])
        .unwrap();
    for applet in APPLETS {
        let mut link = tar::Header::new_ustar();
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_mode(0o777);
        link.set_size(0);
        tar.append_link(&mut link, format!("bin/{applet}"), "busybox")
            .unwrap();
    }
    tar.into_inner().unwrap()
}

/// The containers of a cluster: name and state.
pub async fn containers(cluster: &str) -> Vec<(String, String)> {
    let label = format!("cloudai.cluster={cluster}");
    let options = ListContainersOptionsBuilder::new()
        .all(true)
        .filters(&HashMap::from([("label", vec![label])]))
        .build();
    let found = docker().await.list_containers(Some(options)).await.unwrap();
    found
        .into_iter()
        .map(|container| {
            let name = container.names.unwrap_or_default().join(",");
            let state = container.state.map(|state| state.to_string());
            (
                name.trim_start_matches('/').to_owned(),
                state.unwrap_or_default(),
            )
        })
        .collect()
}

pub async fn remove(name: &str) {
    let options = RemoveContainerOptionsBuilder::new()
        .force(true)
        .v(true)
        .build();
    // One that is gone already is what is wanted.
    drop(docker().await.remove_container(name, Some(options)).await);
}

/// Removes what a test left, whatever became of it, when it is dropped.
pub struct Sweep(pub String);

impl Drop for Sweep {
    fn drop(&mut self) {
        let cluster = self.0.clone();
        // A runtime can't be entered from within another; a thread can have its own.
        let swept = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                for (name, _) in containers(&cluster).await {
                    remove(&name).await;
                }
            });
        });
        assert!(
            swept.join().is_ok() || std::thread::panicking(),
            "containers were left"
        );
    }
}
