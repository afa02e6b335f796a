//! Who waits, who doesn't, and that a stranger shuts nobody out.

use proptest::prelude::*;

use super::*;

fn name(text: &str) -> UserName {
    text.parse().unwrap()
}

fn network(text: &str) -> Network {
    text.parse::<IpAddr>().unwrap().into()
}

fn at(seconds: u64) -> Mono {
    Mono(seconds * 1000)
}

/// Tries a wrong password; how long it has to wait, if it does.
fn wrong(throttle: &mut Throttle, user: &str, from: &str, now: Mono) -> Option<Duration> {
    throttle.begin(Some(&name(user)), network(from), now).err()
}

fn right(throttle: &mut Throttle, user: &str, from: &str, now: Mono) -> Option<Duration> {
    match throttle.begin(Some(&name(user)), network(from), now) {
        Ok(tried) => {
            throttle.succeeded(tried, now);
            None
        }
        Err(wait) => Some(wait),
    }
}

#[test]
fn a_network_is_an_address_or_what_one_customer_has() {
    assert_eq!(network("192.0.2.1"), network("::ffff:192.0.2.1"));
    assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
    assert_eq!(network("2001:db8:0:1::1"), network("2001:db8:0:1:ffff::2"));
    assert_ne!(network("2001:db8:0:1::1"), network("2001:db8:0:2::1"));
}

#[test]
fn whoever_mistypes_waits_a_little_and_a_right_password_ends_it() {
    let mut throttle = Throttle::new(&ThrottleSettings::default());
    for _ in 0..5 {
        assert_eq!(wrong(&mut throttle, "ada", "192.0.2.1", at(0)), None);
    }
    // The sixth is let through and brings a pause; behind it the right one is, too.
    assert_eq!(wrong(&mut throttle, "ada", "192.0.2.1", at(0)), None);
    assert_eq!(
        right(&mut throttle, "ada", "192.0.2.1", at(0)),
        Some(Duration::from_secs(1))
    );
    assert_eq!(right(&mut throttle, "ada", "192.0.2.1", at(1)), None);
    for _ in 0..5 {
        assert_eq!(wrong(&mut throttle, "ada", "192.0.2.1", at(1)), None);
    }
}

#[test]
fn a_thousand_at_once_are_a_thousand() {
    let mut throttle = Throttle::new(&ThrottleSettings::default());
    // None of them has ended yet.
    let begun = (0..1000).filter_map(|_| {
        throttle
            .begin(Some(&name("ada")), network("192.0.2.1"), at(0))
            .ok()
    });
    assert_eq!(begun.count(), 6);
}

#[test]
fn a_user_who_is_guessed_at_logs_in_from_where_they_always_do() {
    // Given: ada has logged in at home.
    let mut throttle = Throttle::new(&ThrottleSettings::default());
    assert_eq!(right(&mut throttle, "ada", "192.0.2.1", at(0)), None);
    // When: ten thousand addresses guess her password.
    let mut now = at(0);
    for host in 0..10_000_u32 {
        let from = Ipv4Addr::from(0x0a00_0000 + host).to_string();
        let _ = wrong(&mut throttle, "ada", &from, now);
        now = now.after(Duration::from_millis(10));
    }
    // Then: at home she waits for nothing, on the road a minute at most.
    assert_eq!(right(&mut throttle, "ada", "192.0.2.1", now), None);
    let wait = right(&mut throttle, "ada", "198.51.100.9", now).unwrap();
    assert!(wait <= Duration::from_secs(60), "{wait:?}");
    // And everybody else waits for nothing anywhere.
    assert_eq!(right(&mut throttle, "bob", "198.51.100.9", now), None);
}

#[test]
fn who_shares_an_address_with_a_stranger_goes_on_and_newcomers_wait_two_minutes_at_most() {
    let mut throttle = Throttle::new(&ThrottleSettings::default());
    assert_eq!(right(&mut throttle, "ada", "192.0.2.1", at(0)), None);
    for number in 0..1000 {
        let _ = wrong(
            &mut throttle,
            &format!("guess{number}"),
            "192.0.2.1",
            at(number),
        );
    }
    assert_eq!(right(&mut throttle, "ada", "192.0.2.1", at(1000)), None);
    let wait = right(&mut throttle, "bob", "192.0.2.1", at(1000)).unwrap();
    assert!(wait <= Duration::from_secs(120), "{wait:?}");
    assert_eq!(right(&mut throttle, "bob", "192.0.2.2", at(1000)), None);
}

#[test]
fn an_account_of_ones_own_makes_no_guesses_free() {
    let mut throttle = Throttle::new(&ThrottleSettings::default());
    let mut guesses = 0;
    for second in 0..3600 {
        // Between guesses the guesser logs in as themselves.
        let _ = right(&mut throttle, "mallory", "192.0.2.1", at(second));
        guesses += u32::from(wrong(&mut throttle, "ada", "192.0.2.1", at(second)).is_none());
    }
    assert!(guesses < 25, "{guesses}");
}

#[test]
fn what_was_not_tried_counts_for_nothing() {
    let mut throttle = Throttle::new(&ThrottleSettings::default());
    for _ in 0..100 {
        let tried = throttle
            .begin(Some(&name("ada")), network("192.0.2.1"), at(0))
            .unwrap();
        throttle.not_made(tried);
    }
    assert_eq!(throttle.entries(), 0);
}

#[test]
fn a_forgotten_user_is_a_stranger_again() {
    let mut throttle = Throttle::new(&ThrottleSettings::default());
    assert_eq!(right(&mut throttle, "ada", "192.0.2.1", at(0)), None);
    throttle.forget_user(&name("ada"));
    for number in 0..30 {
        let _ = wrong(&mut throttle, &format!("guess{number}"), "192.0.2.1", at(0));
    }
    assert!(right(&mut throttle, "ada", "192.0.2.1", at(0)).is_some());
}

#[test]
fn registrations_are_slowed_down_by_network_alone() {
    let mut throttle = Throttle::new(&ThrottleSettings::default());
    let here = network("2001:db8::1");
    let taken = (0..100)
        .filter(|_| throttle.register(here, at(0)).is_ok())
        .count();
    assert_eq!(taken, 21);
    assert!(throttle.register(network("2001:db8:0:1::1"), at(0)).is_ok());
}

#[test]
fn a_user_is_known_from_a_bounded_number_of_networks() {
    let mut throttle = Throttle::new(&ThrottleSettings::default());
    for host in 0..100_u32 {
        let from = Ipv4Addr::from(0x0a00_0000 + host).to_string();
        assert_eq!(
            right(&mut throttle, "ada", &from, at(u64::from(host))),
            None
        );
    }
    assert_eq!(throttle.known[&name("ada")].len(), 16);
    assert!(throttle.is_known(&name("ada"), network("10.0.0.99")));
    assert!(!throttle.is_known(&name("ada"), network("10.0.0.1")));
}

/// One thing that somebody does.
#[derive(Debug, Clone)]
struct Step {
    user: u8,
    host: u8,
    is_right: bool,
    later_ms: u64,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0_u8..4, 0_u8..40, prop::bool::weighted(0.1), 0_u64..5000).prop_map(
        |(user, host, is_right, later_ms)| Step {
            user,
            host,
            is_right,
            later_ms,
        },
    );
    prop::collection::vec(step, 1..400)
}

proptest! {
    #[test]
    fn whatever_is_tried_tables_and_waits_have_their_bounds(steps in steps()) {
        let settings = ThrottleSettings { most_entries: 10, most_known: 3, ..ThrottleSettings::default() };
        let mut throttle = Throttle::new(&settings);
        let mut now = Mono(0);
        for step in steps {
            now = now.after(Duration::from_millis(step.later_ms));
            let (user, from) = (format!("u{}", step.user), format!("10.0.0.{}", step.host));
            let wait = if step.is_right {
                right(&mut throttle, &user, &from, now)
            } else {
                wrong(&mut throttle, &user, &from, now)
            };
            prop_assert!(wait.is_none_or(|it| !it.is_zero() && it <= Duration::from_secs(900)));
            prop_assert!(throttle.entries() <= 10);
            prop_assert!(throttle.known.values().all(|networks| networks.len() <= 3));
        }
    }

    /// However a botnet goes about it, in an hour one user gets no more guesses than the free ones, one a
    /// minute, and one for each pause that ends.
    #[test]
    fn one_user_is_guessed_at_no_more_often_than_that(
        tries in prop::collection::vec((0_u32..100_000, 0_u64..3_600_000), 0..2000),
    ) {
        let settings = ThrottleSettings::default();
        let mut throttle = Throttle::new(&settings);
        let mut tries = tries;
        tries.sort_by_key(|(_, at)| *at);
        let let_through = tries.iter().filter(|(host, at)| {
            let from = Ipv4Addr::from(0x0a00_0000 + host).to_string();
            wrong(&mut throttle, "ada", &from, Mono(*at)).is_none()
        });
        prop_assert!(let_through.count() <= 20 + 60 + 60);
    }

    /// What a stranger does elsewhere never makes a known pair wait.
    #[test]
    fn a_known_pair_waits_for_itself_alone(
        tries in prop::collection::vec((0_u8..3, 0_u32..1000, 0_u64..2000), 0..500),
    ) {
        let mut throttle = Throttle::new(&ThrottleSettings::default());
        prop_assert_eq!(right(&mut throttle, "u0", "192.0.2.1", Mono(0)), None);
        let mut now = Mono(0);
        for (user, host, later) in tries {
            now = now.after(Duration::from_millis(later));
            let from = Ipv4Addr::from(0x0a00_0000 + host).to_string();
            let _ = wrong(&mut throttle, &format!("u{user}"), &from, now);
            prop_assert_eq!(right(&mut throttle, "u0", "192.0.2.1", now), None);
        }
    }
}

#[test]
fn whoever_logs_in_without_end_waits_for_it_and_nobody_else_does() {
    let mut throttle = Throttle::new(&ThrottleSettings::default());
    for _ in 0..301 {
        assert_eq!(right(&mut throttle, "eve", "192.0.2.1", at(0)), None);
    }
    let wait = right(&mut throttle, "eve", "192.0.2.1", at(0)).unwrap();
    assert!(wait <= Duration::from_secs(10), "{wait:?}");
    assert_eq!(right(&mut throttle, "ada", "192.0.2.1", at(0)), None);
    assert_eq!(right(&mut throttle, "eve", "192.0.2.2", at(0)), None);
    // An hour later it is forgotten.
    for _ in 0..200 {
        assert_eq!(right(&mut throttle, "eve", "192.0.2.1", at(3600)), None);
    }
}
