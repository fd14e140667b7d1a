//! Tables as folders of Parquet or CSV files.

use super::{
    Destination, FUNCTION, GenerateFormat, GenerateSpec,
    destination::folder_url,
    rows::Extent,
    staging::{Obstacle, Staging, obstacle},
};
use crate::{Result, SynthError, store::off_worker};
use arrow::datatypes::SchemaRef;
use datafusion::{
    common::{
        config::{CsvOptions, TableParquetOptions},
        file_options::csv_writer::CsvWriterOptions,
        runtime::SpawnedTask,
    },
    datasource::{
        file_format::{csv::CsvSink, parquet::ParquetSink},
        listing::ListingTableUrl,
        physical_plan::{FileGroup, FileOutputMode, FileSinkConfig},
        sink::DataSink,
    },
    error::{DataFusionError, Result as DataFusionResult},
    execution::TaskContext,
    logical_expr::dml::InsertOp,
    physical_plan::ExecutionPlan,
};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use std::sync::Arc;
use url::Url;

/// The object that is put into a table's folder on an object store when all of its files are there.
const COMPLETE: &str = "_SUCCESS";

/// The formats whose files an `overwrite` may remove.
const EXTENSIONS: [&str; 2] = ["parquet", "csv"];

/// What stops a table from being written to `target`; nothing does if it is to be replaced and can be.
pub(super) async fn in_the_way(
    target: &Destination,
    spec: &GenerateSpec,
    context: &TaskContext,
) -> Result<Option<String>> {
    let found = match target {
        Destination::Local(path) => obstacle(path, &EXTENSIONS)?,
        Destination::Remote(url) => {
            let (store, prefix) = store_of(url, context)?;
            match store.list(Some(&prefix)).next().await.transpose().map_err(DataFusionError::from)? {
                Some(_) => Obstacle::Table,
                None => Obstacle::None,
            }
        }
    };
    Ok(match found {
        Obstacle::None => None,
        Obstacle::Table if spec.overwrite => None,
        Obstacle::Table => Some("holds a table already".to_owned()),
        Obstacle::Foreign(file) => Some(format!("holds {file}, which {FUNCTION} did not write")),
    })
}

/// Writes the rows of `plan`: on a local disk into a hidden folder that is renamed when all is written, on an object store
/// in place, and a marker when all is written.
pub(super) async fn write(
    target: &Destination,
    spec: &GenerateSpec,
    plan: Arc<dyn ExecutionPlan>,
    context: &Arc<TaskContext>,
) -> Result<Extent> {
    match target {
        Destination::Local(path) => {
            let staging = Staging::new(path)?;
            let extent = write_files(&folder_url(staging.folder())?, spec.format, plan, context).await?;
            let replace = spec.overwrite;
            off_worker(move || staging.publish(replace)).await?;
            Ok(extent)
        }
        Destination::Remote(url) => {
            let (store, prefix) = store_of(url, context)?;
            clear(&*store, &prefix).await?;
            match write_files(url, spec.format, plan, context).await {
                Ok(extent) => {
                    let marker = store.put(&prefix.join(COMPLETE), Vec::new().into()).await;
                    marker.map_err(DataFusionError::from)?;
                    Ok(extent)
                }
                Err(error) => {
                    if let Err(left) = clear(&*store, &prefix).await {
                        log::warn!("files of an incomplete table stay below {url}: {left}");
                    }
                    Err(error)
                }
            }
        }
    }
}

/// Removes the files of a table: the marker first, so that what is left is not taken for complete.
async fn clear(store: &dyn ObjectStore, prefix: &Path) -> Result<()> {
    let remove = async |path: &Path| match store.delete(path).await {
        Err(error) if !matches!(error, object_store::Error::NotFound { .. }) => {
            Err(SynthError::from(DataFusionError::from(error)))
        }
        _ => Ok(()),
    };
    remove(&prefix.clone().join(COMPLETE)).await?;
    let files: Vec<_> = store.list(Some(prefix)).try_collect().await.map_err(DataFusionError::from)?;
    for file in files {
        remove(&file.location).await?;
    }
    Ok(())
}

/// Writes a file per partition, some of them at a time, numbered in the order of the rows.
async fn write_files(
    folder: &Url,
    format: GenerateFormat,
    plan: Arc<dyn ExecutionPlan>,
    context: &Arc<TaskContext>,
) -> Result<Extent> {
    let partitions = plan.properties().output_partitioning().partition_count();
    let at_once = context.session_config().target_partitions().max(1);
    let parts = (0..partitions).map(|partition| {
        let (folder, plan, context) = (folder.clone(), Arc::clone(&plan), Arc::clone(context));
        async move {
            // A task of its own, which ends with this future.
            let task = SpawnedTask::spawn(async move { write_part(&folder, format, plan, partition, &context).await });
            task.join_unwind().await.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))?
        }
    });
    stream::iter(parts).buffer_unordered(at_once).try_collect::<Vec<()>>().await?;
    let (store, prefix) = store_of(folder, context)?;
    let mut extent = Extent::default();
    let mut files = store.list(Some(&prefix));
    while let Some(file) = files.try_next().await.map_err(DataFusionError::from)? {
        extent.bytes += file.size;
        extent.files += 1;
    }
    Ok(extent)
}

async fn write_part(
    folder: &Url,
    format: GenerateFormat,
    plan: Arc<dyn ExecutionPlan>,
    partition: usize,
    context: &Arc<TaskContext>,
) -> DataFusionResult<()> {
    let url = folder
        .join(&format!("part-{partition:05}.{}", format.name()))
        .map_err(|error| DataFusionError::External(Box::new(error)))?;
    let rows = plan.execute(partition, Arc::clone(context))?;
    let written = sink(&url, format, plan.schema(), context)?.write_all(rows, context).await?;
    // A share of a related table's rows may be empty; one file is there in any case, for its columns.
    if written == 0 && partition > 0 {
        let (store, path) = store_of(&url, context)?;
        store.delete(&path).await?;
    }
    Ok(())
}

/// A sink of one file, with the session's options of the format.
fn sink(
    url: &Url,
    format: GenerateFormat,
    schema: SchemaRef,
    context: &TaskContext,
) -> DataFusionResult<Box<dyn DataSink>> {
    let place = ListingTableUrl::try_new(url.clone(), None)?;
    let config = FileSinkConfig {
        original_url: url.to_string(),
        object_store_url: place.object_store(),
        table_paths: vec![place],
        file_group: FileGroup::default(),
        output_schema: schema,
        table_partition_cols: Vec::new(),
        insert_op: InsertOp::Append,
        keep_partition_by_columns: false,
        file_extension: format.name().to_owned(),
        file_output_mode: FileOutputMode::SingleFile,
    };
    if format == GenerateFormat::Csv {
        let options = CsvWriterOptions::try_from(&CsvOptions::default().with_has_header(true))?;
        return Ok(Box::new(CsvSink::new(config, options)));
    }
    let global = context.session_config().options().execution.parquet.clone();
    Ok(Box::new(ParquetSink::new(config, TableParquetOptions { global, ..TableParquetOptions::default() })))
}

/// The store of a URL, and the place in it.
fn store_of(url: &Url, context: &TaskContext) -> DataFusionResult<(Arc<dyn ObjectStore>, Path)> {
    let place = ListingTableUrl::try_new(url.clone(), None)?;
    Ok((context.runtime_env().object_store(place.object_store())?, place.prefix().clone()))
}
