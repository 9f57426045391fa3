//! What sources hold: listed, or named by a file, and put in order.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::key::{Directory, Key, Other, Partition};
use crate::objects;
use crate::plan::{Amount, DUPLICATE, Failure, NOT_SELECTED, Object, PlanError, Selection};
use crate::shard::Shard;
use crate::store::{Listed, Look, Named, Network, Source, StoreError};

/// Objects that are named by a file and looked for at once.
const FOUND_AT_ONCE: usize = 4096;

/// What sources hold of what is wanted.
#[derive(Debug, Default)]
pub struct Listing {
    /// The objects, one of each name, by partition and name, which begins with balancer and end time.
    pub objects: Vec<Object>,
    /// Number of objects listed, wanted or not.
    pub listed: u64,
    /// Objects left aside, by kind.
    pub skipped: BTreeMap<&'static str, u64>,
    /// What could not be listed, or contradicts itself.
    pub failures: Vec<Failure>,
    /// Key of the first object of each kind that is left aside.
    pub examples: BTreeMap<&'static str, String>,
    /// Kinds of what other services deliver, and was passed by without listing it.
    pub passed: BTreeSet<&'static str>,
    /// Selected objects that must be restored before they can be read; `None` where nothing tells.
    pub archived: Option<Amount>,
    /// The shard that this is of, if it is not of all.
    pub shard: Option<Shard>,
}

impl Listing {
    /// Lists the sources.
    ///
    /// # Errors
    ///
    /// Fails when nothing can be listed, or it is interrupted. A part that cannot be listed is a [`Failure`].
    pub fn take(
        sources: &[Source],
        selection: &Selection,
        stop: &AtomicBool,
    ) -> Result<Self, PlanError> {
        let mut gathering = Gathering::new(selection, stop);
        let passed = Arc::new(Mutex::new(BTreeSet::new()));
        for (index, source) in sources.iter().enumerate() {
            let (selection, passed) = (selection.clone(), Arc::clone(&passed));
            let look = move |directory: &str| {
                let look = selection.look(directory);
                if look == Look::Skip
                    && let Some(kind) = Directory::parse(directory).and_then(|d| d.service)
                {
                    passed.lock().expect("no holder panics").insert(kind);
                }
                look
            };
            for listed in source.search(look) {
                gathering.add(index, source, listed)?;
            }
        }
        gathering.listing.passed = mem::take(&mut *passed.lock().expect("no holder panics"));
        let listing = gathering.end();
        match listing.failures.first() {
            Some(Failure { error, .. }) if listing.listed == 0 => {
                Err(PlanError::Unlisted(error.clone()))
            }
            _ => Ok(listing),
        }
    }

    /// Takes the objects of a source that the file `names` names, instead of listing it. Those that are not below the
    /// source are not selected.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be read, or it is interrupted. An object that cannot be found is a
    /// [`Failure`].
    pub fn read(
        names: &str,
        source: &Source,
        network: &Network,
        selection: &Selection,
        stop: &AtomicBool,
    ) -> Result<Self, PlanError> {
        let mut gathering = Gathering::new(selection, stop);
        let mut waiting = Vec::new();
        objects::read(names, source, network, |named| {
            // A key with a slash at its end stands for a directory. It cannot be asked for, and is no log.
            let is_directory = named.key.ends_with('/');
            if is_directory || !source.holds(&named.key) {
                let kind = if is_directory { Other::Unknown.as_str() } else { NOT_SELECTED };
                gathering.listing.listed += 1;
                gathering.listing.skip(kind, &named.key);
                return Ok(());
            }
            waiting.push(named);
            if waiting.len() < FOUND_AT_ONCE {
                return Ok(());
            }
            gathering.add_all(source, mem::take(&mut waiting))
        })?;
        gathering.add_all(source, waiting)?;
        Ok(gathering.end())
    }

    fn skip(&mut self, kind: &'static str, key: &str) {
        *self.skipped.entry(kind).or_default() += 1;
        self.examples.entry(kind).or_insert_with(|| key.to_owned());
    }

    /// Keeps one object of each name: AWS makes names unique, so that two of a name are copies.
    ///
    /// Copies that differ in day or size contradict each other and are reported; the first day's
    /// stays.
    fn drop_repeated(&mut self) {
        let mut objects = std::mem::take(&mut self.objects);
        objects.sort_unstable_by(|a, b| {
            // The key decides last: a listing comes in no order.
            let order = |o: &Object| (o.partition.day, o.source);
            let by_name = a.name().cmp(b.name()).then_with(|| order(a).cmp(&order(b)));
            by_name.then_with(|| a.listed.key().cmp(&b.listed.key()))
        });
        objects.dedup_by(|next, kept| {
            if next.name() != kept.name() {
                return false;
            }
            if next.partition == kept.partition && next.listed.size == kept.listed.size {
                self.skip(DUPLICATE, &next.listed.key());
            } else {
                let error = format!(
                    "contradicts {} ({} bytes), which has the same name and is converted instead",
                    kept.listed.key(),
                    kept.listed.size
                );
                self.failures.push(Failure { object: next.listed.key(), error });
            }
            true
        });
        self.objects = objects;
    }
}

/// A listing that objects are added to.
struct Gathering<'a> {
    listing: Listing,
    partitions: HashSet<Arc<Partition>>,
    selection: &'a Selection,
    stop: &'a AtomicBool,
}

impl<'a> Gathering<'a> {
    fn new(selection: &'a Selection, stop: &'a AtomicBool) -> Self {
        let listing = Listing { shard: selection.shard, ..Listing::default() };
        Self { listing, partitions: HashSet::new(), selection, stop }
    }

    /// Adds what is found of the only source.
    fn add_all(&mut self, source: &Source, named: Vec<Named>) -> Result<(), PlanError> {
        let archived: Vec<Option<bool>> = named.iter().map(|named| named.archived).collect();
        for (listed, archived) in source.find(named).into_iter().zip(archived) {
            let before = self.listing.objects.len();
            self.add(0, source, listed)?;
            let Some(archived) = archived else { continue };
            let amount = self.listing.archived.get_or_insert_default();
            if archived && let Some(object) = self.listing.objects.get(before) {
                amount.add(object);
            }
        }
        Ok(())
    }

    /// Adds what a source lists.
    fn add(
        &mut self,
        index: usize,
        source: &Source,
        listed: Result<Listed, StoreError>,
    ) -> Result<(), PlanError> {
        match listed {
            Ok(listed) => self.sort_in(index, source, listed),
            Err(error) => {
                let (object, error) = (source.to_string(), error.to_string());
                self.listing.failures.push(Failure { object, error });
            }
        }
        if self.stop.load(Ordering::Relaxed) { Err(PlanError::Interrupted) } else { Ok(()) }
    }

    fn sort_in(&mut self, index: usize, source: &Source, listed: Listed) {
        self.listing.listed += 1;
        let key = listed.key();
        match Key::parse(&key) {
            Ok(parsed) if self.selection.wants(&parsed) => {
                if let Some(error) = source.refuses(&key) {
                    self.listing.failures.push(Failure { object: key, error: error.to_owned() });
                    return;
                }
                let key = parsed;
                let partition = self.partitions.get(&key.partition).cloned().unwrap_or_else(|| {
                    let partition = Arc::new(key.partition);
                    self.partitions.insert(Arc::clone(&partition));
                    partition
                });
                self.listing.objects.push(Object { partition, listed, source: index });
            }
            Ok(_) => self.listing.skip(NOT_SELECTED, &key),
            Err(other) => self.listing.skip(other.as_str(), &key),
        }
    }

    fn end(mut self) -> Listing {
        self.listing.drop_repeated();
        self.listing.objects.sort_unstable_by(|a, b| order(a).cmp(&order(b)));
        self.listing
    }
}

fn order(object: &Object) -> (&Partition, &str) {
    (&object.partition, object.name())
}
