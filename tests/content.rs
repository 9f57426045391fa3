//! The bytes in an object: gzip members, padding, garbage, nested gzip, plain text, byte order marks.
//!
//! On random objects, both inflaters must agree with the reference reader.

use std::collections::BTreeSet;
use std::fs;

use alb2parquet::internals::decode::gzip::{Decompressed, Note, Whole};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::strategy::ValueTree;

use crate::exactly_once::CLAIMS;
use crate::random_text::config;
use crate::reference_objects::{Header, MARK, content, packed, streamed, whole};
use crate::support::{Line, World, get, good_lines, gzip, key, run, text_of};

// ---- random objects

/// A part of an object.
#[derive(Debug, Clone)]
enum Segment {
    Member(Vec<u8>, u32, Header),
    Bytes(Vec<u8>),
    /// Repeats this many of the object's last bytes: 8 for a whole trailer, or 4 for its length field.
    Again(usize),
    /// The beginning of a member.
    Cut(Vec<u8>, Index),
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let good = Line::of(17).text().into_bytes();
    let line = select(vec![good, b"bad".to_vec(), Vec::new(), Vec::new(), b"\xff".to_vec()]);
    let end = select(vec![&b"\n"[..], b"\n", b"\r\n", b"\n\n\n"]);
    let mark = select(vec![&b""[..], b"", b"", MARK, b"\x1f\x8b", b"\x1f\x8b\x08"]);
    let last = select(vec![&b""[..], b"", b"x", b"\r", b"\0"]);
    (mark, vec((line, end), 0..4), last).prop_map(|(mark, lines, last)| {
        let lines = lines.iter().flat_map(|(line, end)| [line, *end].concat());
        [mark, &lines.collect::<Vec<u8>>(), last].concat()
    })
}

fn fields() -> impl Strategy<Value = Header> {
    let extra = proptest::option::of(vec(any::<u8>(), 0..9));
    let checksum = select(&[None, None, None, Some(true), Some(false)]);
    let some = (extra, any::<bool>(), checksum).prop_map(|(extra, name, checksum)| Header {
        extra,
        name,
        checksum,
    });
    prop_oneof![Just(Header::default()), some]
}

fn segment() -> impl Strategy<Value = Segment> {
    let padding = (select(&[0, 0, b'\n', b'\r']), 1_usize..20).prop_map(|(b, n)| vec![b; n]);
    let garbage = vec(any::<u8>(), 1..20);
    prop_oneof![
        6 => (text(), select(&[0, 1, 6, 9]), fields()).prop_map(|(t, l, h)| Segment::Member(t, l, h)),
        2 => padding.prop_map(Segment::Bytes),
        1 => prop_oneof![garbage, text()].prop_map(Segment::Bytes),
        1 => select(&[4, 8, 8, 12]).prop_map(Segment::Again),
        1 => (text(), any::<Index>()).prop_map(|(text, at)| Segment::Cut(text, at)),
    ]
}

/// A change to a complete object.
#[derive(Debug, Clone)]
enum Change {
    None,
    Cut(Index),
    Flip(Index, u8),
    Compressed(usize),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        5 => Just(Change::None),
        1 => any::<Index>().prop_map(Change::Cut),
        1 => (any::<Index>(), 0_u8..8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        2 => (1_usize..6).prop_map(Change::Compressed),
    ]
}

fn object() -> impl Strategy<Value = Vec<u8>> {
    let ordinary = (text(), 1_u32..10).prop_map(|(t, level)| packed(&t, level, &Header::default()));
    let random = (vec(segment(), 0..5), vec(change(), 1..3)).prop_map(|(segments, changes)| {
        let mut object = Vec::new();
        for segment in segments {
            match segment {
                Segment::Member(text, level, fields) => {
                    object.extend(packed(&text, level, &fields));
                }
                Segment::Bytes(bytes) => object.extend(bytes),
                Segment::Again(count) => {
                    let from = object.len().saturating_sub(count);
                    object.extend_from_within(from..);
                }
                Segment::Cut(text, at) => {
                    let member = gzip(text);
                    object.extend(&member[..at.index(member.len())]);
                }
            }
        }
        for change in changes {
            match change {
                Change::Cut(at) => object.truncate(at.index(object.len() + 1)),
                Change::Flip(at, bit) if !object.is_empty() => {
                    let at = at.index(object.len());
                    object[at] ^= 1 << bit;
                }
                Change::Compressed(times) => {
                    for _ in 0..times {
                        object = gzip(&object);
                    }
                }
                Change::None | Change::Flip(..) => {}
            }
        }
        object
    });
    prop_oneof![1 => ordinary, 3 => random]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn both_inflaters_agree_with_the_reference_on_data_after_a_member(
        object in object(),
        lengths in vec(1_usize..60, 1..5),
    ) {
        let expected = content(&object);
        prop_assert_eq!(&streamed(&object, lengths), &expected);
        if let Some(whole) = whole(&object) {
            prop_assert_eq!(&whole, &expected);
        }
        let lines = expected.outcome.rows.len() + expected.outcome.rejects.len();
        prop_assert_eq!(expected.outcome.lines, lines as u64);
    }
}

// ---- through the program

/// Converts one object. Returns the world, the run, and the object's entry in its claim.
#[track_caller]
fn convert(object: impl AsRef<[u8]>, code: i32) -> (World, crate::support::Run, serde_json::Value) {
    let world = World::with(object);
    let run = world.convert_with(&["--json", "--max-rejects", "1"]).expect(code);
    let claim = fs::read(world.out().join(CLAIMS).join("1.claim.json")).unwrap();
    let mut claim: serde_json::Value = serde_json::from_slice(&claim).unwrap();
    (world, run, claim["objects"][0].take())
}

#[test]
fn unusual_content_is_noted_in_the_claim_the_summary_and_by_inspect() {
    let text = good_lines(3);
    let marked = [MARK, &text].concat();
    let padded = |padding: &[u8]| [&*gzip(&text), padding].concat();
    let twice = [&*padded(&[0; 512]), &gzip(&text), b"\n"].concat();
    let cases: [(Vec<u8>, u64, &[&str]); 11] = [
        (gzip(&text), 3, &[]),
        (gzip(&marked), 3, &["byte_order_mark"]),
        (marked.clone(), 3, &["byte_order_mark", "plain_text"]),
        (text.clone(), 3, &["plain_text"]),
        (gzip(gzip(&text)), 3, &["gzip_in_gzip"]),
        (gzip(gzip(gzip(gzip(&marked)))), 3, &["byte_order_mark", "gzip_in_gzip"]),
        (padded(&[0; 512]), 3, &["padding"]),
        (padded(b"\n"), 3, &["padding"]),
        (padded(b"\r\n"), 3, &["padding"]),
        // gzip(1) ignores the second member.
        (twice.clone(), 6, &["padding"]),
        (gzip(&twice), 6, &["gzip_in_gzip", "padding"]),
    ];
    for (object, rows, notes) in cases {
        let (world, summary, claimed) = convert(&object, 0);
        assert_eq!((summary.count("/rows"), summary.count("/lines")), (rows, rows), "{notes:?}");
        let counted: serde_json::Map<_, _> =
            notes.iter().map(|note| ((*note).to_owned(), 1.into())).collect();
        assert_eq!(summary.json()["notes"], serde_json::Value::Object(counted));
        let in_claim = claimed.get("notes").cloned().unwrap_or_else(|| serde_json::json!([]));
        assert_eq!(in_claim, serde_json::json!(notes));
        assert!(claimed["crc32"].is_string());
        let types: BTreeSet<_> =
            world.rows().iter().map(|r| get(r, "type").map(str::to_owned)).collect();
        assert_eq!(types.into_iter().collect::<Vec<_>>(), [Some("https".to_owned())]);
        let path = world.source().join(key(1));
        let inspected = run(&["inspect", path.to_str().unwrap(), "--json"]).expect(0).json();
        let found = inspected["notes"].as_array().unwrap().iter().map(|n| n.as_str().unwrap());
        assert_eq!(found.collect::<BTreeSet<_>>(), notes.iter().copied().collect());
        assert_eq!(inspected["rows"], rows);
        let page = run(&["inspect", path.to_str().unwrap()]).expect(0).stdout;
        for note in Note::ALL {
            let is_noted = notes.contains(&note.code());
            assert_eq!(page.contains(note.meaning()), is_noted, "{note:?} in {page}");
        }
        let [source, out] = [world.source(), world.out()].map(|p| p.to_str().unwrap().to_owned());
        run(&["verify", &source, "--out", &out, "--read-data"]).expect(0);
    }
}

#[test]
fn offsets_include_the_byte_order_mark() {
    let text = [MARK, &good_lines(1), b"bad\n"].concat();
    let large = [MARK, &good_lines(9000), b"bad\n"].concat();
    for text in [text, large] {
        for object in [gzip(&text), [gzip(&text[..2]), gzip(&text[2..])].concat(), text.clone()] {
            let (world, ..) = convert(object, 0);
            let offset = (text.len() - 4).to_string();
            assert_eq!(get(&world.rejects()[0], "byte_offset"), Some(offset.as_str()));
        }
    }
}

#[test]
fn a_nested_gzip_bomb_is_refused_by_name() {
    let mut object = gzip(good_lines(2));
    for _ in 0..4 {
        object = gzip(&object);
    }
    let (world, run, claimed) = convert(&object, 2);
    assert_eq!(run.rejects(), "nested_gzip=1");
    run.says(&[&key(1), "has more than four levels of gzip"]);
    assert_eq!((claimed.get("crc32"), claimed.get("notes")), (None, None));
    assert!(get(&world.rejects()[0], "raw_line").is_some_and(|raw| raw.len() > 10));
}

#[test]
fn plain_text_without_any_log_line_is_a_failure() {
    let page = "Access denied\nby the proxy\nof the network\n";
    let (_, run, claimed) = convert(page, 2);
    assert_eq!((run.count("/lines"), run.count("/objects/failed")), (3, 1));
    run.says(&[&key(1), "is not gzip, and contains no line of the access log"]);
    assert_eq!(claimed["notes"], serde_json::json!(["plain_text"]));
    // If the page also contains a valid log line, it is treated as a log.
    let (_, run, _) = convert([page.as_bytes(), &good_lines(1)].concat(), 0);
    assert_eq!((run.count("/lines"), run.count("/rows")), (4, 1));
}

/// An object that is not a log is rejected as a whole, whether or not it is compressed or has a byte order mark.
#[test]
fn foreign_content_is_refused_whether_compressed_or_not() {
    let utf16 = |mark: &[u8], high: bool| {
        let units = String::from_utf8(good_lines(2)).unwrap();
        let units =
            units.encode_utf16().flat_map(|u| if high { u.to_be_bytes() } else { u.to_le_bytes() });
        [mark, &units.collect::<Vec<u8>>()].concat()
    };
    let cases = [
        ("UTF-16 text", utf16(b"\xff\xfe", false)),
        ("UTF-16 text", utf16(b"\xfe\xff", true)),
        ("JSON", text_of(["{\"type\":\"https\"}"; 3])),
        ("JSON", [MARK, &text_of(["{\"type\":\"https\"}"; 3])].concat()),
        ("W3C extended log lines", b"#Version: 1.0\n#Fields: a b\n1 2\n".to_vec()),
        ("HTML or XML", text_of(["<html>", "<body>Access denied</body>", "</html>"])),
        ("Parquet", b"PAR1\x15\x04\x15\0\n\0PAR1".to_vec()),
    ];
    for (holds, bytes) in cases {
        for object in [bytes.clone(), gzip(&bytes), gzip(gzip(&bytes))] {
            let world = World::with(&object);
            let converted = world.convert_with(&["--json"]).expect(2);
            converted.says(&[&key(1), &format!("but contains {holds};")]);
            assert_eq!((converted.count("/lines"), world.rejects().len()), (0, 0), "{holds}");
            let path = world.source().join(key(1));
            let page = run(&["inspect", path.to_str().unwrap()]).expect(2).stdout;
            assert!(page.contains(&format!("contains {holds};")), "{page}");
        }
    }
}

#[test]
fn blank_lines_at_the_end_are_ignored_and_others_are_rejects() {
    let good = good_lines(2);
    for blank in [&b"\n"[..], b"\n\n\n\n", b"\r\n", b"\r\n\n\r\n", b"\n\r"] {
        let end = [&good, blank].concat();
        let middle = [&good, blank, b"\n", &good].concat();
        let count = middle.split(|byte| *byte == b'\n').count() as u64 - 1 - 4;
        for (text, rows, rejects) in [(end, 2, 0), (middle, 4, count)] {
            for object in [gzip(&text), text.clone(), [gzip(&text[..9]), gzip(&text[9..])].concat()]
            {
                let (world, run, claimed) = convert(object, 0);
                assert_eq!(run.count("/rows"), rows, "{}", blank.escape_ascii());
                assert_eq!(run.count("/lines"), rows + rejects);
                assert_eq!(world.rejects().len() as u64, rejects);
                assert_eq!(claimed["uncompressed_size"], text.len());
                assert_eq!(run.count("/bytes_decompressed"), text.len() as u64);
            }
        }
    }
    let (_, run, _) = convert(gzip("\n".repeat(5000)), 0);
    assert_eq!((run.count("/lines"), run.count("/objects/converted")), (0, 1));
}

/// If an object ends with a copy of its first member's trailer or length field, the data in between must not be lost.
#[test]
fn a_copied_trailer_does_not_end_an_object() {
    let first = gzip(good_lines(3));
    let (trailer, length) = (&first[first.len() - 8..], &first[first.len() - 4..]);
    let second = gzip_of(&good_lines(2));
    let cases = [
        ([&*first, &second, trailer].concat(), 5, "trailing_garbage=1"),
        ([&*first, &second, length].concat(), 5, "trailing_garbage=1"),
        ([&*first, b"GET / HTTP/1.1", trailer].concat(), 3, "trailing_garbage=1"),
        ([&*first, &[0; 9], &second, trailer].concat(), 5, "trailing_garbage=1"),
        ([&*first, &first].concat(), 6, ""),
        ([&*first, &[0; 9], &first].concat(), 6, ""),
    ];
    for (object, rows, rejects) in cases {
        assert!(!Whole::default().inflate(0, &object, &mut Decompressed::default()));
        let (_, run, _) = convert(object, if rejects.is_empty() { 0 } else { 2 });
        assert_eq!((run.count("/rows"), run.rejects().as_str()), (rows, rejects));
    }
}

fn gzip_of(text: &[u8]) -> Vec<u8> {
    packed(text, 9, &Header { extra: Some(vec![1, 2]), name: true, checksum: Some(true) })
}

#[test]
fn a_wrong_header_checksum_is_corruption() {
    for (checksum, rejects) in [(true, ""), (false, "corrupt_gzip=1")] {
        let fields = Header { checksum: Some(checksum), ..Header::default() };
        let (_, run, _) = convert(packed(&good_lines(3), 6, &fields), if checksum { 0 } else { 2 });
        assert_eq!(run.rejects(), rejects);
    }
}

/// Objects with a single gzip member are the common case and must take the fast path.
#[test]
fn ordinary_objects_are_decompressed_at_once() {
    let objects = (1..400).map(|count| gzip(good_lines(count)));
    let whole = objects.filter(|object| whole(object).is_some()).count();
    assert!(whole >= 398, "{whole} of 399");
}

#[test]
fn random_objects_cover_every_kind() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut whole_count, mut kinds) = (0, BTreeSet::new());
    for _ in 0..300 {
        let object = object().new_tree(&mut runner).unwrap().current();
        whole_count += u32::from(whole(&object).is_some());
        let content = content(&object);
        kinds.extend(content.notes);
        kinds.extend(content.outcome.rejects.into_iter().map(|r| match &r.reason[..] {
            "corrupt_gzip" => "corrupt_gzip",
            "truncated_gzip" => "truncated_gzip",
            "trailing_garbage" => "trailing_garbage",
            "nested_gzip" => "nested_gzip",
            "not_gzip" => "not_gzip",
            _ => "line",
        }));
    }
    assert!(whole_count > 20, "{whole_count} of 300 are decompressed at once");
    assert_eq!(kinds.len(), 10, "some kinds are missing: {kinds:?}");
}
