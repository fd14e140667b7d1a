//! Codes of which something is told without being known: several of them will do, or a value may be that of another column.

use super::{
    AnyOrderSampler,
    weights::{log_sum, place, spread},
};
use crate::{
    Result,
    encode::{Among, KnownCodes, MayEqual, UNKNOWN},
    noise::Noise,
};

/// By how many choices of what is equal rows are judged at most, each with the first one either way.
const CHOICES: usize = 4;

/// The probabilities of the codes of a sub-column by row, where one of several will do and which is not known.
fn probabilities(
    sampler: &mut dyn AnyOrderSampler,
    among: &Among,
    known: &KnownCodes,
) -> Result<Vec<Option<Vec<f64>>>> {
    let codes = known.codes(among.subcolumn);
    let open = |row: usize| among.allowed[row].as_ref().filter(|allowed| codes[row] == UNKNOWN && allowed.len() > 1);
    if (0..codes.len()).all(|row| open(row).is_none()) {
        return Ok(vec![None; codes.len()]);
    }
    let all = sampler.distribution(known, among.subcolumn)?;
    let width = all.len() / codes.len();
    let of_row = |row: usize| {
        let allowed = open(row)?.iter();
        Some(allowed.map(|&code| f64::from(all[row * width + code as usize])).collect())
    };
    Ok((0..codes.len()).map(of_row).collect())
}

/// Draws the codes of sub-columns of which several will do, one after the other, given all that is known. Where one code alone
/// will do it is known from the start, whichever sub-column it is of.
///
/// # Errors
/// libtorch failed.
pub fn draw(
    sampler: &mut dyn AnyOrderSampler,
    told: &[Among],
    known: &mut KnownCodes,
    (block, noise): (u64, &Noise),
) -> Result<()> {
    for among in told {
        among.settle(known);
    }
    told.iter().try_for_each(|among| draw_one(sampler, among, known, (block, noise)))
}

fn draw_one(
    sampler: &mut dyn AnyOrderSampler,
    among: &Among,
    known: &mut KnownCodes,
    (block, noise): (u64, &Noise),
) -> Result<()> {
    let mut codes = known.codes(among.subcolumn);
    let mut uniform = vec![0f32; codes.len()];
    noise.purpose(&format!("given/{}", among.subcolumn)).fill_uniform(block, &mut uniform);
    for (row, weights) in probabilities(sampler, among, known)?.into_iter().enumerate() {
        let (Some(weights), Some(allowed)) = (weights, &among.allowed[row]) else { continue };
        codes[row] = allowed[place(&weights, uniform[row])];
    }
    known.set(among.subcolumn, codes);
    Ok(())
}

/// The weights of a value's being its base's and of its happening to be as it is, given what is known: none where that is settled.
fn equal_or_not(
    sampler: &mut dyn AnyOrderSampler,
    may: &MayEqual,
    known: &KnownCodes,
) -> Result<Vec<Option<[f64; 2]>>> {
    let mut weights = vec![None; known.rows()];
    let open = may.open(known);
    let open: Vec<usize> = (0..known.rows()).filter(|&row| open[row]).collect();
    let (Some((base, of_base)), Some(own)) = (may.base.first(), known.subcolumn(may.subcolumn)) else {
        return Ok(weights);
    };
    if open.is_empty() {
        return Ok(weights);
    }
    let mut asked = known.take(&open);
    let of_own = sampler.distribution(&asked, may.subcolumn)?;
    asked.set(may.subcolumn, vec![may.equal; open.len()]);
    let of_base_then = sampler.distribution(&asked, *base)?;
    let of = |all: &[f32], place: usize, code: u32| f64::from(all[place * (all.len() / open.len()) + code as usize]);
    for (place, &row) in open.iter().enumerate() {
        let equal = of(&of_own, place, may.equal) * of(&of_base_then, place, of_base[row]) * may.odds[row];
        let other = of(&of_own, place, own[row]);
        weights[row] = (equal + other > 0.0).then_some([equal, other]);
    }
    Ok(weights)
}

/// Draws, row by row, whether a value is that of another column of which nothing is known, or happens to be as it is; where it is,
/// the other column is known as well.
///
/// # Errors
/// libtorch failed.
pub fn draw_equal(
    sampler: &mut dyn AnyOrderSampler,
    may: &MayEqual,
    known: &mut KnownCodes,
    (block, noise): (u64, &Noise),
) -> Result<Vec<bool>> {
    let mut uniform = vec![0f32; known.rows()];
    noise.purpose(&format!("equal/{}", may.subcolumn)).fill_uniform(block, &mut uniform);
    let drawn =
        |(weights, uniform): (Option<[f64; 2]>, f32)| weights.is_some_and(|weights| place(&weights, uniform) == 0);
    let equal: Vec<bool> = equal_or_not(sampler, may, known)?.into_iter().zip(uniform).map(drawn).collect();
    may.tell(&equal, known);
    Ok(equal)
}

/// The natural logarithms of the probabilities of what is known and of what is told: negative infinity of a row that contradicts
/// itself. Of several sub-columns that are told of without being known, each is taken given what is known alone. What may be equal
/// is judged either way, and both count.
///
/// # Errors
/// libtorch failed.
pub fn log_probability(
    sampler: &mut dyn AnyOrderSampler,
    told: &[Among],
    may_equal: &[MayEqual],
    mut known: KnownCodes,
) -> Result<Vec<f64>> {
    for among in told {
        among.settle(&mut known);
    }
    let open: Vec<Vec<bool>> = may_equal.iter().map(|may| may.open(&known)).collect();
    let (open, settled): (Vec<usize>, Vec<usize>) =
        (0..known.rows()).partition(|&row| open.iter().any(|open| open[row]));
    let mut logs = vec![0f64; known.rows()];
    let mut judge = |rows: &[usize], judged: Vec<f64>| rows.iter().zip(judged).for_each(|(&row, log)| logs[row] = log);
    if !settled.is_empty() {
        judge(&settled, sampler.log_probability(&known.take(&settled))?);
    }
    if !open.is_empty() {
        let of_rows: Vec<MayEqual> = may_equal.iter().map(|may| may.take(&open)).collect();
        judge(&open, log_probability_equal(sampler, &of_rows, &known.take(&open))?);
    }
    for among in told {
        let codes = known.codes(among.subcolumn);
        for (row, weights) in probabilities(sampler, among, &known)?.into_iter().enumerate() {
            logs[row] += match (&among.allowed[row], weights) {
                (_, Some(weights)) => weights.iter().sum::<f64>().ln(),
                (Some(allowed), None) if !allowed.contains(&codes[row]) => f64::NEG_INFINITY,
                _ => 0.0,
            };
        }
    }
    Ok(logs)
}

/// Of rows of which some values may be those of others: the first one is judged both ways, the rest as they are drawn given it
/// (importance sampling), all rows by the same numbers, so that equal ones are as probable.
fn log_probability_equal(
    sampler: &mut dyn AnyOrderSampler,
    may_equal: &[MayEqual],
    known: &KnownCodes,
) -> Result<Vec<f64>> {
    let choices = CHOICES.min(may_equal.len());
    let mut sums = vec![f64::NEG_INFINITY; known.rows()];
    for (choice, first) in (0..choices).flat_map(|choice| [(choice, 0), (choice, 1)]) {
        let mut known = known.clone();
        let mut logs = vec![0f64; known.rows()];
        let mut begun = vec![false; known.rows()];
        for (number, may) in may_equal.iter().enumerate() {
            let uniform = ((choice as f64 + 0.5) / choices as f64 + spread(number as f64)).fract();
            let mut equal = vec![false; known.rows()];
            for (row, weights) in equal_or_not(sampler, may, &known)?.into_iter().enumerate() {
                let Some(weights) = weights else { continue };
                let drawn = std::mem::replace(&mut begun[row], true);
                let chosen = if drawn { place(&weights, uniform as f32) } else { first };
                equal[row] = chosen == 0;
                logs[row] -= if drawn { (weights[chosen] / (weights[0] + weights[1])).ln() } else { 0.0 };
                logs[row] += if equal[row] { may.odds[row].ln() } else { 0.0 };
            }
            may.tell(&equal, &mut known);
        }
        for ((sum, log), known) in sums.iter_mut().zip(logs).zip(sampler.log_probability(&known)?) {
            *sum = log_sum(*sum, log + known);
        }
    }
    sums.iter_mut().for_each(|sum| *sum -= (choices as f64).ln());
    Ok(sums)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::{models::test_support::Answers, noise::BLOCK_ROWS};
    use arrow::array::{Array, ArrayRef, Int64Array};
    use std::{collections::BTreeMap, sync::Arc};

    /// A bill of two codes and two payments of three, the last of which says that it is all of the bill.
    struct Bills;

    const CODES: [u32; 3] = [2, 3, 3];
    const ALL: u32 = 2;

    fn joint(row: [u32; 3]) -> f64 {
        let [bill, paid, again] = row.map(|code| code as usize);
        let of_payment = [[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]][bill][paid];
        let after = [[0.4, 0.4, 0.2], [0.3, 0.5, 0.2], [0.05, 0.05, 0.9]][paid][again];
        [0.75, 0.25][bill] * of_payment * after
    }

    /// The probability of all rows like this one.
    fn probability(known: [Option<u32>; 3]) -> f64 {
        let rows = (0..18).map(|row| [row % 2, row / 2 % 3, row / 6]);
        rows.filter(|row| known.iter().zip(row).all(|(known, code)| known.is_none_or(|known| known == *code)))
            .map(joint)
            .sum()
    }

    fn of(known: &KnownCodes, row: usize) -> [Option<u32>; 3] {
        [0, 1, 2].map(|k| known.subcolumn(k).map(|codes| codes[row]).filter(|&code| code != UNKNOWN))
    }

    impl Answers for Bills {
        fn distribution(&mut self, known: &KnownCodes, subcolumn: usize) -> Result<Vec<f32>> {
            let of_row = |row: usize| {
                let with = |code: Option<u32>| {
                    let mut known = of(known, row);
                    known[subcolumn] = code;
                    probability(known)
                };
                let any = with(None);
                (0..CODES[subcolumn]).map(|code| (with(Some(code)) / any) as f32).collect::<Vec<_>>()
            };
            Ok((0..known.rows()).flat_map(of_row).collect())
        }
        fn log_probability(&mut self, known: &KnownCodes) -> Result<Vec<f64>> {
            Ok((0..known.rows()).map(|row| probability(of(known, row)).ln()).collect())
        }
    }

    /// The payment `subcolumn`, whose value is one of the first bill code's, twice as likely there, and no other payment's.
    fn may(subcolumn: usize, open: &[bool]) -> MayEqual {
        let base = open.iter().map(|&open| if open { 0 } else { UNKNOWN }).collect();
        MayEqual { subcolumn, equal: ALL, base: vec![(0, base)], odds: vec![2.0; open.len()], columns: [subcolumn, 0] }
    }

    fn known(rows: &[[u32; 3]]) -> KnownCodes {
        let mut known = KnownCodes::nothing(3, rows.len());
        (0..3).for_each(|k| known.set(k, rows.iter().map(|row| row[k]).collect()));
        known
    }

    #[test]
    fn what_is_equal_is_drawn_as_often_as_it_is() {
        let mut known = known(&vec![[UNKNOWN, 0, UNKNOWN]; BLOCK_ROWS]);
        let open: Vec<bool> = (0..BLOCK_ROWS).map(|row| row % 4 > 0).collect();
        let may = may(1, &open);
        let equal = draw_equal(&mut Bills, &may, &mut known, (0, &Noise::new(1, b"told"))).unwrap();
        assert!(equal.iter().zip(&open).all(|(equal, open)| *open || !equal), "what is settled stays as it is");
        let found =
            equal.iter().filter(|equal| **equal).count() as f64 / open.iter().filter(|open| **open).count() as f64;
        let (all, other) = (2.0 * probability([Some(0), Some(ALL), None]), probability([None, Some(0), None]));
        assert!((found - all / (all + other)).abs() < 0.03, "{found}");
        let payments: ArrayRef = Arc::new(Int64Array::from(vec![7; BLOCK_ROWS]));
        let mut given = BTreeMap::from([(1, payments)]);
        may.give(&equal, &mut given).unwrap();
        for (row, equal) in equal.into_iter().enumerate() {
            let wanted = if equal { [Some(0), Some(ALL), None] } else { [None, Some(0), None] };
            assert_eq!((of(&known, row), given[&0].is_valid(row)), (wanted, equal));
        }
        assert!(!may.open(&known).into_iter().zip(known.codes(0)).any(|(open, bill)| open && bill == 0));
    }

    #[test]
    fn rows_are_judged_by_all_that_may_be_equal() {
        let rows = known(&[[UNKNOWN, 1, UNKNOWN], [UNKNOWN, 1, 0], [1, 0, 0], [UNKNOWN, 0, 1]]);
        let open = [true, true, false, false];
        // One payment may be the bill.
        let judged = log_probability(&mut Bills, &[], &[may(1, &open)], rows.clone()).unwrap();
        let of_one =
            |again| (probability([None, Some(1), again]) + 2.0 * probability([Some(0), Some(ALL), again])).ln();
        let wanted = [of_one(None), of_one(Some(0)), joint([1, 0, 0]).ln(), probability([None, Some(0), Some(1)]).ln()];
        assert!(
            judged.iter().zip(wanted).all(|(found, wanted)| (found - wanted).abs() < 1e-6),
            "{judged:?} {wanted:?}"
        );
        // Both may be, but not of the same bill.
        let both = [[UNKNOWN, 1, 0], [UNKNOWN, 1, 1]];
        let open = [true, true];
        let judged = log_probability(&mut Bills, &[], &[may(1, &open), may(2, &open)], known(&both)).unwrap();
        for (found, [_, paid, again]) in judged.into_iter().zip(both) {
            let wanted = probability([None, Some(paid), Some(again)])
                + 2.0 * probability([Some(0), Some(ALL), Some(again)])
                + 2.0 * probability([Some(0), Some(paid), Some(ALL)]);
            assert!((found - wanted.ln()).abs() < 1e-6, "{found} {}", wanted.ln());
        }
    }

    #[test]
    fn one_of_several_codes_will_do() {
        let among = Among { subcolumn: 1, allowed: vec![Some(vec![0, 2]), Some(vec![1]), None, Some(Vec::new())] };
        let judged = log_probability(&mut Bills, &[among], &[], known(&[[0, UNKNOWN, UNKNOWN]; 4])).unwrap();
        let wanted = [0.75 * 0.7, 0.75 * 0.3, 0.75, 0.0].map(f64::ln);
        assert!(judged[..3].iter().zip(wanted).all(|(found, wanted)| (found - wanted).abs() < 1e-6), "{judged:?}");
        assert_eq!(judged[3], f64::NEG_INFINITY, "it contradicts itself");
    }
}
