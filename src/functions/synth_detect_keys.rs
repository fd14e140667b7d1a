//! `synth_detect_keys(…)`: proposes primary and foreign keys.

use super::{
    arguments::{Arguments, Parameter, ParameterKind, Signature},
    documentation::{ArgumentDoc, FunctionDoc},
    synth_train::named_tables,
};
use crate::{
    Result,
    exec::{ReportTable, keys::detected_keys},
    session::SynthOptions,
};
use datafusion::{
    catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider},
    error::Result as DataFusionResult,
};
use std::sync::Arc;

/// Name in SQL.
pub(super) const NAME: &str = "synth_detect_keys";

const SIGNATURE: Signature = Signature {
    function: NAME,
    parameters: &[Parameter {
        name: "table",
        kind: ParameterKind::Text,
        required: false,
        default: "`'*'`",
        description: "The tables among which keys are looked for: `'a, b'`, or `'*'` for every table of the default \
            schema.",
    }],
};

pub(super) fn documentation() -> FunctionDoc {
    FunctionDoc {
        name: NAME,
        kind: "table function",
        description: "Proposes the primary and foreign keys that the data keeps and that something speaks for: names, the \
            order of columns, numbers that count the rows of a group, texts that look like the keys of one table. Values \
            that happen to lie in a key are no evidence. Every proposal is checked against all rows: `rows`, `nulls`, \
            `distinct_keys`, `orphans` and `inclusion` (share of references that find a parent) are exact. \
            `name_similarity` and `score` go from 0 to 1, `evidence` says it in words, and `statement` declares the key; \
            where only `INSERT` is understood, its columns are those of `synth.keys` and `synth.foreign_keys`. Keys that \
            are declared already are not proposed, but used.",
        syntax: "synth_detect_keys([table])",
        arguments: ArgumentDoc::of(&SIGNATURE),
        examples: &[
            "SELECT table_name, columns, parent_table, inclusion, statement FROM synth_detect_keys() WHERE kind = 'foreign key'",
            "INSERT INTO synth.foreign_keys (table_name, columns, parent_table, parent_columns) \
             SELECT table_name, columns, parent_table, parent_columns FROM synth_detect_keys('customers, orders') \
             WHERE kind = 'foreign key'",
        ],
    }
}

/// The table function.
#[derive(Debug)]
pub struct SynthDetectKeys;

impl TableFunctionImpl for SynthDetectKeys {
    fn call_with_args(&self, args: TableFunctionArgs) -> DataFusionResult<Arc<dyn TableProvider>> {
        let arguments = SIGNATURE.bind(args.exprs())?;
        let options = SynthOptions::from_config(args.session().config_options());
        Ok(Arc::new(plan(&arguments, &options)?))
    }
}

fn plan(arguments: &Arguments, options: &SynthOptions) -> Result<ReportTable> {
    arguments.deny_others(&[])?;
    let tables = named_tables(arguments)?;
    Ok(detected_keys(options.model_store()?, tables))
}
