//! The rows that `synth_train` streams.

use crate::{
    Result,
    models::{EpochReport, FitReport},
};
use arrow::{
    array::{ArrayRef, Float64Array, Int32Array, StringArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
    record_batch::{RecordBatch, RecordBatchOptions},
};
use std::sync::{Arc, LazyLock};

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("table", DataType::Utf8, false),
        Field::new("model", DataType::Utf8, false),
        Field::new("version", DataType::Int32, true),
        Field::new("epoch", DataType::Int32, false),
        Field::new("epochs", DataType::Int32, false),
        Field::new("loss", DataType::Float64, true),
        Field::new("critic_loss", DataType::Float64, true),
        Field::new("score", DataType::Float64, true),
        Field::new("rows_per_second", DataType::Float64, true),
        Field::new("elapsed_seconds", DataType::Float64, false),
        Field::new("eta_seconds", DataType::Float64, false),
    ]))
});

/// Their schema.
pub(super) fn schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

/// Whose training the rows are about, and which of their columns are wanted.
#[derive(Debug, Clone)]
pub(super) struct RowMaker {
    pub(super) table: String,
    pub(super) model: String,
    pub(super) projection: Vec<usize>,
}

struct Values {
    version: Option<u32>,
    epoch: u32,
    epochs: u32,
    loss: Option<f64>,
    critic_loss: Option<f64>,
    score: Option<f64>,
    rows_per_second: Option<f64>,
    elapsed_seconds: f64,
    eta_seconds: f64,
}

impl RowMaker {
    /// The row of an epoch.
    pub(super) fn epoch(&self, report: &EpochReport) -> Result<RecordBatch> {
        self.row(&Values {
            version: None,
            epoch: report.epoch,
            epochs: report.epochs,
            loss: Some(report.loss),
            critic_loss: report.critic_loss,
            score: report.score,
            rows_per_second: Some(report.rows_per_second),
            elapsed_seconds: report.elapsed_seconds,
            eta_seconds: report.eta_seconds,
        })
    }

    /// The last row: the stored version, with the epoch and the score of the kept weights.
    pub(super) fn stored(&self, version: u32, report: &FitReport) -> Result<RecordBatch> {
        self.row(&Values {
            version: Some(version),
            epoch: report.best_epoch,
            epochs: report.epochs,
            loss: None,
            critic_loss: None,
            score: Some(report.score),
            rows_per_second: None,
            elapsed_seconds: report.seconds,
            eta_seconds: 0.0,
        })
    }

    fn row(&self, values: &Values) -> Result<RecordBatch> {
        let text = |text: &str| Arc::new(StringArray::from(vec![text])) as ArrayRef;
        let whole = |number: Option<u32>| Arc::new(Int32Array::from(vec![number.map(u32::cast_signed)])) as ArrayRef;
        let float = |number: Option<f64>| Arc::new(Float64Array::from(vec![number])) as ArrayRef;
        let columns = [
            text(&self.table),
            text(&self.model),
            whole(values.version),
            whole(Some(values.epoch)),
            whole(Some(values.epochs)),
            float(values.loss),
            float(values.critic_loss),
            float(values.score),
            float(values.rows_per_second),
            float(Some(values.elapsed_seconds)),
            float(Some(values.eta_seconds)),
        ];
        let wanted = self.projection.iter().map(|&column| Arc::clone(&columns[column])).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        Ok(RecordBatch::try_new_with_options(Arc::new(SCHEMA.project(&self.projection)?), wanted, &options)?)
    }
}
