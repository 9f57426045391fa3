//! Access to Iceberg REST catalogs: tokens, credentials and signatures, which reach no other host and no message.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use chrono::NaiveDateTime;
use serde_json::json;

use crate::iceberg_catalog::{Reply, Request, RestCatalog};
use crate::support::{ROWS, Run, World, good_lines, gzip, key_on, program, run_command, tree};

const SECRET: &str = "top secret/+&";
const CREDENTIAL: &str = "app:top secret/+&";
const ENCODED: &str = "top%20secret%2F%2B%26";
const TOKEN: (&str, &str) = ("ALB2PARQUET_ICEBERG_TOKEN", "token-of-the-user");
const GRANT: (&str, &str) = ("ALB2PARQUET_ICEBERG_CREDENTIAL", CREDENTIAL);
const SERVER: &str = "ALB2PARQUET_ICEBERG_OAUTH2_SERVER_URI";
/// The header that authorizes requests.
const AUTHORIZATION: &str = "authorization";

/// Names and values of environment variables.
type Variables<'a> = &'a [(&'a str, &'a str)];

/// Returns a dataset with one file.
fn lake() -> World {
    let world = World::new();
    world.put(&key_on("2025/07/18", 1), gzip(good_lines(3)));
    world.convert().expect(0);
    world
}

/// Publishes a dataset. The environment contains only these variables with settings for catalogs or AWS.
fn publish(world: &World, catalog: &str, variables: Variables) -> Run {
    let (out, catalog) = (world.out(), format!("rest:{catalog}"));
    let out = out.to_str().unwrap();
    let args = ["iceberg", "publish", out, "--catalog", &catalog, "--json"];
    let mut command = program(&args);
    for name in ["AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL"] {
        command.env_remove(name);
    }
    let run = run_command(
        command.env("AWS_EC2_METADATA_DISABLED", "true").envs(variables.iter().copied()),
    );
    for secret in [SECRET, ENCODED, TOKEN.1, "session-token", "aws-secret"] {
        assert!(!run.stderr.contains(secret) && !run.stdout.contains(secret), "{run:#?}");
    }
    run
}

/// Returns the `Authorization` headers of all requests except those for tokens.
fn authorizations(catalog: &RestCatalog) -> Vec<Option<String>> {
    let received = catalog.received().into_iter().filter(|request| !request.is_for_token());
    received.map(|request| request.header(AUTHORIZATION).map(ToOwned::to_owned)).collect()
}

fn tokens_of(catalog: &RestCatalog) -> usize {
    catalog.received().iter().filter(|request| request.is_for_token()).count()
}

/// Returns whether a request lacks the token that the catalog issued last. Records the token that it is about to issue.
fn is_refused(request: &Request, expected: &Mutex<String>) -> bool {
    if request.is_for_token() {
        *expected.lock().unwrap() = format!("Bearer token-{}", request.number);
    }
    !request.is_for_token() && request.header(AUTHORIZATION) != Some(&expected.lock().unwrap())
}

#[test]
fn a_token_is_requested_once_with_the_credential_and_sent_with_each_request() {
    let (world, expected) = (lake(), Mutex::default());
    let catalog = RestCatalog::start(move |request| {
        if is_refused(request, &expected) { Reply::Other(401, String::new()) } else { Reply::Usual }
    });
    publish(&world, &catalog.url, &[GRANT]).expect(0);
    assert_eq!(catalog.files_of(ROWS).as_deref(), Some("1"));
    let received = catalog.received();
    // The configuration may name the token endpoint, so it is requested first, without authorization.
    assert_eq!(
        (received[0].target.as_str(), received[0].header(AUTHORIZATION)),
        ("/v1/config", None)
    );
    assert_eq!(
        (received[1].method.as_str(), received[1].target.as_str()),
        ("POST", "/v1/oauth/tokens")
    );
    assert_eq!(received[1].header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(received[1].header(AUTHORIZATION), None);
    let fields = format!(
        "grant_type=client_credentials&client_id=app&client_secret={ENCODED}&scope=catalog"
    );
    assert_eq!(received[1].body, fields);
    let rest = &received[2..];
    assert!(rest.len() >= 4, "{rest:?}");
    assert!(rest.iter().all(|request| request.header(AUTHORIZATION) == Some("Bearer token-1")));
    let table = format!("/v1/namespaces/default/tables/{ROWS}");
    assert!(rest.iter().any(|request| request.is_for("POST", &table)), "{rest:?}");

    let catalog = RestCatalog::start(|_| Reply::Usual);
    let (scope, alone) = (("ALB2PARQUET_ICEBERG_SCOPE", "a b"), (GRANT.0, "alone"));
    publish(&world, &catalog.url, &[alone, scope]).expect(0);
    let received = catalog.received();
    let token = received.iter().find(|request| request.is_for_token()).unwrap();
    assert_eq!(token.body, "grant_type=client_credentials&client_secret=alone&scope=a%20b");
}

#[test]
fn an_expired_token_is_renewed_before_the_next_request() {
    let (world, expected) = (lake(), Mutex::default());
    let catalog = RestCatalog::start(move |request| {
        if is_refused(request, &expected) {
            return Reply::Other(400, "an old token".to_owned());
        }
        let token = format!("token-{}", request.number);
        let token = json!({ "access_token": token, "token_type": "Bearer", "expires_in": 0 });
        if request.is_for_token() { Reply::Other(200, token.to_string()) } else { Reply::Usual }
    });
    publish(&world, &catalog.url, &[GRANT]).expect(0);
    let used = authorizations(&catalog);
    assert_eq!(used[0], None);
    let different: BTreeSet<_> = used[1..].iter().flatten().collect();
    assert_eq!((different.len(), tokens_of(&catalog)), (used.len() - 1, used.len() - 1));
}

#[test]
fn a_publication_continues_with_a_new_token_wherever_the_token_is_revoked() {
    let world = lake();
    for status in [401, 419] {
        // The number of requests in a publication ends the loop.
        for revoked in 2.. {
            let (expected, is_revoked) = (Mutex::default(), AtomicUsize::new(0));
            let catalog = RestCatalog::start(move |request| {
                let is_refused = is_refused(request, &expected);
                let is_now = request.number == revoked && !request.is_for_token();
                if is_now && is_revoked.fetch_add(1, Ordering::SeqCst) == 0 {
                    *expected.lock().unwrap() = String::new();
                    return Reply::Other(
                        status,
                        json!({ "error": { "message": "expired" } }).to_string(),
                    );
                }
                if is_refused { Reply::Other(401, String::new()) } else { Reply::Usual }
            });
            publish(&world, &catalog.url, &[GRANT]).expect(0);
            assert_eq!(catalog.files_of(ROWS).as_deref(), Some("1"), "{revoked}");
            let received = catalog.received().len();
            if received <= revoked {
                assert!(revoked >= 6, "a publication has {received} requests");
                break;
            }
            assert_eq!(tokens_of(&catalog), 2, "{revoked}");
        }
    }
}

#[test]
fn a_server_that_refuses_new_tokens_is_not_asked_forever() {
    let world = lake();
    let catalog = RestCatalog::start(|request| {
        let is_open = request.is_for_token() || request.header(AUTHORIZATION).is_none();
        if is_open { Reply::Usual } else { Reply::Other(401, request.echo()) }
    });
    let run = publish(&world, &catalog.url, &[GRANT]).expect(3);
    run.says(&["refuses access: status 401", "hint: check the credentials"]);
    assert_eq!((authorizations(&catalog).len(), tokens_of(&catalog)), (3, 2));
    // A token of the user cannot be renewed.
    let catalog = RestCatalog::start(|request| Reply::Other(401, request.echo()));
    publish(&world, &catalog.url, &[TOKEN]).expect(3).says(&["refuses access: status 401"]);
    assert_eq!(authorizations(&catalog), [Some(format!("Bearer {}", TOKEN.1))]);
}

#[test]
fn refused_credentials_are_reported_without_the_secret() {
    let world = lake();
    for (status, body, expected) in [
        (
            401,
            json!({ "error": "invalid_client", "error_description": SECRET }),
            "401: invalid_client: (secret)",
        ),
        (400, json!({ "error": { "message": format!("not {ENCODED}") } }), "400: not (secret)"),
        (403, json!("forbidden"), "403: the response has no reason"),
    ] {
        let body = body.to_string();
        let catalog = RestCatalog::start(move |request| {
            if request.is_for_token() { Reply::Other(status, body.clone()) } else { Reply::Usual }
        });
        let run = publish(&world, &catalog.url, &[GRANT]).expect(3);
        run.says(&["no token from", "/v1/oauth/tokens: status", expected]);
        // Only the configuration was requested.
        assert_eq!(authorizations(&catalog), [None]);
    }
}

#[test]
fn a_server_cannot_make_the_program_print_secrets() {
    let world = lake();
    let aws = [
        ("ALB2PARQUET_ICEBERG_SIGNING_NAME", "execute-api"),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ACCESS_KEY_ID", "testing"),
        ("AWS_SECRET_ACCESS_KEY", "aws-secret"),
        ("AWS_SESSION_TOKEN", "session-token"),
    ];
    let ways: [Variables; 3] = [&[GRANT], &[TOKEN], &aws];
    for status in [200, 302, 400, 401, 403, 500] {
        for variables in ways {
            for open in [0, 1] {
                let catalog = RestCatalog::start(move |request| {
                    let echo = request.echo();
                    let of_table = json!({ "metadata": &echo, "metadata-location": &echo });
                    match status {
                        // The first requests have the usual responses.
                        _ if request.target.contains("/config") && open == 1 => Reply::Usual,
                        200 if request.is_for_token() => {
                            Reply::Other(200, json!({ "access_token": echo }).to_string())
                        }
                        200 => Reply::Other(200, of_table.to_string()),
                        302 => Reply::Redirect(302, format!("http://127.0.0.1/{}", request.body)),
                        _ => Reply::Other(
                            status,
                            json!({ "error": { "message": echo } }).to_string(),
                        ),
                    }
                });
                let run = publish(&world, &catalog.url, variables);
                assert_eq!(run.code, 3, "{run:#?}");
            }
        }
    }
}

#[test]
fn invalid_responses_are_refused() {
    let world = lake();
    let page = "<html>not a catalog</html>";
    let catalog = RestCatalog::start(|_| Reply::Other(200, page.to_owned()));
    publish(&world, &catalog.url, &[]).expect(3).says(&["/v1/config is invalid"]);
    let token = |text: &str| json!({ "access_token": text, "token_type": "bearer" }).to_string();
    for (body, expected) in [
        (page.to_owned(), "not a token"),
        (token("opaque")[..20].to_owned(), "not a token"),
        ("{}".to_owned(), "not a token"),
        ("[]".to_owned(), "not a token"),
        (json!({ "access_token": "opaque", "expires_in": -1 }).to_string(), "not a token"),
        (token("a\nb"), "invalid characters"),
        (token(""), "invalid characters"),
        (json!({ "access_token": "opaque", "token_type": "mac" }).to_string(), "type \"mac\""),
    ] {
        let catalog = RestCatalog::start(move |request| {
            if request.is_for_token() { Reply::Other(200, body.clone()) } else { Reply::Usual }
        });
        publish(&world, &catalog.url, &[GRANT]).expect(3).says(&["no token from", expected]);
        assert_eq!(authorizations(&catalog), [None]);
    }
}

#[test]
fn the_size_of_responses_is_limited() {
    let world = lake();
    let is_huge = |run: Run| run.expect(3).says(&["the response is larger than 256 MiB"]);
    is_huge(publish(&world, &RestCatalog::start(|_| Reply::Announced(1 << 40)).url, &[TOKEN]));
    is_huge(publish(&world, &RestCatalog::start(|_| Reply::Endless(200)).url, &[TOKEN]));
    let catalog =
        RestCatalog::start(
            |request| {
                if request.is_for_token() { Reply::Endless(200) } else { Reply::Usual }
            },
        );
    is_huge(publish(&world, &catalog.url, &[GRANT]));
    // The rest of an error response does not matter.
    let catalog = RestCatalog::start(|_| Reply::Endless(403));
    publish(&world, &catalog.url, &[TOKEN]).expect(3).says(&["status 403"]);
}

#[test]
fn no_request_follows_a_redirect() {
    let world = lake();
    let commit = format!("/tables/{ROWS}");
    for status in [301, 302, 303, 307, 308] {
        for end in ["/config", "/oauth/tokens", &commit] {
            let other = RestCatalog::start(|_| Reply::Usual);
            let (end, url) = (end.to_owned(), other.url.clone());
            let catalog = RestCatalog::start(move |request| {
                let is_chosen = request.target.ends_with(&end);
                if is_chosen {
                    Reply::Redirect(status, format!("{url}/moved"))
                } else {
                    Reply::Usual
                }
            });
            let run = publish(&world, &catalog.url, &[GRANT]).expect(3);
            run.says(&[&format!("status {status}")]);
            assert_eq!(other.received(), [], "{status}");
        }
    }
}

#[test]
fn the_credential_goes_only_to_the_token_endpoint() {
    let world = lake();
    let named = |endpoint: String| {
        RestCatalog::start(move |request| {
            let config = json!({ "defaults": { "oauth2-server-uri": &endpoint } }).to_string();
            if request.target.ends_with("/config") {
                Reply::Other(200, config)
            } else {
                Reply::Usual
            }
        })
    };
    let [login, user] = [(); 2].map(|()| RestCatalog::start(|_| Reply::Usual));
    // The catalog names the endpoint.
    let catalog = named(format!("{}/realm/oauth/tokens", login.url));
    publish(&world, &catalog.url, &[GRANT]).expect(0);
    assert_eq!((tokens_of(&login), tokens_of(&catalog)), (1, 0));
    assert_eq!(login.received()[0].target, "/realm/oauth/tokens");
    // The user's endpoint takes precedence, and the configuration is only requested with a token.
    let pinned = format!("{}/oauth/tokens", user.url);
    let catalog = named(format!("{}/oauth/tokens", login.url));
    publish(&world, &catalog.url, &[GRANT, (SERVER, &pinned)]).expect(0);
    assert_eq!((tokens_of(&user), tokens_of(&login), tokens_of(&catalog)), (1, 1, 0));
    assert!(
        authorizations(&catalog).iter().all(|header| header.as_deref() == Some("Bearer token-0"))
    );
    // A path is relative to the catalog.
    let catalog = named("realm/oauth/tokens".to_owned());
    publish(&world, &catalog.url, &[GRANT]).expect(0);
    assert_eq!(catalog.received()[1].target, "/realm/oauth/tokens");
    // A server cannot choose plain HTTP.
    for endpoint in
        ["http://192.0.2.1/oauth/tokens", "ftp://127.0.0.1/a", "https://a:b@127.0.0.1/", "http://"]
    {
        let catalog = named(endpoint.to_owned());
        publish(&world, &catalog.url, &[GRANT]).expect(3).says(&["its configuration"]);
        assert_eq!(catalog.received().len(), 1, "{endpoint}");
    }
}

#[test]
fn plain_http_to_another_machine_is_reported() {
    // The server is a proxy, so no request leaves this machine.
    let (world, proxy) = (lake(), RestCatalog::start(|_| Reply::Usual));
    let http = ("http_proxy", proxy.url.as_str());
    let catalog = "http://catalog.example.org";
    let warning = "can read the secrets in requests to http://catalog.example.org";
    publish(&world, catalog, &[GRANT, http]).expect(0).says(&[warning]);
    assert_eq!(tokens_of(&proxy), 1);
    let run = publish(&world, catalog, &[http]).expect(0);
    assert!(!run.stderr.contains("warning"), "{run:#?}");
    let (run, login) =
        (RestCatalog::start(|_| Reply::Usual), "http://login.example.org/oauth/tokens");
    let run = publish(&world, &run.url, &[GRANT, (SERVER, login), http]).expect(0);
    run.says(&["requests to http://login.example.org/oauth/tokens"]);
}

/// Returns the signature that AWS's own library computes for a request.
fn signature(request: &Request, url: &str, service: &str, token: Option<&str>) -> String {
    let identity =
        Credentials::new("testing", "aws-secret", token.map(Into::into), None, "test").into();
    let date = request.header("x-amz-date").unwrap();
    let time = NaiveDateTime::parse_from_str(date, "%Y%m%dT%H%M%SZ").unwrap().and_utc();
    let mut settings = SigningSettings::default();
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("eu-west-1")
        .name(service)
        .time(SystemTime::from(time))
        .settings(settings)
        .build()
        .unwrap()
        .into();
    // The library adds the other signed headers.
    let headers = [("content-type", request.header("content-type").unwrap())];
    let (uri, body) =
        (format!("{url}{}", request.target), SignableBody::Bytes(request.body.as_bytes()));
    let signable = SignableRequest::new(&request.method, uri, headers.into_iter(), body).unwrap();
    let (instructions, signature) = sign(signable, &params).unwrap().into_parts();
    for (name, value) in instructions.headers().filter(|(name, _)| *name != AUTHORIZATION) {
        assert_eq!(request.header(name), Some(value), "{name}");
    }
    signature
}

#[test]
fn each_request_has_the_signature_of_the_aws_library() {
    let world = lake();
    // The characters of this prefix have different forms in a URL and in a canonical request.
    let prefix = "catalogs/123456789012:a%2Fb c%25~é".replace(' ', "%20").replace('é', "%C3%A9");
    for (service, token) in [("glue", None), ("execute-api", Some("session-token"))] {
        let prefix = prefix.clone();
        let catalog = RestCatalog::start(move |request| {
            let config = json!({ "overrides": { "prefix": &prefix } }).to_string();
            if request.target.contains("/config") {
                Reply::Other(200, config)
            } else {
                Reply::Usual
            }
        });
        let url = format!("{}/iceberg?warehouse=123456789012:a/b é", catalog.url);
        let mut variables = vec![
            ("ALB2PARQUET_ICEBERG_SIGNING_NAME", service),
            ("ALB2PARQUET_ICEBERG_SIGNING_REGION", "eu-west-1"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "testing"),
            ("AWS_SECRET_ACCESS_KEY", "aws-secret"),
        ];
        variables.extend(token.map(|token| ("AWS_SESSION_TOKEN", token)));
        publish(&world, &url, &variables).expect(0);
        assert_eq!(catalog.files_of(ROWS).as_deref(), Some("1"));
        let received = catalog.received();
        assert_eq!(
            received[0].target,
            "/iceberg/v1/config?warehouse=123456789012%3Aa%2Fb%20%C3%A9"
        );
        assert!(
            received.len() >= 5
                && received[1].target.contains("/iceberg/v1/catalogs/123456789012:a%2Fb")
        );
        for request in &received {
            let header = request.header(AUTHORIZATION).unwrap();
            let date = &request.header("x-amz-date").unwrap()[..8];
            let scope = format!(
                "AWS4-HMAC-SHA256 Credential=testing/{date}/eu-west-1/{service}/aws4_request"
            );
            assert!(header.starts_with(&scope), "{header}");
            assert_eq!(request.header("x-amz-security-token"), token);
            let expected = signature(request, &catalog.url, service, token);
            assert!(
                header.ends_with(&format!("Signature={expected}")),
                "{header} {expected} {request:?}"
            );
        }
    }
}

#[test]
fn contradictory_settings_are_refused_before_anything_is_sent_or_changed() {
    let world = lake();
    let catalog = RestCatalog::start(|_| Reply::Usual);
    let before = tree(&world.out());
    let name = ("ALB2PARQUET_ICEBERG_SIGNING_NAME", "glue");
    let cases: [(Variables, &[&str]); 8] = [
        (&[TOKEN, GRANT], &[TOKEN.0, GRANT.0, "not with both"]),
        (&[TOKEN, name], &[TOKEN.0, "AWS credentials"]),
        (&[GRANT, name], &[GRANT.0, "AWS credentials"]),
        (&[TOKEN, (SERVER, "https://a")], &[SERVER, "has no effect without"]),
        (&[(TOKEN.0, "two\nlines")], &[TOKEN.0, "is not a token"]),
        (&[(GRANT.0, "app:two\nlines")], &[GRANT.0, "is not a credential"]),
        (&[GRANT, (SERVER, "login.example.org")], &[SERVER, "must be a URL"]),
        (&[GRANT, (SERVER, "https://a:password@login.example.org")], &["contains credentials"]),
    ];
    for (variables, expected) in cases {
        let url = format!("{}?warehouse=123456789012", catalog.url);
        let run = publish(&world, &url, variables).expect(3);
        run.says(expected);
        assert!(!run.stderr.contains("lines") && !run.stderr.contains("password@"), "{run:#?}");
    }
    assert_eq!(catalog.received(), []);
    assert!(tree(&world.out()) == before);
    // Empty variables count as unset.
    publish(&world, &catalog.url, &[(TOKEN.0, ""), GRANT]).expect(0);
}

#[test]
fn a_table_bucket_is_refused_before_the_conversion_begins() {
    let world = World::with(gzip(good_lines(1)));
    for url in [
        "https://s3tables.eu-west-1.amazonaws.com/iceberg?warehouse=arn:aws:s3tables:eu-west-1:123456789012:bucket/lake",
        "https://glue.eu-west-1.amazonaws.com/iceberg?warehouse=123456789012:s3tablescatalog/lake",
    ] {
        let run = world.convert_with(&["--iceberg", &format!("rest:{url}")]).expect(3);
        run.says(&[
            "an S3 table bucket cannot refer to the files of a dataset",
            "docs/iceberg.md#s3-tables",
        ]);
        assert!(!world.out().exists(), "a conversion began");
    }
}

#[test]
fn the_directory_for_metadata_is_not_the_warehouse_of_the_server() {
    let (world, catalog) = (lake(), RestCatalog::start(|_| Reply::Usual));
    let (out, directory) = (world.out(), world.path("metadata"));
    let name = format!("rest:{}?warehouse=lake%20a", catalog.url);
    let args = ["iceberg", "publish", out.to_str().unwrap(), "--catalog", &name, "--warehouse"];
    run_command(program(&args).arg(&directory)).expect(0);
    assert_eq!(catalog.received()[0].target, "/v1/config?warehouse=lake%20a");
    let created =
        catalog.received().into_iter().find(|request| request.is_for("POST", "/tables")).unwrap();
    let location = format!("file://{}/{ROWS}", directory.display());
    assert!(created.body.contains(&location), "{created:?}");
    assert!(tree(&directory).keys().any(|name| name.starts_with(ROWS)));
}
