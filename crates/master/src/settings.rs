//! What an operator can set: flags, environment, files, defaults.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{
    Arg, ArgAction, Command,
    builder::{IntoResettable, PossibleValuesParser, ValueParser},
    value_parser,
};
use cloudai_config::{ListenAddr, LoadError, Section, Setting, Source, Surroundings, duration};
use cloudai_model::{
    Allowed,
    container::{allowed::AllowedVolume, capability::Capability, network::NetworkName},
};

/// Variables that point to a MongoDB: with any of them set, that is the store meant.
const MONGODB_VARIABLES: &[&str] = &[
    "MONGODB_URI",
    "MONGODB_HOST",
    "MONGODB_USERNAME",
    "MONGODB_PASSWORD",
    "MONGODB_DATABASE",
];

/// Where tasks and workers are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    /// One file in the data directory.
    Sqlite,
    /// Nowhere.
    Memory,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where gRPC is served.
    pub grpc: ListenAddr,
    /// Where HTTP is served.
    pub http: ListenAddr,
    /// The address that workers are told.
    pub advertise: Option<String>,
    /// Where store, logs and files lie.
    pub data_dir: PathBuf,
    /// Which store.
    pub store: StoreKind,
    /// Name of the placement policy.
    pub scheduler: String,
    /// Whether nodes on other machines need no token.
    pub insecure: bool,
    /// A `tracing` filter.
    pub log_level: String,
    /// Whether commands are not read.
    pub headless: bool,
    /// Between SIGTERM and SIGKILL.
    pub stop_grace: Duration,
    /// What tasks may use of the engines by name.
    pub allowed: Allowed,
    /// The core's spans of time.
    pub core: cloudai_core::Settings,
}

/// Why the master can't be started so.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A flag, a variable or a file is wrong, or help was asked for.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A MongoDB is meant.
    #[error(
        "{0} is set, but this version keeps its data in sqlite or memory: expected -store sqlite \
         or -store memory to say which, or {0} unset"
    )]
    MongoDb(&'static str),
    /// The spans don't rise.
    #[error(
        "heartbeat-interval {heartbeat:?}, inactive-after {inactive:?} and lost-after {lost:?}: \
         expected each to be longer than the one before, such as 5s, 15s and 30s"
    )]
    Spans {
        /// heartbeat-interval
        heartbeat: Duration,
        /// inactive-after
        inactive: Duration,
        /// lost-after
        lost: Duration,
    },
}

/// A list of names, in `cloudai.toml` an array or a text with commas.
fn names(id: &'static str, parser: impl IntoResettable<ValueParser>, help: &'static str) -> Arg {
    Arg::new(id)
        .value_name("NAMES")
        .value_delimiter(',')
        .value_parser(parser)
        .help(help)
}

fn section() -> Section {
    let arg = |id: &'static str, value: &'static str, help: &'static str| {
        Arg::new(id).value_name(value).help(help)
    };
    let span = |id: &'static str, help: &'static str| {
        arg(id, "SPAN", help).value_parser(|text: &str| duration(text))
    };
    let switch =
        |id: &'static str, help: &'static str| Arg::new(id).action(ArgAction::SetTrue).help(help);
    Section {
        name: "master",
        defaults: include_str!("../defaults.toml"),
        settings: vec![
            Setting::flag(
                arg("grpc", "ADDRESS", "Serve gRPC here").value_parser(value_parser!(ListenAddr)),
            )
            .env("GRPC_PORT"),
            Setting::flag(
                arg("http", "ADDRESS", "Serve HTTP here").value_parser(value_parser!(ListenAddr)),
            )
            .env("HTTP_PORT"),
            Setting::flag(arg(
                "advertise",
                "HOST:PORT",
                "Tell workers this address of the master",
            ))
            .env("CLOUDAI_ADVERTISE"),
            Setting::flag(
                arg("data-dir", "DIR", "Keep store, logs and files here")
                    .value_parser(value_parser!(PathBuf)),
            )
            .env("CLOUDAI_DATA_DIR"),
            Setting::flag(
                arg("store", "STORE", "Keep tasks and workers in this store")
                    .value_parser(PossibleValuesParser::new(["sqlite", "memory"])),
            )
            .env("CLOUDAI_STORE"),
            Setting::flag(
                arg("scheduler", "POLICY", "Place tasks by this policy")
                    .value_parser(PossibleValuesParser::new(cloudai_core::policy::NAMES)),
            )
            .env("CLOUDAI_SCHEDULER"),
            Setting::flag(switch("insecure", "Nodes on other machines need no token"))
                .env("CLOUDAI_INSECURE"),
            Setting::flag(arg(
                "log-level",
                "FILTER",
                "Say this much on stderr: error to trace",
            ))
            .env("LOG_LEVEL"),
            Setting::flag(switch("headless", "Read no commands from stdin"))
                .env("CLOUDAI_HEADLESS"),
            Setting::flag(span(
                "heartbeat-interval",
                "Ask workers for a sign of life so often",
            ))
            .env("CLOUDAI_HEARTBEAT_INTERVAL"),
            Setting::flag(span(
                "inactive-after",
                "Count a worker inactive after this silence",
            ))
            .env("CLOUDAI_INACTIVE_AFTER"),
            Setting::flag(span(
                "lost-after",
                "Count its tasks lost after this silence",
            ))
            .env("CLOUDAI_LOST_AFTER"),
            Setting::flag(span(
                "stop-grace",
                "Between SIGTERM and SIGKILL of a container",
            ))
            .env("CLOUDAI_STOP_GRACE"),
            Setting::flag(names(
                "allow-networks",
                value_parser!(NetworkName),
                "Networks that tasks may be on besides none and bridge, with commas between",
            ))
            .env("CLOUDAI_ALLOW_NETWORKS"),
            Setting::flag(names(
                "allow-volumes",
                value_parser!(AllowedVolume),
                "Volumes that tasks may mount; name:ro for reading only",
            ))
            .env("CLOUDAI_ALLOW_VOLUMES"),
            Setting::flag(names(
                "allow-capabilities",
                value_parser!(Capability),
                "Capabilities that tasks may add to the six that they keep, such as NET_RAW",
            ))
            .env("CLOUDAI_ALLOW_CAPABILITIES"),
        ],
    }
}

impl Settings {
    /// The settings of a master started so.
    ///
    /// # Errors
    /// What is wrong and what was expected; help and version come this way, too.
    pub fn load(surroundings: &Surroundings) -> Result<Self, SettingsError> {
        let command = Command::new("master-node")
            .version(crate::VERSION)
            .about("Queues tasks, places them on workers and follows them");
        let found = cloudai_config::load(command, &section(), surroundings)?;
        let store_chosen = !matches!(found.source("store"), Some(Source::BuiltIn { .. }));
        let mongodb = MONGODB_VARIABLES
            .iter()
            .find(|name| surroundings.env.contains_key(&OsString::from(name)));
        if let (Some(name), false) = (mongodb, store_chosen) {
            return Err(SettingsError::MongoDb(name));
        }
        let core = cloudai_core::Settings {
            heartbeat_interval: found.get("heartbeat-interval"),
            inactive_after: found.get("inactive-after"),
            lost_after: found.get("lost-after"),
            ..cloudai_core::Settings::default()
        };
        let (heartbeat, inactive, lost) = (
            core.heartbeat_interval,
            core.inactive_after,
            core.lost_after,
        );
        if heartbeat.is_zero() || heartbeat >= inactive || inactive >= lost {
            return Err(SettingsError::Spans {
                heartbeat,
                inactive,
                lost,
            });
        }
        Ok(Self {
            grpc: found.get("grpc"),
            http: found.get("http"),
            advertise: found.get_if_any("advertise"),
            data_dir: found.get("data-dir"),
            store: match found.get::<String>("store").as_str() {
                "memory" => StoreKind::Memory,
                _ => StoreKind::Sqlite,
            },
            scheduler: found.get("scheduler"),
            insecure: found.is_on("insecure"),
            log_level: found.get("log-level"),
            headless: found.is_on("headless"),
            stop_grace: found.get("stop-grace"),
            allowed: Allowed {
                networks: found.get_list("allow-networks").into_iter().collect(),
                volumes: found.get_list("allow-volumes").into_iter().collect(),
                capabilities: found.get_list("allow-capabilities").into_iter().collect(),
            },
            core,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn started(args: &[&str], env: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let folder = tempfile::tempdir().unwrap();
        let args = std::iter::once("master-node").chain(args.iter().copied());
        let env: BTreeMap<_, _> = env
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        let args = args.map(OsString::from).collect();
        Settings::load(&Surroundings {
            args,
            env,
            directory: folder.path().to_owned(),
        })
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let settings = started(&[], &[]).unwrap();
        assert_eq!(settings.grpc.to_string(), ":50051");
        assert_eq!(settings.http.to_string(), ":8080");
        assert_eq!(settings.data_dir, PathBuf::from("./cloudai-data"));
        assert_eq!(settings.store, StoreKind::Sqlite);
        assert_eq!(settings.scheduler, "round-robin");
        assert_eq!(settings.core, cloudai_core::Settings::default());
        assert!(!settings.insecure && !settings.headless && settings.advertise.is_none());
    }

    #[test]
    fn one_dash_or_two_and_the_flag_before_the_environment() {
        let env = [("GRPC_PORT", ":7000"), ("CLOUDAI_STORE", "memory")];
        let settings = started(&["-grpc", ":7001", "--http=127.0.0.1:0", "-insecure"], &env);
        let settings = settings.unwrap();
        assert_eq!(settings.grpc.to_string(), ":7001");
        assert_eq!(settings.store, StoreKind::Memory);
        assert!(settings.insecure);
    }

    #[test]
    fn a_mongodb_that_is_meant_is_not_passed_over() {
        let env = [("MONGODB_URI", "mongodb://localhost")];
        let error = started(&[], &env).unwrap_err().to_string();
        assert!(error.contains("MONGODB_URI is set"), "{error}");
        assert!(started(&["-store", "sqlite"], &env).is_ok());
    }

    #[test]
    fn what_tasks_may_use_is_named_and_nothing_is_by_default() {
        assert_eq!(started(&[], &[]).unwrap().allowed, Allowed::default());
        let flags = [
            "-allow-networks",
            "lab,training",
            "-allow-volumes=datasets:ro",
        ];
        let env = [("CLOUDAI_ALLOW_CAPABILITIES", "net_raw,CAP_SYS_PTRACE")];
        let allowed = started(&flags, &env).unwrap().allowed;
        assert_eq!(allowed.networks.len(), 2);
        assert!(allowed.volume(&"datasets:/d:ro".parse().unwrap()).is_ok());
        assert!(allowed.volume(&"datasets:/d".parse().unwrap()).is_err());
        assert!(allowed.capability("SYS_PTRACE".parse().unwrap()).is_ok());
        for (flag, value, expected) in [
            (
                "-allow-networks",
                "host",
                "the host's own is refused to every task",
            ),
            ("-allow-networks", "bridge", "need not be allowed"),
            (
                "-allow-volumes",
                "/etc",
                "folders of a worker's machine are not mounted",
            ),
            ("-allow-capabilities", "ALL", "each capability by its name"),
        ] {
            let error = started(&[flag, value], &[]).unwrap_err().to_string();
            let error = error.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn the_lists_stand_in_the_file_as_lists() {
        let folder = tempfile::tempdir().unwrap();
        let text = "[master]\nallow-networks = ['lab']\nallow-volumes = ['a1:ro', 'b1']\n";
        std::fs::write(folder.path().join("cloudai.toml"), text).unwrap();
        let settings = Settings::load(&Surroundings {
            args: vec!["master-node".into()],
            env: [].into(),
            directory: folder.path().to_owned(),
        });
        let allowed = settings.unwrap().allowed;
        assert_eq!((allowed.networks.len(), allowed.volumes.len()), (1, 2));
    }

    #[test]
    fn spans_that_do_not_rise_are_refused() {
        let error = started(&["-inactive-after", "2s"], &[])
            .unwrap_err()
            .to_string();
        assert!(error.contains("expected each to be longer"), "{error}");
    }
}
