//! The command line's arguments.

use super::format::Format;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, ValueEnum};
use std::path::PathBuf;

const ABOUT: &str = "Learns a relational database and generates a synthetic one, in SQL.

Without -c, -f or input from a pipe, an interactive prompt starts; \\? lists its commands.";

/// What the command line says.
#[derive(Debug, Parser)]
#[command(name = "synthohive", version, about = ABOUT)]
pub(super) struct Args {
    /// Run these statements (or one \command), then exit; can be repeated, in order with -f
    #[arg(short = 'c', long = "command", value_name = "SQL", allow_hyphen_values = true)]
    command: Vec<String>,

    /// Run the statements of this file, then exit; can be repeated, in order with -c
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    file: Vec<PathBuf>,

    /// How results are printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(super) format: Format,

    /// Rows that the table format prints, or `inf`
    #[arg(long, value_name = "N", default_value = "40", value_parser = parse_max_rows)]
    pub(super) maxrows: MaxRows,

    /// Print results only: no banner, no row counts, no progress
    #[arg(short, long)]
    pub(super) quiet: bool,

    /// Print each statement, with its comments, before its result
    #[arg(short, long)]
    pub(super) echo: bool,

    /// Bytes that queries may reserve together: 800m, 1.5g (K, M, G, T are powers of 1024)
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(super) memory_limit: Option<usize>,

    /// Set an option for the session, as SET would: synth.store=/data/models
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = parse_setting)]
    pub(super) set: Vec<(String, String)>,

    /// Colours; `auto` takes them where output is a terminal and NO_COLOR is not set
    #[arg(long, value_enum, default_value_t = Colour::Auto, value_name = "WHEN")]
    pub(super) color: Colour,
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Colour {
    Auto,
    Always,
    Never,
}

/// Rows of a table to print at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MaxRows(pub(super) usize);

/// Something to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Task {
    Command(String),
    File(PathBuf),
}

impl Args {
    /// Parses the process's arguments; prints usage and exits on `--help`, `--version` and on bad ones.
    pub(super) fn read() -> (Self, Vec<Task>) {
        Self::from_matches(&Self::command().get_matches()).unwrap_or_else(|error| error.exit())
    }

    fn from_matches(matches: &ArgMatches) -> Result<(Self, Vec<Task>), clap::Error> {
        let args = Self::from_arg_matches(matches)?;
        let commands = places(matches, "command").zip(args.command.iter().cloned().map(Task::Command));
        let files = places(matches, "file").zip(args.file.iter().cloned().map(Task::File));
        let mut tasks: Vec<_> = commands.chain(files).collect();
        tasks.sort_by_key(|(place, _)| *place);
        Ok((args, tasks.into_iter().map(|(_, task)| task).collect()))
    }
}

/// Where on the command line the values of an argument stand.
fn places<'a>(matches: &'a ArgMatches, id: &str) -> impl Iterator<Item = usize> + 'a {
    matches.indices_of(id).into_iter().flatten()
}

pub(super) fn parse_max_rows(text: &str) -> Result<MaxRows, String> {
    if ["inf", "infinite", "none"].iter().any(|word| text.eq_ignore_ascii_case(word)) {
        return Ok(MaxRows(usize::MAX));
    }
    text.parse().map(MaxRows).map_err(|_| "a whole number, or `inf`, is expected".to_owned())
}

fn parse_setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if name.contains('.') => Ok((name.trim().to_owned(), value.trim().to_owned())),
        _ => Err("name=value is expected, as in synth.seed=42".to_owned()),
    }
}

fn parse_size(text: &str) -> Result<usize, String> {
    let expected = || "a size is expected, as in 800m, 1.5g or 1073741824".to_owned();
    let lower = text.trim().to_ascii_lowercase();
    let lower = lower.strip_suffix("ib").or_else(|| lower.strip_suffix('b')).unwrap_or(&lower);
    let (digits, power) = match lower.char_indices().next_back() {
        Some((at, 'k')) => (&lower[..at], 1),
        Some((at, 'm')) => (&lower[..at], 2),
        Some((at, 'g')) => (&lower[..at], 3),
        Some((at, 't')) => (&lower[..at], 4),
        _ => (lower, 0),
    };
    let number: f64 = digits.trim().parse().map_err(|_| expected())?;
    let bytes = number * 1024_f64.powi(power);
    // Exact below 2^53, beyond any machine's memory.
    if bytes.is_finite() && (1.0..9e15).contains(&bytes) { Ok(bytes as usize) } else { Err(expected()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn arguments_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn tasks_keep_the_order_of_the_command_line() {
        let words = ["synthohive", "-f", "a.sql", "-c", "-- no\nSELECT 1", "-q", "-f", "b.sql"];
        let (args, tasks) = Args::from_matches(&Args::command().get_matches_from(words)).unwrap();
        assert!(args.quiet);
        let file = |name: &str| Task::File(name.into());
        assert_eq!(tasks, [file("a.sql"), Task::Command("-- no\nSELECT 1".into()), file("b.sql")]);
    }

    #[rstest]
    #[case("1.5g", Some(1_610_612_736))]
    #[case("800M", Some(838_860_800))]
    #[case("2GiB", Some(2_147_483_648))]
    #[case("4096", Some(4096))]
    #[case("0", None)]
    #[case("-1g", None)]
    #[case("nan", None)]
    #[case("1e30t", None)]
    #[case("lots", None)]
    #[case("", None)]
    fn sizes(#[case] text: &str, #[case] bytes: Option<usize>) {
        assert_eq!(parse_size(text).ok(), bytes);
    }

    #[rstest]
    #[case("7", Some(MaxRows(7)))]
    #[case("INF", Some(MaxRows(usize::MAX)))]
    #[case("-1", None)]
    fn row_limits(#[case] text: &str, #[case] rows: Option<MaxRows>) {
        assert_eq!(parse_max_rows(text).ok(), rows);
    }
}
