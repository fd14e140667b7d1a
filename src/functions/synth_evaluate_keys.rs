//! `synth_evaluate_keys(…)`: what synthetic tables keep of each foreign key.

use super::{
    arguments::{Arguments, Parameter, ParameterKind, Signature},
    documentation::{ArgumentDoc, FunctionDoc},
    synth_train::named_tables,
};
use crate::{
    Result,
    exec::{
        ReportTable,
        evaluate::{Twins, evaluated_keys},
    },
    session::SynthOptions,
};
use datafusion::{
    catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider},
    error::Result as DataFusionResult,
};
use std::sync::Arc;

/// Name in SQL.
pub(super) const NAME: &str = "synth_evaluate_keys";

const SIGNATURE: Signature = Signature {
    function: NAME,
    parameters: &[
        Parameter {
            name: "table",
            kind: ParameterKind::Text,
            required: false,
            default: "`'*'`",
            description: "The table whose foreign keys are evaluated; `'a, b'` for several; `'*'` for all.",
        },
        Parameter {
            name: "synthetic",
            kind: ParameterKind::Text,
            required: false,
            default: "what the models generate",
            description: "Where the synthetic tables are: a schema that has them under the same names, or a pattern in which `*` \
                stands for the name of the real table (`new_*`). Without it, tables are sampled on the way, each as large as \
                the one its model learned.",
        },
    ],
};

pub(super) fn documentation() -> FunctionDoc {
    FunctionDoc {
        name: NAME,
        kind: "table function",
        description: "Compares real and synthetic tables foreign key by foreign key, and returns a row for each `metric`, with \
            what the `real` and the `synthetic` tables have of it and a `score`, 1 being the best. `cardinality`: the mean \
            number of children of a parent; the score is 1 less the Kolmogorov-Smirnov statistic of the two distributions. \
            `nulls` and `orphans`: shares of the child's rows that refer to nothing, or to a row that is not there. `trend`: \
            for each `column` of the child and each `parent_column`, their correlation where both are numbers or dates \
            (the score is 1 less half the difference), else Cramér's V (the score is 1 less the total variation distance of \
            the pairs, numbers in ten bins). Columns of keys, and texts of more than 100 values, are left out. The scores \
            are those of SDMetrics' CardinalityShapeSimilarity, CorrelationSimilarity and ContingencySimilarity.",
        syntax: "synth_evaluate_keys([table] [, synthetic => …])",
        arguments: ArgumentDoc::of(&SIGNATURE),
        examples: &[
            "SELECT metric, count(*) AS rows, min(score) AS worst FROM synth_evaluate_keys('orders', synthetic => '*') \
             GROUP BY metric ORDER BY metric",
        ],
    }
}

/// The table function.
#[derive(Debug)]
pub struct SynthEvaluateKeys;

impl TableFunctionImpl for SynthEvaluateKeys {
    fn call_with_args(&self, args: TableFunctionArgs) -> DataFusionResult<Arc<dyn TableProvider>> {
        let arguments = SIGNATURE.bind(args.exprs())?;
        let options = SynthOptions::from_config(args.session().config_options());
        Ok(Arc::new(plan(&arguments, &options)?))
    }
}

fn plan(arguments: &Arguments, options: &SynthOptions) -> Result<ReportTable> {
    arguments.deny_others(&[])?;
    let tables = named_tables(arguments)?;
    let twins = arguments.text("synthetic")?.map_or(Twins::Models, |text| Twins::named(&text));
    Ok(evaluated_keys(options.model_store()?, tables, twins))
}
