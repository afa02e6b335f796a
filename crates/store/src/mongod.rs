//! Real servers for tests, here and in other crates: each with a free port and a folder of its own,
//! ended with the test.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "this is for tests"
)]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

pub use mongodb::bson;
use mongodb::{
    Client,
    bson::{Document, doc},
    options::ClientOptions,
};

use crate::MongoSettings;

/// How long a server, or a set of them, may take to be ready on a busy machine.
pub const READY_WITHIN: Duration = Duration::from_secs(90);

/// Starts and ends a server as it is told, and ends it for good and removes its folder when nobody
/// is left to tell it anything, however that came about.
const KEEPER: &str = r#"
exec 2>/dev/null
folder=$1; shift; server=
while read -r order; do
    case $order in
    start) "$@" >>"$folder/output" 2>&1 & server=$! ;;
    kill) kill -KILL "$server"; wait "$server" ;;
    halt) kill -STOP "$server" ;;
    resume) kill -CONT "$server" ;;
    esac
    kill -0 "$server" && echo alive || echo ended
done
kill -KILL "$server"; wait; rm -rf "$folder"
"#;

/// One mongod.
pub struct Server {
    /// Where it listens, on this machine.
    pub port: u16,
    folder: PathBuf,
    keeper: Mutex<(Child, ChildStdin, BufReader<ChildStdout>)>,
}

/// A port that was free a moment ago, and that no outgoing connection gets: those have ports of
/// their own range. So it can be bound once more after its server was killed.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    let start = std::process::id().wrapping_mul(97);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + start.wrapping_add(step) % COUNT;
        let port = u16::try_from(port).expect("the range is one of ports");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port between {FIRST} and {} is free", FIRST + COUNT);
}

fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(target) => target.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"),
    }
    .join("mongod")
}

/// What the script has set up; the test fails if it has not.
pub fn made_by_script(name: &str) -> PathBuf {
    let path = target().join(name);
    assert!(
        path.exists(),
        "{} is missing: run scripts/mongod-up",
        path.display()
    );
    path
}

impl Server {
    /// Starts one with further arguments, and waits until it answers.
    pub fn start(arguments: &[&str]) -> Self {
        let mongod = made_by_script("mongod");
        let folder = tempfile::Builder::new().prefix("mongod-").tempdir();
        let folder = folder.unwrap().keep();
        let port = free_port();
        let mut keeper = Command::new("bash")
            .args(["-c", KEEPER, "keeper"])
            .args([&folder, &mongod])
            .args(["--bind_ip", "127.0.0.1", "--port", &port.to_string()])
            .arg("--dbpath")
            .arg(&folder)
            .args(["--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "128"])
            .args(["--nounixsocket", "--quiet"])
            .args(["--setParameter", "diagnosticDataCollectionEnabled=false"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A Ctrl-C is for the tests; the keeper learns of their end by its standard input.
            .process_group(0)
            .spawn()
            .unwrap();
        let orders = keeper.stdin.take().unwrap();
        let answers = BufReader::new(keeper.stdout.take().unwrap());
        let server = Self {
            port,
            folder,
            keeper: Mutex::new((keeper, orders, answers)),
        };
        server.again();
        server
    }

    /// Starts it where it was, and waits until it answers.
    pub fn again(&self) {
        self.order("start");
        let answers = async {
            loop {
                let client = client(&self.uri()).await;
                let ping = client
                    .database("admin")
                    .run_command(doc! { "hello": 1 })
                    .await;
                if ping.is_ok() {
                    return;
                }
                assert!(self.order("look"), "mongod ended: {}", self.last_words());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        block_on(async { tokio::time::timeout(READY_WITHIN, answers).await }).unwrap();
    }

    fn last_words(&self) -> String {
        let output = std::fs::read_to_string(self.folder.join("output")).unwrap();
        let worst = |line: &&str| line.contains(r#""s":"E""#) || line.contains(r#""s":"F""#);
        let lines: Vec<&str> = output.lines().filter(worst).collect();
        lines.join("\n")
    }

    /// As by a power cut.
    pub fn kill(&self) {
        assert!(!self.order("kill"), "a server that is killed lives on");
    }

    /// It keeps its connections and answers nothing.
    pub fn halt(&self) {
        assert!(
            self.order("halt"),
            "a server that is to stand still is gone"
        );
    }

    /// It goes on.
    pub fn resume(&self) {
        assert!(self.order("resume"), "a server that is to go on is gone");
    }

    /// Where it keeps its data. It is removed when the server has ended for good.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether it lives after the order.
    fn order(&self, order: &str) -> bool {
        let mut keeper = self.keeper.lock().unwrap();
        writeln!(keeper.1, "{order}").unwrap();
        let mut answer = String::new();
        keeper.2.read_line(&mut answer).unwrap();
        answer == "alive\n"
    }

    /// Of this server alone, whatever set it belongs to.
    pub fn uri(&self) -> String {
        let options = "directConnection=true&serverSelectionTimeoutMS=1000";
        format!("mongodb://127.0.0.1:{}/?{options}", self.port)
    }

    /// A database of this server that no other test has.
    pub fn settings(&self) -> MongoSettings {
        MongoSettings {
            host: Some(format!("127.0.0.1:{}", self.port)),
            database: Some(fresh_name()),
            ..MongoSettings::default()
        }
    }

    /// Runs a command in its database `admin`.
    ///
    /// # Errors
    /// What the server says.
    pub async fn admin(&self, command: Document) -> mongodb::error::Result<Document> {
        let client = client(&self.uri()).await;
        client.database("admin").run_command(command).await
    }
}

fn fresh_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Three of them.
pub struct ReplicaSet {
    /// The members.
    pub members: Vec<Server>,
}

impl ReplicaSet {
    /// Starts them with elections that take a second or two, and waits for the first primary.
    pub fn start() -> Self {
        let members: Vec<Server> = std::thread::scope(|scope| {
            let one = || Server::start(&["--replSet", "rs0"]);
            let starting: Vec<_> = (0..3).map(|_| scope.spawn(one)).collect();
            starting.into_iter().map(|it| it.join().unwrap()).collect()
        });
        let set = Self { members };
        block_on(async {
            let hosts = (0..).zip(&set.members);
            let list = hosts.map(|(id, it)| {
                doc! { "_id": id, "host": format!("127.0.0.1:{}", it.port) }
            });
            let config = doc! {
                "_id": "rs0",
                "members": list.collect::<Vec<_>>(),
                "settings": { "electionTimeoutMillis": 1000, "heartbeatIntervalMillis": 200 },
            };
            let initiate = doc! { "replSetInitiate": config };
            set.members[0].admin(initiate).await.unwrap();
        });
        block_on(set.primary());
        set
    }

    /// The member that is primary, once there is one.
    pub async fn primary(&self) -> &Server {
        let found = async {
            loop {
                for member in &self.members {
                    let hello = member.admin(doc! { "hello": 1 });
                    let hello = tokio::time::timeout(Duration::from_secs(1), hello).await;
                    if let Ok(Ok(hello)) = hello
                        && hello.get_bool("isWritablePrimary").unwrap_or(false)
                    {
                        return member;
                    }
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(READY_WITHIN, found).await.unwrap()
    }

    /// Has the primary make room for another one for three seconds: whether it did. It cuts all its
    /// connections, the one that asks for it as well, so that its answer says nothing.
    pub async fn step_down(&self) -> bool {
        let down = doc! { "replSetStepDown": 3, "secondaryCatchUpPeriodSecs": 2, "force": true };
        let primary = self.primary().await;
        drop(primary.admin(down).await);
        for _ in 0..50 {
            let hello = primary.admin(doc! { "hello": 1 }).await;
            if hello.is_ok_and(|hello| matches!(hello.get_bool("isWritablePrimary"), Ok(false))) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    }

    /// A database of this set that no other test has.
    pub fn settings(&self) -> MongoSettings {
        let hosts = self
            .members
            .iter()
            .map(|it| format!("127.0.0.1:{}", it.port));
        let uri = format!(
            "mongodb://{}/{}?replicaSet=rs0",
            hosts.collect::<Vec<_>>().join(","),
            fresh_name(),
        );
        MongoSettings {
            uri: Some(uri),
            ..MongoSettings::default()
        }
    }
}

/// A client of the server that is named.
pub async fn client(uri: &str) -> Client {
    Client::with_options(ClientOptions::parse(uri).await.unwrap()).unwrap()
}

/// From wherever a test is, in a runtime or not.
pub fn block_on<T: Send>(work: impl Future<Output = T> + Send) -> T {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread();
        { runtime }.enable_all().build().unwrap().block_on(work)
    };
    std::thread::scope(|scope| scope.spawn(run).join().unwrap())
}
