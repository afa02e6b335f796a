//! Mutations of inputs from a seed: the same seed gives the same inputs on every machine.

/// Numbers that only look random: SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom
/// Number Generators", 2014).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The numbers that follow from this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One below `end`, and 0 below 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.number() % (end.max(1) as u64)) as usize
    }
}

/// No input grows beyond.
const LONGEST: usize = 8192;

/// Bytes at which readers take turns.
const EDGES: &[u8] = b"\0\x01\x7f\x80\xff\n\r\t \"'%/\\.,:;=-+0x@#{}[]$";

/// What lengths and numbers look like at their edges.
const NUMBERS: [&[u8]; 12] = [
    b"-1",
    b"0",
    b"65536",
    b"4294967296",
    b"9223372036854775807",
    b"18446744073709551616",
    b"1e308",
    b"NaN",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\x00\x00\x00\x80",
    b"\xff\xff\xff\x7f",
    "\u{a0}\u{2003}\u{1f980}\u{301}".as_bytes(),
];

/// A changed copy of `input`; `others` are what pieces are borrowed from.
#[must_use]
pub fn mutated(input: &[u8], others: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = input.to_vec();
    // Few changes find what lies near, many what lies further off.
    for _ in 0..=random.below(4) {
        change(&mut bytes, others, random);
    }
    bytes.truncate(LONGEST);
    bytes
}

fn change(bytes: &mut Vec<u8>, others: &[Vec<u8>], random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    match random.below(9) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        1 if at < bytes.len() => bytes[at] = EDGES[random.below(EDGES.len())],
        2 => bytes.insert(at, EDGES[random.below(EDGES.len())]),
        3 => bytes.truncate(at),
        4 => drop(bytes.drain(piece(bytes, at, random))),
        5 => {
            let copy = bytes[piece(bytes, at, random)].to_vec();
            let to = random.below(bytes.len() + 1);
            for _ in 0..=random.below(3) {
                bytes.splice(to..to, copy.iter().copied());
            }
        }
        6 => {
            let number = NUMBERS[random.below(NUMBERS.len())];
            let over = (at + random.below(number.len() + 1)).min(bytes.len());
            bytes.splice(at..over, number.iter().copied());
        }
        7 => {
            let Some(other) = others.get(random.below(others.len())) else {
                return;
            };
            let from = random.below(other.len() + 1);
            let borrowed = other[piece(other, from, random)].to_vec();
            let over = (at + random.below(borrowed.len() + 1)).min(bytes.len());
            bytes.splice(at..over, borrowed);
        }
        _ if at < bytes.len() => bytes[at] = bytes[at].wrapping_add(1),
        _ => bytes.push(random.number() as u8),
    }
}

/// A range of `bytes` that begins at `at`.
fn piece(bytes: &[u8], at: usize, random: &mut Random) -> std::ops::Range<usize> {
    at..at + random.below((bytes.len() - at).min(256) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_inputs_and_another_gives_others() {
        let others = [b"other".to_vec()];
        let all = |seed| {
            let mut random = Random::new(seed);
            let one = |_| mutated(b"an input of some length", &others, &mut random);
            (0..200).map(one).collect::<Vec<_>>()
        };
        assert_eq!(all(1), all(1));
        assert_ne!(all(1), all(2));
        let mut distinct = all(1);
        distinct.sort();
        distinct.dedup();
        assert!(distinct.len() > 150, "{} of 200", distinct.len());
    }

    #[test]
    fn nothing_is_too_short_to_be_changed_and_nothing_grows_for_ever() {
        let mut random = Random::new(7);
        let mut bytes = Vec::new();
        for _ in 0..20_000 {
            bytes = mutated(&bytes, &[], &mut random);
            assert!(bytes.len() <= LONGEST);
        }
    }
}
