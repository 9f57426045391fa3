//! The log of a partition: read from its beginning, added to at its end.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use chrono::NaiveDate;

use crate::claim::{Claim, Record};
use crate::dataset::{Dataset, DatasetError, STATE};
use crate::key::Partition;
use crate::schema::LogType;
use crate::store::Owner;

const CLAIM: &str = "claim.json";
const DONE: &str = "done.json";
const VOID: &str = "void.json";

/// The log of a partition, as far as it was read.
#[derive(Debug, Clone)]
pub struct Log {
    partition: Partition,
    entries: Vec<Entry>,
}

/// An entry of a log.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What it says.
    pub record: Record,
    /// What became of it.
    pub state: State,
}

/// What became of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It may have been carried out, and has to be.
    Open,
    /// It was carried out.
    Done,
    /// It never was and never will be; its objects are as if it had not been.
    Void,
    /// It cannot be carried out, nor be known never to be. The text says why.
    Stuck(String),
}

/// What became of an attempt to add an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// It has this number.
    At(usize),
    /// Another run claimed some of its objects before.
    Lost,
}

/// Entries and their ends as a listing shows them. What it shows is so; what it does not show may be.
#[derive(Debug, Default)]
pub struct Hints {
    partitions: BTreeMap<Partition, Markers>,
}

#[derive(Debug, Default)]
struct Markers {
    claims: BTreeSet<usize>,
    done: BTreeSet<usize>,
    void: BTreeSet<usize>,
}

impl Markers {
    /// Entries of which no end is known.
    fn open(&self) -> impl Iterator<Item = &usize> {
        self.claims
            .iter()
            .filter(|number| !self.done.contains(number) && !self.void.contains(number))
    }
}

impl Hints {
    /// Lists the logs of all log types.
    ///
    /// # Errors
    ///
    /// Fails when they cannot be listed.
    pub fn list(dataset: &Dataset) -> Result<Self, DatasetError> {
        let directory = format!("{STATE}/claims");
        let mut hints = Self::default();
        for stored in dataset.target().list(&directory)? {
            let below = stored.key.strip_prefix(&directory).unwrap_or_default();
            let mut parts = below.trim_start_matches('/').split('/');
            let (Some(log_type), Some(account), Some(region), Some(day), Some(name), None) = (
                parts.next().and_then(LogType::named),
                parts.next(),
                parts.next(),
                parts.next(),
                parts.next(),
                parts.next(),
            ) else {
                continue;
            };
            let (Ok(day), Some((number, kind))) = (day.parse::<NaiveDate>(), name.split_once('.'))
            else {
                continue;
            };
            let Ok(number) = number.parse::<usize>() else { continue };
            let (account, region) = (account.to_owned(), region.to_owned());
            let partition = Partition { log_type, account, region, day };
            let markers = hints.partitions.entry(partition).or_default();
            match kind {
                CLAIM => markers.claims.insert(number),
                DONE => markers.done.insert(number),
                VOID => markers.void.insert(number),
                _ => continue,
            };
        }
        Ok(hints)
    }

    /// Returns the partitions that have a log.
    pub fn partitions(&self) -> impl Iterator<Item = &Partition> {
        self.partitions.keys()
    }

    /// Returns the partitions that have an entry of which no end is known.
    pub fn unfinished(&self) -> impl Iterator<Item = &Partition> {
        let unfinished = self.partitions.iter().filter(|(_, markers)| markers.open().count() > 0);
        unfinished.map(|(partition, _)| partition)
    }

    /// Tells whether a partition has a log.
    pub fn has(&self, partition: &Partition) -> bool {
        self.partitions.contains_key(partition)
    }

    /// Returns the number of files that were listed.
    pub fn files(&self) -> u64 {
        let files =
            |markers: &Markers| markers.claims.len() + markers.done.len() + markers.void.len();
        self.partitions.values().map(|markers| files(markers) as u64).sum()
    }

    /// Returns the number of entries of which no end is known.
    pub fn open_entries(&self) -> usize {
        self.partitions.values().map(|markers| markers.open().count()).sum()
    }

    fn end(&self, partition: &Partition, number: usize) -> Option<State> {
        let markers = self.partitions.get(partition)?;
        if markers.void.contains(&number) {
            return Some(State::Void);
        }
        markers.done.contains(&number).then_some(State::Done)
    }
}

impl Log {
    /// Returns the log of a partition that has none.
    pub fn empty(partition: &Partition) -> Self {
        Self { partition: partition.clone(), entries: Vec::new() }
    }

    /// Reads the log of a partition to its end.
    ///
    /// # Errors
    ///
    /// Fails when it cannot be read.
    pub fn read(
        dataset: &Dataset,
        partition: &Partition,
        hints: &Hints,
    ) -> Result<Self, DatasetError> {
        let mut log = Self::empty(partition);
        // Counted up by reading, since a listing may lag: the first number that is absent is the next.
        while let Some(record) = log.get(dataset, log.entries.len() + 1)? {
            let number = log.entries.len() + 1;
            let state = match hints.end(&log.partition, number) {
                Some(state) => state,
                None => log.state(dataset, number)?,
            };
            log.entries.push(Entry { record, state });
        }
        Ok(log)
    }

    /// Returns the partition.
    pub fn partition(&self) -> &Partition {
        &self.partition
    }

    /// Returns all entries; the first has the number 1.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Returns the claims that hold their objects, with their numbers.
    pub fn holding(&self) -> impl Iterator<Item = (usize, &Claim)> {
        self.standing()
            .filter(|(_, entry)| entry.state != State::Void)
            .filter_map(|(number, entry)| Some((number, entry.record.claim()?)))
    }

    /// Returns the entries that no later one has taken back for good, with their numbers.
    pub fn standing(&self) -> impl Iterator<Item = (usize, &Entry)> {
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

    /// Notes what became of an entry.
    pub fn set_state(&mut self, number: usize, state: State) {
        self.entries[number - 1].state = state;
    }

    /// Forgets which objects these entries name, of which there may be millions.
    pub fn forget_objects(&mut self, numbers: RangeInclusive<usize>) {
        for entry in &mut self.entries[numbers.start() - 1..*numbers.end()] {
            match &mut entry.record {
                Record::Add(claim) => claim.objects = Vec::new(),
                Record::Amend(amendment) => amendment.objects = Vec::new(),
                Record::Remove(_) => {}
            }
        }
    }

    /// Adds an entry at the end of the log, wherever that is by now, unless another run has claimed some
    /// of its objects, as far as those are not forgotten.
    ///
    /// # Errors
    ///
    /// Fails when it is not known whether the entry was added. It can still appear.
    pub fn append(&mut self, dataset: &Dataset, record: Record) -> Result<Appended, DatasetError> {
        let text = serde_json::to_vec(&record).expect("plain values");
        let shares = |theirs: &Record| match (record.claim(), theirs.claim()) {
            (Some(ours), Some(theirs)) => ours.shares_objects_with(theirs),
            _ => false,
        };
        // Others may have been found when an earlier batch was claimed.
        if self.entries.iter().any(|entry| shares(&entry.record)) {
            return Ok(Appended::Lost);
        }
        loop {
            let number = self.entries.len() + 1;
            let key = self.key(number, CLAIM);
            match dataset.create(&key, &text)? {
                Owner::Ours => {
                    self.entries.push(Entry { record, state: State::Open });
                    return Ok(Appended::At(number));
                }
                Owner::Theirs(text) => {
                    let theirs = parse(dataset, &key, &text)?;
                    let shared = shares(&theirs);
                    self.entries.push(Entry { record: theirs, state: State::Open });
                    if shared {
                        return Ok(Appended::Lost);
                    }
                }
            }
        }
    }

    /// Waits until an entry that was read outlasts a failure of the machine.
    ///
    /// # Errors
    ///
    /// Fails when that is not sure.
    pub fn settle(&self, dataset: &Dataset, number: usize) -> Result<(), DatasetError> {
        Ok(dataset.target().settle(&self.key(number, CLAIM))?)
    }

    /// Writes down that an entry was carried out.
    ///
    /// # Errors
    ///
    /// Fails when that cannot be written. It was carried out all the same.
    pub fn mark_done(&mut self, dataset: &Dataset, number: usize) -> Result<(), DatasetError> {
        let key = self.key(number, DONE);
        // Whoever misses it carries out the entry again, so it need not outlast a failure.
        dataset.create_lightly(&key, &marker(dataset))?;
        self.set_state(number, State::Done);
        Ok(())
    }

    /// Writes down that an entry never was and never will be carried out.
    ///
    /// # Errors
    ///
    /// Fails when it is not known whether that was written.
    pub fn mark_void(&mut self, dataset: &Dataset, number: usize) -> Result<(), DatasetError> {
        dataset.create(&self.key(number, VOID), &marker(dataset))?;
        self.set_state(number, State::Void);
        Ok(())
    }

    /// Looks up what became of an entry.
    ///
    /// # Errors
    ///
    /// Fails when that cannot be read.
    pub fn state(&self, dataset: &Dataset, number: usize) -> Result<State, DatasetError> {
        for (kind, state) in [(VOID, State::Void), (DONE, State::Done)] {
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
        text.map(|text| parse(dataset, &key, &text)).transpose()
    }

    fn key(&self, number: usize, kind: &str) -> String {
        let Partition { log_type, account, region, day } = &self.partition;
        format!("{STATE}/claims/{log_type}/{account}/{region}/{day}/{number}.{kind}")
    }
}

fn parse(dataset: &Dataset, key: &str, text: &[u8]) -> Result<Record, DatasetError> {
    let state = |source| DatasetError::State { name: dataset.target().name(key), source };
    serde_json::from_slice(text).map_err(state)
}

fn marker(dataset: &Dataset) -> Vec<u8> {
    serde_json::to_vec(&serde_json::json!({ "run": dataset.run() })).expect("plain values")
}
