//! Tables that stand for what the models of a sample's parents would generate.

use crate::store::Manifest;
use datafusion::catalog::TableProvider;
use std::sync::Arc;

/// A table, and the parent that it stands for.
#[derive(Debug, Clone)]
pub struct Parent {
    /// The parent, by the name of its model.
    pub name: String,
    /// The table, as it was named.
    pub table: String,
    /// Its rows.
    pub provider: Arc<dyn TableProvider>,
    /// Whether nobody asked for it: it is there, and called as the parent is.
    pub by_name: bool,
}

/// The tables given for the parents of a sample; other parents are generated.
#[derive(Debug, Clone, Default)]
pub struct Parents(pub Vec<Parent>);

impl Parents {
    /// The table that stands for the parent called `name`.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<&Parent> {
        self.0.iter().find(|parent| parent.name == name)
    }

    /// Whether the rows of the model of `manifest` are the children of a given table's rows, in their order.
    #[must_use]
    pub fn own(&self, manifest: &Manifest) -> bool {
        let owner = manifest.relations.as_ref().and_then(|relations| relations.owner());
        owner.is_some_and(|(_, owner)| self.of(&owner.parent).is_some())
    }
}
