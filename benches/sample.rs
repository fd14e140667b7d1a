//! Sampling through SQL: everything from noise to Arrow batches, nothing written.
//!
//! ```text
//! cargo bench --bench sample
//! ```
#![allow(clippy::unwrap_used, missing_docs)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt;
use std::path::Path;
use synthohive::functions::register_all;
use tokio::runtime::Runtime;

const ROWS: usize = 40 * 4096;

/// Fifteen columns: nine categories, six numbers, as in the census table that models of this kind are compared on.
fn table() -> String {
    let categories = (0..9).map(|c| format!("'value ' || (v * {} % 97) % {} AS category_{c}", 31 + c, 2 + 3 * c));
    let numbers = (0..6).map(|n| format!("round(100 * sin(v * {n}.37) + v % {}, 2) AS number_{n}", 50 + n));
    let columns: Vec<String> = categories.chain(numbers).collect();
    format!("CREATE TABLE census AS SELECT {} FROM generate_series(1, 20000) AS s(v)", columns.join(", "))
}

async fn session(store: &Path, partitions: usize) -> SessionContext {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(partitions));
    register_all(&context).unwrap();
    run(&context, &format!("SET synth.store = '{}'", store.display())).await;
    context
}

/// Reads a query to its end; the number of rows.
async fn run(context: &SessionContext, sql: &str) -> usize {
    let mut rows = 0;
    let mut stream = context.sql(sql).await.unwrap().execute_stream().await.unwrap();
    while let Some(batch) = stream.next().await {
        rows += batch.unwrap().num_rows();
    }
    rows
}

fn sample(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let store = tempfile::tempdir().unwrap();
    runtime.block_on(async {
        let context = session(store.path(), 2).await;
        run(&context, &table()).await;
        run(&context, "SELECT * FROM synth_train('census', epochs => 1)").await;
    });
    let mut group = criterion.benchmark_group("synth_sample");
    group.throughput(Throughput::Elements(ROWS as u64)).sample_size(10);
    for (name, columns) in [("all columns", "*"), ("one column", "category_3"), ("row numbers", "row_id")] {
        for partitions in [1, 2] {
            let context = runtime.block_on(session(store.path(), partitions));
            let sql = format!("SELECT {columns} FROM synth_sample('census', {ROWS}, row_id => true)");
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
