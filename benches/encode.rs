//! Profile, encode and decode, in values per second on one core.
#![allow(clippy::unwrap_used, missing_docs, clippy::cast_precision_loss)]

use arrow::{array::*, record_batch::RecordBatch};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::{collections::BTreeMap, hint::black_box, sync::Arc};
use synthohive::{
    encode::{EncodedRows, Scheme, TableEncoder, TableProfile},
    noise::{BLOCK_ROWS, Noise},
};

const ROWS: i64 = 16 * BLOCK_ROWS as i64;

/// Numbers that spread like squares of a uniform variable.
fn spread(i: i64) -> f64 {
    let u = (i.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64.cast_signed()) >> 11) as f64 / (1u64 << 52) as f64;
    (u * u * 1e6).round() / 100.0
}

fn columns() -> Vec<(&'static str, ArrayRef)> {
    let city = |i: i64| ["Oslo", "Reykjavik", "Rome", "Santiago de Compostela", "Ur"][i as usize * 31 % 5];
    vec![
        ("category_view", Arc::new(StringViewArray::from_iter_values((0..ROWS).map(city)))),
        ("category_utf8", Arc::new(StringArray::from_iter_values((0..ROWS).map(city)))),
        ("few_integers", Arc::new(Int64Array::from_iter((0..ROWS).map(|i| (i % 9 != 0).then_some(i * i % 83))))),
        ("float", Arc::new(Float64Array::from_iter_values((0..ROWS).map(spread)))),
        ("integer", Arc::new(Int64Array::from_iter_values((0..ROWS).map(|i| spread(i) as i64)))),
        (
            "timestamp",
            Arc::new(TimestampMicrosecondArray::from_iter_values((0..ROWS).map(|i| i * i % 1_000_003 * 977))),
        ),
        ("integer_id", Arc::new(Int64Array::from_iter_values(0..ROWS))),
        ("code_id", Arc::new(StringViewArray::from_iter_values((0..ROWS).map(|i| format!("C-{i:06}"))))),
        (
            "prose",
            Arc::new(StringViewArray::from_iter_values(
                (0..ROWS).map(|i| format!("{} and {} at {i}", city(i), city(i / 3))),
            )),
        ),
    ]
}

fn fit(batch: &RecordBatch) -> TableEncoder {
    profile(batch).finish(Scheme::ModeSpecific, 1).unwrap()
}

fn profile(batch: &RecordBatch) -> TableProfile {
    let mut profile = TableProfile::new(batch.schema(), &BTreeMap::new()).unwrap();
    for start in (0..batch.num_rows()).step_by(8192) {
        profile.update(&batch.slice(start, 8192.min(batch.num_rows() - start))).unwrap();
    }
    profile
}

fn kernels(criterion: &mut Criterion) {
    for (name, array) in columns() {
        let batch = RecordBatch::try_from_iter([(name, array)]).unwrap();
        let encoder = fit(&batch);
        let block = batch.slice(0, BLOCK_ROWS);
        let mut rows = EncodedRows::with_capacity(encoder.layout(), BLOCK_ROWS);
        let noise = Noise::new(1, b"bench");
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(ROWS as u64));
        group.bench_function("profile", |b| b.iter(|| profile(black_box(&batch))));
        group.throughput(Throughput::Elements(BLOCK_ROWS as u64));
        group.bench_function("encode", |b| {
            b.iter(|| {
                rows.clear();
                encoder.encode(black_box(&block), &mut rows).unwrap();
            });
        });
        group.bench_function("decode", |b| {
            b.iter(|| encoder.decode(3, black_box(&rows), 0..BLOCK_ROWS, &[0], &noise).unwrap());
        });
        group.finish();
    }
}

fn fitting(criterion: &mut Criterion) {
    let batch = RecordBatch::try_from_iter(columns().into_iter().filter(|c| c.0 == "float")).unwrap();
    let profile = profile(&batch);
    criterion.bench_function("fit a mixture", |b| {
        b.iter_batched(
            || profile.clone(),
            |profile| profile.finish(Scheme::ModeSpecific, 1).unwrap(),
            criterion::BatchSize::LargeInput,
        );
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).warm_up_time(std::time::Duration::from_millis(300)).measurement_time(std::time::Duration::from_secs(1));
    targets = kernels, fitting
}
criterion_main!(benches);
