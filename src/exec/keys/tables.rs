//! The tables of a session: found by name, as SQL finds them.

use crate::{Result, SynthError, schema::TableName};
use datafusion::{
    catalog::{CatalogProviderList, SchemaProvider, Session, TableProvider},
    common::TableReference,
    logical_expr::TableType,
};
use std::{fmt, sync::Arc};

/// The catalogs of a session, and what a bare name means there.
#[derive(Clone)]
pub struct Tables {
    catalogs: Arc<dyn CatalogProviderList>,
    catalog: String,
    schema: String,
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tables({}.{})", self.catalog, self.schema)
    }
}

impl Tables {
    /// The tables of `session`.
    #[must_use]
    pub fn of(session: &dyn Session) -> Self {
        let defaults = &session.config_options().catalog;
        Self {
            catalogs: session.catalog_list(),
            catalog: defaults.default_catalog.clone(),
            schema: defaults.default_schema.clone(),
        }
    }

    /// The full name of `reference`.
    #[must_use]
    pub fn resolve(&self, reference: TableReference) -> TableName {
        let resolved = reference.resolve(&self.catalog, &self.schema);
        TableName {
            catalog: resolved.catalog.to_string(),
            schema: resolved.schema.to_string(),
            table: resolved.table.to_string(),
        }
    }

    /// The table called `text`: taken as it stands where there is such a table, otherwise read as SQL reads a name.
    #[must_use]
    pub fn named(&self, text: &str) -> TableName {
        let exact = self.resolve(TableReference::bare(text));
        if self.exists(&exact) {
            return exact;
        }
        for ignore_case in [true, false] {
            let parsed = self.resolve(TableReference::parse_str_normalized(text, ignore_case));
            if self.exists(&parsed) || !ignore_case {
                return parsed;
            }
        }
        exact
    }

    /// The shortest name that means `name` here: what [`Tables::named`] reads.
    #[must_use]
    pub fn show(&self, name: &TableName) -> String {
        let part = |part: &str| {
            if part.is_empty() || part.contains(['.', '"', ' ']) {
                format!("\"{}\"", part.replace('"', "\"\""))
            } else {
                part.to_owned()
            }
        };
        if name.catalog != self.catalog {
            format!("{}.{}.{}", part(&name.catalog), part(&name.schema), part(&name.table))
        } else if name.schema != self.schema {
            format!("{}.{}", part(&name.schema), part(&name.table))
        } else {
            part(&name.table)
        }
    }

    /// `name` as a statement writes it.
    pub(in crate::exec) fn reference(&self, name: &TableName) -> String {
        let parts = [&name.catalog, &name.schema, &name.table].map(|part| quoted(part));
        let defaults = [name.catalog == self.catalog, name.schema == self.schema];
        let shown = match defaults {
            [true, true] => &parts[2..],
            [true, false] => &parts[1..],
            _ => &parts[..],
        };
        shown.join(".")
    }

    /// Whether the table is there.
    #[must_use]
    pub fn exists(&self, name: &TableName) -> bool {
        self.schema(name).is_some_and(|schema| schema.table_exist(&name.table))
    }

    /// The table, if it is there.
    ///
    /// # Errors
    /// Its catalog fails.
    pub async fn find(&self, name: &TableName) -> Result<Option<Arc<dyn TableProvider>>> {
        match self.schema(name) {
            Some(schema) => Ok(schema.table(&name.table).await?),
            None => Ok(None),
        }
    }

    /// The table.
    ///
    /// # Errors
    /// There is none; the error lists those there are.
    pub async fn get(&self, name: &TableName) -> Result<Arc<dyn TableProvider>> {
        self.find(name).await?.ok_or_else(|| self.missing(name))
    }

    /// The error that says that a table is not there.
    pub(super) fn missing(&self, name: &TableName) -> SynthError {
        let mut known = self.schema(name).map_or_else(Vec::new, |schema| schema.table_names());
        known.sort();
        SynthError::NotFound { kind: "table", name: self.show(name), known }
    }

    /// The tables of the default schema (views are not tables), by name.
    ///
    /// # Errors
    /// Its catalog fails.
    pub async fn all(&self) -> Result<Vec<TableName>> {
        let anything = self.resolve(TableReference::bare(""));
        let Some(schema) = self.schema(&anything) else { return Ok(Vec::new()) };
        let mut names = schema.table_names();
        names.sort();
        let mut tables = Vec::with_capacity(names.len());
        for table in names {
            if schema.table_type(&table).await? == Some(TableType::Base) {
                tables.push(TableName { table, ..anything.clone() });
            }
        }
        Ok(tables)
    }

    fn schema(&self, name: &TableName) -> Option<Arc<dyn SchemaProvider>> {
        self.catalogs.catalog(&name.catalog)?.schema(&name.schema)
    }
}

/// An identifier of SQL, in quotes where it needs them.
pub(in crate::exec) fn quoted(name: &str) -> String {
    datafusion::common::utils::quote_identifier(name).into_owned()
}
