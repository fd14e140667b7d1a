//! How the columns of a table and of a model's table go together: by name.

use crate::{Result, SynthError, relational::is_hidden, store::Manifest};
use arrow::{
    array::{ArrayRef, new_null_array},
    compute::{self, CastOptions},
    datatypes::{DataType, Schema, SchemaRef},
    record_batch::{RecordBatch, RecordBatchOptions},
};
use std::sync::Arc;

/// The columns of the model's table, without those that the model counts children in.
pub(super) fn visible(schema: &SchemaRef) -> SchemaRef {
    let fields: Vec<_> = schema.fields().iter().filter(|field| !is_hidden(field.name())).cloned().collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// Per column that `table` and the model's table have: its index in the one, and in the other. With `all`, the model's has to
/// have every one; `argument` of `function` is what the table was given as.
///
/// # Errors
/// No column in common; one of a type that cannot be cast; one that the model does not have.
pub(super) fn shared(
    (function, argument): (&str, &str),
    table: &Schema,
    wanted: &SchemaRef,
    (model, all): (&str, bool),
) -> Result<Vec<(usize, usize)>> {
    let mut shared = Vec::new();
    let mut foreign = Vec::new();
    for (at, field) in table.fields().iter().enumerate() {
        let Some((column, wanted)) = wanted.column_with_name(field.name()) else {
            foreign.push(field.name().as_str());
            continue;
        };
        if !compute::can_cast_types(field.data_type(), wanted.data_type()) {
            return Err(SynthError::Column {
                column: field.name().clone(),
                reason: format!("{function}: it is {}, the model's is {}", field.data_type(), wanted.data_type()),
                way_out: "cast it in a view, or leave it out".to_owned(),
            });
        }
        shared.push((at, column));
    }
    if shared.is_empty() || (!foreign.is_empty() && all) {
        let names = visible(wanted).fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>().join(", ");
        return Err(SynthError::Argument {
            function: function.to_owned(),
            argument: argument.to_owned(),
            given: match foreign.as_slice() {
                [] => "a table without columns".to_owned(),
                foreign => format!("a table with columns that `{model}` does not have: {}", foreign.join(", ")),
            },
            expected: format!("columns of the model: {names}"),
        });
    }
    Ok(shared)
}

/// Refuses a table, which `argument` of `function` gave, that has a part of a foreign key of the model's without the rest.
pub(super) fn whole_keys((function, argument): (&str, &str), schema: &SchemaRef, manifest: &Manifest) -> Result<()> {
    let has = |name: &String| schema.field_with_name(name).is_ok();
    let keys: Vec<&Vec<String>> =
        manifest.relations.iter().flat_map(|relations| &relations.references).map(|key| &key.columns).collect();
    for field in schema.fields() {
        let mut of = keys.iter().filter(|key| key.contains(field.name())).peekable();
        if let Some(key) = of.peek().map(|key| key.join(", "))
            && !of.any(|key| key.iter().all(has))
        {
            let what = format!("`{}`, a part of the foreign key ({key}), without the rest", field.name());
            return Err(SynthError::Argument {
                function: function.to_owned(),
                argument: argument.to_owned(),
                given: what,
                expected: "all of its columns, or none".to_owned(),
            });
        }
    }
    Ok(())
}

/// The columns of `rows` that `wanted`, a model's table, has, of its types.
pub(super) fn as_learned(function: &str, rows: &RecordBatch, wanted: &Schema) -> Result<RecordBatch> {
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, values) in rows.schema_ref().fields().iter().zip(rows.columns()) {
        if let Some((_, wanted)) = wanted.column_with_name(field.name()) {
            columns.push(cast_exact(function, values, wanted.data_type(), field.name())?);
            fields.push(wanted.clone().with_nullable(true));
        }
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
}

/// An exact cast for `function`; what does not fit is an error that names the column.
pub(super) fn cast_exact(function: &str, array: &ArrayRef, wanted: &DataType, name: &str) -> Result<ArrayRef> {
    if array.data_type() == &DataType::Null {
        return Ok(new_null_array(wanted, array.len()));
    }
    let exact = CastOptions { safe: false, ..CastOptions::default() };
    compute::cast_with_options(array, wanted, &exact).map_err(|error| SynthError::Column {
        column: name.to_owned(),
        reason: format!("{function}: {} does not fit {wanted}: {error}", array.data_type()),
        way_out: "cast it in a view, or leave it out".to_owned(),
    })
}
