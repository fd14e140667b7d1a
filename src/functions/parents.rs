//! Tables that stand for the parents of a model's rows.

use super::{
    arguments::{Arguments, Parameter, ParameterKind},
    from_clause::from_clause,
};
use crate::{
    Result, SynthError,
    exec::{Parent, Parents, find_table},
    store::{Manifest, ModelStore, blocking},
};
use datafusion::{catalog::Session, common::TableReference};

/// The parents of rows of a table.
pub(super) const PARENT: Parameter = Parameter {
    name: "parent",
    kind: ParameterKind::Text,
    required: false,
    default: "the tables that are called as the parents are",
    description: "For a table with foreign keys: tables or queries that have the rows that it refers to: `'my_customers'`, \
        `'my_customers AS customers, (SELECT …) AS products'`, the alias being the parent that they stand for.",
};

/// The tables of `parent`, and the parents that they stand for.
pub(super) fn parents(arguments: &Arguments, session: &dyn Session, manifest: &Manifest) -> Result<Parents> {
    let Some(text) = arguments.text("parent")? else { return Ok(Parents::default()) };
    let mut names: Vec<&str> =
        manifest.relations.iter().flat_map(|relations| &relations.references).map(|key| key.parent.as_str()).collect();
    // The parents of a tree are rows of its own.
    names.retain(|name| *name != manifest.name);
    names.sort_unstable();
    names.dedup();
    let refuse = |expected: &str| Err(arguments.fault("parent", &format!("'{text}'"), expected));
    if names.is_empty() {
        return refuse(&format!("nothing, as `{}` refers to no other table", manifest.name));
    }
    let Some(sources) = from_clause(session, &text)? else {
        return refuse("tables or queries, as in FROM: 'my_table AS parent, (SELECT …) AS other'");
    };
    let mut parents: Vec<Parent> = Vec::with_capacity(sources.len());
    let alone = sources.len() == 1;
    for source in sources {
        let name = match (source.alias, source.name, names.as_slice()) {
            (Some(alias), ..) => alias,
            // A table of another name is the only parent there can be.
            (None, Some(name), [only]) if alone && name != *only => (*only).to_owned(),
            (None, Some(name), _) => name,
            (None, None, [only]) => (*only).to_owned(),
            (None, None, _) => {
                let expected =
                    format!("an alias that says which parent `{}` stands for: {}", source.text, names.join(", "));
                return refuse(&expected);
            }
        };
        if parents.iter().any(|parent| parent.name == name) {
            return refuse(&format!("one table for `{name}`"));
        }
        parents.push(Parent { name, table: source.text, provider: source.provider, by_name: false });
    }
    Ok(Parents(parents))
}

/// The tables that tell the rows of the model of `manifest` something, and those that tell these something: those of `parent`, or
/// else the ones beside `table` that are called as the parents are.
pub(super) fn tables_of_parents(
    arguments: &Arguments,
    session: &dyn Session,
    (manifest, store): (&Manifest, &ModelStore),
    table: &TableReference,
) -> Result<Parents> {
    let mut found = parents(arguments, session, manifest)?;
    let relations = manifest.relations.iter();
    let telling = relations.flat_map(|relations| relations.references.iter().filter(|key| relations.tells(key)));
    let direct: Vec<String> = telling.map(|key| key.parent.clone()).collect();
    let mut wanted = direct.clone();
    let mut next = 0;
    while let Some(name) = wanted.get(next).cloned() {
        next += 1;
        if found.of(&name).is_none() {
            let beside = beside(table, &name);
            match blocking(find_table(session, &beside)) {
                Ok(provider) => {
                    found.0.push(Parent { name: name.clone(), table: beside.to_string(), provider, by_name: true });
                }
                Err(SynthError::NotFound { .. }) if direct.contains(&name) => {
                    let expected = format!("the rows that `{table}` refers to: parent => 'my_table AS {name}'");
                    return Err(arguments.fault("parent", &format!("no table `{beside}`"), &expected));
                }
                // Whoever depends on it says so.
                Err(SynthError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let of_parent = match blocking(store.manifest(&name, None)) {
            Err(SynthError::NotFound { .. }) => continue,
            of_parent => of_parent?,
        };
        let owner =
            of_parent.relations.iter().filter_map(|relations| relations.owner()).map(|(_, owner)| &owner.parent);
        wanted.extend(owner.filter(|owner| !wanted.contains(owner)).cloned().collect::<Vec<_>>());
    }
    Ok(found)
}

/// The table called `name` where `table` is.
fn beside(table: &TableReference, name: &str) -> TableReference {
    match table {
        TableReference::Bare { .. } => TableReference::bare(name),
        TableReference::Partial { schema, .. } => TableReference::partial(schema.as_ref(), name),
        TableReference::Full { catalog, schema, .. } => TableReference::full(catalog.as_ref(), schema.as_ref(), name),
    }
}
