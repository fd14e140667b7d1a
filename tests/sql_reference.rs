//! `docs/sql-reference.md` is written from the functions' own documentation, and their examples run.
//!
//! `UPDATE=1 cargo test --test sql_reference` (or `make sql-reference`) writes the file again.
#![allow(clippy::unwrap_used)]

use datafusion::arrow::{
    array::{Array, AsArray},
    util::pretty::pretty_format_batches,
};
use std::{fmt::Write, path::Path};
use synthohive::{
    functions::{FunctionDoc, documentation},
    session::SynthSession,
};

#[tokio::test]
async fn the_reference_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/sql-reference.md");
    let fresh = reference().await;
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, fresh).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    assert!(
        kept == fresh,
        "docs/sql-reference.md is not what the functions say of themselves: run `make sql-reference`"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_examples_run() {
    let store = tempfile::tempdir().unwrap();
    // Examples write files; the other test knows its paths.
    std::env::set_current_dir(store.path()).unwrap();
    let session = SynthSession::builder()
        .with_setting("synth.epochs", "1")
        .with_setting("synth.store", store.path().to_str().unwrap())
        .build()
        .unwrap();
    for parsed in session.script(include_str!("../sql/shop/create.sql")).unwrap() {
        session.execute(parsed.unwrap().statement).await.unwrap().collect().await.unwrap();
    }
    for function in documentation() {
        assert!(!function.examples.is_empty(), "{} has no example", function.name);
        for example in function.examples {
            let batches = match session.sql(example).await {
                Ok(frame) => frame.collect().await.unwrap_or_else(|error| panic!("{example}: {error}")),
                Err(error) => panic!("{example}: {error}"),
            };
            assert!(batches.iter().any(|batch| batch.num_rows() > 0), "{example}: no rows");
        }
    }
    for aggregate in synthohive_udfs::aggregates() {
        let example = aggregate.documentation().unwrap().sql_example.clone().unwrap();
        let body = example.trim().strip_prefix("```sql\n> ").unwrap().strip_suffix("\n```").unwrap();
        let (sql, output) = body.split_once(";\n").unwrap();
        let batches = session.sql(sql).await.unwrap().collect().await.unwrap();
        assert_eq!(pretty_format_batches(&batches).unwrap().to_string(), output, "{}", aggregate.name());
    }
}

async fn reference() -> String {
    let mut page = String::from(
        "# SQL reference\n\n\
        <!-- Written by `make sql-reference` from the functions' own documentation. Do not edit. -->\n\n\
        Arguments are positional or named (`rows => 1e6`); names of functions and arguments are case-insensitive. \
        The examples run against the sample database `shop` (`\\i sql/shop/create.sql`), in the order of this page.\n\n\
        ## Functions\n\n",
    );
    for function in documentation() {
        describe(&mut page, &function);
    }
    page.push_str("## Statistics\n\nAggregates over any query, with `GROUP BY` and `FILTER`; also on their own, in the crate `synthohive-udfs`.\n\n");
    for aggregate in synthohive_udfs::aggregates() {
        let documentation = aggregate.documentation().unwrap();
        writeln!(page, "### {}\n\n{}\n", aggregate.name(), documentation.description).unwrap();
        writeln!(page, "```sql\n{}\n```\n", documentation.syntax_example).unwrap();
        page.push_str("| argument | |\n|---|---|\n");
        for (name, description) in documentation.arguments.as_ref().unwrap() {
            writeln!(page, "| `{name}` | {} |", cell(description)).unwrap();
        }
        writeln!(page, "\n{}\n", documentation.sql_example.as_ref().unwrap()).unwrap();
    }
    let session = SynthSession::new().unwrap();
    page.push_str(
        "## Options\n\nDefaults of a session: `SET synth.seed = 42`, `SHOW synth.seed`, `RESET synth.seed`. \
        An argument of a function goes before them.\n\n| option | default | |\n|---|---|---|\n",
    );
    let settings = "SELECT name, value, description FROM information_schema.df_settings WHERE name LIKE 'synth.%'";
    for [name, value, description] in rows(&session, settings).await {
        let value = if name == "synth.threads" { "cores of the machine".to_owned() } else { code(&value) };
        writeln!(page, "| `{name}` | {value} | {} |", cell(&description)).unwrap();
    }
    page.push_str("\n## Tables\n\n");
    let tables = [
        (
            "synth.models",
            "The models in the store, version by version. `DROP MODEL [IF EXISTS] name` and `DELETE FROM synth.models WHERE …` remove them.",
        ),
        (
            "synth.columns",
            "The columns of tables and models and their roles. `INSERT` declares the role of a column for trainings to come, `DELETE` takes it back.",
        ),
        (
            "synth.keys",
            "Primary and unique keys: those of tables (`source` is `table`; `CREATE TABLE` and `ALTER TABLE` declare them), and those declared here, which are kept in the store (`declared`). `INSERT` declares a key (`kind` is `primary key` or `unique`, `columns` a list such as `order_id, line`), `DELETE` takes it back.",
        ),
        (
            "synth.foreign_keys",
            "Foreign keys, as in `synth.keys`. `INSERT` needs `table_name`, `columns` and `parent_table`; without `parent_columns` they are those of the parent's primary key. In `CREATE [EXTERNAL] TABLE` and `ALTER TABLE` it is `FOREIGN KEY (…) REFERENCES …`.",
        ),
        ("synth.runs", "The trainings: finished ones, and those that can be resumed."),
    ];
    for (table, description) in tables {
        writeln!(page, "### {table}\n\n{description}\n\n| column | type |\n|---|---|").unwrap();
        for [column, data_type] in rows(&session, &format!("SELECT column_name, data_type FROM information_schema.columns WHERE table_schema || '.' || table_name = '{table}'")).await {
            writeln!(page, "| `{column}` | {data_type} |").unwrap();
        }
        page.push('\n');
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

fn describe(page: &mut String, function: &FunctionDoc) {
    writeln!(page, "### {}\n\n*{}.* {}\n", function.name, function.kind, function.description).unwrap();
    writeln!(page, "```sql\n{}\n```\n", function.syntax).unwrap();
    page.push_str("| argument | accepts | default | |\n|---|---|---|---|\n");
    for argument in &function.arguments {
        let default = if argument.default.is_empty() { "required".to_owned() } else { cell(&argument.default) };
        let (name, accepts, description) = (&argument.name, cell(&argument.accepts), cell(&argument.description));
        writeln!(page, "| `{name}` | {accepts} | {default} | {description} |").unwrap();
    }
    page.push_str("\n```sql\n");
    for example in function.examples {
        writeln!(page, "{example};").unwrap();
    }
    page.push_str("```\n\n");
}

/// The rows of a query whose columns are all text.
async fn rows<const N: usize>(session: &SynthSession, sql: &str) -> Vec<[String; N]> {
    let columns: Vec<String> = (0..N).map(|column| format!("arrow_cast(c{column}, 'Utf8')")).collect();
    let names: Vec<String> = (0..N).map(|column| format!("c{column}")).collect();
    let sql = format!("SELECT {} FROM ({sql}) AS t ({})", columns.join(", "), names.join(", "));
    let mut rows = Vec::new();
    for batch in session.sql(&sql).await.unwrap().collect().await.unwrap() {
        for row in 0..batch.num_rows() {
            rows.push(std::array::from_fn(|column| {
                let column = batch.column(column).as_string::<i32>();
                if column.is_valid(row) { column.value(row).to_owned() } else { String::new() }
            }));
        }
    }
    rows
}

fn code(value: &str) -> String {
    if value.is_empty() { String::new() } else { format!("`{value}`") }
}

/// Text inside a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
