//! Names, values and messages from outside the program are escaped wherever the program prints them.

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::Stdio;
use std::thread;

use serde_json::Value;

use crate::support::{Line, World, good_lines, gzip, key, program, put, text_of};

/// Text with a color escape, a right-to-left override, a bell, a line feed, a carriage return, and a C1 control
/// character.
const HOSTILE: &str = "a\u{1b}[31m\u{202e}\u{7}\nFORGED\r\u{9b}2J";
/// [`HOSTILE`] as it must appear in text output.
const ESCAPED: &str = "a\\x1b[31m\\u{202e}\\x07\\x0aFORGED\\x0d\\u{9b}2J";
/// [`HOSTILE`] as it must appear in JSON.
const IN_JSON: &str = r"a\u001b[31m\u202e\u0007\nFORGED\r\u009b2J";

/// Where the hostile name must appear.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Seen {
    Stderr,
    Stdout,
    /// On stdout, as JSON.
    Json,
    /// On stderr, as JSON.
    Log,
}

/// An invocation of the program that prints a hostile name.
struct Case {
    what: &'static str,
    args: Vec<OsString>,
    stdin: Vec<u8>,
    seen: Seen,
}

#[derive(Default)]
struct Cases(Vec<Case>);

impl Cases {
    fn add<S: Into<OsString>>(
        &mut self,
        what: &'static str,
        seen: Seen,
        args: impl IntoIterator<Item = S>,
    ) {
        let args = args.into_iter().map(Into::into).collect();
        self.0.push(Case { what, args, stdin: Vec::new(), seen });
    }
}

/// Returns the problem with the output, if any: it contains a control character, a line starts with the hostile name,
/// or the name is missing.
fn problem(stdout: &[u8], stderr: &[u8], seen: Seen) -> Option<String> {
    for bytes in [stdout, stderr] {
        let Ok(text) = str::from_utf8(bytes) else { return Some(format!("{bytes:?} is no UTF-8")) };
        if text.contains(acts) {
            return Some(format!("a terminal acts on {text:?}"));
        }
        if text.lines().any(|line| line.trim_start().starts_with("FORGED")) {
            return Some(format!("a name begins a line of {text}"));
        }
    }
    let (bytes, expected) = match seen {
        Seen::Stderr => (stderr, ESCAPED),
        Seen::Stdout => (stdout, ESCAPED),
        Seen::Json => (stdout, IN_JSON),
        Seen::Log => (stderr, IN_JSON),
    };
    let text = str::from_utf8(bytes).unwrap();
    if !text.contains(expected) {
        return Some(format!(
            "no name is printed: {:?} {:?}",
            str::from_utf8(stdout),
            str::from_utf8(stderr)
        ));
    }
    let means_it = |line: &str| {
        let value: Result<Value, _> = serde_json::from_str(line);
        value.is_ok_and(|value| strings(&value).iter().any(|string| string.contains(HOSTILE)))
    };
    let is_json = matches!(seen, Seen::Json | Seen::Log);
    (is_json && !text.lines().any(means_it) && !means_it(text))
        .then(|| format!("JSON means another name: {text}"))
}

/// Returns whether terminals interpret a character instead of displaying it.
fn acts(c: char) -> bool {
    c.is_control() && c != '\n' || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns all strings in a JSON value, including object keys.
fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(values) => values.iter().flat_map(strings).collect(),
        Value::Object(map) => map
            .iter()
            .flat_map(|(key, value)| [vec![key.clone()], strings(value)].concat())
            .collect(),
        _ => Vec::new(),
    }
}

#[track_caller]
fn run_all(cases: Cases) {
    let mut problems = Vec::new();
    for Case { what, args, stdin, seen } in cases.0 {
        let mut command = program(&[]);
        command.args(&args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A program that refuses its arguments does not read stdin.
        let _ = child.stdin.take().unwrap().write_all(&stdin);
        let output = child.wait_with_output().unwrap();
        if let Some(problem) = problem(&output.stdout, &output.stderr, seen) {
            problems.push(format!("{what}: {problem}"));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
}

/// Covers every argument that is quoted in a message.
#[test]
fn arguments_are_escaped() {
    let world = World::with(gzip(good_lines(1)));
    world.convert().expect(0);
    let dir = world.path("here");
    let [source, out] = [world.source(), world.out()].map(|path| path.to_str().unwrap().to_owned());
    let absent = world.path(HOSTILE).to_str().unwrap().to_owned();
    let (source, out, absent, dir) =
        (source.as_str(), out.as_str(), absent.as_str(), dir.to_str().unwrap());
    let mut cases = Cases::default();
    let mut add = |what, args: &[&str]| cases.add(what, Seen::Stderr, args.iter().copied());
    let flag = format!("--{HOSTILE}");
    add("a command", &[HOSTILE]);
    add("a flag", &["convert", &flag]);
    add("a value that is checked", &["convert", source, "--out", out, "--from", HOSTILE]);
    add("a value of a few", &["convert", source, "--out", out, "--layout", HOSTILE]);
    add("an argument too many", &["clean", "--out", out, HOSTILE]);
    add("a source", &["convert", absent, "--out", out]);
    add("a source of plan", &["plan", absent]);
    add("a source of verify", &["verify", absent, "--out", out]);
    add("a scheme", &["convert", &format!("{HOSTILE}://x"), "--out", out]);
    add("a bucket", &["convert", &format!("s3://{HOSTILE}/x"), "--out", out]);
    add("an --out in a source", &["convert", source, "--out", &format!("{source}/{HOSTILE}")]);
    add("a dataset of verify", &["verify", source, "--out", absent]);
    add("a dataset of remove", &["remove", "--out", absent]);
    add("a dataset of clean", &["clean", "--out", absent]);
    add("a dataset of report", &["report", absent]);
    add("a page of report", &["report", out, "--html", &format!("{absent}/page.html")]);
    add("an object", &["inspect", absent]);
    add("an object at a URL", &["inspect", &format!("{HOSTILE}://x/y")]);
    add("a list of objects", &["convert", source, "--out", out, "--objects", absent]);
    add("a file of batches", &["convert", "--batches", absent, "--out", out]);
    add(
        "a column of --bloom-filter",
        &["convert", source, "--out", out, "--bloom-filter", HOSTILE],
    );
    add(
        "a column of --redact",
        &["convert", source, "--out", out, "--redact", &format!("{HOSTILE}=drop")],
    );
    add(
        "an action of --redact",
        &["convert", source, "--out", out, "--redact", &format!("client_ip={HOSTILE}")],
    );
    add("a column of inspect", &["inspect", &format!("{source}/{}", key(1)), "--columns", HOSTILE]);
    add("a log type of ddl", &["ddl", "--log-type", HOSTILE, "--location", "s3://lake"]);
    add("a dataset of ddl", &["ddl", "--from-dataset", absent]);
    add("a location of ddl", &["ddl", "--location", &format!("s3://lake/{HOSTILE}")]);
    add("a command of man", &["man", HOSTILE]);
    add("a directory of man", &["man", "--dir", &format!("{dir}/{HOSTILE}")]);
    cases.add(
        "a bucket of a policy",
        Seen::Stderr,
        ["policy", "log-delivery", "--bucket", HOSTILE, "--account", "123456789012"],
    );
    run_all(cases);
}

/// Covers every command that prints keys, directory names or lines from a source or a dataset.
#[test]
fn names_in_sources_and_datasets_are_escaped() {
    let world = World::new();
    let bad = format!("no line {HOSTILE}").replace('\n', " ");
    let url = format!("\"GET https://example.com/{HOSTILE} HTTP/1.1\"").replace(['\n', '\r'], "");
    let line = Line::of(34).with(13, &url).text();
    world.put(&format!("{HOSTILE}/{}", key(1)), gzip(text_of([line, bad])));
    let damaged = gzip(good_lines(100));
    world.put(&format!("{HOSTILE}/{}", key(2)), &damaged[..damaged.len() / 2]);
    let nothing = world.path("nothing");
    put(&nothing, HOSTILE, "x");
    let lake = world.path(HOSTILE);
    let [source, nothing, lake] = [world.source(), nothing, lake].map(PathString::text);
    let [source, nothing, lake] = [&source, &nothing, &lake].map(String::as_str);
    let object = format!("{source}/{HOSTILE}/{}", key(1));
    let convert = |more: &[&'static str], out: &str| {
        let out = world.path(out).to_str().unwrap().to_owned();
        let fixed = ["convert", source, "--out", &out, "--to", "2099-12-31"].map(str::to_owned);
        [fixed.to_vec(), more.iter().map(|&arg| arg.to_owned()).collect()].concat()
    };
    let mut cases = Cases::default();
    cases.add("failures", Seen::Stderr, convert(&[], "a"));
    cases.add("failures in quiet", Seen::Stderr, convert(&["--quiet"], "b"));
    cases.add("failures in JSON", Seen::Json, convert(&["--json"], "c"));
    cases.add("a verbose run", Seen::Stderr, convert(&["-v"], "d"));
    cases.add("the log in JSON", Seen::Log, convert(&["--log-format", "json"], "e"));
    cases.add(
        "nothing to convert",
        Seen::Stderr,
        ["convert", nothing, "--out", &convert(&[], "f")[3]],
    );
    cases.add(
        "nothing to convert, logged",
        Seen::Log,
        ["convert", nothing, "--out", &convert(&[], "f")[3], "--log-format", "json"],
    );
    cases.add("nothing to plan", Seen::Stderr, ["plan", nothing]);
    cases.add("rows and rejects", Seen::Stdout, ["inspect", &object, "--width", "1000"]);
    cases.add("rows and rejects in JSON", Seen::Json, ["inspect", &object, "--json"]);
    run_all(cases);

    // A dataset with a hostile name, an unconverted object, and orphan files.
    let mut cases = Cases::default();
    let lake_of = |args: &[&str]| -> Vec<String> {
        let args = args.iter().map(|arg| arg.replace("LAKE", lake).replace("SOURCE", source));
        args.collect()
    };
    cases.add(
        "a dataset",
        Seen::Stderr,
        lake_of(&["convert", "SOURCE", "--out", "LAKE", "--to", "2099-12-31"]),
    );
    run_all(cases);
    put(Path::new(lake), &format!("alb_access_logs/{HOSTILE}.parquet"), "x");
    put(Path::new(lake), &format!("_alb2parquet/claims/access/{HOSTILE}/1.claim.json"), "x");
    fs::remove_dir_all(format!("{source}/{HOSTILE}")).unwrap();
    world.put(&format!("{HOSTILE}/{}", key(3)), gzip(good_lines(1)));
    let page = world.path("page.html");
    let mut cases = Cases::default();
    cases.add(
        "findings",
        Seen::Stderr,
        lake_of(&["verify", "SOURCE", "--out", "LAKE", "--to", "2099-12-31"]),
    );
    cases.add(
        "findings in JSON",
        Seen::Json,
        lake_of(&["verify", "SOURCE", "--out", "LAKE", "--to", "2099-12-31", "--json"]),
    );
    cases.add("facts in JSON", Seen::Json, lake_of(&["report", "LAKE", "--json"]));
    run_all(cases);
    let mut command = program(&["report", lake, "--html", page.to_str().unwrap()]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let page = fs::read_to_string(page).unwrap();
    assert_eq!(page.find(acts), None);
    let title = page.split("<title>").nth(1).unwrap().split("</title>").next().unwrap();
    assert!(title.ends_with(ESCAPED), "{title:?}");
}

/// Covers lines in lists and keys in batches. They cannot contain line feeds.
#[test]
fn entries_of_lists_are_escaped() {
    let world = World::new();
    let name = HOSTILE.replace('\n', "");
    let list = put(&world.path("lists"), "list", format!("x/{name}\n")).text();
    world.put(&format!("a\u{202e}b/{}", key(1)), gzip(good_lines(1)));
    let [source, out] = [world.source(), world.out()].map(PathString::text);
    let convert =
        program(&["convert", &source, "--out", &out, "--objects", &list]).output().unwrap();
    let stderr = String::from_utf8(convert.stderr).unwrap();
    assert!(!stderr.contains(acts) && stderr.contains(&ESCAPED.replace("\\x0a", "")), "{stderr}");
    let plan = program(&["plan", &source, "--jsonl", "--to", "2099-12-31"]).output().unwrap();
    let stdout = String::from_utf8(plan.stdout).unwrap();
    assert!(!stdout.contains(acts) && stdout.contains("a\\u202eb/AWSLogs"), "{stdout}");
    let again = program(&["convert", "--batches", "-", "--out", &out, "--quiet"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut again = again.unwrap();
    again.stdin.take().unwrap().write_all(stdout.as_bytes()).unwrap();
    let converted = again.wait_with_output().unwrap();
    assert_eq!(
        (converted.status.code(), world.rows().len()),
        (Some(0), 1),
        "escape sequences are parsed"
    );
}

trait PathString {
    fn text(self) -> String;
}

impl PathString for std::path::PathBuf {
    fn text(self) -> String {
        self.to_str().unwrap().to_owned()
    }
}

/// Covers names that are not UTF-8.
#[test]
fn names_that_are_not_utf8_are_escaped() {
    let world = World::new();
    let name = OsString::from_vec(b"\xff\x1b[31m\x07".to_vec());
    let directory = world.path("x").parent().unwrap().join(&name);
    fs::create_dir(&directory).unwrap();
    for args in [
        vec!["clean".into(), "--out".into(), directory.join("absent").into_os_string()],
        vec![
            "convert".into(),
            directory.join("absent").into_os_string(),
            "--out".into(),
            world.out().into_os_string(),
        ],
        vec!["inspect".into(), directory.join("absent").into_os_string()],
    ] {
        let output = program(&[]).args(&args).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        let text = str::from_utf8(&output.stderr).expect("UTF-8");
        assert_eq!(text.find(|c: char| c.is_control() && c != '\n'), None, "{text:?}");
        assert!(!output.stderr.is_empty());
    }
}

/// A store's responses may contain anything.
#[test]
fn messages_of_stores_are_escaped() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("endpoint=http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let body = format!("<Error><Code>{HOSTILE}</Code><Message>{HOSTILE}</Message></Error>");
            let length = body.len();
            let head = format!(
                "HTTP/1.1 400 Bad Request\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
            );
            let _ = stream.write_all((head + &body).as_bytes());
        }
    });
    let world = World::new();
    let out = world.out().text();
    let options =
        ["access_key_id=testing", "secret_access_key=testing", "region=us-east-1", &endpoint];
    let options: Vec<&str> = options.iter().flat_map(|option| ["--option", option]).collect();
    let mut cases = Cases::default();
    let mut add = |what, seen, args: &[&str]| {
        cases.add(what, seen, args.iter().chain(&options).map(|&arg| arg.to_owned()));
    };
    add("a listing", Seen::Stderr, &["convert", "s3://bucket/logs", "--out", &out]);
    add("a listing, verbose", Seen::Stderr, &["convert", "s3://bucket/logs", "--out", &out, "-v"]);
    add(
        "a listing, logged",
        Seen::Log,
        &["convert", "s3://bucket/logs", "--out", &out, "--log-format", "json"],
    );
    add("a dataset", Seen::Stderr, &["report", "s3://bucket/lake"]);
    run_all(cases);
}
