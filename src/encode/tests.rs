//! Properties of whole tables: profile, encode, decode.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::noise::Noise;
use arrow::{
    array::*,
    datatypes::{DataType, Field, Schema, TimeUnit},
    record_batch::RecordBatch,
};
use std::{collections::BTreeMap, sync::Arc};

pub(crate) fn table(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap()
}

pub(crate) fn fit(batch: &RecordBatch) -> TableEncoder {
    let mut profile = TableProfile::new(batch.schema(), &BTreeMap::new()).unwrap();
    profile.update(batch).unwrap();
    profile.finish(Scheme::ModeSpecific, 2).unwrap()
}

pub(crate) fn round_trip(encoder: &TableEncoder, batch: &RecordBatch) -> RecordBatch {
    let mut out = EncodedRows::with_capacity(encoder.layout(), batch.num_rows());
    encoder.encode(batch, &mut out).unwrap();
    let all: Vec<usize> = (0..batch.num_columns()).collect();
    encoder.decode(0, &out, 0..batch.num_rows(), &all, &Noise::new(1, b"test")).unwrap()
}

#[test]
fn a_mixed_table_survives() {
    let n = 2000;
    let batch = table(vec![
        ("id", Arc::new(Int64Array::from_iter_values(0..n)) as ArrayRef),
        ("age", Arc::new(Int32Array::from_iter((0..n).map(|i| (i % 7 != 0).then_some((i % 50) as i32))))),
        ("amount", Arc::new(Float64Array::from_iter_values((0..n).map(|i| (i * i % 9973) as f64 / 100.0)))),
        (
            "city",
            Arc::new(StringViewArray::from_iter_values((0..n).map(|i| ["Oslo", "Rome", "🦀", ""][i as usize % 4]))),
        ),
        ("flag", Arc::new(BooleanArray::from_iter((0..n).map(|i| Some(i % 3 == 0))))),
        ("day", Arc::new(Date32Array::from_iter_values((0..n).map(|i| -40_000 + (i * 37 % 9000) as i32)))),
        (
            "at",
            Arc::new(
                TimestampMillisecondArray::from_iter_values((0..n).map(|i| i * i * 1000 - 5_000_000))
                    .with_timezone("Europe/Oslo"),
            ),
        ),
    ]);
    let encoder = fit(&batch);
    let back = round_trip(&encoder, &batch);
    assert_eq!(back.schema(), batch.schema());
    for exact in ["id", "age", "city", "flag"] {
        assert_eq!(back.column_by_name(exact), batch.column_by_name(exact), "{exact}");
    }
    let json = serde_json::to_string(&encoder).unwrap();
    let loaded: TableEncoder = serde_json::from_str(&json).unwrap();
    assert_eq!(round_trip(&loaded, &batch), back);
    assert_eq!(serde_json::to_string(&loaded).unwrap(), json);
    let _ = (DataType::Null, Field::new("", DataType::Null, true), Schema::empty(), TimeUnit::Second);
}
