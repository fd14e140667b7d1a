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

/// With `SYNTHOHIVE_DATA` naming a folder of Parquet files (in sub-folders), every table there must
/// survive the encoding: same schema, same nulls, marginal distributions within a few percent.
#[test]
fn real_tables_survive() {
    let Ok(root) = std::env::var("SYNTHOHIVE_DATA") else {
        eprintln!("skipped: SYNTHOHIVE_DATA names no folder of tables");
        return;
    };
    let mut files: Vec<_> = std::fs::read_dir(root)
        .unwrap()
        .flat_map(|set| std::fs::read_dir(set.unwrap().path()).into_iter().flatten())
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "parquet"))
        .collect();
    files.sort();
    for file in files {
        let reader =
            parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(&file).unwrap())
                .unwrap();
        let schema = reader.schema().clone();
        let batches: Vec<RecordBatch> = reader.with_batch_size(4096).build().unwrap().map(Result::unwrap).collect();
        let started = std::time::Instant::now();
        let mut profile = TableProfile::new(schema.clone(), &BTreeMap::new()).unwrap();
        batches.iter().for_each(|b| profile.update(b).unwrap());
        let scanned = started.elapsed();
        let encoder = profile.finish(Scheme::ModeSpecific, 2).unwrap();
        let fitted = started.elapsed() - scanned;
        println!("{} scan {scanned:?} fit {fitted:?}", file.display());
        let all: Vec<usize> = (0..schema.fields().len()).collect();
        let noise = Noise::new(1, b"test");
        let mut decoded = Vec::new();
        for (block, batch) in (0u64..).zip(&batches) {
            let mut out = EncodedRows::with_capacity(encoder.layout(), batch.num_rows());
            encoder.encode(batch, &mut out).unwrap();
            decoded.push(encoder.decode(block, &out, 0..batch.num_rows(), &all, &noise).unwrap());
        }
        let before = arrow::compute::concat_batches(&schema, &batches).unwrap();
        let after = arrow::compute::concat_batches(&schema, &decoded).unwrap();
        for (at, role) in encoder.roles().into_iter().enumerate() {
            let (a, b) = (before.column(at), after.column(at));
            assert_eq!(a.logical_nulls(), b.logical_nulls());
            let show = |array: &ArrayRef, row| arrow::util::display::array_value_to_string(array, row).unwrap();
            let samples: Vec<_> = (0..before.num_rows().min(3)).map(|row| show(b, row)).collect();
            let layout = &encoder.layout().columns[at];
            println!(
                "  {:24} {:12} {:?} {:?}",
                schema.field(at).name(),
                role.as_str(),
                &encoder.layout().subcolumns[layout.subcolumns.clone()],
                samples
            );
            if role == crate::schema::ColumnRole::Numeric || role == crate::schema::ColumnRole::Datetime {
                let floats = |array: &ArrayRef| {
                    let array = arrow::compute::cast(array, &DataType::Float64)
                        .or_else(|_| {
                            arrow::compute::cast(
                                &arrow::compute::cast(array, &DataType::Int64).unwrap(),
                                &DataType::Float64,
                            )
                        })
                        .unwrap();
                    let mut values: Vec<f64> =
                        array.as_primitive::<arrow::datatypes::Float64Type>().iter().flatten().collect();
                    values.sort_by(f64::total_cmp);
                    values
                };
                let (a, b) = (floats(a), floats(b));
                let below = |v: &[f64], x: f64| v.partition_point(|y| *y <= x) as f64 / v.len().max(1) as f64;
                let ks = a.iter().map(|&x| (below(&a, x) - below(&b, x)).abs()).fold(0.0, f64::max);
                if ks > 0.001 {
                    println!("      KS {ks:.4}");
                }
                assert!(ks < 0.03, "{}: KS {ks}", schema.field(at).name());
            }
        }
    }
}
