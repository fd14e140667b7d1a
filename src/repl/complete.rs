//! Completion: keywords, functions, tables, the columns of the tables in the statement, models, files, commands.

use super::{
    command::COMMANDS,
    format::Format,
    lex::{is_comment, lex},
};
use crate::session::SynthSession;
use clap::ValueEnum;
use datafusion::{
    arrow::array::AsArray,
    catalog::information_schema::{INFORMATION_SCHEMA, INFORMATION_SCHEMA_TABLES},
    common::TableReference,
    sql::sqlparser::{
        keywords::Keyword,
        tokenizer::{Token, Word},
    },
};
use rustyline::completion::{FilenameCompleter, Pair};
use std::{ops::Range, time::Duration};
use tokio::runtime::Handle;

/// Longer than this nobody waits for a Tab.
const PATIENCE: Duration = Duration::from_millis(400);

/// What people type; the rest of the grammar would drown it.
const KEYWORDS: &[&str] = &[
    "ALL",
    "ALTER",
    "ANALYZE",
    "AND",
    "AS",
    "ASC",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "COLUMN",
    "COLUMNS",
    "COPY",
    "CREATE",
    "CROSS JOIN",
    "CSV",
    "DELETE",
    "DELTATABLE",
    "DESC",
    "DESCRIBE",
    "DISTINCT",
    "DROP",
    "ELSE",
    "END",
    "EXCEPT",
    "EXCLUDE",
    "EXECUTE",
    "EXISTS",
    "EXPLAIN",
    "EXTERNAL",
    "FALSE",
    "FILTER",
    "FIRST",
    "FROM",
    "FULL JOIN",
    "FUNCTIONS",
    "GROUP BY",
    "HAVING",
    "IF",
    "ILIKE",
    "IN",
    "INNER JOIN",
    "INSERT",
    "INTERSECT",
    "INTERVAL",
    "INTO",
    "IS",
    "JOIN",
    "JSON",
    "LAST",
    "LEFT JOIN",
    "LIKE",
    "LIMIT",
    "LOCATION",
    "MODEL",
    "NOT",
    "NULL",
    "NULLS",
    "OFFSET",
    "ON",
    "OPTIONS",
    "OR",
    "ORDER BY",
    "OVER",
    "OVERWRITE",
    "PARQUET",
    "PARTITION BY",
    "PARTITIONED BY",
    "PREPARE",
    "PRIMARY KEY",
    "QUALIFY",
    "REPLACE",
    "RESET",
    "RIGHT JOIN",
    "SCHEMA",
    "SELECT",
    "SET",
    "SHOW",
    "STORED AS",
    "TABLE",
    "TABLES",
    "THEN",
    "TO",
    "TRUE",
    "UNION",
    "UNIQUE",
    "UPDATE",
    "USING",
    "VALUES",
    "VERBOSE",
    "VERSION",
    "VIEW",
    "WHEN",
    "WHERE",
    "WINDOW",
    "WITH",
];

/// Finds completions in a session.
pub(super) struct Completions {
    session: SynthSession,
    runtime: Handle,
    files: FilenameCompleter,
}

/// Where a completion starts, and what could stand there.
type Found = (usize, Vec<Pair>);

impl Completions {
    /// Looks into `session`; waits for catalogs on `runtime`, so callers must not be inside of it.
    pub(super) fn new(session: SynthSession, runtime: Handle) -> Self {
        Self { session, runtime, files: FilenameCompleter::new() }
    }

    /// The completions of `line` at byte `at`.
    pub(super) fn complete(&self, line: &str, at: usize) -> rustyline::Result<Found> {
        let before = &line[..at];
        if before.trim_start().starts_with('\\') {
            return self.command(before);
        }
        let dialect = self.session.dialect();
        let (tokens, open) = lex(before, dialect.as_ref());
        if let Some(open) = open {
            return if before[open..].starts_with('\'') {
                self.string(before, open + 1, &tokens)
            } else {
                Ok((at, Vec::new()))
            };
        }
        if tokens.last().is_some_and(|(token, _)| is_comment(token)) && !before.ends_with(['\n', '/']) {
            return Ok((at, Vec::new()));
        }
        let start = before
            .rfind(|c: char| !(c.is_alphanumeric() || "_.$".contains(c)))
            .map_or(0, |found| found + before[found..].chars().next().map_or(1, char::len_utf8));
        let word = &before[start..];
        let mentioned = mentioned(&lex(line, dialect.as_ref()).0);
        Ok(match word.rsplit_once('.') {
            Some((qualifier, prefix)) => {
                (at - prefix.len(), matching(prefix, self.qualified(qualifier, &mentioned).into_iter().map(name)))
            }
            None => (start, self.word(word, &mentioned)),
        })
    }

    /// After a backslash.
    fn command(&self, before: &str) -> rustyline::Result<Found> {
        let trimmed = before.trim_start();
        let Some((command, argument)) = trimmed.split_once(char::is_whitespace) else {
            let commands = COMMANDS.iter().map(|(name, ..)| plain((*name).to_owned()));
            return Ok((before.len() - trimmed.len(), matching(trimmed, commands)));
        };
        let start = before.len() - argument.trim_start().len();
        let prefix = &before[start..];
        match command {
            "\\i" | "\\o" => self.files.complete_path(before, before.len()),
            "\\d" => Ok((start, matching(prefix, self.tables().into_iter().map(plain)))),
            "\\timing" => Ok((start, matching(prefix, ["on", "off"].map(|word| plain(word.to_owned()))))),
            "\\format" => {
                let formats = Format::value_variants().iter().filter_map(Format::to_possible_value);
                Ok((start, matching(prefix, formats.map(|value| plain(value.get_name().to_owned())))))
            }
            _ => Ok((before.len(), Vec::new())),
        }
    }

    /// Inside a string that starts at byte `start`: tables or models where a function takes them, and files.
    fn string(&self, before: &str, start: usize, tokens: &[(Token, Range<usize>)]) -> rustyline::Result<Found> {
        let names = match called(tokens).map(|name| name.to_ascii_lowercase()).as_deref() {
            Some("synth_train") => self.tables(),
            Some(name) if name.starts_with("synth_") => self.models(),
            _ => Vec::new(),
        };
        let names = matching(&before[start..], names.into_iter().map(plain));
        if names.is_empty() { self.files.complete_path(before, before.len()) } else { Ok((start, names)) }
    }

    /// A word without a qualifier.
    fn word(&self, word: &str, mentioned: &[Mention]) -> Vec<Pair> {
        let mut found: Vec<Pair> = Vec::new();
        for mention in mentioned {
            found.extend(matching(word, self.columns(&mention.table).into_iter().map(name)));
            found.extend(matching(word, mention.alias.clone().into_iter().map(name)));
        }
        found.extend(matching(word, self.tables().into_iter().map(name)));
        if !word.is_empty() {
            found.extend(matching(word, self.functions().into_iter().map(call)));
            let lower = word.chars().any(char::is_lowercase);
            let keywords =
                KEYWORDS.iter().map(|keyword| if lower { keyword.to_lowercase() } else { (*keyword).to_owned() });
            found.extend(matching(word, keywords.map(plain)));
        }
        found.sort_by(|a, b| a.display.cmp(&b.display));
        found.dedup_by(|a, b| a.replacement == b.replacement);
        found
    }

    /// After `qualifier.`: the columns of a table or alias, or the tables of a schema.
    fn qualified(&self, qualifier: &str, mentioned: &[Mention]) -> Vec<String> {
        let aliased = mentioned
            .iter()
            .find(|mention| mention.alias.as_deref().is_some_and(|alias| alias.eq_ignore_ascii_case(qualifier)));
        let columns = self.columns(aliased.map_or(qualifier, |mention| &mention.table));
        if !columns.is_empty() {
            return columns;
        }
        let prefix = format!("{}.", qualifier.to_ascii_lowercase());
        self.tables().into_iter().filter_map(|table| Some(table.strip_prefix(&prefix)?.to_owned())).collect()
    }

    /// Every table: bare in the default schema, qualified elsewhere.
    fn tables(&self) -> Vec<String> {
        let state = self.session.context().state();
        let defaults = &state.config().options().catalog;
        let mut tables = Vec::new();
        let Some(catalog) = state.catalog_list().catalog(&defaults.default_catalog) else { return tables };
        for schema in catalog.schema_names() {
            let names = catalog.schema(&schema).map(|schema| schema.table_names()).unwrap_or_default();
            if schema == defaults.default_schema {
                tables.extend(names);
            } else {
                tables.extend(names.into_iter().map(|table| format!("{schema}.{table}")));
            }
        }
        // The catalog does not know of this schema; sessions answer for it.
        tables.extend(INFORMATION_SCHEMA_TABLES.iter().map(|table| format!("{INFORMATION_SCHEMA}.{table}")));
        tables
    }

    fn functions(&self) -> Vec<String> {
        let state = self.session.context().state();
        let mut names: Vec<String> = state.scalar_functions().keys().cloned().collect();
        names.extend(state.aggregate_functions().keys().cloned());
        names.extend(state.window_functions().keys().cloned());
        names.extend(state.table_functions().keys().cloned());
        names
    }

    /// The columns of a table or file; none when it does not exist or takes long to look at.
    fn columns(&self, table: &str) -> Vec<String> {
        let reference = TableReference::parse_str(table);
        let wait = async {
            let bare = TableReference::bare(table);
            let context = self.session.context();
            match context.table_provider(bare).await {
                Ok(provider) => Some(provider),
                Err(_) => context.table_provider(reference).await.ok(),
            }
        };
        let provider = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, wait).await });
        match provider {
            Ok(Some(provider)) => provider.schema().fields().iter().map(|field| field.name().clone()).collect(),
            _ => Vec::new(),
        }
    }

    /// The trained models; none when the store takes long to read.
    fn models(&self) -> Vec<String> {
        let wait = async {
            let frame = self.session.sql("SELECT DISTINCT CAST(model AS VARCHAR) FROM synth.models").await.ok()?;
            frame.collect().await.ok()
        };
        let Ok(Some(batches)) = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, wait).await }) else {
            return Vec::new();
        };
        let columns = batches.iter().filter(|batch| batch.num_columns() > 0).map(|batch| batch.column(0));
        columns
            .flat_map(|column| match column.as_string_opt::<i32>() {
                Some(names) => names.iter().flatten().map(str::to_owned).collect::<Vec<_>>(),
                None => column.as_string_view_opt().into_iter().flatten().flatten().map(str::to_owned).collect(),
            })
            .collect()
    }
}

/// A table in the statement.
#[derive(Debug, PartialEq, Eq)]
struct Mention {
    table: String,
    alias: Option<String>,
}

/// The tables after `FROM`, `JOIN`, `INTO`, `UPDATE` and `TABLE`, and after commas behind them.
fn mentioned(tokens: &[(Token, Range<usize>)]) -> Vec<Mention> {
    let mut tokens = tokens.iter().map(|(token, _)| token).filter(|token| !matches!(token, Token::Whitespace(_)));
    let mut found: Vec<Mention> = Vec::new();
    let mut next = tokens.next();
    let mut listing = false;
    while let Some(token) = next {
        next = tokens.next();
        match token {
            Token::Word(word) if word.quote_style.is_none() && starts_tables(word.keyword) => listing = true,
            Token::Comma if listing => {}
            _ => {
                listing = false;
                continue;
            }
        }
        let Some(mut table) = next.and_then(table_word) else { continue };
        next = tokens.next();
        while matches!(next, Some(Token::Period)) {
            let Some(part) = tokens.next().and_then(table_word) else { break };
            table = format!("{table}.{part}");
            next = tokens.next();
        }
        if matches!(next, Some(Token::Word(word)) if word.keyword == Keyword::AS) {
            next = tokens.next();
        }
        let alias = match next {
            Some(Token::Word(Word { value, keyword: Keyword::NoKeyword, .. })) => {
                next = tokens.next();
                Some(value.clone())
            }
            _ => None,
        };
        found.push(Mention { table, alias });
    }
    found
}

fn starts_tables(keyword: Keyword) -> bool {
    matches!(keyword, Keyword::FROM | Keyword::JOIN | Keyword::INTO | Keyword::UPDATE | Keyword::TABLE)
}

fn table_word(token: &Token) -> Option<String> {
    match token {
        Token::Word(Word { value, quote_style: None, .. }) => Some(value.to_lowercase()),
        Token::Word(Word { value, .. }) => Some(value.clone()),
        Token::SingleQuotedString(path) => Some(path.clone()),
        _ => None,
    }
}

/// The function whose arguments the text ends in.
fn called(tokens: &[(Token, Range<usize>)]) -> Option<&str> {
    let mut depth = 0_usize;
    let mut tokens = tokens.iter().rev().map(|(token, _)| token).filter(|token| !matches!(token, Token::Whitespace(_)));
    while let Some(token) = tokens.next() {
        match token {
            Token::RParen => depth += 1,
            Token::LParen if depth > 0 => depth -= 1,
            Token::LParen => {
                return match tokens.next() {
                    Some(Token::Word(word)) => Some(&word.value),
                    _ => None,
                };
            }
            Token::SemiColon => return None,
            _ => {}
        }
    }
    None
}

/// The candidates that start with `prefix`, in any case.
fn matching(prefix: &str, candidates: impl IntoIterator<Item = Pair>) -> Vec<Pair> {
    let prefix = prefix.to_lowercase();
    candidates.into_iter().filter(|pair| pair.display.to_lowercase().starts_with(&prefix)).collect()
}

fn plain(text: String) -> Pair {
    Pair { display: text.clone(), replacement: text }
}

/// A table or column, quoted where SQL would read it otherwise.
fn name(text: String) -> Pair {
    let simple = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_.".contains(c));
    let replacement = if simple { text.clone() } else { format!("\"{}\"", text.replace('"', "\"\"")) };
    Pair { display: text, replacement }
}

fn call(name: String) -> Pair {
    Pair { replacement: format!("{name}("), display: name }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn complete(line: &str) -> (usize, Vec<String>) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let session = SynthSession::new().unwrap();
        let setup = "CREATE TABLE people AS SELECT 1 AS age, 'x' AS \"Home Town\"";
        runtime.block_on(async { session.sql(setup).await.unwrap() });
        let (start, pairs) = Completions::new(session, runtime.handle().clone()).complete(line, line.len()).unwrap();
        (start, pairs.into_iter().map(|pair| pair.replacement).collect())
    }

    #[rstest]
    #[case("SEL", 0, "SELECT")]
    #[case("sel", 0, "select")]
    #[case("SELECT * FROM peo", 14, "people")]
    #[case("SELECT approx_dist", 7, "approx_distinct(")]
    #[case("SELECT * FROM people WHERE ag", 27, "age")]
    #[case("SELECT * FROM people WHERE Home", 27, "\"Home Town\"")]
    #[case("SELECT * FROM people p WHERE p.a", 31, "age")]
    #[case("SELECT * FROM people WHERE people.a", 34, "age")]
    #[case("SELECT * FROM information_schema.tab", 33, "tables")]
    #[case("\\mod", 0, "\\models")]
    #[case("\\d peo", 3, "people")]
    #[case("\\format nd", 8, "ndjson")]
    #[case("SELECT * FROM synth_train('peo", 27, "people")]
    fn offers(#[case] line: &str, #[case] start: usize, #[case] candidate: &str) {
        let (found, candidates) = complete(line);
        assert_eq!(found, start);
        assert!(candidates.iter().any(|found| found == candidate), "{candidates:?}");
    }

    #[rstest]
    #[case("SELECT 1 -- peo")]
    #[case("SELECT 1 /* peo")]
    #[case("SELECT \"peo")]
    fn offers_nothing_in(#[case] line: &str) {
        assert!(complete(line).1.iter().all(|candidate| candidate != "people"));
    }

    #[test]
    fn files_complete_in_strings() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("orders.parquet"), "").unwrap();
        let line = format!("SELECT * FROM '{}/ord", dir.path().display());
        assert!(complete(&line).1[0].ends_with("orders.parquet"));
    }

    #[test]
    fn tables_of_a_statement() {
        let sql = "SELECT * FROM a, b.c AS d JOIN \"E f\" g ON 1 = 1 WHERE x, y";
        let tokens = lex(sql, &datafusion::sql::sqlparser::dialect::GenericDialect {}).0;
        let found: Vec<_> = mentioned(&tokens).into_iter().map(|mention| (mention.table, mention.alias)).collect();
        let some = |alias: &str| Some(alias.to_owned());
        assert_eq!(found, [("a".into(), None), ("b.c".into(), some("d")), ("E f".into(), some("g"))]);
    }
}
