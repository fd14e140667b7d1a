//! How much columns of parents say about their children: mutual information of codes, beyond what chance would give.

use crate::encode::{EncodedRows, SubColumnData, permutation::Permutation};

/// Rows looked at, at most.
const ROWS: usize = 20_000;
/// Codes are looked at in this many classes, at most.
const CLASSES: usize = 48;

/// Shuffles that a column is compared with.
const SHUFFLES: u64 = 3;

/// Per sub-column of `of`, the sum over the sub-columns of `about` of their mutual information in nats, estimated from rows
/// `index[r]` of `of` (skipped where there is none) and `r` of `about`.
///
/// Less the most that shuffled parents have: with few parents any column tells them apart, and so says something about
/// their children that is of no use for other parents. Never below zero.
pub(super) fn information(of: &EncodedRows, index: &[u32], about: &[&SubColumnData]) -> Vec<f64> {
    let stride = index.len().div_ceil(ROWS).max(1);
    let rows: Vec<(usize, usize)> = index
        .iter()
        .enumerate()
        .step_by(stride)
        .filter(|(_, parent)| (**parent as usize) < of.rows)
        .map(|(row, parent)| (row, *parent as usize))
        .collect();
    let about: Vec<(Vec<usize>, usize)> =
        about.iter().map(|column| classes(column, rows.iter().map(|&(row, _)| row))).collect();
    let shuffles: Vec<Permutation> = (0..SHUFFLES).map(|key| Permutation::new(of.rows.max(1) as u64, key)).collect();
    let said = |column: &SubColumnData| -> f64 {
        let with = |shuffle: Option<&Permutation>| {
            let parents = rows.iter().map(|&(_, parent)| shuffle.map_or(parent, |s| s.apply(parent as u64) as usize));
            classes(column, parents)
        };
        let (real, width) = with(None);
        let shuffled: Vec<_> = shuffles.iter().map(|shuffle| with(Some(shuffle))).collect();
        let beyond = |(b, height): &(Vec<usize>, usize)| {
            let chance = shuffled.iter().map(|(a, width)| mutual(a, *width, b, *height)).fold(0.0, f64::max);
            (mutual(&real, width, b, *height) - chance).max(0.0)
        };
        about.iter().map(beyond).sum()
    };
    of.subcolumns.iter().map(said).collect()
}

/// Classes of the codes of some rows, and how many there are. Neighbouring codes share classes where there are too many.
fn classes(column: &SubColumnData, rows: impl Iterator<Item = usize>) -> (Vec<usize>, usize) {
    let codes: Vec<usize> = rows.map(|row| column.code(row) as usize).collect();
    let most = codes.iter().max().map_or(1, |most| most + 1);
    if most <= CLASSES {
        return (codes, most);
    }
    (codes.into_iter().map(|code| code * CLASSES / most).collect(), CLASSES)
}

fn mutual(a: &[usize], width: usize, b: &[usize], height: usize) -> f64 {
    let mut joint = vec![0u32; width * height];
    let (mut left, mut right) = (vec![0u32; width], vec![0u32; height]);
    for (&a, &b) in a.iter().zip(b) {
        joint[a * height + b] += 1;
        left[a] += 1;
        right[b] += 1;
    }
    let n = a.len().max(1) as f64;
    let mut sum = 0.0;
    for (cell, &count) in joint.iter().enumerate().filter(|(_, count)| **count > 0) {
        let expected = f64::from(left[cell / height]) * f64::from(right[cell % height]);
        sum += f64::from(count) / n * (f64::from(count) * n / expected).ln();
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_that_say_more_come_out_higher() {
        let rows = 3000u32;
        let code = |f: &dyn Fn(u32) -> u32, rows: u32| SubColumnData::Code32((0..rows).map(f).collect());
        let parents = EncodedRows {
            subcolumns: vec![code(&|p| p % 3, 30), code(&|p| p * 7 % 5, 30), code(&|_| 0, 30)],
            rows: 30,
        };
        let index: Vec<u32> = (0..rows).map(|row| row % 30).collect();
        let child = code(&|row| (row % 30) % 3, rows);
        let said = information(&parents, &index, &[&child]);
        assert!(said[0] > 0.8 * 3f64.ln() && said[0] <= 3f64.ln(), "{said:?}");
        assert!(said[1] < 0.1 && said[2] == 0.0, "{said:?}");
    }

    #[test]
    fn what_only_tells_parents_apart_says_little() {
        // Children take after their parents in a way that no column of the parents explains.
        let parents = 200u32;
        let mixed = |x: u32| (crate::encode::hash::mix(u64::from(x)) % 40) as u32;
        let of = EncodedRows { subcolumns: vec![SubColumnData::Code32((0..parents).map(mixed).collect())], rows: 200 };
        let index: Vec<u32> = (0..8000).map(|row| row % parents).collect();
        let child = SubColumnData::Code32(index.iter().map(|&parent| mixed(parent + 1000)).collect());
        let (a, b) = (classes(&of.subcolumns[0], index.iter().map(|&p| p as usize)).0, classes(&child, 0..8000).0);
        assert!(mutual(&a, 40, &b, 40) > 1.5, "as it looks");
        let said = information(&of, &index, &[&child]);
        assert!(said[0] < 0.2, "{said:?}");
    }
}
