//! SQL statements that compare an engine's results with claims, footers and rows.
//!
//! Each engine has its own Parquet reader, and a reader can lose rows without an error (trino#20267). Each statement
//! from [`Check::statements`] returns no rows if the engine reads the table correctly, and otherwise one row for each
//! wrong value. The expected values come from three places: the claims (partition row counts), the footers (column
//! counts, min and max), and the rows of some partitions, read with the `parquet` crate (sums, and filters on two
//! columns).

mod facts;
mod filters;
mod sql;

use std::collections::BTreeMap;

use anyhow::Context;
use arrow::datatypes::DataType;

use crate::catalog::ddl::Column;
use crate::dataset::claim::{Hints, Log, Output, Record, State};
use crate::dataset::layout::Dataset;
use crate::logs::key::{PARTITION_COLUMNS, PartitionValues};

pub(crate) use sql::Engine;

/// Maximum number of partitions whose columns are compared.
const PARTITIONS: usize = 4;
/// Maximum total number of rows in these partitions. A partition with more rows is compared only if it is the only one.
const ROWS: u64 = 2_000_000;
/// A file with more rows than this has several row groups. Only files with several row groups reveal readers that stop
/// before the end of a file.
const ROW_GROUP: u64 = 125_000;

/// A file in the dataset cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {0}")]
pub(crate) struct Unreadable(String);

/// The values that an engine should read from a table.
#[derive(Debug)]
pub(crate) struct Check {
    seed: u64,
    /// Number of rows in each non-empty partition.
    partitions: BTreeMap<PartitionValues, u64>,
    /// Number of partitions with unfinished claims or removals. Their contents are unknown, so they are not checked.
    unfinished: usize,
    probes: Vec<Probe>,
}

/// The expected values of one partition.
#[derive(Debug)]
struct Probe {
    partition: PartitionValues,
    rows: u64,
    row_groups: usize,
    columns: Vec<ColumnFacts>,
    filters: Vec<Filter>,
}

/// The expected values of a column.
#[derive(Debug, Clone)]
struct ColumnFacts {
    name: String,
    /// Number of non-NULL values, if all footers have NULL counts.
    values: Option<u64>,
    /// The min and max, if the footers have them.
    range: Range,
    /// The sum. `None` if the column has no values or is not an integer column, or if the sum exceeds 64 bits.
    sum: Option<i64>,
}

/// The min and max of a column.
#[derive(Debug, Clone, PartialEq)]
enum Range {
    /// The column has no values.
    Empty,
    /// The exact min and max.
    Exact(Value, Value),
    /// In at least one footer, the min and max are missing or truncated.
    Unknown,
}

/// A filter on two columns, and the number of rows that it matches.
#[derive(Debug, Clone)]
struct Filter {
    conditions: [Condition; 2],
    rows: u64,
}

#[derive(Debug, Clone)]
struct Condition {
    column: String,
    test: Test,
}

/// A condition on a column.
#[derive(Debug, Clone)]
enum Test {
    Equal(Value),
    Less(Value),
    Between(Value, Value),
    In(Vec<Value>),
    Null,
}

#[derive(Debug, Clone, PartialEq, PartialOrd)]
enum Value {
    Integer(i64),
    Double(f64),
    Text(String),
    /// Microseconds since 1970.
    Time(i64),
}

impl Check {
    /// Reads the expected values of a table. `name` is the table's directory name, and `columns` are the table's
    /// columns without the partition columns. The seed determines which partitions and filters are selected.
    ///
    /// # Errors
    ///
    /// Fails if a claim or a file cannot be read.
    pub(crate) fn read(
        dataset: &Dataset,
        name: &str,
        columns: &[Column],
        seed: u64,
    ) -> anyhow::Result<Self> {
        let (outputs, unfinished) = published(dataset, name)?;
        let rows = |outputs: &Vec<Output>| outputs.iter().map(|output| output.rows).sum::<u64>();
        let partitions: BTreeMap<_, _> =
            outputs.iter().map(|(values, outputs)| (values.clone(), rows(outputs))).collect();
        let has_several_groups =
            |values: &PartitionValues| outputs[values].iter().any(|output| output.rows > ROW_GROUP);
        let mut random = Random(seed);
        let mut probes = Vec::new();
        for partition in choose(&partitions, has_several_groups, &mut random) {
            let probe =
                Probe::read(dataset, &partition, &outputs[&partition], columns, &mut random)
                    .with_context(|| {
                        format!("the partition {} cannot be read", path(&partition))
                    })?;
            probes.push(probe);
        }
        Ok(Self { seed, partitions, unfinished, probes })
    }

    /// Returns true if there are no rows to compare.
    pub(crate) fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    /// Returns the number of partitions that are not checked because of unfinished claims or removals.
    pub(crate) fn unfinished(&self) -> usize {
        self.unfinished
    }
}

/// Returns a table's published files, grouped by partition, and the number of partitions with unfinished claims.
fn published(
    dataset: &Dataset,
    table: &str,
) -> anyhow::Result<(BTreeMap<PartitionValues, Vec<Output>>, usize)> {
    let hints = Hints::list(dataset)?;
    let mut outputs: BTreeMap<PartitionValues, Vec<Output>> = BTreeMap::new();
    let mut unfinished = Vec::new();
    for partition in hints.partitions() {
        let log = Log::read(dataset, partition, &hints)?;
        let values = partition.values();
        // An unfinished removal may have deleted some of the files.
        let is_removed = log.unremoved().any(|(_, entry)| {
            matches!(entry.record, Record::Remove(_)) && entry.state != State::Done
        });
        for (number, claim) in log.holding() {
            let of_table = claim.outputs.iter().filter(|output| output.table == table);
            let of_table: Vec<Output> = of_table.cloned().collect();
            if of_table.is_empty() {
                continue;
            }
            if is_removed || log.entry(number).state != State::Done {
                unfinished.push(values.clone());
            }
            outputs.entry(values.clone()).or_default().extend(of_table);
        }
    }
    unfinished.sort();
    unfinished.dedup();
    for values in &unfinished {
        outputs.remove(values);
    }
    Ok((outputs, unfinished.len()))
}

/// Selects the partitions to read. Prefers a partition that has a file with several row groups, then adds others while
/// the total number of rows stays within [`ROWS`].
fn choose(
    partitions: &BTreeMap<PartitionValues, u64>,
    has_several_groups: impl Fn(&PartitionValues) -> bool,
    random: &mut Random,
) -> Vec<PartitionValues> {
    let mut shuffled: Vec<_> = partitions.iter().map(|each| (random.next(), each)).collect();
    shuffled.sort();
    let order: Vec<(&PartitionValues, u64)> =
        shuffled.into_iter().map(|(_, (values, rows))| (values, *rows)).collect();
    let large = order.iter().filter(|(values, _)| has_several_groups(values));
    let fits = |(_, rows): &&(_, u64)| *rows <= ROWS;
    let smallest = || order.iter().min_by_key(|(_, rows)| *rows).filter(|each| !fits(each));
    let first = large.clone().find(fits).or_else(|| large.min_by_key(|(_, rows)| *rows));
    let first = first.or_else(smallest);
    let mut chosen: Vec<&PartitionValues> = first.iter().map(|(values, _)| *values).collect();
    let mut total = first.map_or(0, |(_, rows)| *rows);
    // The sort is stable: partitions with several row groups move to the front, and both groups stay in random order.
    let mut rest: Vec<_> = order.iter().collect();
    rest.sort_by_key(|(values, _)| !has_several_groups(values));
    for (values, rows) in rest {
        if chosen.len() < PARTITIONS && !chosen.contains(values) && total + rows <= ROWS {
            chosen.push(values);
            total += rows;
        }
    }
    chosen.into_iter().cloned().collect()
}

/// Returns the display form of a partition, such as `account=012345678901/region=eu-west-1/…`.
fn path(values: &PartitionValues) -> String {
    let pairs = PARTITION_COLUMNS.iter().zip(values);
    pairs.map(|(column, value)| format!("{column}={value}")).collect::<Vec<_>>().join("/")
}

/// Returns whether values of this type can be compared with literals.
fn is_comparable(data_type: &DataType) -> bool {
    !matches!(data_type, DataType::Binary)
}

/// A random number generator (SplitMix64). The same seed and dataset give the same statements.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `end`, which must not be 0.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn one<'a, T>(&mut self, some: &'a [T]) -> &'a T {
        &some[self.below(some.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partitions(rows: &[u64]) -> BTreeMap<PartitionValues, u64> {
        let values = |day: usize| {
            ["012345678901", "eu-west-1", "2025", "07", &format!("{day:02}")].map(str::to_owned)
        };
        rows.iter().enumerate().map(|(index, rows)| (values(index + 1), *rows)).collect()
    }

    #[test]
    fn a_partition_with_several_row_groups_is_always_chosen() {
        for seed in 0..50 {
            let all = partitions(&[10, 20, 9_000_000, 30, 8_000_000, 40, 50, 60]);
            let large = |values: &PartitionValues| all[values] > ROW_GROUP;
            let chosen = choose(&all, large, &mut Random(seed));
            assert_eq!(all[&chosen[0]], 8_000_000, "the smallest, since none fits");
            assert_eq!(chosen.len(), 1, "no other partition fits");
            let all = partitions(&[10, 20, 500_000, 30, 40, 50]);
            let large = |values: &PartitionValues| all[values] > ROW_GROUP;
            let chosen = choose(&all, large, &mut Random(seed));
            assert_eq!((all[&chosen[0]], chosen.len()), (500_000, PARTITIONS));
        }
        assert!(choose(&partitions(&[]), |_| true, &mut Random(1)).is_empty());
    }

    /// Every partition may exceed the row limit, even if each file is small.
    #[test]
    fn the_smallest_partition_is_chosen_if_all_are_too_large() {
        let all = partitions(&[9_000_000, 3_000_000, 8_000_000]);
        let chosen = choose(&all, |_| false, &mut Random(1));
        assert_eq!(chosen.iter().map(|each| all[each]).collect::<Vec<_>>(), [3_000_000]);
    }

    #[test]
    fn another_seed_chooses_other_partitions() {
        let all = partitions(&[10; 20]);
        let chosen = |seed| choose(&all, |_| false, &mut Random(seed));
        assert_eq!(chosen(1), chosen(1));
        assert!((2..10).any(|seed| chosen(seed) != chosen(1)));
    }
}
