//! The `synthohive` command line, as a process.
#![cfg(feature = "repl")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use rstest::rstest;
use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A folder to run in, so that nothing is left elsewhere.
fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn synthohive(folder: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_synthohive"));
    command.current_dir(folder).env("HOME", folder.path()).env_remove("XDG_DATA_HOME").stdin(Stdio::null());
    command
}

fn run(folder: &TempDir, args: &[&str]) -> Output {
    synthohive(folder).args(args).output().unwrap()
}

fn piped(folder: &TempDir, args: &[&str], input: &str) -> Output {
    let mut child = synthohive(folder)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[rstest]
#[case("csv", "n,s\n1,\n2,b\n")]
#[case("tsv", "n\ts\n1\t\n2\tb\n")]
#[case("json", "[{\"n\":1,\"s\":null},{\"n\":2,\"s\":\"b\"}]\n")]
#[case("ndjson", "{\"n\":1,\"s\":null}\n{\"n\":2,\"s\":\"b\"}\n")]
#[case("table", "+---+------+\n| n | s    |\n+---+------+\n| 1 | NULL |\n| 2 | b    |\n+---+------+\n")]
fn formats(#[case] format: &str, #[case] expected: &str) {
    let sql = "SELECT * FROM (VALUES (1, NULL), (2, 'b')) AS t(n, s) ORDER BY n";
    let output = run(&folder(), &["-q", "--format", format, "-c", sql]);
    assert_eq!((out(&output).as_str(), err(&output).as_str()), (expected, ""));
    assert!(output.status.success());
}

#[test]
fn tables_end_with_row_count_and_time() {
    let folder = folder();
    let output = run(&folder, &["--maxrows", "2", "-c", "SELECT * FROM generate_series(1, 5)"]);
    let text = out(&output);
    assert!(text.contains("First 2 rows of 5"), "{text}");
    assert!(text.contains("5 row(s) fetched.\nElapsed "), "{text}");
    let untimed = out(&run(&folder, &["-c", "\\timing off", "-c", "SELECT 1"]));
    assert!(untimed.contains("1 row(s) fetched.") && !untimed.contains("Elapsed"), "{untimed}");
}

#[test]
fn commands_and_files_run_in_order_and_share_the_session() {
    let folder = folder();
    std::fs::write(folder.path().join("make.sql"), "-- two rows\nCREATE TABLE t AS VALUES (1), (2);\n\\d\n").unwrap();
    std::fs::write(folder.path().join("more.sql"), "\\i make.sql\nSELECT count(*) AS c FROM t").unwrap();
    let output = run(&folder, &["-q", "--format", "csv", "-f", "make.sql", "-c", "SELECT sum(column1) AS s FROM t"]);
    assert!(
        out(&output).ends_with(
            "public,t,base table\nsynth,columns,base table\nsynth,foreign_keys,base table\nsynth,keys,base table\n\
             synth,models,base table\nsynth,runs,base table\ns\n3\n"
        ),
        "{}",
        out(&output)
    );
    let output = run(&folder, &["-q", "--format", "csv", "-f", "more.sql"]);
    assert!(out(&output).ends_with("c\n2\n"), "{}{}", out(&output), err(&output));
}

#[test]
fn tables_are_described_with_their_keys() {
    let script = "CREATE TABLE \"P\" (id INT NOT NULL, PRIMARY KEY (id)) AS VALUES (1);\n\
        CREATE TABLE c (p INT REFERENCES \"P\") AS VALUES (1);\n\\d \"P\"\n\\d c\n";
    let output = piped(&folder(), &["-q", "--format", "csv"], script);
    assert_eq!(
        out(&output),
        "column_name,data_type,is_nullable\nid,Int32,NO\nname,key\nP_pkey,PRIMARY KEY (id)\n\
         c_p_fkey,referenced by c (p)\n\
         column_name,data_type,is_nullable\np,Int32,YES\nname,key\n\
         c_p_fkey,FOREIGN KEY (p) REFERENCES P (id)\n",
        "{}",
        err(&output)
    );
}

#[test]
fn echo_prints_statements_with_their_comments() {
    let output = run(&folder(), &["-q", "-e", "--format", "csv", "-c", "-- why\nSELECT 1 AS a; SELECT 2 AS b"]);
    assert_eq!(out(&output), "-- why\nSELECT 1 AS a;\na\n1\nSELECT 2 AS b;\nb\n2\n");
}

#[test]
fn standard_input_is_a_script() {
    let folder = folder();
    let script =
        "CREATE TABLE \"Of; people\" (id BIGINT NOT NULL, name VARCHAR);\n\\d \"Of; people\"\n\\q\nSELECT nonsense";
    let output = piped(&folder, &["-q", "--format", "csv"], script);
    assert_eq!(out(&output), "column_name,data_type,is_nullable\nid,Int64,NO\nname,Utf8View,YES\n");
    assert!(output.status.success(), "{}", err(&output));
    let output = piped(&folder, &["-q", "--format", "csv", "-f", "-"], "SELECT 1 AS a");
    assert_eq!(out(&output), "a\n1\n");
}

#[rstest]
#[case(&["-c", "SELECT 1; SELECT nope; SELECT 3"], "nope")]
#[case(&["-c", "SELECT 1; SELEKT"], "SELEKT")]
#[case(&["-c", "SELECT 1", "-c", "SELECT * FROM missing", "-c", "SELECT 3"], "missing")]
#[case(&["-c", "SELECT 1", "-c", "SELECT * FROM 'missing.parquet'"], "no file at `missing.parquet`")]
#[case(&["-c", "SELECT 1", "-f", "missing.sql"], "cannot read `missing.sql`")]
#[case(&["-c", "SELECT 1", "-c", "\\nope"], "expected one of \\d")]
#[case(&["-c", "SELECT 1", "-c", "\\format xml"], "expected table, csv, tsv, json, ndjson")]
#[case(&["-c", "SELECT 1", "-c", "\\i"], "expected the name of a file")]
fn the_first_error_ends_with_1(#[case] args: &[&str], #[case] message: &str) {
    let output = run(&folder(), &[&["-q", "--format", "csv"], args].concat());
    assert_eq!(out(&output), "Int64(1)\n1\n", "what ran before stays, nothing runs after");
    assert!(err(&output).starts_with("error: ") && err(&output).contains(message), "{}", err(&output));
    assert_eq!(output.status.code(), Some(1));
}

#[rstest]
#[case(&["--format", "xml"], 2, "possible values: table, csv, tsv, json, ndjson")]
#[case(&["--memory-limit", "much"], 2, "a size is expected")]
#[case(&["--set", "seed"], 2, "name=value is expected")]
#[case(&["--set", "synth.seed=x", "-c", "SELECT 1"], 1, "seed")]
#[case(&["--set", "synth.nope=1", "-c", "SELECT 1"], 1, "nope")]
fn bad_arguments(#[case] args: &[&str], #[case] code: i32, #[case] message: &str) {
    let output = run(&folder(), args);
    assert!(err(&output).contains(message), "{}", err(&output));
    assert_eq!((output.status.code(), out(&output).as_str()), (Some(code), ""));
}

#[test]
fn an_error_in_a_file_names_the_file_and_the_line() {
    let folder = folder();
    std::fs::write(folder.path().join("bad.sql"), "SELECT 1;\n\\timing off\n\nSELECT 2 2;\n").unwrap();
    let output = run(&folder, &["-q", "-f", "bad.sql"]);
    assert!(err(&output).starts_with("error: bad.sql: ") && err(&output).contains("Line: 4"), "{}", err(&output));
}

#[test]
fn settings_and_memory_limit_reach_the_session() {
    let folder = folder();
    let output = run(
        &folder,
        &[
            "-q",
            "--format",
            "csv",
            "-s",
            "synth.seed=7",
            "-c",
            "SHOW synth.seed",
            "-c",
            "RESET synth.seed; SHOW synth.seed",
        ],
    );
    assert_eq!(out(&output), "name,value\nsynth.seed,7\nname,value\nsynth.seed,0\n", "{}", err(&output));
    let distinct = "SELECT count(*) FROM (SELECT DISTINCT value * 7919 AS v, md5(CAST(value AS VARCHAR)) AS h FROM generate_series(1, 200000))";
    let args = ["-q", "--memory-limit", "64k", "-s", "datafusion.runtime.max_temp_directory_size=0K", "-c", distinct];
    let output = run(&folder, &args);
    assert!(!output.status.success() && err(&output).contains("spilling"), "{}", err(&output));
}

#[test]
fn output_goes_to_files_and_comes_back() {
    let folder = folder();
    let script = "\\o out.csv\nSELECT 1 AS a;\n\\o\nSELECT 2 AS b;";
    let output = piped(&folder, &["-q", "--format", "csv"], script);
    assert_eq!(out(&output), "b\n2\n");
    assert_eq!(std::fs::read_to_string(folder.path().join("out.csv")).unwrap(), "a\n1\n");
}

#[test]
fn copies_and_reads_files() {
    let folder = folder();
    for format in ["parquet", "csv", "json"] {
        let file = format!("x.{format}");
        let dir = format!("dir_{format}/");
        let copy = format!(
            "COPY (SELECT value AS n FROM generate_series(1, 10)) TO '{file}'; \
             COPY (SELECT value AS n FROM generate_series(1, 10)) TO '{dir}' STORED AS {format}; \
             SELECT sum(n) AS s FROM '{file}' UNION ALL SELECT sum(n) FROM '{dir}'"
        );
        let output = run(&folder, &["-q", "--format", "csv", "-c", &copy]);
        assert_eq!(out(&output), "count\n10\ncount\n10\ns\n55\n55\n", "{format}: {}", err(&output));
    }
    let again = "COPY (SELECT 1 AS n) TO 'dir_csv/more.csv'; SELECT sum(n) AS s FROM 'dir_csv/'";
    let output = run(&folder, &["-q", "--format", "csv", "-c", "SELECT sum(n) AS s FROM 'dir_csv/'", "-c", again]);
    assert_eq!(out(&output), "s\n55\ncount\n1\ns\n56\n", "new files are seen");
    let unknown = run(&folder, &["-c", "COPY (SELECT 1 AS n) TO 'y.csv'; SELECT * FROM 'nowhere/'"]);
    assert!(err(&unknown).contains("no file at `nowhere/`"), "{}", err(&unknown));
    std::fs::write(folder.path().join("z.xyz"), "1").unwrap();
    let unknown = run(&folder, &["-c", "SELECT * FROM 'z.xyz'"]);
    assert!(
        err(&unknown).contains("cannot tell the format of") && err(&unknown).contains(".parquet"),
        "{}",
        err(&unknown)
    );
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let folder = folder();
    let mut child = synthohive(&folder)
        .args(["-q", "--format", "csv", "-c", "SELECT * FROM generate_series(1, 1000000000000)", "-c", "SELECT nope"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "value");
    drop(lines);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), err(&output).as_str()), (Some(0), ""));
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_a_query_within_a_second() {
    let folder = folder();
    let mut child = synthohive(&folder)
        .args(["-q", "--format", "csv", "-c", "SELECT 'ready' AS a", "-c"])
        .arg("SELECT sum(a.value % 7 * b.value) FROM generate_series(1, 100000000) a, generate_series(1, 1000000) b")
        .args(["-c", "SELECT 'not reached'"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.nth(1).unwrap().unwrap(), "ready");
    std::thread::sleep(Duration::from_millis(300));
    let pressed = Instant::now();
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    assert_eq!(lines.next().map(Result::unwrap), None);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), err(&output).as_str()), (Some(130), "error: cancelled\n"));
    assert!(pressed.elapsed() < Duration::from_secs(3), "{:?}", pressed.elapsed());
}

#[test]
fn trains_samples_and_drops() {
    let folder = folder();
    let people = "CREATE TABLE people AS SELECT value % 50 AS age, CASE value % 3 WHEN 0 THEN 'a' ELSE 'b' END AS kind \
                  FROM generate_series(1, 600)";
    let train = "SELECT * FROM synth_train('people', epochs => 2, batch_size => 100)";
    let output = run(&folder, &["-c", people, "-c", train]);
    let text = out(&output);
    assert!(text.contains("Training people\n") && text.contains(" 2/2 "), "{text}{}", err(&output));
    assert!(text.contains("Stored as version 1 of model people.\n"), "{text}");

    // Another process, without the table.
    let sample = "SELECT count(*) AS c, min(age) >= 0 AND max(age) < 50 AS ok FROM synth_sample('people', 3000)";
    let output = run(&folder, &["-q", "--format", "csv", "-c", sample]);
    assert_eq!(out(&output), "c,ok\n3000,true\n", "{}", err(&output));
    let output = run(&folder, &["-q", "--format", "csv", "-c", "\\models"]);
    assert!(out(&output).lines().nth(1).is_some_and(|line| line.starts_with("people,1,argn,")), "{}", out(&output));

    let drop = "DROP MODEL people VERSION 1; DROP MODEL IF EXISTS people; DROP MODEL people";
    let output = run(&folder, &["-q", "--format", "csv", "-c", drop]);
    assert_eq!(out(&output), "count\n1\ncount\n0\n");
    assert!(err(&output).contains("model `people` not found"), "{}", err(&output));
}
