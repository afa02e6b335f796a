//! Spools that are written, cut short and read back.

use std::{sync::Arc, time::Duration};

use cloudai_model::{
    Command, ContainerEnd, ContainerSpec, DeviceShare, Exit, Grant, PeakUsage, UserName, Wall,
    Whole,
};
use cloudai_worker_core::{EndRecord, HostRun, Job, Order, SealedLog, StopCause};

use super::*;

pub(super) fn accepted(task: &str) -> SpoolRecord {
    SpoolRecord {
        revision: 1,
        order: Order {
            attempt: AttemptId::new(task.parse().unwrap(), 2),
            sequence: 9,
            cluster: "c-1".parse().unwrap(),
            grant: Grant {
                cpu_milli: 1500,
                memory_bytes: 7,
                storage_bytes: 8,
                devices: vec![DeviceShare {
                    device: 1,
                    milli: 500,
                }],
            },
            stop_grace: Duration::from_millis(1500),
            job: Arc::new(Job {
                user: UserName::admin(),
                name: "a name".to_owned(),
                image: "busybox".parse().unwrap(),
                command: Command::Exec(vec!["a".to_owned(), "b\n\"c".to_owned()]),
                env: [("K".to_owned(), "V=1".to_owned())].into(),
                container: ContainerSpec {
                    network: "lab".parse().unwrap(),
                    tmpfs: vec!["/scratch:0.25".parse().unwrap()],
                    ..ContainerSpec::default()
                },
            }),
        },
        started: false,
        host_run: HostRun::default(),
        image_digest: None,
        stop: None,
        end: None,
    }
}

pub(super) fn ended(task: &str) -> SpoolRecord {
    SpoolRecord {
        revision: 4,
        started: true,
        host_run: HostRun {
            boot: Some("boot".to_owned()),
            engine: Some("engine".to_owned()),
        },
        image_digest: Some("sha256:1".to_owned()),
        stop: Some(StopCause::Cancel("its user wants it".to_owned())),
        end: Some(EndRecord {
            end: ContainerEnd {
                exit: Exit::Cancelled,
                started_at: Some(Wall(5)),
                finished_at: Wall(6),
                usage: PeakUsage {
                    memory_bytes: 1 << 30,
                    cpu_time: Duration::from_nanos(12_345),
                },
                image_digest: None,
            },
            log: SealedLog {
                length_bytes: 77,
                whole: Whole::Incomplete("half of it".to_owned()),
            },
            had_container: true,
        }),
        ..accepted(task)
    }
}

#[test]
fn what_was_saved_is_found_by_the_next_process() {
    // Given two attempts in the spool, one just accepted, one at its end
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path()).unwrap();
    for record in [accepted("task-1"), accepted("task-2"), ended("task-2")] {
        spool.place(record.attempt()).save(&record, true).unwrap();
    }
    fs::write(spool.place(ended("task-2").attempt()).log(), [0; 77]).unwrap();
    let buried = [AttemptId::new("nightly.7".parse().unwrap(), 3)];
    spool.save_tombstones(1, &buried).unwrap();

    // When another process reads it
    let spool = Spool::open(folder.path()).unwrap();
    let found = spool.read().unwrap();

    // Then both are as they were
    assert_eq!(found.records, [accepted("task-1"), ended("task-2")]);
    assert_eq!(found.tombstones, buried);
    assert!(found.notes.is_empty() && found.stateless.is_empty() && found.lost.is_empty());
    let last = spool.last_of(&"task-2".parse().unwrap());
    assert_eq!(last.map(|attempt| attempt.number), Some(2));
}

#[test]
fn an_older_record_never_covers_a_newer_one() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path()).unwrap();
    let place = spool.place(accepted("task-1").attempt());
    place.save(&accepted("task-1"), true).unwrap();
    place.save(&ended("task-1"), true).unwrap();
    fs::write(place.log(), [0; 77]).unwrap();
    let late = SpoolRecord {
        revision: 3,
        end: None,
        ..ended("task-1")
    };
    place.save(&late, true).unwrap();
    spool.save_tombstones(2, &[]).unwrap();
    spool
        .save_tombstones(1, &[accepted("task-1").attempt().clone()])
        .unwrap();
    let found = Spool::open(folder.path()).unwrap().read().unwrap();
    assert_eq!(found.records, [ended("task-1")]);
    assert!(found.tombstones.is_empty());
}

#[test]
fn what_was_deleted_stays_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path()).unwrap();
    let place = spool.place(accepted("task-1").attempt());
    place.save(&accepted("task-1"), true).unwrap();
    place.make_output().unwrap();
    place.delete().unwrap();
    place.save(&ended("task-1"), true).unwrap();
    place.delete().unwrap();
    let left = fs::read_dir(folder.path()).unwrap();
    let names: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["reserve"]);
}

#[test]
fn any_user_of_a_container_can_write_to_the_output_and_reach_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(&folder.path().join("spool")).unwrap();
    let place = spool.place(accepted("task-1").attempt());
    place.save(&accepted("task-1"), true).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&place.make_output().unwrap()), 0o777);
    assert_eq!(mode(place.output().parent().unwrap()), 0o700);
    assert_eq!(mode(&place.output().with_file_name(ORDER)), 0o600);
}

#[test]
fn what_was_fetched_from_a_volume_becomes_the_output_once_and_keeps_what_was_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path()).unwrap();
    let record = accepted("job-1");
    let place = spool.place(record.attempt());
    place.save(&record, true).unwrap();
    // Given an output folder of an earlier try, and then a volume
    place.make_output().unwrap();
    assert!(!place.has_volume());
    place.mark_volume().unwrap();
    assert!(place.has_volume() && !place.output().exists());

    // When a fetch breaks off, and another does not
    let part = place.begin_fetch().unwrap().unwrap();
    fs::write(part.join("half"), "ha").unwrap();
    let part = place.begin_fetch().unwrap().unwrap();
    fs::write(part.join("whole"), "whole").unwrap();
    let left_out = cloudai_files::output::LeftOut {
        notes: vec!["left out a\nb: is a FIFO".to_owned()],
        count: 7,
    };
    place.end_fetch(&left_out).unwrap();

    // Then that is the output, and nothing is fetched again
    assert!(place.output().join("whole").exists() && !place.output().join("half").exists());
    assert_eq!(place.left_out().unwrap(), left_out);
    assert!(place.begin_fetch().unwrap().is_none());
    place.delete().unwrap();
    assert!(!place.has_volume());
}

#[test]
fn why_a_container_was_stopped_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path()).unwrap();
    let mut record = accepted("job-1");
    record.revision = 2;
    record.stop = Some(StopCause::OverLimit("over its storage limit".to_owned()));
    spool.place(record.attempt()).save(&record, true).unwrap();
    let found = Spool::open(folder.path()).unwrap().read().unwrap();
    assert_eq!(found.records, [record]);
}
