//! Precedence, and what each mistake is answered with, for a program with a setting of each kind.

use clap::ArgAction;
use tempfile::TempDir;

use super::*;
use crate::listen::ListenAddr;

const DEFAULTS: &str = "[master]\ngrpc = ':50051'\nlog-level = 'info'\nretries = 3\n";

struct Program {
    directory: TempDir,
    env: BTreeMap<OsString, OsString>,
}

impl Program {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            env: BTreeMap::new(),
        }
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    fn file(self, name: &str, text: &str) -> Self {
        fs::write(self.directory.path().join(name), text).unwrap();
        self
    }

    fn load(&self, line: &str) -> Result<Settings, LoadError> {
        let surroundings = Surroundings {
            args: line.split(' ').map(OsString::from).collect(),
            env: self.env.clone(),
            directory: self.directory.path().to_owned(),
        };
        load(
            Command::new("x").version("1.2.3"),
            &section(),
            &surroundings,
        )
    }

    fn error(&self, line: &str) -> String {
        self.load(line).unwrap_err().to_string()
    }

    /// The value of `-grpc`, and its source as it is shown.
    fn grpc(&self, line: &str) -> (String, String) {
        let settings = self.load(line).unwrap();
        let grpc: ListenAddr = settings.get("grpc");
        (
            grpc.to_string(),
            settings.source("grpc").unwrap().to_string(),
        )
    }
}

fn section() -> Section {
    let grpc = Arg::new("grpc")
        .value_name("ADDR")
        .help("Where gRPC is served")
        .value_parser(clap::value_parser!(ListenAddr));
    let level = Arg::new("log-level").value_parser(["info", "debug"]);
    let retries = Arg::new("retries").value_parser(clap::value_parser!(i64));
    let peers = Arg::new("peers").value_delimiter(',');
    let insecure = Arg::new("insecure").action(ArgAction::SetTrue);
    let secret = Arg::new("jwt-secret").value_parser(|text: &str| match text.len() {
        0..32 => Err("expected at least 32 bytes"),
        _ => Ok(text.to_owned()),
    });
    Section {
        name: "master",
        defaults: DEFAULTS,
        settings: vec![
            Setting::flag(grpc).env("GRPC_PORT"),
            Setting::flag(level).env("LOG_LEVEL"),
            Setting::flag(retries).env("RETRIES"),
            Setting::flag(peers).env("PEERS"),
            Setting::flag(insecure).env("CLOUDAI_INSECURE"),
            Setting::without_flag(secret).env("JWT_SECRET").secret(),
        ],
    }
}

fn shown(value: &str, source: &str) -> (String, String) {
    (value.to_owned(), source.to_owned())
}

#[test]
fn each_source_wins_over_those_below_it() {
    let program = Program::new();
    assert_eq!(
        program.grpc("x"),
        shown(":50051", "built-in default of master.grpc")
    );
    let program = program.file("cloudai.toml", "[master]\ngrpc = ':1'\n");
    assert_eq!(
        program.grpc("x"),
        shown(":1", "cloudai.toml:2: master.grpc")
    );
    let program = program.file(".env", "GRPC_PORT=:2\n");
    assert_eq!(program.grpc("x"), shown(":2", ".env: GRPC_PORT"));
    let program = program.env("GRPC_PORT", ":3");
    assert_eq!(
        program.grpc("x"),
        shown(":3", "environment variable GRPC_PORT")
    );
    assert_eq!(program.grpc("x -grpc :4"), shown(":4", "the command line"));
}

#[test]
fn an_empty_variable_counts_as_none() {
    let program = Program::new()
        .file(".env", "GRPC_PORT=\nLOG_LEVEL=debug\n")
        .env("GRPC_PORT", "")
        .env("LOG_LEVEL", "");
    assert_eq!(program.grpc("x").0, ":50051");
    assert_eq!(
        program.load("x").unwrap().get::<String>("log-level"),
        "debug"
    );
}

#[test]
fn a_setting_that_nothing_gives_has_no_value_and_no_source() {
    let settings = Program::new().load("x").unwrap();
    assert_eq!(settings.get_if_any::<String>("jwt-secret"), None);
    assert_eq!(settings.source("jwt-secret"), None);
    assert!(!settings.is_on("insecure"));
    assert_eq!(settings.get_list::<String>("peers"), [""; 0]);
}

#[test]
fn other_files_can_be_named_and_then_must_be_there() {
    let program = Program::new()
        .file(".env", "GRPC_PORT=:1\n")
        .file("other.env", "GRPC_PORT=:2\n")
        .file("other.toml", "[master]\nretries = 9\n");
    assert_eq!(
        program.grpc("x -env-file other.env"),
        shown(":2", "other.env: GRPC_PORT")
    );
    let settings = program.load("x --config=other.toml").unwrap();
    assert_eq!(settings.get::<i64>("retries"), 9);
    assert_eq!(program.error("x -env-file none.env"), "can't read none.env");
    assert_eq!(program.error("x -config none.toml"), "can't read none.toml");
}

#[test]
fn a_switch_is_set_by_flag_and_by_words() {
    for word in ["1", "true", "yes", "on", "TRUE"] {
        let program = Program::new().env("CLOUDAI_INSECURE", word);
        assert!(program.load("x").unwrap().is_on("insecure"), "{word}");
        assert!(!program.load("x -insecure=false").unwrap().is_on("insecure"));
    }
    for word in ["0", "false", "no", "off"] {
        let program = Program::new().env("CLOUDAI_INSECURE", word);
        assert!(!program.load("x").unwrap().is_on("insecure"), "{word}");
        assert!(program.load("x -insecure").unwrap().is_on("insecure"));
    }
    let program = Program::new().file("cloudai.toml", "[master]\ninsecure = true\n");
    assert!(program.load("x").unwrap().is_on("insecure"));
    let program = Program::new().env("CLOUDAI_INSECURE", "perhaps");
    assert_eq!(
        program.error("x"),
        "environment variable CLOUDAI_INSECURE: \"perhaps\" is not valid: \
         expected 1, true, yes or on, or 0, false, no or off"
    );
}

#[test]
fn a_list_comes_from_commas_or_from_a_toml_array() {
    let peers = |program: &Program, line: &str| {
        let settings = program.load(line).unwrap();
        settings.get_list::<String>("peers")
    };
    let program = Program::new().file("cloudai.toml", "[master]\npeers = ['a:1', 'b:2']\n");
    assert_eq!(peers(&program, "x"), ["a:1", "b:2"]);
    let program = program.env("PEERS", "c:3,d:4");
    assert_eq!(peers(&program, "x"), ["c:3", "d:4"]);
    assert_eq!(peers(&program, "x -peers e:5"), ["e:5"]);
}

#[test]
fn a_bad_value_says_where_it_came_from_and_what_was_expected() {
    let expected = "expected :port for every interface";
    let program = Program::new().file("cloudai.toml", "[master]\n\ngrpc = 'x'\n");
    let error = program.error("x");
    let start = format!("cloudai.toml:3: master.grpc: \"x\" is not valid: {expected}");
    assert!(error.starts_with(&start), "{error}");

    let program = program.file(".env", "GRPC_PORT=y\n");
    let error = program.error("x");
    let start = format!(".env: GRPC_PORT: \"y\" is not valid: {expected}");
    assert!(error.starts_with(&start), "{error}");

    let program = program.env("GRPC_PORT", "z");
    let error = program.error("x");
    let start = format!("environment variable GRPC_PORT: \"z\" is not valid: {expected}");
    assert!(error.starts_with(&start), "{error}");

    let error = program.error("x -grpc w");
    assert!(
        error.contains("invalid value 'w' for '--grpc <ADDR>'"),
        "{error}"
    );
    assert!(error.contains(expected), "{error}");
    assert_eq!(
        program.grpc("x -grpc :4").0,
        ":4",
        "what is not used is not judged"
    );
}

#[test]
fn a_bad_value_of_a_few_words_names_them() {
    let program = Program::new().env("LOG_LEVEL", "loud");
    assert_eq!(
        program.error("x"),
        "environment variable LOG_LEVEL: \"loud\" is not valid: expected one of info, debug"
    );
}

#[test]
fn a_bad_variable_is_named_beside_good_flags() {
    let program = Program::new().env("RETRIES", "many");
    let error = program.error("x -grpc :4 -insecure");
    assert!(
        error.starts_with("environment variable RETRIES: \"many\""),
        "{error}"
    );
}

#[test]
fn a_secret_is_never_shown_and_has_no_flag() {
    let program = Program::new().env("JWT_SECRET", "hunter2");
    assert_eq!(
        program.error("x"),
        "environment variable JWT_SECRET: the value is not valid: expected at least 32 bytes"
    );
    let program = Program::new().env("JWT_SECRET", "hunter2-hunter2-hunter2-hunter2-hunter2");
    assert!(!program.error("x -help").contains("hunter2"));
    let error = program.error("x -jwt-secret abc");
    let expected = "'--jwt-secret' is no flag: expected the environment variable JWT_SECRET";
    assert!(error.contains(expected), "{error}");
}

#[test]
fn flags_take_one_dash_or_two_and_values_with_a_dash() {
    let program = Program::new();
    for line in ["x -grpc :9", "x --grpc :9", "x -grpc=:9", "x --grpc=:9"] {
        assert_eq!(program.grpc(line).0, ":9", "{line}");
    }
    assert_eq!(
        program.load("x -retries -1").unwrap().get::<i64>("retries"),
        -1
    );
    let error = program.error("x -grpc -insecure");
    assert!(
        error.contains("a value is required for '--grpc <ADDR>'"),
        "{error}"
    );
    let error = program.error("x -grcp :9");
    assert!(
        error.contains("'--grcp'") && error.contains("'--grpc'"),
        "{error}"
    );
}

#[test]
fn help_names_variables_and_the_values_that_would_hold() {
    let program = Program::new().file(".env", "GRPC_PORT=:2\n");
    for line in ["x -h", "x -help", "x --help"] {
        let LoadError::Arguments(error) = program.load(line).unwrap_err() else {
            panic!("{line} is for clap");
        };
        assert_eq!(error.kind(), ErrorKind::DisplayHelp);
        let help = error.to_string();
        assert!(
            help.contains("Where gRPC is served [env: GRPC_PORT] [default: :2]"),
            "{help}"
        );
        assert!(help.contains("--env-file <FILE>"), "{help}");
    }
    let LoadError::Arguments(error) = program.load("x -version").unwrap_err() else {
        panic!("the version is for clap");
    };
    assert_eq!(error.kind(), ErrorKind::DisplayVersion);
}

#[test]
fn mistakes_in_a_file_name_file_and_line() {
    let program = Program::new().file("cloudai.toml", "[master]\ngrcp = ':1'\n");
    assert_eq!(
        program.error("x"),
        "cloudai.toml:2: unknown key master.grcp: did you mean master.grpc?"
    );
    let program = Program::new().file(".env", "A=1\nwrong line\n");
    assert!(
        program
            .error("x")
            .starts_with(".env:2: expected NAME=value")
    );
}
