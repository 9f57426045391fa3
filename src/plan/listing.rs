//! Lists the objects in the sources, or reads them from an object list, and sorts them by partition and name.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::dataset::shard::Shard;
use crate::logs::key::{Directory, Form, Key, Partition, SkipReason, has_size_of, identity};
use crate::plan::inventory;
use crate::plan::{
    Amount, DUPLICATE, Failure, Matches, Moved, NOT_SELECTED, Object, PlanError, SIDECAR, Scope,
    Selection,
};
use crate::store::{Listed, Look, Named, Network, Source, StoreError};

/// Number of objects from an object list to look up in one call.
const FOUND_AT_ONCE: usize = 4096;
/// Maximum number of load balancers to keep for suggestions.
const MAX_BALANCERS: usize = 1000;

/// The selected objects in the sources.
#[derive(Debug, Default)]
pub struct Listing {
    /// The objects, without duplicate copies, sorted by partition and name. Sorting by name also sorts by load balancer
    /// and end time.
    pub objects: Vec<Object>,
    /// Number of listed objects, selected or not.
    pub listed: u64,
    /// Number of skipped objects by kind.
    pub skipped: BTreeMap<&'static str, u64>,
    /// Failed listings, objects that cannot be read, and objects that conflict with each other.
    pub failures: Vec<Failure>,
    /// Key of the first skipped object of each kind.
    pub examples: BTreeMap<&'static str, String>,
    /// Other AWS services whose directories were skipped.
    pub passed: BTreeSet<&'static str>,
    /// Whether directories were skipped because nothing below them is selected.
    pub is_pruned: bool,
    /// Selected objects whose directory's date does not match their end time.
    pub moved: Moved,
    /// Selected load balancers that have no objects in the selected partitions, as the user specified them.
    pub unmatched: Vec<String>,
    /// Other load balancers in the selected partitions, as `app/name/id`; at most a thousand.
    pub others: BTreeSet<String>,
    /// The selected accounts, compared with the accounts in the sources.
    pub accounts: Matches,
    /// The selected regions, compared with the regions in the sources.
    pub regions: Matches,
    /// Selected objects that must be restored before they can be read; `None` if the storage classes are unknown.
    pub archived: Option<Amount>,
    /// The shard that the objects belong to. `None` if the listing is not limited to a shard.
    pub shard: Option<Shard>,
}

impl Listing {
    /// Lists the sources.
    ///
    /// # Errors
    ///
    /// Fails if nothing can be listed, or if the user interrupts the program. A directory that cannot be listed becomes
    /// a [`Failure`].
    pub fn take(
        sources: &[Source],
        selection: &Selection,
        stop: &AtomicBool,
    ) -> Result<Self, PlanError> {
        let mut gathering = Gathering::new(selection, stop);
        let skipped = Arc::new(Mutex::new(Skipped::default()));
        for (index, source) in sources.iter().enumerate() {
            if let Scope::Names(names) = selection.scope(index) {
                gathering.add_all(
                    index,
                    source,
                    names.iter().map(|name| source_key(source, name)).collect(),
                )?;
                continue;
            }
            let (selection, skipped) = (selection.clone(), Arc::clone(&skipped));
            let look = move |directory: &str| {
                // The directory is not recorded as skipped, because the pattern excludes it, not the selection.
                if let Scope::Matching(matching) = selection.scope(index)
                    && !matching.leads_to(directory)
                {
                    return Look::Skip;
                }
                let look = selection.look(directory);
                if look == Look::Skip {
                    let found = Directory::parse(directory);
                    let service = found.and_then(|found| found.service);
                    let mut skipped = skipped.lock().expect("no holder panics");
                    skipped.services.extend(service);
                    skipped.is_pruned |= service.is_none();
                    if let Some(Directory { account, region, service: None, .. }) = found {
                        skipped.accounts.extend(account.map(ToOwned::to_owned));
                        skipped.regions.extend(region.map(ToOwned::to_owned));
                    }
                }
                look
            };
            for listed in source.search(look) {
                gathering.add(index, source, listed)?;
            }
        }
        let Skipped { services, is_pruned, accounts, regions } =
            mem::take(&mut *skipped.lock().expect("no holder panics"));
        for account in &accounts {
            gathering.listing.accounts.see(account, &selection.accounts);
        }
        for region in &regions {
            gathering.listing.regions.see(region, &selection.regions);
        }
        gathering.listing.passed = services;
        gathering.listing.is_pruned = is_pruned;
        let refused = gathering.refused.take();
        let listing = gathering.end();
        match refused {
            Some(error) if listing.listed == 0 => Err(PlanError::Unlisted(error)),
            _ => Ok(listing),
        }
    }

    /// Reads a source's objects from the object list `names` instead of listing the source. Objects that are not below
    /// the source are not selected.
    ///
    /// # Errors
    ///
    /// Fails if the list cannot be read, if none of its objects can be found, or if the user interrupts the program. A
    /// single object that cannot be found becomes a [`Failure`].
    pub fn read(
        names: &str,
        source: &Source,
        network: &Network,
        selection: &Selection,
        stop: &AtomicBool,
    ) -> Result<Self, PlanError> {
        let mut gathering = Gathering::new(selection, stop);
        let mut waiting = Vec::new();
        inventory::read(names, source, network, |named| {
            // A key that ends with a slash is a directory marker. It is not a log and cannot be requested.
            let is_directory = named.key.ends_with('/');
            if is_directory || !source.holds(&named.key) {
                let kind = if is_directory { SkipReason::Unknown.as_str() } else { NOT_SELECTED };
                gathering.listing.listed += 1;
                gathering.listing.skip(kind, &named.key);
                return Ok(());
            }
            waiting.push(named);
            if waiting.len() < FOUND_AT_ONCE {
                return Ok(());
            }
            gathering.add_all(0, source, mem::take(&mut waiting))
        })?;
        gathering.add_all(0, source, waiting)?;
        let refused = gathering.refused.take();
        let listing = gathering.end();
        match refused {
            Some(error) if listing.listed == 0 => Err(PlanError::Unfound {
                list: names.to_owned(),
                count: listing.failures.len(),
                error: error.into(),
            }),
            _ => Ok(listing),
        }
    }

    fn skip(&mut self, kind: &'static str, key: &str) {
        *self.skipped.entry(kind).or_default() += 1;
        self.examples.entry(kind).or_insert_with(|| key.to_owned());
    }

    /// Keeps one copy of each object. Names are unique, so files with the same name are copies of the same object,
    /// regardless of their directories.
    ///
    /// Copies that differ in size are reported. The copy in the preferred form is kept. If several copies have that
    /// form, the one with the earliest day is kept.
    fn drop_repeated(&mut self) {
        let mut objects = mem::take(&mut self.objects);
        objects.sort_unstable_by(|a, b| {
            // The key is the final criterion, because the order of a listing is undefined.
            let order = |o: &Object| (o.partition.day, o.source);
            let by_name = a.name().cmp(b.name()).then_with(|| order(a).cmp(&order(b)));
            by_name.then_with(|| a.listed.key().cmp(&b.listed.key()))
        });
        // Because the list is sorted by name, all copies of an object are adjacent.
        objects.dedup_by(|next, kept| {
            if next.identity() != kept.identity() {
                return false;
            }
            let rank = |o: &Object| (Form::of(o.name()), o.partition.day, o.source);
            if next.name() != kept.name() && rank(next) < rank(kept) {
                mem::swap(next, kept);
            }
            let is_comparable = has_size_of(next.name(), kept.name());
            if !is_comparable || next.listed.size == kept.listed.size {
                self.skip(DUPLICATE, &next.listed.key());
            } else {
                let error = format!(
                    "contradicts {} ({} bytes), which has the same name and is converted instead",
                    kept.listed.key(),
                    kept.listed.size
                );
                self.failures.push(Failure::new(next.listed.key(), error));
            }
            true
        });
        self.objects = objects;
    }

    /// Counts files that are named like logs but have an unsupported ending. A file whose log is also in the listing
    /// counts as a sidecar.
    fn count_endings(&mut self, endings: &[Listed]) {
        for listed in endings {
            let own = identity(listed.name());
            let found = self.objects.binary_search_by(|object| object.identity().cmp(own));
            let kind = if found.is_ok() { SIDECAR } else { SkipReason::UnsupportedEnding.as_str() };
            self.skip(kind, &listed.key());
        }
    }
}

/// Facts about skipped directories.
#[derive(Default)]
struct Skipped {
    /// The other services whose logs the directories contain.
    services: BTreeSet<&'static str>,
    /// Whether any directory was skipped because nothing below it is selected.
    is_pruned: bool,
    /// Accounts in the directories' paths.
    accounts: BTreeSet<String>,
    /// Regions in the directories' paths.
    regions: BTreeSet<String>,
}

/// Returns the object with the given name in a source's own directory.
fn source_key(source: &Source, name: &str) -> Named {
    let address = source.address();
    let prefix = match source.bucket() {
        Some(_) => address.splitn(4, '/').nth(3).unwrap_or_default(),
        None => "",
    };
    let key = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
    Named { key, size: None, e_tag: None, archived: None }
}

/// Builds a listing.
struct Gathering<'a> {
    listing: Listing,
    /// The first error that occurred when listing a source.
    refused: Option<StoreError>,
    partitions: HashSet<Arc<Partition>>,
    /// Files that are named like logs but have other endings.
    endings: Vec<Listed>,
    /// For each selected load balancer, whether it has objects.
    matched: Vec<bool>,
    selection: &'a Selection,
    stop: &'a AtomicBool,
}

impl<'a> Gathering<'a> {
    fn new(selection: &'a Selection, stop: &'a AtomicBool) -> Self {
        let (accounts, regions) =
            (Matches::new(&selection.accounts), Matches::new(&selection.regions));
        let listing = Listing { shard: selection.shard, accounts, regions, ..Listing::default() };
        let (partitions, endings) = (HashSet::new(), Vec::new());
        let matched = vec![false; selection.balancers.len()];
        let refused = None;
        Self { listing, refused, partitions, endings, matched, selection, stop }
    }

    /// Adds objects that the user specified by name.
    fn add_all(
        &mut self,
        index: usize,
        source: &Source,
        named: Vec<Named>,
    ) -> Result<(), PlanError> {
        let archived: Vec<Option<bool>> = named.iter().map(|named| named.archived).collect();
        for (listed, archived) in source.find(named).into_iter().zip(archived) {
            let before = self.listing.objects.len();
            self.add(index, source, listed)?;
            let Some(archived) = archived else { continue };
            let amount = self.listing.archived.get_or_insert_default();
            if archived && let Some(object) = self.listing.objects.get(before) {
                amount.add(object);
            }
        }
        Ok(())
    }

    /// Adds an object from a source, or an error that occurred when listing the source.
    fn add(
        &mut self,
        index: usize,
        source: &Source,
        listed: Result<Listed, StoreError>,
    ) -> Result<(), PlanError> {
        match listed {
            Ok(listed) => {
                if let Scope::Matching(matching) = self.selection.scope(index) {
                    let (url, address) = (source.url(&listed), source.address());
                    let below = url.strip_prefix(&address).unwrap_or(&url);
                    if !matching.holds(below.trim_start_matches('/')) {
                        return Ok(());
                    }
                }
                self.sort_in(index, source, listed);
            }
            Err(error) => {
                self.listing.failures.push(Failure::new(source.to_string(), error.to_string()));
                self.refused.get_or_insert(error);
            }
        }
        if self.stop.load(Ordering::Relaxed) { Err(PlanError::Interrupted) } else { Ok(()) }
    }

    fn sort_in(&mut self, index: usize, source: &Source, listed: Listed) {
        self.listing.listed += 1;
        let key = listed.key();
        match Key::parse(&key) {
            Ok(parsed) if self.wants(&parsed) => {
                if let Some(error) = source.refuses(&key) {
                    self.listing.failures.push(Failure::new(key, error));
                    return;
                }
                if parsed.is_moved {
                    self.listing.moved.add(&key);
                }
                let partition =
                    self.partitions.get(&parsed.partition).cloned().unwrap_or_else(|| {
                        let partition = Arc::new(parsed.partition);
                        self.partitions.insert(Arc::clone(&partition));
                        partition
                    });
                self.listing.objects.push(Object { partition, listed, source: index });
            }
            Ok(_) => self.listing.skip(NOT_SELECTED, &key),
            Err(other) => {
                // Problems with unselected objects are not reported.
                let is_wanted =
                    || Key::of_name(listed.name()).is_none_or(|named| self.selection.wants(&named));
                match other {
                    SkipReason::UnsupportedEnding | SkipReason::ContradictoryPath
                        if !is_wanted() =>
                    {
                        self.listing.skip(NOT_SELECTED, &key);
                    }
                    SkipReason::UnsupportedEnding => self.endings.push(listed),
                    other => self.listing.skip(other.as_str(), &key),
                }
            }
        }
    }

    /// Returns whether a log is selected, and records its account, region and load balancer.
    fn wants(&mut self, key: &Key) -> bool {
        let Partition { account, region, .. } = &key.partition;
        self.listing.accounts.see(account, &self.selection.accounts);
        self.listing.regions.see(region, &self.selection.regions);
        let wanted = &self.selection.balancers;
        if wanted.is_empty() || !self.selection.wants_without_balancer(key) {
            return self.selection.wants(key);
        }
        let mut is_wanted = false;
        for (balancer, matched) in wanted.iter().zip(&mut self.matched) {
            let is_this = balancer.is(key);
            *matched |= is_this;
            is_wanted |= is_this;
        }
        if !is_wanted && self.listing.others.len() < MAX_BALANCERS {
            self.listing.others.insert(key.balancer.replace('.', "/"));
        }
        is_wanted
    }

    fn end(mut self) -> Listing {
        self.listing.drop_repeated();
        self.listing.count_endings(&self.endings);
        self.listing.objects.sort_unstable_by(|a, b| order(a).cmp(&order(b)));
        let unmatched = self.selection.balancers.iter().zip(&self.matched);
        let unmatched = unmatched.filter(|(_, matched)| !**matched);
        self.listing.unmatched = unmatched.map(|(balancer, _)| balancer.to_string()).collect();
        self.listing
    }
}

fn order(object: &Object) -> (&Partition, &str) {
    (&object.partition, object.name())
}
