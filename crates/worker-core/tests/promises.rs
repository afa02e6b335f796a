//! The core's promises under any sequence of messages, failures, restarts and time.

mod support;

use cloudai_worker_core::Input;
use proptest::prelude::*;
use support::{Worker, attempt, order};

#[derive(Debug, Clone)]
enum Action {
    Assign { task: u64, number: u32, cores: u64 },
    Cancel { task: u64, number: u32 },
    Supersede { task: u64, number: u32 },
    Succeed(prop::sample::Index),
    Fail(prop::sample::Index),
    ContainerEnds { task: u64, number: u32 },
    Engine(bool),
    Restart,
    Tick(u64),
}

fn any_action() -> impl Strategy<Value = Action> {
    let id = || (0..4_u64, 1..4_u32);
    prop_oneof![
        6 => (id(), 1..4_u64)
            .prop_map(|((task, number), cores)| Action::Assign { task, number, cores }),
        3 => id().prop_map(|(task, number)| Action::Cancel { task, number }),
        1 => id().prop_map(|(task, number)| Action::Supersede { task, number }),
        20 => any::<prop::sample::Index>().prop_map(Action::Succeed),
        4 => any::<prop::sample::Index>().prop_map(Action::Fail),
        6 => id().prop_map(|(task, number)| Action::ContainerEnds { task, number }),
        1 => any::<bool>().prop_map(Action::Engine),
        2 => Just(Action::Restart),
        1 => (1..60_u64).prop_map(Action::Tick),
    ]
}

fn run(actions: Vec<Action>) {
    let mut worker = Worker::new();
    for (step, action) in actions.into_iter().enumerate() {
        match action {
            Action::Assign {
                task,
                number,
                cores,
            } if worker.may_come(&attempt(task, number)) => {
                worker.assign(order(&attempt(task, number), step as u64 + 1, cores));
                assert!(worker.core.tell_sequence() >= step as u64);
            }
            Action::Cancel { task, number } => {
                worker.cancel(&attempt(task, number));
            }
            Action::Supersede { task, number } => {
                worker.superseded.insert(attempt(task, number));
            }
            Action::Succeed(index) if !worker.pending.is_empty() => {
                worker.succeed(index.index(worker.pending.len()));
            }
            Action::Fail(index) if !worker.pending.is_empty() => {
                worker.fail(index.index(worker.pending.len()));
            }
            Action::Assign { .. } | Action::Succeed(_) | Action::Fail(_) => {}
            Action::ContainerEnds { task, number } => {
                worker.container_ends(&attempt(task, number), 3);
            }
            Action::Engine(true) => worker.step(Input::EngineWell),
            Action::Engine(false) => worker.step(Input::EngineUnwell("away".to_owned())),
            Action::Restart => worker.restart(),
            Action::Tick(seconds) => worker.tick(seconds),
        }
    }
    worker.finish();
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn promises_are_kept_whatever_happens(
        actions in prop::collection::vec(any_action(), 0..120),
    ) {
        run(actions);
    }
}
