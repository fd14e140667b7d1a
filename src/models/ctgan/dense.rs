//! How encoded rows stand in the dense rows that the networks see: scalars and one-hot vectors in the order of the
//! sub-columns, then the vectors of the embedded ones, side by side. What is given of a row, its context, is its conditional
//! vector.

use super::{conditions::Draw, generator::ALIGNMENT, tables::Table};
use crate::{
    encode::{EncodedRows, Layout, SubColumn, SubColumnData},
    models::{context::Context, embedding::embedding_width},
    torch::{Rows, kernels::sparse::SparseRows},
};

/// A sub-column's place in a dense row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Segment {
    /// None: it is given.
    Given,
    /// One number.
    Scalar { at: usize },
    /// A one-hot vector; `distribution` counts these.
    OneHot { at: usize, cardinality: usize, distribution: usize },
    /// An embedding vector: an index into [`Dense::tables`].
    Embedded { table: usize },
}

/// A column that rows can be conditioned on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ConditionColumn {
    /// The code sub-column.
    pub(super) subcolumn: usize,
    /// Where its segment begins in the conditional vector (as wide as in the row).
    pub(super) at: usize,
    /// Number of codes.
    pub(super) cardinality: usize,
    /// The number of its code 0 among all conditions of the table.
    pub(super) first: usize,
}

/// Dense rows and conditional vectors of a layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dense {
    /// Per sub-column.
    pub(super) segments: Vec<Segment>,
    /// Width of a row.
    pub(super) width: usize,
    /// The embedded sub-columns; their vectors are the last of a row.
    pub(super) tables: Vec<Table>,
    /// What is given.
    pub(super) context: Context,
    /// The discrete columns; none where rows are given a context, which is their condition then.
    pub(super) conditions: Vec<ConditionColumn>,
    /// Width of a conditional vector.
    pub(super) condition_width: usize,
    /// Conditions in all: the sum of the discrete columns' cardinalities.
    pub(super) condition_count: usize,
}

/// Columns with more codes than this are not conditioned on: at generation every condition owns a row of each
/// layer's look-up table.
const CONDITION_LIMIT: u32 = 16_384;

/// Width of an embedding at most; half the usual one is enough, and learned sooner.
const WIDEST: usize = 32;

impl Dense {
    /// Dense rows of `layout`, with embeddings for cardinalities above `threshold`.
    pub(super) fn new(layout: &Layout, threshold: u32) -> Self {
        let (mut width, mut distributions) = (0, 0);
        let mut tables = Vec::new();
        let mut segments = Vec::with_capacity(layout.subcolumns.len());
        for (index, subcolumn) in layout.subcolumns.iter().enumerate() {
            let segment = match *subcolumn {
                _ if index < layout.given => Segment::Given,
                SubColumn::Scalar => {
                    width += 1;
                    Segment::Scalar { at: width - 1 }
                }
                SubColumn::Code { cardinality, .. } if cardinality <= threshold => {
                    let cardinality = cardinality as usize;
                    let (at, distribution) = (width, distributions);
                    width += cardinality;
                    distributions += 1;
                    Segment::OneHot { at, cardinality, distribution }
                }
                SubColumn::Code { cardinality, .. } => {
                    let cardinality = cardinality as usize;
                    let first = tables.last().map_or(0, |last: &Table| last.first + last.cardinality);
                    let width_of = embedding_width(cardinality, 2 * WIDEST).div_ceil(2);
                    tables.push(Table { subcolumn: index, at: 0, width: width_of, cardinality, first });
                    Segment::Embedded { table: tables.len() - 1 }
                }
            };
            segments.push(segment);
        }
        for table in &mut tables {
            table.at = width;
            width += table.width;
        }
        let context = Context::new(layout);
        let condition_width = context.width;
        let mut dense =
            Self { segments, width, tables, context, conditions: Vec::new(), condition_width, condition_count: 0 };
        // Rows of a context are drawn as they come: how often a condition would hold depends on the context.
        for column in layout.columns.iter().filter(|column| column.discrete && layout.given == 0) {
            let subcolumn = column.subcolumns.start;
            let Some(SubColumn::Code { cardinality, .. }) = layout.subcolumns.get(subcolumn).copied() else { continue };
            if column.subcolumns.is_empty() || cardinality > CONDITION_LIMIT {
                continue;
            }
            let (at, first) = (dense.condition_width, dense.condition_count);
            dense.condition_width += match dense.segments[subcolumn] {
                Segment::Embedded { table } => dense.tables[table].width,
                _ => cardinality as usize,
            };
            dense.condition_count += cardinality as usize;
            dense.conditions.push(ConditionColumn { subcolumn, at, cardinality: cardinality as usize, first });
        }
        dense
    }

    /// Adds the conditional vector of row `row` of `draw`, `offset` columns on, to the sparse row under way. `embeddings` are
    /// the tables'.
    pub(super) fn push_conditions(
        &self,
        draw: &Draw,
        row: usize,
        embeddings: &[Rows<'_, f32>],
        offset: usize,
        rows: &mut SparseRows,
    ) {
        if let Some(context) = &draw.context {
            self.context.push(context, row, offset, rows);
        }
        let Some(condition) = draw.conditions.get(row) else { return };
        let column = &self.conditions[condition.column];
        match self.segments[column.subcolumn] {
            Segment::Embedded { table } => {
                let vector = embeddings[table].row(condition.code).iter().enumerate();
                vector.for_each(|(i, &value)| rows.push(offset + column.at + i, value));
            }
            _ => rows.push(offset + column.at + condition.code, 1.0),
        }
    }

    /// Adds the scalars and one-hot vectors of row `row` of `block`, `offset` columns on, to the sparse row under way.
    pub(super) fn push_row(&self, block: &EncodedRows, row: usize, offset: usize, rows: &mut SparseRows) {
        for (&segment, data) in self.segments.iter().zip(&block.subcolumns) {
            match (segment, data) {
                (Segment::Scalar { at }, SubColumnData::Scalar(values)) => rows.push(offset + at, values[row]),
                (Segment::OneHot { at, .. }, data) => rows.push(offset + at + data.code(row) as usize, 1.0),
                _ => {}
            }
        }
    }

    /// Whether rows are given a context.
    pub(super) fn takes_context(&self) -> bool {
        self.context.len() > 0
    }

    /// Width of a row that the next one follows at an aligned place.
    pub(super) fn padded_width(&self) -> usize {
        self.width.next_multiple_of(ALIGNMENT)
    }

    /// Where the vectors of embedded sub-columns begin.
    pub(super) fn vectors_at(&self) -> usize {
        self.tables.first().map_or(self.width, |table| table.at)
    }

    /// Codes of all embedded sub-columns.
    pub(super) fn code_count(&self) -> usize {
        self.tables.last().map_or(0, |table| table.first + table.cardinality)
    }

    /// Positions of scalars.
    pub(super) fn scalars(&self) -> Vec<usize> {
        let at = |s: &Segment| if let Segment::Scalar { at } = *s { Some(at) } else { None };
        self.segments.iter().filter_map(at).collect()
    }

    /// First position and cardinality of every one-hot segment.
    pub(super) fn distributions(&self) -> Vec<(usize, usize)> {
        let place =
            |s: &Segment| if let Segment::OneHot { at, cardinality, .. } = *s { Some((at, cardinality)) } else { None };
        self.segments.iter().filter_map(place).collect()
    }
}
