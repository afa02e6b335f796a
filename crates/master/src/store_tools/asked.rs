//! What a command line asks for: which subcommand, with which arguments.

use std::{ffi::OsString, path::PathBuf};

use clap::{Arg, ArgAction, Command, builder::PossibleValuesParser, value_parser};
use cloudai_config::Surroundings;

use super::SHOWN;
use crate::settings::{Settings, SettingsError};

/// What `master-node --help` and `master-node help` say of them.
pub const OVERVIEW: &str = "\
Looking after the store (each with --help; the settings are those of the master):
  master-node store check                              whether it is sound, also while it is in use
  master-node store copy --from sqlite --to mongodb    all of it into an empty one, or back
  master-node backup --to FILE                         store, secrets, logs and files, also while in use
  master-node restore --from FILE                      all of that into an empty data directory";

/// One of the subcommands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// `help`, or `store` alone.
    Overview,
    /// `store check`.
    Check,
    /// `store copy`.
    Copy,
    /// `backup`.
    Backup,
    /// `restore`.
    Restore,
}

/// Each with the words that ask for it; the longer first.
const TOOLS: [(&[&str], Tool); 6] = [
    (&["store", "check"], Tool::Check),
    (&["store", "copy"], Tool::Copy),
    (&["store"], Tool::Overview),
    (&["backup"], Tool::Backup),
    (&["restore"], Tool::Restore),
    (&["help"], Tool::Overview),
];

impl Tool {
    /// The subcommand that a command line begins with; `None`: a master is to be started.
    #[must_use]
    pub fn asked_for(args: &[OsString]) -> Option<Self> {
        Some(found(args)?.1)
    }
}

fn found(args: &[OsString]) -> Option<(&'static [&'static str], Tool)> {
    let given = args.get(1..)?;
    TOOLS.into_iter().find(|(words, _)| {
        given.len() >= words.len() && given.iter().zip(*words).all(|(a, b)| a == b)
    })
}

/// A kind of store that keeps what it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Sqlite,
    Mongodb,
}

/// What is to be done.
pub(super) enum Asked {
    Overview,
    Check {
        settings: Box<Settings>,
    },
    Copy {
        settings: Box<Settings>,
        from: Kind,
        to: Kind,
        to_data_dir: Option<PathBuf>,
    },
    Backup {
        settings: Box<Settings>,
        to: PathBuf,
        logs_and_files: bool,
    },
    Restore {
        settings: Box<Settings>,
        from: PathBuf,
    },
}

/// Why it can't be done so.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(
        "master-node store {0:?}: expected `store check` or `store copy`; master-node help tells more"
    )]
    UnknownTool(String),
    #[error(
        "--from sqlite --to sqlite: expected --to-data-dir, the data directory of the new store, to be \
         another than -data-dir"
    )]
    SamePlace,
    #[error(
        "--from mongodb --to mongodb: expected one of them to be sqlite, since the settings name one \
         MongoDB alone; copy to sqlite first and from there to the other"
    )]
    TwoMongodbs,
}

impl Asked {
    pub(super) fn read(tool: Tool, surroundings: &Surroundings) -> Result<Self, AskError> {
        let (words, _) = found(&surroundings.args).unwrap_or((&[], tool));
        let load = |command: Command| -> Result<_, AskError> {
            let mut surroundings = surroundings.clone();
            let name = format!("master-node {}", words.join(" "));
            surroundings
                .args
                .splice(..=words.len(), [OsString::from(&name)]);
            let command = command.version(crate::VERSION).bin_name(name);
            let (settings, found) = Settings::load_for(command, SHOWN, &surroundings)?;
            Ok((Box::new(settings), found))
        };
        let file = |id: &'static str, help: &'static str| {
            Arg::new(id)
                .long(id)
                .value_name("FILE")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help(help)
        };
        let kind = |id: &'static str, help: &'static str| {
            Arg::new(id)
                .long(id)
                .value_name("STORE")
                .required(true)
                .value_parser(PossibleValuesParser::new(["sqlite", "mongodb"]))
                .help(help)
        };
        match tool {
            Tool::Overview => match surroundings.args.get(2) {
                Some(word) if words == ["store"] && !is_help(word) => {
                    Err(AskError::UnknownTool(word.to_string_lossy().into_owned()))
                }
                _ => Ok(Self::Overview),
            },
            Tool::Check => {
                let command = Command::new("check").about(
                    "Reads all of a store and says what is wrong with it; changes nothing. A master \
                     may be at work on it. Exit status 1 if anything is wrong",
                );
                let (settings, _) = load(command)?;
                Ok(Self::Check { settings })
            }
            Tool::Copy => {
                let command = Command::new("copy")
                    .about(
                        "Copies all of a store that no master is at work on into an empty one, and \
                         reads it back",
                    )
                    .arg(kind("from", "The kind of the store to copy"))
                    .arg(kind("to", "The kind of the new one"))
                    .arg(
                        Arg::new("to-data-dir")
                            .long("to-data-dir")
                            .value_name("DIR")
                            .value_parser(value_parser!(PathBuf))
                            .help("Make a new SQLite store here [default: as -data-dir]"),
                    );
                let (settings, found) = load(command)?;
                let kind = |id| match found.get::<String>(id).as_str() {
                    "mongodb" => Kind::Mongodb,
                    _ => Kind::Sqlite,
                };
                let to_data_dir: Option<PathBuf> = found.get_if_any("to-data-dir");
                let elsewhere = to_data_dir
                    .as_ref()
                    .is_some_and(|to| *to != settings.data_dir);
                match (kind("from"), kind("to")) {
                    (Kind::Sqlite, Kind::Sqlite) if !elsewhere => Err(AskError::SamePlace),
                    (Kind::Mongodb, Kind::Mongodb) => Err(AskError::TwoMongodbs),
                    (from, to) => Ok(Self::Copy {
                        settings,
                        from,
                        to,
                        to_data_dir,
                    }),
                }
            }
            Tool::Backup => {
                let command = Command::new("backup")
                    .about(
                        "Backs up store, secrets, logs and output files into one archive, and reads \
                         it back. A master may be at work on them",
                    )
                    .arg(file("to", "The archive, a .tar.gz that is not there yet"))
                    .arg(
                        Arg::new("store-only")
                            .long("store-only")
                            .action(ArgAction::SetTrue)
                            .help("Leave logs and output files out"),
                    );
                let (settings, found) = load(command)?;
                Ok(Self::Backup {
                    settings,
                    to: found.get("to"),
                    logs_and_files: !found.is_on("store-only"),
                })
            }
            Tool::Restore => {
                let command = Command::new("restore")
                    .about(
                        "Verifies a backup and restores all of it into an empty data directory and \
                         an empty store",
                    )
                    .arg(file("from", "The archive"));
                let (settings, found) = load(command)?;
                let from = found.get("from");
                Ok(Self::Restore { settings, from })
            }
        }
    }
}

fn is_help(word: &OsString) -> bool {
    ["help", "-h", "-help", "--help"]
        .iter()
        .any(|help| word == help)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surroundings(line: &str, folder: &std::path::Path) -> Surroundings {
        Surroundings {
            args: line.split(' ').map(OsString::from).collect(),
            env: [].into(),
            directory: folder.to_owned(),
        }
    }

    fn asked(line: &str) -> Result<Asked, AskError> {
        let folder = tempfile::tempdir().unwrap();
        let surroundings = surroundings(line, folder.path());
        let tool = Tool::asked_for(&surroundings.args).unwrap();
        Asked::read(tool, &surroundings)
    }

    fn refused(line: &str) -> String {
        let Err(error) = asked(line) else {
            panic!("{line}");
        };
        error.to_string()
    }

    #[test]
    fn without_a_subcommand_a_master_is_started() {
        for line in ["x", "x -headless", "x -data-dir backup", "x --help"] {
            let args: Vec<_> = line.split(' ').map(OsString::from).collect();
            assert_eq!(Tool::asked_for(&args), None, "{line}");
        }
    }

    #[test]
    fn flags_have_one_dash_or_two_and_settings_come_from_the_masters_sources() {
        let folder = tempfile::tempdir().unwrap();
        let toml = "[master]\ndata-dir = 'from-file'\ngrpc = ':7000'\n";
        std::fs::write(folder.path().join("cloudai.toml"), toml).unwrap();
        for line in ["x backup -to f.tar.gz", "x backup --to=f.tar.gz"] {
            let surroundings = surroundings(line, folder.path());
            let Ok(Asked::Backup {
                settings,
                to,
                logs_and_files,
            }) = Asked::read(Tool::Backup, &surroundings)
            else {
                panic!("{line}");
            };
            assert_eq!(settings.data_dir, PathBuf::from("from-file"));
            assert_eq!(to, PathBuf::from("f.tar.gz"));
            assert!(logs_and_files);
        }
        let Ok(Asked::Backup {
            settings,
            logs_and_files,
            ..
        }) = asked("x backup -store-only -data-dir d --to f")
        else {
            panic!();
        };
        assert_eq!(settings.data_dir, PathBuf::from("d"));
        assert!(!logs_and_files);
    }

    #[test]
    fn what_is_missing_or_wrong_is_said() {
        assert!(refused("x backup").contains("--to"));
        assert!(refused("x restore").contains("--from"));
        assert!(refused("x store chek").contains("store check"));
        assert!(refused("x store copy --from oracle --to sqlite").contains("mongodb"));
        assert!(refused("x store copy --from sqlite --to sqlite").contains("--to-data-dir"));
        let same = "x store copy --from sqlite --to sqlite -data-dir a --to-data-dir a";
        assert!(refused(same).contains("--to-data-dir"));
        assert!(refused("x store copy --from mongodb --to mongodb").contains("to be sqlite"));
        assert!(refused("x store check nonsense").contains("nonsense"));
    }

    #[test]
    fn help_names_what_belongs_to_the_subcommand_and_no_more() {
        let help = refused("x backup --help");
        for expected in [
            "master-node backup",
            "--to <FILE>",
            "--store-only",
            "--data-dir",
        ] {
            assert!(help.contains(expected), "{expected} is missing in {help}");
        }
        assert!(!help.contains("heartbeat"), "{help}");
        assert!(matches!(asked("x help"), Ok(Asked::Overview)));
        assert!(matches!(asked("x store"), Ok(Asked::Overview)));
    }
}
