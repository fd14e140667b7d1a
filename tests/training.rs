//! Trainings that are interrupted, and what is left of them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use arrow::{
    array::{Array, AsArray},
    datatypes::Int32Type,
};
use datafusion::{error::Result, prelude::SessionConfig};
use futures::StreamExt;
use std::{collections::BTreeSet, time::Duration};
use support::{fault, run, session, trained, whole};
use synthohive::store::ModelStore;

const FOREVER: &str =
    "SELECT * FROM synth_train('people', epochs => 1000000, batch_size => 200, threads => 1, seed => 4)";

#[tokio::test(flavor = "multi_thread")]
async fn a_training_that_is_dropped_can_be_resumed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let store = ModelStore::open(folder.path().to_str().unwrap())?;
    let context = session(folder.path(), SessionConfig::new().with_target_partitions(1)).await?;
    let message = fault(&context, "SELECT * FROM synth_train('people', resume => true)").await;
    assert!(message.contains("there is no checkpoint of `people`"), "{message}");

    let mut progress = context.sql(FOREVER).await?.execute_stream().await?;
    progress.next().await.unwrap()?;
    drop(progress);

    // These wait for the cancelled training's last checkpoint.
    for (sql, part) in [
        ("seed => 5", "synth_train: argument `seed`: got 5, expected 4, as in the checkpoint"),
        ("batch_size => 50", "argument `batch_size`: got 50, expected 200"),
    ] {
        let message = fault(&context, &format!("SELECT * FROM synth_train('people', resume => true, {sql})")).await;
        assert!(message.contains(part), "{message}");
    }
    let (_, checkpoint) = store.load_checkpoint("people").await?.unwrap();
    assert!(store.manifest("people", None).await.is_err(), "nothing was stored");

    let epochs = checkpoint.epoch + 2;
    let sql = format!("SELECT epoch, version FROM synth_train('people', resume => true, epochs => {epochs})");
    let rows = whole(&run(&context, &sql).await?);
    let epochs_run: Vec<i32> = rows.column(0).as_primitive::<Int32Type>().values()[..2].to_vec();
    assert_eq!(epochs_run, [checkpoint.epoch + 1, checkpoint.epoch + 2].map(u32::cast_signed));
    assert_eq!(rows.column(1).as_primitive::<Int32Type>().value(2), 1);
    assert!(store.load_checkpoint("people").await?.is_none(), "a finished training leaves no checkpoint");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_is_resumed_where_it_was_interrupted() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let store = ModelStore::open(folder.path().to_str().unwrap())?;
    let context = session(folder.path(), SessionConfig::new().with_target_partitions(1)).await?;
    run(&context, "CREATE TABLE pets AS SELECT age, member FROM people").await?;
    run(&context, "CREATE TABLE towns AS SELECT age, region FROM people").await?;
    let options = "batch_size => 200, threads => 1, seed => 4";
    // Of an earlier day: not what the interrupted statement was to leave.
    run(&context, "SELECT * FROM synth_train('towns', epochs => 1)").await?;
    // Stopped in the second of three tables.
    let sql = format!("SELECT \"table\" FROM synth_train('people, pets, towns', epochs => 300, {options})");
    let mut progress = context.sql(&sql).await?.execute_stream().await?;
    loop {
        let batch = progress.next().await.unwrap()?;
        if batch.column(0).as_string::<i32>().iter().any(|table| table == Some("pets")) {
            break;
        }
    }
    drop(progress);
    // Waits for the cancelled training's last checkpoint.
    fault(&context, "SELECT * FROM synth_train('pets', resume => true, seed => 5)").await;
    let (_, checkpoint) = store.load_checkpoint("pets").await?.unwrap();

    let epochs = checkpoint.epoch + 1;
    let sql = format!(
        "SELECT \"table\", max(version) AS version, min(epoch) FILTER (WHERE version IS NULL) AS first
         FROM synth_train('people, pets, towns', resume => true, epochs => {epochs}, batch_size => 200) GROUP BY 1 ORDER BY 1"
    );
    let rows = whole(&run(&context, &sql).await?);
    let names: Vec<_> = rows.column(0).as_string::<i32>().iter().map(Option::unwrap).collect();
    assert_eq!(names, ["pets", "towns"], "the first table was finished");
    assert_eq!(rows.column(1).as_primitive::<Int32Type>().values(), &[1, 2]);
    assert_eq!(rows.column(2).as_primitive::<Int32Type>().values(), &[epochs.cast_signed(), 1]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_were_trained_side_by_side_go_on_side_by_side() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let store = ModelStore::open(folder.path().to_str().unwrap())?;
    let context = session(folder.path(), SessionConfig::new().with_target_partitions(1)).await?;
    for table in ["crowd", "mob"] {
        let sql = format!("CREATE TABLE {table} AS SELECT age, member FROM people, generate_series(1, 100) AS n(v)");
        run(&context, &sql).await?;
    }
    let options = "batch_size => 200, threads => 4, seed => 4";
    let sql = format!("SELECT * FROM synth_train('people, crowd, mob', epochs => 100, {options})");
    let mut progress = context.sql(&sql).await?.execute_stream().await?;
    let (mut running, mut stored) = (BTreeSet::new(), None);
    while running.len() < 3 || stored.is_none() {
        let row = progress.next().await.unwrap()?;
        let table = row.column_by_name("table").unwrap().as_string::<i32>().value(0).to_owned();
        if row.column_by_name("version").unwrap().is_valid(0) {
            stored = Some(table.clone());
        }
        running.insert(table);
    }
    drop(progress);
    assert_eq!(stored.as_deref(), Some("people"), "the small one is ready while a large one is under way");
    let mut epochs = 0;
    for table in ["crowd", "mob"] {
        // Waits for the cancelled training's last checkpoint.
        fault(&context, &format!("SELECT * FROM synth_train('{table}', resume => true, seed => 5)")).await;
        epochs = epochs.max(store.load_checkpoint(table).await?.unwrap().1.epoch + 1);
    }
    let sql = format!(
        "SELECT \"table\", max(version) AS version FROM synth_train('people, crowd, mob', resume => true, epochs => {epochs})
         GROUP BY 1 ORDER BY 1"
    );
    let rows = whole(&run(&context, &sql).await?);
    let names: Vec<_> = rows.column(0).as_string::<i32>().iter().map(Option::unwrap).collect();
    assert_eq!(names, ["crowd", "mob"]);
    assert_eq!(rows.column(1).as_primitive::<Int32Type>().values(), &[1, 1]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_was_interrupted_before_any_checkpoint_goes_on_with_the_tables_without_a_model() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let context = session(folder.path(), SessionConfig::new().with_target_partitions(1)).await?;
    run(&context, "CREATE TABLE pets AS SELECT age, member FROM people").await?;
    run(&context, "CREATE TABLE towns AS SELECT age, region FROM people").await?;
    let resume =
        "SELECT DISTINCT \"table\" FROM synth_train('people, pets, towns', resume => true, epochs => 1) ORDER BY 1";
    let message = fault(&context, resume).await;
    assert!(message.contains("there is no checkpoint of `people`"), "nothing was begun: {message}");
    // What a killed process leaves that had just begun with the second table.
    run(&context, "SELECT * FROM synth_train('people', epochs => 1)").await?;
    let rows = whole(&run(&context, resume).await?);
    let names: Vec<_> = rows.column(0).as_string::<i32>().iter().map(Option::unwrap).collect();
    assert_eq!(names, ["pets", "towns"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_of_another_table_is_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let context = session(folder.path(), SessionConfig::new().with_target_partitions(1)).await?;
    let mut progress = context.sql(FOREVER).await?.execute_stream().await?;
    progress.next().await.unwrap()?;
    drop(progress);
    run(&context, "CREATE OR REPLACE TABLE people AS SELECT age, region FROM people").await?;
    let message = fault(&context, "SELECT * FROM synth_train('people', resume => true)").await;
    assert!(
        message.contains("table `people`") && message.contains("is not what the checkpoint was learning"),
        "{message}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_rows_and_options_give_the_same_model() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let store = ModelStore::open(folder.path().to_str().unwrap())?;
    let context = session(folder.path(), SessionConfig::new().with_target_partitions(3)).await?;
    for (name, seed) in [("first", 1), ("second", 1), ("third", 2)] {
        let options = format!("epochs => 1, batch_size => 200, threads => 1, seed => {seed}");
        run(&context, &format!("SELECT * FROM synth_train('people', name => '{name}', {options})")).await?;
    }
    let hash =
        async |name: &str| Ok::<_, synthohive::SynthError>(store.manifest(name, None).await?.content_hash.clone());
    assert_eq!(hash("first").await?, hash("second").await?);
    assert_ne!(hash("first").await?, hash("third").await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_that_is_dropped_stops() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let context = trained(folder.path()).await?;
    let pool = context.runtime_env().memory_pool.clone();
    let mut sample = context.sql("SELECT * FROM synth_sample('people', 1e12)").await?.execute_stream().await?;
    sample.next().await.unwrap()?;
    assert!(pool.reserved() > 0);
    drop(sample);
    for _ in 0..200 {
        if pool.reserved() == 0 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the partitions still hold {} bytes", pool.reserved());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_was_replaced_is_not_sampled() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let context = trained(folder.path()).await?;
    let planned = context.sql("SELECT * FROM synth_sample('people', 10)").await?;
    std::fs::remove_dir_all(folder.path().join("people"))?;
    run(&context, "SELECT * FROM synth_train('people', epochs => 1, seed => 9, batch_size => 200)").await?;
    let message = planned.collect().await.unwrap_err().strip_backtrace();
    assert!(message.contains("version 1 of `people` was replaced"), "{message}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_training_of_a_group_can_be_interrupted() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let context = session(folder.path(), SessionConfig::new()).await?;
    run(&context, "SET synth.epochs = 1000000").await?;
    let query = tokio::spawn(async move { fault(&context, "SELECT synth_fit('m', age, region) FROM people").await });
    // As often as it takes for one to come after the training began.
    while !query.is_finished() {
        tokio::time::sleep(Duration::from_millis(100)).await;
        synthohive::exec::interrupt_group_fits();
    }
    let message = query.await.unwrap();
    assert!(message.contains("synth_fit: model `m`") && message.contains("cancelled"), "{message}");
    Ok(())
}
