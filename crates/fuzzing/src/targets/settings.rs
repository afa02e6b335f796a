//! What surrounds a program at its start, out of the parts of an input: its arguments, one a line
//! (`%%args`), its environment (`%%env`), and the files `.env` (`%%dotenv`) and `cloudai.toml`
//! (`%%toml`) in the folder that it is started in.

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt as _};

use cloudai_config::{LoadError, Surroundings};
use tempfile::TempDir;

use crate::{
    Verdict,
    said::{LONGEST, assert_said_within},
    scratch, sections,
};

/// Of an input; the folder is removed with the second.
pub(super) fn surroundings(program: &str, bytes: &[u8]) -> (Surroundings, TempDir) {
    let folder = scratch::folder();
    let mut surroundings = Surroundings {
        args: vec![program.into()],
        directory: folder.path().to_owned(),
        ..Surroundings::default()
    };
    let lines = |part: &'static str| {
        let parts = sections::split(bytes).into_iter();
        let parts = parts.filter(move |(name, _)| *name == part);
        parts.flat_map(|(_, lines)| lines.split(|byte| *byte == b'\n'))
    };
    // The system ends each of them with a NUL: none holds one.
    let plain = |line: &&[u8]| !line.is_empty() && !line.contains(&0);
    for line in lines("args").filter(plain) {
        surroundings.args.push(OsStr::from_bytes(line).to_owned());
    }
    for line in lines("env").filter(plain) {
        let equals = line.iter().position(|byte| *byte == b'=');
        let (name, value) = line.split_at(equals.unwrap_or(line.len()));
        let value = value.strip_prefix(b"=").unwrap_or(value);
        let os = |bytes| OsStr::from_bytes(bytes).to_owned();
        surroundings.env.insert(os(name), os(value));
    }
    for (part, content) in sections::split(bytes) {
        let name = match part {
            "dotenv" => ".env",
            "toml" => "cloudai.toml",
            _ => continue,
        };
        fs::write(folder.path().join(name), content).expect("a small file can be written");
    }
    (surroundings, folder)
}

/// Whether this secret stands in the input where it is nobody's fault that it is shown: not behind one
/// of these names, or where another value is made of it.
pub(super) fn is_shown_elsewhere(bytes: &[u8], secret: &str, names: &[&str]) -> bool {
    let parts = sections::split(bytes).into_iter();
    let holds = |line: &&str| line.contains(secret);
    let mut lines = parts.flat_map(|(part, content)| {
        let text = String::from_utf8_lossy(content).into_owned();
        let lines = text.lines().filter(holds).map(str::to_owned);
        lines.map(move |line| (part, line)).collect::<Vec<_>>()
    });
    bytes.contains(&b'$')
        || lines.any(|(part, line)| {
            let line = line.trim().trim_start_matches("export ");
            let is_behind_its_name = names.iter().any(|name| line.starts_with(name));
            // Of a line of `.env` that is none nothing is shown.
            !(is_behind_its_name || part == "dotenv" && line.starts_with(secret))
        })
}

/// What holds of a failure to load settings: it is said, and without any of these secrets.
pub(super) fn refused(error: &LoadError, secrets: &[&str]) -> Verdict {
    let words = error.to_string();
    for secret in secrets {
        assert!(!words.contains(secret), "a secret is shown: {words}");
    }
    match error {
        // What clap prints has usage and help behind it, in several lines.
        LoadError::Arguments(_) => assert!(!words.trim().is_empty()),
        _ => assert_said_within(words, LONGEST),
    }
    Verdict::Refused
}
