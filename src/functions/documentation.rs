//! What `docs/sql-reference.md` says of each function: generated from here, its examples executed.

use super::arguments::Signature;

/// The documentation of one SQL function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionDoc {
    /// SQL name.
    pub name: &'static str,
    /// `table function` or `aggregate function`.
    pub kind: &'static str,
    /// What it does.
    pub description: &'static str,
    /// How it is written.
    pub syntax: &'static str,
    /// Its arguments, in positional order.
    pub arguments: Vec<ArgumentDoc>,
    /// Statements that run against the sample database `shop`, in this order.
    pub examples: &'static [&'static str],
}

/// The documentation of one argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgumentDoc {
    /// Name, as written in `name => value`.
    pub name: String,
    /// What it accepts.
    pub accepts: String,
    /// The default; empty for a required argument.
    pub default: String,
    /// What it does.
    pub description: String,
}

impl ArgumentDoc {
    /// The documentation of a signature's arguments.
    #[must_use]
    pub fn of(signature: &Signature) -> Vec<Self> {
        let doc = |parameter: &super::arguments::Parameter| Self {
            name: parameter.name.to_owned(),
            accepts: parameter.kind.describe(),
            default: parameter.default.to_owned(),
            description: parameter.description.to_owned(),
        };
        signature.parameters.iter().map(doc).collect()
    }
}

/// The documentation of every SQL function, in reading order.
#[must_use]
pub fn documentation() -> Vec<FunctionDoc> {
    vec![
        super::synth_train::documentation(),
        super::synth_sample::documentation(),
        super::synth_generate::documentation(),
        super::synth_impute::documentation(),
        super::synth_log_prob::documentation(),
        super::synth_fit::documentation(),
        super::synth_detect_keys::documentation(),
        super::synth_check_keys::documentation(),
        super::synth_evaluate_keys::documentation(),
    ]
}
