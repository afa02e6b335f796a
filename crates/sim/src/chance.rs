//! Chance from a seed: the same on every machine, and of each thing by itself.
//!
//! Nothing here is drawn from one long sequence: what happens to a message follows from the seed, from
//! the message and from how many of its kind there were before it; what an engine, a disk or a store
//! does follows from the seed, from what it is asked for and from when. So an item that is cut from a
//! plan changes little about the others: only what comes at another time because of it.

/// A source of numbers that follow from a seed: SplitMix64 (Steele, Lea, Flood: "Fast splittable
/// pseudorandom number generators", OOPSLA 2014).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chance(u64);

impl Chance {
    /// The source of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(mix(seed ^ 0x5851_f42d_4c95_7f2d))
    }

    /// A source of its own for something with this name. FNV-1a over its bytes.
    #[must_use]
    pub fn of(self, name: &str) -> Self {
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let hash = name.bytes().fold(self.0 ^ 0xcbf2_9ce4_8422_2325, step);
        Self(mix(hash))
    }

    /// A source of its own for something with this number.
    #[must_use]
    pub fn nth(self, number: u64) -> Self {
        Self(mix(self.0 ^ mix(number.wrapping_add(0x632b_e59b_d9b4_e019))))
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// From `least` to `most`, both included.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        debug_assert!(least <= most, "expected a span that is not empty");
        least + self.draw() % (most - least + 1)
    }

    /// True in so many of a hundred cases.
    pub fn percent(&mut self, percent: u32) -> bool {
        self.draw() % 100 < u64::from(percent)
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[(self.draw() % of.len() as u64) as usize]
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_on_every_machine() {
        let mut chance = Chance::new(1).of("a message").nth(2);
        let drawn: Vec<u64> = (0..3).map(|_| chance.between(0, 999)).collect();
        let mut again = Chance::new(1).of("a message").nth(2);
        assert!(drawn.iter().all(|number| *number == again.between(0, 999)));
        // Written down: a change of these numbers makes every seed that was noted another one.
        assert_eq!(drawn, [621, 123, 673]);
    }

    #[test]
    fn sources_of_different_names_and_numbers_differ() {
        let seed = Chance::new(7);
        assert_ne!(seed.of("a").draw(), seed.of("b").draw());
        assert_ne!(seed.nth(1).draw(), seed.nth(2).draw());
        assert_ne!(seed.draw_first(), Chance::new(8).draw_first());
    }

    #[test]
    fn a_percentage_is_about_what_it_says() {
        let mut chance = Chance::new(3);
        let hits = (0..10_000).filter(|_| chance.percent(20)).count();
        assert!((1_800..2_200).contains(&hits), "{hits}");
    }

    impl Chance {
        fn draw_first(mut self) -> u64 {
            self.draw()
        }
    }
}
