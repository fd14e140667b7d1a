//! The queries that keys are checked with: aggregates and one join, over scans of the key columns alone.

use super::Tables;
use crate::{
    Result, SynthError,
    exec::rows::collected,
    schema::{ForeignKey, TableName},
};
use arrow::{
    array::{Array, AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Int64Type, SchemaRef},
};
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    common::{Column, JoinType},
    datasource::provider_as_source,
    error::Result as DataFusionResult,
    execution::SessionState,
    functions_aggregate::expr_fn::{count, max, min, sum},
    logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableProviderFilterPushDown, TableType},
    physical_plan::ExecutionPlan,
    prelude::{lit, when},
};
use std::{borrow::Cow, sync::Arc};

/// A table without its constraints. The optimizer believes what a table promises: with a promise of unique keys it
/// would not look for those that are not.
#[derive(Debug)]
struct Unconstrained(Arc<dyn TableProvider>);

#[async_trait]
impl TableProvider for Unconstrained {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    fn table_type(&self) -> TableType {
        self.0.table_type()
    }

    fn get_logical_plan(&'_ self) -> Option<Cow<'_, LogicalPlan>> {
        self.0.get_logical_plan()
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        self.0.scan(session, projection, filters, limit).await
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        self.0.supports_filters_pushdown(filters)
    }
}

pub(super) fn column(name: &str) -> Expr {
    Expr::Column(Column::from_name(name))
}

/// The columns `columns` of a table, as `{prefix}0`, `{prefix}1` …
pub(super) async fn scan(
    tables: &Tables,
    table: &TableName,
    columns: &[String],
    prefix: &str,
) -> Result<LogicalPlanBuilder> {
    let provider = tables.get(table).await?;
    let schema = provider.schema();
    let indices = columns.iter().map(|column| Ok(schema.index_of(column)?)).collect::<Result<Vec<usize>>>()?;
    let mut distinct = indices.clone();
    distinct.sort_unstable();
    distinct.dedup();
    let source = provider_as_source(Arc::new(Unconstrained(provider)));
    let scan = LogicalPlanBuilder::scan(prefix, source, Some(distinct))?;
    let named = columns
        .iter()
        .enumerate()
        .map(|(number, name)| Expr::Column(Column::new(Some(prefix), name.clone())).alias(format!("{prefix}{number}")));
    Ok(scan.project(named.collect::<Vec<_>>())?)
}

/// The groups of equal keys: the key columns, and how many rows have them as `{prefix}n`.
async fn groups(tables: &Tables, table: &TableName, columns: &[String], prefix: &str) -> Result<LogicalPlanBuilder> {
    let keys: Vec<Expr> = (0..columns.len()).map(|number| column(&format!("{prefix}{number}"))).collect();
    let rows = count(lit(1_i64)).alias(format!("{prefix}n"));
    Ok(scan(tables, table, columns, prefix).await?.aggregate(keys, [rows])?)
}

/// Whether any key column is null.
fn any_null(prefix: &str, columns: usize) -> Expr {
    let nulls = (0..columns).map(|number| column(&format!("{prefix}{number}")).is_null());
    nulls.reduce(Expr::or).unwrap_or_else(|| lit(false))
}

/// `value` where `condition` holds, null elsewhere.
fn only(condition: Expr, value: Expr) -> Result<Expr> {
    Ok(when(condition, value).end()?)
}

/// What a table has of a key: rows, rows with a null in it, rows that repeat another row's.
pub(super) async fn key_counts(tables: &Tables, table: &TableName, columns: &[String]) -> Result<LogicalPlan> {
    let (rows, nulls) = (column("kn"), any_null("k", columns.len()));
    let repeated = nulls.clone().is_false().and(rows.clone().gt(lit(1_i64)));
    let counts = [
        sum(rows.clone()).alias("rows"),
        sum(only(nulls.clone(), rows.clone())?).alias("nulls"),
        sum(only(repeated, rows - lit(1_i64))?).alias("duplicates"),
        sum(only(nulls.is_false(), lit(1_i64))?).alias("keys"),
    ];
    Ok(groups(tables, table, columns, "k").await?.aggregate(Vec::<Expr>::new(), counts)?.build()?)
}

/// What child and parent have of a foreign key, in one join of the distinct keys of both.
pub(super) async fn foreign_key_counts(tables: &Tables, key: &ForeignKey) -> Result<LogicalPlan> {
    let width = key.columns.len();
    let child = groups(tables, &key.table, &key.columns, "c").await?;
    let parent = groups(tables, &key.parent, &key.parent_columns, "p").await?.build()?;
    let on = |prefix: &str| (0..width).map(|n| Column::from_name(format!("{prefix}{n}"))).collect::<Vec<_>>();
    // Null never equals null: groups with a null meet nobody.
    let joined = child.join(parent, JoinType::Full, (on("c"), on("p")), None)?;
    let (rows, parents) = (column("cn"), column("pn"));
    let (child_null, parent_null) = (any_null("c", width), any_null("p", width));
    let refers = rows.clone().is_not_null().and(child_null.clone().is_false());
    let is_parent = parents.clone().is_not_null().and(parent_null.clone().is_false());
    let orphan = refers.clone().and(parents.clone().is_null());
    let children = when(rows.clone().is_null(), lit(0_i64)).otherwise(rows.clone())?;
    let counts = [
        sum(rows.clone()).alias("rows"),
        sum(only(rows.clone().is_not_null().and(child_null), rows.clone())?).alias("nulls"),
        sum(only(orphan.clone(), rows)?).alias("orphans"),
        sum(only(orphan, lit(1_i64))?).alias("orphan_keys"),
        sum(only(refers, lit(1_i64))?).alias("keys"),
        sum(parents.clone()).alias("parent_rows"),
        sum(only(parents.clone().is_not_null().and(parent_null), parents.clone())?).alias("parent_nulls"),
        sum(only(is_parent.clone().and(parents.clone().gt(lit(1_i64))), parents.clone() - lit(1_i64))?)
            .alias("parent_duplicates"),
        sum(only(is_parent.clone(), lit(1_i64))?).alias("parents"),
        min(only(is_parent.clone(), children.clone())?).alias("children_min"),
        max(only(is_parent, children)?).alias("children_max"),
    ];
    Ok(joined.aggregate(Vec::<Expr>::new(), counts)?.build()?)
}

/// The one row of an aggregate.
pub(in crate::exec) struct Row(RecordBatch);

impl Row {
    /// Runs an aggregate of one row.
    pub(in crate::exec) async fn of(state: &SessionState, plan: &LogicalPlan) -> Result<Self> {
        let plan = state.create_physical_plan(plan).await?;
        let row = collected(&plan, &state.task_ctx()).await?;
        if row.num_rows() != 1 {
            return Err(SynthError::Internal(format!("an aggregate of {} rows", row.num_rows())));
        }
        Ok(Self(row))
    }

    /// The count called `name`; none where nothing was there to count.
    pub(super) fn count(&self, name: &str) -> Result<Option<u64>> {
        let values = cast(self.column(name)?, &DataType::Int64)?;
        let values = values.as_primitive::<Int64Type>();
        Ok(values.is_valid(0).then(|| values.value(0).unsigned_abs()))
    }

    /// The value called `name`.
    pub(in crate::exec) fn column(&self, name: &str) -> Result<&arrow::array::ArrayRef> {
        let column = self.0.column_by_name(name);
        column.ok_or_else(|| SynthError::Internal(format!("an aggregate without `{name}`")))
    }
}
