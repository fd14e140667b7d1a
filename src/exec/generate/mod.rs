//! Generating a database: every table of it, parents first, into files or Delta tables.
//!
//! ```text
//! synth_generate(to => 'dir')      planning: manifests only; versions, hashes, seed, rows and destination are frozen
//!   └ GenerateTable                a TableProvider
//!       └ GenerateExec             one child per table: the plan of its rows
//!           └ execute              looks at every target first; then table after table: rows → files, a row of the report
//! ```
//!
//! No table can be taken for complete that is not. On a local disk it is written into a hidden folder beside its own and
//! renamed; on an object store, where nothing can be renamed, a marker is put when its files are there; a Delta table is
//! one commit, which also says which generation it was.

#[cfg(feature = "delta")]
mod delta;
mod destination;
mod files;
mod order;
mod plan;
mod rows;
mod spec;
mod staging;
mod table;

pub use destination::Destination;
pub use plan::GenerateExec;
pub use spec::{GenerateFormat, GenerateSpec, Scale};
pub use table::GenerateTable;

/// SQL name of the function, for messages.
const FUNCTION: &str = "synth_generate";
