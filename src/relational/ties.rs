//! How much rows know of their family.

use crate::schema::choice;
use std::{fmt, str::FromStr};

/// What the rows of a table that refers to others are learned given. Keys are right whatever it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub enum Ties {
    /// Nothing: parents are chosen at random, as often as their own numbers of children say.
    None,
    /// The columns of their owner, and of its owners.
    Parents,
    /// These, and the sibling before.
    Siblings,
    /// All that, and the parents that are matched to them.
    #[default]
    All,
}

impl Ties {
    /// Every choice, in the order that messages list them.
    pub const ALL: [Self; 4] = [Self::None, Self::Parents, Self::Siblings, Self::All];

    /// As written in SQL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Parents => "parents",
            Self::Siblings => "siblings",
            Self::All => "all",
        }
    }
}

impl fmt::Display for Ties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Ties {
    type Err = String;

    /// Accepts the names of [`Ties::as_str`], in any case; the error lists them.
    fn from_str(text: &str) -> Result<Self, String> {
        choice(Self::ALL, text)
    }
}
