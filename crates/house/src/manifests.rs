//! Every crate of the workspace stands under the same lints, licence and edition, and the pure ones under the same bans.

use std::fs;
use std::path::Path;

use toml::{Table, Value};

use crate::repository::{assert_none, metadata, root};

/// The crates whose `clippy.toml` bans time, randomness and I/O; the first one's is the pattern.
const PURE: &[&str] = &["model", "core", "worker-core", "sim"];

/// What a manifest doesn't inherit from the workspace and must.
fn not_inherited(manifest: &Table) -> Vec<String> {
    let inherits = |table: &str, key: Option<&str>| {
        let mut value = manifest.get(table);
        if let Some(key) = key {
            value = value.and_then(|table| table.get(key));
        }
        value
            .and_then(|value| value.get("workspace"))
            .and_then(Value::as_bool)
            == Some(true)
    };
    let mut missing: Vec<String> = ["edition", "license", "rust-version", "version"]
        .into_iter()
        .filter(|key| !inherits("package", Some(key)))
        .map(|key| format!("`{key}.workspace = true` in [package]"))
        .collect();
    if !inherits("lints", None) {
        missing.push("`workspace = true` in [lints]".to_owned());
    }
    missing
}

#[test]
fn every_crate_inherits_lints_licence_and_edition() {
    let mut violations = Vec::new();
    for package in metadata().workspace_packages() {
        let manifest = fs::read_to_string(&package.manifest_path).expect("cargo has read it too");
        for missing in not_inherited(&manifest.parse().expect("cargo has parsed it too")) {
            violations.push(format!("{}: expected {missing}", package.name));
        }
    }
    assert_none(&violations);
}

#[test]
fn a_manifest_that_goes_its_own_way_is_found() {
    let manifest = "
        [package]
        name = \"it\"
        edition = \"2021\"
        license.workspace = true
        version.workspace = true
        rust-version.workspace = true
        [lints.clippy]
        unwrap_used = \"allow\"";

    let missing = not_inherited(&manifest.parse().expect("a manifest"));

    assert_eq!(
        missing,
        [
            "`edition.workspace = true` in [package]",
            "`workspace = true` in [lints]"
        ]
    );
}

#[test]
fn pure_crates_stand_under_the_same_bans() {
    let crates = root().join("crates");
    let bans = |name: &str| fs::read_to_string(crates.join(name).join("clippy.toml"));
    let pattern = bans(PURE[0]).expect("crates/model/clippy.toml is the pattern");
    for banned in [
        "std::time::Instant::now",
        "std::time::SystemTime::now",
        "std::hash::RandomState",
    ] {
        assert!(
            pattern.contains(banned),
            "crates/model/clippy.toml must ban {banned}"
        );
    }

    let violations: Vec<String> = PURE
        .iter()
        .filter(|name| Path::new(&crates).join(name).is_dir())
        .filter(|name| bans(name).ok().as_ref() != Some(&pattern))
        .map(|name| {
            format!(
                "crates/{name}/clippy.toml: expected the content of crates/{}/clippy.toml",
                PURE[0]
            )
        })
        .collect();

    assert_none(&violations);
}

/// The crate that may turn safeguards of the cores off, and the feature that lets it.
const SIMULATION: (&str, &str) = ("cloudai-sim", "simulation");

/// What a manifest does that would build a program with switches that turn safeguards off.
fn built_with_switches(manifest: &Table) -> Vec<String> {
    let (simulation, feature) = SIMULATION;
    let mut amiss = Vec::new();
    for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let dependencies = manifest.get(table).and_then(Value::as_table);
        for (name, dependency) in dependencies.into_iter().flatten() {
            let features = dependency.get("features").and_then(Value::as_array);
            let mut features = features.into_iter().flatten().filter_map(Value::as_str);
            if name == simulation || features.any(|it| it == feature) {
                amiss.push(format!("[{table}] {name}"));
            }
        }
    }
    amiss
}

#[test]
fn no_crate_but_the_simulation_can_turn_safeguards_off() {
    let mut violations = Vec::new();
    for package in metadata().workspace_packages() {
        if package.name == SIMULATION.0 {
            continue;
        }
        let manifest = fs::read_to_string(&package.manifest_path).expect("cargo has read it too");
        for what in built_with_switches(&manifest.parse().expect("cargo has parsed it too")) {
            violations.push(format!(
                "{}: {what}: expected neither {} nor its feature `{}`",
                package.name, SIMULATION.0, SIMULATION.1
            ));
        }
    }
    assert_none(&violations);
}

#[test]
fn a_crate_that_turns_safeguards_off_is_found() {
    let manifest = "
        [dependencies]
        cloudai-core = { workspace = true, features = [\"simulation\"] }
        cloudai-model.workspace = true
        [dev-dependencies]
        cloudai-sim.workspace = true";

    let amiss = built_with_switches(&manifest.parse().expect("a manifest"));

    assert_eq!(
        amiss,
        [
            "[dependencies] cloudai-core",
            "[dev-dependencies] cloudai-sim"
        ]
    );
}

#[test]
fn programs_that_are_shipped_are_built_without_the_simulation() {
    // One build of both would unite their features.
    let makefile = fs::read_to_string(root().join("Makefile")).expect("the project has one");
    let builds = makefile.lines().filter(|line| line.contains("cargo build"));
    let whole: Vec<&str> = builds.filter(|line| line.contains("--workspace")).collect();
    assert!(!whole.is_empty(), "`make build` builds the workspace");
    let exclude = format!("--exclude {}", SIMULATION.0);
    assert!(
        whole.iter().all(|line| line.contains(&exclude)),
        "{whole:?}"
    );
}
