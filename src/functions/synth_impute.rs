//! `synth_impute(table, …)`: a table with its nulls filled.

use super::{
    apply::{CANDIDATES, DEVICE, MODEL, TABLE, THREADS, UNSEEN, VERSION, applied, table},
    arguments::{Parameter, ParameterKind, Signature},
    documentation::{ArgumentDoc, FunctionDoc},
    parents::PARENT,
};
use crate::exec::Action;
use datafusion::{
    catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider},
    error::Result,
};
use std::sync::Arc;

/// Name in SQL.
pub(super) const NAME: &str = "synth_impute";

const SIGNATURE: Signature = Signature {
    function: NAME,
    parameters: &[
        TABLE,
        MODEL,
        Parameter {
            name: "seed",
            kind: ParameterKind::Whole(0, u64::MAX),
            required: false,
            default: "`synth.seed`",
            description: "Another seed gives another imputation (multiple imputation: one query per seed).",
        },
        VERSION,
        Parameter {
            name: "temperature",
            kind: ParameterKind::Number(0.01, 100.0),
            required: false,
            default: "1",
            description: "Below 1 the values are more typical, above 1 less; 1 keeps the distribution.",
        },
        PARENT,
        CANDIDATES,
        UNSEEN,
        DEVICE,
        THREADS,
    ],
};

pub(super) fn documentation() -> FunctionDoc {
    FunctionDoc {
        name: NAME,
        kind: "table function",
        description: "A table with its nulls filled: each is drawn from the model's distribution given all that the row \
            has, never copied from another row and never a mean. What is not null stays as it is; columns that the model \
            does not know pass through. Rows come in the table's order and keep its schema. A row with foreign keys is filled \
            given its parents and the row before it under the same parent; the table's rows are all that these parents have. \
            Foreign keys that are null refer to nothing, and stay so.",
        syntax: "synth_impute(table [, model => …] [, seed => …] [, version => …] [, temperature => …] \
            [, parent => …] [, candidates => …] [, unseen => …] [, device => …] [, threads => …])",
        arguments: ArgumentDoc::of(&SIGNATURE),
        examples: &["SELECT count(*) AS rows, count(birth_date) AS filled FROM synth_impute('customers')"],
    }
}

/// The table function.
#[derive(Debug)]
pub struct SynthImpute;

impl TableFunctionImpl for SynthImpute {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let arguments = SIGNATURE.bind(args.exprs())?;
        arguments.deny_others(&[])?;
        let table = table(&arguments, args.session())?;
        Ok(Arc::new(applied(&arguments, args.session(), (NAME, Action::Impute), table)?))
    }
}
