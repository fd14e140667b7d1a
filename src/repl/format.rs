//! Result formats: streaming ones, and the table, which shows the first rows.

use crate::{Result, SynthError};
use arrow::{
    array::RecordBatch,
    csv,
    datatypes::SchemaRef,
    json,
    util::{display::FormatOptions, pretty::pretty_format_batches_with_options},
};
use clap::ValueEnum;
use std::io::Write;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A drawn table of the first rows
    Table,
    /// Comma-separated values with a header
    Csv,
    /// Tab-separated values with a header
    Tsv,
    /// One JSON array of objects
    Json,
    /// One JSON object a line
    Ndjson,
}

/// Writes one result to `W`, batch by batch.
pub(super) enum ResultWriter<W: Write> {
    Table {
        out: W,
        schema: SchemaRef,
        shown: Vec<RecordBatch>,
        rows: usize,
        max_rows: usize,
    },
    /// With the schema, until the header is written.
    Csv(Box<csv::Writer<W>>, Option<SchemaRef>),
    Json(json::ArrayWriter<W>),
    Ndjson(json::LineDelimitedWriter<W>),
    /// A statement without a result.
    Nothing,
}

impl<W: Write> ResultWriter<W> {
    /// A writer of results of `schema`; the table format shows `max_rows` rows.
    pub(super) fn new(format: Format, out: W, schema: SchemaRef, max_rows: usize) -> Result<Self> {
        if schema.fields().is_empty() {
            return Ok(Self::Nothing);
        }
        let explicit = json::writer::WriterBuilder::new().with_explicit_nulls(true);
        Ok(match format {
            Format::Table => Self::Table { out, schema, shown: Vec::new(), rows: 0, max_rows },
            Format::Csv | Format::Tsv => {
                let delimiter = if format == Format::Csv { b',' } else { b'\t' };
                let writer = csv::WriterBuilder::new().with_delimiter(delimiter).with_header(true).build(out);
                Self::Csv(Box::new(writer), Some(schema))
            }
            Format::Json => Self::Json(explicit.build(out)),
            Format::Ndjson => Self::Ndjson(explicit.build(out)),
        })
    }

    /// Writes (or, for a table, keeps or counts) the rows of `batch`.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        match self {
            Self::Table { shown, rows, max_rows, .. } => {
                let room = max_rows.saturating_sub(*rows).min(batch.num_rows());
                if room > 0 {
                    shown.push(batch.slice(0, room));
                }
                *rows += batch.num_rows();
            }
            Self::Csv(writer, header) => {
                *header = None;
                writer.write(batch)?;
            }
            Self::Json(writer) => writer.write(batch)?,
            Self::Ndjson(writer) => writer.write(batch)?,
            Self::Nothing => {}
        }
        Ok(())
    }

    /// Ends the result and gives back the output.
    pub(super) fn finish(self) -> Result<()> {
        match self {
            Self::Table { mut out, schema, shown, rows, max_rows } => {
                let text = table(&schema, &shown)?;
                writeln!(out, "{text}").map_err(failed)?;
                if rows > max_rows {
                    writeln!(out, "First {max_rows} rows of {rows} (--maxrows or \\maxrows shows more).")
                        .map_err(failed)?;
                }
                out.flush().map_err(failed)
            }
            Self::Csv(mut writer, header) => {
                if let Some(schema) = header {
                    writer.write(&RecordBatch::new_empty(schema))?;
                }
                writer.into_inner().flush().map_err(failed)
            }
            Self::Json(mut writer) => {
                writer.finish()?;
                let mut out = writer.into_inner();
                writeln!(out).and_then(|()| out.flush()).map_err(failed)
            }
            Self::Ndjson(mut writer) => {
                writer.finish()?;
                writer.into_inner().flush().map_err(failed)
            }
            Self::Nothing => Ok(()),
        }
    }
}

/// A drawn table. Plans (`EXPLAIN`) keep their line breaks.
fn table(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<String> {
    let options = FormatOptions::default().with_null("NULL").with_display_error(true);
    let empty = [RecordBatch::new_empty(schema.clone())];
    let batches = if batches.is_empty() { &empty[..] } else { batches };
    Ok(pretty_format_batches_with_options(batches, &options)?.to_string())
}

/// The error of a write.
pub(super) fn failed(source: std::io::Error) -> SynthError {
    SynthError::Io { context: "cannot write the result".into(), source }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use arrow::{
        array::{Int64Array, StringArray},
        datatypes::{DataType, Field, Schema},
    };
    use rstest::rstest;
    use std::sync::Arc;

    fn batch() -> RecordBatch {
        let schema = Schema::new(vec![Field::new("n", DataType::Int64, true), Field::new("s", DataType::Utf8, true)]);
        let n = Int64Array::from(vec![Some(1), None, Some(3)]);
        let s = StringArray::from(vec![Some("a,b"), Some("c\td"), None]);
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(n), Arc::new(s)]).unwrap()
    }

    fn print(format: Format, max_rows: usize, batches: &[RecordBatch]) -> String {
        let mut out = Vec::new();
        let mut writer = ResultWriter::new(format, &mut out, batch().schema(), max_rows).unwrap();
        batches.iter().for_each(|batch| writer.write(batch).unwrap());
        writer.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[rstest]
    #[case(Format::Csv, "n,s\n1,\"a,b\"\n,c\td\n3,\n")]
    #[case(Format::Tsv, "n\ts\n1\ta,b\n\t\"c\td\"\n3\t\n")]
    #[case(Format::Json, "[{\"n\":1,\"s\":\"a,b\"},{\"n\":null,\"s\":\"c\\td\"},{\"n\":3,\"s\":null}]\n")]
    #[case(Format::Ndjson, "{\"n\":1,\"s\":\"a,b\"}\n{\"n\":null,\"s\":\"c\\td\"}\n{\"n\":3,\"s\":null}\n")]
    fn formats(#[case] format: Format, #[case] expected: &str) {
        assert_eq!(print(format, 0, &[batch()]), expected);
        assert_eq!(print(format, 0, &[batch().slice(0, 1), batch().slice(1, 2)]), expected);
    }

    #[rstest]
    #[case(Format::Csv, "n,s\n")]
    #[case(Format::Tsv, "n\ts\n")]
    #[case(Format::Json, "[]\n")]
    #[case(Format::Ndjson, "")]
    fn empty_results(#[case] format: Format, #[case] expected: &str) {
        assert_eq!(print(format, 10, &[]), expected);
    }

    #[test]
    fn tables_show_the_first_rows_and_say_so() {
        let text = print(Format::Table, 4, &[batch(), batch()]);
        assert_eq!(text.lines().filter(|line| line.starts_with("| ")).count(), 1 + 4);
        assert!(text.contains("| NULL | c"), "{text}");
        assert!(text.ends_with("First 4 rows of 6 (--maxrows or \\maxrows shows more).\n"), "{text}");
        assert!(!print(Format::Table, 6, &[batch(), batch()]).contains("First"));
    }
}
