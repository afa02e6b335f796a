//! Numbers that a seed decides: the same for the same seed, on every machine.

use std::ops::Range;

/// SplitMix64, after Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Any seed will do, 0 as well.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// One of its own for a part of what is drawn: more drawn elsewhere doesn't change it.
    #[must_use]
    pub fn part(&self, number: u64) -> Self {
        let mut mixed = Self(self.0 ^ number.wrapping_mul(0xD6E8_FEB8_6659_FD93));
        Self(mixed.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number of a range, which is not empty.
    pub fn of(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    /// One of these, of which there is at least one.
    pub fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.of(0..all.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_seed_never_change() {
        // The first three that the paper's reference code gives for this seed.
        let mut random = Random::new(1_234_567);
        let drawn = [random.next(), random.next(), random.next()];
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
        ];
        assert_eq!(drawn, expected);
    }

    #[test]
    fn parts_differ_and_don_t_depend_on_what_was_drawn_elsewhere() {
        let whole = Random::new(5);
        let mut part = whole.part(1);
        assert_ne!(part.of(0..1 << 60), whole.part(2).of(0..1 << 60));
        assert_eq!(Random::new(5).part(1).of(0..99), whole.part(1).of(0..99));
    }
}
