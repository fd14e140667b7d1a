//! Statements: DataFusion's, and the few of ours that it cannot plan.
//!
//! Everything here has a twin that works under any front end: `DELETE FROM synth.models WHERE …` for `DROP MODEL`,
//! `INSERT INTO synth.foreign_keys` for `FOREIGN KEY`.

use super::keys::{self, KeyChange};
use crate::{Result, SynthError};
use datafusion::{
    common::config::ConfigOptions,
    error::DataFusionError,
    sql::{
        parser::{DFParser, DFParserBuilder, ResetStatement, Statement},
        sqlparser::{
            ast::{ObjectName, TableConstraint},
            dialect::{Dialect, GenericDialect, dialect_from_str},
            keywords::Keyword,
            parser::ParserError,
            tokenizer::{Token, TokenWithSpan, Tokenizer, Word},
        },
    },
};

/// A parsed statement.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SynthStatement {
    /// What DataFusion plans.
    DataFusion(Box<Statement>),
    /// `CREATE [EXTERNAL] TABLE` with keys that DataFusion does not keep.
    CreateTable {
        /// The statement without them.
        statement: Box<Statement>,
        /// Foreign keys, and keys that were given a name.
        constraints: Vec<TableConstraint>,
    },
    /// `ALTER TABLE … ADD …, DROP …` of keys.
    AlterKeys {
        /// The table.
        table: ObjectName,
        /// Whether an unknown table is no error.
        if_exists: bool,
        /// The changes, in order.
        changes: Vec<KeyChange>,
    },
    /// `RESET synth.option`: DataFusion resets its own options only.
    ResetOption {
        /// The option, with its prefix: `synth.seed`.
        name: String,
    },
    /// `DROP MODEL [IF EXISTS] name [VERSION n]`.
    DropModel {
        /// The model.
        name: String,
        /// The version; all of them when absent.
        version: Option<u32>,
        /// Whether an unknown model is no error.
        if_exists: bool,
    },
}

/// One statement of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The statement.
    pub statement: SynthStatement,
    /// Its text, with the comments before it, without the semicolon.
    pub text: String,
}

/// The statements of a script, parsed one after the other, so that those before a syntax error can run.
pub struct Statements<'a> {
    sql: &'a str,
    /// Byte offset of each line of `sql`.
    lines: Vec<usize>,
    parser: DFParser<'a>,
    normalize: bool,
    /// Byte offset of the end of the last statement.
    done: usize,
    failed: bool,
}

/// The dialect that `options` name.
pub(crate) fn dialect(options: &ConfigOptions) -> Box<dyn Dialect> {
    // Every value that the option accepts names a dialect; the generic one is its default.
    dialect_from_str(options.sql_parser.dialect).unwrap_or_else(|| Box::new(GenericDialect {}))
}

impl<'a> Statements<'a> {
    /// Tokenizes `sql`.
    ///
    /// # Errors
    /// An unterminated string or comment, a character that starts no token.
    pub fn new(sql: &'a str, dialect: &'a dyn Dialect, options: &ConfigOptions) -> Result<Self> {
        let parser = &options.sql_parser;
        let tokens = Tokenizer::new(dialect, sql).tokenize_with_location().map_err(|error| syntax(error.into()))?;
        Ok(Self {
            sql,
            lines: std::iter::once(0).chain(sql.match_indices('\n').map(|(at, _)| at + 1)).collect(),
            parser: DFParserBuilder::new(tokens)
                .with_dialect(dialect)
                .with_recursion_limit(parser.recursion_limit.get())
                .build()?,
            normalize: parser.enable_ident_normalization,
            done: 0,
            failed: false,
        })
    }

    fn parse(&mut self) -> Result<SynthStatement> {
        if is_keyword(&self.parser.parser.peek_token(), Keyword::DROP)
            && is_word(&self.parser.parser.peek_nth_token(1), "MODEL")
        {
            return self.drop_model();
        }
        match self.parser.parse_statement()? {
            Statement::Reset(ResetStatement::Variable(name)) if is_synth(&name.to_string()) => {
                Ok(SynthStatement::ResetOption { name: name.to_string().to_ascii_lowercase() })
            }
            mut other => {
                if let Some((table, if_exists, changes)) = keys::changes(&other) {
                    return Ok(SynthStatement::AlterKeys { table, if_exists, changes });
                }
                let constraints = keys::lift(&mut other);
                let statement = Box::new(other);
                Ok(match constraints.is_empty() {
                    true => SynthStatement::DataFusion(statement),
                    false => SynthStatement::CreateTable { statement, constraints },
                })
            }
        }
    }

    /// `DROP MODEL [IF EXISTS] name [VERSION n]`, from `DROP` on.
    fn drop_model(&mut self) -> Result<SynthStatement> {
        let parser = &mut self.parser.parser;
        parser.next_token();
        parser.next_token();
        let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
        let found = parser.next_token();
        let name = match &found.token {
            Token::Word(Word { value, quote_style: None, .. }) if self.normalize => value.to_lowercase(),
            Token::Word(Word { value, .. }) => value.clone(),
            Token::SingleQuotedString(name) => name.clone(),
            _ => return Err(expected("the name of a model", &found)),
        };
        let version = if is_word(&parser.peek_token(), "VERSION") {
            parser.next_token();
            let found = parser.next_token();
            let version = match &found.token {
                Token::Number(digits, _) => digits.parse::<u32>().ok().filter(|version| *version > 0),
                _ => None,
            };
            Some(version.ok_or_else(|| expected("a version (1, 2, …)", &found))?)
        } else {
            None
        };
        Ok(SynthStatement::DropModel { name, version, if_exists })
    }

    /// Byte offset of the start of `token` in the text.
    fn offset(&self, token: &TokenWithSpan) -> usize {
        let start = token.span.start;
        let Some(line) = usize::try_from(start.line).ok().and_then(|line| line.checked_sub(1)) else {
            return self.sql.len(); // the end-of-input token has no place
        };
        let Some(&line) = self.lines.get(line) else { return self.sql.len() };
        let column = usize::try_from(start.column.saturating_sub(1)).unwrap_or(usize::MAX);
        self.sql[line..].char_indices().nth(column).map_or(self.sql.len(), |(at, _)| line + at)
    }
}

impl Iterator for Statements<'_> {
    type Item = Result<Parsed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        while self.parser.parser.consume_token(&Token::SemiColon) {
            self.done = self.offset(&self.parser.parser.get_current_token().clone()) + 1;
        }
        if self.parser.parser.peek_token() == Token::EOF {
            return None;
        }
        let parsed = self.parse().and_then(|statement| {
            let next = self.parser.parser.peek_token();
            if matches!(next.token, Token::SemiColon | Token::EOF) {
                let end = self.offset(&next);
                let text = self.sql[self.done..end].trim().to_owned();
                self.done = end;
                Ok(Parsed { statement, text })
            } else {
                Err(expected("the end of the statement (a semicolon)", &next))
            }
        });
        self.failed = parsed.is_err();
        Some(parsed)
    }
}

fn is_synth(name: &str) -> bool {
    name.split_once('.').is_some_and(|(prefix, _)| prefix.eq_ignore_ascii_case("synth"))
}

fn is_keyword(token: &TokenWithSpan, keyword: Keyword) -> bool {
    matches!(&token.token, Token::Word(word) if word.keyword == keyword && word.quote_style.is_none())
}

fn is_word(token: &TokenWithSpan, text: &str) -> bool {
    matches!(&token.token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(text))
}

fn syntax(error: ParserError) -> SynthError {
    DataFusionError::SQL(Box::new(error), None).into()
}

fn expected(what: &str, found: &TokenWithSpan) -> SynthError {
    syntax(ParserError::ParserError(format!("Expected: {what}, found: {found}{}", found.span.start)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn parse(sql: &str) -> Result<Vec<Parsed>> {
        let options = ConfigOptions::default();
        Statements::new(sql, dialect(&options).as_ref(), &options)?.collect()
    }

    #[rstest]
    #[case("DROP MODEL orders", "orders", None, false)]
    #[case("drop model IF EXISTS Orders version 3", "orders", Some(3), true)]
    #[case("DROP MODEL \"Orders 2\" VERSION 1", "Orders 2", Some(1), false)]
    #[case("DROP MODEL 'orders_EU'", "orders_EU", None, false)]
    fn drops_models(
        #[case] sql: &str,
        #[case] name: &str,
        #[case] version: Option<u32>,
        #[case] if_exists: bool,
    ) -> Result<()> {
        let parsed = parse(sql)?;
        let statement = SynthStatement::DropModel { name: name.into(), version, if_exists };
        assert_eq!(parsed, [Parsed { statement, text: sql.into() }]);
        Ok(())
    }

    #[rstest]
    #[case("DROP MODEL", "the name of a model")]
    #[case("DROP MODEL a VERSION 0", "a version")]
    #[case("DROP MODEL a VERSION 'x'", "a version")]
    #[case("DROP MODEL a b", "the end of the statement")]
    #[case("SELECT 1 SELECT 2", "the end of the statement")]
    #[case("SELECT 'open", "Unterminated")]
    fn refuses(#[case] sql: &str, #[case] message: &str) {
        let error = parse(sql).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }

    #[rstest]
    #[case("CREATE TABLE t (a INT REFERENCES p, b INT)", 1, "CREATE TABLE t (a INT, b INT)")]
    #[case("CREATE TABLE t (a INT, FOREIGN KEY (a) REFERENCES p (b))", 1, "CREATE TABLE t (a INT)")]
    #[case(
        "CREATE TABLE t (a INT, CONSTRAINT k PRIMARY KEY (a), UNIQUE (a))",
        1,
        "CREATE TABLE t (a INT, CONSTRAINT k PRIMARY KEY (a), UNIQUE (a))"
    )]
    #[case("CREATE TABLE t (a INT CONSTRAINT u UNIQUE)", 1, "CREATE TABLE t (a INT CONSTRAINT u UNIQUE)")]
    fn takes_out_what_cannot_be_planned(#[case] sql: &str, #[case] taken: usize, #[case] left: &str) -> Result<()> {
        let parsed = parse(sql)?;
        let SynthStatement::CreateTable { statement, constraints } = &parsed[0].statement else {
            panic!("{parsed:?}");
        };
        assert_eq!(constraints.len(), taken, "{constraints:?}");
        assert_eq!(statement.to_string(), left);
        Ok(())
    }

    #[test]
    fn changes_of_keys_alone_are_ours() -> Result<()> {
        let parsed = parse("ALTER TABLE a.t ADD UNIQUE (x), DROP CONSTRAINT k; ALTER TABLE t ADD COLUMN x INT")?;
        let SynthStatement::AlterKeys { table, changes, .. } = &parsed[0].statement else { panic!("{parsed:?}") };
        assert_eq!((table.to_string(), changes.len()), ("a.t".to_owned(), 2));
        assert!(matches!(&parsed[1].statement, SynthStatement::DataFusion(_)));
        Ok(())
    }

    #[test]
    fn resets_only_our_options() -> Result<()> {
        let parsed = parse("RESET SYNTH.Seed; RESET datafusion.execution.batch_size; DROP TABLE model")?;
        assert_eq!(parsed[0].statement, SynthStatement::ResetOption { name: "synth.seed".into() });
        assert!(matches!(&parsed[1].statement, SynthStatement::DataFusion(s) if matches!(**s, Statement::Reset(_))));
        assert!(matches!(&parsed[2].statement, SynthStatement::DataFusion(_)));
        Ok(())
    }

    #[test]
    fn texts_are_what_was_written() -> Result<()> {
        let sql = "-- a comment; not a statement\nSELECT 'é;', 1 ;;\n/* é */ SELECT 2\n";
        let texts: Vec<_> = parse(sql)?.into_iter().map(|parsed| parsed.text).collect();
        assert_eq!(texts, ["-- a comment; not a statement\nSELECT 'é;', 1", "/* é */ SELECT 2"]);
        Ok(())
    }

    #[test]
    fn statements_before_a_syntax_error_come_first() -> Result<()> {
        let options = ConfigOptions::default();
        let dialect = dialect(&options);
        let mut statements = Statements::new("SELECT 1; SELEKT 2; SELECT 3", dialect.as_ref(), &options)?;
        assert!(statements.next().unwrap().is_ok());
        assert!(statements.next().unwrap().is_err());
        assert!(statements.next().is_none());
        Ok(())
    }
}
