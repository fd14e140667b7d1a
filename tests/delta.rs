//! Delta Lake tables through SQL.
#![cfg(feature = "delta")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use datafusion::{arrow::array::RecordBatch, assert_batches_sorted_eq};
use rstest::rstest;
use std::path::Path;
use synthohive::session::SynthSession;
use tempfile::TempDir;

/// A folder with a Delta table that does not exist yet, and sessions that know it as `t`.
struct Fixture {
    folder: TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn place(&self) -> String {
        self.folder.path().join("t").display().to_string()
    }

    async fn session(&self, declaration: &str) -> SynthSession {
        let session = session();
        run(&session, &format!("CREATE EXTERNAL TABLE t {declaration} LOCATION '{}'", self.place())).await.unwrap();
        session
    }

    /// The versions in the table's log.
    fn versions(&self) -> usize {
        let log = std::fs::read_dir(Path::new(&self.place()).join("_delta_log"));
        log.map_or(0, |log| {
            log.filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|found| found == "json")).count()
        })
    }
}

fn session() -> SynthSession {
    SynthSession::builder().with_setting("datafusion.execution.target_partitions", "3").build().unwrap()
}

async fn run(session: &SynthSession, sql: &str) -> Result<Vec<RecordBatch>, String> {
    let frame = session.sql(sql).await.map_err(|error| error.to_string())?;
    frame.collect().await.map_err(|error| error.to_string())
}

async fn number(session: &SynthSession, sql: &str) -> i64 {
    use datafusion::arrow::{
        array::AsArray,
        compute::cast,
        datatypes::{DataType, Int64Type},
    };
    let batches = run(session, sql).await.unwrap();
    cast(batches[0].column(0), &DataType::Int64).unwrap().as_primitive::<Int64Type>().value(0)
}

const TWO_COLUMNS: &str = "(id BIGINT NOT NULL, name VARCHAR) STORED AS DELTATABLE";

#[tokio::test(flavor = "multi_thread")]
async fn an_insert_is_one_version_and_every_session_sees_it() {
    let fixture = Fixture::new();
    let first = fixture.session(TWO_COLUMNS).await;
    assert_eq!(number(&first, "SELECT count(*) FROM t").await, 0);

    let rows = number(&first, "INSERT INTO t SELECT value, 'n' || value FROM generate_series(1, 100000)").await;
    assert_eq!((rows, fixture.versions()), (100_000, 2));

    let second = fixture.session("STORED AS DELTATABLE").await;
    run(&second, "INSERT INTO t (name, id) VALUES ('é', 0), (NULL, -1)").await.unwrap();
    assert_eq!(fixture.versions(), 3);
    // The first session follows, without being told.
    assert_eq!(number(&first, "SELECT count(*) FROM t").await, 100_002);
    let found = run(&first, "SELECT * FROM t WHERE id < 3").await.unwrap();
    assert_batches_sorted_eq!(
        [
            "+----+------+",
            "| id | name |",
            "+----+------+",
            "| -1 |      |",
            "| 0  | é    |",
            "| 1  | n1   |",
            "| 2  | n2   |",
            "+----+------+"
        ],
        &found
    );

    let rows = number(&first, "INSERT OVERWRITE t SELECT id + 1, name FROM t WHERE id <= 1").await;
    assert_eq!((rows, fixture.versions()), (3, 4));
    assert_eq!(number(&second, "SELECT sum(id) FROM t").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_run_in_parallel_and_are_committed_together() {
    let fixture = Fixture::new();
    let session = fixture.session("(n BIGINT) STORED AS DELTA").await;
    run(&session, "CREATE TABLE numbers AS SELECT value AS n FROM generate_series(1, 300000)").await.unwrap();
    let plan = run(&session, "EXPLAIN INSERT INTO t SELECT n FROM numbers WHERE n % 2 = 0").await.unwrap();
    let plan = datafusion::arrow::util::pretty::pretty_format_batches(&plan).unwrap().to_string();
    assert!(plan.contains("DeltaInsertExec: mode=Append"), "{plan}");
    assert!(!plan.contains("CoalescePartitionsExec"), "{plan}");
    assert_eq!(fixture.versions(), 1, "EXPLAIN writes nothing");

    run(&session, "INSERT INTO t SELECT n FROM numbers WHERE n % 2 = 0").await.unwrap();
    assert_eq!(fixture.versions(), 2);
    assert_eq!(number(&session, "SELECT count(DISTINCT n) FROM t").await, 150_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_query_commits_nothing_and_keeps_its_error() {
    let fixture = Fixture::new();
    let session = fixture.session(TWO_COLUMNS).await;
    let failing = "INSERT INTO t SELECT 1 / (value - 90000), 'x' FROM generate_series(1, 100000)";
    let error = run(&session, failing).await.unwrap_err();
    assert!(error.contains("Divide by zero"), "{error}");
    assert!(!error.contains("Delta"), "{error}");

    let error = run(&session, "INSERT INTO t VALUES (NULL, 'x')").await.unwrap_err();
    assert!(error.contains("id"), "{error}");
    assert_eq!((number(&session, "SELECT count(*) FROM t").await, fixture.versions()), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_appends_both_land() {
    let fixture = Fixture::new();
    let one = fixture.session(TWO_COLUMNS).await;
    let two = fixture.session("STORED AS DELTATABLE").await;
    let append = "INSERT INTO t SELECT value, 'x' FROM generate_series(1, 20000)";
    let (a, b) = tokio::join!(run(&one, append), run(&two, append));
    a.unwrap();
    b.unwrap();
    assert_eq!((number(&one, "SELECT count(*) FROM t").await, fixture.versions()), (40_000, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_comes_back() {
    let fixture = Fixture::new();
    let declaration = "(b BOOLEAN, i8 TINYINT, i16 SMALLINT, i32 INT, i64 BIGINT, f32 REAL, f64 DOUBLE, d DECIMAL(12, 2), \
         s VARCHAR, x BYTEA, day DATE, at TIMESTAMP, utc TIMESTAMP WITH TIME ZONE) STORED AS DELTATABLE PARTITIONED BY (s)";
    let session = fixture.session(declaration).await;
    let values = "true, 1, 2, 3, 4, 1.5, 2.5, 12345.67, 'p', X'00FF', '1850-01-02', '2024-05-06T07:08:09.123456', \
         '2024-05-06T07:08:09Z'";
    run(&session, &format!("INSERT INTO t VALUES ({values})")).await.unwrap();
    let same = "SELECT count(*) FROM t WHERE b AND i8 = 1 AND i16 = 2 AND i32 = 3 AND i64 = 4 AND f32 = 1.5 \
         AND f64 = 2.5 AND d = 12345.67 AND s = 'p' AND x = X'00FF' AND day = DATE '1850-01-02' \
         AND at = TIMESTAMP '2024-05-06 07:08:09.123456' AND utc = TIMESTAMP '2024-05-06 07:08:09'";
    assert_eq!(number(&session, same).await, 1);
    assert!(Path::new(&fixture.place()).join("s=p").is_dir());
    // Without a declaration it is the same table.
    let place = fixture.place();
    assert_eq!(number(&session, &same.replace("FROM t", &format!("FROM '{place}'"))).await, 1);
}

#[rstest]
#[case("(a INT UNSIGNED)", "column `a`: Delta has no type for UInt32; declare BIGINT")]
#[case("(a BIGINT UNSIGNED)", "declare DECIMAL(20, 0)")]
#[case("(ok INT, at TIME)", "column `at`: Delta has no type for Time64")]
#[case("(a INTERVAL)", "column `a`: Delta has no type for Interval")]
#[case("", "no Delta table at")]
#[tokio::test(flavor = "multi_thread")]
async fn refuses_to_create(#[case] columns: &str, #[case] message: &str) {
    let fixture = Fixture::new();
    let sql = format!("CREATE EXTERNAL TABLE t {columns} STORED AS DELTATABLE LOCATION '{}'", fixture.place());
    let error = run(&session(), &sql).await.unwrap_err();
    assert!(error.contains(message), "{error}");
    assert!(!Path::new(&fixture.place()).exists(), "nothing is left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn declared_columns_must_be_those_of_the_table() {
    let fixture = Fixture::new();
    let session = fixture.session(TWO_COLUMNS).await;
    let place = fixture.place();
    let again = format!("CREATE EXTERNAL TABLE again {TWO_COLUMNS} LOCATION '{place}'");
    run(&session, &again).await.unwrap();
    let other = format!("CREATE EXTERNAL TABLE other (id INT, name VARCHAR) STORED AS DELTATABLE LOCATION '{place}'");
    let error = run(&session, &other).await.unwrap_err();
    assert!(
        error.contains("(id Int32, name Utf8) are not those of the Delta table (id Int64 NOT NULL, name Utf8)"),
        "{error}"
    );
    let other = format!("CREATE EXTERNAL TABLE other STORED AS DELTATABLE PARTITIONED BY (name) LOCATION '{place}'");
    let error = run(&session, &other).await.unwrap_err();
    assert!(error.contains("partitioned by ()"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_other_files_stays_as_it_is() {
    let fixture = Fixture::new();
    std::fs::create_dir(fixture.place()).unwrap();
    std::fs::write(Path::new(&fixture.place()).join("notes.txt"), "mine").unwrap();
    let sql = format!("CREATE EXTERNAL TABLE t {TWO_COLUMNS} LOCATION '{}'", fixture.place());
    let error = run(&session(), &sql).await.unwrap_err();
    assert!(error.contains("holds other files"), "{error}");
    assert_eq!(fixture.versions(), 0);
}
