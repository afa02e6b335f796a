//! A registry of the test's own on loopback: Debian's `docker-registry`, filled over its API so
//! that the engine has none of it.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::{cluster::free_port, wait::until};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Who may read where a password is asked for.
pub const USER: &str = "me";
/// With this password.
pub const PASSWORD: &str = "p?~>>\u{ff}:x";
/// `PASSWORD` by bcrypt.
const HTPASSWD: &str = "me:$2b$05$M1WePzfPem3f3hB3V69AyuoksFZsr0tcrfKxNzgcaxUSzmo0Xr00a\n";
const BUSYBOX: &str = "/bin/busybox";

/// A running registry; ends when it is dropped.
pub struct Registry {
    /// Where it answers.
    pub address: SocketAddr,
    program: Child,
    _folder: tempfile::TempDir,
}

impl Registry {
    /// One that anybody may read.
    pub async fn open() -> Self {
        Self::start("127.0.0.1", false).await
    }

    /// The same at another address of this machine.
    pub async fn open_at(host: &str) -> Self {
        Self::start(host, false).await
    }

    /// One that wants [`USER`] and [`PASSWORD`].
    pub async fn with_password() -> Self {
        Self::start("127.0.0.1", true).await
    }

    async fn start(host: &str, needs_password: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = SocketAddr::new(host.parse().unwrap(), free_port());
        let config = folder.path().join("config.yml");
        std::fs::write(
            &config,
            configuration(folder.path(), address, needs_password),
        )
        .unwrap();
        let program = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let program = program.unwrap_or_else(|error| {
            panic!("docker-registry: {error}; run `apt-get install docker-registry`")
        });
        let registry = Self {
            address,
            program,
            _folder: folder,
        };
        until("the registry to serve", async || {
            TcpStream::connect(address).await.ok()
        })
        .await;
        registry
    }

    /// Puts an image of busybox and of as many MB as are said, which don't compress, into it;
    /// returns its digest.
    pub async fn put(&self, name: &str, tag: &str, megabytes: usize) -> String {
        let mut layers = vec![busybox_layer()];
        if megabytes > 0 {
            layers.push(noise_layer(megabytes));
        }
        let mut described = Vec::new();
        for layer in &layers {
            let digest = self.put_blob(name, layer).await;
            described.push((digest, layer.len()));
        }
        let digests: Vec<_> = described.iter().map(|(digest, _)| digest).collect();
        // A layer that isn't compressed has the digest of its content.
        let config = json!({
            "architecture": arch(), "os": "linux",
            "config": {"Cmd": ["/bin/busybox", "echo", "hello from a registry"]},
            "rootfs": {"type": "layers", "diff_ids": digests},
        });
        let config = config.to_string().into_bytes();
        let config_digest = self.put_blob(name, &config).await;
        let layers = described.iter().map(|(digest, size)| {
            json!({
                "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
                "digest": digest, "size": size,
            })
        });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {
                "mediaType": "application/vnd.docker.container.image.v1+json",
                "digest": config_digest, "size": config.len(),
            },
            "layers": layers.collect::<Vec<Value>>(),
        });
        let path = format!("/v2/{name}/manifests/{tag}");
        let manifest = manifest.to_string().into_bytes();
        let (status, _) = self.call("PUT", &path, MANIFEST, &manifest).await;
        assert_eq!(status, 201);
        digest_of(&manifest)
    }

    async fn put_blob(&self, name: &str, blob: &[u8]) -> String {
        let digest = digest_of(blob);
        let path = format!("/v2/{name}/blobs/uploads/");
        let (status, place) = self.call("POST", &path, OCTETS, b"").await;
        assert_eq!(status, 202);
        let place = place.split_once("//").map_or(&place[..], |(_, rest)| {
            &rest[rest.find('/').unwrap_or_default()..]
        });
        let path = format!("{place}&digest={digest}");
        let (status, _) = self.call("PUT", &path, OCTETS, blob).await;
        assert_eq!(status, 201);
        digest
    }

    /// The answer's status and `Location`.
    async fn call(&self, method: &str, path: &str, content: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let length = body.len();
        let auth = STANDARD.encode(format!("{USER}:{PASSWORD}"));
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
             Authorization: Basic {auth}\r\n\
             Content-Type: {content}\r\nContent-Length: {length}\r\n\r\n",
            self.address
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let place = answer
            .lines()
            .find_map(|line| line.strip_prefix("Location: "));
        (status, place.unwrap_or_default().to_owned())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.program.kill().unwrap();
        self.program.wait().unwrap();
    }
}

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const OCTETS: &str = "application/octet-stream";

/// As Docker names it.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn configuration(folder: &Path, address: SocketAddr, needs_password: bool) -> String {
    let folder_text = folder.display();
    let mut config = format!(
        "version: 0.1\nlog: {{level: error}}\n\
         storage: {{filesystem: {{rootdirectory: {folder_text}/data}}}}\n\
         http: {{addr: \"{address}\"}}\n"
    );
    if needs_password {
        let users = folder.join("htpasswd");
        std::fs::write(&users, HTPASSWD).unwrap();
        let users = users.display();
        config += &format!("auth: {{htpasswd: {{realm: test, path: {users}}}}}\n");
    }
    config
}

fn busybox_layer() -> Vec<u8> {
    let busybox = std::fs::read(BUSYBOX)
        .unwrap_or_else(|error| panic!("{BUSYBOX}: {error}; run `apt-get install busybox-static`"));
    let mut tar = tar::Builder::new(Vec::new());
    add(&mut tar, "bin/busybox", &busybox, 0o755);
    tar.into_inner().unwrap()
}

/// Bytes that no two calls share, so that the engine has none of them.
fn noise_layer(megabytes: usize) -> Vec<u8> {
    let mut seed = [0; 32];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom").unwrap(), &mut seed)
        .unwrap();
    let mut noise = Vec::with_capacity(megabytes << 20);
    let mut block = Sha256::digest(seed);
    while noise.len() < megabytes << 20 {
        noise.extend_from_slice(&block);
        block = Sha256::digest(block);
    }
    let mut tar = tar::Builder::new(Vec::new());
    add(&mut tar, "noise", &noise, 0o644);
    tar.into_inner().unwrap()
}

fn add(tar: &mut tar::Builder<Vec<u8>>, name: &str, content: &[u8], mode: u32) {
    let mut header = tar::Header::new_ustar();
    header.set_mode(mode);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, name, content).unwrap();
}

fn digest_of(content: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(content)))
}
