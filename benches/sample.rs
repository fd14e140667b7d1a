//! Sampling through SQL: everything from noise to Arrow batches, nothing written.
//!
//! ```text
//! cargo bench --bench sample
//! ```
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use support::{FAMILY, KINDS, census, run, session};
use tokio::runtime::Runtime;

const ROWS: usize = 40 * 4096;

fn sample(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let store = tempfile::tempdir().unwrap();
    runtime.block_on(async {
        let context = session(store.path(), 2).await;
        run(&context, &census(20_000)).await;
        for kind in KINDS {
            let sql = format!("SELECT * FROM synth_train('census', model => '{kind}', name => '{kind}', epochs => 1)");
            run(&context, &sql).await;
        }
        for table in FAMILY {
            run(&context, table).await;
        }
        run(&context, "SELECT * FROM synth_train('buyers, purchases', model => 'argn', epochs => 1)").await;
    });
    let mut group = criterion.benchmark_group("synth_sample");
    group.throughput(Throughput::Elements(ROWS as u64)).sample_size(10);
    let whole = KINDS.map(|kind| (kind, "*", kind));
    let parts =
        [("one column", "category_3", "argn"), ("row numbers", "row_id", "argn"), ("children", "*", "purchases")];
    for (name, columns, model) in whole.into_iter().chain(parts) {
        for partitions in [1, 2] {
            let context = runtime.block_on(session(store.path(), partitions));
            let sql = format!("SELECT {columns} FROM synth_sample('{model}', {ROWS}, row_id => true)");
            let id = BenchmarkId::new(name, format!("{partitions} partitions"));
            group.bench_function(id, |bencher| {
                bencher.iter(|| assert_eq!(runtime.block_on(run(&context, &sql)), ROWS));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, sample);
criterion_main!(benches);
