//! Framed logs: as bytes that come in pieces, and as a file with whatever a crash, a disk or a worker
//! left at its end.
//!
//! What holds: frames are the same however the bytes are cut; written again they are the bytes that
//! they were read from; opening a log repairs it to the whole frames that it began with, no more and
//! no less, and a second opening changes nothing; all ways to read it show the same output; what is
//! appended behind the repair is read back; and an error names its place and what was expected.

use std::fs;

use bytes::Bytes;
use cloudai_files::log::{
    Decoder, Frame, FrameError, HEADER_LEN, LogError, LogReader, LogStream, LogWriter,
    MAX_PAYLOAD_LEN, encode, render, tail_text, whole_len,
};

use crate::{Seed, Verdict, said::assert_said, scratch};

/// See the module.
pub(super) fn check(bytes: &[u8]) -> Verdict {
    let (frames, error) = decoded(bytes, bytes.len().max(1));
    let mut again = Vec::new();
    for frame in &frames {
        assert!((1..=MAX_PAYLOAD_LEN).contains(&frame.data.len()));
        encode(frame, &mut again);
    }
    assert!(
        bytes.starts_with(&again),
        "what was read is what stands there"
    );
    for size in [1, 7, HEADER_LEN, HEADER_LEN + 1] {
        assert_eq!(
            decoded(bytes, size),
            (frames.clone(), error),
            "in pieces of {size}"
        );
    }
    if let Some(error) = &error {
        assert_eq!(error.offset, again.len() as u64);
        assert_said(error);
    }
    in_a_file(bytes, &frames, &again, error.is_some());
    Verdict::accepted_if(!frames.is_empty())
}

fn decoded(bytes: &[u8], size: usize) -> (Vec<Frame>, Option<FrameError>) {
    let mut decoder = Decoder::new();
    let mut frames = Vec::new();
    for piece in bytes.chunks(size) {
        decoder.feed(piece);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    let read: usize = frames
        .iter()
        .map(|frame| HEADER_LEN + frame.data.len())
        .sum();
    assert_eq!(decoder.position(), read as u64);
    assert_eq!(decoder.pending_len(), bytes.len() - read);
    (frames, None)
}

fn in_a_file(bytes: &[u8], frames: &[Frame], whole: &[u8], is_malformed: bool) {
    let folder = scratch::folder();
    let path = folder.path().join("log");
    fs::write(&path, bytes).expect("a small file can be written");
    let output: Vec<u8> = frames.iter().flat_map(|frame| frame.data.clone()).collect();

    assert_eq!(whole_len(&path).expect("it is read"), whole.len() as u64);
    let reader = LogReader::open(&path).expect("it is there");
    let read: Vec<_> = reader.frames_from(0).collect();
    let good = read.iter().map_while(|frame| frame.as_ref().ok());
    assert!(good.eq(frames), "a reader sees the same frames");
    assert_eq!(read.iter().any(Result::is_err), is_malformed);
    let mut rendered = Vec::new();
    let shown = render(&path, None, &mut rendered);
    assert!(
        rendered.starts_with(&output),
        "what precedes a damage is shown"
    );
    assert_eq!(shown.is_err(), is_malformed);

    let (mut writer, repair) = LogWriter::open(&path).expect("a log is opened whatever it holds");
    assert_eq!(
        (repair.len, repair.cut),
        (whole.len() as u64, (bytes.len() - whole.len()) as u64)
    );
    assert_eq!(fs::read(&path).expect("it is there"), whole, "repaired");
    let (_, again) = LogWriter::open(&path).expect("once more");
    assert_eq!((again.len, again.cut), (repair.len, 0));

    let last = Frame {
        stream: LogStream::Stderr,
        at_ns: i64::MIN,
        data: Bytes::from_static("größe".as_bytes()),
    };
    writer
        .append(std::slice::from_ref(&last))
        .expect("a repaired log goes on");
    let reader = LogReader::open(&path).expect("it is there");
    let appended: Result<Vec<Frame>, LogError> = reader.frames_from(repair.len).collect();
    assert_eq!(appended.expect("it is framed"), [last]);
    // With room for all of it, and with room for the last word but for a byte of it.
    let all = String::from_utf8_lossy(&[&output[..], "größe".as_bytes()].concat()).into_owned();
    assert_eq!(tail_text(&path, usize::MAX / 4).expect("it is framed"), all);
    assert_eq!(tail_text(&path, 4).expect("it is framed"), "ße");
    assert_eq!(writer.tail_text(4).expect("it is framed"), "ße");
}

/// A log of these pieces of standard output and error.
pub(super) fn framed(pieces: &[(bool, &[u8])]) -> Vec<u8> {
    let mut log = Vec::new();
    for (number, (is_error, data)) in pieces.iter().enumerate() {
        let frame = Frame {
            stream: if *is_error {
                LogStream::Stderr
            } else {
                LogStream::Stdout
            },
            at_ns: 1_700_000_000_000_000_000 + number as i64,
            data: Bytes::copy_from_slice(data),
        };
        encode(&frame, &mut log);
    }
    log
}

/// Whole logs, torn ones, and headers that are wrong in each of their parts.
pub(super) fn seeds() -> Vec<Seed> {
    let log = framed(&[
        (false, b"hello\n"),
        (true, b"\xff\xfe"),
        (false, "größe\n".as_bytes()),
    ]);
    let torn = |length: usize| log[..length].to_vec();
    let wrong = |at: usize, byte: u8| {
        let mut wrong = log.clone();
        wrong[at] = byte;
        wrong
    };
    vec![
        Seed::good("whole", log.clone()),
        Seed::good("long", framed(&[(false, &[b'x'; 3000]), (true, b"y")])),
        Seed::good("torn-in-a-header", torn(30)),
        Seed::good("torn-in-a-payload", torn(log.len() - 1)),
        Seed::good("second-stream", wrong(22, 3)),
        Seed::good("second-length", wrong(26, 0)),
        Seed::bad("first-stream", wrong(0, 0)),
        Seed::bad("reserved", wrong(2, 1)),
        Seed::bad("longest-length", wrong(7, 0xff)),
        Seed::bad("zeros", [0; 64]),
        Seed::bad("nothing", []),
    ]
}
