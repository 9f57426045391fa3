//! Late objects: objects that a listing in order finds after it has yielded their day.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::mem;
use std::sync::Arc;

use chrono::NaiveDate;

use crate::logs::key::{Key, Position, identity};
use crate::plan::gathering::{Gathering, Item, is_in_scope, look, source_key};
use crate::plan::window::{Copy, drop_repeated};
use crate::plan::{Failure, Object, PlanError, SIDECAR, Scope, Selection};
use crate::store::{Listed, StoreError};

/// Late objects and files with unsupported endings, by end day.
#[derive(Default)]
pub(super) struct Late(BTreeMap<Position, Vec<Item>>);

/// Objects that were yielded, by identity.
type Yielded = HashMap<String, Listed>;

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
            items.into_iter().for_each(|item| take(position.clone(), item));
        }
    }
}

impl Gathering<'_> {
    /// Adds the late objects to the window, except copies of objects that were yielded.
    pub(super) fn add_late(&mut self) -> Result<(), PlanError> {
        let late = mem::take(&mut self.late);
        let closed: Vec<&Position> =
            late.0.keys().filter(|position| self.window.is_closed(position)).collect();
        let (yielded, is_known) = if closed.is_empty() {
            (HashMap::new(), true)
        } else {
            self.list_again(&late, &closed)?
        };
        for (position, items) in late.0 {
            let is_unknown = !is_known && self.window.is_closed(&position);
            for item in items {
                let listed = match &item {
                    Item::Object(object) => &object.listed,
                    Item::Ending(listed) => listed,
                };
                match (yielded.get(identity(listed.name())), &item) {
                    (Some(kept), Item::Object(_)) => {
                        let copy = Copy::of(listed, kept);
                        self.listing.drop_copy(listed, copy);
                    }
                    (Some(_), Item::Ending(_)) => self.listing.skip(SIDECAR, &listed.key()),
                    (None, _) if is_unknown => {
                        let why = "is in the directory of a later day, and its own day cannot be listed again to \
                                   find copies of it; nothing is converted";
                        self.listing.failures.push(Failure::new(listed.key(), why));
                    }
                    (None, _) => item.add(self.window.of(position.clone())),
                }
            }
        }
        Ok(())
    }

    /// Lists the days that were yielded and have late objects again. Returns the yielded objects with the same identity
    /// as a late one, and whether all of the days could be listed.
    fn list_again(
        &mut self,
        late: &Late,
        closed: &[&Position],
    ) -> Result<(Yielded, bool), PlanError> {
        let mut wanted = HashSet::new();
        let mut late_keys = HashSet::new();
        for item in late.0.values().flatten() {
            let listed = match item {
                Item::Object(Object { listed, source, .. }) => {
                    late_keys.insert((*source, listed.key()));
                    listed
                }
                Item::Ending(listed) => listed,
            };
            wanted.insert(identity(listed.name()).to_owned());
        }
        let selection = self.narrowed(closed);
        let (mut yielded, mut is_known) = (Vec::new(), true);
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
                        is_known = false;
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
                if let Ok(parsed) = Key::parse(&key)
                    && self.selection.wants(&parsed)
                {
                    let partition = Arc::new(parsed.partition);
                    yielded.push(Object { partition, listed, source: index });
                }
            }
        }
        drop_repeated(&mut yielded, |_, _| {});
        let by_identity = |object: Object| (object.identity().to_owned(), object.listed);
        Ok((yielded.into_iter().map(by_identity).collect(), is_known))
    }

    /// Returns the selection of the directories that can contain objects of the given end days.
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
        let last = last.map(|last| last.succ_opt().unwrap_or(NaiveDate::MAX));
        selection.from = selection.from.max(first);
        selection.to = [selection.to, last].into_iter().flatten().min();
        selection
    }
}
