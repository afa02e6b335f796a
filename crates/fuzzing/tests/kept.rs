//! What is kept in `fuzz/` is what the targets say: seeds up to date and meaning what their names say,
//! a binary for each target, nothing left over, and all of it small.

use std::{collections::BTreeSet, fs, panic::catch_unwind};

use cloudai_fuzzing::{Seed, TARGETS, corpus};

/// The most that all seeds and regressions take.
const MOST_BYTES: usize = 300_000;

const AGAIN: &str = "write them anew with `cargo run -p cloudai-fuzzing --example write-seeds`";

fn names_in(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(corpus::root().join(folder))
        .into_iter()
        .flatten();
    let name = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.expect("a folder of fuzz/ can be read");
        entry.file_name().to_string_lossy().into_owned()
    };
    let names = entries.map(name);
    names.collect()
}

fn targets() -> BTreeSet<String> {
    TARGETS
        .iter()
        .map(|target| target.name.to_owned())
        .collect()
}

#[test]
fn seeds_on_disk_are_those_of_the_targets() {
    for target in TARGETS {
        let mut seeds = (target.seeds)();
        seeds.sort_by(|one, other| one.name.cmp(&other.name));
        let expected: Vec<_> = seeds
            .into_iter()
            .map(|seed| (seed.name, seed.bytes))
            .collect();
        let found = corpus::files(&corpus::seeds(target.name)).unwrap();
        let names = |files: &[(String, Vec<u8>)]| {
            files
                .iter()
                .map(|(name, _)| name.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&found), names(&expected), "{}: {AGAIN}", target.name);
        for (one, other) in found.iter().zip(&expected) {
            assert!(
                one == other,
                "{}/{} is not up to date: {AGAIN}",
                target.name,
                one.0
            );
        }
    }
    assert_eq!(names_in("corpus"), targets());
}

#[test]
fn each_target_has_seeds_that_it_takes_and_seeds_that_it_refuses() {
    let mut others = Vec::new();
    for target in TARGETS {
        let seeds = (target.seeds)();
        let kinds: BTreeSet<_> = seeds
            .iter()
            .map(|seed| seed.name.starts_with("good-"))
            .collect();
        assert_eq!(kinds.len(), 2, "{} has only seeds of one kind", target.name);
        for Seed {
            name,
            bytes,
            verdict,
        } in seeds
        {
            let checked = catch_unwind(|| (target.check)(&bytes));
            if !checked.is_ok_and(|it| it == verdict) {
                others.push(format!("{}/{name}: expected it {verdict:?}", target.name));
            }
        }
    }
    assert!(others.is_empty(), "\n{}\n", others.join("\n"));
}

#[test]
fn each_target_has_a_binary_of_three_lines_and_each_binary_a_target() {
    let binaries: BTreeSet<String> = names_in("fuzz_targets")
        .iter()
        .map(|name| name.trim_end_matches(".rs").to_owned())
        .collect();
    assert_eq!(binaries, targets());
    let manifest = fs::read_to_string(corpus::root().join("Cargo.toml")).unwrap();
    for name in binaries {
        assert!(
            manifest.contains(&format!("name = \"{name}\"")),
            "{name} is not in fuzz/Cargo.toml"
        );
        let path = corpus::root()
            .join("fuzz_targets")
            .join(format!("{name}.rs"));
        let text = fs::read_to_string(path).unwrap();
        let call =
            format!("fuzz_target!(|bytes: &[u8]| cloudai_fuzzing::fuzz(\"{name}\", bytes));");
        assert!(text.contains(&call), "{name}: expected {call}");
    }
}

#[test]
fn regressions_are_those_of_targets_and_all_is_small() {
    let unknown: Vec<_> = names_in("regressions")
        .difference(&targets())
        .cloned()
        .collect();
    assert_eq!(unknown, Vec::<String>::new(), "regressions of no target");
    let folders = TARGETS
        .iter()
        .flat_map(|target| [corpus::seeds(target.name), corpus::regressions(target.name)]);
    let sizes = folders.flat_map(|folder| corpus::files(&folder).unwrap());
    let bytes: usize = sizes.map(|(_, bytes)| bytes.len()).sum();
    assert!(
        bytes <= MOST_BYTES,
        "{bytes} bytes of inputs, {MOST_BYTES} are the most"
    );
}
