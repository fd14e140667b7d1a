//! The aggregates against values worked out by hand, over types, nulls, partitions and groups.
#![allow(clippy::unwrap_used)]

use arrow::{array::AsArray, datatypes::Float64Type, util::pretty::pretty_format_batches};
use datafusion::prelude::{SessionConfig, SessionContext};
use rstest::rstest;

fn context(partitions: usize, batch_size: usize) -> SessionContext {
    let config = SessionConfig::new().with_target_partitions(partitions).with_batch_size(batch_size);
    let mut context = SessionContext::new_with_config(config);
    synthohive_udfs::register_all(&mut context).unwrap();
    context
}

async fn number(context: &SessionContext, sql: &str) -> Option<f64> {
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
    let column = batches[0].column(0).as_primitive::<Float64Type>();
    column.iter().next().unwrap()
}

async fn one(sql: &str) -> Option<f64> {
    number(&context(2, 8192), sql).await
}

async fn error(sql: &str) -> String {
    let context = context(2, 8192);
    match context.sql(sql).await {
        Err(error) => error.to_string(),
        Ok(frame) => frame.collect().await.unwrap_err().to_string(),
    }
}

/// Real 1, 2, 3, 4; synthetic 3, 4, 5, 6: the distribution functions differ by a half at most, and every value moves by 2.
#[rstest]
fn ordered_values(
    #[values(
        "TINYINT",
        "SMALLINT",
        "INT",
        "BIGINT",
        "TINYINT UNSIGNED",
        "SMALLINT UNSIGNED",
        "INT UNSIGNED",
        "BIGINT UNSIGNED",
        "REAL",
        "DOUBLE",
        "DECIMAL(5, 2)",
        "DECIMAL(18, 4)",
        "DECIMAL(38, 10)",
        "DECIMAL(60, 10)"
    )]
    sql_type: &str,
) {
    let rows = "FROM (VALUES (1, true), (2, true), (3, true), (4, true), (3, false), (4, false), (5, false), (6, false)) AS t (v, real)";
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        assert_eq!(one(&format!("SELECT ks_distance(CAST(v AS {sql_type}), real) {rows}")).await, Some(0.5));
        assert_eq!(one(&format!("SELECT wasserstein(CAST(v AS {sql_type}), real) {rows}")).await, Some(2.0));
    });
}

/// The same with times: the distance is in days for dates, in seconds for everything finer.
#[rstest]
#[case("Date32", 2.0)]
#[case("Date64", 2.0 * 86_400.0)]
#[case("Timestamp(Second, None)", 2.0 * 86_400.0)]
#[case("Timestamp(Millisecond, None)", 2.0 * 86_400.0)]
#[case("Timestamp(Microsecond, Some(\"Europe/Berlin\"))", 2.0 * 86_400.0)]
#[case("Timestamp(Nanosecond, None)", 2.0 * 86_400.0)]
#[tokio::test]
async fn moments(#[case] arrow_type: &str, #[case] distance: f64) {
    let rows = "FROM (VALUES ('2024-01-01', true), ('2024-01-02', true), ('2024-01-03', true), ('2024-01-04', true),
        ('2024-01-03', false), ('2024-01-04', false), ('2024-01-05', false), ('2024-01-06', false)) AS t (v, real)";
    let value = format!("arrow_cast(CAST(v AS DATE), '{}')", arrow_type.replace('\'', "''"));
    assert_eq!(one(&format!("SELECT ks_distance({value}, real) {rows}")).await, Some(0.5));
    let measured = one(&format!("SELECT wasserstein({value}, real) {rows}")).await.unwrap();
    assert!((measured - distance).abs() < 1e-6, "{measured}");
}

#[tokio::test]
async fn neighbouring_nanoseconds_stay_apart() {
    let rows = "FROM (VALUES (1700000000000000001, true), (1700000000000000002, false)) AS t (v, real)";
    assert_eq!(
        one(&format!("SELECT ks_distance(arrow_cast(v, 'Timestamp(Nanosecond, None)'), real) {rows}")).await,
        Some(1.0)
    );
}

#[rstest]
// Unequal sizes: F steps 1/3, 2/3, 1 at 1, 2, 3; G jumps to 1 at 2.
#[case("ks_distance", "(1.0, true), (2.0, true), (3.0, true), (2.0, false)", Some(1.0 / 3.0))]
#[case("wasserstein", "(1.0, true), (2.0, true), (3.0, true), (2.0, false)", Some(2.0 / 3.0))]
#[case("ks_distance", "(1.0, true), (1.0, true), (1.0, false)", Some(0.0))]
#[case("ks_distance", "(1.0, true), (2.0, false)", Some(1.0))]
#[case("ks_distance", "('NaN', true), ('NaN', false)", Some(0.0))]
#[case("ks_distance", "('NaN', true), ('inf', false)", Some(1.0))]
#[case("ks_distance", "(0.0, true), ('-0', false)", Some(0.0))]
#[case("wasserstein", "(-1.0, true), (1.0, false)", Some(2.0))]
#[case("ks_distance", "(1.0, true), (NULL, true), (1.0, false), (NULL, false), (7.0, NULL)", Some(0.0))]
#[case("ks_distance", "(1.0, true), (2.0, true)", None)]
#[case("wasserstein", "(1.0, true), (NULL, false)", None)]
#[tokio::test]
async fn samples(#[case] function: &str, #[case] values: &str, #[case] expected: Option<f64>) {
    let sql = format!(
        "SELECT {function}(CAST(v AS DOUBLE), real) FROM (SELECT CAST(column1 AS VARCHAR) AS v, column2 AS real FROM (VALUES {values}))"
    );
    let measured = one(&sql).await;
    match (measured, expected) {
        (Some(measured), Some(expected)) => assert!((measured - expected).abs() < 1e-12, "{measured}"),
        (measured, expected) => assert_eq!(measured, expected),
    }
}

#[rstest]
#[case("v")]
#[case("arrow_cast(v, 'LargeUtf8')")]
#[case("arrow_cast(v, 'Utf8View')")]
#[case("arrow_cast(v, 'Dictionary(Int32, Utf8)')")]
#[case("ascii(v)")]
#[case("v = 'a'")]
#[case("make_array(v)")]
#[case("named_struct('v', v)")]
#[case("CAST('2024-01-01' AS DATE) + CAST(ascii(v) AS INT)")]
#[tokio::test]
async fn categories_of_any_type(#[case] value: &str) {
    // a: 3/4 against 1/4, b: 1/4 against 3/4.
    let rows = "FROM (VALUES ('a', true), ('a', true), ('a', true), ('b', true), ('a', false), ('b', false), ('b', false), ('b', false)) AS t (v, real)";
    assert_eq!(one(&format!("SELECT tvd({value}, real) {rows}")).await, Some(0.5));
}

#[rstest]
#[case("('a', true), ('b', true), ('a', false), ('a', false), ('a', false), ('b', false)", Some(0.25))]
#[case("('a', true), ('b', false)", Some(1.0))]
#[case("(NULL, true), ('a', true), ('a', false), ('a', false)", Some(0.5))]
#[case("(NULL, true), (NULL, false)", Some(0.0))]
#[case("('', true), (NULL, false)", Some(1.0))]
#[case("('a', true), ('a', false), ('b', NULL)", Some(0.0))]
#[case("('a', true)", None)]
#[tokio::test]
async fn total_variation(#[case] values: &str, #[case] expected: Option<f64>) {
    assert_eq!(one(&format!("SELECT tvd(v, real) FROM (VALUES {values}) AS t (v, real)")).await, expected);
}

#[rstest]
#[case("('a', 1), ('a', 1), ('b', 2), ('b', 2)", Some(1.0))]
#[case("('a', 1), ('a', 2), ('b', 1), ('b', 2)", Some(0.0))]
// Observed 2 1 / 1 2, expected 1.5 everywhere: chi² = 4 · 0.25 / 1.5 = 2/3, V = sqrt(2/3 / 6) = 1/3.
#[case("('a', 1), ('a', 1), ('a', 2), ('b', 1), ('b', 2), ('b', 2)", Some(1.0 / 3.0))]
#[case("('a', 1), ('b', 2), ('a', NULL), (NULL, 2)", Some(1.0))]
// Values that run into each other when written one after the other.
#[case("('a', 11), ('a1', 1)", Some(1.0))]
#[case("('a', 1), ('a', 2)", None)]
#[tokio::test]
async fn association(#[case] values: &str, #[case] expected: Option<f64>) {
    let measured = one(&format!("SELECT cramers_v(a, b) FROM (VALUES {values}) AS t (a, b)")).await;
    match (measured, expected) {
        (Some(measured), Some(expected)) => assert!((measured - expected).abs() < 1e-12, "{measured}"),
        (measured, expected) => assert_eq!(measured, expected),
    }
}

/// States merge: the result is the same, to the bit, for any number of partitions and any size of batch.
#[rstest]
#[tokio::test]
async fn any_order_of_merging(#[values(1, 2, 7)] partitions: usize, #[values(3, 100, 8192)] batch_size: usize) {
    let rows = "SELECT value % 97 AS v, (value * value) % 11 < 4 AS real FROM generate_series(1, 5000)";
    for function in ["ks_distance", "wasserstein", "tvd", "cramers_v"] {
        let sql = format!("SELECT {function}(v, real) FROM ({rows})");
        let expected = number(&context(1, 8192), &sql).await;
        let context = context(partitions, batch_size);
        context.sql(&format!("CREATE TABLE t AS {rows}")).await.unwrap();
        assert_eq!(number(&context, &sql).await, expected, "{function}");
        // Round-robin partitions, so that several states meet in every group.
        let grouped = format!("SELECT {function}(v, real) AS d FROM t GROUP BY v % 1");
        assert_eq!(number(&context, &grouped).await, expected, "{function} grouped");
    }
}

#[tokio::test]
async fn groups_and_filters() {
    let sql = "SELECT g, ks_distance(v, real) AS ks, tvd(v, real) FILTER (WHERE v < 3) AS low
        FROM (VALUES ('x', 1, true), ('x', 2, false), ('y', 1, true), ('y', 1, false), ('y', 9, false)) AS t (g, v, real)
        GROUP BY g ORDER BY g";
    let batches = context(3, 8192).sql(sql).await.unwrap().collect().await.unwrap();
    let expected = "\
+---+-----+-----+
| g | ks  | low |
+---+-----+-----+
| x | 1.0 | 1.0 |
| y | 0.5 | 0.0 |
+---+-----+-----+";
    assert_eq!(pretty_format_batches(&batches).unwrap().to_string(), expected);
}

#[rstest]
#[case("SELECT ks_distance('a', true)", "ks_distance: argument `value`: got Utf8, expected a number, a date")]
#[case("SELECT wasserstein(true, true)", "wasserstein: argument `value`: got Boolean")]
#[case("SELECT ks_distance(1, 2)", "ks_distance: argument `is_real`: got Int64, expected a boolean")]
#[case("SELECT tvd(1, 'yes')", "tvd: argument `is_real`: got Utf8, expected a boolean")]
#[case("SELECT tvd(1)", "tvd: got 1 arguments, expected two: tvd(value, is_real)")]
#[case("SELECT cramers_v(1, 2, 3)", "cramers_v: got 3 arguments, expected two: cramers_v(a, b)")]
#[case("SELECT tvd(DISTINCT 1, true)", "tvd: DISTINCT would change the distributions")]
#[tokio::test]
async fn bad_input(#[case] sql: &str, #[case] expected: &str) {
    let message = error(sql).await;
    assert!(message.contains(expected), "{message}");
}

/// The example of every function's documentation does what it says.
#[tokio::test]
async fn documented_examples() {
    let context = context(2, 8192);
    for function in synthohive_udfs::aggregates() {
        let documentation = function.documentation().unwrap();
        let example = documentation.sql_example.as_deref().unwrap();
        let body = example.trim().strip_prefix("```sql\n> ").unwrap().strip_suffix("\n```").unwrap();
        let (sql, output) = body.split_once(";\n").unwrap();
        let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
        assert_eq!(pretty_format_batches(&batches).unwrap().to_string(), output, "{}", function.name());
    }
}
