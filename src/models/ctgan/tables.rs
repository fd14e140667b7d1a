//! The embedding tables of a network. A code of an embedded sub-column is a row of a table: wide rows of codes (one-hot
//! vectors, logits, their gradients) turn into narrow rows of vectors and back by products with the tables.

use crate::{
    Result,
    torch::{Parameters, multiply},
};
use tch::{Device, Tensor};

/// An embedded sub-column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) subcolumn: usize,
    /// Where its vector begins in a dense row.
    pub(super) at: usize,
    /// Width of its vectors.
    pub(super) width: usize,
    /// Number of its codes.
    pub(super) cardinality: usize,
    /// Where its codes begin among those of all embedded sub-columns.
    pub(super) first: usize,
}

impl Table {
    /// Its columns of rows of vectors.
    pub(super) fn vectors(&self, rows: &Tensor) -> Result<Tensor> {
        Ok(rows.f_narrow(1, self.at as i64, self.width as i64)?)
    }

    /// Its columns of rows of codes.
    pub(super) fn codes(&self, rows: &Tensor) -> Result<Tensor> {
        Ok(rows.f_narrow(1, self.first as i64, self.cardinality as i64)?)
    }
}

/// The tables among the parameters of a network.
#[derive(Debug, Clone)]
pub(super) struct Tables {
    tables: Vec<Table>,
    /// The parameter that is the first table.
    first: usize,
}

impl Tables {
    /// `tables` as the parameters from `first` on.
    pub(super) fn new(tables: &[Table], first: usize) -> Self {
        Self { tables: tables.to_vec(), first }
    }

    /// Every table and the number of its parameter.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Table, usize)> {
        self.tables.iter().zip(self.first..)
    }

    /// The matrices in host memory: the parameters themselves where that is the CPU's.
    pub(super) fn host(&self, parameters: &Parameters) -> Result<Vec<Tensor>> {
        self.iter().map(|(_, index)| Ok(parameters.master(index)?.f_to_device(Device::Cpu)?)).collect()
    }

    /// Fills the vectors of `rows` by the codes of `codes`: sums of a table's rows.
    pub(super) fn to_vectors(&self, parameters: &Parameters, codes: &Tensor, rows: &Tensor) -> Result<()> {
        self.iter().try_for_each(|(table, index)| {
            multiply(&table.codes(codes)?, &parameters.weight(index)?, &table.vectors(rows)?)
        })
    }

    /// Fills `codes` by the vectors of `rows`: products with each of a table's rows.
    pub(super) fn to_codes(&self, parameters: &Parameters, rows: &Tensor, codes: &Tensor) -> Result<()> {
        self.iter().try_for_each(|(table, index)| {
            multiply(&table.vectors(rows)?, &parameters.weight(index)?.f_tr()?, &table.codes(codes)?)
        })
    }

    /// The gradient by the tables of either, given one side and the gradient by the other.
    pub(super) fn gradient(&self, parameters: &Parameters, codes: &Tensor, rows: &Tensor) -> Result<()> {
        self.iter().try_for_each(|(table, index)| {
            multiply(&table.codes(codes)?.f_tr()?, &table.vectors(rows)?, &parameters.gradient(index)?)
        })
    }
}
