//! Filters on two columns, and the number of rows that each matches.
//!
//! A reader that misuses statistics when it skips pages tends to fail if the two conditions match different pages. This
//! module therefore prefers filters whose conditions match different rows in one row group, and the same row in a later
//! row group of the same file.

use std::collections::{BTreeSet, HashMap};

use arrow::array::{Array, BooleanArray, Int64Array, StringArray};
use arrow::compute::kernels::cmp::{eq, gt_eq, lt, lt_eq};
use arrow::compute::{and_kleene, is_null, or_kleene};
use arrow::error::ArrowError;

use crate::catalog::check::facts::{Batch, Row, Values, scan};
use crate::catalog::check::{Condition, Filter, Random, Test, Value, is_comparable};
use crate::catalog::ddl::Column;
use crate::dataset::claim::Output;
use crate::dataset::layout::Dataset;

/// Number of filters for each partition.
const FILTERS: usize = 16;
/// Number of candidates from which the filters are selected.
const CANDIDATES: usize = 128;
/// Possible widths of a range filter, as a percentage of the column's values. Each filter's width is chosen at random.
const WIDTHS: [usize; 5] = [2, 5, 8, 15, 30];
/// Maximum length in bytes of a string in a filter.
const LONGEST: usize = 200;
const MILLISECOND: i64 = 1000;

/// Returns candidate filters. Each is derived from a row, so most match at least one row.
pub(super) fn candidates(
    columns: &[Column],
    samples: &[Row],
    random: &mut Random,
) -> Vec<[Condition; 2]> {
    let values: Vec<Vec<&Value>> = (0..columns.len())
        .map(|index| {
            let mut values: Vec<&Value> =
                samples.iter().filter_map(|row| row[index].as_ref()).collect();
            values.sort_by(|one, other| one.partial_cmp(other).expect("no log has NaN"));
            values
        })
        .collect();
    // A filter on a column with a single value excludes nothing.
    let differs = |index: &usize| values[*index].first() != values[*index].last();
    let usable = |index: &usize| is_comparable(&columns[*index].data_type) && differs(index);
    let usable: Vec<usize> = (0..columns.len()).filter(usable).collect();
    if usable.len() < 2 {
        return Vec::new();
    }
    let mut all = Vec::new();
    // Some attempts yield no filter, for example because the text is too long.
    for _ in 0..CANDIDATES * 4 {
        if all.len() == CANDIDATES {
            break;
        }
        let row = random.one(samples);
        let first = *random.one(&usable);
        let second = *random.one(&usable);
        if first == second {
            continue;
        }
        let mut condition = |index: usize| {
            let test = test(row[index].as_ref(), &values[index], random)?;
            Some(Condition { column: columns[index].name.clone(), test })
        };
        if let (Some(one), Some(other)) = (condition(first), condition(second)) {
            all.push([one, other]);
        }
    }
    all
}

/// Returns a random test that `value` passes. `values` contains the column's values in ascending order.
fn test(value: Option<&Value>, values: &[&Value], random: &mut Random) -> Option<Test> {
    let Some(value) = value else { return Some(Test::Null) };
    let constant = |value: &Value| match value {
        Value::Text(text) if text.len() > LONGEST => None,
        // Some engines round times to milliseconds.
        Value::Time(micros) => Some(Value::Time(micros.div_euclid(MILLISECOND) * MILLISECOND)),
        other => Some(other.clone()),
    };
    let place = values.partition_point(|other| *other < value);
    let last = values.len() - 1;
    let is_time = matches!(value, Value::Time(_));
    Some(match random.below(8) {
        0 | 1 if !is_time => Test::Equal(constant(value)?),
        2 if !is_time => {
            let mut some = vec![constant(value)?];
            for _ in 0..random.below(3) {
                let other: &&Value = random.one(values);
                let other = constant(other)?;
                if !some.contains(&other) {
                    some.push(other);
                }
            }
            Test::In(some)
        }
        3 => {
            let above = place + 1 + random.below(values.len() - place);
            Test::Less(constant(values[above.min(last)])?)
        }
        _ => {
            let width = values.len() * random.one(&WIDTHS) / 100;
            let first = place.saturating_sub(random.below(width + 1));
            let end = (first + width).min(last);
            Test::Between(constant(values[first])?, constant(values[end])?)
        }
    })
}

/// Index of a file, and index of a row group in that file.
type Group = (usize, usize);
/// Number of rows in a row group that match the first condition, the second, and both.
type Matches = [u64; 3];

/// Counts the rows that each candidate matches, and returns the best of those that match any.
pub(super) fn count(
    dataset: &Dataset,
    outputs: &[Output],
    columns: &[Column],
    candidates: Vec<[Condition; 2]>,
) -> anyhow::Result<Vec<Filter>> {
    let used: BTreeSet<&str> = candidates.iter().flatten().map(|each| &*each.column).collect();
    let wanted: Vec<usize> =
        (0..columns.len()).filter(|index| used.contains(&*columns[*index].name)).collect();
    let places: HashMap<&str, usize> =
        wanted.iter().enumerate().map(|(place, index)| (&*columns[*index].name, place)).collect();
    let mut counts: Vec<Vec<(Group, Matches)>> = vec![Vec::new(); candidates.len()];
    // The number of rows that each candidate matches if times are rounded to milliseconds.
    let mut rounded = vec![0; candidates.len()];
    scan(dataset, outputs, columns, &wanted, |Batch { group, rows, values }| {
        let exact: Vec<_> = values.iter().map(Option::as_ref).collect();
        let coarse: Vec<_> = exact.iter().map(|values| values.and_then(Values::rounded)).collect();
        for (index, filter) in candidates.iter().enumerate() {
            let places = filter.each_ref().map(|condition| places[&*condition.column]);
            let matches = |values: [Option<&Values>; 2]| -> Result<Matches, ArrowError> {
                let one = filter[0].test.apply(values[0], rows)?;
                let other = filter[1].test.apply(values[1], rows)?;
                let both = and_kleene(&one, &other)?;
                Ok([&one, &other, &both].map(|array| array.true_count() as u64))
            };
            let found = matches(places.map(|place| exact[place]))?;
            rounded[index] += if places.iter().any(|place| coarse[*place].is_some()) {
                matches(places.map(|place| coarse[place].as_ref().or(exact[place])))?[2]
            } else {
                found[2]
            };
            match counts[index].last_mut() {
                Some((of, sum)) if *of == group => {
                    sum.iter_mut().zip(found).for_each(|(sum, found)| *sum += found);
                }
                _ => counts[index].push((group, found)),
            }
        }
        Ok(())
    })?;
    let mut found: Vec<(bool, Filter)> = Vec::new();
    for ((conditions, groups), rounded) in candidates.into_iter().zip(counts).zip(rounded) {
        let rows = groups.iter().map(|(_, matches)| matches[2]).sum();
        // If rounding times changes the count, correct engines may disagree, so the filter is useless.
        if rows > 0 && rows == rounded {
            found.push((is_promising(&groups), Filter { conditions, rows }));
        }
    }
    found.sort_by_key(|(promising, _)| !promising);
    Ok(found.into_iter().map(|(_, filter)| filter).take(FILTERS).collect())
}

/// Returns whether both conditions match rows in one row group, but never the same row, and match the same row in a
/// later row group of the same file.
fn is_promising(groups: &[(Group, Matches)]) -> bool {
    groups.iter().enumerate().any(|(index, (group, [one, other, both]))| {
        let misses = *one > 0 && *other > 0 && *both == 0;
        let mut later = groups[index + 1..].iter().filter(|(each, _)| each.0 == group.0);
        misses && later.any(|(_, matches)| matches[2] > 0)
    })
}

impl Values {
    /// Returns a time rounded half up to milliseconds, as some engines round it. Returns `None` for other values.
    fn rounded(&self) -> Option<Self> {
        let round = |micros: i64| (micros + MILLISECOND / 2).div_euclid(MILLISECOND) * MILLISECOND;
        match self {
            Self::Times(array) => Some(Self::Times(array.unary(round))),
            _ => None,
        }
    }
}

impl Test {
    /// Returns which rows pass the test. `values` is `None` if the file lacks the column, which engines then read as
    /// NULL.
    fn apply(&self, values: Option<&Values>, rows: usize) -> Result<BooleanArray, ArrowError> {
        let Some(values) = values else {
            let result = if matches!(self, Self::Null) { Some(true) } else { None };
            return Ok(std::iter::repeat_n(result, rows).collect());
        };
        let any = |some: &[Value]| -> Result<BooleanArray, ArrowError> {
            let mut all = values.compare(&some[0], Operator::Equal)?;
            for value in &some[1..] {
                all = or_kleene(&all, &values.compare(value, Operator::Equal)?)?;
            }
            Ok(all)
        };
        match self {
            Self::Equal(value) => values.compare(value, Operator::Equal),
            Self::Less(value) => values.compare(value, Operator::Less),
            Self::Between(first, last) => and_kleene(
                &values.compare(first, Operator::AtLeast)?,
                &values.compare(last, Operator::AtMost)?,
            ),
            Self::In(some) => any(some),
            Self::Null => is_null(values.array()),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Operator {
    Equal,
    Less,
    AtLeast,
    AtMost,
}

impl Values {
    fn array(&self) -> &dyn Array {
        match self {
            Self::Integers(array) | Self::Times(array) => array,
            Self::Doubles(array) => array,
            Self::Texts(array) => array,
        }
    }

    fn compare(&self, value: &Value, operator: Operator) -> Result<BooleanArray, ArrowError> {
        use arrow::array::{Datum, Float64Array};

        let compare = |left: &dyn Datum, right: &dyn Datum| match operator {
            Operator::Equal => eq(left, right),
            Operator::Less => lt(left, right),
            Operator::AtLeast => gt_eq(left, right),
            Operator::AtMost => lt_eq(left, right),
        };
        match (self, value) {
            (Self::Integers(array), Value::Integer(value))
            | (Self::Times(array), Value::Time(value)) => {
                compare(array, &Int64Array::new_scalar(*value))
            }
            (Self::Doubles(array), Value::Double(value)) => {
                compare(array, &Float64Array::new_scalar(*value))
            }
            (Self::Texts(array), Value::Text(value)) => {
                compare(array, &StringArray::new_scalar(value))
            }
            _ => Err(ArrowError::InvalidArgumentError("a value of another type".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Float64Array;
    use proptest::prelude::*;

    use super::*;

    /// Evaluates a test as SQL does, with `None` for NULL.
    fn passes(test: &Test, value: Option<&Value>) -> Option<bool> {
        match (test, value) {
            (Test::Null, value) => Some(value.is_none()),
            (_, None) => None,
            (Test::Equal(wanted), Some(value)) => Some(value == wanted),
            (Test::Less(end), Some(value)) => Some(value < end),
            (Test::Between(first, last), Some(value)) => Some(first <= value && value <= last),
            (Test::In(some), Some(value)) => Some(some.contains(value)),
        }
    }

    fn test_of(value: impl Strategy<Value = Value> + Clone) -> impl Strategy<Value = Test> {
        prop_oneof![
            value.clone().prop_map(Test::Equal),
            value.clone().prop_map(Test::Less),
            (value.clone(), value.clone()).prop_map(|(first, last)| Test::Between(first, last)),
            prop::collection::vec(value, 1..4).prop_map(Test::In),
            Just(Test::Null),
        ]
    }

    fn agrees(test: &Test, array: &Values, rows: &[Option<Value>]) {
        let found: Vec<_> = test.apply(Some(array), rows.len()).unwrap().iter().collect();
        let expected: Vec<_> = rows.iter().map(|value| passes(test, value.as_ref())).collect();
        assert_eq!(found, expected, "{test:?} of {rows:?}");
    }

    proptest! {
        #[test]
        fn a_test_passes_the_same_rows_as_in_sql(
            numbers in prop::collection::vec(prop::option::of(-3_i64..3), 0..20),
            texts in prop::collection::vec(prop::option::of("[ab\0é日]{0,2}"), 0..20),
            number in test_of((-3_i64..3).prop_map(Value::Integer)),
            text in test_of("[ab\0é日]{0,2}".prop_map(Value::Text)),
        ) {
            let rows: Vec<_> = numbers.iter().map(|each| each.map(Value::Integer)).collect();
            agrees(&number, &Values::Integers(numbers.into()), &rows);
            let rows: Vec<_> = texts.iter().map(|each| each.clone().map(Value::Text)).collect();
            agrees(&text, &Values::Texts(texts.into()), &rows);
        }
    }

    #[test]
    fn a_column_that_a_file_lacks_is_null() {
        let equal = Test::Equal(Value::Integer(1));
        assert_eq!(equal.apply(None, 3).unwrap().null_count(), 3);
        assert_eq!(Test::Null.apply(None, 3).unwrap().true_count(), 3);
    }

    #[test]
    fn times_are_rounded_half_up() {
        let times = Values::Times(vec![Some(1_499), Some(1_500), Some(-500), None].into());
        let Some(Values::Times(rounded)) = times.rounded() else { unreachable!() };
        assert_eq!(rounded, Int64Array::from(vec![Some(1_000), Some(2_000), Some(0), None]));
        assert!(Values::Doubles(Float64Array::from(vec![1.5])).rounded().is_none());
    }

    #[test]
    fn filters_whose_pages_do_not_overlap_are_preferred() {
        let group = |group, matches| ((0, group), matches);
        assert!(is_promising(&[group(0, [5, 7, 0]), group(1, [2, 2, 2])]));
        assert!(!is_promising(&[group(0, [2, 2, 2]), group(1, [5, 7, 0])]), "nothing is lost");
        assert!(!is_promising(&[group(0, [5, 0, 0]), group(1, [2, 2, 2])]), "statistics suffice");
        assert!(!is_promising(&[((0, 0), [5, 7, 0]), ((1, 0), [2, 2, 2])]), "another file");
    }
}
