//! Files as tables: `SELECT * FROM 'orders.parquet'`, `'dir/'`, `'s3://bucket/part-*.csv'`, `'delta_table/'`.

use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider, UrlTableFactory},
    datasource::{
        file_format::{FileFormatFactory, csv::CsvFormatFactory, json::JsonFormatFactory},
        listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl},
    },
    error::{DataFusionError, Result},
    execution::SessionState,
    prelude::SessionContext,
};
use futures::StreamExt;
use parking_lot::RwLock;
use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, OnceLock, Weak},
};

const FORMATS: &str = ".parquet, .csv, .tsv, .json, .ndjson, .jsonl, .arrow (also with .gz, .bz2, .xz, .zst)";

/// Makes tables of the names that no catalog knows and that are paths or URLs.
#[derive(Debug, Default)]
pub(super) struct FileTables {
    state: OnceLock<Weak<RwLock<SessionState>>>,
}

impl FileTables {
    /// Reads with the options and stores of `context` from now on.
    pub(super) fn follow(&self, context: &SessionContext) {
        // A second call is a no-op: a factory serves the one session that it was built for.
        let _ = self.state.set(context.state_weak_ref());
    }
}

/// Whether a name that is not a table is meant as a path: `orders` is not, `orders.csv` and `./orders` are.
fn is_path(name: &str) -> bool {
    name.contains(['/', '\\', '*', '?']) || Path::new(name).extension().is_some() || Path::new(name).exists()
}

#[async_trait]
impl UrlTableFactory for FileTables {
    async fn try_new(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if !is_path(name) {
            return Ok(None);
        }
        let state = self.state.get().and_then(Weak::upgrade).map(|state| state.read().clone());
        let Some(state) = state else {
            return Err(DataFusionError::Internal("files as tables need the session that they were built for".into()));
        };
        #[cfg(feature = "delta")]
        if let Some(table) = super::delta::open_if_delta(name).await? {
            return Ok(Some(table));
        }
        open(name, &state).await.map(Some)
    }
}

/// The files at `location` as one table.
async fn open(location: &str, state: &SessionState) -> Result<Arc<dyn TableProvider>> {
    let url = ListingTableUrl::parse(location)
        .map_err(|error| DataFusionError::Plan(format!("`{location}` is neither a path nor a URL: {error}")))?;
    let store = state.runtime_env().object_store(&url)?;
    let first = {
        let mut files = url.list_all_files(state as &dyn Session, store.as_ref(), "").await?;
        loop {
            match files.next().await {
                Some(Ok(file)) if is_note(&file.location) && file.location != *url.prefix() => {}
                Some(Ok(file)) => break file,
                Some(Err(error)) => return Err(unreadable(location, &error)),
                None => {
                    return Err(DataFusionError::Plan(format!(
                        "no such table, and no file at `{location}` (looked for {url})",
                        url = url.as_str()
                    )));
                }
            }
        }
    };
    let (extension, compression) =
        ListingTableConfig::infer_file_extension_and_compression_type(first.location.as_ref())?;
    let mut options = HashMap::new();
    if let Some(compression) = &compression {
        options.insert("format.compression".to_owned(), compression.clone());
    }
    let lower = extension.to_ascii_lowercase();
    let factory: Arc<dyn FileFormatFactory> = match lower.as_str() {
        "tsv" => {
            options.insert("format.delimiter".to_owned(), "\t".to_owned());
            Arc::new(CsvFormatFactory::new())
        }
        "ndjson" | "jsonl" => Arc::new(JsonFormatFactory::new()),
        known => state.get_file_format_factory(known).ok_or_else(|| {
            DataFusionError::Plan(format!(
                "cannot tell the format of `{}`: known extensions are {FORMATS}; \
                 for others use CREATE EXTERNAL TABLE t STORED AS PARQUET|CSV|JSON LOCATION '{location}'",
                first.location
            ))
        })?,
    };
    let suffix = match &compression {
        Some(compression) => format!("{extension}.{compression}"),
        None => extension,
    };
    let listing = ListingOptions::new(factory.create(state, &options)?).with_file_extension(suffix);
    let config = ListingTableConfig::new(url)
        .with_listing_options(listing)
        .infer_partitions_from_path(state)
        .await?
        .infer_schema(state)
        .await
        .map_err(|error| unreadable(location, &error))?;
    Ok(Arc::new(ListingTable::try_new(config)?))
}

/// Whether a file of a folder is none of the table's, by the custom of its name: `_SUCCESS`, `.part.crc`.
fn is_note(path: &object_store::path::Path) -> bool {
    path.filename().is_some_and(|name| name.starts_with(['_', '.']))
}

fn unreadable(location: &str, error: &DataFusionError) -> DataFusionError {
    match error.find_root() {
        DataFusionError::ObjectStore(cause) if matches!(**cause, object_store::Error::NotFound { .. }) => {
            DataFusionError::Plan(format!("no such table, and no file at `{location}`"))
        }
        _ => DataFusionError::Plan(format!("cannot read `{location}`: {}", error.strip_backtrace())),
    }
}
