//! Checkpoints: the states that unfinished trainings go on from.

use super::{
    ModelStore,
    bridge::off_worker,
    envelope::{self, FORMAT},
    name,
    versions::{CHECKPOINT, MANIFEST},
    weights,
};
use crate::{
    Result, SynthError,
    models::{Checkpoint, ModelState},
};
use bytes::Bytes;
use chrono::{SecondsFormat, TimeDelta, Utc};
use object_store::{Error, ObjectStoreExt};
use serde::{Deserialize, Serialize};
use serde_json::Value;

const EXTENSION: &str = ".safetensors";
/// A state that no manifest points at may be about to be committed; from this age on it is the remains of a crash.
const ABANDONED: TimeDelta = TimeDelta::hours(1);

/// `checkpoint/manifest.json`: points at the state file. Replacing it replaces the checkpoint.
#[derive(Debug, Serialize, Deserialize)]
struct Pointer {
    format: u32,
    name: String,
    written: String,
    epoch: u32,
    /// File name of the state.
    file: String,
    sha256: String,
    settings: Value,
    spec: Value,
}

/// What is known of a checkpoint without its state.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckpointInfo {
    /// The last finished epoch.
    pub epoch: u32,
    /// When it was written, UTC, RFC 3339.
    pub written: String,
    /// What is being trained.
    pub spec: Value,
}

impl ModelStore {
    /// Replaces the checkpoint of `name`, atomically. `spec` says what is being trained (model kind, encoder, options):
    /// only a training of the same spec may resume it.
    ///
    /// # Errors
    /// The store cannot be written; the earlier checkpoint stays.
    pub async fn save_checkpoint(&self, name: &str, spec: &Value, checkpoint: &Checkpoint) -> Result<()> {
        name::check(name)?;
        let state = Bytes::from(weights::encode(&checkpoint.state.tensors)?);
        let file = format!("{}{EXTENSION}", uuid::Uuid::new_v4());
        let pointer = Pointer {
            format: FORMAT,
            name: name.to_owned(),
            written: Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true),
            epoch: checkpoint.epoch,
            sha256: envelope::sha256(&state),
            settings: checkpoint.state.settings.clone(),
            spec: spec.clone(),
            file,
        };
        let sealed = Bytes::from(envelope::seal(&pointer)?);
        // A damaged checkpoint is replaced like any other.
        let replaced = self.pointer(name).await.ok().flatten().map(|pointer| pointer.file);
        let objects = &self.location.objects;
        let path = self.location.path(&[name, CHECKPOINT, &pointer.file])?;
        let manifest = self.location.path(&[name, CHECKPOINT, MANIFEST])?;
        let written = async {
            objects.put(&path, state.into()).await.map_err(|error| self.location.error(error))?;
            self.location.persist(&[&path]).await?;
            objects.put(&manifest, sealed.into()).await.map_err(|error| self.location.error(error))
        };
        if let Err(error) = written.await {
            match objects.delete(&path).await {
                Ok(()) | Err(Error::NotFound { .. }) => {}
                Err(error) => log::warn!("{} stays behind: {error}", self.location.show(&path)),
            }
            return Err(error);
        }
        self.sweep(name, &pointer.file, replaced.as_deref()).await
    }

    /// The checkpoint of `name` and its spec, if there is one.
    ///
    /// # Errors
    /// A damaged checkpoint.
    pub async fn load_checkpoint(&self, name: &str) -> Result<Option<(Value, Checkpoint)>> {
        name::check(name)?;
        let Some(mut pointer) = self.pointer(name).await? else { return Ok(None) };
        loop {
            let file = self.location.path(&[name, CHECKPOINT, &pointer.file])?;
            let path = self.location.show(&file);
            let bytes = match self.read(&file, &path).await {
                // Gone because a newer checkpoint replaced it in between?
                Err(error @ SynthError::Artifact { .. }) => match self.pointer(name).await? {
                    Some(newer) if newer.file != pointer.file => {
                        pointer = newer;
                        continue;
                    }
                    Some(_) => return Err(error),
                    None => return Ok(None),
                },
                read => read?,
            };
            let Pointer { epoch, sha256, settings, spec, .. } = pointer;
            let tensors = off_worker(move || {
                if envelope::sha256(&bytes) != sha256 {
                    let reason = "its contents do not match the checksum in the checkpoint's manifest".to_owned();
                    return Err(SynthError::Artifact { path, reason });
                }
                weights::decode(&path, &bytes)
            });
            return Ok(Some((spec, Checkpoint { epoch, state: ModelState { settings, tensors: tensors.await? } })));
        }
    }

    /// Removes the checkpoint of `name`, if there is one, readable or not.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn drop_checkpoint(&self, name: &str) -> Result<()> {
        name::check(name)?;
        self.delete(&self.location.path(&[name, CHECKPOINT, MANIFEST])?).await?;
        for file in self.inventory(Some(name)).await?.checkpoints.remove(name).unwrap_or_default() {
            self.delete(&file.location).await?;
        }
        self.location.tidy(&[name, CHECKPOINT]);
        self.location.tidy(&[name]);
        Ok(())
    }

    /// Every checkpoint, by name of the model in training, damaged ones included.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn checkpoints(&self) -> Result<Vec<(String, Result<CheckpointInfo>)>> {
        let mut found = Vec::new();
        for name in self.inventory(None).await?.checkpoints.into_keys() {
            let info = match self.pointer(&name).await {
                Ok(None) => continue, // none yet, or dropped since it was listed
                Ok(Some(Pointer { epoch, written, spec, .. })) => Ok(CheckpointInfo { epoch, written, spec }),
                Err(error @ SynthError::Store { .. }) => return Err(error),
                Err(error) => Err(error),
            };
            found.push((name, info));
        }
        Ok(found)
    }

    async fn pointer(&self, name: &str) -> Result<Option<Pointer>> {
        let file = self.location.path(&[name, CHECKPOINT, MANIFEST])?;
        let read = async { self.location.objects.get(&file).await?.bytes().await };
        let bytes = match read.await {
            Err(Error::NotFound { .. }) => return Ok(None),
            read => read.map_err(|error| self.location.error(error))?,
        };
        let path = self.location.show(&file);
        let pointer: Pointer = envelope::unseal(&path, &bytes)?;
        let id = pointer.file.strip_suffix(EXTENSION);
        if id.is_none_or(|id| uuid::Uuid::try_parse(id).is_err()) {
            let reason = format!("it points at a file {:?}, which is none of a checkpoint", pointer.file);
            return Err(SynthError::Artifact { path, reason });
        }
        if pointer.name != name {
            let reason = format!("it is the checkpoint of `{}`", pointer.name);
            return Err(SynthError::Artifact { path, reason });
        }
        Ok(Some(pointer))
    }

    /// Removes the state that was replaced, and those that crashes left behind.
    async fn sweep(&self, name: &str, current: &str, replaced: Option<&str>) -> Result<()> {
        let before = Utc::now() - ABANDONED;
        let files = self.inventory(Some(name)).await?.checkpoints.remove(name).unwrap_or_default();
        for file in files {
            let file_name = file.location.filename().unwrap_or_default();
            let stale = Some(file_name) == replaced || file.last_modified < before;
            if stale && file_name != current && file_name != MANIFEST {
                self.delete(&file.location).await?;
            }
        }
        Ok(())
    }
}
