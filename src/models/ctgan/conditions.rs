//! Conditional vectors and training-by-sampling (Xu et al. 2019, section 4.3).

use super::dense::{ConditionColumn, Dense};
use crate::{
    encode::{CodeMatrix, EncodedRows},
    noise::Purpose,
};

/// A condition: a discrete column shows a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condition {
    /// Index into [`Dense::conditions`].
    pub(super) column: usize,
    /// The code.
    pub(super) code: usize,
}

/// Conditions and the rows that meet them.
#[derive(Debug)]
pub(super) struct TrainingSampler<'a> {
    table: &'a CodeMatrix,
    /// Whether rows are given a context.
    context: bool,
    /// All rows to train on.
    rows: Vec<u32>,
    columns: Vec<Column>,
}

#[derive(Debug)]
struct Column {
    /// Cumulated probability by code, p ∝ log(1 + frequency).
    cumulated: Vec<f64>,
    /// `rows[starts[code]..starts[code + 1]]` show `code`.
    starts: Vec<u32>,
    rows: Vec<u32>,
}

/// What a batch is drawn as.
#[derive(Debug, Default)]
pub(super) struct Draw {
    /// One condition per row; empty where the table has no discrete column, or a context.
    pub(super) conditions: Vec<Condition>,
    /// One row of the table that meets it.
    pub(super) rows: Vec<u32>,
    /// These rows, where they are given a context.
    pub(super) context: Option<EncodedRows>,
}

impl<'a> TrainingSampler<'a> {
    /// Indexes the rows `rows` of `table`.
    pub(super) fn new(dense: &Dense, table: &'a CodeMatrix, rows: Vec<u32>) -> Self {
        let columns = dense.conditions.iter().map(|column| Column::new(column, table, &rows)).collect();
        Self { table, context: dense.takes_context(), rows, columns }
    }

    /// Draws `count` conditions and rows: a discrete column uniformly, a code by the logarithm of its
    /// frequency, a row that shows it uniformly (with replacement). Or rows with their contexts, all uniformly.
    pub(super) fn draw(&self, purpose: &Purpose, block: u64, count: usize) -> Draw {
        let mut bits = vec![0u32; 3 * count];
        purpose.fill_u32(block, &mut bits);
        let mut draw = Draw { rows: Vec::with_capacity(count), ..Draw::default() };
        for &[which, code, row] in bits.as_chunks::<3>().0 {
            if self.columns.is_empty() {
                draw.rows.push(self.rows[below(row, self.rows.len())]);
                continue;
            }
            let which = below(which, self.columns.len());
            let column = &self.columns[which];
            let code = pick(&column.cumulated, code);
            let (start, end) = (column.starts[code] as usize, column.starts[code + 1] as usize);
            draw.conditions.push(Condition { column: which, code });
            draw.rows.push(column.rows[start + below(row, end - start)]);
        }
        draw.context = self.context.then(|| self.table.read(&draw.rows));
        draw
    }

    /// The true frequency of every condition, column after column: what generation draws by.
    pub(super) fn frequencies(&self) -> Vec<f32> {
        let of = |column: &Column| -> Vec<f32> {
            column.starts.windows(2).map(|pair| (pair[1] - pair[0]) as f32 / self.rows.len() as f32).collect()
        };
        self.columns.iter().flat_map(of).collect()
    }
}

impl Column {
    fn new(column: &ConditionColumn, table: &CodeMatrix, rows: &[u32]) -> Self {
        let mut starts = vec![0u32; column.cardinality + 1];
        table.for_each_code(column.subcolumn, rows, |_, code| starts[code as usize + 1] += 1);
        let weights: Vec<f64> = starts[1..].iter().map(|&n| f64::from(n).ln_1p()).collect();
        for code in 0..column.cardinality {
            starts[code + 1] += starts[code];
        }
        let mut next = starts.clone();
        let mut by_code = vec![0u32; rows.len()];
        table.for_each_code(column.subcolumn, rows, |row, code| {
            let slot = &mut next[code as usize];
            by_code[*slot as usize] = row;
            *slot += 1;
        });
        Self { cumulated: cumulate(weights.into_iter()), starts, rows: by_code }
    }
}

/// True frequencies, to draw conditions by at generation.
#[derive(Debug, Clone)]
pub(super) struct GenerationSampler {
    cumulated: Vec<Vec<f64>>,
}

impl GenerationSampler {
    /// `frequencies` of every condition, column after column.
    pub(super) fn new(dense: &Dense, frequencies: &[f32]) -> Self {
        let of = |column: &ConditionColumn| {
            cumulate(frequencies[column.first..column.first + column.cardinality].iter().map(|&f| f64::from(f)))
        };
        Self { cumulated: dense.conditions.iter().map(of).collect() }
    }

    /// The number of the condition that 2 x 32 random bits mean (0 where there are no discrete columns).
    pub(super) fn draw(&self, dense: &Dense, [which, code]: [u32; 2]) -> u32 {
        if self.cumulated.is_empty() {
            return 0;
        }
        let which = below(which, self.cumulated.len());
        (dense.conditions[which].first + pick(&self.cumulated[which], code)) as u32
    }
}

/// Cumulated probabilities of `weights`; codes of weight 0 are never picked.
fn cumulate(weights: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut sum = 0.0;
    let mut cumulated: Vec<f64> = weights
        .map(|weight| {
            sum += weight;
            sum
        })
        .collect();
    cumulated.iter_mut().for_each(|c| *c /= sum);
    cumulated
}

/// The first code whose cumulated probability exceeds the uniform number of these bits.
fn pick(cumulated: &[f64], bits: u32) -> usize {
    let uniform = f64::from(bits) / 4_294_967_296.0;
    cumulated.partition_point(|&c| c <= uniform)
}

/// A number below `count`, uniform up to 2^-32.
fn below(bits: u32, count: usize) -> usize {
    ((u64::from(bits) * count as u64) >> 32) as usize
}
