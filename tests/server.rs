//! Not a test: the object store server that `scripts/s3-test` or `scripts/emulators-test` starts.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use alb2parquet::internals::store::{Bucket, Created, Kind, Network, Place, Target};

use crate::support::{program, put, tree};

/// The published account key of Azurite.
const AZURITE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// An object store server.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) kind: Kind,
    /// Host and port.
    pub(crate) address: String,
}

impl Server {
    /// Returns the server that `ALB2PARQUET_SERVER` specifies, such as `s3://127.0.0.1:5000`.
    pub(crate) fn known() -> Option<Self> {
        let url = env::var("ALB2PARQUET_SERVER").ok()?;
        let (scheme, address) = url.split_once("://").expect("ALB2PARQUET_SERVER is a URL");
        let kind = match scheme {
            "s3" => Kind::S3,
            "gs" => Kind::Google,
            "az" => Kind::Azure,
            other => panic!("ALB2PARQUET_SERVER has the scheme {other}"),
        };
        Some(Self { kind, address: address.to_owned() })
    }

    /// Returns the server. Panics if there is none.
    pub(crate) fn required() -> Self {
        Self::known().expect("ALB2PARQUET_SERVER is the URL of a server")
    }

    /// Returns a server of the same kind at another address, such as a proxy's.
    pub(crate) fn at(&self, address: &str) -> Self {
        Self { kind: self.kind, address: address.to_owned() }
    }

    /// Returns the URL of a bucket.
    pub(crate) fn url(&self, bucket: &str) -> String {
        let scheme = match self.kind {
            Kind::S3 => "s3",
            Kind::Google => "gs",
            Kind::Azure => "az",
        };
        format!("{scheme}://{bucket}")
    }

    /// Returns the URL of the next unused bucket that the script created.
    pub(crate) fn new_bucket(&self) -> String {
        static TAKEN: AtomicUsize = AtomicUsize::new(1);
        self.url(&format!("test-{}", TAKEN.fetch_add(1, Ordering::Relaxed)))
    }

    /// Returns the environment variables that select the server.
    fn variables(&self) -> Vec<(&'static str, String)> {
        let url = format!("http://{}", self.address);
        match self.kind {
            Kind::S3 => vec![
                ("AWS_ENDPOINT_URL", url),
                ("AWS_REGION", "us-east-1".to_owned()),
                ("AWS_ACCESS_KEY_ID", "testing".to_owned()),
                ("AWS_SECRET_ACCESS_KEY", "topsecret".to_owned()),
            ],
            Kind::Google => {
                vec![("GOOGLE_BASE_URL", url), ("GOOGLE_BEARER_TOKEN", "testing".to_owned())]
            }
            Kind::Azure => vec![
                ("AZURE_STORAGE_ENDPOINT", format!("{url}/devstoreaccount1")),
                ("AZURE_STORAGE_ACCOUNT_NAME", "devstoreaccount1".to_owned()),
                ("AZURE_STORAGE_ACCOUNT_KEY", AZURITE_KEY.to_owned()),
            ],
        }
    }

    /// Returns the settings that select the server.
    fn network(&self) -> Network {
        let settings = self.variables().into_iter();
        Network::new(settings.map(|(key, value)| (key.to_lowercase(), value)).collect())
    }

    /// Returns the target for a bucket URL.
    pub(crate) fn target(&self, url: &str) -> Bucket {
        let mut network = self.network();
        // moto responds with status 500 to any request for an upload that does not exist.
        network.retries = 3;
        match Place::parse(url).unwrap() {
            Place::Bucket(prefix) => Bucket::connect(&prefix, &network, "staging").unwrap(),
            Place::Local(path) => panic!("{} is local", path.display()),
        }
    }

    /// Uploads the files below a directory to a bucket.
    pub(crate) fn upload(&self, directory: &Path, url: &str) {
        let target = self.target(url);
        for (key, bytes) in tree(directory) {
            target.create(&key, &bytes).unwrap();
        }
    }

    /// Downloads the files below a URL to a directory.
    pub(crate) fn download(&self, url: &str, directory: &Path) {
        let target = self.target(url);
        for stored in target.list("").unwrap() {
            let bytes = target.get(&stored.key).unwrap().unwrap();
            put(directory, &stored.key, bytes);
        }
    }

    /// Returns a command that runs the program, configured for this server.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = program(args);
        for name in ["AWS_PROFILE", "AWS_SESSION_TOKEN"] {
            command.env_remove(name);
        }
        command.env("AWS_EC2_METADATA_DISABLED", "true").envs(self.variables());
        command
    }
}

/// Returns the settings that select the S3 server at an address.
pub(crate) fn network(address: &str) -> Network {
    Server { kind: Kind::S3, address: address.to_owned() }.network()
}

/// Returns a command that runs the program, configured for the S3 server at an address.
pub(crate) fn command(address: &str, args: &[&str]) -> Command {
    Server { kind: Kind::S3, address: address.to_owned() }.command(args)
}

/// A bucket, with a copy on disk that a test can read and change.
pub(crate) struct Mirror {
    server: Server,
    pub(crate) url: String,
    copy: PathBuf,
    /// The last known contents of the bucket.
    known: Mutex<BTreeMap<String, Vec<u8>>>,
}

impl Mirror {
    pub(crate) fn new(server: &Server, copy: PathBuf) -> Self {
        Self { server: server.clone(), url: server.new_bucket(), copy, known: Mutex::default() }
    }

    /// Copies changes on disk to the bucket.
    pub(crate) fn push(&self) {
        let (target, changed) = (self.server.target(&self.url), tree(&self.copy));
        let mut known = self.known.lock().unwrap();
        for key in known.keys().filter(|key| known.get(*key) != changed.get(*key)) {
            target.delete(key).unwrap();
        }
        for (key, bytes) in changed.iter().filter(|(key, bytes)| known.get(*key) != Some(*bytes)) {
            assert_eq!(target.create(key, bytes).unwrap(), Created::Now);
        }
        *known = changed;
    }

    /// Copies changes in the bucket to disk.
    pub(crate) fn pull(&self) {
        let _ = fs::remove_dir_all(&self.copy);
        self.server.download(&self.url, &self.copy);
        *self.known.lock().unwrap() = tree(&self.copy);
    }

    /// Returns a command that runs the program, configured for the bucket's server.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.server.command(args)
    }
}
