//! Lists the objects below a prefix of a remote store with few requests.
//!
//! A *descent* lists one directory after the other by delimiter, and whole subtrees of what is
//! wanted without one. A *sweep* lists everything in the order of the keys. A descent is cheap where
//! it prunes much, a sweep where directories are small. Which is cheaper is unknown beforehand, so
//! both share the work: the descent continues as long as its pages are as full as a sweep's would be,
//! and otherwise the two alternate. What one has listed, the other does not list again, so together
//! they take at most about twice the requests of the better one.

mod regions;
#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use async_trait::async_trait;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;

use crate::store::StoreError;
use crate::store::explain::plainly;
use crate::store::listing::regions::{End, Region, Regions, parents};

/// What a directory is worth to a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Nothing below it is wanted.
    Skip,
    /// All below it is wanted, or it is not known what is.
    Whole,
    /// Its own objects are wanted, and some of the directories below it.
    Inside,
}

/// Directories that are listed at the same time, at most.
const MAX_LISTINGS: u64 = 16;
/// Pages in a row that may be empty although more follow.
const MAX_EMPTY: u32 = 100;
/// Bytes of a key, at most, in every store.
const MAX_KEY: usize = 1024;

/// An object as a store lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its whole key, as the store has it.
    pub(super) key: String,
    pub(super) size: u64,
    pub(super) e_tag: Option<String>,
}

/// A response to a request for a part of a listing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) entries: Vec<Entry>,
    /// Directories below the prefix, each with the slash at its end.
    pub(super) prefixes: Vec<String>,
    /// Where the next page begins, if there is one.
    pub(super) token: Option<String>,
}

/// A request for a part of a listing.
#[derive(Debug, Clone, Default)]
pub(super) struct Ask {
    /// What all keys begin with: nothing, or a directory with the slash at its end.
    pub(super) prefix: String,
    /// Whether what lies in directories below the prefix is left out, and the directories are named instead.
    pub(super) delimiter: bool,
    /// Only keys after this one.
    pub(super) after: Option<String>,
    /// Where the page before ended. Takes the place of `after`.
    pub(super) token: Option<String>,
}

/// A store that lists page by page.
#[async_trait]
pub(super) trait Pages: fmt::Debug + Send + Sync {
    /// Requests a page.
    async fn page(&self, ask: &Ask) -> Result<Page, ListError>;

    /// Whether keys come in order, and a listing can begin after any of them.
    fn can_skip(&self) -> bool;

    /// Entries of a full page.
    fn page_size(&self) -> u64 {
        1000
    }
}

/// Why a page cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum ListError {
    /// The request failed.
    #[error("{}", plainly(.0))]
    Store(#[from] object_store::Error),
    /// The answer cannot be right.
    #[error("{0}")]
    Answer(String),
}

impl ListError {
    /// Returns the error of listing what a name stands for.
    pub(super) fn of(self, name: String) -> StoreError {
        match self {
            Self::Store(error) => StoreError::Reach { name, error },
            Self::Answer(problem) => StoreError::Listing { name, problem },
        }
    }
}

/// An object that was found, or a part of the listing that failed, by its prefix.
pub(super) type Found = Result<Entry, (String, ListError)>;

/// Nobody takes what is found any more.
struct Closed;

/// Why a sweep ends.
enum Sweep {
    /// The store does not list in the order of keys, or not from where it was asked to.
    Unordered,
    Closed,
}

/// Requests of a search so far.
#[derive(Debug, Default)]
struct Spent {
    /// Pages of the descent that were requested.
    descent: u64,
    /// Those of them that were answered.
    answered: u64,
    /// Pages of the sweep.
    sweep: u64,
    /// Objects that were found, each counted once.
    objects: u64,
}

/// A listing in progress.
struct Search<'a, L> {
    pages: &'a dyn Pages,
    root: &'a str,
    look: &'a L,
    found: &'a mpsc::Sender<Found>,
    /// What was not listed yet, and is not being listed.
    regions: Regions,
    spent: Spent,
    /// Whether a sweep is possible.
    sweeps: bool,
    /// Where the last page of the sweep ended, and how it continues from there.
    swept: Option<(String, String)>,
}

/// A request that was answered.
enum Answer {
    Descent(Region, Result<Page, ListError>),
    Sweep(Start, Result<Page, ListError>),
}

/// Where a page of a sweep begins.
struct Start {
    /// The region that it begins in, which the descent leaves alone meanwhile.
    region: Region,
    ask: Ask,
}

/// Lists the objects below `root`, as far as `look` wants them. `first` is the first page of a sweep, if it was
/// requested before.
pub(super) async fn search(
    pages: &dyn Pages,
    root: &str,
    first: Option<Page>,
    look: &(impl Fn(&str) -> Look + Sync),
    found: &mpsc::Sender<Found>,
) {
    let mut search = Search {
        pages,
        root,
        look,
        found,
        regions: Regions::default(),
        spent: Spent::default(),
        sweeps: pages.can_skip(),
        swept: None,
    };
    // Whoever does not listen any more does not miss the rest.
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
                    if !self.take_descent(region, page).await? {
                        running.clear();
                        reserved = false;
                    }
                }
                Some(Answer::Sweep(start, page)) => {
                    reserved = false;
                    if !self.take_sweep(start, page).await? {
                        running.clear();
                    }
                }
                None => return Ok(()),
            }
        }
    }

    /// Returns what is to be listed at first: everything, if anything.
    fn begin(&self) -> Option<Region> {
        let look = (self.look)(self.root.trim_end_matches('/'));
        (look != Look::Skip).then(|| Region::new(self.root.to_owned(), look == Look::Whole))
    }

    /// Decides what is requested next while so many requests are under way; `reserved` says whether a sweep is.
    fn next(&mut self, running: u64, reserved: bool) -> Option<Next> {
        let Spent { descent, answered, sweep, objects } = self.spent;
        let all = descent + sweep;
        // Few at first, so that a small bucket takes few requests.
        let window = if self.sweeps { (1 + all / 8).min(MAX_LISTINGS) } else { MAX_LISTINGS };
        let slack = (all.isqrt() / 2).min(MAX_LISTINGS);
        // A sweep takes at least as many pages as what was found fills.
        let is_cheap = answered <= objects / self.pages.page_size() + slack;
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
        self.spent.sweep += 1;
        let mut ask = Ask { prefix: self.root.to_owned(), ..Ask::default() };
        match &self.swept {
            Some((end, token)) if region.after.as_deref() == Some(end) => {
                ask.token = Some(token.clone());
            }
            _ => ask.after = region.before(),
        }
        Some(Next::Sweep(Start { region, ask }))
    }

    async fn send(&self, found: Found) -> Result<(), Closed> {
        self.found.send(found).await.map_err(|_| Closed)
    }

    /// Begins anew without a sweep, because the store does not list in the order of keys, or not from where it was
    /// asked to. Whoever takes what is found drops copies of what was found before.
    fn restart(&mut self) {
        self.sweeps = false;
        self.regions = Regions::default();
        self.begin().into_iter().for_each(|region| self.regions.add(region));
    }

    /// Takes a page of the descent. Returns `false` when the listing begins anew without a sweep.
    async fn take_descent(
        &mut self,
        mut region: Region,
        page: Result<Page, ListError>,
    ) -> Result<bool, Closed> {
        let page = match page {
            Ok(page) if self.sweeps && !region.is_in_order(&page) => {
                self.restart();
                return Ok(false);
            }
            page => page.and_then(|page| region.check(page)),
        };
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                self.send(Err((region.prefix, error))).await?;
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
            self.send(Ok(entry)).await?;
        }
        if page.token.is_some() {
            region.token = page.token;
            self.regions.add(region);
        }
        Ok(true)
    }

    /// Takes a page of the sweep. Returns `false` when the listing begins anew without one.
    async fn take_sweep(
        &mut self,
        start: Start,
        page: Result<Page, ListError>,
    ) -> Result<bool, Closed> {
        self.regions.add(start.region.clone());
        let Ok(page) = page else {
            // The descent meets the same error, if it is one of the bucket.
            self.sweeps = false;
            return Ok(true);
        };
        match self.sweep(&start, page).await {
            Ok(()) => Ok(true),
            Err(Sweep::Closed) => Err(Closed),
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
        // What the last directory was found to be worth.
        let mut known: Option<(String, bool)> = None;
        for entry in page.entries {
            let Some(region) = self.regions.holding(&entry.key) else { continue };
            self.spent.objects += 1;
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
                self.send(Ok(entry)).await.map_err(|_| Sweep::Closed)?;
            }
        }
        let look = |prefix: &str| (self.look)(prefix.trim_end_matches('/'));
        self.regions.cut(from, &end, look);
        self.swept = match (end, page.token) {
            (End::At(key), Some(token)) => Some((key, token)),
            _ => None,
        };
        Ok(())
    }

    /// Returns whether the descent would list a directory that lies below one which it lists by delimiter.
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

/// What is requested next.
enum Next {
    Descent(Region),
    Sweep(Start),
}

impl Region {
    /// Returns whether the keys and directories of a page come in order, and after those of the pages before.
    fn is_in_order(&self, page: &Page) -> bool {
        let after = self.after.as_deref().unwrap_or_default();
        let keys = page.entries.iter().map(|entry| &entry.key);
        keys.clone().is_sorted_by(|a, b| a < b)
            && page.prefixes.is_sorted_by(|a, b| a < b)
            && keys.chain(&page.prefixes).all(|name| name.as_str() > after || after.is_empty())
    }

    /// Refuses a page that cannot be right, or that would make the listing continue for ever. The keys and directories
    /// of others become those after which the region continues.
    fn check(&mut self, page: Page) -> Result<Page, ListError> {
        let problem = |problem: String| Err(ListError::Answer(problem));
        let is_empty = page.entries.is_empty() && page.prefixes.is_empty();
        self.empty = if is_empty { self.empty + 1 } else { 0 };
        if self.empty > MAX_EMPTY {
            return problem(format!("the store answered {MAX_EMPTY} empty pages in a row"));
        }
        if let Some(token) = &page.token
            && !self.seen.insert(hash(&(0, token)))
        {
            return problem("the store repeats a continuation token".to_owned());
        }
        let mut names = page.entries.iter().map(|entry| &entry.key).chain(&page.prefixes);
        if let Some(first) = names.next()
            && !self.seen.insert(hash(&(1, first)))
        {
            return problem(format!("the store repeats the page that begins with {first:?}"));
        }
        if let Some(entry) = page.entries.iter().find(|entry| !entry.key.starts_with(&self.prefix))
        {
            return problem(format!("the store lists {:?}, which does not lie there", entry.key));
        }
        for prefix in &page.prefixes {
            let below = prefix.strip_prefix(&self.prefix).and_then(|rest| rest.strip_suffix('/'));
            let is_below = below.is_some_and(|name| !name.contains('/'));
            if !is_below || prefix.len() > MAX_KEY || self.whole {
                return problem(format!("the store lists a directory {prefix:?}, which cannot be"));
            }
            if !self.seen.insert(hash(&(2, prefix))) {
                return problem(format!("the store lists the directory {prefix:?} twice"));
            }
        }
        let key = page.entries.iter().map(|entry| entry.key.clone()).max();
        let directory = page.prefixes.iter().max().map(|prefix| regions::behind(prefix));
        self.after = key.max(directory).max(self.after.take());
        Ok(page)
    }

    fn ask(&self) -> Ask {
        Ask {
            prefix: self.prefix.clone(),
            delimiter: !self.whole,
            after: self.after.clone().filter(|_| self.token.is_none()),
            token: self.token.clone(),
        }
    }
}

/// Returns the directory of a key, with the slash at its end.
fn directory(key: &str) -> &str {
    key.rfind('/').map_or("", |slash| &key[..=slash])
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
