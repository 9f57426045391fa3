//! The window of a listing: the objects of the days that are not completely listed yet.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::mem;

use chrono::NaiveDate;

use crate::logs::key::{Form, Position, has_size_of};
use crate::plan::Object;
use crate::store::Listed;

/// The objects of an account and a region in one day: those of one partition per log type.
#[derive(Debug)]
pub struct Day {
    /// Account, region and day.
    pub position: Position,
    /// The objects, sorted by log type and name. Sorting by name also sorts by load balancer and end time.
    pub objects: Vec<Object>,
}

/// Days that are not completely listed yet.
///
/// All copies of an object have the same end time, and belong to the partition of the same day or the following day.
/// Copies therefore have the same *end day*, the day of their end time.
#[derive(Debug, Default)]
pub(super) struct Window {
    days: BTreeMap<Position, Open>,
    /// The days that were taken from the window, by account and region.
    closed: HashMap<(String, String), BTreeSet<NaiveDate>>,
}

/// A day in the window.
#[derive(Debug, Default)]
pub(super) struct Open {
    /// The objects whose end times are on this day.
    pub(super) objects: Vec<Object>,
    /// Files that are named like logs with an end time on this day, but have an unsupported ending.
    pub(super) endings: Vec<Listed>,
    /// Objects of this day's partitions whose end times are on the day before, without duplicate copies.
    carried: Vec<Object>,
}

impl Window {
    /// Returns the objects of an end day, to add one.
    pub(super) fn of(&mut self, position: Position) -> &mut Open {
        self.days.entry(position).or_default()
    }

    /// Returns whether a day was already taken.
    pub(super) fn is_closed(&self, position: &Position) -> bool {
        let Position { account, region, day } = position;
        let days = self.closed.get(&(account.clone(), region.clone()));
        days.is_some_and(|days| days.contains(day))
    }

    /// Returns whether the first day is completely listed, given that the objects still to be listed are not
    /// before `reached`.
    pub(super) fn is_complete(&self, reached: &Position) -> bool {
        self.days.first_key_value().is_some_and(|(position, _)| position.precedes(reached))
    }

    /// Returns the number of objects and files in the window.
    pub(super) fn len(&self) -> usize {
        let of_day = |open: &Open| open.objects.len() + open.endings.len() + open.carried.len();
        self.days.values().map(of_day).sum()
    }

    /// Takes the objects of the first end day.
    pub(super) fn pop(&mut self) -> Option<(Position, Open)> {
        let (position, open) = self.days.pop_first()?;
        let Position { account, region, day } = position.clone();
        self.closed.entry((account, region)).or_default().insert(day);
        Some((position, open))
    }

    /// Returns a day, given its objects without copies, and those carried over from the day before. Carries over the
    /// objects that belong to the next day.
    pub(super) fn day(
        &mut self,
        position: Position,
        objects: Vec<Object>,
        carried: Vec<Object>,
    ) -> Option<Day> {
        let is_own = |object: &Object| object.partition.day == position.day;
        let (own, next): (Vec<_>, Vec<_>) = objects.into_iter().partition(is_own);
        if !next.is_empty() {
            self.of(position.next_day()).carried.extend(next);
        }
        let mut objects = carried;
        objects.extend(own);
        objects.sort_unstable_by(|a, b| order(a).cmp(&order(b)));
        (!objects.is_empty()).then_some(Day { position, objects })
    }
}

impl Open {
    /// Takes the objects that were carried over from the day before.
    pub(super) fn take_carried(&mut self) -> Vec<Object> {
        mem::take(&mut self.carried)
    }
}

fn order(object: &Object) -> (&impl Ord, &str) {
    (&object.partition.log_type, object.name())
}

/// Why a copy of an object is not converted.
pub(super) enum Copy {
    /// The copy may have the same content.
    Duplicate,
    /// The copy has another size. Describes the contradiction.
    Contradiction(String),
}

impl Copy {
    /// Compares a copy with the object that is converted instead.
    pub(super) fn of(copy: &Listed, kept: &Listed) -> Self {
        if !has_size_of(copy.name(), kept.name()) || copy.size == kept.size {
            return Self::Duplicate;
        }
        Self::Contradiction(format!(
            "contradicts {} ({} bytes), which has the same name and is converted instead",
            kept.key(),
            kept.size
        ))
    }
}

/// Keeps one copy of each object, and calls `dropped` with every other copy. Names are unique, so files with the same
/// name are copies of the same object, regardless of their directories.
///
/// The copy in the preferred form is kept. If several copies have that form, the one with the earliest day is kept.
pub(super) fn drop_repeated(objects: &mut Vec<Object>, mut dropped: impl FnMut(&Object, Copy)) {
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
        dropped(next, Copy::of(&next.listed, &kept.listed));
        true
    });
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::AtomicBool;

    use tempfile::TempDir;

    use super::*;
    use crate::logs::key::from_root;
    use crate::plan::{Listing, Selection};
    use crate::store::{Network, Source};

    #[test]
    fn objects_are_carried_over_from_a_day_that_is_taken_twice() {
        let source = TempDir::new().unwrap();
        let day =
            source.path().join("AWSLogs/012345678901/elasticloadbalancing/eu-west-1/2025/07/20");
        fs::create_dir_all(&day).unwrap();
        for id in ["39xza92o", "49xza92o"] {
            let name = format!(
                "012345678901_elasticloadbalancing_eu-west-1_app.my-lb.50dc6c495c0c9188_20250719T2355Z_192.0.2.1_{id}.log.gz"
            );
            fs::write(day.join(name), "").unwrap();
        }
        let path = source.path().to_str().unwrap();
        let sources = [Source::open(path, &Network::default(), from_root).unwrap()];
        let selection = Selection::default();
        let objects = Listing::take(&sources, &selection, &AtomicBool::new(false)).unwrap().objects;
        assert_eq!(objects.len(), 2);

        let mut window = Window::default();
        let next = Position::of(&objects[0].partition);
        let own = Position { day: next.day.pred_opt().unwrap(), ..next.clone() };
        for object in objects {
            window.of(own.clone()).objects.push(object);
            let (position, mut open) = window.pop().unwrap();
            assert_eq!(position, own);
            let carried = open.take_carried();
            assert!(window.day(position, open.objects, carried).is_none());
        }
        let (position, mut open) = window.pop().unwrap();
        assert_eq!((position, open.take_carried().len()), (next, 2));
    }
}
