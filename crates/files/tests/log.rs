//! Logs on a real disk: torn tails, copies that resume, watchers beside a writer.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

use std::{fs, path::Path, time::Duration};

use bytes::Bytes;
use cloudai_files::log::{
    Decoder, Frame, LogError, LogFollower, LogReader, LogStore, LogStream, LogWriter,
    MAX_PAYLOAD_LEN, Repair, encode, render, tail_text,
};
use cloudai_model::{AttemptId, TaskId};
use proptest::prelude::*;

fn frame(stream: LogStream, at_ns: i64, data: impl AsRef<[u8]>) -> Frame {
    Frame {
        stream,
        at_ns,
        data: Bytes::copy_from_slice(data.as_ref()),
    }
}

fn stdout(data: impl AsRef<[u8]>) -> Frame {
    frame(LogStream::Stdout, 1_700_000_000_000_000_000, data)
}

fn framed(frames: &[Frame]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for frame in frames {
        encode(frame, &mut bytes);
    }
    bytes
}

fn any_frames() -> impl Strategy<Value = Vec<Frame>> {
    let any_frame = (
        any::<bool>(),
        any::<i64>(),
        prop::collection::vec(any::<u8>(), 1..100),
    )
        .prop_map(|(is_error, at_ns, data)| {
            let stream = if is_error {
                LogStream::Stderr
            } else {
                LogStream::Stdout
            };
            frame(stream, at_ns, data)
        });
    prop::collection::vec(any_frame, 0..12)
}

fn frames_in(path: &Path) -> Vec<Frame> {
    let reader = LogReader::open(path).unwrap();
    reader.frames_from(0).map(Result::unwrap).collect()
}

fn first_attempt() -> AttemptId {
    AttemptId::new(TaskId::numbered(7), 1)
}

/// Reads until the log is sealed, in pieces of at most `limit`.
async fn follow_to_the_end(mut follower: LogFollower, limit: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let whole = async {
        while follower.wait().await {
            bytes.extend(follower.read(limit).unwrap());
        }
    };
    tokio::time::timeout(Duration::from_secs(30), whole)
        .await
        .expect("a sealed log ends its watchers");
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_torn_tail_is_cut_and_the_log_goes_on(
        frames in any_frames(),
        cut in any::<prop::sample::Index>(),
        garbage in prop_oneof![Just(Vec::new()), prop::collection::vec(Just(0_u8), 1..100)],
    ) {
        // Given a log of which a crash left any part, perhaps with the zeros of blocks that were
        // never written.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.log");
        let mut bytes = framed(&frames);
        let cut = cut.index(bytes.len() + 1);
        bytes.truncate(cut);
        let kept = {
            let mut decoder = Decoder::new();
            decoder.feed(&bytes);
            let mut kept = Vec::new();
            while let Some(frame) = decoder.next_frame().unwrap() {
                kept.push(frame);
            }
            kept
        };
        let whole = framed(&kept).len();
        // Zeros behind half a frame may complete it: such a frame can't be told from a good one.
        let garbage = if whole == cut { garbage } else { Vec::new() };
        bytes.extend(&garbage);
        fs::write(&path, &bytes).unwrap();

        // When it is opened, then what is behind the last whole frame is gone, and told.
        let (mut writer, repair) = LogWriter::open(&path).unwrap();
        prop_assert_eq!(repair, Repair { len: whole as u64, cut: (bytes.len() - whole) as u64 });
        prop_assert_eq!(fs::metadata(&path).unwrap().len(), whole as u64);
        prop_assert_eq!(frames_in(&path), kept.clone());

        // And when it is appended to, then it goes on as if nothing had happened.
        writer.append(&[stdout("after")]).unwrap();
        let mut expected = kept;
        expected.push(stdout("after"));
        prop_assert_eq!(frames_in(&path), expected);
    }

    #[test]
    fn a_copy_in_any_pieces_that_overlap_is_the_spool_byte_for_byte(
        frames in any_frames(),
        pieces in prop::collection::vec((any::<prop::sample::Index>(), 1_usize..80), 0..20),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.log");
        let spool = framed(&frames);
        let (mut copy, _) = LogWriter::open(&path).unwrap();
        for (start, size) in pieces {
            let held = usize::try_from(copy.len()).unwrap();
            let start = start.index(held + 1);
            let end = (start + size).min(spool.len());
            let len = copy.append_at(start as u64, &spool[start..end]).unwrap();
            prop_assert_eq!(len, held.max(end) as u64);
        }
        // After a break the copy is opened again, and goes on at its length.
        drop(copy);
        let (mut copy, repair) = LogWriter::open(&path).unwrap();
        let from = usize::try_from(repair.len).unwrap();
        copy.append_at(repair.len, &spool[from..]).unwrap();
        prop_assert_eq!(fs::read(&path).unwrap(), spool);
    }
}

#[test]
fn what_does_not_continue_the_log_is_refused_and_leaves_it_as_it_was() {
    // Given a log of one frame.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("1.log");
    let (mut writer, _) = LogWriter::open(&path).unwrap();
    let len = writer.append(&[stdout("abc")]).unwrap();
    let before = fs::read(&path).unwrap();

    // When bytes come that leave a gap, contradict what is there, or are no frame, then each is
    // told by its own error.
    let gap = writer.append_at(len + 1, b"x").unwrap_err();
    assert!(matches!(gap, LogError::Gap { len: l, offset, .. } if l == len && offset == len + 1));
    let other = writer.append_at(16, b"aXc").unwrap_err();
    assert!(matches!(other, LogError::Differs { at: 17, .. }), "{other}");
    let malformed = writer.append_at(len, &[9; 16]).unwrap_err();
    assert!(
        matches!(malformed, LogError::Malformed { .. }),
        "{malformed}"
    );

    // And the log is what it was, and still takes what is right.
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(
        writer.append_at(0, &before).unwrap(),
        len,
        "a repeated piece changes nothing"
    );
    writer.append(&[stdout("d")]).unwrap();
    assert_eq!(frames_in(&path), [stdout("abc"), stdout("d")]);

    // When it is sealed, then it takes nothing new, but a repeated piece still does no harm.
    writer.seal();
    assert!(matches!(
        writer.append(&[stdout("e")]).unwrap_err(),
        LogError::Sealed { .. }
    ));
    writer.append_at(0, &before).unwrap();
}

#[test]
fn frames_are_not_mixed_into_half_a_copied_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("1.log");
    let (mut writer, _) = LogWriter::open(&path).unwrap();
    let bytes = framed(&[stdout("abcdef")]);
    writer.append_at(0, &bytes[..20]).unwrap();
    assert_eq!((writer.len(), writer.whole_len()), (20, 0));
    let error = writer.append(&[stdout("x")]).unwrap_err();
    assert!(matches!(error, LogError::MidFrame { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_that_join_at_any_time_get_exactly_the_bytes() {
    // Given a log that a slow and a fast watcher follow from its start.
    let folder = tempfile::tempdir().unwrap();
    let store = LogStore::new(folder.path().join("logs"));
    let attempt = first_attempt();
    let (log, repair) = store.writer(&attempt).unwrap();
    assert_eq!(repair, Some(Repair { len: 0, cut: 0 }));
    let slow = tokio::spawn(follow_to_the_end(store.follow(&attempt, 0).unwrap(), 7));
    let fast = tokio::spawn(follow_to_the_end(
        store.follow(&attempt, 0).unwrap(),
        1 << 20,
    ));

    // When frames are written, and in between one more watcher joins from where the log is.
    let mut expected = Vec::new();
    let mut late = None;
    for number in 0..500 {
        if number == 250 {
            let from = log.len();
            let follower = store.follow(&attempt, from).unwrap();
            late = Some((from, tokio::spawn(follow_to_the_end(follower, 100))));
        }
        let frames = [stdout(format!("line {number}\n"))];
        expected.extend(framed(&frames));
        log.append(&frames).unwrap();
        if number % 50 == 0 {
            tokio::task::yield_now().await;
        }
    }
    store.close(&attempt).unwrap();

    // Then each gets every byte from its start on, and ends.
    assert_eq!(slow.await.unwrap(), expected);
    assert_eq!(fast.await.unwrap(), expected);
    let (from, late) = late.unwrap();
    assert_eq!(
        late.await.unwrap(),
        expected[usize::try_from(from).unwrap()..]
    );

    // And whoever comes after the end reads it all at once.
    let after = store.follow(&attempt, 0).unwrap();
    assert_eq!(follow_to_the_end(after, 1000).await, expected);
}

#[tokio::test]
async fn a_writer_that_goes_away_ends_its_watchers() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, _) = LogWriter::open(&folder.path().join("1.log")).unwrap();
    let follower = writer.follow(0).unwrap();
    writer.append(&[stdout("abc")]).unwrap();
    drop(writer);
    assert_eq!(
        follow_to_the_end(follower, 1000).await,
        framed(&[stdout("abc")])
    );
}

#[test]
fn the_writers_of_one_attempt_are_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = LogStore::new(folder.path());
    let (one, _) = store.writer(&first_attempt()).unwrap();
    let (other, repair) = store.clone().writer(&first_attempt()).unwrap();
    assert_eq!(repair, None, "it was open already");
    one.append(&[stdout("a")]).unwrap();
    other.append(&[stdout("b")]).unwrap();
    assert_eq!(one.len(), other.len());
    store.close(&first_attempt()).unwrap();
    assert_eq!(
        frames_in(&store.path(&first_attempt())),
        [stdout("a"), stdout("b")]
    );
}

#[test]
fn rendering_gives_what_the_task_printed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("1.log");
    let (mut writer, _) = LogWriter::open(&path).unwrap();
    writer
        .append(&[
            stdout("out 1\n"),
            frame(LogStream::Stderr, 2, b"err \xff\n"),
            stdout(vec![b'x'; MAX_PAYLOAD_LEN + 5]),
        ])
        .unwrap();
    let rendered = |only| {
        let mut out = Vec::new();
        let written = render(&path, only, &mut out).unwrap();
        assert_eq!(written, out.len() as u64);
        out
    };
    let xs = vec![b'x'; MAX_PAYLOAD_LEN + 5];
    assert_eq!(rendered(None), [&b"out 1\nerr \xff\n"[..], &xs].concat());
    assert_eq!(
        rendered(Some(LogStream::Stdout)),
        [&b"out 1\n"[..], &xs].concat()
    );
    assert_eq!(rendered(Some(LogStream::Stderr)), b"err \xff\n");
}

#[test]
fn the_tail_is_the_end_of_the_text_without_torn_characters() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("1.log");
    let (mut writer, _) = LogWriter::open(&path).unwrap();
    assert_eq!(tail_text(&path, 10).unwrap(), "");
    for number in 0..100_000 {
        // Many frames, to pass the point where the buffer is cut.
        if number % 1000 == 0 {
            let lines: String = (number..number + 1000)
                .map(|n| format!("zeile {n:06} ü\n"))
                .collect();
            writer.append(&[stdout(lines)]).unwrap();
        }
    }
    let tail = tail_text(&path, 64 * 1024).unwrap();
    assert!(
        tail.len() <= 64 * 1024 && tail.len() > 64 * 1024 - 4,
        "{}",
        tail.len()
    );
    assert!(tail.ends_with("zeile 099998 ü\nzeile 099999 ü\n"));
    assert!(!tail.contains('\u{fffd}'));

    // "ü\n" is three bytes: the cut goes through the character, which is left out whole.
    assert_eq!(tail_text(&path, 2).unwrap(), "\n");
    assert_eq!(tail_text(&path, 3).unwrap(), "ü\n");

    // A byte that is no UTF-8 in the middle is shown as such.
    writer.append(&[stdout(b"a\xffb")]).unwrap();
    assert_eq!(tail_text(&path, 3).unwrap(), "a\u{fffd}b");
}

#[test]
fn a_log_that_is_not_there_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let store = LogStore::new(folder.path());
    let error = store.follow(&first_attempt(), 0).unwrap_err();
    assert!(
        matches!(&error, LogError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
    );
    assert!(
        error.to_string().ends_with("task-7/1.log: cannot open it"),
        "{error}"
    );
}
