//! Restores the selected objects of a dataset to a destination.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write};
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rayon::Scope;
use rayon::prelude::*;
use serde::Serialize;

use crate::dataset::claim::{Claim, Claimed, Hints, Log, Record, State};
use crate::dataset::layout::Dataset;
use crate::logs::key::Partition;
use crate::maintain::restore::destination::{self, Content, Large, Placed};
use crate::maintain::restore::{Object, Sink, Unrestorable, walk};
use crate::plan::{PlanError, Selection};
use crate::store::{FileKey, Target};
use crate::util::threads::{self, on_threads};

/// Maximum size in bytes of text that is written in one call. Larger objects are streamed.
const MAX_WHOLE: u64 = 64 << 20;
/// Maximum size in bytes of restored text that is waiting to be written. Above this limit, each thread writes the text
/// that it restores.
const MAX_WAITING: usize = 32 << 20;

/// A restoration that is ready to run.
pub(crate) struct Restoration<'a> {
    /// The dataset.
    pub(crate) dataset: &'a Dataset,
    /// The partitions to restore.
    pub(crate) selection: &'a Selection,
    /// URLs, keys or file names of the objects to restore. If empty, all objects are restored.
    pub(crate) objects: &'a [String],
    /// Stops the restoration when set.
    pub(crate) stop: &'a AtomicBool,
}

/// The result of a restoration. `--json` prints it as JSON; the keys are stable.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Summary {
    /// Number of selected objects.
    pub(crate) objects: u64,
    /// Number of objects that were written.
    pub(crate) restored: u64,
    /// Number of objects that already existed in the destination with the same text.
    pub(crate) existed: u64,
    /// Number of bytes of text that were written, before compression.
    pub(crate) bytes: u64,
    /// The objects, claims and partitions that cannot be restored.
    pub(crate) failures: Vec<Failed>,
}

/// An object, claim or partition that cannot be restored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Failed {
    /// The URL of an object, the name of a claim, or a partition.
    pub(crate) object: String,
    /// Code of the reason. The codes are stable.
    pub(crate) reason: &'static str,
    /// The reason.
    pub(crate) error: String,
}

/// A claim to restore.
struct Wanted<'a> {
    partition: &'a Partition,
    claim: &'a Claim,
}

impl Restoration<'_> {
    /// Writes the objects to a directory or a bucket.
    ///
    /// # Errors
    ///
    /// Fails if the claims cannot be read, or if `stop` is set. Objects that were already written are kept.
    pub(crate) fn to_target(&self, target: &Arc<dyn Target>) -> Result<Summary, PlanError> {
        let (logs, summary) = self.logs()?;
        let (claims, summary) = self.claims(&logs, summary);
        let shared = Shared {
            restoration: self,
            target,
            summary: Mutex::new(summary),
            found: Mutex::default(),
            waiting: AtomicUsize::new(0),
        };
        let at_once = self.dataset.target().reads_at_once().max(target.reads_at_once());
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let next = AtomicUsize::new(0);
        let pool = threads::pool(if at_once > 1 { at_once.max(cores) } else { cores })?;
        let walked = pool.in_place_scope(|scope| {
            on_threads(cores, || {
                while let Some(wanted) = claims.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut sink = ToTarget::new(&shared, scope, wanted);
                    walk(self.dataset, wanted.partition, wanted.claim, &mut sink, self.stop)?;
                }
                Ok(())
            })
        });
        walked.into_iter().collect::<Result<(), PlanError>>()?;
        let found = mem::take(&mut *lock(&shared.found));
        Ok(self.finish(shared.summary.into_inner().unwrap_or_else(PoisonError::into_inner), &found))
    }

    /// Writes the text of the objects to a stream, one object after the other. Also returns the stream's first error.
    ///
    /// # Errors
    ///
    /// Fails like [`Self::to_target`].
    pub(crate) fn to_stream(
        &self,
        stream: &mut dyn Write,
    ) -> Result<(Summary, io::Result<()>), PlanError> {
        let (logs, summary) = self.logs()?;
        let (claims, summary) = self.claims(&logs, summary);
        let (found, text) = (BTreeSet::new(), Vec::new());
        let mut sink = ToStream {
            restoration: self,
            claim: None,
            stream,
            result: Ok(()),
            found,
            text,
            summary,
        };
        for Wanted { partition, claim } in claims {
            sink.claim = Some(claim);
            walk(self.dataset, partition, claim, &mut sink, self.stop)?;
            if sink.result.is_err() {
                break;
            }
        }
        let ToStream { summary, found, mut result, .. } = sink;
        if result.is_ok() {
            result = stream.flush();
        }
        Ok((self.finish(summary, &found), result))
    }

    /// Reads the logs of the selected partitions.
    fn logs(&self) -> Result<(Vec<Log>, Summary), PlanError> {
        let hints = Hints::list(self.dataset)?;
        let partitions: Vec<&Partition> = hints
            .partitions()
            .filter(|partition| self.selection.wants_partition(partition))
            .collect();
        let read = |partition: &&Partition| {
            if self.stop.load(Ordering::Relaxed) {
                return Err(PlanError::Interrupted);
            }
            match Log::read(self.dataset, partition, &hints) {
                Ok(log) => Ok(Ok(log)),
                Err(error) if error.is_of_partition() => Ok(Err(Failed {
                    object: partition.to_string(),
                    reason: "invalid_state",
                    error: error.with_source(),
                })),
                Err(error) => Err(error.into()),
            }
        };
        let pool = threads::pool(self.dataset.target().reads_at_once())?;
        let read: Result<Vec<_>, PlanError> =
            pool.install(|| partitions.par_iter().map(read).collect());
        let (mut logs, mut summary) = (Vec::new(), Summary::default());
        for log in read? {
            match log {
                Ok(log) => logs.push(log),
                Err(failed) => summary.failures.push(failed),
            }
        }
        Ok((logs, summary))
    }

    /// Returns the published claims that may hold wanted objects.
    fn claims<'l>(&self, logs: &'l [Log], mut summary: Summary) -> (Vec<Wanted<'l>>, Summary) {
        let mut claims = Vec::new();
        for log in logs {
            for (number, entry) in log.unremoved() {
                let Record::Add(claim) = &entry.record else { continue };
                if entry.state == State::Aborted || !self.wants_claim(claim) {
                    continue;
                }
                if entry.state == State::Done {
                    claims.push(Wanted { partition: log.partition(), claim });
                } else {
                    summary.failures.push(Failed {
                        object: log.name(self.dataset, number),
                        reason: "unpublished",
                        error: "the files of this claim may not be published yet".to_owned(),
                    });
                }
            }
        }
        (claims, summary)
    }

    fn wants_claim(&self, claim: &Claim) -> bool {
        let name = |object: &str| object.rsplit('/').next().unwrap_or(object).to_owned();
        let names: BTreeSet<String> = self.objects.iter().map(|object| name(object)).collect();
        names.is_empty() || claim.objects.iter().any(|object| names.contains(&object.name))
    }

    /// Returns whether an object is wanted. Adds the index of its entry in `objects` to `found`.
    fn wants(&self, url: &str, object: Object<'_>, found: &mut BTreeSet<usize>) -> bool {
        let means =
            |named: &String| [url, object.key, &object.claimed.name].contains(&named.as_str());
        let entries = self.objects.iter().enumerate().filter(|(_, named)| means(named));
        let mut is_wanted = self.objects.is_empty();
        for (index, _) in entries {
            is_wanted = true;
            found.insert(index);
        }
        is_wanted
    }

    /// Adds the objects that were not found, and sorts the failures.
    fn finish(&self, mut summary: Summary, found: &BTreeSet<usize>) -> Summary {
        for (index, object) in self.objects.iter().enumerate() {
            if !found.contains(&index) {
                summary.failures.push(Failed {
                    object: object.clone(),
                    reason: "not_found",
                    error: "is not in the selected partitions of the dataset".to_owned(),
                });
            }
        }
        summary.failures.sort();
        summary
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// State shared by all threads.
struct Shared<'a> {
    restoration: &'a Restoration<'a>,
    target: &'a Arc<dyn Target>,
    summary: Mutex<Summary>,
    /// Indices of the `--object` values that were found.
    found: Mutex<BTreeSet<usize>>,
    /// Number of bytes of text that are waiting to be written.
    waiting: AtomicUsize,
}

impl Shared<'_> {
    fn placed(&self, url: String, bytes: u64, placed: anyhow::Result<Placed>) {
        let mut summary = lock(&self.summary);
        match placed {
            Ok(Placed::Written) => {
                summary.restored += 1;
                summary.bytes += bytes;
            }
            Ok(Placed::Existed) => summary.existed += 1,
            Err(error) => {
                let error = format!("{error:#}");
                summary.failures.push(Failed { object: url, reason: "not_written", error });
            }
        }
    }

    fn failed(&self, url: String, why: &Unrestorable) {
        let failed = Failed { object: url, reason: why.code(), error: why.to_string() };
        lock(&self.summary).failures.push(failed);
    }
}

/// Writes the objects of a claim to a directory or a bucket.
struct ToTarget<'s, 'scope> {
    shared: &'scope Shared<'scope>,
    scope: &'s Scope<'scope>,
    wanted: &'scope Wanted<'scope>,
    /// The destination's directories that have been listed, with the sizes of their files.
    listed: HashMap<String, HashMap<String, u64>>,
    open: Option<Open>,
}

/// The object that is being restored.
struct Open {
    key: FileKey,
    is_gzip: bool,
    text: Vec<u8>,
    large: Option<Large>,
    error: Option<anyhow::Error>,
}

impl<'s, 'scope> ToTarget<'s, 'scope> {
    fn new(
        shared: &'scope Shared<'scope>,
        scope: &'s Scope<'scope>,
        wanted: &'scope Wanted<'scope>,
    ) -> Self {
        Self { shared, scope, wanted, listed: HashMap::new(), open: None }
    }

    /// Returns the size of a file in the destination, if it exists.
    fn size(&mut self, key: &FileKey) -> anyhow::Result<Option<u64>> {
        let (directory, _) = key.split();
        if !self.listed.contains_key(directory) {
            let files = self.shared.target.list(directory)?.into_iter();
            let files = files.map(|stored| (stored.key, stored.size)).collect();
            self.listed.insert(directory.to_owned(), files);
        }
        Ok(self.listed[directory].get(&**key).copied())
    }

    /// Prepares to write an object. Returns `None` if it already exists in the destination.
    fn open(&mut self, object: Object<'_>) -> anyhow::Result<Option<Open>> {
        let Object { key, claimed, .. } = object;
        let target = self.shared.target;
        let is_gzip = destination::is_gzip(self.wanted.partition.log_type, key, claimed);
        let key = FileKey::parse(key)?;
        // If the object cannot be restored, `walk` reports the reason.
        if let Some(size) = self.size(&key)?
            && claimed.crc32.is_some()
        {
            destination::compare(target, &key, size, claimed)?;
            return Ok(None);
        }
        let size = claimed.uncompressed_size.unwrap_or_default();
        let large = (size > MAX_WHOLE).then(|| Large::begin(target, &key, is_gzip)).transpose()?;
        Ok(Some(Open { key, is_gzip, text: Vec::new(), large, error: None }))
    }
}

impl Sink for ToTarget<'_, '_> {
    fn begin(&mut self, object: Object<'_>) -> bool {
        let url = self.wanted.claim.url(object.claimed);
        if !self.shared.restoration.wants(&url, object, &mut lock(&self.shared.found)) {
            return false;
        }
        lock(&self.shared.summary).objects += 1;
        match self.open(object) {
            Ok(Some(open)) => self.open = Some(open),
            Ok(None) => self.shared.placed(url, 0, Ok(Placed::Existed)),
            Err(error) => self.shared.placed(url, 0, Err(error)),
        }
        self.open.is_some()
    }

    fn text(&mut self, text: &[u8]) -> Result<(), String> {
        let open = self.open.as_mut().expect("an object was begun");
        match &mut open.large {
            None => open.text.extend_from_slice(text),
            Some(large) => large.write_all(text).map_err(|error| {
                let message = error.to_string();
                open.error = Some(error.into());
                message
            })?,
        }
        Ok(())
    }

    fn end(&mut self, object: Object<'_>, result: Result<(), Unrestorable>) {
        let url = self.wanted.claim.url(object.claimed);
        let Open { key, is_gzip, text, large, error } =
            self.open.take().expect("an object was begun");
        let bytes = object.claimed.uncompressed_size.unwrap_or_default();
        match (result, error, large) {
            (Err(_), Some(error), _) => self.shared.placed(url, 0, Err(error)),
            (Err(why), None, _) => self.shared.failed(url, &why),
            (Ok(()), _, Some(large)) => {
                self.shared.placed(url, bytes, large.finish(object.claimed));
            }
            (Ok(()), _, None) => {
                let (shared, size) = (self.shared, text.len());
                let claimed: &Claimed = &self.wanted.claim.objects[object.index];
                let write = move || {
                    let content = Content { key: &key, text: &text, claimed, is_gzip };
                    shared.placed(url, bytes, destination::create(shared.target, &content));
                };
                if shared.waiting.fetch_add(size, Ordering::Relaxed) > MAX_WAITING {
                    write();
                    shared.waiting.fetch_sub(size, Ordering::Relaxed);
                } else {
                    self.scope.spawn(move |_| {
                        write();
                        shared.waiting.fetch_sub(size, Ordering::Relaxed);
                    });
                }
            }
        }
    }
}

/// Writes the text of objects to a stream. Objects up to [`MAX_WHOLE`] are verified before they are written.
struct ToStream<'a, 's> {
    restoration: &'a Restoration<'a>,
    claim: Option<&'a Claim>,
    stream: &'s mut dyn Write,
    /// The stream's first error.
    result: io::Result<()>,
    found: BTreeSet<usize>,
    text: Vec<u8>,
    summary: Summary,
}

impl ToStream<'_, '_> {
    fn url(&self, object: Object<'_>) -> String {
        self.claim.map(|claim| claim.url(object.claimed)).unwrap_or_default()
    }

    fn write(&mut self) -> Result<(), String> {
        self.result = self.stream.write_all(&self.text);
        self.text.clear();
        self.result.as_ref().map_err(ToString::to_string).copied()
    }
}

impl Sink for ToStream<'_, '_> {
    fn begin(&mut self, object: Object<'_>) -> bool {
        if self.result.is_err() {
            return false;
        }
        if !self.restoration.wants(&self.url(object), object, &mut self.found) {
            return false;
        }
        self.summary.objects += 1;
        true
    }

    fn text(&mut self, text: &[u8]) -> Result<(), String> {
        self.text.extend_from_slice(text);
        if self.text.len() as u64 > MAX_WHOLE { self.write() } else { Ok(()) }
    }

    fn end(&mut self, object: Object<'_>, result: Result<(), Unrestorable>) {
        if self.result.is_err() {
            return;
        }
        match result {
            Ok(()) => {
                if self.write().is_ok() {
                    self.summary.restored += 1;
                    self.summary.bytes += object.claimed.uncompressed_size.unwrap_or_default();
                }
            }
            Err(why) => {
                self.text.clear();
                let object = self.url(object);
                let (reason, error) = (why.code(), why.to_string());
                self.summary.failures.push(Failed { object, reason, error });
            }
        }
    }
}
