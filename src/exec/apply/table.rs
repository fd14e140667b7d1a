//! The rows as a table.

use super::{ApplyExec, ApplyRelatedExec, ApplySpec, columns::Columns};
use crate::{
    Result, SynthError,
    encode::TableEncoder,
    exec::{
        columns::whole_keys,
        sample::{Parents, SampleSpec, plan_parents},
        source::ordered_scan,
    },
    store::Manifest,
};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    common::TableReference,
    error::Result as DataFusionResult,
    logical_expr::{Expr, TableType},
    physical_plan::ExecutionPlan,
};
use std::sync::Arc;

/// A table with a model applied to its rows.
#[derive(Debug)]
pub struct ApplyTable {
    spec: Arc<ApplySpec>,
    reference: TableReference,
    table: Arc<dyn TableProvider>,
    columns: Columns,
    related: Option<Related>,
}

/// What rows depend on.
#[derive(Debug)]
struct Related {
    manifest: Arc<Manifest>,
    parents: Parents,
}

impl ApplyTable {
    /// The model of `encoder`, applied to `table`, which is called `reference`.
    ///
    /// # Errors
    /// The table's columns are not the model's.
    pub fn new(
        spec: ApplySpec,
        encoder: &TableEncoder,
        reference: TableReference,
        table: Arc<dyn TableProvider>,
    ) -> Result<Self> {
        let columns = Columns::new(&spec, &table.schema(), encoder.schema())?;
        Ok(Self { spec: Arc::new(spec), reference, table, columns, related: None })
    }

    /// The model of `manifest`, applied to `table`, which is called `reference` and refers to the tables `parents`.
    ///
    /// # Errors
    /// The table's columns are not the model's; it lacks the key of the parents that own its rows, or a part of another one.
    pub fn related(
        spec: ApplySpec,
        manifest: Arc<Manifest>,
        parents: Parents,
        (reference, table): (TableReference, Arc<dyn TableProvider>),
    ) -> Result<Self> {
        let schema = table.schema();
        let columns = Columns::new(&spec, &schema, manifest.schema())?;
        whole_keys((spec.function, "table"), &schema, &manifest)?;
        let relations = manifest.relations.iter().filter(|relations| relations.context.is_some());
        let owner = relations.filter_map(|relations| relations.owner()).map(|(_, owner)| owner);
        let lacks = |name: &String| schema.field_with_name(name).is_err();
        if let Some(owner) = owner.into_iter().find(|owner| owner.columns.iter().any(lacks)) {
            let key = owner.columns.join(", ");
            return Err(SynthError::Argument {
                function: spec.function.to_owned(),
                argument: "table".to_owned(),
                given: format!("`{reference}` without ({key}), which refers to `{}`", owner.parent),
                expected: "a table with that foreign key: the model knows its rows by the parents that they have"
                    .to_owned(),
            });
        }
        let related = Some(Related { manifest, parents });
        Ok(Self { spec: Arc::new(spec), reference, table, columns, related })
    }
}

#[async_trait]
impl TableProvider for ApplyTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.columns.output)
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
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let input = ordered_scan(session, self.reference.clone(), Arc::clone(&self.table), None).await?;
        let projection = projection.cloned().unwrap_or_else(|| (0..self.columns.output.fields().len()).collect());
        let (spec, columns) = (Arc::clone(&self.spec), self.columns.clone());
        let Some(Related { manifest, parents }) = &self.related else {
            return Ok(Arc::new(ApplyExec::try_new(spec, columns, input, projection)?));
        };
        let of_parents = SampleSpec::from(&*self.spec);
        let parents = plan_parents(spec.function, &of_parents, manifest, (parents, session)).await?;
        let model = (spec, columns, Arc::clone(manifest));
        Ok(Arc::new(ApplyRelatedExec::try_new(model, (input, parents), projection)?))
    }
}
