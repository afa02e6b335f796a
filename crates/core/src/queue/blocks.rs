//! Places in an order, counted by blocks.

use std::collections::BTreeMap;

use super::Rank;

/// How many ranks of a set lie in each block of the order: so that a place among a million is found
/// without a walk past all that go before.
#[derive(Debug, Default)]
pub(super) struct Blocks(BTreeMap<Rank, usize>);

impl Blocks {
    pub(super) fn count_in(&mut self, rank: Rank) {
        *self.0.entry(rank.block()).or_default() += 1;
    }

    pub(super) fn count_out(&mut self, rank: Rank) {
        if let Some(count) = self.0.get_mut(&rank.block()) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&rank.block());
            }
        }
    }

    /// How many are in the blocks before the one of this rank.
    pub(super) fn before(&self, rank: Rank) -> usize {
        self.0.range(..rank.block()).map(|(_, count)| count).sum()
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
