//! Whatever comes and when: what is shown is what was said, within the budget.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn worker(number: usize) -> WorkerId {
    format!("w-{number}").parse().unwrap()
}

fn cpu(percent: f64) -> Figures {
    Figures::from([percent, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
}

fn at(mono_ms: u64) -> Now {
    // The wall clock is 1,000,000 ms ahead of the other.
    Now {
        mono: Mono(mono_ms),
        wall: Wall(1_000_000 + i64::try_from(mono_ms).unwrap()),
    }
}

fn told(history: &History, resolution: Resolution, now: Now) -> Vec<(i64, f32, f32)> {
    let points = history.of(&worker(1), resolution, None, now).into_iter();
    let told = points.map(|it| (it.at.0, it.mean.cpu_percent, it.max.cpu_percent));
    told.collect()
}

#[test]
fn an_hour_is_kept_at_five_seconds_and_a_day_at_a_minute() {
    // Given a worker that has said every 5 s for two days what it uses,
    let history = History::default();
    let two_days = 2 * 24 * 3600 * 1000;
    for ms in (0..two_days).step_by(5000) {
        history.take(&worker(1), Mono(ms), cpu((ms / 5000 % 12) as f64));
    }
    // then of the last hour there is every sample, and the one of now,
    let now = at(two_days - 5000);
    let fine = told(&history, Resolution::FiveSeconds, now);
    assert_eq!(fine.len(), 721);
    assert_eq!(fine[720].0 - fine[0].0, 3_600_000);
    // and of the last day the mean and the highest of every minute.
    let coarse = told(&history, Resolution::Minute, now);
    assert_eq!(coarse.len(), 1441);
    assert_eq!((coarse[7].1, coarse[7].2), (5.5, 11.0));
}

#[test]
fn what_is_missing_is_missing_and_what_is_late_changes_nothing() {
    let history = History::default();
    for (ms, percent) in [(1_000, 10.0), (1_500, 30.0), (21_000, 40.0), (3_000, 90.0)] {
        history.take(&worker(1), Mono(ms), cpu(percent));
    }
    // The second is the same span as the first; the last came too late.
    let fine = told(&history, Resolution::FiveSeconds, at(22_000));
    assert_eq!(fine, [(1_000_000, 20.0, 20.0), (1_020_000, 40.0, 40.0)]);
}

#[test]
fn times_follow_the_wall_clock_as_it_is_set_now() {
    let history = History::default();
    history.take(&worker(1), Mono(5_000), cpu(10.0));
    // Given a wall clock that was set an hour ahead since
    let mut now = at(12_000);
    now.wall.0 += 3_600_000;
    let points = history.of(&worker(1), Resolution::FiveSeconds, None, now);
    assert_eq!(points[0].at, Wall(1_000_000 + 3_605_000));
}

#[test]
fn since_gives_the_span_that_holds_it_and_later_ones() {
    let history = History::default();
    for ms in [0, 5_000, 10_000] {
        history.take(&worker(1), Mono(ms), cpu(1.0));
    }
    let of = |since: i64| {
        let since = Some(Wall(1_000_000 + since));
        history
            .of(&worker(1), Resolution::FiveSeconds, since, at(11_000))
            .len()
    };
    assert_eq!(
        [of(0), of(4_999), of(5_000), of(10_000), of(15_000)],
        [3, 3, 2, 1, 0]
    );
}

#[test]
fn a_worker_that_is_gone_is_forgotten_and_the_others_have_more_room() {
    // Given a budget for two workers, and four
    let history = History::within(2 * bytes(0));
    for number in 1..=4 {
        history.take(&worker(number), Mono(0), cpu(1.0));
    }
    let kept = history.kept_spans(Resolution::Minute);
    assert_eq!(kept, Duration::from_secs(12 * 3600));
    // when two are unregistered,
    history.forget(&worker(3));
    history.forget(&worker(4));
    // then nothing is known of them, and the others keep a day.
    assert!(
        history
            .of(&worker(3), Resolution::Minute, None, at(0))
            .is_empty()
    );
    let kept = history.kept_spans(Resolution::Minute);
    assert_eq!(kept, Duration::from_secs(24 * 3600));
}

#[test]
fn figures_that_are_no_numbers_do_no_harm() {
    let history = History::default();
    let odd = [
        f64::NAN,
        f64::INFINITY,
        -f64::INFINITY,
        1e300,
        0.0,
        0.0,
        0.0,
    ];
    for _ in 0..2 {
        history.take(&worker(1), Mono(0), odd.into());
    }
    let points = history.of(&worker(1), Resolution::Minute, None, at(0));
    for figure in points[0].mean.to_array() {
        assert!(figure.is_finite(), "{figure}");
    }
}

proptest! {
    /// A plain list of everything that was said is asked the same questions.
    #[test]
    fn what_is_shown_is_what_was_said(
        steps in prop::collection::vec((0_u64..400_000, any::<bool>(), 0_u8..100), 1..400),
        later in 0_u64..90_000_000,
    ) {
        let history = History::default();
        let mut clock = 0_u64;
        let mut said: Vec<(u64, u8)> = Vec::new();
        for (millis, back, percent) in steps {
            // A sample may be late, or there twice.
            let sample_at = if back { clock.saturating_sub(millis) } else { clock += millis / 8; clock };
            history.take(&worker(1), Mono(sample_at), cpu(f64::from(percent)));
            said.push((sample_at, percent));
        }
        let now = at(clock + later);
        for resolution in [Resolution::FiveSeconds, Resolution::Minute] {
            let span = u64::try_from(resolution.span().as_millis()).unwrap();
            let mut spans: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
            for (at, percent) in &said {
                // What comes for a span that is over is dropped.
                if spans.keys().next_back().is_none_or(|last| *last <= at / span) {
                    spans.entry(at / span).or_default().push(*percent);
                }
            }
            let current = now.mono.0 / span;
            spans.retain(|span, _| current - span <= resolution.points() as u64);
            let expected: Vec<_> = spans.into_iter().map(|(slot, percents)| {
                let sum: f64 = percents.iter().copied().map(f64::from).sum();
                let mean = (sum / percents.len() as f64) as f32;
                let max = match resolution {
                    Resolution::FiveSeconds => mean,
                    Resolution::Minute => f32::from(*percents.iter().max().unwrap()),
                };
                (1_000_000 + i64::try_from(slot * span).unwrap(), mean, max)
            }).collect();
            prop_assert_eq!(told(&history, resolution, now), expected);
        }
    }

    #[test]
    fn however_many_workers_come_the_points_stay_within_the_budget(
        budget_workers in 0_usize..4,
        steps in prop::collection::vec((0_usize..40, any::<bool>(), 1_usize..60), 1..60),
    ) {
        let budget = budget_workers * bytes(0) / 8;
        let history = History::within(budget);
        let mut there = BTreeSet::new();
        let mut clock = 0_u64;
        for (number, stays, samples) in steps {
            if stays {
                there.insert(number);
                for _ in 0..samples {
                    clock += 30_000;
                    history.take(&worker(number), Mono(clock), cpu(1.0));
                }
            } else {
                there.remove(&number);
                history.forget(&worker(number));
            }
            prop_assert!(history.bytes() <= budget, "{} of {budget}", history.bytes());
        }
        for number in 0..40 {
            // What goes on just now is always there.
            let points = history.of(&worker(number), Resolution::Minute, None, at(clock));
            prop_assert!(there.contains(&number) || points.is_empty());
        }
    }
}
