//! `synth_sample(model, rows, …)`: generated rows.

use super::{
    apply::{
        CANDIDATES, DEVICE, THREADS_OF_PARTITION, UNSEEN, applied_by, knows_orders, needs_any_order, refers, unseen,
    },
    arguments::{Arguments, Parameter, ParameterKind, Signature},
    documentation::{ArgumentDoc, FunctionDoc},
    from_clause::query,
    options::{narrow, parsed},
    parents::parents,
};
use crate::{
    Result,
    exec::{Action, CompletedTable, SampleSpec, SampleTable, Wanted, find_table},
    session::SynthOptions,
    store::{Manifest, blocking},
};
use datafusion::{
    catalog::{Session, TableFunctionArgs, TableFunctionImpl, TableProvider},
    common::TableReference,
    error::Result as DataFusionResult,
};
use std::{ops::Range, sync::Arc};

/// Name in SQL.
pub(super) const NAME: &str = "synth_sample";

/// Row numbers are `BIGINT`s in SQL.
const MAX_ROW: u64 = i64::MAX as u64;

/// Name and arguments.
const SIGNATURE: Signature = Signature {
    function: NAME,
    parameters: &[
        Parameter {
            name: "model",
            kind: ParameterKind::Text,
            required: true,
            default: "",
            description: "The model, by the name it was trained under.",
        },
        Parameter {
            name: "rows",
            kind: ParameterKind::Whole(1, MAX_ROW),
            required: false,
            default: "as many as the table of `given`, as many children as the owners in `parent` have; else it must be given",
            description: "Number of rows; `1e6` is a million.",
        },
        Parameter {
            name: "seed",
            kind: ParameterKind::Whole(0, u64::MAX),
            required: false,
            default: "`synth.seed`",
            description: "Another seed is another infinite table; the same seed gives the same rows.",
        },
        Parameter {
            name: "start",
            kind: ParameterKind::Whole(0, MAX_ROW),
            required: false,
            default: "0",
            description: "Number of the first row; any range costs the same.",
        },
        Parameter {
            name: "version",
            kind: ParameterKind::Whole(1, u32::MAX as u64),
            required: false,
            default: "the newest",
            description: "Version of the model.",
        },
        Parameter {
            name: "given",
            kind: ParameterKind::Text,
            required: false,
            default: "nothing",
            description: "What is known of the rows: a condition in SQL that every row is to satisfy, or a table or query with \
                some of the model's columns, each row of which is completed, nulls included (kind `argn`; `rows` goes through \
                them again and again). A model of kind `argn` of a table without foreign keys is told what a condition \
                leaves of each column, and draws nothing else. For what is about several columns or about generated values, \
                for other kinds and for tables with foreign keys, the rows of the infinite table are looked through, from \
                `start` on: those that satisfy the condition come as they are (`row_id` is their number there), at the price \
                of those that do not. Completed rows of a table with foreign keys have parents that go with what is given, or \
                those that they name, among what the models generate or `parent` gives.",
        },
        Parameter {
            name: "balance",
            kind: ParameterKind::Text,
            required: false,
            default: "nothing",
            description: "A categorical column whose values are to be equally frequent (nulls left out), the others as they \
                go with each.",
        },
        Parameter {
            name: "temperature",
            kind: ParameterKind::Number(0.01, 100.0),
            required: false,
            default: "1",
            description: "Below 1 rows are more typical than the data, above 1 less (kind `argn`). Parents that are not given are \
                as they are without it.",
        },
        Parameter {
            name: "scale",
            kind: ParameterKind::Number(1e-6, 1.0),
            required: false,
            default: "1",
            description: "For tables with foreign keys: rows come in segments, each a database by itself, and this is the share \
                of the training data's rows that one has. Tables of one seed and scale fit together.",
        },
        Parameter {
            name: "parent",
            kind: ParameterKind::Text,
            required: false,
            default: "what their models generate",
            description: "Tables or queries whose rows are the parents, instead of generated ones: `'my_customers'`, \
                `'my_customers AS customers, (SELECT …) AS products'`, the alias being the parent that they stand for. The \
                models of these parents (kind `argn`) draw how many children each row would have, given its columns. Where \
                the owner is given, its rows have `rows` children in all, in the order of its key; parents that are not \
                given come from the first segment. Parents that depend on parents of their own need those, too.",
        },
        Parameter {
            name: "row_id",
            kind: ParameterKind::Boolean,
            required: false,
            default: "false",
            description: "Puts the row's number first, as a column `row_id`.",
        },
        CANDIDATES,
        UNSEEN,
        DEVICE,
        THREADS_OF_PARTITION,
    ],
};

pub(super) fn documentation() -> FunctionDoc {
    FunctionDoc {
        name: NAME,
        kind: "table function",
        description: "Generates rows of a trained model, with exactly the schema of the table it learned. A model \
            with a seed is an infinite, deterministic table: row `i` is the same whatever range, columns, number of \
            partitions or batch size it is asked for with. Rows come in parallel partitions; `row_id => true` makes \
            their order visible.",
        syntax: "synth_sample(model, rows [, seed => …] [, start => …] [, version => …] [, given => …] [, balance => …] \
            [, temperature => …] [, scale => …] [, parent => …] [, row_id => …] [, candidates => …] \
            [, unseen => …] [, device => …] [, threads => …])",
        arguments: ArgumentDoc::of(&SIGNATURE),
        examples: &[
            "SELECT count(*) FROM synth_sample('customers', 1e6)",
            "SELECT * FROM synth_sample('customers', rows => 3, seed => 7, row_id => true) ORDER BY row_id",
            "SELECT count(*) AS rows, min(credit_limit) > 500 AS above FROM synth_sample('customers', 1000, given => 'credit_limit > 500')",
            "SELECT count(*) FROM synth_sample('customers', given => 'SELECT country FROM customers LIMIT 50')",
            "SELECT row_id FROM synth_sample('customers', 2, start => 1e12, row_id => true) ORDER BY row_id",
        ],
    }
}

/// The table function.
#[derive(Debug)]
pub struct SynthSample;

impl TableFunctionImpl for SynthSample {
    fn call_with_args(&self, args: TableFunctionArgs) -> DataFusionResult<Arc<dyn TableProvider>> {
        let arguments = SIGNATURE.bind(args.exprs())?;
        arguments.deny_others(&[])?;
        let options = SynthOptions::from_config(args.session().config_options());
        if let Some(table) = given_table(&arguments, args.session())? {
            return completed(&arguments, &options, args.session(), table);
        }
        Ok(Arc::new(plan(&arguments, &options, args.session())?))
    }
}

/// The table that `given` names, if it names one and is no condition.
fn given_table(
    arguments: &Arguments,
    session: &dyn Session,
) -> Result<Option<(TableReference, Arc<dyn TableProvider>)>> {
    let Some(text) = arguments.text("given")? else { return Ok(None) };
    let reference = TableReference::from(text.as_str());
    if let Ok(table) = blocking(find_table(session, &reference)) {
        return Ok(Some((reference, table)));
    }
    Ok(query(session, &text)?.map(|source| (TableReference::bare("given"), source.provider)))
}

/// Rows of a table, completed.
fn completed(
    arguments: &Arguments,
    options: &SynthOptions,
    session: &dyn Session,
    table: (TableReference, Arc<dyn TableProvider>),
) -> DataFusionResult<Arc<dyn TableProvider>> {
    if let Some(name) = ["start", "balance", "row_id"].into_iter().find(|name| arguments.has(name)) {
        let expected = "nothing, as `given` is a table: its rows say what comes out";
        return Err(arguments.fault(name, "a value", expected).into());
    }
    let rows = arguments.whole("rows")?;
    let store = options.model_store()?;
    let manifest = blocking(store.manifest(&arguments.required_text("model")?, narrow(arguments, "version")?))?;
    let parents = parents(arguments, session, &manifest)?;
    if !refers(&manifest) {
        return Ok(Arc::new(applied_by(&manifest, arguments, options, (NAME, Action::Complete { rows }), table)?));
    }
    knows_orders(arguments, &manifest, "given")?;
    if let Some(candidates) = arguments.whole("candidates")? {
        let expected =
            format!("nothing, as `{}` has foreign keys: its rows have candidates for their parents", manifest.name);
        return Err(arguments.fault("candidates", &candidates.to_string(), &expected).into());
    }
    let spec = frozen(arguments, options, &manifest, 0..rows.unwrap_or(SampleSpec::ALL))?;
    Ok(Arc::new(CompletedTable::new(spec, manifest, parents, table, unseen(arguments)?)?))
}

/// Freezes everything the rows depend on: version and hash from the manifest, the seed, the device.
fn plan(arguments: &Arguments, options: &SynthOptions, session: &dyn Session) -> Result<SampleTable> {
    if let Some(name) = ["candidates", "unseen"].into_iter().find(|name| arguments.has(name)) {
        return Err(arguments.fault(name, "a value", "nothing, unless `given` is a table"));
    }
    let model = arguments.required_text("model")?;
    let start = arguments.whole("start")?.unwrap_or(0);
    let version = narrow(arguments, "version")?;
    let store = options.model_store()?;
    let rows = arguments.whole("rows")?;
    let no_rows = || arguments.fault("rows", "nothing", &format!("whole number from 1 to {MAX_ROW}"));
    if rows.is_none() && !arguments.has("parent") {
        return Err(no_rows());
    }
    let manifest = blocking(store.manifest(&model, version))?;
    let parents = parents(arguments, session, &manifest)?;
    if parents.own(&manifest) && arguments.has("start") {
        return Err(arguments.fault("start", &start.to_string(), "nothing, as the rows are children of a given table"));
    }
    if let (true, true, Some(rows)) = (parents.own(&manifest), arguments.has("given"), rows) {
        let expected = "nothing, as the rows that satisfy `given` are those among the children of a given table";
        return Err(arguments.fault("rows", &rows.to_string(), expected));
    }
    let rows = match rows {
        None if parents.own(&manifest) => SampleSpec::ALL,
        None => return Err(no_rows()),
        Some(rows) => rows,
    };
    if rows != SampleSpec::ALL && start > MAX_ROW - rows {
        let given = format!("{start} with {rows} rows");
        return Err(arguments.fault("start", &given, &format!("start + rows of at most {MAX_ROW}")));
    }
    if arguments.has("balance") {
        needs_any_order(arguments, &manifest, "balance")?;
    }
    if arguments.has("temperature") {
        knows_orders(arguments, &manifest, "temperature")?;
    }
    let (condition, balance) = (arguments.text("given")?, arguments.text("balance")?);
    let Wanted { given, sieve } = Wanted::new(session, &manifest, condition.as_deref(), balance.as_deref())?;
    let spec = SampleSpec { given, ..frozen(arguments, options, &manifest, start..start.saturating_add(rows))? };
    Ok(SampleTable::new(spec, manifest)?.with_parents(parents).with_sieve(sieve))
}

/// The sample of the rows `rows`; [`SampleSpec::ALL`] of them, if that is where they end.
fn frozen(arguments: &Arguments, options: &SynthOptions, manifest: &Manifest, rows: Range<u64>) -> Result<SampleSpec> {
    Ok(SampleSpec {
        given: None,
        temperature: arguments.number("temperature")?.map_or(1.0, |temperature| temperature as f32),
        store: options.model_store()?.location().to_owned(),
        model: manifest.name.clone(),
        version: manifest.version,
        content_hash: manifest.content_hash.clone(),
        seed: arguments.whole("seed")?.unwrap_or(options.fit.seed),
        start: rows.start,
        rows: rows.end - rows.start,
        row_id: arguments.boolean("row_id")?.unwrap_or(false),
        device: parsed(arguments, "device")?.unwrap_or(options.fit.device),
        threads: narrow(arguments, "threads")?,
        scale: arguments.number("scale")?.unwrap_or(1.0),
    })
}
