//! Objects that do not contain the log type that their name indicates are rejected as a whole, and the message states
//! what they contain.

use alb2parquet::internals::decode::decoder::{Decoder, MAX_REJECTS};
use alb2parquet::internals::decode::sniff::recognize;
use alb2parquet::internals::logs::schema::LogType;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::exactly_once::findings;
use crate::logs::{full_line, lines_of};
use crate::random_text::config;
use crate::support::{
    Line, OBJECT, World, good_lines, gzip, key, key_of_log, run, segments_of, text_of, tree,
};

#[test]
fn an_object_of_another_kind_is_refused() {
    let json = text_of(["{\"type\":\"https\",\"time\":\"2025-07-19T14:03:21Z\"}"; 3]);
    let header =
        "#Version: 1.0\n#Fields: type time elb\nhttps 2025-07-19T14:03:21.123456Z app/a/b\n";
    let page = text_of(["<?xml version=\"1.0\"?>", "<Error><Code>AccessDenied</Code></Error>"]);
    let parquet = b"PAR1\x15\x04\n\x00\xff\x00\nPAR1".to_vec();
    let mut cases: Vec<(LogType, Vec<u8>, String)> = [
        (LogType::Access, page.clone(), "HTML or XML"),
        (LogType::Classic, page, "HTML or XML"),
        (LogType::Access, json.clone(), "JSON"),
        (LogType::NlbTls, json, "JSON"),
        (LogType::HealthCheck, header.into(), "W3C extended log lines"),
        (LogType::NlbTls, header.into(), "W3C extended log lines"),
        (LogType::Connection, parquet.clone(), "Parquet"),
        (LogType::NlbTls, parquet, "Parquet"),
    ]
    .map(|(named, text, holds)| (named, text, holds.to_owned()))
    .into();
    for named in LogType::ALL {
        for other in LogType::ALL.into_iter().filter(|other| *other != named) {
            cases.push((named, lines_of(other, 3), format!("{other} log lines")));
        }
    }
    for (named, text, holds) in cases {
        // Both compressed and uncompressed.
        for object in [gzip(&text), text.clone()] {
            let world = World::with(gzip(good_lines(4)));
            let foreign = key_of_log(named, 2);
            world.put(&foreign, object);
            let run = world.convert_with(&["--json"]).expect(2);
            let named = format!("is named like an object of the {named} log, but contains {holds}");
            run.says(&[&foreign, &named]);
            let counts = ["/objects/converted", "/objects/failed", "/lines", "/rows"];
            assert_eq!(counts.map(|count| run.count(count)), [1, 1, 4, 4], "{named}");
            assert_eq!(run.json()["failures"][0]["object"], foreign);
            assert_eq!(world.rejects(), [], "{named}");
            let staged = tree(&world.out()).into_keys().find(|name| name.contains("/staging/"));
            assert_eq!(staged, None, "{named}");
            // The object is not claimed, so it is converted once it has the correct name.
            world.convert().expect(2).says(&[&foreign, "1 converted_before"]);
        }
    }
}

/// The text of small objects is decoded together, and a call to the decoder stops after a number of rejects, which can be
/// in the middle of an object.
#[test]
fn neighbours_of_a_refused_object_are_unaffected() {
    let page = |lines: usize| [b"<Error>\n".to_vec(), b"x\n".repeat(lines - 1)].concat();
    let refused = [page(2 * MAX_REJECTS), good_lines(10)].concat();
    let world = World::new();
    for (number, text) in [(1, good_lines(4)), (2, refused), (3, good_lines(5))] {
        world.put(&key(number), gzip(text));
    }
    let run = world.convert_with(&["--json"]).expect(2);
    run.says(&[&key(2), "HTML or XML"]);
    assert_eq!(["/lines", "/rows"].map(|count| run.count(count)), [9, 9]);
    assert_eq!((world.rows().len(), world.rejects()), (9, Vec::new()));
    assert_eq!(findings(&world), ["not_converted"]);

    // An object with few such lines is converted, even if its neighbour has nearly as many rejects as a call can return.
    let neighbour = [good_lines(1), b"x\n".repeat(MAX_REJECTS - 50)].concat();
    let object = [page(1000), good_lines(10)].concat();
    let world = World::new();
    for (number, text) in [(1, neighbour), (2, object)] {
        world.put(&key(number), gzip(text));
    }
    let run = world.convert_with(&["--json", "--max-rejects", "1"]).expect(0);
    assert_eq!(run.count("/rows"), 11);
    assert_eq!(findings(&world), [""; 0]);
}

/// CloudWatch can deliver log lines to the same keys with other separators, selected fields or a header.
#[test]
fn an_object_with_chosen_fields_is_refused_by_name() {
    let quoted = |by: &str| text_of(vec![Line::of(36).0.join(by); 3]);
    let bare = |by: &str| String::from_utf8(quoted(by)).unwrap().replace('"', "");
    let without = |leave_out: &[usize]| {
        let fields = Line::of(36).0.into_iter().zip(1..);
        let left: Vec<String> =
            fields.filter(|(_, n)| !leave_out.contains(n)).map(|(field, _)| field).collect();
        text_of(vec![left.join(" "); 3])
    };
    let mut moved = Line::of(36).0;
    moved.swap(17, 29);
    let few = text_of(vec![Line::of(36).0[..10].join(" "); 2]);
    let one = text_of([
        "2025-07-19T14:03:21.123456Z 192.0.2.17:50718 200 \"GET https://h:443/ HTTP/1.1\"",
    ]);
    let header =
        [&b"type time elb client:port elb_status_code\n"[..], &without(&[5, 6, 7, 8])].concat();
    let names: Vec<&str> =
        LogType::Access.table().fields.iter().map(|field| field.name.as_str()).collect();
    let names = [names.join(",").into_bytes(), b"\n".to_vec(), quoted(",")].concat();
    let [access, connection, check, network, classic] = [
        LogType::Access,
        LogType::Connection,
        LogType::HealthCheck,
        LogType::NlbTls,
        LogType::Classic,
    ];
    let joined = |log_type: LogType, by: &str| text_of([full_line(log_type).0.join(by)]);
    let short = |log_type: LogType| text_of([full_line(log_type).0[1..].join(" ")]);
    let network_header: Vec<&str> =
        network.table().fields.iter().map(|field| field.name.as_str()).collect();
    let network_header =
        [network_header.join("\t").into_bytes(), b"\n".to_vec(), joined(network, "\t")].concat();
    let chosen = "log lines with omitted or reordered fields";
    let separated = |by| format!("log lines with fields separated by {by}");
    let cases = [
        (access, quoted("\t"), separated("tabs")),
        (access, bare("\t").into(), separated("tabs")),
        (access, quoted(","), separated("commas")),
        (access, quoted(";"), separated("semicolons")),
        (access, bare("|").into(), separated("vertical bars")),
        (access, quoted("~"), separated("\"~\"")),
        (access, bare("::").into(), separated("\"::\"")),
        (access, quoted("\x01"), separated("\"\\x01\"")),
        (access, quoted(" | "), separated("vertical bars")),
        (access, quoted("#@#@#"), separated("\"#@#@#\"")),
        (connection, joined(connection, "^"), separated("\"^\"")),
        (check, joined(check, "||"), separated("\"||\"")),
        (connection, joined(connection, "\t"), separated("tabs")),
        (connection, joined(connection, "; "), separated("semicolons")),
        (check, joined(check, ","), separated("commas")),
        (access, without(&[18]), chosen.to_owned()),
        (access, without(&[1, 3, 25, 26, 27]), chosen.to_owned()),
        (access, without(&[28, 29]), chosen.to_owned()),
        (access, text_of(vec![moved.join(" "); 9]), chosen.to_owned()),
        (access, few, chosen.to_owned()),
        (access, one, chosen.to_owned()),
        (connection, short(connection), chosen.to_owned()),
        (check, short(check), chosen.to_owned()),
        // By default, AWS separates the fields of vended Network Load Balancer logs with tabs.
        (network, joined(network, "\t"), separated("tabs")),
        (network, joined(network, ","), separated("commas")),
        (network, joined(network, "~"), separated("\"~\"")),
        (network, joined(network, "::"), separated("\"::\"")),
        (classic, joined(classic, "\t"), separated("tabs")),
        (classic, joined(classic, "^"), separated("\"^\"")),
        (network, short(network), chosen.to_owned()),
        (classic, short(classic), chosen.to_owned()),
        (network, network_header, "a header line with field names".to_owned()),
        (access, header, "a header line with field names".to_owned()),
        (access, names, "a header line with field names".to_owned()),
    ];
    let world = World::with(gzip(good_lines(4)));
    let mut objects: Vec<String> = Vec::new();
    for (number, (log_type, text, _)) in (2..).zip(&cases) {
        let object = key_of_log(*log_type, number);
        world.put(&object, gzip(text));
        objects.push(object);
    }
    let run = world.convert_with(&["--json"]).expect(2);
    let counts = ["/objects/converted", "/objects/failed", "/lines", "/rows"];
    assert_eq!(counts.map(|count| run.count(count)), [1, cases.len() as u64, 4, 4]);
    let failures = run.json()["failures"].as_array().unwrap().clone();
    for (object, (_, _, holds)) in objects.iter().zip(&cases) {
        let failure = failures.iter().find(|failure| failure["object"] == object[..]).unwrap();
        let error = failure["error"].as_str().unwrap();
        assert!(
            error.contains(&format!("but contains {holds}; none of it is converted. Configure")),
            "{error}"
        );
        // `inspect` reports the same.
        let path = world.source().join(object);
        let inspected =
            crate::support::run(&["inspect", path.to_str().unwrap(), "--json"]).expect(2);
        assert_eq!(inspected.json()["detected_content"], holds[..], "{object}");
    }
    assert_eq!(world.rejects(), []);
    world.convert().expect(2).says(&["1 converted_before"]);
}

#[test]
fn an_object_of_the_expected_kind_is_never_refused() {
    let network = lines_of(LogType::NlbTls, 20);
    let one_good = [network.clone(), good_lines(1)].concat();
    let broken = text_of([full_line(LogType::Connection).with(3, "x").text()]);
    let unlike = text_of(["{\"type\":\"https\"}", "what is this"]);
    let cases: [(LogType, Vec<u8>, u64, &str); 8] = [
        (LogType::Access, gzip(one_good), 1, "misplaced_quote=20"),
        (LogType::Connection, gzip(broken), 0, "invalid_value=1"),
        (LogType::Access, gzip(unlike), 0, "misplaced_quote=1 too_few_fields=1"),
        // Uncompressed, but its log type matches its name.
        (LogType::Access, good_lines(2), 2, ""),
        (LogType::HealthCheck, lines_of(LogType::HealthCheck, 2), 2, ""),
        (LogType::NlbTls, network, 20, ""),
        // AWS delivers this log as text, so a rejected line is an ordinary reject.
        (LogType::Classic, b"bad\n".to_vec(), 0, "too_few_fields=1"),
        (LogType::Classic, gzip(lines_of(LogType::Classic, 3)), 3, ""),
    ];
    for (log_type, object, rows, rejects) in cases {
        let world = World::new();
        world.put(&key_of_log(log_type, 1), object);
        let run = world.convert_with(&["--json", "--max-rejects", "1"]);
        assert_eq!((run.count("/rows"), &run.rejects()[..]), (rows, rejects), "{run:#?}");
        assert_eq!(run.count("/lines"), rows + world.rejects().len() as u64);
        assert_eq!(run.count("/objects/failed"), 0);
    }
}

/// Generates lines of a log type from any era. Any field that does not identify the log may be NULL.
fn lines_of_any_era(log_type: LogType) -> impl Strategy<Value = Vec<u8>> {
    let whole = full_line(log_type).0;
    let (required, known) = (log_type.table().required_fields, whole.len());
    let dashes = vec(any::<Index>(), 0..4);
    let line = (required..=known + 2, dashes).prop_map(move |(count, dashes)| {
        let mut fields = whole.clone();
        fields.resize(count, "extra".to_owned());
        for at in dashes {
            let at = 4 + at.index(count - 4);
            "-".clone_into(&mut fields[at]);
        }
        fields.join(" ")
    });
    vec(line, 1..12).prop_map(text_of)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn lines_of_each_log_are_recognized_under_the_name_of_each_other_log(
        (log_type, text) in select(&LogType::ALL[..])
            .prop_flat_map(|log_type| lines_of_any_era(log_type).prop_map(move |text| (log_type, text))),
    ) {
        for named in LogType::ALL {
            let decoded = Decoder::new(named.table()).decode(&mut segments_of(&[&text]), |_| OBJECT);
            let rejects = &decoded.segments[0].rejects;
            if named == log_type {
                prop_assert_eq!(rejects, &[]);
                continue;
            }
            prop_assert_eq!(decoded.batch.num_rows(), 0, "{} lines are rows of {}", log_type, named);
            let found = recognize(named, rejects).map(|foreign| foreign.to_string());
            prop_assert_eq!(found, Some(format!("{log_type} log lines")), "as {}", named);
        }
    }
}

#[test]
fn a_large_object_of_another_kind_is_refused_as_a_whole() {
    let world = World::with(gzip(good_lines(4)));
    // This object is streamed in segments. The lines in the last segment are valid access log lines.
    let text = [lines_of(LogType::NlbTls, 80_000), good_lines(2000)].concat();
    assert!(text.len() > 16 << 20);
    world.put(&key(2), gzip(text));
    world.put(&key(3), gzip(good_lines(5)));
    let run = world.convert_with(&["--json"]).expect(2);
    let counts = ["/objects/converted", "/objects/failed", "/lines", "/rows"];
    assert_eq!(counts.map(|count| run.count(count)), [2, 1, 9, 9]);
    let (source, out) = (world.source(), world.out());
    let [source, out] = [&source, &out].map(|path| path.to_str().unwrap());
    let verify = run_verify(source, out);
    assert_eq!(verify.json()["findings"].as_array().unwrap().len(), 1, "{verify:#?}");
    assert_eq!(verify.json()["findings"][0]["kind"], "not_converted");
}

fn run_verify(source: &str, out: &str) -> crate::support::Run {
    run(&["verify", source, "--out", out, "--read-data", "--json"])
}
