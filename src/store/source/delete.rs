//! Deletes objects from a source, unless they have changed since they were proved restorable.

use std::mem;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;

use crate::store::StoreError;
use crate::store::bulk_delete::{Answer, BulkDelete, MAX_OBJECTS};
use crate::store::source::listed::Directories;
use crate::store::source::{Kept, Listed, MAX_HEADS, Source};
use crate::store::tree::{self, Removed};

/// Pause before each attempt to delete objects.
const PAUSES: [Duration; 7] = [
    Duration::ZERO,
    Duration::from_millis(200),
    Duration::from_millis(600),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(10),
];
/// Error codes for objects that no longer exist.
const ABSENT: [&str; 3] = ["NoSuchKey", "NoSuchVersion", "NotFound"];
/// Error codes after which another attempt may delete the object, once the object has been checked again.
const TRANSIENT: [&str; 6] = [
    "InternalError",
    "SlowDown",
    "ServiceUnavailable",
    "ConditionalRequestConflict",
    "OperationAborted",
    "RequestTimeout",
];

/// An object that was requested by key.
#[derive(Debug)]
pub(crate) struct Current {
    /// The object.
    pub listed: Listed,
    /// Version ID of the object, if its bucket has versioning.
    pub version: Option<String>,
}

/// The result of deleting an object.
#[derive(Debug)]
pub(crate) enum Deletion {
    /// It was deleted. `marker` is set if the bucket has versioning: a delete marker now hides the object.
    Deleted { marker: bool },
    /// It did not exist.
    Absent,
    /// The object has changed, so it was not deleted.
    Changed,
    /// It may still exist.
    Failed(StoreError),
}

impl Source {
    /// Returns why objects in this source cannot be deleted, or `None` if they can.
    pub(crate) fn refuses_deletion(&self) -> Option<&'static str> {
        match (&self.kept, &self.bulk_delete) {
            (Kept::Local(_), _) | (_, Some(_)) => None,
            _ => Some("objects can be deleted only on disk and in S3"),
        }
    }

    /// Returns the key of the object with this URL, as [`Self::current`] expects it, and its path below the source.
    /// Returns `None` if the object is not below the source.
    pub(crate) fn locate_url<'a>(&self, url: &'a str) -> Option<(&'a str, &'a str)> {
        let key = url.strip_prefix(&self.url)?.strip_prefix('/')?;
        let below = url.strip_prefix(&self.address())?.strip_prefix('/')?;
        self.holds(key).then_some((key, below))
    }

    /// Requests the current metadata of objects by key, concurrently.
    pub(crate) fn current(&self, keys: &[&str]) -> Vec<Result<Current, StoreError>> {
        let look = |key: &str| {
            let key = key.to_owned();
            async move { self.head(&key).await.map_err(|error| self.unfound(&key, error)) }
        };
        let found = stream::iter(keys).map(|key| look(key)).buffered(MAX_HEADS).collect::<Vec<_>>();
        let mut directories = Directories::default();
        let found = self.requests.wait(found).into_iter();
        let mut current =
            |(entry, version)| Current { listed: self.listed(&entry, &mut directories), version };
        found.map(|found| Ok(current(found?))).collect()
    }

    /// Deletes objects, each only if it still has its ETag and size.
    ///
    /// Each object is checked just before its request, because not every store checks the ETags in a request. After a
    /// failed request, the remaining objects are checked again before another attempt.
    pub(crate) fn delete(&self, objects: &[Listed]) -> Vec<Deletion> {
        let keys = objects.iter().map(|object| self.below(&object.key()).to_owned());
        let keys: Vec<String> = keys.collect();
        if let Kept::Local(directory) = &self.kept {
            let remove = |(key, object): (&String, &Listed)| match tree::remove(
                directory,
                key,
                object.condition(),
                object.size,
            ) {
                Ok(Removed::Now) => Deletion::Deleted { marker: false },
                Ok(Removed::Before) => Deletion::Absent,
                Ok(Removed::Not) => Deletion::Changed,
                Err(error) => Deletion::Failed(error.into()),
            };
            return keys.iter().zip(objects).map(remove).collect();
        }
        let mut all = Vec::with_capacity(objects.len());
        for (keys, objects) in keys.chunks(MAX_OBJECTS).zip(objects.chunks(MAX_OBJECTS)) {
            let states = keys.iter().map(|_| State::Open { requested: false, error: None });
            let mut batch = Batch { source: self, keys, objects, states: states.collect() };
            self.requests.wait(batch.run());
            all.extend(batch.end());
        }
        all
    }

    fn unreadable(&self, key: &str, problem: &str) -> StoreError {
        StoreError::Unreadable { name: format!("{}/{key}", self.url), problem: problem.to_owned() }
    }
}

/// The objects in one request.
struct Batch<'a> {
    source: &'a Source,
    keys: &'a [String],
    objects: &'a [Listed],
    states: Vec<State>,
}

enum State {
    /// Another attempt is needed.
    Open {
        /// Whether a request may already have deleted the object.
        requested: bool,
        /// The error of the last attempt.
        error: Option<StoreError>,
    },
    /// The result is known.
    Done(Deletion),
}

impl Batch<'_> {
    async fn run(&mut self) {
        let Some(bulk_delete) = &self.source.bulk_delete else { return };
        for pause in PAUSES {
            tokio::time::sleep(pause).await;
            let request = self.check().await;
            if request.is_empty() {
                return;
            }
            let (keys, objects) = (self.keys, self.objects);
            let condition = |at: &usize| objects[*at].condition().unwrap_or_default();
            let named: Vec<_> = request.iter().map(|at| (&*keys[*at], condition(at))).collect();
            let mut answers = bulk_delete.send(&named).await;
            for at in request {
                let key = &self.keys[at];
                let (error, is_final) = match &mut answers {
                    Err(failure) => (failure.of_object(key), failure.is_final()),
                    Ok(answers) => match answers.remove(key) {
                        Some(Answer::Deleted { marker }) => {
                            self.states[at] = State::Done(Deletion::Deleted { marker });
                            continue;
                        }
                        Some(Answer::Refused { code, .. }) if ABSENT.contains(&&*code) => {
                            self.states[at] = State::Done(Deletion::Absent);
                            continue;
                        }
                        Some(Answer::Refused { code, .. }) if code == "PreconditionFailed" => {
                            self.states[at] = State::Done(Deletion::Changed);
                            continue;
                        }
                        Some(Answer::Refused { code, message }) => {
                            let error = Answer::error(&code, &message, key);
                            (error, !TRANSIENT.contains(&&*code))
                        }
                        None => (Answer::error("", "the response omits the object", key), false),
                    },
                };
                self.states[at] = if is_final {
                    State::Done(Deletion::Failed(error.into()))
                } else {
                    State::Open { requested: true, error: Some(error.into()) }
                };
            }
        }
    }

    /// Checks the objects that need another attempt. Returns the indices of the objects that still exist and are
    /// unchanged.
    async fn check(&mut self) -> Vec<usize> {
        let is_open = |at: &usize| matches!(self.states[*at], State::Open { .. });
        let open: Vec<usize> = (0..self.states.len()).filter(is_open).collect();
        let (source, keys) = (self.source, self.keys);
        let heads = stream::iter(&open).map(|at| source.head(&keys[*at])).buffered(MAX_HEADS);
        let heads: Vec<_> = heads.collect().await;
        let mut unchanged = Vec::new();
        for (at, head) in open.into_iter().zip(heads) {
            let (key, object) = (&self.keys[at], &self.objects[at]);
            let requested = matches!(self.states[at], State::Open { requested: true, .. });
            let deletion = match head {
                Ok((entry, _)) if entry.size != object.size => Deletion::Changed,
                Ok((entry, _)) if entry.e_tag.as_deref() != object.condition() => Deletion::Changed,
                Ok(_) if object.condition().is_none() || !BulkDelete::accepts(key) => {
                    let problem = "it has no ETag, or its key contains control characters";
                    Deletion::Failed(self.source.unreadable(key, problem))
                }
                Ok(_) => {
                    unchanged.push(at);
                    continue;
                }
                // An earlier request deleted the object, but its response was lost.
                Err(StoreError::Store(object_store::Error::NotFound { .. })) if requested => {
                    Deletion::Deleted { marker: false }
                }
                Err(StoreError::Store(object_store::Error::NotFound { .. })) => Deletion::Absent,
                Err(error) => Deletion::Failed(error),
            };
            self.states[at] = State::Done(deletion);
        }
        unchanged
    }

    fn end(&mut self) -> Vec<Deletion> {
        let states = mem::take(&mut self.states);
        let end = |(state, key): (State, &String)| match state {
            State::Done(deletion) => deletion,
            State::Open { error, .. } => Deletion::Failed(error.unwrap_or_else(|| {
                let problem = self.source.refuses_deletion().unwrap_or("it was not requested");
                self.source.unreadable(key, problem)
            })),
        };
        states.into_iter().zip(self.keys).map(end).collect()
    }
}
