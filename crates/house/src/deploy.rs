//! What is handed out to be deployed has no password of its own, and says when it is well.

use std::path::Path;

use crate::repository::text;

/// The indented lines below `key:`, at whatever depth that stands.
fn block<'a>(yaml: &'a str, key: &str) -> Vec<&'a str> {
    let depth = |line: &str| line.len() - line.trim_start().len();
    let mut lines = yaml.lines();
    let head = lines.find(|line| line.trim() == format!("{key}:"));
    let head = head.unwrap_or_else(|| panic!("{key}: is missing"));
    lines
        .take_while(|line| depth(line) > depth(head) || line.trim().is_empty())
        .map(str::trim)
        .collect()
}

#[test]
fn the_database_of_docker_compose_is_checked_and_has_no_default_password() {
    let yaml = text(Path::new("deploy/docker-compose.yml")).expect("it is text");
    assert!(!yaml.contains('\t'), "YAML is not indented with tabs");

    let health = block(&yaml, "healthcheck");
    assert_eq!(health[0], "test:");
    assert!(
        health.iter().any(|line| line.contains("isWritablePrimary")),
        "{health:?}"
    );
    // Command lines are for everybody to read.
    assert!(
        !health
            .iter()
            .any(|line| line.contains("--password") || line.contains("$$")),
        "{health:?}"
    );

    let password = "MONGO_INITDB_ROOT_PASSWORD: ${MONGODB_PASSWORD:?";
    let environment = block(&yaml, "environment");
    let required = environment.iter().find(|line| line.starts_with(password));
    // What stands behind the question mark is what a person reads when there is none.
    assert!(
        required.is_some_and(|line| line.len() > password.len() + 10),
        "{environment:?}"
    );

    let others = block(&yaml, "ports");
    assert!(
        others.iter().all(|line| line.contains("127.0.0.1:")),
        "{others:?}"
    );
}
