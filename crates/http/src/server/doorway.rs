//! Who is in. When all places are taken the connection that has asked for nothing for longest makes room
//! for a new one, so that thousands of silent or idle ones keep nobody out.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

/// The places. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Doorway {
    most: usize,
    most_of_address: usize,
    inside: Arc<Mutex<Inside>>,
}

#[derive(Debug, Default)]
struct Inside {
    count: usize,
    last: u64,
    /// Those that have nothing under way, who has had nothing for longest first.
    idle: BTreeMap<u64, Idle>,
    of_address: HashMap<IpAddr, Own>,
}

#[derive(Debug)]
struct Idle {
    sent_away: Arc<Notify>,
    from: Option<IpAddr>,
}

/// Those of one address.
#[derive(Debug, Default)]
struct Own {
    count: usize,
    idle: BTreeSet<u64>,
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub struct Place {
    doorway: Doorway,
    sent_away: Arc<Notify>,
    /// Whose share it is of; `None`: of nobody's.
    from: Option<IpAddr>,
    requests: Mutex<Requests>,
}

/// What one connection has asked for.
#[derive(Debug)]
struct Requests {
    under_way: usize,
    ever: usize,
    /// Among those that are idle, if it is one.
    number: Option<u64>,
}

/// One request that is under way until this is dropped.
#[derive(Debug)]
pub struct UnderWay(Arc<Place>);

impl Doorway {
    /// With so many places, and so many for one address.
    #[must_use]
    pub fn new(most: usize, most_of_address: usize) -> Self {
        Self {
            most,
            most_of_address,
            inside: Arc::default(),
        }
    }

    /// Takes a place; `None` if all are taken by others that are being served, or all that one address
    /// may have are.
    #[must_use]
    pub fn enter(&self, from: IpAddr) -> Option<Place> {
        let from = share_of(from);
        let mut inside = self.lock();
        // The place of who is sent away is counted until it has gone, which is in a moment.
        if let Some(from) = from
            && let Some(own) = inside.of_address.get(&from)
            && own.count >= self.most_of_address
        {
            let oldest = *own.idle.first()?;
            inside.send_away(oldest);
        } else if inside.count >= self.most {
            let oldest = *inside.idle.first_key_value()?.0;
            inside.send_away(oldest);
        }
        inside.count += 1;
        if let Some(from) = from {
            inside.of_address.entry(from).or_default().count += 1;
        }
        let sent_away = Arc::new(Notify::new());
        let number = inside.now_idle(from, &sent_away);
        Some(Place {
            doorway: self.clone(),
            sent_away,
            from,
            requests: Mutex::new(Requests {
                under_way: 0,
                ever: 0,
                number: Some(number),
            }),
        })
    }

    /// Sends those away that have nothing under way: one in eight, who has had nothing for longest first.
    pub fn send_idle_away(&self) {
        let mut inside = self.lock();
        for _ in 0..inside.idle.len().div_ceil(8) {
            if let Some((oldest, _)) = inside.idle.first_key_value() {
                let oldest = *oldest;
                inside.send_away(oldest);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        // A panic elsewhere leaves the counts whole: each is changed in one step.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whose share a connection is of: of an address, or a network of IPv6, of which whoever has one address
/// has all. This machine's own has no share: a proxy there speaks for many.
pub(crate) fn share_of(from: IpAddr) -> Option<IpAddr> {
    match from.to_canonical() {
        from if from.is_loopback() => None,
        IpAddr::V6(from) => Some(IpAddr::V6((from.to_bits() >> 64 << 64).into())),
        from => Some(from),
    }
}

impl Inside {
    fn now_idle(&mut self, from: Option<IpAddr>, sent_away: &Arc<Notify>) -> u64 {
        self.last += 1;
        let sent_away = sent_away.clone();
        self.idle.insert(self.last, Idle { sent_away, from });
        if let Some(own) = from.and_then(|from| self.of_address.get_mut(&from)) {
            own.idle.insert(self.last);
        }
        self.last
    }

    fn idle_no_more(&mut self, number: u64) -> Option<Idle> {
        let idle = self.idle.remove(&number)?;
        if let Some(own) = idle.from.and_then(|from| self.of_address.get_mut(&from)) {
            own.idle.remove(&number);
        }
        Some(idle)
    }

    fn send_away(&mut self, number: u64) {
        if let Some(idle) = self.idle_no_more(number) {
            idle.sent_away.notify_one();
        }
    }
}

impl Place {
    /// It asks for something: until that is answered it is not sent away.
    #[must_use]
    pub fn begin(self: &Arc<Self>) -> UnderWay {
        let mut requests = self.requests();
        requests.under_way += 1;
        requests.ever += 1;
        if let Some(number) = requests.number.take() {
            self.doorway.lock().idle_no_more(number);
        }
        UnderWay(self.clone())
    }

    /// How many requests are under way, and how many there have been.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let requests = self.requests();
        (requests.under_way, requests.ever)
    }

    /// Resolves when the place is needed for somebody else.
    pub async fn sent_away(&self) {
        self.sent_away.notified().await;
    }

    fn requests(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut requests = self.0.requests();
        requests.under_way -= 1;
        if requests.under_way == 0 {
            let mut inside = self.0.doorway.lock();
            requests.number = Some(inside.now_idle(self.0.from, &self.0.sent_away));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let number = self.requests().number;
        let mut inside = self.doorway.lock();
        inside.count -= 1;
        if let Some(number) = number {
            inside.idle_no_more(number);
        }
        if let Some(from) = self.from
            && let Some(own) = inside.of_address.get_mut(&from)
        {
            own.count -= 1;
            if own.count == 0 {
                inside.of_address.remove(&from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn here() -> IpAddr {
        "127.0.0.1".parse().unwrap()
    }

    fn is_sent_away(place: &Place) -> bool {
        place.sent_away().now_or_never().is_some()
    }

    #[test]
    fn who_has_asked_for_nothing_for_longest_makes_room_and_who_is_served_never() {
        // Given two places, taken by one that is served and one that is silent,
        let doorway = Doorway::new(2, 2);
        let busy = Arc::new(doorway.enter(here()).unwrap());
        let request = busy.begin();
        let silent = doorway.enter(here()).unwrap();
        assert!(!is_sent_away(&silent));

        // when a third comes, then the silent one goes.
        let third = Arc::new(doorway.enter(here()).unwrap());
        assert!(is_sent_away(&silent) && !is_sent_away(&busy));
        drop(silent);

        // When all that are in are served, then nobody else comes in.
        let other = third.begin();
        assert!(doorway.enter(here()).is_none());

        // When they have their answers, then they make room again: who had it first, first.
        drop(other);
        drop(request);
        let fourth = doorway.enter(here()).unwrap();
        assert!(is_sent_away(&third) && !is_sent_away(&busy));
        drop((busy, third, fourth));
        let inside = doorway.lock();
        assert_eq!((inside.count, inside.idle.len()), (0, 0));
    }

    #[test]
    fn one_address_takes_no_more_than_its_share() {
        let doorway = Doorway::new(10, 2);
        let enter = |from: &str| doorway.enter(from.parse().unwrap());
        // Of one network of IPv6, of which one machine has all addresses,
        let first = Arc::new(enter("2001:db8::1").unwrap());
        let second = Arc::new(enter("2001:db8::2").unwrap());
        // the third sends the first away,
        let third = enter("2001:db8::3").unwrap();
        assert!(is_sent_away(&first) && !is_sent_away(&second));
        drop((first, third));
        let third = Arc::new(enter("2001:db8::3").unwrap());
        // and is turned away while both are served.
        let _served = (second.begin(), third.begin());
        assert!(enter("2001:db8::4").is_none());
        // Others are not concerned, and what comes through a proxy on this machine has no share.
        let others = [enter("2001:db8:0:1::1"), enter("192.0.2.1")];
        let proxied: Vec<_> = (0..5).map(|_| enter("::ffff:127.0.0.1")).collect();
        assert!(others.iter().chain(&proxied).all(Option::is_some));
    }

    #[test]
    fn ten_thousand_that_say_nothing_hold_no_more_than_their_places() {
        let doorway = Doorway::new(100, 100);
        let mut places = Vec::new();
        for _ in 0..10_000 {
            places.push(doorway.enter(here()).unwrap());
            // Those that are sent away go.
            places.retain(|place| !is_sent_away(place));
            assert!(places.len() <= 100);
        }
    }
}
