//! The JSON files of a worker's spool: orders, states, tombstones, what was left out, and the list of
//! pulled images.
//!
//! The first byte says which, the rest is the file. What holds: what was read and is written is read
//! again and written as the same bytes; and what can't be read is said with what was expected.

use std::fs;

use cloudai_worker::fuzzing::{images, left_out, order, state, tombstones};

use crate::{
    Seed, Verdict,
    said::{LONGEST, assert_said_within},
    scratch,
};

/// See the module.
pub(super) fn check(bytes: &[u8]) -> Verdict {
    let Some((kind, text)) = bytes.split_first() else {
        return Verdict::Refused;
    };
    match kind {
        b'o' => settles(text, |text| order(text).map(Some)),
        b's' => settles(text, state),
        b't' => settles(text, |text| tombstones(text).map(Some)),
        b'l' => settles(text, |text| left_out(text).map(Some)),
        b'i' => list_of_images(text),
        _ => Verdict::Refused,
    }
}

/// Reads and writes until nothing changes, which is at the second time.
fn settles(text: &[u8], again: impl Fn(&[u8]) -> Result<Option<Vec<u8>>, String>) -> Verdict {
    let written = match again(text) {
        Ok(written) => written,
        Err(error) => {
            // It names what was found, as far as the parser of JSON tells.
            assert_said_within(error, LONGEST);
            return Verdict::Refused;
        }
    };
    if let Some(written) = written {
        let once_more = again(&written).expect("what was written can be read");
        assert_eq!(once_more.as_ref(), Some(&written));
    }
    Verdict::Accepted
}

fn list_of_images(text: &[u8]) -> Verdict {
    let folder = scratch::folder();
    fs::write(folder.path().join("images.json"), text).expect("a small file can be written");
    let (count, damage) = images(folder.path());
    match damage {
        None => Verdict::Accepted,
        Some(damage) => {
            assert_eq!(count, 0, "a damaged list is an empty one");
            assert_said_within(damage, LONGEST);
            Verdict::Refused
        }
    }
}

/// An order, as a worker writes it.
pub(super) const ORDER: &str = r#"{"version":1,"task":"task-7","attempt":2,"sequence":4294967297,
"cluster":"c-1","cpu_milli":500,"memory_bytes":536870912,"storage_bytes":0,
"devices":[{"device":3,"milli":250}],"stop_grace_ms":10000,"user":"ann","name":"training",
"image":"alpine:3.22","command":{"exec":["echo","a b"]},"env":{"A":"1"},
"container":{"network":["lab"],"tmpfs":["/t:0.25"],"read_only":["true"]}}"#;

/// A state with its end.
pub(super) const STATE: &str = r#"{"version":1,"revision":7,"started":true,"image_digest":"sha256:ab",
"stop":{"cancel":"too slow"},"end":{"exit":{"stopped":"over its disk"},"started_at_ms":-1,
"finished_at_ms":1700000000000,"peak_memory_bytes":1,"cpu_time_ns":18446744073709551615,
"image_digest":null,"log_length_bytes":40,"log_incomplete":"cut","had_container":true},"order":null}"#;

/// Files of each kind, damaged ones too.
pub(super) fn seeds() -> Vec<Seed> {
    let file = |kind: char, text: &str| format!("{kind}{text}");
    let whole_order = ORDER.trim_start_matches("{\"version\":1,");
    let with_order = STATE.replace("\"order\":null", &format!("\"order\":{{{whole_order}"));
    let shell = ORDER.replace(r#"{"exec":["echo","a b"]}"#, r#"{"shell":"echo hi"}"#);
    vec![
        Seed::good("order", file('o', ORDER)),
        Seed::good("order-shell", file('o', &shell)),
        Seed::good(
            "order-image",
            file(
                'o',
                &ORDER.replace(r#"{"exec":["echo","a b"]}"#, "\"image\""),
            ),
        ),
        Seed::good("state", file('s', STATE)),
        Seed::good("state-with-its-order", file('s', &with_order)),
        Seed::good(
            "state-begun",
            file(
                's',
                r#"{"version":1,"revision":2,"started":false,"image_digest":null,"stop":"shutdown","end":null}"#,
            ),
        ),
        Seed::good(
            "tombstones",
            file(
                't',
                r#"{"version":1,"attempts":[["task-7",1],["a",4294967295]]}"#,
            ),
        ),
        Seed::good(
            "left-out",
            file(
                'l',
                r#"{"version":1,"notes":["left out a: is a FIFO"],"left_out":3}"#,
            ),
        ),
        Seed::good(
            "images",
            file(
                'i',
                r#"{"version":1,"images":[{"name":"alpine:3.22","id":"sha256:ab","used_at_ms":1}]}"#,
            ),
        ),
        Seed::bad(
            "order-of-a-later-program",
            file('o', r#"{"version":2,"anything":[]}"#),
        ),
        Seed::bad("order-task", file('o', &ORDER.replace("task-7", "../x"))),
        Seed::bad(
            "order-setting",
            file('o', &ORDER.replace("network", "netwrok")),
        ),
        Seed::bad(
            "order-that-steers",
            file(
                'o',
                &ORDER.replace(r#"{"exec":["echo","a b"]}"#, "\"\\u001b[2J\\n\""),
            ),
        ),
        Seed::bad("order-cut", file('o', &ORDER[..80])),
        Seed::bad(
            "state-number",
            file('s', &STATE.replace("\"revision\":7", "\"revision\":-7")),
        ),
        Seed::bad(
            "tombstones-of-nobody",
            file('t', r#"{"version":1,"attempts":[["",1]]}"#),
        ),
        Seed::bad("deep", file('t', &"[".repeat(3000))),
        Seed::bad(
            "newlines",
            file('o', "{\"version\":1,\"ta\\nsk\\u001b\":1}"),
        ),
        Seed::bad(
            "images-name",
            file(
                'i',
                r#"{"version":1,"images":[{"name":"","id":"","used_at_ms":1}]}"#,
            ),
        ),
        Seed::bad("nothing", ""),
    ]
}
