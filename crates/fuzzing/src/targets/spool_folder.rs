//! A worker's spool as a start finds it: folders of attempts, whole, damaged or half deleted.
//!
//! Each part `%%folder/file` of an input is a file of the spool; `%%file` stands at its top. What
//! holds: a start never fails over what is in there; an attempt is found at most once, in the folder
//! that is named after it; each folder becomes a record, a question to its container, a loss or
//! nothing, and what is given up is said; a second start finds the same records; and nothing outside
//! the spool is touched.

use std::{
    collections::BTreeSet,
    fs,
    path::{Component, Path},
};

use cloudai_files::log::{Frame, LogStream, encode};
use cloudai_model::AttemptId;
use cloudai_worker::fuzzing::spool;

use super::spool_records::{ORDER, STATE};
use crate::{
    Seed, Verdict,
    said::{LONGEST, assert_said_within},
    scratch, sections,
};

/// So many files are made.
const MOST: usize = 12;

/// See the module.
pub(super) fn check(bytes: &[u8]) -> Verdict {
    let outside = scratch::folder();
    let root = outside.path().join("spool");
    for (name, content) in sections::split(bytes).into_iter().take(MOST) {
        let path = Path::new(name);
        let plain = path
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        let odd = name.is_empty() || name.contains(char::is_control);
        if odd || !plain || path.components().count() > 3 {
            continue;
        }
        let path = root.join(path);
        // A file where a folder should be, or a name that is too long: then there is none.
        if path
            .parent()
            .is_some_and(|folder| fs::create_dir_all(folder).is_ok())
        {
            let _made = fs::write(&path, content).is_ok();
        }
    }

    let found = spool(&root).expect("a start goes on with whatever is there");
    let mut seen = BTreeSet::new();
    let held = found.records.iter().chain(&found.stateless);
    for attempt in held.clone() {
        assert!(seen.insert(attempt.clone()), "{attempt} was found twice");
        assert!(
            has_order(&root, attempt),
            "{attempt} is in a folder of another name"
        );
    }
    for attempt in &found.lost {
        assert!(!seen.contains(attempt), "{attempt} is lost and held");
    }
    for note in &found.notes {
        // Two paths and an error, at most.
        assert_said_within(note, 2 * LONGEST);
    }
    let lost_or_asked = found.lost.len() + found.stateless.len();
    assert!(
        found.notes.len() >= lost_or_asked,
        "what is given up is said"
    );

    let again = spool(&root).expect("a second start, too");
    assert_eq!(again.records, found.records);
    assert_eq!(again.stateless, found.stateless);
    assert_eq!(again.tombstones, found.tombstones);
    // What is given up was put aside, unless a file is in the way.
    assert!(
        again
            .lost
            .iter()
            .all(|attempt| found.lost.contains(attempt))
    );
    let beside: Vec<_> = fs::read_dir(outside.path()).expect("it is there").collect();
    assert_eq!(beside.len(), 1, "{beside:?}");
    Verdict::accepted_if(held.count() > 0)
}

fn has_order(root: &Path, attempt: &AttemptId) -> bool {
    root.join(attempt.to_string()).join("order.json").is_file()
}

/// Spools whole and damaged.
pub(super) fn seeds() -> Vec<Seed> {
    let mut log = Vec::new();
    let frame = Frame {
        stream: LogStream::Stdout,
        at_ns: 1,
        data: "hello, this is 24 bytes!".into(),
    };
    encode(&frame, &mut log);
    let part = |name: &str, content: &[u8]| [b"\n%%", name.as_bytes(), b"\n", content].concat();
    let order = || part("task-7-2/order.json", ORDER.as_bytes());
    let state = || part("task-7-2/state.json", STATE.as_bytes());
    let copy = STATE.replace("\"order\":null", &format!("\"order\":{ORDER}"));
    let copy = part(
        "task-7-2/state.json",
        copy.replace("{\"version\":1,\"task\"", "{\"task\"")
            .as_bytes(),
    );
    let damaged = || part("task-7-2/order.json", &ORDER.as_bytes()[..50]);
    let tombstones = part("tombstones.json", br#"{"version":1,"attempts":[["a",1]]}"#);
    let later = br#"{"version":2}"#;
    vec![
        Seed::good("accepted", order()),
        Seed::good(
            "ended",
            [order(), state(), part("task-7-2/log", &log), tombstones].concat(),
        ),
        Seed::good(
            "log-cut",
            [order(), state(), part("task-7-2/log", &log[..20])].concat(),
        ),
        Seed::good(
            "state-damaged",
            [order(), part("task-7-2/state.json", b"{")].concat(),
        ),
        Seed::good("order-mended", [damaged(), copy].concat()),
        Seed::bad("order-damaged", damaged()),
        Seed::bad(
            "half-deleted",
            [state(), part("task-7-2/output/x", b"1")].concat(),
        ),
        Seed::bad(
            "another-name",
            part("task-8-1/order.json", ORDER.as_bytes()),
        ),
        Seed::bad(
            "two-of-one",
            [
                part("task-7-02/order.json", ORDER.as_bytes()),
                part("other/order.json", ORDER.as_bytes()),
            ]
            .concat(),
        ),
        Seed::bad("later-program", part("task-7-2/order.json", later)),
        Seed::bad(
            "files-in-the-way",
            [part("damaged", b""), damaged()].concat(),
        ),
        Seed::bad(
            "folders-in-the-way",
            [
                part("tombstones.json/x", b""),
                part("a-1/order.json/x", b""),
            ]
            .concat(),
        ),
        Seed::bad("nothing", ""),
    ]
}
