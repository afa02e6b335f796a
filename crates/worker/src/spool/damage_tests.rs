//! Spools whose files were cut short at any byte, written over or left by others.

use std::{fs, path::PathBuf};

use cloudai_files::log::{Frame, LogStream, LogWriter};
use cloudai_model::{AttemptId, Whole};
use cloudai_worker_core::SpoolRecord;

use super::{
    ORDER, STATE, Spool, TOMBSTONES, format,
    found::Found,
    tests::{accepted, ended},
};

/// A spool with these attempts, each as it was saved last.
fn spool_with(records: &[SpoolRecord]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path()).unwrap();
    for record in records {
        spool.place(record.attempt()).save(record, true).unwrap();
    }
    folder
}

fn found(folder: &tempfile::TempDir) -> Found {
    Spool::open(folder.path()).unwrap().read().unwrap()
}

fn file(folder: &tempfile::TempDir, task: &str, name: &str) -> PathBuf {
    let attempt = accepted(task).attempt().to_string();
    folder.path().join(attempt).join(name)
}

fn running(task: &str) -> SpoolRecord {
    SpoolRecord {
        revision: 2,
        started: true,
        ..accepted(task)
    }
}

#[test]
fn half_an_order_is_cleared_away_and_a_later_programs_is_kept_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let half = folder.path().join("task-1-1");
    fs::create_dir(&half).unwrap();
    fs::write(half.join("order.json.new"), "{").unwrap();
    let foreign = folder.path().join("task-2-1");
    fs::create_dir(&foreign).unwrap();
    let text = r#"{"version": 99, "what": "it holds is not known"}"#;
    fs::write(foreign.join(ORDER), text).unwrap();

    let found = found(&folder);
    assert!(!half.exists());
    assert!(foreign.exists());
    let note = &found.notes[0];
    assert!(
        note.contains("is of version 99, this program knows 1"),
        "{note}"
    );
    assert!(found.lost.is_empty());
}

#[test]
fn an_order_cut_short_at_any_byte_is_mended_from_its_copy() {
    let whole = fs::read(file(&spool_with(&[accepted("job-1")]), "job-1", ORDER)).unwrap();
    for length in 0..whole.len() {
        let folder = spool_with(&[ended("job-1"), running("job-2")]);
        // Only the log of one that has ended is held against its record.
        fs::write(file(&folder, "job-1", "log"), vec![0; 77]).unwrap();
        fs::write(file(&folder, "job-1", ORDER), &whole[..length]).unwrap();
        let first = found(&folder);
        assert_eq!(first.records, [ended("job-1"), running("job-2")]);
        assert!(first.notes[0].contains("mended from its copy"), "{first:?}");
        let again = found(&folder);
        assert!(again.notes.is_empty(), "{again:?}");
        assert_eq!(again.records.len(), 2);
    }
}

#[test]
fn a_state_cut_short_at_any_byte_leaves_the_order_and_the_word_of_the_container() {
    let whole = fs::read(file(&spool_with(&[ended("job-1")]), "job-1", STATE)).unwrap();
    for length in 0..whole.len() {
        let folder = spool_with(&[ended("job-1"), running("job-2")]);
        fs::write(file(&folder, "job-1", STATE), &whole[..length]).unwrap();
        let found = found(&folder);
        assert_eq!(found.records, [running("job-2")], "{length} bytes");
        let (order, problem) = &found.stateless[0];
        assert_eq!(*order, ended("job-1").order);
        assert!(problem.contains("state.json is not valid"), "{problem}");
        assert_eq!(found.notes.len(), 1);
    }
}

#[test]
fn an_attempt_of_which_nothing_can_be_read_is_put_aside_and_given_up() {
    // Given an order cut short that has no copy yet, and one whose copy is damaged as well
    let folder = spool_with(&[accepted("job-1"), ended("job-2"), running("job-3")]);
    for (task, name) in [("job-1", ORDER), ("job-2", ORDER), ("job-2", STATE)] {
        let path = file(&folder, task, name);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    }
    fs::write(file(&folder, "job-2", "log"), "what it printed").unwrap();

    let first = found(&folder);

    // Then they are named, and what is left of them is kept where it is in nobody's way
    let given_up = ["job-1", "job-2"].map(|task| AttemptId::new(task.parse().unwrap(), 2));
    assert_eq!(first.lost, given_up);
    assert_eq!(first.records, [running("job-3")]);
    let kept = folder.path().join("damaged/job-2-2/log");
    assert_eq!(fs::read_to_string(kept).unwrap(), "what it printed");
    assert!(
        first.notes.iter().all(|note| note.contains("kept in")),
        "{first:?}"
    );
    let again = found(&folder);
    assert!(again.lost.is_empty() && again.notes.is_empty(), "{again:?}");

    // and when that befalls one of the same name, too.
    let spool = Spool::open(folder.path()).unwrap();
    let record = accepted("job-1");
    spool.place(record.attempt()).save(&record, true).unwrap();
    fs::write(file(&folder, "job-1", ORDER), "").unwrap();
    assert_eq!(found(&folder).lost, [record.attempt().clone()]);
    assert!(folder.path().join("damaged/job-1-2.2").exists());
}

#[test]
fn of_what_was_put_aside_the_newest_hundred_are_kept() {
    // Given one that was put aside first,
    let folder = tempfile::tempdir().unwrap();
    let damage = |task: &str| {
        let attempt = folder.path().join(format!("{task}-1"));
        fs::create_dir(&attempt).unwrap();
        fs::write(attempt.join(ORDER), "{").unwrap();
    };
    damage("job-1");
    assert_eq!(found(&folder).notes.len(), 1);

    // when as many are as are kept, then it goes, and that is said.
    for number in 1001..=1100 {
        damage(&format!("job-{number}"));
    }
    let found = found(&folder);
    assert_eq!(found.lost.len(), 100);
    let note = found.notes.last().unwrap();
    assert!(note.contains("the oldest 1 had to go"), "{note}");
    let damaged = folder.path().join("damaged");
    assert_eq!(fs::read_dir(&damaged).unwrap().count(), 100);
    assert!(!damaged.join("job-1-1").exists());
    assert!(damaged.join("job-1001-1").exists());
}

#[test]
fn an_order_in_a_folder_of_another_attempt_is_put_aside() {
    // Given a folder that somebody copied, and one that somebody named anew
    let folder = spool_with(&[accepted("job-1")]);
    let order = fs::read(file(&folder, "job-1", ORDER)).unwrap();
    for name in ["job-2-2", "job-1-02"] {
        fs::create_dir(folder.path().join(name)).unwrap();
        fs::write(folder.path().join(name).join(ORDER), &order).unwrap();
    }

    let found = found(&folder);

    // Then the attempt is there once, and what is done to it is done in its own folder
    assert_eq!(found.records, [accepted("job-1")]);
    let other = AttemptId::new("job-2".parse().unwrap(), 2);
    assert_eq!(found.lost, [other]);
    assert_eq!(found.notes.len(), 2, "{found:?}");
    for name in ["job-2-2", "job-1-02"] {
        assert!(folder.path().join("damaged").join(name).exists());
    }
}

#[test]
fn what_is_said_of_a_damaged_file_is_one_line() {
    let folder = spool_with(&[accepted("job-1")]);
    let path = file(&folder, "job-1", ORDER);
    let text = fs::read_to_string(&path).unwrap();
    let long = format!("\"\\u001b[2J\\n{}\"", "x".repeat(5000));
    let broken = text.replace("\"exec\"", &long);
    assert_ne!(text, broken);
    fs::write(&path, broken).unwrap();

    let note = &found(&folder).notes[0];

    assert!(
        note.contains("unknown variant") && note.len() < 2000,
        "{note}"
    );
    assert!(!note.contains(char::is_control), "{note}");
}

#[test]
fn tombstones_cut_short_at_any_byte_are_forgotten_and_told() {
    let folder = spool_with(&[running("job-1")]);
    let spool = Spool::open(folder.path()).unwrap();
    let buried = [AttemptId::new("nightly.7".parse().unwrap(), 3)];
    spool.save_tombstones(1, &buried).unwrap();
    let path = folder.path().join(TOMBSTONES);
    let whole = fs::read(&path).unwrap();
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let found = found(&folder);
        assert_eq!(found.records, [running("job-1")]);
        assert!(found.tombstones.is_empty());
        let note = &found.notes[0];
        assert!(note.contains("have not come yet are forgotten"), "{note}");
    }
}

#[test]
fn a_log_shorter_than_its_end_knows_is_told_to_be_incomplete() {
    // Given an attempt at its end, with a log of three pieces
    let mut record = ended("job-1");
    let folder = spool_with(&[accepted("job-1")]);
    let path = file(&folder, "job-1", "log");
    let (mut log, _) = LogWriter::open(&path).unwrap();
    let frames = ["one\n", "two\n", "three\n"].map(|text| Frame {
        stream: LogStream::Stdout,
        at_ns: 1,
        data: text.into(),
    });
    let mut ends = vec![0];
    for frame in frames {
        ends.push(log.append(&[frame]).unwrap());
    }
    log.sync().unwrap();
    drop(log);
    let whole = fs::read(&path).unwrap();
    let end = record.end.as_mut().unwrap();
    end.log.length_bytes = whole.len() as u64;
    end.log.whole = Whole::Complete;
    let spool = Spool::open(folder.path()).unwrap();
    spool.place(record.attempt()).save(&record, true).unwrap();
    assert_eq!(found(&folder).records, [record.clone()]);

    // When it is cut short at any byte
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let found = found(&folder);

        // Then it reaches as far as its last whole piece, and the rest is said to be lost
        let log = &found.records[0].end.as_ref().unwrap().log;
        let reaches = ends.iter().rev().find(|end| **end <= length as u64);
        assert_eq!(Some(&log.length_bytes), reaches, "{length} bytes");
        assert!(!log.whole.is_complete());
        assert!(found.notes[0].contains("is cut short by"), "{found:?}");
    }
}

#[test]
fn what_was_left_out_of_a_volume_is_not_guessed_at() {
    let folder = spool_with(&[running("job-1")]);
    let spool = Spool::open(folder.path()).unwrap();
    let place = spool.place(running("job-1").attempt());
    let path = file(&folder, "job-1", "left-out.json");
    let left_out = cloudai_files::output::LeftOut {
        notes: vec!["left out a: is a FIFO".to_owned()],
        count: 1,
    };
    let whole = format::left_out_to_json(&left_out);
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let error = place.left_out().unwrap_err().to_string();
        assert!(error.contains("left-out.json is not valid"), "{error}");
    }
}
