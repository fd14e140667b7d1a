//! The order in which tables are written.

use crate::{relational::Role, store::Manifest};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// Parents before their children, otherwise as given; where tables depend on each other in a circle, the reference that
/// is filled in afterwards does not count.
pub(super) fn parents_first(tables: Vec<Arc<Manifest>>) -> Vec<Arc<Manifest>> {
    let by_name: HashMap<String, Arc<Manifest>> =
        tables.iter().map(|table| (table.name.clone(), Arc::clone(table))).collect();
    let mut ordered = Vec::with_capacity(tables.len());
    let mut seen = HashSet::new();
    for table in &tables {
        visit(table, &by_name, &mut seen, &mut ordered);
    }
    ordered
}

fn visit(
    table: &Arc<Manifest>,
    by_name: &HashMap<String, Arc<Manifest>>,
    seen: &mut HashSet<String>,
    ordered: &mut Vec<Arc<Manifest>>,
) {
    if !seen.insert(table.name.clone()) {
        return;
    }
    let references = table.relations.iter().flat_map(|relations| &relations.references);
    for reference in references.filter(|reference| !matches!(reference.role, Role::Deferred | Role::Tree(_))) {
        if let Some(parent) = by_name.get(&reference.parent) {
            visit(parent, by_name, seen, ordered);
        }
    }
    ordered.push(Arc::clone(table));
}
