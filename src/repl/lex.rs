//! SQL text as tokens with their places: what colouring, completion and "is the statement complete?" share.

use datafusion::sql::sqlparser::{
    dialect::Dialect,
    tokenizer::{Token, TokenWithSpan, Tokenizer, Whitespace},
};
use std::ops::Range;

/// The tokens of `text`, white space and comments included, each with its byte range; and where the text goes on
/// that makes no token (an open string, quoted name or comment).
pub(super) fn lex(text: &str, dialect: &dyn Dialect) -> (Vec<(Token, Range<usize>)>, Option<usize>) {
    let mut found: Vec<TokenWithSpan> = Vec::new();
    let open = Tokenizer::new(dialect, text).tokenize_with_location_into_buf(&mut found).is_err();
    let mut places = Places { text, byte: 0, line: 1, column: 1 };
    let starts: Vec<usize> =
        found.iter().map(|token| places.seek(token.span.start.line, token.span.start.column)).collect();
    let end = match found.last() {
        Some(last) => places.seek(last.span.end.line, last.span.end.column),
        None => 0,
    };
    let ends = starts.iter().skip(1).copied().chain([end]).collect::<Vec<_>>();
    let tokens = found
        .into_iter()
        .zip(starts.into_iter().zip(ends))
        .map(|(found, (from, to))| (found.token, from..to))
        .collect();
    (tokens, open.then_some(end))
}

/// Walks a text from place to place, forward only.
struct Places<'a> {
    text: &'a str,
    byte: usize,
    line: u64,
    column: u64,
}

impl Places<'_> {
    fn seek(&mut self, line: u64, column: u64) -> usize {
        for c in self.text[self.byte..].chars() {
            if (self.line, self.column) >= (line, column) {
                break;
            }
            self.byte += c.len_utf8();
            if c == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
        self.byte
    }
}

/// Whether a text holds nothing to run: white space and comments only.
pub(super) fn is_blank(text: &str, dialect: &dyn Dialect) -> bool {
    let (tokens, open) = lex(text, dialect);
    open.is_none() && tokens.iter().all(|(token, _)| matches!(token, Token::Whitespace(_) | Token::EOF))
}

/// Whether a text ends where a statement ends: at a semicolon outside of strings and comments, or before any statement.
pub(super) fn is_complete(text: &str, dialect: &dyn Dialect) -> bool {
    let (tokens, open) = lex(text, dialect);
    open.is_none()
        && tokens
            .iter()
            .rfind(|(token, _)| !matches!(token, Token::Whitespace(_) | Token::EOF))
            .is_none_or(|(token, _)| *token == Token::SemiColon)
}

/// Whether a token is a comment.
pub(super) fn is_comment(token: &Token) -> bool {
    matches!(token, Token::Whitespace(Whitespace::SingleLineComment { .. } | Whitespace::MultiLineComment(_)))
}

/// A piece of a script.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Statements. Empty lines stand for what came before, so that line numbers in errors are the script's.
    Sql(String),
    /// A line that starts with a backslash where a statement could start.
    Command(String),
}

/// Splits a script into statements and `\` commands.
pub(super) fn pieces(script: &str, dialect: &dyn Dialect) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut sql = String::new();
    let mut lines = 0;
    for line in script.split_inclusive('\n') {
        lines += 1;
        if line.trim_start().starts_with('\\') && is_complete(&sql, dialect) {
            if !is_blank(&sql, dialect) {
                pieces.push(Piece::Sql(std::mem::take(&mut sql)));
            }
            pieces.push(Piece::Command(line.trim().to_owned()));
            sql = "\n".repeat(lines);
        } else {
            sql.push_str(line);
        }
    }
    if !is_blank(&sql, dialect) {
        pieces.push(Piece::Sql(sql));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use rstest::rstest;

    #[rstest]
    #[case("", true)]
    #[case("SELECT 1", false)]
    #[case("SELECT 1;", true)]
    #[case("SELECT 1; -- done", true)]
    #[case("SELECT ';", false)]
    #[case("SELECT 'it''s';", true)]
    #[case("SELECT 1 -- ;", false)]
    #[case("/* ; ", false)]
    #[case("-- only a comment", true)]
    #[case("SELECT \"a;\"", false)]
    fn completeness(#[case] text: &str, #[case] complete: bool) {
        assert_eq!(is_complete(text, &GenericDialect {}), complete);
    }

    #[test]
    fn ranges_cover_the_text() {
        let text = "SELECT 'é', x -- é\nFROM \"ü\"  WHERE 'open";
        let (tokens, open) = lex(text, &GenericDialect {});
        let joined: String = tokens.iter().map(|(_, range)| &text[range.clone()]).collect();
        assert_eq!(open, Some(joined.len()));
        assert_eq!(&text[joined.len()..], "'open");
        assert!(text.starts_with(&joined));
    }

    #[test]
    fn commands_stand_between_statements_only() {
        let script = "\\timing\nSELECT 1;\n  \\d\nSELECT 'a\n\\d\nb'\n";
        assert_eq!(
            pieces(script, &GenericDialect {}),
            [
                Piece::Command("\\timing".into()),
                Piece::Sql("\nSELECT 1;\n".into()),
                Piece::Command("\\d".into()),
                Piece::Sql("\n\n\nSELECT 'a\n\\d\nb'\n".into()),
            ]
        );
    }
}
