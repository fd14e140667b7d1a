//! `synth_log_prob(table, …)`: how probable the rows of a table are.

use super::{
    apply::{CANDIDATES_TO_JUDGE, DEVICE, MODEL, TABLE, THREADS, UNSEEN, VERSION, applied, table},
    arguments::Signature,
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
pub(super) const NAME: &str = "synth_log_prob";

const SIGNATURE: Signature = Signature {
    function: NAME,
    parameters: &[TABLE, MODEL, VERSION, PARENT, CANDIDATES_TO_JUDGE, UNSEEN, DEVICE, THREADS],
};

pub(super) fn documentation() -> FunctionDoc {
    FunctionDoc {
        name: NAME,
        kind: "table function",
        description: "The rows of a table and, as a last column `log_prob`, the natural logarithm of the probability that \
            the model gives to what they hold: low for anomalies. Columns that the table lacks, and nulls, are left open \
            (their marginal is taken); a number counts with the probability of its bin. Columns that are generated, not \
            learned, count for nothing. A row with foreign keys is judged given the parent that owns it and the row before it under that \
            parent; what it knows of other parents that it refers to counts as a part of the row.",
        syntax: "synth_log_prob(table [, model => …] [, version => …] [, parent => …] [, candidates => …] [, unseen => …] \
            [, device => …] [, threads => …])",
        arguments: ArgumentDoc::of(&SIGNATURE),
        examples: &["SELECT count(*) AS rows, max(log_prob) < 0 AS below_zero FROM synth_log_prob('customers')"],
    }
}

/// The table function.
#[derive(Debug)]
pub struct SynthLogProb;

impl TableFunctionImpl for SynthLogProb {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let arguments = SIGNATURE.bind(args.exprs())?;
        arguments.deny_others(&[])?;
        let table = table(&arguments, args.session())?;
        Ok(Arc::new(applied(&arguments, args.session(), (NAME, Action::LogProbability), table)?))
    }
}
