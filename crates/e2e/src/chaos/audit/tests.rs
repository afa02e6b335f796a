//! Each promise broken, one at a time: the audit names every one of them, and nothing in a world where
//! none is.

use super::*;
use crate::chaos::workload::Cancel;

/// One task that did all that it must.
struct World {
    orders: Vec<Order>,
    listed: Vec<Listed>,
    left: BTreeMap<String, Left>,
    runs: Runs,
}

impl World {
    fn of(kind: Kind) -> Self {
        let id = "task-7".to_owned();
        let order = Order {
            name: "chaos-1".to_owned(),
            kind,
            answer: Answer::Accepted(id.parse().unwrap()),
            cancel: Cancel::default(),
        };
        let task = Listed {
            id: id.clone(),
            name: "chaos-1".to_owned(),
            status: "completed".to_owned(),
            attempt: 2,
            exit_code: Some(0),
            log_complete: Some(true),
            files_complete: Some(true),
            ..Listed::default()
        };
        let whole = Left {
            log: Compared::Whole,
            files: Compared::Whole,
        };
        let run = |exit_code| Run {
            starts: 1,
            exit_codes: vec![exit_code],
            started_at: Some(Duration::from_secs(10)),
            ended_at: Some(Duration::from_secs(20)),
        };
        Self {
            orders: vec![order],
            listed: vec![task],
            left: BTreeMap::from([(id.clone(), whole)]),
            runs: Runs::from([((id.clone(), 1), run(143)), ((id, 2), run(0))]),
        }
    }

    fn plain() -> Self {
        Self::of(Kind::Lines {
            count: 3,
            pause_ms: 1,
        })
    }

    /// One that failed, with this exit code.
    fn failed(kind: Kind, code: i64) -> Self {
        let mut world = Self::of(kind);
        world.listed[0].status = "failed".to_owned();
        world.listed[0].exit_code = Some(code);
        world.run().exit_codes = vec![code];
        world
    }

    fn run(&mut self) -> &mut Run {
        self.runs.get_mut(&("task-7".to_owned(), 2)).unwrap()
    }

    fn left(&mut self) -> &mut Left {
        self.left.get_mut("task-7").unwrap()
    }

    fn found(&self) -> Vec<String> {
        let found = judge(&Evidence {
            orders: &self.orders,
            listed: &self.listed,
            left: &self.left,
            runs: &self.runs,
        });
        found.into_iter().map(|violation| violation.what).collect()
    }

    /// Exactly one violation, with these words.
    #[track_caller]
    fn breaks(&self, words: &str) {
        let found = self.found();
        assert!(found.len() == 1 && found[0].contains(words), "{found:?}");
    }
}

#[test]
fn a_task_that_did_what_it_must_breaks_nothing() {
    assert_eq!(World::plain().found(), [""; 0]);
}

#[test]
fn an_accepted_task_that_is_gone() {
    let mut world = World::plain();
    world.listed.clear();
    world.runs.clear();
    world.breaks("was accepted as chaos-1 and is not listed");
}

#[test]
fn a_task_that_is_there_twice() {
    let mut world = World::plain();
    let twin = Listed {
        id: "task-8".to_owned(),
        attempt: 0,
        exit_code: Some(0),
        ..world.listed[0].clone()
    };
    world.listed.push(twin);
    assert!(world.found()[0].contains("was submitted once"));
}

#[test]
fn a_refused_task_that_is_there_and_one_that_nobody_submitted() {
    let mut world = World::plain();
    world.orders[0].answer = Answer::Refused("no new task is taken: full".to_owned());
    world.breaks("was refused (no new task is taken: full) and is listed");
    world.orders.clear();
    world.breaks("nobody submitted");
}

#[test]
fn an_answer_that_a_master_never_gives() {
    let mut world = World::plain();
    (world.listed, world.runs) = (Vec::new(), Runs::new());
    world.orders[0].answer = Answer::Refused("cpu_cores: expected less".to_owned());
    world.breaks("chaos-1 was refused: cpu_cores");
    world.orders[0].answer = Answer::Wrong("Internal: mixed up".to_owned());
    world.breaks("was answered with Internal: mixed up");
    world.orders[0].answer = Answer::Refused("no new task is taken: full".to_owned());
    assert_eq!(world.found(), [""; 0]);
}

#[test]
fn without_an_answer_it_may_be_there_or_not() {
    let mut world = World::plain();
    world.orders[0].answer = Answer::None;
    assert_eq!(world.found(), [""; 0]);
    world.listed.clear();
    world.runs.clear();
    assert_eq!(world.found(), [""; 0]);
}

#[test]
fn a_task_that_has_not_ended() {
    let mut world = World::plain();
    world.listed[0].status = "running".to_owned();
    world.breaks("has not ended: running");
}

#[test]
fn a_machine_failure_that_became_the_tasks_own() {
    let mut world = World::plain();
    world.listed[0].status = "failed".to_owned();
    world.listed[0].reason = "its container was lost".to_owned();
    world.breaks("its container was lost");
}

#[test]
fn a_retry_that_was_taken_for_nothing() {
    let mut world = World::plain();
    world.listed[0].retries_used = 1;
    world.breaks("1 retries");
}

#[test]
fn a_wrong_exit_code_and_retries_that_were_not_taken() {
    let kind = Kind::Fails {
        code: 5,
        retries: 2,
    };
    let mut world = World::failed(kind, 5);
    world.breaks("0 retries");
    world.listed[0].retries_used = 2;
    assert_eq!(world.found(), [""; 0]);
    world.listed[0].exit_code = Some(137);
    world.breaks("exit code Some(137)");
}

#[test]
fn a_time_out_by_another_name() {
    let mut world = World::failed(Kind::TimesOut { after_s: 1.0 }, 143);
    world.breaks("time-out None");
    world.listed[0].time_out = Some("run".to_owned());
    assert_eq!(world.found(), [""; 0]);
}

#[test]
fn cancelled_without_being_asked() {
    let after = Duration::ZERO;
    let mut world = World::of(Kind::Cancelled { after });
    world.listed[0].status = "cancelled".to_owned();
    world.breaks("ended as cancelled");
    world.orders[0].cancel.asked = true;
    assert_eq!(world.found(), [""; 0]);
}

/// One to be cancelled, of whose cancel this came, though it completed 20 s in.
fn ran_on(said: CancelSaid) -> World {
    let after = Duration::ZERO;
    let mut world = World::of(Kind::Cancelled { after });
    world.orders[0].cancel = Cancel {
        asked: true,
        said: Some(said),
    };
    world
}

#[test]
fn a_cancel_that_was_taken_and_forgotten() {
    // Given that it ended in time, or by itself before, nothing is wrong.
    let ended_at = Duration::from_secs(20);
    let at = ended_at.saturating_sub(STOPS_WITHIN);
    assert_eq!(ran_on(CancelSaid::UnderWay { at }).found(), [""; 0]);
    // It ran for as long as it would have without.
    let mut world = ran_on(CancelSaid::UnderWay { at });
    world.run().ended_at = Some(at + STOPS_WITHIN + Duration::from_millis(1));
    world.breaks("its cancel was taken 0.0 s in, and it ran on, as completed");
    // And where it was stopped late, it was stopped.
    world.listed[0].status = "cancelled".to_owned();
    assert_eq!(world.found(), [""; 0]);
}

#[test]
fn told_to_be_cancelled_and_completed() {
    ran_on(CancelSaid::Done).breaks("was answered to be cancelled, and is completed");
}

#[test]
fn a_cancel_that_is_refused_for_another_reason_than_its_end_or_not_answered() {
    let refused = |why: &str| ran_on(CancelSaid::Refused(why.to_owned()));
    assert_eq!(refused("task task-7 is final: completed").found(), [""; 0]);
    refused("there is no task task-7").breaks("its cancel was refused: there is no task");
    ran_on(CancelSaid::Never("no answer".to_owned())).breaks("never answered: no answer");
}

#[test]
fn a_log_that_lacks_something_unsaid() {
    let mut world = World::plain();
    world.left().log = Compared::Part("3 of 9 bytes".to_owned());
    world.breaks("3 of 9 bytes");
    world.listed[0].log_complete = Some(false);
    assert_eq!(world.found(), [""; 0]);
}

#[test]
fn a_log_of_a_time_out_that_calls_itself_whole_and_is_not() {
    let mut world = World::failed(Kind::TimesOut { after_s: 1.0 }, 143);
    world.listed[0].time_out = Some("run".to_owned());
    world.left().log = Compared::Beginning(15);
    world.breaks("Beginning(15)");
    // Where it was killed it said no more, and where it says so it may lack something.
    world.run().exit_codes = vec![137];
    assert_eq!(world.found(), [""; 0]);
    world.run().exit_codes = vec![143];
    world.listed[0].log_complete = Some(false);
    assert_eq!(world.found(), [""; 0]);
}

#[test]
fn a_log_of_a_cancelled_task_that_is_empty_though_it_ran() {
    let after = Duration::ZERO;
    let mut world = World::of(Kind::Cancelled { after });
    world.listed[0].status = "cancelled".to_owned();
    world.orders[0].cancel.asked = true;
    world.left().log = Compared::Beginning(0);
    world.breaks("Beginning(0)");
    world.left().log = Compared::Beginning(14);
    assert_eq!(world.found(), [""; 0]);
    world.left().log = Compared::Beginning(0);
    world.run().started_at = world.run().ended_at;
    assert_eq!(world.found(), [""; 0]);
}

#[test]
fn a_log_that_cannot_be_read_though_there_is_one() {
    let mut world = World::failed(Kind::TimesOut { after_s: 1.0 }, 143);
    world.listed[0].time_out = Some("run".to_owned());
    world.left().log = Compared::Unreadable("no such file".to_owned());
    world.breaks("no such file");
    world.run().starts = 0;
    assert_eq!(world.found(), [""; 0]);
}

#[test]
fn a_log_or_a_file_with_other_bytes_whatever_it_says() {
    let mut world = World::plain();
    world.listed[0].log_complete = Some(false);
    world.left().log = Compared::Differs("at byte 7".to_owned());
    world.breaks("at byte 7");
    world.left().log = Compared::Whole;
    world.listed[0].files_complete = Some(false);
    world.left().files = Compared::Differs("another checksum".to_owned());
    world.breaks("another checksum");
}

#[test]
fn a_container_that_was_started_twice() {
    let mut world = World::plain();
    let first = ("task-7".to_owned(), 1);
    world.runs.get_mut(&first).unwrap().starts = 2;
    world.breaks("attempt 1 ran more than once");
}

#[test]
fn a_result_of_a_run_that_never_was() {
    let mut world = World::plain();
    world.run().exit_codes = vec![3];
    world.breaks("of which the engine says");
}

#[test]
fn an_attempt_after_the_end_and_one_of_nobody() {
    let mut world = World::plain();
    world.runs.insert(("task-7".to_owned(), 3), Run::default());
    world.breaks("attempt 3 ran and its last one is 2");
    world.runs.remove(&("task-7".to_owned(), 3));
    world.runs.insert(("task-9".to_owned(), 1), Run::default());
    world.breaks("ran and is not listed");
}
