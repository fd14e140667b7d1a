//! `columns.json` and `keys.json`: the column roles and the keys that the user declared.

use super::{
    ModelStore,
    envelope::{self, FORMAT},
};
use crate::{
    Result, SynthError,
    schema::{ColumnRole, ForeignKey, Key},
};
use object_store::{Error, ObjectStoreExt, PutMode, UpdateVersion};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;

const ROLES: &str = "columns.json";
const KEYS: &str = "keys.json";
/// What a folder of the store that is no model may be called.
pub(super) const FILES: [&str; 2] = [ROLES, KEYS];
/// Writers that may get in between, one after the other.
const ATTEMPTS: usize = 100;

/// Makes the writers of one process take turns: a local disk cannot compare before it swaps.
static WRITING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Declared roles, by table and column.
pub type DeclaredRoles = BTreeMap<String, BTreeMap<String, ColumnRole>>;

/// Declared keys, in the order of declaration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclaredKeys {
    /// Primary keys and unique keys.
    pub keys: Vec<Key>,
    /// Foreign keys.
    pub foreign_keys: Vec<ForeignKey>,
}

#[derive(Default, Serialize, Deserialize)]
struct Columns {
    format: u32,
    roles: DeclaredRoles,
}

#[derive(Default, Serialize, Deserialize)]
struct Keys {
    format: u32,
    #[serde(flatten)]
    declared: DeclaredKeys,
}

impl ModelStore {
    /// Every declared role.
    ///
    /// # Errors
    /// The store cannot be read; a damaged `columns.json`.
    pub async fn declared_roles(&self) -> Result<DeclaredRoles> {
        Ok(self.read_roles().await?.0)
    }

    /// The roles declared for columns of `table`, by column: what a training of it must obey.
    ///
    /// # Errors
    /// As [`ModelStore::declared_roles`].
    pub async fn roles_for(&self, table: &str) -> Result<BTreeMap<String, ColumnRole>> {
        Ok(self.declared_roles().await?.remove(table).unwrap_or_default())
    }

    /// Changes the declared roles, atomically: all of the change is seen, or nothing of it. `change` may be called again
    /// when another writer got in between. Returns what `change` returned.
    ///
    /// # Errors
    /// As [`ModelStore::declared_roles`]; the store cannot be written.
    pub async fn change_roles<T: Send>(&self, change: impl Fn(&mut DeclaredRoles) -> T + Send + Sync) -> Result<T> {
        self.change(ROLES, |columns: Columns| {
            let mut roles = columns.roles.clone();
            let returned = change(&mut roles);
            roles.retain(|_, columns| !columns.is_empty());
            let changed = (roles != columns.roles).then_some(Columns { format: FORMAT, roles });
            (changed, returned)
        })
        .await
    }

    async fn read_roles(&self) -> Result<(DeclaredRoles, Option<UpdateVersion>)> {
        let (Columns { roles, .. }, version) = self.document(ROLES).await?;
        Ok((roles, version))
    }

    /// Every declared key.
    ///
    /// # Errors
    /// The store cannot be read; a damaged `keys.json`.
    pub async fn declared_keys(&self) -> Result<DeclaredKeys> {
        let (Keys { declared, .. }, _) = self.document(KEYS).await?;
        Ok(declared)
    }

    /// Changes the declared keys, atomically, as [`ModelStore::change_roles`] changes roles. An error of `change` leaves
    /// them as they were.
    ///
    /// # Errors
    /// Those of `change`; as [`ModelStore::declared_keys`]; the store cannot be written.
    pub async fn change_keys<T: Send>(
        &self,
        change: impl Fn(&mut DeclaredKeys) -> Result<T> + Send + Sync,
    ) -> Result<T> {
        self.change(KEYS, |keys: Keys| {
            let mut declared = keys.declared.clone();
            let returned = change(&mut declared);
            let changed = returned.is_ok() && declared != keys.declared;
            (changed.then_some(Keys { format: FORMAT, declared }), returned)
        })
        .await?
    }

    /// Replaces the file `name` by what `change` makes of it, if it makes anything.
    async fn change<D, T>(&self, name: &'static str, change: impl Fn(D) -> (Option<D>, T) + Send + Sync) -> Result<T>
    where
        D: Default + Serialize + DeserializeOwned + Send,
        T: Send,
    {
        let path = self.location.path(&[name])?;
        let _turn = WRITING.lock().await;
        for _ in 0..ATTEMPTS {
            let (document, read) = self.document::<D>(name).await?;
            let (changed, returned) = change(document);
            let Some(changed) = changed else { return Ok(returned) };
            let sealed = bytes::Bytes::from(envelope::seal(&changed)?);
            let mode = read.map_or(PutMode::Create, PutMode::Update);
            let put = |mode: PutMode| self.location.objects.put_opts(&path, sealed.clone().into(), mode.into());
            let mut written = put(mode).await;
            if matches!(written, Err(Error::NotImplemented { .. } | Error::NotSupported { .. })) {
                written = put(PutMode::Overwrite).await;
            }
            match written {
                Ok(_) => return Ok(returned),
                Err(Error::Precondition { .. } | Error::AlreadyExists { .. }) => {}
                Err(error) => return Err(self.location.error(error)),
            }
        }
        Err(SynthError::Internal(format!("{} is changed all the time", self.location.show(&path))))
    }

    /// The file `name`, with what tells whether another writer replaces it; empty where there is none.
    async fn document<D: Default + DeserializeOwned>(&self, name: &'static str) -> Result<(D, Option<UpdateVersion>)> {
        let path = self.location.path(&[name])?;
        let read = match self.location.objects.get(&path).await {
            Err(Error::NotFound { .. }) => return Ok((D::default(), None)),
            read => read.map_err(|error| self.location.error(error))?,
        };
        let version = UpdateVersion { e_tag: read.meta.e_tag.clone(), version: read.meta.version.clone() };
        let bytes = read.bytes().await.map_err(|error| self.location.error(error))?;
        Ok((envelope::unseal(&self.location.show(&path), &bytes)?, Some(version)))
    }
}
