//! `columns.json`: the column roles that the user declared.

use super::{
    ModelStore,
    envelope::{self, FORMAT},
};
use crate::{Result, SynthError, schema::ColumnRole};
use object_store::{Error, ObjectStoreExt, PutMode, UpdateVersion};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub(super) const FILE: &str = "columns.json";
/// Writers that may get in between, one after the other.
const ATTEMPTS: usize = 100;

/// Makes the writers of one process take turns: a local disk cannot compare before it swaps.
static WRITING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Declared roles, by table and column.
pub type DeclaredRoles = BTreeMap<String, BTreeMap<String, ColumnRole>>;

#[derive(Serialize, Deserialize)]
struct Columns {
    format: u32,
    roles: DeclaredRoles,
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
        let path = self.location.path(&[FILE])?;
        let _turn = WRITING.lock().await;
        for _ in 0..ATTEMPTS {
            let (mut roles, read) = self.read_roles().await?;
            let before = roles.clone();
            let returned = change(&mut roles);
            roles.retain(|_, columns| !columns.is_empty());
            if roles == before {
                return Ok(returned);
            }
            let sealed = bytes::Bytes::from(envelope::seal(&Columns { format: FORMAT, roles })?);
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

    async fn read_roles(&self) -> Result<(DeclaredRoles, Option<UpdateVersion>)> {
        let path = self.location.path(&[FILE])?;
        let read = match self.location.objects.get(&path).await {
            Err(Error::NotFound { .. }) => return Ok((DeclaredRoles::new(), None)),
            read => read.map_err(|error| self.location.error(error))?,
        };
        let version = UpdateVersion { e_tag: read.meta.e_tag.clone(), version: read.meta.version.clone() };
        let bytes = read.bytes().await.map_err(|error| self.location.error(error))?;
        let Columns { roles, .. } = envelope::unseal(&self.location.show(&path), &bytes)?;
        Ok((roles, Some(version)))
    }
}
