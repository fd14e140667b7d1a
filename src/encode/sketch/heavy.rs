//! Heavy hitters.

use super::Key;
use crate::encode::hash::FixedState;
use std::collections::HashMap;

/// Counters kept after pruning.
const CAPACITY: usize = 1024;

/// The most frequent values of a stream, by the summary of Misra and Gries (1982) in the batched,
/// mergeable form of Agarwal et al., "Mergeable Summaries" (TODS 2013): each count is low by at
/// most [`HeavyHitters::error`], which is at most `rows / 1025`.
#[derive(Debug)]
pub(crate) struct HeavyHitters<K: Key + ?Sized> {
    counts: HashMap<K::Owned, u64, FixedState>,
    error: u64,
}

impl<K: Key + ?Sized> Clone for HeavyHitters<K> {
    fn clone(&self) -> Self {
        Self { counts: self.counts.clone(), error: self.error }
    }
}

impl<K: Key + ?Sized> HeavyHitters<K> {
    /// The summary of exact counts.
    pub(crate) fn of<'a>(counts: impl Iterator<Item = (&'a K::Owned, &'a u64)>) -> Self
    where
        K::Owned: 'a,
    {
        let mut summary = Self { counts: counts.map(|(k, &n)| (k.clone(), n)).collect(), error: 0 };
        summary.prune();
        summary
    }

    /// How much a count may be too low.
    pub(crate) fn error(&self) -> u64 {
        self.error
    }

    /// The values kept and their counts, in value order.
    pub(crate) fn sorted(&self) -> Vec<(&K::Owned, u64)> {
        let mut all: Vec<_> = self.counts.iter().map(|(k, &n)| (k, n)).collect();
        all.sort_unstable();
        all
    }

    /// Counts `weight` more rows of `value`.
    pub(crate) fn add(&mut self, value: &K, weight: u64) {
        if let Some(count) = self.counts.get_mut(value) {
            *count += weight;
            return;
        }
        self.counts.insert(value.to_key(), weight);
        if self.counts.len() >= 2 * CAPACITY {
            self.prune();
        }
    }

    /// Takes in another summary.
    pub(crate) fn merge(&mut self, other: Self) {
        self.error += other.error;
        for (value, count) in other.counts {
            *self.counts.entry(value).or_insert(0) += count;
        }
        self.prune();
    }

    /// Heap bytes held.
    pub(crate) fn memory_size(&self) -> usize {
        let slot = size_of::<(K::Owned, u64)>() + 1;
        self.counts.capacity() * slot + self.counts.keys().map(|k| K::heap_size(k)).sum::<usize>()
    }

    /// Back to [`CAPACITY`] counters: all lose the largest count that does not fit.
    fn prune(&mut self) {
        if self.counts.len() <= CAPACITY {
            return;
        }
        let mut counts: Vec<u64> = self.counts.values().copied().collect();
        let (_, &mut cut, _) = counts.select_nth_unstable_by(CAPACITY, |a, b| b.cmp(a));
        self.error += cut;
        self.counts.retain(|_, count| {
            *count = count.saturating_sub(cut);
            *count > 0
        });
    }
}
