//! Shapes: strings with their letters and digits forgotten.

/// The class of a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Class {
    /// `0-9`.
    Digit,
    /// A small letter, or one of a script without capitals.
    Lower,
    /// A capital.
    Upper,
    /// A letter or a digit: a token that mixes both.
    Mixed,
    /// Anything else, kept as it is: punctuation, spaces, emoji.
    Literal(char),
}

impl Class {
    fn of(c: char) -> Self {
        match c {
            '0'..='9' => Self::Digit,
            c if c.is_uppercase() => Self::Upper,
            c if c.is_alphanumeric() => Self::Lower,
            other => Self::Literal(other),
        }
    }
}

/// Class by class.
pub(crate) fn exact(text: &str) -> Vec<Class> {
    text.chars().map(Class::of).collect()
}

/// With letters and digits as one class: `a3f9-01` and `77b2-4e` are of one shape.
pub(crate) fn coarse(text: &str) -> Vec<Class> {
    text.chars()
        .map(|c| match Class::of(c) {
            Class::Literal(c) => Class::Literal(c),
            _ => Class::Mixed,
        })
        .collect()
}

/// 8-4-4-4-12 hexadecimal digits.
pub(crate) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

/// Splits at the one `@` before a dotted domain.
pub(crate) fn email(text: &str) -> Option<(&str, &str)> {
    let (local, domain) = text.split_once('@')?;
    let fine =
        !local.is_empty() && domain.contains('.') && !domain.contains('@') && !text.contains(char::is_whitespace);
    fine.then_some((local, domain))
}
