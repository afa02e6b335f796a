//! A path within a task's folder, and how its names travel as text.
//!
//! On Linux a name is any bytes but `/` and NUL; on the wire it is UTF-8. A byte that is not part
//! of UTF-8 travels as `%` and two upper-case hex digits. So that this can be undone, a `%` which
//! two hex digits happen to follow travels as `%25`; any other `%` as itself. A text with escapes
//! that this rule does not make, such as `%2e%2e%2f` or `a%20b`, is taken letter by letter: it is
//! a plain name of an older node, and no second spelling of something else.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
    str::FromStr,
};

/// The longest name between two slashes, in bytes.
pub const MAX_NAME_LEN: usize = 255;
/// The longest path, in bytes.
pub const MAX_PATH_LEN: usize = 4096;
/// The most names in a path.
pub const MAX_DEPTH: usize = 128;

/// A path that is none within a folder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "path {text:?} is not valid: {problem}; expected a path within the task's folder, such as \
     \"results/model.bin\""
)]
pub struct PathError {
    text: String,
    /// What is wrong with it.
    pub problem: PathProblem,
}

/// What is wrong with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathProblem {
    /// There is nothing.
    #[error("it is empty")]
    Empty,
    /// It begins at the root.
    #[error("it begins with '/'")]
    Absolute,
    /// Two slashes meet, or the last is followed by nothing.
    #[error("a name in it is empty")]
    EmptyName,
    /// A name is `.` or `..`.
    #[error("'.' and '..' are no names of files")]
    Dots,
    /// It holds a NUL.
    #[error("it holds a NUL byte")]
    Nul,
    /// A name is too long.
    #[error("a name in it is longer than {MAX_NAME_LEN} bytes")]
    NameTooLong,
    /// The whole is too long.
    #[error("it is longer than {MAX_PATH_LEN} bytes")]
    TooLong,
    /// It has too many names.
    #[error("it is more than {MAX_DEPTH} folders deep")]
    TooDeep,
}

/// A path that stays within the folder it is taken in: one or more plain names.
///
/// A backslash is a character like any other.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelativePath {
    /// Names with `/` between.
    raw: Vec<u8>,
    /// The same as it travels.
    text: String,
}

impl RelativePath {
    /// The path of a file as the system names it, relative to its folder.
    ///
    /// # Errors
    ///
    /// It is absolute, leaves the folder, or is longer than can be kept.
    pub fn from_os(path: &Path) -> Result<Self, PathError> {
        let raw = path.as_os_str().as_bytes();
        let checked = check(raw);
        checked.map_err(|problem| PathError::new(&path.to_string_lossy(), problem))?;
        Ok(Self {
            raw: raw.to_vec(),
            text: raw
                .split(|b| *b == b'/')
                .map(encode)
                .collect::<Vec<_>>()
                .join("/"),
        })
    }

    /// The path as the system names it, relative to its folder.
    #[must_use]
    pub fn to_os(&self) -> PathBuf {
        OsString::from_vec(self.raw.clone()).into()
    }

    /// The path as it travels and is stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The folders' names on the way, and the file's own.
    pub(super) fn split(&self) -> (impl Iterator<Item = &OsStr>, &OsStr) {
        let (folders, name) = match self.raw.iter().rposition(|b| *b == b'/') {
            Some(slash) => (&self.raw[..slash], &self.raw[slash + 1..]),
            None => (&[][..], &self.raw[..]),
        };
        let folders = folders
            .split(|b| *b == b'/')
            .filter(|name| !name.is_empty());
        (folders.map(OsStr::from_bytes), OsStr::from_bytes(name))
    }
}

impl FromStr for RelativePath {
    type Err = PathError;

    /// From the text that travelled.
    fn from_str(text: &str) -> Result<Self, PathError> {
        // Before anything else, so that a hostile length costs nothing.
        if text.len() > 3 * MAX_PATH_LEN {
            return Err(PathError::new(text, PathProblem::TooLong));
        }
        let raw = text.split('/').map(decode).collect::<Vec<_>>().join(&b'/');
        Self::from_os(Path::new(OsStr::from_bytes(&raw)))
            .map_err(|error| PathError::new(text, error.problem))
    }
}

impl fmt::Display for RelativePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for RelativePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl PathError {
    fn new(text: &str, problem: PathProblem) -> Self {
        // A hostile text is shown, but not at any length.
        Self {
            text: text.chars().take(120).collect(),
            problem,
        }
    }
}

fn check(raw: &[u8]) -> Result<(), PathProblem> {
    if raw.is_empty() {
        return Err(PathProblem::Empty);
    }
    if raw[0] == b'/' {
        return Err(PathProblem::Absolute);
    }
    if raw.contains(&0) {
        return Err(PathProblem::Nul);
    }
    if raw.len() > MAX_PATH_LEN {
        return Err(PathProblem::TooLong);
    }
    let mut depth = 0;
    for name in raw.split(|b| *b == b'/') {
        depth += 1;
        match name {
            b"" => return Err(PathProblem::EmptyName),
            b"." | b".." => return Err(PathProblem::Dots),
            name if name.len() > MAX_NAME_LEN => return Err(PathProblem::NameTooLong),
            _ => {}
        }
    }
    if depth > MAX_DEPTH {
        return Err(PathProblem::TooDeep);
    }
    Ok(())
}

/// A name as it travels.
fn encode(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        let valid = chunk.valid();
        for (index, character) in valid.char_indices() {
            text.push(character);
            if character == '%' && escaped(&valid.as_bytes()[index..]).is_some() {
                text.push_str("25");
            }
        }
        for byte in chunk.invalid() {
            text.push('%');
            text.push_str(&hex::encode_upper([*byte]));
        }
    }
    text
}

/// The name that travelled as `text`: the one that [`encode`] makes this text of, or, if there is
/// none, the text itself.
fn decode(text: &str) -> Vec<u8> {
    let mut name = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        match escaped(rest) {
            Some(byte) => {
                name.push(byte);
                rest = &rest[3..];
            }
            None => {
                name.push(*first);
                rest = tail;
            }
        }
    }
    if encode(&name) == text {
        name
    } else {
        text.as_bytes().to_vec()
    }
}

/// The byte whose escape `bytes` begin with.
fn escaped(bytes: &[u8]) -> Option<u8> {
    let [b'%', digits @ ..] = bytes else {
        return None;
    };
    let mut byte = [0];
    hex::decode_to_slice(digits.get(..2)?, &mut byte).ok()?;
    Some(byte[0])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn problem(text: &str) -> PathProblem {
        text.parse::<RelativePath>().unwrap_err().problem
    }

    #[test]
    fn a_path_that_leaves_its_folder_or_has_no_name_is_refused() {
        assert_eq!(problem(""), PathProblem::Empty);
        assert_eq!(problem("/etc/passwd"), PathProblem::Absolute);
        assert_eq!(problem("/"), PathProblem::Absolute);
        for dots in ["..", ".", "../a", "a/..", "a/../b", "./a", "a/./b", "a/."] {
            assert_eq!(problem(dots), PathProblem::Dots, "{dots}");
        }
        for empty in ["a/", "a//b"] {
            assert_eq!(problem(empty), PathProblem::EmptyName, "{empty}");
        }
        assert_eq!(problem("a\0b"), PathProblem::Nul);
        let error = "../a".parse::<RelativePath>().unwrap_err().to_string();
        assert!(
            error.contains("expected a path within the task's folder"),
            "{error}"
        );
    }

    #[test]
    fn lengths_are_limited_and_the_limit_itself_is_allowed() {
        let name = "n".repeat(MAX_NAME_LEN);
        assert!(name.parse::<RelativePath>().is_ok());
        assert_eq!(problem(&format!("{name}n")), PathProblem::NameTooLong);
        let deep = vec!["d"; MAX_DEPTH].join("/");
        assert!(deep.parse::<RelativePath>().is_ok());
        assert_eq!(problem(&format!("{deep}/d")), PathProblem::TooDeep);
        let long = vec![name.as_str(); 16].join("/");
        assert_eq!(long.len(), MAX_PATH_LEN - 1);
        assert!(long.parse::<RelativePath>().is_ok());
        assert_eq!(problem(&format!("{long}/n")), PathProblem::TooLong);
        assert_eq!(problem(&"n/".repeat(1 << 20)), PathProblem::TooLong);
    }

    #[test]
    fn names_travel_as_the_rule_says() {
        let cases: [(&[u8], &str); 9] = [
            (b"plain.txt", "plain.txt"),
            ("größe".as_bytes(), "größe"),
            (b"100%.txt", "100%.txt"),
            (b"a%20b", "a%2520b"),
            (b"%%41", "%%2541"),
            (b"caf\xe9", "caf%E9"),
            (b"%\xff", "%%FF"),
            (b"%2\xff", "%2%FF"),
            (br"a\..\b", r"a\..\b"),
        ];
        for (raw, text) in cases {
            let path = RelativePath::from_os(Path::new(OsStr::from_bytes(raw))).unwrap();
            assert_eq!(path.as_str(), text);
            assert_eq!(text.parse::<RelativePath>().unwrap(), path);
        }
    }

    #[test]
    fn escapes_that_the_rule_does_not_make_are_letters() {
        // `%C3%A9` would be an `é`, which needs no escape; `%ff` has the wrong case.
        for text in ["%2e%2e%2fa", "a%20b", "%00", "%C3%A9", "%ff", "%2F"] {
            let path: RelativePath = text.parse().unwrap();
            assert_eq!(path.to_os(), Path::new(text));
        }
    }

    proptest! {
        #[test]
        fn every_name_of_the_system_survives_the_way_through_text(
            raw in prop::collection::vec(
                prop_oneof![any::<u8>(), prop::sample::select(&b"%%%25/aF\\."[..])],
                1..40,
            ),
        ) {
            let os = Path::new(OsStr::from_bytes(&raw));
            if let Ok(path) = RelativePath::from_os(os) {
                let to_os = path.to_os();
                prop_assert_eq!(to_os.as_os_str(), os.as_os_str());
                prop_assert_eq!(path.as_str().parse::<RelativePath>().unwrap(), path);
            }
        }

        #[test]
        fn any_text_is_refused_or_stays_within(text in r"[a%.0-9A-F/\\é\x00]{0,30}") {
            if let Ok(path) = text.parse::<RelativePath>() {
                let inside = path
                    .to_os()
                    .components()
                    .all(|part| matches!(part, std::path::Component::Normal(_)));
                prop_assert!(inside);
            }
        }
    }
}
