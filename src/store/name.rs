//! Names of models.

use crate::{Result, SynthError};

/// Longest name, in characters.
const MAX_CHARS: usize = 128;
/// Longest name, in bytes of UTF-8: what file systems allow for one folder.
const MAX_BYTES: usize = 255;
/// Files of the store's own, next to the folders of the models.
const RESERVED: [&str; 2] = super::declared::FILES;

/// Accepts the names that are one folder on every file system and object store.
///
/// A name has 1 to 128 characters: letters and digits of any script, `_`, `-`, `.` and spaces; it begins with a letter, a
/// digit or `_`, and does not end with a space or `.`. Names are kept as given, case included.
///
/// # Errors
/// Any other name.
pub fn check(name: &str) -> Result<()> {
    let edge = |c: char| c.is_alphanumeric() || c == '_';
    let reason = if name.is_empty() {
        "it is empty".to_owned()
    } else if name.chars().count() > MAX_CHARS || name.len() > MAX_BYTES {
        format!("it has {} characters ({} bytes)", name.chars().count(), name.len())
    } else if let Some(bad) = name.chars().find(|&c| !(edge(c) || matches!(c, '-' | '.' | ' '))) {
        format!("it contains {bad:?}")
    } else if !name.starts_with(edge) {
        format!("it begins with {:?}", name.chars().next().unwrap_or_default())
    } else if name.ends_with([' ', '.']) {
        "it ends with a space or `.`".to_owned()
    } else if RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
        "it is the name of a file of the model store".to_owned()
    } else {
        return Ok(());
    };
    Err(SynthError::Name {
        name: name.to_owned(),
        reason: format!(
            "{reason}; accepted are 1 to {MAX_CHARS} characters (at most {MAX_BYTES} bytes): letters, digits, `_`, `-`, `.` \
             and spaces, beginning with a letter, a digit or `_`, not ending with a space or `.`"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("orders")]
    #[case("_1")]
    #[case("Orders v2.1-final")]
    #[case("ärzte_北京")]
    #[case(&"x".repeat(128))]
    fn accepted(#[case] name: &str) {
        assert!(check(name).is_ok());
    }

    #[rstest]
    #[case("", "empty")]
    #[case("../up", "'/'")]
    #[case("..", "begins with '.'")]
    #[case(".hidden", "begins with '.'")]
    #[case("a/b", "'/'")]
    #[case("a\\b", "'\\\\'")]
    #[case("a\0b", "'\\0'")]
    #[case("a\nb", "'\\n'")]
    #[case("a#1", "'#'")]
    #[case("100%", "'%'")]
    #[case(" a", "begins with ' '")]
    #[case("a.", "ends with")]
    #[case("-rf", "begins with '-'")]
    #[case("Columns.JSON", "file of the model store")]
    #[case(&"x".repeat(129), "129 characters")]
    #[case(&"北".repeat(100), "300 bytes")]
    fn refused(#[case] name: &str, #[case] why: &str) {
        let message = check(name).map_err(|error| error.to_string()).err().unwrap_or_default();
        assert!(message.contains(why) && message.contains("accepted are"), "{message}");
    }
}
