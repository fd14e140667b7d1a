//! Where a Delta table is.

use super::failed;
use datafusion::error::{DataFusionError, Result};
use deltalake::{DeltaTable, DeltaTableBuilder, table::normalize_table_url};
use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
};
use url::Url;

/// A folder or the URL of one.
#[derive(Debug, Clone)]
pub(crate) struct Location {
    url: Url,
    local: Option<PathBuf>,
}

impl Location {
    /// Reads a path (relative to the working directory) or a URL; touches nothing.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let bad = |reason: String| {
            DataFusionError::Plan(format!(
                "`{text}` is not the location of a Delta table: {reason}; give a folder or a URL"
            ))
        };
        // One letter before a colon is a drive.
        let url = Url::parse(text).ok().filter(|url| url.scheme().len() > 1);
        let local = match &url {
            Some(url) if url.scheme() == "file" => {
                Some(url.to_file_path().map_err(|()| bad("no path of this machine".into()))?)
            }
            Some(_) => None,
            None => Some(std::path::absolute(text).map_err(|error| bad(error.to_string()))?),
        };
        let url = match (&local, url) {
            (Some(path), _) => {
                Url::from_directory_path(canonical(path)).map_err(|()| bad("no absolute path".into()))?
            }
            (None, Some(url)) => url,
            (None, None) => return Err(bad("neither".into())),
        };
        Ok(Self { url: normalize_table_url(&url), local })
    }

    pub(crate) fn is_local(&self) -> bool {
        self.local.is_some()
    }

    /// The table, at its newest version, if there is one.
    pub(crate) async fn open(&self, options: HashMap<String, String>) -> Result<Option<DeltaTable>> {
        if self.local.as_ref().is_some_and(|path| !path.join("_delta_log").is_dir()) {
            return Ok(None);
        }
        let mut table = self.table(options)?;
        if !table.verify_deltatable_existence().await.map_err(|error| failed(self, error))? {
            return Ok(None);
        }
        table.load().await.map_err(|error| failed(self, error))?;
        Ok(Some(table))
    }

    /// The place of a new table: nothing but the table may come to lie there.
    pub(crate) fn vacant(&self, options: HashMap<String, String>) -> Result<DeltaTable> {
        if let Some(path) = &self.local {
            let not = |error: std::io::Error| {
                DataFusionError::External(format!("cannot create a Delta table at {self}: {error}").into())
            };
            std::fs::create_dir_all(path).map_err(not)?;
            if std::fs::read_dir(path).map_err(not)?.next().is_some() {
                return Err(DataFusionError::Plan(format!(
                    "cannot create a Delta table at {self}: the folder holds other files; choose a new or empty folder"
                )));
            }
        }
        self.table(options)
    }

    fn table(&self, options: HashMap<String, String>) -> Result<DeltaTable> {
        DeltaTableBuilder::from_url(self.url.clone())
            .and_then(|builder| builder.with_storage_options(options).build())
            .map_err(|error| failed(self, error))
    }
}

/// `path` without links, as far as it exists, so that one table has one name.
fn canonical(path: &Path) -> PathBuf {
    match (std::fs::canonicalize(path), path.parent(), path.file_name()) {
        (Ok(path), ..) => path,
        (Err(_), Some(parent), Some(name)) => canonical(parent).join(name),
        (Err(_), ..) => path.to_owned(),
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.local {
            Some(path) => write!(f, "`{}`", path.display()),
            None => write!(f, "`{}`", self.url),
        }
    }
}
