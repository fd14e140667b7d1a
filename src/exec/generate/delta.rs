//! Tables as Delta Lake tables: one commit each, which says which generation it was.

use super::{Destination, GenerateSpec, files, rows::Extent, staging::Staging};
use crate::{
    Result, SynthError,
    exec::{
        SampleExec,
        delta::{Commit, Location, delta_type, failed, write as commit},
        sample::RelatedExec,
    },
    store::{Manifest, off_worker},
};
use arrow::datatypes::DataType;
use datafusion::{
    error::{DataFusionError, Result as DataFusionResult},
    execution::TaskContext,
    physical_expr::{
        PhysicalExpr,
        expressions::{Column, cast},
    },
    physical_plan::{ExecutionPlan, projection::ProjectionExec},
};
use deltalake::{
    DeltaTable,
    kernel::{Transaction, transaction::CommitProperties},
    protocol::SaveMode,
};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

/// Names this function's transactions in the logs of tables. Their versions are not counted up but derived from what was
/// generated: the latest tells whether the rows that a table was given last are those of a generation.
const APPLICATION: &str = "synthohive.synth_generate";

/// What is at a table's place.
pub(super) enum Standing {
    /// Nothing that is in the way.
    Free,
    /// The very rows, in files of this extent.
    There(Extent),
    /// Something else.
    Taken(String),
}

/// The columns that a Delta table cannot hold, in words.
pub(super) fn unfit(manifest: &Manifest) -> Vec<String> {
    let fields = manifest.schema().fields().iter();
    let unfit = fields.filter(|field| delta_type(field.data_type()).is_err());
    unfit.map(|field| format!("column `{}` of `{}` ({})", field.name(), manifest.name, field.data_type())).collect()
}

pub(super) async fn standing(
    target: &Destination,
    spec: &GenerateSpec,
    plan: &Arc<dyn ExecutionPlan>,
    context: &TaskContext,
) -> Result<Standing> {
    let location = Location::parse(&target.to_string())?;
    let Some(table) = location.open(HashMap::new()).await? else {
        // Remote stores may hold files of a write that was never committed, which are no table.
        return Ok(match target {
            Destination::Local(_) => match files::in_the_way(target, spec, context).await? {
                Some(reason) => Standing::Taken(reason),
                None => Standing::Free,
            },
            Destination::Remote(_) => Standing::Free,
        });
    };
    let of = |error| SynthError::from(failed(&location, error));
    let state = table.snapshot().map_err(of)?;
    let extent = extent(&table)?;
    if spec.overwrite || extent.files == 0 {
        return Ok(Standing::Free);
    }
    let last = state.transaction_version(&*table.log_store(), APPLICATION).await.map_err(of)?;
    if last == Some(transaction(spec, target, plan)) {
        return Ok(Standing::There(extent));
    }
    Ok(Standing::Taken("holds a Delta table with other rows".to_owned()))
}

/// Writes the rows of `plan` as one version. A new table of a local disk is written into a hidden folder that is renamed.
pub(super) async fn write(
    target: &Destination,
    spec: &GenerateSpec,
    manifest: &Manifest,
    plan: Arc<dyn ExecutionPlan>,
    context: &Arc<TaskContext>,
) -> Result<Extent> {
    let location = Location::parse(&target.to_string())?;
    let metadata = [
        ("synthohive.model", json!(manifest.name)),
        ("synthohive.version", json!(manifest.version)),
        ("synthohive.model_hash", json!(manifest.content_hash)),
        // JSON numbers are doubles to many readers.
        ("synthohive.seed", json!(spec.seed.to_string())),
        ("synthohive.scale", json!(spec.scale.whole)),
    ];
    let properties = CommitProperties::default()
        .with_metadata(metadata.map(|(key, value)| (key.to_owned(), value)))
        .with_application_transaction(Transaction::new(APPLICATION, transaction(spec, target, &plan)));
    let mode = if spec.overwrite { SaveMode::Overwrite } else { SaveMode::Append };
    let commit_as = Commit { mode, replace_columns: spec.overwrite, properties };
    let rows = as_delta(plan)?;
    if let Some(table) = location.open(HashMap::new()).await? {
        if !spec.overwrite && extent(&table)?.files > 0 {
            let reason =
                format!("Delta table {location}: it was written by another process meanwhile; run the query again");
            return Err(DataFusionError::Execution(reason).into());
        }
        let (_, table) = commit(rows, table, commit_as, Arc::clone(context)).await?;
        return extent(&table);
    }
    let create = Commit { mode: SaveMode::ErrorIfExists, replace_columns: false, ..commit_as };
    let Destination::Local(path) = target else {
        let (_, table) = commit(rows, location.vacant(HashMap::new())?, create, Arc::clone(context)).await?;
        return extent(&table);
    };
    let staging = Staging::new(path)?;
    let place = Location::parse(&staging.folder().display().to_string())?;
    let (_, table) = commit(rows, place.vacant(HashMap::new())?, create, Arc::clone(context)).await?;
    let replace = spec.overwrite;
    off_worker(move || staging.publish(replace)).await?;
    extent(&table)
}

fn extent(table: &DeltaTable) -> Result<Extent> {
    let state = table.snapshot().map_err(|error| SynthError::from(failed(table.table_url(), error)))?;
    let files = state.log_data();
    Ok(Extent { bytes: files.iter().map(|file| file.size().unsigned_abs()).sum(), files: files.num_files() as u64 })
}

/// The rows in types that Delta has.
fn as_delta(plan: Arc<dyn ExecutionPlan>) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
    let schema = plan.schema();
    let columns = schema.fields().iter().enumerate().map(|(index, field)| {
        let column = Arc::new(Column::new(field.name(), index)) as Arc<dyn PhysicalExpr>;
        let stored: DataType = delta_type(field.data_type()).map_err(|way_out| {
            DataFusionError::Internal(format!("no Delta type for {}: {way_out}", field.data_type()))
        })?;
        Ok((cast(column, &schema, stored)?, field.name().clone()))
    });
    let columns = columns.collect::<DataFusionResult<Vec<_>>>()?;
    Ok(Arc::new(ProjectionExec::try_new(columns, plan)?))
}

/// A number for all that the rows depend on: the models of the table and its ancestors, the seed, how many there are.
fn transaction(spec: &GenerateSpec, target: &Destination, plan: &Arc<dyn ExecutionPlan>) -> i64 {
    let mut hashes = BTreeSet::new();
    content_hashes(plan, &mut hashes);
    let mut hash = Sha256::new();
    let table = match target {
        Destination::Local(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        Destination::Remote(url) => url.path().to_owned(),
    };
    let parts = hashes.into_iter().chain([table, spec.seed.to_string(), spec.scale.whole.to_string()]);
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let number = digest.iter().take(8).fold(0_u64, |number, &byte| (number << 8) | u64::from(byte));
    (number >> 1).cast_signed()
}

fn content_hashes(plan: &Arc<dyn ExecutionPlan>, hashes: &mut BTreeSet<String>) {
    if let Some(sample) = plan.downcast_ref::<SampleExec>() {
        hashes.insert(sample.spec().content_hash.clone());
    }
    if let Some(sample) = plan.downcast_ref::<RelatedExec>() {
        hashes.insert(sample.spec().content_hash.clone());
    }
    plan.children().into_iter().for_each(|child| content_hashes(child, hashes));
}
