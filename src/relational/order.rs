//! Rows put in another order.

use crate::Result;
use arrow::{
    array::{ArrayRef, RecordBatch, UInt32Array},
    compute::{SortColumn, lexsort_to_indices},
};
use std::sync::Arc;

/// Which row stands at each place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Order(Vec<u32>);

impl From<Vec<u32>> for Order {
    fn from(rows: Vec<u32>) -> Self {
        Self(rows)
    }
}

impl Order {
    /// `rows` rows as they are.
    pub(super) fn unchanged(rows: usize) -> Self {
        Self((0..rows as u32).collect())
    }

    /// `rows` rows by `key`; those of the same key stay in theirs.
    pub(super) fn by<K: Ord>(rows: usize, key: impl Fn(usize) -> K) -> Self {
        let mut order = Self::unchanged(rows);
        order.0.sort_by_key(|&row| key(row as usize));
        order
    }

    /// The rows of a table by their owners, siblings by the column `by` if there is one, those without an owner last. `index` has
    /// the owner of each, or [`NONE`](super::NONE).
    pub(super) fn under_owners(table: &RecordBatch, by: Option<&str>, index: &[u32]) -> Result<Self> {
        let owners: ArrayRef = Arc::new(UInt32Array::from(index.to_vec()));
        let number: ArrayRef = Arc::new(UInt32Array::from_iter_values(0..table.num_rows() as u32));
        let by = by.and_then(|name| table.column_by_name(name)).cloned();
        let column = |values| SortColumn { values, options: None };
        let columns: Vec<_> = [Some(owners), by, Some(number)].into_iter().flatten().map(column).collect();
        Ok(Self(lexsort_to_indices(&columns, None)?.values().to_vec()))
    }

    /// The rows.
    pub(super) fn rows(&self) -> &[u32] {
        &self.0
    }

    /// The same, as indices to take rows by.
    pub(super) fn indices(&self) -> UInt32Array {
        UInt32Array::from(self.0.clone())
    }

    /// The place of each row: what takes them back.
    pub(super) fn places(&self) -> UInt32Array {
        let mut places = vec![0u32; self.0.len()];
        (0..).zip(&self.0).for_each(|(place, &row)| places[row as usize] = place);
        UInt32Array::from(places)
    }

    /// A value of each row, in this order; none where there are none.
    pub(super) fn put(&self, values: &[u32]) -> Vec<u32> {
        self.0.iter().filter_map(|&row| values.get(row as usize).copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{super::NONE, *};
    use arrow::{
        array::Int32Array,
        datatypes::{DataType, Field, Schema},
    };
    use proptest::prelude::*;

    #[test]
    fn siblings_come_side_by_side_in_the_order_of_a_column() {
        let schema = Arc::new(Schema::new(vec![Field::new("at", DataType::Int32, true)]));
        let at = Int32Array::from(vec![Some(5), Some(1), Some(3), None, Some(2), Some(1)]);
        let table = RecordBatch::try_new(schema, vec![Arc::new(at)]).unwrap();
        let order = |by| Order::under_owners(&table, by, &[1, NONE, 0, 1, 1, 0]).unwrap();
        assert_eq!(order(Some("at")).rows(), [5, 2, 3, 4, 0, 1], "nulls first, those without an owner last");
        for by in [None, Some("no such column")] {
            assert_eq!(order(by).rows(), [2, 5, 0, 3, 4, 1]);
        }
    }

    proptest! {
        #[test]
        fn places_take_rows_back(keys in prop::collection::vec(0u32..5, 0..50)) {
            let order = Order::by(keys.len(), |row| keys[row]);
            let put = order.put(&keys);
            prop_assert!(put.is_sorted());
            let back = Order::from(order.places().values().to_vec());
            prop_assert_eq!(back.put(&put), keys);
            prop_assert!(order.put(&[]).is_empty());
        }

        #[test]
        fn rows_of_the_same_key_stay_in_order(keys in prop::collection::vec(0u32..3, 0..50)) {
            let order = Order::by(keys.len(), |row| keys[row]);
            let rows = order.rows().iter().map(|&row| (keys[row as usize], row));
            prop_assert!(rows.is_sorted());
        }
    }
}
