//! Versioned model artifacts on an object store.
//!
//! ```text
//! {store}/{model}/{version}/weights.safetensors  written first, only if absent: claims the version
//! {store}/{model}/{version}/manifest.json        written last: its presence is the commit
//! {store}/{model}/checkpoint/manifest.json       a training that has not finished: replaced atomically
//! {store}/{model}/checkpoint/{id}.safetensors    the state it points at
//! {store}/columns.json                           column roles that the user declared
//! {store}/keys.json                              keys that the user declared
//! ```
//!
//! A crash at any point leaves what was committed before: a version without manifest is no version, and its number is not
//! used again. Every file is verified before use: JSON files carry a checksum of their own bytes, and those of the other
//! files. No file of a store can make a reader execute code.

mod bridge;
mod cache;
mod checkpoint;
mod declared;
mod envelope;
mod location;
mod manifest;
mod name;
mod versions;
mod weights;

pub use bridge::{blocking, off_worker};
pub use checkpoint::CheckpointInfo;
pub use declared::{DeclaredKeys, DeclaredRoles};
pub use manifest::{Manifest, NewModel, StoredModel};
pub use name::check as check_name;
pub use versions::StoredVersion;

use crate::{
    Result,
    models::{self, ModelKind},
};
use location::Location;
pub(crate) use location::{NO_HOME, local_path};
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use std::{fmt, sync::Arc};

/// Bytes of the file that [`ModelStore::check_writable`] writes.
const PROBE: usize = 1 << 20;

/// Finds a kind of model by name.
type KindLookup = fn(&str) -> Result<&'static dyn ModelKind>;

/// A model store: a folder or an object-store URL. Cheap to open and to clone; holds nothing open.
#[derive(Clone)]
pub struct ModelStore {
    location: Arc<Location>,
    kinds: KindLookup,
}

impl ModelStore {
    /// Opens `location`: a path (relative to the working directory, or below `~/`) or a URL (`file://`, `memory://`, and
    /// `s3://`, `gs://`, `az://` where built in). Touches nothing yet; a folder that does not exist is an empty store, and is
    /// created by the first write.
    ///
    /// # Errors
    /// A URL of a scheme this build does not know.
    pub fn open(location: &str) -> Result<Self> {
        Ok(Self { location: Arc::new(Location::parse(location)?), kinds: models::kind })
    }

    /// A store below `root` of an object store of the caller's; `shown` is how messages name it.
    #[must_use]
    pub fn with_objects(shown: &str, objects: Arc<dyn ObjectStore>, root: Path) -> Self {
        Self { location: Arc::new(Location::of(shown, objects, root)), kinds: models::kind }
    }

    /// The same store, with kinds of models looked up by `kinds` instead of in [`models::kinds`].
    #[must_use]
    pub fn with_kinds(mut self, kinds: KindLookup) -> Self {
        self.kinds = kinds;
        self
    }

    /// Where the store is: an absolute path or a URL.
    #[must_use]
    pub fn location(&self) -> &str {
        &self.location.shown
    }

    /// Writes, and removes again, a file about as large as a small model: for finding out that a store cannot be written,
    /// or is full, before hours of training rather than after.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn check_writable(&self) -> Result<()> {
        let probe = self.location.path(&[&format!(".probe-{}", uuid::Uuid::new_v4())])?;
        let objects = &self.location.objects;
        objects.put(&probe, vec![0_u8; PROBE].into()).await.map_err(|error| self.location.error(error))?;
        objects.delete(&probe).await.map_err(|error| self.location.error(error))
    }
}

impl fmt::Debug for ModelStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ModelStore").field(&self.location.shown).finish()
    }
}
