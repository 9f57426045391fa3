//! A dataset in an object store.
//!
//! A staged file is an incomplete multipart upload, which readers do not see. Any run that knows the upload's ID can
//! complete or abort it, but only once. Some stores cannot list incomplete uploads, and the others list them in
//! different ways. Therefore, each upload has a note in the staging directory, which `clean` reads.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{Error, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;

use crate::store::StoreError;
use crate::store::client::Client;
use crate::store::explain::{is_server_error, is_without_parts};
use crate::store::file_key::FileKey;
use crate::store::lister::{ListError, Pages, list_all};
use crate::store::network::{Network, Requests, renewing};
use crate::store::notes::Notes;
use crate::store::place::Prefix;
use crate::store::target::{
    Access, Completed, Created, Leftover, Stage, Staged, StagedFile, Stored, Target, TargetError,
};
use crate::util::hash::hex;

/// Size of a part in bytes. Most stores require at least 5 MiB, and some require that all parts except the last have
/// the same size.
pub(crate) const PART_BYTES: usize = 8 << 20;
/// Maximum number of parts that an upload sends concurrently while the next part is filled.
const MAX_SENDING: usize = 2;

/// Number of files to read concurrently from a remote store.
const READS: usize = 32;

/// An object store, or a prefix in one, that contains a dataset.
#[derive(Debug, Clone)]
pub struct Bucket {
    store: Arc<dyn ObjectStore>,
    uploads: Uploads,
    /// The client that lists the store. `None` if `object_store` lists it.
    pages: Option<Arc<dyn Pages>>,
    /// Prefix of all keys.
    root: Path,
    /// URL of the root.
    url: String,
    /// Directory for notes about uploads.
    staging: String,
    notes: Arc<Notes>,
    /// Whether the store has separate requests for starting and aborting an upload. In other stores, the first part
    /// starts the upload.
    aborts: bool,
    /// Number of files to read concurrently.
    reads: usize,
    requests: Requests,
}

#[derive(Clone)]
struct Uploads(Arc<dyn MultipartStore>);

impl std::fmt::Debug for Uploads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Uploads")
    }
}

/// An upload to which parts are still being added.
struct Uploading {
    bucket: Bucket,
    path: Path,
    key: FileKey,
    id: String,
    parts: Vec<String>,
    part: Vec<u8>,
    /// Parts that are being sent, in order.
    sending: VecDeque<JoinHandle<Result<PartId, Error>>>,
}

impl Bucket {
    /// Returns a target for a prefix in a store. `url` is the URL of the prefix. Notes about staged files are stored in
    /// `staging`, relative to the prefix.
    pub fn new(
        store: Arc<dyn ObjectStore>,
        uploads: Arc<dyn MultipartStore>,
        root: Path,
        url: &str,
        staging: &str,
    ) -> Self {
        let url = url.trim_end_matches('/').to_owned();
        let uploads = Uploads(uploads);
        let (staging, requests) = (staging.to_owned(), Requests::default());
        let (pages, aborts, reads) = (None, true, 1);
        let notes = Arc::new(Notes::new(Arc::clone(&store), requests.clone()));
        Self { store, uploads, pages, root, url, staging, notes, aborts, reads, requests }
    }

    /// Opens a prefix in a bucket as a target.
    ///
    /// # Errors
    ///
    /// Fails when the settings are invalid or the threads for requests cannot be started.
    pub fn connect(prefix: &Prefix, network: &Network, staging: &str) -> Result<Self, StoreError> {
        let Client { store, uploads, pages, requests, aborts, .. } =
            Client::connect(prefix, network)?;
        let url = prefix.to_string();
        let notes = Arc::new(Notes::new(Arc::clone(&store), requests.clone()));
        let bucket = Self::new(store, uploads, prefix.path.clone(), &url, staging);
        Ok(Self { pages: Some(pages), notes, aborts, requests, reads: READS, ..bucket })
    }

    /// Declares that the store, like Azure, cannot abort uploads.
    #[must_use]
    pub fn without_abort(mut self) -> Self {
        self.aborts = false;
        self
    }

    /// Sets the number of files to read concurrently.
    #[must_use]
    pub fn with_reads(mut self, reads: usize) -> Self {
        self.reads = reads;
        self
    }

    fn path(&self, key: &str) -> Path {
        let parts = key.split('/').filter(|part| !part.is_empty());
        parts.fold(self.root.clone(), Path::join)
    }

    /// Converts a path in the store to a key relative to the root.
    fn key(&self, path: &str) -> String {
        let below = path.strip_prefix(self.root.as_ref()).unwrap_or(path);
        below.trim_start_matches('/').to_owned()
    }

    fn reading(&self, key: &str) -> impl FnOnce(Error) -> TargetError + use<> {
        self.at(key, Access::Read)
    }

    fn writing(&self, key: &str) -> impl FnOnce(Error) -> TargetError + use<> {
        self.at(key, Access::Write)
    }

    fn at(&self, key: &str, access: Access) -> impl FnOnce(Error) -> TargetError + use<> {
        let name = self.name(key);
        move |error| TargetError::of_store(name, access, error)
    }

    /// Returns the key of the note about an upload.
    fn note(&self, key: &str, id: &str) -> String {
        let mut hash = Sha256::new();
        hash.update(key);
        hash.update([0]);
        hash.update(id);
        format!("{}/{}.json", self.staging, &hex(&hash.finalize())[..32])
    }

    fn objects(&self, directory: &str) -> Result<Vec<Stored>, TargetError> {
        let path = self.path(directory);
        let Some(pages) = &self.pages else {
            let objects: Vec<ObjectMeta> = self
                .ask(|| self.store.list(Some(&path)).try_collect())
                .map_err(self.reading(directory))?;
            let stored = |meta: ObjectMeta| Stored {
                key: self.key(meta.location.as_ref()),
                size: meta.size,
            };
            return Ok(objects.into_iter().map(stored).collect());
        };
        let prefix = if path.is_root() { String::new() } else { format!("{path}/") };
        let listed = self.requests.wait(list_all(&**pages, prefix));
        let entries = listed.map_err(|error| match error {
            ListError::Store(error) => self.reading(directory)(error),
            ListError::Answer(problem) => {
                TargetError::Listing { name: self.name(directory), problem }
            }
        })?;
        // Web consoles create empty objects to represent directories.
        let files = entries.iter().filter(|entry| entry.size > 0 || !entry.key.ends_with('/'));
        Ok(files.map(|entry| Stored { key: self.key(&entry.key), size: entry.size }).collect())
    }

    /// Returns whether an error from a completion request shows that the upload no longer exists.
    ///
    /// Weak evidence suffices, because a run that relies on this result first aborts the upload again. Even a server
    /// error counts, because some stores answer every retry with one. If the store cannot abort uploads, only an error
    /// about the parts counts as proof.
    fn is_gone(&self, error: &Error) -> bool {
        if self.aborts {
            matches!(error, Error::NotFound { .. }) || is_server_error(error)
        } else {
            is_without_parts(error)
        }
    }

    /// Sends a request and waits for its response.
    fn ask<T, F: Future<Output = Result<T, Error>>>(
        &self,
        request: impl Fn() -> F,
    ) -> Result<T, Error> {
        self.requests.wait(renewing(request))
    }
}

/// Converts `NotFound` to `None`.
fn found<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Target for Bucket {
    fn name(&self, key: &str) -> String {
        format!("{}/{key}", self.url)
    }

    fn is_remote(&self) -> bool {
        self.requests.is_remote()
    }

    fn begins_uploads(&self) -> bool {
        self.aborts
    }

    fn reads_at_once(&self) -> usize {
        self.reads
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, TargetError> {
        let path = self.path(key);
        let read = || async { self.store.get(&path).await?.bytes().await };
        Ok(found(self.ask(read)).map_err(self.reading(key))?.map(Vec::from))
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, TargetError> {
        let path = self.path(key);
        self.ask(|| self.store.get_range(&path, range.clone())).map_err(self.reading(key))
    }

    fn size(&self, key: &str) -> Result<Option<u64>, TargetError> {
        let path = self.path(key);
        let head = found(self.ask(|| self.store.head(&path))).map_err(self.reading(key))?;
        Ok(head.map(|meta| meta.size))
    }

    fn list(&self, directory: &str) -> Result<Vec<Stored>, TargetError> {
        self.objects(directory)
    }

    fn create(&self, key: &str, bytes: &[u8]) -> Result<Created, TargetError> {
        let (path, payload) = (self.path(key), PutPayload::from(Bytes::copy_from_slice(bytes)));
        let put = || self.store.put_opts(&path, payload.clone(), PutMode::Create.into());
        match self.ask(put) {
            Ok(_) => Ok(Created::Now),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(Created::Before),
            Err(error) => Err(self.writing(key)(error)),
        }
    }

    fn sync(&self, _: &str) -> Result<(), TargetError> {
        Ok(())
    }

    fn delete(&self, key: &str) -> Result<(), TargetError> {
        let path = self.path(key);
        found(self.ask(|| self.store.delete(&path))).map_err(self.writing(key))?;
        Ok(())
    }

    fn stage(&self, key: &FileKey) -> Result<Box<dyn Stage>, TargetError> {
        let path = self.path(key);
        let id = self.ask(|| self.uploads.0.create_multipart(&path)).map_err(self.writing(key))?;
        let (bucket, key) = (self.clone(), key.clone());
        let (parts, part, sending) = (Vec::new(), Vec::new(), VecDeque::new());
        let uploading = Uploading { bucket, path, key, id, parts, part, sending };
        let staged = uploading.staged();
        let text = PutPayload::from(serde_json::to_vec(&staged).expect("plain values"));
        let note = self.note(&uploading.key, &uploading.id);
        match self.notes.write(&self.path(&note), text).map_err(self.writing(&note)) {
            Ok(()) => Ok(Box::new(uploading)),
            Err(error) => {
                // If this fails, too, the upload remains until one of the bucket's lifecycle rules deletes it.
                let _ = self.abort(&staged);
                Err(error)
            }
        }
    }

    fn complete(&self, file: &StagedFile) -> Result<Completed, TargetError> {
        let mut failed = None;
        if let Staged::Upload { key, id, parts } = &file.staged {
            let part_id = |content_id: &String| PartId { content_id: content_id.clone() };
            let parts: Vec<PartId> = parts.iter().map(part_id).collect();
            let path = self.path(key);
            let complete = || self.uploads.0.complete_multipart(&path, id, parts.clone());
            match self.ask(complete) {
                Ok(_) => return Ok(Completed::Visible),
                // Another run completed or aborted the upload, or this request succeeded despite the error.
                Err(error) if self.is_gone(&error) => {}
                Err(error) => failed = Some(error),
            }
        }
        match (self.size(&file.key)?, failed) {
            (Some(size), _) if size == file.size => Ok(Completed::Visible),
            (None, Some(error)) => Err(self.writing(&file.key)(error)),
            // If the store cannot abort uploads, another run may still complete this one after an unknown error.
            (Some(_), Some(error)) if !self.aborts => Err(self.writing(&file.key)(error)),
            (Some(found), _) => {
                let (name, expected) = (self.name(&file.key), file.size);
                Err(TargetError::Foreign { name, found, expected })
            }
            (None, None) => Ok(Completed::Lost),
        }
    }

    fn abort(&self, staged: &Staged) -> Result<(), TargetError> {
        let Staged::Upload { key, id, .. } = staged else { return Ok(()) };
        if !self.aborts {
            return Err(TargetError::NoAbort { name: self.name(key) });
        }
        let path = self.path(key);
        found(self.ask(|| self.uploads.0.abort_multipart(&path, id))).map_err(self.writing(key))?;
        Ok(())
    }

    fn staged(&self) -> Result<Vec<Leftover>, TargetError> {
        let mut leftovers = Vec::new();
        for Stored { key: note, .. } in self.objects(&self.staging)? {
            let path = self.path(&note);
            let read = || async {
                let result = self.store.get(&path).await?;
                let modified = result.meta.last_modified;
                Ok((modified, result.bytes().await?))
            };
            // If a note has been deleted since the listing, there is nothing left to clean.
            let read = found(self.ask(read)).map_err(self.reading(&note))?;
            let Some((modified, text)) = read else { continue };
            leftovers.push(Leftover {
                key: note,
                staged: serde_json::from_slice(&text).ok(),
                size: 0,
                modified: SystemTime::from(modified),
            });
        }
        Ok(leftovers)
    }

    fn forget(&self, staged: &Staged) {
        if let Staged::Upload { key, id, .. } = staged {
            self.notes.delete(self.path(&self.note(key, id)));
        }
    }

    fn wait(&self) {
        self.notes.wait();
    }
}

impl Uploading {
    /// Waits until the note is written.
    fn noted(&self) -> Result<(), TargetError> {
        let note = self.bucket.note(&self.key, &self.id);
        self.bucket.notes.written(&self.bucket.path(&note)).map_err(self.bucket.writing(&note))
    }

    /// Sends a full part, or the last one. With a remote store, the next part is filled while this one is sent. At most
    /// one part is sent before the note is written, because `clean` does not find an upload without a note.
    fn put_part(&mut self) -> Result<(), TargetError> {
        let number = self.parts.len() + self.sending.len();
        if number > 0 {
            self.noted()?;
        }
        let bytes = std::mem::replace(&mut self.part, Vec::with_capacity(PART_BYTES));
        let (uploads, path, id) = (self.bucket.uploads.clone(), self.path.clone(), self.id.clone());
        let bytes = PutPayload::from(bytes);
        let put =
            async move { renewing(|| uploads.0.put_part(&path, &id, number, bytes.clone())).await };
        match self.bucket.requests.runtime() {
            None => {
                let part =
                    self.bucket.requests.wait(put).map_err(self.bucket.writing(&self.key))?;
                self.parts.push(part.content_id);
            }
            Some(runtime) => {
                self.sending.push_back(runtime.spawn(put));
                self.arrive(MAX_SENDING)?;
            }
        }
        Ok(())
    }

    /// Waits until at most `limit` parts are still being sent.
    fn arrive(&mut self, limit: usize) -> Result<(), TargetError> {
        while self.sending.len() > limit
            && let Some(put) = self.sending.pop_front()
        {
            let part = self.bucket.requests.wait(put).unwrap_or_else(|error| Err(error.into()));
            self.parts.push(part.map_err(self.bucket.writing(&self.key))?.content_id);
        }
        Ok(())
    }
}

impl Write for Uploading {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.part.len() == PART_BYTES {
            self.put_part().map_err(io::Error::other)?;
        }
        let taken = bytes.len().min(PART_BYTES - self.part.len());
        self.part.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stage for Uploading {
    fn staged(&self) -> Staged {
        let (key, id, parts) = (self.key.clone(), self.id.clone(), self.parts.clone());
        Staged::Upload { key, id, parts }
    }

    fn seal(&mut self) -> Result<(), TargetError> {
        if !self.part.is_empty() || self.parts.is_empty() && self.sending.is_empty() {
            self.put_part()?;
        }
        self.arrive(0)?;
        self.noted()
    }
}
