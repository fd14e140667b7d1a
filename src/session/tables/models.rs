//! `synth.models`: the stored versions.

use super::provider::{Source, SystemTable, text};
use crate::{
    Result, SynthError, models,
    store::{Manifest, StoredVersion},
};
use arrow::{
    array::{
        ArrayRef, AsArray, BooleanArray, Float64Array, RecordBatch, StringArray, TimestampMillisecondArray,
        UInt32Array, UInt64Array,
    },
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit, UInt32Type},
};
use async_trait::async_trait;
use chrono::DateTime;
use std::sync::{Arc, LazyLock};

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("model", DataType::Utf8, false),
        Field::new("version", DataType::UInt32, false),
        Field::new("kind", DataType::Utf8, true),
        Field::new("current", DataType::Boolean, false),
        Field::new("source", DataType::Utf8, true),
        Field::new("rows", DataType::UInt64, true),
        Field::new("columns", DataType::UInt32, true),
        Field::new("epochs", DataType::UInt32, true),
        Field::new("best_epoch", DataType::UInt32, true),
        Field::new("score", DataType::Float64, true),
        Field::new("seconds", DataType::Float64, true),
        Field::new("created", timestamp(), true),
        Field::new("content_hash", DataType::Utf8, true),
        Field::new("location", DataType::Utf8, false),
        Field::new("description", DataType::Utf8, true),
    ]))
});

/// The type of the tables' timestamps.
pub(super) fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}

/// Timestamps from RFC 3339; null where it is none.
pub(super) fn timestamps<'a>(texts: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    let millis = texts.map(|text| DateTime::parse_from_rfc3339(text?).ok().map(|time| time.timestamp_millis()));
    Arc::new(millis.collect::<TimestampMillisecondArray>().with_timezone("UTC"))
}

/// The same error, with what to do about a damaged file.
pub(super) fn with_way_out(error: SynthError, delete: &str) -> SynthError {
    match error {
        SynthError::Artifact { path, reason } => {
            SynthError::Artifact { path, reason: format!("{reason}; restore the file, or remove it by {delete}") }
        }
        other => other,
    }
}

/// The first damaged manifest as an error.
pub(super) fn readable(versions: Vec<StoredVersion>) -> Result<Vec<(Arc<Manifest>, bool, String)>> {
    let read = versions.into_iter().map(|StoredVersion { name, version, current, location, manifest }| {
        let delete = format!("DELETE FROM synth.models WHERE model = '{name}' AND version = {version}");
        Ok((manifest.map_err(|error| with_way_out(error, &delete))?, current, location))
    });
    read.collect()
}

#[derive(Debug)]
pub(super) struct Models;

struct Row {
    name: String,
    version: u32,
    current: bool,
    location: String,
    manifest: Option<Arc<Manifest>>,
}

fn batch(rows: &[Row]) -> Result<RecordBatch> {
    let manifests = || rows.iter().map(|row| row.manifest.as_deref());
    let reports = || manifests().map(|manifest| manifest.map(|m| &m.report));
    let texts = |get: fn(&Manifest) -> &str| -> ArrayRef {
        Arc::new(manifests().map(|manifest| manifest.map(get)).collect::<StringArray>())
    };
    let describe = |manifest: Option<&Manifest>| Some(models::kind(&manifest?.kind).ok()?.description());
    let width = |manifest: &Manifest| u32::try_from(manifest.schema().fields().len()).unwrap_or(u32::MAX);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.name))),
        Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| row.version))),
        texts(|m| &m.kind),
        Arc::new(BooleanArray::from_iter(rows.iter().map(|row| Some(row.current)))),
        texts(|m| &m.source),
        Arc::new(UInt64Array::from_iter(reports().map(|report| Some(report?.rows)))),
        Arc::new(UInt32Array::from_iter(manifests().map(|manifest| manifest.map(width)))),
        Arc::new(UInt32Array::from_iter(reports().map(|report| Some(report?.epochs)))),
        Arc::new(UInt32Array::from_iter(reports().map(|report| Some(report?.best_epoch)))),
        Arc::new(Float64Array::from_iter(reports().map(|report| Some(report?.score)))),
        Arc::new(Float64Array::from_iter(reports().map(|report| Some(report?.seconds)))),
        timestamps(manifests().map(|manifest| Some(manifest?.created.as_str()))),
        texts(|m| &m.content_hash),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.location))),
        Arc::new(manifests().map(describe).collect::<StringArray>()),
    ];
    Ok(RecordBatch::try_new(Arc::clone(&SCHEMA), columns)?)
}

#[async_trait]
impl SystemTable for Models {
    fn name(&self) -> &'static str {
        "models"
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&SCHEMA)
    }

    async fn rows(&self, Source { store, .. }: &Source) -> Result<RecordBatch> {
        let rows = readable(store.versions().await?)?.into_iter().map(|(manifest, current, location)| Row {
            name: manifest.name.clone(),
            version: manifest.version,
            current,
            location,
            manifest: Some(manifest),
        });
        batch(&rows.collect::<Vec<_>>())
    }

    async fn deletable(&self, Source { store, .. }: &Source) -> Result<RecordBatch> {
        let rows =
            store.versions().await?.into_iter().map(|StoredVersion { name, version, current, location, manifest }| {
                Row { name, version, current, location, manifest: manifest.ok() }
            });
        batch(&rows.collect::<Vec<_>>())
    }

    async fn delete(&self, Source { store, .. }: &Source, chosen: &RecordBatch) -> Result<u64> {
        let versions = chosen.column(1).as_primitive::<UInt32Type>();
        let mut dropped = 0;
        for row in 0..chosen.num_rows() {
            let Some(model) = text(chosen, "model", row)? else { continue };
            match store.drop_model(model, Some(versions.value(row))).await {
                Ok(versions) => dropped += versions as u64,
                Err(SynthError::NotFound { .. }) => {} // dropped by someone else meanwhile
                Err(error) => return Err(error),
            }
        }
        Ok(dropped)
    }
}
