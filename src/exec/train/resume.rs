//! What a checkpoint belongs to, and whether a training may go on from it.

use super::TrainSpec;
use crate::{
    Result, SynthError,
    encode::TableEncoder,
    models::{Checkpoint, FitOptions, ModelKind, OptionValue, kind},
    relational::Ties,
    store::ModelStore,
};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt::Display;

/// A training, as its checkpoint remembers it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Remembered {
    kind: String,
    options: FitOptions,
    context: String,
    encoder: Value,
    /// When the statement began, RFC 3339.
    begun: String,
}

/// A checkpoint that was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) checkpoint: Checkpoint,
    pub(super) kind: &'static dyn ModelKind,
    pub(super) options: FitOptions,
    pub(super) ties: Ties,
    encoder: Value,
}

/// What the checkpoints of this training remember.
pub(super) fn remember(
    kind: &dyn ModelKind,
    options: &FitOptions,
    ties: Ties,
    encoder: &TableEncoder,
    begun: DateTime<Utc>,
) -> Result<Value> {
    let remembered = Remembered {
        kind: kind.name().to_owned(),
        options: options.clone(),
        context: ties.to_string(),
        encoder: as_json(encoder)?,
        begun: begun.to_rfc3339_opts(SecondsFormat::Millis, true),
    };
    serde_json::to_value(remembered).map_err(|error| SynthError::Internal(error.to_string()))
}

/// When the statement of a checkpoint began.
pub(super) fn begun(spec: &Value) -> Option<DateTime<Utc>> {
    Some(DateTime::parse_from_rfc3339(spec.get("begun")?.as_str()?).ok()?.to_utc())
}

/// The encoder as it reads back from a file, so that comparing is not a matter of how numbers are written.
fn as_json(encoder: &TableEncoder) -> Result<Value> {
    let text = serde_json::to_string(encoder).map_err(|error| SynthError::Internal(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| SynthError::Internal(error.to_string()))
}

impl Found {
    /// The checkpoint of `name`, and the options to go on with: the checkpoint's, except that epochs, device and
    /// threads may change.
    ///
    /// # Errors
    /// There is no checkpoint; the call asks for something else than what the checkpoint is of.
    pub(super) async fn load(store: &ModelStore, name: &str, spec: &TrainSpec) -> Result<Self> {
        let Some((remembered, checkpoint)) = store.load_checkpoint(name).await? else {
            return Err(SynthError::Argument {
                function: "synth_train".to_owned(),
                argument: "resume".to_owned(),
                given: "true".to_owned(),
                expected: format!(
                    "false: there is no checkpoint of `{name}` (trainings that finish leave none; \
                    SELECT * FROM synth.runs lists what can be resumed)"
                ),
            });
        };
        let damaged = |error: String| SynthError::Artifact {
            path: format!("{name}/checkpoint"),
            reason: format!("not of a training: {error}"),
        };
        let Remembered { kind: kind_name, options, context, encoder, .. } =
            serde_json::from_value(remembered).map_err(|error| damaged(error.to_string()))?;
        let ties = context.parse().map_err(damaged)?;
        let kind = kind(&kind_name)?;
        let asked = &spec.overrides;
        if spec.kind_given {
            same("model", Some(spec.kind.name()), kind.name())?;
        }
        same("context", asked.context, ties)?;
        same("seed", asked.seed, options.seed)?;
        same("patience", asked.patience, options.patience)?;
        match (asked.batch_size, options.batch_size) {
            (Some(asked), Some(was)) => same("batch_size", Some(asked), was)?,
            (Some(asked), None) => same("batch_size", Some(asked.to_string()), "the default".to_owned())?,
            (None, _) => {}
        }
        for (name, &asked) in &asked.own {
            let declared = kind.options().iter().find(|option| option.name == name);
            let was = declared.map_or(asked, |option| options.own(option));
            same(name, Some(Shown(asked)), Shown(was))?;
        }
        let options = FitOptions {
            epochs: asked.epochs.or(options.epochs),
            device: spec.options.device,
            threads: spec.options.threads,
            ..options
        };
        Ok(Self { checkpoint, kind, options, ties, encoder })
    }

    /// Whether the table still encodes as it did.
    ///
    /// # Errors
    /// It does not.
    pub(super) fn check_encoder(&self, encoder: &TableEncoder) -> Result<()> {
        if self.encoder == as_json(encoder)? {
            return Ok(());
        }
        Err(SynthError::Schema(
            "the table (its rows, columns or roles) is not what the checkpoint was learning; \
            train again without resume => true"
                .to_owned(),
        ))
    }
}

#[derive(PartialEq)]
struct Shown(OptionValue);

impl Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            OptionValue::Bool(value) => value.fmt(f),
            OptionValue::Int(value) => value.fmt(f),
            OptionValue::Float(value) => value.fmt(f),
        }
    }
}

fn same<T: PartialEq + Display>(argument: &str, asked: Option<T>, was: T) -> Result<()> {
    match asked {
        Some(asked) if asked != was => Err(SynthError::Argument {
            function: "synth_train".to_owned(),
            argument: argument.to_owned(),
            given: asked.to_string(),
            expected: format!("{was}, as in the checkpoint (or leave it out, or train without resume)"),
        }),
        _ => Ok(()),
    }
}
