//! Stores: sources that objects are listed in and read from, and targets that keep a dataset. The
//! only module that knows async.
//!
//! Sources go through the `object_store` crate. For a local directory its futures are ready at
//! once when no runtime is around, so that a worker may simply wait for them.

mod bucket;
mod disk;
mod target;

use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use futures::executor::{block_on, block_on_stream};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetOptions, GetResultPayload, ObjectStore};

use crate::key;

pub use crate::store::bucket::Bucket;
pub use crate::store::disk::Disk;
pub use crate::store::target::{
    Completed, Created, Leftover, Owner, Patience, Stage, Staged, StagedFile, Stored, Target,
    TargetError, Writing, create_surely,
};

/// A place that objects are listed in and read from.
#[derive(Debug, Clone)]
pub struct Source {
    store: Arc<dyn ObjectStore>,
    /// The source as the user named it.
    name: String,
    /// What its keys begin with although its listing does not show it.
    key_prefix: String,
    /// URL of the source, without a slash at its end.
    url: String,
}

/// An object as a listing shows it.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Its key as far as it is known, from the source or `AWSLogs` on.
    pub key: String,
    /// Compressed size in bytes.
    pub size: u64,
    /// What changes whenever the object does, and stays the same otherwise.
    pub e_tag: Option<String>,
    path: Path,
    /// What the store says must not have changed when the object is read.
    condition: Option<String>,
}

/// A source or one of its objects cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The source is a URL of a kind that this version cannot read.
    #[error("SOURCE {0}: only local directories can be read by this version")]
    Unsupported(String),
    /// The source is not there, or is not a directory.
    #[error("SOURCE {name} cannot be opened")]
    Open {
        /// The source as the user named it.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// Something else.
    #[error("{}", plainly(.0))]
    Store(#[from] object_store::Error),
    /// The object's content cannot be read.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
}

/// Says in a few words what `object_store` says in many.
fn plainly(error: &object_store::Error) -> String {
    match error {
        object_store::Error::NotFound { .. } => "is gone since it was listed".to_owned(),
        object_store::Error::Precondition { .. } => "was rewritten since it was listed".to_owned(),
        object_store::Error::PermissionDenied { .. } => "permission denied".to_owned(),
        other => other.to_string(),
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Source {
    /// Opens a source: a directory at, above or below `AWSLogs`.
    ///
    /// # Errors
    ///
    /// Fails when there is no such directory.
    pub fn open(name: &str) -> Result<Self, StoreError> {
        let open = |source| StoreError::Open { name: name.to_owned(), source };
        let directory = local_path(name).ok_or_else(|| StoreError::Unsupported(name.to_owned()))?;
        let directory = directory.canonicalize().map_err(open)?;
        if !directory.is_dir() {
            return Err(open(io::ErrorKind::NotADirectory.into()));
        }
        let store = LocalFileSystem::new_with_prefix(&directory)?;
        let key_prefix = directory.to_str().and_then(key::from_root).unwrap_or_default().to_owned();
        let url = format!("file://{}", directory.display());
        Ok(Self { store: Arc::new(store), name: name.to_owned(), key_prefix, url })
    }

    /// Returns the source that is all of a store, named by a URL.
    pub fn over(store: Arc<dyn ObjectStore>, url: &str) -> Self {
        let (name, url) = (url.to_owned(), url.trim_end_matches('/').to_owned());
        Self { store, name, key_prefix: String::new(), url }
    }

    /// Returns the URL of an object.
    pub fn url(&self, object: &Listed) -> String {
        format!("{}/{}", self.url, object.path)
    }

    /// Lists all objects; what cannot be listed is an error among them.
    pub fn list(&self) -> impl Iterator<Item = Result<Listed, StoreError>> {
        block_on_stream(self.store.list(None)).map(|meta| {
            let meta = meta?;
            let path = meta.location;
            let key = match self.key_prefix.as_str() {
                "" => path.to_string(),
                prefix => format!("{prefix}/{path}"),
            };
            let (size, condition) = (meta.size, meta.e_tag);
            let e_tag = condition.as_deref().map(|e_tag| self.lasting(e_tag));
            Ok(Listed { key, size, e_tag, path, condition })
        })
    }

    /// Returns what of an ETag still says the same when the source is opened again.
    ///
    /// That of a local file begins with its inode, which a mounted bucket gives out anew each time.
    fn lasting(&self, e_tag: &str) -> String {
        match e_tag.split_once('-') {
            Some((_, time_and_size)) if self.url.starts_with("file:") => {
                time_and_size.trim_matches('"').to_owned()
            }
            _ => e_tag.to_owned(),
        }
    }

    /// Reads an object whole into `out`, which is emptied first.
    ///
    /// # Errors
    ///
    /// Fails when the object is gone, was rewritten since it was listed, or cannot be read.
    pub fn read(&self, object: &Listed, out: &mut Vec<u8>) -> Result<(), StoreError> {
        out.clear();
        self.reader(object)?.read_to_end(out)?;
        Ok(())
    }

    /// Opens an object for reading.
    ///
    /// # Errors
    ///
    /// Fails when the object is gone, was rewritten since it was listed, or cannot be opened.
    pub fn reader(&self, object: &Listed) -> Result<Box<dyn Read + Send>, StoreError> {
        let options = GetOptions { if_match: object.condition.clone(), ..GetOptions::default() };
        let result = block_on(self.store.get_opts(&object.path, options))?;
        Ok(match result.payload {
            GetResultPayload::File(file, _) => Box::new(file),
            GetResultPayload::Stream(_) => Box::new(io::Cursor::new(block_on(result.bytes())?)),
        })
    }
}

/// Returns the local path that a plain path or a `file://` URL names.
pub fn local_path(name: &str) -> Option<PathBuf> {
    match name.split_once("://") {
        None => Some(PathBuf::from(name)),
        Some(("file", path)) => Some(PathBuf::from(path)),
        Some(_) => None,
    }
}
