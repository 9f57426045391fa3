//! Notes about incomplete uploads, which `clean` reads.
//!
//! With a remote store, notes are written and deleted in the background: an upload sends its first part while its note
//! is written. Later parts, and the claim, wait for the note.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutPayload};
use tokio::task::{JoinHandle, JoinSet};

use crate::store::network::{Requests, renewing};

/// Writes and deletes notes.
pub(super) struct Notes {
    store: Arc<dyn ObjectStore>,
    requests: Requests,
    /// Notes that are being written.
    writing: Mutex<HashMap<Path, JoinHandle<Result<(), Error>>>>,
    /// Notes that are being deleted.
    deleting: Mutex<JoinSet<()>>,
}

impl fmt::Debug for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notes")
    }
}

impl Notes {
    pub(super) fn new(store: Arc<dyn ObjectStore>, requests: Requests) -> Self {
        Self { store, requests, writing: Mutex::default(), deleting: Mutex::default() }
    }

    /// Starts writing a note. [`Self::written`] must be called before the upload is claimed.
    ///
    /// # Errors
    ///
    /// Fails if the store is not remote and the note cannot be written.
    pub(super) fn write(&self, path: &Path, text: PutPayload) -> Result<(), Error> {
        let (store, at) = (Arc::clone(&self.store), path.clone());
        let put = async move {
            renewing(|| store.put(&at, text.clone())).await?;
            Ok(())
        };
        match self.requests.runtime() {
            None => self.requests.wait(put),
            Some(runtime) => {
                lock(&self.writing).insert(path.clone(), runtime.spawn(put));
                Ok(())
            }
        }
    }

    /// Waits until a note is written.
    ///
    /// # Errors
    ///
    /// Fails if the note cannot be written.
    pub(super) fn written(&self, path: &Path) -> Result<(), Error> {
        let writing = lock(&self.writing).remove(path);
        writing.map_or(Ok(()), |writing| self.requests.wait(writing)?)
    }

    /// Starts deleting a note, after it is written. If this fails, `clean` deletes the note.
    pub(super) fn delete(&self, path: Path) {
        let writing = lock(&self.writing).remove(&path);
        let store = Arc::clone(&self.store);
        let delete = async move {
            if let Some(writing) = writing {
                let _ = writing.await;
            }
            let _ = renewing(|| store.delete(&path)).await;
        };
        match self.requests.runtime() {
            None => self.requests.wait(delete),
            Some(runtime) => {
                let mut deleting = lock(&self.deleting);
                while deleting.try_join_next().is_some() {}
                deleting.spawn_on(delete, runtime);
            }
        }
    }

    /// Waits until all notes are deleted.
    pub(super) fn wait(&self) {
        let mut deleting = std::mem::take(&mut *lock(&self.deleting));
        self.requests.wait(async { while deleting.join_next().await.is_some() {} });
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        self.wait();
    }
}

/// Locks a mutex even if it is poisoned. No panic can leave the set of requests in an inconsistent state.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
