//! Sources: the places where objects are listed and read.
//!
//! Remote sources use the `object_store` crate. Their requests run on a separate runtime and can start long before the
//! results are needed. Local files are opened on demand.

mod delete;
mod listed;

use std::fmt;
use std::io::{self, Read};
use std::iter;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::list::PaginatedListStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{GetOptions, ObjectMeta, ObjectStore};
use tokio::sync::mpsc;

use crate::store::StoreError;
use crate::store::bulk_delete::BulkDelete;
use crate::store::client::Client;
use crate::store::limiter::{Lane, Limiter, Reads};
use crate::store::lister::{Ask, Entry, ListError, Look, Page, Pages, Progress, RankOf, search};
use crate::store::listing_page::Stock;
use crate::store::network::{Network, Requests, Traffic, renewing};
use crate::store::place::{Place, Prefix};
use crate::store::raw::{Location, Raw};
use crate::store::read::{Exact, Fetch, Ranges, Wanted};
use crate::store::source::listed::Directories;
use crate::store::tree::{self, Visit, Walk};

pub(crate) use crate::store::source::delete::{Current, Deletion};
pub(crate) use crate::store::source::listed::Listed;

/// Maximum number of objects whose metadata is requested concurrently.
const MAX_HEADS: usize = 64;
/// Maximum number of listed objects to buffer.
const MAX_FOUND: usize = 4096;

/// Finds the key in a path: for AWS logs, the part that starts at `AWSLogs/`. Returns `None` if the path contains no
/// key.
pub(crate) type KeyOf = fn(&str) -> Option<&str>;

/// A place where objects are listed and read.
#[derive(Debug, Clone)]
pub struct Source {
    store: Arc<dyn ObjectStore>,
    kept: Kept,
    /// The source, as the user specified it.
    name: String,
    /// Name of the bucket.
    bucket: Option<String>,
    /// Prefix of the listed paths.
    prefix: Option<Path>,
    /// How to request keys that are not valid paths.
    raw: Raw,
    key_of: KeyOf,
    /// Prefix that is added to listed paths to form keys.
    key_prefix: String,
    /// URL to which the path of an object is appended, without a trailing slash.
    url: String,
    /// Deletes objects in S3.
    bulk_delete: Option<Arc<BulkDelete>>,
    requests: Requests,
    traffic: Arc<Traffic>,
    reads: Reads,
    /// Number of requests for pages and for the metadata of named objects.
    listing_requests: Arc<AtomicU64>,
}

/// The kind of source, which determines how it is listed.
#[derive(Debug, Clone)]
enum Kept {
    /// A local directory.
    Local(PathBuf),
    /// A remote store that is listed page by page, and its first page, which was already requested to check access.
    Remote(Arc<dyn Pages>, Arc<Mutex<Option<Page>>>),
    /// Any other store, such as one in memory.
    Elsewhere,
}

/// An object that is requested by name.
#[derive(Debug, Clone)]
pub struct Named {
    /// Key in the bucket, or path below a local source.
    pub key: String,
    /// Compressed size in bytes, if known.
    pub size: Option<u64>,
    /// ETag, if known.
    pub e_tag: Option<String>,
    /// Whether the object is archived and must be restored before it can be read, if known.
    pub archived: Option<bool>,
}

/// A step of a listing.
#[derive(Debug)]
pub enum Step {
    /// An object.
    Found(Listed),
    /// A part of the source that cannot be listed.
    Failed(StoreError),
    /// Later objects do not have a lower rank.
    Reached(String),
}

/// Counts the pages that are requested.
#[derive(Debug)]
struct Counted {
    pages: Arc<dyn Pages>,
    count: Arc<AtomicU64>,
}

#[async_trait]
impl Pages for Counted {
    async fn page(&self, ask: &Ask) -> Result<Page, ListError> {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.pages.page(ask).await
    }

    fn can_skip(&self) -> bool {
        self.pages.can_skip()
    }

    fn page_size(&self) -> u64 {
        self.pages.page_size()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Source {
    /// Opens a source: a directory, or a prefix in a bucket. The source can be at, above or below the directory that
    /// `key_of` finds.
    ///
    /// # Errors
    ///
    /// Fails when the directory does not exist, or the bucket cannot be listed.
    pub fn open(name: &str, network: &Network, key_of: KeyOf) -> Result<Self, StoreError> {
        match Place::parse(name)? {
            Place::Bucket(prefix) => {
                let source = Self { key_of, ..Self::connect(name, prefix, network)? };
                // Report missing permissions, credentials or buckets before any work is done.
                if let Kept::Remote(pages, first) = &source.kept {
                    let ask = Ask { prefix: source.listed_prefix(), ..Ask::default() };
                    let page = source.requests.wait(pages.page(&ask));
                    let page = page.map_err(|error| error.of(name.to_owned()))?;
                    *first.lock().unwrap_or_else(PoisonError::into_inner) = Some(page);
                }
                Ok(source)
            }
            Place::Local(directory) => {
                let open = |source| StoreError::Open { name: name.to_owned(), source };
                let directory = directory.canonicalize().map_err(open)?;
                if !directory.is_dir() {
                    return Err(open(io::ErrorKind::NotADirectory.into()));
                }
                let key_prefix = directory.to_str().and_then(key_of);
                let key_prefix = key_prefix.map_or(String::new(), |prefix| format!("{prefix}/"));
                let url = format!("file://{}", directory.display());
                let (name, kept) = (name.to_owned(), Kept::Local(directory));
                Ok(Self { kept, name, key_prefix, ..Self::over(Arc::new(InMemory::new()), &url) })
            }
        }
    }

    /// Opens a source whose objects come from a list. Sends no requests to a bucket, because the user may lack
    /// permission to list it.
    ///
    /// # Errors
    ///
    /// Fails when the directory does not exist, or when the bucket has no endpoint.
    pub fn open_unlisted(name: &str, network: &Network, key_of: KeyOf) -> Result<Self, StoreError> {
        match Place::parse(name)? {
            Place::Bucket(prefix) => Ok(Self { key_of, ..Self::connect(name, prefix, network)? }),
            Place::Local(_) => Self::open(name, network, key_of),
        }
    }

    /// Returns a source for a prefix in a bucket, without checking whether the bucket can be listed.
    fn connect(name: &str, prefix: Prefix, network: &Network) -> Result<Self, StoreError> {
        let client = Client::connect(&prefix, network)?;
        Ok(Self {
            requests: client.requests,
            traffic: Arc::clone(&network.traffic),
            reads: network.limiter.reads(&prefix.bucket),
            kept: Kept::Remote(client.pages, Arc::default()),
            raw: client.raw,
            bulk_delete: client.bulk_delete,
            bucket: Some(prefix.name().to_owned()),
            prefix: (!prefix.path.as_ref().is_empty()).then_some(prefix.path),
            name: name.to_owned(),
            ..Self::over(client.store, &prefix.bucket)
        })
    }

    /// Returns a source for a whole store. The URLs of the objects begin with `url`.
    pub fn over(store: Arc<dyn ObjectStore>, url: &str) -> Self {
        Self {
            store,
            kept: Kept::Elsewhere,
            name: url.to_owned(),
            bucket: None,
            prefix: None,
            raw: Raw::Never,
            key_of: |_| None,
            key_prefix: String::new(),
            url: url.trim_end_matches('/').to_owned(),
            bulk_delete: None,
            requests: Requests::default(),
            traffic: Arc::default(),
            reads: Arc::<Limiter>::default().reads(""),
            listing_requests: Arc::default(),
        }
    }

    /// Returns a source for a whole store that lists pages like S3. The URLs of the objects begin with `url`.
    ///
    /// # Errors
    ///
    /// Fails when the threads for requests cannot be started.
    #[doc(hidden)] // for benches
    pub fn paginated(
        store: Arc<dyn ObjectStore>,
        pages: Arc<dyn PaginatedListStore>,
        key_of: KeyOf,
        url: &str,
    ) -> io::Result<Self> {
        let kept = Kept::Remote(Arc::new(Stock { store: pages, is_s3: true }), Arc::default());
        Ok(Self { kept, requests: Requests::remote()?, key_of, ..Self::over(store, url) })
    }

    /// Returns the URL of an object.
    pub fn url(&self, object: &Listed) -> String {
        format!("{}/{}", self.url, self.below(&object.key()))
    }

    /// Returns a URL that any machine with access to the source can use to open it.
    pub fn address(&self) -> String {
        match &self.prefix {
            Some(prefix) => format!("{}/{prefix}", self.url),
            None => self.url.clone(),
        }
    }

    /// Returns whether the source is accessed over the network.
    pub fn is_remote(&self) -> bool {
        self.requests.is_remote()
    }

    /// Returns the path under which a key is listed.
    fn below<'a>(&self, key: &'a str) -> &'a str {
        key.strip_prefix(&self.key_prefix).unwrap_or(key)
    }

    fn locate(&self, key: &str) -> Result<Location, StoreError> {
        let unreadable = |problem: &str| StoreError::Unreadable {
            name: format!("{}/{key}", self.url),
            problem: problem.to_owned(),
        };
        self.raw.locate(self.below(key)).map_err(unreadable)
    }

    /// Returns why a listed object with this key cannot be read. Returns `None` if the key is valid.
    pub fn refuses(&self, key: &str) -> Option<&'static str> {
        match &self.kept {
            Kept::Remote(..) => self.raw.locate(self.below(key)).err(),
            _ => None,
        }
    }

    /// Returns the prefix that is listed, with a trailing slash.
    fn listed_prefix(&self) -> String {
        self.prefix.as_ref().map_or(String::new(), |prefix| format!("{prefix}/"))
    }

    /// Lists all objects. Yields an error for each part that cannot be listed.
    pub fn list(&self) -> Box<dyn Iterator<Item = Result<Listed, StoreError>> + '_> {
        self.search(|_| Look::Whole)
    }

    fn listed(&self, entry: &Entry, directories: &mut Directories) -> Listed {
        directories.listed(entry, &self.key_prefix, self.url.starts_with("file:"))
    }

    /// Lists the objects in the directories that `look` selects. In a remote store, directories are listed
    /// concurrently, and directories that `look` skips are not requested. Other sources are listed completely.
    pub fn search(
        &self,
        look: impl Fn(&str) -> Look + Send + Sync + 'static,
    ) -> Box<dyn Iterator<Item = Result<Listed, StoreError>> + Send + '_> {
        Box::new(self.search_in_order(look, u64::MAX, |_, _| None).filter_map(|step| match step {
            Step::Found(listed) => Some(Ok(listed)),
            Step::Failed(error) => Some(Err(error)),
            Step::Reached(_) => None,
        }))
    }

    /// Lists objects like [`Self::search`], but in the order of their ranks after the first `unordered` objects.
    pub fn search_in_order(
        &self,
        look: impl Fn(&str) -> Look + Send + Sync + 'static,
        unordered: u64,
        rank_of: RankOf,
    ) -> Box<dyn Iterator<Item = Step> + Send + '_> {
        let mut directories = Directories::default();
        match (&self.kept, self.requests.runtime()) {
            (Kept::Local(directory), _) => {
                let walk = Walk::new(directory, &self.key_prefix, rank_of);
                Box::new(walk.map(move |visit| match visit {
                    Visit::Found(entry) => Step::Found(self.listed(&entry, &mut directories)),
                    Visit::Failed(error) => Step::Failed(error),
                    Visit::Reached(rank) => Step::Reached(rank),
                }))
            }
            (Kept::Remote(pages, first), Some(runtime)) => {
                let (progress, mut listing) = mpsc::channel(MAX_FOUND);
                let pages =
                    Counted { pages: Arc::clone(pages), count: Arc::clone(&self.listing_requests) };
                let prefix = self.listed_prefix();
                let first = first.lock().unwrap_or_else(PoisonError::into_inner).take();
                let key_of = self.key_of;
                let mut task = Some(runtime.spawn(async move {
                    search(&pages, &prefix, key_of, rank_of, first, &look, unordered, &progress)
                        .await;
                }));
                let next = move || {
                    listing.blocking_recv().or_else(|| {
                        // A listing that panics must not look like one that has ended.
                        let ended = task.take().map(|task| self.requests.wait(task));
                        ended.and_then(Result::err).map(|error| resume_unwind(error.into_panic()))
                    })
                };
                Box::new(iter::from_fn(next).map(move |progress| match progress {
                    Progress::Found(entry) => Step::Found(self.listed(&entry, &mut directories)),
                    Progress::Failed(prefix, error) => {
                        Step::Failed(error.of(format!("{}/{prefix}", self.url)))
                    }
                    Progress::Reached(rank) => Step::Reached(rank),
                }))
            }
            _ => {
                let stream = self.store.list(self.prefix.as_ref());
                let listing = Waiting { stream, requests: self.requests.clone() };
                Box::new(listing.map(move |meta| match meta {
                    Ok(meta) => Step::Found(self.listed(&entry(meta), &mut directories)),
                    Err(error) => Step::Failed(error.into()),
                }))
            }
        }
    }

    /// Returns whether listings of the source can be in the order of ranks.
    pub fn lists_in_order(&self) -> bool {
        match &self.kept {
            Kept::Local(_) => true,
            Kept::Remote(..) => self.requests.runtime().is_some(),
            Kept::Elsewhere => false,
        }
    }

    /// Returns the number of requests for listing the source and finding its objects by name. Excludes retries, and the
    /// requests for opening the source.
    pub fn listing_requests(&self) -> u64 {
        self.listing_requests.load(Ordering::Relaxed)
    }

    /// Returns the name of the bucket, or `None` if the source is local.
    pub fn bucket(&self) -> Option<&str> {
        self.bucket.as_deref()
    }

    /// Finds objects by name, concurrently. If an object is in a remote store and its size and ETag are known, no
    /// request is sent.
    pub fn find(&self, names: Vec<Named>) -> Vec<Result<Listed, StoreError>> {
        let look = |named: Named| async move {
            let key = self.below(&named.key).to_owned();
            if let (Some(size), Some(_), true) = (named.size, &named.e_tag, self.is_remote()) {
                return Ok(Entry { key, size, e_tag: named.e_tag });
            }
            if self.is_remote() {
                self.listing_requests.fetch_add(1, Ordering::Relaxed);
            }
            let head = self.head(&key).await;
            head.map(|(entry, _)| entry).map_err(|error| self.unfound(&named.key, error))
        };
        let found = stream::iter(names).map(look).buffered(MAX_HEADS).collect::<Vec<_>>();
        let mut directories = Directories::default();
        let found = self.requests.wait(found).into_iter();
        found.map(|entry| Ok(self.listed(&entry?, &mut directories))).collect()
    }

    /// Adds the object's URL to an error about an object that was requested by name.
    fn unfound(&self, key: &str, error: StoreError) -> StoreError {
        match error {
            StoreError::Store(error) => {
                StoreError::Find { name: format!("{}/{key}", self.url), error }
            }
            other => other,
        }
    }

    /// Requests the current metadata of an object from the store. If the bucket has versioning, also returns the
    /// version ID of the object.
    async fn head(&self, key: &str) -> Result<(Entry, Option<String>), StoreError> {
        if let Kept::Local(directory) = &self.kept {
            return Ok((tree::head(directory, key)?, None));
        }
        let location = self.locate(key)?;
        let options = || GetOptions { head: true, ..location.options() };
        let result = renewing(|| self.store.get_opts(&location.path, options())).await?;
        let ObjectMeta { size, e_tag, version, .. } = result.meta;
        Ok((Entry { key: key.to_owned(), size, e_tag }, version))
    }

    /// Returns whether a key is below the source.
    pub fn holds(&self, key: &str) -> bool {
        self.prefix.as_ref().is_none_or(|prefix| {
            let below = key.strip_prefix(prefix.as_ref());
            below.is_some_and(|rest| rest.starts_with('/'))
        })
    }

    /// Opens the object with this URL. Permission to list the bucket is not required.
    ///
    /// # Errors
    ///
    /// Fails when the object does not exist or cannot be reached.
    pub fn read_one(url: &str, network: &Network) -> Result<Box<dyn Read + Send>, StoreError> {
        let (above, name) = url.rsplit_once('/').unwrap_or((url, ""));
        let source = match Place::parse(above)? {
            Place::Bucket(prefix) => Self::connect(above, prefix, network)?,
            Place::Local(_) => Self::open(above, network, |_| None)?,
        };
        let key = match &source.prefix {
            Some(prefix) => format!("{prefix}/{name}"),
            None => name.to_owned(),
        };
        let found = source.find(vec![Named { key, size: None, e_tag: None, archived: None }]);
        source.reader(&found.into_iter().next().expect("one object was requested")?)
    }

    /// Begins to read an object that will be needed soon. Local objects are read only when they are needed.
    pub(crate) fn begin(&self, object: &Listed, lane: Lane) -> Fetch {
        if !self.is_remote() {
            return Fetch::LATER;
        }
        // An error in the key is reported when the object is needed.
        let Ok(wanted) = self.wanted(object) else { return Fetch::LATER };
        Fetch::begin(wanted, None, lane, &self.requests, &self.reads)
    }

    /// Returns how many objects and bytes to read ahead. Returns `None` if the source is local.
    pub(crate) fn ahead(&self) -> Option<(usize, u64)> {
        self.is_remote().then(|| self.reads.ahead())
    }

    /// Reads a whole object into `out`, replacing the previous content.
    ///
    /// # Errors
    ///
    /// Fails when the object no longer exists, was rewritten after it was listed, does not have its listed size, or
    /// cannot be read.
    pub fn read(&self, object: &Listed, out: &mut Vec<u8>) -> Result<(), StoreError> {
        self.finish(object, self.begin(object, Lane::new()), out)
    }

    /// Finishes a read that [`Self::begin`] started, and stores the whole object in `out`.
    ///
    /// # Errors
    ///
    /// Fails like [`Self::read`].
    pub(crate) fn finish(
        &self,
        object: &Listed,
        fetch: Fetch,
        out: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        out.clear();
        match fetch.wait(&self.requests) {
            None => {
                self.reader(object)?.read_to_end(out)?;
            }
            Some(bytes) => out.extend_from_slice(&bytes?),
        }
        Ok(())
    }

    /// Opens an object for reading. The reader fails if the object is shorter or longer than its listed size.
    ///
    /// # Errors
    ///
    /// Fails when the object no longer exists, was rewritten after it was listed, or cannot be opened.
    pub fn reader(&self, object: &Listed) -> Result<Box<dyn Read + Send>, StoreError> {
        if let Kept::Local(directory) = &self.kept {
            let file = tree::open(directory, self.below(&object.key()), object.condition())?;
            return Ok(Box::new(Exact::new(file, object.size)));
        }
        let wanted = self.wanted(object)?;
        Ok(if self.is_remote() {
            Box::new(Ranges::open(wanted, self.requests.clone(), self.reads.clone())?)
        } else {
            Box::new(io::Cursor::new(self.requests.wait(wanted.read(None))?))
        })
    }

    /// Returns the parameters for reading an object from the store.
    fn wanted(&self, object: &Listed) -> Result<Wanted, StoreError> {
        Ok(Wanted {
            store: Arc::clone(&self.store),
            traffic: Arc::clone(&self.traffic),
            location: self.locate(&object.key())?,
            if_match: object.condition().map(ToOwned::to_owned),
            size: object.size,
        })
    }
}

fn entry(meta: ObjectMeta) -> Entry {
    Entry { key: meta.location.into(), size: meta.size, e_tag: meta.e_tag }
}

/// A blocking iterator over an `object_store` listing.
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

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use object_store::Result;
    use object_store::list::{PaginatedListOptions, PaginatedListResult};

    use super::*;

    struct Panicking;

    #[async_trait]
    impl PaginatedListStore for Panicking {
        async fn list_paginated(
            &self,
            _: Option<&str>,
            _: PaginatedListOptions,
        ) -> Result<PaginatedListResult> {
            panic!("a page");
        }
    }

    #[test]
    fn a_listing_that_panics_does_not_look_like_an_empty_one() {
        let store = Arc::new(InMemory::new());
        let source = Source::paginated(store, Arc::new(Panicking), |_| None, "s3://b").unwrap();
        let listed = catch_unwind(AssertUnwindSafe(|| source.list().count()));
        assert_eq!(listed.unwrap_err().downcast_ref(), Some(&"a page"));
    }
}
