//! The board for Grafana asks for what a master really has: each name in its queries is a metric of the catalogue, and
//! each label one that the metric has.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use cloudai_metrics::catalogue;
use serde_json::Value;

use crate::repository::{assert_none, text};

/// Labels that Prometheus itself gives everything that it reads.
const GIVEN: [&str; 2] = ["instance", "job"];
/// Words of PromQL that stand where a metric could, and are not followed by an argument.
const WORDS: [&str; 5] = ["and", "or", "unless", "bool", "offset"];
/// Words of PromQL that are followed by labels in parentheses.
const GROUPING: [&str; 6] = [
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
];

/// A part of a query, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Name(String),
    Sign(char),
    /// What is in quotes or brackets, and numbers.
    Other,
}

fn tokens(query: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = query.chars().peekable();
    while let Some(first) = rest.next() {
        let token = match first {
            ' ' | '\n' => continue,
            '"' => {
                while rest.next().is_some_and(|next| next != '"') {}
                Token::Other
            }
            '[' => {
                while rest.next().is_some_and(|next| next != ']') {}
                Token::Other
            }
            'a'..='z' | 'A'..='Z' | '_' | ':' => {
                let mut name = String::from(first);
                while let Some(more) =
                    rest.next_if(|it| it.is_ascii_alphanumeric() || "_:".contains(*it))
                {
                    name.push(more);
                }
                Token::Name(name)
            }
            '0'..='9' => {
                while rest
                    .next_if(|it| it.is_ascii_alphanumeric() || *it == '.')
                    .is_some()
                {}
                Token::Other
            }
            sign => Token::Sign(sign),
        };
        tokens.push(token);
    }
    tokens
}

/// What a query names: the labels that are asked of each metric, and those that its results are grouped by.
#[derive(Debug, Default)]
struct Named {
    metrics: BTreeMap<String, BTreeSet<String>>,
    grouped: BTreeSet<String>,
}

fn named(query: &str) -> Named {
    let tokens = tokens(query);
    let mut named = Named::default();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        let Token::Name(name) = token else { continue };
        let next = tokens.get(at);
        let names_until = |at: usize, end: char| {
            let inside = tokens[at..]
                .iter()
                .take_while(move |it| **it != Token::Sign(end));
            inside.filter_map(|it| match it {
                Token::Name(name) => Some(name.clone()),
                Token::Sign(_) | Token::Other => None,
            })
        };
        if GROUPING.contains(&name.as_str()) {
            named.grouped.extend(names_until(at + 1, ')'));
            at += tokens[at..]
                .iter()
                .take_while(|it| **it != Token::Sign(')'))
                .count();
        } else if WORDS.contains(&name.as_str()) || next == Some(&Token::Sign('(')) {
            // An operator or a function, or an aggregation, which may have its labels first.
        } else if let Some(Token::Name(word)) = next
            && GROUPING.contains(&word.as_str())
        {
            // As in `sum by (le) (...)`.
        } else {
            let asked = named.metrics.entry(name.clone()).or_default();
            if next == Some(&Token::Sign('{')) {
                asked.extend(names_until(at, '}'));
                at += tokens[at..]
                    .iter()
                    .take_while(|it| **it != Token::Sign('}'))
                    .count();
            }
        }
    }
    named
}

/// What is wrong with a query, and with the labels that its legend shows.
fn violations(query: &str, legend: &str) -> Vec<String> {
    let there: BTreeMap<_, _> = catalogue::all()
        .flat_map(catalogue::Family::series)
        .collect();
    let named = named(query);
    let mut violations = Vec::new();
    if named.metrics.is_empty() {
        violations.push(format!("no metric is named in {query}"));
    }
    let mut all: BTreeSet<&str> = GIVEN.into();
    for (metric, asked) in &named.metrics {
        let Some(labels) = there.get(metric) else {
            violations.push(format!("the master has no {metric}: {query}"));
            continue;
        };
        all.extend(labels);
        for label in asked {
            if !labels.contains(&label.as_str()) && !GIVEN.contains(&label.as_str()) {
                violations.push(format!("{metric} has no label {label}: {query}"));
            }
        }
    }
    let shown = legend
        .split("{{")
        .skip(1)
        .filter_map(|it| it.split("}}").next());
    for label in shown.chain(named.grouped.iter().map(String::as_str)) {
        if !all.contains(label) {
            violations.push(format!("nothing here has a label {label}: {query}"));
        }
    }
    if query.contains("histogram_quantile") && !named.grouped.contains("le") {
        violations.push(format!("a quantile needs the bounds: by (le): {query}"));
    }
    violations
}

fn board() -> Value {
    let text = text(Path::new("deploy/grafana/cloudai.json")).expect("it is text");
    serde_json::from_str(&text).expect("the board is JSON")
}

fn panels(board: &Value) -> Vec<&Value> {
    board["panels"]
        .as_array()
        .expect("a board has panels")
        .iter()
        .collect()
}

/// Each query of a panel and what its legend shows.
fn queries(panel: &Value) -> impl Iterator<Item = (&str, &str)> {
    let targets = panel["targets"].as_array().into_iter().flatten();
    targets.map(|target| {
        let word = |key: &str| target[key].as_str().expect("a target has both");
        (word("expr"), word("legendFormat"))
    })
}

#[test]
fn every_query_of_the_board_names_what_the_master_has() {
    let board = board();
    let panels = panels(&board);
    let asked: Vec<_> = panels.iter().flat_map(|panel| queries(panel)).collect();
    assert!(asked.len() > 40, "{}", asked.len());
    let wrong: Vec<_> = asked
        .iter()
        .flat_map(|(query, legend)| violations(query, legend))
        .collect();
    assert_none(&wrong);
}

#[test]
fn every_family_that_is_ours_is_on_the_board() {
    // What nobody looks at need not be counted.
    let board = board();
    let panels = panels(&board);
    let shown: BTreeSet<_> = panels
        .iter()
        .flat_map(|panel| queries(panel))
        .flat_map(|(query, _)| named(query).metrics.into_keys())
        .collect();
    let hidden: Vec<_> = catalogue::OURS
        .iter()
        .filter(|family| !family.series().iter().any(|(name, _)| shown.contains(name)))
        .map(|family| format!("{} is on no panel", family.name))
        .collect();
    assert_none(&hidden);
}

#[test]
fn panels_are_told_apart_and_don_t_lie_on_each_other() {
    let board = board();
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels(&board) {
        assert!(ids.insert(panel["id"].as_u64()), "{}", panel["id"]);
        let place = |key: &str| {
            panel["gridPos"][key]
                .as_u64()
                .expect("a panel has its place")
        };
        assert!(place("x") + place("w") <= 24, "{}", panel["title"]);
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(taken.insert((x, y)), "{} lies on another", panel["title"]);
            }
        }
        if panel["type"] != "row" {
            let says = panel["description"].as_str().unwrap_or_default();
            assert!(
                !says.is_empty(),
                "{} says nothing of itself",
                panel["title"]
            );
        }
    }
}

#[test]
fn a_query_for_what_isn_t_there_is_found() {
    for (query, legend, words) in [
        ("sum(cloudai_task)", "", "no cloudai_task"),
        ("cloudai_tasks{user=\"a\"}", "", "no label user"),
        ("sum by (user) (cloudai_tasks)", "", "a label user"),
        ("cloudai_ready", "{{status}}", "a label status"),
        (
            "cloudai_task_wait_seconds",
            "",
            "no cloudai_task_wait_seconds",
        ),
        ("1 - 2", "", "no metric"),
        (
            "histogram_quantile(0.5, rate(cloudai_task_wait_seconds_bucket[5m]))",
            "",
            "by (le)",
        ),
        ("cloudai_ready or cloudai_redy", "", "no cloudai_redy"),
    ] {
        let found = violations(query, legend);
        assert!(
            found.iter().any(|it| it.contains(words)),
            "{query}: {found:?}"
        );
    }
    let fine = "sum by (status) (rate(cloudai_tasks_ended_total{status!=\"x\"}[5m])) / 2 > bool 1";
    assert_eq!(violations(fine, "{{status}}"), [""; 0]);
}

/// What the board and the catalogue say of a cluster is explained to people, too.
#[test]
fn every_family_that_is_ours_is_told_of_in_the_docs() {
    let docs = text(Path::new("docs/telemetry.md")).expect("it is text");
    let untold: Vec<_> = catalogue::OURS
        .iter()
        .filter(|family| !docs.contains(&format!("`{}`", family.name)))
        .map(|family| format!("docs/telemetry.md doesn't tell of {}", family.name))
        .collect();
    assert_none(&untold);
}
