//! Invalid input: damaged gzip, malicious lines, misleading keys.
//!
//! For any input, the program terminates, converts the valid lines, and accounts for all invalid ones.

use std::fs;
use std::io::Cursor;

use alb2parquet::internals::decode::gzip::{Decompressed, MAX_WHOLE, Whole};
use alb2parquet::internals::store::{Network, Source};
use flate2::{Compression, GzBuilder};

use crate::exactly_once::CLAIMS;
use crate::support::{
    Line, PARTITION, REJECTS, ROWS, Run, World, contents, convert, convert_measured, decode,
    decode_streamed, files, get, good_lines, gzip, gzip_at, key, key_of, key_on, put, text_of,
    tree,
};

/// Converts a world with one partition, and asserts the exit code, rows and rejects.
#[track_caller]
fn expect(world: &World, run: &Run, code: i32, rows: u64, rejects: &str) {
    assert_eq!(run.code, code, "{run:#?}");
    assert_eq!(run.count("/rows"), rows, "rows of {run:#?}");
    assert_eq!(run.rejects(), rejects, "rejects of {run:#?}");
    let counted = world.rejects().len() as u64;
    assert_eq!(run.count("/lines"), rows + counted, "lines of {run:#?}");
    assert_eq!(world.rows().len() as u64, rows);
}

/// Converts one object, and asserts the exit code, rows and rejects.
#[track_caller]
fn object(gzip: impl AsRef<[u8]>, code: i32, rows: u64, rejects: &str) -> (World, Run) {
    let world = World::with(gzip);
    let run = world.convert_with(&["--json", "--max-rejects", "1"]);
    expect(&world, &run, code, rows, rejects);
    (world, run)
}

// ---- gzip

#[test]
fn an_object_truncated_anywhere_keeps_its_valid_lines() {
    let text = good_lines(12);
    let whole = decode(&text);
    let object = gzip(&text);
    for cut in (1..object.len()).filter(|cut| *cut != 10) {
        let outcome = decode_streamed(cut, Cursor::new(object[..cut].to_vec()));
        let kept = outcome.rows.len();
        assert_eq!(outcome.rows, whole.rows[..kept], "cut at {cut}");
        assert_eq!(outcome.lines, kept as u64 + 1, "cut at {cut}");
        assert_eq!(outcome.rejects.len(), 1, "cut at {cut}");
        let reject = &outcome.rejects[0];
        assert_eq!(reject.reason, "truncated_gzip", "cut at {cut}");
        assert_eq!(reject.line_number, kept as u64 + 1, "cut at {cut}");
        let offset = reject.byte_offset as usize;
        assert_eq!(
            offset,
            text.split_inclusive(|b| *b == b'\n').take(kept).map(<[u8]>::len).sum::<usize>()
        );
        assert!(text[offset..].starts_with(&reject.raw), "the raw line is the readable part");
        assert_eq!(reject.raw_length, reject.raw.len() as u64);
    }
    // An object that is empty or ends after the gzip header contains no data, so it does not count as damaged.
    for cut in [0, 10] {
        let outcome = decode_streamed(cut, Cursor::new(object[..cut].to_vec()));
        assert_eq!((outcome.lines, outcome.rows.len(), outcome.rejects.len()), (0, 0, 0));
    }
}

#[test]
fn a_truncated_object_is_named_and_the_others_are_converted() {
    let world = World::new();
    let text = good_lines(200);
    let whole = gzip(&text);
    world.put(&key(1), gzip(good_lines(3)));
    world.put(&key(2), &whole[..whole.len() * 2 / 3]);
    world.put(&key(3), gzip(good_lines(4)));
    let run = world.convert_with(&["--json"]).expect(2);
    assert_eq!(run.rejects(), "truncated_gzip=1");
    assert_eq!((run.count("/objects/converted"), run.count("/objects/failed")), (2, 1));
    assert_eq!(run.json()["failures"][0]["object"], key(2));
    run.says(&[&key(2)]);
    assert!(run.count("/rows") > 7, "no lines of the truncated object are kept");
    assert_eq!(run.count("/lines"), run.count("/rows") + 1);
    let reject = &world.rejects()[0];
    assert_eq!(get(reject, "source_key"), Some(key(2).as_str()));
    assert_eq!(get(reject, "reason"), Some("truncated_gzip"));
    assert_eq!(get(reject, "log_type"), Some("access"));
    assert_eq!(get(reject, "column_name"), None);
}

/// A flipped bit in an unused header field is harmless. A flipped bit that affects the text is reported as damage.
#[test]
fn every_harmful_bit_flip_is_detected() {
    let text = good_lines(3);
    let whole = decode(&text);
    let object = gzip(&text);
    for at in 0..object.len() {
        for flip in [0x01, 0x80] {
            let mut object = object.clone();
            object[at] ^= flip;
            let mut decompressed = Decompressed::default();
            if Whole::default().inflate(0, &object, &mut decompressed) {
                assert_eq!(&decompressed.text[..], &text, "byte {at} ^ {flip}");
            } else {
                assert!(
                    decompressed.text.is_empty() && decompressed.segments.is_empty(),
                    "a failed call leaves the buffer unchanged"
                );
            }
            let outcome = decode_streamed(object.len(), Cursor::new(object));
            assert_eq!(outcome.lines, (outcome.rows.len() + outcome.rejects.len()) as u64);
            if outcome != whole {
                let last = outcome.rejects.last().map(|reject| reject.reason.as_str());
                let damage = ["corrupt_gzip", "truncated_gzip", "not_gzip"];
                assert!(
                    last.is_some_and(|last| damage.contains(&last)),
                    "byte {at} ^ {flip}: {last:?}"
                );
            }
        }
    }
}

#[test]
fn every_line_before_damage_is_kept() {
    let text = good_lines(400);
    let object = gzip(&text);
    for at in (40..object.len() - 64).step_by(object.len() / 40) {
        let readable = decode_streamed(at, Cursor::new(object[..at].to_vec())).rows;
        let mut damaged = object.clone();
        damaged[at..at + 64].fill(0xff);
        let outcome = decode_streamed(damaged.len(), Cursor::new(damaged));
        assert!(outcome.rows.len() >= readable.len(), "byte {at}: {} rows", readable.len());
        assert!(outcome.rows[..readable.len()] == readable, "byte {at}");
        assert_eq!(outcome.rejects.last().unwrap().reason, "corrupt_gzip", "byte {at}");
    }
}

#[test]
fn a_corrupt_block_ends_an_object() {
    let text = good_lines(2000);
    let mut gzip = gzip(&text);
    let middle = gzip.len() / 2;
    gzip[middle..middle + 64].fill(0xff);
    let before = decode_streamed(middle, Cursor::new(gzip[..middle].to_vec()));
    let world = World::with(gzip);
    let run = world.convert_with(&["--json", "--max-rejects", "1"]).expect(2);
    run.says(&[&key(1)]);
    let (kept, readable) = (run.count("/rows") as usize, before.rows.len());
    assert!(readable > 100 && kept >= readable, "{kept} of {readable} lines are kept");
    assert_eq!(run.count("/rejects/corrupt_gzip"), 1);
    assert_eq!(run.count("/lines"), (world.rows().len() + world.rejects().len()) as u64);
}

#[test]
fn a_wrong_checksum_is_corruption_even_if_all_lines_are_readable() {
    let mut gzip = gzip(good_lines(5));
    let at = gzip.len() - 8;
    gzip[at] ^= 1;
    let (world, _) = object(gzip, 2, 5, "corrupt_gzip=1");
    assert_eq!(get(&world.rejects()[0], "line_number"), Some("6"));
    assert_eq!(get(&world.rejects()[0], "raw_length"), Some("0"));
}

#[test]
fn a_wrong_length_is_corruption() {
    let mut gzip = gzip(good_lines(5));
    let at = gzip.len() - 4;
    gzip[at] ^= 1;
    object(gzip, 2, 5, "corrupt_gzip=1");
}

#[test]
fn content_that_is_neither_gzip_nor_text_is_one_reject() {
    let object_bytes = b"\x7fELF and so on\0".repeat(5000);
    let (world, run) = object(&object_bytes, 2, 0, "not_gzip=1");
    run.says(&[&key(1), "is neither gzip nor text"]);
    let reject = &world.rejects()[0];
    assert_eq!(get(reject, "raw_length"), Some(object_bytes.len().to_string().as_str()));
    assert_eq!(get(reject, "raw_line").unwrap().as_bytes(), &object_bytes[..64 << 10]);
    assert_eq!((get(reject, "line_number"), get(reject, "byte_offset")), (Some("1"), Some("0")));
    assert_eq!(files(&world.out(), ROWS).len(), 0, "no file without rows");
}

#[test]
fn an_empty_object_has_no_lines() {
    let (world, run) = object("", 0, 0, "");
    assert_eq!(contents(&world.out()).len(), 0, "no file of any table");
    assert_eq!(run.count("/objects/converted"), 1);
    object(gzip(""), 0, 0, "");
    object([gzip(""), gzip("")].concat(), 0, 0, "");
}

#[test]
fn a_gzip_header_alone_has_no_lines() {
    let header = |builder: GzBuilder, length: usize| {
        let whole = builder.write(Vec::new(), Compression::fast()).finish().unwrap();
        whole[..length].to_vec()
    };
    object(header(GzBuilder::new(), 10), 0, 0, "");
    object(header(GzBuilder::new().filename("a.log"), 16), 0, 0, "");
    object(header(GzBuilder::new().extra("xy").comment("c"), 16), 0, 0, "");
    object(header(GzBuilder::new().filename("a.log"), 13), 2, 0, "truncated_gzip=1");
}

#[test]
fn concatenated_members_are_read_in_order() {
    let text = good_lines(50);
    let (head, tail) = text.split_at(text.len() / 3);
    let members = [gzip(head), gzip(""), gzip_at(tail, Compression::none())].concat();
    let (world, _) = object(members, 0, 50, "");
    let mut rows = world.rows();
    for row in &mut rows {
        row.remove("source_key");
    }
    let mut expected = decode(&text).rows;
    for row in &mut expected {
        row.remove("source_key");
    }
    assert_eq!(rows, expected);
}

#[test]
fn identical_members_are_all_read() {
    let member = gzip(good_lines(7));
    object([&*member, &*member].concat(), 0, 14, "");
    let stored = gzip_at(good_lines(7), Compression::none());
    object(stored.repeat(3), 0, 21, "");
}

#[test]
fn bytes_after_the_gzip_data_are_a_separate_reject() {
    // The last line becomes a row even though it has no line ending.
    let member = gzip(good_lines(5).trim_ascii_end());
    for garbage in [&b"garbage\n and more"[..], b"x", &[0, 0, 7, 0], &good_lines(2)] {
        let (world, run) = object([&*member, garbage].concat(), 2, 5, "trailing_garbage=1");
        let skipped = garbage.iter().take_while(|byte| **byte == 0).count();
        let reject = &world.rejects()[0];
        assert_eq!(get(reject, "raw_line").unwrap().as_bytes(), &garbage[skipped..]);
        let offset = (good_lines(5).len() - 1).to_string();
        assert_eq!(get(reject, "byte_offset"), Some(offset.as_str()));
        run.says(&[&key(1), "bytes that are not gzip follow its gzip data: the 5 lines before"]);
    }
    // Bytes that start with a member header are treated as a damaged member.
    let member = gzip(good_lines(5));
    object([&*member, &[0x1f, 0x8b, 0xff, 0]].concat(), 2, 5, "corrupt_gzip=1");
    for cut_header in [&member[..1], &member[..5]] {
        object([&*member, cut_header].concat(), 2, 5, "truncated_gzip=1");
    }
}

#[test]
fn a_claim_has_the_crc32_and_the_size_of_the_decompressed_bytes() {
    let text = good_lines(9);
    let (head, tail) = text.split_at(1000);
    let large = good_lines(40_000);
    assert!(large.len() > MAX_WHOLE);
    let header = gzip("")[..10].to_vec();
    let damaged = {
        let mut object = gzip(&text);
        object[20] ^= 1;
        object
    };
    let cases: [(Vec<u8>, Option<&[u8]>); 9] = [
        (gzip(&text), Some(&text)),
        (gzip_at(&text, Compression::none()), Some(&text)),
        ([gzip(head), gzip(tail)].concat(), Some(&text)),
        (gzip(&large), Some(&large)),
        (gzip(text.trim_ascii_end()), Some(text.trim_ascii_end())),
        (Vec::new(), Some(&[])),
        (header, Some(&[])),
        (gzip(&text)[..200].to_vec(), None),
        (damaged, None),
    ];
    let world = World::new();
    for (number, (object, _)) in cases.iter().enumerate() {
        world.put(&key(number), object);
    }
    world.convert().expect(2);
    let claim = fs::read(world.out().join(CLAIMS).join("1.claim.json")).unwrap();
    let claim: serde_json::Value = serde_json::from_slice(&claim).unwrap();
    let objects = claim["objects"].as_array().unwrap();
    assert_eq!(objects.len(), cases.len());
    for (number, (object, (_, text))) in objects.iter().zip(&cases).enumerate() {
        assert!(key(number).ends_with(object["name"].as_str().unwrap()), "in order");
        let crc32 = text.map(|text| {
            let mut crc = flate2::Crc::new();
            crc.update(text);
            format!("{:08x}", crc.sum())
        });
        let known = (object["crc32"].as_str(), object["uncompressed_size"].as_u64());
        assert_eq!(known, (crc32.as_deref(), text.map(|text| text.len() as u64)), "{number}");
    }
}

/// A few kilobytes decompress to a single line of 128 MiB, which is neither held in memory nor split.
#[test]
fn a_gzip_bomb_is_one_reject() {
    let member = gzip("a".repeat(4 << 20));
    let world = World::with(member.repeat(32));
    let (run, peak) = convert_measured(&world, &["--max-rejects", "1"]);
    expect(&world, &run, 0, 0, "line_too_long=1");
    assert_eq!(run.count("/bytes_decompressed"), 128 << 20);
    let peak = peak >> 20;
    assert!(peak < 52, "the peak of {peak} MiB is close to the size of the line");
    let reject = &world.rejects()[0];
    assert_eq!(get(reject, "raw_length"), Some((128_u64 << 20).to_string().as_str()));
    assert_eq!(get(reject, "raw_line").unwrap().len(), 64 << 10);
}

// ---- lines

#[test]
fn lines_of_several_megabytes_are_rejects_and_the_next_lines_are_rows() {
    let long = |length: usize| "x".repeat(length).into_bytes();
    let good = Line::of(29).text().into_bytes();
    let lines = [good.clone(), long(3 << 20), good.clone(), long(9 << 20), good.clone(), good];
    let (world, _) = object(gzip(text_of(&lines)), 0, 4, "line_too_long=2");
    let mut offset = lines[0].len() + 1;
    for (reject, at) in world.rejects().iter().zip([1, 3]) {
        assert_eq!(get(reject, "line_number"), Some((at + 1).to_string().as_str()));
        assert_eq!(get(reject, "byte_offset"), Some(offset.to_string().as_str()));
        assert_eq!(get(reject, "raw_length"), Some(lines[at].len().to_string().as_str()));
        offset += lines[at].len() + lines[at + 1].len() + 2;
    }
}

#[test]
fn an_unterminated_quote_does_not_consume_the_next_line() {
    let open = Line::of(18).with(18, "\"Root=1-x").text();
    let closing = Line::of(29).with(1, "x\"").text();
    let text = text_of([&open, &Line::of(29).text(), &open, &closing, &Line::of(30).text()]);
    let (world, _) = object(gzip(text), 0, 2, "misplaced_quote=1 unterminated_quote=2");
    let numbers: Vec<_> =
        world.rejects().iter().map(|r| get(r, "line_number").unwrap().to_owned()).collect();
    assert_eq!(numbers, ["1", "3", "4"]);
}

#[test]
fn each_invalid_line_is_a_reject_and_the_others_are_rows() {
    let good = Line::of(29).text();
    let with = |bad: &[u8]| gzip([good.as_bytes(), b"\n", bad, b"\n", good.as_bytes()].concat());
    let cut = &good[..100];
    let bad = |number: usize, value: &str| Line::of(29).with(number, value).text();
    object(with(b""), 0, 2, "too_few_fields=1");
    object(with(cut.as_bytes()), 0, 2, "too_few_fields=1");
    object(with(&good.as_bytes()[..200]), 0, 2, "unterminated_quote=1");
    object(with(b"\0\0\0\0"), 0, 2, "too_few_fields=1");
    object(with(&[0xff; 700]), 0, 2, "invalid_utf8=1");
    object(with(bad(12, "99999999999999999999").as_bytes()), 0, 2, "invalid_value=1");
    object(with(bad(2, "2025-07-32T00:00:00.000000Z").as_bytes()), 0, 2, "invalid_value=1");
    object(with(good.replace(' ', "\t").as_bytes()), 0, 2, "misplaced_quote=1");
    object(with(format!("{good}\r").as_bytes()), 0, 3, "");
    object(with(bad(14, "\"a\0b\"").as_bytes()), 0, 3, "");
}

#[test]
fn a_reject_names_its_object_line_and_column() {
    let text = text_of([Line::of(29).text(), Line::of(29).with(9, "OK").text()]);
    let (world, _) = object(gzip(text), 0, 1, "invalid_value=1");
    let reject = &world.rejects()[0];
    let bad = Line::of(29).with(9, "OK").text();
    let expected = [
        ("log_type", "access".to_owned()),
        ("source_key", key(1)),
        ("line_number", "2".to_owned()),
        ("byte_offset", (Line::of(29).text().len() + 1).to_string()),
        ("reason", "invalid_value".to_owned()),
        ("column_name", "elb_status_code".to_owned()),
        ("raw_length", bad.len().to_string()),
        ("raw_line", bad),
    ];
    assert_eq!(reject.len(), expected.len());
    for (column, value) in expected {
        assert_eq!(get(reject, column), Some(value.as_str()), "{column}");
    }
}

// ---- objects and keys

/// File permissions do not apply to root, so the test makes an object unreadable by replacing it with a FIFO.
#[test]
#[cfg(unix)]
fn a_fifo_in_place_of_a_listed_object_is_an_error_without_blocking() {
    let world = World::new();
    world.put(&key(1), gzip(good_lines(1)));
    let source = Source::open(
        world.source().to_str().unwrap(),
        &Network::default(),
        alb2parquet::internals::logs::key::from_root,
    )
    .unwrap();
    let listed = source.list().next().unwrap().unwrap();
    let path = world.source().join(key(1));
    fs::remove_file(&path).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let error = source.read(&listed, &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "cannot be read: not a regular file but a FIFO");
}

#[test]
#[cfg(target_os = "linux")]
fn an_unreadable_object_is_skipped_and_named() {
    let world = World::new();
    world.put(&key(1), gzip(good_lines(3)));
    world.put(&key(3), gzip(good_lines(4)));
    std::os::unix::fs::symlink("/proc/self/mem", world.source().join(key(2))).unwrap();
    let run = world.convert_with(&["--json"]).expect(2);
    assert_eq!((run.count("/rows"), run.count("/lines")), (7, 7));
    assert_eq!((run.count("/objects/converted"), run.count("/objects/failed")), (2, 1));
    assert_eq!(run.json()["failures"][0]["object"], key(2));
    run.says(&[&key(2)]);
    // The data file is the same as if the source did not contain the unreadable object.
    let without = World::new();
    without.put(&key(1), gzip(good_lines(3)));
    without.put(&key(3), gzip(good_lines(4)));
    without.convert().expect(0);
    assert_eq!(contents(&world.out()), contents(&without.out()));
}

#[test]
fn an_object_that_changed_since_the_listing_is_not_read() {
    let world = World::with(gzip(good_lines(2)));
    let path = world.put(&key(2), gzip(good_lines(3)));
    let source = Source::open(
        world.source().to_str().unwrap(),
        &Network::default(),
        alb2parquet::internals::logs::key::from_root,
    )
    .unwrap();
    let listed: Vec<_> = source.list().map(Result::unwrap).collect();
    let object = |key: &str| listed.iter().find(|object| object.key() == key).unwrap();
    let read = |key: &str| source.read(object(key), &mut Vec::new()).map_err(|e| e.to_string());
    assert_eq!(read(&key(2)), Ok(()));
    fs::write(&path, gzip(good_lines(40))).unwrap();
    assert!(read(&key(2)).unwrap_err().contains("rewritten"));
    fs::remove_file(&path).unwrap();
    assert!(read(&key(2)).unwrap_err().contains("no longer exists"));
    assert_eq!(read(&key(1)), Ok(()));
}

#[test]
fn a_directory_with_the_name_of_an_object_is_not_listed() {
    let world = World::with(gzip(good_lines(2)));
    fs::create_dir_all(world.source().join(key(2))).unwrap();
    let run = world.convert_with(&["--json"]).expect(0);
    assert_eq!((run.count("/objects/listed"), run.count("/rows")), (1, 2));
}

#[test]
fn names_that_do_not_match_are_skipped_and_no_path_leaves_the_dataset() {
    let world = World::with(gzip(good_lines(1)));
    let good = key(2);
    let bad = [
        ("contradictory_path", good.replace("AWSLogs/012345678901", "AWSLogs/999999999999")),
        ("contradictory_path", good.replace("/eu-west-1/", "/us-east-1/")),
        ("contradictory_path", good.replace("/elasticloadbalancing/", "/CloudTrail/")),
        ("invalid_name", good.replace("eu-west-1", "EU_WEST")),
        ("invalid_name", good.replace("T1405Z", "")),
        ("invalid_name", good.replace("my-lb", "my lb")),
        ("invalid_name", good.replace("my-lb", "..")),
        ("unsupported_ending", good.replace(".log.gz", ".txt.gz")),
        ("unknown", "AWSLogs/..log.gz".to_owned()),
    ];
    for (_, key) in &bad {
        world.put(key, gzip(good_lines(9)));
    }
    // The partition of these objects depends only on their names.
    let odd = [
        key(3).replace("AWSLogs/012345678901", "AWSLogs/account"),
        key(4).replace("/2025/07/19", "/2025/13/19"),
        key(5).replace("/2025/07/19", "/2025/07/19/extra"),
        key(6).replace("2025/07/19", "...../.. /=/day="),
    ];
    for key in &odd {
        world.put(key, gzip(good_lines(1)));
    }
    let run = world.convert_with(&["--json"]).expect(4);
    assert_eq!(run.count("/rows"), 1 + odd.len() as u64);
    assert_eq!(run.count("/objects/skipped"), bad.len() as u64);
    for (kind, count) in
        [("contradictory_path", 3), ("invalid_name", 4), ("unsupported_ending", 1), ("unknown", 1)]
    {
        assert_eq!(run.count(&format!("/objects/skipped_by_kind/{kind}")), count, "{kind}");
    }
    let names: Vec<String> = tree(&world.out()).into_keys().collect();
    let claims = "_alb2parquet/claims/access/012345678901/eu-west-1/2025-07-19";
    let state = [format!("{claims}/1.claim.json"), format!("{claims}/1.done.json")];
    assert_eq!(names[..2], state);
    assert_eq!(names[2], "_alb2parquet/dataset.json");
    assert!(names[3].starts_with(&format!("{ROWS}/{PARTITION}/")), "{names:?}");
    assert_eq!(names.len(), 4, "{names:?}");
    let mut beside: Vec<_> =
        fs::read_dir(world.path("")).unwrap().map(|e| e.unwrap().file_name()).collect();
    beside.sort();
    assert_eq!(beside, ["out", "source"], "no other directory is created");
}

#[test]
fn objects_of_other_kinds_are_skipped_and_counted() {
    let world = World::with(gzip(good_lines(2)));
    let good = key(2);
    let (day, _) = good.rsplit_once('/').unwrap();
    let others = [
        ("test_file", "AWSLogs/012345678901/ELBAccessLogTestFile".to_owned()),
        ("cloudtrail", "AWSLogs/012345678901/CloudTrail/eu-west-1/2025/07/19/a.json.gz".to_owned()),
        ("unknown", format!("{day}/elb.log")),
        ("unknown", format!("{day}/README.txt")),
        ("unknown", "notes.md".to_owned()),
    ];
    for (_, key) in &others {
        world.put(key, "not read");
    }
    let run = world.convert_with(&["--json"]).expect(0);
    assert_eq!(run.count("/objects/listed"), 6);
    assert_eq!(run.count("/objects/skipped"), 5);
    let kinds = serde_json::json!({
        "test_file": 1, "cloudtrail": 1, "unknown": 3,
    });
    assert_eq!(run.json()["objects"]["skipped_by_kind"], kinds);
    assert_eq!(run.count("/rows"), 2);
}

#[test]
fn a_prefix_before_awslogs_does_not_change_the_partition() {
    let world = World::new();
    let prefixed = format!("team/logs/{}", key(1));
    world.put(&prefixed, gzip(good_lines(2)));
    world.convert().expect(0);
    assert_eq!(get(&world.rows()[0], "source_key"), Some(prefixed.as_str()));
    assert!(
        files(&world.out(), ROWS)[0].to_str().unwrap().contains(&format!("/{ROWS}/{PARTITION}/"))
    );
}

#[test]
fn a_source_below_awslogs_gives_the_same_dataset() {
    let world = World::with(gzip(good_lines(2)));
    world.convert().expect(0);
    let key = key(1);
    let depths = key.match_indices('/').map(|(at, _)| &key[..at]);
    for (number, below) in depths.enumerate() {
        let source = world.source().join(below);
        let out = world.path(&format!("below{number}"));
        convert(&[&source], &out, &[]).expect(0);
        assert!(contents(&out) == contents(&world.out()), "source {below}");
    }
}

#[test]
fn copies_are_converted_once() {
    let world = World::new();
    let object = gzip(good_lines(6));
    for prefix in ["", "a/", "b/c/"] {
        world.put(&format!("{prefix}{}", key(1)), &object);
    }
    let copy = world.path("copy");
    put(&copy, &key(1), &object);
    let sources = [&*world.source(), &*copy, &*world.source().join("AWSLogs")];
    let run = convert(&sources, &world.out(), &["--json"]).expect(0);
    assert_eq!((run.count("/rows"), run.count("/objects/converted")), (6, 1));
    assert_eq!(run.count("/objects/skipped_by_kind/duplicate"), 4);
    assert_eq!(run.count("/objects/listed"), 5);
}

#[test]
fn a_name_with_two_sizes_is_reported_and_converted_once() {
    let world = World::new();
    world.put(&format!("a/{}", key(1)), gzip(good_lines(6)));
    world.put(&format!("b/{}", key(1)), gzip(good_lines(60)));
    let run = world.convert_with(&["--json"]).expect(2);
    assert_eq!((run.count("/objects/converted"), run.count("/objects/failed")), (1, 1));
    assert_eq!(run.json()["failures"][0]["object"], format!("b/{}", key(1)));
    run.says(&["contradicts", &key(1)]);
    assert_eq!(run.count("/rows"), 6);
}

#[test]
fn an_object_under_two_days_belongs_to_the_first() {
    let world = World::new();
    let first = key(1);
    let second = first.replace("/2025/07/19/", "/2025/07/20/");
    world.put(&second, gzip(good_lines(6)));
    world.put(&first, gzip(good_lines(6)));
    let run = world.convert_with(&["--json"]).expect(0);
    assert_eq!(run.count("/objects/skipped_by_kind/duplicate"), 1);
    assert_eq!((run.count("/rows"), run.count("/partitions")), (6, 1));
    assert!(files(&world.out(), ROWS)[0].to_str().unwrap().contains(PARTITION));
}

#[test]
fn an_object_with_only_rejects_gets_no_data_file() {
    let (world, run) = object(gzip("not a line\n"), 0, 0, "too_few_fields=1");
    assert_eq!((files(&world.out(), ROWS).len(), files(&world.out(), REJECTS).len()), (0, 1));
    assert_eq!((run.count("/files"), run.count("/reject_files")), (0, 1));
}

#[test]
fn a_damaged_partition_does_not_affect_others() {
    let world = World::new();
    world.put(&key_on("2025/07/18", 1), "not\0gzip");
    world.put(&key_on("2025/07/19", 1), gzip(good_lines(3)));
    world.put(
        &key_of("999999999999", "us-gov-west-1", "2025/07/19", "x.0123456789abcdef", 1),
        gzip(good_lines(4)),
    );
    let run = world.convert_with(&["--json", "--max-rejects", "1"]).expect(2);
    assert_eq!((run.count("/rows"), run.count("/files"), run.count("/reject_files")), (7, 2, 1));
    assert_eq!(run.count("/partitions"), 3);
}
