//! Committed versions: listing, loading, saving, dropping.

use super::{
    Manifest, ModelStore, NewModel, StoredModel,
    bridge::off_worker,
    cache::Cache,
    envelope::{self, FORMAT},
    manifest, name, weights,
};
use crate::{
    Result, SynthError,
    models::{ModelState, TableModel},
};
use bytes::Bytes;
use chrono::{SecondsFormat, TimeDelta, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{Error, ObjectMeta, ObjectStoreExt, PutMode, path::Path};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};
use tokio::sync::OnceCell;

pub(super) const MANIFEST: &str = "manifest.json";
pub(super) const CHECKPOINT: &str = "checkpoint";
const WEIGHTS: &str = "weights.safetensors";

/// Manifests read at once by a listing.
const READERS: usize = 16;
/// Savers that may be ahead of one that looks for a free version.
const CLAIMS: u32 = 1000;
/// A claimed version without manifest may still be being written; from this age on it is certainly abandoned.
const ABANDONED: TimeDelta = TimeDelta::hours(1);

/// Bytes of manifests kept in memory.
const MANIFEST_CACHE: usize = 32 << 20;
/// Bytes of weights kept in memory, beyond those in use.
const MODEL_CACHE: usize = 256 << 20;

/// Which bytes a manifest was read from: its file, and what changes when the file is replaced.
type ManifestKey = (String, Path, u64, i64, Option<String>);
static MANIFESTS: LazyLock<Mutex<Cache<ManifestKey, Arc<Manifest>>>> =
    LazyLock::new(|| Mutex::new(Cache::new(MANIFEST_CACHE)));

/// Models by content hash. The cell makes concurrent loads of one model a single one.
type ModelCell = Arc<OnceCell<Arc<dyn TableModel>>>;
static MODELS: LazyLock<Mutex<Cache<String, ModelCell>>> = LazyLock::new(|| Mutex::new(Cache::new(MODEL_CACHE)));

/// A committed version, readable or not.
#[derive(Debug)]
pub struct StoredVersion {
    /// The model.
    pub name: String,
    /// The version.
    pub version: u32,
    /// Whether it is the model's newest.
    pub current: bool,
    /// Its folder: a path or a URL.
    pub location: String,
    /// Its manifest, or why that cannot be read.
    pub manifest: Result<Arc<Manifest>>,
}

/// The files of one version's folder.
#[derive(Debug, Default)]
pub(super) struct Folder {
    manifest: Option<ObjectMeta>,
    files: Vec<ObjectMeta>,
}

/// What is in a store, by file names alone.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    pub(super) versions: BTreeMap<String, BTreeMap<u32, Folder>>,
    pub(super) checkpoints: BTreeMap<String, Vec<ObjectMeta>>,
}

impl ModelStore {
    /// Every committed version of every model, by name and version.
    ///
    /// # Errors
    /// The store cannot be read; a damaged manifest (see [`ModelStore::versions`] for the others).
    pub async fn list(&self) -> Result<Vec<Arc<Manifest>>> {
        self.versions().await?.into_iter().map(|version| version.manifest).collect()
    }

    /// Every committed version of every model, by name and version, damaged ones included.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn versions(&self) -> Result<Vec<StoredVersion>> {
        let mut reads = Vec::new();
        for (name, folders) in self.inventory(None).await?.versions {
            let newest = newest(&folders).map(|(version, _)| version);
            for (version, folder) in folders {
                if let Some(file) = folder.manifest {
                    reads.push(self.version(name.clone(), version, Some(version) == newest, file));
                }
            }
        }
        let found: Vec<Option<StoredVersion>> = stream::iter(reads).buffered(READERS).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// One version of a listing; `None` if it was dropped since.
    async fn version(
        &self,
        name: String,
        version: u32,
        current: bool,
        file: ObjectMeta,
    ) -> Result<Option<StoredVersion>> {
        let manifest = match self.read_manifest(&name, version, &file).await {
            Err(SynthError::Store { source: Error::NotFound { .. }, .. }) => return Ok(None),
            Err(error @ SynthError::Store { .. }) => return Err(error),
            manifest => manifest,
        };
        let location = self.location.show(&self.location.path(&[&name, &version.to_string()])?);
        Ok(Some(StoredVersion { name, version, current, location, manifest }))
    }

    /// The manifest of `name`: of `version`, or of the newest.
    ///
    /// # Errors
    /// No such model or version (lists what there is); a damaged manifest.
    pub async fn manifest(&self, name: &str, version: Option<u32>) -> Result<Arc<Manifest>> {
        name::check(name)?;
        let inventory = self.inventory(Some(name)).await?;
        let empty = BTreeMap::new();
        let folders = inventory.versions.get(name).unwrap_or(&empty);
        let found = match version {
            None => newest(folders),
            Some(version) => folders.get(&version).and_then(|f| Some((version, f.manifest.as_ref()?))),
        };
        match found {
            Some((version, file)) => self.read_manifest(name, version, file).await,
            None => Err(self.not_found(name, version, folders).await),
        }
    }

    /// The model of `name`, ready to sample; cached process-wide by content hash.
    ///
    /// # Errors
    /// As [`ModelStore::manifest`]; damaged weights; a kind of model that this build does not have.
    pub async fn load(&self, name: &str, version: Option<u32>) -> Result<Arc<StoredModel>> {
        let manifest = self.manifest(name, version).await?;
        let hash = &manifest.content_hash;
        let cell = {
            let mut models = MODELS.lock();
            models.get(hash).unwrap_or_else(|| {
                let cell = ModelCell::default();
                models.insert(hash.clone(), Arc::clone(&cell), 0);
                cell
            })
        };
        let model = cell
            .get_or_try_init(|| async {
                let (model, bytes) = self.load_weights(&manifest).await?;
                MODELS.lock().insert(hash.clone(), Arc::clone(&cell), bytes);
                Ok::<_, SynthError>(model)
            })
            .await?;
        Ok(Arc::new(StoredModel { model: Arc::clone(model), manifest }))
    }

    /// Stores a new version of `model.name`, atomically; concurrent calls make two versions.
    ///
    /// # Errors
    /// A bad name or kind; the store cannot be written (nothing of the version stays).
    pub async fn save(&self, model: NewModel<'_>) -> Result<Arc<Manifest>> {
        name::check(model.name)?;
        (self.kinds)(model.kind)?;
        let ModelState { settings, tensors } = model.model.state()?;
        let weights = Bytes::from(weights::encode(&tensors)?);
        drop(tensors);
        let mut manifest = Manifest {
            format: FORMAT,
            name: model.name.to_owned(),
            version: 0,
            kind: model.kind.to_owned(),
            created: Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true),
            source: model.source.to_owned(),
            encoder: model.encoder.clone(),
            relations: model.relations.cloned(),
            content_hash: manifest::content_hash(model.kind, model.encoder, model.relations, &settings, &weights)?,
            settings,
            options: model.options.clone(),
            report: model.report.clone(),
            libraries: manifest::libraries(),
            files: BTreeMap::from([(WEIGHTS.to_owned(), envelope::sha256(&weights))]),
        };
        manifest.version = self.claim(model.name, weights).await?;
        match self.commit(&manifest).await {
            Ok(manifest) => Ok(manifest),
            Err(error) => {
                self.withdraw(model.name, manifest.version).await;
                Err(error)
            }
        }
    }

    /// Removes one version, or all of them. Returns how many. A version that cannot be read can be removed. The number of
    /// the newest version, once removed, is given to the next one that is saved.
    ///
    /// # Errors
    /// No such model or version; the store cannot be written.
    pub async fn drop_model(&self, name: &str, version: Option<u32>) -> Result<usize> {
        name::check(name)?;
        let mut folders = self.inventory(Some(name)).await?.versions.remove(name).unwrap_or_default();
        let wanted = |&number: &u32| version.is_none_or(|version| version == number);
        let committed: Vec<u32> = folders.iter().filter(|(_, f)| f.manifest.is_some()).map(|(&v, _)| v).collect();
        let dropped: Vec<u32> = committed.into_iter().filter(wanted).collect();
        if dropped.is_empty() {
            return Err(self.not_found(name, version, &folders).await);
        }
        for &number in &dropped {
            self.remove(name, number, folders.remove(&number).unwrap_or_default()).await?;
        }
        if version.is_none() {
            let before = Utc::now() - ABANDONED;
            for (number, folder) in folders {
                if folder.files.iter().all(|file| file.last_modified < before) {
                    self.remove(name, number, folder).await?;
                }
            }
        }
        self.location.tidy(&[name]);
        Ok(dropped.len())
    }

    /// What is in the store, or in the folder of `name`.
    pub(super) async fn inventory(&self, name: Option<&str>) -> Result<Inventory> {
        let root = &self.location.root;
        let below = match name {
            Some(name) => self.location.path(&[name])?,
            None => root.clone(),
        };
        let prefix = (!below.is_root()).then_some(&below);
        let mut files = self.location.objects.list(prefix);
        let mut inventory = Inventory::default();
        while let Some(file) = files.next().await {
            let file = match file {
                Err(Error::NotFound { .. }) => continue, // no store yet, or dropped while listing
                file => file.map_err(|error| self.location.error(error))?,
            };
            let parts: Vec<String> =
                file.location.prefix_match(root).into_iter().flatten().map(|part| part.as_ref().to_owned()).collect();
            let [model, folder, file_name] = parts.as_slice() else { continue };
            if name::check(model).is_err() {
                continue;
            }
            if folder == CHECKPOINT {
                inventory.checkpoints.entry(model.clone()).or_default().push(file);
            } else if let Ok(version) = folder.parse::<u32>()
                && version > 0
                && version.to_string() == *folder
            {
                let folder = inventory.versions.entry(model.clone()).or_default().entry(version).or_default();
                if file_name == MANIFEST {
                    folder.manifest = Some(file.clone());
                }
                folder.files.push(file);
            }
        }
        Ok(inventory)
    }

    async fn read_manifest(&self, name: &str, version: u32, file: &ObjectMeta) -> Result<Arc<Manifest>> {
        if let Some(manifest) = MANIFESTS.lock().get(&self.manifest_key(file)) {
            return Ok(manifest);
        }
        let read = self.location.objects.get(&file.location).await.map_err(|error| self.location.error(error))?;
        let key = self.manifest_key(&read.meta);
        let bytes = read.bytes().await.map_err(|error| self.location.error(error))?;
        let path = self.location.show(&file.location);
        let manifest: Manifest = envelope::unseal(&path, &bytes)?;
        if (manifest.name.as_str(), manifest.version) != (name, version) {
            let reason = format!("it describes version {} of `{}`", manifest.version, manifest.name);
            return Err(SynthError::Artifact { path, reason });
        }
        let manifest = Arc::new(manifest);
        MANIFESTS.lock().insert(key, Arc::clone(&manifest), bytes.len());
        Ok(manifest)
    }

    fn manifest_key(&self, file: &ObjectMeta) -> ManifestKey {
        let modified = file.last_modified.timestamp_micros();
        (self.location.identity.clone(), file.location.clone(), file.size, modified, file.e_tag.clone())
    }

    /// Reads, verifies and builds a model. Returns the bytes of its weights as well.
    async fn load_weights(&self, manifest: &Arc<Manifest>) -> Result<(Arc<dyn TableModel>, usize)> {
        let folder = [manifest.name.as_str(), &manifest.version.to_string()].join("/");
        let described = self.location.show(&self.location.path(&[&folder, MANIFEST])?);
        let file = self.location.path(&[&folder, WEIGHTS])?;
        let path = self.location.show(&file);
        let damaged = |path: &str, reason: String| SynthError::Artifact { path: path.to_owned(), reason };
        let kind = (self.kinds)(&manifest.kind).map_err(|error| damaged(&described, error.to_string()))?;
        let expected = manifest.files.get(WEIGHTS).cloned();
        let expected = expected.ok_or_else(|| damaged(&described, format!("it has no checksum of {WEIGHTS}")))?;
        let bytes = self.read(&file, &path).await?;
        let size = bytes.len();
        let manifest = Arc::clone(manifest);
        let model = off_worker(move || {
            if envelope::sha256(&bytes) != expected {
                return Err(damaged(&path, "its contents do not match the checksum in the manifest".to_owned()));
            }
            let state = ModelState { settings: manifest.settings.clone(), tensors: weights::decode(&path, &bytes)? };
            kind.load(&manifest.layout()?, state).map_err(|error| damaged(&path, error.to_string()))
        });
        Ok((model.await?, size))
    }

    /// A whole file that is there unless the artifact is damaged.
    pub(super) async fn read(&self, file: &Path, path: &str) -> Result<Bytes> {
        let read = async { self.location.objects.get(file).await?.bytes().await };
        read.await.map_err(|error| match error {
            Error::NotFound { .. } => {
                SynthError::Artifact { path: path.to_owned(), reason: "it is missing".to_owned() }
            }
            error => self.location.error(error),
        })
    }

    /// Takes the next free version of `name` by writing its weights, which succeeds for one saver only.
    async fn claim(&self, name: &str, weights: Bytes) -> Result<u32> {
        let taken = self.inventory(Some(name)).await?;
        let last = taken.versions.get(name).and_then(|folders| folders.keys().next_back().copied()).unwrap_or(0);
        for version in (1..=CLAIMS).map_while(|ahead| last.checked_add(ahead)) {
            let path = self.location.path(&[name, &version.to_string(), WEIGHTS])?;
            match self.location.objects.put_opts(&path, weights.clone().into(), PutMode::Create.into()).await {
                Ok(_) => return Ok(version),
                Err(Error::AlreadyExists { .. }) => {}
                Err(error) => {
                    self.withdraw(name, version).await;
                    return Err(self.location.error(error));
                }
            }
        }
        Err(SynthError::Internal(format!("no free version of `{name}` after version {last}")))
    }

    async fn commit(&self, manifest: &Manifest) -> Result<Arc<Manifest>> {
        let path = self.location.path(&[&manifest.name, &manifest.version.to_string(), MANIFEST])?;
        let sealed = envelope::seal(manifest)?;
        // What cannot be read back must not be committed (a non-finite score, say).
        let read = envelope::unseal::<Manifest>(&self.location.show(&path), &sealed)
            .map_err(|error| SynthError::Internal(format!("a manifest that cannot be read back: {error}")))?;
        let weights = self.location.path(&[&manifest.name, &manifest.version.to_string(), WEIGHTS])?;
        self.location.persist(&[&weights]).await?;
        let put = self.location.objects.put_opts(&path, sealed.into(), PutMode::Create.into()).await;
        put.map_err(|error| self.location.error(error))?;
        self.location.persist(&[&path]).await?;
        Ok(Arc::new(read))
    }

    /// Removes what a failed save of a version left behind.
    async fn withdraw(&self, name: &str, version: u32) {
        let version = version.to_string();
        for file in [MANIFEST, WEIGHTS] {
            let Ok(path) = self.location.path(&[name, &version, file]) else { continue };
            match self.location.objects.delete(&path).await {
                Ok(()) | Err(Error::NotFound { .. }) => {}
                // The save's own error is reported; without a manifest this is no version.
                Err(error) => log::warn!("{} stays behind: {error}", self.location.show(&path)),
            }
        }
        self.location.tidy(&[name, &version]);
        self.location.tidy(&[name]);
    }

    /// Removes the files of a version, the manifest (the commit) first.
    async fn remove(&self, name: &str, version: u32, folder: Folder) -> Result<()> {
        let others = folder.files.iter().filter(|file| Some(*file) != folder.manifest.as_ref());
        for file in folder.manifest.iter().chain(others) {
            self.delete(&file.location).await?;
        }
        self.location.tidy(&[name, &version.to_string()]);
        Ok(())
    }

    /// Removes a file, which may be gone already.
    pub(super) async fn delete(&self, file: &Path) -> Result<()> {
        match self.location.objects.delete(file).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.location.error(error)),
        }
    }

    async fn not_found(&self, name: &str, version: Option<u32>, folders: &BTreeMap<u32, Folder>) -> SynthError {
        let known: Vec<String> =
            folders.iter().filter(|(_, f)| f.manifest.is_some()).map(|(version, _)| version.to_string()).collect();
        match version {
            Some(version) if !known.is_empty() => {
                SynthError::NotFound { kind: "version", name: format!("{name} {version}"), known }
            }
            _ => match self.inventory(None).await {
                Err(error) => error,
                Ok(inventory) => {
                    let committed = inventory.versions.into_iter().filter(|(_, folders)| newest(folders).is_some());
                    let known = committed.map(|(name, _)| name).collect();
                    SynthError::NotFound { kind: "model", name: name.to_owned(), known }
                }
            },
        }
    }
}

fn newest(folders: &BTreeMap<u32, Folder>) -> Option<(u32, &ObjectMeta)> {
    folders.iter().rev().find_map(|(&version, folder)| Some((version, folder.manifest.as_ref()?)))
}
