//! Rebuilds lost or damaged claims from the files of their partitions.
//!
//! Every file contains the object list of its claim ([`embedded`](crate::dataset::claim::embedded)). A partition is
//! repaired completely or not at all: if one of its files cannot be read, the partition remains unchanged and no run
//! can convert objects into it. Originals files are an exception: if one is lost, `repair` rebuilds the claim without
//! it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::{mem, ptr};

use anyhow::{Context, bail, ensure};
use serde::Serialize;

use crate::dataset::claim::{
    Amended, Amendment, Appended, Claim, Hints, Log, Output, Record, State,
};
use crate::dataset::data_files::DataFiles;
use crate::dataset::file::PublishedFile;
use crate::dataset::layout::{self, Dataset, DatasetError};
use crate::dataset::publish;
use crate::logs::key::{Partition, identity};
use crate::logs::{original, reject};
use crate::plan::Selection;
use crate::store::{FileKey, FileName, Staged, StagedFile, TargetError};

/// Maximum number of objects per amendment.
const AMENDED_AT_ONCE: usize = 10_000;

/// A partition whose claims do not account for its files. `--json` prints it as JSON.
#[derive(Debug, Serialize)]
pub struct Repair {
    /// The partition.
    #[serde(flatten)]
    pub partition: Partition,
    /// The problem with the claims.
    pub problem: String,
    /// Number of claims that are kept unchanged.
    pub claims_kept: u64,
    /// Number of claims that are rebuilt from files.
    pub claims_rebuilt: u64,
    /// Number of claims that are dropped because their files were never published or no longer exist. The next
    /// conversion converts their objects again.
    pub claims_dropped: u64,
    /// Number of objects in the rebuilt claims.
    pub objects: u64,
    /// Number of rows in the rebuilt claims.
    pub rows: u64,
    /// Number of rejects in the rebuilt claims.
    pub rejects: u64,
    /// Number of rebuilt claims whose originals file is lost or damaged. Some of their objects cannot be restored.
    pub originals_lost: u64,
    /// Why the partition cannot be repaired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Whether the partition was repaired.
    pub repaired: bool,
    #[serde(skip)]
    claims: Vec<Claim>,
    /// Amendments from the broken log for objects in `claims`. Each refers to a claim by its 1-based position in
    /// `claims`.
    #[serde(skip)]
    amended: Vec<Amended>,
    /// Files of claims that are not kept. They are aborted, so that a slow run cannot publish them later.
    #[serde(skip)]
    dropped: Vec<StagedFile>,
    /// Whether the log is broken and must be rewritten.
    #[serde(skip)]
    is_broken: bool,
}

impl Repair {
    fn of(partition: &Partition, problem: String) -> Self {
        Self {
            partition: partition.clone(),
            problem,
            claims_kept: 0,
            claims_rebuilt: 0,
            claims_dropped: 0,
            objects: 0,
            rows: 0,
            rejects: 0,
            originals_lost: 0,
            error: None,
            repaired: false,
            claims: Vec::new(),
            amended: Vec::new(),
            dropped: Vec::new(),
            is_broken: false,
        }
    }
}

/// Finds the selected partitions whose claims are broken or do not account for all files, and rebuilds the claims in
/// memory. Writes nothing.
///
/// # Errors
///
/// Fails if the dataset cannot be read.
pub fn find(dataset: &Dataset, selection: &Selection) -> Result<Vec<Repair>, DatasetError> {
    let (hints, files) = (Hints::list(dataset)?, DataFiles::list(dataset)?);
    let with_files: BTreeSet<Partition> =
        files.keys().filter_map(|key| dataset.partition_of(&key)).collect();
    let partitions: BTreeSet<&Partition> = hints.partitions().chain(&with_files).collect();
    let mut found = Vec::new();
    for partition in partitions.into_iter().filter(|each| selection.wants_partition(each)) {
        found.extend(examine(dataset, partition, &hints, &files)?);
    }
    Ok(found)
}

/// Writes the rebuilt claims, and records each result in its `Repair`. No other run may write to the dataset at the
/// same time.
///
/// # Errors
///
/// Fails if the dataset cannot be written. The next call to [`find`] returns partially repaired partitions again.
pub fn apply(dataset: &Dataset, repairs: &mut [Repair]) -> Result<(), DatasetError> {
    for repair in repairs.iter_mut().filter(|repair| repair.error.is_none()) {
        let mut log = if repair.is_broken {
            for file in &repair.dropped {
                let is_visible = dataset.target().size(&file.key)?.is_some();
                publish::end(&**dataset.target(), file)?;
                if !is_visible {
                    dataset.target().delete(&file.key)?;
                }
            }
            Log::move_broken(dataset, &repair.partition)?;
            Log::empty(&repair.partition)
        } else {
            // The rebuilt claims have no objects in common with valid claims, but may share some with aborted ones.
            let mut log = Log::read(dataset, &repair.partition, &Hints::default())?;
            log.forget_objects(1..=log.entries().len());
            log
        };
        repair.repaired = true;
        let mut numbers = Vec::new();
        for claim in repair.claims.drain(..) {
            match log.append(dataset, Record::Add(claim))? {
                Appended::At(number) => {
                    log.mark_done(dataset, number)?;
                    numbers.push(number);
                }
                Appended::Lost => {
                    repair.repaired = false;
                    repair.error = Some("another run has claimed its objects".to_owned());
                }
            }
        }
        if !repair.repaired {
            continue;
        }
        for amended in &mut repair.amended {
            amended.claim = numbers[amended.claim - 1];
        }
        for objects in repair.amended.chunks(AMENDED_AT_ONCE) {
            let (run, objects) = (dataset.run().to_owned(), objects.to_vec());
            let amendment = Record::Amend(Amendment { run, objects });
            if let Appended::At(number) = log.append(dataset, amendment)? {
                log.mark_done(dataset, number)?;
            }
        }
    }
    Ok(())
}

/// Returns the repair for a partition, if the partition needs one.
fn examine(
    dataset: &Dataset,
    partition: &Partition,
    hints: &Hints,
    files: &DataFiles,
) -> Result<Option<Repair>, DatasetError> {
    let (log, numbers, broken) = match Log::read(dataset, partition, hints) {
        Ok(log) => {
            let numbers = (1..=log.entries().len()).collect();
            let invalid = log.table_files().invalid().first().copied();
            let broken = invalid.map(|number| {
                let name = log.name(dataset, number);
                format!("{name} is a rewrite that contradicts the entries before it")
            });
            (log, numbers, broken)
        }
        Err(error) if error.is_of_partition() => match Log::salvage(dataset, partition, hints) {
            Ok((log, numbers)) => (log, numbers, Some(error.to_string())),
            Err(error) if error.is_of_partition() => {
                let why = "use that version, because this version would lose its changes";
                let mut repair = Repair::of(partition, error.to_string());
                repair.error = Some(why.to_owned());
                return Ok(Some(repair));
            }
            Err(error) => return Err(error),
        },
        Err(error) => return Err(error),
    };
    let mut unaccounted = files.unaccounted(dataset, &log, false)?;
    let mut is_broken = broken.is_some();
    let problem = match (broken, unaccounted.first()) {
        (Some(broken), _) => broken,
        (None, Some(first)) => {
            let name = dataset.target().name(first);
            format!("{} files are in no claim, such as {name}", unaccounted.len())
        }
        (None, None) => return Ok(None),
    };
    let (mut visible, mut dropped, mut claims_dropped) = (Vec::new(), Vec::new(), 0);
    for (number, claim) in log.holding() {
        if is_visible(dataset, claim)? {
            visible.push(claim);
        } else {
            dropped.extend(claim.outputs.iter().map(|output| output.file.clone()));
            claims_dropped += u64::from(!claim.outputs.is_empty());
            // A restored backup can contain claims whose files were later removed.
            is_broken |= !claim.outputs.is_empty() && log.entry(number).state == State::Done;
        }
    }
    let kept = if is_broken { visible } else { log.holding().map(|(_, claim)| claim).collect() };
    if is_broken {
        // Only kept claims account for files.
        let outputs = kept.iter().flat_map(|claim| &claim.outputs);
        let claimed: HashSet<&str> = outputs.map(|output| &*output.file.key).collect();
        unaccounted = files.unaccounted(dataset, &Log::empty(partition), false)?;
        unaccounted.retain(|key| !claimed.contains(key.as_str()));
    }
    let mut repair = Repair::of(partition, problem);
    repair.claims_kept = kept.len() as u64;
    repair.claims_dropped = if is_broken { claims_dropped } else { 0 };
    repair.dropped = dropped;
    repair.is_broken = is_broken;
    match rebuild(dataset, partition, &unaccounted, &kept) {
        Ok(rebuilt) => {
            repair.claims_rebuilt = rebuilt.len() as u64;
            for claim in &rebuilt {
                repair.objects += claim.objects.len() as u64;
                repair.rows += claim.rows;
                repair.rejects += claim.rejects.values().sum::<u64>();
                repair.originals_lost += u64::from(claim.lacks_originals());
            }
            // An intact log keeps its entries; only the rebuilt claims are appended.
            if is_broken {
                repair.amended = amended(&log, &numbers, &kept, &rebuilt);
                repair.claims = kept.into_iter().cloned().collect();
            }
            repair.claims.extend(rebuilt);
        }
        Err(error) => repair.error = Some(format!("{error:#}")),
    }
    Ok(Some(repair))
}

/// Returns the amendments of a broken log for objects in the kept and rebuilt claims. These claims are numbered from 1,
/// starting with the kept ones. `numbers` contains the number of each entry in the broken log.
///
/// An amendment applies only to its own claim if the claim's entry still exists in the broken log. If the entry was
/// lost, the amendment applies to a rebuilt claim.
fn amended(log: &Log, numbers: &[usize], kept: &[&Claim], rebuilt: &[Claim]) -> Vec<Amended> {
    let mut holders: HashMap<&str, (usize, Option<usize>)> = HashMap::new();
    let number = |claim: &Claim| {
        let mut numbered = log.entries().iter().zip(numbers);
        let is_own = |own: &Claim| ptr::eq(own, claim);
        numbered.find(|(entry, _)| entry.record.claim().is_some_and(is_own)).map(|(_, n)| *n)
    };
    let kept = kept.iter().map(|claim| (*claim, number(claim)));
    let claims = kept.chain(rebuilt.iter().map(|claim| (claim, None)));
    for (index, (claim, number)) in claims.enumerate() {
        for object in &claim.objects {
            holders.insert(&object.name, (index + 1, number));
        }
    }
    let mut all = Vec::new();
    for (_, entry) in log.unremoved() {
        let Record::Amend(amendment) = &entry.record else { continue };
        for amended in &amendment.objects {
            let Some((claim, number)) = holders.get(amended.name.as_str()) else { continue };
            let is_same = match number {
                Some(number) => *number == amended.claim,
                None => !numbers.contains(&amended.claim),
            };
            if is_same {
                all.push(Amended { claim: *claim, ..amended.clone() });
            }
        }
    }
    all
}

/// Returns whether a claim has files and all of them are visible. If a claim has no files, its objects have no lines,
/// so converting them again adds no rows. If a claim has lines, a lost originals file is ignored, because the rows are
/// visible.
fn is_visible(dataset: &Dataset, claim: &Claim) -> Result<bool, DatasetError> {
    if claim.outputs.is_empty() {
        return Ok(false);
    }
    for output in claim.outputs.iter().filter(|each| claim.lines == 0 || !each.has_originals()) {
        if dataset.target().size(&output.file.key)? != Some(output.file.size) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Rebuilds each claim from its row and reject files. Adds its originals file, if that file is intact.
fn rebuild(
    dataset: &Dataset,
    partition: &Partition,
    keys: &[String],
    kept: &[&Claim],
) -> anyhow::Result<Vec<Claim>> {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for key in keys {
        let name = key.rsplit('/').next().unwrap_or(key);
        let is_of_rejects = key.starts_with(reject::TABLE);
        let group = if is_of_rejects { reject::name_of_rows(name) } else { name };
        groups.entry(group).or_default().push(key);
    }
    let names = |claim: &Claim| {
        claim.objects.iter().map(|object| identity(&object.name).to_owned()).collect::<Vec<_>>()
    };
    let mut held: HashSet<String> = kept.iter().copied().flat_map(names).collect();
    let mut claims = Vec::new();
    for (name_of_rows, mut group) in groups {
        // A claim lists the reject file first, because that file is published first.
        group.sort_by_key(|key| !key.starts_with(reject::TABLE));
        let mut claim = of_files(dataset, &group)?;
        let file = dataset.target().name(group[0]);
        for name in names(&claim) {
            ensure!(
                held.insert(name.clone()),
                "{file} and another file both contain {name}: move one of them out of the table"
            );
        }
        let written: u64 = claim.outputs.iter().map(|output| output.rows).sum();
        ensure!(
            written == claim.lines,
            "{written} of the {} rows and rejects of the claim in {file} exist: a file of rows or rejects is lost. \
             Move the other one out of the table, so that its objects are converted again",
            claim.lines
        );
        if let Some(why) = claim.contradiction() {
            bail!("the claim in {file} {why}");
        }
        if let Some(output) = originals(dataset, partition, &claim, name_of_rows)? {
            // Originals are published first.
            claim.outputs.insert(0, output);
        }
        dataset.run().clone_into(&mut claim.run);
        claims.push(claim);
    }
    Ok(claims)
}

/// Returns the originals file of a rebuilt claim. Returns `None` if the claim has no such file, or if the file is lost,
/// damaged or belongs to another claim.
fn originals(
    dataset: &Dataset,
    partition: &Partition,
    claim: &Claim,
    name_of_rows: &str,
) -> anyhow::Result<Option<Output>> {
    let directory = dataset.partition(original::TABLE, partition);
    let name = reject::file_name(partition.log_type, name_of_rows);
    let key = format!("{directory}/{name}");
    if claim.originals == 0 || dataset.target().size(&key)?.is_none() {
        return Ok(None);
    }
    match of_file(dataset, &key) {
        Ok((embedded, output)) => {
            let is_same = (Claim { outputs: Vec::new(), ..claim.clone() }) == embedded
                && output.rows == claim.originals;
            Ok(is_same.then_some(output))
        }
        // The store failed, so the file may be intact.
        Err(error) if error.is::<TargetError>() => Err(error),
        Err(_) => Ok(None),
    }
}

/// Rebuilds a claim from its files.
fn of_files(dataset: &Dataset, keys: &[&str]) -> anyhow::Result<Claim> {
    let mut rebuilt = Claim::default();
    for (index, key) in keys.iter().enumerate() {
        let name = dataset.target().name(key);
        let (claim, output) = of_file(dataset, key).with_context(|| {
            format!(
                "{name} was not written by this program, or is damaged: move it out of the table"
            )
        })?;
        let outputs = mem::take(&mut rebuilt.outputs);
        ensure!(index == 0 || claim == rebuilt, "{name} and its rejects contradict each other");
        rebuilt = Claim { outputs, ..claim };
        rebuilt.outputs.push(output);
    }
    Ok(rebuilt)
}

/// Returns the claim that is embedded in a file, and the output that describes the file in the rebuilt claim.
fn of_file(dataset: &Dataset, key: &str) -> anyhow::Result<(Claim, Output)> {
    let key = FileKey::parse(key)?;
    let size = dataset.target().size(&key)?.context("it is gone")?;
    let file = PublishedFile::of(dataset, key.clone(), size);
    // Hashing reads the whole file, so a store error is detected here and not mistaken for damage.
    let sha256 = file.sha256()?;
    let footer = file.footer()?;
    let claim = file.embedded(&footer)?;
    let rows = u64::try_from(footer.file_metadata().num_rows())?;
    let (_, name) = key.split();
    let table = layout::split_table(&key).map_or("", |(table, _)| table).to_owned();
    // The file is already published, so there is no staged file.
    let staged = Staged::File(FileName::parse(name)?);
    Ok((claim, Output { table, rows, file: StagedFile { key, size, sha256, staged } }))
}
