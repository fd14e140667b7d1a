//! The columns of a table that a model is applied to, and what comes out of them.

use super::{Action, ApplySpec};
use crate::{
    Result, SynthError,
    encode::TableEncoder,
    exec::columns::{cast_exact, shared, visible},
    relational::is_hidden,
};
use arrow::{
    array::ArrayRef,
    compute::{is_not_null, kernels::zip::zip},
    datatypes::{DataType, Field, Schema, SchemaRef},
    record_batch::{RecordBatch, RecordBatchOptions},
};
use std::sync::Arc;

/// Name of the column of log-probabilities.
const LOG_PROB: &str = "log_prob";

/// The columns of a table that a model is applied to.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    function: &'static str,
    action: Action,
    /// Per column that both have: its index in the table, and in the model's table.
    pub(super) shared: Vec<(usize, usize)>,
    /// What comes out.
    pub(super) output: SchemaRef,
}

impl Columns {
    /// Of `table`, for a model of tables of schema `model`.
    ///
    /// # Errors
    /// No column in common; one of a type that cannot be cast; for [`Action::Complete`], one that the model does not have.
    pub(super) fn new(spec: &ApplySpec, table: &SchemaRef, model: &SchemaRef) -> Result<Self> {
        let function = spec.function;
        let complete = matches!(spec.action, Action::Complete { .. });
        let argument = if complete { "given" } else { "table" };
        let shared = shared((function, argument), table, model, (&spec.model, complete))?;
        let output = match spec.action {
            Action::Impute => Arc::clone(table),
            Action::Complete { .. } => visible(model),
            Action::LogProbability => {
                if table.column_with_name(LOG_PROB).is_some() {
                    return Err(SynthError::Argument {
                        function: function.to_owned(),
                        argument: "table".to_owned(),
                        given: format!("a table with a column `{LOG_PROB}`"),
                        expected: "another name for it: the result is called so".to_owned(),
                    });
                }
                let last = Arc::new(Field::new(LOG_PROB, DataType::Float64, false));
                let fields: Vec<_> = table.fields().iter().cloned().chain([last]).collect();
                Arc::new(Schema::new_with_metadata(fields, table.metadata().clone()))
            }
        };
        Ok(Self { function, action: spec.action, shared, output })
    }

    /// The model's columns that are to be decoded.
    pub(super) fn decoded(&self, encoder: &TableEncoder) -> Vec<usize> {
        match self.action {
            Action::Complete { .. } => {
                let fields = encoder.schema().fields().iter().enumerate();
                fields.filter(|(_, field)| !is_hidden(field.name())).map(|(column, _)| column).collect()
            }
            Action::Impute => self.shared.iter().map(|(_, column)| *column).collect(),
            Action::LogProbability => Vec::new(),
        }
    }

    /// The rows that come out: what was given, and what was drawn where that is null.
    pub(super) fn filled(&self, given: &RecordBatch, drawn: &RecordBatch) -> Result<RecordBatch> {
        let fill = |given: &ArrayRef, drawn: &ArrayRef, name: &str| -> Result<ArrayRef> {
            let drawn = self.cast(drawn, given.data_type(), name)?;
            Ok(zip(&is_not_null(given)?, given, &drawn)?)
        };
        let mut columns: Vec<ArrayRef> = match self.action {
            Action::Complete { .. } => drawn.columns().to_vec(),
            _ => given.columns().to_vec(),
        };
        for (place, &(at, column)) in self.shared.iter().enumerate() {
            let name = given.schema_ref().field(at).name();
            match self.action {
                Action::Complete { .. } => {
                    // A column that is given is not hidden, and hidden ones come last.
                    let given = self.cast(given.column(at), drawn.column(column).data_type(), name)?;
                    columns[column] = fill(&given, drawn.column(column), name)?;
                }
                _ => columns[at] = fill(given.column(at), drawn.column(place), name)?,
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(given.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.output), columns, &options)?)
    }

    /// The rows with their log-probabilities.
    pub(super) fn judged(&self, given: &RecordBatch, logs: Vec<f64>) -> Result<RecordBatch> {
        let logs: ArrayRef = Arc::new(arrow::array::Float64Array::from(logs));
        let columns = given.columns().iter().cloned().chain([logs]).collect();
        Ok(RecordBatch::try_new(Arc::clone(&self.output), columns)?)
    }

    fn cast(&self, array: &ArrayRef, wanted: &DataType, name: &str) -> Result<ArrayRef> {
        cast_exact(self.function, array, wanted, name)
    }
}
