//! What a model learns from: a whole table, encoded.

use super::{EncodedRows, SubColumnData};

/// A whole table, encoded: one or two bytes a code, four a scalar.
///
/// Models read it in two ways only, a block of rows in any order and one sub-column of some rows, and keep none of it. Where
/// the codes lie is this type's own business.
#[derive(Debug, Clone, PartialEq)]
pub struct CodeMatrix {
    rows: EncodedRows,
}

impl CodeMatrix {
    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.rows
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The block that is made of the rows `rows`, in this order. They must be below [`CodeMatrix::len`].
    #[must_use]
    pub fn read(&self, rows: &[u32]) -> EncodedRows {
        let subcolumns =
            (0..self.rows.subcolumns.len()).map(|subcolumn| self.read_subcolumn(subcolumn, rows)).collect();
        EncodedRows { subcolumns, rows: rows.len() }
    }

    fn read_subcolumn(&self, subcolumn: usize, rows: &[u32]) -> SubColumnData {
        fn gathered<T: Copy>(values: &[T], rows: &[u32]) -> Vec<T> {
            rows.iter().map(|&row| values[row as usize]).collect()
        }
        match &self.rows.subcolumns[subcolumn] {
            SubColumnData::Code8(codes) => SubColumnData::Code8(gathered(codes, rows)),
            SubColumnData::Code16(codes) => SubColumnData::Code16(gathered(codes, rows)),
            SubColumnData::Code32(codes) => SubColumnData::Code32(gathered(codes, rows)),
            SubColumnData::Scalar(values) => SubColumnData::Scalar(gathered(values, rows)),
        }
    }

    /// Calls `each` with the code of a sub-column in each of the rows `rows`; with 0 where it has scalars.
    pub fn for_each_code(&self, subcolumn: usize, rows: &[u32], mut each: impl FnMut(u32, u32)) {
        let codes = &self.rows.subcolumns[subcolumn];
        rows.iter().for_each(|&row| each(row, codes.code(row as usize)));
    }

    /// Bytes held.
    #[must_use]
    pub fn memory_size(&self) -> usize {
        self.rows.memory_size()
    }
}

impl From<EncodedRows> for CodeMatrix {
    fn from(rows: EncodedRows) -> Self {
        Self { rows }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::{Layout, SubColumn};

    #[test]
    fn a_block_has_the_rows_asked_for_in_their_order() {
        let layout = Layout {
            columns: Vec::new(),
            subcolumns: vec![SubColumn::codes(3), SubColumn::codes(1000), SubColumn::codes(1 << 20), SubColumn::Scalar],
            given: 0,
            siblings: 0..0,
        };
        let mut rows = EncodedRows::with_capacity(&layout, 100);
        for row in 0..100u16 {
            rows.subcolumns[0].push_code(u32::from(row % 3));
            rows.subcolumns[1].push_code(u32::from(row) * 9);
            rows.subcolumns[2].push_code(u32::from(row) * 9999);
            rows.subcolumns[3].push_scalar(f32::from(row) / 100.0);
        }
        rows.rows = 100;
        let matrix = CodeMatrix::from(rows.clone());
        let block = matrix.read(&[99, 0, 41, 41]);
        assert_eq!(block.rows, 4);
        for (place, row) in [99, 0, 41, 41].into_iter().enumerate() {
            for (read, whole) in block.subcolumns[..3].iter().zip(&rows.subcolumns) {
                assert_eq!(read.code(place), whole.code(row));
            }
        }
        assert_eq!(block.subcolumns[3], SubColumnData::Scalar(vec![0.99, 0.0, 0.41, 0.41]));
        assert_eq!(matrix.read(&[]).rows, 0);
        let mut codes = Vec::new();
        matrix.for_each_code(1, &[5, 3], |row, code| codes.push((row, code)));
        assert_eq!(codes, [(5, 45), (3, 27)]);
    }
}
