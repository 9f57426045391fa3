//! Reads objects of remote stores ahead of their use.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use object_store::{GetOptions, GetRange, ObjectStore};
use tokio::task::JoinHandle;

use crate::store::client::io_error;
use crate::store::network::renewing;
use crate::store::raw::Location;
use crate::store::source::{Listed, Source};

/// Large objects are read in pieces of this size. The next piece is requested while the current one is used.
pub(super) const RANGE: u64 = 8 << 20;

/// Requests exactly the listed version of an object.
pub(super) fn conditional(object: &Listed, location: &Location) -> GetOptions {
    let if_match = object.condition().map(ToOwned::to_owned);
    GetOptions { if_match, ..location.options() }
}

/// Reads an entire object, or an entire range of it.
pub(super) async fn read(
    store: &dyn ObjectStore,
    location: &Location,
    options: &GetOptions,
) -> object_store::Result<Bytes> {
    renewing(|| async { store.get_opts(&location.path, options.clone()).await?.bytes().await })
        .await
}

/// An object, or a range of one, that is being read. Dropping it cancels the request.
pub struct Fetch(pub(super) Option<JoinHandle<object_store::Result<Bytes>>>);

impl Drop for Fetch {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// A large object of a remote store, read piece by piece.
pub(super) struct Ranges {
    source: Source,
    object: Listed,
    location: Location,
    /// Offset of the first piece that is not requested yet.
    next: u64,
    begun: Option<Fetch>,
    current: Bytes,
}

impl Ranges {
    /// Opens an object.
    pub(super) fn open(
        source: Source,
        object: Listed,
        location: Location,
    ) -> object_store::Result<Self> {
        let (begun, current) = (None, Bytes::new());
        let mut ranges = Self { source, object, location, next: 0, begun, current };
        ranges.advance()?;
        Ok(ranges)
    }

    /// Requests the next piece, if there is one.
    fn begin(&mut self) -> Option<Fetch> {
        let end = self.object.size.min(self.next + RANGE);
        let runtime = self.source.requests.runtime().filter(|_| self.next < end)?;
        let range = Some(GetRange::Bounded(self.next..end));
        let options = GetOptions { range, ..conditional(&self.object, &self.location) };
        let (store, location) = (Arc::clone(&self.source.store), self.location.clone());
        self.next = end;
        Some(Fetch(Some(runtime.spawn(async move { read(&*store, &location, &options).await }))))
    }

    /// Makes the next piece the current one, and requests the one after it.
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
