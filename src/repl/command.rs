//! The `\` commands.

use super::{
    args::parse_max_rows,
    exec::{Runner, Stop},
    format::Format,
    output::Output,
};
use crate::SynthError;
use arrow::array::AsArray;
use clap::ValueEnum;
use std::path::Path;

/// What there is: name, argument, meaning.
pub(super) const COMMANDS: &[(&str, &str, &str)] = &[
    ("\\d", "[NAME]", "tables and views, or the columns and keys of NAME (a table or a file)"),
    ("\\models", "", "trained models"),
    ("\\i", "FILE", "run the statements of FILE"),
    ("\\o", "[FILE]", "send results to FILE, or back to the screen"),
    ("\\format", "[NAME]", "table, csv, tsv, json or ndjson"),
    ("\\maxrows", "[N]", "rows that a table shows, or inf"),
    ("\\timing", "[on|off]", "time below results"),
    ("\\?", "", "this help"),
    ("\\q", "", "quit (as does Ctrl-D)"),
];

const TABLES: &str = "SELECT table_schema AS schema, table_name AS name, lower(table_type) AS type \
     FROM information_schema.tables WHERE table_schema <> 'information_schema' ORDER BY 1, 2";

const MODELS: &str = "SELECT model, version, kind, source, rows, epochs, score, created \
     FROM synth.models ORDER BY model, version";

/// Runs the command `line`, which starts with a backslash.
pub(super) async fn run(runner: &mut Runner, line: &str) -> Result<(), Stop> {
    let line = line.trim().trim_end_matches(';').trim_end();
    let (name, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let argument = argument.trim();
    match name {
        "\\q" | "\\quit" => Err(Stop::Quit),
        "\\?" | "\\h" | "\\help" => runner.print(|out| out.line(&help())),
        "\\d" if argument.is_empty() => runner.query(TABLES).await,
        "\\d" => {
            runner.query(&format!("DESCRIBE {}", table_name(argument))).await?;
            keys(runner, unquoted(argument)).await
        }
        "\\models" => runner.query(MODELS).await,
        "\\i" => {
            let file = required(name, argument, "the name of a file")?;
            runner.file(Path::new(file)).await
        }
        "\\o" => {
            runner.output = match unquoted(argument) {
                "" => Output::stdout(),
                file => Output::file(Path::new(file))?,
            };
            Ok(())
        }
        "\\format" => {
            if !argument.is_empty() {
                let accepted = Format::value_variants().iter().filter_map(Format::to_possible_value);
                let accepted = accepted.map(|value| value.get_name().to_owned()).collect::<Vec<_>>().join(", ");
                runner.settings.format =
                    Format::from_str(argument, true).map_err(|_| bad(name, "format", argument, &accepted))?;
            }
            let format = runner.settings.format.to_possible_value();
            let format = format.as_ref().map_or("table", |value| value.get_name()).to_owned();
            say(runner, &format!("Results are printed as {format}."))
        }
        "\\maxrows" => {
            if !argument.is_empty() {
                runner.settings.max_rows =
                    parse_max_rows(argument).map_err(|expected| bad(name, "N", argument, &expected))?;
            }
            let rows = runner.settings.max_rows.0;
            let rows = if rows == usize::MAX { "all".to_owned() } else { rows.to_string() };
            say(runner, &format!("Tables show {rows} rows."))
        }
        "\\timing" => {
            runner.settings.timing = match argument.to_ascii_lowercase().as_str() {
                "" => !runner.settings.timing,
                "on" => true,
                "off" => false,
                _ => return Err(bad(name, "timing", argument, "on or off")),
            };
            say(runner, if runner.settings.timing { "Timing is on." } else { "Timing is off." })
        }
        _ => Err(bad("synthohive", "command", line, &format!("one of {}", names()))),
    }
}

/// Below the columns of a table: its keys, and those that refer to it, if there are any.
async fn keys(runner: &mut Runner, table: &str) -> Result<(), Stop> {
    let name = runner.session.table_name(table).replace('\'', "''");
    let keys = format!(
        "SELECT name, key FROM (\
           SELECT 1 AS place, name, upper(kind) || ' (' || columns || ')' AS key FROM synth.keys \
             WHERE table_name = '{name}' \
           UNION ALL SELECT 2, name, 'FOREIGN KEY (' || columns || ') REFERENCES ' || parent_table || ' (' || \
             parent_columns || ')' FROM synth.foreign_keys WHERE table_name = '{name}' \
           UNION ALL SELECT 3, name, 'referenced by ' || table_name || ' (' || columns || ')' FROM synth.foreign_keys \
             WHERE parent_table = '{name}' AND table_name <> '{name}'\
         ) ORDER BY place, key"
    );
    let found = runner.session.sql(&format!("SELECT count(*) > 0 FROM ({keys})")).await?.collect().await;
    let found = found.map_err(SynthError::from)?;
    let any = found.first().is_some_and(|batch| batch.column(0).as_boolean().value(0));
    if any { runner.query(&keys).await } else { Ok(()) }
}

fn say(runner: &mut Runner, text: &str) -> Result<(), Stop> {
    if runner.settings.quiet { Ok(()) } else { runner.print(|out| out.line(text)) }
}

fn names() -> String {
    COMMANDS.iter().map(|(name, ..)| *name).collect::<Vec<_>>().join(" ")
}

fn help() -> String {
    let mut text = String::from("SQL statements end with a semicolon. Commands:\n");
    for (name, argument, meaning) in COMMANDS {
        text.push_str(&format!("  {:<18} {meaning}\n", format!("{name} {argument}")));
    }
    text.push_str(
        "\nSELECT * FROM 'file.parquet' reads files; SHOW FUNCTIONS and SHOW ALL list functions and options.\n\
         SELECT * FROM synth_train('table') learns a table, SELECT * FROM synth_sample('table', 1e6) generates one.",
    );
    text
}

/// The table that `\d` is asked about, as SQL. A file needs no quotes here.
fn table_name(argument: &str) -> String {
    let quoted = argument.starts_with(['\'', '"']);
    if !quoted && (argument.contains('/') || Path::new(argument).exists()) {
        format!("'{}'", argument.replace('\'', "''"))
    } else {
        argument.to_owned()
    }
}

fn required<'a>(command: &str, argument: &'a str, expected: &str) -> Result<&'a str, Stop> {
    match unquoted(argument) {
        "" => Err(bad(command, "argument", "nothing", expected)),
        argument => Ok(argument),
    }
}

fn unquoted(argument: &str) -> &str {
    ['\'', '"'].into_iter().find_map(|quote| argument.strip_prefix(quote)?.strip_suffix(quote)).unwrap_or(argument)
}

fn bad(command: &str, argument: &str, given: &str, expected: &str) -> Stop {
    SynthError::Argument {
        function: command.into(),
        argument: argument.into(),
        given: format!("`{given}`"),
        expected: expected.into(),
    }
    .into()
}
