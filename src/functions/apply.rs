//! What the functions share that apply a model to the rows of a table.

use super::{
    arguments::{Arguments, Parameter, ParameterKind},
    options::{narrow, parsed},
    parents::tables_of_parents,
};
use crate::{
    Result, SynthError,
    encode::Unseen,
    exec::{Action, ApplySpec, ApplyTable, find_table},
    models,
    session::SynthOptions,
    store::{Manifest, blocking},
};
use datafusion::{
    catalog::{Session, TableProvider},
    common::TableReference,
};
use std::sync::Arc;

/// The table.
pub(super) const TABLE: Parameter = Parameter {
    name: "table",
    kind: ParameterKind::Text,
    required: true,
    default: "",
    description: "A table or view with columns of the model's; the model may lack some of them, and they some of the model's.",
};
/// The model.
pub(super) const MODEL: Parameter = Parameter {
    name: "model",
    kind: ParameterKind::Text,
    required: false,
    default: "the table's name",
    description: "The model, by the name it was trained under; its kind must be `argn`.",
};
/// Its version.
pub(super) const VERSION: Parameter = Parameter {
    name: "version",
    kind: ParameterKind::Whole(1, u32::MAX as u64),
    required: false,
    default: "the newest",
    description: "Version of the model.",
};
/// What to do with values that were never seen.
pub(super) const UNSEEN: Parameter = Parameter {
    name: "unseen",
    kind: ParameterKind::Text,
    required: false,
    default: "`error`",
    description: "What to do with a value that the model has never seen: `error` names it, `ignore` goes on as if nothing \
        were known there (the value itself is kept).",
};
/// Candidates for each row.
pub(super) const CANDIDATES: Parameter = Parameter {
    name: "candidates",
    kind: ParameterKind::Whole(1, 1 << 16),
    required: false,
    default: "8",
    description: "What a row lacks is drawn so many times, in an order of the columns that the model may not know well, and one of the \
        candidates is kept, as often as it comes in the order that the model knows best; a probability is a mean over them. More are \
        closer to what the model knows and take as many times longer. Rows that lack nothing, or no column before a known one, need \
        none.",
};
/// Candidates for each row that is judged: a mean is off by more than a choice.
pub(super) const CANDIDATES_TO_JUDGE: Parameter = Parameter { default: "16", ..CANDIDATES };
/// Where to run.
pub(super) const DEVICE: Parameter = Parameter {
    name: "device",
    kind: ParameterKind::Text,
    required: false,
    default: "`synth.device`",
    description: "`auto`, `cpu`, `cuda` or `cuda:N`.",
};
/// With how many threads, where partitions run side by side.
pub(super) const THREADS_OF_PARTITION: Parameter = Parameter {
    name: "threads",
    kind: ParameterKind::Whole(1, 1024),
    required: false,
    default: "cores / partitions",
    description: "Threads of the model within a partition; does not change the rows.",
};
/// With how many threads.
pub(super) const THREADS: Parameter = Parameter {
    name: "threads",
    kind: ParameterKind::Whole(1, 1024),
    required: false,
    default: "all cores",
    description: "Threads of the model; does not change the rows.",
};

/// The model that `arguments` name, applied to `table`.
pub(super) fn applied(
    arguments: &Arguments,
    session: &dyn Session,
    (function, action): (&'static str, Action),
    (reference, table): (TableReference, Arc<dyn TableProvider>),
) -> Result<ApplyTable> {
    let options = SynthOptions::from_config(session.config_options());
    let model = arguments.text("model")?.unwrap_or_else(|| reference.table().to_owned());
    let store = options.model_store()?;
    let manifest = blocking(store.manifest(&model, narrow(arguments, "version")?))?;
    let parents = tables_of_parents(arguments, session, (&manifest, &store), &reference)?;
    if !refers(&manifest) {
        return applied_by(&manifest, arguments, &options, (function, action), (reference, table));
    }
    let spec = spec(&manifest, arguments, &options, (function, action))?;
    ApplyTable::related(spec, manifest, parents, (reference, table))
}

/// The model of `manifest`, whose rows depend on those of no other table, applied to `table`.
pub(super) fn applied_by(
    manifest: &Manifest,
    arguments: &Arguments,
    options: &SynthOptions,
    (function, action): (&'static str, Action),
    (reference, table): (TableReference, Arc<dyn TableProvider>),
) -> Result<ApplyTable> {
    let spec = spec(manifest, arguments, options, (function, action))?;
    ApplyTable::new(spec, &manifest.encoder, reference, table)
}

fn spec(
    manifest: &Manifest,
    arguments: &Arguments,
    options: &SynthOptions,
    (function, action): (&'static str, Action),
) -> Result<ApplySpec> {
    knows_orders(arguments, manifest, "model")?;
    Ok(ApplySpec {
        function,
        action,
        store: options.model_store()?.location().to_owned(),
        model: manifest.name.clone(),
        version: manifest.version,
        content_hash: manifest.content_hash.clone(),
        seed: arguments.whole("seed")?.unwrap_or(options.fit.seed),
        temperature: arguments.number("temperature")?.map_or(1.0, |temperature| temperature as f32),
        candidates: candidates(arguments, action)?,
        unseen: unseen(arguments)?,
        device: parsed(arguments, "device")?.unwrap_or(options.fit.device),
        threads: narrow(arguments, "threads")?,
    })
}

/// How many candidates rows get.
fn candidates(arguments: &Arguments, action: Action) -> Result<usize> {
    let default = if action == Action::LogProbability { CANDIDATES_TO_JUDGE } else { CANDIDATES }.default;
    let given = narrow(arguments, "candidates")?;
    given.map_or_else(|| default.parse(), Ok).map_err(|_| SynthError::Internal(format!("`{default}` candidates")))
}

/// What the argument `unseen` says.
pub(super) fn unseen(arguments: &Arguments) -> Result<Unseen> {
    match arguments.text("unseen")?.as_deref() {
        None | Some("error") => Ok(Unseen::Refuse),
        Some("ignore") => Ok(Unseen::Ignore),
        Some(other) => Err(arguments.fault("unseen", &format!("'{other}'"), "'error' or 'ignore'")),
    }
}

/// Whether rows of a model's table depend on those of other tables.
pub(super) fn refers(manifest: &Manifest) -> bool {
    manifest.relations.as_ref().is_some_and(|relations| !relations.references.is_empty())
}

/// Refuses a model whose rows depend on others, or whose kind generates whole rows only; `argument` is what needs more.
pub(super) fn needs_any_order(arguments: &Arguments, manifest: &Manifest, argument: &str) -> Result<()> {
    if refers(manifest) {
        let name = &manifest.name;
        let given = format!("`{name}`, whose rows depend on those of other tables");
        let expected = format!(
            "a model of a table without foreign keys, as one that is trained on a view of `{name}` (rows of `{name}` itself are \
             completed by synth_sample('{name}', given => 'my_rows'))"
        );
        return Err(arguments.fault(argument, &given, &expected));
    }
    knows_orders(arguments, manifest, argument)
}

/// Refuses a model whose kind generates whole rows only.
pub(super) fn knows_orders(arguments: &Arguments, manifest: &Manifest, argument: &str) -> Result<()> {
    let Manifest { kind, name, .. } = manifest;
    if models::kind(kind)?.any_order() {
        return Ok(());
    }
    let given = format!("`{name}`, a {kind} model, which generates whole rows only");
    Err(arguments.fault(
        argument,
        &given,
        "a model trained with model => 'argn' (WHERE filters what any model generates)",
    ))
}

/// The table that the argument `table` names.
pub(super) fn table(arguments: &Arguments, session: &dyn Session) -> Result<(TableReference, Arc<dyn TableProvider>)> {
    let reference = TableReference::from(arguments.required_text("table")?.as_str());
    let table = blocking(find_table(session, &reference))?;
    Ok((reference, table))
}
