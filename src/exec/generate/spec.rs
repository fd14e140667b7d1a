//! What a generation is: everything that decides what is written, frozen when the query is planned.

use super::{Destination, FUNCTION};
use crate::{Result, SynthError, exec::sample::segment_rows, store::Manifest, torch::DeviceKind};
use std::{fmt, str::FromStr};

/// Row numbers are `BIGINT`s in SQL.
const MAX_ROWS: u64 = i64::MAX as u64;

/// How tables are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GenerateFormat {
    /// A folder of Parquet files.
    Parquet,
    /// A folder of CSV files, each with a header.
    Csv,
    /// A Delta Lake table.
    #[cfg(feature = "delta")]
    Delta,
}

impl GenerateFormat {
    const ALL: &[Self] = &[
        Self::Parquet,
        Self::Csv,
        #[cfg(feature = "delta")]
        Self::Delta,
    ];

    /// The name in SQL; of files, their extension as well.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
            #[cfg(feature = "delta")]
            Self::Delta => "delta",
        }
    }
}

impl FromStr for GenerateFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|format| format.name().eq_ignore_ascii_case(text.trim()));
        found.copied().ok_or_else(|| Self::ALL.iter().map(|format| format.name()).collect::<Vec<_>>().join(", "))
    }
}

impl fmt::Display for GenerateFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How large the generated database is, compared with the training data.
///
/// Tables that refer to each other come in segments, each a database by itself, of at most the training data's size.
/// References stay within a segment, so that whole segments, equally many of each table, leave no orphans: a scale is
/// split into a number of segments and the share of the training data's rows that one has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// What was asked for.
    pub whole: f64,
    /// Share of the training data's rows in a segment, at most 1.
    pub unit: f64,
    /// Segments.
    pub segments: u64,
}

impl Scale {
    /// Splits `scale`, a positive number.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn new(scale: f64) -> Self {
        let segments = scale.ceil().max(1.0);
        Self { whole: scale, unit: scale / segments, segments: segments as u64 }
    }

    /// Rows of a table.
    ///
    /// # Errors
    /// More rows than can be numbered.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn rows(&self, manifest: &Manifest) -> Result<u64> {
        let rows = match &manifest.relations {
            Some(_) => segment_rows(manifest, self.unit).checked_mul(self.segments),
            None => Some(((manifest.report.rows as f64 * self.whole).round() as u64).max(1)),
        };
        rows.filter(|&rows| rows <= MAX_ROWS).ok_or_else(|| SynthError::Argument {
            function: FUNCTION.to_owned(),
            argument: "scale".to_owned(),
            given: format!("{}, with which `{}` has too many rows", self.whole, manifest.name),
            expected: format!("a scale with which every table has at most {MAX_ROWS} rows"),
        })
    }
}

/// A generation.
#[derive(Debug, Clone)]
pub struct GenerateSpec {
    /// Where the models are.
    pub store: String,
    /// Where the tables go.
    pub to: Destination,
    /// How they are written.
    pub format: GenerateFormat,
    /// Whether tables that are there already are replaced.
    pub overwrite: bool,
    /// Seed of the noise.
    pub seed: u64,
    /// How many rows.
    pub scale: Scale,
    /// Where to run the models.
    pub device: DeviceKind,
    /// Intra-op threads per partition. Does not change the rows.
    pub threads: Option<usize>,
}

#[cfg(test)]
#[allow(clippy::float_cmp)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(0.001, 0.001, 1)]
    #[case(0.5, 0.5, 1)]
    #[case(1.0, 1.0, 1)]
    #[case(1.5, 0.75, 2)]
    #[case(2.5, 2.5 / 3.0, 3)]
    #[case(1000.0, 1.0, 1000)]
    fn a_scale_is_whole_segments(#[case] scale: f64, #[case] unit: f64, #[case] segments: u64) {
        let split = Scale::new(scale);
        assert_eq!((split.unit, split.segments), (unit, segments));
    }
}
