//! Tables that refer to each other: the contract of sampling holds for them, and real databases come out with every key.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use datafusion::{
    arrow::{
        array::{Array, AsArray},
        datatypes::Int64Type,
    },
    error::Result,
    prelude::{SessionConfig, SessionContext},
};
use rstest::rstest;
use serde_json::Value;
use std::path::{Path, PathBuf};
use support::{checksum, run, whole};
use synthohive::session::SynthSession;

/// A context with a store of its own.
fn context(store: &Path, config: SessionConfig) -> SessionContext {
    let session = SynthSession::builder()
        .with_config(config)
        .with_setting("synth.store", store.to_str().unwrap())
        .build()
        .unwrap();
    session.context().clone()
}

async fn number(context: &SessionContext, sql: &str) -> i64 {
    let rows = run(context, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    whole(&rows).column(0).as_primitive::<Int64Type>().value(0)
}

/// 6,000 parents with 0 to 9 children, a tenth of whose 60 goods is missing: children enough for several chunks.
async fn trained(store: &Path, kind: &str) -> Result<()> {
    let context = context(store, SessionConfig::new().with_target_partitions(1));
    run(&context, &format!("SET synth.model = '{kind}'")).await?;
    for sql in [
        "CREATE TABLE parents (id BIGINT NOT NULL, kind INT NOT NULL, PRIMARY KEY (id)) AS
         SELECT value AS id, CAST(value % 4 AS INT) AS kind FROM generate_series(1, 6000)",
        "CREATE TABLE goods (id BIGINT NOT NULL, class INT NOT NULL, PRIMARY KEY (id)) AS
         SELECT value AS id, CAST(value % 3 AS INT) AS class FROM generate_series(1, 60)",
        "CREATE TABLE children (parent BIGINT NOT NULL, good BIGINT, number INT NOT NULL, size INT NOT NULL,
                                PRIMARY KEY (parent, number)) AS
         SELECT p AS parent, CASE WHEN (p + n) % 10 > 0 THEN (p * 7 + n * 11) % 60 + 1 END AS good, CAST(n AS INT) AS number,
                CAST(p % 4 * 10 + n AS INT) AS size
         FROM (SELECT p, unnest(generate_series(1, p * 7 % 10)) AS n FROM generate_series(1, 6000) AS series(p))",
        "INSERT INTO synth.foreign_keys (table_name, columns, parent_table) VALUES ('children', 'parent', 'parents'), ('children', 'good', 'goods')",
        "SELECT * FROM synth_train('*', epochs => 1, seed => 1)",
    ] {
        run(&context, sql).await?;
    }
    Ok(())
}

#[rstest]
#[case("argn")]
#[case("ctgan")]
#[case("tvae")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn children_are_the_same_however_they_are_asked_for(#[case] kind: &str) -> Result<()> {
    let store = tempfile::tempdir()?;
    trained(store.path(), kind).await?;
    let plain = context(store.path(), SessionConfig::new().with_target_partitions(1));
    let sample = |rows: u64, start: u64, more: &str| {
        format!(
            "SELECT * FROM synth_sample('children', {rows}, start => {start}, seed => 5, row_id => true{more}) ORDER BY row_id"
        )
    };
    // A segment has 27,000 rows.
    let all = whole(&run(&plain, &sample(60_000, 0, "")).await?);
    assert_eq!(all.num_rows(), 60_000);
    let expected = checksum(std::slice::from_ref(&all));
    for (partitions, batch, threads) in [(2, 1000, 1), (3, 8192, 2), (8, 1000, 2), (1, 8192, 1)] {
        let config = SessionConfig::new().with_target_partitions(partitions).with_batch_size(batch);
        let other = context(store.path(), config);
        let rows = run(&other, &sample(60_000, 0, &format!(", threads => {threads}"))).await?;
        assert_eq!(checksum(&rows), expected, "{partitions} partitions, batches of {batch}, {threads} threads");
    }
    for (start, rows) in [(0, 1), (16_000, 3000), (26_999, 2), (27_000, 27_000), (59_999, 1)] {
        let part = whole(&run(&plain, &sample(rows, start, "")).await?);
        assert_eq!(part, all.slice(start as usize, rows as usize), "{rows} rows from {start}");
    }
    // Fewer columns; the same columns.
    let few = run(
        &plain,
        "SELECT row_id, size FROM synth_sample('children', 60000, seed => 5, row_id => true) ORDER BY row_id",
    );
    assert_eq!(whole(&few.await?), all.project(&[0, 4])?);
    // Under a condition: those rows of them that satisfy it, over more than one segment.
    let condition = "SELECT * FROM synth_sample('children', 60000, seed => 5, row_id => true) WHERE size > number * 4 ORDER BY row_id LIMIT 9000";
    let expected = checksum(&run(&plain, condition).await?);
    for (partitions, batch, threads) in [(1, 8192, 1), (4, 1000, 2)] {
        let config = SessionConfig::new().with_target_partitions(partitions).with_batch_size(batch);
        let other = context(store.path(), config);
        let given = format!(", given => 'size > number * 4', threads => {threads}");
        let rows = run(&other, &sample(9000, 0, &given)).await?;
        assert_eq!(checksum(&rows), expected, "{partitions} partitions, batches of {batch}, {threads} threads");
    }
    // Together with their parents, which were generated by another statement.
    let lost = "SELECT count(*) FROM synth_sample('children', 60000, seed => 5)
                LEFT ANTI JOIN synth_sample('parents', 18000, seed => 5) AS p ON parent = p.id";
    assert_eq!(number(&plain, lost).await, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn given_rows_are_completed_in_their_order_and_have_their_parents() -> Result<()> {
    let store = tempfile::tempdir()?;
    trained(store.path(), "argn").await?;
    // Of each three, one names its parent, one its good; none says how large it is.
    let given =
        "SELECT CASE v % 3 WHEN 0 THEN v % 500 + 1 END AS parent, CASE v % 3 WHEN 1 THEN v % 60 + 1 END AS good,
                        CAST(v % 4 + 1 AS INT) AS number FROM generate_series(1, 1500) AS series(v)";
    let quoted = given.replace('\'', "''");
    let sample = |rows: &str, more: &str| {
        format!("SELECT * FROM synth_sample('children'{rows}, seed => 5, given => '{quoted}'{more})")
    };
    let plain = context(store.path(), SessionConfig::new().with_target_partitions(1));
    let all = whole(&run(&plain, &sample("", "")).await?);
    let known = whole(&run(&plain, given).await?);
    assert_eq!(all.column_by_name("number"), known.column_by_name("number"));
    for (name, every) in [("parent", 3), ("good", 3)] {
        let (given, found) = (known.column_by_name(name).unwrap(), all.column_by_name(name).unwrap());
        let (given, found) = (given.as_primitive::<Int64Type>(), found.as_primitive::<Int64Type>());
        let kept = given.iter().zip(found).filter(|(given, found)| given.is_some() && given == found).count();
        assert_eq!(kept, given.len() - given.null_count(), "{name}");
        assert!((given.len() - given.null_count()).abs_diff(1500 / every) < 2);
    }
    let expected = checksum(std::slice::from_ref(&all));
    for (partitions, batch, threads) in [(2, 1000, 1), (4, 8192, 2)] {
        let config = SessionConfig::new().with_target_partitions(partitions).with_batch_size(batch);
        let other = context(store.path(), config);
        let rows = run(&other, &sample("", &format!(", threads => {threads}"))).await?;
        assert_eq!(checksum(&rows), expected, "{partitions} partitions, batches of {batch}, {threads} threads");
    }
    // Again and again, as far as is asked for.
    let twice = whole(&run(&plain, &sample(", 2500", "")).await?);
    let numbers = twice.column_by_name("number").unwrap();
    assert_eq!(&numbers.slice(0, 1500), known.column_by_name("number").unwrap());
    assert_eq!(&numbers.slice(1500, 1000), &numbers.slice(0, 1000));
    for (parents, key, rows) in [("parents", "parent", 6000), ("goods", "good", 60)] {
        let lost = format!(
            "SELECT count(*) FROM ({}) WHERE {key} IS NOT NULL AND {key} NOT IN (SELECT id FROM synth_sample('{parents}', {rows}, seed => 5))",
            sample("", "")
        );
        assert_eq!(number(&plain, &lost).await, 0, "{parents}");
    }
    let same =
        format!("SELECT count(*) - count(DISTINCT (parent, number)) FROM ({}) WHERE parent > 500", sample("", ""));
    assert_eq!(number(&plain, &same).await, 0, "places among siblings");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_of_the_database_has_no_orphans_either() -> Result<()> {
    let store = tempfile::tempdir()?;
    trained(store.path(), "argn").await?;
    let context = context(store.path(), SessionConfig::new().with_target_partitions(2));
    for (scale, rows, parents) in [(0.5, 13_500, 3000), (0.1, 2700, 600), (0.01, 270, 60)] {
        let lost = format!(
            "SELECT count(*) FROM synth_sample('children', {rows}, scale => {scale})
             LEFT ANTI JOIN synth_sample('parents', {parents}, scale => {scale}) AS p ON parent = p.id"
        );
        assert_eq!(number(&context, &lost).await, 0, "{scale}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_of_any_size_keep_their_distribution() -> Result<()> {
    let store = tempfile::tempdir()?;
    let context = context(store.path(), SessionConfig::new().with_target_partitions(2));
    for sql in [
        "CREATE TABLE hubs (id BIGINT NOT NULL, PRIMARY KEY (id)) AS SELECT value AS id FROM generate_series(1, 2000)",
        "CREATE TABLE links (hub BIGINT NOT NULL, weight INT NOT NULL) AS
         SELECT h AS hub, CAST(n % 7 AS INT) AS weight FROM (
             SELECT h, unnest(generate_series(1, CASE WHEN h = 77 THEN 100000 WHEN h = 99 THEN 3000 WHEN h % 20 = 0 THEN h % 9 ELSE 0 END)) AS n
             FROM generate_series(1, 2000) AS series(h))",
        "INSERT INTO synth.foreign_keys (table_name, columns, parent_table) VALUES ('links', 'hub', 'hubs')",
        "SELECT * FROM synth_train('*', epochs => 1, seed => 1)",
    ] {
        run(&context, sql).await?;
    }
    let rows = number(&context, "SELECT count(*) FROM links").await;
    let counts = |links: &str, hubs: &str| {
        format!(
            "SELECT n, count(*) AS hubs FROM (SELECT h.id, count(hub) AS n FROM {hubs} AS h LEFT JOIN {links} ON hub = h.id GROUP BY h.id)
             GROUP BY n ORDER BY n"
        )
    };
    let real = whole(&run(&context, &counts("links", "hubs")).await?);
    let synthetic = counts(&format!("synth_sample('links', {rows})"), "synth_sample('hubs', 2000)");
    assert_eq!(whole(&run(&context, &synthetic).await?), real);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_tables_in_a_chain_are_learned_and_generated() -> Result<()> {
    let store = tempfile::tempdir()?;
    let context = context(store.path(), SessionConfig::new().with_target_partitions(2));
    let mut keys = Vec::new();
    for number in 0..60 {
        let create = format!(
            "CREATE TABLE t{number} (id BIGINT NOT NULL, up BIGINT NOT NULL, x INT NOT NULL, PRIMARY KEY (id)) AS
             SELECT value AS id, value % 100 + 1 AS up, CAST(value % 7 AS INT) AS x FROM generate_series(1, 100)"
        );
        run(&context, &create).await?;
        if number > 0 {
            keys.push(format!("('t{number}', 'up', 't{}')", number - 1));
        }
    }
    let insert = "INSERT INTO synth.foreign_keys (table_name, columns, parent_table) VALUES";
    run(&context, &format!("{insert} {}", keys.join(", "))).await?;
    run(&context, "SELECT * FROM synth_train('*', epochs => 1, seed => 1)").await?;
    let lost = "SELECT count(*) FROM synth_sample('t59', 100) AS c LEFT ANTI JOIN synth_sample('t58', 100) AS p ON c.up = p.id";
    assert_eq!(number(&context, lost).await, 0);
    Ok(())
}

/// Trains the real database `name` for an epoch and generates it; checks every key of its `schema.json`.
#[rstest]
#[case("northwind", "argn")]
#[case("northwind", "ctgan")]
#[case("northwind", "tvae")]
#[case("chinook", "argn")]
#[case("chinook", "ctgan")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_databases_come_out_with_every_key_right(#[case] name: &str, #[case] kind: &str) -> Result<()> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(name);
    let Ok(text) = std::fs::read_to_string(folder.join("schema.json")) else {
        println!("skipped: {} is not there", folder.display());
        return Ok(());
    };
    let schema: Value = serde_json::from_str(&text).unwrap();
    let store = tempfile::tempdir()?;
    let context = context(store.path(), SessionConfig::new().with_target_partitions(2));
    let names = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|name| format!("\"{}\"", name.as_str().unwrap())).collect()
    };
    for (table, facts) in schema["tables"].as_object().unwrap() {
        let file = folder.join(facts["files"][0].as_str().unwrap());
        run(&context, &format!("CREATE EXTERNAL TABLE \"{table}\" STORED AS PARQUET LOCATION '{}'", file.display()))
            .await?;
        if let Some(columns) = facts["primary_key"].get("columns") {
            let columns = names(columns).join(", ");
            let insert = "INSERT INTO synth.keys (table_name, kind, columns) VALUES";
            run(&context, &format!("{insert} ('{table}', 'primary key', '{columns}')")).await?;
        }
    }
    let foreign_keys = schema["foreign_keys"].as_array().unwrap();
    for key in foreign_keys {
        let of = |name: &str| names(&key[name]).join(", ");
        let (table, parent) = (key["table"].as_str().unwrap(), key["parent_table"].as_str().unwrap());
        let insert = "INSERT INTO synth.foreign_keys (table_name, columns, parent_table, parent_columns) VALUES";
        run(&context, &format!("{insert} ('{table}', '{}', '{parent}', '{}')", of("columns"), of("parent_columns")))
            .await?;
    }
    run(&context, &format!("SELECT * FROM synth_train('*', model => '{kind}', epochs => 1, seed => 1)")).await?;
    for (table, facts) in schema["tables"].as_object().unwrap() {
        let rows = number(&context, &format!("SELECT count(*) FROM \"{table}\"")).await;
        run(&context, &format!("CREATE TABLE \"new_{table}\" AS SELECT * FROM synth_sample('{table}', {rows})"))
            .await?;
        if let Some(columns) = facts["primary_key"].get("columns") {
            let columns = names(columns);
            let distinct =
                format!("SELECT count(*) FROM (SELECT DISTINCT {} FROM \"new_{table}\")", columns.join(", "));
            assert_eq!(number(&context, &distinct).await, rows, "{table}: keys repeat");
            let null = columns.iter().map(|column| format!("{column} IS NULL")).collect::<Vec<_>>().join(" OR ");
            assert_eq!(
                number(&context, &format!("SELECT count(*) FROM \"new_{table}\" WHERE {null}")).await,
                0,
                "{table}"
            );
        }
    }
    for key in foreign_keys {
        let (table, parent) = (key["table"].as_str().unwrap(), key["parent_table"].as_str().unwrap());
        let (columns, parents) = (names(&key["columns"]), names(&key["parent_columns"]));
        let on = columns.iter().zip(&parents).map(|(c, p)| format!("c.{c} = p.{p}")).collect::<Vec<_>>().join(" AND ");
        let whole = columns.iter().map(|column| format!("c.{column} IS NOT NULL")).collect::<Vec<_>>().join(" AND ");
        let lost = format!(
            "SELECT count(*) FROM \"new_{table}\" AS c LEFT ANTI JOIN \"new_{parent}\" AS p ON {on} WHERE {whole}"
        );
        assert_eq!(number(&context, &lost).await, 0, "{table} {columns:?}: orphans");
        let null = |table: &str| format!("SELECT count(*) FROM \"{table}\" AS c WHERE NOT ({whole})");
        let (real, synthetic) =
            (number(&context, &null(table)).await, number(&context, &null(&format!("new_{table}"))).await);
        assert_eq!(real, synthetic, "{table} {columns:?}: references to nothing");
    }
    Ok(())
}
