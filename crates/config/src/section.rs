//! What settings a program has.

use clap::{Arg, ArgAction};

use crate::switch;

/// The settings of a program, and its part of `cloudai.toml`.
#[derive(Debug, Clone)]
pub struct Section {
    /// The table's name in `cloudai.toml`, such as `master`.
    pub name: &'static str,
    /// The default file, as text: TOML with this one table.
    pub defaults: &'static str,
    /// The settings, in the order of help.
    pub settings: Vec<Setting>,
}

impl Section {
    /// The same for a part of the program that needs only these: the others are taken and not shown
    /// in its help.
    #[must_use]
    pub fn showing(mut self, ids: &[&str]) -> Self {
        for setting in &mut self.settings {
            if !ids.contains(&setting.id()) {
                setting.arg = setting.arg.clone().hide(true);
            }
        }
        self
    }
}

/// One setting. Its argument's id is its key in `cloudai.toml`.
#[derive(Debug, Clone)]
pub struct Setting {
    pub(crate) arg: Arg,
    pub(crate) env: Option<&'static str>,
    pub(crate) has_flag: bool,
    pub(crate) secret: bool,
}

impl Setting {
    /// A setting with a flag of the argument's id, `--id`.
    ///
    /// An argument whose action is `SetTrue` becomes a switch: `--id`, `--id=false`, and from
    /// elsewhere 1, true, yes or on and 0, false, no or off.
    #[must_use]
    pub fn flag(arg: Arg) -> Self {
        Self {
            arg: with_long_name(arg),
            env: None,
            has_flag: true,
            secret: false,
        }
    }

    /// A setting without a flag, for what must not show in a list of processes.
    #[must_use]
    pub fn without_flag(arg: Arg) -> Self {
        Self {
            arg: with_long_name(arg).hide(true),
            env: None,
            has_flag: false,
            secret: false,
        }
    }

    /// Its environment variable, looked up in `.env` too.
    #[must_use]
    pub fn env(mut self, name: &'static str) -> Self {
        self.env = Some(name);
        self
    }

    /// Its value is never shown, neither in help nor in an error.
    #[must_use]
    pub fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    pub(crate) fn id(&self) -> &str {
        self.arg.get_id().as_str()
    }

    /// Whether it can have several values.
    pub(crate) fn is_list(&self) -> bool {
        self.arg.get_value_delimiter().is_some()
            || matches!(self.arg.get_action(), ArgAction::Append)
    }

    /// As clap is given it, its variable named in the help.
    pub(crate) fn argument(&self) -> Arg {
        let mut arg = self.arg.clone().hide_default_value(self.secret);
        if let Some(name) = self.env {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            arg = arg.help(format!("{help} [env: {name}]"));
        }
        arg
    }
}

fn with_long_name(arg: Arg) -> Arg {
    let id = arg.get_id().to_string();
    let arg = arg.long(id);
    if !matches!(arg.get_action(), ArgAction::SetTrue) {
        return arg;
    }
    // With a value, so that what the environment switched on can be switched off by a flag.
    arg.action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .value_name("BOOL")
        .value_parser(switch::switch)
}
