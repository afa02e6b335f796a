//! Which faults come when, and for how long: all of it drawn from a seed before anything begins.
//!
//! What can break is cut into lanes: a program, its disk, its clock, its network, its engine, the
//! database. In a lane is one fault at a time, so that each can be ended without a look at others;
//! lanes know nothing of one another, so that faults overlap as they like.

use std::{collections::BTreeMap, fmt, ops::Range, time::Duration};

use super::random::Random;

/// How many workers there are.
pub const WORKERS: usize = 4;

/// What a fault befalls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// The master.
    Master,
    /// A worker, from 0.
    Worker(usize),
    /// The replica set.
    Database,
    /// Whoever submits and cancels.
    Client,
}

/// What goes wrong. Each lasts for a while and is then put right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The program is killed without a warning; started again at the end.
    Killed,
    /// It stands still.
    Stopped,
    /// The disk of its data directory has no room.
    DiskFull,
    /// Its wall clock is off by so many seconds.
    ClockStepped {
        /// Below zero: behind.
        offset_s: i64,
    },
    /// The worker's network cable is pulled.
    NetworkCut,
    /// What is sent to the worker is lost; what it sends arrives.
    NetworkDeaf,
    /// The other way round.
    NetworkMute,
    /// All between it and the master takes so long, in either direction.
    NetworkSlow {
        /// One way.
        delay: Duration,
    },
    /// Its connections to the engine break, and new ones are refused.
    EngineAway,
    /// Its connections to the engine die without a word, and break at the end. New ones are well.
    EngineFrozen,
    /// The primary makes room for another.
    SteppedDown,
    /// The primary is killed; started again at the end.
    PrimaryKilled,
    /// The primary stands still.
    PrimaryStopped,
    /// Two of three are killed: there is nobody to write to.
    MajorityKilled,
    /// What the client asks arrives, and the answers are lost; its connections break at the end.
    AnswersLost,
}

impl Fault {
    /// Its kind, for figures.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::Stopped => "stopped",
            Self::DiskFull => "disk full",
            Self::ClockStepped { .. } => "clock stepped",
            Self::NetworkCut => "network cut",
            Self::NetworkDeaf => "network one-way, deaf",
            Self::NetworkMute => "network one-way, mute",
            Self::NetworkSlow { .. } => "network slow",
            Self::EngineAway => "engine away",
            Self::EngineFrozen => "engine frozen",
            Self::SteppedDown => "stepped down",
            Self::PrimaryKilled => "primary killed",
            Self::PrimaryStopped => "primary stopped",
            Self::MajorityKilled => "majority killed",
            Self::AnswersLost => "answers lost",
        }
    }

    /// Whether it parts a worker from its master.
    #[must_use]
    pub fn is_partition(&self) -> bool {
        matches!(
            self,
            Self::NetworkCut | Self::NetworkDeaf | Self::NetworkMute
        )
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Master => f.write_str("master"),
            Self::Worker(index) => write!(f, "worker-{}", index + 1),
            Self::Database => f.write_str("database"),
            Self::Client => f.write_str("client"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClockStepped { offset_s } => write!(f, "clock stepped to {offset_s:+} s"),
            Self::NetworkSlow { delay } => write!(f, "network slow, {} ms", delay.as_millis()),
            _ => f.write_str(self.kind()),
        }
    }
}

/// A fault with its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// When it begins, from the start of the run.
    pub at: Duration,
    /// How long it lasts.
    pub lasts: Duration,
    /// What it befalls.
    pub target: Target,
    /// What goes wrong.
    pub fault: Fault,
    /// Those of a lane come one after the other.
    pub lane: usize,
}

/// Faults that exclude each other.
struct Lane {
    target: Target,
    draw: fn(&mut Random) -> Fault,
    /// Between the end of one and the next, in milliseconds.
    pause_ms: Range<u64>,
    /// How long each lasts, in milliseconds.
    lasts_ms: Range<u64>,
}

fn lanes(with_database: bool) -> Vec<Lane> {
    let lane = |target, draw, pause_ms, lasts_ms| Lane {
        target,
        draw,
        pause_ms,
        lasts_ms,
    };
    let mut lanes = vec![
        lane(Target::Master, process, 2_000..20_000, 200..9_000),
        lane(Target::Master, disk, 5_000..50_000, 2_000..8_000),
        lane(Target::Master, clock, 3_000..30_000, 2_000..12_000),
    ];
    for index in 0..WORKERS {
        let worker = Target::Worker(index);
        lanes.extend([
            lane(worker, process, 3_000..40_000, 200..11_000),
            lane(worker, network, 3_000..40_000, 1_000..11_000),
            lane(worker, engine, 3_000..50_000, 1_000..9_000),
            lane(worker, disk, 3_000..70_000, 2_000..8_000),
            lane(worker, clock, 3_000..70_000, 2_000..12_000),
        ]);
    }
    if with_database {
        lanes.push(lane(
            Target::Database,
            database,
            3_000..15_000,
            1_000..9_000,
        ));
    }
    lanes.push(lane(Target::Client, client, 2_000..12_000, 300..3_000));
    lanes
}

fn process(random: &mut Random) -> Fault {
    random.pick(&[Fault::Killed, Fault::Killed, Fault::Stopped])
}

fn disk(_: &mut Random) -> Fault {
    Fault::DiskFull
}

fn clock(random: &mut Random) -> Fault {
    let offset_s = random.pick(&[-86_400, -3_600, -60, -2, 2, 60, 3_600, 86_400]);
    Fault::ClockStepped { offset_s }
}

fn network(random: &mut Random) -> Fault {
    let delay = Duration::from_millis(random.of(50..900));
    let slow = Fault::NetworkSlow { delay };
    let (cut, deaf, mute) = (Fault::NetworkCut, Fault::NetworkDeaf, Fault::NetworkMute);
    random.pick(&[cut, deaf, mute, slow])
}

fn engine(random: &mut Random) -> Fault {
    random.pick(&[Fault::EngineAway, Fault::EngineAway, Fault::EngineFrozen])
}

fn client(_: &mut Random) -> Fault {
    Fault::AnswersLost
}

fn database(random: &mut Random) -> Fault {
    random.pick(&[
        Fault::SteppedDown,
        Fault::SteppedDown,
        Fault::PrimaryKilled,
        Fault::PrimaryKilled,
        Fault::PrimaryStopped,
        Fault::MajorityKilled,
    ])
}

/// The faults of a run that lasts so long, in the order of their beginnings; all of them end within it.
#[must_use]
pub fn draw(seed: u64, span: Duration, with_database: bool) -> Vec<Planned> {
    let whole = Random::new(seed);
    let mut plan = Vec::new();
    for (number, lane) in (1..).zip(lanes(with_database)) {
        let mut random = whole.part(number as u64);
        // The first comes after half a pause at most, so that a short run has its share.
        let mut at = random.of(500..lane.pause_ms.end / 2);
        loop {
            let fault = (lane.draw)(&mut random);
            let lasts = random.of(lane.lasts_ms.clone());
            if Duration::from_millis(at + lasts) > span {
                break;
            }
            plan.push(Planned {
                at: Duration::from_millis(at),
                lasts: Duration::from_millis(lasts),
                target: lane.target,
                fault,
                lane: number,
            });
            at += lasts + random.of(lane.pause_ms.clone());
        }
    }
    plan.sort_by_key(|planned| (planned.at, planned.target));
    plan
}

/// How many there are of each kind.
#[must_use]
pub fn counts(plan: &[Planned]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for planned in plan {
        let whose = match planned.target {
            Target::Worker(_) => "a worker".to_owned(),
            target => format!("the {target}"),
        };
        *counts
            .entry(format!("{whose}: {}", planned.fault.kind()))
            .or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_seed_has_one_plan_and_another_seed_another() {
        assert_eq!(draw(7, HOUR, true), draw(7, HOUR, true));
        assert_ne!(draw(7, HOUR, true), draw(8, HOUR, true));
    }

    #[test]
    fn all_faults_end_within_the_run_and_come_in_order() {
        for seed in 0..50 {
            let span = Duration::from_secs(60);
            let plan = draw(seed, span, true);
            assert!(plan.len() >= 20, "{} faults", plan.len());
            assert!(plan.iter().all(|it| it.at + it.lasts <= span));
            assert!(plan.is_sorted_by_key(|it| it.at));
        }
    }

    #[test]
    fn faults_overlap_and_every_kind_comes() {
        let plan = draw(1, HOUR, true);
        let overlapping = plan
            .windows(2)
            .filter(|pair| pair[1].at < pair[0].at + pair[0].lasts)
            .count();
        assert!(overlapping > plan.len() / 2, "{overlapping}");
        // The kinds of the master, of workers, of the database and of the client.
        assert_eq!(counts(&plan).len(), 4 + 10 + 4 + 1, "{:?}", counts(&plan));
        assert!(
            !draw(1, HOUR, false)
                .iter()
                .any(|it| it.target == Target::Database)
        );
    }

    #[test]
    fn what_excludes_each_other_is_never_at_one_time() {
        let plan = draw(3, HOUR, true);
        let lane = |it: &Planned| {
            let what = match it.fault {
                Fault::Killed | Fault::Stopped => 0,
                Fault::DiskFull => 1,
                Fault::ClockStepped { .. } => 2,
                Fault::EngineAway | Fault::EngineFrozen => 3,
                Fault::NetworkSlow { .. } => 4,
                fault if fault.is_partition() => 4,
                _ => 5,
            };
            (it.target, what)
        };
        let mut busy_until = BTreeMap::new();
        for planned in &plan {
            let end = planned.at + planned.lasts;
            let before = busy_until.insert(lane(planned), end);
            assert!(
                before.is_none_or(|before| before <= planned.at),
                "{planned:?}"
            );
        }
    }
}
