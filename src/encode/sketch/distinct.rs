//! Exact value counts while there are few, a sample of the values beyond.

use super::heavy::HeavyHitters;
use crate::encode::{
    hash::{FixedState, hash_of, mix},
    wide::Float,
};
use arrow::datatypes::i256;
use std::{borrow::Borrow, collections::HashMap, fmt::Debug, hash::Hash};

/// A value as it lies in an array, with an owned form to keep.
pub(crate) trait Key: Hash + Eq {
    /// What a sketch keeps.
    type Owned: Borrow<Self> + Hash + Eq + Ord + Clone + Debug + Send + Sync;

    /// The form to keep.
    fn to_key(&self) -> Self::Owned;

    /// Bytes on the heap of a kept value.
    fn heap_size(owned: &Self::Owned) -> usize;
}

macro_rules! plain_key {
    ($($t:ty),*) => {$(
        impl Key for $t {
            type Owned = $t;
            fn to_key(&self) -> $t {
                *self
            }
            fn heap_size(_: &$t) -> usize {
                0
            }
        }
    )*};
}
plain_key!(i64, i128, i256, Float);

impl Key for [u8] {
    type Owned = Box<[u8]>;
    fn to_key(&self) -> Box<[u8]> {
        self.into()
    }
    fn heap_size(owned: &Box<[u8]>) -> usize {
        owned.len()
    }
}

/// How much a [`DistinctSketch`] keeps before it samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Distinct values.
    pub values: usize,
    /// Heap bytes of the values.
    pub bytes: usize,
}

impl Limits {
    /// For columns whose role is inferred.
    pub(crate) const INFERRED: Self = Self { values: 1 << 16, bytes: 16 << 20 };
    /// For columns declared categorical: the user wants every value.
    pub(crate) const CATEGORICAL: Self = Self { values: 1 << 23, bytes: 1 << 30 };
}

/// Value counts of a column: exact until [`Limits`] are reached, from there on *distinct sampling*
/// (Gibbons, VLDB 2001): the exact counts of those values whose hash has `level` leading zero bits,
/// a uniform sample of the distinct values, and the [heavy hitters](HeavyHitters) of all rows.
///
/// The sample does not depend on the order of rows or merges. With `s` values sampled, the number
/// of distinct values is estimated with a relative standard error of about `1 / sqrt(s)` (0.6 % at
/// the default limit), and quantiles of the rest (without heavy hitters) with about the same.
#[derive(Debug)]
pub(crate) struct DistinctSketch<K: Key + ?Sized> {
    limits: Limits,
    counts: HashMap<K::Owned, u64, FixedState>,
    level: u32,
    heap: usize,
    rows: u64,
    heavy: Option<HeavyHitters<K>>,
}

fn level_of<K: Hash + ?Sized>(value: &K) -> u32 {
    // A second mixing, so that the levels say nothing about a hash table's buckets.
    mix(hash_of(value) ^ 0xA076_1D64_78BD_642F).leading_zeros()
}

impl<K: Key + ?Sized> Clone for DistinctSketch<K> {
    fn clone(&self) -> Self {
        Self { counts: self.counts.clone(), heavy: self.heavy.clone(), ..*self }
    }
}

impl<K: Key + ?Sized> DistinctSketch<K> {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, counts: HashMap::default(), level: 0, heap: 0, rows: 0, heavy: None }
    }

    /// Counts `weight` more rows of `value`.
    pub(crate) fn add(&mut self, value: &K, weight: u64) {
        self.rows += weight;
        if let Some(heavy) = &mut self.heavy {
            heavy.add(value, weight);
            if level_of(value) < self.level {
                return;
            }
        }
        if let Some(count) = self.counts.get_mut(value) {
            *count += weight;
            return;
        }
        let owned = value.to_key();
        self.heap += K::heap_size(&owned);
        self.counts.insert(owned, weight);
        self.shrink();
    }

    fn shrink(&mut self) {
        while self.counts.len() > self.limits.values || (self.heap > self.limits.bytes && self.counts.len() > 1) {
            self.raise(self.level + 1);
        }
    }

    fn raise(&mut self, level: u32) {
        if self.heavy.is_none() {
            self.heavy = Some(HeavyHitters::of(self.counts.iter()));
        }
        self.level = level;
        let heap = &mut self.heap;
        self.counts.retain(|value, _| {
            let keep = level_of::<K>((*value).borrow()) >= level;
            if !keep {
                *heap -= K::heap_size(value);
            }
            keep
        });
    }

    /// Takes in the sketch of other rows.
    pub(crate) fn merge(&mut self, mut other: Self) {
        if self.level < other.level || (self.heavy.is_none() && other.heavy.is_some()) {
            self.raise(other.level);
        } else if other.level < self.level || (other.heavy.is_none() && self.heavy.is_some()) {
            other.raise(self.level);
        }
        self.rows += other.rows;
        if let (Some(mine), Some(theirs)) = (&mut self.heavy, other.heavy) {
            mine.merge(theirs);
        }
        for (value, count) in other.counts {
            if let Some(mine) = self.counts.get_mut(value.borrow()) {
                *mine += count;
            } else {
                self.heap += K::heap_size(&value);
                self.counts.insert(value, count);
            }
        }
        self.shrink();
    }

    /// Rows counted.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Whether every value is here with its exact count.
    pub(crate) fn is_exact(&self) -> bool {
        self.heavy.is_none()
    }

    /// The number of distinct values, estimated beyond the limits.
    pub(crate) fn distinct(&self) -> u64 {
        (self.counts.len() as u64) << self.level.min(40)
    }

    /// The share of the distinct values (of those sampled) that occur once.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn singletons(&self) -> f64 {
        let once = self.counts.values().filter(|&&n| n == 1).count();
        once as f64 / self.counts.len().max(1) as f64
    }

    /// The values (all, or the sample) with their exact counts, in value order.
    pub(crate) fn sorted(&self) -> Vec<(&K::Owned, u64)> {
        let mut all: Vec<_> = self.counts.iter().map(|(k, &n)| (k, n)).collect();
        all.sort_unstable();
        all
    }

    /// The distribution of the rows: values in order, each with the number of rows it stands for.
    /// Exact, or the heavy hitters with their counts and the sample weighted to make up the rest.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn distribution(&self) -> Vec<(&K::Owned, f64)> {
        let Some(heavy) = &self.heavy else {
            return self.sorted().into_iter().map(|(k, n)| (k, n as f64)).collect();
        };
        // Counts below a few times their error are noise: those values are left to the sample.
        let floor = 4 * heavy.error().max(1);
        let mut points: Vec<(&K::Owned, f64)> = Vec::new();
        let mut left = self.rows as f64;
        for (value, count) in heavy.sorted() {
            if count > floor {
                let rows = self.counts.get(value.borrow()).copied().unwrap_or(count + heavy.error() / 2) as f64;
                left -= rows;
                points.push((value, rows));
            }
        }
        let certain: Vec<&K::Owned> = points.iter().map(|p| p.0).collect();
        let rest: Vec<_> =
            self.sorted().into_iter().filter(|(value, _)| certain.binary_search(value).is_err()).collect();
        let sampled: u64 = rest.iter().map(|(_, n)| n).sum();
        let scale = left.max(0.0) / sampled.max(1) as f64;
        points.extend(rest.into_iter().map(|(value, n)| (value, n as f64 * scale)));
        points.sort_unstable_by(|a, b| a.0.cmp(b.0));
        points
    }

    /// Heap bytes held.
    pub(crate) fn memory_size(&self) -> usize {
        let slot = size_of::<(K::Owned, u64)>() + 1;
        self.counts.capacity() * slot + self.heap + self.heavy.as_ref().map_or(0, HeavyHitters::memory_size)
    }
}
