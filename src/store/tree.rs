//! A local directory as a source. Keys are paths relative to the directory.

use std::fs::{self, DirEntry, File, Metadata, ReadDir};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use object_store::Error;

use crate::store::StoreError;
use crate::store::explain::describe;
use crate::store::lister::Entry;
use crate::store::open;

/// A substring that the name of every load balancer log contains.
const LOG: &str = "_elasticloadbalancing_";

/// Walks the files below a directory, following links.
pub(super) struct Walk {
    /// The open directories, from the top directory down to the current one.
    above: Vec<Level>,
    /// A result to report before the walk continues.
    waiting: Option<StoreError>,
}

struct Level {
    entries: ReadDir,
    path: PathBuf,
    /// Path relative to the top directory, with a trailing slash. `None` if it is not UTF-8.
    key: Option<String>,
    /// Identity of the directory, to detect links back to it.
    id: (u64, u64),
    /// Whether an entry was refused. This is reported only once.
    refused: bool,
}

impl Walk {
    pub(super) fn new(directory: &Path) -> Self {
        let mut walk = Self { above: Vec::new(), waiting: None };
        match fs::metadata(directory) {
            Ok(metadata) => walk.enter(directory.to_owned(), Some(String::new()), &metadata),
            Err(error) => walk.waiting = Some(unlisted(directory, &error)),
        }
        walk
    }

    fn enter(&mut self, path: PathBuf, key: Option<String>, metadata: &Metadata) {
        let id = (metadata.dev(), metadata.ino());
        // This is a link to a parent directory, which is already being listed.
        if self.above.iter().any(|level| level.id == id) {
            return;
        }
        match fs::read_dir(&path) {
            Ok(entries) => self.above.push(Level { entries, path, key, id, refused: false }),
            Err(error) => self.waiting = Some(unlisted(&path, &error)),
        }
    }

    /// Returns an entry of the current directory, or an error to report. Returns `None` if the entry is skipped.
    fn visit(&mut self, entry: &DirEntry) -> Option<Result<Entry, StoreError>> {
        let path = entry.path();
        let name = entry.file_name();
        let is_log = name.to_string_lossy().contains(LOG);
        let level = self.above.last_mut()?;
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            // The file was deleted in the meantime, so there is nothing to convert.
            Err(_) if fs::symlink_metadata(&path).is_err_and(|error| is_gone(&error)) => {
                return None;
            }
            Err(error) if is_gone(&error) => {
                return is_log
                    .then(|| Err(unread(&path, "is a link to a file that does not exist")));
            }
            Err(error) => {
                let is_first = !std::mem::replace(&mut level.refused, true);
                return is_first.then(|| Err(unlisted(&level.path, &error)));
            }
        };
        let key =
            level.key.as_ref().zip(name.to_str()).map(|(above, name)| format!("{above}{name}"));
        if metadata.is_dir() {
            self.enter(path, key.map(|key| key + "/"), &metadata);
            return None;
        }
        if !metadata.is_file() {
            return is_log.then(|| Err(unread(&path, "is not a regular file")));
        }
        match key {
            None if is_log => Some(Err(unread(&path, "its path is not UTF-8: rename it"))),
            key => Some(Ok(Entry {
                key: key.unwrap_or_else(|| path.to_string_lossy().into_owned()),
                size: metadata.len(),
                e_tag: Some(e_tag(&metadata)),
            })),
        }
    }
}

impl Iterator for Walk {
    type Item = Result<Entry, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(error) = self.waiting.take() {
                return Some(Err(error));
            }
            let level = self.above.last_mut()?;
            let found = match level.entries.next() {
                None => {
                    self.above.pop();
                    continue;
                }
                Some(Ok(entry)) => self.visit(&entry),
                Some(Err(error)) => {
                    let error = unlisted(&level.path, &error);
                    self.above.pop();
                    Some(Err(error))
                }
            };
            if found.is_some() {
                return found;
            }
        }
    }
}

/// Returns the path for a key, which may come from an untrusted list.
fn within(directory: &Path, key: &str) -> Result<PathBuf, Error> {
    let is_below = |part| matches!(part, Component::Normal(_));
    if Path::new(key).components().all(is_below) {
        return Ok(directory.join(key));
    }
    Err(Error::Generic { store: "file", source: "is not below the source".into() })
}

/// Returns the current metadata of a file.
pub(super) fn head(directory: &Path, key: &str) -> Result<Entry, Error> {
    let path = within(directory, key)?;
    let metadata = fs::metadata(&path).map_err(|error| refused(&path, error))?;
    if !metadata.is_file() {
        return Err(refused(&path, io::Error::other("is not a regular file")));
    }
    Ok(Entry { key: key.to_owned(), size: metadata.len(), e_tag: Some(e_tag(&metadata)) })
}

/// Opens a file, if it has not changed since it was listed.
pub(super) fn open(directory: &Path, key: &str, listed: Option<&str>) -> Result<File, Error> {
    let path = within(directory, key)?;
    let file = open::regular(&path).map_err(|error| refused(&path, error))?;
    let metadata = file.metadata().map_err(|error| refused(&path, error))?;
    match listed {
        Some(listed) if listed != e_tag(&metadata) => Err(Error::Precondition {
            path: path.display().to_string(),
            source: "its time or size changed".into(),
        }),
        _ => Ok(file),
    }
}

/// Result of removing a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Removed {
    /// The file was removed.
    Now,
    /// The file did not exist.
    Before,
    /// The file has changed, so it was not removed.
    Not,
}

/// Removes a file if it has not changed since it was listed.
pub(super) fn remove(
    directory: &Path,
    key: &str,
    listed: Option<&str>,
    size: u64,
) -> Result<Removed, Error> {
    let path = within(directory, key)?;
    let gone = |error: io::Error| {
        if is_gone(&error) { Ok(Removed::Before) } else { Err(refused(&path, error)) }
    };
    let metadata = match fs::symlink_metadata(&path) {
        Ok(metadata) => metadata,
        Err(error) => return gone(error),
    };
    if metadata.is_symlink() {
        // Removing the link would not remove the log itself.
        return Err(refused(
            &path,
            io::Error::other("is a symbolic link: delete the file to which it points instead"),
        ));
    }
    if !metadata.is_file() || metadata.len() != size || listed != Some(&e_tag(&metadata)) {
        return Ok(Removed::Not);
    }
    fs::remove_file(&path).map_or_else(gone, |()| Ok(Removed::Now))
}

/// Returns a file's ETag in the format that `object_store` uses: inode, modification time in microseconds, and size.
fn e_tag(metadata: &Metadata) -> String {
    let modified = metadata.modified().ok();
    let since = modified.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    let micros = since.unwrap_or_default().as_micros();
    format!("\"{:x}-{micros:x}-{:x}\"", metadata.ino(), metadata.len())
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

fn refused(path: &Path, error: io::Error) -> Error {
    let path = path.display().to_string();
    match error.kind() {
        io::ErrorKind::NotFound => Error::NotFound { path, source: error.into() },
        io::ErrorKind::PermissionDenied => Error::PermissionDenied { path, source: error.into() },
        io::ErrorKind::InvalidInput => Error::NotSupported { source: error.into() },
        _ => Error::Generic { store: "file", source: error.into() },
    }
}

fn unlisted(path: &Path, error: &io::Error) -> StoreError {
    let problem = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "permission denied: make it readable and searchable".to_owned()
        }
        _ => describe(error),
    };
    StoreError::Listing { name: path.display().to_string(), problem }
}

fn unread(path: &Path, problem: &str) -> StoreError {
    StoreError::Unreadable { name: path.display().to_string(), problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_leaves_the_source() {
        let directory = Path::new("/logs");
        for key in ["../a", "a/../../b", "/etc/passwd", "./a"] {
            assert!(within(directory, key).is_err(), "{key}");
        }
        assert_eq!(within(directory, "a/b\n").unwrap(), Path::new("/logs/a/b\n"));
    }

    #[test]
    fn only_the_listed_file_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let remove = |listed: &Entry| {
            remove(directory.path(), &listed.key, listed.e_tag.as_deref(), listed.size)
        };
        fs::write(at("log"), "text").unwrap();
        let listed = head(directory.path(), "log").unwrap();
        fs::write(at("other"), "TEXT").unwrap();
        fs::rename(at("other"), at("log")).unwrap();
        assert_eq!(remove(&listed).unwrap(), Removed::Not);
        assert_eq!(fs::read(at("log")).unwrap(), b"TEXT");
        std::os::unix::fs::symlink(at("log"), at("link")).unwrap();
        assert!(remove(&head(directory.path(), "link").unwrap()).is_err());
        assert!(at("link").exists() && at("log").exists());
        let listed = head(directory.path(), "log").unwrap();
        assert_eq!(remove(&listed).unwrap(), Removed::Now);
        assert_eq!(remove(&listed).unwrap(), Removed::Before);
        assert!(remove(&Entry { key: "../x".to_owned(), ..listed }).is_err());
    }
}
