//! One worker's figures at one resolution: points of spans that are over, and the span that goes on.

use std::{collections::VecDeque, time::Duration};

use cloudai_model::{Mono, Now, Wall};

use super::{
    Point,
    figures::{COUNT, Figures},
};

/// What of a span is kept.
pub(super) trait Kept: Copy {
    fn of(span: &Open) -> Self;
    fn mean(&self) -> Figures;
    fn max(&self) -> Figures;
}

/// The mean alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mean([f32; COUNT]);

impl Kept for Mean {
    fn of(span: &Open) -> Self {
        Self(span.mean().to_array())
    }

    fn mean(&self) -> Figures {
        self.0.into()
    }

    fn max(&self) -> Figures {
        self.0.into()
    }
}

/// The mean, and the highest of each figure.
#[derive(Debug, Clone, Copy)]
pub(super) struct MeanAndMax([f32; COUNT], [f32; COUNT]);

impl Kept for MeanAndMax {
    fn of(span: &Open) -> Self {
        Self(span.mean().to_array(), span.max)
    }

    fn mean(&self) -> Figures {
        self.0.into()
    }

    fn max(&self) -> Figures {
        self.1.into()
    }
}

/// The span that goes on.
#[derive(Debug)]
pub(super) struct Open {
    slot: u32,
    samples: u32,
    sum: [f64; COUNT],
    max: [f32; COUNT],
}

impl Open {
    fn new(slot: u32, figures: Figures) -> Self {
        Self {
            slot,
            samples: 1,
            sum: figures.to_array().map(f64::from),
            max: figures.to_array(),
        }
    }

    fn add(&mut self, figures: Figures) {
        self.samples = self.samples.saturating_add(1);
        for (index, figure) in figures.to_array().into_iter().enumerate() {
            self.sum[index] += f64::from(figure);
            self.max[index] = self.max[index].max(figure);
        }
    }

    fn mean(&self) -> Figures {
        self.sum.map(|sum| sum / f64::from(self.samples)).into()
    }
}

/// See the module. Spans are numbered from the start of the monotonic clock.
#[derive(Debug)]
pub(super) struct Series<K> {
    span_ms: u64,
    open: Option<Open>,
    /// By rising number; no gaps are kept.
    closed: VecDeque<(u32, K)>,
}

impl<K: Kept> Series<K> {
    pub(super) const POINT_BYTES: usize = size_of::<(u32, K)>();

    pub(super) fn new(span: Duration) -> Self {
        Self {
            span_ms: u64::try_from(span.as_millis()).unwrap_or(u64::MAX),
            open: None,
            closed: VecDeque::new(),
        }
    }

    fn slot(&self, at: Mono) -> u32 {
        u32::try_from(at.0 / self.span_ms).unwrap_or(u32::MAX)
    }

    /// Takes a sample in, and keeps at most `most` spans that are over.
    pub(super) fn take(&mut self, at: Mono, figures: Figures, most: usize) {
        let slot = self.slot(at);
        match &mut self.open {
            Some(open) if open.slot == slot => return open.add(figures),
            Some(open) if open.slot > slot => return,
            _ => {}
        }
        let over = self.open.replace(Open::new(slot, figures));
        if let Some(over) = over {
            self.drop_before(slot, most.saturating_sub(1));
            if most > 0 && is_kept(over.slot, slot, most) {
                self.make_room(most);
                self.closed.push_back((over.slot, K::of(&over)));
            }
        }
    }

    /// Drops what is older than `most` spans before `slot`.
    fn drop_before(&mut self, slot: u32, most: usize) {
        while let Some((oldest, _)) = self.closed.front()
            && (!is_kept(*oldest, slot, most + 1) || self.closed.len() > most)
        {
            self.closed.pop_front();
        }
    }

    /// Room for one more; grows as far as is needed, and never beyond `most`.
    fn make_room(&mut self, most: usize) {
        let len = self.closed.len();
        if len == self.closed.capacity() {
            let more = len.clamp(4, 512).min(most.saturating_sub(len)).max(1);
            self.closed.reserve_exact(more);
        }
    }

    /// Keeps no more than the last `most` spans.
    pub(super) fn shorten(&mut self, most: usize) {
        let len = self.closed.len();
        self.closed.drain(..len.saturating_sub(most));
        self.closed.shrink_to(most);
    }

    /// What is known of the last `most` spans before `now`, and of the one that goes on.
    pub(super) fn points(&self, now: Now, most: usize) -> Vec<Point> {
        let current = self.slot(now.mono);
        let closed = self.closed.iter();
        let closed = closed.filter(|(slot, _)| is_kept(*slot, current, most));
        let closed = closed.map(|(slot, kept)| Point {
            at: self.began(*slot, now),
            mean: kept.mean(),
            max: kept.max(),
        });
        let open = self.open.iter();
        let open = open.filter(|open| open.slot == current || is_kept(open.slot, current, most));
        let open = open.map(|open| Point {
            at: self.began(open.slot, now),
            mean: K::of(open).mean(),
            max: K::of(open).max(),
        });
        closed.chain(open).collect()
    }

    /// When a span began, as the wall clock stands now.
    fn began(&self, slot: u32, now: Now) -> Wall {
        let ago = now.mono.0.saturating_sub(u64::from(slot) * self.span_ms);
        Wall(now.wall.0.saturating_sub_unsigned(ago))
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.closed.capacity() * Self::POINT_BYTES
    }
}

/// Whether a span is one of the last `most` before the `current` one.
fn is_kept(slot: u32, current: u32, most: usize) -> bool {
    let ago = current.saturating_sub(slot) as usize;
    (1..=most).contains(&ago)
}
