//! A model applied to the rows of a table: what they lack is drawn, or they are judged.
//!
//! ```text
//! synth_impute('orders')            planning: the manifest and the table's schema; version, hash and seed are frozen
//!   └ ApplyTable                    a TableProvider
//!       └ ApplyExec                 one partition: rows keep their order, and are numbered by it
//!           └ a scan of the table   batches → blocks → codes → AnyOrderSampler → batches
//! ```
//!
//! Rows with foreign keys run through [`ApplyRelatedExec`], whose other children are the tables that they refer to.

mod columns;
mod plan;
mod related;
mod spec;
mod stream;
mod table;

pub use plan::ApplyExec;
pub use related::ApplyRelatedExec;
pub use spec::{Action, ApplySpec};
pub use table::ApplyTable;
