//! `synth_generate([tables,] to => …)`: a synthetic database, as files or Delta tables.

use super::{
    apply::{DEVICE, THREADS_OF_PARTITION},
    arguments::{Arguments, Parameter, ParameterKind, Signature},
    documentation::{ArgumentDoc, FunctionDoc},
    options::{narrow, parsed},
};
use crate::{
    Result, SynthError,
    exec::{
        GenerateSpec, GenerateTable,
        generate::{Destination, GenerateFormat, Scale},
    },
    session::SynthOptions,
    store::{Manifest, ModelStore, blocking},
};
use datafusion::{
    catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider},
    error::Result as DataFusionResult,
};
use std::sync::Arc;

/// Name in SQL.
pub(super) const NAME: &str = "synth_generate";

const SIGNATURE: Signature = Signature {
    function: NAME,
    parameters: &[
        Parameter {
            name: "tables",
            kind: ParameterKind::Text,
            required: false,
            default: "`'*'`",
            description: "The tables, by the names of their models; `'a, b'` for several; `'*'` for every model of the store. \
                Parents that are not among them are generated as they are needed, and not written.",
        },
        Parameter {
            name: "to",
            kind: ParameterKind::Text,
            required: true,
            default: "",
            description: "A folder, or the URL of one; each table becomes a folder in it.",
        },
        Parameter {
            name: "format",
            kind: ParameterKind::Text,
            required: false,
            default: "`parquet`",
            description: "`parquet`, `csv` or `delta`.",
        },
        Parameter {
            name: "scale",
            kind: ParameterKind::Number(0.001, 1000.0),
            required: false,
            default: "1",
            description: "Rows, as a multiple of the training data's. Tables with foreign keys come in segments, each a \
                database by itself: scale 2.5 is three segments of 2.5 / 3 of the training data's rows each, those of \
                `synth_sample(…, scale => 2.5 / 3)`.",
        },
        Parameter {
            name: "seed",
            kind: ParameterKind::Whole(0, u64::MAX),
            required: false,
            default: "`synth.seed`",
            description: "Another seed is another database; the same seed gives the same rows.",
        },
        Parameter {
            name: "overwrite",
            kind: ParameterKind::Boolean,
            required: false,
            default: "false",
            description: "Whether tables that are there already are replaced, each as a whole.",
        },
        DEVICE,
        THREADS_OF_PARTITION,
    ],
};

pub(super) fn documentation() -> FunctionDoc {
    FunctionDoc {
        name: NAME,
        kind: "table function",
        description: "Generates a whole database: every table, parents before children, with the schema it was learned with \
            and references that all find their row. The rows are those that `synth_sample` gives for the same seed and \
            scale; they stream into files, so a database may be larger than memory. Returns a row for each table when it is \
            written: `rows`, `bytes`, `files`, `seconds`, `rows_per_second`, `location` and `status` (`written` or \
            `already there`). Tables are written when the rows are read, never when the statement is planned, and every \
            place is looked at before the first table is written: a folder that is not empty is an error, unless \
            `overwrite => true`.\n\n\
            Parquet and CSV: a table is a folder of files `part-00000`, `part-00001` …, in the order of the rows. On a local \
            disk the folder appears under its name when it is complete; until then it is a hidden one beside it (`.orders.…`), \
            which only a killed process leaves behind. Object stores cannot rename: there files appear one by one, an object \
            `_SUCCESS` in the folder says that they are all there, and `overwrite => true` removes the old files first. \
            Delta: a table is one commit, with the model's hash and the seed in its metadata, and an application transaction \
            by which a second run knows its work: tables with these rows are `already there`, the others are written, so \
            what was interrupted is finished by running it again. Rows of a Delta table have no order.",
        syntax: "synth_generate([tables,] to => … [, format => …] [, scale => …] [, seed => …] [, overwrite => …] \
            [, device => …] [, threads => …])",
        arguments: ArgumentDoc::of(&SIGNATURE),
        examples: &[
            "SELECT \"table\", rows, files, status FROM synth_generate('customers', to => 'synthetic', scale => 0.1)",
            "SELECT count(*) FROM 'synthetic/customers/'",
            "SELECT \"table\", rows, status FROM synth_generate('customers', to => 'lake', format => 'delta', scale => 0.1, seed => 7)",
        ],
    }
}

/// The table function.
#[derive(Debug)]
pub struct SynthGenerate;

impl TableFunctionImpl for SynthGenerate {
    fn call_with_args(&self, args: TableFunctionArgs) -> DataFusionResult<Arc<dyn TableProvider>> {
        let arguments = SIGNATURE.bind(args.exprs())?;
        arguments.deny_others(&[])?;
        let options = SynthOptions::from_config(args.session().config_options());
        Ok(Arc::new(plan(&arguments, &options)?))
    }
}

/// Freezes everything that decides what is written: versions and hashes from the manifests, the seed, the place.
fn plan(arguments: &Arguments, options: &SynthOptions) -> Result<GenerateTable> {
    let store = options.model_store()?;
    let spec = GenerateSpec {
        store: store.location().to_owned(),
        to: Destination::parse(&arguments.required_text("to")?)?,
        format: parsed(arguments, "format")?.unwrap_or(GenerateFormat::Parquet),
        overwrite: arguments.boolean("overwrite")?.unwrap_or(false),
        seed: arguments.whole("seed")?.unwrap_or(options.fit.seed),
        scale: Scale::new(arguments.number("scale")?.unwrap_or(1.0)),
        device: parsed(arguments, "device")?.unwrap_or(options.fit.device),
        threads: narrow(arguments, "threads")?,
    };
    let text = arguments.text("tables")?.unwrap_or_else(|| "*".to_owned());
    let manifests =
        if text.trim() == "*" { blocking(all(arguments, &store))? } else { named(arguments, &text, &store)? };
    GenerateTable::new(spec, manifests)
}

/// The newest version of every model.
async fn all(arguments: &Arguments, store: &ModelStore) -> Result<Vec<Arc<Manifest>>> {
    let newest = store.versions().await?.into_iter().filter(|version| version.current);
    let manifests = newest.map(|version| version.manifest).collect::<Result<Vec<_>>>()?;
    if manifests.is_empty() {
        let given = format!("every model of {}, which has none", store.location());
        return Err(arguments.fault("tables", &given, "a store with models: SELECT * FROM synth_train('*') fills it"));
    }
    Ok(manifests)
}

/// The newest versions of the models that `text` names. (No name of a model has a comma or a quote in it.)
fn named(arguments: &Arguments, text: &str, store: &ModelStore) -> Result<Vec<Arc<Manifest>>> {
    let mut manifests: Vec<Arc<Manifest>> = Vec::new();
    let (mut unknown, mut known) = (Vec::new(), Vec::new());
    for name in text.split(',').map(|name| name.trim().trim_matches('"')) {
        if name.is_empty() {
            let expected = "a model, models separated by commas, or '*'";
            return Err(arguments.fault("tables", &format!("'{text}'"), expected));
        }
        match blocking(store.manifest(name, None)) {
            Ok(manifest) if manifests.iter().any(|other| other.name == manifest.name) => {
                return Err(arguments.fault("tables", &format!("`{name}` twice"), "each of them once"));
            }
            Ok(manifest) => manifests.push(manifest),
            Err(SynthError::NotFound { name, known: there, .. }) => {
                unknown.push(name);
                known = there;
            }
            Err(error) => return Err(error),
        }
    }
    if unknown.is_empty() {
        return Ok(manifests);
    }
    let kind = if unknown.len() == 1 { "model" } else { "models" };
    Err(SynthError::NotFound { kind, name: unknown.join("`, `"), known })
}
