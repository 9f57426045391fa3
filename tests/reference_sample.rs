//! `verify --read-data` also decodes a sample of the objects with the reference decoder.

use std::sync::atomic::AtomicBool;

use alb2parquet::internals::logs::key::from_root;
use alb2parquet::internals::logs::schema::{LogType, Table};
use alb2parquet::internals::maintain::verify::Verification;
use alb2parquet::internals::plan::Selection;
use alb2parquet::internals::redact::Redaction;
use alb2parquet::internals::store::{Network, Source};

use crate::logs::mixed;
use crate::reference_objects::MARK;
use crate::support::{Line, Run, World, good_lines, gzip, key, open_dataset, text_of};

const LENIENT: [&str; 2] = ["--max-rejects", "1"];

fn verify(world: &World, args: &[&str]) -> Run {
    let fixed = ["--read-data", "--to", "2099-12-31"];
    world.run("verify", true, &[&fixed[..], args].concat())
}

/// Verifies a world with the given schemas for the reference decoder. Returns the number of objects in the sample, and
/// each finding's kind, problem and remedy.
fn verify_with(
    world: &World,
    reference: impl Fn(LogType) -> &'static Table + Sync,
) -> (u64, Vec<[String; 3]>) {
    let network = Network::default();
    let verification = Verification {
        sources: &[Source::open(world.source().to_str().unwrap(), &network, from_root).unwrap()],
        dataset: &open_dataset(&world.out()),
        selection: &Selection::default(),
        read_data: Some(&Redaction::default()),
        restore: false,
        reference: &reference,
        stop: &AtomicBool::new(false),
    };
    let report = verification.run().unwrap();
    let remedy = |remedy| serde_json::to_string(&remedy).unwrap();
    let findings = report.findings.into_iter();
    let findings = findings.map(|each| [each.kind.to_owned(), each.problem, remedy(each.remedy)]);
    (report.reference_decoded, findings.collect())
}

/// Returns a log type's schema after replacing `from` with `to` in the schema file.
fn changed(log_type: LogType, from: &str, to: &str) -> &'static Table {
    let text = match log_type {
        LogType::Connection => include_str!("../schemas/connection.toml"),
        LogType::HealthCheck => include_str!("../schemas/health_check.toml"),
        LogType::NlbTls => include_str!("../schemas/nlb_tls.toml"),
        LogType::Classic => include_str!("../schemas/classic.toml"),
        _ => include_str!("../schemas/access.toml"),
    };
    assert!(text.contains(from), "{from}");
    Box::leak(Box::new(Table::parse(&text.replace(from, to)).unwrap()))
}

#[test]
fn the_first_object_of_each_log_is_decoded_twice() {
    let world = mixed();
    world.convert_with(&LENIENT).expect(0);
    let run = verify(&world, &["--json"]).expect(0);
    assert_eq!((run.count("/compared"), run.count("/reference_decoded")), (6, 5));
    let run = verify(&world, &[]).expect(0);
    let line = "reference   5 objects also decoded by the reference decoder, 0 different";
    assert!(run.stdout.contains(line) || run.stderr.contains(line), "{run:#?}");
    let run = world.run("verify", true, &["--json", "--to", "2099-12-31"]).expect(0);
    assert_eq!(run.count("/reference_decoded"), 0, "without --read-data");
}

#[test]
fn redacted_datasets_have_a_sample_too() {
    let world = mixed();
    world.convert_with(&["--max-rejects", "1", "--redact", "client_ip=truncate"]).expect(0);
    assert_eq!(verify(&world, &["--json"]).expect(0).count("/reference_decoded"), 5);
}

/// A wrong schema for the reference decoder simulates a bug in the main decoder. The dataset agrees with the main
/// decoder, so only the reference decoder detects the difference.
#[test]
fn a_different_result_of_the_reference_decoder_is_a_finding() {
    let world = mixed();
    world.convert_with(&LENIENT).expect(0);
    assert_eq!(verify_with(&world, LogType::table), (5, Vec::new()));
    let (sampled, mut findings) = verify_with(&world, |log_type| match log_type {
        LogType::Access => changed(log_type, "part = \"protocol\"", "part = \"verb\""),
        LogType::Connection => changed(log_type, "part = \"not_after\"", "part = \"not_before\""),
        LogType::NlbTls => changed(log_type, "quotes = \"literal\"", "quotes = \"plain\""),
        LogType::Classic => changed(log_type, "part = \"url\"", "part = \"verb\""),
        _ => changed(log_type, "required_fields = 8", "required_fields = 0"),
    });
    assert_eq!((sampled, findings.len()), (5, 5), "{findings:?}");
    findings.sort();
    for ([kind, problem, remedy], difference) in findings.iter().zip([
        "column leaf_client_cert_not_after of line 1",
        "column request_proto of line 1",
        "column url of line 1",
        "line 1 is a reject (misplaced_quote, ",
        "line 4 is a row instead of a reject (too_few_fields, 3 bytes at ",
    ]) {
        assert_eq!((kind.as_str(), remedy.as_str()), ("decoder_mismatch", "\"report_bug\""));
        let expected = format!("the reference decoder returns a different result: {difference}");
        assert!(problem.starts_with(&expected), "{problem}");
    }
}

#[test]
fn the_first_line_that_differs_is_named() {
    let world = World::with(gzip(text_of([
        Line::of(29).with(13, "\"- http://h:80- -\"").text(),
        Line::of(30).with(14, "\"a\nb\"").text(),
        Line::of(20).text(),
        Line::of(29).with(9, "x").text(),
    ])));
    world.convert_with(&LENIENT).expect(0);
    for (from, to, difference) in [
        ("part = \"protocol\"", "part = \"verb\"", "column request_proto of line 2"),
        ("required_fields = 17", "required_fields = 21", "line 4 is a reject (too_few_fields, "),
        (
            "\"int32\", stored = \"dictionary\", shape = \"http_status\"",
            "\"string\", stored = \"dictionary\"",
            "line 5 is a row instead of a reject (invalid_value of column elb_status_code, ",
        ),
    ] {
        let reference = changed(LogType::Access, from, to);
        let (sampled, findings) = verify_with(&world, |_| reference);
        assert_eq!((sampled, findings.len()), (1, 1), "{findings:?}");
        assert!(findings[0][1].contains(&format!(": {difference}")), "{findings:?}");
    }
}

#[test]
fn unusual_objects_are_in_the_sample_if_the_reference_decoder_reads_them() {
    let lines = good_lines(5);
    let members = lines.split_inclusive(|byte| *byte == b'\n').flat_map(gzip);
    let blank = [&lines[..], b"\r\n\n\n"].concat();
    let joined = text_of([Line::of(30).with(14, "\"a\nb\"").text(), Line::of(29).text()]);
    for (name, object, sampled) in [
        ("members", members.collect(), 1),
        ("blank lines at the end", gzip(blank), 1),
        ("a joined line", gzip(joined), 1),
        ("a byte order mark", gzip([MARK, b"bad\n", &lines[..]].concat()), 1),
        ("plain text", lines.clone(), 1),
        ("padding", [&gzip(&lines)[..], &[0; 9]].concat(), 0),
        ("gzip inside gzip", gzip(gzip(&lines)), 0),
        ("no lines", gzip(""), 0),
        ("nothing", Vec::new(), 0),
        ("damaged", gzip(&lines)[..100].to_vec(), 0),
    ] {
        let world = World::with(object);
        world.convert_with(&LENIENT);
        let run = verify(&world, &["--json"]);
        assert_eq!(run.count("/compared"), 1, "{name}");
        assert_eq!(run.count("/reference_decoded"), sampled, "{name}");
        assert!(!run.stdout.contains("\"decoder\""), "{name}: {run:#?}");
    }
}

/// Only an object's name determines whether the object is in the sample.
#[test]
fn one_object_of_a_hundred_is_in_the_sample() {
    let world = World::new();
    for number in 0..600 {
        world.put(&key(number), gzip(good_lines(1)));
    }
    world.convert().expect(0);
    let sampled = verify(&world, &["--json"]).expect(0).count("/reference_decoded");
    assert!((2..=15).contains(&sampled), "{sampled}");
    assert_eq!(verify(&world, &["--json"]).expect(0).count("/reference_decoded"), sampled);
}
