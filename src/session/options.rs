//! The session defaults `SET synth.*`.

use crate::{
    Result, SynthError,
    models::{self, FitOptions, ModelKind, OptionKind, OptionSpec, OptionValue},
    store::ModelStore,
    torch::DeviceKind,
};
use datafusion::{
    common::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions},
    error::Result as DataFusionResult,
};
use std::any::Any;

/// The `synth.*` options of a session: a default for every option of the SQL functions.
///
/// `SET synth.x = y` checks the value at once. The common options are fields here; the own options of every registered
/// model are reachable under their names, and apply to the models that have them.
#[derive(Debug, Clone, PartialEq)]
pub struct SynthOptions {
    /// Where models are kept: `synth.store`, default `./synth_models`.
    pub store: String,
    /// The kind of model that `synth_train` fits: `synth.model`.
    pub model: String,
    /// Defaults of the training options: `synth.epochs`, `synth.batch_size`, `synth.seed`, `synth.device` …
    pub fit: FitOptions,
}

impl Default for SynthOptions {
    fn default() -> Self {
        let model = models::kinds().first().map(|kind| kind.name()).unwrap_or_default();
        Self { store: "./synth_models".to_owned(), model: model.to_owned(), fit: FitOptions::default() }
    }
}

/// A common option: its name, its documentation, how it is written and read.
struct Common {
    name: &'static str,
    description: &'static str,
    show: fn(&SynthOptions) -> Option<String>,
    set: fn(&mut SynthOptions, &str) -> Result<()>,
}

static COMMON: &[Common] = &[
    Common {
        name: "store",
        description: "Where models are kept: a folder or an object-store URL.",
        show: |options| Some(options.store.clone()),
        set: |options, value| {
            ModelStore::open(value)?;
            value.clone_into(&mut options.store);
            Ok(())
        },
    },
    Common {
        name: "model",
        description: "The kind of model that synth_train fits.",
        show: |options| Some(options.model.clone()),
        set: |options, value| {
            let kind = models::kind(value.trim()).map_err(|_| {
                let kinds: Vec<&str> = models::kinds().iter().map(|kind| kind.name()).collect();
                refused("model", value, format!("a kind of model: {}", kinds.join(", ")))
            })?;
            kind.name().clone_into(&mut options.model);
            Ok(())
        },
    },
    Common {
        name: "epochs",
        description: "Epochs to train at most; the model's default when not set.",
        show: |options| options.fit.epochs.map(|epochs| epochs.to_string()),
        set: |options, value| {
            options.fit.epochs = Some(whole("epochs", value, 1, 1_000_000)?);
            Ok(())
        },
    },
    Common {
        name: "batch_size",
        description: "Rows per training step; the model's default when not set.",
        show: |options| options.fit.batch_size.map(|rows| rows.to_string()),
        set: |options, value| {
            options.fit.batch_size = Some(whole("batch_size", value, 2, 1 << 24)?);
            Ok(())
        },
    },
    Common {
        name: "seed",
        description: "Randomness of training and of sampling: the same seed gives the same model and the same rows.",
        show: |options| Some(options.fit.seed.to_string()),
        set: |options, value| {
            options.fit.seed = whole("seed", value, 0, u64::MAX)?;
            Ok(())
        },
    },
    Common {
        name: "device",
        description: "Where libtorch runs: auto, cpu, cuda or cuda:N.",
        show: |options| Some(options.fit.device.to_string()),
        set: |options, value| {
            options.fit.device = value.parse::<DeviceKind>().map_err(|accepted| refused("device", value, accepted))?;
            Ok(())
        },
    },
    Common {
        name: "threads",
        description: "Threads within one libtorch operation of a training.",
        show: |options| Some(options.fit.threads.to_string()),
        set: |options, value| {
            options.fit.threads = whole("threads", value, 1, 1024)?;
            Ok(())
        },
    },
    Common {
        name: "patience",
        description: "Epochs without a better validation score after which training stops early; 0 never stops early.",
        show: |options| Some(options.fit.patience.to_string()),
        set: |options, value| {
            options.fit.patience = whole("patience", value, 0, 1_000_000)?;
            Ok(())
        },
    },
];

impl SynthOptions {
    /// The `synth.*` options of a session; the defaults where none are registered.
    #[must_use]
    pub fn from_config(config: &ConfigOptions) -> Self {
        config.extensions.get::<Self>().cloned().unwrap_or_default()
    }

    /// Sets `key` (with or without the prefix `synth.`) to `value`, both as written in `SET`.
    ///
    /// # Errors
    /// No such option (lists those there are); a value that it does not accept.
    pub fn set_option(&mut self, key: &str, value: &str) -> Result<()> {
        let name = option_name(key);
        if let Some(common) = COMMON.iter().find(|common| common.name == name) {
            return (common.set)(self, value);
        }
        let specs: Vec<&OptionSpec> = own_options().filter(|spec| spec.name == name).collect();
        if specs.is_empty() {
            return Err(unknown(&name));
        }
        // Models may have options of one name with different ranges: accepted is what one of them accepts.
        let value = specs.iter().find_map(|spec| parse(spec.kind, value)).ok_or_else(|| {
            let accepted: Vec<String> = specs.iter().map(|spec| accepted(spec.kind)).collect();
            refused(&name, value, accepted.join(", or "))
        })?;
        self.fit.own.insert(name, value);
        Ok(())
    }

    /// Sets `key` (with or without the prefix `synth.`) back to its default.
    ///
    /// # Errors
    /// No such option (lists those there are).
    pub fn reset(&mut self, key: &str) -> Result<()> {
        let name = option_name(key);
        let default = Self::default();
        match name.as_str() {
            "store" => self.store = default.store,
            "model" => self.model = default.model,
            "epochs" => self.fit.epochs = default.fit.epochs,
            "batch_size" => self.fit.batch_size = default.fit.batch_size,
            "seed" => self.fit.seed = default.fit.seed,
            "device" => self.fit.device = default.fit.device,
            "threads" => self.fit.threads = default.fit.threads,
            "patience" => self.fit.patience = default.fit.patience,
            own if own_options().any(|spec| spec.name == own) => {
                self.fit.own.remove(own);
            }
            _ => return Err(unknown(&name)),
        }
        Ok(())
    }

    /// The kind of model named by `synth.model`.
    ///
    /// # Errors
    /// No such kind.
    pub fn model_kind(&self) -> Result<&'static dyn ModelKind> {
        models::kind(&self.model)
    }

    /// The model store named by `synth.store`.
    ///
    /// # Errors
    /// As [`ModelStore::open`].
    pub fn model_store(&self) -> Result<ModelStore> {
        ModelStore::open(&self.store)
    }

    /// The training options for a model of `kind`: the own options of other kinds are left out.
    ///
    /// # Errors
    /// An own option is set to a value that another kind accepts, but not this one.
    pub fn fit_options(&self, kind: &dyn ModelKind) -> Result<FitOptions> {
        let mut fit = FitOptions { own: Default::default(), ..self.fit.clone() };
        for spec in kind.options() {
            if let Some(value) = self.fit.own.get(spec.name) {
                let text = show(*value);
                let value = parse(spec.kind, &text)
                    .ok_or_else(|| refused(spec.name, &text, format!("{} for {}", accepted(spec.kind), kind.name())))?;
                fit.own.insert(spec.name.to_owned(), value);
            }
        }
        Ok(fit)
    }
}

impl ConfigExtension for SynthOptions {
    const PREFIX: &'static str = "synth";
}

impl ExtensionOptions for SynthOptions {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, value: &str) -> DataFusionResult<()> {
        Ok(self.set_option(key, value)?)
    }

    /// With the prefix: `SHOW` and `information_schema.df_settings` compare whole keys.
    fn entries(&self) -> Vec<ConfigEntry> {
        let entry = |name: &str, value, description| ConfigEntry {
            key: format!("{}.{name}", Self::PREFIX),
            value,
            description,
        };
        let common = COMMON.iter().map(|common| entry(common.name, (common.show)(self), common.description));
        let mut entries: Vec<ConfigEntry> = common.collect();
        for spec in own_options() {
            if !entries.iter().any(|known| known.key.strip_prefix("synth.") == Some(spec.name)) {
                entries.push(entry(spec.name, Some(show(self.fit.own(spec))), spec.description));
            }
        }
        entries
    }
}

/// The own options of all models.
fn own_options() -> impl Iterator<Item = &'static OptionSpec> {
    models::kinds().into_iter().flat_map(|kind| kind.options())
}

fn option_name(key: &str) -> String {
    let key = key.trim().to_ascii_lowercase();
    key.strip_prefix("synth.").map(str::to_owned).unwrap_or(key)
}

fn unknown(name: &str) -> SynthError {
    let mut names: Vec<&str> = COMMON.iter().map(|common| common.name).collect();
    names.extend(own_options().map(|spec| spec.name));
    let mut known: Vec<String> = Vec::with_capacity(names.len());
    for name in names.into_iter().map(|name| format!("synth.{name}")) {
        if !known.contains(&name) {
            known.push(name);
        }
    }
    SynthError::NotFound { kind: "option", name: format!("synth.{name}"), known }
}

fn refused(name: &str, given: &str, expected: String) -> SynthError {
    SynthError::Argument {
        function: "SET".to_owned(),
        argument: format!("synth.{name}"),
        given: format!("'{given}'"),
        expected,
    }
}

/// A whole number, `1e6` and `500.0` included.
fn whole<T: TryFrom<u64>>(name: &str, value: &str, least: u64, most: u64) -> Result<T> {
    let text = value.trim();
    let number = text.parse::<u64>().ok().or_else(|| {
        let number = text.parse::<f64>().ok()?;
        // Up to 2^53 every whole number is exact.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        (number.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&number)).then_some(number as u64)
    });
    number
        .filter(|number| (least..=most).contains(number))
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| refused(name, value, format!("a whole number from {least} to {most}")))
}

fn parse(kind: OptionKind, value: &str) -> Option<OptionValue> {
    let text = value.trim();
    match kind {
        OptionKind::Bool => match text.to_ascii_lowercase().as_str() {
            "true" | "on" | "yes" => Some(OptionValue::Bool(true)),
            "false" | "off" | "no" => Some(OptionValue::Bool(false)),
            _ => None,
        },
        OptionKind::Int(least, most) => {
            let number = text.parse::<i64>().ok().or_else(|| {
                let number = text.parse::<f64>().ok()?;
                #[allow(clippy::cast_possible_truncation)]
                (number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0).then_some(number as i64)
            })?;
            (least..=most).contains(&number).then_some(OptionValue::Int(number))
        }
        OptionKind::Float(least, most) => {
            let number = text.parse::<f64>().ok()?;
            (least..=most).contains(&number).then_some(OptionValue::Float(number))
        }
    }
}

fn accepted(kind: OptionKind) -> String {
    match kind {
        OptionKind::Bool => "true or false".to_owned(),
        OptionKind::Int(least, most) => format!("a whole number from {least} to {most}"),
        OptionKind::Float(least, most) => format!("a number from {least} to {most}"),
    }
}

fn show(value: OptionValue) -> String {
    match value {
        OptionValue::Bool(value) => value.to_string(),
        OptionValue::Int(value) => value.to_string(),
        OptionValue::Float(value) => value.to_string(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use datafusion::prelude::{SessionConfig, SessionContext};
    use rstest::rstest;

    fn context() -> SessionContext {
        let config = SessionConfig::new().with_information_schema(true).with_option_extension(SynthOptions::default());
        SessionContext::new_with_config(config)
    }

    async fn run(context: &SessionContext, sql: &str) -> DataFusionResult<String> {
        let batches = context.sql(sql).await?.collect().await?;
        Ok(arrow::util::pretty::pretty_format_batches(&batches)?.to_string())
    }

    fn options(context: &SessionContext) -> SynthOptions {
        SynthOptions::from_config(context.state().config_options())
    }

    #[tokio::test]
    async fn set_and_show_in_sql() {
        let context = context();
        for sql in [
            "SET synth.seed = 42",
            "SET synth.epochs = 1e3",
            "SET synth.batch_size = 500",
            "SET synth.device = 'cuda:1'",
            "SET synth.model = 'CTGAN'",
            "SET synth.store = 'memory:///options'",
        ] {
            run(&context, sql).await.unwrap();
        }
        let options = options(&context);
        assert_eq!((options.fit.seed, options.fit.epochs, options.fit.batch_size), (42, Some(1000), Some(500)));
        assert_eq!((options.fit.device, options.model.as_str()), (DeviceKind::Cuda(1), "ctgan"));
        assert_eq!(options.model_store().unwrap().location(), "memory:///options");
        assert!(run(&context, "SHOW synth.seed").await.unwrap().contains("42"));
        let described = "SELECT count(*) AS n FROM information_schema.df_settings \
                         WHERE name LIKE 'synth.%' AND length(description) > 10";
        let expected = context.state().config_options().extensions.get::<SynthOptions>().unwrap().entries().len();
        assert!(run(&context, described).await.unwrap().contains(&format!("| {expected} ")));
    }

    #[rstest]
    #[case("epochs = 0", &["synth.epochs", "'0'", "from 1 to"])]
    #[case("epochs = 1.5", &["synth.epochs", "'1.5'", "a whole number"])]
    #[case("epochs = 'many'", &["synth.epochs", "'many'"])]
    #[case("seed = -1", &["synth.seed", "'-1'", "from 0 to 18446744073709551615"])]
    #[case("batch_size = 1e99", &["synth.batch_size", "from 2 to"])]
    #[case("device = 'tpu'", &["synth.device", "'tpu'", "auto, cpu, cuda"])]
    #[case("model = 'magic'", &["synth.model", "'magic'", "ctgan"])]
    #[case("store = 'ftp://x/y'", &["ftp://x/y", "s3://"])]
    #[case("dropout = 2", &["synth.dropout", "'2'", "a number from 0 to 0.9"])]
    #[case("mixed_precision = 'maybe'", &["synth.mixed_precision", "true or false"])]
    #[case("sede = 1", &["synth.sede", "synth.seed"])]
    #[tokio::test]
    async fn what_is_wrong_is_said_at_set_time(#[case] assignment: &str, #[case] expected: &[&str]) {
        let context = context();
        let before = options(&context);
        let error = run(&context, &format!("SET synth.{assignment}")).await.unwrap_err().to_string();
        assert!(expected.iter().all(|part| error.contains(part)), "{error}");
        assert_eq!(options(&context), before);
    }

    #[tokio::test]
    async fn own_options_of_models_are_options_of_the_session() {
        let context = context();
        assert!(run(&context, "SHOW synth.tau").await.unwrap().contains("0.2"), "the default");
        run(&context, "SET synth.model = 'ctgan'").await.unwrap();
        run(&context, "SET synth.dropout = 0.25").await.unwrap();
        run(&context, "SET synth.mixed_precision = off").await.unwrap();
        assert!(run(&context, "SHOW synth.dropout").await.unwrap().contains("0.25"));
        let options = options(&context);
        let fit = options.fit_options(options.model_kind().unwrap()).unwrap();
        let expected = [("dropout", OptionValue::Float(0.25)), ("mixed_precision", OptionValue::Bool(false))];
        assert_eq!(fit.own, expected.map(|(name, value)| (name.to_owned(), value)).into());
    }

    #[test]
    fn every_option_can_be_shown_set_to_itself_and_reset() {
        let default = SynthOptions::default();
        let mut changed = default.clone();
        for (key, value) in [("synth.seed", "7"), ("epochs", "3"), ("threads", "5"), ("STORE", "elsewhere")] {
            changed.set_option(key, value).unwrap();
        }
        for entry in changed.clone().entries() {
            if let Some(value) = entry.value {
                changed.set_option(&entry.key, &value).unwrap();
            }
        }
        assert_eq!((changed.fit.seed, changed.fit.epochs, changed.store.as_str()), (7, Some(3), "elsewhere"));
        for entry in default.entries() {
            changed.reset(&entry.key).unwrap();
        }
        assert_eq!(changed, default);
        assert!(changed.reset("synth.nothing").is_err());
    }
}
