//! The same input produces the same bytes, regardless of the thread count, the order of objects, and the number of
//! runs. Only file names differ between runs.

use std::collections::{BTreeMap, BTreeSet};

use flate2::Compression;

use crate::support::{
    Line, ROWS, World, contents, convert, files, get, good_lines, gzip, gzip_at, key, key_of,
    key_on, put, text_of, tree,
};

type Contents = BTreeMap<String, Vec<Vec<u8>>>;

/// Returns a world with many small objects, some of which have rejects, and one large object. The large object and the
/// objects with two gzip members are streamed.
fn world() -> World {
    let world = World::new();
    for number in 0..300 {
        let mut text = good_lines(1 + number % 4);
        if number % 7 == 0 {
            text.extend(text_of(["bad".to_owned(), Line::of(40).text()]));
        }
        let mut object = gzip(text);
        if number % 11 < 2 {
            object.extend(gzip(good_lines(2)));
        }
        let day = ["2025/07/18", "2025/07/19"][number % 2];
        world.put(&key_on(day, number), object);
    }
    // Larger than a streamed segment, and too large to decompress in one call.
    let large = gzip_at(good_lines(10_000), Compression::none());
    assert!(large.len() > 4 << 20);
    world.put(&key(1000), large);
    world
}

/// Converts to a directory.
fn dataset(world: &World, name: &str, args: &[&str]) -> Contents {
    let out = world.path(name);
    convert(&[&world.source()], &out, args).expect(0);
    contents(&out)
}

/// Asserts that datasets are equal. `assert_eq!` would print megabytes.
#[track_caller]
fn same(a: &Contents, b: &Contents) {
    let counts = |contents: &Contents| {
        contents.iter().map(|(name, files)| (name.clone(), files.len())).collect::<Vec<_>>()
    };
    assert_eq!(counts(a), counts(b));
    for (name, files) in a {
        assert!(files == &b[name], "the files of {name} differ");
    }
}

#[test]
fn output_does_not_depend_on_threads_or_earlier_runs() {
    let world = world();
    for profile in ["portable", "compact"] {
        let args = |threads| ["--profile", profile, "--threads", threads];
        let one = dataset(&world, profile, &args("1"));
        assert_eq!(one.len(), 2 + 2, "two partitions of rows, two of rejects");
        for threads in ["2", "8"] {
            same(&one, &dataset(&world, &format!("{profile}{threads}"), &args(threads)));
        }
        // A second run into the same dataset changes nothing.
        same(&one, &dataset(&world, profile, &args("3")));
    }
}

#[test]
fn output_with_a_target_file_size_does_not_depend_on_threads() {
    let world = world();
    let small = ["--target-file-size", "20KB", "--threads"];
    let one = dataset(&world, "one", &[small.as_slice(), &["1"]].concat());
    assert!(
        one.values().any(|files| files.len() > 1),
        "partitions are split into batches: {:?}",
        one.keys()
    );
    same(&one, &dataset(&world, "two", &[small.as_slice(), &["2"]].concat()));
    same(&one, &dataset(&world, "eight", &[small.as_slice(), &["8"]].concat()));
    same(&one, &dataset(&world, "one", &[small.as_slice(), &["4"]].concat()));
}

#[test]
fn rows_are_ordered_by_load_balancer_time_and_line() {
    let world = World::new();
    for number in [5, 3, 9, 1] {
        world.put(&key(number), gzip(good_lines(number)));
    }
    let late = key(0).replace("T1405Z", "T1410Z");
    world.put(&late, gzip(good_lines(2)));
    let other = key(0).replace("app.my-lb", "app.a-lb");
    world.put(&other, gzip(good_lines(2)));
    world.convert().expect(0);
    let rows = world.rows();
    let mut keys: Vec<&str> = rows.iter().map(|row| get(row, "source_key").unwrap()).collect();
    let traces: Vec<&str> = rows.iter().map(|row| get(row, "trace_id").unwrap()).collect();
    for (pair, keys) in traces.windows(2).zip(keys.windows(2)) {
        assert!(keys[0] != keys[1] || pair[0] < pair[1], "lines keep their order");
    }
    keys.dedup();
    let expected = [other, key(1), key(3), key(5), key(9), late];
    assert_eq!(keys, expected);
}

/// Names sort by load balancer first, so objects from the same day are not adjacent in the listing.
#[test]
fn all_load_balancers_of_a_partition_share_one_file() {
    let world = World::new();
    for day in ["2025/07/18", "2025/07/19", "2025/07/20"] {
        for balancer in ["a.0000000000000001", "b.0000000000000002", "c.0000000000000003"] {
            let key = key_of("012345678901", "eu-west-1", day, balancer, 1);
            world.put(&key, gzip(good_lines(2)));
        }
    }
    let run = world.convert_with(&["--json"]).expect(0);
    assert_eq!((run.count("/partitions"), run.count("/files")), (3, 3));
    assert_eq!(files(&world.out(), ROWS).len(), 3);
}

#[test]
fn output_does_not_depend_on_the_order_of_sources() {
    let world = World::new();
    let (a, b) = (world.path("a"), world.path("b"));
    for number in 0..6 {
        let dir = if number % 2 == 0 { &a } else { &b };
        put(dir, &key(number), gzip(good_lines(number + 1)));
    }
    // Both sources contain a copy of the same object.
    put(&a, &key(1), gzip(good_lines(2)));
    let (forth, back) = (world.path("forth"), world.path("back"));
    convert(&[&a, &b], &forth, &[]).expect(0);
    convert(&[&b, &a], &back, &[]).expect(0);
    same(&contents(&forth), &contents(&back));
}

/// The order of directory listings is arbitrary and must not affect which copy is converted.
#[test]
fn of_several_copies_the_first_by_key_is_converted() {
    for number in 0..4 {
        let world = World::new();
        let object = gzip(good_lines(3));
        // Create the copies in reverse order: some file systems list files by age, others by a hash of the name.
        for copy in (0..8).rev() {
            world.put(&format!("copy{copy}/{}", key(number)), &object);
        }
        world.convert().expect(0);
        let expected = format!("copy0/{}", key(number));
        assert_eq!(get(&world.rows()[0], "source_key"), Some(expected.as_str()));
    }
}

#[test]
fn settings_that_change_bytes_are_part_of_the_hash_in_file_names() {
    let world = World::with(gzip(good_lines(3)));
    let settings = ["zstd", "snappy", "none"].map(|codec| ["--compression", codec]);
    let settings = settings.into_iter().chain([["--profile", "compact"]]);
    // File names also depend on the run, so this test compares claims instead.
    let settings: BTreeSet<String> = settings
        .map(|args| {
            let out = world.path(args[1]);
            convert(&[&world.source()], &out, &args).expect(0);
            let files = tree(&out);
            let (_, claim) = files.iter().find(|(name, _)| name.ends_with("1.claim.json")).unwrap();
            let claim: serde_json::Value = serde_json::from_slice(claim).unwrap();
            claim["settings"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(settings.len(), 4, "{settings:?}");
}
