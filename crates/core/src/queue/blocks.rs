//! Places in an order, counted by blocks.

use std::collections::BTreeMap;

use super::Rank;

/// Which places of the order are taken, block by block: so that how many go before one of a million is
/// found without a walk past them, however many lines they stand in.
#[derive(Debug, Default)]
pub(super) struct Blocks(BTreeMap<Rank, Block>);

/// A bit for each place of a block.
#[derive(Debug, Default)]
struct Block([u64; (Rank::BLOCK / 64) as usize]);

impl Block {
    fn count(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// How many of the places below this one are taken.
    fn below(&self, place: u64) -> usize {
        let (word, bit) = word_and_bit(place);
        let whole: u32 = self.0[..word].iter().map(|word| word.count_ones()).sum();
        (whole + (self.0[word] & (bit - 1)).count_ones()) as usize
    }
}

fn word_and_bit(place: u64) -> (usize, u64) {
    ((place / 64) as usize, 1 << (place % 64))
}

impl Blocks {
    pub(super) fn count_in(&mut self, rank: Rank) {
        let (word, bit) = word_and_bit(rank.place_in_block());
        self.0.entry(rank.block()).or_default().0[word] |= bit;
    }

    pub(super) fn count_out(&mut self, rank: Rank) {
        if let Some(block) = self.0.get_mut(&rank.block()) {
            let (word, bit) = word_and_bit(rank.place_in_block());
            block.0[word] &= !bit;
            if block.count() == 0 {
                self.0.remove(&rank.block());
            }
        }
    }

    /// How many go before this rank.
    pub(super) fn before(&self, rank: Rank) -> usize {
        let whole = self.0.range(..rank.block()).map(|(_, block)| block.count());
        let own = self.0.get(&rank.block());
        whole.sum::<usize>() + own.map_or(0, |block| block.below(rank.place_in_block()))
    }

    /// How many blocks have one.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
