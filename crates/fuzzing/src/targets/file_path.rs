//! Paths of output files: as texts that travelled (uploads, records, downloads) and as the bytes that
//! a container's file system gives.
//!
//! The first byte says which (`t` or `b`), the rest is the path. What holds: a path that is accepted
//! stays within its folder, by nothing but plain names of bounded length and number; it survives the
//! way through text, and the bytes of the system come out as they went in; and a refusal says what was
//! expected, at a bounded length.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Component, Path},
};

use cloudai_files::output::{MAX_DEPTH, MAX_NAME_LEN, MAX_PATH_LEN, RelativePath};

use crate::{Seed, Verdict, said::assert_said};

/// See the module.
pub(super) fn check(bytes: &[u8]) -> Verdict {
    let read = match bytes.split_first() {
        Some((b't', text)) => match std::str::from_utf8(text) {
            Ok(text) => text.parse::<RelativePath>(),
            Err(_) => return Verdict::Refused,
        },
        Some((b'b', raw)) => {
            let os = Path::new(OsStr::from_bytes(raw));
            let read = RelativePath::from_os(os);
            if let Ok(path) = &read {
                assert_eq!(path.to_os().as_os_str(), os.as_os_str());
            }
            read
        }
        _ => return Verdict::Refused,
    };
    match read {
        Ok(path) => {
            stays_within(&path);
            Verdict::Accepted
        }
        Err(error) => {
            assert_said(error);
            Verdict::Refused
        }
    }
}

/// What holds of every path that was accepted.
pub(super) fn stays_within(path: &RelativePath) {
    let os = path.to_os();
    let names: Vec<Component<'_>> = os.components().collect();
    assert!((1..=MAX_DEPTH).contains(&names.len()));
    assert!(os.as_os_str().len() <= MAX_PATH_LEN);
    for name in &names {
        assert!(matches!(name, Component::Normal(_)), "{name:?} in {path:?}");
        assert!(name.as_os_str().len() <= MAX_NAME_LEN);
    }
    // `components` passes over what a join would not.
    let joined: Vec<&[u8]> = names
        .iter()
        .map(|name| name.as_os_str().as_bytes())
        .collect();
    assert_eq!(joined.join(&b'/'), os.as_os_str().as_bytes());
    assert!(
        Path::new("/root/of/it")
            .join(&os)
            .starts_with("/root/of/it")
    );
    let again: Result<RelativePath, _> = path.as_str().parse();
    assert_eq!(again.as_ref(), Ok(path), "through text");
}

/// Names of every kind, and all that tries to leave.
pub(super) fn seeds() -> Vec<Seed> {
    let text = |path: &str| format!("t{path}");
    let long = "n".repeat(MAX_NAME_LEN);
    vec![
        Seed::good("plain", text("results/model.bin")),
        Seed::good("unicode", text("größe/日本/\u{202e}x")),
        Seed::good("percent", text("100%/a%2520b/%%2541")),
        Seed::good("escaped-dots-are-letters", text("%2e%2e%2fetc/%00")),
        Seed::good("escaped-byte", text("caf%E9")),
        Seed::good("backslash", text(r"a\..\b")),
        Seed::good("newline", text("two\nlines")),
        Seed::good("deepest", text(&vec!["d"; MAX_DEPTH].join("/"))),
        Seed::good("longest-name", text(&long)),
        Seed::good("bytes", &b"bcaf\xe9/%\xff/%41"[..]),
        Seed::good("hidden", text("..a/.b/...")),
        Seed::bad("empty", "t"),
        Seed::bad("absolute", text("/etc/passwd")),
        Seed::bad("dots", text("a/../../b")),
        Seed::bad("dot", text("./a")),
        Seed::bad("empty-name", text("a//b")),
        Seed::bad("nul", text("a\0b")),
        Seed::bad("nul-bytes", &b"ba\0b"[..]),
        Seed::bad("too-deep", text(&vec!["d"; MAX_DEPTH + 1].join("/"))),
        Seed::bad("too-long-a-name", text(&format!("{long}n"))),
        Seed::bad("too-long-in-bytes", text(&"%FF".repeat(MAX_NAME_LEN + 1))),
        Seed::bad("too-long", text(&"abcd/".repeat(1200))),
    ]
}
