//! JSON files that prove themselves: the first line holds the SHA-256 of every byte after it.
//!
//! ```json
//! {"sha256":"…64 hexadecimal digits…",
//! "content":{ "format": 2, … }}
//! ```
//!
//! The whole is plain JSON, and any flipped bit or missing byte of it is noticed before the content is looked at.

use crate::{Result, SynthError};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

/// The version of the formats that this build writes, and the newest that it reads.
pub(super) const FORMAT: u32 = 2;
/// The oldest version that it reads: codes of bins stood behind those of atoms before.
const OLDEST: u32 = 2;

const OPENING: &[u8] = b"{\"sha256\":\"";
const DIGITS: usize = 64;
const SEPARATOR: &[u8] = b"\",\n";

#[derive(Serialize, Deserialize)]
struct Content<T> {
    content: T,
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// SHA-256 in lower-case hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The file that holds `content`, which must have a field `format`.
pub(super) fn seal(content: &impl Serialize) -> Result<Vec<u8>> {
    let json = serde_json::to_string_pretty(content)
        .map_err(|error| SynthError::Internal(format!("a model's description is no JSON: {error}")))?;
    let body = format!("\"content\":{json}}}\n");
    let mut file = Vec::with_capacity(OPENING.len() + DIGITS + SEPARATOR.len() + body.len());
    file.extend_from_slice(OPENING);
    file.extend_from_slice(sha256(body.as_bytes()).as_bytes());
    file.extend_from_slice(SEPARATOR);
    file.extend_from_slice(body.as_bytes());
    Ok(file)
}

/// The content of the file at `path`.
pub(super) fn unseal<T: DeserializeOwned>(path: &str, file: &[u8]) -> Result<T> {
    let damaged = |reason: String| SynthError::Artifact { path: path.to_owned(), reason };
    let body = file
        .strip_prefix(OPENING)
        .and_then(|rest| rest.split_at_checked(DIGITS))
        .and_then(|(digits, rest)| Some((digits, rest.strip_prefix(SEPARATOR)?)));
    let Some((digits, body)) = body else {
        return Err(damaged(format!("it does not begin with its checksum ({} bytes)", file.len())));
    };
    if sha256(body).as_bytes() != digits {
        return Err(damaged("its contents do not match its checksum: it was changed or cut off".to_owned()));
    }
    let Content { content: Format { format } } =
        serde_json::from_slice(file).map_err(|error| damaged(format!("it is not a file of a model store: {error}")))?;
    if !(OLDEST..=FORMAT).contains(&format) {
        return Err(damaged(format!(
            "it has format version {format}, this build reads versions {OLDEST} to {FORMAT}; use the release that wrote it"
        )));
    }
    let Content { content } =
        serde_json::from_slice(file).map_err(|error| damaged(format!("its contents are not as expected: {error}")))?;
    Ok(content)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn every_bit_and_every_length_counts() {
        let content = json!({"format": FORMAT, "text": "a \"quoted\" ünïcode", "list": [1, 2.5, null]});
        let file = seal(&content).unwrap();
        assert_eq!(unseal::<Value>("f", &file).unwrap(), content);
        assert!(serde_json::from_slice::<Value>(&file).is_ok(), "the file is not plain JSON");
        for at in 0..file.len() {
            for bit in 0..8 {
                let mut flipped = file.clone();
                flipped[at] ^= 1 << bit;
                let error = unseal::<Value>("the/file", &flipped).unwrap_err().to_string();
                assert!(error.contains("the/file"), "{error}");
            }
            assert!(unseal::<Value>("f", &file[..at]).is_err(), "cut to {at}");
        }
        assert!(unseal::<Value>("f", &[file.as_slice(), b" "].concat()).is_err());
    }

    #[test]
    fn formats_of_the_past_and_the_future_are_told_from_damage() {
        let error = unseal::<Value>("f", &seal(&json!({"format": 7})).unwrap()).unwrap_err().to_string();
        assert!(error.contains("format version 7") && error.contains("versions 2 to 2"), "{error}");
        let error = unseal::<Value>("f", &seal(&json!({"format": 1})).unwrap()).unwrap_err().to_string();
        assert!(error.contains("format version 1") && error.contains("versions 2 to 2"), "{error}");
        let error = unseal::<Value>("f", &seal(&json!({"no": "format"})).unwrap()).unwrap_err().to_string();
        assert!(error.contains("format"), "{error}");
    }
}
