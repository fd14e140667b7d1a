//! What the tests of plans share: a small table, a session, a model of it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)]

use arrow::{
    compute::concat_batches,
    record_batch::RecordBatch,
    row::{RowConverter, SortField},
};
use datafusion::{
    error::{DataFusionError, Result},
    prelude::{SessionConfig, SessionContext},
};
use sha2::{Digest, Sha256};
use std::path::Path;

/// A table with a column of each kind: categories, numbers, dates, nulls.
pub const PEOPLE: &str = "CREATE TABLE people AS SELECT
    CASE v % 5 WHEN 0 THEN 'north' WHEN 1 THEN 'south' ELSE 'east' END AS region,
    CAST(18 + (v * 37) % 60 AS INT) AS age,
    CASE WHEN v % 7 = 0 THEN NULL ELSE 10.5 * ((v * 13) % 400) END AS income,
    v % 3 = 0 AS member,
    DATE '2020-01-01' + CAST((v * 11) % 900 AS INT) AS since
  FROM generate_series(1, 800) AS series(v)";

/// A session whose models live in `store`, with the table [`PEOPLE`].
pub async fn session(store: &Path, config: SessionConfig) -> Result<SessionContext> {
    let context = SessionContext::new_with_config(config.with_information_schema(true));
    synthohive::functions::register_all(&context)?;
    run(&context, &format!("SET synth.store = '{}'", store.display())).await?;
    run(&context, PEOPLE).await?;
    Ok(context)
}

/// A session of one partition with a model of [`PEOPLE`].
pub async fn trained(store: &Path) -> Result<SessionContext> {
    trained_as(store, "argn").await
}

/// As [`trained`], with a model of this kind.
pub async fn trained_as(store: &Path, kind: &str) -> Result<SessionContext> {
    let context = session(store, SessionConfig::new().with_target_partitions(1)).await?;
    let options = format!("model => '{kind}', epochs => 1, batch_size => 200, threads => 1");
    run(&context, &format!("SELECT * FROM synth_train('people', {options})")).await?;
    Ok(context)
}

/// Runs a statement.
pub async fn run(context: &SessionContext, sql: &str) -> Result<Vec<RecordBatch>> {
    context.sql(sql).await?.collect().await
}

/// The error of a statement that must fail, on one line.
pub async fn fault(context: &SessionContext, sql: &str) -> String {
    match run(context, sql).await {
        Err(error) => error.strip_backtrace(),
        Ok(batches) => panic!("{sql} gave {} rows", batches.iter().map(RecordBatch::num_rows).sum::<usize>()),
    }
}

/// The rows as one batch.
pub fn whole(batches: &[RecordBatch]) -> RecordBatch {
    concat_batches(&batches[0].schema(), batches).unwrap()
}

/// SHA-256 over the rows in their order, however they are batched.
pub fn checksum(batches: &[RecordBatch]) -> String {
    let batch = whole(batches);
    let fields = batch.schema().fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
    let rows = RowConverter::new(fields).unwrap().convert_columns(batch.columns()).unwrap();
    let mut hash = Sha256::new();
    for row in &rows {
        hash.update((row.as_ref().len() as u64).to_le_bytes());
        hash.update(row);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The text of a plan.
pub async fn explain(context: &SessionContext, sql: &str) -> Result<String> {
    let batches = run(context, &format!("EXPLAIN FORMAT INDENT {sql}")).await?;
    let physical = arrow::util::pretty::pretty_format_batches(&batches).map_err(DataFusionError::from)?.to_string();
    Ok(physical)
}
