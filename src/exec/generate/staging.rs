//! Local folders that are seen complete or not at all.

use crate::{Result, SynthError};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};
use uuid::Uuid;

/// How often, and after what time, the removal of an abandoned folder is tried again: files that were being opened when
/// the work was cancelled may come to lie in it.
const SWEEPS: u32 = 4;
const BETWEEN_SWEEPS: Duration = Duration::from_millis(100);

/// A hidden folder beside the one that it is to become. Dropped before it is published, it goes with its contents; a
/// process that is killed leaves it, and its name, which begins with a dot, says that it is no table.
#[derive(Debug)]
pub(super) struct Staging {
    folder: PathBuf,
    target: PathBuf,
    published: bool,
}

/// What is in the way of a folder that is to be written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// Nothing.
    None,
    /// Files such as those that are to be written.
    Table,
    /// This file, which is of another kind.
    Foreign(String),
}

impl Staging {
    /// A new folder beside `target`.
    pub(super) fn new(target: &Path) -> Result<Self> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let folder = target.with_file_name(format!(".{name}.{}", Uuid::new_v4().simple()));
        fs::create_dir_all(&folder).map_err(|source| failed("creating", &folder, source))?;
        Ok(Self { folder, target: target.to_owned(), published: false })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Puts the folder in its place; if it is to `replace` one, instead of what is there.
    pub(super) fn publish(mut self, replace: bool) -> Result<()> {
        persist(&self.folder)?;
        let mut old = self.folder.clone().into_os_string();
        old.push(".replaced");
        let old = PathBuf::from(old);
        // Removes an empty folder only. Whatever else has come to lie there stops the renaming.
        let vacant = match fs::remove_dir(&self.target) {
            Ok(()) => true,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        let replaced = replace && !vacant;
        if replaced {
            fs::rename(&self.target, &old).map_err(|source| failed("replacing", &self.target, source))?;
        }
        if let Err(source) = fs::rename(&self.folder, &self.target) {
            if replaced && let Err(error) = fs::rename(&old, &self.target) {
                log::error!("{} is now {}: {error}", self.target.display(), old.display());
            }
            return Err(failed("writing", &self.target, source));
        }
        self.published = true;
        if let Some(parent) = self.target.parent() {
            sync_folder(parent)?;
        }
        if replaced && let Err(error) = fs::remove_dir_all(&old) {
            log::warn!("{} stays: {error}", old.display());
        }
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.published {
            return;
        }
        let folder = self.folder.clone();
        remove(&folder);
        let sweep = move || {
            for _ in 0..SWEEPS {
                thread::sleep(BETWEEN_SWEEPS);
                remove(&folder);
            }
        };
        if let Err(error) = thread::Builder::new().name("synth-sweep".to_owned()).spawn(sweep) {
            log::warn!("{} may stay: {error}", self.folder.display());
        }
    }
}

fn remove(folder: &Path) {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            log::debug!("{} stays: {error}", folder.display());
        }
        _ => {}
    }
}

/// What is in `folder`, where files of these extensions are to lie.
pub(super) fn obstacle(folder: &Path, extensions: &[&str]) -> Result<Obstacle> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Obstacle::None),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Ok(Obstacle::Foreign("a file".to_owned()));
        }
        Err(source) => return Err(failed("reading", folder, source)),
    };
    let mut found = Obstacle::None;
    for entry in entries {
        let entry = entry.map_err(|source| failed("reading", folder, source))?;
        let is_file = entry.file_type().map_err(|source| failed("reading", &entry.path(), source))?.is_file();
        let known = entry.path().extension().is_some_and(|found| extensions.iter().any(|known| found == *known));
        if !(is_file && known) {
            return Ok(Obstacle::Foreign(format!("`{}`", entry.file_name().to_string_lossy())));
        }
        found = Obstacle::Table;
    }
    Ok(found)
}

/// Waits until the files below `folder`, and their names, are on the disk: a folder's new name must not survive a power
/// cut that its contents do not survive.
fn persist(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(|source| failed("reading", folder, source))? {
        let path = entry.map_err(|source| failed("reading", folder, source))?.path();
        if path.is_dir() {
            persist(&path)?;
        } else {
            let synced = File::open(&path).and_then(|file| file.sync_all());
            synced.map_err(|source| failed("writing", &path, source))?;
        }
    }
    sync_folder(folder)
}

/// Folders can be synchronised on Unix only; elsewhere the file system orders names after contents.
fn sync_folder(folder: &Path) -> Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    File::open(folder).and_then(|file| file.sync_all()).map_err(|source| failed("writing", folder, source))
}

fn failed(doing: &str, path: &Path, source: io::Error) -> SynthError {
    SynthError::Io { context: format!("{doing} {}", path.display()), source }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_replaced_as_a_whole_and_an_abandoned_one_goes() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("t");
        for text in ["one", "two"] {
            let staging = Staging::new(&target).unwrap();
            fs::write(staging.folder().join("part.csv"), text).unwrap();
            staging.publish(text == "two").unwrap();
            assert_eq!(fs::read_to_string(target.join("part.csv")).unwrap(), text);
        }
        let staging = Staging::new(&target).unwrap();
        fs::write(staging.folder().join("part.csv"), "three").unwrap();
        staging.publish(false).unwrap_err();
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(target.join("part.csv")).unwrap(), "two");
    }

    #[test]
    fn what_is_in_the_way() {
        let home = tempfile::tempdir().unwrap();
        let of = |name: &str| obstacle(&home.path().join(name), &["csv"]).unwrap();
        assert_eq!(of("nothing"), Obstacle::None);
        fs::create_dir(home.path().join("t")).unwrap();
        assert_eq!(of("t"), Obstacle::None);
        fs::write(home.path().join("t/a.csv"), "").unwrap();
        assert_eq!((of("t"), of("t/a.csv")), (Obstacle::Table, Obstacle::Foreign("a file".to_owned())));
        fs::write(home.path().join("t/notes.txt"), "").unwrap();
        assert_eq!(of("t"), Obstacle::Foreign("`notes.txt`".to_owned()));
    }
}
