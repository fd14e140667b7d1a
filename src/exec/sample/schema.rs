//! The schema of a sample: the table's, after the optional row number.

use crate::{Result, SynthError};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::sync::Arc;

/// Name of the column that `row_id => true` puts first.
pub const ROW_ID: &str = "row_id";

/// The schema of a sample of a table of `table` schema.
///
/// # Errors
/// The table has a column of that name already.
pub(super) fn output_schema(table: &SchemaRef, row_id: bool) -> Result<SchemaRef> {
    if !row_id {
        return Ok(Arc::clone(table));
    }
    if table.fields().iter().any(|field| field.name() == ROW_ID) {
        return Err(SynthError::Argument {
            function: "synth_sample".to_owned(),
            argument: ROW_ID.to_owned(),
            given: "true".to_owned(),
            expected: format!("false: the table has a column `{ROW_ID}` of its own"),
        });
    }
    let number = Arc::new(Field::new(ROW_ID, DataType::Int64, false));
    let fields: Vec<_> = std::iter::once(number).chain(table.fields().iter().cloned()).collect();
    Ok(Arc::new(Schema::new_with_metadata(fields, table.metadata().clone())))
}

/// Where a column of the output comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The row's number.
    RowId,
    /// The n-th of the decoded columns.
    Decoded(usize),
}

/// Splits a projection of the output schema into where each column comes from and the table's columns to decode.
pub(super) fn sources(projection: &[usize], row_id: bool) -> (Vec<Source>, Vec<usize>) {
    let shift = usize::from(row_id);
    let mut decoded = Vec::new();
    let sources = projection
        .iter()
        .map(|&column| {
            if row_id && column == 0 {
                return Source::RowId;
            }
            decoded.push(column - shift);
            Source::Decoded(decoded.len() - 1)
        })
        .collect();
    (sources, decoded)
}
