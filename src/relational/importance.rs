//! How much columns say about others: mutual information of codes.

use crate::encode::{EncodedRows, SubColumnData};

/// Rows looked at, at most.
const ROWS: usize = 20_000;
/// Codes are looked at in this many classes, at most.
const CLASSES: usize = 48;

/// Per sub-column of `of`, the sum over the sub-columns of `about` of their mutual information in nats, estimated from rows
/// `index[r]` of `of` (skipped where there is none) and `r` of `about`. Less its expectation for independent columns
/// (Miller 1955, "Note on the bias of information estimates"), and never below zero.
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
    let sum = |column: &SubColumnData| {
        let (a, width) = classes(column, rows.iter().map(|&(_, parent)| parent));
        about.iter().map(|(b, height)| mutual(&a, width, b, *height)).sum()
    };
    of.subcolumns.iter().map(sum).collect()
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
    let used = |counts: &[u32]| counts.iter().filter(|count| **count > 0).count().saturating_sub(1) as f64;
    (sum - used(&left) * used(&right) / (2.0 * n)).max(0.0)
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
        assert!((said[0] - 3f64.ln()).abs() < 0.01, "{said:?}");
        assert!(said[1] < 0.01 && said[2] == 0.0, "{said:?}");
    }
}
