//! A partition's log. Entries are read in order, starting with the first, and new entries are appended.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use serde::Deserialize;

use crate::dataset::claim::record::ACTIONS;
use crate::dataset::claim::{Claim, Output, Record};
use crate::dataset::layout::{Dataset, DatasetError};
use crate::logs::key::Partition;
use crate::logs::original;
use crate::logs::reject;
use crate::logs::schema::LogType;
use crate::store::{Owner, Staged};

const CLAIM: &str = "claim.json";
/// Directory for broken logs. Each one is in a subdirectory named after the run that rebuilt it.
const BROKEN: &str = "_alb2parquet/broken";
/// Directory of all logs.
const CLAIMS: &str = "_alb2parquet/claims";
const DONE: &str = "done.json";
const ABORTED: &str = "aborted.json";

/// A partition's log, up to the last entry that was read.
#[derive(Debug, Clone)]
pub struct Log {
    partition: Partition,
    entries: Vec<Entry>,
}

/// An entry of a log.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Content of the entry.
    pub record: Record,
    /// State of the entry.
    pub state: State,
}

/// The state of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// The entry must be applied. It may already have been applied.
    Open,
    /// The entry was applied.
    Done,
    /// The entry was aborted: it never was and never will be applied, and it holds no objects.
    Aborted,
    /// The entry can be neither applied nor aborted. Contains the reason.
    Stuck(String),
}

/// Result of appending an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// The entry was added with this number.
    At(usize),
    /// The entry was not added, because another run has already claimed some of its objects, because it would remove
    /// retired objects, or because another run has replaced or removed the files that it replaces.
    Lost,
}

/// Entries and markers from a listing. All of them exist, but the listing may be stale and omit newer ones.
#[derive(Debug, Default)]
pub struct Hints {
    partitions: BTreeMap<Partition, Markers>,
    unknown: Vec<String>,
}

#[derive(Debug, Default)]
struct Markers {
    claims: BTreeSet<usize>,
    done: BTreeSet<usize>,
    aborted: BTreeSet<usize>,
}

impl Markers {
    /// Returns the entries without a marker.
    fn open(&self) -> impl Iterator<Item = &usize> {
        self.claims
            .iter()
            .filter(|number| !self.done.contains(number) && !self.aborted.contains(number))
    }
}

impl Hints {
    /// Lists the logs of all log types.
    ///
    /// # Errors
    ///
    /// Fails when the logs cannot be listed.
    pub fn list(dataset: &Dataset) -> Result<Self, DatasetError> {
        Self::below(dataset, CLAIMS)
    }

    /// Lists a partition's log.
    ///
    /// # Errors
    ///
    /// Fails when the log cannot be listed.
    pub fn of(dataset: &Dataset, partition: &Partition) -> Result<Self, DatasetError> {
        Self::below(dataset, &directory(partition))
    }

    fn below(dataset: &Dataset, directory: &str) -> Result<Self, DatasetError> {
        let mut hints = Self::default();
        for stored in dataset.target().list(directory)? {
            if hints.add(&stored.key).is_none() {
                hints.unknown.push(stored.key);
            }
        }
        Ok(hints)
    }

    /// Adds a listed file. Returns `None` if its key does not belong to a log.
    fn add(&mut self, key: &str) -> Option<()> {
        let below = key.strip_prefix(CLAIMS)?.strip_prefix('/')?;
        let parts: Vec<&str> = below.split('/').collect();
        let [log_type, account, region, day, name] = parts[..] else { return None };
        let (number, kind) = name.split_once('.')?;
        let (log_type, day, number) =
            (LogType::named(log_type)?, day.parse().ok()?, number.parse().ok()?);
        let partition = Partition::new(log_type, account, region, day).ok()?;
        let markers = self.partitions.entry(partition).or_default();
        match kind {
            CLAIM => markers.claims.insert(number),
            DONE => markers.done.insert(number),
            ABORTED => markers.aborted.insert(number),
            _ => return None,
        };
        Some(())
    }

    /// Returns the keys of listed files that do not belong to any log.
    pub fn unknown(&self) -> &[String] {
        &self.unknown
    }

    /// Returns the numbers of a partition's entries.
    pub fn entries(&self, partition: &Partition) -> Vec<usize> {
        let markers = self.partitions.get(partition);
        markers.map_or_else(Vec::new, |markers| markers.claims.iter().copied().collect())
    }

    /// Returns the partitions that have a log.
    pub fn partitions(&self) -> impl Iterator<Item = &Partition> {
        self.partitions.keys()
    }

    /// Returns the partitions that have an entry without a marker.
    pub fn unfinished(&self) -> impl Iterator<Item = &Partition> {
        let unfinished = self.partitions.iter().filter(|(_, markers)| markers.open().count() > 0);
        unfinished.map(|(partition, _)| partition)
    }

    /// Returns whether a partition has a log.
    pub fn has(&self, partition: &Partition) -> bool {
        self.partitions.contains_key(partition)
    }

    /// Returns the number of listed files.
    pub fn files(&self) -> u64 {
        let files =
            |markers: &Markers| markers.claims.len() + markers.done.len() + markers.aborted.len();
        self.partitions.values().map(|markers| files(markers) as u64).sum()
    }

    /// Returns the number of entries without a marker.
    pub fn open_entries(&self) -> usize {
        self.partitions.values().map(|markers| markers.open().count()).sum()
    }

    /// Returns the highest number of any entry or marker in a partition's log.
    fn last(&self, partition: &Partition) -> Option<usize> {
        let Markers { claims, done, aborted } = self.partitions.get(partition)?;
        [claims, done, aborted].into_iter().filter_map(BTreeSet::last).max().copied()
    }

    fn end(&self, partition: &Partition, number: usize, record: &Record) -> Option<State> {
        let markers = self.partitions.get(partition)?;
        if markers.aborted.contains(&number) && record.can_abort() {
            return Some(State::Aborted);
        }
        markers.done.contains(&number).then_some(State::Done)
    }
}

impl Log {
    /// Reads the readable entries of a broken log and ignores the rest. Returns a log that contains only these entries,
    /// and their numbers in the broken log.
    ///
    /// # Errors
    ///
    /// Fails when it is unknown whether an entry can be read, or when an entry was written by a newer version.
    pub fn salvage(
        dataset: &Dataset,
        partition: &Partition,
        hints: &Hints,
    ) -> Result<(Self, Vec<usize>), DatasetError> {
        let (mut log, mut numbers) = (Self::empty(partition), Vec::new());
        for number in hints.entries(partition) {
            match log.get(dataset, number) {
                Ok(Some(record)) => {
                    let state = log.state(dataset, number, &record)?;
                    log.entries.push(Entry { record, state });
                    numbers.push(number);
                }
                Ok(None) => {}
                Err(error @ DatasetError::Newer { .. }) => return Err(error),
                Err(error) if error.is_of_partition() => {}
                Err(error) => return Err(error),
            }
        }
        Ok((log, numbers))
    }

    /// Moves a partition's log files to a directory below `_alb2parquet/broken`. The first entry is moved first, and each
    /// entry before its markers. An interrupted move therefore leaves a broken log, which no run changes, and no
    /// removal is moved before the claims that precede it.
    ///
    /// # Errors
    ///
    /// Fails when a file cannot be moved.
    pub fn move_broken(dataset: &Dataset, partition: &Partition) -> Result<(), DatasetError> {
        let (target, own) = (dataset.target(), directory(partition));
        let mut files = target.list(&own)?;
        let place = |key: &str| {
            let name = key.rsplit('/').next().unwrap_or_default();
            let (number, kind) = name.split_once('.').unwrap_or_default();
            (number.parse::<usize>().ok(), kind != CLAIM)
        };
        files.sort_by_key(|stored| place(&stored.key));
        for stored in files {
            if let Some(bytes) = target.get(&stored.key)? {
                let below = stored.key.strip_prefix(CLAIMS).unwrap_or_default();
                dataset.create(&format!("{BROKEN}/{}{below}", dataset.run()), &bytes)?;
                target.delete(&stored.key)?;
            }
        }
        Ok(())
    }

    /// Returns an empty log for a partition without a log.
    pub fn empty(partition: &Partition) -> Self {
        Self { partition: partition.clone(), entries: Vec::new() }
    }

    /// Reads a partition's log to the end.
    ///
    /// # Errors
    ///
    /// Fails when the log cannot be read.
    pub fn read(
        dataset: &Dataset,
        partition: &Partition,
        hints: &Hints,
    ) -> Result<Self, DatasetError> {
        let mut log = Self::empty(partition);
        // The listing may be stale, so reading continues up to the first number that does not exist.
        while let Some(record) = log.get(dataset, log.entries.len() + 1)? {
            let number = log.entries.len() + 1;
            let state = match hints.end(&log.partition, number, &record) {
                Some(state) => state,
                None => log.state(dataset, number, &record)?,
            };
            log.entries.push(Entry { record, state });
        }
        // Entries are created in order, so if a later entry is listed, this one was lost.
        if let Some(number) = hints.last(partition).filter(|last| *last > log.entries.len()) {
            let newer = Hints::of(dataset, partition)?;
            // A repair has rebuilt the log since it was listed.
            if newer.last(partition) != Some(number) {
                return Self::read(dataset, partition, &newer);
            }
            let name = log.name(dataset, log.entries.len() + 1);
            return Err(DatasetError::Broken {
                name,
                why: format!("it is absent, but {number} exists"),
            });
        }
        Ok(log)
    }

    /// Returns the partition.
    pub fn partition(&self) -> &Partition {
        &self.partition
    }

    /// Returns all entries. The first one has number 1.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Returns the claims that were neither removed nor aborted, with their numbers.
    pub fn holding(&self) -> impl Iterator<Item = (usize, &Claim)> {
        self.unremoved()
            .filter(|(_, entry)| entry.state != State::Aborted)
            .filter_map(|(number, entry)| Some((number, entry.record.claim()?)))
    }

    /// Returns the entries after the last completed removal, with their numbers.
    pub fn unremoved(&self) -> impl Iterator<Item = (usize, &Entry)> {
        let removed = self.entries.iter().rposition(|entry| {
            matches!(entry.record, Record::Remove(_)) && entry.state == State::Done
        });
        let first = removed.map_or(0, |removed| removed + 1);
        self.entries.iter().enumerate().skip(first).map(|(index, entry)| (index + 1, entry))
    }

    /// Returns an entry by its number.
    pub fn entry(&self, number: usize) -> &Entry {
        &self.entries[number - 1]
    }

    /// Adds the entries that only `newer` contains, and the states of entries that were open. `newer` is the same log,
    /// read at another time.
    pub fn update(&mut self, newer: Self) {
        let known = self.entries.len();
        for (entry, newer) in self.entries.iter_mut().zip(&newer.entries) {
            if entry.state == State::Open {
                entry.state.clone_from(&newer.state);
            }
        }
        self.entries.extend(newer.entries.into_iter().skip(known));
    }

    /// Sets the state of an entry.
    pub fn set_state(&mut self, number: usize, state: State) {
        self.entries[number - 1].state = state;
    }

    /// Drops the object lists of these entries to save memory: the lists can contain millions of objects.
    pub fn forget_objects(&mut self, numbers: RangeInclusive<usize>) {
        for entry in &mut self.entries[numbers.start() - 1..*numbers.end()] {
            match &mut entry.record {
                Record::Add(claim) => claim.objects = Vec::new(),
                Record::Amend(amendment) => amendment.objects = Vec::new(),
                Record::Remove(_) | Record::Rewrite(_) => {}
            }
        }
    }

    /// Appends an entry after any entries that other runs have added in the meantime. Appends nothing if one of those
    /// entries claims some of the same objects, retires objects that the new entry would remove, or replaces or removes
    /// files that the new entry would replace. Entries whose object lists were dropped are not compared.
    ///
    /// # Errors
    ///
    /// Fails when it is unknown whether the entry was added. In that case, the entry may still appear.
    pub fn append(&mut self, dataset: &Dataset, record: Record) -> Result<Appended, DatasetError> {
        let text = serde_json::to_vec(&record).expect("plain values");
        // Other runs' entries may already have been read when an earlier batch was claimed.
        let mut compared = 0;
        loop {
            if self.forbids(&record, compared) {
                return Ok(Appended::Lost);
            }
            compared = self.entries.len();
            let number = self.entries.len() + 1;
            let key = self.key(number, CLAIM);
            match dataset.create(&key, &text)? {
                Owner::Ours => {
                    self.entries.push(Entry { record, state: State::Open });
                    return Ok(Appended::At(number));
                }
                Owner::Theirs(text) => {
                    let theirs = self.parse(dataset, &key, &text)?;
                    self.entries.push(Entry { record: theirs, state: State::Open });
                }
            }
        }
    }

    /// Returns whether earlier entries forbid adding an entry: a claim must not share objects with earlier claims, a
    /// removal must not remove retired objects, and a rewrite must not replace files that another entry has replaced or
    /// removed. The first `compared` entries are known to share no objects with the claim.
    fn forbids(&self, record: &Record, compared: usize) -> bool {
        match record {
            Record::Add(ours) => self.entries[compared..].iter().any(|entry| {
                entry.record.claim().is_some_and(|theirs| ours.shares_objects_with(theirs))
            }),
            Record::Remove(removal) => !removal.including_retired && self.retired_objects() > 0,
            Record::Amend(_) => false,
            Record::Rewrite(rewrite) => !self.allows(rewrite),
        }
    }

    /// Returns whether a claim is followed by a removal, which may be unfinished.
    pub fn is_removed(&self, claim: usize) -> bool {
        self.entries[claim..].iter().any(|entry| matches!(entry.record, Record::Remove(_)))
    }

    /// Syncs an entry that this run has read, to make it durable.
    ///
    /// # Errors
    ///
    /// Fails when it is unknown whether the entry is durable.
    pub fn sync(&self, dataset: &Dataset, number: usize) -> Result<(), DatasetError> {
        Ok(dataset.target().sync(&self.key(number, CLAIM))?)
    }

    /// Marks an entry as done.
    ///
    /// # Errors
    ///
    /// Fails when the marker cannot be written. The entry stays applied.
    pub fn mark_done(&mut self, dataset: &Dataset, number: usize) -> Result<(), DatasetError> {
        let key = self.key(number, DONE);
        // The marker need not be durable: a run that does not find it applies the entry again.
        dataset.create_non_durable(&key, &marker(dataset))?;
        self.set_state(number, State::Done);
        Ok(())
    }

    /// Marks a claim or a rewrite as aborted.
    ///
    /// # Errors
    ///
    /// Fails when it is unknown whether the marker was written.
    pub fn mark_aborted(&mut self, dataset: &Dataset, number: usize) -> Result<(), DatasetError> {
        dataset.create(&self.key(number, ABORTED), &marker(dataset))?;
        self.set_state(number, State::Aborted);
        Ok(())
    }

    /// Reads the markers of an entry and returns its state.
    ///
    /// Only claims and rewrites can be aborted. If a removal has an abort marker, the marker is ignored; otherwise, it
    /// would undo the removal.
    ///
    /// # Errors
    ///
    /// Fails when the markers cannot be read.
    pub fn state(
        &self,
        dataset: &Dataset,
        number: usize,
        record: &Record,
    ) -> Result<State, DatasetError> {
        let ends = [(ABORTED, State::Aborted), (DONE, State::Done)].into_iter();
        for (kind, state) in ends.filter(|(kind, _)| *kind == DONE || record.can_abort()) {
            if dataset.target().get(&self.key(number, kind))?.is_some() {
                return Ok(state);
            }
        }
        Ok(State::Open)
    }

    /// Returns the path or URL of an entry, for messages.
    pub fn name(&self, dataset: &Dataset, number: usize) -> String {
        dataset.target().name(&self.key(number, CLAIM))
    }

    fn get(&self, dataset: &Dataset, number: usize) -> Result<Option<Record>, DatasetError> {
        let key = self.key(number, CLAIM);
        let text = dataset.target().get(&key)?;
        text.map(|text| self.parse(dataset, &key, &text)).transpose()
    }

    fn key(&self, number: usize, kind: &str) -> String {
        format!("{}/{number}.{kind}", directory(&self.partition))
    }

    /// Parses an entry. Fails if the entry names files outside the directories of the partition, or if its counts are
    /// impossible.
    fn parse(&self, dataset: &Dataset, key: &str, text: &[u8]) -> Result<Record, DatasetError> {
        let name = || dataset.target().name(key);
        let record: Record =
            serde_json::from_slice(text).map_err(|source| match serde_json::from_slice(text) {
                Ok(Unknown { action }) if !ACTIONS.contains(&action.as_str()) => {
                    DatasetError::Newer { name: name(), action }
                }
                _ => DatasetError::State { name: name(), source },
            })?;
        let of_rewrite = match &record {
            Record::Rewrite(rewrite) => rewrite.fault(dataset, &self.partition),
            _ => None,
        };
        let of_claim = record.claim().and_then(|claim| {
            let excess = claim.is_excessive().then(|| "its counts are impossible".to_owned());
            excess.or_else(|| self.misplaced(dataset, claim))
        });
        match of_claim.or(of_rewrite) {
            Some(why) => Err(DatasetError::Broken { name: name(), why }),
            None => Ok(record),
        }
    }

    /// Describes the first output of a claim that is not a file in the partition, or returns `None` if there is no such
    /// output.
    fn misplaced(&self, dataset: &Dataset, claim: &Claim) -> Option<String> {
        let own = self.partition.log_type.table().name.as_str();
        claim.outputs.iter().find_map(|Output { table, file, .. }| {
            let is_table =
                table == own || [reject::TABLE, original::TABLE].contains(&table.as_str());
            let (directory, _) = file.key.split();
            if !is_table || directory != dataset.partition(table, &self.partition) {
                return Some(format!(
                    "it names {}, which is not a file of its partition",
                    file.key
                ));
            }
            match &file.staged {
                Staged::Upload { key, .. } if *key != file.key => {
                    Some(format!("it names an upload of {key} for {}", file.key))
                }
                _ => None,
            }
        })
    }
}

/// The part of an entry that all versions share.
#[derive(Deserialize)]
struct Unknown {
    action: String,
}

/// Returns the directory of a partition's log.
fn directory(Partition { log_type, account, region, day }: &Partition) -> String {
    format!("{CLAIMS}/{log_type}/{account}/{region}/{day}")
}

fn marker(dataset: &Dataset) -> Vec<u8> {
    serde_json::to_vec(&serde_json::json!({ "run": dataset.run() })).expect("plain values")
}
