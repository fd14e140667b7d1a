//! Keys: checked quickly in long chains, the same whatever the partitions, and found in real databases.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use datafusion::{
    arrow::array::AsArray,
    error::Result,
    prelude::{SessionConfig, SessionContext},
};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use support::{checksum, run};
use synthohive::{
    exec::keys::{KnownKeys, SessionKeys, Tables, check_keys},
    schema::OrphanPolicy,
    session::SynthSession,
    store::ModelStore,
};

/// A context with a store of its own.
fn context(store: &Path, partitions: usize) -> SessionContext {
    let config = SessionConfig::new().with_target_partitions(partitions);
    let session = SynthSession::builder()
        .with_config(config)
        .with_setting("synth.store", store.to_str().unwrap())
        .build()
        .unwrap();
    session.context().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_tables_in_a_chain_are_quick() -> Result<()> {
    let store = tempfile::tempdir().unwrap();
    let context = context(store.path(), 2);
    let mut values = Vec::new();
    for number in 0..60 {
        run(
            &context,
            &format!(
                "CREATE TABLE t{number} (t{number}_id BIGINT NOT NULL, up BIGINT NOT NULL) AS \
                 SELECT value AS t{number}_id, value % 100 + 1 AS up FROM generate_series(1, 1000)"
            ),
        )
        .await?;
        if number > 0 {
            values.push(format!("('t{number}', 'up', 't{}', 't{}_id')", number - 1, number - 1));
        }
    }
    let insert = "INSERT INTO synth.foreign_keys (table_name, columns, parent_table, parent_columns) VALUES ";
    let started = Instant::now();
    run(&context, &format!("{insert}{}", values.join(", "))).await?;
    let verdicts = run(&context, "SELECT count(*) FILTER (WHERE verdict = 'ok') FROM synth_check_keys()").await?;
    let elapsed = started.elapsed();
    println!("59 foreign keys in a chain of 60 tables declared and checked in {elapsed:?}");
    assert_eq!(verdicts[0].column(0).as_primitive::<datafusion::arrow::datatypes::Int64Type>().value(0), 59);
    assert!(elapsed < Duration::from_secs(60), "{elapsed:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_problems_are_one_error() -> Result<()> {
    let store = tempfile::tempdir().unwrap();
    let context = context(store.path(), 2);
    run(&context, "CREATE TABLE p (id INT, PRIMARY KEY (id)) AS VALUES (1), (1), (2)").await?;
    run(&context, "CREATE TABLE c (p INT) AS VALUES (1), (3), (4)").await?;
    run(&context, "INSERT INTO synth.foreign_keys (table_name, columns, parent_table) VALUES ('c', 'p', 'p')").await?;
    let state = context.state();
    let tables = Tables::of(&state);
    let models = ModelStore::open(store.path().to_str().unwrap())?;
    let known = KnownKeys::gather(&tables, SessionKeys::of(&state).as_deref(), &models).await?;
    let error = check_keys(&state, &known, OrphanPolicy::Error).await?.verify().unwrap_err();
    assert_eq!(
        error.to_string(),
        "2 problems with keys:\n\
         - table `p`, primary key (id): 1 of 3 rows repeats the key of another row; remove duplicates, or declare the \
         columns that identify a row\n\
         - table `c`, foreign key (p) to `p` (id): 2 of 3 rows refer to no row of `p` (distinct keys: 2); orphans => \
         'drop' leaves these rows out, orphans => 'null' has them refer to nothing"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_do_not_depend_on_partitions() -> Result<()> {
    let mut sums = BTreeSet::new();
    for partitions in [1, 2, 7] {
        let store = tempfile::tempdir().unwrap();
        let context = context(store.path(), partitions);
        run(
            &context,
            "CREATE TABLE people AS SELECT value AS id, 'p' || (value % 997) AS code FROM generate_series(1, 9000)",
        )
        .await?;
        run(
            &context,
            "CREATE TABLE pets AS SELECT value AS id, value * 7 % 9001 + 1 AS people_id FROM generate_series(1, 9000)",
        )
        .await?;
        let detected = run(&context, "SELECT * FROM synth_detect_keys()").await?;
        run(&context, "INSERT INTO synth.foreign_keys (table_name, columns, parent_table, parent_columns) VALUES ('pets', 'people_id', 'people', 'id')").await?;
        let checked = run(&context, "SELECT * FROM synth_check_keys()").await?;
        sums.insert((checksum(&detected), checksum(&checked)));
    }
    assert_eq!(sums.len(), 1);
    Ok(())
}

/// A key as the truth and the proposals are compared: kind, table, columns, parent with columns. Pairs of columns have no
/// order.
type Found = (String, BTreeSet<(String, String)>, String);

fn found(table: &str, columns: &[String], parent: &str, parent_columns: &[String]) -> Found {
    let mut pairs = BTreeSet::new();
    for (number, column) in columns.iter().enumerate() {
        pairs.insert((column.clone(), parent_columns.get(number).cloned().unwrap_or_default()));
    }
    (table.to_owned(), pairs, parent.to_owned())
}

fn strings(value: &serde_json::Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// The keys that a set documents: primary ones, foreign ones.
fn truth(folder: &Path) -> (BTreeSet<Found>, BTreeSet<Found>) {
    let schema: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("schema.json")).unwrap()).unwrap();
    let primary = schema["tables"].as_object().unwrap().iter().filter(|(_, table)| !table["primary_key"].is_null());
    let primary = primary.map(|(name, table)| found(name, &strings(&table["primary_key"]["columns"]), "", &[]));
    let foreign = schema["foreign_keys"].as_array().unwrap().iter().map(|key| {
        let (table, parent) = (key["table"].as_str().unwrap(), key["parent_table"].as_str().unwrap());
        found(table, &strings(&key["columns"]), parent, &strings(&key["parent_columns"]))
    });
    (primary.collect(), foreign.collect())
}

async fn proposals(context: &SessionContext) -> Result<(BTreeSet<Found>, BTreeSet<Found>)> {
    let sql = "SELECT table_name, columns, coalesce(parent_table, '') AS parent, coalesce(parent_columns, '') AS keys \
               FROM synth_detect_keys()";
    let (mut primary, mut foreign) = (BTreeSet::new(), BTreeSet::new());
    for batch in run(context, sql).await? {
        let text = |column: usize, row: usize| {
            let column =
                datafusion::arrow::compute::cast(batch.column(column), &datafusion::arrow::datatypes::DataType::Utf8);
            column.unwrap().as_string::<i32>().value(row).to_owned()
        };
        let list =
            |text: String| text.split(", ").filter(|name| !name.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        for row in 0..batch.num_rows() {
            let key = found(&text(0, row), &list(text(1, row)), &text(2, row), &list(text(3, row)));
            if text(2, row).is_empty() { &mut primary } else { &mut foreign }.insert(key);
        }
    }
    Ok((primary, foreign))
}

/// Registers every Parquet file of a folder, under its own name.
async fn register(context: &SessionContext, folder: &Path) -> Result<()> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "parquet")) {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let sql = format!("CREATE EXTERNAL TABLE \"{name}\" STORED AS PARQUET LOCATION '{}'", file.display());
        run(context, &sql).await?;
    }
    Ok(())
}

fn share(hits: usize, of: usize) -> f64 {
    if of == 0 { 1.0 } else { hits as f64 / of as f64 }
}

/// Precision and recall of `synth_detect_keys` on real databases, whose keys are documented: at least these.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_real_databases_are_found() -> Result<()> {
    const FLOORS: [(&str, [f64; 4]); 6] = [
        ("baseball", [1.0; 4]),
        ("baseball2k", [1.0; 4]),
        ("chinook", [1.0; 4]),
        ("lahman", [1.0; 4]),
        ("northwind", [1.0; 4]),
        ("pnwflights14", [1.0; 4]),
    ];
    let Some(data) = std::env::var_os("SYNTHOHIVE_DATA").map(PathBuf::from) else {
        println!("skipped: SYNTHOHIVE_DATA names no folder of data sets");
        return Ok(());
    };
    let mut failures = Vec::new();
    for (set, floors) in FLOORS {
        let folder = data.join(set);
        if !folder.join("schema.json").exists() {
            println!("skipped: no {set}/schema.json in {}", data.display());
            continue;
        }
        let store = tempfile::tempdir().unwrap();
        let context = context(store.path(), 2);
        register(&context, &folder).await?;
        let started = Instant::now();
        let (primary, foreign) = proposals(&context).await?;
        let elapsed = started.elapsed();
        let (true_primary, true_foreign) = truth(&folder);
        for (what, true_keys, keys) in [("primary", &true_primary, &primary), ("foreign", &true_foreign, &foreign)] {
            for missed in true_keys.difference(keys) {
                println!("{set}: missed {what} key {missed:?}");
            }
            for wrong in keys.difference(true_keys) {
                println!("{set}: wrong {what} key {wrong:?}");
            }
        }
        let hits = [true_primary.intersection(&primary).count(), true_foreign.intersection(&foreign).count()];
        let measured = [
            share(hits[0], primary.len()),
            share(hits[0], true_primary.len()),
            share(hits[1], foreign.len()),
            share(hits[1], true_foreign.len()),
        ];
        println!(
            "{set}: primary keys precision {:.3} recall {:.3}, foreign keys precision {:.3} recall {:.3}, {elapsed:.1?}",
            measured[0], measured[1], measured[2], measured[3]
        );
        if measured.iter().zip(floors).any(|(measured, floor)| *measured < floor) {
            failures.push(set);
        }
        let started = Instant::now();
        for (table, pairs, _) in &true_primary {
            let columns: Vec<&str> = pairs.iter().map(|(column, _)| column.as_str()).collect();
            let insert = "INSERT INTO synth.keys (table_name, kind, columns) VALUES";
            run(&context, &format!("{insert} ('{table}', 'primary key', '{}')", columns.join(", "))).await?;
        }
        for (table, pairs, parent) in &true_foreign {
            let (columns, keys): (Vec<&str>, Vec<&str>) = pairs.iter().map(|(a, b)| (a.as_str(), b.as_str())).unzip();
            let insert = "INSERT INTO synth.foreign_keys (table_name, columns, parent_table, parent_columns) VALUES";
            let (columns, keys) = (columns.join(", "), keys.join(", "));
            run(&context, &format!("{insert} ('{table}', '{columns}', '{parent}', '{keys}')")).await?;
        }
        let declared = started.elapsed();
        let sql = "SELECT count(*) FILTER (WHERE verdict <> 'ok') FROM synth_check_keys(orphans => 'drop')";
        let wrong = run(&context, sql).await?;
        let wrong = wrong[0].column(0).as_primitive::<datafusion::arrow::datatypes::Int64Type>().value(0);
        println!("{set}: keys declared in {declared:.1?}, checked in {:.1?}", started.elapsed() - declared);
        assert_eq!(wrong, 0, "{set} keeps its documented keys, but for orphans");
    }
    assert!(failures.is_empty(), "worse than before: {failures:?}");
    Ok(())
}
