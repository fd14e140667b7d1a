//! How encoded rows stand in the dense rows that the encoder reads and the decoder writes. What is given of a row, its
//! context, comes after the dense row for the encoder, and after the latent vector for the decoder.
//!
//! Mode-specific normalisation gives a scalar a meaning of its own under each mode, so it stands in a *slot* of the code
//! before it: the encoder reads it by weights of that mode, and the decoder has a mean and a deviation for each.

use crate::{
    encode::{CodeMatrix, EncodedRows, Layout, SubColumn, SubColumnData},
    models::{context::Context, embedding::embedding_width},
    noise::BLOCK_ROWS,
    torch::{Rows, kernels::sparse::SparseRows},
};

/// Width of an embedding at most.
const WIDEST: usize = 32;
/// A scalar after a code of a larger cardinality has one slot for all of them.
const MOST_SLOTS: u32 = 256;

/// A sub-column's place in a dense row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// None: it is given.
    Given,
    /// A number in the slot of its code: `slots` positions from `at`; `first` counts the slots of all scalars.
    Scalar { at: usize, slots: usize, first: usize },
    /// A one-hot vector.
    OneHot { at: usize, cardinality: usize },
    /// An embedding vector; `table` counts these.
    Embedded { at: usize, width: usize, cardinality: usize, table: usize },
}

/// An embedded sub-column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) subcolumn: usize,
    pub(super) at: usize,
    pub(super) width: usize,
    pub(super) cardinality: usize,
}

/// Dense rows of a layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dense {
    /// Per sub-column.
    pub(super) parts: Vec<Part>,
    /// Width of a row.
    pub(super) width: usize,
    /// What is given.
    pub(super) context: Context,
    /// Slots of all scalars.
    pub(super) slots: usize,
}

impl Dense {
    /// Dense rows of `layout`, with embeddings for cardinalities above `threshold`.
    pub(super) fn new(layout: &Layout, threshold: u32) -> Self {
        let mut dense = Self {
            parts: Vec::with_capacity(layout.subcolumns.len()),
            width: 0,
            context: Context::new(layout),
            slots: 0,
        };
        let (mut tables, mut before) = (0, 1);
        for (index, subcolumn) in layout.subcolumns.iter().enumerate() {
            let at = dense.width;
            let (part, width) = match *subcolumn {
                _ if index < layout.given => (Part::Given, 0),
                SubColumn::Scalar => {
                    let slots = if before > MOST_SLOTS { 1 } else { before as usize };
                    dense.slots += slots;
                    (Part::Scalar { at, slots, first: dense.slots - slots }, slots)
                }
                SubColumn::Code { cardinality, .. } if cardinality <= threshold => {
                    let cardinality = cardinality as usize;
                    (Part::OneHot { at, cardinality }, cardinality)
                }
                SubColumn::Code { cardinality, .. } => {
                    let cardinality = cardinality as usize;
                    let width = embedding_width(cardinality, WIDEST);
                    tables += 1;
                    (Part::Embedded { at, width, cardinality, table: tables - 1 }, width)
                }
            };
            before = if let SubColumn::Code { cardinality, .. } = *subcolumn { cardinality } else { 1 };
            dense.parts.push(part);
            dense.width += width;
        }
        dense
    }

    /// The slot, among its own, of the scalar `subcolumn` in a row.
    pub(super) fn slot(&self, table: &EncodedRows, subcolumn: usize, slots: usize, row: usize) -> usize {
        if slots == 1 { 0 } else { table.subcolumns[subcolumn - 1].code(row) as usize }
    }

    /// Adds row `row` of `table` and its context to the sparse row under way. `embeddings` are the tables'.
    pub(super) fn push_row(
        &self,
        table: &EncodedRows,
        row: usize,
        embeddings: &[Rows<'_, f32>],
        rows: &mut SparseRows,
    ) {
        self.context.push(table, row, self.width, rows);
        for (index, (&part, data)) in self.parts.iter().zip(&table.subcolumns).enumerate() {
            match (part, data) {
                (Part::Given, _) => {}
                (Part::Scalar { at, slots, .. }, SubColumnData::Scalar(values)) => {
                    rows.push(at + self.slot(table, index, slots, row), values[row]);
                }
                (Part::OneHot { at, .. } | Part::Scalar { at, .. }, data) => {
                    rows.push(at + data.code(row) as usize, 1.0);
                }
                (Part::Embedded { at, table, .. }, data) => {
                    let vector = embeddings[table].row(data.code(row) as usize).iter().enumerate();
                    vector.for_each(|(i, &value)| rows.push(at + i, value));
                }
            }
        }
    }

    /// Least and greatest scalar of every slot in these rows, 0 and 0 where none has it: `[2, slots]`, row by row.
    pub(super) fn bounds(&self, table: &CodeMatrix, rows: &[u32]) -> Vec<f32> {
        let mut bounds = vec![f32::INFINITY; self.slots];
        bounds.resize(2 * self.slots, f32::NEG_INFINITY);
        for block in rows.chunks(BLOCK_ROWS).map(|rows| table.read(rows)) {
            for (index, (&part, data)) in self.parts.iter().zip(&block.subcolumns).enumerate() {
                let (Part::Scalar { slots, first, .. }, SubColumnData::Scalar(values)) = (part, data) else { continue };
                for (row, value) in values.iter().enumerate() {
                    let slot = first + self.slot(&block, index, slots, row);
                    bounds[slot] = bounds[slot].min(*value);
                    bounds[self.slots + slot] = bounds[self.slots + slot].max(*value);
                }
            }
        }
        bounds.iter_mut().filter(|bound| bound.is_infinite()).for_each(|bound| *bound = 0.0);
        bounds
    }

    /// First position and cardinality of every one-hot part, with its sub-column.
    pub(super) fn one_hots(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        self.parts.iter().enumerate().filter_map(|(index, part)| match *part {
            Part::OneHot { at, cardinality } => Some((index, at, cardinality)),
            _ => None,
        })
    }

    /// Every embedded part.
    pub(super) fn tables(&self) -> Vec<Table> {
        let table = |(subcolumn, part): (usize, &Part)| match *part {
            Part::Embedded { at, width, cardinality, .. } => Some(Table { subcolumn, at, width, cardinality }),
            _ => None,
        };
        self.parts.iter().enumerate().filter_map(table).collect()
    }
}
