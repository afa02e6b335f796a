//! Flags with one dash or two: `-id x`, `--id x`, `--id=x` and `-id=x` become the form that clap
//! reads.
//!
//! A known flag's value is tied to it (`--cpu=-1`), so that one which begins with a dash is not
//! taken for a flag. What comes after `--` is left as it is.

use std::ffi::{OsStr, OsString};

use clap::{Arg, Command};

/// The command line, rewritten.
pub(crate) fn normalised(command: &Command, args: &[OsString]) -> Vec<OsString> {
    let flags = Flags::of(command);
    let mut rewritten = Vec::with_capacity(args.len());
    let mut rest = args.iter();
    rewritten.extend(rest.next().cloned());
    while let Some(arg) = rest.next() {
        if arg == "--" {
            rewritten.push(arg.clone());
            rewritten.extend(rest.by_ref().cloned());
            break;
        }
        let mut arg = flags.with_two_dashes(arg);
        if flags.wants_value(&arg) {
            let value = rest.as_slice().first();
            // A flag where a value should be is a value forgotten; clap says so.
            if let Some(value) = value.filter(|value| !flags.is_flag(value)) {
                rest.next();
                arg.push("=");
                arg.push(value);
            }
        }
        rewritten.push(arg);
    }
    rewritten
}

/// The last value that a rewritten command line gives this flag.
pub(crate) fn value_of(args: &[OsString], name: &str) -> Option<OsString> {
    let prefix = format!("--{name}=");
    args.iter()
        .take_while(|arg| *arg != "--")
        .filter_map(|arg| Some(arg.to_str()?.strip_prefix(&prefix)?.into()))
        .last()
}

/// The first argument before `--` that names one of these flags.
pub(crate) fn first_of<'a>(
    args: &[OsString],
    names: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let names: Vec<_> = names.into_iter().collect();
    args.iter()
        .take_while(|arg| *arg != "--")
        .filter_map(|arg| name(arg))
        .find(|found| names.contains(&found.as_str()))
}

struct Flags {
    /// Long name, and whether it takes a value from the next argument.
    long: Vec<(String, bool)>,
    short: Vec<char>,
}

impl Flags {
    fn of(command: &Command) -> Self {
        let mut flags = Self {
            long: vec![("help".to_owned(), false), ("version".to_owned(), false)],
            short: vec!['h', 'V'],
        };
        flags.add(command);
        flags
    }

    fn add(&mut self, command: &Command) {
        for arg in command.get_arguments() {
            let takes_value = arg.get_action().takes_values()
                && !arg.is_require_equals_set()
                && arg.get_num_args().is_none_or(|count| count == 1.into());
            let names = arg.get_long_and_visible_aliases().unwrap_or_default();
            self.long
                .extend(names.iter().map(|name| ((*name).to_owned(), takes_value)));
            self.short.extend(Arg::get_short(arg));
        }
        for subcommand in command.get_subcommands() {
            self.add(subcommand);
        }
    }

    fn knows(&self, name: &str) -> bool {
        self.long.iter().any(|(long, _)| long == name)
    }

    fn with_two_dashes(&self, arg: &OsStr) -> OsString {
        let single = arg.as_encoded_bytes();
        let is_single = single.len() > 1 && single[0] == b'-' && single[1] != b'-';
        let Some(name) = name(arg).filter(|_| is_single) else {
            return arg.to_owned();
        };
        let is_short = name.starts_with(|c| self.short.contains(&c)) && !self.knows(&name);
        let is_word = name.len() > 1 && name.starts_with(|c: char| c.is_alphabetic());
        // An unknown word gets its dash too, so that clap names the flag nearest to it.
        if self.knows(&name) || (is_word && !is_short) {
            let mut two = OsString::from("-");
            two.push(arg);
            return two;
        }
        arg.to_owned()
    }

    /// Whether it is a flag, in two dashes, whose value is the next argument.
    fn wants_value(&self, arg: &OsStr) -> bool {
        arg.to_str()
            .and_then(|arg| arg.strip_prefix("--"))
            .is_some_and(|name| self.long.iter().any(|(long, value)| long == name && *value))
    }

    fn is_flag(&self, arg: &OsStr) -> bool {
        arg == "--" || name(arg).is_some_and(|name| self.knows(&name))
    }
}

/// The name that an argument with one dash or two gives a flag.
fn name(arg: &OsStr) -> Option<String> {
    let text = arg.to_string_lossy();
    let name = text.strip_prefix("--").or_else(|| text.strip_prefix('-'))?;
    let name = name.split('=').next().unwrap_or(name);
    Some(name.to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use clap::ArgAction;

    use super::*;

    fn command() -> Command {
        Command::new("x")
            .arg(Arg::new("id").long("id"))
            .arg(Arg::new("cpu").long("cpu"))
            .arg(Arg::new("watch").short('w').action(ArgAction::SetTrue))
            .arg(Arg::new("fast").long("fast").action(ArgAction::SetTrue))
            .arg(Arg::new("rest").num_args(0..))
    }

    fn normalise(line: &str) -> String {
        let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let rewritten = normalised(&command(), &args);
        let texts: Vec<_> = rewritten.iter().map(|arg| arg.to_str().unwrap()).collect();
        texts.join(" ")
    }

    #[test]
    fn one_dash_or_two_with_or_without_equals_are_the_same() {
        for line in ["x -id a", "x --id a", "x -id=a", "x --id=a"] {
            assert_eq!(normalise(line), "x --id=a");
        }
        assert_eq!(
            normalise("x -fast y"),
            "x --fast y",
            "a switch takes no value"
        );
    }

    #[test]
    fn what_is_no_known_word_is_left_alone() {
        for line in ["x -h", "x -w", "x -5", "x -", "x a -1.5"] {
            assert_eq!(normalise(line), line);
        }
        assert_eq!(normalise("x -help"), "x --help");
        assert_eq!(
            normalise("x -idd a"),
            "x --idd a",
            "for clap to name the nearest"
        );
    }

    #[test]
    fn a_value_may_begin_with_a_dash_but_a_flag_is_no_value() {
        assert_eq!(normalise("x -cpu -1"), "x --cpu=-1");
        assert_eq!(normalise("x -id -odd-name"), "x --id=-odd-name");
        assert_eq!(normalise("x -id -fast"), "x --id --fast");
        assert_eq!(normalise("x -id -- a"), "x --id -- a");
        assert_eq!(normalise("x -id"), "x --id");
    }

    #[test]
    fn what_comes_after_two_dashes_is_left_alone() {
        assert_eq!(normalise("x -fast -- -id a -cpu"), "x --fast -- -id a -cpu");
    }

    #[cfg(unix)]
    #[test]
    fn a_value_that_is_not_utf8_is_kept() {
        use std::os::unix::ffi::OsStrExt as _;

        let odd = OsStr::from_bytes(b"\xff").to_owned();
        let rewritten = normalised(&command(), &["x".into(), "-id".into(), odd]);
        assert_eq!(rewritten[1].as_encoded_bytes(), b"--id=\xff");
    }
}
