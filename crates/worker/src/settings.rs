//! What the worker is told by flags, environment and files.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use clap::{Arg, ArgAction, Command, builder::ValueParser, value_parser};
use cloudai_config::{ListenAddr, LoadError, Section, Setting, Surroundings};
use cloudai_model::{
    Capacity, WorkerId,
    resources::{CapacityError, GB, bytes_to_gb, gb_to_bytes, milli_cores},
};
use cloudai_proto::WorkerHello;
use tracing_subscriber::EnvFilter;

use crate::master_link::{Bearer, endpoint};

/// As many as a worker may have.
const MOST_DEVICES: f64 = 1000.0;

/// The settings of a worker, checked.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) id: WorkerId,
    /// Shown; the address that the admin registered is the one dialled.
    pub(crate) ip: String,
    /// Addresses of masters, tried in turn.
    pub(crate) masters: Vec<String>,
    pub(crate) listen: ListenAddr,
    pub(crate) data_dir: PathBuf,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) offer: Offer,
    pub(crate) token: Option<String>,
    /// Calls from other machines need no token.
    pub(crate) insecure: bool,
    /// Between SIGTERM and SIGKILL where the master doesn't say.
    pub(crate) stop_grace: Duration,
    pub(crate) pull_timeout: Duration,
    pub(crate) pids_limit: u32,
    /// Whether containers are stopped with the worker.
    pub(crate) stop_tasks: bool,
    pub(crate) log_level: String,
    pub(crate) docker_host: Option<String>,
    /// What the `/output` of containers is.
    pub(crate) output: OutputKind,
    /// How long a container that no attempt has is left alone.
    pub(crate) orphan_grace: Duration,
    /// Above this much of the engine's disk in use, in percent, unused images that were pulled go.
    pub(crate) image_disk_percent: f64,
    /// Above so many bytes of them they go, too.
    pub(crate) image_limit_bytes: Option<u64>,
    /// How long an image must have been unused to go.
    pub(crate) image_min_age: Duration,
}

/// What the `/output` of a container is on the engine's machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputKind {
    /// A folder where this worker is root and has the engine's files before it, a volume elsewhere.
    Auto,
    /// A folder of the spool.
    Folder,
    /// A volume, fetched when the container has ended.
    Volume,
}

/// What is offered by order; the rest is detected.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Offer {
    pub(crate) cpu: Option<f64>,
    pub(crate) memory_gb: Option<f64>,
    pub(crate) storage_gb: Option<f64>,
    pub(crate) gpus: Option<f64>,
}

impl Offer {
    /// What is offered, with what is not said taken from what the machine has.
    pub(crate) fn complete(self, detected: &Capacity) -> Result<Capacity, CapacityError> {
        Capacity::from_units(
            self.cpu.unwrap_or(detected.cpu_milli as f64 / 1000.0),
            self.memory_gb
                .unwrap_or_else(|| bytes_to_gb(detected.memory_bytes)),
            self.storage_gb
                .unwrap_or_else(|| bytes_to_gb(detected.storage_bytes)),
            self.gpus.unwrap_or_else(|| f64::from(detected.gpus)),
        )
    }
}

impl Settings {
    /// Reads them from what surrounds a process.
    ///
    /// # Errors
    /// The first thing that is wrong, or what help or version show.
    pub(crate) fn load(surroundings: &Surroundings) -> Result<Self, LoadError> {
        let command = Command::new("worker-node")
            .version(env!("CARGO_PKG_VERSION"))
            .about("Runs CloudAI tasks as containers on this machine");
        let found = cloudai_config::load(command, &section(), surroundings)?;
        let labels = found.get_list::<(String, String)>("labels");
        let labels: BTreeMap<_, _> = labels.into_iter().collect();
        let label_bytes: usize = labels.iter().map(|(k, v)| k.len() + v.len()).sum();
        if label_bytes > WorkerHello::MOST_LABEL_BYTES
            && let Some(from) = found.source("labels")
        {
            let most = WorkerHello::MOST_LABEL_BYTES;
            let problem = format!("expected at most {most} bytes of all labels together");
            return Err(LoadError::InvalidValue {
                from,
                value: None,
                problem,
            });
        }
        Ok(Self {
            id: found.get("id"),
            ip: found.get("ip"),
            masters: found.get_list("master"),
            listen: found.get("port"),
            data_dir: surroundings
                .directory
                .join(found.get::<PathBuf>("data-dir")),
            labels,
            offer: Offer {
                cpu: found.get_if_any("cpu"),
                memory_gb: found.get_if_any("mem"),
                storage_gb: found.get_if_any("storage"),
                gpus: found.get_if_any("gpu"),
            },
            token: found.get_if_any("token"),
            insecure: found.is_on("insecure"),
            stop_grace: found.get("stop-grace"),
            pull_timeout: found.get("pull-timeout"),
            pids_limit: found.get("pids-limit"),
            stop_tasks: found.is_on("stop-tasks"),
            log_level: found.get("log-level"),
            docker_host: found.get_if_any("docker-host"),
            output: found.get("output"),
            orphan_grace: found.get("orphan-grace"),
            image_disk_percent: found.get("image-disk-percent"),
            image_limit_bytes: found
                .get_if_any::<f64>("image-gb")
                .map(|gb| (gb * GB as f64) as u64),
            image_min_age: found.get("image-min-age"),
        })
    }
}

fn section() -> Section {
    type Amount = fn(&str) -> Result<f64, Expected>;
    let amount = |name: &'static str, help: &'static str, parser: Amount| {
        Setting::flag(
            Arg::new(name)
                .help(help)
                .value_name("N")
                .value_parser(ValueParser::new(parser)),
        )
    };
    let duration = || ValueParser::new(cloudai_config::duration);
    Section {
        name: "worker",
        defaults: include_str!("defaults.toml"),
        settings: vec![
            Setting::flag(
                Arg::new("id")
                    .help("Id under which the worker is registered")
                    .value_parser(|text: &str| text.parse::<WorkerId>()),
            )
            .env("WORKER_ID"),
            Setting::flag(Arg::new("ip").help("Address that is shown")).env("WORKER_IP"),
            Setting::flag(
                Arg::new("master")
                    .help("Address of the master, host:port; several with commas")
                    .value_name("ADDRESS")
                    .value_delimiter(',')
                    .value_parser(ValueParser::new(master_address)),
            )
            .env("MASTER_ADDR"),
            Setting::flag(
                Arg::new("port")
                    .help("Where to listen: :port, or address:port")
                    .value_name("ADDRESS")
                    .value_parser(|text: &str| text.parse::<ListenAddr>()),
            )
            .env("WORKER_PORT"),
            Setting::flag(
                Arg::new("data-dir")
                    .help("Folder for what must survive a restart")
                    .value_name("FOLDER")
                    .value_parser(value_parser!(PathBuf)),
            )
            .env("CLOUDAI_WORKER_DATA_DIR"),
            Setting::flag(
                Arg::new("labels")
                    .help("Labels, such as zone=a,gpu=h200")
                    .value_name("NAME=VALUE")
                    .value_delimiter(',')
                    .value_parser(ValueParser::new(label)),
            )
            .env("WORKER_LABELS"),
            amount("cpu", "Cores to offer [default: all]", cores),
            amount("mem", "GB of memory to offer [default: all]", gigabytes),
            amount(
                "storage",
                "GB of disk to offer [default: what is free]",
                gigabytes,
            ),
            amount("gpu", "GPUs to offer [default: 0]", devices),
            Setting::flag(
                Arg::new("token")
                    .help("Token that the master's `register` printed")
                    .value_parser(ValueParser::new(token)),
            )
            .env("WORKER_TOKEN")
            .secret(),
            Setting::flag(
                Arg::new("insecure")
                    .help("Take calls from other machines without a token")
                    .action(ArgAction::SetTrue),
            )
            .env("CLOUDAI_INSECURE"),
            Setting::flag(
                Arg::new("stop-grace")
                    .help("Time between SIGTERM and SIGKILL where the master doesn't say")
                    .value_name("SPAN")
                    .value_parser(duration()),
            )
            .env("CLOUDAI_STOP_GRACE"),
            Setting::flag(
                Arg::new("pull-timeout")
                    .help("How long the pull of an image may take")
                    .value_name("SPAN")
                    .value_parser(duration()),
            )
            .env("CLOUDAI_PULL_TIMEOUT"),
            Setting::flag(
                Arg::new("pids-limit")
                    .help("The most processes and threads of a container")
                    .value_name("N")
                    .value_parser(value_parser!(u32).range(1..)),
            )
            .env("CLOUDAI_PIDS_LIMIT"),
            Setting::flag(
                Arg::new("stop-tasks")
                    .help("Stop the containers when the worker is stopped")
                    .action(ArgAction::SetTrue),
            )
            .env("CLOUDAI_STOP_TASKS"),
            Setting::flag(
                Arg::new("log-level")
                    .help("What to log to stderr: error, warn, info, debug, trace, or a filter")
                    .value_parser(ValueParser::new(log_level)),
            )
            .env("LOG_LEVEL"),
            Setting::flag(
                Arg::new("docker-host")
                    .help("The Docker Engine [default: unix:///var/run/docker.sock]")
                    .value_name("ADDRESS"),
            )
            .env("DOCKER_HOST"),
            Setting::flag(
                Arg::new("output")
                    .help(
                        "What /output is: folder, volume (fetched with the engine's API), or auto",
                    )
                    .value_name("KIND")
                    .value_parser(ValueParser::new(output_kind)),
            )
            .env("CLOUDAI_OUTPUT_KIND"),
            Setting::flag(
                Arg::new("orphan-grace")
                    .help(
                        "Remove a container of this worker that belongs to no task after this long",
                    )
                    .value_name("SPAN")
                    .value_parser(duration()),
            )
            .env("CLOUDAI_ORPHAN_GRACE"),
            Setting::flag(
                Arg::new("image-disk-percent")
                    .help("Remove unused images that were pulled while the engine's disk is fuller")
                    .value_name("N")
                    .value_parser(ValueParser::new(percent)),
            )
            .env("CLOUDAI_IMAGE_DISK_PERCENT"),
            amount(
                "image-gb",
                "Remove unused images that were pulled while they take more GB [default: any]",
                gigabytes,
            )
            .env("CLOUDAI_IMAGE_GB"),
            Setting::flag(
                Arg::new("image-min-age")
                    .help("Remove no image that was in use within this time")
                    .value_name("SPAN")
                    .value_parser(duration()),
            )
            .env("CLOUDAI_IMAGE_MIN_AGE"),
        ],
    }
}

#[derive(Debug, thiserror::Error)]
#[error("expected {0}")]
struct Expected(&'static str);

fn cores(text: &str) -> Result<f64, Expected> {
    let cores = text.trim().parse().ok();
    cores
        .filter(|cores| milli_cores(*cores).is_ok())
        .ok_or(Expected("a number of cores such as 0.5 or 16"))
}

fn gigabytes(text: &str) -> Result<f64, Expected> {
    let gb = text.trim().parse().ok();
    gb.filter(|gb| gb_to_bytes(*gb).is_ok())
        .ok_or(Expected("a number of GB such as 0.5 or 16"))
}

fn devices(text: &str) -> Result<f64, Expected> {
    let devices = text.trim().parse().ok();
    devices
        .filter(|devices| (0.0..=MOST_DEVICES).contains(devices))
        .ok_or(Expected("a number of devices such as 2, at most 1000"))
}

fn log_level(text: &str) -> Result<String, Expected> {
    let filter = EnvFilter::try_new(text).map(|_| text.to_owned());
    filter.map_err(|_| {
        Expected("error, warn, info, debug, trace, or a filter such as info,cloudai_worker=debug")
    })
}

fn percent(text: &str) -> Result<f64, Expected> {
    let percent = text.trim().parse::<f64>().ok();
    percent
        .filter(|percent| (0.0..=100.0).contains(percent))
        .ok_or(Expected("a number from 0 to 100, such as 85"))
}

/// An empty one, as a script gives it whose variable is not set, would let in whoever brings none;
/// one that no header of a call can hold would be of no use.
fn token(text: &str) -> Result<String, Expected> {
    let token = text.trim();
    if token.is_empty() || Bearer::new(Some(token)).is_err() {
        return Err(Expected(
            "what the master's `register` printed; without a token leave -token out",
        ));
    }
    Ok(token.to_owned())
}

fn output_kind(text: &str) -> Result<OutputKind, Expected> {
    match text.trim() {
        "auto" => Ok(OutputKind::Auto),
        "folder" => Ok(OutputKind::Folder),
        "volume" => Ok(OutputKind::Volume),
        _ => Err(Expected("auto, folder or volume")),
    }
}

fn label(text: &str) -> Result<(String, String), Expected> {
    let (name, value) = text.split_once('=').unwrap_or_default();
    if name.trim().is_empty() {
        return Err(Expected(
            "labels of the form name=value, with commas between",
        ));
    }
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn master_address(text: &str) -> Result<String, Expected> {
    let expected = Expected("host:port, such as 192.168.1.10:50051");
    let (host, port) = text.trim().rsplit_once(':').ok_or(expected)?;
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let port = port.parse::<u16>().ok().filter(|port| *port != 0);
    // What is dialled is all of it: no user before the host, no path or query behind.
    let is_dialled = endpoint(text.trim()).is_ok_and(|at| {
        let (dialled, at_port) = (at.uri().host(), at.uri().port_u16());
        (dialled, at_port) == (Some(host), port)
    });
    if port.is_some() && (bracketed || !host.contains(':')) && is_dialled {
        Ok(text.trim().to_owned())
    } else {
        Err(Expected("host:port, such as 192.168.1.10:50051"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(args: &[&str], env: &[(&str, &str)]) -> Result<Settings, LoadError> {
        let folder = tempfile::tempdir().unwrap();
        let program = std::iter::once(&"worker-node").chain(args);
        Settings::load(&Surroundings {
            args: program.map(Into::into).collect(),
            env: env.iter().map(|(k, v)| (k.into(), v.into())).collect(),
            directory: folder.path().to_owned(),
        })
    }

    #[test]
    fn the_defaults_are_those_of_the_contract() {
        let settings = load(&[], &[]).unwrap();
        assert_eq!(settings.id.as_str(), "worker-1");
        assert_eq!(settings.ip, "localhost");
        assert_eq!(settings.masters, ["localhost:50051"]);
        assert_eq!(settings.listen, ListenAddr::Everywhere(50052));
        assert!(settings.data_dir.ends_with("cloudai-worker-data"));
        assert_eq!(settings.stop_grace, Duration::from_secs(10));
        assert_eq!(settings.offer, Offer::default());
        assert_eq!(settings.output, OutputKind::Auto);
        assert_eq!(settings.orphan_grace, Duration::from_secs(120));
        assert_eq!(settings.image_disk_percent, 85.0);
        assert_eq!(settings.image_limit_bytes, None);
        assert_eq!(settings.image_min_age, Duration::from_secs(120));
        assert!(!settings.insecure && !settings.stop_tasks && settings.token.is_none());
    }

    #[test]
    fn every_setting_of_the_contract_can_be_given() {
        let settings = load(
            &[
                "-id",
                "w.2",
                "-master",
                "a:1,b:2",
                "-labels=zone=a,gpu=h200",
                "-cpu",
                "1.5",
            ],
            &[
                ("WORKER_PORT", "127.0.0.1:7000"),
                ("WORKER_TOKEN", "t"),
                ("CLOUDAI_INSECURE", "1"),
            ],
        )
        .unwrap();
        assert_eq!(settings.masters, ["a:1", "b:2"]);
        assert_eq!(settings.labels["gpu"], "h200");
        assert_eq!(settings.listen.to_string(), "127.0.0.1:7000");
        assert_eq!(settings.token.as_deref(), Some("t"));
        assert!(settings.insecure);
        let detected = Capacity::from_units(4.0, 8.0, 9.0, 0.0).unwrap();
        let offered = settings.offer.complete(&detected).unwrap();
        assert_eq!(offered.cpu_milli, 1500);
        assert_eq!(offered.memory_bytes, detected.memory_bytes);
    }

    #[test]
    fn labels_that_no_master_takes_are_refused_at_once() {
        let many = format!("a={},b=c", "x".repeat(WorkerHello::MOST_LABEL_BYTES));
        let error = load(&["-labels", &many], &[]).unwrap_err().to_string();
        assert!(error.contains("expected at most 16384 bytes"), "{error}");
        assert!(error.len() < 200, "they are not shown: {error}");
    }

    #[test]
    fn a_value_that_cannot_be_meant_is_answered_with_the_form() {
        for (args, expected) in [
            (["-id", "../x"], "expected 1 to 64 letters"),
            (["-master", "nowhere"], "expected host:port"),
            (["-labels", "zone"], "expected labels of the form"),
            (["-master", "user@host:1"], "expected host:port"),
            (["-master", "host?x#y:1"], "expected host:port"),
            (["-cpu", "-1"], "expected a number"),
            (["-cpu", "0.0001"], "expected a number"),
            (["-mem", "1e-12"], "expected a number"),
            (["-gpu", "1001"], "expected a number of devices"),
            (["-log-level", "a=b=c"], "expected error, warn, info"),
            (["-token", "two\nlines"], "`register` printed"),
            (
                ["-image-disk-percent", "101"],
                "expected a number from 0 to 100",
            ),
            (["-output", "bind"], "expected auto, folder or volume"),
            (
                ["-token", ""],
                "expected what the master's `register` printed",
            ),
            (
                ["-token", " "],
                "expected what the master's `register` printed",
            ),
        ] {
            let error = load(&args, &[]).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
