//! Late objects: objects that a listing in order finds after it has yielded their day.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::mem;
use std::sync::Arc;

use chrono::NaiveDate;

use crate::logs::key::{Key, Position, SkipReason, identity};
use crate::plan::gathering::{Gathering, Item, is_in_scope, look, source_key};
use crate::plan::window::{Copy, drop_repeated};
use crate::plan::{Failure, Object, PlanError, SIDECAR, Scope, Selection};
use crate::store::{Listed, StoreError};

/// Late objects and files with unsupported endings, by end day.
#[derive(Default)]
pub(super) struct Late(BTreeMap<Position, Vec<Item>>);

/// Objects and files with the identities of late objects, which were processed earlier.
#[derive(Default)]
struct Again {
    /// Objects, by identity.
    yielded: HashMap<String, Listed>,
    /// Files with unsupported endings that belong to late logs.
    endings: Vec<Listed>,
    /// Whether all of the days could be listed.
    is_known: bool,
}

impl Late {
    pub(super) fn add(&mut self, position: Position, item: Item) {
        self.0.entry(position).or_default().push(item);
    }

    pub(super) fn append(&mut self, other: Self) {
        other.each(|position, item| self.add(position, item));
    }

    pub(super) fn len(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn each(self, mut take: impl FnMut(Position, Item)) {
        for (position, items) in self.0 {
            for item in items {
                take(position.clone(), item);
            }
        }
    }
}

impl Gathering<'_> {
    /// Adds the late objects to the window, except copies of objects that were yielded.
    pub(super) fn add_late(&mut self) -> Result<(), PlanError> {
        let late = mem::take(&mut self.late);
        let closed: Vec<&Position> =
            late.0.keys().filter(|position| self.window.is_closed(position)).collect();
        let Again { yielded, endings, is_known } = if closed.is_empty() {
            Again { is_known: true, ..Again::default() }
        } else {
            self.list_again(&late, &closed)?
        };
        // When these files were counted, their logs were not known.
        for listed in endings.iter().filter(|listed| !yielded.contains_key(identity(listed.name())))
        {
            self.listing.is_sidecar(&listed.key());
        }
        for (position, items) in late.0 {
            let is_unknown = !is_known && self.window.is_closed(&position);
            for item in items {
                let listed = match &item {
                    Item::Object(object) => &object.listed,
                    Item::Ending(listed, _) => listed,
                };
                match (yielded.get(identity(listed.name())), &item) {
                    (Some(kept), Item::Object(_)) => {
                        let copy = Copy::of(listed, kept);
                        self.listing.drop_copy(listed, copy);
                    }
                    (Some(_), Item::Ending(..)) => self.listing.skip(SIDECAR, &listed.key()),
                    (None, _) if is_unknown => {
                        let why = "is in the directory of a later day, and a listing to find copies of it failed";
                        self.listing.failures.push(Failure::new(listed.key(), why));
                    }
                    (None, _) => item.add(self.window.of(position.clone())),
                }
            }
        }
        Ok(())
    }

    /// Lists the days that were yielded and have late objects again.
    fn list_again(&mut self, late: &Late, closed: &[&Position]) -> Result<Again, PlanError> {
        let (mut wanted, mut logs, mut late_keys) =
            (HashSet::new(), HashSet::new(), HashSet::new());
        for item in late.0.values().flatten() {
            let (listed, source) = match item {
                Item::Object(Object { listed, source, .. }) => {
                    logs.insert(identity(listed.name()).to_owned());
                    (listed, *source)
                }
                Item::Ending(listed, source) => (listed, *source),
            };
            late_keys.insert((source, listed.key()));
            wanted.insert(identity(listed.name()).to_owned());
        }
        let selection = self.narrowed(closed);
        let (mut yielded, mut again) = (Vec::new(), Again { is_known: true, ..Again::default() });
        for (index, source) in self.sources.iter().enumerate() {
            let found: Box<dyn Iterator<Item = Result<Listed, StoreError>>> =
                match self.selection.scope(index) {
                    Scope::Names(names) => {
                        let names = names.iter().map(|name| source_key(source, name)).collect();
                        Box::new(source.find(names).into_iter())
                    }
                    _ => source.search(look(selection.clone(), index, None)),
                };
            for listed in found {
                self.check_stop()?;
                let listed = match listed {
                    Ok(listed) => listed,
                    Err(error) => {
                        again.is_known = false;
                        self.fail(source, error);
                        continue;
                    }
                };
                let key = listed.key();
                if !wanted.contains(identity(listed.name()))
                    || !is_in_scope(self.selection.scope(index), source, &listed)
                    || late_keys.contains(&(index, key.clone()))
                    || source.refuses(&key).is_some()
                {
                    continue;
                }
                match Key::parse(&key) {
                    Ok(parsed) if self.selection.wants(&parsed) => {
                        let partition = Arc::new(parsed.partition);
                        yielded.push(Object { partition, listed, source: index });
                    }
                    Err(SkipReason::UnsupportedEnding)
                        if logs.contains(identity(listed.name()))
                            && Key::of_name(listed.name())
                                .is_some_and(|named| self.selection.wants(&named)) =>
                    {
                        again.endings.push(listed);
                    }
                    _ => {}
                }
            }
        }
        drop_repeated(&mut yielded, |_, _| {});
        let by_identity = |object: Object| (object.identity().to_owned(), object.listed);
        again.yielded = yielded.into_iter().map(by_identity).collect();
        Ok(again)
    }

    /// Returns the selection of the directories that can contain objects of the given end days, including objects that
    /// were moved to directories of earlier days.
    fn narrowed(&self, days: &[&Position]) -> Selection {
        let mut selection = self.selection.clone();
        let unique = |part: fn(&Position) -> &String| {
            let parts: HashSet<&String> = days.iter().map(|position| part(position)).collect();
            parts.into_iter().cloned().collect()
        };
        selection.accounts = unique(|position| &position.account);
        selection.regions = unique(|position| &position.region);
        let (first, last) =
            (days.iter().map(|position| position.day).min(), days.iter().map(|p| p.day).max());
        let first = first.into_iter().chain(self.first_moved).min();
        let last = last.map(|last| last.succ_opt().unwrap_or(NaiveDate::MAX));
        selection.from = selection.from.max(first);
        selection.to = [selection.to, last].into_iter().flatten().min();
        selection
    }
}
