//! `synth_check_keys(…)`: checks the declared keys against the data.

use super::{
    arguments::{Arguments, Parameter, ParameterKind, Signature},
    documentation::{ArgumentDoc, FunctionDoc},
    options::parsed,
    synth_train::named_tables,
};
use crate::{
    Result,
    exec::{ReportTable, keys::checked_keys},
    session::SynthOptions,
};
use datafusion::{
    catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider},
    error::Result as DataFusionResult,
};
use std::sync::Arc;

/// Name in SQL.
pub(super) const NAME: &str = "synth_check_keys";

const SIGNATURE: Signature = Signature {
    function: NAME,
    parameters: &[
        Parameter {
            name: "table",
            kind: ParameterKind::Text,
            required: false,
            default: "`'*'`",
            description: "The table whose keys are checked; `'a, b'` for several; `'*'` for every declared key.",
        },
        Parameter {
            name: "orphans",
            kind: ParameterKind::Text,
            required: false,
            default: "`error`",
            description: "Whether rows that refer to no row of the parent are an `error`, or would be dropped (`drop`) \
                or refer to nothing (`null`).",
        },
    ],
};

pub(super) fn documentation() -> FunctionDoc {
    FunctionDoc {
        name: NAME,
        kind: "table function",
        description: "Checks every declared key against the data, and returns a row for each: `kind` (primary key, \
            unique, foreign key), `table_name`, `columns`, `parent_table`, `parent_columns`, `rows`, `nulls` (rows with a \
            null in the key), `duplicates` (rows that repeat the key of another row), `orphans` (rows that refer to no \
            row of the parent), `children_min`, `children_mean` and `children_max` (children of a parent key), and \
            `verdict`: `ok`, or what is wrong and the way out. A foreign key with a null in any of its columns refers to \
            nothing. Keys are declared in `CREATE TABLE`, with `ALTER TABLE`, or in `synth.keys` and \
            `synth.foreign_keys`.",
        syntax: "synth_check_keys([table] [, orphans => …])",
        arguments: ArgumentDoc::of(&SIGNATURE),
        examples: &[
            "SELECT kind, table_name, columns, rows, duplicates, verdict FROM synth_check_keys()",
            "SELECT columns, verdict FROM synth_check_keys('orders, order_items', orphans => 'drop')",
        ],
    }
}

/// The table function.
#[derive(Debug)]
pub struct SynthCheckKeys;

impl TableFunctionImpl for SynthCheckKeys {
    fn call_with_args(&self, args: TableFunctionArgs) -> DataFusionResult<Arc<dyn TableProvider>> {
        let arguments = SIGNATURE.bind(args.exprs())?;
        let options = SynthOptions::from_config(args.session().config_options());
        Ok(Arc::new(plan(&arguments, &options)?))
    }
}

fn plan(arguments: &Arguments, options: &SynthOptions) -> Result<ReportTable> {
    arguments.deny_others(&[])?;
    let tables = named_tables(arguments)?;
    let orphans = parsed(arguments, "orphans")?.unwrap_or_default();
    Ok(checked_keys(options.model_store()?, tables, orphans))
}
