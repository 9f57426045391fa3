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
    let args = ["compact", out, "--catalog", "sql:sqlite:///catalog.db", "--yes"];
    crate::support::run(&args).expect(3).says(&["without the feature iceberg"]);
}

#[cfg(feature = "iceberg")]
mod with_feature {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use alb2parquet::internals::util::hash::hex;
    use iceberg::spec::{
        DataFile, FormatVersion, Literal, Manifest, ManifestList, ManifestStatus, Operation,
        TableMetadata,
    };
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use rusqlite::Connection;
    use serde_json::Value;
    use sha2::{Digest, Sha256};

    use crate::support::{Run, World, good_lines, gzip, key_of, key_on, read_file, run, tree};

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

    /// Returns a dataset of hourly runs: each converts one object of each of two load balancers to each of two days, and
    /// the tables are published every eight hours.
    fn hourly() -> Lake {
        let (world, mut lines) = (World::new(), 0);
        let catalog = world.path("catalog.db");
        let name = format!("sql:sqlite:///{}", catalog.display());
        for hour in 0..24 {
            for day in ["2025/07/18", "2025/07/19"] {
                for balancer in ["a.50dc6c495c0c9188", "b.50dc6c495c0c9188"] {
                    let key = key_of("012345678901", "eu-west-1", day, balancer, hour);
                    lines += 1;
                    let mut text = good_lines(1 + lines % 5);
                    if day == "2025/07/19" {
                        text.extend_from_slice(format!("no line {lines}\n").as_bytes());
                    }
                    world.put(&key, gzip(text));
                }
            }
            let publish: &[&str] = if hour % 8 == 7 { &["--iceberg", &name] } else { &[] };
            world.convert_with(&[&["--max-rejects", "1"], publish].concat()).expect(0);
        }
        let out = world.out().to_str().unwrap().to_owned();
        Lake { world, out, catalog }
    }

    impl Lake {
        fn compact(&self, args: &[&str]) -> Run {
            let name = self.name();
            run(&[&["compact", &self.out, "--catalog", &name, "--json"], args].concat())
        }

        /// Returns the rows of a table in the order of the files and rows.
        fn rows(&self, table: &str) -> Vec<String> {
            let mut files: Vec<String> =
                self.files(table).iter().map(|file| file.file_path().to_owned()).collect();
            files.sort();
            let path = |file: &String| PathBuf::from(file.strip_prefix("file://").unwrap());
            files
                .iter()
                .flat_map(|file| read_file(&path(file)))
                .map(|row| format!("{row:?}"))
                .collect()
        }

        fn sorted_rows(&self, table: &str) -> Vec<String> {
            let mut rows = self.rows(table);
            rows.sort();
            rows
        }

        /// Returns the rows in the table directories.
        fn plain_rows(&self, table: &str) -> Vec<String> {
            let rows = crate::support::read(&self.world.out(), table);
            let mut rows: Vec<String> = rows.iter().map(|row| format!("{row:?}")).collect();
            rows.sort();
            rows
        }

        fn verify(&self) -> Run {
            self.world.run("verify", true, &["--read-data", "--restore", "--json"])
        }
    }

    /// Describes the column chunks of a day's files: encodings, pages, statistics and sizes.
    fn chunks(out: &std::path::Path, table: &str, day: &str) -> Vec<String> {
        let files = crate::support::files(out, table);
        let files = files.iter().filter(|file| file.to_str().unwrap().contains(day));
        let mut chunks = Vec::new();
        for file in files {
            let reader = SerializedFileReader::new(fs::File::open(file).unwrap()).unwrap();
            for group in reader.metadata().row_groups() {
                for chunk in group.columns() {
                    chunks.push(format!(
                        "{} {} {:?} {:?} {:?} {}",
                        chunk.column_path(),
                        chunk.num_values(),
                        chunk.compression(),
                        chunk.encodings().collect::<Vec<_>>(),
                        chunk.statistics(),
                        chunk.uncompressed_size()
                    ));
                }
            }
        }
        assert_eq!(chunks.is_empty(), table != ROWS && day == "day=18");
        chunks
    }

    #[test]
    fn hourly_runs_are_compacted_to_one_file_per_partition() {
        let lake = hourly();
        let before = [ROWS, "elb_rejects"].map(|table| lake.plain_rows(table));
        assert_eq!((lake.files(ROWS).len(), lake.files("elb_rejects").len()), (48, 24));
        let tree_before = tree(&lake.world.out());
        let run = lake.compact(&[]).expect(0);
        run.says(&["alb_access_logs: 24 files with", "nothing was written: specify --yes"]);
        assert_eq!(run.json()["replacements"].as_array().unwrap().len(), 3);
        assert_eq!(tree(&lake.world.out()), tree_before, "a dry run writes");

        let snapshots = lake.metadata(ROWS).snapshots().len();
        // Queries during the compaction return the same rows.
        let is_done = AtomicBool::new(false);
        let run = thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut queries = 0;
                while queries == 0 || !is_done.load(Ordering::Relaxed) {
                    assert_eq!(lake.sorted_rows(ROWS), before[0]);
                    queries += 1;
                }
            });
            let run = lake.compact(&["--yes"]);
            is_done.store(true, Ordering::Relaxed);
            reader.join().unwrap();
            run.expect(0)
        });
        run.says(&["3 new files were written"]);
        assert_eq!((lake.files(ROWS).len(), lake.files("elb_rejects").len()), (2, 1));
        let metadata = lake.metadata(ROWS);
        assert_eq!(metadata.snapshots().len(), snapshots + 1);
        let summary = metadata.current_snapshot().unwrap().summary();
        assert_eq!(summary.operation, Operation::Overwrite);
        for (table, before) in [ROWS, "elb_rejects"].iter().zip(&before) {
            assert_eq!(lake.sorted_rows(table), *before, "{table}");
            assert_eq!(lake.plain_rows(table), *before, "{table}");
        }
        // The original files are unchanged.
        let after = tree(&lake.world.out());
        assert!(tree_before.iter().all(|(name, bytes)| after.get(name) == Some(bytes)));
        let verified = lake.verify().expect(0);
        assert_eq!(verified.count("/compacted_files"), 3);
        assert_eq!(verified.count("/restorable"), 96);

        // The rows are in the order in which one run would have written them.
        let other = World::new();
        for (key, bytes) in tree(&lake.world.source()) {
            other.put(&key, bytes);
        }
        other.convert_with(&["--max-rejects", "1"]).expect(0);
        for table in [ROWS, "elb_rejects"] {
            let of = |out: &std::path::Path, day: &str| {
                let files = crate::support::files(out, table);
                let files = files.iter().filter(|file| file.to_str().unwrap().contains(day));
                let rows: Vec<_> = files.flat_map(|file| read_file(file)).collect();
                rows
            };
            for day in ["day=18", "day=19"] {
                let compacted = lake.world.out().join("_alb2parquet/compacted");
                assert_eq!(of(&compacted, day), of(&other.out(), day), "{table} {day}");
                assert_eq!(
                    chunks(&compacted, table, day),
                    chunks(&other.out(), table, day),
                    "{table} {day}"
                );
            }
        }

        // Nothing is left to do, and another publication changes nothing.
        lake.compact(&["--yes"]).expect(0).says(&["too few small files"]);
        let run = lake.publish(&[]).expect(0);
        assert_eq!(Lake::of_table(&run, ROWS)["added_files"], 0);

        // Late objects are compacted together with the result of the first compaction.
        for hour in 24..28 {
            lake.world.put(&key_on("2025/07/19", hour), gzip(good_lines(2)));
            lake.world.convert_with(&["--iceberg", &lake.name(), "--max-rejects", "1"]).expect(0);
        }
        assert_eq!(lake.files(ROWS).len(), 6);
        lake.compact(&["--yes"]).expect(0).says(&["5 files with"]);
        assert_eq!(lake.files(ROWS).len(), 2);
        assert_eq!(lake.sorted_rows(ROWS), lake.plain_rows(ROWS));
        lake.verify().expect(0);

        // Reverting restores the original files.
        lake.compact(&["--revert"]).expect(0).says(&["nothing was reverted"]);
        lake.compact(&["--revert", "--yes"]).expect(0).says(&["4 compacted files were reverted"]);
        assert_eq!((lake.files(ROWS).len(), lake.files("elb_rejects").len()), (52, 24));
        assert_eq!(lake.sorted_rows(ROWS), lake.plain_rows(ROWS));
        assert_eq!(lake.verify().expect(0).count("/compacted_files"), 0);
    }

    #[test]
    fn a_compacted_partition_can_be_removed_and_converted_again() {
        let lake = hourly();
        lake.compact(&["--yes"]).expect(0);
        let before = lake.sorted_rows(ROWS);
        lake.world.run("remove", false, &["--yes"]).expect(0);
        let left = tree(&lake.world.out()).into_keys().filter(|name| name.ends_with(".parquet"));
        assert_eq!(left.collect::<Vec<_>>(), [""; 0]);
        lake.publish(&[]).expect(0);
        assert_eq!(lake.files(ROWS).len(), 0);
        let name = lake.name();
        lake.world.convert_with(&["--iceberg", &name, "--max-rejects", "1"]).expect(0);
        assert_eq!(lake.sorted_rows(ROWS), before);
        lake.verify().expect(0);
    }

    #[test]
    fn a_repair_restores_the_original_files() {
        let lake = hourly();
        lake.compact(&["--yes"]).expect(0);
        let before = lake.sorted_rows(ROWS);
        fs::remove_dir_all(lake.world.out().join("_alb2parquet/claims")).unwrap();
        let run = lake.publish(&[]).expect(2);
        run.says(&["exists, but no claim accounts for it"]);
        assert_eq!((lake.files(ROWS).len(), lake.sorted_rows(ROWS)), (2, before.clone()));
        // Nothing deletes the compacted files while the claims of their rows are lost.
        let cleaned = lake.world.run("clean", false, &["--json"]).expect(0);
        assert_eq!(cleaned.json()["removed"], serde_json::json!([]));
        assert_eq!(cleaned.count("/kept"), 3);
        lake.publish(&[]).expect(2);
        assert_eq!((lake.files(ROWS).len(), lake.sorted_rows(ROWS)), (2, before.clone()));
        lake.world.run("repair", false, &["--yes"]).expect(0);
        lake.publish(&[]).expect(0);
        assert_eq!((lake.files(ROWS).len(), lake.sorted_rows(ROWS)), (48, before.clone()));
        let found = lake.verify().expect(1);
        found.says(&["is a compacted file that no rewrite names", "delete the file with `clean`"]);
        let cleaned = lake.world.run("clean", false, &["--json"]).expect(0);
        assert_eq!(cleaned.json()["removed"].as_array().unwrap().len(), 3);
        lake.verify().expect(0);
        lake.compact(&["--yes"]).expect(0);
        assert_eq!((lake.files(ROWS).len(), lake.sorted_rows(ROWS)), (2, before));
    }

    #[test]
    fn damage_to_a_small_file_is_not_reported_for_the_compacted_file() {
        let lake = hourly();
        lake.compact(&["--yes"]).expect(0);
        let small = crate::support::files(&lake.world.out(), ROWS).remove(0);
        let intact = fs::read(&small).unwrap();
        let name = small.file_name().unwrap().to_str().unwrap().to_owned();
        for damage in [0, intact.len() / 3, intact.len() / 2] {
            let mut bytes = intact.clone();
            bytes[damage] ^= 1;
            fs::write(&small, if damage == 0 { &[] } else { &*bytes }).unwrap();
            let found = lake.verify().expect(1);
            found.says(&[&name, "`remove`"]);
            assert!(!found.stderr.contains("--revert"), "{found:?}");
            assert_eq!(found.count("/compacted_files"), 3, "{damage}");
        }
        fs::write(&small, &intact).unwrap();
        lake.verify().expect(0);
    }

    #[test]
    fn a_damaged_compacted_file_that_is_not_marked_as_done_is_written_again() {
        let lake = hourly();
        lake.compact(&["--yes"]).expect(0);
        let before = lake.sorted_rows(ROWS);
        let out = lake.world.out();
        let damaged = crate::support::files(&out.join("_alb2parquet/compacted"), ROWS).remove(0);
        fs::write(&damaged, "damaged").unwrap();
        let name = damaged.file_name().unwrap().to_str().unwrap();
        let names_it = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(name);
        let files = tree(&out).into_iter();
        let mut entries = files.filter(|(key, bytes)| key.contains("claims/") && names_it(bytes));
        let (entry, _) = entries.next().unwrap();
        fs::remove_file(out.join(entry.replace(".claim.", ".done."))).unwrap();
        lake.compact(&["--yes"]).expect(0).says(&["1 new files were written"]);
        assert_eq!((lake.files(ROWS).len(), lake.sorted_rows(ROWS)), (2, before));
        assert_eq!(lake.verify().expect(0).count("/compacted_files"), 3);
    }

    #[test]
    fn verify_finds_damaged_compacted_files_and_a_reversion_mends_them() {
        let lake = hourly();
        lake.compact(&["--yes"]).expect(0);
        let compacted = lake.world.out().join("_alb2parquet/compacted");
        let damaged = crate::support::files(&compacted, ROWS).remove(0);
        let mut bytes = fs::read(&damaged).unwrap();
        bytes[100] ^= 1;
        fs::write(&damaged, &bytes).unwrap();
        let name = damaged.file_name().unwrap().to_str().unwrap().to_owned();
        lake.verify().expect(1).says(&[&name, "SHA-256", "compact --revert --yes"]);
        fs::remove_file(&damaged).unwrap();
        let found = lake.world.run("verify", true, &[]).expect(1);
        found.says(&[&name, "is gone", "compact --revert --yes"]);
        lake.compact(&["--revert", "--yes"]).expect(0);
        lake.verify().expect(0);
        assert_eq!(lake.sorted_rows(ROWS), lake.plain_rows(ROWS));
    }

    #[test]
    fn a_long_chain_of_forged_rewrites_is_read() {
        let lake = Lake::new();
        lake.publish(&[]).expect(0);
        let before = lake.rows(ROWS);
        let root = format!("file://{}/", lake.out);
        let files = lake.files(ROWS).into_iter().map(|file| file.file_path().to_owned());
        let first = files.into_iter().find(|file| file.contains("day=18")).unwrap();
        let mut input = first.strip_prefix(&root).unwrap().to_owned();
        let (directory, _) = input.rsplit_once('/').unwrap();
        let directory = format!("_alb2parquet/compacted/{directory}");
        let log =
            lake.world.out().join("_alb2parquet/claims/access/012345678901/eu-west-1/2025-07-18");
        for number in 2..5_000 {
            let key = format!("{directory}/{number}.parquet");
            let entry = serde_json::json!({
                "action": "rewrite", "run": "forger", "version": "", "inputs": [input],
                "output": {
                    "table": ROWS, "rows": 3, "key": key, "size": 1, "sha256": "",
                    "staged": { "upload": { "key": key, "id": "", "parts": [] } }
                }
            });
            fs::write(log.join(format!("{number}.claim.json")), entry.to_string()).unwrap();
            fs::write(log.join(format!("{number}.done.json")), "{}").unwrap();
            input = key;
        }
        lake.publish(&[]).expect(2).says(&[&input]);
        assert_eq!(lake.rows(ROWS), before);
        lake.verify().expect(1).says(&[&input, "compact --revert --yes"]);
        // Each pass reverts one rewrite.
        lake.compact(&["--revert"]).expect(0).says(&["nothing was reverted"]);
    }

    #[test]
    fn compacted_files_have_the_settings_of_the_last_run() {
        for (profile, filters) in [("portable", false), ("compact", true)] {
            let lake = hourly();
            lake.world.put(&key_on("2025/07/19", 30), gzip(good_lines(2)));
            let mut args =
                vec!["--max-rejects", "1", "--profile", profile, "--compression", "snappy"];
            if filters {
                args.extend(["--bloom-filter", "conn_trace_id"]);
            }
            lake.world.convert_with(&args).expect(0);
            lake.compact(&["--yes", "--from", "2025-07-19", "--to", "2025-07-19"]).expect(0);
            let compacted = lake.world.out().join("_alb2parquet/compacted");
            let files = crate::support::files(&compacted, ROWS);
            assert_eq!(files.len(), 1);
            let footer = SerializedFileReader::new(fs::File::open(&files[0]).unwrap()).unwrap();
            let group = footer.metadata().row_group(0);
            let codec = group.column(0).compression();
            assert_eq!(codec, parquet::basic::Compression::SNAPPY);
            assert_eq!(group.column(0).offset_index_offset().is_some(), profile == "compact");
            let with_filter = group.columns().iter().filter(|c| c.bloom_filter_offset().is_some());
            assert_eq!(with_filter.count(), usize::from(filters));
            lake.verify().expect(0);
        }
    }
}
