//! Parts of numbers: the weekday and the hour of an instant, the last digits of an amount.
//!
//! A bin of a timestamp spans days and one of an amount hundreds: what is drawn within it knows nothing of office hours, of
//! weekends or of prices that end in .99. Such a part is a sub-column of its own, drawn like any other, and moves the value
//! that the bin gave to the nearest one in the bin that has it.

use arrow::datatypes::{DataType, TimeUnit};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Rows that a digit should have on average for an instant's part to be learned.
const ROWS_PER_DIGIT: f64 = 20.0;
/// The share of the rows whose last digits are more frequent than even bins would make them, at least.
const GAIN: f64 = 0.25;
/// The share, of what the most telling digits tell (in nats a row, beyond what bins do), that fewer digits must reach.
const ENOUGH: f64 = 0.8;
/// A digit has a code if it has this share of the rows, ...
const SHARE: f64 = 0.01;
/// ... this many times as many as bins would give it, ...
const CONTRAST: f64 = 3.0;
/// ... and more than they would by this many standard deviations.
const DEVIATIONS: f64 = 5.0;
/// The largest power of ten looked at; bins must be wider than what numbers end in.
const LARGEST: u32 = 4;
/// Decimals at most of numbers whose last ones mean something.
const DECIMALS: u8 = 4;

/// What a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Weekday,
    Hour,
    /// Last digits, or the minutes and seconds within an hour.
    Ending,
}

/// A part of whole numbers: what remains of one by `modulus`, in whole `unit`s.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    kind: Kind,
    modulus: i64,
    unit: i64,
    /// The digits that have codes, from 1 on, in ascending order. All others, and values that are no bin's, have code 0.
    digits: Vec<i64>,
}

/// The codes of the parts of some values, part by part.
pub(crate) type PartCodes = Vec<Vec<u32>>;

/// What is known of the parts of some values.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct KnownParts<'a> {
    /// Codes, part by part; empty if nothing is known.
    pub(crate) codes: &'a [Vec<u32>],
    /// Whether values must stay in their bins, whatever that does to their parts.
    pub(crate) within_bins: bool,
}

/// Where a value may be moved to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Within {
    /// The values of its bin, from and to.
    pub(crate) bin: (i64, i64),
    /// Those of the column, if it may leave the bin for its weekday or hour.
    pub(crate) column: Option<(i64, i64)>,
}

impl Part {
    /// Whether its digits are digits.
    pub(crate) fn is_valid(&self) -> bool {
        let ascending = self.digits.windows(2).all(|pair| pair[0] < pair[1]);
        let within = |digit: &i64| (0..self.modulus / self.unit).contains(digit);
        self.unit > 0 && self.modulus >= 2 * self.unit && ascending && self.digits.iter().all(within)
    }

    /// Codes, that of no digit included.
    #[allow(clippy::cast_possible_truncation)]
    pub(crate) fn cardinality(&self) -> u32 {
        self.digits.len() as u32 + 1
    }

    /// Whether the digits are in an order that means something.
    pub(crate) fn ascending(&self) -> bool {
        self.kind == Kind::Hour
    }

    fn digit(&self, value: i64) -> i64 {
        value.rem_euclid(self.modulus) / self.unit
    }

    /// The code of a value's digit.
    #[allow(clippy::cast_possible_truncation)]
    pub(crate) fn code(&self, value: i64) -> u32 {
        self.digits.binary_search(&self.digit(value)).map_or(0, |at| at as u32 + 1)
    }

    /// Whether it is a value's last digits that have a code.
    pub(crate) fn is_ending(&self, value: i64) -> bool {
        self.kind == Kind::Ending && self.code(value) > 0
    }

    /// The value nearest to `value` whose digit has the code, if it may be moved there; else the value itself. It stays within
    /// the unit of a part that it has `already` been given.
    fn moved(&self, value: i64, code: u32, within: Within, already: bool) -> i64 {
        let Some(&digit) = (code as usize).checked_sub(1).and_then(|at| self.digits.get(at)) else { return value };
        let kept = value.rem_euclid(self.unit);
        let same = value.saturating_sub(value.rem_euclid(self.modulus)).saturating_add(digit * self.unit + kept);
        let around = [same, same.saturating_sub(self.modulus), same.saturating_add(self.modulus)];
        let candidates = if already { &around[..1] } else { &around[..] };
        let nearest = |(low, high): (i64, i64)| {
            let allowed = candidates.iter().filter(|&&candidate| low <= candidate && candidate <= high);
            allowed.min_by_key(|candidate| candidate.abs_diff(value)).copied()
        };
        let beyond = || within.column.filter(|_| self.kind != Kind::Ending).and_then(nearest);
        nearest(within.bin).or_else(beyond).unwrap_or(value)
    }
}

/// `value` moved to where its parts have the codes `codes`, as far as it may.
pub(crate) fn moved(parts: &[Part], codes: impl Iterator<Item = u32>, value: i64, within: Within) -> i64 {
    let parts = parts.iter().zip(codes).enumerate();
    parts.fold(value, |value, (number, (part, code))| part.moved(value, code, within, number > 0))
}

/// Whole numbers in bins.
pub(crate) struct Binned<'a> {
    /// The numbers, in ascending order, and how often each is there.
    pub(crate) points: &'a [(i64, f64)],
    /// The same, spread evenly between the ends of the bins.
    pub(crate) smooth: &'a [(i64, f64)],
    /// The width of a bin, by the median.
    pub(crate) width: f64,
    /// What numbers differ by is a multiple of it.
    pub(crate) step: i64,
    /// The decimals of the column, whose last one they count.
    pub(crate) decimals: u8,
}

/// The parts worth learning of the numbers of a column of type `data_type`.
///
/// The clock is, whenever a bin is wider: what happens on Sundays may be told by other columns alone. Last digits are where
/// bins would lose them.
pub(crate) fn parts(of: &Binned<'_>, data_type: &DataType) -> Vec<Part> {
    let clock = clock(data_type);
    let kinds = [Kind::Weekday, Kind::Hour];
    let (points, step) = (of.points, of.step);
    let total: f64 = points.iter().map(|(_, weight)| weight).sum();
    let learned = |(&(modulus, unit), kind): (&(i64, i64), Kind)| {
        let part = Part { kind, modulus, unit, digits: Vec::new() };
        let mut digits: Vec<i64> = points.iter().map(|&(value, _)| part.digit(value)).collect();
        digits.sort_unstable();
        digits.dedup();
        let is_learned = digits.len() > 1 && total >= ROWS_PER_DIGIT * digits.len() as f64;
        (unit % step == 0 && of.width > unit as f64 && is_learned).then_some(Part { digits, ..part })
    };
    let mut parts: Vec<Part> = clock.iter().zip(kinds).filter_map(learned).collect();
    let below = |&(_, unit): &(i64, i64)| [unit / 60, unit].into_iter().filter(|&modulus| modulus > step).collect();
    let powers = || (1..=LARGEST).filter_map(|power| step.checked_mul(10i64.pow(power)));
    let moduli: Vec<i64> = clock.last().map_or_else(|| powers().filter(|&m| m as f64 <= of.width).collect(), below);
    let on_the_grid = points.first().is_some_and(|&(value, _)| value % step == 0);
    if on_the_grid && of.decimals <= DECIMALS && of.width > 2.0 * step as f64 {
        parts.extend(last_digits(of, total, &moduli));
    }
    parts
}

/// The week and the day of an instant, each with the unit that it is counted in.
fn clock(data_type: &DataType) -> Vec<(i64, i64)> {
    let second = match data_type {
        DataType::Date32 => return vec![(7, 1)],
        DataType::Date64 => return vec![(7 * 86_400_000, 86_400_000)],
        DataType::Timestamp(TimeUnit::Second, _) => 1,
        DataType::Timestamp(TimeUnit::Millisecond, _) => 1000,
        DataType::Timestamp(TimeUnit::Microsecond, _) => 1_000_000,
        DataType::Timestamp(TimeUnit::Nanosecond, _) => 1_000_000_000,
        _ => return Vec::new(),
    };
    vec![(7 * 86_400 * second, 86_400 * second), (86_400 * second, 3600 * second)]
}

/// The last digits, by one of `moduli`, that are more frequent than bins would make them: by the least that tells nearly as
/// much as any.
fn last_digits(of: &Binned<'_>, total: f64, moduli: &[i64]) -> Option<Part> {
    let mut found: Vec<(f64, Part)> = Vec::new();
    for &modulus in moduli.iter().filter(|&&modulus| modulus % of.step == 0 && modulus > of.step) {
        let part = Part { kind: Kind::Ending, modulus, unit: of.step, digits: Vec::new() };
        let mut counts: BTreeMap<i64, (f64, f64)> = BTreeMap::new();
        of.points.iter().for_each(|&(value, weight)| counts.entry(part.digit(value)).or_default().0 += weight);
        of.smooth.iter().for_each(|&(value, weight)| counts.entry(part.digit(value)).or_default().1 += weight);
        let frequent = counts.into_iter().filter(|(_, (seen, smooth))| {
            *seen >= SHARE * total && *seen >= CONTRAST * smooth && seen - smooth >= DEVIATIONS * seen.sqrt()
        });
        let (mut digits, mut gain, mut told) = (Vec::new(), 0.0, 0.0);
        for (digit, (seen, smooth)) in frequent {
            digits.push(digit);
            gain += (seen - smooth) / total;
            told += seen / total * (seen / smooth.max(1.0)).ln();
        }
        if gain >= GAIN {
            found.push((told, Part { digits, ..part }));
        }
    }
    let most = found.iter().map(|(told, _)| *told).fold(0.0, f64::max);
    found.into_iter().find(|(told, _)| *told >= ENOUGH * most).map(|(_, part)| part)
}
