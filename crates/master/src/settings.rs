//! What an operator can set: flags, environment, files, defaults.

use std::{path::PathBuf, time::Duration};

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
use cloudai_store::MongoSettings;
use tracing_subscriber::EnvFilter;

use crate::{
    access_settings::{self, AccessError, AccessSettings},
    disk_settings::{self, DiskSettings},
};

/// Settings that point to a MongoDB, and their variables: with any of them set, that is the store
/// meant.
const MONGODB: [(&str, &str); 5] = [
    ("mongodb-uri", "MONGODB_URI"),
    ("mongodb-host", "MONGODB_HOST"),
    ("mongodb-username", "MONGODB_USERNAME"),
    ("mongodb-password", "MONGODB_PASSWORD"),
    ("mongodb-database", "MONGODB_DATABASE"),
];

const MONGODB_HELP: &str = "\
MongoDB: MONGODB_URI, or MONGODB_HOST, MONGODB_USERNAME and MONGODB_PASSWORD, and MONGODB_DATABASE,
in the environment or .env, say where it is [default: localhost:27017, cluster_db]";

/// Where tasks and workers are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    /// One file in the data directory.
    Sqlite,
    /// A database elsewhere, with a journal in the data directory.
    MongoDb {
        /// The variable by which it was chosen; `None` if `store` names it.
        because: Option<&'static str>,
    },
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
    /// Where a MongoDB is.
    pub mongodb: MongoSettings,
    /// Whether the master doesn't go on without a MongoDB that is out of reach.
    pub store_required: bool,
    /// How long a change waits for a MongoDB before it goes into the journal.
    pub journal_after: Duration,
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
    /// What is kept how long, and what stays free on the disks.
    pub disks: DiskSettings,
    /// Who gets in, and how.
    pub access: AccessSettings,
    /// The core's spans of time.
    pub core: cloudai_core::Settings,
}

/// Why the master can't be started so.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A flag, a variable or a file is wrong, or help was asked for.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// See [`AccessError`].
    #[error(transparent)]
    Access(#[from] AccessError),
    /// No time at all.
    #[error("journal-after {0:?}: expected a span longer than nothing, such as 5s")]
    JournalAfter(Duration),
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

fn log_level(text: &str) -> Result<String, &'static str> {
    let filter = EnvFilter::try_new(text).map(|_| text.to_owned());
    filter.map_err(|_| {
        "expected error, warn, info, debug, trace, or a filter such as info,cloudai_master=debug"
    })
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
    let mongodb = MONGODB.map(|(id, variable)| {
        let setting = Setting::without_flag(Arg::new(id)).env(variable);
        // Any of them may hold what was meant for another.
        setting.secret()
    });
    let mut settings = vec![
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
                .value_parser(PossibleValuesParser::new(["sqlite", "mongodb", "memory"])),
        )
        .env("CLOUDAI_STORE"),
        Setting::flag(switch(
            "store-required",
            "Don't start, or go on, without the MongoDB",
        ))
        .env("CLOUDAI_STORE_REQUIRED"),
        Setting::flag(span(
            "journal-after",
            "Keep a change in a journal when MongoDB has not taken it for so long",
        ))
        .env("CLOUDAI_JOURNAL_AFTER"),
        Setting::flag(
            arg("scheduler", "POLICY", "Place tasks by this policy")
                .value_parser(PossibleValuesParser::new(cloudai_core::policy::NAMES)),
        )
        .env("CLOUDAI_SCHEDULER"),
        Setting::flag(switch("insecure", "Nodes on other machines need no token"))
            .env("CLOUDAI_INSECURE"),
        Setting::flag(
            arg(
                "log-level",
                "FILTER",
                "Say this much on stderr: error to trace",
            )
            .value_parser(log_level),
        )
        .env("LOG_LEVEL"),
        Setting::flag(switch("headless", "Read no commands from stdin")).env("CLOUDAI_HEADLESS"),
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
        Setting::flag(
            arg(
                "machine-failure-limit",
                "COUNT",
                "Give a task up when so many workers were lost or failed under it",
            )
            .value_parser(value_parser!(u32).range(1..=1000)),
        )
        .env("CLOUDAI_MACHINE_FAILURE_LIMIT"),
        Setting::flag(
            arg(
                "set-aside-after",
                "COUNT",
                "Set a worker aside when so many different tasks in a row failed there; 0: never",
            )
            .value_parser(value_parser!(u32).range(..=100)),
        )
        .env("CLOUDAI_SET_ASIDE_AFTER"),
        Setting::flag(span(
            "set-aside-for",
            "Set it aside for so long at first, then twice as long each time",
        ))
        .env("CLOUDAI_SET_ASIDE_FOR"),
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
    ];
    settings.extend(mongodb);
    settings.extend(disk_settings::settings());
    settings.extend(access_settings::settings());
    Section {
        name: "master",
        defaults: include_str!("../defaults.toml"),
        settings,
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
            .about("Queues tasks, places them on workers and follows them")
            .after_help(format!(
                "{MONGODB_HELP}\n\n{}",
                crate::store_tools::OVERVIEW
            ));
        Ok(Self::load_with(command, &section(), surroundings)?.0)
    }

    /// The same for a subcommand, which has arguments of its own and shows of the settings only
    /// `shown` in its help.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_for(
        subcommand: Command,
        shown: &[&str],
        surroundings: &Surroundings,
    ) -> Result<(Self, cloudai_config::Settings), SettingsError> {
        let command = subcommand.after_help(MONGODB_HELP);
        Self::load_with(command, &section().showing(shown), surroundings)
    }

    fn load_with(
        command: Command,
        section: &Section,
        surroundings: &Surroundings,
    ) -> Result<(Self, cloudai_config::Settings), SettingsError> {
        let found = cloudai_config::load(command, section, surroundings)?;
        let access = AccessSettings::of(&found, &found.get("http"))?;
        let journal_after: Duration = found.get("journal-after");
        if journal_after.is_zero() {
            return Err(SettingsError::JournalAfter(journal_after));
        }
        let first_aside = found.get("set-aside-for");
        let defaults = cloudai_core::Settings::default();
        let core = cloudai_core::Settings {
            machine_failure_limit: found.get("machine-failure-limit"),
            set_aside_after: found.get("set-aside-after"),
            first_aside,
            longest_aside: defaults.longest_aside.max(first_aside),
            heartbeat_interval: found.get("heartbeat-interval"),
            inactive_after: found.get("inactive-after"),
            lost_after: found.get("lost-after"),
            user_limits: access.user_limits,
            ..defaults
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
        let settings = Self {
            grpc: found.get("grpc"),
            http: found.get("http"),
            advertise: found.get_if_any("advertise"),
            data_dir: found.get("data-dir"),
            store: store(&found),
            mongodb: mongodb(&found),
            store_required: found.is_on("store-required"),
            journal_after,
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
            disks: DiskSettings::of(&found),
            access,
            core,
        };
        Ok((settings, found))
    }
}

fn store(found: &cloudai_config::Settings) -> StoreKind {
    let chosen = !matches!(found.source("store"), Some(Source::BuiltIn { .. }));
    let mut variables = MONGODB.iter();
    let because = variables.find(|(id, _)| found.source(id).is_some());
    match (found.get::<String>("store").as_str(), because) {
        (_, Some((_, variable))) if !chosen => StoreKind::MongoDb {
            because: Some(variable),
        },
        ("mongodb", _) => StoreKind::MongoDb { because: None },
        ("memory", _) => StoreKind::Memory,
        _ => StoreKind::Sqlite,
    }
}

fn mongodb(found: &cloudai_config::Settings) -> MongoSettings {
    let [uri, host, username, password, database] = MONGODB.map(|(id, _)| found.get_if_any(id));
    MongoSettings {
        uri,
        host,
        username,
        password,
        database,
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, ffi::OsString};

    use super::*;
    use crate::disk_settings::Keeping;

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
    fn a_log_level_that_is_none_is_refused_with_the_rest() {
        let error = started(&["-log-level", "a=b=c"], &[]).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("expected error, warn, info"), "{error}");
        started(&["-log-level", "info,cloudai_master=debug"], &[]).unwrap();
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
    fn any_variable_of_mongodb_chooses_it_unless_the_store_is_named() {
        let by = |variable: &'static str, value: &str| started(&[], &[(variable, value)]).unwrap();
        for (_, variable) in MONGODB {
            let because = Some(variable);
            assert_eq!(by(variable, "x").store, StoreKind::MongoDb { because });
            assert_eq!(by(variable, "").store, StoreKind::Sqlite);
        }
        let env = [
            ("MONGODB_HOST", "db:27017"),
            ("MONGODB_USERNAME", "ann"),
            ("MONGODB_PASSWORD", "hunter2"),
            ("MONGODB_DATABASE", "jobs"),
        ];
        let settings = started(&["-store", "sqlite"], &env).unwrap();
        assert_eq!(settings.store, StoreKind::Sqlite);
        let settings = started(&["-store", "mongodb", "-store-required"], &env).unwrap();
        assert_eq!(settings.store, StoreKind::MongoDb { because: None });
        assert!(settings.store_required);
        assert_eq!(settings.mongodb.host.as_deref(), Some("db:27017"));
        assert_eq!(settings.mongodb.database.as_deref(), Some("jobs"));
        let shown = format!("{settings:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(settings.journal_after, Duration::from_secs(5));
        let error = started(&["-journal-after", "0s"], &[]).unwrap_err();
        assert!(error.to_string().contains("longer than nothing"), "{error}");
    }

    #[test]
    fn where_mongodb_is_may_stand_in_the_file_of_variables_and_is_no_flag() {
        let folder = tempfile::tempdir().unwrap();
        let text = "MONGODB_URI=mongodb://ann:hunter2@db/jobs\n";
        std::fs::write(folder.path().join(".env"), text).unwrap();
        let load = |args: &[&str]| {
            Settings::load(&Surroundings {
                args: args.iter().map(OsString::from).collect(),
                env: [].into(),
                directory: folder.path().to_owned(),
            })
        };
        let settings = load(&["master-node"]).unwrap();
        let because = Some("MONGODB_URI");
        assert_eq!(settings.store, StoreKind::MongoDb { because });
        let error = load(&["master-node", "-mongodb-password", "hunter2"]).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("MONGODB_PASSWORD"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
        let help = load(&["master-node", "-help"]).unwrap_err().to_string();
        assert!(help.contains("MONGODB_URI"), "{help}");
        assert!(!help.contains("hunter2"), "{help}");
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
    fn logs_go_after_a_month_files_and_results_never_and_failures_stay_at_least_as_long() {
        let kept = |flags: &[&str]| started(flags, &[]).unwrap().disks;
        let words = |keep: &Keeping| {
            [keep.logs, keep.files, keep.results]
                .map(|keep| keep.to_string())
                .join(", ")
        };
        let disks = kept(&[]);
        assert_eq!(words(&disks.keep), "30 d, for ever, for ever");
        assert_eq!(words(&disks.keep_failed), "90 d, for ever, for ever");
        assert_eq!(disks.keep_audit.to_string(), "365 d");
        assert_eq!(disks.keep_bytes, None);
        assert_eq!(disks.min_free.of(10 << 30), (10 << 30) / 20);
        assert_eq!(disks.min_free.of(1 << 50), 2 << 30);

        let disks = kept(&[
            "-keep-logs",
            "180d",
            "-keep-files=7d",
            "-keep-failed-files=1d",
            "-keep-bytes=100GB",
        ]);
        assert_eq!(words(&disks.keep), "180 d, 7 d, for ever");
        assert_eq!(words(&disks.keep_failed), "180 d, 7 d, for ever");
        assert_eq!(disks.keep_bytes, Some(100 << 30));

        for (flag, value, expected) in [
            ("-keep-logs", "0", "such as 30d or 12h, or forever"),
            ("-keep-bytes", "lots", "such as 100GB"),
            ("-min-free", "100%", "such as 5%, 2GB, or both"),
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
    fn what_is_given_up_and_set_aside_is_a_setting() {
        let flags = [
            "-machine-failure-limit=2",
            "-set-aside-after",
            "3",
            "-set-aside-for",
            "2h",
        ];
        let core = started(&flags, &[]).unwrap().core;
        assert_eq!((core.machine_failure_limit, core.set_aside_after), (2, 3));
        assert_eq!(core.first_aside, Duration::from_secs(7200));
        assert_eq!(core.longest_aside, core.first_aside, "not shorter");
        for (flag, value) in [
            ("-machine-failure-limit", "0"),
            ("-machine-failure-limit", "1001"),
            ("-set-aside-after", "-1"),
            ("-set-aside-after", "101"),
            ("-set-aside-for", "soon"),
        ] {
            assert!(started(&[flag, value], &[]).is_err(), "{flag} {value}");
        }
    }

    #[test]
    fn spans_that_do_not_rise_are_refused() {
        let error = started(&["-inactive-after", "2s"], &[])
            .unwrap_err()
            .to_string();
        assert!(error.contains("expected each to be longer"), "{error}");
    }
}
