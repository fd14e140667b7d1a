//! Writing Delta Lake tables: where they are, what they can hold, and rows committed as one version.

mod location;
mod types;
mod write;

pub(crate) use location::Location;
pub(crate) use types::delta_type;
pub(crate) use write::{Commit, DeltaInsertExec, write};

use datafusion::error::DataFusionError;
use deltalake::DeltaTableError;

/// An error of the Delta library, said of a table.
pub(crate) fn failed(location: &impl std::fmt::Display, error: DeltaTableError) -> DataFusionError {
    DataFusionError::External(format!("Delta table {location}: {error}").into())
}
