//! Generating a database: interrupted, finished by running it again, in the order of the rows.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use datafusion::{
    arrow::{
        array::{AsArray, RecordBatch},
        datatypes::{Int32Type, Int64Type},
    },
    common::cast::as_int64_array,
    parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder,
};
use futures::StreamExt;
use std::{
    fs::File,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use synthohive::session::SynthSession;
use tempfile::TempDir;

const PARENTS: i64 = 60;
const CHILDREN: i64 = 2_000;
/// Enough for the second table to be under way for a while.
const SCALE: i64 = 40;

/// Two tables, learned, and a folder to generate into.
struct Fixture {
    folder: TempDir,
    session: SynthSession,
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let session = session(folder.path());
        let fixture = Self { folder, session };
        fixture
            .run(&format!(
                "CREATE TABLE parents (id BIGINT NOT NULL, kind VARCHAR, PRIMARY KEY (id)) \
                 AS SELECT v, CASE v % 3 WHEN 0 THEN 'a' ELSE 'b' END FROM generate_series(1, {PARENTS}) AS s(v)"
            ))
            .await;
        fixture
            .run(&format!(
                "CREATE TABLE children (id BIGINT NOT NULL, parent BIGINT REFERENCES parents, n INT, PRIMARY KEY (id)) \
                 AS SELECT v, 1 + (v * 7) % {PARENTS}, CAST(v % 50 AS INT) FROM generate_series(1, {CHILDREN}) AS s(v)"
            ))
            .await;
        fixture.run("SELECT * FROM synth_train('*', epochs => 1)").await;
        fixture
    }

    fn to(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    fn statement(&self, format: &str) -> String {
        let to = self.to();
        format!("SELECT * FROM synth_generate(to => '{}', format => '{format}', scale => {SCALE})", to.display())
    }

    async fn run(&self, sql: &str) -> Vec<RecordBatch> {
        self.session.sql(sql).await.unwrap().collect().await.unwrap()
    }

    /// Begins a generation, and drops it when the first table is reported.
    async fn interrupted(&self, format: &str) {
        let frame = self.session.sql(&self.statement(format)).await.unwrap();
        let mut stream = frame.execute_stream().await.unwrap();
        let first = stream.next().await.unwrap().unwrap();
        assert_eq!(first.column(0).as_string::<i32>().value(0), "parents");
        // The second table is being written.
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.hidden().is_empty() {
            assert!(Instant::now() < deadline && !self.to().join("children").exists());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(stream);
        let dropped = Instant::now();
        while !self.hidden().is_empty() {
            assert!(dropped.elapsed() < Duration::from_secs(1), "{:?} stay", self.hidden());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(self.hidden().is_empty(), "{:?} came back", self.hidden());
        assert!(!self.to().join("children").exists(), "no half table is to be seen");
    }

    fn hidden(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.to()).into_iter().flatten();
        let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with('.')).collect()
    }

    /// (table, status) of each row.
    async fn statuses(&self, sql: &str) -> Vec<(String, String)> {
        let mut statuses = Vec::new();
        for batch in self.run(sql).await {
            let text = |name: &str| batch.column_by_name(name).unwrap().as_string::<i32>().clone();
            let (tables, found) = (text("table"), text("status"));
            let of = |row| (tables.value(row).to_owned(), found.value(row).to_owned());
            statuses.extend((0..batch.num_rows()).map(of));
        }
        statuses
    }

    async fn number(&self, sql: &str) -> i64 {
        let batches = self.run(sql).await;
        as_int64_array(batches[0].column(0)).unwrap().value(0)
    }

    /// Every table complete, once, and nothing refers to nothing.
    async fn assert_complete(&self) {
        let to = self.to();
        let (parents, children) = (to.join("parents"), to.join("children"));
        let of = |path: &Path| format!("SELECT count(DISTINCT id) FROM '{}/'", path.display());
        let all = |path: &Path| format!("SELECT count(*) FROM '{}/'", path.display());
        for (path, rows) in [(&parents, PARENTS * SCALE), (&children, CHILDREN * SCALE)] {
            assert_eq!((self.number(&of(path)).await, self.number(&all(path)).await), (rows, rows), "{path:?}");
        }
        let orphans = format!(
            "SELECT count(*) FROM '{}/' c LEFT ANTI JOIN '{}/' p ON c.parent = p.id WHERE c.parent IS NOT NULL",
            children.display(),
            parents.display()
        );
        assert_eq!(self.number(&orphans).await, 0);
    }
}

fn session(folder: &Path) -> SynthSession {
    SynthSession::builder()
        .with_setting("datafusion.execution.target_partitions", "3")
        .with_setting("synth.store", folder.join("models").to_str().unwrap())
        .build()
        .unwrap()
}

fn named(names: [(&str, &str); 2]) -> Vec<(String, String)> {
    names.map(|(table, status)| (table.to_owned(), status.to_owned())).to_vec()
}

#[cfg(feature = "delta")]
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_generation_into_delta_is_finished_by_running_it_again() {
    let fixture = Fixture::new().await;
    fixture.interrupted("delta").await;
    let again = fixture.statuses(&fixture.statement("delta")).await;
    assert_eq!(again, named([("parents", "already there"), ("children", "written")]));
    fixture.assert_complete().await;
    let again = fixture.statuses(&fixture.statement("delta")).await;
    assert_eq!(again, named([("parents", "already there"), ("children", "already there")]));
    fixture.assert_complete().await;
    for table in ["parents", "children"] {
        let log = fixture.to().join(table).join("_delta_log");
        assert!(!log.join("00000000000000000001.json").exists(), "one commit per table");
        let commit = std::fs::read_to_string(log.join("00000000000000000000.json")).unwrap();
        for word in ["synthohive.model_hash", "synthohive.seed", "synthohive.synth_generate"] {
            assert!(commit.contains(word), "{commit}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_generation_into_files_leaves_whole_tables_only() {
    let fixture = Fixture::new().await;
    fixture.interrupted("parquet").await;
    let to = fixture.to();
    let rest = format!("SELECT * FROM synth_generate('children', to => '{}', scale => {SCALE})", to.display());
    fixture.run(&rest).await;
    fixture.assert_complete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_hold_the_rows_in_their_order() {
    let fixture = Fixture::new().await;
    fixture.run("SET datafusion.execution.soft_max_rows_per_output_file = 10000").await;
    fixture.run(&fixture.statement("parquet")).await;
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(fixture.to().join("children")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 8, "{files:?}");
    let mut written = Vec::new();
    for file in files {
        for batch in ParquetRecordBatchReaderBuilder::try_new(File::open(file).unwrap()).unwrap().build().unwrap() {
            written.extend(rows(&batch.unwrap(), 0));
        }
    }
    let sampled = fixture
        .run(&format!("SELECT * FROM synth_sample('children', {}, row_id => true) ORDER BY row_id", CHILDREN * SCALE))
        .await;
    let sampled: Vec<_> = sampled.iter().flat_map(|batch| rows(batch, 1)).collect();
    assert_eq!(written.len(), sampled.len());
    assert!(written == sampled);
}

type Row = (i64, Option<i64>, Option<i32>);

/// The rows of `children`, from column `first` on.
fn rows(batch: &RecordBatch, first: usize) -> Vec<Row> {
    let (ids, parents) = (batch.column(first).as_primitive::<Int64Type>(), batch.column(first + 1));
    let (parents, numbers) = (parents.as_primitive::<Int64Type>(), batch.column(first + 2).as_primitive::<Int32Type>());
    ids.values().iter().zip(parents).zip(numbers).map(|((&id, parent), number)| (id, parent, number)).collect()
}
