//! What the benchmarks share: tables, a session, the kinds of models.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt;
use std::path::Path;
use synthohive::functions::register_all;

/// The kinds of models.
pub const KINDS: [&str; 3] = ["argn", "ctgan", "tvae"];

/// A table and its children: some seven purchases a buyer.
pub const FAMILY: [&str; 2] = [
    "CREATE TABLE buyers (id BIGINT NOT NULL, grade VARCHAR, town VARCHAR, PRIMARY KEY (id)) AS
     SELECT v AS id, 'grade ' || v % 3 AS grade, 'town ' || (v * 7) % 23 AS town FROM generate_series(1, 3000) AS s(v)",
    "CREATE TABLE purchases (id BIGINT NOT NULL, buyer BIGINT REFERENCES buyers, day DATE, amount DOUBLE, shop VARCHAR, PRIMARY KEY (id)) AS
     SELECT v AS id, 1 + (v * v) % 2999 AS buyer, DATE '2024-01-01' + CAST(v % 700 AS INT) AS day, round(abs(sin(v)) * 300, 2) AS amount,
            'shop ' || (v * 13) % 11 AS shop FROM generate_series(1, 20000) AS s(v)",
];

/// Fifteen columns: nine categories, six numbers, as in the census table that models of this kind are compared on.
pub fn census(rows: usize) -> String {
    let categories = (0..9).map(|c| format!("'value ' || (v * {} % 97) % {} AS category_{c}", 31 + c, 2 + 3 * c));
    let numbers = (0..6).map(|n| format!("round(100 * sin(v * {n}.37) + v % {}, 2) AS number_{n}", 50 + n));
    let columns: Vec<String> = categories.chain(numbers).collect();
    format!("CREATE TABLE census AS SELECT {} FROM generate_series(1, {rows}) AS s(v)", columns.join(", "))
}

/// A session whose models live in `store`.
pub async fn session(store: &Path, partitions: usize) -> SessionContext {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(partitions));
    register_all(&context).unwrap();
    run(&context, &format!("SET synth.store = '{}'", store.display())).await;
    context
}

/// Reads a query to its end; the number of rows.
pub async fn run(context: &SessionContext, sql: &str) -> usize {
    let mut rows = 0;
    let mut stream = context.sql(sql).await.unwrap().execute_stream().await.unwrap();
    while let Some(batch) = stream.next().await {
        rows += batch.unwrap().num_rows();
    }
    rows
}
