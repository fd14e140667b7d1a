//! What is kept of a column of numbers.

use super::{DistinctSketch, Limits};
use crate::encode::wide::{Grid, POWERS_OF_TEN, Wide};

/// The sketch of a column of numbers, dates, times or booleans, widened to `W`.
#[derive(Debug, Clone)]
pub(crate) struct NumberSketch<W: Wide> {
    /// Values, NaN and infinities included.
    pub values: DistinctSketch<W>,
    range: Option<(W, W)>,
    /// The first finite value seen, and the greatest common divisor of all distances from it
    /// (0: no other value yet).
    base: Option<W>,
    step: u64,
    decimals: Decimals,
}

/// The smallest number of decimals that represents every float seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Decimals {
    /// Above 15: not decimal at all.
    needed: u8,
    /// f32 and f16 are decimal where their own precision says so.
    single: bool,
}

impl Decimals {
    fn take_in(&mut self, x: f64) {
        while let Some(power) = POWERS_OF_TEN.get(usize::from(self.needed)) {
            let rounded = (x * power).round() / power;
            #[allow(clippy::cast_possible_truncation)]
            let same = if self.single { (rounded as f32).to_bits() == (x as f32).to_bits() } else { rounded == x };
            if same || (x * power).abs() >= 4_503_599_627_370_496.0 {
                return;
            }
            self.needed += 1;
        }
    }
}

/// What a [`NumberSketch`] knows besides the values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NumberSummary<W> {
    /// Smallest and largest finite value, and what lies between them; none without finite values.
    pub grid: Option<Grid<W>>,
}

impl<W: Wide> NumberSketch<W> {
    /// `single`: the column is of f32 or f16.
    pub(crate) fn new(limits: Limits, single: bool) -> Self {
        Self {
            values: DistinctSketch::new(limits),
            range: None,
            base: None,
            step: 0,
            decimals: Decimals { needed: 0, single },
        }
    }

    /// Takes in a value.
    pub(crate) fn add(&mut self, value: W) {
        self.values.add(&value, 1);
        if value.is_finite() {
            self.range = Some(self.range.map_or((value, value), |(min, max)| (min.min(value), max.max(value))));
            let base = *self.base.get_or_insert(value);
            if W::REAL {
                self.decimals.take_in(value.to_f64());
            } else if self.step != 1 {
                self.step = value.refine_step(base, self.step);
            }
        }
    }

    /// Takes in the sketch of other rows.
    pub(crate) fn merge(&mut self, other: Self) {
        self.values.merge(other.values);
        self.range = match (self.range, other.range) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (a, b) => a.or(b),
        };
        if let Some(theirs) = other.base {
            let base = *self.base.get_or_insert(theirs);
            self.step = theirs.refine_step(base, gcd(self.step, other.step));
        }
        self.decimals.needed = self.decimals.needed.max(other.decimals.needed);
    }

    /// Range and precision.
    pub(crate) fn summary(&self) -> NumberSummary<W> {
        let grid = self.range.map(|(min, max)| Grid {
            min,
            max,
            step: self.step.max(1),
            decimals: (W::REAL && usize::from(self.decimals.needed) < POWERS_OF_TEN.len())
                .then_some(self.decimals.needed),
        });
        NumberSummary { grid }
    }

    /// Heap bytes held.
    pub(crate) fn memory_size(&self) -> usize {
        self.values.memory_size()
    }
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
