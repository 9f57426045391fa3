//! Plans day by day, so that the first batches can be converted while the listing goes on.

use std::collections::VecDeque;
use std::iter;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::dataset::ledger::Ledger;
use crate::plan::{
    Batch, Before, CONVERTED_BEFORE, Day, Failure, Listing, PARTITION_UNKNOWN, Plan, PlanError,
    Touched, Verdict, stuck, unknown,
};
use crate::store::Source;

/// Maximum number of days and of objects to list ahead of the day that is being planned, so that their claims can be
/// read concurrently.
const DAYS_AHEAD: usize = 150;
const OBJECTS_AHEAD: usize = 20_000;

/// Cuts days into batches.
///
/// A batch contains objects of one partition, with up to a given number of compressed bytes. A larger object becomes a
/// separate batch. Batches are in the order of the days received, then log types and objects. Objects that a claim
/// holds are not planned.
pub struct Planner<'a> {
    sources: &'a [Source],
    target_size: u64,
    ledger: Option<&'a Ledger<'a>>,
    stop: &'a AtomicBool,
    /// Everything about the plan except the batches and the touched objects.
    plan: Plan,
    /// Number of objects that were received and not planned, because the plan was interrupted.
    unplanned: u64,
}

/// The plan of a day.
#[derive(Debug, Default)]
pub struct Planned {
    /// Batches to convert.
    pub batches: Vec<Batch>,
    /// Objects whose content must be compared with the converted content.
    pub touched: Vec<Touched>,
}

impl<'a> Planner<'a> {
    /// Returns a planner. Without a ledger, it plans all objects, as if none had been converted. With a ledger, it also
    /// finishes the claims that other runs left open, unless the ledger is read-only.
    pub fn new(
        sources: &'a [Source],
        target_size: u64,
        ledger: Option<&'a Ledger<'a>>,
        stop: &'a AtomicBool,
    ) -> Self {
        Self { sources, target_size, ledger, stop, plan: Plan::default(), unplanned: 0 }
    }

    /// Plans days, and calls `take` with each plan.
    ///
    /// # Errors
    ///
    /// Fails if the claims cannot be read, an open claim cannot be finished, the user interrupts the program, or `days`
    /// or `take` fail.
    pub fn each_day(
        &mut self,
        days: &mut dyn Iterator<Item = Result<Day, PlanError>>,
        mut take: impl FnMut(Planned) -> Result<(), PlanError>,
    ) -> Result<(), PlanError> {
        let reads_ahead = self.ledger.is_some_and(Ledger::reads_ahead);
        let (mut ahead, mut objects) = (VecDeque::new(), 0);
        loop {
            while ahead.is_empty()
                || reads_ahead && ahead.len() < DAYS_AHEAD && objects < OBJECTS_AHEAD
            {
                let Some(day) = days.next().transpose()? else { break };
                objects += day.objects.len();
                ahead.push_back(day);
            }
            let Some(day) = ahead.pop_front() else { return Ok(()) };
            objects -= day.objects.len();
            let planned = self.add(day, &ahead);
            if planned.is_err() {
                self.unplanned += objects as u64;
            }
            take(planned?)?;
        }
    }

    /// Plans a day. `ahead` contains the next days.
    fn add(&mut self, day: Day, ahead: &VecDeque<Day>) -> Result<Planned, PlanError> {
        let mut planned = Planned::default();
        let mut objects = day.objects.into_iter().peekable();
        while let Some(first) = objects.peek() {
            let partition = Arc::clone(&first.partition);
            let before = match self.ledger {
                None => Before::default(),
                Some(ledger) => {
                    let next = ahead.iter().flat_map(|day| &day.objects);
                    let next = next.map(|object| &object.partition);
                    let next = [&partition].into_iter().chain(next);
                    let before = Before::look(&partition, next, ledger, self.stop);
                    before.inspect_err(|_| {
                        let batches = planned.batches.iter().flat_map(|batch| &batch.objects);
                        let lost = batches.count() + planned.touched.len() + objects.len();
                        self.unplanned += lost as u64;
                    })?
                }
            };
            let of_partition =
                iter::from_fn(|| objects.next_if(|object| object.partition == partition));
            if let Some(failure) = &before.unknown {
                self.plan.failures.push(failure.clone());
                let count = of_partition.count() as u64;
                self.plan.skip(PARTITION_UNKNOWN, count);
                continue;
            }
            let mut size = 0;
            let mut batch = Batch::new(Arc::clone(&partition), Vec::new());
            for object in of_partition {
                match before.judge(&object, self.sources) {
                    Verdict::New => {}
                    Verdict::Converted => {
                        self.plan.before.add(&object);
                        continue;
                    }
                    Verdict::Touched { partition, claim, content } => {
                        planned.touched.push(Touched { object, partition, claim, content });
                        continue;
                    }
                    Verdict::Wrong(failure) => {
                        self.plan.failures.push(failure);
                        continue;
                    }
                }
                let bytes = object.gzip_bytes();
                if size + bytes > self.target_size && !batch.objects.is_empty() {
                    let objects = mem::take(&mut batch.objects);
                    planned.batches.push(Batch::new(Arc::clone(&partition), objects));
                    size = 0;
                }
                size += bytes;
                batch.objects.push(object);
            }
            if !batch.objects.is_empty() {
                planned.batches.push(batch);
            }
        }
        Ok(planned)
    }

    /// Ends the plan: finishes the claims that other runs left open in other partitions. Moves the counts and failures
    /// of the listing to the plan. Returns everything about the plan except the batches and the touched objects.
    ///
    /// # Errors
    ///
    /// Fails if the claims cannot be read, or an open claim cannot be finished.
    pub fn end(self, listing: &mut Listing) -> Result<Plan, PlanError> {
        let (ledger, shard) = (self.ledger, listing.shard);
        let mut plan = self.close(listing);
        let Some(ledger) = ledger else { return Ok(plan) };
        let broken = ledger.finish_others(shard)?;
        let broken = broken.into_iter().map(|(partition, error)| unknown(&partition, &error));
        // Failures in the partitions of listed objects have already been reported.
        let broken: Vec<Failure> =
            broken.filter(|failure| !plan.failures.contains(failure)).collect();
        plan.failures.extend(broken);
        plan.failures.extend(stuck(ledger).map(|(_, failure)| failure));
        Ok(plan)
    }

    /// Ends the plan because the user interrupted the program. `pending` is the number of listed objects that the
    /// planner has not received.
    pub(crate) fn end_early(self, listing: &mut Listing, pending: u64) -> Plan {
        let unplanned = Some(self.unplanned + pending);
        Plan { unplanned, ..self.close(listing) }
    }

    fn close(self, listing: &mut Listing) -> Plan {
        let mut plan = self.plan;
        let mut failures = mem::take(&mut listing.failures);
        listing.has_failures = !failures.is_empty();
        failures.append(&mut plan.failures);
        for (kind, count) in &listing.skipped {
            plan.skip(kind, *count);
        }
        let (examples, moved) = (listing.examples.clone(), listing.moved.clone());
        let mut plan = Plan { listed: listing.listed, examples, moved, failures, ..plan };
        plan.skip(CONVERTED_BEFORE, plan.before.objects);
        plan
    }
}
