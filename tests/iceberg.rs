//! `iceberg publish` and `convert --iceberg`. `tests/simulation/iceberg.rs` covers faults and concurrent publishers, and
//! `scripts/iceberg-test` reads the tables with engines.

#[cfg(not(feature = "iceberg"))]
#[test]
fn a_build_without_the_feature_explains_how_to_get_it() {
    let world = crate::support::World::with(crate::support::gzip(crate::support::good_lines(1)));
    let run = world.convert_with(&["--iceberg", "sql:sqlite:///catalog.db"]).expect(3);
    run.says(&["without the feature iceberg"]);
    assert!(!world.out().exists(), "the conversion began");
    world.convert().expect(0);
    let out = world.out();
    let out = out.to_str().unwrap();
    let args = ["iceberg", "publish", out, "--catalog", "sql:sqlite:///catalog.db"];
    let run = crate::support::run(&args).expect(3);
    run.says(&["without the feature iceberg", "hint: install the program with `cargo install"]);
}

#[cfg(feature = "iceberg")]
mod with_feature {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::PathBuf;

    use alb2parquet::internals::util::hash::hex;
    use iceberg::spec::{
        DataFile, FormatVersion, Literal, Manifest, ManifestList, ManifestStatus, Operation,
        TableMetadata,
    };
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use rusqlite::Connection;
    use serde_json::Value;
    use sha2::{Digest, Sha256};

    use crate::support::{Run, World, good_lines, gzip, key_on, run, tree};

    const ROWS: &str = "alb_access_logs";

    /// A dataset on a disk, and a catalog.
    struct Lake {
        world: World,
        out: String,
        catalog: PathBuf,
    }

    impl Lake {
        /// Returns a dataset with two days. The second day has a reject.
        fn new() -> Self {
            let world = World::new();
            world.put(&key_on("2025/07/18", 1), gzip(good_lines(3)));
            let mut text = good_lines(4);
            text.extend_from_slice(b"no line of a load balancer\n");
            world.put(&key_on("2025/07/19", 1), gzip(text));
            world.convert_with(&["--max-rejects", "1"]).expect(0);
            let out = world.out().to_str().unwrap().to_owned();
            let catalog = world.path("catalog.db");
            Self { world, out, catalog }
        }

        fn name(&self) -> String {
            format!("sql:sqlite:///{}", self.catalog.display())
        }

        fn publish(&self, args: &[&str]) -> Run {
            let name = self.name();
            let fixed = ["iceberg", "publish", &self.out, "--catalog", &name, "--json"];
            run(&[&fixed, args].concat())
        }

        /// Returns the result for a table.
        fn of_table(run: &Run, table: &str) -> Value {
            let all = run.json()["tables"].as_array().unwrap().clone();
            all.into_iter().find(|each| each["table"] == table).unwrap()
        }

        fn metadata(&self, table: &str) -> TableMetadata {
            let query = "SELECT metadata_location FROM iceberg_tables WHERE table_name = ? \
                         AND catalog_name = 'default' AND table_namespace = 'default'";
            let database = Connection::open(&self.catalog).unwrap();
            let location: String = database.query_row(query, [table], |row| row.get(0)).unwrap();
            serde_json::from_slice(&read(&location)).unwrap()
        }

        /// Returns the data files of a table.
        fn files(&self, table: &str) -> Vec<DataFile> {
            let metadata = self.metadata(table);
            let list = read(metadata.current_snapshot().unwrap().manifest_list());
            let list = ManifestList::parse_with_version(&list, FormatVersion::V2).unwrap();
            let mut files = Vec::new();
            for manifest in list.entries() {
                let manifest = Manifest::parse_avro(&read(&manifest.manifest_path)).unwrap();
                for entry in manifest.entries() {
                    if entry.status != ManifestStatus::Deleted {
                        files.push(entry.data_file.clone());
                    }
                }
            }
            files
        }
    }

    fn read(url: &str) -> Vec<u8> {
        fs::read(url.strip_prefix("file://").unwrap()).unwrap()
    }

    /// Returns the hashes of all files except the metadata of tables.
    fn plain_files(lake: &Lake) -> BTreeMap<String, String> {
        let files = tree(&lake.world.out()).into_iter();
        let files = files.filter(|(name, _)| !name.contains("_alb2parquet/iceberg"));
        files.map(|(name, bytes)| (name, hex(&Sha256::digest(bytes)))).collect()
    }

    #[test]
    fn each_file_is_in_its_table_with_its_partition_and_metrics() {
        let lake = Lake::new();
        let before = plain_files(&lake);
        let run = lake.publish(&[]).expect(0);
        assert_eq!(run.json()["claims"], 2);
        let rows = Lake::of_table(&run, ROWS);
        assert_eq!(
            (&rows["created"], &rows["added_files"], &rows["added_rows"]),
            (&true.into(), &2.into(), &7.into())
        );
        assert_eq!(Lake::of_table(&run, "elb_rejects")["added_rows"], 1);
        assert_eq!(plain_files(&lake), before, "publishing changes only metadata");

        let metadata = lake.metadata(ROWS);
        let id = |name: &str| metadata.current_schema().field_id_by_name(name).unwrap();
        let files = lake.files(ROWS);
        assert_eq!(files.iter().map(DataFile::record_count).sum::<u64>(), 7);
        for file in &files {
            let path = file.file_path().strip_prefix("file://").unwrap();
            assert_eq!(file.file_size_in_bytes(), fs::metadata(path).unwrap().len());
            let values: Vec<Option<Literal>> =
                file.partition().iter().map(Option::<&Literal>::cloned).collect();
            let day = if path.contains("day=18") { 20_287 } else { 20_288 };
            let text = |text: &str| Some(Literal::string(text));
            assert_eq!(values, [text("012345678901"), text("eu-west-1"), Some(Literal::date(day))]);
            let count = file.record_count();
            assert_eq!(file.value_counts()[&id("elb")], count);
            assert_eq!(file.null_value_counts()[&id("conn_trace_id")], 0);
            let lower = file.lower_bounds()[&id("elb_status_code")].to_string();
            assert_eq!(lower, "200");
            let elb = file.lower_bounds()[&id("elb")].to_string();
            assert_eq!(elb.trim_matches('"'), "app/my-lb/50dc6c");
            let elb = file.upper_bounds()[&id("elb")].to_string();
            assert_eq!(elb.trim_matches('"'), "app/my-lb/50dc6d");
            let footer = SerializedFileReader::new(fs::File::open(path).unwrap()).unwrap();
            let first = footer.metadata().row_group(0).column(0).dictionary_page_offset();
            assert_eq!(file.split_offsets(), Some(&[first.unwrap()][..]));
        }
        let snapshot = metadata.current_snapshot().unwrap();
        assert_eq!(snapshot.summary().operation, Operation::Append);
        let summary = &snapshot.summary().additional_properties;
        assert_eq!(summary["total-records"], "7");
        assert_eq!(summary["changed-partition-count"], "2");
        assert_eq!(summary["alb2parquet.claims"], "2");
        assert_eq!(metadata.properties()["gc.enabled"], "false");
    }

    #[test]
    fn a_rerun_without_new_files_changes_nothing() {
        let lake = Lake::new();
        lake.publish(&[]).expect(0);
        let before = tree(&lake.world.out());
        let run = lake.publish(&[]).expect(0);
        let rows = Lake::of_table(&run, ROWS);
        assert_eq!(
            (&rows["created"], &rows["added_files"], &rows["files"]),
            (&false.into(), &0.into(), &2.into())
        );
        assert_eq!(tree(&lake.world.out()), before);
        run.says(&["alb_access_logs: up to date, 2 files"]);
    }

    #[test]
    fn removed_partitions_leave_the_table_and_return_after_another_conversion() {
        let lake = Lake::new();
        lake.publish(&[]).expect(0);
        let day = ["--from", "2025-07-18", "--to", "2025-07-18", "--yes"];
        lake.world.run("remove", false, &day).expect(0);
        let run = lake.publish(&[]).expect(0);
        let rows = Lake::of_table(&run, ROWS);
        assert_eq!(
            (&rows["removed_files"], &rows["removed_rows"], &rows["files"]),
            (&1.into(), &3.into(), &1.into())
        );
        let metadata = lake.metadata(ROWS);
        let snapshot = metadata.current_snapshot().unwrap();
        assert_eq!(snapshot.summary().operation, Operation::Delete);
        assert_eq!(snapshot.summary().additional_properties["total-records"], "4");
        assert_eq!(lake.files(ROWS).len(), 1);
        let name = lake.name();
        let run = lake
            .world
            .convert_with(&["--json", "--iceberg", &name, "--max-rejects", "1"])
            .expect(0);
        let tables = run.json()["iceberg"]["tables"].as_array().unwrap().clone();
        assert!(
            tables.iter().any(|table| table["table"] == ROWS && table["added_files"] == 1),
            "{tables:?}"
        );
        assert_eq!(lake.files(ROWS).iter().map(DataFile::record_count).sum::<u64>(), 7);
        assert_eq!(lake.metadata(ROWS).snapshots().len(), 3);
    }

    #[test]
    fn a_dry_run_creates_neither_tables_nor_the_database() {
        let lake = Lake::new();
        let before = tree(&lake.world.out());
        let run = lake.publish(&["--dry-run"]).expect(0);
        run.says(&["alb_access_logs: would be created; 2 files with 7 rows would be added"]);
        assert!(!lake.catalog.exists());
        assert_eq!(tree(&lake.world.out()), before);
        lake.publish(&[]).expect(0);
        lake.world.run("remove", false, &["--yes"]).expect(0);
        let before = tree(&lake.world.out());
        let run = lake.publish(&["--dry-run"]).expect(0);
        run.says(&["alb_access_logs: 2 files would be removed"]);
        assert_eq!(tree(&lake.world.out()), before);
    }

    #[test]
    fn a_damaged_file_is_named_and_the_others_are_published() {
        let lake = Lake::new();
        let damaged = crate::support::files(&lake.world.out(), ROWS).remove(0);
        let mut bytes = fs::read(&damaged).unwrap();
        let end = bytes.len();
        bytes[end - 8..].fill(0);
        fs::write(&damaged, &bytes).unwrap();
        let run = lake.publish(&[]).expect(2);
        run.says(&[
            "warning: alb_access_logs: not added: ",
            damaged.file_name().unwrap().to_str().unwrap(),
            "footer",
        ]);
        let rows = Lake::of_table(&run, ROWS);
        assert_eq!(
            (&rows["added_files"], &rows["failures"].as_array().unwrap().len()),
            (&1.into(), &1)
        );
        assert_eq!(lake.files(ROWS).len(), 1);
    }

    #[test]
    fn a_table_of_another_dataset_is_refused() {
        let lake = Lake::new();
        lake.publish(&[]).expect(0);
        let other = Lake::new();
        let name = lake.name();
        let args = ["iceberg", "publish", &other.out, "--catalog", &name];
        let refused = run(&args).expect(3);
        refused.says(&[
            "alb_access_logs belongs to the dataset in file://",
            "hint: use another --namespace",
        ]);
        run(&[&args[..], &["--namespace", "other"]].concat()).expect(0);
        // A copy at another location has the same ID.
        let copy = lake.world.path("copy");
        for (name, bytes) in tree(&lake.world.out()) {
            crate::support::put(&copy, &name, bytes);
        }
        let args = ["iceberg", "publish", copy.to_str().unwrap(), "--catalog", &name];
        run(&args).expect(3).says(&["belongs to a copy of this dataset in file://"]);
    }

    #[test]
    fn a_conversion_begins_only_if_its_tables_can_be_published() {
        let world = World::with(gzip(good_lines(1)));
        let catalog = format!("sql:sqlite:///{}", world.path("absent/catalog.db").display());
        let convert = |args: &[&str]| world.convert_with(args).expect(3);
        convert(&["--iceberg", &catalog]).says(&["absent/catalog.db"]);
        convert(&["--iceberg", "rest:http://127.0.0.1:1"]).says(&["127.0.0.1:1"]);
        let catalog = format!("sql:sqlite:///{}", world.path("catalog.db").display());
        convert(&["--iceberg", &catalog, "--iceberg-warehouse", "/srv/a b"]).says(&["' '"]);
        assert!(!world.out().exists(), "a conversion began");
        world.convert_with(&["--iceberg", &catalog]).expect(0);
    }

    #[test]
    fn invalid_arguments_give_one_error() {
        let lake = Lake::new();
        for catalog in ["lake.db", "sql:mysql://host", "rest:host", "glue:1"] {
            let run = run(&["iceberg", "publish", &lake.out, "--catalog", catalog]).expect(3);
            run.says(&["--catalog"]);
        }
        let odd = lake.world.path("a lake");
        fs::rename(lake.world.out(), &odd).unwrap();
        let name = lake.name();
        let run = run(&["iceberg", "publish", odd.to_str().unwrap(), "--catalog", &name]).expect(3);
        run.says(&["cannot be the location of a table: it contains ' '"]);
    }
}
