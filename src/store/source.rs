//! Sources: where objects are listed and read.
//!
//! Sources go through the `object_store` crate. For a local directory its futures are ready at
//! once when no runtime is around, so that a worker may simply wait for them. Requests to a remote store run on a
//! runtime of their own, and can be begun long before anybody waits for them.

use std::collections::HashSet;
use std::fmt;
use std::io::{self, Read};
use std::iter;
use std::path::Path as LocalPath;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use chrono::DateTime;
use futures::StreamExt;
use futures::stream::{self, BoxStream, FuturesUnordered};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    Error, GetOptions, GetRange, GetResultPayload, ObjectMeta, ObjectStore, ObjectStoreExt,
};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::key;
use crate::store::StoreError;
use crate::store::calls::Calls;
use crate::store::client::{Client, io_error};
use crate::store::network::{Network, Requests, renewing};
use crate::store::open;
use crate::store::place::{Place, Prefix};

/// Objects of a source that are read at the same moment, at most.
const MAX_READS: usize = 64;
/// Large objects are read in pieces of this size, the next while one is used.
const RANGE: u64 = 8 << 20;

/// Directories that are listed at the same moment, at most.
const MAX_LISTINGS: usize = 16;
/// Objects that are listed ahead of who takes them, at most.
const MAX_FOUND: usize = 4096;

/// What a directory is worth to a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Nothing below it is wanted.
    Skip,
    /// All below it is wanted, or it is not known what is.
    Whole,
    /// Its own objects are wanted, and some of the directories below it.
    Inside,
}

/// A place that objects are listed in and read from.
#[derive(Debug, Clone)]
pub struct Source {
    store: Arc<dyn ObjectStore>,
    /// The source as the user named it.
    name: String,
    /// Name of the bucket.
    bucket: Option<String>,
    /// Prefix of the paths that are listed.
    prefix: Option<Path>,
    /// What its keys begin with although its listing does not show it.
    key_prefix: String,
    /// What makes the URL of an object of its path, without a slash at its end.
    url: String,
    requests: Requests,
    reads: Arc<Semaphore>,
}

/// An object as a listing shows it. Millions are held at once, so that it shares what it can.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Compressed size in bytes.
    pub size: u64,
    /// Its key up to the last slash, without it.
    directory: Arc<str>,
    /// The rest of its key, then its ETag.
    text: Box<str>,
    name_len: u32,
    is_local: bool,
}

impl Listed {
    /// Returns its key as far as it is known, from the source or `AWSLogs` on.
    pub fn key(&self) -> String {
        match &*self.directory {
            "" => self.name().to_owned(),
            directory => format!("{directory}/{}", self.name()),
        }
    }

    /// Returns what stands behind the last slash of its key.
    pub fn name(&self) -> &str {
        &self.text[..self.name_len as usize]
    }

    /// Returns what the store says must not have changed when the object is read.
    fn condition(&self) -> Option<&str> {
        let e_tag = &self.text[self.name_len as usize..];
        (!e_tag.is_empty()).then_some(e_tag)
    }

    /// Returns what changes whenever the object does, and stays the same otherwise.
    ///
    /// The ETag of a local file begins with its inode, which a mounted bucket gives out anew each time.
    pub fn e_tag(&self) -> Option<&str> {
        let e_tag = self.condition()?;
        match e_tag.split_once('-') {
            Some((_, time_and_size)) if self.is_local => Some(time_and_size.trim_matches('"')),
            _ => Some(e_tag),
        }
    }
}

/// An object that somebody names.
#[derive(Debug, Clone)]
pub struct Named {
    /// Its key in its bucket, or its path below a local source.
    pub key: String,
    /// Compressed size in bytes, if it is known.
    pub size: Option<u64>,
    /// What the store says changes whenever the object does, if it is known.
    pub e_tag: Option<String>,
    /// Whether it must be restored before it can be read, if that is known.
    pub archived: Option<bool>,
}

/// The directories of a listing, each held once.
#[derive(Default)]
struct Directories(HashSet<Arc<str>>);

impl Directories {
    fn share(&mut self, directory: &str) -> Arc<str> {
        if let Some(known) = self.0.get(directory) {
            return Arc::clone(known);
        }
        let directory: Arc<str> = directory.into();
        self.0.insert(Arc::clone(&directory));
        directory
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Source {
    /// Opens a source: a directory or a prefix of a bucket, at, above or below `AWSLogs`.
    ///
    /// # Errors
    ///
    /// Fails when there is no such directory, or the bucket cannot be listed.
    pub fn open(name: &str, network: &Network) -> Result<Self, StoreError> {
        match Place::parse(name)? {
            Place::Bucket(prefix) => {
                let source = Self::connect(name, prefix, network)?;
                // Missing permissions, credentials and buckets are better known before any work.
                let mut listing = source.store.list(source.prefix.as_ref());
                match source.requests.wait(listing.next()) {
                    Some(Err(error)) => Err(StoreError::Reach { name: name.to_owned(), error }),
                    _ => Ok(source),
                }
            }
            Place::Local(directory) => {
                let open = |source| StoreError::Open { name: name.to_owned(), source };
                let directory = directory.canonicalize().map_err(open)?;
                if !directory.is_dir() {
                    return Err(open(io::ErrorKind::NotADirectory.into()));
                }
                let store = Arc::new(LocalFileSystem::new_with_prefix(&directory)?);
                let key_prefix = directory.to_str().and_then(key::from_root).unwrap_or_default();
                let url = format!("file://{}", directory.display());
                let (name, key_prefix) = (name.to_owned(), key_prefix.to_owned());
                Ok(Self { name, key_prefix, ..Self::over(store, &url) })
            }
        }
    }

    /// Returns the source that is a prefix of a bucket, without asking whether it can be listed.
    fn connect(name: &str, prefix: Prefix, network: &Network) -> Result<Self, StoreError> {
        let client = Client::connect(&prefix, network)?;
        Ok(Self {
            requests: client.requests,
            bucket: Some(prefix.name().to_owned()),
            prefix: (!prefix.path.as_ref().is_empty()).then_some(prefix.path),
            name: name.to_owned(),
            ..Self::over(client.store, &prefix.bucket)
        })
    }

    /// Returns the source that is all of a store, named by a URL.
    pub fn over(store: Arc<dyn ObjectStore>, url: &str) -> Self {
        Self {
            store,
            name: url.to_owned(),
            bucket: None,
            prefix: None,
            key_prefix: String::new(),
            url: url.trim_end_matches('/').to_owned(),
            requests: Requests::default(),
            reads: Arc::new(Semaphore::new(MAX_READS)),
        }
    }

    /// Returns the URL of an object.
    pub fn url(&self, object: &Listed) -> String {
        format!("{}/{}", self.url, self.path(object))
    }

    /// Returns the URL by which the source can be opened from anywhere that reaches it.
    pub fn address(&self) -> String {
        match &self.prefix {
            Some(prefix) => format!("{}/{prefix}", self.url),
            None => self.url.clone(),
        }
    }

    /// Tells whether it takes requests to reach it.
    pub fn is_remote(&self) -> bool {
        self.requests.is_remote()
    }

    /// Returns the requests that it takes to read an object of so many bytes: one, or, if it is streamed, one for
    /// each piece.
    pub fn calls_to_read(&self, size: u64, streamed: bool) -> Calls {
        let pieces = if streamed { size.div_ceil(RANGE) } else { 1 };
        let get = if self.is_remote() { pieces } else { 0 };
        Calls { get, ..Calls::default() }
    }

    /// Returns the path of an object in the store.
    fn path(&self, object: &Listed) -> Path {
        let key = object.key();
        let below = key.strip_prefix(&self.key_prefix).unwrap_or(&key);
        // Such a path was listed.
        Path::parse(below).unwrap_or_else(|_| Path::from(below))
    }

    /// Lists all objects; what cannot be listed is an error among them.
    pub fn list(&self) -> impl Iterator<Item = Result<Listed, StoreError>> {
        let listing = self.store.list(self.prefix.as_ref());
        let listing = Waiting { stream: listing, requests: self.requests.clone() };
        let mut directories = Directories::default();
        listing.map(move |meta| Ok(self.listed(&meta?, &mut directories)))
    }

    fn listed(&self, meta: &ObjectMeta, directories: &mut Directories) -> Listed {
        let path = meta.location.as_ref();
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        let directory = match (self.key_prefix.as_str(), directory) {
            ("", below) => directories.share(below),
            (prefix, "") => directories.share(prefix),
            (prefix, below) => directories.share(&format!("{prefix}/{below}")),
        };
        let text = [name, meta.e_tag.as_deref().unwrap_or_default()].concat().into();
        let (name_len, is_local) = (name.len() as u32, self.url.starts_with("file:"));
        Listed { size: meta.size, directory, text, name_len, is_local }
    }

    /// Lists the objects of directories that are worth it. Those of a remote store are listed side by side,
    /// and what `look` skips is not asked for; a local directory is listed whole.
    pub fn search(
        &self,
        look: impl Fn(&str) -> Look + Send + Sync + 'static,
    ) -> Box<dyn Iterator<Item = Result<Listed, StoreError>> + '_> {
        let Some(runtime) = self.requests.runtime() else { return Box::new(self.list()) };
        let (found, mut listing) = mpsc::channel(MAX_FOUND);
        let (store, prefix) = (Arc::clone(&self.store), self.prefix.clone());
        runtime.spawn(async move { search(&*store, prefix, &look, &found).await });
        let next = move || listing.blocking_recv();
        let mut directories = Directories::default();
        Box::new(iter::from_fn(next).map(move |found| match found {
            Ok(meta) => Ok(self.listed(&meta, &mut directories)),
            Err((directory, error)) => {
                let name = format!("{}/{}", self.url, directory.unwrap_or_default());
                Err(StoreError::Reach { name, error })
            }
        }))
    }

    /// Returns the bucket's name; `None` when the source is local.
    pub fn bucket(&self) -> Option<&str> {
        self.bucket.as_deref()
    }

    /// Looks for objects by their names, side by side. Those of a remote store of which size and ETag are known are
    /// taken for granted.
    pub fn find(&self, names: Vec<Named>) -> Vec<Result<Listed, StoreError>> {
        let look = |named: Named| async move {
            let below = named.key.strip_prefix(&self.key_prefix).unwrap_or(&named.key);
            let location = Path::parse(below).map_err(Error::from);
            let meta = match (location, named.size, named.e_tag) {
                (Ok(location), Some(size), e_tag @ Some(_)) if self.requests.is_remote() => {
                    let last_modified = DateTime::UNIX_EPOCH;
                    Ok(ObjectMeta { location, last_modified, size, e_tag, version: None })
                }
                (Ok(location), ..) => renewing(|| self.store.head(&location)).await,
                (Err(error), ..) => Err(error),
            };
            let name = format!("{}/{}", self.url, named.key);
            meta.map_err(|error| StoreError::Find { name, error })
        };
        let found = stream::iter(names).map(look).buffered(MAX_READS).collect::<Vec<_>>();
        let mut directories = Directories::default();
        let found = self.requests.wait(found).into_iter();
        found.map(|meta| Ok(self.listed(&meta?, &mut directories))).collect()
    }

    /// Tells whether a key lies below the source.
    pub fn holds(&self, key: &str) -> bool {
        self.prefix.as_ref().is_none_or(|prefix| {
            let below = key.strip_prefix(prefix.as_ref());
            below.is_some_and(|rest| rest.starts_with('/'))
        })
    }

    /// Opens the one object that a URL names. Its bucket need not be listed.
    ///
    /// # Errors
    ///
    /// Fails when it is not there, or cannot be reached.
    pub fn read_one(url: &str, network: &Network) -> Result<Box<dyn Read + Send>, StoreError> {
        let (above, name) = url.rsplit_once('/').unwrap_or((url, ""));
        let source = match Place::parse(above)? {
            Place::Bucket(prefix) => Self::connect(above, prefix, network)?,
            Place::Local(_) => Self::open(above, network)?,
        };
        let key = match &source.prefix {
            Some(prefix) => format!("{prefix}/{name}"),
            None => name.to_owned(),
        };
        let found = source.find(vec![Named { key, size: None, e_tag: None, archived: None }]);
        source.reader(&found.into_iter().next().expect("one was looked for")?)
    }

    /// Begins to read an object that is wanted soon. What is read locally is read when it is wanted.
    pub fn begin(&self, object: &Listed) -> Fetch {
        let Some(runtime) = self.requests.runtime() else { return Fetch(None) };
        let (store, reads) = (Arc::clone(&self.store), Arc::clone(&self.reads));
        let (path, options) = (self.path(object), conditional(object));
        Fetch(Some(runtime.spawn(async move {
            let _one = reads.acquire().await;
            read(&*store, &path, &options).await
        })))
    }

    /// Reads an object whole into `out`, which is emptied first.
    ///
    /// # Errors
    ///
    /// Fails when the object is gone, was rewritten since it was listed, or cannot be read.
    pub fn read(&self, object: &Listed, out: &mut Vec<u8>) -> Result<(), StoreError> {
        self.finish(object, self.begin(object), out)
    }

    /// Reads an object whole that was begun.
    ///
    /// # Errors
    ///
    /// Fails like [`Self::read`].
    pub fn finish(
        &self,
        object: &Listed,
        mut fetch: Fetch,
        out: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        out.clear();
        match &mut fetch.0 {
            None => {
                self.reader(object)?.read_to_end(out)?;
            }
            Some(fetched) => {
                out.extend_from_slice(&self.requests.wait(fetched).map_err(Error::from)??);
            }
        }
        Ok(())
    }

    /// Opens an object for reading.
    ///
    /// # Errors
    ///
    /// Fails when the object is gone, was rewritten since it was listed, or cannot be opened.
    pub fn reader(&self, object: &Listed) -> Result<Box<dyn Read + Send>, StoreError> {
        if self.requests.runtime().is_some() {
            let mut ranges = Ranges {
                source: self.clone(),
                object: object.clone(),
                next: 0,
                begun: None,
                current: Bytes::new(),
            };
            ranges.advance()?;
            return Ok(Box::new(ranges));
        }
        let path = self.path(object);
        if let Some(directory) = self.url.strip_prefix("file://") {
            // A FIFO or a device can have taken the place of the file that was listed.
            let found = open::check(&LocalPath::new(directory).join(path.as_ref()));
            found.or_else(|error| match error.kind() {
                io::ErrorKind::InvalidInput => Err(error),
                // The store says it in the words of all stores.
                _ => Ok(()),
            })?;
        }
        let result = self.requests.wait(self.store.get_opts(&path, conditional(object)))?;
        Ok(match result.payload {
            GetResultPayload::File(file, _) => Box::new(file),
            GetResultPayload::Stream(_) => {
                Box::new(io::Cursor::new(self.requests.wait(result.bytes())?))
            }
        })
    }
}

/// Asks for an object as it was listed, and no other.
fn conditional(object: &Listed) -> GetOptions {
    GetOptions { if_match: object.condition().map(ToOwned::to_owned), ..GetOptions::default() }
}

/// Reads an object, or a part of it, whole.
async fn read(
    store: &dyn ObjectStore,
    path: &Path,
    options: &GetOptions,
) -> object_store::Result<Bytes> {
    renewing(|| async { store.get_opts(path, options.clone()).await?.bytes().await }).await
}

/// An object, or a part of one, that is being read. Dropped, it is given up.
pub struct Fetch(Option<JoinHandle<object_store::Result<Bytes>>>);

impl Drop for Fetch {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// A large object of a remote store, read piece by piece.
struct Ranges {
    source: Source,
    object: Listed,
    /// Where the piece begins that is not begun yet.
    next: u64,
    begun: Option<Fetch>,
    current: Bytes,
}

impl Ranges {
    /// Begins the next piece, if there is one.
    fn begin(&mut self) -> Option<Fetch> {
        let end = self.object.size.min(self.next + RANGE);
        let runtime = self.source.requests.runtime().filter(|_| self.next < end)?;
        let range = Some(GetRange::Bounded(self.next..end));
        let options = GetOptions { range, ..conditional(&self.object) };
        let (store, path) = (Arc::clone(&self.source.store), self.source.path(&self.object));
        self.next = end;
        Some(Fetch(Some(runtime.spawn(async move { read(&*store, &path, &options).await }))))
    }

    /// Makes the next piece the current one, and begins the one behind it.
    fn advance(&mut self) -> object_store::Result<()> {
        let mut fetch = match self.begun.take() {
            Some(fetch) => fetch,
            None => match self.begin() {
                Some(fetch) => fetch,
                None => return Ok(()),
            },
        };
        self.begun = self.begin();
        if let Some(task) = &mut fetch.0 {
            self.current = self.source.requests.wait(task)??;
        }
        Ok(())
    }
}

impl Read for Ranges {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.current.is_empty() {
            self.advance().map_err(io_error)?;
        }
        let taken = out.len().min(self.current.len());
        self.current.copy_to_slice(&mut out[..taken]);
        Ok(taken)
    }
}

/// An object that was found, or a directory that could not be listed.
type Found = Result<ObjectMeta, (Option<Path>, Error)>;

/// Lists the objects below a directory, as far as they are worth it, several directories at once.
async fn search(
    store: &dyn ObjectStore,
    start: Option<Path>,
    look: &(impl Fn(&str) -> Look + Sync),
    found: &mpsc::Sender<Found>,
) {
    let mut waiting = vec![start];
    let mut running = FuturesUnordered::new();
    loop {
        while running.len() < MAX_LISTINGS
            && let Some(directory) = waiting.pop()
        {
            running.push(list_one(store, directory, look, found));
        }
        match running.next().await {
            Some(below) => waiting.extend(below.into_iter().map(Some)),
            None => return,
        }
    }
}

/// Lists a directory, and returns those below it that are to be looked at. Ends early when nobody listens
/// any more.
async fn list_one(
    store: &dyn ObjectStore,
    directory: Option<Path>,
    look: &(impl Fn(&str) -> Look + Sync),
    found: &mpsc::Sender<Found>,
) -> Vec<Path> {
    match look(directory.as_ref().map_or("", Path::as_ref)) {
        Look::Skip => {}
        Look::Whole => {
            let mut listing = store.list(directory.as_ref());
            while let Some(meta) = listing.next().await {
                let meta = meta.map_err(|error| (directory.clone(), error));
                if found.send(meta).await.is_err() {
                    break;
                }
            }
        }
        Look::Inside => match store.list_with_delimiter(directory.as_ref()).await {
            Ok(listing) => {
                for meta in listing.objects {
                    if found.send(Ok(meta)).await.is_err() {
                        return Vec::new();
                    }
                }
                return listing.common_prefixes;
            }
            // Nobody who listens no more misses it.
            Err(error) => drop(found.send(Err((directory, error))).await),
        },
    }
    Vec::new()
}

/// A listing that is waited for, entry by entry.
struct Waiting {
    stream: BoxStream<'static, object_store::Result<ObjectMeta>>,
    requests: Requests,
}

impl Iterator for Waiting {
    type Item = object_store::Result<ObjectMeta>;

    fn next(&mut self) -> Option<Self::Item> {
        self.requests.wait(self.stream.next())
    }
}
