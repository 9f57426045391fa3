//! Endpoints set by environment variables, profiles and `--option`. Several loopback servers record requests to
//! determine which endpoint was used. tests/endpoints.tsv lists the AWS endpoints by region.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

use crate::support::{Run, World, program, run_command};

/// A server that rejects every request and records the request line.
struct Listener {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Listener {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let noted = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut request = vec![0; 1 << 16];
                let count = stream.read(&mut request).unwrap_or(0);
                let text = String::from_utf8_lossy(&request[..count]).into_owned();
                noted.lock().unwrap().push(text.lines().next().unwrap_or_default().to_owned());
                let body = "<Error><Code>AccessDenied</Code></Error>";
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 403 Forbidden\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                );
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { url, requests }
    }

    /// Returns the requests received since the previous call.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

/// Names and values of environment variables.
type Variables<'a> = &'a [(&'a str, &'a str)];

/// Runs `plan` for a bucket with the given environment variables and profile.
fn plan(world: &World, source: &str, args: &[&str], variables: Variables, profile: &str) -> Run {
    let config = world.path("config");
    fs::write(&config, profile).unwrap();
    let mut command = program(&["plan", source]);
    command
        .args(args)
        .env("AWS_CONFIG_FILE", &config)
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    command.env("AWS_ACCESS_KEY_ID", "testing").env("AWS_SECRET_ACCESS_KEY", "topsecret");
    for name in ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_PROFILE"] {
        command.env_remove(name);
    }
    run_command(command.envs(variables.iter().copied()))
}

#[test]
fn the_most_specific_endpoint_setting_is_used() {
    let world = World::new();
    let (wanted, other) = (Listener::new(), Listener::new());
    let (own, not) = (wanted.url.as_str(), other.url.as_str());
    let region = "[default]\nregion = eu-west-1\n";
    let of_profile = |url: &str| format!("{region}endpoint_url = {url}\n");
    let of_services = |url: &str, rest: &str| {
        format!("{rest}services = own\n[services own]\ns3 =\n  endpoint_url = {url}\n")
    };
    let option = format!("endpoint={own}");
    let cases: [(&[&str], Variables, String); 6] = [
        (&[], &[("AWS_ENDPOINT_URL", own)], of_profile(not)),
        (&[], &[("AWS_ENDPOINT_URL", not), ("AWS_ENDPOINT_URL_S3", own)], of_profile(not)),
        (&[], &[("AWS_ENDPOINT_URL_S3", "")], of_profile(own)),
        (&[], &[], of_services(own, &of_profile(not))),
        (&["--option", &option], &[("AWS_ENDPOINT_URL_S3", not)], of_profile(not)),
        (
            &["--option", &option],
            &[("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true"), ("AWS_ENDPOINT_URL", not)],
            of_profile(not),
        ),
    ];
    for (args, variables, profile) in cases {
        let run = plan(&world, "s3://my-logs/own", args, variables, &profile).expect(3);
        run.says(&["s3://my-logs/own"]);
        let requests = wanted.take();
        assert!(
            requests[0].starts_with("GET /my-logs?") && requests[0].contains("prefix=own"),
            "{requests:?}"
        );
        assert!(other.take().is_empty(), "{variables:?} {profile}");
    }
}

#[test]
fn unsupported_settings_are_refused_by_name() {
    let world = World::new();
    let listener = Listener::new();
    let own = ("AWS_ENDPOINT_URL", listener.url.as_str());
    let china = "[default]\nregion = cn-north-1\n";
    let point = "s3://arn:aws:s3::123456789012:accesspoint/mfzwi23gnjvgw.mrap/own";
    let elsewhere = "s3://arn:aws:s3:us-east-1:123456789012:accesspoint/logs/own";
    let cases: [(&str, Variables, String, &[&str]); 12] = [
        (
            "s3://my-logs",
            &[("AWS_USE_FIPS_ENDPOINT", "yes"), own],
            china.into(),
            &["AWS_USE_FIPS_ENDPOINT", "true or false"],
        ),
        ("s3://my-logs", &[("AWS_USE_FIPS_ENDPOINT", "true")], china.into(), &["aws-cn", "FIPS"]),
        ("s3://my-logs", &[], format!("{china}use_fips_endpoint = true\n"), &["aws-cn", "FIPS"]),
        (
            "s3://my-logs",
            &[
                ("AWS_USE_FIPS_ENDPOINT", "true"),
                ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true"),
                own,
            ],
            china.into(),
            &["aws-cn", "FIPS"],
        ),
        ("s3://my-logs", &[("AWS_USE_FIPS_ENDPOINT", "true")], String::new(), &["AWS_REGION"]),
        (
            "s3://my-logs",
            &[],
            format!("{china}s3 =\n  use_accelerate_endpoint = true\n"),
            &["Acceleration"],
        ),
        (
            "s3://my-logs",
            &[own],
            format!("{china}s3 =\n  addressing_style = x\n"),
            &["addressing_style"],
        ),
        ("s3://my-logs", &[("AWS_ENDPOINT_URL", "store.example.org")], china.into(), &["https://"]),
        (point, &[own], china.into(), &["multi-region"]),
        (
            elsewhere,
            &[("AWS_S3_USE_ARN_REGION", "false"), own],
            china.into(),
            &["AWS_S3_USE_ARN_REGION"],
        ),
        ("s3://logs--use1-az4--x-s3", &[own], china.into(), &["S3 Express"]),
        ("s3://my-logs", &[("AWS_S3_EXPRESS", "true"), own], china.into(), &["s3_express"]),
    ];
    for (source, variables, profile, words) in cases {
        plan(&world, source, &[], variables, &profile).expect(3).says(words);
        assert!(listener.take().is_empty(), "{source} {variables:?}");
    }
}

#[test]
fn an_invalid_object_list_causes_no_requests() {
    let world = World::new();
    let listener = Listener::new();
    let variables = [("AWS_ENDPOINT_URL", listener.url.as_str()), ("AWS_REGION", "eu-west-1")];
    let list = world.path("list");
    let args = ["--objects", list.to_str().unwrap()];
    for text in ["<html>\n", "hello\n", "s3://other/AWSLogs/x\n", "{\"a\": 1}\n"] {
        fs::write(&list, text).unwrap();
        plan(&world, "s3://my-logs", &args, &variables, "").expect(3).says(&["line 1"]);
        assert!(listener.take().is_empty(), "{text}");
    }
    // With a valid list, each listed object is requested, and the bucket is not listed.
    fs::write(&list, "AWSLogs/x.log.gz\n").unwrap();
    plan(&world, "s3://my-logs", &args, &variables, "");
    let requests = listener.take();
    assert!(
        requests.iter().all(|line| line.starts_with("HEAD /my-logs/AWSLogs/x.log.gz")),
        "{requests:?}"
    );
    assert!(!requests.is_empty());
}
