//! Runs `sql/**/*.slt` against a [`SynthSession`], each file in a session and an empty folder of its own.
//!
//! ```text
//! cargo test --test sqllogictest              every file
//! cargo test --test sqllogictest -- shop      the files with `shop` in their path
//! UPDATE=1 cargo test --test sqllogictest     writes what the statements return into the files
//! ```
//!
//! The folder is the working directory, so relative paths (and the model store, `./synth_models`) lie in it, and it
//! goes with the test. Column types are `B`ool, `D`ate, `I`nteger, `R`eal, `T`ext, timestam`P` and `?` for the rest.
//! A statement `\i sql/shop/create.sql` runs the statements of a script, its path taken from the project's root.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use async_trait::async_trait;
use datafusion::arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    datatypes::{DataType, Float64Type},
    util::display::{ArrayFormatter, FormatOptions},
};
use sqllogictest::{
    AsyncDB, ColumnType, DBOutput, Runner, default_normalizer, default_validator,
    harness::{self, Arguments, Failed, Trial},
    strict_column_validator,
};
use std::path::{Path, PathBuf};
use synthohive::{Result, SynthError, session::SynthSession};

fn main() -> std::process::ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1); // the working directory belongs to the process
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    collect(&root.join("sql"), &mut files);
    files.sort();
    assert!(!files.is_empty(), "no .slt file under {}/sql", root.display());
    let trials = files
        .into_iter()
        .map(|file| {
            let name = file.strip_prefix(root).unwrap().display().to_string();
            Trial::test(name, move || run(&file))
        })
        .collect();
    harness::run(&arguments, trials).exit_code()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "slt") {
            files.push(path);
        }
    }
}

/// Runs one file in a new folder.
fn run(file: &Path) -> Result<(), Failed> {
    let text = std::fs::read_to_string(file)?;
    for record in text.split("\n\n") {
        let bare = record.lines().any(|line| matches!(line.trim_end(), "query error" | "statement error"));
        if bare && !record.contains("\n----") {
            // Any error would do: that is no test.
            return Err(format!("say which error is expected (a word, then UPDATE=1 writes it):\n{record}").into());
        }
    }
    let folder = tempfile::tempdir()?;
    let home = std::env::current_dir()?;
    std::env::set_current_dir(folder.path())?;
    let done = tokio::runtime::Runtime::new()?.block_on(async {
        let mut runner = Runner::new(|| async { Session::new() });
        runner.with_column_validator(strict_column_validator);
        if std::env::var_os("UPDATE").is_some() {
            runner
                .update_test_file(file, " ", default_validator, default_normalizer, strict_column_validator)
                .await
                .map_err(|error| Failed::from(error.to_string()))
        } else {
            runner.run_file_async(file).await.map_err(|error| Failed::from(error.display(false).to_string()))
        }
    });
    std::env::set_current_dir(home)?;
    done
}

/// The session under test.
struct Session(SynthSession);

impl Session {
    fn new() -> Result<Self> {
        // Two partitions wherever it runs, so that plans and orders of rows do not depend on the machine.
        let session = SynthSession::builder().with_setting("datafusion.execution.target_partitions", "2").build()?;
        Ok(Self(session))
    }

    async fn script(&self, text: &str) -> Result<(Vec<Type>, Vec<Vec<String>>)> {
        let mut last = (Vec::new(), Vec::new());
        for parsed in self.0.script(text)? {
            let frame = self.0.execute(parsed?.statement).await?;
            let types = frame.schema().fields().iter().map(|field| Type::of(field.data_type())).collect();
            let batches = frame.collect().await?;
            let mut rows = Vec::new();
            for batch in &batches {
                format(batch, &mut rows)?;
            }
            last = (types, rows);
        }
        Ok(last)
    }
}

#[async_trait]
impl AsyncDB for Session {
    type Error = SynthError;
    type ColumnType = Type;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<Type>> {
        let (types, rows) = match sql.strip_prefix("\\i ") {
            Some(path) => {
                let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path.trim());
                let text = std::fs::read_to_string(&path)
                    .map_err(|source| SynthError::Io { context: format!("reading {}", path.display()), source })?;
                self.script(&text).await?;
                return Ok(DBOutput::StatementComplete(0));
            }
            None => self.script(sql).await?,
        };
        Ok(if types.is_empty() { DBOutput::StatementComplete(0) } else { DBOutput::Rows { types, rows } })
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        "synthohive"
    }
}

/// Type of a result column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Bool,
    Date,
    Integer,
    Real,
    Text,
    Timestamp,
    Other,
}

impl Type {
    fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Boolean => Self::Bool,
            DataType::Date32 | DataType::Date64 => Self::Date,
            DataType::Timestamp(..) => Self::Timestamp,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text,
            DataType::Dictionary(_, values) => Self::of(values),
            other if other.is_integer() => Self::Integer,
            other if other.is_numeric() => Self::Real,
            _ => Self::Other,
        }
    }
}

impl ColumnType for Type {
    fn from_char(letter: char) -> Option<Self> {
        match letter {
            'B' => Some(Self::Bool),
            'D' => Some(Self::Date),
            'I' => Some(Self::Integer),
            'R' => Some(Self::Real),
            'T' => Some(Self::Text),
            'P' => Some(Self::Timestamp),
            '?' => Some(Self::Other),
            _ => None,
        }
    }

    fn to_char(&self) -> char {
        match self {
            Self::Bool => 'B',
            Self::Date => 'D',
            Self::Integer => 'I',
            Self::Real => 'R',
            Self::Text => 'T',
            Self::Timestamp => 'P',
            Self::Other => '?',
        }
    }
}

/// Appends the rows of `batch` as text.
fn format(batch: &RecordBatch, rows: &mut Vec<Vec<String>>) -> Result<()> {
    let options = FormatOptions::default().with_null("NULL");
    let columns = batch.columns();
    let formatters =
        columns.iter().map(|column| ArrayFormatter::try_new(column, &options)).collect::<Result<Vec<_>, _>>()?;
    for row in 0..batch.num_rows() {
        let cells = columns.iter().zip(&formatters).map(|(column, formatter)| match real(column, row) {
            Some(number) => number,
            None => match formatter.value(row).to_string() {
                text if text.is_empty() => "(empty)".to_owned(),
                text => text.replace('\n', "\\n"),
            },
        });
        rows.push(cells.collect());
    }
    Ok(())
}

/// A float to ten significant digits: sums depend on the order of rows in the last ones.
fn real(column: &ArrayRef, row: usize) -> Option<String> {
    if !matches!(column.data_type(), DataType::Float64) || column.is_null(row) {
        return None;
    }
    let value = column.as_primitive::<Float64Type>().value(row);
    Some(if value.is_finite() {
        format!("{:.9e}", value).parse::<f64>().unwrap().to_string()
    } else {
        value.to_string()
    })
}
