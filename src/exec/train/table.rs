//! A training as a table.

use super::{TrainExec, TrainSpec, plan::Target, rows};
use crate::{
    SynthError,
    exec::source::{find_table, ordered_scan, schema_of},
    store::check_name,
};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    common::TableReference,
    error::Result,
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
        let table = reference.to_string();
        let provider = find_table(session, &reference).await?;
        let scan = ordered_scan(session, reference, provider).await?;
        Ok(Target { table, name, scan })
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
        Ok(Arc::new(TrainExec::try_new(Arc::clone(&self.spec), targets, projection)?))
    }
}
