//! The report shows the same numbers as the runs. The HTML page is well-formed and small, and escapes names and lines.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use alb2parquet::internals::dataset::layout::Layout;
use alb2parquet::internals::logs::schema::LogType;
use alb2parquet::internals::report::{
    Counts, Day, DayRange, Facts, IncompleteObjects, LoadBalancer, MissingDays, MissingWindows,
    Retired, Totals, WindowRange, html,
};
use chrono::{DateTime, NaiveDate};
use roxmltree::{Document, Node, ParsingOptions};
use serde_json::Value;

use crate::support::{
    Line, REJECTS, ROWS, Run, World, files, good_lines, gzip, key, key_of, key_on, put, run,
    text_of,
};

/// Hostile markup for names and lines.
const HOSTILE: &str = "<script>alert(1)</script><img src=x onerror='alert(2)'>\"&amp;<!--";

fn report(out: &Path, args: &[&str]) -> Run {
    run(&[&["report", out.to_str().unwrap()], args].concat())
}

/// Returns the JSON report of a dataset.
fn facts(out: &Path) -> Value {
    report(out, &["--json"]).expect(0).json()
}

/// Returns the report page of a dataset.
fn page(world: &World) -> String {
    let file = world.path("report.html");
    let run = report(&world.out(), &["--html", file.to_str().unwrap()]).expect(0);
    assert_eq!(run.stdout, "", "only the page is written");
    fs::read_to_string(file).unwrap()
}

/// Returns a page without its script and style sheet, so that it can be parsed as XML.
fn parsed(page: &str) -> String {
    let mut page = page.to_owned();
    for name in ["report.css", "report.js"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/report/html").join(name);
        let text = fs::read_to_string(path).unwrap();
        assert_eq!(page.matches(&text).count(), 1, "the page contains {name} once");
        page = page.replace(&text, "");
    }
    page
}

fn document(page: &str) -> Document<'_> {
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    Document::parse_with_options(page, options).unwrap_or_else(|error| panic!("{error}"))
}

fn elements<'a>(document: &'a Document, name: &str) -> Vec<Node<'a, 'a>> {
    document.descendants().filter(|node| node.has_tag_name(name)).collect()
}

/// Returns the visible text of a page.
fn text_in(document: &Document) -> String {
    document.descendants().filter_map(|node| node.is_text().then(|| node.text())?).collect()
}

/// Asserts that a page is complete, has no external references, and is accessible.
fn check_structure(document: &Document) {
    let mut ids = BTreeSet::new();
    for node in document.descendants().filter(Node::is_element) {
        if let Some(id) = node.attribute("id") {
            assert!(ids.insert(id), "several elements have the id {id}");
        }
        for attribute in node.attributes() {
            let (name, value) = (attribute.name(), attribute.value());
            assert!(
                !name.starts_with("on") && !["src", "style", "srcset"].contains(&name),
                "{name}"
            );
            if name == "href" {
                assert!(
                    value.starts_with('#') || value == "data:,",
                    "{value} is an external reference"
                );
            }
        }
    }
    for node in document.descendants() {
        let href = node.attribute("href").and_then(|href| href.strip_prefix('#'));
        for id in href.into_iter().chain(node.attribute("aria-labelledby")) {
            assert!(ids.contains(id), "no element has the id {id}");
        }
    }
    for name in ["header", "main", "footer", "nav", "h1", "title", "script", "style"] {
        assert_eq!(elements(document, name).len(), 1, "the page does not have exactly one {name}");
    }
    for table in elements(document, "table") {
        let labelled = |node: &Node| {
            node.attribute("aria-label").is_some() || node.attribute("aria-labelledby").is_some()
        };
        assert!(
            table.parent().is_some_and(|parent| labelled(&parent)),
            "a table has no accessible name"
        );
        for header in table.descendants().filter(|node| node.has_tag_name("th")) {
            assert!(header.attribute("scope").is_some(), "a table header has no scope");
        }
    }
    let mut level = 0;
    for node in document.descendants() {
        let name = node.tag_name().name();
        if let Some(next) = name.strip_prefix('h').and_then(|number| number.parse::<u32>().ok()) {
            assert!(next <= level + 1, "{name} follows h{level}");
            level = next;
        }
    }
}

fn count(value: &Value, pointer: &str) -> u64 {
    let found =
        value.pointer(pointer).unwrap_or_else(|| panic!("{pointer} is missing in {value:#}"));
    found.as_u64().unwrap_or_else(|| panic!("{pointer} is not a count: {found}"))
}

/// Returns a world with three load balancers, several days and some rejects.
fn world() -> World {
    let world = World::new();
    let good = gzip(good_lines(5));
    for day in ["2025/07/16", "2025/07/17", "2025/07/20"] {
        world.put(&key_on(day, 1), &good);
    }
    for (minute, number) in [("T1405Z", 2), ("T1410Z", 3), ("T1430Z", 4)] {
        let name = key_of("123456789012", "us-east-1", "2025/07/19", "shop.0a", number);
        world.put(&name.replace("T1405Z", minute), &good);
    }
    let bad =
        text_of([Line::of(30).text(), "too few".to_owned(), Line::of(30).with(9, "x").text()]);
    world.put(&key_of("123456789012", "us-east-1", "2025/07/20", "api.0b", 5), gzip(bad));
    world
}

#[test]
fn the_report_has_the_numbers_of_the_runs() {
    let world = world();
    // Two runs are needed so that one partition has two claims.
    let first = world.convert_with(&["--json", "--account", "012345678901"]).expect(0);
    let second = world.convert_with(&["--json", "--max-rejects", "1"]).expect(0);
    let sum = |pointer: &str| first.count(pointer) + second.count(pointer);
    let facts = facts(&world.out());
    let pairs = [
        ("/totals/objects", "/objects/converted"),
        ("/totals/lines", "/lines"),
        ("/totals/rows", "/rows"),
        ("/totals/source_bytes", "/bytes_in"),
        ("/totals/files", "/files"),
        ("/totals/reject_files", "/reject_files"),
        ("/totals/batches", "/partitions"),
    ];
    for (pointer, of_run) in pairs {
        assert_eq!(count(&facts, pointer), sum(of_run), "{pointer}");
    }
    let bytes = count(&facts, "/totals/bytes") + count(&facts, "/totals/reject_bytes");
    assert_eq!(bytes, sum("/bytes_out"));
    assert_eq!(count(&facts, "/totals/rejects"), 2);
    // The entries in each list add up to the totals.
    for list in ["regions", "load_balancers"] {
        for counted in ["objects", "lines", "rows", "rejects", "source_bytes"] {
            let all = facts[list].as_array().unwrap();
            let sum: u64 = all.iter().map(|each| each[counted].as_u64().unwrap()).sum();
            assert_eq!(sum, count(&facts, &format!("/totals/{counted}")), "{counted} of {list}");
        }
    }
    let rejects: BTreeMap<&str, u64> = facts["rejects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|each| (each["reason"].as_str().unwrap(), each["lines"].as_u64().unwrap()))
        .collect();
    assert_eq!(rejects, BTreeMap::from([("invalid_value", 1), ("too_few_fields", 1)]));
    assert_eq!(facts["rejects"][1]["example"]["raw_line"], "too few");
    assert_eq!(facts["rejects"][1]["example"]["line_number"], 2);
    assert_eq!(facts["rejects"][0]["example"]["column_name"], "elb_status_code");
    assert_eq!(
        (&facts["problems"], &facts["first_day"]),
        (&Value::Array(vec![]), &"2025-07-16".into())
    );
    let slowest = facts["slowest_batches"].as_array().unwrap();
    assert_eq!(slowest.len(), 5);
    assert!(slowest.is_sorted_by(|a, b| a["seconds"].as_f64() >= b["seconds"].as_f64()));
    // The summary and the page contain the same numbers.
    let summary = report(&world.out(), &[]).expect(0).stdout;
    let line = format!("{} = {} rows + 2 rejects", sum("/lines"), sum("/rows"));
    assert!(summary.contains(&line) && summary.contains("us-east-1"), "{summary}");
    let page = parsed(&page(&world));
    let document = document(&page);
    check_structure(&document);
    let text = text_in(&document);
    assert!(text.contains(&format!("= {} rows + 2 rejects", sum("/rows"))), "{text}");
}

#[test]
fn gaps_are_listed() {
    let world = world();
    world.convert().expect(1);
    let facts = facts(&world.out());
    let balancers = facts["load_balancers"].as_array().unwrap();
    let names: Vec<_> =
        balancers.iter().map(|each| each["load_balancer"].as_str().unwrap()).collect();
    assert_eq!(names, ["app/my-lb/50dc6c495c0c9188", "app/api/0b", "app/shop/0a"]);
    let missing = serde_json::json!({
        "days": 2, "ranges": [{ "first": "2025-07-18", "last": "2025-07-19", "count": 2 }]
    });
    assert_eq!(balancers[0]["missing_days"], missing);
    let missing = serde_json::json!({
        "windows": 3, "range_count": 1,
        "ranges": [{ "first": "2025-07-19T14:15:00Z", "last": "2025-07-19T14:25:00Z", "count": 3,
            "interval_minutes": 5 }]
    });
    assert_eq!(balancers[2]["missing_windows"], missing);
    let calendar = serde_json::json!([{
        "day": "2025-07-19", "objects": 3, "lines": 15, "rows": 15, "rejects": 0,
        "source_bytes": balancers[2]["source_bytes"], "windows": 3,
        "possible_windows": 288
    }]);
    assert_eq!(balancers[2]["calendar"], calendar);
    let page = parsed(&page(&world));
    let document = document(&page);
    let text = text_in(&document);
    for words in ["2025-07-18 to 2025-07-19, 2 days", "2025-07-19 14:15 to 14:25, 3"] {
        assert!(text.contains(words), "{words} is missing in {text}");
    }
    let calendars = document.descendants().filter(|node| node.attribute("data-days").is_some());
    let days: Vec<_> = calendars.map(|node| node.attribute("data-days").unwrap()).collect();
    assert_eq!(days.len(), 3);
    assert!(days[0].contains(";;;") && days[2].starts_with("3,15,"), "{days:?}");
    // A report for selected days covers only those days.
    let fewer = report(&world.out(), &["--json", "--from", "2025-07-20", "--region", "eu-west-1"]);
    let fewer = fewer.expect(0).json();
    assert_eq!((count(&fewer, "/totals/objects"), count(&fewer, "/totals/days")), (1, 1));
}

/// Returns the name of an object in the account and region of [`world`], below a directory of the given day.
fn object(prefix: &str, balancer: &str, end_time: &str, node: usize, ending: &str) -> String {
    let (year, rest) = end_time.split_at(4);
    let (month, day) = (&rest[..2], &rest[2..4]);
    format!(
        "AWSLogs/123456789012/elasticloadbalancing/us-east-1/{year}/{month}/{day}/{prefix}123456789012_elasticloadbalancing_us-east-1_{balancer}_{end_time}_192.0.2.{node}_{node:08x}{ending}"
    )
}

/// A connection to a Network Load Balancer.
const TLS_LINE: &str = "tls 2.0 2025-07-19T09:58:12 net/edge/0123456789abcdef 89abcdef01234567 192.0.2.44:40312 198.51.100.8:8443 340 12 812 4096 - arn:aws:acm:us-east-1:123456789012:certificate/00000000-0000-0000-0000-000000000002 - TLS_AES_128_GCM_SHA256 tlsv13 - edge.example.com h2 h2 \"h2\",\"http/1.1\" 2025-07-19T09:58:11\n";
/// A request to a Classic Load Balancer, and a connection to its TCP listener, with 12 fields.
const CLASSIC_LINES: &str = "2025-07-19T09:12:44.120001Z legacy 192.0.2.45:51200 198.51.100.9:80 0.00004 0.0061 0.00003 200 200 0 512 \"GET http://legacy.example.com:80/cart HTTP/1.1\" \"curl/8.5.0\" - -\n2025-07-19T09:12:45.120001Z legacy 192.0.2.45:51201 198.51.100.9:22 0.0004 0.00002 0.00003 - - 57 502 \"- - - \"\n";
const CONNECTION_LINE: &str = "2025-07-19T09:58:21.123456Z 192.0.2.46 50718 443 TLSv1.3 TLS_AES_128_GCM_SHA256 0.012 \"-\" - - -\n";
const HEALTH_LINE: &str = "http 2025-11-24T10:00:00.000000Z 0.0012 192.0.2.1:80 web PASS 200 -\n";

#[test]
fn all_five_logs_are_reported_with_their_windows() {
    let world = World::new();
    let put = |prefix, balancer, end_time: &str, node, ending, text: &[u8]| {
        world.put(&object(prefix, balancer, end_time, node, ending), text);
    };
    for (number, time) in ["20250719T1000Z", "20250719T1015Z"].into_iter().enumerate() {
        put("", "app.shop.0a", time, number, ".log.gz", &gzip(good_lines(2)));
        put("conn_log_", "app.shop.0a", time, number, ".log.gz", &gzip(CONNECTION_LINE));
        put("health_check_log_", "app.shop.0a", time, number, ".log.gz", &gzip(HEALTH_LINE));
        put("", "net.edge.0123456789abcdef", time, number, ".log.gz", &gzip(TLS_LINE));
        put("", "legacy-5", time, number, ".log", CLASSIC_LINES.as_bytes());
    }
    // A Classic Load Balancer with a second node from 08:00, and with windows of five minutes from 09:00.
    for hour in (1..=6).chain(8..=9) {
        for node in if hour < 7 { 1..=1 } else { 1..=2 } {
            let time = format!("20250719T{hour:02}00Z");
            put("", "legacy", &time, node, ".log", CLASSIC_LINES.as_bytes());
        }
    }
    for time in ["20250719T0905Z", "20250719T0915Z"] {
        put("", "legacy", time, 3, ".log", CLASSIC_LINES.as_bytes());
    }
    world.convert().expect(0);
    let facts = facts(&world.out());
    let logs: BTreeMap<&str, u64> = facts["log_types"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, totals)| (name.as_str(), totals["rows"].as_u64().unwrap()))
        .collect();
    let rows =
        [("access", 4), ("classic", 28), ("connection", 2), ("health_check", 2), ("nlb_tls", 2)];
    assert_eq!(logs, BTreeMap::from(rows));
    let balancers = facts["load_balancers"].as_array().unwrap();
    let windows: Vec<_> = balancers
        .iter()
        .map(|each| {
            let text = |key: &str| each[key].as_str().unwrap();
            let day = &each["calendar"][0];
            let number = |value: &Value| value.as_u64().unwrap();
            let windows = (number(&day["windows"]), number(&day["possible_windows"]));
            let missing = number(&each["missing_windows"]["windows"]);
            let intervals = each["interval_minutes"].to_string();
            (text("load_balancer"), text("log_type"), intervals, windows, missing)
        })
        .collect();
    let five = || "[5]".to_owned();
    assert_eq!(
        windows,
        [
            ("app/shop/0a", "access", five(), (2, 288), 2),
            ("app/shop/0a", "connection", five(), (2, 288), 2),
            ("app/shop/0a", "health_check", five(), (2, 288), 2),
            // Hourly windows until 09:00, then five-minute windows from 09:05 to 23:55.
            ("legacy", "classic", "[5,60]".to_owned(), (10, 10 + 179), 2),
            ("legacy-5", "classic", five(), (2, 288), 2),
            ("net/edge/0123456789abcdef", "nlb_tls", five(), (2, 288), 2),
        ]
    );
    assert_eq!(
        balancers[3]["missing_windows"]["ranges"],
        serde_json::json!([
            { "first": "2025-07-19T07:00:00Z", "last": "2025-07-19T07:00:00Z", "count": 1, "interval_minutes": 60 },
            { "first": "2025-07-19T09:10:00Z", "last": "2025-07-19T09:10:00Z", "count": 1, "interval_minutes": 5 },
        ])
    );
    let tables: BTreeSet<&str> = facts["statements"]
        .as_array()
        .unwrap()
        .iter()
        .map(|statement| statement["table"].as_str().unwrap())
        .collect();
    let names = LogType::ALL.map(|log_type| log_type.table().name.as_str());
    assert_eq!(tables, BTreeSet::from(names));
    let last_field = |log_type: &str| {
        let months = facts["months"].as_array().unwrap();
        months.iter().find(|month| month["log_type"] == log_type).unwrap()["last_field"].clone()
    };
    assert_eq!(last_field("nlb_tls"), "tls_connection_creation_time");
    assert_eq!(last_field("classic"), "user_agent");
    let page = parsed(&page(&world));
    let document = document(&page);
    check_structure(&document);
    let text = text_in(&document);
    for words in [
        "Network Load Balancer log",
        "Classic Load Balancer log",
        "app/shop/0a: 1 days, 0 missing. Windows of 5 minutes.",
        "legacy: 1 days, 0 missing. Windows of 5 or 60 minutes.",
        "2 missing windows of 5 or 60 minutes",
        "2025-07-19 07:00, 1 of 60 minutes",
        "2025-07-19 10:05 to 10:10, 2\n",
    ] {
        assert!(text.contains(words), "{words:?} is missing in {text}");
    }
    let summary = report(&world.out(), &[]).expect(0).stdout;
    for words in ["  legacy-5       classic  ", "  edge           nlb_tls  "] {
        assert!(summary.contains(words), "{words:?} is missing in {summary}");
    }
}

#[test]
fn eras_are_derived_from_footers() {
    let world = World::new();
    world.put(&key_on("2019/12/30", 1), gzip(text_of([Line::of(25).text(), Line::of(26).text()])));
    world.put(&key_on("2025/07/19", 2), gzip(text_of([Line::of(30).text(), Line::of(17).text()])));
    world.put(&key_on("2026/01/01", 3), gzip(text_of([Line::of(38).text()])));
    world.convert().expect(0);
    let facts = facts(&world.out());
    let months = facts["months"].as_array().unwrap();
    let rows_by_month: Vec<_> = months
        .iter()
        .map(|month| (month["month"].as_str().unwrap(), month["rows"].as_u64().unwrap()))
        .collect();
    assert_eq!(rows_by_month, [("2019-12", 2), ("2025-07", 2), ("2026-01", 1)]);
    let rows = |month: usize, since: &str| {
        let eras = months[month]["eras"].as_array().unwrap();
        let era = eras.iter().find(|era| era["since"] == since).unwrap();
        era["rows"].as_u64().unwrap()
    };
    assert_eq!((rows(0, "2016-08"), rows(0, "2019-10"), rows(0, "2020-08")), (2, 1, 0));
    assert_eq!((rows(1, "2016-08"), rows(1, "2024-05"), rows(1, "2025-08")), (2, 1, 0));
    assert_eq!(months[1]["last_field"], "conn_trace_id");
    assert_eq!(months[2]["rows_with_extra_fields"], 1);
    let problems = facts["problems"].as_array().unwrap();
    assert!(problems.len() == 1 && problems[0].as_str().unwrap().contains("extra_fields"));
    check_structure(&document(&parsed(&page(&world))));
}

#[test]
fn names_and_lines_are_escaped() {
    let world = World::new();
    // Directory names cannot contain a slash.
    let prefix = HOSTILE.replace('/', "");
    let user_agent = format!("\"{HOSTILE}\"").replace("\"&", "'&");
    let lines = [
        HOSTILE.to_owned(),
        Line::of(30).with(14, &user_agent).with(9, "200").text(),
        Line::of(30).with(14, &user_agent).with(9, "none").text(),
    ];
    put(&world.source(), &format!("{prefix}/{}", key(1)), gzip(text_of(lines)));
    world.convert_with(&["--max-rejects", "1"]).expect(0);
    // Names also come from the dataset's state.
    let claims = world.out().join("_alb2parquet/claims/access");
    let made = claims.join("012345678901/eu-west-1/2025-07-19");
    let forged = claims.join(&prefix).join("<b>").join("2025-07-19");
    fs::create_dir_all(&forged).unwrap();
    for name in ["1.claim.json", "1.done.json"] {
        fs::copy(made.join(name), forged.join(name)).unwrap();
    }
    let damaged = claims.join("012345678901/<i>/2025-07-19");
    fs::create_dir_all(&damaged).unwrap();
    fs::write(damaged.join("1.claim.json"), "{").unwrap();

    let page = page(&world);
    let page = parsed(&page);
    let document = document(&page);
    check_structure(&document);
    for name in ["img", "b", "i"] {
        assert_eq!(elements(&document, name).len(), 0, "a name or line became an element {name}");
    }
    assert!(!document.descendants().any(|node| node.is_comment()));
    let text = text_in(&document);
    let key = format!("{prefix}/AWSLogs/012345678901");
    for words in [HOSTILE, &key, "<b>", "<i>"] {
        assert!(text.contains(words), "{words} is missing in {text}");
    }
    let facts = facts(&world.out());
    assert_eq!(facts["rejects"][1]["example"]["raw_line"], HOSTILE);
}

#[test]
fn unreadable_files_are_named() {
    let world = world();
    world.convert_with(&["--max-rejects", "1"]).expect(0);
    let whole = facts(&world.out());
    fs::remove_file(&files(&world.out(), ROWS)[0]).unwrap();
    fs::write(&files(&world.out(), REJECTS)[0], "no Parquet").unwrap();
    let claims = world.out().join("_alb2parquet/claims/access/123456789012/us-east-1");
    fs::remove_file(claims.join("2025-07-19/1.done.json")).unwrap();
    let run = report(&world.out(), &["--json"]).expect(0);
    run.says(&["warning:", "cannot be read", "1 claims are unfinished"]);
    let facts = run.json();
    assert_eq!(facts["problems"].as_array().unwrap().len(), 3, "{facts:#}");
    assert_eq!(facts["totals"]["rows"], whole["totals"]["rows"], "the counts come from claims");
    assert_eq!(facts["rejects"][0]["example"], Value::Null);
    check_structure(&document(&parsed(&page(&world))));
}

#[test]
fn incomplete_objects_are_listed_by_every_later_report() {
    let world = world();
    let whole = gzip(good_lines(30));
    let hostile = HOSTILE.replace('/', "");
    put(&world.source(), &format!("{hostile}/{}", key_on("2025/07/17", 8)), gzip("bad\n"));
    world.put(&key_on("2025/07/18", 7), &whole[..whole.len() - 9]);
    world.convert_with(&["--max-rejects", "1"]).expect(2);
    world.convert().expect(0);
    let facts = facts(&world.out());
    let incomplete = &facts["incomplete_objects"];
    assert_eq!((&incomplete["objects"], &incomplete["accepted"]), (&2.into(), &0.into()));
    let listed = incomplete["list"].as_array().unwrap();
    let [rejected, cut] = &listed[..] else { panic!("{incomplete}") };
    assert_eq!((&rejected["lines"], &rejected["rows"]), (&1.into(), &0.into()));
    assert_eq!((&cut["day"], &cut["rejects"]["truncated_gzip"]), (&"2025-07-18".into(), &1.into()));
    let summary = report(&world.out(), &[]).expect(0);
    summary.says(&["warning: 2 objects are incomplete"]);
    for words in
        ["incomplete  2 objects, 0 of them accepted", "0 of 1 lines became rows (1 too_few_fields)"]
    {
        assert!(summary.stdout.contains(words), "{words} is missing in {}", summary.stdout);
    }
    let out = world.out();
    run(&["accept", "--out", out.to_str().unwrap(), "--from", "2025-07-18", "--yes"]).expect(0);
    let summary = report(&out, &[]).expect(0);
    assert!(summary.stdout.contains("1 truncated_gzip); accepted\n"), "{}", summary.stdout);
    let page = parsed(&page(&world));
    let document = document(&page);
    check_structure(&document);
    let text = text_in(&document);
    for words in ["Incomplete objects", "All incomplete objects", &hostile, "1 truncated_gzip"] {
        assert!(text.contains(words), "{words} is missing in {text}");
    }
}

#[test]
fn claims_of_older_versions_are_read() {
    let world = world();
    world.convert_with(&["--max-rejects", "1"]).expect(0);
    let claim = world
        .out()
        .join("_alb2parquet/claims/access/012345678901/eu-west-1/2025-07-16/1.claim.json");
    let mut old: Value = serde_json::from_slice(&fs::read(&claim).unwrap()).unwrap();
    assert!(old.as_object_mut().unwrap().remove("seconds").is_some());
    fs::write(&claim, serde_json::to_vec(&old).unwrap()).unwrap();
    let facts = facts(&world.out());
    assert_eq!(
        (facts["slowest_batches"].as_array().unwrap().len(), count(&facts, "/totals/batches")),
        (4, 5)
    );
    let source = world.source();
    run(&[
        "verify",
        source.to_str().unwrap(),
        "--out",
        world.out().to_str().unwrap(),
        "--to",
        "2099-12-31",
    ])
    .expect(0);
}

#[test]
fn invalid_arguments_are_refused() {
    let help = run(&["report", "--help"]).expect(0).stdout;
    for word in ["--html", "--json", "--from", "Exit codes:", "Examples:", "one example line"] {
        assert!(help.contains(word), "{word} is missing in {help}");
    }
    let world = World::with(gzip(good_lines(1)));
    report(&world.out(), &[]).expect(3).says(&["holds no dataset"]);
    world.convert().expect(0);
    report(&world.out(), &["--html", "no/such/place.html"]).expect(3).says(&["--html", "no/such"]);
    let out = world.out();
    report(&out, &["--html", out.to_str().unwrap()]).expect(3).says(&["is a directory"]);
    // An empty selection results in an empty report.
    let nothing = report(&out, &["--from", "2030-01-01"]).expect(0);
    assert!(nothing.stdout.contains("days        none"), "{nothing:#?}");
    let file = world.path("nothing.html");
    report(&out, &["--from", "2030-01-01", "--html", file.to_str().unwrap()]).expect(0);
    check_structure(&document(&parsed(&fs::read_to_string(file).unwrap())));
}

/// Returns a report that covers three years, with many gaps, and three load balancers in each of twenty accounts.
fn large() -> Facts {
    let first: NaiveDate = "2023-01-01".parse().unwrap();
    let balancer = |number: u64| {
        let mut random = number;
        let mut next = move |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) % below
        };
        let mut total = Counts::default();
        let mut calendar = Vec::new();
        for day in first.iter_days().take(1095) {
            if next(20) == 0 {
                continue;
            }
            let (rows, rejects) = (next(9_000_000), next(3));
            let counts = Counts {
                objects: 576,
                lines: rows + rejects,
                rows,
                rejects,
                source_bytes: 30 * rows,
            };
            total.add(&counts);
            calendar.push(Day { day, counts, windows: 288, possible_windows: 288 });
        }
        let days = calendar
            .windows(2)
            .filter(|pair| pair[1].day - pair[0].day > chrono::TimeDelta::days(1));
        let ranges: Vec<_> = days
            .map(|pair| {
                let (first, last) =
                    (pair[0].day.succ_opt().unwrap(), pair[1].day.pred_opt().unwrap());
                DayRange { first, last, count: (last - first).num_days() as u64 + 1 }
            })
            .collect();
        let end = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        LoadBalancer {
            account: format!("{:012}", 100_000_000_000 + number / 3),
            region: "eu-central-1".to_owned(),
            load_balancer: format!("app/a-name-of-some-length-{number}/50dc6c495c0c{number:04}"),
            log_type: LogType::Access,
            interval_minutes: vec![5],
            first_day: calendar[0].day,
            last_day: calendar.last().unwrap().day,
            days: calendar.len() as u64,
            counts: total,
            missing_days: MissingDays {
                days: ranges.iter().map(|range| range.count).sum(),
                ranges,
            },
            missing_windows: MissingWindows {
                windows: 1000,
                range_count: 500,
                ranges: vec![
                    WindowRange { first: end, last: end, count: 5, interval_minutes: 5 };
                    100
                ],
            },
            calendar,
        }
    };
    Facts {
        dataset: "s3://lake/alb".to_owned(),
        created_at: DateTime::UNIX_EPOCH,
        version: "0",
        layout: Layout::Hive,
        first_day: Some(first),
        last_day: first.checked_add_days(chrono::Days::new(1094)),
        totals: Totals::default(),
        log_types: BTreeMap::new(),
        regions: Vec::new(),
        load_balancers: (0..60).map(balancer).collect(),
        rejects: Vec::new(),
        retired: Retired::default(),
        incomplete_objects: IncompleteObjects::default(),
        months: Vec::new(),
        slowest_batches: Vec::new(),
        statements: Vec::new(),
        problems: Vec::new(),
    }
}

#[test]
fn the_page_of_many_years_stays_small() {
    let page = html(&large()).unwrap();
    assert!(page.len() < 5_000_000, "{} bytes", page.len());
    let page = parsed(&page);
    let document = document(&page);
    check_structure(&document);
    let elements = document.descendants().filter(Node::is_element).count();
    assert!(elements < 50_000, "{elements} elements");
}
