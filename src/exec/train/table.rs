//! A training as a table.

use super::{
    TrainExec, TrainSpec,
    plan::Target,
    rows,
    schema::{RelatedScan, SchemaPlan},
};
use crate::{
    SynthError,
    exec::{
        keys::{KnownKeys, SessionKeys, Tables, schema_graph},
        source::{find_table, ordered_scan, schema_of},
    },
    schema::TableName,
    store::{ModelStore, check_name},
};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    common::TableReference,
    error::Result,
    execution::SessionState,
    logical_expr::{Expr, TableType},
    physical_plan::ExecutionPlan,
};
use std::sync::Arc;

/// The tables that a training is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableSelection {
    /// Every table of the default schema (views are not tables).
    All,
    /// These, in this order.
    Named(Vec<TableReference>),
}

/// What `synth_train` returns: the progress of a training that happens when it is read.
#[derive(Debug)]
pub struct TrainTable {
    spec: Arc<TrainSpec>,
    tables: TableSelection,
}

impl TrainTable {
    /// The training `spec` of `tables`.
    #[must_use]
    pub fn new(spec: TrainSpec, tables: TableSelection) -> Self {
        Self { spec: Arc::new(spec), tables }
    }

    async fn references(&self, session: &dyn Session) -> Result<Vec<TableReference>> {
        match &self.tables {
            TableSelection::Named(tables) => Ok(tables.clone()),
            TableSelection::All => {
                let defaults = &session.config_options().catalog;
                let anything = TableReference::bare("").resolve(&defaults.default_catalog, &defaults.default_schema);
                let schema = schema_of(session, &anything)?;
                let mut names = schema.table_names();
                names.sort();
                let mut tables = Vec::with_capacity(names.len());
                for name in names {
                    if schema.table_type(&name).await? == Some(TableType::Base) {
                        tables.push(TableReference::bare(name));
                    }
                }
                if tables.is_empty() {
                    let reason = format!("schema `{}` has no tables", defaults.default_schema);
                    return Err(SynthError::NoRows { reason }.into());
                }
                Ok(tables)
            }
        }
    }

    async fn target(&self, session: &dyn Session, reference: TableReference) -> Result<Target> {
        let name = self.spec.name.clone().unwrap_or_else(|| reference.table().to_owned());
        check_name(&name)?;
        let (table, reference_of) = (reference.to_string(), reference.clone());
        let provider = find_table(session, &reference).await?;
        let scan = ordered_scan(session, reference, provider, None).await?;
        let full_name = Tables::of(session).resolve(reference_of);
        Ok(Target { table, name, full_name, scan })
    }
}

impl TrainTable {
    /// The tables that the targets hang together with, if any do; puts parents before their children.
    async fn related(&self, session: &dyn Session, targets: &mut [Target]) -> Result<Option<SchemaPlan>> {
        let Some(state) = session.as_any().downcast_ref::<SessionState>() else { return Ok(None) };
        let tables = Tables::of(session);
        let store = ModelStore::open(&self.spec.store)?;
        let known = KnownKeys::gather(&tables, SessionKeys::of(session).as_deref(), &store).await?;
        let names: Vec<TableName> = targets.iter().map(|target| target.full_name.clone()).collect();
        let (mut plan, related) = SchemaPlan::new(state, known, self.spec.orphans, &names).await?;
        if plan.keys.keys.is_empty() && plan.keys.foreign_keys.is_empty() {
            return Ok(None);
        }
        for (table, columns) in related {
            let Some(provider) = tables.find(&table).await? else { continue };
            let reference = TableReference::full(table.catalog.clone(), table.schema.clone(), table.table.clone());
            let schema = provider.schema();
            let columns = columns.map(|names| {
                let mut columns: Vec<usize> = names.iter().filter_map(|name| schema.index_of(name).ok()).collect();
                columns.sort_unstable();
                columns.dedup();
                columns
            });
            let scan = ordered_scan(session, reference, provider, columns).await?;
            plan.tables.push(RelatedScan { table, schema, scan });
        }
        let keys = plan.keys.foreign_keys.iter().map(|(key, _)| key);
        let (order, graph) = schema_graph(&tables, keys, &names).await?;
        if let Ok(by_dependency) = graph.order() {
            let rank = |name: &TableName| by_dependency.tables.iter().position(|&table| order.get(table) == Some(name));
            targets.sort_by_key(|target| rank(&target.full_name));
        }
        Ok(Some(plan))
    }
}

#[async_trait]
impl TableProvider for TrainTable {
    fn schema(&self) -> SchemaRef {
        rows::schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut targets: Vec<Target> = Vec::new();
        for reference in self.references(session).await? {
            let target = self.target(session, reference).await?;
            if let Some(same) = targets.iter().find(|other| other.name == target.name) {
                return Err(SynthError::Argument {
                    function: "synth_train".to_owned(),
                    argument: "table".to_owned(),
                    given: format!("{} and {}, whose models would both be `{}`", same.table, target.table, same.name),
                    expected: "one of them at a time, with name => '…'".to_owned(),
                }
                .into());
            }
            targets.push(target);
        }
        let projection = projection.cloned().unwrap_or_else(|| (0..rows::schema().fields().len()).collect());
        let related = self.related(session, &mut targets).await?;
        Ok(Arc::new(TrainExec::try_new(Arc::clone(&self.spec), targets, related, projection)?))
    }
}
