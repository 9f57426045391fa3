//! Contents of the Parquet files: pages, encodings, statistics, indexes, paths.

use std::fs::File;
use std::path::Path;
use std::sync::LazyLock;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{ColumnOrder, Compression, Encoding, PageType, Type as PhysicalType};
use parquet::column::page::Page;
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::serialized_reader::ReadOptionsBuilder;
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnDescPtr;

use crate::support::{
    FIELDS, Line, PARTITION, REJECTS, ROWS, World, files, good_lines, gzip, key, key_of, only_file,
    read_file, text_of, tree,
};

/// Number of rows in the file that most tests read. The rows do not fit in one page.
const COUNT: usize = 25_000;

/// A world whose only file uses the `compact` profile. The file has every kind of column: constant, repetitive or
/// unique values, all or some values NULL, NULL from a certain row on, long values, and few distinct values at first,
/// then many.
static WORLD: LazyLock<World> = LazyLock::new(|| {
    let world = World::with(gzip(lines_of_every_kind()));
    world.convert_with(&["--profile", "compact"]).expect(0);
    world
});

/// The same rows in the default profile.
static PORTABLE: LazyLock<World> = LazyLock::new(|| {
    let world = World::with(gzip(lines_of_every_kind()));
    world.convert().expect(0);
    world
});

fn lines_of_every_kind() -> Vec<u8> {
    let lines = (0..COUNT).map(|row| {
        let mut line = Line::of(34)
            .with(2, &format!("2025-07-19T{:02}:{:02}:{:02}.{row:06}Z", row / 3600, row / 60 % 60, row % 60))
            .with(4, &format!("192.0.2.{}:{}", row % 200, 1024 + row))
            .with(6, &format!("{}.{:03}", row % 7, row % 1000))
            .with(8, ["0.000", "-0.000", "-1"][row % 3])
            .with(12, &(row * row).to_string())
            .with(13, &format!("\"GET https://example.com:443/{row:x} HTTP/1.1\""))
            .with(18, &format!("\"Root=1-{row:024x}\""))
            .with(24, &format!("\"https://example.com:443/{}{}\"", "long/".repeat(20), row % 10))
            .with(31, &format!("\"host{}.example.com\"", if row < 5000 { row % 5 } else { row }))
            .with(19, "\"\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}\"");
        if row % 3 == 0 {
            line = line.with(5, "-").with(10, "-");
        }
        if row >= 20_000 {
            line = line.with(21, "-").with(28, "\"-\"");
        }
        if row < 22_000 {
            line = line.with(25, "\"-\"");
        }
        line.text()
    });
    text_of(lines)
}

fn open(path: &Path) -> SerializedFileReader<File> {
    let options =
        ReadOptionsBuilder::new().with_page_index().with_encoding_stats_as_mask(false).build();
    SerializedFileReader::new_with_options(File::open(path).unwrap(), options).unwrap()
}

fn batches(path: &Path) -> Vec<RecordBatch> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    builder.with_batch_size(1 << 20).build().unwrap().map(Result::unwrap).collect()
}

/// A value with the sort order that statistics use.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
enum Value {
    Bytes(Vec<u8>),
    Int(i64),
    Double(f64),
}

fn values(array: &dyn Array) -> Vec<Option<Value>> {
    let int = |value: Option<i64>| value.map(Value::Int);
    match array.data_type() {
        DataType::Utf8 => {
            let values = array.as_string::<i32>().iter();
            values.map(|value| value.map(|text| Value::Bytes(text.as_bytes().to_vec()))).collect()
        }
        DataType::Int32 => {
            let values = array.as_primitive::<Int32Type>().iter();
            values.map(|value| int(value.map(i64::from))).collect()
        }
        DataType::Int64 => array.as_primitive::<Int64Type>().iter().map(int).collect(),
        DataType::Timestamp(..) => {
            array.as_primitive::<TimestampMicrosecondType>().iter().map(int).collect()
        }
        DataType::Float64 => array
            .as_primitive::<Float64Type>()
            .iter()
            .map(|value| value.map(Value::Double))
            .collect(),
        other => panic!("unexpected column type {other}"),
    }
}

/// Returns a chunk's minimum and maximum, each with a flag for whether it is exact, and the number of NULLs.
fn chunk_bounds(statistics: &Statistics) -> (Option<[(Value, bool); 2]>, u64) {
    macro_rules! bounds {
        ($statistics:expr, $value:expr) => {{
            let min =
                $statistics.min_opt().map(|min| ($value(min.clone()), $statistics.min_is_exact()));
            let max =
                $statistics.max_opt().map(|max| ($value(max.clone()), $statistics.max_is_exact()));
            assert_eq!(min.is_some(), max.is_some());
            min.zip(max).map(|(min, max)| [min, max])
        }};
    }
    let bounds = match statistics {
        Statistics::Int32(s) => bounds!(s, |v: i32| Value::Int(v.into())),
        Statistics::Int64(s) => bounds!(s, Value::Int),
        Statistics::Double(s) => bounds!(s, Value::Double),
        Statistics::ByteArray(s) => {
            bounds!(s, |v: parquet::data_type::ByteArray| Value::Bytes(v.data().to_vec()))
        }
        other => panic!("{other}"),
    };
    (bounds, statistics.null_count_opt().expect("the null count exists"))
}

/// Columns whose dictionaries overflow. Their statistics would not help readers skip any data.
const UNORDERED: [&str; 2] = ["request_url", "transformed_host"];

fn page_bounds(index: &ColumnIndexMetaData, page: usize) -> Option<[Value; 2]> {
    let pair = |min: Option<Value>, max: Option<Value>| Some([min?, max?]);
    match index {
        ColumnIndexMetaData::INT32(i) => pair(
            i.min_value(page).map(|v| Value::Int((*v).into())),
            i.max_value(page).map(|v| Value::Int((*v).into())),
        ),
        ColumnIndexMetaData::INT64(i) => pair(
            i.min_value(page).map(|v| Value::Int(*v)),
            i.max_value(page).map(|v| Value::Int(*v)),
        ),
        ColumnIndexMetaData::DOUBLE(i) => pair(
            i.min_value(page).map(|v| Value::Double(*v)),
            i.max_value(page).map(|v| Value::Double(*v)),
        ),
        ColumnIndexMetaData::BYTE_ARRAY(i) => pair(
            i.min_value(page).map(|v| Value::Bytes(v.to_vec())),
            i.max_value(page).map(|v| Value::Bytes(v.to_vec())),
        ),
        _ => panic!("no column has such a type"),
    }
}

fn extremes(values: &[Option<Value>]) -> Option<[Value; 2]> {
    let mut present = values.iter().flatten();
    let first = present.next()?;
    let mut bounds = [first.clone(), first.clone()];
    for value in present {
        if *value < bounds[0] {
            bounds[0] = value.clone();
        }
        if *value > bounds[1] {
            bounds[1] = value.clone();
        }
    }
    Some(bounds)
}

/// Encodings that files in the `portable` profile use.
const SIMPLE: [Encoding; 3] = [Encoding::PLAIN, Encoding::RLE, Encoding::RLE_DICTIONARY];

#[test]
fn pages_have_version_1_and_the_encodings_of_their_profile() {
    check_pages(
        &WORLD,
        &[&SIMPLE[..], &[Encoding::DELTA_BINARY_PACKED, Encoding::DELTA_BYTE_ARRAY]].concat(),
    );
    check_pages(&PORTABLE, &SIMPLE);
}

fn check_pages(world: &World, known: &[Encoding]) {
    let reader = open(&only_file(&world.out(), ROWS));
    let metadata = reader.metadata();
    assert_eq!(metadata.file_metadata().version(), 1, "version in the footer");
    assert_eq!(metadata.num_row_groups(), 1);
    let group = reader.get_row_group(0).unwrap();
    for (at, column) in metadata.row_group(0).columns().iter().enumerate() {
        let name = column.column_path().string();
        let mut encodings: Vec<Encoding> = column.encodings().collect();
        assert!(encodings.iter().all(|encoding| known.contains(encoding)), "{name}: {encodings:?}");
        let mut pages = group.get_column_page_reader(at).unwrap();
        let mut rows = 0;
        let mut dictionaries = 0;
        let mut data = 0;
        while let Some(page) = pages.get_next_page().unwrap() {
            assert!(
                encodings.contains(&page.encoding()),
                "{name}: the footer names {}",
                page.encoding()
            );
            match page {
                Page::DataPage { num_values, def_level_encoding, .. } => {
                    assert_eq!(def_level_encoding, Encoding::RLE, "{name}");
                    rows += num_values;
                    data += 1;
                }
                Page::DictionaryPage { encoding, num_values, .. } => {
                    assert_eq!(
                        (encoding, data),
                        (Encoding::PLAIN, 0),
                        "{name}: a dictionary comes first"
                    );
                    assert!(
                        num_values > 0
                            || column.statistics().unwrap().null_count_opt() == Some(COUNT as u64),
                        "{name}"
                    );
                    dictionaries += 1;
                }
                Page::DataPageV2 { .. } => panic!("{name} has a page of version 2"),
            }
        }
        assert_eq!(rows as usize, COUNT, "{name}");
        assert!(
            data >= 2 && dictionaries <= 1,
            "{name}: {data} pages, {dictionaries} dictionaries"
        );
        assert_eq!(column.num_values(), COUNT as i64, "{name}");
        assert_eq!(column.dictionary_page_offset().is_some(), dictionaries == 1, "{name}");
        // The page counts in the footer match the pages.
        let stats = column.page_encoding_stats().expect("the footer has page counts");
        let counted = |page_type: PageType| -> i32 {
            stats.iter().filter(|s| s.page_type == page_type).map(|s| s.count).sum()
        };
        assert_eq!(
            (counted(PageType::DATA_PAGE), counted(PageType::DICTIONARY_PAGE)),
            (data, dictionaries),
            "{name}"
        );
        encodings.dedup();
    }
}

#[test]
fn encodings_follow_the_values() {
    let (text, integers) = (Encoding::DELTA_BYTE_ARRAY, Encoding::DELTA_BINARY_PACKED);
    check_encodings(&WORLD, text, integers);
    check_encodings(&PORTABLE, Encoding::PLAIN, Encoding::PLAIN);
}

fn check_encodings(world: &World, text: Encoding, integers: Encoding) {
    let reader = open(&only_file(&world.out(), ROWS));
    let pages = |name: &str| -> Vec<Encoding> {
        let group = reader.metadata().row_group(0);
        let at = group.columns().iter().position(|c| c.column_path().string() == name).unwrap();
        let pages = reader.get_row_group(0).unwrap().get_column_page_reader(at).unwrap();
        pages.map(Result::unwrap).filter(Page::is_data_page).map(|page| page.encoding()).collect()
    };
    for name in [
        "type",
        "elb",
        "client_ip",
        "request_verb",
        "elb_status_code",
        "redirect_url",
        "source_key",
    ] {
        assert!(
            pages(name).iter().all(|e| *e == Encoding::RLE_DICTIONARY),
            "{name} has repeated values"
        );
    }
    for (name, encoding) in [("trace_id", text), ("time", integers), ("client_port", integers)] {
        assert!(pages(name).iter().all(|e| *e == encoding), "{name} has unique values");
    }
    for (name, encoding) in
        [("request_url", text), ("transformed_host", text), ("sent_bytes", integers)]
    {
        assert_eq!(pages(name).last(), Some(&encoding), "{name}: the dictionary overflows");
    }
    let [first, .., last] = pages("transformed_host")[..] else { panic!() };
    assert_eq!([first, last], [Encoding::RLE_DICTIONARY, text], "few values, then many");
}

#[test]
fn values_are_read_back_as_they_were_logged() {
    for world in [&WORLD, &PORTABLE] {
        check_values(world);
    }
}

fn check_values(world: &World) {
    let rows = read_file(&only_file(&world.out(), ROWS));
    assert_eq!(rows.len(), COUNT);
    for (at, row) in
        rows.iter().enumerate().step_by(97).chain(rows.iter().enumerate().skip(19_990).take(20))
    {
        let host = if at < 5000 { at % 5 } else { at };
        let expected = [
            ("trace_id", Some(format!("Root=1-{at:024x}"))),
            ("request_url", Some(format!("https://example.com:443/{at:x}"))),
            ("transformed_host", Some(format!("host{host}.example.com"))),
            ("sent_bytes", Some((at * at).to_string())),
            ("client_port", Some((1024 + at).to_string())),
            ("target_ip", (at % 3 != 0).then(|| "198.51.100.9".to_owned())),
            ("target_status_code", (at % 3 != 0).then(|| "201".to_owned())),
            ("classification", (at < 20_000).then(|| "Acceptable".to_owned())),
            ("matched_rule_priority", (at < 20_000).then(|| "7".to_owned())),
            ("lambda_error_reason", (at >= 22_000).then(|| "LambdaUnhandled".to_owned())),
            ("response_processing_time", Some(["0.0", "-0.0", "-1.0"][at % 3].to_owned())),
            ("elb_error_code", None),
            ("source_key", Some(key(1))),
        ];
        for (column, value) in expected {
            assert_eq!(row[column], value, "{column} of row {at}");
        }
    }
}

#[test]
fn chunk_statistics_are_correct() {
    for world in [&WORLD, &PORTABLE] {
        check_statistics(world);
    }
}

fn check_statistics(world: &World) {
    let path = only_file(&world.out(), ROWS);
    let reader = open(&path);
    let [batch] = &batches(&path)[..] else { panic!("one batch") };
    let (mut all_null, mut cut) = (0, 0);
    for (column, array) in reader.metadata().row_group(0).columns().iter().zip(batch.columns()) {
        let name = column.column_path().string();
        let (bounds, nulls) =
            chunk_bounds(column.statistics().expect("every chunk has statistics"));
        let values = values(array);
        assert_eq!(nulls, values.iter().filter(|value| value.is_none()).count() as u64, "{name}");
        match (bounds, extremes(&values)) {
            (None, None) => all_null += 1,
            (None, Some(_)) if UNORDERED.contains(&&*name) => {}
            (Some([(min, min_exact), (max, max_exact)]), Some([least, greatest])) => {
                assert!(min <= least && max >= greatest, "{name}: {min:?} to {max:?}");
                assert!(!min_exact || min == least, "{name}: {min:?} is marked exact");
                assert!(!max_exact || max == greatest, "{name}: {max:?} is marked exact");
                let short =
                    |value: &Value| !matches!(value, Value::Bytes(bytes) if bytes.len() > 32);
                if short(&least) && short(&greatest) {
                    assert!(min == least && max == greatest, "{name}: {min:?} to {max:?}");
                } else {
                    cut += 1;
                }
            }
            (bounds, extremes) => panic!("{name}: {bounds:?} of {extremes:?}"),
        }
    }
    // elb_error_code, target_error_code and extra_fields are all NULL. Some of the long values are truncated.
    assert_eq!(all_null, 3);
    assert!(cut >= 2, "{cut} long texts");
}

/// Trino before 436 loses rows when it reads files with a page index.
#[test]
fn portable_files_of_rows_and_rejects_have_no_page_index() {
    let world = World::with(gzip([&*good_lines(20), b"bad\n"].concat()));
    for (profile, indexed) in [("portable", false), ("compact", true)] {
        let out = world.path(profile);
        let args = ["--profile", profile, "--max-rejects", "1"];
        crate::support::convert(&[&world.source()], &out, &args).expect(0);
        for table in [ROWS, REJECTS] {
            let reader = open(&only_file(&out, table));
            for chunk in reader.metadata().row_group(0).columns() {
                let name = chunk.column_path().string();
                assert_eq!(chunk.offset_index_offset().is_some(), indexed, "{table}: {name}");
                // Reject files never have a page index.
                let indexed = indexed && table == ROWS;
                assert_eq!(chunk.column_index_offset().is_some(), indexed, "{table}: {name}");
            }
        }
    }
}

#[test]
fn page_indexes_are_correct() {
    let path = only_file(&WORLD.out(), ROWS);
    let reader = open(&path);
    let metadata = reader.metadata();
    let index = metadata.page_index_for_row_group(0);
    let [batch] = &batches(&path)[..] else { panic!("one batch") };
    let mut null_pages = 0;
    for (at, array) in batch.columns().iter().enumerate() {
        let chunk = metadata.row_group(0).column(at);
        let name = chunk.column_path().string();
        let values = values(array);
        let pages = index.page_locations(at).expect("every chunk has an offset index");
        let bounds = index.column_index(at);
        assert_eq!(bounds.is_none(), UNORDERED.contains(&&*name), "{name}");
        assert_eq!(pages[0].first_row_index, 0, "{name}");
        let (start, length) = chunk.byte_range();
        let mut expected_offset = chunk.data_page_offset();
        for (number, page) in pages.iter().enumerate() {
            assert_eq!(page.offset, expected_offset, "{name}: pages are contiguous");
            expected_offset += i64::from(page.compressed_page_size);
            let first = page.first_row_index as usize;
            let end = pages.get(number + 1).map_or(COUNT, |next| next.first_row_index as usize);
            assert!(first < end && end - first <= 20_000, "{name}: rows {first} to {end}");
            let Some(bounds) = bounds else { continue };
            assert_eq!(bounds.num_pages(), pages.len() as u64, "{name}");
            let values = &values[first..end];
            let nulls = values.iter().filter(|value| value.is_none()).count();
            assert_eq!(
                bounds.null_count(number),
                Some(nulls as i64),
                "{name}: NULLs of page {number}"
            );
            assert_eq!(bounds.is_null_page(number), nulls == values.len(), "{name}: page {number}");
            match (page_bounds(bounds, number), extremes(values)) {
                (Some([min, max]), Some([least, greatest])) => {
                    assert!(
                        min <= least && max >= greatest,
                        "{name}: page {number}: {min:?} to {max:?}"
                    );
                }
                (_, None) => null_pages += 1,
                (None, Some(_)) => panic!("{name}: page {number} has no minimum and maximum"),
            }
        }
        assert_eq!(expected_offset as u64, start + length, "{name}: the last page ends the chunk");
    }
    // Three columns have no values, two have none after a certain page, and one has none in the first page.
    assert!(null_pages > 3 * 2, "{null_pages} pages without a value");
}

/// Engines compute `min()` and `max()` from the footer, so a zero in the footer must have the sign of an actual value.
#[test]
fn statistics_keep_the_signs_of_zeros() {
    let world = World::with(gzip(text_of([
        Line::of(29).with(6, "0.0").with(7, "-0").with(8, "0.000").text(),
        Line::of(29).with(6, "0").with(7, "-0.000").with(8, "-0.0").text(),
    ])));
    world.convert_with(&["--profile", "compact"]).expect(0);
    let reader = open(&only_file(&world.out(), ROWS));
    let index = reader.metadata().page_index_for_row_group(0);
    let mut signs = Vec::new();
    for (at, column) in reader.metadata().row_group(0).columns().iter().enumerate() {
        let Statistics::Double(statistics) = column.statistics().unwrap() else { continue };
        let bounds = [*statistics.min_opt().unwrap(), *statistics.max_opt().unwrap()];
        assert!(statistics.min_is_exact() && statistics.max_is_exact());
        assert_eq!(statistics.nan_count_opt(), Some(0));
        let page = page_bounds(index.column_index(at).unwrap(), 0).unwrap();
        let [Value::Double(min), Value::Double(max)] = page else { panic!("{page:?}") };
        assert_eq!([min, max].map(f64::to_bits), bounds.map(f64::to_bits));
        signs.push(bounds.map(f64::is_sign_negative));
        assert!(bounds.iter().all(|zero| *zero == 0.0), "{bounds:?}");
    }
    assert_eq!(signs, [[false, false], [true, true], [true, false]]);
}

/// Statistics are truncated at character boundaries, so they can be shorter than the limit and can differ from every
/// value.
#[test]
fn truncated_statistics_are_not_exact_in_any_column() {
    let world = World::new();
    // Between 61 and 63 bytes of the key fit, depending on the offset of its first three-byte character.
    for (number, start) in ["", "x", "xx"].into_iter().enumerate() {
        let line = Line::of(34).with(14, &format!("\"{start}{}\"", "\u{20ac}".repeat(22))).text();
        let prefix = format!("{start}{}", "\u{65e5}".repeat(30));
        world.put(&format!("{prefix}/{}", key(number)), gzip(text_of([line])));
    }
    world.convert().expect(0);
    let reader = open(&only_file(&world.out(), ROWS));
    let columns = reader.metadata().row_group(0).columns();
    for (name, least, greatest) in
        [("user_agent", "xx\u{20ac}", "\u{20ac}"), ("source_key", "xx\u{65e5}", "\u{65e5}")]
    {
        let column = columns.iter().find(|column| column.column_path().string() == name).unwrap();
        let (bounds, _) = chunk_bounds(column.statistics().unwrap());
        let Some([(Value::Bytes(min), min_exact), (Value::Bytes(max), max_exact)]) = bounds else {
            panic!("{name}: {bounds:?}")
        };
        assert!(!min_exact && !max_exact, "{name}");
        assert!(
            min.starts_with(least.as_bytes()) && max.starts_with(greatest.as_bytes()),
            "{name}"
        );
        assert!(min.len() < 64 && max.len() < 64, "{name}: {} and {} bytes", min.len(), max.len());
    }
}

/// Readers that do not support a column order either ignore the column's statistics or fail to read the file.
#[test]
fn every_column_has_the_order_that_all_readers_support() {
    let world = World::with(gzip([&*good_lines(2), b"bad\n"].concat()));
    let connection = key(1).replace("012345678901_elastic", "conn_log_012345678901_elastic");
    let line = "2025-07-19T00:00:00Z 192.0.2.1 40000 443 - - 0.004 - - - -";
    world.put(&connection, gzip(text_of([line.to_owned()])));
    world.convert_with(&["--max-rejects", "1"]).expect(0);
    for (table, doubles) in [(ROWS, 3), ("alb_connection_logs", 1), (REJECTS, 0)] {
        let reader = open(&only_file(&world.out(), table));
        let file = reader.metadata().file_metadata();
        let columns = file.schema_descr().columns();
        let orders = file.column_orders().expect("the footer has orders");
        assert_eq!(orders.len(), columns.len(), "{table}");
        let type_order = |order: &ColumnOrder| matches!(order, ColumnOrder::TYPE_DEFINED_ORDER(_));
        assert!(orders.iter().all(type_order), "{table}: {orders:?}");
        let is_double = |column: &&ColumnDescPtr| column.physical_type() == PhysicalType::DOUBLE;
        assert_eq!(columns.iter().filter(is_double).count(), doubles, "{table}");
    }
}

#[test]
fn columns_have_the_types_that_readers_expect() {
    let path = only_file(&WORLD.out(), ROWS);
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap()).unwrap();
    let schema = builder.schema();
    let types = |wanted: &DataType| -> Vec<&str> {
        let fields = schema.fields().iter().filter(|field| field.data_type() == wanted);
        fields.map(|field| field.name().as_str()).collect()
    };
    assert_eq!(schema.fields().len(), 42);
    assert!(schema.fields().iter().all(|field| field.is_nullable()));
    assert_eq!(
        types(&DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
        ["time", "request_creation_time"]
    );
    assert_eq!(
        types(&DataType::Int32),
        [
            "client_port",
            "target_port",
            "elb_status_code",
            "target_status_code",
            "matched_rule_priority"
        ]
    );
    assert_eq!(types(&DataType::Int64), ["received_bytes", "sent_bytes"]);
    assert_eq!(
        types(&DataType::Float64),
        ["request_processing_time", "target_processing_time", "response_processing_time"]
    );
    assert_eq!(types(&DataType::Utf8).len(), 42 - 2 - 5 - 2 - 3);
    let last: Vec<_> = schema.fields().iter().skip(40).map(|field| field.name().as_str()).collect();
    assert_eq!(last, ["extra_fields", "source_key"]);
    assert_eq!(FIELDS.len(), 36);
}

#[test]
fn rejects_have_their_own_columns() {
    let world = World::with(gzip("x\n"));
    world.convert_with(&["--max-rejects", "1"]).expect(0);
    let path = only_file(&world.out(), REJECTS);
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap()).unwrap();
    let columns: Vec<_> = builder
        .schema()
        .fields()
        .iter()
        .map(|f| (f.name().as_str(), f.data_type().clone()))
        .collect();
    let expected = [
        ("log_type", DataType::Utf8),
        ("source_key", DataType::Utf8),
        ("line_number", DataType::Int64),
        ("byte_offset", DataType::Int64),
        ("reason", DataType::Utf8),
        ("column_name", DataType::Utf8),
        ("raw_length", DataType::Int64),
        ("raw_line", DataType::Binary),
    ];
    assert_eq!(columns, expected);
}

type IsCodec = fn(Compression) -> bool;

#[test]
fn files_use_the_requested_codec() {
    let world = World::with(gzip([&*good_lines(20), b"bad\n"].concat()));
    let cases: [(&[&str], IsCodec); 4] = [
        (&[], |codec| matches!(codec, Compression::ZSTD(_))),
        (&["--compression", "zstd"], |codec| matches!(codec, Compression::ZSTD(_))),
        (&["--compression", "snappy"], |codec| codec == Compression::SNAPPY),
        (&["--compression", "none"], |codec| codec == Compression::UNCOMPRESSED),
    ];
    let mut rows = Vec::new();
    for (number, (args, is_codec)) in cases.into_iter().enumerate() {
        let out = world.path(&format!("out{number}"));
        let args = [args, &["--max-rejects", "1"]].concat();
        crate::support::convert(&[&world.source()], &out, &args).expect(0);
        for table in [ROWS, REJECTS] {
            let reader = open(&only_file(&out, table));
            for column in reader.metadata().row_group(0).columns() {
                assert!(is_codec(column.compression()), "{args:?}: {}", column.column_path());
            }
        }
        rows.push(read_file(&only_file(&out, ROWS)));
    }
    assert!(rows.iter().all(|these| *these == rows[0]));
}

#[test]
fn no_file_is_empty() {
    let world = World::new();
    let of_day = |day: &str| key_of("012345678901", "eu-west-1", day, "x.0123456789abcdef", 1);
    world.put(&of_day("2025/07/17"), "");
    world.put(&of_day("2025/07/18"), gzip("bad\n"));
    world.put(&of_day("2025/07/19"), gzip(good_lines(1)));
    world.convert_with(&["--max-rejects", "1"]).expect(0);
    let days = |table: &str| -> Vec<String> {
        let files = files(&world.out(), table);
        assert!(files.iter().all(|file| !read_file(file).is_empty()));
        files
            .iter()
            .map(|file| file.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(days(ROWS), ["day=19"]);
    assert_eq!(days(REJECTS), ["day=18"]);
}

#[test]
fn paths_follow_the_layout() {
    let world = World::with(gzip([&*good_lines(2), b"bad\n"].concat()));
    for (layout, partition) in [("hive", PARTITION), ("plain", "012345678901/eu-west-1/2025/07/19")]
    {
        let out = world.path(layout);
        let args = ["--layout", layout, "--max-rejects", "1"];
        crate::support::convert(&[&world.source()], &out, &args).expect(0);
        let mut names: Vec<String> = tree(&out).into_keys().collect();
        names.retain(|name| !name.starts_with("_alb2parquet/"));
        let name = names[0].rsplit('/').next().unwrap();
        let expected =
            [format!("{ROWS}/{partition}/{name}"), format!("{REJECTS}/{partition}/access-{name}")];
        assert_eq!(names, expected);
        let hash = name.strip_suffix(".parquet").unwrap();
        assert!(hash.len() == 32 && hash.bytes().all(|b| b.is_ascii_hexdigit()), "{name}");
        let description = &tree(&out)["_alb2parquet/dataset.json"];
        let mut description: serde_json::Value = serde_json::from_slice(description).unwrap();
        let id = description["id"].take();
        assert_eq!(id.as_str().map(str::len), Some(32), "a random name");
        let expected = serde_json::json!({
            "format_version": 4, "id": null, "layout": layout, "conditional_creates": true, "profile": "portable"
        });
        assert_eq!(description, expected);
    }
}
