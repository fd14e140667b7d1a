//! `synth_fit(model, column, …)`: training as an aggregate, one model per group.

use super::documentation::{ArgumentDoc, FunctionDoc};
use crate::{SynthError, exec::fit_group::GroupFit, session::SynthOptions};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::{
    common::{
        Column,
        config::ConfigOptions,
        plan_err,
        tree_node::{Transformed, TransformedResult, TreeNode},
    },
    error::Result,
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, Expr, Signature, Volatility,
        expr::{AggregateFunction, AggregateFunctionParams},
        function::{AccumulatorArgs, AggregateFunctionSimplification, StateFieldsArgs},
        utils::{AggregateOrderSensitivity, format_state_name},
    },
};
use std::sync::{Arc, LazyLock};

/// Name in SQL.
pub(super) const NAME: &str = "synth_fit";

/// The aggregate. The session's options and the names of the columns are frozen into it when the query is planned:
/// accumulators see neither.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct SynthFit {
    signature: Signature,
    frozen: Option<GroupFit>,
}

impl SynthFit {
    /// The function as registered.
    #[must_use]
    pub fn new() -> Self {
        Self { signature: Signature::variadic_any(Volatility::Volatile), frozen: None }
    }
}

impl Default for SynthFit {
    fn default() -> Self {
        Self::new()
    }
}

/// What the aggregate returns: `STRUCT(model, version, rows, score)`.
fn return_type() -> DataType {
    DataType::Struct(GroupFit::result_fields())
}

/// The columns to learn are named as the argument expressions are: `amount`, `upper(region)`.
fn column_names(args: &[Expr]) -> Result<Vec<String>> {
    let mut names = Vec::with_capacity(args.len());
    for arg in args {
        let name = match arg {
            Expr::Alias(alias) => alias.name.clone(),
            other => without_tables(other)?.schema_name().to_string(),
        };
        if names.contains(&name) {
            return plan_err!("{NAME}: column `{name}` is given twice");
        }
        names.push(name);
    }
    Ok(names)
}

/// `orders.amount` as `amount`, wherever it stands.
fn without_tables(expr: &Expr) -> Result<Expr> {
    let bare = |expr| match expr {
        Expr::Column(column) => Ok(Transformed::yes(Expr::Column(Column::new_unqualified(column.name)))),
        other => Ok(Transformed::no(other)),
    };
    expr.clone().transform(bare).data()
}

fn freeze(mut function: AggregateFunction, config: &ConfigOptions) -> Result<Expr> {
    let AggregateFunctionParams { args, distinct, order_by, null_treatment, .. } = &function.params;
    if *distinct || !order_by.is_empty() || null_treatment.is_some() {
        return plan_err!("{NAME}: DISTINCT, ORDER BY and IGNORE NULLS do not apply to it");
    }
    let options = SynthOptions::from_config(config);
    let kind = options.model_kind()?;
    let fit = GroupFit::try_new(
        options.model_store()?.location(),
        kind,
        &options.fit_options(kind)?,
        column_names(args.get(1..).unwrap_or_default())?,
    )?;
    function.func = Arc::new(AggregateUDF::new_from_impl(SynthFit { frozen: Some(fit), ..SynthFit::new() }));
    Ok(Expr::AggregateFunction(function))
}

impl AggregateUDFImpl for SynthFit {
    fn name(&self) -> &'static str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        match args {
            [] | [_] => plan_err!("{NAME}: give the name of the model and at least one column to learn"),
            [DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null, ..] => Ok(return_type()),
            [DataType::Dictionary(_, values), ..] if values.is_string() => Ok(return_type()),
            [other, ..] => {
                let fault = SynthError::Argument {
                    function: NAME.to_owned(),
                    argument: "model".to_owned(),
                    given: format!("a value of type {other}"),
                    expected: "a string".to_owned(),
                };
                Err(fault.into())
            }
        }
    }

    /// Freezes the session's options; once only, so that the optimizer comes to rest.
    fn simplify(&self) -> Option<AggregateFunctionSimplification> {
        self.frozen.is_none().then(|| {
            let simplify: AggregateFunctionSimplification =
                Box::new(|function, context| freeze(function, context.config_options()));
            simplify
        })
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let Some(fit) = &self.frozen else {
            return plan_err!("{NAME}: the plan was not optimized, so the session's options are unknown to it");
        };
        fit.accumulator(args.expr_fields)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![
            Arc::new(Field::new(format_state_name(args.name, "model"), DataType::Utf8, true)),
            Arc::new(Field::new(format_state_name(args.name, "rows"), DataType::LargeBinary, true)),
        ])
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn documentation(&self) -> Option<&Documentation> {
        static DOC: LazyLock<Documentation> = LazyLock::new(|| {
            let doc = documentation();
            let builder = Documentation::builder(
                datafusion::logical_expr::DocSection { include: true, label: "Synthetic data", description: None },
                doc.description,
                doc.syntax,
            );
            let builder = doc
                .arguments
                .iter()
                .fold(builder, |builder, argument| builder.with_argument(&argument.name, &argument.description));
            builder.with_sql_example(doc.examples.join(";\n")).build()
        });
        Some(&DOC)
    }
}

pub(super) fn documentation() -> FunctionDoc {
    let argument = |name: &str, accepts: &str, description: &str| ArgumentDoc {
        name: name.to_owned(),
        accepts: accepts.to_owned(),
        default: String::new(),
        description: description.to_owned(),
    };
    FunctionDoc {
        name: NAME,
        kind: "aggregate function",
        description: "Learns the rows of a group and stores the model: one per group, over any query, with WHERE, joins \
            and FILTER as in any aggregate. The training options are the session's (`SET synth.epochs = 100`). Returns \
            the model's name, its version, the rows learned and the validation score. The rows are kept in memory, \
            reserved from the session's pool; tables of their own are better learned by synth_train.",
        syntax: "synth_fit(model, column [, column …])",
        arguments: vec![
            argument("model", "string", "Name of the model; the same for all rows of a group."),
            argument("column", "any column or expression", "What to learn; named as the expression is."),
        ],
        examples: &[
            "SELECT category, synth_fit('products_' || category, price, weight_g) AS fit FROM products GROUP BY category",
        ],
    }
}
