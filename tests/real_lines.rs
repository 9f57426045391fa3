//! Lines that other projects published: each line becomes a row, or a reject that is explained here.
//!
//! The directory with the lines is not in the repository. If it is missing, the tests report that they are skipped.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::support::{World, decode, gzip};

/// Directories with access log lines from Application Load Balancers, each with its line count and its rejects.
const EXPECTED: [(&str, u64, &str); 13] = [
    ("aws-clo-alb", 4, ""),
    ("aws-log-parser-alb", 12, ""),
    ("coralogix-alb-grpcs", 576, ""),
    ("crowdsec-alb", 14, ""),
    ("crowdsec-alb-bad-ua", 4, ""),
    ("data-prepper-alb", 1, ""),
    ("dynatrace-alb", 7, ""),
    // The first line is from a Classic Load Balancer and has only 15 fields.
    ("fluent-elb-log", 4, "too_few_fields=1"),
    ("honeyaws-alb", 2, ""),
    ("lambda-promtail-alb", 2, ""),
    // In the second line, the space after a quoted field is missing.
    ("node-alb-log-parser", 14, "misplaced_quote=1"),
    ("vector-captured-alb", 12, ""),
    ("vector-vrl-alb", 13, ""),
];

/// Directories with lines from other kinds of load balancers, each with the kind that the program detects.
const OTHERS: [(&str, &str); 5] = [
    ("aws-log-parser-clb", "a Classic Load Balancer's log lines"),
    ("dynatrace-clb", "a Classic Load Balancer's log lines"),
    ("dynatrace-nlb", "a Network Load Balancer's log lines"),
    ("honeyaws-clb", "a Classic Load Balancer's log lines"),
    ("lambda-promtail-nlb", "a Network Load Balancer's log lines"),
];

/// Returns the directory of published lines, or prints that the test is skipped and returns `None`.
fn folder(test: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/real-lines");
    if !folder.is_dir() {
        // Written directly, because the test harness captures the output of macros.
        let note = format!("real_lines::{test}: SKIPPED, {} does not exist\n", folder.display());
        std::io::stderr().write_all(note.as_bytes()).unwrap();
        return None;
    }
    Some(folder)
}

#[test]
fn lines_of_other_load_balancers_are_refused() {
    let Some(folder) = folder("lines_of_other_load_balancers_are_refused") else { return };
    for (name, kind) in OTHERS {
        let text = fs::read(folder.join(name).join("lines.log")).unwrap();
        let world = World::with(gzip(&text));
        let run = world.convert_with(&["--json"]).expect(2);
        run.says(&["failed: ", kind]);
        assert_eq!((run.count("/objects/failed"), run.count("/lines")), (1, 0), "{name}");
    }
}

#[test]
fn published_lines_become_rows() {
    let Some(folder) = folder("published_lines_become_rows") else { return };
    let mut names: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("alb") || EXPECTED.iter().any(|(known, ..)| known == name))
        .collect();
    names.sort();
    assert_eq!(names, EXPECTED.map(|(name, ..)| name), "the directories of access log lines");
    for (name, lines, rejects) in EXPECTED {
        let text = fs::read(folder.join(name).join("lines.log")).unwrap();
        let world = World::with(gzip(&text));
        let run = world.convert_with(&["--json", "--max-rejects", "1"]).expect(0);
        let outcome = decode(&text);
        let found: Vec<_> =
            outcome.rejects.iter().map(|r| (r.line_number, &r.reason, &r.column)).collect();
        assert_eq!(run.rejects(), rejects, "rejects of {name}: {found:?}");
        assert_eq!(run.count("/lines"), lines, "lines of {name}");
        assert_eq!(run.count("/rows") + found.len() as u64, lines, "{name}");
    }
}
