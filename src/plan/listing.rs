//! What a listing of the sources contains.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;
use std::sync::atomic::AtomicBool;

use crate::dataset::shard::Shard;
use crate::logs::key::Position;
use crate::plan::gathering::Gathering;
use crate::plan::window::Day;
use crate::plan::{Amount, Failure, Matches, Moved, Object, PlanError, Selection};
use crate::store::Source;

/// The selected objects in the sources.
#[derive(Debug, Default)]
pub struct Listing {
    /// The objects, without duplicate copies, sorted by account, region, day, log type and name. Empty if the days were
    /// yielded one by one.
    pub objects: Vec<Object>,
    /// Number of selected objects, without duplicate copies.
    pub selected: u64,
    /// Number of listed objects, selected or not.
    pub listed: u64,
    /// Number of skipped objects by kind.
    pub skipped: BTreeMap<&'static str, u64>,
    /// Failed listings, objects that cannot be read, and objects that conflict with each other.
    pub failures: Vec<Failure>,
    /// Whether the listing had failures, even if they were moved to a plan.
    pub has_failures: bool,
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
    /// Lists the sources as a whole.
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
        Gathering::of(sources, selection, stop).collect()
    }

    /// Splits the objects into days.
    pub(super) fn days(objects: Vec<Object>) -> impl Iterator<Item = Day> {
        let mut objects = objects.into_iter().peekable();
        iter::from_fn(move || {
            let first = objects.next()?;
            let position = Position::of(&first.partition);
            let mut day = Day { position, objects: vec![first] };
            while let Some(next) =
                objects.next_if(|next| Position::of(&next.partition) == day.position)
            {
                day.objects.push(next);
            }
            Some(day)
        })
    }

    pub(super) fn skip(&mut self, kind: &'static str, key: &str) {
        *self.skipped.entry(kind).or_default() += 1;
        self.examples.entry(kind).or_insert_with(|| key.to_owned());
    }
}

/// Facts about skipped directories.
#[derive(Default)]
pub(super) struct Skipped {
    /// The other services whose logs the directories contain.
    pub(super) services: BTreeSet<&'static str>,
    /// Whether any directory was skipped because nothing below it is selected.
    pub(super) is_pruned: bool,
    /// Accounts in the directories' paths.
    pub(super) accounts: BTreeSet<String>,
    /// Regions in the directories' paths.
    pub(super) regions: BTreeSet<String>,
}
