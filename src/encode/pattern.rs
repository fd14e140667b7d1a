//! Strings of observed patterns.

use super::{columns::DecodeInput, hash::mix};
use crate::{Result, noise::BLOCK_ROWS};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What may stand at a position.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Place {
    Digit,
    Lower,
    Upper,
    Literal(char),
}

/// The patterns of a column with their frequencies.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Patterns {
    patterns: Vec<(Vec<Place>, u64)>,
}

impl Patterns {
    /// The patterns of these values (with weights).
    pub(crate) fn of<'a>(values: impl Iterator<Item = (&'a [u8], u64)>) -> Self {
        let mut patterns = BTreeMap::<Vec<Place>, u64>::new();
        for (value, weight) in values {
            let pattern = String::from_utf8_lossy(value)
                .chars()
                .map(|c| match c {
                    '0'..='9' => Place::Digit,
                    'a'..='z' => Place::Lower,
                    'A'..='Z' => Place::Upper,
                    other => Place::Literal(other),
                })
                .collect();
            *patterns.entry(pattern).or_insert(0) += weight;
        }
        let mut patterns: Vec<_> = patterns.into_iter().collect();
        patterns.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        patterns.truncate(256);
        Self { patterns }
    }

    /// The values of the rows asked for.
    #[allow(clippy::unnecessary_wraps, clippy::cast_possible_truncation)]
    pub(crate) fn generate(&self, input: &DecodeInput<'_>, _first: u128) -> Result<Vec<Box<[u8]>>> {
        let purpose = input.noise.purpose(&format!("decode/{}", input.field.name()));
        let mut bits = vec![0; 2 * BLOCK_ROWS.max(input.rows.end)];
        purpose.fill_u32(input.block, &mut bits);
        let total: u64 = self.patterns.iter().map(|p| p.1).sum::<u64>().max(1);
        Ok(input
            .rows
            .clone()
            .map(|row| {
                let mut state = u64::from(bits[2 * row]) << 32 | u64::from(bits[2 * row + 1]);
                let mut pick = mix(state) % total;
                let pattern = self.patterns.iter().find(|(_, n)| {
                    let found = pick < *n;
                    pick = pick.saturating_sub(*n);
                    found
                });
                let mut text = String::new();
                for place in pattern.map_or(&[][..], |p| &p.0) {
                    state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
                    let random = mix(state);
                    text.push(match place {
                        Place::Digit => char::from(b'0' + (random % 10) as u8),
                        Place::Lower => char::from(b'a' + (random % 26) as u8),
                        Place::Upper => char::from(b'A' + (random % 26) as u8),
                        Place::Literal(c) => *c,
                    });
                }
                text.into_bytes().into()
            })
            .collect())
    }
}
