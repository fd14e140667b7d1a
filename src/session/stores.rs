//! Object stores, found by URL when a statement names one.

use datafusion::{
    error::{DataFusionError, Result},
    execution::object_store::{DefaultObjectStoreRegistry, ObjectStoreRegistry},
};
use object_store::ObjectStore;
use std::sync::Arc;
use url::Url;

/// DataFusion's registry, which knows the local disk and what was registered, and behind it every store
/// this build can make of a URL (`memory://`, and with the cargo features `s3://`, `gs://`, `az://`).
/// Credentials come from the usual environment variables (`AWS_*`, `GOOGLE_*`, `AZURE_*`).
#[derive(Debug, Default)]
pub(super) struct UrlStores {
    known: DefaultObjectStoreRegistry,
}

impl ObjectStoreRegistry for UrlStores {
    fn register_store(&self, url: &Url, store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        self.known.register_store(url, store)
    }

    fn deregister_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        self.known.deregister_store(url)
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        if let Ok(store) = self.known.get_store(url) {
            return Ok(store);
        }
        let environment = std::env::vars_os().filter_map(|(key, value)| {
            // Non-Unicode variables cannot be credentials.
            Some((key.into_string().ok()?.to_ascii_lowercase(), value.into_string().ok()?))
        });
        let (store, _) = object_store::parse_url_opts(url, environment).map_err(|source| {
            DataFusionError::Plan(format!(
                "no object store for `{url}`: {source}; {}",
                match url.scheme() {
                    "s3" | "s3a" => "s3:// needs a build with the cargo feature `aws` (and AWS_* variables)",
                    "gs" => "gs:// needs a build with the cargo feature `gcp` (and GOOGLE_* variables)",
                    "az" | "adl" | "abfs" | "abfss" | "azure" =>
                        "az:// needs a build with the cargo feature `azure` (and AZURE_* variables)",
                    _ => "accepted are paths, file:// and memory://, and s3://, gs://, az:// where built in",
                }
            ))
        })?;
        let store: Arc<dyn ObjectStore> = Arc::from(store);
        self.known.register_store(url, Arc::clone(&store));
        Ok(store)
    }
}
