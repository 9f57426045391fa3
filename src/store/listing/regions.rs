//! Parts of the space of keys that are still to be listed.

use std::collections::{BTreeMap, HashSet};

use crate::key;
use crate::store::listing::Look;

/// After every key that begins with what it is appended to.
const LAST: char = '\u{10FFFF}';

/// The rest of a directory: its keys after one of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Region {
    /// The directory with the slash at its end; empty for all keys.
    pub(super) prefix: String,
    /// Whether everything below it is wanted, so that it is listed without a delimiter.
    pub(super) whole: bool,
    /// The last key that was listed, or the end of the last directory.
    pub(super) after: Option<String>,
    /// How the store continues after it, if it was asked for it before.
    pub(super) token: Option<String>,
    /// Hashes of its tokens, first keys and directories, so that one that comes again is noticed.
    pub(super) seen: HashSet<u64>,
    /// Pages since the last one that was not empty.
    pub(super) empty: u32,
}

/// Where a page of a sweep ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// At this key, which it holds.
    At(String),
    /// With the last key of all.
    Open,
}

/// Regions that do not overlap, in order.
#[derive(Debug, Default)]
pub(super) struct Regions {
    /// Those in or below a directory `AWSLogs`, where the descent is likely to be better.
    logs: BTreeMap<(String, String), Region>,
    others: BTreeMap<(String, String), Region>,
}

impl Region {
    /// Returns a whole directory.
    pub(super) fn new(prefix: String, whole: bool) -> Self {
        Self { prefix, whole, ..Self::default() }
    }

    fn rest(prefix: &str, whole: bool, after: String) -> Self {
        Self { after: Some(after), ..Self::new(prefix.to_owned(), whole) }
    }

    /// Returns what all keys of the region are at or after.
    pub(super) fn start(&self) -> &str {
        self.after.as_deref().unwrap_or(&self.prefix)
    }

    /// Returns what all keys of the region are after, and no key of interest before it is.
    pub(super) fn before(&self) -> Option<String> {
        match (&self.after, self.prefix.strip_suffix('/')) {
            (Some(after), _) => Some(after.clone()),
            // A dot comes right before the slash.
            (None, Some(name)) => Some(format!("{name}.{LAST}")),
            (None, None) => None,
        }
    }

    fn key(&self) -> (String, String) {
        (self.start().to_owned(), self.prefix.clone())
    }

    fn holds(&self, key: &str) -> bool {
        key.starts_with(&self.prefix) && self.after.as_deref().is_none_or(|after| key > after)
    }
}

impl Regions {
    fn of(&mut self, region: &Region) -> &mut BTreeMap<(String, String), Region> {
        match key::from_root(&region.prefix) {
            Some(_) => &mut self.logs,
            None => &mut self.others,
        }
    }

    pub(super) fn add(&mut self, region: Region) {
        self.of(&region).insert(region.key(), region);
    }

    /// Takes the region that the descent is to list next: the last one, so that it goes deep before it continues.
    pub(super) fn last(&mut self) -> Option<Region> {
        let last = self.logs.pop_last().or_else(|| self.others.pop_last());
        last.map(|(_, region)| region)
    }

    /// Takes the region that a sweep is to begin in.
    pub(super) fn first(&mut self) -> Option<Region> {
        let first = self.others.pop_first().or_else(|| self.logs.pop_first());
        first.map(|(_, region)| region)
    }

    /// Returns the region that a key lies in.
    pub(super) fn holding(&self, key: &str) -> Option<&Region> {
        let bound = (key.to_owned(), LAST.to_string());
        let before = |regions: &'_ BTreeMap<(String, String), Region>| {
            regions.range(..=&bound).next_back().map(|(at, _)| at.clone())
        };
        let found = [(&self.logs, before(&self.logs)), (&self.others, before(&self.others))];
        found
            .into_iter()
            .find_map(|(regions, at)| regions.get(&at?).filter(|region| region.holds(key)))
    }

    /// Takes out what a page of a sweep has listed, from where its region began to its end.
    pub(super) fn cut(&mut self, from: &str, end: &End, look: impl Fn(&str) -> Look) {
        let mut rest = Vec::new();
        for regions in [&mut self.logs, &mut self.others] {
            let listed = match end {
                End::Open => regions.split_off(&(from.to_owned(), String::new())),
                End::At(key) => {
                    let mut listed = regions.split_off(&(from.to_owned(), String::new()));
                    // A region that begins at the key holds only what is after it, or the key itself.
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

    /// Adds what is left of a region after one of its keys.
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

/// Returns what is after every key in or below a directory, and before every other key after those.
pub(super) fn behind(directory: &str) -> String {
    format!("{directory}{LAST}")
}

/// Returns the directories from below the first `above` bytes of a directory down to itself.
pub(super) fn parents(directory: &str, above: usize) -> impl Iterator<Item = &str> {
    let slashes = directory.match_indices('/').map(|(slash, _)| slash);
    slashes.filter(move |slash| *slash >= above).map(|slash| &directory[..=slash])
}
