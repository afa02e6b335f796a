//! What is looked at in vain is bounded, and nothing is left out for long.

use std::collections::BTreeMap;

use cloudai_model::{Capacity, ClusterId, Now, TaskDraft, Wall, resources::GB};

use super::*;
use crate::{Answer, Call, Core, Effect, Hello, Input, Settings, policy::RoundRobin};

/// A core and what its steps brought about.
struct Driven {
    core: Core,
    now: Now,
    effects: Vec<Effect>,
}

impl Driven {
    /// With workers of these cores and GB of memory.
    fn with(workers: &[(u64, u64)]) -> Self {
        let cluster: ClusterId = "c-1".parse().unwrap();
        let core = Core::new(Settings::default(), Box::new(RoundRobin), cluster);
        let now = Now {
            mono: Mono(1000),
            wall: Wall(1_700_000_000_000),
        };
        let mut driven = Self {
            core,
            now,
            effects: Vec::new(),
        };
        driven.step(Input::Restored {
            highest_task_number: None,
            highest_order: 0,
        });
        for (number, (cores, memory)) in workers.iter().enumerate() {
            driven.join(number, *cores, *memory);
        }
        driven
    }

    fn join(&mut self, number: usize, cores: u64, memory: u64) {
        let worker: cloudai_model::WorkerId = format!("worker-{number:03}").parse().unwrap();
        self.step(Input::AddWorker {
            call: Call(1),
            worker: worker.clone(),
            address: "localhost".parse().unwrap(),
            registration: 1,
        });
        self.step(Input::Hello {
            call: Call(2),
            hello: Hello {
                worker,
                shown_ip: String::new(),
                capacity: Capacity {
                    cpu_milli: cores * 1000,
                    memory_bytes: memory * GB,
                    storage_bytes: 1000 * GB,
                    gpus: 0,
                },
                version: Some("1".into()),
                labels: BTreeMap::new(),
                home: None,
                incarnation: None,
            },
        });
    }

    fn step(&mut self, input: Input) {
        self.core.step(self.now, input, &mut self.effects);
    }

    /// A tick, and how much was looked at in vain because of it.
    fn tick(&mut self) -> usize {
        self.now.mono.0 += 250;
        // Else workers count as silent.
        self.core.forgive(self.now.mono);
        self.step(Input::Tick);
        self.core.blocked.a_tick - self.core.blocked.left
    }

    fn submit(&mut self, tasks: impl Iterator<Item = (f64, f64)>) -> Vec<crate::Taken> {
        let spec = |(cores, memory)| {
            let draft = TaskDraft {
                docker_image: "busybox".into(),
                cpu_cores: Some(cores),
                memory_gb: Some(memory),
                ..TaskDraft::default()
            };
            Arc::new(draft.check().unwrap().1)
        };
        let specs = tasks.map(spec).collect();
        let call = Call(3);
        self.step(Input::SubmitMany { call, specs });
        let taken = self.effects.drain(..).find_map(|effect| match effect {
            Effect::Answer(_, Answer::SubmittedMany(taken)) => Some(taken),
            _ => None,
        });
        taken.unwrap().unwrap()
    }

    /// The tasks that workers were given since it was last asked.
    fn assigned(&mut self) -> usize {
        let assigned = |effect: &Effect| matches!(effect, Effect::Assign(_));
        self.effects.drain(..).filter(assigned).count()
    }
}

/// Tasks that all differ and need more than a core and a GB.
fn all_different(count: u32) -> impl Iterator<Item = (f64, f64)> {
    (0..count).map(|number| (2.0 + f64::from(number) / 1000.0, 2.0))
}

#[test]
fn that_shapes_fit_nowhere_is_told_without_a_look_at_all_workers_for_each() {
    // Given fifty workers that are too small for a thousand shapes,
    let mut driven = Driven::with(&[(1, 1000); 50]);
    driven.submit(all_different(1000));

    // when a tick has everything looked at again, then each shape costs a few looks.
    let looks = driven.tick();
    assert!((1000..10_000).contains(&looks), "{looks} looks");
    assert!(driven.core.blocked.explanations.len() <= MOST_KEPT);
}

#[test]
fn a_round_beyond_the_bound_goes_on_where_it_stopped_and_comes_to_all() {
    // Given workers that together have enough, and each too little, for 300 shapes,
    let mut driven = Driven::with(&[(8, 1), (1, 8)]);
    (driven.core.blocked.a_tick, driven.core.blocked.left) = (100, 0);
    driven.submit(all_different(300));
    // and a task behind them that finds room when a round comes to it.
    driven.submit([(1.0, 0.5)].into_iter());

    // When ticks pass, each of which asks for a look at everything again,
    let mut ticks = 0;
    while driven.assigned() == 0 {
        driven.tick();
        ticks += 1;
        // then the task is not left waiting for long.
        assert!(ticks < 30);
    }
    assert!(ticks > 1, "the bound was never met");

    // And when there is room for all, all find it.
    for number in 2..302 {
        driven.join(number, 8, 8);
    }
    let mut ticks = 0;
    let mut assigned = driven.assigned();
    while assigned < 300 {
        driven.tick();
        assigned += driven.assigned();
        ticks += 1;
        assert!(ticks < 60, "{assigned} found room");
    }
}

#[test]
fn of_many_shapes_in_a_batch_the_first_are_explained_and_of_the_others_it_is_told_that_they_wait() {
    let mut driven = Driven::with(&[(1, 1)]);
    let taken = driven.submit(all_different(150));
    assert_eq!(taken[0].reason, "no worker with 2 cores");
    assert_eq!(taken[149].reason, "no worker has room for it");
}
