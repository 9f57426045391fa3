//! Redaction: each rule keeps only the intended part of a value, no other personal data remains, and a dataset has a
//! single set of rules.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::support::{
    Line, REJECTS, Row, Run, World, contents, get, gzip, key, key_on, program, read, run_command,
    text_of, tree,
};

const CONNECTIONS: &str = "alb_connection_logs";
const TLS_CONNECTIONS: &str = "nlb_tls_logs";
const CLASSIC: &str = "clb_access_logs";
const KEY: &str = "seven-times-seven-rusty-old-locks";
const OTHER_KEY: &str = "fedcba9876543210fedcba9876543210";

/// Strings that a redacted dataset must not contain. Each of them occurs in at least one line of [`world`].
const SECRETS: [&str; 31] = [
    "198.18.7.77",
    "198.18.7.78",
    "2001:db8:514:7::f35",
    "jane@example.org",
    "?q=jane",
    "?token=jane",
    "jane-in-a-fragment",
    "SecretAgent/7",
    "Root=1-jane",
    "TID_jane",
    "CN=jane",
    "5EC4E7",
    "field-of-jane",
    "jane-has-no-spaces",
    "jane-behind-the-protocol",
    "rejected-jane",
    "jane-is-not-text",
    "jane-is-cut-short",
    "jane-and-a-quote",
    // Network Load Balancers
    "198.18.8.77",
    "2001:db8:515:7::f36",
    "field-of-a-jane-with-tls",
    "rejected-tls-jane",
    // Classic Load Balancers
    "198.18.9.77",
    "2001:db8:516:7::f37",
    "?pin=jane",
    "jane-in-a-classic-fragment",
    "ClassicAgent/7",
    "jane-behind-the-classic-protocol",
    "field-of-a-classic-jane",
    "rejected-classic-jane",
];

/// Rules for all columns. Where possible, their actions keep part of the value.
const LENIENT: [&str; 9] = [
    "client_ip=truncate",
    "client_port=drop",
    "request_url=drop-query",
    "user_agent=hash",
    "trace_id=hash",
    "conn_trace_id=hash",
    "leaf_client_cert_subject=hash",
    "leaf_client_cert_serial_number=hash",
    "extra_fields=drop",
];

fn request(url: &str) -> Line {
    Line::of(36)
        .with(4, "198.18.7.77:50718")
        .with(13, &format!("\"GET {url} HTTP/1.1\""))
        .with(14, "\"SecretAgent/7\"")
        .with(18, "\"Root=1-jane\"")
        .with(24, "\"https://example.com/new?q=jane\"")
        .with(30, "TID_jane")
        .with(32, "\"/new/a?q=jane\"")
}

fn connection(client: &str) -> String {
    format!(
        "2025-07-19T14:03:21.123456Z {client} 50718 443 TLSv1.3 TLS_AES_128_GCM_SHA256 0.012 \"CN=jane\" \
         NotBefore=2023-09-21T22:43:21Z;NotAfter=2026-06-17T22:43:21Z 5EC4E7 Success TID_jane"
    )
}

fn tls_connection(client: &str, tail: &str) -> String {
    format!(
        "tls 2.0 2025-07-19T14:03:21 net/my-nlb/50dc6c495c0c9188 0123456789abcdef {client} 198.51.100.9:443 5 2 98 246 - \
         arn:aws:acm:eu-west-1:012345678901:certificate/00000000-0000-0000-0000-000000000001 - TLS_AES_128_GCM_SHA256 \
         tlsv13 - www.example.com h2 h2 \"h2\",\"http/1.1\" 2025-07-19T14:03:20{tail}"
    )
}

fn classic_request(client: &str, request: &str) -> String {
    format!(
        "2025-07-19T14:03:21.123456Z my-clb {client} 198.51.100.9:80 0.000073 0.001048 0.000057 200 200 0 29 \
         \"{request}\" \"ClassicAgent/7\" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2"
    )
}

/// Returns the key of an object from another load balancer. `balancer` is the load balancer as written in object names.
fn key_with(balancer: &str, ending: &str) -> String {
    key(3).replace("app.my-lb.50dc6c495c0c9188", balancer).replace(".log.gz", ending)
}

/// Returns a source that contains one person's requests and connections, and every kind of invalid line.
fn world() -> World {
    let world = World::new();
    let mut extra = request("https://www.example.com:443/a?mail=jane@example.org");
    extra.0.push("field-of-jane".to_owned());
    let mut text = text_of([
        extra.text(),
        request("https://www.example.com:443/b#jane-in-a-fragment").with(4, "198.18.7.78:1").text(),
        request("https://www.example.com:443/c").with(4, "2001:db8:514:7::f35:2").text(),
        request("-").with(13, "\"/?token=jane HTTP/1.1\"").text(),
        request("-").with(13, "\"jane-has-no-spaces\"").text(),
        request("-").with(13, "\"GET /d HTTP/1.1 jane-behind-the-protocol\"").text(),
        request("-").with(4, "-").with(13, "\"- - -\"").with(14, "\"-\"").text(),
        request("https://rejected-jane/").with(9, "five").text(),
        "h2 jane-is-cut-short".to_owned(),
        request("-").with(14, "\"jane-and-a-quote\"x").text(),
    ]);
    text.extend(b"jane-is-not-text \xff\n");
    world.put(&key(1), gzip(text));
    let name = key(2).replace("/012345678901_", "/conn_log_012345678901_");
    let clients = ["198.18.7.77", "2001:db8:514:7::f35", "999.51.100.9"];
    world.put(&name, gzip(text_of(clients.map(connection))));
    let tls = [
        tls_connection("198.18.8.77:50737", ""),
        tls_connection("2001:db8:515:7::f36:50737", " field-of-a-jane-with-tls"),
        tls_connection("rejected-tls-jane:port", ""),
    ];
    world.put(&key_with("net.my-nlb.50dc6c495c0c9188", ".log.gz"), gzip(text_of(tls)));
    let get = |url: &str| format!("GET {url} HTTP/1.1");
    let classic = [
        classic_request("198.18.9.77:50747", &get("https://www.example.com:443/a?pin=jane")),
        classic_request("198.18.9.77:50747", &get("http://h:80/b#jane-in-a-classic-fragment")),
        classic_request(
            "2001:db8:516:7::f37:50747",
            "GET /c HTTP/1.1 jane-behind-the-classic-protocol",
        ),
        classic_request("198.18.9.77:50747", "?pin=jane-has-no-spaces HTTP/1.1"),
        classic_request("198.18.9.77:50747", &get("/d")) + " field-of-a-classic-jane",
        classic_request("198.18.9.77:50747", "- - - "),
        classic_request("rejected-classic-jane:port", &get("/e")),
    ];
    world.put(&key_with("my-clb", ".log"), text_of(classic));
    world
}

fn with_rules<S: AsRef<str>>(rules: &[S]) -> Vec<&str> {
    rules.iter().flat_map(|rule| ["--redact", rule.as_ref()]).collect()
}

/// Runs a command with a redaction key in its environment.
fn with_key(command: &mut Command, key: &str) -> Run {
    run_command(command.env("ALB2PARQUET_REDACT_KEY", key))
}

fn command(world: &World, name: &str, args: &[&str]) -> Command {
    let mut command = program(&[name, "--to", "2099-12-31", "--json"]);
    command.arg(world.source()).arg("--out").arg(world.out()).args(args);
    command
}

/// Converts with the given redaction rules and the redaction key. Rejects do not affect the exit code.
fn convert(world: &World, rules: &[&str]) -> Run {
    let args = [&with_rules(rules)[..], &["--max-rejects", "1", "--compression", "none", "-v"]];
    with_key(&mut command(world, "convert", &args.concat()), KEY).expect(0)
}

/// Returns the distinct values in a column, with NULL as `-`.
fn values(rows: &[Row], column: &str) -> BTreeSet<String> {
    rows.iter().map(|row| get(row, column).unwrap_or("-").to_owned()).collect()
}

fn set<const N: usize>(values: [&str; N]) -> BTreeSet<String> {
    values.map(str::to_owned).into()
}

/// Returns the given words that occur in the dataset or in the program's output.
fn found<'w>(world: &World, run: &Run, words: &[&'w str]) -> BTreeSet<&'w str> {
    let mut texts: Vec<Vec<u8>> = tree(&world.out()).into_values().collect();
    texts.extend(tree(&world.out()).into_keys().map(String::into_bytes));
    texts.extend([run.stdout.clone().into_bytes(), run.stderr.clone().into_bytes()]);
    let is_there = |word: &&&str| {
        texts.iter().any(|text| text.windows(word.len()).any(|bytes| bytes == word.as_bytes()))
    };
    words.iter().filter(is_there).copied().collect()
}

#[test]
fn no_personal_data_is_left_anywhere() {
    let all: BTreeSet<&str> = SECRETS.into();
    // Without rules, all of the words must be found. This proves that the search works.
    let world = world();
    let run = convert(&world, &[]);
    assert_eq!(found(&world, &run, &SECRETS), all);
    let columns = alb2parquet::internals::redact::COLUMNS;
    let drop: Vec<String> = columns.iter().map(|(name, _)| format!("{name}=drop")).collect();
    let drop: Vec<&str> = drop.iter().map(String::as_str).collect();
    for rules in [&LENIENT[..], &drop, &[&LENIENT[1..], &["client_ip=hash"]].concat()] {
        let world = self::world();
        let run = convert(&world, rules);
        assert_eq!(run.count("/rows") + run.count("/lines"), 18 + 24);
        assert_eq!(found(&world, &run, &SECRETS), BTreeSet::new(), "{rules:?}");
        assert_eq!(found(&world, &run, &[KEY, &KEY[..16]]), BTreeSet::new(), "{rules:?}");
        // The name of the load balancer is not personal data.
        assert!(!found(&world, &run, &["app/my-lb/50dc6c495c0c9188"]).is_empty());
    }
}

#[test]
fn each_rule_keeps_the_documented_part() {
    let world = world();
    convert(&world, &LENIENT);
    let rows = world.rows();
    let kept = |column: &str| values(&rows, column);
    assert_eq!(kept("client_ip"), set(["198.18.7.0", "2001:db8:514::", "-"]));
    assert_eq!(kept("client_port"), set(["-"]));
    let urls = ["a", "b", "c"].map(|path| format!("https://www.example.com:443/{path}"));
    let urls: BTreeSet<String> =
        urls.into_iter().chain(set(["-", "HTTP/1.1", "/d HTTP/1.1"])).collect();
    assert_eq!(kept("request_url"), urls);
    assert_eq!(kept("redirect_url"), set(["https://example.com/new"]));
    assert_eq!(kept("transformed_uri"), set(["/new/a"]));
    assert_eq!(kept("request_verb"), set(["GET", "-"]));
    assert_eq!(kept("request_proto"), set(["HTTP/1.1", "-"]));
    // printf 'user_agent\0SecretAgent/7' | openssl dgst -sha256 -hmac $KEY
    assert_eq!(kept("user_agent"), set(["ad63924a91f2c3badcca8ed1e109cd0b", "-"]));
    assert_eq!(kept("trace_id"), set(["948b6368c7b23a85fc2e3d2d7ae63203"]));
    assert_eq!(kept("extra_fields"), set(["-"]));
    assert_eq!(kept("target_ip"), set(["198.51.100.9"]));
    assert_eq!(kept("domain_name"), set(["www.example.com"]));
    let connections = read(&world.out(), CONNECTIONS);
    let kept = |column: &str| values(&connections, column);
    assert_eq!(kept("client_ip"), set(["198.18.7.0", "2001:db8:514::", "-"]));
    assert_eq!(kept("leaf_client_cert_subject").first().unwrap().len(), 32);
    // Requests can still be joined to their connections.
    assert_eq!(kept("conn_trace_id"), values(&rows, "conn_trace_id"));
    assert_eq!(kept("conn_trace_id").first().unwrap().len(), 32);
    let connections = read(&world.out(), TLS_CONNECTIONS);
    let kept = |column: &str| values(&connections, column);
    assert_eq!(kept("client_ip"), set(["198.18.8.0", "2001:db8:515::"]));
    assert_eq!((kept("client_port"), kept("extra_fields")), (set(["-"]), set(["-"])));
    assert_eq!(kept("domain_name"), set(["www.example.com"]));
    // The rules for client_ip, client_port and request_url also apply to the columns for Classic Load Balancers.
    let requests = read(&world.out(), CLASSIC);
    let kept = |column: &str| values(&requests, column);
    assert_eq!(kept("request_ip"), set(["198.18.9.0", "2001:db8:516::"]));
    assert_eq!((kept("request_port"), kept("extra_fields")), (set(["-"]), set(["-"])));
    let urls = ["https://www.example.com:443/a", "http://h:80/b", "/c HTTP/1.1", "/d", "-"];
    assert_eq!(
        kept("url"),
        urls.map(str::to_owned).into_iter().chain(["HTTP/1.1".to_owned()]).collect()
    );
    assert_eq!(kept("request_verb"), set(["GET", "-"]));
    assert_eq!(kept("protocol"), set(["HTTP/1.1", "-"]));
    assert_eq!(kept("user_agent").first().unwrap().len(), 32);
    assert_eq!(kept("backend_ip"), set(["198.51.100.9"]));
    // A reject keeps its reason and position, but not its line.
    let rejects = read(&world.out(), REJECTS);
    let kept = |column: &str| values(&rejects, column);
    assert_eq!(
        kept("reason"),
        set(["invalid_value", "too_few_fields", "misplaced_quote", "invalid_utf8"])
    );
    assert_eq!(kept("column_name"), set(["client_port", "elb_status_code", "request_port", "-"]));
    assert_eq!(kept("line_number"), set(["3", "7", "8", "9", "10", "11"]));
    assert!(!kept("raw_length").contains("-") && !kept("byte_offset").contains("-"));
    assert_eq!(kept("raw_line"), set(["-"]));
}

#[test]
fn a_rule_for_one_column_does_not_change_others() {
    let plain = self::world();
    convert(&plain, &[]);
    let world = self::world();
    convert(&world, &["client_ip=drop"]);
    let (rows, all) = (world.rows(), plain.rows());
    assert_eq!(values(&rows, "client_ip"), set(["-"]));
    for column in ["client_port", "request_url", "request_verb", "user_agent", "trace_id"] {
        assert_eq!(values(&rows, column), values(&all, column), "{column}");
    }
    // Unknown fields may contain personal data, so they are always dropped.
    assert_eq!(values(&rows, "extra_fields"), set(["-"]));
    // Columns that repeat parts of the URL may have separate rules.
    let world = self::world();
    convert(&world, &["request_url=drop", "redirect_url=drop-query"]);
    let rows = world.rows();
    assert_eq!(values(&rows, "request_url"), set(["-"]));
    assert_eq!(values(&rows, "redirect_url"), set(["https://example.com/new"]));
    assert_eq!(values(&rows, "transformed_uri"), set(["-"]));
}

#[test]
fn a_client_has_the_same_hash_in_the_tables_of_all_load_balancers() {
    let world = World::new();
    let client = "198.18.7.77";
    world.put(&key(1), gzip(text_of([request("-").text()])));
    let tls = tls_connection(&format!("{client}:1"), "");
    world.put(&key_with("net.my-nlb.50dc6c495c0c9188", ".log.gz"), gzip(text_of([tls])));
    let request = classic_request(&format!("{client}:1"), "GET / HTTP/1.1");
    world.put(&key_with("my-clb", ".log"), text_of([request]));
    convert(&world, &["client_ip=hash"]);
    // printf 'client_ip\000198.18.7.77' | openssl dgst -sha256 -hmac $KEY
    let hash = set(["29ecc35b2e2d37e2060c55d43205e318"]);
    assert_eq!(values(&world.rows(), "client_ip"), hash);
    assert_eq!(values(&read(&world.out(), TLS_CONNECTIONS), "client_ip"), hash);
    assert_eq!(values(&read(&world.out(), CLASSIC), "request_ip"), hash);
    assert_eq!(values(&read(&world.out(), CLASSIC), "request_port"), set(["1"]));
}

#[test]
fn a_dataset_is_redacted_as_a_whole_or_not_at_all() {
    let refused = |world: &World, rules: &[&str], key: &str, words: &[&str]| {
        let before = tree(&world.out());
        world.put(&key_on("2025/07/20", 9), gzip(request("-").text() + "\n"));
        let args = with_rules(rules);
        let run = with_key(&mut command(world, "convert", &args), key).expect(3);
        run.says(words);
        run.says(&["another --out"]);
        assert!(tree(&world.out()) == before, "nothing is written");
    };
    let plain = world();
    convert(&plain, &[]);
    refused(
        &plain,
        &["client_ip=drop"],
        KEY,
        &["created without redaction", "unredacted values", "--redact"],
    );
    let world = self::world();
    convert(&world, &["client_ip=hash", "user_agent=drop"]);
    let begun =
        ["created with another redaction", "--redact client_ip=hash", "--redact user_agent=drop"];
    refused(&world, &[], KEY, &begun);
    refused(&world, &["client_ip=hash"], KEY, &begun);
    refused(&world, &["client_ip=truncate", "user_agent=drop"], KEY, &begun);
    let same = ["user_agent=drop", "client_ip=hash"];
    refused(&world, &same, OTHER_KEY, &["another key", "ALB2PARQUET_REDACT_KEY"]);
    // The same rules are accepted in a different order.
    let args = with_rules(&same);
    let run = with_key(&mut command(&world, "convert", &args), KEY).expect(0);
    assert_eq!(run.count("/rows"), 1);
    assert_eq!(found(&world, &run, &["198.18.7.77", "SecretAgent/7"]), BTreeSet::new());
}

#[test]
fn hashes_need_a_strong_key() {
    let world = world();
    let rules = ["--redact", "user_agent=hash"];
    let needed = ["ALB2PARQUET_REDACT_KEY", "openssl rand -hex 32"];
    run_command(&mut command(&world, "convert", &rules)).expect(3).says(&needed);
    let short = "a secret that is short";
    let run = with_key(&mut command(&world, "convert", &rules), short).expect(3);
    run.says(&needed);
    assert!(!run.stderr.contains("a secret"), "{run:?}");
    for (rule, words) in [
        ("client_ip", "client_ip=truncate"),
        ("client_ip=shred", "client_ip=truncate, client_ip=hash, client_ip=drop"),
        ("elb=drop", "expected one of the columns client_ip"),
    ] {
        run_command(&mut command(&world, "convert", &["--redact", rule])).expect(3).says(&[words]);
    }
    assert!(!world.out().exists(), "nothing is written");
    // Without a hash action, no key is needed.
    run_command(&mut command(
        &world,
        "convert",
        &["--redact", "client_ip=drop", "--max-rejects=1"],
    ))
    .expect(0);
}

#[test]
fn verify_compares_redacted_rows() {
    let world = world();
    convert(&world, &LENIENT);
    let verify = || command(&world, "verify", &["--read-data"]);
    let run = with_key(&mut verify(), KEY).expect(0);
    assert_eq!((run.count("/compared"), run.count("/not_compared")), (4, 0));
    run_command(&mut verify()).expect(3).says(&["ALB2PARQUET_REDACT_KEY"]);
    with_key(&mut verify(), OTHER_KEY).expect(3).says(&["ALB2PARQUET_REDACT_KEY", "not the key"]);
    // `verify` needs a key only if it reads data.
    run_command(&mut command(&world, "verify", &[])).expect(0);
    // If the rules in dataset.json are changed, the rows no longer match the source.
    let path = world.out().join("_alb2parquet/dataset.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("truncate", "drop")).unwrap();
    let run = with_key(&mut verify(), KEY).expect(1);
    assert_eq!(run.json()["findings"][0]["kind"], "row_mismatch", "{run:#?}");
}

#[test]
fn only_redacted_datasets_have_the_newer_format() {
    let description = |world: &World| -> serde_json::Value {
        let text = fs::read(world.out().join("_alb2parquet/dataset.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    };
    let plain = world();
    convert(&plain, &[]);
    let plain = description(&plain);
    assert_eq!(plain["format_version"], 4);
    assert_eq!(plain.get("redaction"), None);
    let world = world();
    convert(&world, &["request_url=drop-query", "user_agent=hash"]);
    let redacted = description(&world);
    assert_eq!(redacted["format_version"], 5);
    assert_eq!(
        redacted["redaction"]["columns"],
        serde_json::json!({
            "extra_fields": "drop",
            "redirect_url": "drop-query",
            "request_url": "drop-query",
            "transformed_uri": "drop-query",
            "url": "drop-query",
            "user_agent": "hash",
        })
    );
    assert_eq!(redacted["redaction"]["key_fingerprint"].as_str().unwrap().len(), 16);
}

#[test]
fn redacted_files_do_not_depend_on_threads() {
    let with = |threads: &str| {
        let world = self::world();
        let lines = (0..30_000).map(|number| {
            let client = format!("198.18.{}.{}:1", number % 200, number % 251);
            request("https://h/a?b").with(4, &client).with(18, &format!("\"Root={number}\"")).text()
        });
        world.put(&key_on("2025/07/20", 1), gzip(text_of(lines)));
        let rules =
            ["client_ip=hash", "trace_id=hash", "request_url=drop-query", "user_agent=drop"];
        let args = [&with_rules(&rules)[..], &["--threads", threads, "--max-rejects=1"]].concat();
        with_key(&mut command(&world, "convert", &args), KEY).expect(0);
        world
    };
    let (one, many) = (with("1"), with("3"));
    assert!(contents(&one.out()) == contents(&many.out()));
    let rows = one.rows();
    assert_eq!((rows.len(), values(&rows, "client_ip").len()), (30_007, 30_003));
}
