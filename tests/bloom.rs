//! Only the requested columns have Bloom filters.

use std::fs::File;
use std::path::Path;

use parquet::bloom_filter::Sbbf;
use parquet::file::properties::ReaderProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::serialized_reader::ReadOptionsBuilder;

use crate::support::{ROWS, World, get, good_lines, gzip, only_file, tree};

/// Returns the Bloom filter of each column in a file with one row group.
fn filters(path: &Path) -> Vec<(String, Sbbf)> {
    let properties = ReaderProperties::builder().set_read_bloom_filter(true).build();
    let options = ReadOptionsBuilder::new().with_reader_properties(properties).build();
    let file = SerializedFileReader::new_with_options(File::open(path).unwrap(), options).unwrap();
    assert_eq!(file.num_row_groups(), 1);
    let group = file.get_row_group(0).unwrap();
    let columns = group.metadata().columns().iter().enumerate();
    let filter = |(index, column): (usize, &parquet::file::metadata::ColumnChunkMetaData)| {
        let filter = group.get_column_bloom_filter(index)?;
        Some((column.column_descr().name().to_owned(), filter.clone()))
    };
    columns.filter_map(filter).collect()
}

const ARGS: [&str; 2] = ["--bloom-filter", "trace_id,client_ip"];

#[test]
fn a_filter_contains_all_values_of_its_column() {
    let world = World::with(gzip(good_lines(20_000)));
    world.convert_with(&ARGS).expect(0);
    let path = only_file(&world.out(), ROWS);
    let filters = filters(&path);
    let names: Vec<&str> = filters.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["client_ip", "trace_id"]);
    for (name, filter) in &filters {
        for row in world.rows() {
            assert!(filter.check(get(&row, name).unwrap()));
        }
        let absent = 20_000..40_000;
        let value = |number: usize| match name.as_str() {
            "trace_id" => format!("Root=1-687ba5a9-{number:024x}"),
            _ => format!("198.51.100.{number}"),
        };
        let matches = absent.filter(|&number| filter.check(value(number).as_str())).count();
        assert!(
            matches < 20_000 / 50,
            "{matches} of 20,000 absent values match the filter of {name}"
        );
    }
    // The size of a filter depends on the number of distinct values, not on the maximum row group size.
    let bytes = |at: usize| filters[at].1.num_blocks() * 32;
    assert!((16 << 10..64 << 10).contains(&bytes(1)), "{} bytes of trace_id", bytes(1));
    assert!(bytes(0) <= 1 << 10, "{} bytes of client_ip", bytes(0));
}

#[test]
fn files_have_no_filters_by_default() {
    let world = World::with(gzip(good_lines(10)));
    world.convert().expect(0);
    assert!(filters(&only_file(&world.out(), ROWS)).is_empty());
}

#[test]
fn filters_are_part_of_the_settings_in_a_claim() {
    let settings = |args: &[&str]| {
        let world = World::with(gzip(good_lines(10)));
        world.convert_with(args).expect(0);
        let files = tree(&world.out());
        let (_, claim) = files.iter().find(|(name, _)| name.ends_with("/1.claim.json")).unwrap();
        let claim: serde_json::Value = serde_json::from_slice(claim).unwrap();
        claim["settings"].as_str().unwrap().to_owned()
    };
    let other_order = ["--bloom-filter", "client_ip", "--bloom-filter", "trace_id"];
    assert_eq!(settings(&ARGS), settings(&other_order));
    assert_ne!(settings(&ARGS), settings(&[]));
    assert_eq!(settings(&[]), "log_type=access compression=zstd profile=portable");
}

#[test]
fn columns_without_text_are_refused() {
    let world = World::with(gzip(good_lines(1)));
    for column in ["time", "elb_status_code", "nothing", ""] {
        let run = world.convert_with(&["--bloom-filter", column]).expect(3);
        run.says(&["--bloom-filter", "trace_id"]);
    }
    assert!(!world.out().exists() || tree(&world.out()).is_empty());
}
