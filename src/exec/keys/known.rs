//! Every key that a session knows of, wherever it was declared.

use super::Tables;
use crate::{
    Result,
    schema::{ForeignKey, Key, KeyKind, TableName},
    store::{DeclaredKeys, ModelStore},
};
use datafusion::{
    catalog::{Session, TableProvider},
    common::{Constraint, TableReference},
    execution::SessionState,
};
use parking_lot::RwLock;
use std::{collections::BTreeSet, sync::Arc};

/// Keys that `CREATE TABLE` and `ALTER TABLE` declared: they live as long as their tables do, in the session.
///
/// An extension of the session's configuration, so that clones of a session share it.
#[derive(Debug, Default)]
pub struct SessionKeys(RwLock<DeclaredKeys>);

impl SessionKeys {
    /// The keys of `session`; none where they were not registered.
    #[must_use]
    pub fn of(session: &dyn Session) -> Option<Arc<Self>> {
        session.config().get_extension()
    }

    /// The keys as they are now.
    #[must_use]
    pub fn get(&self) -> DeclaredKeys {
        self.0.read().clone()
    }

    /// Changes the keys. An error leaves them as they were.
    ///
    /// # Errors
    /// Those of `change`.
    pub fn change<T>(&self, change: impl FnOnce(&mut DeclaredKeys) -> Result<T>) -> Result<T> {
        let mut keys = self.0.write();
        let mut changed = keys.clone();
        let returned = change(&mut changed)?;
        *keys = changed;
        Ok(returned)
    }

    /// Forgets the keys of a table that is no more. Foreign keys that refer to it stay: they have lost their parent.
    pub fn forget(&self, table: &TableName) {
        let mut keys = self.0.write();
        keys.keys.retain(|key| key.table != *table);
        keys.foreign_keys.retain(|key| key.table != *table);
    }
}

/// Where a key was declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeySource {
    /// In `CREATE TABLE` or `ALTER TABLE`: part of the table.
    Table,
    /// By `INSERT INTO synth.keys` or `synth.foreign_keys`: kept in the model store.
    Store,
}

impl KeySource {
    /// As the system tables show it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Store => "declared",
        }
    }
}

/// Keys with their sources, ordered by table, kind and columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownKeys {
    /// Primary and unique keys.
    pub keys: Vec<(Key, KeySource)>,
    /// Foreign keys.
    pub foreign_keys: Vec<(ForeignKey, KeySource)>,
}

impl KnownKeys {
    /// The keys of the session and of the store, and those that the tables themselves bring with them.
    ///
    /// # Errors
    /// The store cannot be read; a catalog fails.
    pub async fn gather(tables: &Tables, session: Option<&SessionKeys>, store: &ModelStore) -> Result<Self> {
        let mut known = Self::default();
        let session = session.map(SessionKeys::get).unwrap_or_default();
        for (declared, source) in [(session, KeySource::Table), (store.declared_keys().await?, KeySource::Store)] {
            for key in declared.keys {
                known.add(key, source);
            }
            for key in declared.foreign_keys {
                if !known.foreign_keys.iter().any(|(other, _)| other.same_as(&key)) {
                    known.foreign_keys.push((key, source));
                }
            }
        }
        let mut names: BTreeSet<TableName> = tables.all().await?.into_iter().collect();
        names.extend(known.keys.iter().map(|(key, _)| key.table.clone()));
        names.extend(known.foreign_keys.iter().flat_map(|(key, _)| [key.table.clone(), key.parent.clone()]));
        for name in names {
            if let Some(provider) = tables.find(&name).await? {
                for key in of_provider(&name, provider.as_ref()) {
                    known.add(key, KeySource::Table);
                }
            }
        }
        known.keys.sort_by(|(a, _), (b, _)| (&a.table, a.kind, &a.columns).cmp(&(&b.table, b.kind, &b.columns)));
        known.foreign_keys.sort_by(|(a, _), (b, _)| {
            (&a.table, &a.columns, &a.parent, &a.parent_columns).cmp(&(
                &b.table,
                &b.columns,
                &b.parent,
                &b.parent_columns,
            ))
        });
        Ok(known)
    }

    /// Every key that `state` and `store` know of; only those of `references`, where there are any.
    ///
    /// # Errors
    /// As [`KnownKeys::gather`]; a table that there is not.
    pub async fn asked(
        state: &SessionState,
        store: &ModelStore,
        references: Option<&[TableReference]>,
    ) -> Result<Self> {
        let tables = Tables::of(state);
        let known = Self::gather(&tables, SessionKeys::of(state).as_deref(), store).await?;
        let Some(references) = references else { return Ok(known) };
        let mut names = Vec::with_capacity(references.len());
        for reference in references {
            let name = tables.resolve(reference.clone());
            tables.get(&name).await?;
            names.push(name);
        }
        Ok(known.of_tables(&names))
    }

    fn add(&mut self, key: Key, source: KeySource) {
        if !self.keys.iter().any(|(other, _)| other.same_as(&key)) {
            self.keys.push((key, source));
        }
    }

    /// The primary key of `table`.
    #[must_use]
    pub fn primary_key(&self, table: &TableName) -> Option<&Key> {
        self.keys.iter().map(|(key, _)| key).find(|key| key.table == *table && key.kind == KeyKind::Primary)
    }

    /// The keys of `tables` alone; a foreign key belongs to its child.
    #[must_use]
    pub fn of_tables(mut self, tables: &[TableName]) -> Self {
        self.keys.retain(|(key, _)| tables.contains(&key.table));
        self.foreign_keys.retain(|(key, _)| tables.contains(&key.table));
        self
    }
}

/// The keys that a table was created with. DataFusion keeps no names for them.
pub(super) fn of_provider(name: &TableName, provider: &dyn TableProvider) -> Vec<Key> {
    let schema = provider.schema();
    let constraints = provider.constraints().into_iter().flat_map(|constraints| constraints.iter());
    constraints
        .map(|constraint| {
            let (kind, columns) = match constraint {
                Constraint::PrimaryKey(columns) => (KeyKind::Primary, columns),
                Constraint::Unique(columns) => (KeyKind::Unique, columns),
            };
            let fields = columns.iter().filter_map(|&column| schema.fields().get(column));
            let columns: Vec<String> = fields.map(|field| field.name().clone()).collect();
            Key { name: Key::default_name(name, kind, &columns), table: name.clone(), kind, columns }
        })
        .filter(|key| !key.columns.is_empty())
        .collect()
}
