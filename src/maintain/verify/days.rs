//! The days of a source and a dataset, in one order.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::ops::Bound;

use crate::logs::key::{Partition, Position};
use crate::logs::schema::LogType;
use crate::plan::{Day, Gathering, Listing, PlanError};

/// The partitions of a dataset, in the order of listings: the log types of each day.
#[derive(Debug, Default)]
pub(super) struct Partitions(BTreeMap<Position, BTreeSet<LogType>>);

impl Partitions {
    pub(super) fn add(&mut self, partition: &Partition) {
        self.0.entry(Position::of(partition)).or_default().insert(partition.log_type);
    }

    /// Returns the partitions of a day.
    pub(super) fn on(&self, position: &Position) -> impl Iterator<Item = Partition> {
        let Position { account, region, day } = position.clone();
        let log_types = self.0.get(position).into_iter().flatten();
        log_types.map(move |log_type| Partition {
            log_type: *log_type,
            account: account.clone(),
            region: region.clone(),
            day,
        })
    }

    fn first_after(&self, position: Option<&Position>) -> Option<&Position> {
        let after = position.map_or(Bound::Unbounded, Bound::Excluded);
        self.0.range::<Position, _>((after, Bound::Unbounded)).next().map(|(position, _)| position)
    }
}

/// Merges the days of a listing with the days of a dataset, while the listing goes on.
pub(super) struct Days<'a> {
    /// The listing, until it has ended.
    gathering: Option<Gathering<'a>>,
    partitions: &'a Partitions,
    /// The next listed day.
    listed: Option<Day>,
    /// Position of the last day that was returned.
    reached: Option<Position>,
    late: Vec<Day>,
    listing: Listing,
}

impl<'a> Days<'a> {
    pub(super) fn new(gathering: Gathering<'a>, partitions: &'a Partitions) -> Self {
        let gathering = Some(gathering);
        let (listed, reached, late) = (None, None, Vec::new());
        Self { gathering, partitions, listed, reached, late, listing: Listing::default() }
    }

    /// Returns the next day. It has no objects if only the dataset contains it.
    ///
    /// # Errors
    ///
    /// Fails if nothing can be listed, or if the user interrupts the program.
    pub(super) fn next(&mut self) -> Result<Option<Day>, PlanError> {
        self.read_listing()?;
        let of_dataset = self.partitions.first_after(self.reached.as_ref());
        let is_next = |position: &&Position| {
            self.listed.as_ref().is_none_or(|listed| **position < listed.position)
        };
        let day = match of_dataset.filter(is_next) {
            Some(position) => Some(Day { position: position.clone(), objects: Vec::new() }),
            None => self.listed.take(),
        };
        self.reached = day.as_ref().map(|day| day.position.clone()).or(self.reached.take());
        Ok(day)
    }

    /// Reads the next day of the listing, unless it was already read.
    fn read_listing(&mut self) -> Result<(), PlanError> {
        while let (None, Some(gathering)) = (&self.listed, &mut self.gathering) {
            match gathering.next_day()? {
                Some(day) if self.reached.as_ref() >= Some(&day.position) => self.late.push(day),
                listed @ Some(_) => self.listed = listed,
                None => {
                    self.listing = self
                        .gathering
                        .take()
                        .map_or_else(|| Ok(Listing::default()), Gathering::end)?;
                }
            }
        }
        Ok(())
    }

    /// Returns the late objects: those that were listed after their day had been returned.
    pub(super) fn take_late(&mut self) -> Vec<Day> {
        mem::take(&mut self.late)
    }

    /// Returns everything about the listing except its objects.
    pub(super) fn end(self) -> Listing {
        self.listing
    }
}
