//! Entity embeddings (Guo & Berkhahn 2016, "Entity Embeddings of Categorical Variables"): what models size and start them by.

use crate::encode::CodeMatrix;

/// Width of the embedding of `cardinality` codes: 1.6 K^0.56 in the form that became usual, at most `widest`.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
pub(super) fn embedding_width(cardinality: usize, widest: usize) -> usize {
    ((1.6 * (cardinality as f64).powf(0.56)).round().max(1.0) as usize).min(widest)
}

/// Frequencies of the codes of a sub-column of `cardinality` in the rows `rows` of `table`.
#[allow(clippy::cast_precision_loss)]
pub(super) fn frequencies(table: &CodeMatrix, subcolumn: usize, cardinality: usize, rows: &[u32]) -> Vec<f32> {
    let mut counts = vec![0f32; cardinality];
    table.for_each_code(subcolumn, rows, |_, code| counts[code as usize] += 1.0);
    counts.iter_mut().for_each(|count| *count /= rows.len() as f32);
    counts
}
