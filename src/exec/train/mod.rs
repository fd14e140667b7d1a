//! Training: a table (or several) in, a row per epoch out, a stored model at the end.
//!
//! ```text
//! synth_train('orders')             planning: options and names are checked; nothing is read or written
//!   └ TrainTable
//!       └ TrainExec                 its children are the scans of the tables, visible in EXPLAIN
//!           └ execute               1. the store is writable?
//!                                   2. first scan, partitions in parallel: profiles → TableEncoder
//!                                   3. second scan, partitions in parallel: codes → CodeMatrix
//!                                   4. ModelKind::fit on a thread of its own: epochs and checkpoints
//!                                   5. ModelStore::save, then the checkpoint goes
//! ```

mod fit;
mod job;
mod plan;
mod resume;
mod rows;
mod scan;
mod schema;
mod spec;
mod table;

pub use fit::{Fitting, FittingJob};
pub use plan::TrainExec;
pub use spec::{Overrides, TrainSpec};
pub use table::{TableSelection, TrainTable};
