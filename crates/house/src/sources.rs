//! The shape of the sources: how a file opens, how long it may get, what none of them says.

use std::path::{Path, PathBuf};

use crate::repository::{assert_none, files, text};

/// A file of more lines usually holds two ideas.
const LONGEST_LINES: usize = 600;

/// What no file may say: the word and the reason. In two pieces, so that this file doesn't either.
const FORBIDDEN: &[(&str, &str)] = &[
    (
        concat!("/wo", "rk/"),
        "a path of one machine: say it relative to the repository",
    ),
    (
        concat!("#[ign", "ore"),
        "a test that doesn't run shows nothing: make it run, or remove it",
    ),
];

/// What cargo writes for a package from the public registry.
const PUBLIC_REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

fn rust_files() -> Vec<PathBuf> {
    let rust: Vec<PathBuf> = files()
        .into_iter()
        .filter(|path| path.extension().is_some_and(|ext| ext == "rs"))
        .collect();
    assert!(rust.len() > 10, "expected more sources than {rust:?}");
    rust
}

fn rust_text(path: &Path) -> String {
    text(path).expect("Rust sources are UTF-8")
}

#[test]
fn every_source_says_first_what_it_is() {
    let violations: Vec<String> = rust_files()
        .into_iter()
        .filter(|path| !rust_text(path).starts_with("//! "))
        .map(|path| {
            format!(
                "{}: expected `//! ` and what the file is, and is not, on its first line",
                path.display()
            )
        })
        .collect();
    assert_none(&violations);
}

#[test]
fn no_source_holds_two_ideas() {
    let violations: Vec<String> = rust_files()
        .into_iter()
        .filter(|path| path.components().any(|part| part.as_os_str() == "src"))
        .map(|path| (rust_text(&path).lines().count(), path))
        .filter(|(lines, _)| *lines > LONGEST_LINES)
        .map(|(lines, path)| {
            let path = path.display();
            format!("{path} has {lines} lines, {LONGEST_LINES} are the most: split it by its ideas")
        })
        .collect();
    assert_none(&violations);
}

#[test]
fn no_file_says_a_forbidden_word() {
    let mut violations = Vec::new();
    for path in files() {
        // What isn't text has no words.
        let Some(text) = text(&path) else { continue };
        for (word, reason) in FORBIDDEN {
            if let Some(line) = text.lines().position(|line| line.contains(word)) {
                violations.push(format!(
                    "{}:{}: `{word}`: {reason}",
                    path.display(),
                    line + 1
                ));
            }
        }
    }
    assert_none(&violations);
}

#[test]
fn every_locked_package_comes_from_the_public_registry() {
    let mut violations = Vec::new();
    for file in ["Cargo.lock", "fuzz/Cargo.lock"] {
        let lock = text(Path::new(file)).expect("a lock file is UTF-8");
        let sources: Vec<&str> = lock
            .lines()
            .filter_map(|line| line.strip_prefix("source = "))
            .collect();
        assert!(!sources.is_empty(), "expected `source = ` lines in {file}");
        let others = sources
            .into_iter()
            .filter(|source| source.trim_matches('"') != PUBLIC_REGISTRY);
        violations.extend(
            others.map(|source| format!("{file} names {source}: expected {PUBLIC_REGISTRY}")),
        );
    }
    assert_none(&violations);
}
