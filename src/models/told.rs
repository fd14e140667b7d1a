//! Codes of which something is told without being known: several of them will do.

use super::AnyOrderSampler;
use crate::{
    Result,
    encode::{Among, KnownCodes, MayEqual, UNKNOWN},
    noise::Noise,
};

/// The probabilities of the codes of a sub-column by row, where one of several will do and which is not known.
///
/// # Errors
/// libtorch failed.
pub fn probabilities(
    sampler: &mut dyn AnyOrderSampler,
    among: &Among,
    known: &KnownCodes,
) -> Result<Vec<Option<Vec<f64>>>> {
    let codes = among.codes(known);
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
    let mut codes = among.codes(known);
    let mut uniform = vec![0f32; codes.len()];
    noise.purpose(&format!("given/{}", among.subcolumn)).fill_uniform(block, &mut uniform);
    for (row, weights) in probabilities(sampler, among, known)?.into_iter().enumerate() {
        let (Some(weights), Some(allowed)) = (weights, &among.allowed[row]) else { continue };
        codes[row] = allowed[by_weight(&weights, uniform[row])];
    }
    known.set(among.subcolumn, codes);
    Ok(())
}

/// Draws, row by row, whether a value is that of another column of which nothing is known, or happens to be as it is.
///
/// # Errors
/// libtorch failed.
pub fn draw_equal(
    sampler: &mut dyn AnyOrderSampler,
    may: &MayEqual,
    known: &KnownCodes,
    (block, noise): (u64, &Noise),
) -> Result<Vec<bool>> {
    let rows = known.rows();
    let Some((base, of_base)) = may.base.first() else { return Ok(vec![false; rows]) };
    // What an earlier one has settled is known by now.
    let settled = |row: usize| known.subcolumn(*base).is_some_and(|codes| codes[row] != UNKNOWN);
    let open = |row: usize| of_base[row] != UNKNOWN && !settled(row);
    let own = known.subcolumn(may.subcolumn).map_or_else(|| vec![UNKNOWN; rows], <[u32]>::to_vec);
    let of_own = sampler.distribution(known, may.subcolumn)?;
    let mut if_equal = known.clone();
    let equal = (0..rows).map(|row| if open(row) { may.equal } else { own[row] });
    if_equal.set(may.subcolumn, equal.collect());
    let of_base_then = sampler.distribution(&if_equal, *base)?;
    let (width, width_of_base) = (of_own.len() / rows.max(1), of_base_then.len() / rows.max(1));
    let mut uniform = vec![0f32; rows];
    noise.purpose(&format!("equal/{}", may.subcolumn)).fill_uniform(block, &mut uniform);
    let drawn = |row: usize| {
        if !open(row) {
            return false;
        }
        let of_own = |code: u32| f64::from(of_own[row * width + code as usize]);
        let of_base = f64::from(of_base_then[row * width_of_base + of_base[row] as usize]);
        let (equal, other) = (of_own(may.equal) * of_base * may.odds[row], of_own(own[row]));
        f64::from(uniform[row]) * (equal + other) < equal
    };
    Ok((0..rows).map(drawn).collect())
}

/// The place at `uniform` of [0, 1) among weights laid side by side.
#[must_use]
pub fn by_weight(weights: &[f64], uniform: f32) -> usize {
    let mut left = f64::from(uniform) * weights.iter().sum::<f64>();
    let place = weights.iter().position(|weight| {
        left -= weight;
        left < 0.0
    });
    place.unwrap_or(0)
}
