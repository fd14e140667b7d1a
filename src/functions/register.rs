//! The one place where everything is registered.

use super::{SynthFit, SynthRelationPlanner, SynthSample, SynthTrain, synth_sample, synth_train};
use crate::{Result, session::SynthOptions};
use datafusion::{logical_expr::AggregateUDF, prelude::SessionContext};
use std::sync::Arc;

/// Table functions that take named arguments.
const TABLE_FUNCTIONS: &[&str] = &[synth_sample::NAME, synth_train::NAME];

/// Makes any `SessionContext` speak SynthoHive: the functions, named arguments, the `synth.*` options (if they
/// are not there yet) and the system tables `synth.*` in the default catalog. Calling it again changes nothing.
///
/// # Errors
/// The default catalog does not take the schema `synth`.
pub fn register_all(context: &SessionContext) -> Result<()> {
    {
        let state = context.state_ref();
        let mut state = state.write();
        let extensions = &mut state.config_mut().options_mut().extensions;
        if extensions.get::<SynthOptions>().is_none() {
            extensions.insert(SynthOptions::default());
        }
        state.register_udtf(synth_sample::NAME, Arc::new(SynthSample));
        state.register_udtf(synth_train::NAME, Arc::new(SynthTrain));
        state.register_relation_planner(Arc::new(SynthRelationPlanner::new(TABLE_FUNCTIONS)))?;
    }
    context.register_udaf(AggregateUDF::new_from_impl(SynthFit::new()));
    Ok(())
}
