//! The one place where everything is registered.

use super::{
    SynthCheckKeys, SynthDetectKeys, SynthEvaluateKeys, SynthFit, SynthGenerate, SynthImpute, SynthLogProb,
    SynthRelationPlanner, SynthSample, SynthTrain, synth_check_keys, synth_detect_keys, synth_evaluate_keys,
    synth_generate, synth_impute, synth_log_prob, synth_sample, synth_train,
};
use crate::{
    Result, SynthError,
    exec::keys::SessionKeys,
    session::{
        SynthOptions,
        tables::{GuardDelete, SystemSchema},
    },
};
use datafusion::{logical_expr::AggregateUDF, prelude::SessionContext};
use std::sync::Arc;

/// Table functions that take named arguments.
const TABLE_FUNCTIONS: &[&str] = &[
    synth_check_keys::NAME,
    synth_detect_keys::NAME,
    synth_evaluate_keys::NAME,
    synth_generate::NAME,
    synth_impute::NAME,
    synth_log_prob::NAME,
    synth_sample::NAME,
    synth_train::NAME,
];

/// Makes any `SessionContext` speak SynthoHive: the functions, named arguments, the `synth.*` options (if they
/// are not there yet) and the system tables `synth.*` in the default catalog. Calling it again changes nothing.
///
/// # Errors
/// There is no default catalog, or it does not take the schema `synth`.
pub fn register_all(context: &SessionContext) -> Result<()> {
    system_tables(context)?;
    {
        let state = context.state_ref();
        let mut state = state.write();
        let extensions = &mut state.config_mut().options_mut().extensions;
        if extensions.get::<SynthOptions>().is_none() {
            extensions.insert(SynthOptions::default());
        }
        if state.config().get_extension::<SessionKeys>().is_none() {
            state.config_mut().set_extension(Arc::new(SessionKeys::default()));
        }
        state.register_udtf(synth_check_keys::NAME, Arc::new(SynthCheckKeys));
        state.register_udtf(synth_detect_keys::NAME, Arc::new(SynthDetectKeys));
        state.register_udtf(synth_evaluate_keys::NAME, Arc::new(SynthEvaluateKeys));
        state.register_udtf(synth_generate::NAME, Arc::new(SynthGenerate));
        state.register_udtf(synth_impute::NAME, Arc::new(SynthImpute));
        state.register_udtf(synth_log_prob::NAME, Arc::new(SynthLogProb));
        state.register_udtf(synth_sample::NAME, Arc::new(SynthSample));
        state.register_udtf(synth_train::NAME, Arc::new(SynthTrain));
        synthohive_udfs::register_all(&mut *state)?;
        state.register_relation_planner(Arc::new(SynthRelationPlanner::new(TABLE_FUNCTIONS)))?;
    }
    context.register_udaf(AggregateUDF::new_from_impl(SynthFit::new()));
    Ok(())
}

/// Adds the schema `synth` to the default catalog, unless it is there.
fn system_tables(context: &SessionContext) -> Result<()> {
    let name = context.state_ref().read().config().options().catalog.default_catalog.clone();
    let catalog = context.catalog(&name).ok_or_else(|| SynthError::NotFound {
        kind: "catalog",
        name,
        known: context.catalog_names(),
    })?;
    if catalog.schema(SystemSchema::NAME).is_none() {
        catalog.register_schema(SystemSchema::NAME, Arc::new(SystemSchema::new()))?;
        context.add_analyzer_rule(Arc::new(GuardDelete));
    }
    Ok(())
}
