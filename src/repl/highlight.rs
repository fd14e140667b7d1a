//! Syntax colours.

use super::lex::{is_comment, lex};
use datafusion::sql::sqlparser::{dialect::Dialect, keywords::Keyword, tokenizer::Token};

const KEYWORD: &str = "\x1b[1;34m";
const FUNCTION: &str = "\x1b[36m";
const STRING: &str = "\x1b[32m";
const NUMBER: &str = "\x1b[35m";
const COMMENT: &str = "\x1b[90m";
const COMMAND: &str = "\x1b[1;36m";
const PLAIN: &str = "\x1b[0m";

/// `line` with ANSI colours. Printable text is unchanged.
pub(super) fn highlight(line: &str, dialect: &dyn Dialect) -> String {
    if line.trim_start().starts_with('\\') {
        return format!("{COMMAND}{line}{PLAIN}");
    }
    let (tokens, open) = lex(line, dialect);
    let mut out = String::with_capacity(line.len() * 2);
    for (at, (token, range)) in tokens.iter().enumerate() {
        let called = matches!(tokens.get(at + 1), Some((Token::LParen, _)));
        paint(&mut out, colour(token, called), &line[range.clone()]);
    }
    if let Some(open) = open {
        let rest = &line[open..];
        let colour = if rest.starts_with(['\'', '"', '`']) { Some(STRING) } else { Some(COMMENT) };
        paint(&mut out, colour, rest);
    }
    out
}

fn colour(token: &Token, called: bool) -> Option<&'static str> {
    match token {
        Token::Word(word) if word.quote_style.is_some() => None,
        Token::Word(word) if called && !is_clause(word.keyword) => Some(FUNCTION),
        Token::Word(word) if word.keyword != Keyword::NoKeyword => Some(KEYWORD),
        Token::Number(..) => Some(NUMBER),
        Token::SingleQuotedString(_)
        | Token::DoubleQuotedString(_)
        | Token::EscapedStringLiteral(_)
        | Token::NationalStringLiteral(_)
        | Token::UnicodeStringLiteral(_)
        | Token::HexStringLiteral(_)
        | Token::DollarQuotedString(_) => Some(STRING),
        token if is_comment(token) => Some(COMMENT),
        _ => None,
    }
}

/// Keywords that stand before a parenthesis without being a function.
fn is_clause(keyword: Keyword) -> bool {
    matches!(
        keyword,
        Keyword::IN
            | Keyword::AS
            | Keyword::FROM
            | Keyword::WHERE
            | Keyword::AND
            | Keyword::OR
            | Keyword::NOT
            | Keyword::VALUES
            | Keyword::OVER
            | Keyword::ON
            | Keyword::BY
            | Keyword::USING
            | Keyword::EXISTS
            | Keyword::SELECT
            | Keyword::COPY
            | Keyword::OPTIONS
            | Keyword::KEY
            | Keyword::UNIQUE
            | Keyword::CHECK
    )
}

fn paint(out: &mut String, colour: Option<&str>, text: &str) {
    match colour {
        Some(colour) => {
            out.push_str(colour);
            out.push_str(text);
            out.push_str(PLAIN);
        }
        None => out.push_str(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use rstest::rstest;

    #[rstest]
    #[case("SELECT 1", "\x1b[1;34mSELECT\x1b[0m \x1b[35m1\x1b[0m")]
    #[case("synth_sample('x", "\x1b[36msynth_sample\x1b[0m(\x1b[32m'x\x1b[0m")]
    #[case("\"select\" -- c", "\"select\" \x1b[90m-- c\x1b[0m")]
    #[case("\\d x", "\x1b[1;36m\\d x\x1b[0m")]
    #[case("/* open", "\x1b[90m/* open\x1b[0m")]
    fn colours(#[case] line: &str, #[case] expected: &str) {
        assert_eq!(highlight(line, &GenericDialect {}), expected);
    }

    #[rstest]
    #[case("SELECT 'é' || count(*) FROM t WHERE x IN (1e6, 0x1) -- ü\n AND y = \"")]
    #[case("€ § ~ \u{1f600} 'a")]
    fn only_adds_colours(#[case] line: &str) {
        let mut plain = highlight(line, &GenericDialect {});
        for code in [KEYWORD, FUNCTION, STRING, NUMBER, COMMENT, COMMAND, PLAIN] {
            plain = plain.replace(code, "");
        }
        assert_eq!(plain, line);
    }
}
