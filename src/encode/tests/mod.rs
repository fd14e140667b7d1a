//! Properties of whole tables: profile, encode, decode.
#![allow(clippy::unwrap_used, clippy::panic, clippy::cast_possible_truncation)]

mod bins;
mod degenerate;
mod equal;
mod errors;
mod functions;
mod generated;
mod numbers;
mod one_hot;
mod parts;
mod profiles;
mod real;
mod since;
mod types;

use super::*;
use crate::{SynthError, noise::Noise, schema::ColumnRole};
use arrow::{
    array::*,
    datatypes::{DataType, Field, Schema},
    record_batch::RecordBatch,
};
use std::{collections::BTreeMap, sync::Arc};

/// A table of nullable columns.
fn table(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap()
}

fn fit_with(batch: &RecordBatch, roles: &[(&str, ColumnRole)]) -> crate::Result<TableEncoder> {
    let roles = roles.iter().map(|(name, role)| ((*name).to_owned(), *role)).collect();
    let mut profile = TableProfile::new(batch.schema(), &roles)?;
    profile.update(batch)?;
    profile.finish(Scheme::ModeSpecific, 2)
}

fn fit(batch: &RecordBatch) -> TableEncoder {
    fit_with(batch, &[]).unwrap()
}

/// Fitted in parts, of which some are empty, as partitions are.
fn fit_parts(batch: &RecordBatch, cuts: &[usize], scheme: Scheme) -> TableEncoder {
    let ends = cuts.iter().copied().chain([batch.num_rows()]);
    let mut whole = TableProfile::new(batch.schema(), &BTreeMap::new()).unwrap();
    let mut start = 0;
    for end in ends {
        let mut part = TableProfile::new(batch.schema(), &BTreeMap::new()).unwrap();
        part.update(&batch.slice(start, (end - start) / 2)).unwrap();
        part.update(&batch.slice(start + (end - start) / 2, end - start - (end - start) / 2)).unwrap();
        whole.merge(part).unwrap();
        start = end;
    }
    whole.finish(scheme, 2).unwrap()
}

fn encode(encoder: &TableEncoder, batch: &RecordBatch) -> EncodedRows {
    let mut out = EncodedRows::with_capacity(encoder.layout(), batch.num_rows());
    encoder.encode(batch, &mut out).unwrap();
    for (data, kind) in out.subcolumns.iter().zip(&encoder.layout().subcolumns) {
        assert_eq!(data.len(), batch.num_rows());
        match kind {
            SubColumn::Code { cardinality, .. } => assert!((0..data.len()).all(|row| data.code(row) < *cardinality)),
            SubColumn::Scalar => {
                let SubColumnData::Scalar(values) = data else { panic!("a scalar sub-column") };
                assert!(values.iter().all(|v| v.abs() <= 1.0));
            }
        }
    }
    out
}

fn decode(encoder: &TableEncoder, rows: &EncodedRows) -> RecordBatch {
    let all: Vec<usize> = (0..encoder.schema().fields().len()).collect();
    encoder.decode(0, rows, 0..rows.rows, &all, &Noise::new(1, b"test")).unwrap()
}

/// Encoded and decoded, by the encoder and by its stored copy, which must agree.
fn round_trip(encoder: &TableEncoder, batch: &RecordBatch) -> RecordBatch {
    let decoded = decode(encoder, &encode(encoder, batch));
    assert_eq!(decoded.schema(), batch.schema());
    let json = serde_json::to_string(encoder).unwrap();
    let loaded: TableEncoder = serde_json::from_str(&json).unwrap();
    let again = decode(&loaded, &encode(&loaded, batch));
    // As text: NaN equals NaN there.
    assert_eq!(format!("{:?}", again.columns()), format!("{:?}", decoded.columns()));
    assert_eq!(loaded.schema(), encoder.schema());
    assert_eq!(serde_json::to_string(&loaded).unwrap(), json);
    decoded
}

/// A column fitted and decoded from its own codes.
fn column(array: ArrayRef) -> (TableEncoder, ArrayRef) {
    let batch = table(vec![("x", array)]);
    let encoder = fit(&batch);
    let back = round_trip(&encoder, &batch).column(0).clone();
    (encoder, back)
}

/// Generates `rows` rows of an encoder whose columns need no codes.
fn generate(encoder: &TableEncoder, seed: u64, block: u64, rows: std::ops::Range<usize>) -> ArrayRef {
    let encoded = EncodedRows {
        subcolumns: encoder.layout().subcolumns.iter().map(|_| SubColumnData::Code8(vec![1; rows.end])).collect(),
        rows: rows.end,
    };
    encoder.decode(block, &encoded, rows, &[0], &Noise::new(seed, b"test")).unwrap().column(0).clone()
}

/// Strings of a column.
fn strings(array: &ArrayRef) -> Vec<Option<String>> {
    let array = arrow::compute::cast(array, &DataType::Utf8).unwrap();
    array.as_string::<i32>().iter().map(|v| v.map(str::to_owned)).collect()
}
