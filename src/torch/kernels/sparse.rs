//! Sparse rows times dense matrices: one-hot vectors are never written out, their products are sums of rows.

use super::math::vectorised;
use crate::{
    Result, SynthError,
    torch::{Element, Rows, RowsMut, by_kind},
};
use tch::{Device, Kind, Tensor};

/// Rows of few entries among many columns.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SparseRows {
    columns: usize,
    /// Where each row ends among the entries.
    ends: Vec<usize>,
    entries: Vec<(u32, f32)>,
}

impl SparseRows {
    /// No rows yet, of `columns` columns.
    pub(crate) fn new(columns: usize) -> Self {
        Self { columns, ends: Vec::new(), entries: Vec::new() }
    }

    /// Adds an entry to the row under way.
    pub(crate) fn push(&mut self, column: usize, value: f32) {
        self.entries.push((column as u32, value));
    }

    /// Ends the row under way.
    pub(crate) fn end_row(&mut self) {
        self.ends.push(self.entries.len());
    }

    fn row(&self, row: usize) -> &[(u32, f32)] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.entries[start..self.ends[row]]
    }

    fn check(&self, matrix: &Tensor, rows: &Tensor) -> Result<()> {
        let fits = matrix.size()[0] == self.columns as i64
            && rows.size()[0] == self.ends.len() as i64
            && self.entries.iter().all(|&(column, _)| (column as usize) < self.columns);
        if fits {
            return Ok(());
        }
        let (matrix, rows) = (matrix.size(), rows.size());
        let found = format!("{} sparse rows of {} columns for {matrix:?} and {rows:?}", self.ends.len(), self.columns);
        Err(SynthError::Internal(found))
    }

    /// `out = self · matrix`, for `matrix: [columns, width]` and `out: [rows, width]`.
    pub(crate) fn product(&self, matrix: &Tensor, out: &mut Tensor) -> Result<()> {
        self.check(matrix, out)?;
        if matrix.device() != Device::Cpu {
            return super::super::multiply(&self.dense(matrix)?, matrix, out);
        }
        by_kind!(matrix.f_kind()?, T => {
            let (matrix, mut out) = (Rows::<T>::of(matrix)?, RowsMut::<T>::of(out)?);
            let mut sum = vec![0f32; matrix.columns()];
            for r in 0..out.rows() {
                sum.fill(0.0);
                for &(column, value) in self.row(r) {
                    add_to_sum(matrix.row(column as usize), value, &mut sum);
                }
                out.row(r).iter_mut().zip(&sum).for_each(|(out, &sum)| *out = T::from_f32(sum));
            }
            Ok(())
        })
    }

    /// `out += selfᵀ · rows`, for `rows: [rows, width]` and `out: [columns, width]`.
    pub(crate) fn add_transposed_product(&self, rows: &Tensor, out: &mut Tensor) -> Result<()> {
        self.check(out, rows)?;
        if out.device() != Device::Cpu {
            let _ = out.f_add_(&self.dense(out)?.f_tr()?.f_mm(rows)?)?;
            return Ok(());
        }
        by_kind!(out.f_kind()?, T => {
            let (rows, mut out) = (Rows::<T>::of(rows)?, RowsMut::<T>::of(out)?);
            for r in 0..rows.rows() {
                for &(column, value) in self.row(r) {
                    add_to_row(rows.row(r), value, out.row(column as usize));
                }
            }
            Ok(())
        })
    }

    /// The rows as a dense tensor beside `like`.
    fn dense(&self, like: &Tensor) -> Result<Tensor> {
        let mut values = vec![0f32; self.ends.len() * self.columns];
        for (r, row) in values.chunks_mut(self.columns.max(1)).enumerate() {
            self.row(r).iter().for_each(|&(column, value)| row[column as usize] += value);
        }
        let dense = Tensor::f_from_slice(&values)?.f_view([self.ends.len() as i64, self.columns as i64])?;
        Ok(dense.f_to_kind(Kind::Float)?.f_to_device(like.device())?.f_to_kind(like.f_kind()?)?)
    }
}

vectorised! {
    fn add_to_sum<T: Element>(row: &[T], value: f32, sum: &mut [f32]) {
        sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += x.to_f32() * value);
    }
}

vectorised! {
    fn add_to_row<T: Element>(row: &[T], value: f32, out: &mut [T]) {
        out.iter_mut().zip(row).for_each(|(out, x)| *out = T::from_f32(out.to_f32() + x.to_f32() * value));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn products_are_those_of_the_dense_matrix(
            rows in prop::collection::vec(prop::collection::vec((0usize..7, -2f32..2.0), 0..5), 1..6),
        ) {
            let mut sparse = SparseRows::new(7);
            for row in &rows {
                row.iter().for_each(|&(column, value)| sparse.push(column, value));
                sparse.end_row();
            }
            let matrix = Tensor::arange(21, (Kind::Float, Device::Cpu)).view([7, 3]) / 10.0;
            let dense = sparse.dense(&matrix).unwrap();
            let mut out = Tensor::zeros([rows.len() as i64, 3], (Kind::Float, Device::Cpu));
            sparse.product(&matrix, &mut out).unwrap();
            prop_assert!((&out - dense.matmul(&matrix)).abs().max().double_value(&[]) < 1e-4);
            let mut back = matrix.copy();
            sparse.add_transposed_product(&out, &mut back).unwrap();
            let wanted = &matrix + dense.tr().matmul(&out);
            prop_assert!((back - wanted).abs().max().double_value(&[]) < 1e-3);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut sparse = SparseRows::new(2);
        sparse.push(2, 1.0);
        sparse.end_row();
        let mut out = Tensor::zeros([1, 3], (Kind::Float, Device::Cpu));
        assert!(sparse.product(&Tensor::zeros([2, 3], (Kind::Float, Device::Cpu)), &mut out).is_err());
    }
}
