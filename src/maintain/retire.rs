//! Retires source objects: proves that their text can be restored from the dataset, and deletes or lists them.
//!
//! An object is deleted only if its claim is published, its text was restored and compared with the claim, and the
//! object in the source is still the one that was converted. Before objects are deleted, an amendment in the log of
//! their partition records them as retired. Therefore, every deletion is recorded even if the run is killed, and a
//! later run finishes the rest.

mod batch_operations;
mod proof;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rayon::ThreadPoolBuildError;
use rayon::prelude::*;
use serde::Serialize;

use crate::dataset::claim::{Amended, Claim, Hints, Log, Record, State};
use crate::dataset::file::PublishedFile;
use crate::dataset::held::HeldObject;
use crate::dataset::layout::{Dataset, DatasetError};
use crate::logs::key::{Key, Partition};
use crate::maintain::retire::proof::Proofs;
use crate::plan::{Failure, Remedy, Scope, Selection};
use crate::store::{Cause, Current, Deletion, Listed, Source, StoreError};
use crate::util::threads;

pub use crate::maintain::retire::batch_operations::{Manifest, ManifestError};

/// Maximum number of objects per log entry and per request.
const OBJECTS_AT_ONCE: usize = 1000;

/// Restores the objects of a claim in memory, and compares them with the claim. Returns the results by index in
/// [`Claim::objects`]; an object without a result is not proved.
pub type Prove<'a> = dyn Fn(
        &Dataset,
        &Partition,
        &Claim,
        &AtomicBool,
    ) -> anyhow::Result<Vec<(usize, Result<(), String>)>>
    + Sync
    + 'a;

/// A retirement that is ready to run.
pub struct Retirement<'a> {
    /// The sources of the objects.
    pub sources: &'a [Source],
    /// The dataset that holds the objects.
    pub dataset: &'a Dataset,
    /// The selected partitions, and the scopes of the sources.
    pub selection: &'a Selection,
    /// What to do with the objects.
    pub action: Action<'a>,
    /// Maximum age of recorded proofs to use. If `None`, each claim is proved again.
    pub proof_age: Option<Duration>,
    /// Function that proves a claim.
    pub prove: &'a Prove<'a>,
    /// Stops the retirement when set.
    pub stop: &'a AtomicBool,
}

/// What to do with proved objects.
pub enum Action<'a> {
    /// Only count them.
    List,
    /// Write them to a manifest. If `record` is set, also record them as retired.
    Manifest {
        /// The manifest.
        manifest: &'a Mutex<Manifest>,
        /// Whether to record the objects as retired, because they will be deleted.
        record: bool,
    },
    /// Record them as retired, and delete them.
    Delete,
}

/// Why an object is not retired, as printed by `--json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    /// The object in the source is not the one that was converted.
    Changed,
    /// The object was damaged when it was converted, so the dataset lacks part of its text.
    Damaged,
    /// The object does not exist in the source, although no run has retired it.
    Missing,
    /// The object's key belongs to a different partition than its claim.
    Misplaced,
    /// The source has no ETags, so a changed object cannot be detected.
    NoETag,
    /// The claim is not published yet, or is being removed.
    NotPublished,
    /// The dataset has no originals of the object: an earlier version converted it.
    WithoutOriginals,
}

impl Kept {
    /// Returns a description, phrased as a predicate whose subject is the object.
    pub(crate) fn why(self) -> &'static str {
        match self {
            Self::Changed => "is not the object that was converted: its size, ETag or time differs",
            Self::Damaged => "was damaged when it was converted",
            Self::Missing => "no longer exists in SOURCE, but was not retired",
            Self::Misplaced => "is in a different partition of SOURCE than its claim states",
            Self::NoETag => "has no ETag, so changes cannot be detected",
            Self::NotPublished => "is in a claim that is not published, or is being removed",
            Self::WithoutOriginals => "was converted by a version that did not store originals",
        }
    }
}

/// Objects that are not retired for the same reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeptObjects {
    /// Number of objects.
    pub objects: u64,
    /// URL of one of them.
    pub example: String,
}

/// The proved objects of a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RetiredPartition {
    /// The partition.
    #[serde(flatten)]
    pub partition: Partition,
    /// Number of proved objects that are unchanged in the source.
    pub objects: u64,
    /// Compressed bytes of these objects.
    pub bytes: u64,
}

/// The result of a retirement. `--json` prints it as JSON; the keys are stable.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    /// Number of proved objects that were unchanged in the source when they were checked.
    pub objects: u64,
    /// Compressed bytes of these objects.
    pub bytes: u64,
    /// Number of these objects that this run deleted.
    pub deleted: u64,
    /// Number of deleted objects that are only hidden by a delete marker, because their bucket is versioned.
    pub delete_markers: u64,
    /// Number of objects that an earlier run recorded as retired and that no longer exist in the source.
    pub deleted_before: u64,
    /// Number of objects that this run recorded as retired.
    pub recorded: u64,
    /// Number of claimed objects that are not in any of the sources.
    pub elsewhere: u64,
    /// Number of claims that this run proved.
    pub claims_proved: u64,
    /// Number of recorded proofs that were used.
    pub proofs_used: u64,
    /// Objects that are not retired, by reason.
    pub kept: BTreeMap<Kept, KeptObjects>,
    /// The partitions with proved objects.
    pub partitions: Vec<RetiredPartition>,
    /// Partitions that cannot be read, and objects that cannot be restored, checked or deleted.
    pub failures: Vec<Failure>,
}

/// Why a retirement was not completed.
#[derive(Debug, thiserror::Error)]
pub enum RetireError {
    /// The dataset is redacted.
    #[error("the dataset is redacted, so the original objects cannot be restored from it")]
    Redacted,
    /// Objects cannot be deleted from a source.
    #[error("{name}: {why}")]
    Undeletable {
        /// The source as the user specified it.
        name: String,
        /// The reason.
        why: &'static str,
    },
    /// The source denies deletions, or there are no credentials.
    #[error("source objects cannot be deleted: {0}")]
    Denied(StoreError),
    /// The manifest cannot be written.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The dataset cannot be read or written.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The threads cannot be started.
    #[error("threads cannot be started")]
    Threads(#[from] ThreadPoolBuildError),
    /// The user interrupted the program.
    #[error("interrupted")]
    Interrupted,
}

/// A claimed object in one of the sources.
struct Candidate {
    held: HeldObject,
    retired: bool,
    url: String,
    source: usize,
    key: String,
}

/// A candidate that is unchanged in the source.
struct Unchanged {
    name: String,
    url: String,
    source: usize,
    key: String,
    listed: Listed,
    version: Option<String>,
}

impl Summary {
    fn keep(&mut self, why: Kept, url: String) {
        let kept = self.kept.entry(why).or_insert(KeptObjects { objects: 0, example: url });
        kept.objects += 1;
    }

    fn add(mut self, other: Self) -> Self {
        self.objects += other.objects;
        self.bytes += other.bytes;
        self.deleted += other.deleted;
        self.delete_markers += other.delete_markers;
        self.deleted_before += other.deleted_before;
        self.recorded += other.recorded;
        self.elsewhere += other.elsewhere;
        self.claims_proved += other.claims_proved;
        self.proofs_used += other.proofs_used;
        for (why, KeptObjects { objects, example }) in other.kept {
            self.kept.entry(why).or_insert(KeptObjects { objects: 0, example }).objects += objects;
        }
        self.partitions.extend(other.partitions);
        self.failures.extend(other.failures);
        self
    }
}

impl Retirement<'_> {
    /// Proves the selected objects, and lists or deletes those that are proved and unchanged in the source.
    ///
    /// # Errors
    ///
    /// Fails if the dataset is redacted or cannot be read or written, if the source denies deletions, or if `stop` is
    /// set. Objects that were deleted before the error are recorded as retired and counted in `summary`. The next run
    /// continues.
    pub fn run(&self, summary: &mut Summary) -> Result<(), RetireError> {
        if !self.dataset.redaction().is_empty() {
            return Err(RetireError::Redacted);
        }
        if matches!(self.action, Action::Delete) {
            for source in self.sources {
                if let Some(why) = source.refuses_deletion() {
                    return Err(RetireError::Undeletable { name: source.to_string(), why });
                }
            }
        }
        let hints = Hints::list(self.dataset)?;
        let partitions: Vec<&Partition> = hints
            .partitions()
            .filter(|partition| self.selection.wants_partition(partition))
            .collect();
        let failed = AtomicBool::new(false);
        let retire = |partition: &&Partition| {
            let mut summary = Summary::default();
            if failed.load(Ordering::Relaxed) {
                return (summary, Ok(()));
            }
            let result = self.retire_partition(partition, &hints, &mut summary);
            failed.fetch_or(result.is_err(), Ordering::Relaxed);
            (summary, result)
        };
        let all: Vec<_> = threads::pool(0)?.install(|| partitions.par_iter().map(retire).collect());
        let (summaries, results): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        *summary = summaries.into_iter().fold(Summary::default(), Summary::add);
        results.into_iter().collect()
    }

    fn retire_partition(
        &self,
        partition: &Partition,
        hints: &Hints,
        summary: &mut Summary,
    ) -> Result<(), RetireError> {
        let mut log = match Log::read(self.dataset, partition, hints) {
            Ok(log) => log,
            Err(error) if error.is_of_partition() => {
                let failure = Failure::new(partition.to_string(), error.with_source());
                summary.failures.push(failure.with_remedy(Remedy::of(&error)));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let proofs = Proofs::read(self.dataset, partition, self.proof_age)?;
        for (number, candidates) in self.candidates(&log, summary) {
            if self.stop.load(Ordering::Relaxed) {
                return Err(RetireError::Interrupted);
            }
            let unchanged = self.check(partition, &candidates, summary);
            if unchanged.is_empty() {
                continue;
            }
            let claim = log.entry(number).record.claim().cloned().expect("the entry is a claim");
            let proved = self.prove(&log, number, &claim, &proofs, unchanged, summary)?;
            for some in proved.chunks(OBJECTS_AT_ONCE) {
                if self.stop.load(Ordering::Relaxed) {
                    return Err(RetireError::Interrupted);
                }
                if !self.act(&mut log, number, &claim, some, summary)? {
                    break;
                }
            }
        }
        if summary.objects > 0 {
            let (partition, objects, bytes) = (partition.clone(), summary.objects, summary.bytes);
            summary.partitions.push(RetiredPartition { partition, objects, bytes });
        }
        Ok(())
    }

    /// Returns, for each claim, the objects that are in one of the sources and can be proved.
    fn candidates(&self, log: &Log, summary: &mut Summary) -> Vec<(usize, Vec<Candidate>)> {
        let amendments = log.amendments();
        let mut claims = Vec::new();
        for (number, entry) in log.unremoved() {
            let Record::Add(claim) = &entry.record else { continue };
            if entry.state == State::Aborted {
                continue;
            }
            let is_published = entry.state == State::Done && !log.is_removed(number);
            let mut candidates = Vec::new();
            for (claimed, held) in HeldObject::of(number, claim, &amendments) {
                let url = claim.url(claimed);
                let Some((source, key)) = self.locate(&url) else {
                    summary.elsewhere += 1;
                    continue;
                };
                if !is_published {
                    summary.keep(Kept::NotPublished, url);
                } else if claim.fields.is_none() {
                    summary.keep(Kept::WithoutOriginals, url);
                } else if claimed.crc32.is_none() || claimed.uncompressed_size.is_none() {
                    summary.keep(Kept::Damaged, url);
                } else {
                    let (key, retired) = (key.to_owned(), amendments.is_retired(number, claimed));
                    candidates.push(Candidate { held, retired, url, source, key });
                }
            }
            claims.push((number, candidates));
        }
        claims
    }

    /// Returns the source that contains the object with this URL, and the key of the object.
    fn locate<'u>(&self, url: &'u str) -> Option<(usize, &'u str)> {
        self.sources.iter().enumerate().find_map(|(index, source)| {
            let (key, below) = source.locate_url(url)?;
            let is_selected = match self.selection.scope(index) {
                Scope::All => true,
                Scope::Names(names) => names.iter().any(|name| name == below),
                Scope::Matching(matching) => matching.holds(below),
            };
            is_selected.then_some((index, key))
        })
    }

    /// Returns the candidates that still exist in the source and have not changed since they were converted.
    fn check(
        &self,
        partition: &Partition,
        candidates: &[Candidate],
        summary: &mut Summary,
    ) -> Vec<Unchanged> {
        let mut unchanged = Vec::new();
        for of_source in candidates.chunk_by(|a, b| a.source == b.source) {
            let Some(first) = of_source.first() else { continue };
            let keys: Vec<&str> = of_source.iter().map(|candidate| &*candidate.key).collect();
            let found = self.sources[first.source].current(&keys);
            for (candidate, found) in of_source.iter().zip(found) {
                let Candidate { held, retired, url, source, key } = candidate;
                let url = url.clone();
                match found {
                    Err(error) if error.is_absent() && *retired => summary.deleted_before += 1,
                    Err(error) if error.is_absent() => summary.keep(Kept::Missing, url),
                    Err(error) => {
                        summary.failures.push(Failure::new(url, error.to_string()));
                    }
                    Ok(Current { listed, version }) => match difference(held, &listed, partition) {
                        Some(why) => summary.keep(why, url),
                        None => unchanged.push(Unchanged {
                            name: held.name.to_string(),
                            url,
                            source: *source,
                            key: key.clone(),
                            listed,
                            version,
                        }),
                    },
                }
            }
        }
        unchanged
    }

    /// Returns the objects whose text can be restored.
    fn prove(
        &self,
        log: &Log,
        number: usize,
        claim: &Claim,
        proofs: &Proofs,
        mut objects: Vec<Unchanged>,
        summary: &mut Summary,
    ) -> Result<Vec<Unchanged>, RetireError> {
        let proof = if let Some(proof) = proofs.find(self.dataset, number, claim)? {
            summary.proofs_used += 1;
            proof
        } else {
            let proved = match self.damage(claim, true)? {
                Some(problem) => Err(anyhow::Error::msg(problem)),
                None => (self.prove)(self.dataset, log.partition(), claim, self.stop),
            };
            match proved {
                Ok(results) => {
                    summary.claims_proved += 1;
                    proofs.record(self.dataset, number, claim, results)?
                }
                Err(_) if self.stop.load(Ordering::Relaxed) => {
                    return Err(RetireError::Interrupted);
                }
                Err(error) => {
                    let name = log.name(self.dataset, number);
                    let failure = Failure::new(name, format!("{error:#}"));
                    summary.failures.push(failure.with_remedy(Some(Remedy::Prove)));
                    return Ok(Vec::new());
                }
            }
        };
        objects.retain(|object| match proof.problem(&object.name) {
            None => true,
            Some(problem) => {
                let error = format!("cannot be restored: {problem}");
                summary.failures.push(Failure::new(object.url.clone(), error));
                false
            }
        });
        Ok(objects)
    }

    /// Returns a description of the first file that does not match its claim. If `whole` is set, compares all bytes.
    ///
    /// Restoring the text reads only parts of the files. If another part is damaged, the objects must be converted
    /// again, so they must not be deleted from the source.
    fn damage(&self, claim: &Claim, whole: bool) -> Result<Option<String>, DatasetError> {
        for output in &claim.outputs {
            let name = self.dataset.target().name(&output.file.key);
            match self.dataset.target().size(&output.file.key)? {
                None => return Ok(Some(format!("{name} is gone"))),
                Some(size) if size != output.file.size => {
                    return Ok(Some(format!(
                        "{name} has {size} bytes instead of {}",
                        output.file.size
                    )));
                }
                Some(_) if !whole => {}
                Some(_) => {
                    if PublishedFile::new(self.dataset, output).sha256()? != output.file.sha256 {
                        return Ok(Some(format!("{name} does not match the SHA-256 in its claim")));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Lists or deletes proved objects. Returns `false` if the dataset no longer holds them.
    fn act(
        &self,
        log: &mut Log,
        number: usize,
        claim: &Claim,
        objects: &[Unchanged],
        summary: &mut Summary,
    ) -> Result<bool, RetireError> {
        let is_recorded = match &self.action {
            Action::List => false,
            Action::Manifest { record, .. } => *record,
            Action::Delete => true,
        };
        if is_recorded {
            if let Some(problem) = self.damage(claim, false)? {
                summary.failures.push(Failure::new(log.name(self.dataset, number), problem));
                return Ok(false);
            }
            // Objects that an earlier run recorded are recorded again, because the new entry also shows that no other
            // run has removed the claim since its log was read.
            let retired = objects.iter().map(|object| Amended {
                claim: number,
                name: object.name.clone(),
                retired: true,
                ..Amended::default()
            });
            if !log.retire(self.dataset, retired.collect())? {
                let problem = "another run is removing its objects from the dataset";
                summary.failures.push(Failure::new(log.name(self.dataset, number), problem));
                return Ok(false);
            }
            summary.recorded += objects.len() as u64;
        }
        summary.objects += objects.len() as u64;
        summary.bytes += objects.iter().map(|object| object.listed.size).sum::<u64>();
        match &self.action {
            Action::List => {}
            Action::Manifest { manifest, .. } => {
                let mut manifest = manifest.lock().unwrap_or_else(PoisonError::into_inner);
                for object in objects {
                    manifest.add(&object.key, object.version.as_deref())?;
                }
            }
            Action::Delete => self.delete(objects, summary)?,
        }
        Ok(true)
    }

    fn delete(&self, objects: &[Unchanged], summary: &mut Summary) -> Result<(), RetireError> {
        for of_source in objects.chunk_by(|a, b| a.source == b.source) {
            let Some(first) = of_source.first() else { continue };
            let listed: Vec<Listed> =
                of_source.iter().map(|object| object.listed.clone()).collect();
            let (mut failed, mut denied) = (0, None);
            let deletions = self.sources[first.source].delete(&listed);
            for (object, deletion) in of_source.iter().zip(deletions) {
                match deletion {
                    Deletion::Deleted { marker } => {
                        summary.deleted += 1;
                        summary.delete_markers += u64::from(marker);
                    }
                    // Another run or the user deleted the object after this run had checked it.
                    Deletion::Absent => summary.deleted_before += 1,
                    Deletion::Changed => summary.keep(Kept::Changed, object.url.clone()),
                    Deletion::Failed(error) => {
                        failed += 1;
                        let why = format!("was not deleted: {error}");
                        summary.failures.push(Failure::new(object.url.clone(), why));
                        if matches!(error.cause(), Some(Cause::Denied | Cause::NoCredentials)) {
                            denied = Some(error);
                        }
                    }
                }
            }
            // If a request is denied for all of its objects, the next request will be denied, too.
            if let Some(error) = denied.filter(|_| failed == of_source.len()) {
                return Err(RetireError::Denied(error));
            }
        }
        Ok(())
    }
}

/// Returns how the object in the source differs from the one that was converted, or `None` if they are the same.
fn difference(held: &HeldObject, listed: &Listed, partition: &Partition) -> Option<Kept> {
    if !Key::parse(&listed.key()).is_ok_and(|key| key.partition == *partition) {
        return Some(Kept::Misplaced);
    }
    match (&held.e_tag, listed.e_tag()) {
        _ if listed.size != held.size => Some(Kept::Changed),
        (Some(before), Some(now)) if before == now => None,
        (Some(_), Some(_)) => Some(Kept::Changed),
        _ => Some(Kept::NoETag),
    }
}
