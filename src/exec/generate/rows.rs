//! The rows that `synth_generate` streams.

use crate::Result;
use arrow::{
    array::{ArrayRef, Float64Array, Int64Array, StringArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
    record_batch::{RecordBatch, RecordBatchOptions},
};
use std::sync::{Arc, LazyLock};

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("table", DataType::Utf8, false),
        Field::new("rows", DataType::Int64, false),
        Field::new("bytes", DataType::Int64, false),
        Field::new("files", DataType::Int64, false),
        Field::new("seconds", DataType::Float64, true),
        Field::new("rows_per_second", DataType::Float64, true),
        Field::new("location", DataType::Utf8, false),
        Field::new("status", DataType::Utf8, false),
    ]))
});

/// Their schema.
pub(super) fn schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

/// The files of a table.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Extent {
    pub(super) bytes: u64,
    pub(super) files: u64,
}

/// What became of a table.
#[derive(Debug)]
pub(super) struct Report<'a> {
    pub(super) table: &'a str,
    pub(super) rows: u64,
    pub(super) extent: Extent,
    /// None, if it was there already.
    pub(super) seconds: Option<f64>,
    pub(super) location: &'a str,
}

impl Report<'_> {
    /// The columns `projection` of its row.
    pub(super) fn row(&self, projection: &[usize]) -> Result<RecordBatch> {
        let text = |text: &str| Arc::new(StringArray::from(vec![text])) as ArrayRef;
        let whole = |number: u64| Arc::new(Int64Array::from(vec![number.cast_signed()])) as ArrayRef;
        let float = |number: Option<f64>| Arc::new(Float64Array::from(vec![number])) as ArrayRef;
        let columns = [
            text(self.table),
            whole(self.rows),
            whole(self.extent.bytes),
            whole(self.extent.files),
            float(self.seconds),
            float(self.seconds.map(|seconds| self.rows as f64 / seconds.max(f64::MIN_POSITIVE))),
            text(self.location),
            text(if self.seconds.is_some() { "written" } else { "already there" }),
        ];
        let wanted = projection.iter().map(|&column| Arc::clone(&columns[column])).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        Ok(RecordBatch::try_new_with_options(Arc::new(SCHEMA.project(projection)?), wanted, &options)?)
    }
}
