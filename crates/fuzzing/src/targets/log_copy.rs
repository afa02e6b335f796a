//! A log as a master copies it: pieces of framed bytes with their offsets, from a worker that may
//! repeat, leave out or make up some of them.
//!
//! An input is a log's own bytes (`%%log`) and pieces of it (`%%offset length`, in the order in which
//! they come), or bytes that a liar sends (`%%lie offset`). What holds: the copy is at any time what was
//! sent, each byte once, and framed from its start; a piece that is refused changes nothing; one that
//! only repeats changes nothing, either; after a restart the copy is a prefix of what it was; and as
//! long as nobody lies it is a prefix of the log.

use std::{fs, path::Path};

use cloudai_files::log::{LogWriter, whole_len};

use super::log_frames::framed;
use crate::{Seed, Verdict, said::assert_said, scratch, sections};

/// See the module.
pub(super) fn check(bytes: &[u8]) -> Verdict {
    let folder = scratch::folder();
    let path = folder.path().join("copy.log");
    let (mut writer, _) = LogWriter::open(&path).expect("an empty log is made");
    let (mut log, mut lied, mut taken) = (&[][..], false, false);
    for (name, content) in sections::split(bytes) {
        let mut words = name.split(' ');
        let (offset, piece) = match words.next().unwrap_or_default() {
            "log" => {
                // There is one log.
                if log.is_empty() {
                    log = content;
                }
                continue;
            }
            "lie" => {
                lied = true;
                (words.next().and_then(|word| word.parse().ok()), content)
            }
            "restart" => {
                drop(writer);
                writer = restarted(&path);
                continue;
            }
            offset => {
                let offset: Option<u64> = offset.parse().ok();
                let from = offset.and_then(|offset| usize::try_from(offset).ok());
                let rest = log.get(from.unwrap_or(usize::MAX)..).unwrap_or_default();
                let length = words.next().and_then(|word| word.parse().ok());
                (offset, &rest[..rest.len().min(length.unwrap_or(0))])
            }
        };
        let before = fs::read(&path).expect("it is there");
        match writer.append_at(offset.unwrap_or(0), piece) {
            Ok(len) => {
                let after = fs::read(&path).expect("it is there");
                assert_eq!((after.len() as u64, writer.len()), (len, len));
                assert!(after.starts_with(&before), "what is held stays");
                let at = usize::try_from(offset.unwrap_or(0)).expect("it is within the copy");
                assert_eq!(&after[at..at + piece.len()], piece, "what was sent is held");
                taken |= after.len() > before.len();
            }
            Err(error) => {
                let words = error.to_string().replace(&*path.to_string_lossy(), "PATH");
                assert_said(words);
                assert_eq!(
                    fs::read(&path).expect("it is there"),
                    before,
                    "nothing was appended"
                );
            }
        }
        assert!(writer.whole_len() <= writer.len());
        assert_eq!(whole_len(&path).expect("it is read"), writer.whole_len());
        assert!(lied || log.starts_with(&fs::read(&path).expect("it is there")));
    }
    restarted(&path);
    Verdict::accepted_if(taken)
}

fn restarted(path: &Path) -> LogWriter {
    let before = fs::read(path).expect("it is there");
    let (writer, repair) = LogWriter::open(path).expect("it is opened whatever it holds");
    let after = fs::read(path).expect("it is there");
    assert!(before.starts_with(&after));
    assert_eq!(
        (after.len() as u64, before.len() as u64),
        (repair.len, repair.len + repair.cut)
    );
    writer
}

/// A log sent in order, in disorder, twice, and by a liar.
pub(super) fn seeds() -> Vec<Seed> {
    let log = framed(&[(false, b"hello\n"), (true, b"oh"), (false, b"bye\n")]);
    let with = |pieces: &str| [b"%%log\n", &log[..], b"\n", pieces.as_bytes()].concat();
    vec![
        Seed::good("in-order", with("%%0 10\n%%10 30\n%%40 99")),
        Seed::good("repeated", with("%%0 30\n%%0 30\n%%20 99\n%%5 2")),
        Seed::good("restart-within-a-frame", with("%%0 30\n%%restart\n%%22 99")),
        Seed::good("gap-then-all", with("%%20 5\n%%0 99")),
        Seed::good(
            "lie-behind",
            with("%%0 22\n%%lie 22\nno frame, not at all a frame"),
        ),
        Seed::good("lie-within", with("%%0 22\n%%lie 3\n\u{7}\u{7}")),
        Seed::bad("lie-at-once", with("%%lie 0\nthere is no frame in this")),
        Seed::bad(
            "far-off",
            with("%%18446744073709551615 3\n%%lie 18446744073709551615\nx"),
        ),
        Seed::bad("nothing", ""),
    ]
}
