//! Who is in. When all places are taken the connection that has been silent for longest makes room
//! for a new one, so that thousands of silent ones keep nobody out.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

/// The places. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Doorway {
    most: usize,
    inside: Arc<Mutex<Inside>>,
}

#[derive(Debug, Default)]
struct Inside {
    count: usize,
    last: u64,
    /// Those that have not asked for anything yet, the oldest first.
    silent: BTreeMap<u64, Arc<Notify>>,
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    doorway: Doorway,
    number: u64,
    sent_away: Arc<Notify>,
}

impl Doorway {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            inside: Arc::default(),
        }
    }

    /// Takes a place; `None` if all are taken by others that are being served.
    pub(super) fn enter(&self) -> Option<Place> {
        let mut inside = self.lock();
        if inside.count >= self.most {
            // Its place is counted until it has gone, which is in a moment.
            let (_, silent) = inside.silent.pop_first()?;
            silent.notify_one();
        }
        inside.count += 1;
        inside.last += 1;
        let number = inside.last;
        let sent_away = Arc::new(Notify::new());
        inside.silent.insert(number, sent_away.clone());
        Some(Place {
            doorway: self.clone(),
            number,
            sent_away,
        })
    }

    /// Sends those away that have said nothing: one in eight, the oldest.
    pub(super) fn send_silent_away(&self) {
        let mut inside = self.lock();
        for _ in 0..inside.silent.len().div_ceil(8) {
            if let Some((_, silent)) = inside.silent.pop_first() {
                silent.notify_one();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        // A panic elsewhere leaves the counts whole: each is changed in one step.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// It has asked for something: it is not sent away any more.
    pub(super) fn spoke(&self) {
        self.doorway.lock().silent.remove(&self.number);
    }

    /// Resolves when the place is needed for somebody else.
    pub(super) async fn sent_away(&self) {
        self.sent_away.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = self.doorway.lock();
        inside.count -= 1;
        inside.silent.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn the_oldest_silent_one_makes_room_and_one_that_spoke_never() {
        // Given two places, taken by one that speaks and one that is silent,
        let doorway = Doorway::new(2);
        let busy = doorway.enter().unwrap();
        busy.spoke();
        let silent = doorway.enter().unwrap();
        assert!(silent.sent_away().now_or_never().is_none());

        // when a third comes, then the silent one goes.
        let third = doorway.enter().unwrap();
        assert!(silent.sent_away().now_or_never().is_some());
        assert!(busy.sent_away().now_or_never().is_none());
        drop(silent);

        // When all that are in have spoken, then nobody else comes in until one has gone.
        third.spoke();
        assert!(doorway.enter().is_none());
        drop(busy);
        assert!(doorway.enter().is_some());
    }

    #[test]
    fn ten_thousand_that_say_nothing_hold_no_more_than_their_places() {
        let doorway = Doorway::new(100);
        let mut places = Vec::new();
        for _ in 0..10_000 {
            places.push(doorway.enter().unwrap());
            // Those that are sent away go.
            places.retain(|place| place.sent_away().now_or_never().is_none());
            assert!(places.len() <= 100);
        }
    }
}
