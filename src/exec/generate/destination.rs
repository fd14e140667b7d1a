//! Where tables go.

use super::FUNCTION;
use crate::{
    Result, SynthError,
    store::{NO_HOME, local_path},
};
use std::{
    fmt,
    path::{Path, PathBuf},
};
use url::Url;

/// A folder of this machine, or the URL of a place in an object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A folder, absolute.
    Local(PathBuf),
    /// A URL that ends in `/`.
    Remote(Url),
}

impl Destination {
    /// Reads a path (relative to the working directory, or below `~/`) or a URL; touches nothing.
    ///
    /// # Errors
    /// Neither.
    pub fn parse(text: &str) -> Result<Self> {
        let refused = |expected: String| SynthError::Argument {
            function: FUNCTION.to_owned(),
            argument: "to".to_owned(),
            given: format!("'{text}'"),
            expected,
        };
        if text.trim().is_empty() {
            return Err(refused("the path of a folder, or a URL".to_owned()));
        }
        if !text.contains("://") {
            let path = local_path(text).ok_or_else(|| refused(NO_HOME.to_owned()))?;
            let absolute = std::path::absolute(path).map_err(|error| refused(format!("a path ({error})")))?;
            return Ok(Self::Local(absolute));
        }
        let mut url = Url::parse(text).map_err(|error| refused(format!("a URL ({error})")))?;
        if url.scheme() == "file" {
            let path = url.to_file_path().map_err(|()| refused("an absolute path after file://".to_owned()))?;
            return Ok(Self::Local(path));
        }
        if url.cannot_be_a_base() || url.query().is_some() || url.fragment().is_some() {
            return Err(refused("a URL of a folder, without ? and #".to_owned()));
        }
        if !url.path().ends_with('/') {
            let folder = format!("{}/", url.path());
            url.set_path(&folder);
        }
        Ok(Self::Remote(url))
    }

    /// The place of `name` in it.
    pub(super) fn of_table(&self, name: &str) -> Self {
        match self {
            Self::Local(path) => Self::Local(path.join(name)),
            Self::Remote(url) => {
                let mut url = url.clone();
                if let Ok(mut segments) = url.path_segments_mut() {
                    segments.pop_if_empty().push(name).push("");
                }
                Self::Remote(url)
            }
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => write!(f, "{}", path.display()),
            Self::Remote(url) => write!(f, "{url}"),
        }
    }
}

/// The URL of a folder.
pub(super) fn folder_url(folder: &Path) -> Result<Url> {
    Url::from_directory_path(folder)
        .map_err(|()| SynthError::Internal(format!("{} is no absolute path", folder.display())))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn folders_and_urls() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(Destination::parse("a/b").unwrap(), Destination::Local(here.join("a/b")));
        assert_eq!(Destination::parse("file:///a%20b").unwrap(), Destination::Local("/a b".into()));
        let remote = Destination::parse("s3://bucket/x").unwrap();
        assert_eq!(remote.of_table("Odd Table").to_string(), "s3://bucket/x/Odd%20Table/");
        assert_eq!(Destination::parse("memory:///").unwrap().of_table("t").to_string(), "memory:///t/");
    }

    #[rstest]
    #[case("", "path of a folder")]
    #[case("s3://[/x", "a URL")]
    #[case("s3://bucket/x?y", "without ?")]
    fn refused(#[case] given: &str, #[case] expected: &str) {
        let message = Destination::parse(given).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}
