//! Keys: declared, gathered, checked against the data, proposed from it.
//!
//! ```text
//! CREATE TABLE, ALTER TABLE ──► SessionKeys ─┐
//! INSERT INTO synth.keys … ──► keys.json ────┼─► KnownKeys ─► check_keys ─► KeyReport::verify
//! constraints of the tables ─────────────────┘
//! ```
//!
//! The data is looked at through plans: an aggregate for each key, one join of distinct keys for each foreign key.

mod check;
mod checked;
mod declare;
mod detect;
mod known;
mod plans;
mod tables;

pub use check::{CheckedKey, KeyCheck, KeyCounts, KeyReport, ReferenceCounts, check_keys, schema_graph};
pub use checked::checked_keys;
pub use declare::{ColumnRef, NewForeignKey, NewKey, Planned};
pub use detect::{Proposal, detect_keys, detected_keys};
pub use known::{KeySource, KnownKeys, SessionKeys};
pub(super) use plans::Row;
pub use tables::Tables;
pub(super) use tables::quoted;
