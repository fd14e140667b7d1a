//! `synth_train(table, …)`: learns tables, streams progress, stores models.

use super::{
    apply::DEVICE,
    arguments::{Arguments, Parameter, ParameterKind, Signature},
    documentation::{ArgumentDoc, FunctionDoc},
    options::{accepts, narrow, own_options, parsed, shown},
};
use crate::{
    Result,
    exec::train::{Overrides, TableSelection, TrainSpec, TrainTable},
    models::{kind, kinds},
    relational::Ties,
    session::SynthOptions,
    store::check_name,
};
use datafusion::{
    catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider},
    common::TableReference,
    error::Result as DataFusionResult,
};
use std::sync::Arc;

/// Name in SQL.
pub(super) const NAME: &str = "synth_train";

const SIGNATURE: Signature = Signature {
    function: NAME,
    parameters: &[
        Parameter {
            name: "table",
            kind: ParameterKind::Text,
            required: true,
            default: "",
            description: "The table or view to learn; `'a, b'` for several, side by side where each has two threads; `'*'` for every table \
                of the default schema.",
        },
        Parameter {
            name: "model",
            kind: ParameterKind::Text,
            required: false,
            default: "`synth.model`",
            description: "The kind of model.",
        },
        Parameter {
            name: "name",
            kind: ParameterKind::Text,
            required: false,
            default: "the table's name",
            description: "Name under which the model is stored.",
        },
        Parameter {
            name: "epochs",
            kind: ParameterKind::Whole(1, i32::MAX as u64),
            required: false,
            default: "`synth.epochs`",
            description: "Passes over the rows.",
        },
        Parameter {
            name: "batch_size",
            kind: ParameterKind::Whole(1, 1 << 24),
            required: false,
            default: "`synth.batch_size`",
            description: "Rows per training step.",
        },
        Parameter {
            name: "seed",
            kind: ParameterKind::Whole(0, u64::MAX),
            required: false,
            default: "`synth.seed`",
            description: "The same seed, rows and options give the same model on the same machine.",
        },
        DEVICE,
        Parameter {
            name: "threads",
            kind: ParameterKind::Whole(1, 1024),
            required: false,
            default: "`synth.threads`",
            description: "Threads of the training.",
        },
        Parameter {
            name: "patience",
            kind: ParameterKind::Whole(0, i32::MAX as u64),
            required: false,
            default: "`synth.patience`",
            description: "Stop after this many epochs without a better validation score; 0 never stops early.",
        },
        Parameter {
            name: "context",
            kind: ParameterKind::Text,
            required: false,
            default: "`all`, for kinds of models whose rows can depend on others",
            description: "What rows of a table with foreign keys are learned given: `none`, their `parents` (the columns of \
                their owner and of its owners), also the `siblings` before them, or `all`, which is also the parents that \
                are matched to them. Keys and numbers of children are right in any case.",
        },
        Parameter {
            name: "orphans",
            kind: ParameterKind::Text,
            required: false,
            default: "`error`",
            description: "What becomes of rows whose foreign key names no row of the parent: `error` counts them and stops, \
                `drop` leaves them out, `null` reads their foreign key as null.",
        },
        Parameter {
            name: "resume",
            kind: ParameterKind::Boolean,
            required: false,
            default: "false",
            description: "Continue the checkpoint that a cancelled or killed training left, with its options; only \
                `epochs`, `device` and `threads` may differ. Of several tables, those that were finished are left as they are.",
        },
    ],
};

pub(super) fn documentation() -> FunctionDoc {
    let mut arguments = ArgumentDoc::of(&SIGNATURE);
    for kind in kinds() {
        arguments.extend(kind.options().iter().map(|spec| ArgumentDoc {
            name: spec.name.to_owned(),
            accepts: accepts(spec.kind),
            default: shown(spec.default),
            description: format!("{} (`{}` only)", spec.description, kind.name()),
        }));
    }
    FunctionDoc {
        name: NAME,
        kind: "table function",
        description: "Learns a table and stores the model as its next version. Streams a row per epoch: losses, \
            validation score (0 to 1, higher is better), speed and time left; the last row carries the stored version, \
            its epoch and score being those of the kept weights. Training happens when the rows are read, never when \
            the statement is planned. Cancelling it (Ctrl-C, or a LIMIT that is reached) leaves a checkpoint for \
            `resume => true`.",
        syntax: "synth_train(table [, model => …] [, name => …] [, epochs => …] [, option => …])",
        arguments,
        examples: &[
            "SELECT model, version, epoch FROM synth_train('customers', epochs => 2) WHERE version IS NOT NULL",
            "SELECT count(*) FROM synth_train('products', name => 'my_products', epochs => 1, batch_size => 100, seed => 7)",
        ],
    }
}

/// The table function.
#[derive(Debug)]
pub struct SynthTrain;

impl TableFunctionImpl for SynthTrain {
    fn call_with_args(&self, args: TableFunctionArgs) -> DataFusionResult<Arc<dyn TableProvider>> {
        let arguments = SIGNATURE.bind(args.exprs())?;
        let options = SynthOptions::from_config(args.session().config_options());
        Ok(Arc::new(plan(&arguments, &options)?))
    }
}

fn plan(arguments: &Arguments, options: &SynthOptions) -> Result<TrainTable> {
    let kind_given = arguments.text("model")?;
    let kind = kind(kind_given.as_deref().unwrap_or(&options.model))?;
    let overrides = Overrides {
        epochs: narrow(arguments, "epochs")?,
        batch_size: narrow(arguments, "batch_size")?,
        seed: arguments.whole("seed")?,
        device: parsed(arguments, "device")?,
        threads: narrow(arguments, "threads")?,
        patience: narrow(arguments, "patience")?,
        context: parsed(arguments, "context")?,
        own: own_options(arguments, kind)?,
    };
    if let Some(ties) = overrides.context.filter(|&ties| ties != Ties::None && !kind.takes_context()) {
        let given = format!("'{ties}' for `{}`", kind.name());
        let others: Vec<_> = kinds().iter().filter(|kind| kind.takes_context()).map(|kind| kind.name()).collect();
        let expected = format!("'none', or a kind of model whose rows can depend on others: {}", others.join(", "));
        return Err(arguments.fault("context", &given, &expected));
    }
    let tables = selection(arguments)?;
    let name = arguments.text("name")?;
    if let Some(name) = &name {
        check_name(name)?;
        if !matches!(&tables, TableSelection::Named(tables) if tables.len() == 1) {
            let expected = "one table: with several, each model is named as its table";
            return Err(arguments.fault("name", &format!("'{name}' for several tables"), expected));
        }
    }
    let fit_options = overrides.over(&options.fit_options(kind)?);
    kind.check(&fit_options)?;
    let spec = TrainSpec {
        store: options.model_store()?.location().to_owned(),
        kind,
        kind_given: kind_given.is_some(),
        options: fit_options,
        overrides,
        name,
        orphans: parsed(arguments, "orphans")?.unwrap_or_default(),
        resume: arguments.boolean("resume")?.unwrap_or(false),
    };
    Ok(TrainTable::new(spec, tables))
}

/// The tables that the optional argument `table` names; none if they are all meant.
pub(super) fn named_tables(arguments: &Arguments) -> Result<Option<Vec<TableReference>>> {
    let selection = if arguments.has("table") { selection(arguments)? } else { TableSelection::All };
    Ok(match selection {
        TableSelection::All => None,
        TableSelection::Named(tables) => Some(tables),
    })
}

/// `'*'`, `'a'`, `'schema.a, "B, b"'`: names as in SQL, commas within quotes being part of a name.
pub(super) fn selection(arguments: &Arguments) -> Result<TableSelection> {
    let text = arguments.required_text("table")?;
    if text.trim() == "*" {
        return Ok(TableSelection::All);
    }
    let mut names = vec![String::new()];
    let mut quoted = false;
    for character in text.chars() {
        match character {
            ',' if !quoted => names.push(String::new()),
            _ => {
                quoted ^= character == '"';
                if let Some(name) = names.last_mut() {
                    name.push(character);
                }
            }
        }
    }
    if quoted || names.iter().any(|name| name.trim().is_empty()) {
        let expected = "a table, tables separated by commas, or '*'";
        return Err(arguments.fault("table", &format!("'{text}'"), expected));
    }
    Ok(TableSelection::Named(names.iter().map(|name| TableReference::from(name.trim())).collect()))
}
