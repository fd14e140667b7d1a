//! Keeps `DELETE` on the system tables from deleting more than its condition says.

use super::provider::StoreTable;
use datafusion::{
    common::{config::ConfigOptions, plan_err, tree_node::TreeNode},
    datasource::DefaultTableSource,
    error::Result,
    logical_expr::{DmlStatement, Expr, LogicalPlan, WriteOp},
    optimizer::AnalyzerRule,
};

/// Refuses a `DELETE` on a system table whose condition DataFusion would not hand on whole: subqueries become joins when
/// the statement is optimised, and are gone by the time the table is asked to delete.
#[derive(Debug, Default, Clone, Copy)]
pub struct GuardDelete;

impl AnalyzerRule for GuardDelete {
    fn name(&self) -> &str {
        "synth_guard_delete"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.apply_with_subqueries(|node| {
            if let LogicalPlan::Dml(statement) = node {
                check(statement)?;
            }
            Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
        })?;
        Ok(plan)
    }
}

fn check(DmlStatement { table_name, target, op, input, .. }: &DmlStatement) -> Result<()> {
    let ours = target.downcast_ref::<DefaultTableSource>().is_some_and(|t| t.table_provider.is::<StoreTable>());
    if !ours || !matches!(op, WriteOp::Delete) {
        return Ok(());
    }
    let mut input = input.as_ref();
    loop {
        input = match input {
            LogicalPlan::TableScan(_) => return Ok(()),
            LogicalPlan::Projection(projection) => &projection.input,
            LogicalPlan::SubqueryAlias(alias) => &alias.input,
            LogicalPlan::Filter(filter) => {
                let subquery = filter.predicate.exists(|expr| {
                    Ok(matches!(
                        expr,
                        Expr::InSubquery(_) | Expr::Exists(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_)
                    ))
                })?;
                if subquery {
                    return plan_err!(
                        "DELETE FROM {table_name}: a condition with a subquery is not supported; name the rows by values"
                    );
                }
                &filter.input
            }
            other => {
                return plan_err!("DELETE FROM {table_name}: only WHERE is supported, got {}", other.display());
            }
        };
    }
}
