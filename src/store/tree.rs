//! A local directory as a source. Keys are paths relative to the directory.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use object_store::Error;

use crate::store::StoreError;
use crate::store::explain::describe;
use crate::store::lister::{Entry, RankOf};
use crate::store::listing_page::MAX_SIZE;
use crate::store::open;

/// A substring that the name of every load balancer log contains.
const LOG: &str = "_elasticloadbalancing_";

/// Walks the files below a directory, following links, in the order of the directories' ranks.
pub(super) struct Walk {
    /// Prefix of all keys.
    key_prefix: String,
    rank_of: RankOf,
    /// The directories that have not been read yet.
    waiting: BTreeSet<Level>,
    /// Visits to report before the next directory is read.
    visits: VecDeque<Visit>,
    /// The last rank that was reported.
    reached: Option<String>,
}

/// A step of a walk.
#[derive(Debug)]
pub(super) enum Visit {
    /// A file.
    Found(Entry),
    /// A file or directory that cannot be listed.
    Failed(StoreError),
    /// No directory that is still to be read has a lower rank.
    Reached(String),
}

/// A directory to read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Level {
    rank: Option<String>,
    path: PathBuf,
    /// Path relative to the top directory, with a trailing slash. `None` if it is not UTF-8.
    key: Option<String>,
    /// Identities of the directory and its parents, to detect links back to them.
    ids: Vec<(u64, u64)>,
}

impl Walk {
    /// Starts a walk. `key_prefix` is the part of the keys above the directory.
    pub(super) fn new(directory: &Path, key_prefix: &str, rank_of: RankOf) -> Self {
        let (waiting, visits) = (BTreeSet::new(), VecDeque::new());
        let key_prefix = key_prefix.to_owned();
        let mut walk = Self { key_prefix, rank_of, waiting, visits, reached: None };
        match fs::metadata(directory) {
            Ok(metadata) => walk.add(directory.to_owned(), Some(String::new()), &metadata, &[]),
            Err(error) => walk.fail(unlisted(directory, &error)),
        }
        walk
    }

    fn add(
        &mut self,
        path: PathBuf,
        key: Option<String>,
        metadata: &Metadata,
        above: &[(u64, u64)],
    ) {
        let id = (metadata.dev(), metadata.ino());
        // This is a link to a parent directory, which is already being listed.
        if above.contains(&id) {
            return;
        }
        let full = key.as_ref().map(|key| format!("{}{key}", self.key_prefix));
        let rank = full.and_then(|full| (self.rank_of)(&full, &full));
        let ids = [above, &[id]].concat();
        self.waiting.insert(Level { rank, path, key, ids });
    }

    fn fail(&mut self, error: StoreError) {
        self.visits.push_back(Visit::Failed(error));
    }

    /// Reads a directory. Its files are visited in the order of their names.
    fn read(&mut self, level: &Level) {
        let entries = match fs::read_dir(&level.path) {
            Ok(entries) => entries,
            Err(error) => return self.fail(unlisted(&level.path, &error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            match entry {
                Ok(entry) => names.push(entry.file_name()),
                Err(error) => {
                    self.fail(unlisted(&level.path, &error));
                    break;
                }
            }
        }
        names.sort_unstable();
        let mut refused = false;
        for name in names {
            self.visit(level, &name, &mut refused);
        }
    }

    /// Visits an entry of a directory. `refused` records whether an entry was refused, which is reported only once.
    fn visit(&mut self, level: &Level, name: &OsStr, refused: &mut bool) {
        let path = level.path.join(name);
        let is_log = name.to_string_lossy().contains(LOG);
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            // The file was deleted in the meantime, so there is nothing to convert.
            Err(_) if fs::symlink_metadata(&path).is_err_and(|error| is_gone(&error)) => return,
            Err(error) if is_gone(&error) => {
                if is_log {
                    self.fail(unread(&path, "is a link to a file that does not exist"));
                }
                return;
            }
            Err(error) => {
                if !std::mem::replace(refused, true) {
                    self.fail(unlisted(&level.path, &error));
                }
                return;
            }
        };
        let key =
            level.key.as_ref().zip(name.to_str()).map(|(above, name)| format!("{above}{name}"));
        if metadata.is_dir() {
            return self.add(path, key.map(|key| key + "/"), &metadata, &level.ids);
        }
        if !metadata.is_file() {
            if is_log {
                self.fail(unread(&path, "is not a regular file"));
            }
            return;
        }
        if metadata.len() >= MAX_SIZE {
            if is_log {
                self.fail(unread(&path, "is too large"));
            }
            return;
        }
        if key.is_none() && is_log {
            return self.fail(unread(&path, "its path is not UTF-8: rename it"));
        }
        self.visits.push_back(Visit::Found(Entry {
            key: key.unwrap_or_else(|| path.to_string_lossy().into_owned()),
            size: metadata.len(),
            e_tag: Some(e_tag(&metadata)),
        }));
    }
}

impl Iterator for Walk {
    type Item = Visit;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(visit) = self.visits.pop_front() {
                return Some(visit);
            }
            let rank = self.waiting.first()?.rank.clone();
            if rank > self.reached {
                self.reached.clone_from(&rank);
                return rank.map(Visit::Reached);
            }
            let level = self.waiting.pop_first()?;
            self.read(&level);
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
