//! Tables of the session, found by name and read in order.

use super::in_order::InOrderExec;
use crate::{Result, SynthError};
use datafusion::{
    catalog::{SchemaProvider, Session, TableProvider},
    common::{ResolvedTableReference, TableReference},
    datasource::provider_as_source,
    error::Result as DataFusionResult,
    execution::{SessionState, SessionStateBuilder},
    logical_expr::LogicalPlanBuilder,
    physical_plan::ExecutionPlan,
};
use std::sync::Arc;

/// The table `reference`.
///
/// # Errors
/// No such catalog, schema or table; the error lists those there are.
pub async fn find_table(session: &dyn Session, reference: &TableReference) -> Result<Arc<dyn TableProvider>> {
    let defaults = &session.config_options().catalog;
    let resolved = reference.clone().resolve(&defaults.default_catalog, &defaults.default_schema);
    let schema = schema_of(session, &resolved)?;
    let Some(provider) = schema.table(&resolved.table).await? else {
        return Err(not_found("table", &reference.to_string(), schema.table_names()));
    };
    Ok(provider)
}

/// The schema of a table.
pub(super) fn schema_of(session: &dyn Session, table: &ResolvedTableReference) -> Result<Arc<dyn SchemaProvider>> {
    let catalogs = session.catalog_list();
    let Some(catalog) = catalogs.catalog(&table.catalog) else {
        return Err(not_found("catalog", &table.catalog, catalogs.catalog_names()));
    };
    let schema = catalog.schema(&table.schema);
    schema.ok_or_else(|| not_found("schema", &table.schema, catalog.schema_names()))
}

fn not_found(kind: &'static str, name: &str, mut known: Vec<String>) -> SynthError {
    known.sort();
    SynthError::NotFound { kind, name: name.to_owned(), known }
}

/// A plan that reads a table's rows, partition after partition in the table's order; all columns, or `columns` alone.
pub(super) async fn ordered_scan(
    session: &dyn Session,
    reference: TableReference,
    provider: Arc<dyn TableProvider>,
    columns: Option<Vec<usize>>,
) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
    let scan = LogicalPlanBuilder::scan(reference, provider_as_source(provider), columns)?.build()?;
    let plan = match session.as_any().downcast_ref::<SessionState>() {
        Some(state) => ordered(state).create_physical_plan(&scan).await?,
        None => session.create_physical_plan(&scan).await?,
    };
    // The plan around it will be optimized as well; a leaf is not cut up then, as nobody gains by it.
    Ok(if plan.children().is_empty() { plan } else { Arc::new(InOrderExec::new(plan)) })
}

/// The same session without round-robin repartitioning, which would deal rows out by arrival.
fn ordered(state: &SessionState) -> SessionState {
    let config = state.config().clone().with_round_robin_repartition(false);
    // The catalogs are shared with `state`: a new default catalog would replace the session's.
    let config = config.with_create_default_catalog_and_schema(false);
    SessionStateBuilder::new_from_existing(state.clone()).with_config(config).build()
}
