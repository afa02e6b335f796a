//! Rings at starts and rotations.

use super::*;

const HOUR: Duration = Duration::from_secs(3600);
const NOW: Wall = Wall(1_800_000_000_000);

fn start(kept: Option<KeyRing>, secret: Option<&str>, fresh: u8, now: Wall) -> KeyRing {
    KeyRing::at_start(kept, secret.map(str::as_bytes), HOUR, [fresh; 32], now).unwrap()
}

fn one() -> String {
    "1".repeat(32)
}

fn two() -> String {
    "2".repeat(32)
}

#[test]
fn a_first_start_makes_a_key_and_later_ones_keep_it() {
    let first = start(None, None, 1, NOW);
    assert_eq!(first.current_since(), (NOW, KeyOrigin::Made));
    let second = start(Some(first.clone()), None, 2, NOW.after(HOUR * 1000));
    assert_eq!(first, second);
}

#[test]
fn a_short_secret_is_refused_with_what_was_expected() {
    for len in [0, 1, 31, 4097] {
        let secret = "x".repeat(len);
        let ring = KeyRing::at_start(None, Some(secret.as_bytes()), HOUR, [1; 32], NOW);
        let error = ring.unwrap_err().to_string();
        assert!(
            error.contains(&format!("is {len} bytes long: expected 32")),
            "{error}"
        );
        assert!(error.contains("openssl rand"), "{error}");
    }
    assert_eq!(
        start(None, Some(&one()), 1, NOW).current.secret.as_slice(),
        one().as_bytes()
    );
}

#[test]
fn a_set_secret_signs_and_the_key_before_it_counts_until_its_tokens_end() {
    let made = start(None, None, 1, NOW);
    let old = made.current.kid.clone();
    let ring = start(Some(made), Some(&one()), 2, NOW);
    assert_eq!(ring.current.origin, KeyOrigin::Settings);
    assert!(ring.find(&old, NOW.after(HOUR)).is_some());
    let later = NOW.after(HOUR + Duration::from_secs(1));
    assert!(ring.find(&old, later).is_none());

    // The same again changes nothing; one hour later the next start has forgotten the old one.
    assert_eq!(start(Some(ring.clone()), Some(&one()), 3, NOW), ring);
    let ring = start(Some(ring), Some(&one()), 3, later);
    assert_eq!(ring.kids().count(), 1);

    // Another one, and then none any more: each takes the place of the one before.
    let ring = start(Some(ring), Some(&two()), 4, later);
    let ring = start(Some(ring), None, 5, later);
    assert_eq!(ring.current_since(), (later, KeyOrigin::Made));
    assert_eq!(ring.kids().count(), 3);
}

#[test]
fn a_secret_that_comes_back_signs_again_and_is_there_once() {
    let ring = start(None, Some(&one()), 1, NOW);
    let ring = start(Some(ring), Some(&two()), 1, NOW);
    let ring = start(Some(ring), Some(&one()), 1, NOW);
    assert_eq!(ring.current.kid, kid_of(one().as_bytes()));
    assert_eq!(ring.current.retired_until, None);
    let kids: Vec<_> = ring.kids().collect();
    assert_eq!(kids, [kid_of(one().as_bytes()), kid_of(two().as_bytes())]);
}

#[test]
fn tokens_of_a_longer_life_than_is_set_now_still_end_by_themselves() {
    let long = KeyRing::at_start(None, None, HOUR * 10, [1; 32], NOW).unwrap();
    let mut ring = start(Some(long), None, 2, NOW);
    let old = ring.current.kid.clone();
    ring.rotate([3; 32], HOUR, false, NOW).unwrap();
    assert!(ring.find(&old, NOW.after(HOUR * 10)).is_some());
}

#[test]
fn a_key_that_somebody_may_have_seen_ends_at_once() {
    let mut ring = start(None, None, 1, NOW);
    ring.rotate([2; 32], HOUR, false, NOW).unwrap();
    ring.rotate([3; 32], HOUR, true, NOW).unwrap();
    assert_eq!(ring.kids().count(), 1);
    assert_eq!(ring.current.secret.as_slice(), [3; 32]);
}

#[test]
fn a_secret_of_the_settings_is_not_replaced_here() {
    let mut ring = start(None, Some(&one()), 1, NOW);
    let before = ring.clone();
    let error = ring.rotate([2; 32], HOUR, true, NOW).unwrap_err();
    assert!(
        error.to_string().contains("expected another JWT_SECRET"),
        "{error}"
    );
    assert_eq!(ring, before);
}

#[test]
fn a_ring_shows_no_secret() {
    let ring = start(None, Some(&one()), 1, NOW);
    let shown = format!("{ring:?}");
    assert!(
        !shown.contains("1111") && shown.contains(&ring.current.kid),
        "{shown}"
    );
}
