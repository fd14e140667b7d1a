//! The SQL functions: one file per SQL name, one place to register.

mod apply;
pub mod arguments;
mod documentation;
mod from_clause;
mod options;
mod parents;
mod register;
mod relation_planner;
mod synth_check_keys;
mod synth_detect_keys;
mod synth_evaluate_keys;
mod synth_fit;
mod synth_generate;
mod synth_impute;
mod synth_log_prob;
mod synth_sample;
mod synth_train;

pub use documentation::{ArgumentDoc, FunctionDoc, documentation};
pub use register::register_all;
pub use relation_planner::SynthRelationPlanner;
pub use synth_check_keys::SynthCheckKeys;
pub use synth_detect_keys::SynthDetectKeys;
pub use synth_evaluate_keys::SynthEvaluateKeys;
pub use synth_fit::SynthFit;
pub use synth_generate::SynthGenerate;
pub use synth_impute::SynthImpute;
pub use synth_log_prob::SynthLogProb;
pub use synth_sample::SynthSample;
pub use synth_train::SynthTrain;
