//! Lists the objects below a prefix in a remote store with few requests.
//!
//! A *descent* lists one directory at a time with a delimiter, and fully selected subtrees without one. A *sweep* lists
//! everything in key order. A descent is cheap if it prunes many objects; a sweep is cheap if directories are small.
//! Which one is cheaper is unknown in advance, so the two share the work. As long as the descent's pages are as full as
//! a sweep's would be, only the descent runs. Otherwise, the two alternate. Neither lists what the other has already
//! listed, so together they need at most about twice as many requests as the cheaper one alone.
//!
//! A large listing continues in the order of partitions, so that its receiver needs to hold only a few days
//! ([`Progress`]). The descent then lists the directories of the first partitions, and a sweep continues at the first
//! partition that is not listed yet.

mod regions;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;

use crate::store::StoreError;
use crate::store::explain::summarize;
use crate::store::lister::regions::{End, Region, Regions, parents};
use crate::store::source::KeyOf;

/// How a listing treats a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Nothing below the directory is selected.
    Skip,
    /// Everything below the directory is selected, or it is unknown what is selected.
    Whole,
    /// The directory's own objects and some of its subdirectories are selected.
    Inside,
}

/// Number of files that a store lists per request.
pub(crate) const PAGE_FILES: u64 = 1000;
/// Maximum number of directories listed concurrently.
const MAX_LISTINGS: u64 = 16;

/// An object in a store's listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Full key in the store.
    pub(super) key: String,
    pub(super) size: u64,
    pub(super) e_tag: Option<String>,
}

/// A page of a listing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) entries: Vec<Entry>,
    /// Directories below the prefix, with trailing slashes.
    pub(super) prefixes: Vec<String>,
    /// Continuation token for the next page, if any.
    pub(super) token: Option<String>,
}

/// A request for one page of a listing.
#[derive(Debug, Clone, Default)]
pub(super) struct Ask {
    /// Prefix of all keys: empty, or a directory with a trailing slash.
    pub(super) prefix: String,
    /// Whether to return the directories below the prefix instead of the objects in them.
    pub(super) delimiter: bool,
    /// Return only keys after this one.
    pub(super) after: Option<String>,
    /// Continuation token from the previous page. Overrides `after`.
    pub(super) token: Option<String>,
}

/// A store that is listed page by page.
#[async_trait]
pub(super) trait Pages: fmt::Debug + Send + Sync {
    /// Requests a page.
    async fn page(&self, ask: &Ask) -> Result<Page, ListError>;

    /// Whether keys are sorted and a listing can start after any key.
    fn can_skip(&self) -> bool;

    /// Number of entries in a full page.
    fn page_size(&self) -> u64 {
        PAGE_FILES
    }
}

/// Why a page cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ListError {
    /// The request failed.
    #[error("{}", summarize(.0))]
    Store(#[from] object_store::Error),
    /// The response is invalid.
    #[error("{0}")]
    Answer(String),
}

impl ListError {
    /// Returns the error for a listing of the named store or prefix.
    pub(super) fn of(self, name: String) -> StoreError {
        match self {
            Self::Store(error) => StoreError::Reach { name, error },
            Self::Answer(problem) => StoreError::Listing { name, problem },
        }
    }
}

/// Maximum number of objects that a listing in order requests ahead of the first incomplete partition.
const MAX_AHEAD: u64 = 50_000;
/// In a listing in order, one in this many requests can be a sweep that finds mostly objects that are not selected.
const USELESS_SWEEPS: u64 = 16;

/// Returns the rank of the keys in a directory (the first argument) from a given key (the second) on: a string that sorts
/// in the order of the listing. `None` sorts first.
pub(crate) type RankOf = fn(&str, &str) -> Option<String>;

/// A step of a listing.
#[derive(Debug)]
pub(super) enum Progress {
    /// An object.
    Found(Entry),
    /// A prefix that cannot be listed.
    Failed(String, ListError),
    /// No later object has a lower rank, see [`RankOf`].
    Reached(String),
}

/// The receiver of the listing was dropped.
struct Closed;

/// Why a sweep ends early.
enum Sweep {
    /// The store does not list in key order, or does not start at the requested key.
    Unordered,
    Closed,
}

/// Statistics of a search so far.
#[derive(Debug, Default)]
struct Spent {
    /// Number of pages that the descent has requested.
    descent: u64,
    /// Number of pages that the descent has received.
    answered: u64,
    /// Number of pages that the sweep has requested.
    sweep: u64,
    /// Number of distinct objects found.
    objects: u64,
}

/// A listing in progress.
struct Search<'a, L> {
    pages: &'a dyn Pages,
    root: &'a str,
    look: &'a L,
    progress: &'a mpsc::Sender<Progress>,
    /// Regions that are neither listed nor being listed.
    regions: Regions,
    spent: Spent,
    /// Whether the store lists keys in order.
    sorted: bool,
    /// Whether the listing can use a sweep.
    sweeps: bool,
    /// Key at which the last page of the sweep ended, and the continuation token.
    swept: Option<(String, String)>,
    /// Number of objects that can be listed in any order.
    unordered: u64,
    /// Number of selected objects found.
    selected: u64,
    /// The state of a listing in order. `None` while objects can be listed in any order.
    ordered: Option<Ordered>,
}

/// The state of a listing in the order of partitions.
#[derive(Debug, Default)]
struct Ordered {
    /// Number of requests in flight, by the rank of their regions.
    in_flight: BTreeMap<Option<String>, u64>,
    /// Number of objects found before their turn, by the rank of their regions.
    ahead: BTreeMap<Option<String>, u64>,
    /// No region that is still to be listed has a lower rank.
    reached: Option<String>,
    /// Number of sweeps that found mostly objects that are not selected.
    useless: u64,
}

/// A request and its response.
enum Answer {
    Descent(Region, Result<Page, ListError>),
    Sweep(Start, Result<Page, ListError>),
}

/// Where a page of the sweep begins.
struct Start {
    /// The region that contains the start of the page. The descent skips this region until the page arrives.
    region: Region,
    ask: Ask,
}

/// Lists the objects below `root` that `look` selects. `first` is the first page of a sweep, if it has already been
/// requested. After `unordered` objects, the listing continues in the order of ranks.
#[allow(clippy::too_many_arguments)] // facts about the store, the selection and the order
pub(super) async fn search(
    pages: &dyn Pages,
    root: &str,
    key_of: KeyOf,
    rank_of: RankOf,
    first: Option<Page>,
    look: &(impl Fn(&str) -> Look + Sync),
    unordered: u64,
    progress: &mpsc::Sender<Progress>,
) {
    let mut search = Search {
        pages,
        root,
        look,
        progress,
        regions: Regions::new(key_of, rank_of, pages.can_skip()),
        spent: Spent::default(),
        sorted: pages.can_skip(),
        sweeps: pages.can_skip(),
        swept: None,
        unordered,
        selected: 0,
        ordered: None,
    };
    // If the receiver is closed, the remaining objects are not needed.
    let _ = search.run(first).await;
}

/// Lists everything below a prefix, page by page.
pub(super) async fn list_all(pages: &dyn Pages, prefix: String) -> Result<Vec<Entry>, ListError> {
    let mut region = Region::new(prefix, true);
    let mut entries = Vec::new();
    loop {
        let page = region.check(pages.page(&region.ask()).await?)?;
        entries.extend(page.entries);
        region.token = page.token;
        if region.token.is_none() {
            return Ok(entries);
        }
    }
}

impl<'a, L: Fn(&str) -> Look + Sync> Search<'a, L> {
    async fn run(&mut self, first: Option<Page>) -> Result<(), Closed> {
        let Some(region) = self.begin() else { return Ok(()) };
        let mut running: FuturesUnordered<BoxFuture<'a, Answer>> = FuturesUnordered::new();
        let mut reserved = false;
        if let Some(page) = first.filter(|_| self.sweeps) {
            self.spent.sweep += 1;
            let ask = Ask { prefix: self.root.to_owned(), ..Ask::default() };
            self.take_sweep(Start { region, ask }, Ok(page)).await?;
        } else {
            self.regions.add(region);
        }
        loop {
            if self.ordered.is_none() && self.selected > self.unordered {
                // The requests in flight were chosen in another order, so their responses are awaited first.
                self.ordered = running.is_empty().then(Ordered::default);
            }
            self.report().await?;
            while let Some(next) = self.next(running.len() as u64, reserved) {
                reserved |= matches!(next, Next::Sweep(_));
                let pages = self.pages;
                running.push(match next {
                    Next::Descent(region) => Box::pin(async move {
                        let page = pages.page(&region.ask()).await;
                        Answer::Descent(region, page)
                    }),
                    Next::Sweep(start) => Box::pin(async move {
                        let page = pages.page(&start.ask).await;
                        Answer::Sweep(start, page)
                    }),
                });
            }
            match running.next().await {
                Some(Answer::Descent(region, page)) => {
                    self.spent.answered += 1;
                    self.land(&region);
                    if !self.take_descent(region, page).await? {
                        running.clear();
                        reserved = false;
                    }
                }
                Some(Answer::Sweep(start, page)) => {
                    reserved = false;
                    self.land(&start.region);
                    if !self.take_sweep(start, page).await? {
                        running.clear();
                    }
                }
                None => return Ok(()),
            }
        }
    }

    /// Returns the initial region: everything below the root. Returns `None` if `look` skips the root.
    fn begin(&self) -> Option<Region> {
        let look = (self.look)(self.root.trim_end_matches('/'));
        (look != Look::Skip).then(|| Region::new(self.root.to_owned(), look == Look::Whole))
    }

    /// Chooses the next request, given the number of requests in flight. `reserved` is set if one of them belongs to
    /// the sweep.
    fn next(&mut self, running: u64, reserved: bool) -> Option<Next> {
        let Spent { descent, answered, sweep, objects } = self.spent;
        let all = descent + sweep;
        // The window starts small, so that listing a small bucket takes few requests.
        let window = if self.sweeps { (1 + all / 8).min(MAX_LISTINGS) } else { MAX_LISTINGS };
        let slack = (all.isqrt() / 2).min(MAX_LISTINGS);
        // A sweep would need at least as many pages as it takes to list the objects found so far.
        let is_cheap = answered <= objects / self.pages.page_size() + slack;
        if self.ordered.is_some() {
            return self.next_in_order(running, window, is_cheap, reserved);
        }
        if self.selected > self.unordered {
            return None;
        }
        if !self.sweeps || is_cheap || running == 0 && sweep > descent {
            let under_way = running - u64::from(reserved);
            if under_way >= window {
                return None;
            }
            let region = self.regions.last()?;
            self.spent.descent += 1;
            return Some(Next::Descent(region));
        }
        if reserved || sweep > descent {
            return None;
        }
        let region = self.regions.first()?;
        Some(self.sweep_from(region))
    }

    /// Chooses the next request of a listing in order: for the region with the lowest rank, or where the last sweep ended.
    ///
    /// A sweep also lists the regions behind this one, so it is not combined with other requests. It is useful if the
    /// region is selected as a whole. Otherwise, its page may contain only objects that are not selected.
    fn next_in_order(
        &mut self,
        running: u64,
        window: u64,
        is_cheap: bool,
        reserved: bool,
    ) -> Option<Next> {
        let all = self.spent.descent + self.spent.sweep;
        let Ordered { in_flight, ahead, useless, .. } = self.ordered.as_mut()?;
        let found_ahead = ahead.values().sum::<u64>();
        // A sweep that continues where the last one ended lists nothing twice.
        let next = match &self.swept {
            Some((end, _)) if !is_cheap && found_ahead < MAX_AHEAD => self.regions.from(end),
            _ => None,
        };
        let region = next.or_else(|| self.regions.lowest())?;
        let is_useful = region.whole || *useless * USELESS_SWEEPS <= all;
        if self.sweeps && !is_cheap && is_useful {
            if running > 0 {
                self.regions.add(region);
                return None;
            }
            *in_flight.entry(region.rank.clone()).or_default() += 1;
            return Some(self.sweep_from(region));
        }
        let is_first = in_flight.keys().next().is_none_or(|first| region.rank <= *first);
        let is_ahead = !is_first && found_ahead >= MAX_AHEAD;
        if reserved || running >= window || is_ahead {
            self.regions.add(region);
            return None;
        }
        *in_flight.entry(region.rank.clone()).or_default() += 1;
        self.spent.descent += 1;
        Some(Next::Descent(region))
    }

    /// Starts a sweep at the start of a region.
    fn sweep_from(&mut self, region: Region) -> Next {
        self.spent.sweep += 1;
        let mut ask = Ask { prefix: self.root.to_owned(), ..Ask::default() };
        match &self.swept {
            Some((end, token)) if region.after.as_deref() == Some(end) => {
                ask.token = Some(token.clone());
            }
            _ => ask.after = region.before(),
        }
        Next::Sweep(Start { region, ask })
    }

    /// Records that the response to a request for a region has arrived.
    fn land(&mut self, region: &Region) {
        let Some(Ordered { in_flight, .. }) = &mut self.ordered else { return };
        if let Some(count) = in_flight.get_mut(&region.rank) {
            *count -= 1;
            if *count == 0 {
                in_flight.remove(&region.rank);
            }
        }
    }

    /// Reports the rank that a listing in order has reached.
    async fn report(&mut self) -> Result<(), Closed> {
        let Some(Ordered { in_flight, ahead, reached, .. }) = &mut self.ordered else {
            return Ok(());
        };
        let lowest = in_flight.keys().next().into_iter().chain(self.regions.rank()).min();
        let Some(Some(lowest)) = lowest else { return Ok(()) };
        if reached.as_ref() < Some(lowest) {
            *ahead = ahead.split_off(&Some(lowest.clone()));
            *reached = Some(lowest.clone());
            let reached = lowest.clone();
            self.send(Progress::Reached(reached)).await?;
        }
        Ok(())
    }

    async fn send(&self, progress: Progress) -> Result<(), Closed> {
        self.progress.send(progress).await.map_err(|_| Closed)
    }

    /// Sends a selected object from a region.
    async fn found(&mut self, entry: Entry, rank: Option<String>) -> Result<(), Closed> {
        self.selected += 1;
        if let Some(Ordered { ahead, .. }) = &mut self.ordered {
            *ahead.entry(rank).or_default() += 1;
        }
        self.send(Progress::Found(entry)).await
    }

    /// Restarts without a sweep, because the store does not list in key order or does not start at the requested key.
    /// Objects that are found again count as copies.
    fn restart(&mut self) {
        (self.sorted, self.sweeps) = (false, false);
        self.regions.reset();
        self.begin().into_iter().for_each(|region| self.regions.add(region));
    }

    /// Processes a page of the descent. Returns `false` if the listing must restart without a sweep.
    async fn take_descent(
        &mut self,
        mut region: Region,
        page: Result<Page, ListError>,
    ) -> Result<bool, Closed> {
        let page = match page {
            Ok(page) if self.sorted && !region.is_in_order(&page) => {
                if self.ordered.is_none() {
                    self.restart();
                    return Ok(false);
                }
                Err(ListError::Answer("the store no longer lists keys in order".to_owned()))
            }
            page => page.and_then(|page| region.check(page)),
        };
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                self.send(Progress::Failed(region.prefix, error)).await?;
                return Ok(true);
            }
        };
        self.spent.objects += page.entries.len() as u64;
        for prefix in page.prefixes {
            match (self.look)(prefix.trim_end_matches('/')) {
                Look::Skip => {}
                look => self.regions.add(Region::new(prefix, look == Look::Whole)),
            }
        }
        for entry in page.entries {
            self.found(entry, region.rank.clone()).await?;
        }
        if page.token.is_some() {
            region.token = page.token;
            self.regions.add(region);
        }
        Ok(true)
    }

    /// Processes a page of the sweep. Returns `false` if the listing must restart without a sweep.
    async fn take_sweep(
        &mut self,
        start: Start,
        page: Result<Page, ListError>,
    ) -> Result<bool, Closed> {
        self.regions.add(start.region.clone());
        let Ok(page) = page else {
            // If the error affects the whole bucket, the descent encounters it, too, and reports it.
            self.sweeps = false;
            return Ok(true);
        };
        match self.sweep(&start, page).await {
            Ok(()) => Ok(true),
            Err(Sweep::Closed) => Err(Closed),
            // The descent reports the directories whose keys are not in order.
            Err(Sweep::Unordered) if self.ordered.is_some() => {
                self.sweeps = false;
                Ok(true)
            }
            Err(Sweep::Unordered) => {
                self.restart();
                Ok(false)
            }
        }
    }

    async fn sweep(&mut self, start: &Start, page: Page) -> Result<(), Sweep> {
        let from = start.region.start();
        let is_behind = |key: &str| match &start.region.after {
            Some(after) => key > after.as_str(),
            None => key >= from,
        };
        let in_order = page.entries.is_sorted_by(|a, b| a.key < b.key)
            && page.entries.first().is_none_or(|first| is_behind(&first.key))
            && page.entries.iter().all(|entry| entry.key.starts_with(self.root))
            && page.prefixes.is_empty();
        if !in_order || page.token.is_some() && page.entries.is_empty() {
            return Err(Sweep::Unordered);
        }
        let end = match (&page.token, page.entries.last()) {
            (Some(_), Some(last)) => End::At(last.key.clone()),
            _ => End::Open,
        };
        let (all, before) = (page.entries.len() as u64, self.selected);
        // The directory of the previous object, and whether it is selected.
        let mut known: Option<(String, bool)> = None;
        for entry in page.entries {
            let Some(region) = self.regions.holding(&entry.key) else { continue };
            self.spent.objects += 1;
            let rank = region.rank.clone();
            let (above, directory) = (region.prefix.len(), directory(&entry.key));
            let is_wanted = region.whole
                || match &known {
                    Some((known, is_wanted)) if known == directory => *is_wanted,
                    _ => {
                        let is_wanted = self.wants(directory, above);
                        known = Some((directory.to_owned(), is_wanted));
                        is_wanted
                    }
                };
            if is_wanted {
                self.found(entry, rank).await.map_err(|_| Sweep::Closed)?;
            }
        }
        if let Some(Ordered { useless, .. }) = &mut self.ordered {
            *useless += u64::from(2 * (self.selected - before) < all);
        }
        let look = |prefix: &str| (self.look)(prefix.trim_end_matches('/'));
        self.regions.cut(from, &end, look);
        self.swept = match (end, page.token) {
            (End::At(key), Some(token)) => Some((key, token)),
            _ => None,
        };
        Ok(())
    }

    /// Returns whether the descent would list this directory, given that a directory above it is listed with a
    /// delimiter.
    fn wants(&self, directory: &str, above: usize) -> bool {
        for parent in parents(directory, above) {
            match (self.look)(parent.trim_end_matches('/')) {
                Look::Skip => return false,
                Look::Whole => return true,
                Look::Inside => {}
            }
        }
        true
    }
}

/// The next request.
enum Next {
    Descent(Region),
    Sweep(Start),
}

/// Returns the directory of a key, with a trailing slash.
fn directory(key: &str) -> &str {
    key.rfind('/').map_or("", |slash| &key[..=slash])
}
