//! The context of a row as dense networks see it: the [given](Layout::given) codes as one-hot vectors, side by side.

use super::tiles::first_row;
use crate::{
    encode::{EncodedRows, KnownCodes, Layout, SubColumn, UNKNOWN},
    torch::kernels::sparse::SparseRows,
};

/// Where the given codes stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Context {
    /// Per given sub-column, where its one-hot vector begins.
    at: Vec<usize>,
    /// Width of all of them; 0 if nothing is given.
    pub(super) width: usize,
}

impl Context {
    /// That of rows of `layout`.
    pub(super) fn new(layout: &Layout) -> Self {
        let mut context = Self { at: Vec::with_capacity(layout.given), width: 0 };
        for subcolumn in layout.subcolumns.iter().take(layout.given) {
            context.at.push(context.width);
            context.width += match *subcolumn {
                SubColumn::Code { cardinality, .. } => cardinality as usize,
                SubColumn::Scalar => 0,
            };
        }
        context
    }

    /// Given sub-columns.
    pub(super) fn len(&self) -> usize {
        self.at.len()
    }

    /// Adds the context of row `row` of `table`, `offset` columns on, to the sparse row under way.
    pub(super) fn push(&self, table: &EncodedRows, row: usize, offset: usize, rows: &mut SparseRows) {
        for (at, codes) in self.at.iter().zip(&table.subcolumns) {
            rows.push(offset + at + codes.code(row) as usize, 1.0);
        }
    }

    /// The contexts of `rows` rows of tile `tile` of the block `known`, as sparse rows of `columns` columns; `end` adds what
    /// else is in each. What is not known is zero throughout.
    pub(super) fn sparse(
        &self,
        (known, tile, rows): (&KnownCodes, u64, usize),
        columns: usize,
        end: impl Fn(&mut SparseRows),
    ) -> SparseRows {
        let mut sparse = SparseRows::new(columns);
        let given: Vec<_> = self.at.iter().enumerate().map(|(index, at)| (at, of_tile(known, index, tile))).collect();
        for row in 0..rows {
            for &(at, codes) in &given {
                if let Some(&code) = codes.get(row).filter(|code| **code != UNKNOWN) {
                    sparse.push(at + code as usize, 1.0);
                }
            }
            end(&mut sparse);
            sparse.end_row();
        }
        sparse
    }

    /// Appends the contexts of the `rows` rows of tile `tile` of the block `known` to `out`, code 0 where none is known.
    pub(super) fn copy(&self, (known, tile, rows): (&KnownCodes, u64, usize), out: &mut EncodedRows) {
        for (index, column) in out.subcolumns.iter_mut().enumerate().take(self.len()) {
            let codes = of_tile(known, index, tile);
            let code = |row| codes.get(row).filter(|code| **code != UNKNOWN).copied().unwrap_or(0);
            (0..rows).for_each(|row| column.push_code(code(row)));
        }
    }
}

/// The codes of a sub-column from tile `tile` on; none if none are known.
fn of_tile(known: &KnownCodes, index: usize, tile: u64) -> &[u32] {
    known.subcolumn(index).and_then(|codes| codes.get(first_row(tile)..)).unwrap_or_default()
}
