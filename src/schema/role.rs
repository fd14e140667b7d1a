//! Column roles.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// What a column means, which decides how it is learned. Inferred from the data, overridable
/// through `synth.columns`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnRole {
    /// A value from a list that is learned with its frequencies.
    Categorical,
    /// A number: learned with its distribution, precision and integer-ness.
    Numeric,
    /// A date, timestamp, time of day or duration.
    Datetime,
    /// Identity without meaning: generated in the observed pattern, never copied, unique where the column is.
    Identifier,
    /// Prose: generated from word statistics, never copied.
    FreeText,
    /// Not learned: null in the output.
    Exclude,
}

impl ColumnRole {
    /// Every role, in the order that messages list them.
    pub const ALL: [Self; 6] =
        [Self::Categorical, Self::Numeric, Self::Datetime, Self::Identifier, Self::FreeText, Self::Exclude];

    /// The role as written in SQL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Categorical => "categorical",
            Self::Numeric => "numeric",
            Self::Datetime => "datetime",
            Self::Identifier => "identifier",
            Self::FreeText => "free_text",
            Self::Exclude => "exclude",
        }
    }
}

impl fmt::Display for ColumnRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ColumnRole {
    type Err = String;

    /// Accepts the names of [`ColumnRole::as_str`], in any case; the error lists them.
    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = text.trim().to_ascii_lowercase();
        Self::ALL.into_iter().find(|role| role.as_str() == wanted).ok_or_else(|| Self::ALL.map(Self::as_str).join(", "))
    }
}
