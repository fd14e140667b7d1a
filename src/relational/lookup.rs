//! Which row of a parent a key names.

use super::{NONE, row_converter};
use crate::{Result, SynthError};
use arrow::{
    array::{Array, ArrayRef, RecordBatch},
    compute::cast,
};
use std::collections::HashMap;

fn columns_of(rows: &RecordBatch, names: &[String]) -> Result<Vec<ArrayRef>> {
    let column = |name: &String| {
        rows.column_by_name(name).cloned().ok_or_else(|| SynthError::Internal(format!("no column `{name}`")))
    };
    names.iter().map(column).collect()
}

/// Per row, whether one of `columns` is null.
///
/// # Errors
/// A column that there is not.
pub fn any_null(rows: &RecordBatch, columns: &[String]) -> Result<Vec<bool>> {
    let mut null = vec![false; rows.num_rows()];
    for column in columns_of(rows, columns)? {
        if let Some(nulls) = column.logical_nulls() {
            null.iter_mut().zip(nulls.iter()).for_each(|(null, valid)| *null |= !valid);
        }
    }
    Ok(null)
}

/// Per row of the child, the row of the parent that its key names, the first one; [`NONE`] for nulls and orphans.
///
/// # Errors
/// A column that there is not; types that cannot be compared.
pub fn look_up(
    (child, columns): (&RecordBatch, &[String]),
    (parent, parent_columns): (&RecordBatch, &[String]),
) -> Result<Vec<u32>> {
    let parents = columns_of(parent, parent_columns)?;
    let children = columns_of(child, columns)?;
    let children: Vec<ArrayRef> = children
        .iter()
        .zip(&parents)
        .map(|(child, parent)| cast(child, parent.data_type()))
        .collect::<Result<_, _>>()?;
    let converter = row_converter(&parents)?;
    let parent_rows = converter.convert_columns(&parents)?;
    let child_rows = converter.convert_columns(&children)?;
    let mut places = HashMap::with_capacity(parent.num_rows());
    for (row, null) in any_null(parent, parent_columns)?.into_iter().enumerate() {
        if !null {
            places.entry(parent_rows.row(row)).or_insert(row as u32);
        }
    }
    let found = any_null(child, columns)?
        .into_iter()
        .enumerate()
        .map(|(row, null)| if null { NONE } else { places.get(&child_rows.row(row)).copied().unwrap_or(NONE) });
    Ok(found.collect())
}

/// The rows in the order of `keys`, so that nothing depends on the order they came in.
///
/// # Errors
/// A key with a null in it, or that two rows have: the error says how many.
pub fn by_key(rows: &RecordBatch, keys: &[String], table: &str) -> Result<RecordBatch> {
    let columns = columns_of(rows, keys)?;
    let fault = |rows: usize, what: &str, way_out: &str| {
        let key = keys.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        Err(SynthError::Keys {
            problems: vec![format!("table `{table}`, key ({key}): {what} ({rows} rows); {way_out}")],
        })
    };
    let nulls = any_null(rows, keys)?.into_iter().filter(|&null| null).count();
    if nulls > 0 {
        return fault(nulls, "a null in the key that children refer to", "leave these rows out");
    }
    let values = row_converter(&columns)?.convert_columns(&columns)?;
    let mut order: Vec<u32> = (0..rows.num_rows() as u32).collect();
    order.sort_by(|&a, &b| values.row(a as usize).cmp(&values.row(b as usize)));
    let repeated = order.windows(2).filter(|pair| values.row(pair[0] as usize) == values.row(pair[1] as usize)).count();
    if repeated > 0 {
        return fault(repeated, "the key that children refer to is another row's, too", "leave these rows out");
    }
    let order = arrow::array::UInt32Array::from(order);
    let arrays =
        rows.columns().iter().map(|column| arrow::compute::take(column, &order, None)).collect::<Result<_, _>>()?;
    Ok(RecordBatch::try_new(rows.schema(), arrays)?)
}
