//! Gathers the objects of a listing by day: yields each day when it is completely listed.
//!
//! A source that lists more than [`WHOLE`] objects is listed in the order of partitions ([`Position`]), so only a few
//! days are in memory. Objects in the directory of a later day than their own come after their turn. They are *late*:
//! they are yielded last, after those days have been listed again to find other copies of the objects.

mod late;

use std::collections::{HashSet, VecDeque};
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use chrono::NaiveDate;

use crate::logs::key::{Directory, Key, Partition, Position, SkipReason, identity};
use crate::plan::gathering::late::Late;
use crate::plan::inventory;
use crate::plan::listing::Skipped;
use crate::plan::window::{Copy, Day, Open, Window, drop_repeated};
use crate::plan::{
    DUPLICATE, Failure, Listing, Matches, NOT_SELECTED, Object, PlanError, SIDECAR, Scope,
    Selection,
};
use crate::store::{Listed, Look, Named, Network, Source, Step, StoreError};

/// Number of objects that a source lists before its listing continues in the order of partitions. Smaller sources are
/// listed as a whole, with the fewest requests.
pub(crate) const WHOLE: u64 = 20_000;
/// Number of objects from an object list to look up in one call.
const FOUND_AT_ONCE: usize = 4096;
/// Maximum number of load balancers to keep for suggestions.
const MAX_BALANCERS: usize = 1000;

/// A listing in progress.
pub struct Gathering<'a> {
    sources: &'a [Source],
    selection: &'a Selection,
    stop: &'a AtomicBool,
    streams: Vec<Stream<'a>>,
    /// Number of objects that a source lists in any order.
    whole: u64,
    skipped: Arc<Mutex<Skipped>>,
    /// Everything about the listing except its objects.
    listing: Listing,
    /// The first error that occurred when listing a source.
    refused: Option<StoreError>,
    partitions: HashSet<Arc<Partition>>,
    window: Window,
    /// Days to yield.
    ready: VecDeque<Day>,
    late: Late,
    /// For each selected load balancer, whether it has objects.
    matched: Vec<bool>,
    /// The last directory, with the position that the listing has reached in it.
    place: Option<(String, Option<Position>)>,
    /// The earliest day of any directory that contains logs of other days.
    first_moved: Option<NaiveDate>,
    /// The object list that replaces the listing, as the user specified it.
    list: Option<String>,
}

/// The listing of a source.
struct Stream<'a> {
    steps: Box<dyn Iterator<Item = Step> + Send + 'a>,
    index: usize,
    /// Number of objects that were listed.
    listed: u64,
    /// Whether the source is listed in the order of partitions, if it is large.
    is_ordered: bool,
    /// Objects that are still to be listed are not before this position. `None` if they can have any position.
    reached: Option<Position>,
    /// Late objects. If the source is small, they are not treated differently from others.
    late: Late,
}

/// An object or a file with an unsupported ending, to add to a day.
pub(super) enum Item {
    Object(Object),
    /// A file with an unsupported ending, and the index of its source.
    Ending(Listed, usize),
}

impl Item {
    fn add(self, open: &mut Open) {
        match self {
            Self::Object(object) => open.objects.push(object),
            Self::Ending(listed, _) => open.endings.push(listed),
        }
    }
}

impl<'a> Gathering<'a> {
    /// Starts listing the sources.
    pub fn of(sources: &'a [Source], selection: &'a Selection, stop: &'a AtomicBool) -> Self {
        Self::with_whole(sources, selection, stop, WHOLE)
    }

    /// Starts listing the sources. Each source lists `whole` objects in any order, and the rest in the order of
    /// partitions.
    #[doc(hidden)] // for tests
    pub fn with_whole(
        sources: &'a [Source],
        selection: &'a Selection,
        stop: &'a AtomicBool,
        whole: u64,
    ) -> Self {
        let mut gathering = Self::new(sources, selection, stop);
        gathering.whole = whole;
        for (index, source) in sources.iter().enumerate() {
            let steps: Box<dyn Iterator<Item = Step> + Send> =
                if let Scope::Names(names) = selection.scope(index) {
                    let names = names.iter().map(|name| source_key(source, name)).collect();
                    Box::new(source.find(names).into_iter().map(|found| match found {
                        Ok(listed) => Step::Found(listed),
                        Err(error) => Step::Failed(error),
                    }))
                } else {
                    let look = look(selection.clone(), index, Some(Arc::clone(&gathering.skipped)));
                    source.search_in_order(look, whole, rank_of)
                };
            let is_ordered =
                source.lists_in_order() && !matches!(selection.scope(index), Scope::Names(_));
            let late = Late::default();
            gathering.streams.push(Stream {
                steps,
                index,
                listed: 0,
                is_ordered,
                reached: None,
                late,
            });
        }
        gathering
    }

    /// Reads a source's objects from the object list `names` instead of listing the source. Objects that are not below
    /// the source are not selected.
    ///
    /// # Errors
    ///
    /// Fails if the list cannot be read, or if the user interrupts the program. A single object that cannot be found
    /// becomes a [`Failure`].
    pub fn of_list(
        names: &str,
        sources: &'a [Source],
        network: &Network,
        selection: &'a Selection,
        stop: &'a AtomicBool,
    ) -> Result<Self, PlanError> {
        let mut gathering = Self::new(sources, selection, stop);
        let [source] = sources else { return Ok(gathering) };
        gathering.list = Some(names.to_owned());
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
            gathering.add_all(source, mem::take(&mut waiting))
        })?;
        gathering.add_all(source, waiting)?;
        Ok(gathering)
    }

    fn new(sources: &'a [Source], selection: &'a Selection, stop: &'a AtomicBool) -> Self {
        let (accounts, regions) =
            (Matches::new(&selection.accounts), Matches::new(&selection.regions));
        let listing = Listing { shard: selection.shard, accounts, regions, ..Listing::default() };
        Self {
            sources,
            selection,
            stop,
            streams: Vec::new(),
            whole: WHOLE,
            skipped: Arc::default(),
            listing,
            refused: None,
            partitions: HashSet::new(),
            window: Window::default(),
            ready: VecDeque::new(),
            late: Late::default(),
            matched: vec![false; selection.balancers.len()],
            place: None,
            first_moved: None,
            list: None,
        }
    }

    /// Returns the number of objects listed so far, selected or not.
    pub fn listed(&self) -> u64 {
        self.listing.listed
    }

    /// Returns the next day. Returns `None` after the last day. Days are in the order of their positions, except for
    /// late objects, which come last.
    ///
    /// # Errors
    ///
    /// Fails if the user interrupts the program. A directory that cannot be listed becomes a [`Failure`].
    pub fn next_day(&mut self) -> Result<Option<Day>, PlanError> {
        loop {
            if let Some(day) = self.ready.pop_front() {
                return Ok(Some(day));
            }
            self.check_stop()?;
            if self.streams.is_empty() {
                if !self.late.is_empty() {
                    self.add_late()?;
                }
                match self.window.pop() {
                    Some((position, open)) => self.close(position, open),
                    None => return Ok(None),
                }
                continue;
            }
            self.advance()?;
            let reached = self.streams.iter().map(|stream| &stream.reached).min();
            let Some(Some(reached)) = reached.cloned() else { continue };
            while self.window.is_complete(&reached) {
                let Some((position, open)) = self.window.pop() else { break };
                self.close(position, open);
            }
        }
    }

    /// Takes steps of the source whose listing is at the lowest position, until its position changes.
    fn advance(&mut self) -> Result<(), PlanError> {
        let lowest = (0..self.streams.len()).min_by_key(|index| &self.streams[*index].reached);
        let Some(at) = lowest else { return Ok(()) };
        loop {
            self.check_stop()?;
            let Some(step) = self.streams[at].steps.next() else {
                let Stream { late, listed, is_ordered, .. } = self.streams.remove(at);
                if is_ordered && listed > self.whole {
                    self.late.append(late);
                } else {
                    late.each(|position, item| item.add(self.window.of(position)));
                }
                return Ok(());
            };
            let (index, sources) = (self.streams[at].index, self.sources);
            let source = &sources[index];
            match step {
                Step::Found(listed) => {
                    self.streams[at].listed += 1;
                    if let Some((position, item, is_late)) = self.sort_in(index, source, listed) {
                        let Stream { reached, late, .. } = &mut self.streams[at];
                        let is_behind = || reached.as_ref().is_some_and(|at| position.precedes(at));
                        // Objects in directories with unusual names can be late without being moved.
                        if is_late || is_behind() && self.window.is_closed(&position) {
                            late.add(position, item);
                        } else {
                            item.add(self.window.of(position));
                        }
                    }
                }
                Step::Failed(error) => self.fail(source, error),
                Step::Reached(rank) => {
                    // A small source yields nothing before it is listed as a whole.
                    let stream = &mut self.streams[at];
                    if stream.is_ordered && stream.listed > self.whole {
                        stream.reached = Position::of_rank(&rank);
                        return Ok(());
                    }
                }
            }
        }
    }

    fn check_stop(&self) -> Result<(), PlanError> {
        if self.stop.load(Ordering::Relaxed) { Err(PlanError::Interrupted) } else { Ok(()) }
    }

    fn fail(&mut self, source: &Source, error: StoreError) {
        self.listing.failures.push(Failure::new(source.to_string(), error.to_string()));
        self.refused.get_or_insert(error);
    }

    /// Adds objects from an object list.
    fn add_all(&mut self, source: &Source, named: Vec<Named>) -> Result<(), PlanError> {
        let archived: Vec<Option<bool>> = named.iter().map(|named| named.archived).collect();
        for (found, archived) in source.find(named).into_iter().zip(archived) {
            self.check_stop()?;
            let item = match found {
                Ok(listed) => self.sort_in(0, source, listed),
                Err(error) => {
                    self.fail(source, error);
                    None
                }
            };
            if let Some(archived) = archived {
                let amount = self.listing.archived.get_or_insert_default();
                if archived && let Some((_, Item::Object(object), _)) = &item {
                    amount.add(object);
                }
            }
            if let Some((position, item, _)) = item {
                item.add(self.window.of(position));
            }
        }
        Ok(())
    }

    /// Classifies a listed object. Returns it with its end day, and whether it is late, unless it is skipped.
    fn sort_in(
        &mut self,
        index: usize,
        source: &Source,
        listed: Listed,
    ) -> Option<(Position, Item, bool)> {
        if !is_in_scope(self.selection.scope(index), source, &listed) {
            return None;
        }
        self.listing.listed += 1;
        let key = listed.key();
        match Key::parse(&key) {
            Ok(parsed) if self.wants(&parsed) => {
                if let Some(error) = source.refuses(&key) {
                    self.listing.failures.push(Failure::new(key, error));
                    return None;
                }
                if parsed.is_moved {
                    self.listing.moved.add(&key);
                }
                let known = self.partitions.get(&parsed.partition).cloned();
                let partition = known.unwrap_or_else(|| {
                    let partition = Arc::new(parsed.partition);
                    self.partitions.insert(Arc::clone(&partition));
                    partition
                });
                let mut position = Position::of(&partition);
                let is_late = self.is_late(&key, &position);
                if parsed.is_moved
                    && let Some((_, Some(Position { day, .. }))) = &self.place
                {
                    let first = self.first_moved.map_or(*day, |first| first.min(*day));
                    self.first_moved = Some(first);
                }
                position.day = parsed.end_day;
                let object = Object { partition, listed, source: index };
                Some((position, Item::Object(object), is_late))
            }
            Ok(_) => {
                self.listing.skip(NOT_SELECTED, &key);
                None
            }
            Err(other) => {
                // Problems with unselected objects are not reported.
                let named = Key::of_name(listed.name());
                let is_wanted = named.as_ref().is_none_or(|named| self.selection.wants(named));
                match (other, named) {
                    (SkipReason::UnsupportedEnding | SkipReason::ContradictoryPath, _)
                        if !is_wanted =>
                    {
                        self.listing.skip(NOT_SELECTED, &key);
                    }
                    (SkipReason::UnsupportedEnding, Some(named)) => {
                        let position = Position::of(&named.partition);
                        let is_late = self.is_late(&key, &position.next_day());
                        return Some((position, Item::Ending(listed, index), is_late));
                    }
                    (other, _) => self.listing.skip(other.as_str(), &key),
                }
                None
            }
        }
    }

    /// Returns whether an object with this key comes after its turn in a listing in order.
    fn is_late(&mut self, key: &str, own: &Position) -> bool {
        let directory = &key[..key.rfind('/').map_or(0, |slash| slash + 1)];
        let reached = match &self.place {
            Some((known, reached)) if known == directory => reached,
            _ => {
                let reached = Position::from(directory, key);
                &self.place.insert((directory.to_owned(), reached)).1
            }
        };
        reached.as_ref().is_some_and(|reached| own < reached)
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

    /// Drops the copies among the objects of an end day, counts the sidecars, and yields the day.
    fn close(&mut self, position: Position, mut open: Open) {
        let carried = open.take_carried();
        let Open { mut objects, endings, .. } = open;
        drop_repeated(&mut objects, |object, copy| self.listing.drop_copy(&object.listed, copy));
        for listed in endings {
            let own = identity(listed.name());
            let found = objects.binary_search_by(|object| object.identity().cmp(own));
            let kind = if found.is_ok() { SIDECAR } else { SkipReason::UnsupportedEnding.as_str() };
            self.listing.skip(kind, &listed.key());
        }
        if let Some(day) = self.window.day(position, objects, carried) {
            self.listing.selected += day.objects.len() as u64;
            self.ready.push_back(day);
        }
        self.partitions.retain(|partition| Arc::strong_count(partition) > 1);
    }

    /// Returns the number of objects that were listed, but not yet yielded or skipped.
    pub(crate) fn pending(&self) -> u64 {
        let ready: usize = self.ready.iter().map(|day| day.objects.len()).sum();
        let late: usize = self.streams.iter().map(|stream| stream.late.len()).sum();
        (ready + late + self.late.len() + self.window.len()) as u64
    }

    /// Ends the listing before everything is listed.
    pub(crate) fn end_early(self) -> Listing {
        self.listing
    }

    /// Ends the listing. Returns everything about it except its objects.
    ///
    /// # Errors
    ///
    /// Fails if nothing could be listed, or if none of the objects in a list can be found.
    pub fn end(mut self) -> Result<Listing, PlanError> {
        let Skipped { services, is_pruned, accounts, regions } =
            mem::take(&mut *self.skipped.lock().expect("no holder panics"));
        let mut listing = self.listing;
        for account in &accounts {
            listing.accounts.see(account, &self.selection.accounts);
        }
        for region in &regions {
            listing.regions.see(region, &self.selection.regions);
        }
        listing.passed = services;
        listing.is_pruned = is_pruned;
        let unmatched = self.selection.balancers.iter().zip(&self.matched);
        let unmatched = unmatched.filter(|(_, matched)| !**matched);
        listing.unmatched = unmatched.map(|(balancer, _)| balancer.to_string()).collect();
        match (self.refused.take(), self.list) {
            (Some(error), None) if listing.listed == 0 => Err(PlanError::Unlisted(error)),
            (Some(error), Some(list)) if listing.listed == 0 => {
                Err(PlanError::Unfound { list, count: listing.failures.len(), error: error.into() })
            }
            _ => Ok(listing),
        }
    }

    /// Lists everything that is left.
    ///
    /// # Errors
    ///
    /// Fails like [`Self::next_day`] and [`Self::end`].
    pub fn collect(mut self) -> Result<Listing, PlanError> {
        let mut objects = Vec::new();
        while let Some(day) = self.next_day()? {
            objects.extend(day.objects);
        }
        Ok(Listing { objects, ..self.end()? })
    }
}

impl Listing {
    /// Counts a file as a sidecar that was counted as a log with an unsupported ending.
    fn is_sidecar(&mut self, key: &str) {
        let kind = SkipReason::UnsupportedEnding.as_str();
        let Some(count) = self.skipped.get_mut(kind) else { return };
        *count -= 1;
        if *count == 0 {
            self.skipped.remove(kind);
        }
        if self.examples.get(kind).is_some_and(|example| example == key) {
            self.examples.remove(kind);
        }
        self.skip(SIDECAR, key);
    }

    /// Counts a copy that is not converted.
    fn drop_copy(&mut self, listed: &Listed, copy: Copy) {
        match copy {
            Copy::Duplicate => self.skip(DUPLICATE, &listed.key()),
            Copy::Contradiction(error) => self.failures.push(Failure::new(listed.key(), error)),
        }
    }
}

/// Returns the rank of a directory's keys from `key` on.
fn rank_of(directory: &str, key: &str) -> Option<String> {
    Position::from(directory, key).map(|position| position.rank())
}

/// Returns whether an object is in the scope of its source.
fn is_in_scope(scope: &Scope, source: &Source, listed: &Listed) -> bool {
    let Scope::Matching(matching) = scope else { return true };
    let (url, address) = (source.url(listed), source.address());
    let below = url.strip_prefix(&address).unwrap_or(&url);
    matching.holds(below.trim_start_matches('/'))
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

/// Returns how the listing of a source treats each directory. Records the skipped directories in `skipped`.
fn look(
    selection: Selection,
    index: usize,
    skipped: Option<Arc<Mutex<Skipped>>>,
) -> impl Fn(&str) -> Look + Send + Sync + 'static {
    move |directory: &str| {
        // The directory is not recorded as skipped, because the pattern excludes it, not the selection.
        if let Scope::Matching(matching) = selection.scope(index)
            && !matching.leads_to(directory)
        {
            return Look::Skip;
        }
        let look = selection.look(directory);
        if look == Look::Skip
            && let Some(skipped) = &skipped
        {
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
    }
}
