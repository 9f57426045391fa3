//! The ledger: the claims of a dataset that a run has read or added.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::Days;

use crate::dataset::claim::{
    Amended, Amendment, Appended, Claim, Hints, Log, Record, Removal, State, retired_key,
};
use crate::dataset::data_files::DataFiles;
use crate::dataset::held::{Held, HeldObject};
use crate::dataset::layout::{Dataset, DatasetError};
use crate::dataset::publish;
use crate::dataset::shard::Shard;
use crate::logs::key::{Partition, identity};
use crate::store::Writing;
use crate::util::threads::on_threads;

/// The logs of the partitions that a run has used.
#[derive(Debug)]
pub struct Ledger<'a> {
    dataset: &'a Dataset,
    /// Whether the ledger must not write.
    read_only: bool,
    hints: Hints,
    files: Arc<DataFiles>,
    /// Whether a partition's log and files are listed when the partition is first used. Otherwise, all partitions are
    /// listed up front.
    lists_each: bool,
    logs: Mutex<BTreeMap<Partition, Arc<Mutex<Log>>>>,
    recent: Mutex<Recent>,
    /// Number of incomplete objects in each partition with incomplete objects.
    incomplete: Mutex<BTreeMap<Partition, u64>>,
}

/// What a plan needs for the current partition and the next ones.
#[derive(Debug, Default)]
struct Recent {
    /// Logs that were read ahead, before their partitions were used.
    ahead: BTreeMap<Partition, Log>,
    /// Objects in the most recently used partitions.
    held: BTreeMap<Partition, Arc<Held>>,
    /// Partitions in `held` whose data files all have a claim.
    accounted: BTreeSet<Partition>,
}

/// Result of claiming a batch.
#[derive(Debug)]
pub enum Committed {
    /// The batch was claimed. Its outputs are visible if the state is `State::Done`.
    Claimed(State),
    /// Another run has already claimed some of the batch's objects, so the outputs were aborted. Contains the
    /// identities of all claimed objects in the partition.
    Lost(HashSet<String>),
}

impl<'a> Ledger<'a> {
    /// Opens the ledger of a dataset.
    ///
    /// # Errors
    ///
    /// Fails when the logs cannot be listed.
    pub fn open(dataset: &'a Dataset) -> Result<Self, DatasetError> {
        // List files before claims: a file is claimed before it is published, so this order also lists the claim of
        // every listed file.
        let files = Arc::new(DataFiles::list(dataset)?);
        let hints = Hints::list(dataset)?;
        Ok(Self { hints, files, lists_each: false, ..Self::of_few(dataset) })
    }

    /// Opens the ledger of a dataset for a run that uses only a few partitions. Each partition is listed when it is
    /// first used.
    pub fn of_few(dataset: &'a Dataset) -> Self {
        Self {
            dataset,
            read_only: false,
            hints: Hints::default(),
            files: Arc::default(),
            lists_each: true,
            logs: Mutex::default(),
            recent: Mutex::default(),
            incomplete: Mutex::default(),
        }
    }

    /// Opens the ledger of a dataset read-only. Entries that other runs have left unfinished count as finished.
    ///
    /// # Errors
    ///
    /// Fails when the logs cannot be listed.
    pub fn open_read_only(dataset: &'a Dataset) -> Result<Self, DatasetError> {
        Ok(Self { read_only: true, ..Self::open(dataset)? })
    }

    /// Returns the objects that a partition holds, after finishing any entries that other runs have left open.
    ///
    /// # Errors
    ///
    /// Fails when the log cannot be read or finished.
    pub fn held(&self, partition: &Partition) -> Result<Arc<Held>, DatasetError> {
        let ahead = {
            let mut recent = lock(&self.recent);
            if let Some(held) = recent.held.get(partition) {
                return Ok(Arc::clone(held));
            }
            recent.ahead.remove(partition)
        };
        let mut log = match ahead {
            Some(log) => log,
            None => self.read(partition)?,
        };
        self.finish(&mut log)?;
        let (mut held, mut incomplete) = (Held::new(), 0);
        let amendments = log.amendments();
        for (number, claim) in log.holding() {
            for (object, known) in HeldObject::of(number, claim, &amendments) {
                if let Some(other) = held.insert(identity(&object.name).to_owned(), known) {
                    let name = log.name(self.dataset, number);
                    let why = format!("claim {} also holds {}", other.claim, object.name);
                    return Err(DatasetError::Broken { name, why });
                }
                if object.is_incomplete() && !amendments.is_accepted(number, object) {
                    incomplete += 1;
                }
            }
        }
        if incomplete > 0 {
            // A partition that is read again may contain incomplete objects of this run.
            lock(&self.incomplete).entry(partition.clone()).or_insert(incomplete);
        }
        let held = Arc::new(held);
        self.keep(log);
        // Planning proceeds day by day and needs only the current day and the adjacent days, so earlier days can be
        // dropped.
        let first = partition.day.checked_sub_days(Days::new(2)).unwrap_or(partition.day);
        let Recent { held: recent, accounted, .. } = &mut *lock(&self.recent);
        recent.retain(|other, _| {
            other.account == partition.account
                && other.region == partition.region
                && other.day >= first
        });
        accounted.retain(|other| recent.contains_key(other));
        recent.insert(partition.clone(), Arc::clone(&held));
        Ok(held)
    }

    /// Returns a partition's objects like [`Self::held`], after checking that claims account for all of its data files.
    ///
    /// # Errors
    ///
    /// Fails like [`Self::held`], and when no claim accounts for a data file.
    pub fn accounted(&self, partition: &Partition) -> Result<Arc<Held>, DatasetError> {
        if lock(&self.recent).accounted.contains(partition) {
            return self.held(partition);
        }
        let held = self.account(partition)?;
        lock(&self.recent).accounted.insert(partition.clone());
        Ok(held)
    }

    /// Reads a partition's objects and checks that claims account for all of its data files.
    fn account(&self, partition: &Partition) -> Result<Arc<Held>, DatasetError> {
        let files = if self.lists_each {
            Arc::new(DataFiles::of(self.dataset, partition)?)
        } else {
            Arc::clone(&self.files)
        };
        let mut held = self.held(partition)?;
        if self.unaccounted(&files, partition)?.is_empty() {
            return Ok(held);
        }
        // The log may have been read before the files were listed, so it is read again.
        lock(&self.recent).held.remove(partition);
        held = self.held(partition)?;
        let unaccounted = self.unaccounted(&files, partition)?;
        let Some(first) = unaccounted.first() else { return Ok(held) };
        let (name, others) = (self.dataset.target().name(first), unaccounted.len() - 1);
        Err(DatasetError::Unaccounted { partition: partition.clone(), name, others })
    }

    fn unaccounted(
        &self,
        files: &DataFiles,
        partition: &Partition,
    ) -> Result<Vec<String>, DatasetError> {
        let log = self.log(partition).expect("was just read");
        files.unaccounted(self.dataset, &lock(&log), self.read_only)
    }

    /// Returns whether the log of a partition is in memory.
    pub fn has_read(&self, partition: &Partition) -> bool {
        let recent = lock(&self.recent);
        recent.held.contains_key(partition) || recent.ahead.contains_key(partition)
    }

    /// Returns whether logs should be read in advance because each read takes a round trip.
    pub fn reads_ahead(&self) -> bool {
        self.dataset.target().reads_at_once() > 1
    }

    /// Reads the logs of partitions that will be needed soon. The number of concurrent reads depends on the target.
    ///
    /// # Errors
    ///
    /// Fails when a log cannot be read.
    pub fn read_ahead(&self, partitions: &BTreeSet<Partition>) -> Result<(), DatasetError> {
        let unread: Vec<&Partition> = partitions.iter().filter(|p| !self.has_read(p)).collect();
        let threads = self.dataset.target().reads_at_once().min(unread.len());
        let next = AtomicUsize::new(0);
        let read = || {
            let mut logs = Vec::new();
            while let Some(partition) = unread.get(next.fetch_add(1, Ordering::Relaxed)) {
                match self.read(partition) {
                    Ok(log) => logs.push(log),
                    // Ignore the error: when the partition is used, the log is read again and the error is reported.
                    Err(error) if error.is_of_partition() => {}
                    Err(error) => return Err(error),
                }
            }
            Ok::<_, DatasetError>(logs)
        };
        let logs = on_threads(threads, read).into_iter().collect::<Result<Vec<_>, _>>()?;
        let logs = logs.into_iter().flatten().map(|log| (log.partition().clone(), log));
        lock(&self.recent).ahead.extend(logs);
        Ok(())
    }

    /// Reads a log. A read-only ledger treats an unlisted log as empty.
    fn read(&self, partition: &Partition) -> Result<Log, DatasetError> {
        if self.read_only && !self.hints.has(partition) {
            return Ok(Log::empty(partition));
        }
        if self.lists_each {
            return Log::read(self.dataset, partition, &Hints::of(self.dataset, partition)?);
        }
        Log::read(self.dataset, partition, &self.hints)
    }

    /// Finishes the open entries of a log. A read-only ledger only marks removals as done in memory.
    fn finish(&self, log: &mut Log) -> Result<(), DatasetError> {
        if !self.read_only {
            return publish::finish(self.dataset, log);
        }
        for number in 1..=log.entries().len() {
            let entry = log.entry(number);
            if matches!(entry.record, Record::Remove(_)) && entry.state == State::Open {
                log.set_state(number, State::Done);
            }
        }
        Ok(())
    }

    /// Finishes the open entries of partitions that this run has not used. If the run processes a shard, partitions
    /// outside the shard are ignored. Returns the partitions with broken logs and their errors.
    ///
    /// # Errors
    ///
    /// Fails when a log cannot be read or finished.
    pub fn finish_others(
        &self,
        shard: Option<Shard>,
    ) -> Result<Vec<(Partition, DatasetError)>, DatasetError> {
        let mut broken = Vec::new();
        if self.read_only {
            return Ok(broken);
        }
        let is_own = |Partition { account, region, day, .. }: &Partition| {
            shard.is_none_or(|shard| shard.holds(account, region, *day))
        };
        let others = self.hints.unfinished().filter(|p| self.log(p).is_none() && is_own(p));
        for partition in others.cloned().collect::<Vec<_>>() {
            match self.held(&partition) {
                Ok(_) => {}
                Err(error) if error.is_of_partition() => broken.push((partition, error)),
                Err(error) => return Err(error),
            }
        }
        Ok(broken)
    }

    /// Finishes the open entries of other runs, such as those that were added since the logs were read. Returns the names
    /// of those that were aborted or cannot be applied, with their states.
    ///
    /// # Errors
    ///
    /// Fails when the entries cannot be finished.
    pub fn finish_added(&self) -> Result<Vec<(String, State)>, DatasetError> {
        let mut failed = Vec::new();
        for log in self.logs() {
            let log = &mut *lock(&log);
            let is_added = |number: &usize| {
                let entry = log.entry(*number);
                entry.state == State::Open && entry.record.run() != self.dataset.run()
            };
            let added: Vec<usize> = (1..=log.entries().len()).filter(is_added).collect();
            if added.is_empty() {
                continue;
            }
            publish::finish(self.dataset, log)?;
            for number in added {
                let state = &log.entry(number).state;
                if matches!(state, State::Aborted | State::Stuck(_)) {
                    failed.push((log.name(self.dataset, number), state.clone()));
                }
            }
        }
        Ok(failed)
    }

    /// Returns the number of entries that other runs have left unfinished, according to the listing.
    pub fn open_entries(&self) -> usize {
        self.hints.open_entries()
    }

    /// Returns the number of incomplete objects in the partitions that were read, excluding accepted ones.
    pub fn incomplete_objects(&self) -> u64 {
        lock(&self.incomplete).values().sum()
    }

    /// Returns the number of listed state files.
    pub fn state_files(&self) -> u64 {
        self.hints.files()
    }

    /// Returns the number of listed files in each table's directory.
    pub fn files_by_table(&self) -> &[u64] {
        self.files.listed()
    }

    /// Returns the number of entries in each log that was read.
    pub fn logs_read(&self) -> Vec<u64> {
        self.logs().into_iter().map(|log| lock(&log).entries().len() as u64).collect()
    }

    /// Returns the partition and name of each entry of another run that cannot be applied, and the reason.
    pub fn stuck(&self) -> Vec<(Partition, String, String)> {
        let mut stuck = Vec::new();
        for log in self.logs() {
            let log = lock(&log);
            for (number, entry) in log.unremoved() {
                let is_own = entry.record.run() == self.dataset.run();
                if let State::Stuck(reason) = &entry.state
                    && !is_own
                {
                    let name = log.name(self.dataset, number);
                    stuck.push((log.partition().clone(), name, reason.clone()));
                }
            }
        }
        stuck
    }

    /// Returns the logs of all partitions that were used, ordered by partition.
    fn logs(&self) -> Vec<Arc<Mutex<Log>>> {
        lock(&self.logs).values().cloned().collect()
    }

    /// Returns the log of a partition, if the partition was used.
    fn log(&self, partition: &Partition) -> Option<Arc<Mutex<Log>>> {
        lock(&self.logs).get(partition).cloned()
    }

    /// Stores a log that was read, without its objects. Returns the stored log.
    ///
    /// If the partition's log was stored before, adds only the entries that it lacks, with their objects: batches that
    /// were planned with the stored log must be compared with them.
    fn keep(&self, mut log: Log) -> Arc<Mutex<Log>> {
        let known = match lock(&self.logs).entry(log.partition().clone()) {
            Entry::Vacant(vacant) => {
                log.forget_objects(1..=log.entries().len());
                return Arc::clone(vacant.insert(Arc::new(Mutex::new(log))));
            }
            Entry::Occupied(known) => Arc::clone(known.get()),
        };
        lock(&known).update(log);
        known
    }

    /// Returns the partitions that have a log.
    pub fn partitions(&self) -> Vec<Partition> {
        self.hints.partitions().cloned().collect()
    }

    /// Removes a partition's contents. Its objects become eligible for conversion again. If the removal is interrupted,
    /// the next run that uses the partition finishes it. Unless `including_retired` is set, does not remove a partition
    /// that holds retired objects, and returns `None`.
    ///
    /// # Errors
    ///
    /// Fails when the dataset cannot be read or written.
    pub fn remove(
        &self,
        partition: &Partition,
        including_retired: bool,
    ) -> Result<Option<State>, DatasetError> {
        let retired = retired_key(partition);
        if !including_retired && self.dataset.target().get(&retired)?.is_some() {
            return Ok(None);
        }
        let mut log = Log::read(self.dataset, partition, &self.hints)?;
        let run = self.dataset.run().to_owned();
        let id = format!("{run}-{}", log.entries().len());
        let removal = Removal { run, id, including_retired };
        if log.append(self.dataset, Record::Remove(removal))? == Appended::Lost {
            return Ok(None);
        }
        publish::finish(self.dataset, &mut log)?;
        let state = log.entries().last().expect("was just added").state.clone();
        if state == State::Done {
            self.dataset.target().delete(&retired)?;
        }
        lock(&self.recent).held.remove(partition);
        lock(&self.logs).remove(partition);
        Ok(Some(state))
    }

    /// Records new facts about objects in a partition. Can be called from several threads concurrently.
    ///
    /// # Errors
    ///
    /// Fails when the entry cannot be written, or when the outcome is unknown. In the latter case, the entry may still
    /// appear.
    pub fn amend(&self, partition: &Partition, objects: Vec<Amended>) -> Result<(), DatasetError> {
        let log = self.finished(partition)?;
        let log = &mut *lock(&log);
        let amendment = Amendment { run: self.dataset.run().to_owned(), objects };
        if let Appended::At(number) = log.append(self.dataset, Record::Amend(amendment))? {
            log.forget_objects(number..=number);
            log.mark_done(self.dataset, number)?;
        }
        Ok(())
    }

    /// Returns the log of a partition, after reading and finishing it if necessary.
    fn finished(&self, partition: &Partition) -> Result<Arc<Mutex<Log>>, DatasetError> {
        if let Some(log) = self.log(partition) {
            return Ok(log);
        }
        let mut log = self.read(partition)?;
        self.finish(&mut log)?;
        Ok(self.keep(log))
    }

    /// Claims a batch whose outputs are staged, and publishes the outputs. Can be called from several threads
    /// concurrently.
    ///
    /// # Errors
    ///
    /// Fails when the claim cannot be written, when it is unknown whether it was written, or when its outputs cannot be
    /// made visible. If the claim was written, a later run publishes its outputs.
    pub fn commit(
        &self,
        partition: &Partition,
        claim: Claim,
        outputs: Vec<Writing>,
    ) -> Result<Committed, DatasetError> {
        let log = self.finished(partition)?;
        // Batches of the same partition are claimed one at a time.
        let log = &mut *lock(&log);
        // As soon as the claim might exist, any run can complete its outputs, so this run must not abort them.
        outputs.into_iter().for_each(Writing::keep);
        let staged: Vec<_> =
            claim.outputs.iter().map(|output| output.file.staged.clone()).collect();
        Ok(match log.append(self.dataset, Record::Add(claim))? {
            Appended::At(number) => {
                log.forget_objects(number..=number);
                publish::publish(self.dataset, log, number)?;
                Committed::Claimed(log.entry(number).state.clone())
            }
            Appended::Lost => {
                for staged in &staged {
                    // If this fails, `clean` deletes the file, because no claim names it.
                    let _ = self.dataset.target().discard(staged);
                }
                let names = log.entries().iter().filter_map(|entry| entry.record.claim());
                let names = names.flat_map(|claim| &claim.objects);
                Committed::Lost(names.map(|object| identity(&object.name).to_owned()).collect())
            }
        })
    }
}

/// Locks a log or the map of logs, even if a panic has poisoned the mutex. The panic affects only one batch, and the
/// log in memory is still a prefix of the stored log, which is sufficient.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
