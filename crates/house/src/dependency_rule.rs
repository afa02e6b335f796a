//! Who may depend on whom. The heart stays free of I/O because nothing that does I/O can be reached from it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cargo_metadata::{DependencyKind, Metadata};

use crate::repository::{assert_none, metadata};

/// Crates that decide or describe, and the only crates of ours that each may know.
const PURE: &[(&str, &[&str])] = &[
    ("cloudai-model", &[]),
    ("cloudai-core", &["cloudai-model"]),
    ("cloudai-worker-core", &["cloudai-model"]),
    (
        "cloudai-sim",
        // The clock is for its program alone, which shows how long it takes.
        &[
            "cloudai-clock",
            "cloudai-core",
            "cloudai-model",
            "cloudai-worker-core",
        ],
    ),
];

/// What a pure crate must not reach, not even through others.
const IMPURE: &[&str] = &[
    "axum", "bollard", "hyper", "mongodb", "prost", "rusqlite", "tokio", "tonic",
];

/// Crates that are programs: nothing may be built upon them.
const PROGRAMS: &[&str] = &["cloudai-cli", "cloudai-master", "cloudai-worker"];

/// The one crate that runs the programs.
const END_TO_END_TESTS: &str = "cloudai-tests";

/// The one crate that throws bytes at all the others' readers, those of the programs too; nothing but
/// its own tests and the fuzzers are built upon it.
const FUZZING: &str = "cloudai-fuzzing";

/// The one crate that touches wire types.
const WIRE: &str = "cloudai-proto";

/// The one crate that talks to databases, and how.
const STORE: &str = "cloudai-store";
const DATABASES: &[&str] = &["mongodb", "rusqlite"];

/// The one crate that is a server for HTTP; what a master can be asked it knows as a trait. The
/// end-to-end tests are its clients.
const HTTP: &str = "cloudai-http";
const SERVERS: &[&str] = &["axum", "hyper", "tower-http"];

/// Crates that speak for a master to somebody, and what of ours they must not know.
const FRONT_ENDS: &[&str] = &["cloudai-api", HTTP, "cloudai-console"];
const BEHIND_THE_OPERATOR: &[&str] = &[STORE, WIRE];

/// Names to the names that each depends on, version apart.
#[derive(Default)]
struct Graph {
    /// Dependencies that end up in the program.
    normal: BTreeMap<String, BTreeSet<String>>,
    /// These and the ones for tests and build scripts.
    any: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn of(metadata: &Metadata) -> Self {
        let name = |id| metadata[id].name.to_string();
        let mut graph = Self::default();
        let resolve = metadata
            .resolve
            .as_ref()
            .expect("cargo metadata was asked to resolve");
        for node in &resolve.nodes {
            for dependency in &node.deps {
                let (from, to) = (name(&node.id), name(&dependency.pkg));
                if dependency
                    .dep_kinds
                    .iter()
                    .any(|kind| kind.kind == DependencyKind::Normal)
                {
                    graph
                        .normal
                        .entry(from.clone())
                        .or_default()
                        .insert(to.clone());
                }
                graph.any.entry(from).or_default().insert(to);
            }
        }
        graph
    }

    /// The shortest way from one package to another through normal dependencies, both ends included.
    fn way(&self, from: &str, to: &str) -> Option<Vec<String>> {
        let mut seen = BTreeSet::from([from]);
        let mut ways = VecDeque::from([vec![from]]);
        while let Some(way) = ways.pop_front() {
            let last = *way.last()?;
            if last == to {
                return Some(way.into_iter().map(str::to_owned).collect());
            }
            for next in self.normal.get(last).into_iter().flatten() {
                if seen.insert(next) {
                    ways.push_back([way.as_slice(), &[next.as_str()]].concat());
                }
            }
        }
        None
    }

    fn violations(&self) -> Vec<String> {
        let mut violations = Vec::new();
        for (pure, known) in PURE {
            for impure in IMPURE {
                if let Some(way) = self.way(pure, impure) {
                    violations.push(format!(
                        "{pure} must not reach {impure}, and does: {}",
                        way.join(" -> ")
                    ));
                }
            }
            for dependency in self.normal.get(*pure).into_iter().flatten() {
                if dependency.starts_with("cloudai-") && !known.contains(&dependency.as_str()) {
                    violations.push(format!(
                        "{pure} may know of ours only {known:?}, and depends on {dependency}"
                    ));
                }
            }
        }
        for (package, dependencies) in &self.any {
            for dependency in dependencies.iter().map(String::as_str) {
                let ours = package.starts_with("cloudai-");
                if ours && ![WIRE, FUZZING].contains(&package.as_str()) && dependency == "prost" {
                    violations.push(format!(
                        "{package} depends on prost: wire types are touched in {WIRE} alone"
                    ));
                }
                if ours && package != STORE && DATABASES.contains(&dependency) {
                    violations.push(format!(
                        "{package} depends on {dependency}: databases are behind the trait of {STORE}"
                    ));
                }
                let may_speak_http = [HTTP, END_TO_END_TESTS].contains(&package.as_str());
                if ours && !may_speak_http && SERVERS.contains(&dependency) {
                    violations.push(format!(
                        "{package} depends on {dependency}: HTTP is served by {HTTP} alone"
                    ));
                }
                let is_front_end = FRONT_ENDS.contains(&package.as_str());
                if is_front_end && BEHIND_THE_OPERATOR.contains(&dependency) {
                    violations.push(format!(
                        "{package} depends on {dependency}: it knows a master as cloudai-operator alone"
                    ));
                }
                if dependency == FUZZING {
                    violations.push(format!(
                        "{package} depends on {FUZZING}, which is there for tests alone"
                    ));
                }
                let may_run_programs = [END_TO_END_TESTS, FUZZING].contains(&package.as_str());
                if PROGRAMS.contains(&dependency) && !may_run_programs {
                    violations.push(format!(
                        "{package} depends on {dependency}, which is a program: move what both need into a crate \
                         of its own"
                    ));
                }
            }
        }
        violations
    }
}

#[test]
fn the_repository_keeps_the_dependency_rule() {
    let metadata = metadata();
    let names: Vec<&str> = metadata
        .workspace_packages()
        .iter()
        .map(|p| p.name.as_str())
        .collect();
    assert!(
        names.contains(&"cloudai-model"),
        "expected cloudai-model among {names:?}"
    );
    assert!(names.contains(&WIRE), "expected {WIRE} among {names:?}");

    assert_none(&Graph::of(&metadata).violations());
}

fn made_up(edges: &[(&str, &str)]) -> Graph {
    let mut graph = Graph::default();
    for (from, to) in edges {
        graph
            .normal
            .entry((*from).to_owned())
            .or_default()
            .insert((*to).to_owned());
    }
    graph.any = graph.normal.clone();
    graph
}

#[test]
fn a_way_to_tokio_through_others_is_found_and_shown() {
    let graph = made_up(&[
        ("cloudai-core", "cloudai-model"),
        ("cloudai-core", "innocent"),
        ("innocent", "in-between"),
        ("in-between", "tokio"),
    ]);

    assert_eq!(
        graph.violations(),
        [
            "cloudai-core must not reach tokio, and does: cloudai-core -> innocent -> in-between -> tokio"
        ]
    );
}

#[test]
fn a_pure_crate_that_knows_too_much_is_found() {
    let graph = made_up(&[
        ("cloudai-worker-core", "cloudai-core"),
        ("cloudai-model", "cloudai-files"),
    ]);

    let violations = graph.violations();

    assert_eq!(violations.len(), 2, "{violations:?}");
    assert!(
        violations[0].contains("cloudai-model may know of ours only []"),
        "{violations:?}"
    );
    assert!(
        violations[1].contains("depends on cloudai-core"),
        "{violations:?}"
    );
}

#[test]
fn wire_types_outside_and_programs_as_libraries_are_found() {
    let graph = made_up(&[
        ("cloudai-proto", "prost"),
        ("cloudai-master", "prost"),
        ("cloudai-cli", "cloudai-master"),
        ("cloudai-tests", "cloudai-worker"),
        ("cloudai-fuzzing", "cloudai-worker"),
        ("cloudai-fuzzing", "prost"),
        ("cloudai-store", "cloudai-fuzzing"),
        ("tonic-prost", "prost"),
    ]);

    let violations = graph.violations();

    assert_eq!(violations.len(), 3, "{violations:?}");
    assert!(
        violations[0].starts_with("cloudai-cli depends on cloudai-master"),
        "{violations:?}"
    );
    assert!(
        violations[1].starts_with("cloudai-master depends on prost"),
        "{violations:?}"
    );
    assert!(
        violations[2].starts_with("cloudai-store depends on cloudai-fuzzing"),
        "{violations:?}"
    );
}

#[test]
fn a_database_outside_of_the_store_is_found() {
    let graph = made_up(&[
        ("cloudai-store", "mongodb"),
        ("cloudai-master", "mongodb"),
        ("cloudai-master", "cloudai-store"),
        ("cloudai-tests", "rusqlite"),
    ]);

    let violations = graph.violations();

    assert_eq!(violations.len(), 2, "{violations:?}");
    assert!(
        violations[0].starts_with("cloudai-master depends on mongodb"),
        "{violations:?}"
    );
}

#[test]
fn a_second_server_and_a_front_end_that_looks_behind_the_operator_are_found() {
    let graph = made_up(&[
        ("cloudai-http", "axum"),
        ("cloudai-http", "cloudai-operator"),
        ("cloudai-http", "cloudai-store"),
        ("cloudai-engine", "hyper"),
        ("cloudai-tests", "hyper"),
    ]);

    let violations = graph.violations();

    assert_eq!(violations.len(), 2, "{violations:?}");
    assert!(
        violations[0].starts_with("cloudai-engine depends on hyper"),
        "{violations:?}"
    );
    assert!(
        violations[1].starts_with("cloudai-http depends on cloudai-store"),
        "{violations:?}"
    );
}

#[test]
fn a_circle_is_no_trap() {
    let graph = made_up(&[("cloudai-model", "a"), ("a", "b"), ("b", "a")]);
    assert_none(&graph.violations());
}
