//! Encodes random columns in both profiles. Checks that the statistics match the values, that the pages use only the
//! features of the profile, and that both profiles contain the same values.

use std::cell::RefCell;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, DictionaryArray, Float64Array, Int32Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::Int32Type;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{BoundaryOrder, ColumnOrder, Encoding};
use parquet::column::page::Page;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::serialized_reader::ReadOptionsBuilder;
use parquet::file::statistics::Statistics;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

use super::*;
use crate::encode::format::Content;
use crate::encode::profile::Profile;
use crate::logs::schema::{EXTRA_FIELDS, SOURCE_KEY};

/// Minimum number of files to check. `PROPTEST_CASES` can increase it.
const CASES: u32 = 3000;
/// Maximum length in bytes of text that statistics must not truncate.
const KEPT: usize = 64;

/// A table with columns of every type. Every type except timestamps appears both with and without a dictionary.
const TABLE: &str = r#"
log_type = "access"
table = "t"
description = ""
reference = ""
load_balancer = "application"
object_prefixes = [""]
required_fields = 1
[[field]]
name = "f"
era = "2026"
columns = [
    { name = "word", type = "string", stored = "dictionary", description = "" },
    { name = "text", type = "string", stored = "plain", description = "" },
    { name = "status", type = "int32", stored = "dictionary", description = "" },
    { name = "port", type = "int32", stored = "plain", description = "" },
    { name = "size", type = "int64", stored = "dictionary", description = "" },
    { name = "number", type = "int64", stored = "plain", description = "" },
    { name = "seconds", type = "double", stored = "dictionary", description = "" },
    { name = "ratio", type = "double", stored = "plain", description = "" },
    { name = "time", type = "timestamp", stored = "plain", description = "" },
]
"#;

/// The values of a column.
#[derive(Debug, Clone)]
enum Values {
    Text(Vec<Option<String>>),
    Int32(Vec<Option<i32>>),
    Int64(Vec<Option<i64>>),
    Double(Vec<Option<f64>>),
}

/// A value that compares like the values of its column.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Bytes(Vec<u8>),
    Int(i64),
}

fn bytes(value: &[u8]) -> Value {
    Value::Bytes(value.to_vec())
}

/// Converts a double to an integer with the same order: -0.0 is less than +0.0.
fn double(value: f64) -> Value {
    let bits = value.to_bits().cast_signed();
    Value::Int(bits ^ ((bits >> 63).cast_unsigned() >> 1).cast_signed())
}

impl Values {
    fn array(&self, rows: std::ops::Range<usize>, data_type: &DataType) -> ArrayRef {
        match (self, data_type) {
            (Self::Text(all), DataType::Utf8) => {
                Arc::new(all[rows].iter().cloned().collect::<StringArray>())
            }
            (Self::Text(all), _) => {
                let texts = all[rows].iter().map(Option::as_deref);
                Arc::new(texts.collect::<DictionaryArray<Int32Type>>())
            }
            (Self::Int32(all), _) => Arc::new(Int32Array::from(all[rows].to_vec())),
            (Self::Int64(all), DataType::Int64) => Arc::new(Int64Array::from(all[rows].to_vec())),
            (Self::Int64(all), _) => {
                let times = TimestampMicrosecondArray::from(all[rows].to_vec());
                Arc::new(times.with_timezone("UTC"))
            }
            (Self::Double(all), _) => Arc::new(Float64Array::from(all[rows].to_vec())),
        }
    }

    fn get(&self, row: usize) -> Option<Value> {
        match self {
            Self::Text(all) => all[row].as_ref().map(|text| bytes(text.as_bytes())),
            Self::Int32(all) => all[row].map(|value| Value::Int(value.into())),
            Self::Int64(all) => all[row].map(Value::Int),
            Self::Double(all) => all[row].map(double),
        }
    }
}

/// Generates text whose length is near the limit at which bounds are truncated. Uses the first and last characters of
/// each UTF-8 length.
fn text() -> impl Strategy<Value = String> {
    let edge = || {
        select(vec![
            'a',
            'b',
            '~',
            '\u{7f}',
            '\u{80}',
            'é',
            '\u{7ff}',
            '\u{800}',
            '\u{d7ff}',
            '\u{e000}',
            '\u{ffff}',
            '\u{10000}',
            '\u{10fffe}',
            '\u{10ffff}',
        ])
    };
    let prefix = (edge(), prop_oneof![Just(0), 0_usize..20, 50_usize..=KEPT])
        .prop_map(|(c, bytes)| c.to_string().repeat(bytes / c.len_utf8()));
    (prefix, vec(edge(), 0..8)).prop_map(|(prefix, rest)| prefix + &String::from_iter(rest))
}

fn doubles() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => select(vec![0.0, -0.0]),
        2 => select(vec![1.5, -1.0, f64::MIN_POSITIVE, f64::MAX, f64::MIN, 5e-324]),
        1 => any::<i32>().prop_map(|value| f64::from(value) / 1000.0),
    ]
}

/// Generates a column with `rows` rows and few or many distinct values. NULLs occur in no rows, random rows, a range of
/// rows or all rows.
fn column<T: Clone + std::fmt::Debug + 'static>(
    rows: usize,
    value: impl Fn() -> BoxedStrategy<T>,
) -> impl Strategy<Value = Vec<Option<T>>> {
    let few = (vec(value(), 1..4), vec(any::<Index>(), rows)).prop_map(|(values, picks)| {
        picks.iter().map(|pick| pick.get(&values).clone()).collect::<Vec<_>>()
    });
    let nulls = prop_oneof![
        3 => Just(vec![false; rows]),
        3 => vec(any::<bool>(), rows),
        3 => (0..=rows, 0..=rows)
            .prop_map(move |(a, b)| (0..rows).map(|row| (a.min(b)..a.max(b)).contains(&row)).collect()),
        1 => Just(vec![true; rows]),
    ];
    (prop_oneof![few, vec(value(), rows)], nulls).prop_map(|(values, nulls)| {
        values.into_iter().zip(nulls).map(|(value, null)| (!null).then_some(value)).collect()
    })
}

#[derive(Debug)]
struct Case {
    limits: SizeLimits,
    /// Number of rows in each record batch.
    batches: Vec<usize>,
    columns: Vec<Values>,
}

fn case() -> impl Strategy<Value = Case> {
    let limits = (1_usize..30, 1_usize..10, 1_usize..300, 1_usize..20).prop_map(
        |(row_group_rows, page_rows, page_bytes, trial)| SizeLimits {
            row_group_rows,
            page_rows,
            page_bytes,
            trial,
        },
    );
    (limits, vec(1_usize..12, 1..6)).prop_flat_map(|(limits, batches)| {
        let rows: usize = batches.iter().sum();
        let texts = || column(rows, || text().boxed()).prop_map(Values::Text);
        let int32 = || column(rows, || any::<i32>().boxed()).prop_map(Values::Int32);
        let int64 = || column(rows, || any::<i64>().boxed()).prop_map(Values::Int64);
        let double = || column(rows, || doubles().boxed()).prop_map(Values::Double);
        // In the same order as in the table.
        let columns = (
            [texts().boxed(), texts().boxed(), int32().boxed(), int32().boxed()],
            [int64().boxed(), int64().boxed(), double().boxed(), double().boxed()],
            [int64().boxed(), texts().boxed(), texts().boxed()],
        );
        columns.prop_map(move |(first, second, third)| {
            let columns = first.into_iter().chain(second).chain(third).collect();
            Case { limits, batches: batches.clone(), columns }
        })
    })
}

fn encode(case: &Case, format: Format) -> Bytes {
    let table = Table::parse(TABLE).unwrap();
    let mut encoder = TableEncoder::with_limits(&table, format, Vec::new(), case.limits).unwrap();
    let schema = table.batch_schema();
    let mut first = 0;
    for rows in &case.batches {
        let columns = case.columns.iter().zip(schema.fields());
        let arrays = columns
            .map(|(values, field)| values.array(first..first + rows, field.data_type()))
            .collect();
        encoder.write(&RecordBatch::try_new(schema.clone(), arrays).unwrap()).unwrap();
        first += rows;
    }
    encoder.finish(&[]).unwrap().into()
}

fn metadata(file: Bytes) -> ParquetMetaData {
    let options =
        ReadOptionsBuilder::new().with_page_index().with_encoding_stats_as_mask(false).build();
    SerializedFileReader::new_with_options(file, options).unwrap().metadata().clone()
}

/// Counts of the checked cases.
#[derive(Debug, Default)]
struct Seen {
    row_groups: usize,
    chunks: usize,
    chunks_without_values: usize,
    chunks_without_bounds: usize,
    pages: usize,
    pages_without_values: usize,
    exact: usize,
    truncated: usize,
    short_and_truncated: usize,
    positive_zeros: usize,
    negative_zeros: usize,
    plain_pages: usize,
    indices_pages: usize,
}

/// A bound, and whether it is marked exact.
type Marked = (Value, bool);

fn bounds_of_chunk(statistics: &Statistics) -> (Option<Marked>, Option<Marked>) {
    macro_rules! bounds {
        ($s:expr, $value:expr) => {{
            let min = $s.min_opt().map(|min| ($value(min), $s.min_is_exact()));
            (min, $s.max_opt().map(|max| ($value(max), $s.max_is_exact())))
        }};
    }
    match statistics {
        Statistics::Int32(s) => bounds!(s, |v: &i32| Value::Int((*v).into())),
        Statistics::Int64(s) => bounds!(s, |v: &i64| Value::Int(*v)),
        Statistics::Double(s) => bounds!(s, |v: &f64| double(*v)),
        Statistics::ByteArray(s) => {
            bounds!(s, |v: &parquet::data_type::ByteArray| bytes(v.data()))
        }
        other => panic!("{other}"),
    }
}

fn bounds_of_page(index: &ColumnIndexMetaData, page: usize) -> (Option<Value>, Option<Value>) {
    macro_rules! bounds {
        ($i:expr, $value:expr) => {
            ($i.min_value(page).map($value), $i.max_value(page).map($value))
        };
    }
    match index {
        ColumnIndexMetaData::INT32(i) => bounds!(i, |v: &i32| Value::Int((*v).into())),
        ColumnIndexMetaData::INT64(i) => bounds!(i, |v: &i64| Value::Int(*v)),
        ColumnIndexMetaData::DOUBLE(i) => bounds!(i, |v: &f64| double(*v)),
        ColumnIndexMetaData::BYTE_ARRAY(i) => bounds!(i, bytes),
        _ => panic!("no column has this type"),
    }
}

/// Checks that a bound encloses the actual extreme, and that a truncated bound is UTF-8 within the length limit.
fn check_bound(bound: &Value, extreme: &Value, order: std::cmp::Ordering, seen: &mut Seen) {
    let distance = bound.cmp(extreme);
    assert!(distance.is_eq() || distance == order, "{bound:?} does not bound {extreme:?}");
    if let Value::Bytes(bound) = bound
        && distance.is_ne()
    {
        assert!(str::from_utf8(bound).is_ok() && bound.len() <= KEPT, "{bound:?}");
        seen.truncated += 1;
        seen.short_and_truncated += usize::from(bound.len() < KEPT);
    }
}

fn check_chunk(
    chunk: &ColumnChunkMetaData,
    values: &[Option<Value>],
    format: Format,
    seen: &mut Seen,
) {
    let name = chunk.column_path().string();
    let statistics = chunk.statistics().expect("every chunk has statistics");
    let nulls = values.iter().filter(|value| value.is_none()).count();
    assert_eq!(statistics.null_count_opt(), Some(nulls as u64), "{name}");
    assert_eq!(statistics.distinct_count_opt(), None, "{name}");
    let is_double = matches!(statistics, Statistics::Double(_));
    assert_eq!(statistics.nan_count_opt(), is_double.then_some(0), "{name}");
    let present = || values.iter().flatten();
    seen.chunks += 1;
    match (bounds_of_chunk(statistics), present().min().zip(present().max())) {
        ((None, None), None) => seen.chunks_without_values += 1,
        ((None, None), Some(_)) => {
            // Only a text column whose dictionary was abandoned may lack bounds.
            assert!(["word", EXTRA_FIELDS, SOURCE_KEY].contains(&&*name), "{name}");
            let encoding = format.storage(Content::Text).encoding;
            assert!(chunk.encodings().any(|found| found == encoding));
            seen.chunks_without_bounds += 1;
        }
        ((Some((min, min_exact)), Some((max, max_exact))), Some((least, greatest))) => {
            check_bound(&min, least, std::cmp::Ordering::Less, seen);
            check_bound(&max, greatest, std::cmp::Ordering::Greater, seen);
            assert_eq!(min_exact, min == *least, "{name}: {min:?} of {least:?}");
            assert_eq!(max_exact, max == *greatest, "{name}: {max:?} of {greatest:?}");
            seen.exact += usize::from(min_exact) + usize::from(max_exact);
            seen.positive_zeros += usize::from(is_double && min == double(0.0));
            seen.negative_zeros += usize::from(is_double && max == double(-0.0));
        }
        (bounds, extremes) => panic!("{name}: {bounds:?} of {extremes:?}"),
    }
}

fn check_pages(
    file: &ParquetMetaData,
    group: usize,
    at: usize,
    values: &[Option<Value>],
    seen: &mut Seen,
) {
    let chunk = file.row_group(group).column(at);
    let name = chunk.column_path().string();
    let index = file.page_index_for_row_group(group);
    let pages = index.page_locations(at).expect("every chunk has an offset index");
    let Some(bounds) = index.column_index(at) else {
        let no_bounds = bounds_of_chunk(chunk.statistics().unwrap()) == (None, None);
        assert!(no_bounds && values.iter().any(Option::is_some), "{name} has no column index");
        return;
    };
    assert_eq!(bounds.num_pages(), pages.len() as u64, "{name}");
    assert_eq!(bounds.get_boundary_order(), Some(BoundaryOrder::UNORDERED), "{name}");
    let ends = pages.iter().skip(1).map(|page| page.first_row_index as usize);
    for (page, end) in ends.chain([values.len()]).enumerate() {
        let values = &values[pages[page].first_row_index as usize..end];
        let nulls = values.iter().filter(|value| value.is_none()).count();
        assert_eq!(bounds.null_count(page), Some(nulls as i64), "{name}");
        assert_eq!(bounds.is_null_page(page), nulls == values.len(), "{name}");
        let is_double = matches!(bounds, ColumnIndexMetaData::DOUBLE(_));
        assert_eq!(bounds.nan_count(page), is_double.then_some(0), "{name}");
        let present = || values.iter().flatten();
        seen.pages += 1;
        match (bounds_of_page(bounds, page), present().min().zip(present().max())) {
            (_, None) => seen.pages_without_values += 1,
            ((Some(min), Some(max)), Some((least, greatest))) => {
                check_bound(&min, least, std::cmp::Ordering::Less, seen);
                check_bound(&max, greatest, std::cmp::Ordering::Greater, seen);
                for (bound, extreme) in [(min, least), (max, greatest)] {
                    let short = !matches!(extreme, Value::Bytes(bytes) if bytes.len() > KEPT);
                    assert!(!short || bound == *extreme, "{name}: {bound:?} of {extreme:?}");
                }
            }
            (bounds, extremes) => panic!("{name}: {bounds:?} of {extremes:?}"),
        }
    }
}

/// Checks that a file uses only features that every reader supports.
fn check_portable(file: &Bytes, seen: &mut Seen) {
    let allowed = [Encoding::PLAIN, Encoding::RLE, Encoding::RLE_DICTIONARY];
    let metadata = metadata(file.clone());
    assert!(metadata.page_index().is_none());
    let reader = SerializedFileReader::new(file.clone()).unwrap();
    for (number, group) in metadata.row_groups().iter().enumerate() {
        let pages = reader.get_row_group(number).unwrap();
        for (at, chunk) in group.columns().iter().enumerate() {
            let name = chunk.column_path().string();
            assert_eq!((chunk.offset_index_offset(), chunk.offset_index_length()), (None, None));
            assert_eq!((chunk.column_index_offset(), chunk.column_index_length()), (None, None));
            let named: Vec<Encoding> = chunk.encodings().collect();
            assert!(named.iter().all(|encoding| allowed.contains(encoding)), "{name}: {named:?}");
            for page in pages.get_column_page_reader(at).unwrap() {
                let page = page.unwrap();
                let encoding = page.encoding();
                assert!(named.contains(&encoding), "{name}: {encoding} is not in {named:?}");
                match page {
                    Page::DataPage { def_level_encoding, .. } => {
                        assert_eq!(def_level_encoding, Encoding::RLE);
                        seen.plain_pages += usize::from(encoding == Encoding::PLAIN);
                        seen.indices_pages += usize::from(encoding == Encoding::RLE_DICTIONARY);
                    }
                    Page::DictionaryPage { .. } => assert_eq!(encoding, Encoding::PLAIN, "{name}"),
                    Page::DataPageV2 { .. } => panic!("{name} has a page of version 2"),
                }
            }
        }
    }
}

/// Reads a file with the `parquet` crate.
fn read(file: Bytes) -> Vec<RecordBatch> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    builder.with_batch_size(1 << 10).build().unwrap().map(Result::unwrap).collect()
}

fn check(case: &Case, format: Format, seen: &mut Seen) {
    let file = encode(case, format);
    if format.profile == Profile::Portable {
        check_portable(&file, seen);
        let compact = Format { profile: Profile::Compact, ..format };
        assert_eq!(read(file.clone()), read(encode(case, compact)));
    }
    let file = metadata(file);
    for column in 0..case.columns.len() {
        let order = file.file_metadata().column_order(column);
        assert!(matches!(order, ColumnOrder::TYPE_DEFINED_ORDER(_)), "{order}");
    }
    let mut first = 0;
    for (number, group) in file.row_groups().iter().enumerate() {
        let end = first + group.num_rows() as usize;
        for (at, values) in case.columns.iter().enumerate() {
            let values: Vec<_> = (first..end).map(|row| values.get(row)).collect();
            check_chunk(group.column(at), &values, format, seen);
            if format.has_page_index() {
                check_pages(&file, number, at, &values, seen);
            }
        }
        seen.row_groups += 1;
        first = end;
    }
    assert_eq!(first, case.batches.iter().sum::<usize>());
}

/// A bound is marked exact if and only if some row contains it. Other bounds enclose all values.
#[test]
fn statistics_are_exact_if_and_only_if_they_are_marked_so() {
    let seen = check_random_files(Profile::Compact, Compression::None);
    assert!(seen.pages > seen.chunks && seen.pages_without_values > 100, "{seen:?}");
}

#[test]
fn portable_files_have_simple_pages_exact_statistics_and_the_values_of_compact_files() {
    let seen = check_random_files(Profile::Portable, Compression::Zstd);
    assert!(seen.plain_pages > seen.chunks && seen.indices_pages > seen.chunks, "{seen:?}");
}

/// Checks random files of a profile, and asserts that rare cases occur.
fn check_random_files(profile: Profile, compression: Compression) -> Seen {
    let format = Format { profile, compression };
    let cases = ProptestConfig::default().cases.max(CASES);
    let config = ProptestConfig { cases, failure_persistence: None, ..Default::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::XorShift);
    let seen = RefCell::new(Seen::default());
    TestRunner::new_with_rng(config, rng)
        .run(&case(), |case| {
            check(&case, format, &mut seen.borrow_mut());
            Ok(())
        })
        .unwrap();
    let seen = seen.into_inner();
    let Seen { row_groups, chunks, exact, .. } = seen;
    assert!(row_groups > CASES as usize && chunks > 10 * row_groups, "{seen:?}");
    assert!(exact > chunks, "{seen:?}");
    let rare = [
        seen.chunks_without_values,
        seen.chunks_without_bounds,
        seen.truncated,
        seen.short_and_truncated,
        seen.positive_zeros,
        seen.negative_zeros,
    ];
    assert!(rare.iter().all(|&count| count > 100), "{seen:?}");
    seen
}
