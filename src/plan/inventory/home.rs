//! Converts the entries of a list to keys in the source.

use std::path::{Component, Path, PathBuf};

use crate::plan::inventory::entry::scheme;
use crate::store::{Kind, Place, Source, Web, has_secret, meant, split};

/// Maximum length of a key in a bucket, in bytes.
const MAX_KEY: usize = 1024;
/// Maximum length of a bucket name in an error message.
const MAX_BUCKET: usize = 255;

/// The location that must contain all objects in a list.
pub(super) enum Home {
    /// In a bucket.
    Bucket {
        kind: Kind,
        name: String,
        /// Prefix of the source's keys, without the trailing slash.
        prefix: Option<String>,
    },
    /// Below a directory.
    Local {
        /// The directory, with links resolved.
        root: PathBuf,
        /// The directory as the user typed it, normalized.
        typed: String,
    },
}

/// Why a list entry does not refer to a key in the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stray {
    /// The entry refers to another bucket.
    Bucket(String),
    /// Any other reason.
    Because(String),
}

fn because<T>(why: &str) -> Result<T, Stray> {
    Err(Stray::Because(why.to_owned()))
}

impl Home {
    pub(super) fn of(source: &Source) -> Self {
        match (source.bucket(), Place::parse(&source.address())) {
            (Some(name), Ok(Place::Bucket(prefix))) => {
                let path = prefix.path.to_string();
                let prefix_path = (!path.is_empty()).then_some(path);
                Self::Bucket { kind: prefix.kind, name: name.to_owned(), prefix: prefix_path }
            }
            (_, Ok(Place::Local(root))) => {
                let typed = source.to_string();
                let typed = typed.strip_prefix("file://").unwrap_or(&typed);
                Self::Local { root, typed: plain(typed) }
            }
            _ => Self::Local { root: PathBuf::new(), typed: String::new() },
        }
    }

    /// Returns the prefix of the source's keys, without the trailing slash.
    pub(super) fn prefix(&self) -> Option<&str> {
        match self {
            Self::Bucket { prefix, .. } => prefix.as_deref(),
            Self::Local { .. } => None,
        }
    }

    /// Checks the bucket name of a list entry.
    pub(super) fn check(&self, bucket: &str) -> Result<(), Stray> {
        match self {
            Self::Bucket { name, .. } if name == bucket => Ok(()),
            _ => Err(Stray::Bucket(bucket.chars().take(MAX_BUCKET).collect())),
        }
    }

    /// Checks that a key is valid.
    pub(super) fn key(&self, key: &str) -> Result<String, Stray> {
        if key.is_empty() {
            return because("the key is empty");
        }
        if has_secret(key) {
            return because("the key is a URL with credentials");
        }
        if matches!(self, Self::Bucket { .. }) && key.len() > MAX_KEY {
            return because("the key is longer than 1,024 bytes");
        }
        Ok(key.to_owned())
    }

    /// Returns the key that a key, URL, ARN or path in a list refers to. Returns `None` for a directory.
    pub(super) fn find(&self, text: &str) -> Result<Option<String>, Stray> {
        if has_secret(text) {
            return because(
                "the URL contains credentials: remove them, and pass them in the environment",
            );
        }
        if let Some(arn) = text.strip_prefix("arn:") {
            let object = arn.split_once(":s3:::").and_then(|(_, path)| path.split_once('/'));
            let Some((bucket, key)) = object else {
                return because("the ARN is not that of an object in a bucket");
            };
            self.check(bucket)?;
            return self.key(key).map(Some);
        }
        match scheme(text) {
            Some("file") => self.path(&text["file://".len()..], true),
            Some("http" | "https") => self.web(text).map(Some),
            Some(_) => {
                let Some((kind, bucket, key)) = split(text) else {
                    return because("the URL does not name an object of a bucket");
                };
                self.check_kind(kind, bucket)?;
                self.key(key).map(Some)
            }
            None => match meant(text) {
                Some(meant) => because(&format!("it is not a valid URL: write {meant}")),
                None => self.path(text, false),
            },
        }
    }

    fn check_kind(&self, of: Kind, bucket: &str) -> Result<(), Stray> {
        match self {
            Self::Bucket { kind, .. } if *kind != of => Err(Stray::Bucket(bucket.to_owned())),
            _ => self.check(bucket),
        }
    }

    fn web(&self, url: &str) -> Result<String, Stray> {
        if url.contains(['?', '#']) {
            return because("the URL has a query: write it without, or as s3://bucket/key");
        }
        let beside = || match self {
            Self::Bucket { kind: Kind::S3, name, .. } => Web::beside(url, name),
            _ => None,
        };
        let Some(web) = Web::parse(url).or_else(beside) else {
            return because("the URL does not name an object of a bucket");
        };
        self.check_kind(web.kind, &web.bucket)?;
        if web.key.contains('\u{fffd}') {
            return because("the decoded URL is not UTF-8");
        }
        self.key(&web.key)
    }

    fn path(&self, text: &str, is_url: bool) -> Result<Option<String>, Stray> {
        let Self::Local { root, typed } = self else {
            if is_url {
                return because("it names a local file, but SOURCE is a bucket");
            }
            let key = text.trim_start_matches("./");
            if key.starts_with('/') {
                return because(
                    "it is an absolute path, but SOURCE is a bucket; write s3://bucket/key",
                );
            }
            // `find` also lists the directory itself.
            return if key == "." || key.is_empty() { Ok(None) } else { self.key(key).map(Some) };
        };
        let path = plain(text);
        let below = |above: &str, path: &str| -> Option<String> {
            let rest = path.strip_prefix(above.trim_end_matches('/'))?;
            if rest.is_empty() {
                Some(String::new())
            } else {
                Some(rest.strip_prefix('/')?.to_owned())
            }
        };
        let key = if path.starts_with('/') {
            let typed = std::path::absolute(typed).ok();
            let typed = typed.as_deref().and_then(Path::to_str).map(plain);
            let roots = [root.to_str().map(plain), typed];
            match roots.iter().flatten().find_map(|root| below(root, &path)) {
                Some(key) => key,
                None => return because("it is outside SOURCE"),
            }
        } else {
            match below(typed, &path).filter(|_| !typed.is_empty() && !typed.starts_with('/')) {
                Some(_) if root.join(typed).is_dir() => {
                    return because(
                        "SOURCE contains a directory with its own path, so this path is ambiguous: \
                         write absolute paths",
                    );
                }
                Some(key) => key,
                None => path,
            }
        };
        if Path::new(&key).components().any(|part| part == Component::ParentDir) {
            return because("it is outside SOURCE");
        }
        let is_directory = key.is_empty() || root.join(&key).is_dir();
        if is_directory { Ok(None) } else { self.key(&key).map(Some) }
    }
}

/// Removes `.` and repeated slashes from a path.
fn plain(path: &str) -> String {
    let parts: Vec<&str> =
        path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let root = if path.starts_with('/') { "/" } else { "" };
    format!("{root}{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket() -> Home {
        Home::Bucket { kind: Kind::S3, name: "logs".to_owned(), prefix: None }
    }

    #[test]
    fn objects_of_a_bucket_are_named_in_many_ways() {
        let key = "own +%/a b.gz";
        for text in [
            key,
            "./own +%/a b.gz",
            "s3://logs/own +%/a b.gz",
            "s3a://logs/own +%/a b.gz",
            "arn:aws:s3:::logs/own +%/a b.gz",
            "arn:aws-cn:s3:::logs/own +%/a b.gz",
            "https://logs.s3.eu-west-1.amazonaws.com/own+%2B%25/a%20b.gz",
            "https://s3.eu-west-1.amazonaws.com/logs/own+%2B%25/a%20b.gz",
            "http://localhost:9000/logs/own%20+%25/a%20b.gz",
        ] {
            assert_eq!(bucket().find(text), Ok(Some(key.to_owned())), "{text}");
        }
        for text in [
            "s3://other/k",
            "gs://logs/k",
            "arn:aws:s3:::other/k",
            "https://other.s3.amazonaws.com/k",
        ] {
            assert!(matches!(bucket().find(text), Err(Stray::Bucket(_))), "{text}");
        }
        let long = "k".repeat(1025);
        for text in [
            "s3://logs",
            "s3://logs/",
            "s3://u:p@logs/k",
            "ftp://logs/k",
            "arn:aws:s3:::logs",
            "/abs/k",
            "file:///logs/k",
            "https://logs.s3.amazonaws.com/k?versionId=1",
            "https://logs.s3.amazonaws.com/%ff",
            &long,
        ] {
            assert!(matches!(bucket().find(text), Err(Stray::Because(_))), "{text}");
        }
    }

    #[test]
    fn objects_of_a_directory_are_named_as_find_prints_them() {
        let root = std::env::temp_dir().canonicalize().unwrap();
        let home = Home::Local { root: root.clone(), typed: "cases/tree".to_owned() };
        let absolute = format!("{}/a//b.gz", root.display());
        for text in [
            "a/b.gz",
            "./a/b.gz",
            "././a/b.gz",
            "cases/tree/a/b.gz",
            "./cases/tree/./a/b.gz",
            &absolute,
        ] {
            assert_eq!(home.find(text), Ok(Some("a/b.gz".to_owned())), "{text}");
        }
        assert_eq!(home.find(&format!("file://{absolute}")), Ok(Some("a/b.gz".to_owned())));
        assert_eq!(home.find("cases/tree"), Ok(None));
        assert_eq!(home.find("."), Ok(None));
        for text in ["/elsewhere/a.gz", "../a.gz", "a/../../b.gz"] {
            assert_eq!(home.find(text), because("it is outside SOURCE"), "{text}");
        }
        let above = Home::Local { root, typed: "../logs".to_owned() };
        assert_eq!(above.find("../logs/a.gz"), Ok(Some("a.gz".to_owned())));
    }
}
