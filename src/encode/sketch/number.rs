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
    precision: Precision,
}

/// The precision of floats: the smallest number of decimals that represents every one seen, in
/// their own precision (doubles are often widened singles).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Precision {
    /// Decimals of the values as doubles; above 15: not decimal at all.
    double: u8,
    /// Decimals of the values as singles.
    single: u8,
    /// Whether every value is a single.
    all_single: bool,
}

#[allow(clippy::cast_possible_truncation)]
impl Precision {
    fn take_in(&mut self, x: f64) {
        if self.all_single {
            if f64::from(x as f32).to_bits() == x.to_bits() {
                refine(&mut self.single, x, |rounded| rounded as f32 == x as f32);
            } else {
                self.all_single = false;
            }
        }
        refine(&mut self.double, x, |rounded| rounded == x);
    }

    /// Decimals (none: not decimal), and whether values are singles that are no shorter as doubles.
    fn summary(self) -> (Option<u8>, bool) {
        let decimals = |n: u8| Some(n).filter(|n| usize::from(*n) < POWERS_OF_TEN.len());
        let single = self.all_single && (self.single < self.double || decimals(self.double).is_none());
        if single { (decimals(self.single).filter(|n| *n < 8), true) } else { (decimals(self.double), false) }
    }
}

/// Raises `needed` until rounding to as many decimals keeps `x`.
fn refine(needed: &mut u8, x: f64, same: impl Fn(f64) -> bool) {
    while let Some(power) = POWERS_OF_TEN.get(usize::from(*needed)) {
        // Above 2^52 every f64 is whole.
        if same((x * power).round() / power) || (x * power).abs() >= 4_503_599_627_370_496.0 {
            return;
        }
        *needed += 1;
    }
}

/// What a [`NumberSketch`] knows besides the values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NumberSummary<W> {
    /// Smallest and largest finite value, and what lies between them; none without finite values.
    pub grid: Option<Grid<W>>,
}

impl<W: Wide> NumberSketch<W> {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            values: DistinctSketch::new(limits),
            range: None,
            base: None,
            step: 0,
            precision: Precision { double: 0, single: 0, all_single: true },
        }
    }

    /// Takes in a value.
    pub(crate) fn add(&mut self, value: W) {
        self.values.add(&value, 1);
        if value.is_finite() {
            self.range = Some(self.range.map_or((value, value), |(min, max)| (min.min(value), max.max(value))));
            let base = *self.base.get_or_insert(value);
            if W::REAL {
                self.precision.take_in(value.to_f64());
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
        self.precision = Precision {
            double: self.precision.double.max(other.precision.double),
            single: self.precision.single.max(other.precision.single),
            all_single: self.precision.all_single && other.precision.all_single,
        };
    }

    /// Range and precision.
    pub(crate) fn summary(&self) -> NumberSummary<W> {
        let (decimals, single) = if W::REAL { self.precision.summary() } else { (None, false) };
        let grid = self.range.map(|(min, max)| Grid { min, max, step: self.step.max(1), decimals, single });
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
