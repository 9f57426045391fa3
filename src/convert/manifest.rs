//! Batch descriptions: one line of JSON describes a batch, so that a run on any machine can convert it. Another line
//! reports the outcome.
//!
//! `plan --jsonl` writes descriptions. `convert --batches` reads them and writes outcomes. A description is no more
//! trusted than a listing: the partition of an object is derived from its key, and claims determine whether the object
//! is new.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::convert::tally::{ARCHIVED, CONVERTED_CONCURRENTLY, Tally};
use crate::convert::touched::{Compared, Comparison};
use crate::dataset::ledger::Ledger;
use crate::dataset::shard::Shard;
use crate::logs::key::{Key, Partition, from_root, identity};
use crate::plan::inventory;
use crate::plan::{self, Batch, Before, Failure, Object, Plan, PlanError, Touched, Verdict};
use crate::store::{Lines, MAX_SIZE, Named, Network, Source, StoreError, open_text};
use crate::util::hash::hex;

/// Maximum length of a description line in bytes: enough for about a million objects.
const MAX_LINE: usize = 128 << 20;

/// The description of a batch, for the run that converts it. Its JSON keys are stable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Hash of the partition and the object names.
    pub batch: String,
    /// Partition of the rows.
    #[serde(flatten)]
    pub partition: Partition,
    /// Compressed size of the objects in bytes.
    pub bytes: u64,
    /// The objects, grouped by source and key prefix.
    pub groups: Vec<Group>,
}

/// Objects in one source whose keys share a prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// URL of the source.
    pub source: String,
    /// Prefix of the keys.
    pub prefix: String,
    /// The objects.
    pub objects: Vec<Described>,
}

/// The description of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Described {
    /// The rest of the key, after the prefix.
    pub name: String,
    /// Compressed size in bytes.
    pub size: u64,
    /// ETag of the object, if the store returns one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e_tag: Option<String>,
}

/// The outcome of a batch. Its JSON keys are stable. Each object in the description is counted exactly once: as
/// converted (`objects`), converted before, archived, duplicate or failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Hash of the partition and the object names.
    pub batch: String,
    /// Partition of the rows.
    #[serde(flatten)]
    pub partition: Partition,
    /// Objects that were read to their end.
    pub objects: u64,
    /// Objects that were converted earlier, or by a concurrent run.
    pub converted_before: u64,
    /// Objects that must be restored before they can be read.
    pub archived: u64,
    /// Objects that are also in another batch of the same run.
    pub duplicate: u64,
    /// Objects that could not be read, or could be read only partly.
    pub failed: u64,
    /// Lines read.
    pub lines: u64,
    /// Lines of text that were joined to the preceding line. They are not counted in `lines`.
    pub joined_lines: u64,
    /// Lines that became rows.
    pub rows: u64,
    /// Lines that were rejected.
    pub rejects: u64,
    /// Lines that no form reproduces, so their bytes are stored.
    #[serde(default)]
    pub verbatim_lines: u64,
    /// Number of row files written.
    pub files: u64,
    /// Number of reject files written.
    pub reject_files: u64,
    /// Number of originals files written.
    #[serde(default)]
    pub original_files: u64,
    /// Compressed bytes read.
    pub bytes_in: u64,
    /// Decompressed bytes.
    pub bytes_decompressed: u64,
    /// Bytes of Parquet files written.
    pub bytes_out: u64,
    /// Duration of the conversion in seconds.
    pub seconds: f64,
    /// Objects that failed, and claims in the partition that cannot be applied.
    pub failures: Vec<Failure>,
}

/// The batch descriptions cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BatchesError {
    /// The file cannot be opened or read.
    #[error("{name} cannot be read")]
    Read {
        /// The name of the file, as the user specified it.
        name: String,
        /// The cause.
        source: Box<StoreError>,
    },
    /// A line is not a valid description.
    #[error("{name}, line {line}: {why}")]
    Line {
        /// The name of the file, as the user specified it.
        name: String,
        /// The line number, starting at 1.
        line: usize,
        /// The reason.
        why: BadLine,
    },
    /// A source in a line cannot be opened.
    #[error("{name}, line {line}")]
    Source {
        /// The name of the file, as the user specified it.
        name: String,
        /// The line number, starting at 1.
        line: usize,
        /// The cause.
        source: Box<StoreError>,
    },
    /// Dividing batches into shards requires two passes, but standard input can be read only once.
    #[error(
        "batches from stdin cannot be divided into shards, because stdin can be read only once"
    )]
    Once,
}

/// The reason that a line is not a valid batch description.
#[derive(Debug, thiserror::Error)]
pub enum BadLine {
    /// The line is not JSON, or a key is missing.
    #[error("this is not a batch of a plan: {0}")]
    Json(#[from] serde_json::Error),
    /// The line is invalid and contains credentials, so it is not quoted.
    #[error("this is not a batch of a plan, and contains a URL with credentials (not shown here)")]
    Secret,
    /// The batch has no objects.
    #[error("the batch has no objects")]
    Empty,
    /// A key is not a log key, or belongs to another partition.
    #[error("{key} is not the key of a log in {partition}")]
    Key {
        /// The key.
        key: String,
        /// The partition in the line.
        partition: Partition,
    },
    /// An object has an impossible size.
    #[error("{0} has an impossible size")]
    Size(String),
    /// An object occurs twice.
    #[error("{0} occurs twice")]
    Twice(String),
    /// A value in the line contradicts the line's objects.
    #[error("the line was changed: `{what}` is {stated}, but {found} according to its objects")]
    Changed {
        /// The JSON key.
        what: &'static str,
        /// The value in the line.
        stated: String,
        /// The value computed from the objects.
        found: String,
    },
}

impl Description {
    /// Describes a batch.
    pub fn of(batch: &Batch, sources: &[Source]) -> Self {
        let mut groups: Vec<Group> = Vec::new();
        let mut places = HashMap::new();
        for object in &batch.objects {
            let mut prefix = object.listed.key();
            let name = prefix.split_off(shared_length(&prefix));
            let place = *places.entry((object.source, prefix)).or_insert_with_key(|(_, prefix)| {
                let (source, prefix) = (sources[object.source].address(), prefix.clone());
                groups.push(Group { source, prefix, objects: Vec::new() });
                groups.len() - 1
            });
            let (size, e_tag) = (object.listed.size, object.listed.e_tag().map(ToOwned::to_owned));
            groups[place].objects.push(Described { name, size, e_tag });
        }
        let id = id(&batch.partition, batch.objects.iter().map(Object::name));
        let partition = Partition::clone(&batch.partition);
        Self { batch: id, partition, bytes: batch.bytes(), groups }
    }

    /// Parses a line.
    ///
    /// # Errors
    ///
    /// Fails if the line is not a valid description.
    pub fn parse(line: &[u8]) -> Result<Self, BadLine> {
        let description: Self = serde_json::from_slice(line)?;
        let Self { batch, partition, bytes, groups } = &description;
        let (mut names, mut sum) = (Vec::new(), 0_u64);
        for Group { prefix, objects, .. } in groups {
            for Described { name, size, .. } in objects {
                let key = format!("{prefix}{name}");
                match Key::parse(&key) {
                    Ok(key) if key.partition == *partition => names.push(key.name),
                    _ => return Err(BadLine::Key { key, partition: partition.clone() }),
                }
                if *size > MAX_SIZE {
                    return Err(BadLine::Size(key));
                }
                sum = sum.saturating_add(*size);
            }
        }
        names.sort_unstable();
        if names.is_empty() {
            return Err(BadLine::Empty);
        }
        if let Some(pair) = names.windows(2).find(|pair| identity(&pair[0]) == identity(&pair[1])) {
            return Err(BadLine::Twice(pair[0].clone()));
        }
        let id = id(partition, names.iter().map(String::as_str));
        let changed = |what, stated: &dyn ToString, found: &dyn ToString| {
            Err(BadLine::Changed { what, stated: stated.to_string(), found: found.to_string() })
        };
        if id != *batch {
            return changed("batch", batch, &id);
        }
        if sum != *bytes {
            return changed("bytes", bytes, &sum);
        }
        Ok(description)
    }

    /// Opens the sources. Returns the batch and its preliminary outcome, which counts the objects that no longer exist
    /// or have changed.
    fn open(self, sources: &mut Sources) -> Result<(Batch, Outcome), StoreError> {
        let partition = Arc::new(self.partition);
        let mut outcome = Outcome::new(self.batch, Partition::clone(&partition));
        let mut objects = Vec::new();
        for Group { source, prefix, objects: described } in self.groups {
            let place = sources.open(source)?;
            let named = described.iter().map(|Described { name, size, e_tag }| Named {
                key: format!("{prefix}{name}"),
                size: Some(*size),
                e_tag: e_tag.clone(),
                archived: None,
            });
            let found = sources.opened[place].find(named.collect());
            for (Described { name, size, e_tag }, found) in described.into_iter().zip(found) {
                let fail = |error| Failure::new(format!("{prefix}{name}"), error);
                match found {
                    Ok(listed) if listed.size == size && listed.e_tag() == e_tag.as_deref() => {
                        let partition = Arc::clone(&partition);
                        objects.push(Object { partition, listed, source: place });
                    }
                    Ok(_) => outcome.failures.push(fail(
                        "was rewritten since it was listed; plan again to convert it".to_owned(),
                    )),
                    Err(error) => outcome.failures.push(fail(error.to_string())),
                }
            }
        }
        outcome.failed = outcome.failures.len() as u64;
        objects.sort_unstable_by(|a, b| a.name().cmp(b.name()));
        Ok((Batch::new(partition, objects), outcome))
    }
}

/// Returns whether `other` differs from `one` only in that it is for the following day.
fn is_next(one: &Partition, other: &Partition) -> bool {
    one.day.succ_opt().is_some_and(|day| Partition { day, ..one.clone() } == *other)
}

/// Returns the length of the key prefix that all logs from a load balancer share: everything before the end time, the
/// IP address and the random string.
fn shared_length(key: &str) -> usize {
    key.rmatch_indices('_').nth(2).map_or(0, |(place, _)| place + 1)
}

fn id<'a>(partition: &Partition, names: impl Iterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    hash.update(partition.to_string());
    for name in names {
        hash.update([0]);
        hash.update(name);
    }
    hex(&hash.finalize()[..16])
}

/// The sources that the descriptions name. Each source is opened once.
struct Sources<'a> {
    network: &'a Network,
    places: HashMap<String, usize>,
    opened: Vec<Source>,
}

impl Sources<'_> {
    fn open(&mut self, url: String) -> Result<usize, StoreError> {
        if let Some(place) = self.places.get(&url) {
            return Ok(*place);
        }
        self.opened.push(Source::open(&url, self.network, from_root)?);
        self.places.insert(url, self.opened.len() - 1);
        Ok(self.opened.len() - 1)
    }
}

/// Batches that were read from descriptions, each with its preliminary outcome.
pub(crate) struct Batches {
    /// The sources of the objects.
    pub sources: Vec<Source>,
    batches: Vec<(Batch, Outcome)>,
}

/// The plan for batches that were read from descriptions.
pub(crate) struct Work {
    /// The objects to convert, by partition.
    pub plan: Plan,
    /// The preliminary outcomes of the batches in the plan, in the same order.
    pub begun: Vec<Outcome>,
    /// The outcomes of the other batches, which have nothing to convert.
    pub done: Vec<Outcome>,
}

impl Batches {
    /// Reads the descriptions in a file, or only those that belong to a shard. Checks all descriptions before it
    /// returns.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, a line is not a valid description, or a source cannot be opened.
    pub(crate) fn read(
        name: &str,
        network: &Network,
        shard: Option<Shard>,
    ) -> Result<Self, BatchesError> {
        let own = shard.map(|shard| own_lines(name, network, shard)).transpose()?;
        let (places, opened) = (HashMap::new(), Vec::new());
        let mut sources = Sources { network, places, opened };
        let (mut batches, mut seen) = (Vec::new(), HashSet::new());
        each_line(name, network, |line, text| {
            if own.as_ref().is_some_and(|own| own.binary_search(&line).is_err()) {
                return Ok(());
            }
            let description = parse(name, line, text)?;
            if seen.insert(description.batch.clone()) {
                let name = name.to_owned();
                let failed = |error| BatchesError::Source { name, line, source: Box::new(error) };
                batches.push(description.open(&mut sources).map_err(failed)?);
            }
            Ok(())
        })?;
        Ok(Self { sources: sources.opened, batches })
    }

    /// Finishes other runs' open claims in the same partitions, then plans the unclaimed objects.
    ///
    /// # Errors
    ///
    /// Fails if the claims cannot be read, an open claim cannot be finished, or the user interrupts the program.
    pub(crate) fn plan(
        self,
        ledger: &Ledger,
        stop: &AtomicBool,
    ) -> Result<(Vec<Source>, Work), PlanError> {
        let Self { sources, mut batches } = self;
        let mut plan = Plan::default();
        let (mut begun, mut done) = (Vec::new(), Vec::new());
        // Claims are read in partition order. The sort is stable, so batches of the same partition keep their order.
        batches.sort_by(|(a, _), (b, _)| a.partition.cmp(&b.partition));
        let mut last: Option<(Arc<Partition>, Before)> = None;
        // Identities of the new objects in the current partition and in the previous day's partition.
        let (mut seen, mut seen_before) = (HashSet::new(), HashSet::new());
        let partitions: Vec<_> = batches.iter().map(|(batch, _)| batch.partition.clone()).collect();
        for (place, (mut batch, mut outcome)) in batches.into_iter().enumerate() {
            plan.listed += batch.objects.len() as u64 + outcome.failed;
            let last_partition = last.as_ref().map(|(partition, _)| Arc::clone(partition));
            let same = last.take().filter(|(partition, _)| *partition == batch.partition);
            let before = if let Some((_, before)) = same {
                before
            } else {
                let is_next = last_partition.is_some_and(|last| is_next(&last, &batch.partition));
                seen_before = if is_next { mem::take(&mut seen) } else { HashSet::new() };
                seen.clear();
                Before::look(&batch.partition, partitions[place..].iter(), ledger, stop)?
            };
            if let Some(failure) = &before.unknown {
                outcome.failed += batch.objects.len() as u64;
                outcome.failures.push(failure.clone());
                batch.objects.clear();
            }
            let mut touched = Vec::new();
            batch.objects.retain(|object| {
                match before.judge(object, &sources) {
                    // Batches of the same run do not see each other's claims, so duplicates are detected here.
                    Verdict::New
                        if !seen_before.contains(object.identity())
                            && seen.insert(object.identity().to_owned()) =>
                    {
                        return true;
                    }
                    Verdict::New => outcome.duplicate += 1,
                    Verdict::Converted => {
                        outcome.converted_before += 1;
                        plan.before.add(object);
                    }
                    Verdict::Touched { partition, claim, content } => {
                        touched.push(Touched { object: object.clone(), partition, claim, content });
                    }
                    Verdict::Wrong(failure) => {
                        outcome.failed += 1;
                        outcome.failures.push(failure);
                    }
                }
                false
            });
            // It is rare that objects are converted and then touched after their batch was described, so one thread is
            // enough.
            if !touched.is_empty() {
                let comparison = Comparison {
                    sources: &sources,
                    ledger,
                    threads: 1,
                    compared: &AtomicU64::default(),
                    stop,
                };
                let Compared { equal, archived, failures, left } = comparison.run(touched)?;
                if left > 0 {
                    return Err(PlanError::Interrupted);
                }
                outcome.converted_before += equal.objects;
                outcome.archived += archived.objects;
                outcome.failed += failures.len() as u64;
                outcome.failures.extend(failures);
                plan.skip(plan::TOUCHED, equal.objects);
                plan.skip(ARCHIVED, archived.objects);
            }
            plan.failures.extend_from_slice(&outcome.failures);
            last = Some((Arc::clone(&batch.partition), before));
            if batch.objects.is_empty() {
                done.push(outcome);
            } else {
                plan.batches.push(batch);
                begun.push(outcome);
            }
        }
        plan.skip(plan::CONVERTED_BEFORE, plan.before.objects);
        let duplicates = begun.iter().chain(&done).map(|outcome| outcome.duplicate).sum();
        plan.skip(plan::DUPLICATE, duplicates);
        let mut stuck: BTreeMap<Partition, Vec<Failure>> = BTreeMap::new();
        for (partition, failure) in plan::stuck(ledger) {
            plan.failures.push(failure.clone());
            stuck.entry(partition).or_default().push(failure);
        }
        for outcome in begun.iter_mut().chain(&mut done) {
            outcome.failures.extend(stuck.remove(&outcome.partition).unwrap_or_default());
        }
        Ok((sources, Work { plan, begun, done }))
    }
}

impl Outcome {
    fn new(batch: String, partition: Partition) -> Self {
        Self {
            batch,
            partition,
            objects: 0,
            converted_before: 0,
            archived: 0,
            duplicate: 0,
            failed: 0,
            lines: 0,
            joined_lines: 0,
            rows: 0,
            rejects: 0,
            verbatim_lines: 0,
            files: 0,
            reject_files: 0,
            original_files: 0,
            bytes_in: 0,
            bytes_decompressed: 0,
            bytes_out: 0,
            seconds: 0.0,
            failures: Vec::new(),
        }
    }

    /// Adds the tally of the conversion.
    pub(crate) fn add(&mut self, tally: &Tally) {
        let skipped =
            |kind: &str| tally.objects.skipped_by_kind.get(kind).copied().unwrap_or_default();
        self.objects += tally.objects.converted;
        self.converted_before += skipped(CONVERTED_CONCURRENTLY);
        self.archived += skipped(ARCHIVED);
        self.failed += tally.objects.failed;
        self.lines += tally.lines;
        self.joined_lines += tally.joined_lines;
        self.rows += tally.rows;
        self.rejects += tally.reject_count();
        self.verbatim_lines += tally.verbatim_lines;
        self.files += tally.files;
        self.reject_files += tally.reject_files;
        self.original_files += tally.original_files;
        self.bytes_in += tally.bytes_in;
        self.bytes_decompressed += tally.bytes_decompressed;
        self.bytes_out += tally.bytes_out;
        self.seconds += tally.seconds;
        self.failures.extend_from_slice(&tally.failures);
    }
}

/// Returns the line numbers that belong to a shard, in order. Parses every line, so that all shards reject the same
/// files.
fn own_lines(name: &str, network: &Network, shard: Shard) -> Result<Vec<usize>, BatchesError> {
    if name == "-" {
        return Err(BatchesError::Once);
    }
    let mut batches = BTreeMap::new();
    each_line(name, network, |line, text| {
        let Description { batch, bytes, .. } = parse(name, line, text)?;
        batches.entry(batch).or_insert((line, bytes));
        Ok(())
    })?;
    // The batches are sorted by hash, so the order of the lines does not matter.
    let (lines, sizes): (Vec<usize>, Vec<u64>) = batches.into_values().unzip();
    let mut own: Vec<usize> = shard.share(&sizes).into_iter().map(|place| lines[place]).collect();
    own.sort_unstable();
    Ok(own)
}

fn parse(name: &str, line: usize, text: &[u8]) -> Result<Description, BatchesError> {
    Description::parse(text).map_err(|why| {
        // The error may quote the line, which may contain credentials.
        let is_secret = inventory::has_credentials(&String::from_utf8_lossy(text));
        let why = if is_secret { BadLine::Secret } else { why };
        BatchesError::Line { name: name.to_owned(), line, why }
    })
}

/// Calls `each` with every non-empty line and its line number, starting at 1.
fn each_line(
    name: &str,
    network: &Network,
    mut each: impl FnMut(usize, &[u8]) -> Result<(), BatchesError>,
) -> Result<(), BatchesError> {
    let failed = |error| BatchesError::Read { name: name.to_owned(), source: Box::new(error) };
    let file = open_text(name, network).map_err(failed)?;
    let mut lines = Lines::new(file, MAX_LINE, b"\n");
    while let Some((line, text)) = lines.next().map_err(|error| failed(error.into()))? {
        if !text.trim_ascii().is_empty() {
            each(line as usize, text)?;
        }
    }
    Ok(())
}
