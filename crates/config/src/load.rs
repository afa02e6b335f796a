//! Putting the sources together: for each setting the best value below its flag becomes clap's
//! default, so that clap checks every value in one way.

use std::{
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
};

use clap::{
    Arg, Command,
    error::{ContextKind, ContextValue, ErrorKind},
};

use crate::{
    dashes, env_file,
    error::LoadError,
    section::{Section, Setting},
    settings::Settings,
    source::Source,
    toml_file,
};

const ENV_FILE: &str = "env-file";
const CONFIG: &str = "config";

/// What surrounds a process when it starts.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Its command line, the program's name first.
    pub args: Vec<OsString>,
    /// Its environment.
    pub env: BTreeMap<OsString, OsString>,
    /// The directory it was started in.
    pub directory: PathBuf,
}

impl Surroundings {
    /// Those of this process.
    #[must_use]
    pub fn of_this_process() -> Self {
        Self {
            args: env::args_os().collect(),
            env: env::vars_os().collect(),
            // Paths are joined to it, so that without one they stay as they are.
            directory: env::current_dir().unwrap_or_default(),
        }
    }
}

/// The settings of this process.
///
/// # Errors
/// As [`load`].
pub fn load_from_process(command: Command, section: &Section) -> Result<Settings, LoadError> {
    load(command, section, &Surroundings::of_this_process())
}

/// The settings of a program that is started in these surroundings.
///
/// `command` brings the program's name, version and help; the section's flags, `-env-file` and
/// `-config` are added here.
///
/// # Errors
/// The first thing that is wrong, or what help or version show, as [`LoadError::Arguments`].
pub fn load(
    command: Command,
    section: &Section,
    surroundings: &Surroundings,
) -> Result<Settings, LoadError> {
    let mut bare = command.args(file_flags());
    for setting in &section.settings {
        bare = bare.arg(setting.argument());
    }
    let args = dashes::normalised(&bare, &surroundings.args);
    refuse_flags_of_settings_without(&mut bare, section, &args)?;

    let found = Files::read(section, surroundings, &args)?;
    let mut sources = BTreeMap::new();
    let mut full = bare.clone();
    for setting in &section.settings {
        if let Some((source, values)) = found.best(setting, section, &surroundings.env) {
            full = full.mut_arg(setting.id(), |arg| {
                arg.required(false).default_values(values)
            });
            sources.insert(setting.id().to_owned(), source);
        }
    }
    match full.try_get_matches_from_mut(&args) {
        Ok(matches) => Ok(Settings { matches, sources }),
        Err(error) => Err(explained(error, &bare, section, &args, &sources)),
    }
}

fn file_flags() -> [Arg; 2] {
    [
        Arg::new(ENV_FILE)
            .long(ENV_FILE)
            .value_name("FILE")
            .help("Read variables from this file [default: .env, if there is one]"),
        Arg::new(CONFIG)
            .long(CONFIG)
            .value_name("FILE")
            .help("Read settings from this file [default: cloudai.toml, if there is one]"),
    ]
}

fn refuse_flags_of_settings_without(
    command: &mut Command,
    section: &Section,
    args: &[OsString],
) -> Result<(), LoadError> {
    let without = || section.settings.iter().filter(|setting| !setting.has_flag);
    let Some(name) = dashes::first_of(args, without().map(Setting::id)) else {
        return Ok(());
    };
    let place = without()
        .find(|setting| setting.id() == name)
        .and_then(|setting| setting.env)
        .map_or_else(
            || format!("{}.{name} in cloudai.toml", section.name),
            |variable| format!("the environment variable {variable}"),
        );
    let message = format!("'--{name}' is no flag: expected {place}");
    Err(command.error(ErrorKind::UnknownArgument, message).into())
}

/// What the files say.
struct Files {
    env_file: PathBuf,
    variables: BTreeMap<String, String>,
    config: PathBuf,
    entries: BTreeMap<String, toml_file::Entry>,
    defaults: BTreeMap<String, toml_file::Entry>,
}

impl Files {
    fn read(
        section: &Section,
        surroundings: &Surroundings,
        args: &[OsString],
    ) -> Result<Self, LoadError> {
        let directory = &surroundings.directory;
        let (env_file, wanted) = file(args, ENV_FILE, ".env");
        let variables = if wanted || is_there(directory, &env_file) {
            env_file::read(&directory.join(&env_file), &env_file)?
        } else {
            BTreeMap::new()
        };
        let (config, wanted) = file(args, CONFIG, "cloudai.toml");
        let entries = if wanted || is_there(directory, &config) {
            let text = fs::read_to_string(directory.join(&config)).map_err(|source| {
                LoadError::Unreadable {
                    file: config.clone(),
                    source,
                }
            })?;
            toml_file::read(&text, &config, section)?
        } else {
            BTreeMap::new()
        };
        let built_in = Path::new("built-in defaults");
        Ok(Self {
            env_file,
            variables,
            config,
            entries,
            defaults: toml_file::read(section.defaults, built_in, section)?,
        })
    }

    /// The best source below the flag, and its values.
    fn best(
        &self,
        setting: &Setting,
        section: &Section,
        env: &BTreeMap<OsString, OsString>,
    ) -> Option<(Source, Vec<OsString>)> {
        if let Some(name) = setting.env {
            if let Some(value) = env.get(OsStr::new(name)).filter(|value| !value.is_empty()) {
                return Some((Source::Environment(name), vec![value.clone()]));
            }
            if let Some(value) = self.variables.get(name).filter(|value| !value.is_empty()) {
                let file = self.env_file.clone();
                return Some((Source::EnvFile { file, name }, vec![value.into()]));
            }
        }
        let key = || format!("{}.{}", section.name, setting.id());
        let is_given =
            |entry: &&toml_file::Entry| entry.values.iter().any(|value| !value.is_empty());
        let values = |entry: &toml_file::Entry| entry.values.iter().map(OsString::from).collect();
        if let Some(entry) = self.entries.get(setting.id()).filter(is_given) {
            let source = Source::ConfigFile {
                file: self.config.clone(),
                line: entry.line,
                key: key(),
            };
            return Some((source, values(entry)));
        }
        let entry = self.defaults.get(setting.id()).filter(is_given)?;
        Some((Source::BuiltIn { key: key() }, values(entry)))
    }
}

/// A file's name, and whether it was asked for and so must be there.
fn file(args: &[OsString], flag: &str, default: &str) -> (PathBuf, bool) {
    match dashes::value_of(args, flag).filter(|value| !value.is_empty()) {
        Some(value) => (value.into(), true),
        None => (default.into(), false),
    }
}

/// A file that can't even be asked about is there: reading it will say what is wrong.
fn is_there(directory: &Path, file: &Path) -> bool {
    directory.join(file).try_exists().unwrap_or(true)
}

/// clap takes every bad value for one of the command line: says where it really came from.
fn explained(
    error: clap::Error,
    bare: &Command,
    section: &Section,
    args: &[OsString],
    sources: &BTreeMap<String, Source>,
) -> LoadError {
    let is_value = matches!(
        error.kind(),
        ErrorKind::ValueValidation | ErrorKind::InvalidValue | ErrorKind::InvalidUtf8
    );
    // An argument shows itself only once its command is built.
    let mut built = bare.clone();
    built.build();
    let id = text(&error, ContextKind::InvalidArg).and_then(|shown| {
        let arg = built.get_arguments().find(|arg| arg.to_string() == shown)?;
        Some(arg.get_id().as_str())
    });
    let setting = section
        .settings
        .iter()
        .filter(|_| is_value)
        .find(|setting| Some(setting.id()) == id);
    let Some(setting) = setting.filter(|s| dashes::first_of(args, [s.id()]).is_none()) else {
        return error.into();
    };
    let Some(from) = sources.get(setting.id()) else {
        return error.into();
    };
    LoadError::InvalidValue {
        from: from.clone(),
        value: text(&error, ContextKind::InvalidValue).filter(|_| !setting.secret),
        problem: problem(&error),
    }
}

fn text(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        _ => None,
    }
}

/// What was expected: the parser's own words, or the words that it would take.
fn problem(error: &clap::Error) -> String {
    if let Some(cause) = std::error::Error::source(error) {
        return cause.to_string();
    }
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(words)) if !words.is_empty() => {
            format!("expected one of {}", words.join(", "))
        }
        _ => "expected text in UTF-8".to_owned(),
    }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
