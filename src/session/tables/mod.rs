//! The system tables: what is known of the model store, as tables of the schema `synth`.
//!
//! They read the store that the session's `synth.store` names, when the query runs. A store that does not exist yet is
//! empty tables; a damaged file is an error that names the file and the `DELETE` that removes it.

mod columns;
mod exec;
mod guard;
mod keys;
mod models;
mod provider;
mod runs;

pub use guard::GuardDelete;

use async_trait::async_trait;
use datafusion::{
    catalog::{SchemaProvider, TableProvider},
    error::Result,
};
use provider::{StoreTable, SystemTable};
use std::sync::Arc;

/// The schema `synth`.
///
/// | table | holds | accepts |
/// |---|---|---|
/// | `synth.models` | a row per stored version | `DELETE`: drops versions |
/// | `synth.columns` | the role of every column learned, or declared | `INSERT`, `DELETE`: declared roles |
/// | `synth.keys` | primary and unique keys, of tables or declared | `INSERT`, `DELETE`: declared keys |
/// | `synth.foreign_keys` | foreign keys, of tables or declared | `INSERT`, `DELETE`: declared keys |
/// | `synth.runs` | trainings, finished and resumable | `DELETE`: drops checkpoints |
///
/// Register it together with [`GuardDelete`], without which DataFusion drops conditions that hold a subquery.
#[derive(Debug)]
pub struct SystemSchema {
    tables: Vec<Arc<StoreTable>>,
}

impl SystemSchema {
    /// The name to register the schema under.
    pub const NAME: &'static str = "synth";

    /// The schema. It holds no connection and no state; one serves every session.
    #[must_use]
    pub fn new() -> Self {
        let tables: [Arc<dyn SystemTable>; 5] = [
            Arc::new(columns::Columns),
            Arc::new(keys::ForeignKeys),
            Arc::new(keys::Keys),
            Arc::new(models::Models),
            Arc::new(runs::Runs),
        ];
        Self { tables: tables.map(|table| Arc::new(StoreTable::new(table))).into() }
    }

    fn find(&self, name: &str) -> Option<&Arc<StoreTable>> {
        self.tables.iter().find(|table| table.name() == name)
    }
}

impl Default for SystemSchema {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl SchemaProvider for SystemSchema {
    fn table_names(&self) -> Vec<String> {
        self.tables.iter().map(|table| table.name().to_owned()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        Ok(self.find(name).map(|table| Arc::clone(table) as Arc<dyn TableProvider>))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.find(name).is_some()
    }
}
