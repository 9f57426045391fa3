//! Reads objects from remote stores before they are needed.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use object_store::{GetOptions, GetRange, ObjectStore};
use tokio::task::JoinHandle;

use crate::store::StoreError;
use crate::store::limiter::{Lane, Reads, Ticket};
use crate::store::network::{Requests, Traffic, renewing};
use crate::store::raw::Location;

/// Size in bytes of the ranges in which large objects are read. While one range is processed, the
/// following ones are requested.
pub(crate) const READ_BYTES: u64 = 8 << 20;

/// An object to read. Reading fails if the object has changed since it was listed.
#[derive(Clone)]
pub(super) struct Wanted {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) traffic: Arc<Traffic>,
    pub(super) location: Location,
    /// The listed ETag.
    pub(super) if_match: Option<String>,
    /// The listed size in bytes.
    pub(super) size: u64,
}

impl Wanted {
    /// Reads a range of bytes or the whole object. Retries once if the response has an unexpected size.
    ///
    /// # Errors
    ///
    /// Fails when the request fails, or when neither response has the expected size.
    pub(super) async fn read(&self, range: Option<Range<u64>>) -> Result<Bytes, StoreError> {
        match self.attempt(range.clone()).await {
            Err(StoreError::Short { .. } | StoreError::Long { .. }) => self.attempt(range).await,
            answer => answer,
        }
    }

    async fn attempt(&self, range: Option<Range<u64>>) -> Result<Bytes, StoreError> {
        let options = || GetOptions {
            range: range.clone().map(GetRange::Bounded),
            if_match: self.if_match.clone(),
            ..self.location.options()
        };
        let get = || async {
            let result = self.store.get_opts(&self.location.path, options()).await?;
            let size = result.meta.size;
            // An object of another size is not read, because it can be much larger.
            let bytes = if size == self.size { result.bytes().await? } else { Bytes::new() };
            Ok((size, bytes))
        };
        let (size, bytes) = renewing(get).await?;
        let Range { start, end } = range.clone().unwrap_or(0..self.size);
        let end_read = start + bytes.len() as u64;
        // Even a complete range does not prove that the object still has its listed size.
        let checked = expect(size, self.size).and_then(|()| match end_read {
            _ if end_read == end => Ok(()),
            _ if end_read < end => Err(StoreError::Short { read: end_read, listed: self.size }),
            _ => Err(StoreError::Long { listed: self.size }),
        });
        if let Err(error) = &checked {
            self.traffic.note(&format!("GET {}: {error}", self.location.path));
        }
        checked.map(|()| bytes)
    }
}

/// Compares the number of bytes read with the listed size.
fn expect(read: u64, listed: u64) -> Result<(), StoreError> {
    match read {
        _ if read == listed => Ok(()),
        _ if read < listed => Err(StoreError::Short { read, listed }),
        _ => Err(StoreError::Long { listed }),
    }
}

/// An ongoing read of an object or range. Dropping it cancels the read.
pub(crate) struct Fetch(Option<Begun>);

struct Begun {
    task: JoinHandle<Result<(Bytes, Ticket), StoreError>>,
    reads: Reads,
    /// Number of the read's ticket.
    number: u64,
}

impl Fetch {
    /// Returns a placeholder for an object that is read only when it is needed.
    pub(super) const LATER: Self = Self(None);

    /// Begins to read a range or the whole object.
    pub(super) fn begin(
        wanted: Wanted,
        range: Option<Range<u64>>,
        lane: Lane,
        requests: &Requests,
        reads: &Reads,
    ) -> Self {
        let Some(runtime) = requests.runtime() else { return Self::LATER };
        let size = range.as_ref().map_or(wanted.size, |range| range.end - range.start);
        let (ticket, admitted) = reads.begin(lane, size);
        let number = ticket.number();
        let task = runtime.spawn(async move {
            // The sender is dropped only together with the ticket.
            let _ = admitted.await;
            // A waiting task occupies no memory for its request.
            let read = Box::pin(wanted.read(range)).await;
            ticket.end(read.is_ok());
            Ok((read?, ticket))
        });
        Self(Some(Begun { task, reads: reads.clone(), number }))
    }

    /// Waits for the bytes and takes them. Returns `None` if the read has not begun.
    pub(super) fn wait(mut self, requests: &Requests) -> Option<Result<Bytes, StoreError>> {
        let Begun { task, reads, number } = self.0.as_mut()?;
        if !task.is_finished() {
            reads.hurry(*number);
        }
        let arrived = requests.wait(task).map_err(object_store::Error::from);
        Some(arrived.map_err(StoreError::from).flatten().map(|(bytes, ticket)| {
            ticket.take();
            bytes
        }))
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        if let Some(Begun { task, .. }) = &self.0 {
            task.abort();
        }
    }
}

/// A large object in a remote store, read range by range.
pub(super) struct Ranges {
    wanted: Wanted,
    requests: Requests,
    reads: Reads,
    lane: Lane,
    /// Start of the first range that has not been requested yet.
    next: u64,
    begun: VecDeque<Fetch>,
    current: Bytes,
}

impl Ranges {
    /// Opens an object and waits for its first range.
    pub(super) fn open(
        wanted: Wanted,
        requests: Requests,
        reads: Reads,
    ) -> Result<Self, StoreError> {
        let (lane, begun, current) = (Lane::new(), VecDeque::new(), Bytes::new());
        let mut ranges = Self { wanted, requests, reads, lane, next: 0, begun, current };
        ranges.advance()?;
        Ok(ranges)
    }

    /// Begins to read the next range, and further ranges that fit into the window.
    fn read_ahead(&mut self) {
        let (objects, bytes) = self.reads.ahead();
        let ahead = objects.min((bytes / READ_BYTES) as usize);
        while self.begun.len() <= ahead && self.next < self.wanted.size {
            let range = self.next..self.wanted.size.min(self.next + READ_BYTES);
            self.next = range.end;
            let wanted = self.wanted.clone();
            let fetch = Fetch::begin(wanted, Some(range), self.lane, &self.requests, &self.reads);
            self.begun.push_back(fetch);
        }
    }

    /// Waits for the next range, and makes it the current one.
    fn advance(&mut self) -> Result<(), StoreError> {
        self.current = Bytes::new();
        self.read_ahead();
        if let Some(bytes) = self.begun.pop_front().and_then(|next| next.wait(&self.requests)) {
            self.current = bytes?;
        }
        Ok(())
    }
}

impl Read for Ranges {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.current.is_empty() {
            self.advance().map_err(io::Error::other)?;
        }
        let taken = out.len().min(self.current.len());
        self.current.copy_to_slice(&mut out[..taken]);
        Ok(taken)
    }
}

/// A reader that fails if the data is shorter or longer than expected.
pub(super) struct Exact<R> {
    reader: R,
    size: u64,
    read: u64,
}

impl<R: Read> Exact<R> {
    pub(super) fn new(reader: R, size: u64) -> Self {
        Self { reader, size, read: 0 }
    }

    /// Counts the bytes read, and checks the total at the end.
    fn count(&mut self, count: usize, is_end: bool) -> io::Result<usize> {
        self.read += count as u64;
        if is_end || self.read > self.size {
            expect(self.read, self.size).map_err(io::Error::other)?;
        }
        Ok(count)
    }
}

impl<R: Read> Read for Exact<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut count = self.reader.read(out)?;
        if count == 0 && self.read < self.size {
            // A read from a mounted bucket sometimes ends too early, so it is retried once.
            count = self.reader.read(out)?;
        }
        self.count(count, count == 0 && !out.is_empty())
    }

    // This method is forwarded, because the implementation for files reserves the required capacity up front.
    fn read_to_end(&mut self, out: &mut Vec<u8>) -> io::Result<usize> {
        let mut count = self.reader.read_to_end(out)?;
        if self.read + (count as u64) < self.size {
            count += self.reader.read_to_end(out)?;
        }
        self.count(count, true)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    /// Yields chunks of bytes, one after another. An empty chunk is treated as the end of the data.
    struct Runs(VecDeque<Vec<u8>>);

    impl Read for Runs {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let Some(run) = self.0.front_mut() else { return Ok(0) };
            let count = run.len().min(out.len());
            out[..count].copy_from_slice(&run[..count]);
            run.drain(..count);
            if run.is_empty() {
                self.0.pop_front();
            }
            Ok(count)
        }
    }

    /// Reads with a buffer of the given length.
    fn read_by(mut reader: impl Read, length: usize) -> io::Result<Vec<u8>> {
        let (mut all, mut buffer) = (Vec::new(), vec![0; length]);
        loop {
            match reader.read(&mut buffer)? {
                0 => return Ok(all),
                count => all.extend_from_slice(&buffer[..count]),
            }
        }
    }

    proptest! {
        #[test]
        fn a_reader_fails_if_its_size_differs_from_the_listing(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            listed in 0_u64..300,
            length in 1_usize..100,
        ) {
            for listed in [listed, bytes.len() as u64] {
                let open = || Exact::new(&bytes[..], listed);
                let mut whole = Vec::new();
                let whole = open().read_to_end(&mut whole).map(|_| whole);
                for read in [read_by(open(), length), whole] {
                    match read {
                        Ok(read) => prop_assert!(read == bytes && read.len() as u64 == listed),
                        Err(error) => match StoreError::from(error) {
                            StoreError::Short { read, listed: of } => {
                                prop_assert_eq!((read, of), (bytes.len() as u64, listed));
                                prop_assert!(read < of);
                            }
                            StoreError::Long { .. } => prop_assert!(bytes.len() as u64 > listed),
                            other => panic!("{other}"),
                        },
                    }
                }
            }
        }
    }

    #[test]
    fn a_reader_that_ends_too_early_is_read_once_more() {
        let runs = |ends: usize| {
            let ends = std::iter::repeat_n(Vec::new(), ends);
            Runs([vec![1; 5]].into_iter().chain(ends).chain([vec![2; 7]]).collect())
        };
        for length in [1, 5, 100] {
            assert_eq!(read_by(Exact::new(runs(1), 12), length).unwrap().len(), 12);
            assert!(read_by(Exact::new(runs(2), 12), length).is_err());
        }
        let mut out = Vec::new();
        Exact::new(runs(1), 12).read_to_end(&mut out).unwrap();
        assert_eq!(out.len(), 12);
        let error = Exact::new(runs(2), 12).read_to_end(&mut Vec::new()).unwrap_err();
        assert!(error.to_string().starts_with("5 of 12 bytes were read"), "{error}");
    }
}
