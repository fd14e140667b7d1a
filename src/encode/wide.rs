//! The four number types that every numeric Arrow type widens to, and their place on a grid.

use super::sketch::Key;
use arrow::datatypes::i256;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{
    cmp::Ordering,
    fmt::{Debug, Display},
    hash::{Hash, Hasher},
    str::FromStr,
};

/// A float compared, hashed and serialised by its bits: NaN, ±inf and -0.0 are values like others.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Float(pub f64);

impl PartialEq for Float {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Float {}

impl Hash for Float {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.to_bits());
    }
}

impl PartialOrd for Float {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Float {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl Display for Float {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The shortest decimal that reads back as the same bits; `NaN`, `inf`, `-inf`, `-0` included.
        write!(f, "{:?}", self.0)
    }
}

impl FromStr for Float {
    type Err = std::num::ParseFloatError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// Serialises as the shortest exact decimal string: JSON numbers know no NaN or infinity, and JSON
/// readers are free to lose the last bit.
impl Serialize for Float {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Float {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// A number type wide enough for a family of Arrow types.
pub(crate) trait Wide:
    Key<Owned = Self> + Copy + Eq + Ord + Hash + Debug + Display + FromStr + Send + Sync + 'static
{
    /// Whether values are real numbers (an infinite grid step) rather than whole ones.
    const REAL: bool = false;

    /// Whether the value is an ordinary number: not NaN, not infinite.
    fn is_finite(self) -> bool {
        true
    }

    /// Greatest common divisor of `step` and the distance from `base`; zero stands for "no step yet".
    fn refine_step(self, base: Self, step: u64) -> u64;

    /// Its place on the grid as a real number.
    fn offset(self, grid: &Grid<Self>) -> f64;

    /// The grid value nearest to place `offset`, within the grid's range.
    fn at(offset: f64, grid: &Grid<Self>) -> Self;

    /// The value as a whole number, in units of the last decimal where it has some; none where it is no such number, or too
    /// large.
    fn to_whole(self, _grid: &Grid<Self>) -> Option<i64> {
        None
    }

    /// The value that is `whole` as [`Wide::to_whole`] says, within the grid's range.
    fn of_whole(_whole: i64, grid: &Grid<Self>) -> Self {
        grid.min
    }

    /// The value as a real number, to the nearest.
    fn to_f64(self) -> f64;

    /// `max - min` as a real number.
    fn distance(self, min: Self) -> f64;
}

/// The values a column can take: from `min` to `max` in whole `step`s (integers), or rounded to
/// `decimals` (floats; none: not rounded).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Grid<W> {
    pub min: W,
    pub max: W,
    pub step: u64,
    pub decimals: Option<u8>,
    /// Floats are rounded to single precision.
    pub single: bool,
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
impl Wide for i64 {
    fn refine_step(self, base: Self, step: u64) -> u64 {
        gcd(self.abs_diff(base), step)
    }

    fn offset(self, grid: &Grid<Self>) -> f64 {
        let distance = self.clamp(grid.min, grid.max).abs_diff(grid.min);
        distance as f64 / grid.step as f64
    }

    fn at(offset: f64, grid: &Grid<Self>) -> Self {
        // `as` saturates; the minimum keeps what f64 cannot resolve within the range.
        let steps = (offset.round() as u64).min(grid.max.abs_diff(grid.min) / grid.step);
        grid.min.wrapping_add_unsigned(steps.wrapping_mul(grid.step))
    }

    fn to_whole(self, _grid: &Grid<Self>) -> Option<i64> {
        Some(self)
    }

    fn of_whole(whole: i64, grid: &Grid<Self>) -> Self {
        whole.clamp(grid.min, grid.max)
    }

    fn to_f64(self) -> f64 {
        self as f64
    }

    fn distance(self, min: Self) -> f64 {
        self.abs_diff(min) as f64
    }
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
impl Wide for i128 {
    fn refine_step(self, base: Self, step: u64) -> u64 {
        // A distance beyond 64 bits only refines by what is left modulo the step.
        match u64::try_from(self.abs_diff(base)) {
            Ok(distance) => gcd(distance, step),
            Err(_) if step == 0 => 1,
            Err(_) => gcd((self.abs_diff(base) % u128::from(step)) as u64, step),
        }
    }

    fn offset(self, grid: &Grid<Self>) -> f64 {
        self.clamp(grid.min, grid.max).abs_diff(grid.min) as f64 / grid.step as f64
    }

    fn at(offset: f64, grid: &Grid<Self>) -> Self {
        let step = u128::from(grid.step);
        let steps = (offset.round() as u128).min(grid.max.abs_diff(grid.min) / step);
        grid.min.wrapping_add_unsigned(steps.wrapping_mul(step))
    }

    fn to_f64(self) -> f64 {
        self as f64
    }

    fn distance(self, min: Self) -> f64 {
        self.abs_diff(min) as f64
    }
}

#[allow(clippy::cast_precision_loss)]
impl Wide for i256 {
    fn refine_step(self, _base: Self, _step: u64) -> u64 {
        1
    }

    fn offset(self, grid: &Grid<Self>) -> f64 {
        self.clamp(grid.min, grid.max).distance(grid.min)
    }

    fn at(offset: f64, grid: &Grid<Self>) -> Self {
        // 76 decimal digits either side of zero: distances fit 256 bits.
        let range = grid.max.wrapping_sub(grid.min);
        let steps = i256::from_f64(offset.round()).unwrap_or(range).clamp(i256::ZERO, range);
        grid.min.wrapping_add(steps)
    }

    fn to_f64(self) -> f64 {
        let (low, high) = self.to_parts();
        high as f64 * 2f64.powi(128) + low as f64
    }

    fn distance(self, min: Self) -> f64 {
        self.wrapping_sub(min).to_f64()
    }
}

impl Wide for Float {
    const REAL: bool = true;

    fn is_finite(self) -> bool {
        self.0.is_finite()
    }

    fn refine_step(self, _base: Self, _step: u64) -> u64 {
        1
    }

    fn offset(self, grid: &Grid<Self>) -> f64 {
        self.0.clamp(grid.min.0, grid.max.0)
    }

    fn at(offset: f64, grid: &Grid<Self>) -> Self {
        let x = round_to(offset, grid.decimals).clamp(grid.min.0, grid.max.0);
        #[allow(clippy::cast_possible_truncation)]
        Self(if grid.single { f64::from(x as f32) } else { x })
    }

    #[allow(clippy::cast_possible_truncation)]
    fn to_whole(self, grid: &Grid<Self>) -> Option<i64> {
        let power = POWERS_OF_TEN.get(usize::from(grid.decimals?))?;
        let scaled = self.0 * power;
        (scaled.abs() < WHOLE).then(|| scaled.round() as i64)
    }

    #[allow(clippy::cast_precision_loss)]
    fn of_whole(whole: i64, grid: &Grid<Self>) -> Self {
        let power = grid.decimals.and_then(|d| POWERS_OF_TEN.get(usize::from(d))).copied().unwrap_or(1.0);
        Self::at(whole as f64 / power, grid)
    }

    fn to_f64(self) -> f64 {
        self.0
    }

    fn distance(self, min: Self) -> f64 {
        self.0 - min.0
    }
}

/// Powers of ten that are exact in f64.
pub(crate) const POWERS_OF_TEN: [f64; 16] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// 2^52: every f64 beyond is whole.
const WHOLE: f64 = 4_503_599_627_370_496.0;

/// `x` rounded to `decimals` decimals; unchanged where that is finer than f64 resolves.
pub(crate) fn round_to(x: f64, decimals: Option<u8>) -> f64 {
    let Some(power) = decimals.and_then(|d| POWERS_OF_TEN.get(usize::from(d))) else { return x };
    let scaled = x * power;
    if scaled.abs() < WHOLE { scaled.round() / power } else { x }
}
