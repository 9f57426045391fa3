//! Ranges of keys that have not been listed yet.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::store::lister::{Ask, ListError, Look, Page, RankOf};
use crate::store::source::KeyOf;

/// Maximum number of consecutive empty pages. If a store returns more, the listing fails.
const MAX_EMPTY: u32 = 100;
/// Maximum key length in bytes, in any store.
const MAX_KEY: usize = 1024;
/// Suffix that sorts after every key with the same prefix.
const LAST: char = '\u{10FFFF}';

/// A directory, or the part of it that comes after a given key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Region {
    /// The directory with a trailing slash, or empty for all keys.
    pub(super) prefix: String,
    /// Whether everything below the directory is selected. If so, it is listed without a delimiter.
    pub(super) whole: bool,
    /// The last listed key, or the end of the last listed directory.
    pub(super) after: Option<String>,
    /// The store's continuation token, if part of the region was already requested.
    pub(super) token: Option<String>,
    /// Hashes of the tokens, first keys and directories of the pages, to detect repetitions.
    pub(super) seen: HashSet<u64>,
    /// Number of empty pages since the last non-empty one.
    pub(super) empty: u32,
    /// The rank of the region, see [`RankOf`].
    pub(super) rank: Option<String>,
}

/// Where a page of a sweep ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// At this key, inclusive.
    At(String),
    /// At the last key of the bucket.
    Open,
}

/// Sorted regions that do not overlap.
#[derive(Debug)]
pub(super) struct Regions {
    key_of: KeyOf,
    rank_of: RankOf,
    /// Regions at or below the directory where keys begin (see [`KeyOf`]). The descent is probably cheaper there.
    likely: BTreeMap<(String, String), Region>,
    others: BTreeMap<(String, String), Region>,
    /// Whether the store lists keys in order, so that a page determines which keys of its region can follow.
    sorted: bool,
}

impl Region {
    /// Returns a region for a whole directory.
    pub(super) fn new(prefix: String, whole: bool) -> Self {
        Self { prefix, whole, ..Self::default() }
    }

    fn rest(prefix: &str, whole: bool, after: String) -> Self {
        Self { after: Some(after), ..Self::new(prefix.to_owned(), whole) }
    }

    /// Returns the inclusive lower limit of the region's keys.
    pub(super) fn start(&self) -> &str {
        self.after.as_deref().unwrap_or(&self.prefix)
    }

    /// Returns the exclusive lower limit of the region's keys.
    pub(super) fn before(&self) -> Option<String> {
        match (&self.after, self.prefix.strip_suffix('/')) {
            (Some(after), _) => Some(after.clone()),
            // A dot sorts immediately before the slash.
            (None, Some(name)) => Some(format!("{name}.{LAST}")),
            (None, None) => None,
        }
    }

    fn key(&self) -> (String, String) {
        (self.start().to_owned(), self.prefix.clone())
    }

    fn order(&self) -> (&Option<String>, &str, &str) {
        (&self.rank, self.start(), &self.prefix)
    }

    fn holds(&self, key: &str) -> bool {
        key.starts_with(&self.prefix) && self.after.as_deref().is_none_or(|after| key > after)
    }

    /// Returns whether the keys and directories of a page are sorted and come after those of the previous pages.
    pub(super) fn is_in_order(&self, page: &Page) -> bool {
        let after = self.after.as_deref().unwrap_or_default();
        let keys = page.entries.iter().map(|entry| &entry.key);
        keys.clone().is_sorted_by(|a, b| a < b)
            && page.prefixes.is_sorted_by(|a, b| a < b)
            && keys.chain(&page.prefixes).all(|name| name.as_str() > after || after.is_empty())
    }

    /// Rejects a page that is invalid or that would make the listing endless. After a valid page, shortens the region
    /// to the keys after the page's last key or directory.
    pub(super) fn check(&mut self, page: Page) -> Result<Page, ListError> {
        let problem = |problem: String| Err(ListError::Answer(problem));
        let is_empty = page.entries.is_empty() && page.prefixes.is_empty();
        self.empty = if is_empty { self.empty + 1 } else { 0 };
        if self.empty > MAX_EMPTY {
            return problem(format!("the store returned {MAX_EMPTY} empty pages in a row"));
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
            return problem(format!("the store repeats the page that begins with \"{first}\""));
        }
        if let Some(entry) = page.entries.iter().find(|entry| !entry.key.starts_with(&self.prefix))
        {
            return problem(format!(
                "the store lists \"{}\", which is not below the requested prefix",
                entry.key
            ));
        }
        for prefix in &page.prefixes {
            let below = prefix.strip_prefix(&self.prefix).and_then(|rest| rest.strip_suffix('/'));
            let is_below = below.is_some_and(|name| !name.contains('/'));
            if !is_below || prefix.len() > MAX_KEY || self.whole {
                return problem(format!("the store lists the invalid directory \"{prefix}\""));
            }
            if !self.seen.insert(hash(&(2, prefix))) {
                return problem(format!("the store lists the directory \"{prefix}\" twice"));
            }
        }
        let key = page.entries.iter().map(|entry| entry.key.clone()).max();
        let directory = page.prefixes.iter().max().map(|prefix| behind(prefix));
        self.after = key.max(directory).max(self.after.take());
        Ok(page)
    }

    pub(super) fn ask(&self) -> Ask {
        Ask {
            prefix: self.prefix.clone(),
            delimiter: !self.whole,
            after: self.after.clone().filter(|_| self.token.is_none()),
            token: self.token.clone(),
        }
    }
}

impl Regions {
    pub(super) fn new(key_of: KeyOf, rank_of: RankOf, sorted: bool) -> Self {
        Self { key_of, rank_of, likely: BTreeMap::new(), others: BTreeMap::new(), sorted }
    }

    fn of(&mut self, region: &Region) -> &mut BTreeMap<(String, String), Region> {
        match (self.key_of)(&region.prefix) {
            Some(_) => &mut self.likely,
            None => &mut self.others,
        }
    }

    /// Removes all regions, because the store does not list keys in order.
    pub(super) fn reset(&mut self) {
        *self = Self::new(self.key_of, self.rank_of, false);
    }

    pub(super) fn add(&mut self, mut region: Region) {
        let start = if self.sorted { region.start() } else { &region.prefix };
        region.rank = (self.rank_of)(&region.prefix, start);
        self.of(&region).insert(region.key(), region);
    }

    /// Takes the region that the descent lists next: the last one, so that the search is depth-first.
    pub(super) fn last(&mut self) -> Option<Region> {
        let last = self.likely.pop_last().or_else(|| self.others.pop_last());
        last.map(|(_, region)| region)
    }

    /// Takes the region where the sweep continues: the first one.
    pub(super) fn first(&mut self) -> Option<Region> {
        let first = self.others.pop_first().or_else(|| self.likely.pop_first());
        first.map(|(_, region)| region)
    }

    /// Takes the region with the lowest rank.
    pub(super) fn lowest(&mut self) -> Option<Region> {
        let key = self.all().min_by_key(|region| region.order())?.key();
        self.likely.remove(&key).or_else(|| self.others.remove(&key))
    }

    /// Takes the first region that starts at a key or after it.
    pub(super) fn from(&mut self, key: &str) -> Option<Region> {
        let bound = (key.to_owned(), String::new());
        let next = |regions: &BTreeMap<(String, String), Region>| {
            regions.range(&bound..).next().map(|(at, _)| at.clone())
        };
        let first = next(&self.likely).into_iter().chain(next(&self.others)).min()?;
        self.likely.remove(&first).or_else(|| self.others.remove(&first))
    }

    /// Returns the lowest rank of all regions.
    pub(super) fn rank(&self) -> Option<&Option<String>> {
        self.all().map(|region| &region.rank).min()
    }

    fn all(&self) -> impl Iterator<Item = &Region> {
        self.likely.values().chain(self.others.values())
    }

    /// Returns the region that contains a key.
    pub(super) fn holding(&self, key: &str) -> Option<&Region> {
        let bound = (key.to_owned(), LAST.to_string());
        let before = |regions: &'_ BTreeMap<(String, String), Region>| {
            regions.range(..=&bound).next_back().map(|(at, _)| at.clone())
        };
        let found = [(&self.likely, before(&self.likely)), (&self.others, before(&self.others))];
        found
            .into_iter()
            .find_map(|(regions, at)| regions.get(&at?).filter(|region| region.holds(key)))
    }

    /// Removes the keys from `from` to `end`, which a page of a sweep has listed.
    pub(super) fn cut(&mut self, from: &str, end: &End, look: impl Fn(&str) -> Look) {
        let mut rest = Vec::new();
        for regions in [&mut self.likely, &mut self.others] {
            let listed = match end {
                End::Open => regions.split_off(&(from.to_owned(), String::new())),
                End::At(key) => {
                    let mut listed = regions.split_off(&(from.to_owned(), String::new()));
                    // A region that begins at `key` contains either only that key or only later keys.
                    regions.append(&mut listed.split_off(&(key.clone(), LAST.to_string())));
                    listed
                }
            };
            if let End::At(key) = end {
                let cut = listed.into_values().filter(|region| key.starts_with(&region.prefix));
                rest.extend(cut);
            }
        }
        for region in rest {
            let End::At(key) = end else { return };
            self.split(&region, key, &look);
        }
    }

    /// Adds the part of a region that comes after a key.
    fn split(&mut self, region: &Region, key: &str, look: &impl Fn(&str) -> Look) {
        let rest = |whole| Region::rest(&region.prefix, whole, key.to_owned());
        if region.whole {
            return self.add(rest(true));
        }
        let directory = super::directory(key);
        let mut above = region.prefix.as_str();
        for parent in parents(directory, region.prefix.len()) {
            self.add(Region::rest(above, false, behind(parent)));
            above = parent;
            match look(parent) {
                Look::Skip => return,
                Look::Whole => return self.add(Region::rest(parent, true, key.to_owned())),
                Look::Inside => {}
            }
        }
        self.add(Region::rest(above, false, key.to_owned()));
    }
}

/// Returns a limit that comes after all keys in or below a directory, and before all later keys.
pub(super) fn behind(directory: &str) -> String {
    format!("{directory}{LAST}")
}

/// Returns the directory and all of its parents that are longer than `above` bytes, outermost first.
pub(super) fn parents(directory: &str, above: usize) -> impl Iterator<Item = &str> {
    let slashes = directory.match_indices('/').map(|(slash, _)| slash);
    slashes.filter(move |slash| *slash >= above).map(|slash| &directory[..=slash])
}

pub(super) fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
