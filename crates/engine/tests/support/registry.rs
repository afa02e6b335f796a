//! A registry of one's own on loopback: Debian's `docker-registry`.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use bollard::{
    auth::DockerCredentials,
    query_parameters::{PushImageOptionsBuilder, RemoveImageOptions},
};
use futures_util::StreamExt as _;

use super::{docker, import, within};

pub const USER: &str = "me";
/// Its base64 in the standard alphabet has characters that the URL alphabet doesn't.
pub const PASSWORD: &str = "p?~>>\u{ff}:x";
/// `PASSWORD` by bcrypt.
const HTPASSWD: &str = "me:$2b$05$M1WePzfPem3f3hB3V69AyuoksFZsr0tcrfKxNzgcaxUSzmo0Xr00a\n";

/// A running registry; ends when dropped.
pub struct Registry {
    pub address: SocketAddr,
    needs_password: bool,
    program: Child,
    _folder: tempfile::TempDir,
}

impl Registry {
    pub async fn start(needs_password: bool) -> Self {
        // Another process may take the port between the look and the start; then look again.
        for _ in 0..5 {
            if let Some(started) = Self::try_start(needs_password).await {
                return started;
            }
        }
        panic!("docker-registry didn't start")
    }

    async fn try_start(needs_password: bool) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let address = free_address();
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
            .spawn()
            .unwrap_or_else(|error| {
                panic!("docker-registry: {error}; apt-get install docker-registry")
            });
        let mut started = Self {
            address,
            needs_password,
            program,
            _folder: folder,
        };
        within(async {
            loop {
                if started.program.try_wait().unwrap().is_some() {
                    return None;
                }
                if TcpStream::connect(address).is_ok() {
                    return Some(());
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await?;
        Some(started)
    }

    /// Puts a new image into it that the engine then has no more. Gives its name.
    pub async fn with_image(&self, name: &str) -> String {
        let repo = format!("{}/{name}", self.address);
        let full = format!("{repo}:1");
        import(&full, &[]).await;
        let docker = docker();
        let credentials = self.needs_password.then(|| DockerCredentials {
            // Pushed by another client: this one's header has another alphabet.
            username: Some(USER.to_owned()),
            password: Some(PASSWORD.to_owned()),
            ..DockerCredentials::default()
        });
        let docker = docker.with_request_modifier(url_alphabet);
        let options = PushImageOptionsBuilder::new().tag("1").build();
        let mut answers = docker.push_image(&repo, Some(options), credentials);
        while let Some(answer) = answers.next().await {
            answer.unwrap();
        }
        forget(&full).await;
        full
    }
}

/// Removes an image from the engine.
pub async fn forget(name: &str) {
    let options = None::<RemoveImageOptions>;
    docker().remove_image(name, options, None).await.unwrap();
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.program.kill().unwrap();
        self.program.wait().unwrap();
    }
}

/// An address on loopback at which nobody listens.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

fn configuration(folder: &Path, address: SocketAddr, needs_password: bool) -> String {
    let mut config = format!(
        "version: 0.1\nlog: {{level: error}}\n\
         storage: {{filesystem: {{rootdirectory: {}/data}}}}\nhttp: {{addr: \"{address}\"}}\n",
        folder.display()
    );
    if needs_password {
        let users = folder.join("htpasswd");
        std::fs::write(&users, HTPASSWD).unwrap();
        config += &format!(
            "auth: {{htpasswd: {{realm: test, path: {}}}}}\n",
            users.display()
        );
    }
    config
}

fn url_alphabet(mut request: bollard::BollardRequest) -> bollard::BollardRequest {
    if let Some(value) = request.headers_mut().get_mut("X-Registry-Auth") {
        let text = value.to_str().unwrap().replace('+', "-").replace('/', "_");
        *value = text.parse().unwrap();
    }
    request
}
