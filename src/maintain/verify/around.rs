//! The contents of a day: the listed objects and the claims.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::dataset::claim::{Amendments, Claim, Log, Record, State};
use crate::dataset::held::HeldObject;
use crate::dataset::layout::Dataset;
use crate::logs::key::{Key, Partition, Position, identity};
use crate::logs::schema::LogType;
use crate::plan::{Object, Remedy};

/// Weight of a day with few objects, see [`Contents::weight`].
const MIN_WEIGHT: usize = 200;

/// The listed objects and the claims of an account, a region and a day.
pub(super) struct Contents {
    pub(super) position: Position,
    /// The listed objects, sorted by identity.
    pub(super) objects: Vec<Object>,
    /// The partitions that are selected or adjacent to selected ones, and whose claims can be read.
    pub(super) partitions: Vec<Claims>,
    /// The remedy for each partition whose converted objects are unknown.
    pub(super) unknown: BTreeMap<LogType, Remedy>,
    /// Whether the objects are late: the day was verified before without them.
    pub(super) is_late: bool,
}

/// The claims of a partition.
pub(super) struct Claims {
    pub(super) log: Log,
    pub(super) is_selected: bool,
    /// The objects that the claims hold, sorted by identity, then by claim.
    pub(super) held: Vec<HeldObject>,
}

/// A claim in effect, with its state and amendments.
pub(super) struct ActiveClaim<'a> {
    pub(super) partition: &'a Partition,
    pub(super) number: usize,
    pub(super) claim: &'a Claim,
    pub(super) state: &'a State,
    /// Facts about the claim's objects that are recorded in later log entries.
    pub(super) amendments: Arc<Amendments<'a>>,
    /// Path or URL of the claim.
    pub(super) name: String,
}

/// A day with the days before and after it, which can contain copies of its objects.
#[derive(Clone)]
pub(super) struct Around {
    pub(super) day: Arc<Contents>,
    before: Option<Arc<Contents>>,
    after: Option<Arc<Contents>>,
}

impl Contents {
    pub(super) fn new(position: Position, mut objects: Vec<Object>, is_late: bool) -> Self {
        objects.sort_by(|a, b| a.identity().cmp(b.identity()));
        Self { position, objects, partitions: Vec::new(), unknown: BTreeMap::new(), is_late }
    }

    /// Returns the approximate number of objects in memory.
    pub(super) fn weight(&self) -> usize {
        let held: usize = self.partitions.iter().map(|claims| claims.held.len()).sum();
        (self.objects.len() + held).max(MIN_WEIGHT)
    }

    fn object(&self, own: &str) -> Option<&Object> {
        let found = self.objects.binary_search_by(|object| object.identity().cmp(own));
        found.ok().map(|index| &self.objects[index])
    }

    fn claims(&self, log_type: LogType) -> Option<&Claims> {
        self.partitions.iter().find(|claims| claims.log.partition().log_type == log_type)
    }
}

impl Claims {
    /// Returns the claims of a log.
    pub(super) fn new(log: Log, is_selected: bool) -> Self {
        let mut held = Vec::new();
        let amendments = log.amendments();
        for (number, claim) in log.holding() {
            held.extend(HeldObject::of(number, claim, &amendments).map(|(_, held)| held));
        }
        drop(amendments);
        // The sort is stable, so copies stay in the order of their claims.
        held.sort_by(|a, b| identity(&a.name).cmp(identity(&b.name)));
        Self { log, is_selected, held }
    }

    /// Returns the object with this identity. If several claims hold it, returns the object of the last claim.
    pub(super) fn get(&self, own: &str) -> Option<&HeldObject> {
        let end = self.held.partition_point(|held| identity(&held.name) <= own);
        self.held[..end].last().filter(|held| identity(&held.name) == own)
    }

    /// Returns the objects that cannot be in this partition, according to their names.
    pub(super) fn misplaced(&self) -> impl Iterator<Item = &HeldObject> {
        let partition = self.log.partition();
        self.held.iter().filter(move |held| {
            let Some(key) = Key::of_name(&held.name) else { return true };
            let days = [Some(key.end_day), key.end_day.succ_opt()];
            !days.contains(&Some(partition.day))
                || Partition { day: partition.day, ..key.partition } != *partition
        })
    }

    /// Returns the claims in effect.
    pub(super) fn active(&self, dataset: &Dataset) -> impl Iterator<Item = ActiveClaim<'_>> {
        let (partition, amendments) = (self.log.partition(), Arc::new(self.log.amendments()));
        self.log.unremoved().filter_map(move |(number, entry)| {
            let Record::Add(claim) = &entry.record else { return None };
            if entry.state == State::Aborted {
                return None;
            }
            let (state, amendments) = (&entry.state, Arc::clone(&amendments));
            let name = self.log.name(dataset, number);
            Some(ActiveClaim { partition, number, claim, state, amendments, name })
        })
    }
}

impl Around {
    /// Returns a day with those of the other two days that are adjacent to it.
    pub(super) fn new(
        before: Option<&Arc<Contents>>,
        day: &Arc<Contents>,
        after: Option<&Arc<Contents>>,
    ) -> Self {
        let before = before.filter(|before| before.position.next_day() == day.position);
        let after = after.filter(|after| day.position.next_day() == after.position);
        Self { day: Arc::clone(day), before: before.cloned(), after: after.cloned() }
    }

    /// Returns the listed object with this identity.
    pub(super) fn object(&self, own: &str) -> Option<&Object> {
        let mut days = [Some(&self.day), self.before.as_ref(), self.after.as_ref()].into_iter();
        days.find_map(|day| day?.object(own))
    }

    /// Returns the claimed object with this identity. If there are several, prefers selected partitions, then later
    /// days.
    pub(super) fn held(&self, log_type: LogType, own: &str) -> Option<&HeldObject> {
        let days = [self.after.as_ref(), Some(&self.day), self.before.as_ref()];
        let claims = || days.into_iter().filter_map(|day| day?.claims(log_type));
        let of = |is_selected| {
            let mut claims = claims().filter(move |claims| claims.is_selected == is_selected);
            claims.find_map(|claims| claims.get(own))
        };
        of(true).or_else(|| of(false))
    }

    /// Returns the claims of the same log type on the day before.
    pub(super) fn before(&self, log_type: LogType) -> Option<&Claims> {
        self.before.as_ref()?.claims(log_type)
    }

    /// Returns the claims of the same log type on the days before and after.
    pub(super) fn beside(&self, log_type: LogType) -> impl Iterator<Item = &Claims> {
        let days = [self.before.as_ref(), self.after.as_ref()];
        days.into_iter().filter_map(move |day| day?.claims(log_type))
    }
}
