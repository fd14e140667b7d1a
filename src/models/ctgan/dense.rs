//! How encoded rows stand in the dense rows that the networks see.

use super::conditions::Condition;
use crate::{
    encode::{CodeMatrix, Layout, SubColumn, SubColumnData},
    models::embedding::embedding_width,
    torch::{Rows, kernels::sparse::SparseRows},
};

/// A sub-column's place in a dense row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Segment {
    /// One number.
    Scalar { at: usize },
    /// A one-hot vector; `distribution` counts these.
    OneHot { at: usize, cardinality: usize, distribution: usize },
    /// An embedding vector; `table` counts these.
    Embedded { at: usize, width: usize, cardinality: usize, table: usize },
}

impl Segment {
    /// First position and width.
    pub(super) fn place(self) -> (usize, usize) {
        match self {
            Self::Scalar { at } => (at, 1),
            Self::OneHot { at, cardinality, .. } => (at, cardinality),
            Self::Embedded { at, width, .. } => (at, width),
        }
    }
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
    /// The discrete columns.
    pub(super) conditions: Vec<ConditionColumn>,
    /// Width of a conditional vector.
    pub(super) condition_width: usize,
    /// Conditions in all: the sum of the discrete columns' cardinalities.
    pub(super) condition_count: usize,
}

/// Columns with more codes than this are not conditioned on: at generation every condition owns a row of each
/// layer's look-up table.
const CONDITION_LIMIT: u32 = 16_384;

/// Width of an embedding at most.
const WIDEST: usize = 32;

impl Dense {
    /// Dense rows of `layout`, with embeddings for cardinalities above `threshold`.
    pub(super) fn new(layout: &Layout, threshold: u32) -> Self {
        let (mut width, mut distributions, mut tables) = (0, 0, 0);
        let mut segments = Vec::with_capacity(layout.subcolumns.len());
        for subcolumn in &layout.subcolumns {
            let segment = match *subcolumn {
                SubColumn::Scalar => Segment::Scalar { at: width },
                SubColumn::Code { cardinality } if cardinality <= threshold => {
                    distributions += 1;
                    let cardinality = cardinality as usize;
                    Segment::OneHot { at: width, cardinality, distribution: distributions - 1 }
                }
                SubColumn::Code { cardinality } => {
                    tables += 1;
                    let cardinality = cardinality as usize;
                    let width_of = embedding_width(cardinality, WIDEST);
                    Segment::Embedded { at: width, width: width_of, cardinality, table: tables - 1 }
                }
            };
            width += segment.place().1;
            segments.push(segment);
        }
        let mut dense = Self { segments, width, conditions: Vec::new(), condition_width: 0, condition_count: 0 };
        for column in layout.columns.iter().filter(|column| column.discrete) {
            let subcolumn = column.subcolumns.start;
            let Some(SubColumn::Code { cardinality }) = layout.subcolumns.get(subcolumn).copied() else { continue };
            if column.subcolumns.is_empty() || cardinality > CONDITION_LIMIT {
                continue;
            }
            let (at, first) = (dense.condition_width, dense.condition_count);
            dense.condition_width += dense.segments[subcolumn].place().1;
            dense.condition_count += cardinality as usize;
            dense.conditions.push(ConditionColumn { subcolumn, at, cardinality: cardinality as usize, first });
        }
        dense
    }

    /// Adds a conditional vector, `offset` columns on, to the sparse row under way. `embeddings` are the tables'.
    pub(super) fn push_condition(
        &self,
        condition: Condition,
        embeddings: &[Rows<'_, f32>],
        offset: usize,
        rows: &mut SparseRows,
    ) {
        let column = &self.conditions[condition.column];
        match self.segments[column.subcolumn] {
            Segment::Embedded { table, .. } => {
                let vector = embeddings[table].row(condition.code).iter().enumerate();
                vector.for_each(|(i, &value)| rows.push(offset + column.at + i, value));
            }
            _ => rows.push(offset + column.at + condition.code, 1.0),
        }
    }

    /// Adds row `row` of `table`, `offset` columns on, to the sparse row under way.
    pub(super) fn push_row(
        &self,
        table: &CodeMatrix,
        row: usize,
        embeddings: &[Rows<'_, f32>],
        offset: usize,
        rows: &mut SparseRows,
    ) {
        for (&segment, data) in self.segments.iter().zip(&table.subcolumns) {
            match (segment, data) {
                (Segment::Scalar { at }, SubColumnData::Scalar(values)) => rows.push(offset + at, values[row]),
                (Segment::Embedded { at, table, .. }, data) => {
                    let vector = embeddings[table].row(data.code(row) as usize).iter().enumerate();
                    vector.for_each(|(i, &value)| rows.push(offset + at + i, value));
                }
                (segment, data) => rows.push(offset + segment.place().0 + data.code(row) as usize, 1.0),
            }
        }
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

    /// Sub-column, first position, width and cardinality of every embedded segment.
    pub(super) fn tables(&self) -> Vec<Table> {
        let table = |(subcolumn, s): (usize, &Segment)| match *s {
            Segment::Embedded { at, width, cardinality, .. } => Some(Table { subcolumn, at, width, cardinality }),
            _ => None,
        };
        self.segments.iter().enumerate().filter_map(table).collect()
    }
}

/// An embedded segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) subcolumn: usize,
    pub(super) at: usize,
    pub(super) width: usize,
    pub(super) cardinality: usize,
}
