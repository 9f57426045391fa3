//! Predicts how many requests a conversion sends. The functions are in the order in which the requests are sent.
//!
//! All request counts are computed in this module. Stores, the dataset and the ledger only provide constants and facts,
//! such as the size of a part.

use crate::dataset::layout;
use crate::decode::gzip::MAX_WHOLE_GZIP;
use crate::plan::estimate::{For, parquet};
use crate::plan::{Batch, Object};
use crate::store::{Calls, PAGE_FILES, PART_BYTES, READ_BYTES, Source};

/// Requests for rereading `dataset.json`. A run does so before it creates a state file and when it ends.
const CONFIRM: Calls = Calls { get: 1, ..Calls::NONE };
/// Requests for writing a log entry and the file that marks the entry as done.
const ENTRY: Calls = Calls { get: 2 * CONFIRM.get, put: 2, ..Calls::NONE };

/// Classifies the `sent` requests, which either listed the sources or read an object list.
pub(crate) fn of_listing(is_listed: bool, sent: u64) -> Calls {
    if is_listed { Calls { list: sent, ..Calls::NONE } } else { Calls { get: sent, ..Calls::NONE } }
}

/// Counts the requests for converting a batch. Excludes retries and requests for rejects.
pub(super) fn of_batch(batch: &Batch, sources: &[Source], dataset: Option<&For>) -> Calls {
    let mut calls = Calls::NONE;
    for object in &batch.objects {
        calls += read(object, &sources[object.source]);
    }
    match remote(dataset) {
        Some(dataset) => {
            let begins_uploads = dataset.dataset.target().begins_uploads();
            calls + write(parquet(batch.bytes()), begins_uploads) + ENTRY
        }
        None => calls,
    }
}

/// Counts the requests that a conversion sends to the dataset, excluding those for batches. A single log entry records
/// all touched objects in a partition.
pub(super) fn of_dataset(dataset: Option<&For>, touched_partitions: u64) -> Calls {
    remote(dataset)
        .map_or(Calls::NONE, |dataset| open(dataset) + CONFIRM + ENTRY * touched_partitions)
}

fn remote<'a>(dataset: Option<&'a For<'a>>) -> Option<&'a For<'a>> {
    dataset.filter(|each| each.dataset.target().is_remote())
}

/// Counts the requests for reading an object: one request, or one per range if the object is streamed.
pub(super) fn read(object: &Object, source: &Source) -> Calls {
    let size = object.listed.size;
    let ranges = if size > MAX_WHOLE_GZIP { size.div_ceil(READ_BYTES) } else { 1 };
    Calls { get: if source.is_remote() { ranges } else { 0 }, ..Calls::NONE }
}

/// Counts the requests for opening a dataset and its ledger, and for reading the logs that were read to make the plan.
fn open(For { begun, ledger, .. }: &For) -> Calls {
    let mut calls = if *begun { Calls { get: 1, ..Calls::NONE } } else { begin() };
    calls.list += pages(ledger.state_files());
    calls.list += ledger.files_by_table().iter().map(|files| pages(*files)).sum::<u64>();
    // Each log takes one extra request, because a log ends at the first number without an entry.
    calls.get += ledger.logs_read().iter().map(|entries| entries + 1).sum::<u64>();
    calls
}

/// Counts the requests for creating a dataset: checking that none exists, probing the store, listing the tables, and
/// writing the description and reading it back.
fn begin() -> Calls {
    let (probes, racers) = (layout::PROBES as u64, layout::RACERS as u64);
    Calls {
        list: layout::tables().count() as u64,
        get: 2 + probes,
        put: 1 + probes * racers,
        delete: probes,
    }
}

/// Counts the requests for writing a file: starting the upload, writing its note, uploading the parts, completing the
/// upload and deleting the note.
fn write(size: u64, begins_uploads: bool) -> Calls {
    let parts = size.div_ceil(PART_BYTES as u64).max(1);
    Calls { put: u64::from(begins_uploads) + parts + 2, delete: 1, ..Calls::NONE }
}

/// Counts the requests for listing the given number of files.
fn pages(files: u64) -> u64 {
    files.div_ceil(PAGE_FILES).max(1)
}
