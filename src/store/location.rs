//! Where a store is: a folder or a URL.

use super::bridge::off_worker;
use crate::{Result, SynthError};
use object_store::{ObjectStore, ObjectStoreScheme, local::LocalFileSystem, memory::InMemory, path::Path};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    fs::File,
    path::PathBuf,
    sync::{Arc, LazyLock},
};
use url::{Position, Url};

/// Remote stores by scheme and host, so that connections and, for `memory:`, contents are shared by the process.
static REMOTE: LazyLock<Mutex<HashMap<String, Arc<dyn ObjectStore>>>> = LazyLock::new(Mutex::default);

/// An object store and the place in it.
#[derive(Debug)]
pub(super) struct Location {
    /// For messages and `synth.models`: the absolute path, or the URL.
    pub(super) shown: String,
    /// What tells it from every other location of this process.
    pub(super) identity: String,
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) root: Path,
    /// The folder, for a store on this machine's disk.
    pub(super) folder: Option<PathBuf>,
}

impl Location {
    /// Parses a path (absolute, relative to the working directory, or below `~/`) or a URL.
    pub(super) fn parse(given: &str) -> Result<Self> {
        let refused = |expected: String| SynthError::Argument {
            function: "model store".to_owned(),
            argument: "location".to_owned(),
            given: format!("'{given}'"),
            expected,
        };
        if given.trim().is_empty() {
            return Err(refused("the path of a folder, or a URL".to_owned()));
        }
        if !given.contains("://") {
            return Self::local(given, local_path(given).ok_or_else(|| refused(NO_HOME.to_owned()))?);
        }
        let url = Url::parse(given).map_err(|error| refused(format!("a URL ({error})")))?;
        let (scheme, root) = ObjectStoreScheme::parse(&url).map_err(|error| {
            refused(format!("a path, or a URL file://, memory://, s3://, gs:// or az:// ({error})"))
        })?;
        let feature = match scheme {
            ObjectStoreScheme::Local => {
                let path = url.to_file_path().map_err(|()| refused("an absolute path after file://".to_owned()))?;
                return Self::local(given, path);
            }
            ObjectStoreScheme::Memory => None,
            ObjectStoreScheme::AmazonS3 => (!cfg!(feature = "aws")).then_some("aws"),
            ObjectStoreScheme::GoogleCloudStorage => (!cfg!(feature = "gcp")).then_some("gcp"),
            ObjectStoreScheme::MicrosoftAzure => (!cfg!(feature = "azure")).then_some("azure"),
            _ => return Err(refused("a path, or a URL file://, memory://, s3://, gs:// or az://".to_owned())),
        };
        if let Some(feature) = feature {
            return Err(refused(format!(
                "a location this build can reach: {}:// needs a build with the cargo feature `{feature}`",
                url.scheme()
            )));
        }
        let objects =
            remote(&url, &scheme).map_err(|source| SynthError::Store { location: given.to_owned(), source })?;
        let shown = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self { identity: shown.clone(), shown, objects, root, folder: None })
    }

    fn local(given: &str, path: PathBuf) -> Result<Self> {
        let absolute = std::path::absolute(&path)
            .map_err(|source| SynthError::Io { context: format!("model store {given}"), source })?;
        let root = Path::from_absolute_path(&absolute)
            .map_err(|error| SynthError::Store { location: given.to_owned(), source: error.into() })?;
        let shown = absolute.display().to_string();
        let objects = Arc::new(LocalFileSystem::new());
        Ok(Self { identity: shown.clone(), shown, objects, root, folder: Some(absolute) })
    }

    /// A place in an object store of the caller's.
    pub(super) fn of(shown: &str, objects: Arc<dyn ObjectStore>, root: Path) -> Self {
        Self {
            shown: shown.to_owned(),
            identity: format!("{shown}#{}", uuid::Uuid::new_v4()),
            objects,
            root,
            folder: None,
        }
    }

    /// The path of a file of the store.
    pub(super) fn path(&self, parts: &[&str]) -> Result<Path> {
        let relative = parts.join("/");
        let whole = if self.root.is_root() { relative } else { format!("{}/{relative}", self.root) };
        // `Path::parse`, unlike `Path::join`, keeps letters beyond ASCII as they are.
        Path::parse(whole).map_err(|error| self.error(error.into()))
    }

    /// How messages name a file of the store.
    pub(super) fn show(&self, path: &Path) -> String {
        let parts: Vec<_> =
            path.prefix_match(&self.root).into_iter().flatten().map(|p| p.as_ref().to_owned()).collect();
        format!("{}/{}", self.shown.trim_end_matches('/'), parts.join("/"))
    }

    /// Waits until files of a local store, and their names, are on the disk: a commit must not survive a power cut that what
    /// it points at does not survive. Remote stores do this themselves.
    pub(super) async fn persist(&self, files: &[&Path]) -> Result<()> {
        if self.folder.is_none() {
            return Ok(());
        }
        let local = LocalFileSystem::new();
        let paths = files.iter().map(|file| local.path_to_filesystem(file)).collect::<Result<Vec<_>, _>>();
        let paths = paths.map_err(|error| self.error(error))?;
        off_worker(move || {
            for path in &paths {
                // Folders can be synchronised on Unix only; elsewhere the file system orders names after contents.
                let folder = path.parent().filter(|_| cfg!(unix));
                for path in [Some(path.as_path()), folder].into_iter().flatten() {
                    File::open(path).and_then(|file| file.sync_all()).map_err(|source| SynthError::Io {
                        context: format!("writing {} to the disk", path.display()),
                        source,
                    })?;
                }
            }
            Ok(())
        })
        .await
    }

    pub(super) fn error(&self, source: object_store::Error) -> SynthError {
        SynthError::Store { location: self.shown.clone(), source }
    }

    /// Removes a folder of a local store if nothing is in it any more but the remains of interrupted writes. The layout has
    /// no meaning for empty folders, so failure is harmless.
    pub(super) fn tidy(&self, parts: &[&str]) {
        let Some(folder) = &self.folder else { return };
        let folder = parts.iter().fold(folder.clone(), |path, part| path.join(part));
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            // The names under which `LocalFileSystem` stages uploads.
            let staged = name.to_str().and_then(|name| name.rsplit_once('#')).is_some_and(|(file, number)| {
                (file.ends_with(".json") || file.ends_with(".safetensors")) && number.parse::<u64>().is_ok()
            });
            if staged && let Err(error) = std::fs::remove_file(entry.path()) {
                log::debug!("cannot remove {}: {error}", entry.path().display());
            }
        }
        if let Err(error) = std::fs::remove_dir(&folder) {
            log::debug!("{} stays: {error}", folder.display());
        }
    }
}

/// What is expected where [`local_path`] has nothing to say.
pub(crate) const NO_HOME: &str = "a path without `~`: the home directory is not known";

/// The path that `text` names, below the home directory where it begins with `~/`; none where that is not known.
pub(crate) fn local_path(text: &str) -> Option<PathBuf> {
    match text.strip_prefix("~/") {
        None => Some(PathBuf::from(text)),
        Some(below) => std::env::home_dir().map(|home| home.join(below)),
    }
}

fn remote(url: &Url, scheme: &ObjectStoreScheme) -> object_store::Result<Arc<dyn ObjectStore>> {
    let mut known = REMOTE.lock();
    let key = url[..Position::BeforePath].to_owned();
    if let Some(store) = known.get(&key) {
        return Ok(Arc::clone(store));
    }
    let store: Arc<dyn ObjectStore> = match scheme {
        ObjectStoreScheme::Memory => Arc::new(InMemory::new()),
        // Credentials and endpoints come from the usual variables; the others do not parse as options of a store.
        _ => Arc::from(object_store::parse_url_opts(url, environment())?.0),
    };
    known.insert(key, Arc::clone(&store));
    Ok(store)
}

fn environment() -> impl Iterator<Item = (String, String)> {
    // Variables that are no Unicode cannot be credentials.
    std::env::vars_os().filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn relative_paths_home_and_file_urls_are_folders() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(Location::parse("./models").unwrap().folder, Some(here.join("models")));
        assert_eq!(Location::parse("file:///srv/some%20models").unwrap().folder, Some("/srv/some models".into()));
        let below_home = Location::parse("~/models").unwrap().folder.unwrap();
        assert_eq!(below_home, std::env::home_dir().unwrap().join("models"));
    }

    #[test]
    fn memory_is_shared_by_the_process() {
        let [a, b] = ["memory:///location-test/a", "memory:///location-test/b"].map(|at| Location::parse(at).unwrap());
        assert!(Arc::ptr_eq(&a.objects, &b.objects));
        assert_eq!(b.path(&["ärzte", "1"]).unwrap().as_ref(), "location-test/b/ärzte/1");
        assert_eq!(
            b.show(&b.path(&["m", "1", "manifest.json"]).unwrap()),
            "memory:///location-test/b/m/1/manifest.json"
        );
    }

    #[rstest]
    #[case("", "path of a folder")]
    #[case("ftp://host/x", "s3://")]
    #[case("https://host/x", "s3://")]
    #[case("s3://[/x", "a URL")]
    fn refused(#[case] given: &str, #[case] expected: &str) {
        let message = Location::parse(given).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }

    #[test]
    #[cfg(not(feature = "aws"))]
    fn a_scheme_left_out_of_the_build_names_the_feature() {
        let message = Location::parse("s3://bucket/models").unwrap_err().to_string();
        assert!(message.contains("cargo feature `aws`") && message.contains("s3://bucket/models"), "{message}");
    }
}
