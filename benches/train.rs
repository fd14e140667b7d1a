//! Training through SQL: profile, encode, two epochs, store.
//!
//! ```text
//! cargo bench --bench train
//! ```
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use support::{KINDS, census, run, session};
use tokio::runtime::Runtime;

const ROWS: usize = 20_000;
const EPOCHS: usize = 2;

fn train(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let store = tempfile::tempdir().unwrap();
    let context = runtime.block_on(session(store.path(), 2));
    runtime.block_on(run(&context, &census(ROWS)));
    let mut group = criterion.benchmark_group("synth_train");
    group.throughput(Throughput::Elements((ROWS * EPOCHS) as u64)).sample_size(10);
    for kind in KINDS {
        for threads in [1, 2] {
            let sql = format!(
                "SELECT * FROM synth_train('census', model => '{kind}', epochs => {EPOCHS}, threads => {threads})"
            );
            group.bench_function(BenchmarkId::new(kind, format!("{threads} threads")), |bencher| {
                bencher.iter(|| runtime.block_on(run(&context, &sql)));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, train);
criterion_main!(benches);
