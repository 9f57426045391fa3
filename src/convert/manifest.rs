//! Batches as data: a line of JSON that says all that is needed to convert a batch, by any run on any machine,
//! and one that says what came of it.
//!
//! `plan --jsonl` writes descriptions, `convert --batches` reads them and writes outcomes. What a description
//! says is believed no more than a listing: keys decide where an object belongs, and claims whether it is new.

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

/// Maximum length of a description line in bytes: about a million objects.
const MAX_LINE: usize = 128 << 20;

/// A batch, described for whoever is to convert it. As JSON, its keys are stable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Hash of the partition and of the names of its objects.
    pub batch: String,
    /// Where its rows go.
    #[serde(flatten)]
    pub partition: Partition,
    /// Compressed bytes of its objects.
    pub bytes: u64,
    /// Its objects, by what their keys begin with.
    pub groups: Vec<Group>,
}

/// Objects of a source whose keys begin alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// URL of the source.
    pub source: String,
    /// What their keys begin with.
    pub prefix: String,
    /// The objects.
    pub objects: Vec<Described>,
}

/// An object, described.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Described {
    /// The rest of its key.
    pub name: String,
    /// Compressed size in bytes.
    pub size: u64,
    /// What the store says changes whenever the object does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e_tag: Option<String>,
}

/// What came of a batch. As JSON, its keys are stable. The objects of its description are those converted,
/// converted before, archived, duplicate and failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Hash of the partition and of the names of its objects.
    pub batch: String,
    /// Where its rows went.
    #[serde(flatten)]
    pub partition: Partition,
    /// Objects that were read to their end.
    pub objects: u64,
    /// Objects that were converted before, or by another run meanwhile.
    pub converted_before: u64,
    /// Objects that must be restored before they can be read.
    pub archived: u64,
    /// Objects that another batch of the same run names, too.
    pub duplicate: u64,
    /// Objects that could not be read, or only in part.
    pub failed: u64,
    /// Lines read.
    pub lines: u64,
    /// Lines of text that were joined to the line before them. They are not counted in `lines`.
    pub joined_lines: u64,
    /// Lines that became rows.
    pub rows: u64,
    /// The others.
    pub rejects: u64,
    /// Parquet files of rows written.
    pub files: u64,
    /// Parquet files of rejects written.
    pub reject_files: u64,
    /// Compressed bytes read.
    pub bytes_in: u64,
    /// Bytes of text in them.
    pub bytes_decompressed: u64,
    /// Bytes of Parquet written.
    pub bytes_out: u64,
    /// Seconds that the conversion took.
    pub seconds: f64,
    /// What failed, with what is wrong; also claims of the partition that cannot be finished.
    pub failures: Vec<Failure>,
}

/// Descriptions cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BatchesError {
    /// The file cannot be opened or read on.
    #[error("{name} cannot be read")]
    Read {
        /// The file as the user named it.
        name: String,
        /// Why.
        source: Box<StoreError>,
    },
    /// A line is no description, or contradicts itself.
    #[error("{name}, line {line}: {why}")]
    Line {
        /// The file as the user named it.
        name: String,
        /// The line, from 1 on.
        line: usize,
        /// What is wrong.
        why: BadLine,
    },
    /// A source that a line names cannot be opened.
    #[error("{name}, line {line}")]
    Source {
        /// The file as the user named it.
        name: String,
        /// The line, from 1 on.
        line: usize,
        /// Why.
        source: Box<StoreError>,
    },
    /// What is read but once cannot be shared by size.
    #[error("stdin cannot be read twice, so its batches cannot be shared by size")]
    Once,
}

/// Why a line is no description of a batch.
#[derive(Debug, thiserror::Error)]
pub enum BadLine {
    /// It is no JSON, or lacks something.
    #[error("this is not a batch of a plan: {0}")]
    Json(#[from] serde_json::Error),
    /// It is invalid, and it contains credentials.
    #[error("this is not a batch of a plan, and contains a URL with credentials (not shown here)")]
    Secret,
    /// It has no objects.
    #[error("the batch has no objects")]
    Empty,
    /// A key is none of a log object, or one of another partition.
    #[error("{key} is no log object of {partition}")]
    Key {
        /// The key.
        key: String,
        /// The partition that the line names.
        partition: Partition,
    },
    /// An object has an impossible size.
    #[error("{0} has an impossible size")]
    Size(String),
    /// An object is named twice.
    #[error("{0} stands there twice")]
    Twice(String),
    /// What it says of itself is not so.
    #[error("it says {what} {said}, but its objects make that {found}: it was changed")]
    Changed {
        /// What it says.
        what: &'static str,
        /// As which value.
        said: String,
        /// What is so.
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
    /// Fails when it is no description, or contradicts itself.
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
        let changed = |what, said: &dyn ToString, found: &dyn ToString| {
            Err(BadLine::Changed { what, said: said.to_string(), found: found.to_string() })
        };
        if id != *batch {
            return changed("batch", batch, &id);
        }
        if sum != *bytes {
            return changed("bytes", bytes, &sum);
        }
        Ok(description)
    }

    /// Returns the batch, and what is known of its outcome: the objects that are there no more, or are not the same.
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
                        "was rewritten since it was listed; plan anew to convert it".to_owned(),
                    )),
                    Err(error) => outcome.failures.push(fail(error.to_string())),
                }
            }
        }
        outcome.failed = outcome.failures.len() as u64;
        objects.sort_unstable_by(|a, b| a.name().cmp(b.name()));
        Ok((Batch { partition, objects }, outcome))
    }
}

/// Returns whether a partition is that of the next day.
fn is_next(one: &Partition, other: &Partition) -> bool {
    one.day.succ_opt().is_some_and(|day| Partition { day, ..one.clone() } == *other)
}

/// Returns how much of a key those of the same balancer share: all before the end time, the address and the
/// random letters.
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

/// The sources that descriptions name, each opened once.
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

/// Batches that were described, and what is known of each.
pub(crate) struct Batches {
    /// Where their objects are.
    pub sources: Vec<Source>,
    batches: Vec<(Batch, Outcome)>,
}

/// What described batches come to.
pub(crate) struct Work {
    /// What is to be converted, by partition.
    pub plan: Plan,
    /// What is known of each batch of the plan, in the same order.
    pub begun: Vec<Outcome>,
    /// What came of the other batches, of which nothing is to be converted.
    pub done: Vec<Outcome>,
}

impl Batches {
    /// Reads the descriptions in a file, or those of a shard. All of them are looked at before this returns.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be read, a line is no description, or a source cannot be opened.
    pub(crate) fn read(
        name: &str,
        network: &Network,
        shard: Option<Shard>,
    ) -> Result<Self, BatchesError> {
        let own = shard.map(|shard| own_lines(name, network, shard)).transpose()?;
        let (places, opened) = (HashMap::new(), Vec::new());
        let mut sources = Sources { network, places, opened };
        let (mut batches, mut met) = (Vec::new(), HashSet::new());
        each_line(name, network, |line, text| {
            if own.as_ref().is_some_and(|own| own.binary_search(&line).is_err()) {
                return Ok(());
            }
            let description = parse(name, line, text)?;
            if met.insert(description.batch.clone()) {
                let name = name.to_owned();
                let failed = |error| BatchesError::Source { name, line, source: Box::new(error) };
                batches.push(description.open(&mut sources).map_err(failed)?);
            }
            Ok(())
        })?;
        Ok(Self { sources: sources.opened, batches })
    }

    /// Plans what no claim holds, after finishing what other runs have begun in the same partitions.
    ///
    /// # Errors
    ///
    /// Fails when the claims cannot be read, or what they say cannot be finished, or it is interrupted.
    pub(crate) fn plan(
        self,
        ledger: &mut Ledger,
        stop: &AtomicBool,
    ) -> Result<(Vec<Source>, Work), PlanError> {
        let Self { sources, mut batches } = self;
        let mut plan = Plan::default();
        let (mut begun, mut done) = (Vec::new(), Vec::new());
        // Claims are read day by day. Those of the same partition keep their order.
        batches.sort_by(|(a, _), (b, _)| a.partition.cmp(&b.partition));
        let mut last: Option<(Arc<Partition>, Before)> = None;
        // Identities of the new objects in a partition and in that of the previous day.
        let (mut met, mut met_before) = (HashSet::new(), HashSet::new());
        let partitions: Vec<_> = batches.iter().map(|(batch, _)| batch.partition.clone()).collect();
        for (place, (mut batch, mut outcome)) in batches.into_iter().enumerate() {
            plan.listed += batch.objects.len() as u64 + outcome.failed;
            let last_partition = last.as_ref().map(|(partition, _)| Arc::clone(partition));
            let same = last.take().filter(|(partition, _)| *partition == batch.partition);
            let before = if let Some((_, before)) = same {
                before
            } else {
                let is_next = last_partition.is_some_and(|last| is_next(&last, &batch.partition));
                met_before = if is_next { mem::take(&mut met) } else { HashSet::new() };
                met.clear();
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
                    // Of two batches of a run, none sees the other's claim.
                    Verdict::New
                        if !met_before.contains(object.identity())
                            && met.insert(object.identity().to_owned()) =>
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
            // They were converted and touched after the batch was described, so they are few.
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
            files: 0,
            reject_files: 0,
            bytes_in: 0,
            bytes_decompressed: 0,
            bytes_out: 0,
            seconds: 0.0,
            failures: Vec::new(),
        }
    }

    /// Adds what came of the conversion.
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
        self.files += tally.files;
        self.reject_files += tally.reject_files;
        self.bytes_in += tally.bytes_in;
        self.bytes_decompressed += tally.bytes_decompressed;
        self.bytes_out += tally.bytes_out;
        self.seconds += tally.seconds;
        self.failures.extend_from_slice(&tally.failures);
    }
}

/// Returns the lines of a shard, in order. Every line is looked at, so that all shards refuse the same files.
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
    // By their hashes, so that the order of the lines decides nothing.
    let (lines, sizes): (Vec<usize>, Vec<u64>) = batches.into_values().unzip();
    let mut own: Vec<usize> = shard.share(&sizes).into_iter().map(|place| lines[place]).collect();
    own.sort_unstable();
    Ok(own)
}

fn parse(name: &str, line: usize, text: &[u8]) -> Result<Description, BatchesError> {
    Description::parse(text).map_err(|why| {
        // The error may quote the line.
        let is_secret = inventory::has_credentials(&String::from_utf8_lossy(text));
        let why = if is_secret { BadLine::Secret } else { why };
        BatchesError::Line { name: name.to_owned(), line, why }
    })
}

/// Calls `each` with every line that is not empty, and its number, from 1 on.
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
