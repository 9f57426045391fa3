//! Not a test: a server that speaks S3's protocol, which `scripts/s3-test` starts.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use alb2parquet::internals::store::{Bucket, Created, Network, Place, Target};

use crate::support::{program, put, tree};

/// Host and port of the server, if there is one.
pub(crate) fn known() -> Option<String> {
    env::var("ALB2PARQUET_S3").ok()
}

/// Host and port of the server.
pub(crate) fn server() -> String {
    known().expect("ALB2PARQUET_S3 is the host and port of a server")
}

/// Returns the URL of an empty bucket, one of those that `scripts/s3-test` has made.
pub(crate) fn new_bucket() -> String {
    static TAKEN: AtomicUsize = AtomicUsize::new(1);
    format!("s3://test-{}", TAKEN.fetch_add(1, Ordering::Relaxed))
}

/// Returns what lies below a URL.
pub(crate) fn target(url: &str) -> Bucket {
    let settings = [
        ("endpoint", format!("http://{}", server())),
        ("region", "us-east-1".to_owned()),
        ("access_key_id", "testing".to_owned()),
        ("secret_access_key", "topsecret".to_owned()),
    ];
    let settings = settings.map(|(key, value)| (key.to_owned(), value)).to_vec();
    // moto fails over an upload that is gone, however often it is asked.
    let mut network = Network::new(settings);
    network.retries = 3;
    match Place::parse(url).unwrap() {
        Place::Bucket(prefix) => Bucket::connect(&prefix, &network, "staging").unwrap(),
        Place::Local(path) => panic!("{} is local", path.display()),
    }
}

/// Puts the files below a directory into a bucket.
pub(crate) fn upload(directory: &Path, url: &str) {
    let target = target(url);
    for (key, bytes) in tree(directory) {
        target.create(&key, &bytes).unwrap();
    }
}

/// Gets the files below a URL.
pub(crate) fn download(url: &str, directory: &Path) {
    let target = target(url);
    for stored in target.list("").unwrap() {
        let bytes = target.get(&stored.key).unwrap().unwrap();
        put(directory, &stored.key, bytes);
    }
}

/// A command of the program, with a server.
pub(crate) fn command(server: &str, args: &[&str]) -> Command {
    let mut command = program(args);
    for name in ["AWS_PROFILE", "AWS_SESSION_TOKEN"] {
        command.env_remove(name);
    }
    command
        .env("AWS_ENDPOINT_URL", format!("http://{server}"))
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "testing")
        .env("AWS_SECRET_ACCESS_KEY", "topsecret")
        .env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

/// A bucket with a copy on the disk, in which a test looks and changes what it likes.
pub(crate) struct Mirror {
    pub(crate) url: String,
    copy: PathBuf,
    /// What the bucket holds.
    known: Mutex<BTreeMap<String, Vec<u8>>>,
}

impl Mirror {
    pub(crate) fn new(copy: PathBuf) -> Self {
        Self { url: new_bucket(), copy, known: Mutex::default() }
    }

    /// Brings the changes of the copy to the bucket.
    pub(crate) fn push(&self) {
        let (target, changed) = (target(&self.url), tree(&self.copy));
        let mut known = self.known.lock().unwrap();
        for key in known.keys().filter(|key| known.get(*key) != changed.get(*key)) {
            target.delete(key).unwrap();
        }
        for (key, bytes) in changed.iter().filter(|(key, bytes)| known.get(*key) != Some(*bytes)) {
            assert_eq!(target.create(key, bytes).unwrap(), Created::Now);
        }
        *known = changed;
    }

    /// Brings the changes of the bucket to the copy.
    pub(crate) fn pull(&self) {
        let _ = fs::remove_dir_all(&self.copy);
        download(&self.url, &self.copy);
        *self.known.lock().unwrap() = tree(&self.copy);
    }
}
