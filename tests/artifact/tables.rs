//! The system tables, in SQL.

use crate::fake::{Fake, checkpoint, open, save, save_from};
use arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::{SessionConfig, SessionContext};
use rstest::rstest;
use serde_json::json;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};
use synthohive::{
    session::{
        SynthOptions,
        tables::{GuardDelete, SystemSchema},
    },
    store::ModelStore,
};

/// A session whose `synth.store` is `location`, and that store.
fn session_at(location: &str) -> (SessionContext, ModelStore) {
    let options = SynthOptions { store: location.to_owned(), ..SynthOptions::default() };
    let context = SessionContext::new_with_config(SessionConfig::new().with_option_extension(options));
    let catalog = context.catalog("datafusion").unwrap();
    catalog.register_schema(SystemSchema::NAME, Arc::new(SystemSchema::new())).unwrap();
    context.add_analyzer_rule(Arc::new(GuardDelete));
    (context, open(location))
}

/// The same with a store of its own in memory.
fn session() -> (SessionContext, ModelStore) {
    static STORES: AtomicUsize = AtomicUsize::new(0);
    session_at(&format!("memory:///tables/{}", STORES.fetch_add(1, Relaxed)))
}

async fn run(context: &SessionContext, sql: &str) -> datafusion::error::Result<String> {
    let batches = context.sql(sql).await?.collect().await?;
    Ok(pretty_format_batches(&batches)?.to_string())
}

async fn table(context: &SessionContext, sql: &str) -> Vec<Vec<String>> {
    let text = run(context, sql).await.unwrap();
    let rows = text.lines().skip(3).filter(|line| line.starts_with('|'));
    rows.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

async fn error(context: &SessionContext, sql: &str) -> String {
    run(context, sql).await.map_err(|error| error.to_string()).expect_err(sql)
}

#[tokio::test]
async fn an_absent_store_is_empty_tables() {
    let (context, _) = session();
    for sql in ["SELECT * FROM synth.models", "SELECT role FROM synth.columns", "SELECT * FROM synth.runs LIMIT 1"] {
        assert!(table(&context, sql).await.is_empty(), "{sql}");
    }
    run(&context, "SET synth.store = '/nowhere/at/all'").await.unwrap();
    assert_eq!(table(&context, "SELECT count(*) FROM synth.models").await, [["0"]]);
    assert_eq!(table(&context, "DELETE FROM synth.models WHERE model = 'x'").await, [["0"]]);
}

#[tokio::test]
async fn models_tells_everything_and_follows_the_store_option() {
    let (context, store) = session();
    save(&store, "orders", 50.0).await.unwrap();
    let manifest = save(&store, "orders", 50.5).await.unwrap();
    let sql = "SELECT model, version, kind, current, source, rows, columns, epochs, best_epoch, score, seconds, \
               content_hash, location FROM synth.models ORDER BY model, version";
    let rows = table(&context, sql).await;
    let common = ["orders", "500", "3", "30", "27", "0.915", "1.25"];
    assert_eq!(rows[0][..4], ["orders", "1", "fake", "false"]);
    assert_eq!(rows[1][..4], ["orders", "2", "fake", "true"]);
    assert_eq!(rows[1][4..11], common);
    assert_eq!(rows[1][11..], [manifest.content_hash.clone(), format!("{}/orders/2", store.location())]);
    let created = "SELECT arrow_typeof(created), to_char(created, '%Y') FROM synth.models LIMIT 1";
    let created = table(&context, created).await;
    assert_eq!(created[0][1], manifest.created[..4]);
    assert!(created[0][0].contains("UTC"), "{created:?}");

    run(&context, "SET synth.store = 'memory:///tables/elsewhere'").await.unwrap();
    assert!(table(&context, sql).await.is_empty());
}

#[tokio::test]
async fn deleting_models_drops_versions() {
    let (context, store) = session();
    for (name, weight) in [("a", 51.0), ("a", 51.1), ("a", 51.2), ("b", 51.3), ("c", 51.4)] {
        save(&store, name, weight).await.unwrap();
    }
    run(&context, "EXPLAIN DELETE FROM synth.models WHERE model = 'a'").await.unwrap();
    assert_eq!(store.list().await.unwrap().len(), 5, "EXPLAIN deletes nothing");
    let delete = async |condition: &str| {
        table(&context, &format!("DELETE FROM synth.models WHERE {condition}")).await[0][0].clone()
    };
    assert_eq!(delete("model = 'a' AND version = 1").await, "1");
    assert_eq!(delete("model = 'a' AND NOT current").await, "1");
    assert_eq!(delete("model = 'nothing'").await, "0");
    assert_eq!(delete("model IN ('b', 'c') AND score > 0.5").await, "2");
    let left: Vec<_> = store.list().await.unwrap().iter().map(|m| (m.name.clone(), m.version)).collect();
    assert_eq!(left, [("a".to_owned(), 3)]);
    assert_eq!(delete("model <> ''").await, "1");
}

#[rstest]
#[case("DELETE FROM synth.models")]
#[case("DELETE FROM synth.models WHERE true")]
#[case("DELETE FROM synth.models WHERE model = 'a' AND 1 = 0")]
#[case("DELETE FROM synth.models WHERE model IN (SELECT 'b')")]
#[case("DELETE FROM synth.models WHERE version = 1 AND EXISTS (SELECT 1 WHERE false)")]
#[case("DELETE FROM synth.models WHERE version = (SELECT max(version) FROM synth.models)")]
#[case("INSERT INTO synth.models (model, version, current, location) VALUES ('a', 2, true, '')")]
#[case("UPDATE synth.models SET model = 'b' WHERE model = 'a'")]
#[tokio::test]
async fn what_would_delete_more_than_it_says_is_refused(#[case] sql: &str) {
    let (context, store) = session();
    save(&store, "a", 52.0).await.unwrap();
    let message = error(&context, sql).await;
    assert!(message.contains("synth.models") || message.contains("UPDATE"), "{message}");
    assert_eq!(store.list().await.unwrap().len(), 1, "{sql}");
}

#[tokio::test]
async fn a_damaged_version_is_an_error_that_says_how_to_remove_it() {
    let folder = tempfile::tempdir().unwrap();
    let (context, store) = session_at(&folder.path().display().to_string());
    save(&store, "good", 53.0).await.unwrap();
    save(&store, "bad one", 53.1).await.unwrap();
    let damaged = folder.path().join("bad one/1/manifest.json");
    std::fs::write(&damaged, "{}").unwrap();
    let remove = "DELETE FROM synth.models WHERE model = 'bad one' AND version = 1";
    for name in ["models", "columns", "runs"] {
        let message = error(&context, &format!("SELECT * FROM synth.{name}")).await;
        assert!(message.contains(&damaged.display().to_string()), "{message}");
        assert!(message.contains(remove), "{message}");
    }
    assert_eq!(table(&context, remove).await, [["1"]]);
    assert_eq!(table(&context, "SELECT model FROM synth.models").await, [["good"]]);
}

#[tokio::test]
async fn columns_shows_inferred_roles_and_takes_declared_ones() {
    let (context, store) = session();
    save(&store, "orders_model", 54.0).await.unwrap();
    let all = "SELECT table_name, column_name, data_type, role, source FROM synth.columns";
    let inferred = [
        ["orders", "amount", "Float64", "numeric", "inferred"],
        ["orders", "age", "Int64", "numeric", "inferred"],
        ["orders", "tier", "Utf8", "categorical", "inferred"],
    ];
    assert_eq!(table(&context, all).await, inferred);

    let insert = "INSERT INTO synth.columns (table_name, column_name, role) VALUES ";
    let two = format!("{insert} ('orders', 'age', 'Categorical'), ('customers', 'ssn', 'exclude')");
    assert_eq!(table(&context, &two).await, [["2"]]);
    assert_eq!(
        table(&context, &format!("{all} WHERE source = 'declared' ORDER BY 1 DESC")).await,
        [["orders", "age", "Int64", "categorical", "declared"], ["customers", "ssn", "", "exclude", "declared"]]
    );
    assert_eq!(store.roles_for("customers").await.unwrap()["ssn"].as_str(), "exclude");

    run(&context, &format!("{insert} ('orders', 'age', 'identifier')")).await.unwrap();
    let age = "SELECT role FROM synth.columns WHERE column_name = 'age'";
    assert_eq!(table(&context, age).await, [["identifier"]], "a second declaration replaces the first");

    assert_eq!(table(&context, "DELETE FROM synth.columns WHERE table_name = 'orders'").await, [["1"]]);
    assert_eq!(table(&context, age).await, [["numeric"]], "back to what was inferred");
    assert_eq!(table(&context, "DELETE FROM synth.columns WHERE role = 'exclude'").await, [["1"]]);
    assert_eq!(table(&context, all).await, inferred);
}

#[tokio::test]
async fn columns_follows_the_newest_model_of_a_table() {
    let (context, store) = session();
    for (name, source) in [("a", "orders"), ("b", "orders"), ("region_1", "synth_fit"), ("region_2", "synth_fit")] {
        save_from(&store, name, source, &Fake::new(57.0)).await.unwrap();
    }
    let tables = "SELECT table_name, count(*) FROM synth.columns GROUP BY table_name ORDER BY table_name";
    assert_eq!(table(&context, tables).await, [["orders", "3"], ["region_1", "3"], ["region_2", "3"]]);
}

#[rstest]
#[case("(table_name, column_name, role) VALUES ('t', 'c', 'numbr')", &["role", "'numbr'", "categorical, numeric"])]
#[case("(table_name, column_name, role) VALUES ('t', '', 'numeric')", &["column_name", "nothing"])]
#[case("(table_name, column_name, role, data_type) VALUES ('t', 'c', 'numeric', 'Int8')", &["data_type", "'Int8'"])]
#[case("(table_name, column_name, role, source) VALUES ('t', 'c', 'numeric', 'inferred')", &["source", "'inferred'"])]
#[case("(table_name, column_name, role) VALUES ('t', 'c', 'numeric'), ('t', 'c', 'exclude')", &["one role per column"])]
#[tokio::test]
async fn bad_declarations_change_nothing(#[case] values: &str, #[case] expected: &[&str]) {
    let (context, store) = session();
    let message = error(&context, &format!("INSERT INTO synth.columns {values}")).await;
    assert!(expected.iter().all(|part| message.contains(part)), "{message}");
    assert!(store.declared_roles().await.unwrap().is_empty());
}

#[tokio::test]
async fn runs_shows_finished_and_resumable_trainings() {
    let (context, store) = session();
    save(&store, "done", 55.0).await.unwrap();
    store.save_checkpoint("half", &json!({"kind": "fake"}), &checkpoint(12, 55.0)).await.unwrap();
    let all = "SELECT model, version, status, kind, epochs, rows, score, recoveries FROM synth.runs ORDER BY model";
    assert_eq!(
        table(&context, all).await,
        [
            ["done", "1", "finished", "fake", "30", "500", "0.915", "1"],
            ["half", "", "resumable", "fake", "12", "", "", ""]
        ]
    );
    assert_eq!(table(&context, "SELECT count(*) FROM synth.runs WHERE created IS NOT NULL").await, [["2"]]);
    let message = error(&context, "DELETE FROM synth.runs WHERE model <> ''").await;
    assert!(message.contains("DELETE FROM synth.models"), "{message}");
    assert_eq!(table(&context, "DELETE FROM synth.runs WHERE status = 'resumable'").await, [["1"]]);
    assert!(store.load_checkpoint("half").await.unwrap().is_none());
    assert_eq!(table(&context, "SELECT model FROM synth.runs").await, [["done"]]);
}
