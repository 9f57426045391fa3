//! Tests that lists of random keys in every format are read back, and that anything else is refused.

use std::io::{BufReader, Cursor, Write as _};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::store::Kind;

const BUCKET: &str = "my-logs";
const TAG: &str = "0123456789abcdef0123456789abcdef";

/// The result of reading a list.
struct Read {
    named: Vec<Named>,
    manifest: Option<Manifest>,
    end: Result<(), ObjectsError>,
}

fn home(prefix: Option<&str>) -> Home {
    let prefix = prefix.map(ToOwned::to_owned);
    Home::Bucket { kind: Kind::S3, name: BUCKET.to_owned(), prefix }
}

fn read_of(home: &Home, text: &[u8]) -> Read {
    let mut named = Vec::new();
    let mut each = |one: Named| {
        named.push(one);
        Ok(())
    };
    let (name, source, is_relative) = ("list.txt", "s3://my-logs", None);
    let mut list = List { name, source, home, is_relative, each: &mut each };
    // The small buffer simulates reading from a pipe.
    let input = BufReader::with_capacity(7, Cursor::new(text.to_vec()));
    let (manifest, end) = match list.read(Box::new(input)) {
        Ok(manifest) => (manifest, Ok(())),
        Err(error) => (None, Err(error)),
    };
    Read { named, manifest, end }
}

fn read_text(text: impl AsRef<[u8]>) -> Read {
    read_of(&home(None), text.as_ref())
}

/// Reads a list that must be refused, and returns the error.
#[track_caller]
fn refused(text: impl AsRef<[u8]>) -> String {
    let read = read_text(text.as_ref());
    assert!(read.named.is_empty(), "{:?}", read.named);
    read.end.expect_err("it is refused").to_string()
}

fn parquet_of(keys: &[String], sizes: &[u64]) -> Vec<u8> {
    let texts = |of: Vec<&str>| Arc::new(StringArray::from(of)) as ArrayRef;
    let count = keys.len();
    let sizes = sizes.iter().map(|size| *size as i64);
    let batch = RecordBatch::try_from_iter([
        ("bucket", texts(vec![BUCKET; count])),
        ("key", texts(keys.iter().map(String::as_str).collect())),
        ("is_latest", Arc::new(BooleanArray::from(vec![true; count])) as ArrayRef),
        ("size", Arc::new(Int64Array::from_iter_values(sizes)) as ArrayRef),
        ("e_tag", texts(vec![TAG; count])),
        ("storage_class", texts(vec!["GLACIER"; count])),
    ]);
    let batch = batch.unwrap();
    let mut file = Vec::new();
    let mut writer =
        ::parquet::arrow::ArrowWriter::try_new(&mut file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    file
}

fn encoded(key: &str) -> String {
    let parts = key.split('/').map(|part| utf8_percent_encode(part, NON_ALPHANUMERIC).to_string());
    parts.collect::<Vec<_>>().join("/")
}

#[allow(clippy::too_many_lines)] // a table
/// Returns the same objects as a list in each format, and whether the format contains sizes and ETags.
fn formats(keys: &[String], sizes: &[u64]) -> Vec<(&'static str, Vec<u8>, bool, bool)> {
    let lines = |line: &dyn Fn(&str, u64) -> String| -> Vec<u8> {
        let lines = keys.iter().zip(sizes).map(|(key, size)| line(key, *size) + "\n");
        lines.collect::<String>().into_bytes()
    };
    let plain = lines(&|key, _| key.to_owned());
    let text = String::from_utf8(plain.clone()).unwrap();
    let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    zipped.write_all(&plain).unwrap();
    let contents = |keys: &[String], sizes: &[u64], more: bool| -> Vec<serde_json::Value> {
        let object = |(key, size): (&String, &u64)| {
            let mut object = json!({"LastModified": "2025-07-19T14:05:10+00:00", "Key": key, "Size": size,
                "ETag": format!("\"{TAG}\""), "ChecksumAlgorithm": ["CRC32"], "StorageClass": "STANDARD"});
            if more {
                object["IsLatest"] = true.into();
            }
            object
        };
        keys.iter().zip(sizes).map(object).collect()
    };
    let half = keys.len() / 2;
    let responses = [(0, half), (half, keys.len())].map(|(from, to)| {
        let contents = contents(&keys[from..to], &sizes[from..to], false);
        serde_json::to_string_pretty(
            &json!({"IsTruncated": false, "Contents": contents, "Name": BUCKET}),
        )
        .unwrap()
    });
    let mut old = contents(keys, sizes, true);
    let mut older = old.clone();
    for one in &mut older {
        one["IsLatest"] = false.into();
    }
    old.extend(older);
    let versions = json!({"Versions": old, "DeleteMarkers": [{"Key": "gone", "IsLatest": true}]});
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(["Key", "ETag", "Bucket", "Size"]).unwrap();
    for (key, size) in keys.iter().zip(sizes) {
        csv.write_record([key, TAG, BUCKET, &size.to_string()]).unwrap();
    }
    let time = "2025-07-19 14:05:10";
    let ls = lines(&|key, size| format!("{time} {size:>10} {key}"));
    let total = "\nTotal Objects: 3\n   Total Size: 9 Bytes\n";
    let stamp = "2025-07-19T14:05:10.000Z";
    let tagged = lines(&|key, size| {
        format!("CONTENTS\t\"{TAG}\"\t{key}\t{stamp}\t{size}\tSTANDARD\nCHECKSUMALGORITHM\tCRC32")
    });
    let s5 = "2025/07/19 14:05:10";
    vec![
        ("keys", plain.clone(), false, false),
        (
            "keys, Windows",
            format!("\u{feff}{}", text.replace('\n', "\r\n")).into_bytes(),
            false,
            false,
        ),
        ("keys, last line not terminated", text.trim_end_matches('\n').into(), false, false),
        ("keys after a comment", format!("# july\n\n{text}").into_bytes(), false, false),
        ("find", lines(&|key, _| format!("./{key}")), false, false),
        ("find -print0", text.replace('\n', "\0").into_bytes(), false, false),
        ("s3 URLs", lines(&|key, _| format!("s3://{BUCKET}/{key}")), false, false),
        ("ARNs", lines(&|key, _| format!("arn:aws:s3:::{BUCKET}/{key}")), false, false),
        (
            "https URLs",
            lines(&|key, _| {
                format!("https://{BUCKET}.s3.eu-west-1.amazonaws.com/{}", encoded(key))
            }),
            false,
            false,
        ),
        (
            "https URLs, path style",
            lines(&|key, _| {
                format!("https://s3.eu-west-1.amazonaws.com/{BUCKET}/{}", encoded(key))
            }),
            false,
            false,
        ),
        ("aws s3 ls", ls.clone(), true, false),
        ("aws s3 ls --summarize", [&ls, total.as_bytes()].concat(), true, false),
        (
            "aws s3 ls --human-readable",
            lines(&|key, _| format!("{time} {:>10} {key}", "1.2 KiB")),
            false,
            false,
        ),
        (
            "aws s3 ls --human-readable, bytes",
            lines(&|key, _| format!("{time} {:>10} {key}", "9 Bytes")),
            false,
            false,
        ),
        (
            "s5cmd ls",
            lines(&|key, size| format!("{s5}                {size:>12}  {key}")),
            true,
            false,
        ),
        (
            "s5cmd ls -e",
            lines(&|key, size| format!("{s5}   {TAG:<38} {size:>12} {key}")),
            true,
            true,
        ),
        (
            "s5cmd --json ls",
            lines(&|key, size| {
                json!({"key": format!("s3://{BUCKET}/{key}"), "etag": TAG, "type": "file", "size": size})
                    .to_string()
            }),
            true,
            true,
        ),
        ("s3api json", responses[0].clone().into_bytes(), true, true),
        ("s3api json, two responses", responses.join("\n").into_bytes(), true, true),
        ("s3api json, versions", versions.to_string().into_bytes(), true, true),
        (
            "s3api json, keys",
            serde_json::to_string_pretty(keys).unwrap().into_bytes(),
            false,
            false,
        ),
        ("jq", lines(&|key, _| json!(key).to_string()), false, false),
        (
            "s3api json, rows",
            json!(
                keys.iter()
                    .zip(sizes)
                    .map(|(k, s)| json!([k, s, format!("\"{TAG}\"")]))
                    .collect::<Vec<_>>()
            )
            .to_string()
            .into_bytes(),
            true,
            true,
        ),
        ("s3api text", tagged.clone(), true, true),
        ("s3api text, entire output", [b"None\t\tNone\n", &tagged[..]].concat(), true, true),
        ("s3api text, keys", format!("{}\n", keys.join("\t")).into_bytes(), false, false),
        ("s3api text, rows", lines(&|key, size| format!("{key}\t{size}\t\"{TAG}\"")), true, true),
        ("CSV", csv.into_inner().unwrap(), true, true),
        (
            "inventory",
            lines(&|key, size| format!("\"{BUCKET}\",\"{}\",\"{size}\"", encoded(key))),
            false,
            false,
        ),
        ("Parquet", parquet_of(keys, sizes), true, true),
    ]
}

/// Generates log keys with arbitrary prefixes.
fn keys() -> impl Strategy<Value = Vec<(String, u64)>> {
    let own = "([A-Za-z(%=_\u{e9}\u{65e5}][ -.0-~\u{e9}\u{65e5}\u{1f600}]{0,10}/){0,2}";
    let key = (own, 0_u32..100).prop_map(|(own, number)| {
        let name = format!("123456789012_elasticloadbalancing_eu-west-1_app.a.b_20250719T1405Z_192.0.2.1_{number:08x}.log.gz");
        format!("{own}AWSLogs/123456789012/elasticloadbalancing/eu-west-1/2025/07/19/{name}")
    });
    prop::collection::vec((key, 0_u64..u64::from(u32::MAX)), 1..6)
}

/// Returns whether a key cannot be mistaken for a URL, an ARN or a signature.
fn is_plain(key: &str) -> bool {
    !key.contains("://") && !key.starts_with("arn:") && !key.contains("sig=")
}

proptest! {
    // Fewer cases than usual, because each case tests a list in thirty formats.
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 4))]

    #[test]
    fn keys_are_read_back_from_every_format(objects in keys()) {
        let (keys, sizes): (Vec<String>, Vec<u64>) = objects.into_iter().unzip();
        prop_assume!(keys.iter().all(|key| is_plain(key)));
        for (format, text, has_size, has_tag) in formats(&keys, &sizes) {
            let read = read_text(&text);
            prop_assert!(read.end.is_ok(), "{}: {}", format, read.end.unwrap_err());
            let half = keys.len() / 2;
            let expected = if format == "s3api json" { &keys[..half] } else { &keys[..] };
            let found: Vec<&String> = read.named.iter().map(|named| &named.key).collect();
            prop_assert_eq!(found, expected.iter().collect::<Vec<_>>(), "{}", format);
            for (named, size) in read.named.iter().zip(&sizes) {
                prop_assert_eq!(named.size, has_size.then_some(*size), "{}", format);
                let tag = has_tag.then(|| format!("\"{TAG}\""));
                prop_assert_eq!(named.e_tag.as_ref(), tag.as_ref(), "{}", format);
            }
        }
    }

    #[test]
    fn arbitrary_text_does_not_panic(
        parts in prop::collection::vec(
            prop_oneof![
                Just("AWSLogs/1/x.log.gz".to_owned()), Just("2025-07-19 14:05:10        3 a/b".to_owned()),
                Just("2025/07/19 14:05:10          3 a".to_owned()), Just("CONTENTS\t\"t\"\ta".to_owned()),
                Just("\n".to_owned()), Just("\t".to_owned()), Just("\0".to_owned()), Just("{\"Contents\":".to_owned()),
                Just("[".to_owned()), Just("\"Key\":".to_owned()), Just("Key,Size".to_owned()), Just("\"my-logs\",\"a\"".to_owned()),
                Just("s3://my-logs/".to_owned()), Just("https://".to_owned()), Just("arn:aws:s3:::".to_owned()),
                Just("./".to_owned()), Just("#".to_owned()), Just("None".to_owned()), "\\PC{0,6}",
            ],
            0..10,
        )
    ) {
        let read = read_text(parts.concat());
        if let Err(ObjectsError::Shape { .. }) = read.end {
            prop_assert!(read.named.is_empty());
        }
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let read = read_text(bytes);
        prop_assert!(read.named.len() < 100);
    }
}

#[test]
fn anything_but_a_list_is_refused_at_its_first_line() {
    let html = refused("\n<!DOCTYPE html>\n<html>\n");
    assert!(html.starts_with("list.txt, line 2: \"<!DOCTYPE html>\": a list is keys"), "{html}");
    for (text, words) in [
        (&b"hello\nAWSLogs/x\n"[..], "line 1: \"hello\""),
        (b"total 12\n-rw-r--r-- 1 root root 362 Jul 19 14:05 AWSLogs/x\n", "line 1"),
        (b"                           PRE AWSLogs/\n", "line 1: "),
        (b"my-logs,AWSLogs/x\n", "line 1"),
        (b"name\tAWSLogs/x\tother\n", "line 1"),
        (b"\xff\xfea\0b\0\n\0", "UTF-16"),
        (b"a/\xffb\n", "not UTF-8"),
        (b"ORC\n\0\x01\x02 AWSLogs/x", "ORC"),
        (b"{\"a\": 1}", "neither Contents nor Key"),
        (b"{\"Contents\": 7}", "an array of keys"),
        (b"[{\"Size\": 7}]", "missing field `Key`"),
        (b"[[\"a\", \"b\"]]", "a row has more strings"),
        (b"{\"Contents\": [], \"EncodingType\": \"url\"}", "--encoding-type"),
        (b"Total: 3\x1b[31m AWSLogs/x\n", "\\x1b[31m"),
        (b"s3://other/AWSLogs/x\n", "\"other\" is another bucket"),
        (b"\"other\",\"AWSLogs/x\"\n", "line 1: \"other\" is another bucket"),
        (b"file:///logs/AWSLogs/x\n", "SOURCE is a bucket"),
        (b"/logs/AWSLogs/x\n", "absolute path"),
        (b" own/AWSLogs/x\n", "begins with a space"),
        (b"#AWSLogs/x/elasticloadbalancing/y.gz\n", "write the key as a URL"),
        (b"https://my-logs.s3.amazonaws.com/x?versionId=1\n", "query"),
    ] {
        let error = refused(text);
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_line_in_another_format_is_refused_with_its_number() {
    for (text, line, count) in [
        ("AWSLogs/x\n\n2025-07-19 14:05:10         3 AWSLogs/y\n", "line 3", 1),
        ("AWSLogs/x\nAWSLogs/\ty\n", "line 2", 1),
        ("2025-07-19 14:05:10         3 AWSLogs/x\nAWSLogs/y\n", "line 2", 1),
        ("2025/07/19 14:05:10         3 AWSLogs/x\n\nAWSLogs/y\n", "line 3", 1),
        ("Key,Size\nAWSLogs/x,3\n\"AWSLogs/y,3\n", "line 3", 1),
        ("\"my-logs\",\"AWSLogs/x\"\n\"other\",\"AWSLogs/y\"\n", "line 2", 1),
        ("{\"Key\": \"a\"}\n{\"Key\": \"b\"}\n{\"Key\": 1}\n", "line 3", 2),
        ("CONTENTS\t\"0f\"\ta\t2025-07-19T14:05:10Z\t3\nCONTENTS\t\"0f\"\n", "line 2", 1),
        ("s3://my-logs/AWSLogs/x\ns3://other/AWSLogs/y\n", "line 2", 1),
    ] {
        let read = read_text(text);
        let error = read.end.expect_err(text).to_string();
        assert!(error.contains(line), "{text}: {error}");
        assert_eq!(read.named.len(), count, "{text}");
    }
}

#[test]
fn credentials_in_a_list_are_never_shown() {
    for text in [
        "s3://AKIAEXAMPLE:topsecret@my-logs/AWSLogs/x\n",
        "AWSLogs/x\ns3://AKIAEXAMPLE:top/topsecret@my-logs/AWSLogs/x\n",
        "https://my-logs.s3.amazonaws.com/AWSLogs/x?X-Amz-Signature=topsecret\n",
        "az://c/AWSLogs/x?sv=1&sig=topsecret\n",
        "?sv=1&sig=topsecret\n",
        "[\"https://u:topsecret@h/AWSLogs/x\"]\n",
        "{\"Key\": \"s3://u:topsecret@my-logs/AWSLogs/x\"}\n",
        "Key\ts3://u:topsecret@my-logs/x\n",
    ] {
        let error = format!("{:#}", read_text(text).end.expect_err(text));
        assert!(!error.contains("topsecret"), "{error}");
    }
}

#[test]
fn lines_and_strings_are_bounded() {
    let long = "x".repeat(50 << 20);
    for text in [
        format!("a/{long}"),
        format!("AWSLogs/x\n{long}\n"),
        format!("[\"{long}\"]"),
        format!("Key,Size\n\"{long}"),
    ] {
        let error = read_text(text).end.expect_err("it is too long");
        let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        assert!(source.contains("is longer than 65536 bytes"), "{error}: {source}");
    }
    let comments = "# july\n".repeat(20_000);
    assert!(refused(format!("{comments}AWSLogs/x\n")).contains("comments"));
    let some = "# july\n\n".repeat(200);
    assert_eq!(read_text(format!("{some}AWSLogs/x\n")).named.len(), 1);
    assert!(read_text(some).end.is_ok());
    // The limit applies to each key, so one line with a page of tab-separated keys can exceed it.
    let keys: Vec<String> = (0..5000).map(|n| format!("AWSLogs/123456789012/{n:060}.gz")).collect();
    assert_eq!(read_text(keys.join("\t")).named.len(), 5000);
}

#[test]
fn paths_of_s5cmd_are_relative_to_the_listed_prefix() {
    let home = home(Some("own"));
    let line = |key: &str| format!("2025/07/19 14:05:10             3 {key}\n");
    for text in [line("own/AWSLogs/x"), line("AWSLogs/x")] {
        let read = read_of(&home, text.as_bytes());
        assert_eq!(read.named[0].key, "own/AWSLogs/x");
    }
    let mixed = line("own/AWSLogs/x") + &line("AWSLogs/y");
    assert!(
        read_of(&home, mixed.as_bytes()).end.unwrap_err().to_string().contains("--show-fullpath")
    );
    let flat = "2025-07-19 14:05:10         3 1_elasticloadbalancing_x.log.gz\n";
    let error = read_of(&home, flat.as_bytes()).end.unwrap_err().to_string();
    assert!(error.contains("--recursive"), "{error}");
}

#[test]
fn manifests_determine_the_format_of_their_files() {
    let manifest = |format: &str, bucket: &str| {
        json!({"sourceBucket": bucket, "destinationBucket": "arn:aws:s3:::inventories", "fileFormat": format,
            "fileSchema": "Bucket, Key, Size", "files": [{"key": "data/0f", "size": 9}]})
    };
    let format_of = |json: serde_json::Value| {
        let manifest = read_text(json.to_string()).manifest.expect("it is a manifest");
        let (home, mut each) = (home(None), |_| Ok::<(), ObjectsError>(()));
        let (name, source, is_relative) = ("manifest.json", "s3://my-logs", None);
        let list = List { name, source, home: &home, is_relative, each: &mut each };
        list.format_of_files(&manifest)
    };
    assert!(
        matches!(format_of(manifest("CSV", BUCKET)), Ok(ListFormat::Inventory(columns)) if columns.size == Some(2))
    );
    assert!(matches!(format_of(manifest("Parquet", BUCKET)), Ok(ListFormat::Parquet)));
    assert!(format_of(manifest("ORC", BUCKET)).unwrap_err().to_string().contains("Parquet or CSV"));
    assert!(
        format_of(manifest("CSV", "other")).unwrap_err().to_string().contains("another bucket")
    );
    let truncated = read_text("{\"fileFormat\": \"CSV\"}").end.unwrap_err().to_string();
    assert!(truncated.contains("destinationBucket"), "{truncated}");
}

#[test]
fn impossible_sizes_are_refused() {
    for size in ["281474976710657", "18446744073709551615"] {
        let text = refused(format!("Key,Size\na/b,{size}\n"));
        assert!(text.contains("line 2: \"a/b\": the size is impossible"), "{text}");
    }
    assert_eq!(read_text("Key,Size\na/b,281474976710656\n").named.len(), 1);
}
