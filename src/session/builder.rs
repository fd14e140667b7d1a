//! The builder of a [`SynthSession`].

use super::{SynthOptions, SynthSession, files::FileTables, stores::UrlStores};
use crate::{Result, SynthError};
use datafusion::{
    catalog::{CatalogProviderList, DynamicFileCatalog, MemoryCatalogProviderList, UrlTableFactory},
    execution::{
        SessionStateBuilder,
        memory_pool::{FairSpillPool, TrackConsumersPool},
        runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
    },
    prelude::{SessionConfig, SessionContext},
};
use std::{num::NonZeroUsize, sync::Arc};

/// Memory consumers that an out-of-memory error names.
const NAMED_CONSUMERS: NonZeroUsize = NonZeroUsize::new(5).unwrap();

/// Builds a [`SynthSession`]: a `SessionContext` with the `synth_*` functions, the `synth.*` options, the system
/// tables, Delta Lake, files as tables, and object stores by URL.
///
/// ```
/// # fn main() -> synthohive::Result<()> {
/// let session = synthohive::session::SynthSession::builder().with_memory_limit(1 << 30).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct SynthSessionBuilder {
    config: Option<SessionConfig>,
    runtime: Option<Arc<RuntimeEnv>>,
    memory_limit: Option<usize>,
    settings: Vec<(String, String)>,
}

impl SynthSessionBuilder {
    /// Starts from this configuration. The default takes `DATAFUSION_*` environment variables into account.
    #[must_use]
    pub fn with_config(mut self, config: SessionConfig) -> Self {
        self.config = Some(config);
        self
    }

    /// Runs in this environment (memory pool, disk manager, object stores) rather than in one of its own.
    #[must_use]
    pub fn with_runtime(mut self, runtime: Arc<RuntimeEnv>) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Queries may reserve this many bytes together; operators that can, spill to disk beyond their share.
    #[must_use]
    pub fn with_memory_limit(mut self, bytes: usize) -> Self {
        self.memory_limit = Some(bytes);
        self
    }

    /// Sets an option, as `SET name = value` would: `("synth.store", "/data/models")`.
    #[must_use]
    pub fn with_setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// The session.
    ///
    /// # Errors
    /// A setting that does not exist or does not accept its value; a memory limit together with a runtime of the
    /// caller's.
    pub fn build(self) -> Result<SynthSession> {
        let runtime = match (self.runtime, self.memory_limit) {
            (Some(_), Some(bytes)) => {
                return Err(SynthError::Argument {
                    function: "SynthSessionBuilder".into(),
                    argument: "memory_limit".into(),
                    given: format!("{bytes} bytes, together with a runtime"),
                    expected: "one of the two: give the runtime a memory pool of that size".into(),
                });
            }
            (Some(runtime), None) => runtime,
            (None, limit) => {
                let mut runtime = RuntimeEnvBuilder::new()
                    .with_object_store_registry(Arc::new(UrlStores::default()))
                    // A folder is listed anew by each query: files that others add are seen.
                    .with_object_list_cache_limit(0);
                if let Some(bytes) = limit {
                    let pool = TrackConsumersPool::new(FairSpillPool::new(bytes), NAMED_CONSUMERS);
                    runtime = runtime.with_memory_pool(Arc::new(pool));
                }
                runtime.build_arc()?
            }
        };
        let config = match self.config {
            Some(config) => config,
            None => SessionConfig::from_env()?,
        };
        let config = config.with_information_schema(true).with_option_extension(SynthOptions::default());
        let files = Arc::new(FileTables::default());
        let catalogs: Arc<dyn CatalogProviderList> = Arc::new(DynamicFileCatalog::new(
            Arc::new(MemoryCatalogProviderList::new()),
            Arc::clone(&files) as Arc<dyn UrlTableFactory>,
        ));
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(runtime)
            .with_default_features()
            .with_catalog_list(catalogs)
            .build();
        let context = SessionContext::new_with_state(state);
        files.follow(&context);
        crate::functions::register_all(&context)?;
        #[cfg(feature = "delta")]
        super::delta::register(&context);
        let session = SynthSession { context };
        for (name, value) in &self.settings {
            session.context.state_ref().write().config_mut().options_mut().set(name, value)?;
        }
        Ok(session)
    }
}
