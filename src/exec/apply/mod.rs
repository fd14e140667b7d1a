//! A model applied to the rows of a table: what they lack is drawn, or they are judged.
//!
//! ```text
//! synth_impute('orders')            planning: the manifest and the table's schema; version, hash and seed are frozen
//!   └ ApplyTable                    a TableProvider
//!       └ ApplyExec                 one partition: rows keep their order, and are numbered by it
//!           └ a scan of the table   batches → blocks → codes → AnyOrderSampler → batches
//! ```

mod columns;
mod plan;
mod spec;
mod stream;
mod table;

pub(super) use columns::{cast_exact, shared};
pub use plan::ApplyExec;
pub use spec::{Action, ApplySpec};
pub use table::ApplyTable;
