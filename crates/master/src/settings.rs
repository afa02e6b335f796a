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
mod tests;
