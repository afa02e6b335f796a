//! Names of the parts of a backup, and where a restore would put them.
//!
//! What holds: a part goes to a place within the data directory, and to one of those that a backup
//! has: the store, a secret at the top, a log, an output file; all else is refused.

use std::path::{Component, Path};

use cloudai_archive::fuzzing::place_of;

use crate::{Seed, Verdict};

/// See the module.
pub(super) fn check(bytes: &[u8]) -> Verdict {
    // As an archive's reader does.
    let name = String::from_utf8_lossy(bytes);
    let Some(place) = place_of(&name) else {
        return Verdict::Refused;
    };
    let parts: Vec<_> = place.components().collect();
    assert!(
        parts
            .iter()
            .all(|part| matches!(part, Component::Normal(_))),
        "{place:?}"
    );
    assert!(Path::new("/data").join(&place).starts_with("/data"));
    let first = parts[0].as_os_str().to_string_lossy().into_owned();
    match parts.len() {
        1 => assert!(
            first == "cloudai.db" || first.ends_with(".key"),
            "{place:?}"
        ),
        3 => assert!(
            first == "logs" && place.extension().is_some_and(|it| it == "log"),
            "{place:?}"
        ),
        _ => assert!(first == "files" && parts.len() > 3, "{place:?}"),
    }
    Verdict::Accepted
}

/// A part of each kind, and names that would lead elsewhere.
pub(super) fn seeds() -> Vec<Seed> {
    let good = [
        "store/cloudai.db",
        "secrets/worker-token.key",
        "logs/task-7/2.log",
        "files/ann/task-7/a/b%25FF.txt",
        "files/ann/task-7/two\nlines",
    ];
    let bad = [
        "",
        "store/other.db",
        "secrets/../x.key",
        "secrets/a/b.key",
        "secrets/.key/..key/",
        "logs/../1.log",
        "logs/task-7/x.log",
        "files/ann/task-7/../../x",
        "files/../task-7/x",
        "/etc/passwd",
        "store/cloudai.db/",
    ];
    let good = (0..)
        .zip(good)
        .map(|(n, name)| Seed::good(&n.to_string(), name));
    let bad = (0..)
        .zip(bad)
        .map(|(n, name)| Seed::bad(&n.to_string(), name));
    good.chain(bad).collect()
}
