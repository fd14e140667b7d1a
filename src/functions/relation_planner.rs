//! `FROM synth_sample('orders', rows => 1e6)`: named arguments, names in any case, the `synth.` qualifier.
//!
//! DataFusion's own planning of table functions takes positional arguments only and looks names up as
//! written. This planner runs before it, folds named arguments to constants that carry their name, and hands
//! everything to the same registered table function.

use super::arguments::{constant, named};
use datafusion::{
    common::{DFSchema, TableReference, plan_err},
    config::ConfigOptions,
    error::Result,
    logical_expr::simplify::SimplifyContext,
    logical_expr::{
        Expr, LogicalPlanBuilder,
        planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning},
    },
    optimizer::simplify_expressions::ExprSimplifier,
    prelude::lit,
    sql::sqlparser::ast::{Expr as SqlExpr, FunctionArg, FunctionArgExpr, ObjectName, TableAlias, TableFactor},
};

use std::sync::Arc;

/// Plans the table functions registered under `names`.
#[derive(Debug)]
pub struct SynthRelationPlanner {
    names: &'static [&'static str],
}

impl SynthRelationPlanner {
    /// A planner of the table functions `names` (lower case).
    #[must_use]
    pub fn new(names: &'static [&'static str]) -> Self {
        Self { names }
    }

    /// The function that `name` means: `synth_sample`, `SYNTH_SAMPLE`, `synth.synth_sample`, `synth.sample`.
    fn resolve(&self, name: &ObjectName) -> Option<&'static str> {
        let parts: Vec<String> = name
            .0
            .iter()
            .map(|part| part.as_ident().map(|ident| ident.value.to_ascii_lowercase()))
            .collect::<Option<_>>()?;
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        self.names.iter().copied().find(|&known| match parts[..] {
            [last] => last == known,
            ["synth", last] => last == known || known.strip_prefix("synth_") == Some(last),
            _ => false,
        })
    }
}

impl RelationPlanner for SynthRelationPlanner {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let (function, args, alias) = match relation {
            TableFactor::Table { ref name, args: Some(ref args), ref alias, ref sample, .. } => {
                let Some(function) = self.resolve(name) else {
                    return Ok(RelationPlanning::Original(Box::new(relation)));
                };
                if args.settings.is_some() {
                    return plan_err!("{function}: SETTINGS are not accepted; give options as name => value");
                }
                if sample.is_some() {
                    return plan_err!("{function}: TABLESAMPLE cannot be applied to it");
                }
                (function, args.args.clone(), alias.clone())
            }
            TableFactor::Function { ref name, ref args, ref alias, .. } => {
                let Some(function) = self.resolve(name) else {
                    return Ok(RelationPlanning::Original(Box::new(relation)));
                };
                (function, args.clone(), alias.clone())
            }
            other => return Ok(RelationPlanning::Original(Box::new(other))),
        };
        plan(function, args, alias, context)
    }
}

fn plan(
    function: &'static str,
    args: Vec<FunctionArg>,
    alias: Option<TableAlias>,
    context: &mut dyn RelationPlannerContext,
) -> Result<RelationPlanning> {
    // Scans of one name are taken for the same one where subqueries are compared, so arguments are part of it.
    let written: Vec<String> = args.iter().map(ToString::to_string).collect();
    let name = TableReference::bare(format!("{function}({})", written.join(", ")));
    let exprs = args.into_iter().map(|arg| argument(function, arg, context)).collect::<Result<Vec<_>>>()?;
    let source = context.context_provider().get_table_function_source(function, exprs)?;
    let mut plan = LogicalPlanBuilder::scan(name, source, None)?;
    if alias.is_none() {
        plan = plan.alias(TableReference::bare(format!("{function}()")))?;
    }
    Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan.build()?, alias))))
}

fn argument(function: &str, arg: FunctionArg, context: &mut dyn RelationPlannerContext) -> Result<Expr> {
    let (name, value) = match arg {
        FunctionArg::Unnamed(value) => (None, value),
        FunctionArg::Named { name, arg, .. } => (Some(name.value), arg),
        FunctionArg::ExprNamed { name: SqlExpr::Identifier(name), arg, .. } => (Some(name.value), arg),
        FunctionArg::ExprNamed { name, .. } => {
            return plan_err!("{function}: `{name}` cannot be the name of an argument");
        }
    };
    let value = match value {
        FunctionArgExpr::Expr(expr) => context.sql_expr_to_logical_expr(expr, &DFSchema::empty())?,
        FunctionArgExpr::Wildcard => lit("*"),
        other => return plan_err!("{function}: `{other}` cannot be an argument"),
    };
    match name {
        Some(name) => {
            let folded = fold(value, context.context_provider().options())?;
            Ok(named(&name, constant(function, &name, &folded)?))
        }
        None => Ok(value),
    }
}

/// What DataFusion does to positional arguments: `1 + 1` and `-1` become constants.
fn fold(expr: Expr, options: &ConfigOptions) -> Result<Expr> {
    let context = SimplifyContext::builder().with_config_options(Arc::new(options.clone())).with_current_time().build();
    let simplifier = ExprSimplifier::new(context);
    simplifier.simplify(simplifier.coerce(expr, &DFSchema::empty())?)
}
