//! Delta Lake tables: `CREATE EXTERNAL TABLE t (…) STORED AS DELTATABLE LOCATION '…'` opens or creates one, reads
//! follow the newest version, `INSERT` is one atomic commit.

mod factory;
mod provider;

pub(super) use factory::register;

use crate::exec::delta::Location;
use datafusion::{catalog::TableProvider, error::Result};
use provider::DeltaProvider;
use std::{collections::HashMap, sync::Arc};

/// The table at `place`, if a Delta table is there.
pub(super) async fn open_if_delta(place: &str) -> Result<Option<Arc<dyn TableProvider>>> {
    let Ok(location) = Location::parse(place) else { return Ok(None) };
    // Remote stores would be asked for every file that a query names.
    if !location.is_local() && !place.ends_with('/') {
        return Ok(None);
    }
    match location.open(HashMap::new()).await? {
        Some(table) => Ok(Some(Arc::new(DeltaProvider::try_new(table)?))),
        None => Ok(None),
    }
}
