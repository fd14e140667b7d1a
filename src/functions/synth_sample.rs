//! `synth_sample(model, rows, …)`: generated rows.

use super::{
    arguments::{Arguments, Parameter, ParameterKind, Signature},
    documentation::{ArgumentDoc, FunctionDoc},
    options::{narrow, parsed},
};
use crate::{
    Result,
    exec::{SampleSpec, SampleTable},
    session::SynthOptions,
    store::blocking,
};
use datafusion::{
    catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider},
    error::Result as DataFusionResult,
};
use std::sync::Arc;

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
            required: true,
            default: "",
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
            name: "row_id",
            kind: ParameterKind::Boolean,
            required: false,
            default: "false",
            description: "Puts the row's number first, as a column `row_id`.",
        },
        Parameter {
            name: "device",
            kind: ParameterKind::Text,
            required: false,
            default: "`synth.device`",
            description: "`auto`, `cpu`, `cuda` or `cuda:N`.",
        },
        Parameter {
            name: "threads",
            kind: ParameterKind::Whole(1, 1024),
            required: false,
            default: "cores / partitions",
            description: "Threads of the model within a partition; does not change the rows.",
        },
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
        syntax: "synth_sample(model, rows [, seed => …] [, start => …] [, version => …] [, row_id => …] [, device => …] \
            [, threads => …])",
        arguments: ArgumentDoc::of(&SIGNATURE),
        examples: &[
            "SELECT count(*) FROM synth_sample('customers', 1e6)",
            "SELECT * FROM synth_sample('customers', rows => 3, seed => 7, row_id => true) ORDER BY row_id",
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
        let options = SynthOptions::from_config(args.session().config_options());
        Ok(Arc::new(plan(&arguments, &options)?))
    }
}

/// Freezes everything the rows depend on: version and hash from the manifest, the seed, the device.
fn plan(arguments: &Arguments, options: &SynthOptions) -> Result<SampleTable> {
    arguments.deny_others(&[])?;
    let model = arguments.required_text("model")?;
    let rows = arguments.whole("rows")?.unwrap_or_default();
    let seed = arguments.whole("seed")?.unwrap_or(options.fit.seed);
    let start = arguments.whole("start")?.unwrap_or(0);
    if start > MAX_ROW - rows {
        let given = format!("{start} with {rows} rows");
        return Err(arguments.fault("start", &given, &format!("start + rows of at most {MAX_ROW}")));
    }
    let version = narrow(arguments, "version")?;
    let device = parsed(arguments, "device")?.unwrap_or(options.fit.device);
    let row_id = arguments.boolean("row_id")?.unwrap_or(false);
    let threads = narrow(arguments, "threads")?;
    let store = options.model_store()?;
    let manifest = blocking(store.manifest(&model, version))?;
    let spec = SampleSpec {
        store: store.location().to_owned(),
        model,
        version: manifest.version,
        content_hash: manifest.content_hash.clone(),
        seed,
        start,
        rows,
        row_id,
        device,
        threads,
    };
    SampleTable::new(spec, &manifest.encoder)
}
