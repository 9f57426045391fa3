//! Requests over TLS to a loopback server with a self-signed certificate.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, Stream};

use crate::support::{Run, World, program, run_command};

/// A server that rejects every request and records the request line.
struct TlsServer {
    url: String,
    /// Path of the certificate file.
    certificate: PathBuf,
    received: Arc<Mutex<Vec<String>>>,
}

impl TlsServer {
    fn new(world: &World) -> Self {
        let names = vec![Ipv4Addr::LOCALHOST.to_string()];
        let own = rcgen::generate_simple_self_signed(names).unwrap();
        let certificate = world.path("certificate.pem");
        fs::write(&certificate, own.cert.pem()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key.into())
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let received = Arc::<Mutex<Vec<String>>>::default();
        let lines = Arc::clone(&received);
        thread::spawn(move || {
            for socket in listener.incoming() {
                let mut connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut socket = socket.unwrap();
                let mut stream = Stream::new(&mut connection, &mut socket);
                let mut request = vec![0; 1 << 16];
                // Clients that do not trust the certificate abort the handshake.
                let Ok(count @ 1..) = stream.read(&mut request) else { continue };
                let text = String::from_utf8_lossy(&request[..count]);
                lines.lock().unwrap().push(text.lines().next().unwrap().to_owned());
                let body = "<Error><Code>AccessDenied</Code></Error>";
                let length = body.len();
                let _ = write!(
                    stream,
                    "HTTP/1.1 403 Forbidden\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                );
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        });
        Self { url, certificate, received }
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.received.lock().unwrap())
    }
}

/// Runs `plan` for a bucket with the given profile and environment variables.
fn plan(world: &World, profile: &str, variables: &[(&str, &str)]) -> Run {
    let config = world.path("config");
    fs::write(&config, profile).unwrap();
    let mut command = program(&["plan", "s3://my-logs/own"]);
    for name in ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_REGION"] {
        command.env_remove(name);
    }
    command.env("AWS_CONFIG_FILE", config).env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    run_command(command.envs(variables.iter().copied()))
}

#[test]
fn a_bucket_is_listed_over_tls_if_the_certificate_is_trusted() {
    let world = World::new();
    let server = TlsServer::new(&world);
    let keys = [("AWS_ACCESS_KEY_ID", "testing"), ("AWS_SECRET_ACCESS_KEY", "topsecret")];
    let url = ("AWS_ENDPOINT_URL", server.url.as_str());
    let profile = "[default]\nregion = eu-west-1\n";

    let unknown = plan(&world, profile, &[keys[0], keys[1], url]).expect(3);
    unknown.says(&["s3://my-logs/own", "certificate"]);
    assert_eq!(server.take(), <[&str; 0]>::default());

    let trusted = ("SSL_CERT_FILE", server.certificate.to_str().unwrap());
    plan(&world, profile, &[keys[0], keys[1], url, trusted]).expect(3);
    let received = server.take();
    assert!(received[0].starts_with("GET /my-logs?"), "{received:?}");
}

#[test]
fn a_role_is_assumed_over_tls() {
    let world = World::new();
    let server = TlsServer::new(&world);
    let profile = "[default]\nregion = eu-west-1\nrole_arn = arn:aws:iam::123456789012:role/reader\n\
                   source_profile = user\n\
                   [profile user]\naws_access_key_id = testing\naws_secret_access_key = topsecret\n";
    let url = ("AWS_ENDPOINT_URL_STS", server.url.as_str());
    let trusted = ("SSL_CERT_FILE", server.certificate.to_str().unwrap());
    let run = plan(&world, profile, &[url, trusted]).expect(3);
    run.says(&["s3://my-logs/own"]);
    let received = server.take();
    assert!(received[0].starts_with("POST / "), "{received:?}");
}
