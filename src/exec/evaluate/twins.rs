//! Which synthetic table stands for a real one.

use crate::{
    Result,
    exec::{keys::Tables, sample::segment_rows},
    schema::TableName,
    store::ModelStore,
};
use datafusion::common::TableReference;
use std::fmt;

/// Where the synthetic tables are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Twins {
    /// Generated on the way, each as large as the table that its model learned.
    Models,
    /// Tables whose names are this pattern, `*` standing for the real table's name: `new_*`, `synthetic.*`.
    Named(String),
}

impl Twins {
    /// The tables named by `text`: a pattern, or a schema.
    #[must_use]
    pub fn named(text: &str) -> Self {
        Self::Named(if text.contains('*') { text.to_owned() } else { format!("{text}.*") })
    }

    /// What a query reads instead of `table`.
    ///
    /// # Errors
    /// There is no such table; the table has no model.
    pub(super) async fn of(&self, table: &TableName, tables: &Tables, store: &ModelStore) -> Result<String> {
        match self {
            Self::Models => {
                let model = store.manifest(&table.table, None).await?;
                let name = table.table.replace('\'', "''");
                Ok(format!("synth_sample('{name}', {})", segment_rows(&model, 1.0)))
            }
            Self::Named(pattern) => {
                let name = |part: &str| part.trim().trim_matches('"').replace('*', &table.table);
                let parts: Vec<String> = pattern.split('.').map(name).collect();
                let reference = match parts.as_slice() {
                    [catalog, schema, table] => TableReference::full(&**catalog, &**schema, &**table),
                    [schema, table] => TableReference::partial(&**schema, &**table),
                    _ => TableReference::bare(parts.join(".")),
                };
                let name = tables.resolve(reference);
                tables.get(&name).await?;
                Ok(tables.reference(&name))
            }
        }
    }
}

impl fmt::Display for Twins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Models => "models",
            Self::Named(pattern) => pattern,
        })
    }
}
