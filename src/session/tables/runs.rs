//! `synth.runs`: trainings, the finished ones and those that can be resumed.

use super::{
    models::{readable, timestamp, timestamps, with_way_out},
    provider::{Source, SystemTable, text},
};
use crate::{
    Result, SynthError,
    store::{CheckpointInfo, Manifest},
};
use arrow::{
    array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt32Array, UInt64Array},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use async_trait::async_trait;
use std::sync::{Arc, LazyLock};

const FINISHED: &str = "finished";
const RESUMABLE: &str = "resumable";

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("model", DataType::Utf8, false),
        Field::new("version", DataType::UInt32, true),
        Field::new("status", DataType::Utf8, false),
        Field::new("kind", DataType::Utf8, true),
        Field::new("created", timestamp(), true),
        Field::new("seconds", DataType::Float64, true),
        Field::new("epochs", DataType::UInt32, true),
        Field::new("rows", DataType::UInt64, true),
        Field::new("score", DataType::Float64, true),
        Field::new("recoveries", DataType::UInt32, true),
    ]))
});

/// A finished run is a stored version, with the story of its training; a resumable one is a checkpoint (its training may be
/// under way), with the last finished epoch.
#[derive(Debug)]
pub(super) struct Runs;

struct Row {
    model: String,
    outcome: Outcome,
}

enum Outcome {
    Finished(Arc<Manifest>),
    /// `None` for a checkpoint that cannot be read.
    Resumable(Option<CheckpointInfo>),
}

impl Row {
    fn finished(&self) -> Option<&Manifest> {
        match &self.outcome {
            Outcome::Finished(manifest) => Some(manifest),
            Outcome::Resumable(_) => None,
        }
    }

    fn checkpoint(&self) -> Option<&CheckpointInfo> {
        match &self.outcome {
            Outcome::Finished(_) => None,
            Outcome::Resumable(info) => info.as_ref(),
        }
    }

    fn status(&self) -> &'static str {
        if self.finished().is_some() { FINISHED } else { RESUMABLE }
    }

    fn kind(&self) -> Option<&str> {
        match self.finished() {
            Some(manifest) => Some(&manifest.kind),
            None => self.checkpoint()?.spec.get("kind")?.as_str(),
        }
    }

    fn created(&self) -> Option<&str> {
        self.finished().map(|m| m.created.as_str()).or_else(|| Some(self.checkpoint()?.written.as_str()))
    }

    fn epochs(&self) -> Option<u32> {
        self.finished().map(|m| m.report.epochs).or_else(|| Some(self.checkpoint()?.epoch))
    }
}

fn batch(rows: &[Row]) -> Result<RecordBatch> {
    let manifests = || rows.iter().map(Row::finished);
    let reports = || manifests().map(|manifest| Some(&manifest?.report));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.model))),
        Arc::new(UInt32Array::from_iter(manifests().map(|manifest| Some(manifest?.version)))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(Row::status))),
        Arc::new(rows.iter().map(Row::kind).collect::<StringArray>()),
        timestamps(rows.iter().map(Row::created)),
        Arc::new(Float64Array::from_iter(reports().map(|report| Some(report?.seconds)))),
        Arc::new(UInt32Array::from_iter(rows.iter().map(Row::epochs))),
        Arc::new(UInt64Array::from_iter(reports().map(|report| Some(report?.rows)))),
        Arc::new(Float64Array::from_iter(reports().map(|report| Some(report?.score)))),
        Arc::new(UInt32Array::from_iter(reports().map(|report| Some(report?.recoveries)))),
    ];
    Ok(RecordBatch::try_new(Arc::clone(&SCHEMA), columns)?)
}

#[async_trait]
impl SystemTable for Runs {
    fn name(&self) -> &'static str {
        "runs"
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&SCHEMA)
    }

    async fn rows(&self, Source { store, .. }: &Source) -> Result<RecordBatch> {
        let mut rows = Vec::new();
        for (manifest, ..) in readable(store.versions().await?)? {
            rows.push(Row { model: manifest.name.clone(), outcome: Outcome::Finished(manifest) });
        }
        for (model, info) in store.checkpoints().await? {
            let delete = format!("DELETE FROM synth.runs WHERE model = '{model}' AND status = '{RESUMABLE}'");
            let info = info.map_err(|error| with_way_out(error, &delete))?;
            rows.push(Row { model, outcome: Outcome::Resumable(Some(info)) });
        }
        batch(&rows)
    }

    async fn deletable(&self, Source { store, .. }: &Source) -> Result<RecordBatch> {
        let finished = store.versions().await?.into_iter().filter_map(|version| {
            Some(Row { model: version.name, outcome: Outcome::Finished(version.manifest.ok()?) })
        });
        let mut rows: Vec<Row> = finished.collect();
        for (model, info) in store.checkpoints().await? {
            rows.push(Row { model, outcome: Outcome::Resumable(info.ok()) });
        }
        batch(&rows)
    }

    async fn delete(&self, Source { store, .. }: &Source, chosen: &RecordBatch) -> Result<u64> {
        for row in 0..chosen.num_rows() {
            if text(chosen, "status", row)? == Some(FINISHED) {
                return Err(SynthError::Argument {
                    function: "DELETE FROM synth.runs".to_owned(),
                    argument: "status".to_owned(),
                    given: format!("the finished run of `{}`", text(chosen, "model", row)?.unwrap_or_default()),
                    expected: format!(
                        "'{RESUMABLE}': finished runs are part of their models, which DELETE FROM synth.models drops"
                    ),
                });
            }
        }
        for row in 0..chosen.num_rows() {
            if let Some(model) = text(chosen, "model", row)? {
                store.drop_checkpoint(model).await?;
            }
        }
        Ok(chosen.num_rows() as u64)
    }
}
