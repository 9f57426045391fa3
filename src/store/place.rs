//! Parses the path or URL of a source or a dataset, without accessing it.

use std::fmt;
use std::path::{Path as LocalPath, PathBuf};
use std::sync::Arc;

use object_store::path::Path;

use crate::store::{Bucket, Disk, Network, StoreError, Target, url};

/// A local path, or a prefix in a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A plain path, or a `file://` URL.
    Local(PathBuf),
    /// Any other URL.
    Bucket(Prefix),
}

/// A prefix in a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix {
    /// The kind of store that contains the bucket.
    pub kind: Kind,
    /// Scheme and bucket as the user typed them, such as `s3://bucket`.
    pub bucket: String,
    /// Prefix of all keys. May be empty.
    pub path: Path,
}

/// A kind of object store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Amazon S3 and compatible stores.
    S3,
    /// Google Cloud Storage.
    Google,
    /// Azure Blob Storage.
    Azure,
}

impl Place {
    /// Parses a path or URL.
    ///
    /// # Errors
    ///
    /// Fails when the text is empty. Also fails when it is an unsupported or malformed URL, or a URL with credentials,
    /// an invalid bucket name or an invalid prefix.
    pub fn parse(name: &str) -> Result<Self, StoreError> {
        if name.is_empty() {
            return Err(StoreError::Empty);
        }
        if url::has_secret(name) {
            return Err(StoreError::Secret("a URL"));
        }
        let Some((scheme, rest)) = name.split_once("://").filter(|(scheme, _)| is_known(scheme))
        else {
            return match (url::meant(name), name.contains("://")) {
                (Some(meant), _) => Err(StoreError::Almost { name: name.to_owned(), meant }),
                (None, true) => Err(StoreError::Unsupported(name.to_owned())),
                (None, false) => Ok(Self::Local(PathBuf::from(name))),
            };
        };
        let Some(kind) = kind_of(scheme) else { return Ok(Self::Local(PathBuf::from(rest))) };
        let (bucket, path) = rest.split_at(bucket_length(rest));
        if !is_bucket(kind, bucket) {
            return Err(StoreError::NoBucket(name.to_owned()));
        }
        let path = Path::parse(path.trim_matches('/'))
            .map_err(|source| StoreError::Prefix { name: name.to_owned(), source })?;
        Ok(Self::Bucket(Prefix { kind, bucket: format!("{scheme}://{bucket}"), path }))
    }

    /// Opens the place as a target for a run, which stages its files below `staging`.
    ///
    /// # Errors
    ///
    /// Fails when the settings for a bucket are invalid, or when the current directory does not exist.
    pub fn target(
        &self,
        staging: &str,
        run: &str,
        network: &Network,
    ) -> Result<Arc<dyn Target>, StoreError> {
        Ok(match self {
            Self::Local(path) => {
                let name = || path.display().to_string();
                let absolute = std::path::absolute(path)
                    .map_err(|source| StoreError::Path { name: name(), source })?;
                Arc::new(Disk::new(absolute, staging, run))
            }
            Self::Bucket(prefix) => Arc::new(Bucket::connect(prefix, network, staging)?),
        })
    }

    /// Returns whether `other` is the same place or is inside it.
    pub fn holds(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Local(own), Self::Local(other)) => absolute(other).starts_with(absolute(own)),
            (Self::Bucket(own), Self::Bucket(other)) => {
                own.kind == other.kind
                    && own.container() == other.container()
                    && other.path.prefix_matches(&own.path)
            }
            _ => false,
        }
    }
}

/// Splits an object's URL into the kind of store, the bucket and the undecoded key. Returns `None` if the URL does not
/// name an object in a bucket.
pub fn split(url: &str) -> Option<(Kind, &str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let (bucket, key) = rest.split_at(bucket_length(rest));
    let kind = kind_of(scheme)?;
    let name = if kind == Kind::Azure { bucket.split('@').next()? } else { bucket };
    (is_bucket(kind, bucket) && key.len() > 1).then(|| (kind, name, &key[1..]))
}

fn is_known(scheme: &str) -> bool {
    scheme == "file" || kind_of(scheme).is_some()
}

fn kind_of(scheme: &str) -> Option<Kind> {
    Some(match scheme {
        "s3" | "s3a" => Kind::S3,
        "gs" => Kind::Google,
        "az" | "azure" | "adl" | "abfs" | "abfss" => Kind::Azure,
        _ => return None,
    })
}

/// Returns the length of the bucket name that follows the scheme of a URL. An ARN contains colons, and an access point
/// ARN also contains a slash.
fn bucket_length(rest: &str) -> usize {
    let resource = match rest.match_indices(':').nth(4) {
        Some((colon, _)) if rest.starts_with("arn:") => {
            let point = rest[colon..].strip_prefix(":accesspoint/");
            colon + point.map_or(0, |_| ":accesspoint/".len())
        }
        _ => 0,
    };
    rest[resource..].find('/').map_or(rest.len(), |slash| resource + slash)
}

/// Returns whether the text can be a bucket name. Bucket names are inserted into URLs, so few characters are allowed.
fn is_bucket(kind: Kind, bucket: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let also = match kind {
        Kind::S3 if bucket.starts_with("arn:") => ":/",
        Kind::Azure => "@$",
        _ => "",
    };
    // If the ARN lacked an access point name, the key would be parsed as the name.
    let has_name = !bucket.starts_with("arn:")
        || !bucket.ends_with([':', '/']) && !bucket.ends_with(":accesspoint");
    !bucket.is_empty() && has_name && bucket.chars().all(|c| allowed(c) || also.contains(c))
}

impl Prefix {
    /// Returns the bucket without the scheme, for comparisons: some kinds of stores have more than one scheme.
    fn container(&self) -> &str {
        self.bucket.split_once("://").map_or("", |(_, bucket)| bucket)
    }

    /// Returns the name of the bucket. For an Azure URL, excludes the account.
    pub fn name(&self) -> &str {
        self.container().split('@').next().unwrap_or_default()
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.bucket, self.path)
    }
}

/// Makes a path absolute, and resolves links in the part of the path that exists.
fn absolute(path: &LocalPath) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let known = path.ancestors().find_map(|known| known.canonicalize().ok().map(|c| (known, c)));
    match known {
        Some((known, canonical)) => canonical.join(path.strip_prefix(known).unwrap_or(&path)),
        None => path.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(name: &str) -> (Kind, String, String) {
        match Place::parse(name) {
            Ok(Place::Bucket(Prefix { kind, bucket, path })) => (kind, bucket, path.to_string()),
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn urls_name_buckets_and_prefixes() {
        let of = |kind, bucket: &str, path: &str| (kind, bucket.to_owned(), path.to_owned());
        assert_eq!(bucket("s3://b"), of(Kind::S3, "s3://b", ""));
        assert_eq!(bucket("s3a://b/"), of(Kind::S3, "s3a://b", ""));
        assert_eq!(bucket("s3://b/a b/%41?/"), of(Kind::S3, "s3://b", "a b/%41?"));
        assert_eq!(bucket("gs://b/p"), of(Kind::Google, "gs://b", "p"));
        let azure = "abfss://c@a.dfs.core.windows.net";
        assert_eq!(bucket(&format!("{azure}/p/q")), of(Kind::Azure, azure, "p/q"));
        for end in ["accesspoint", "accesspoint/", "accesspoint//key", ""] {
            let nameless = format!("s3://arn:aws:s3:eu-west-1:012345678901:{end}");
            assert!(Place::parse(&nameless).is_err(), "{nameless}");
        }
        for local in ["a/b", "/a/b", "file:///a/b"] {
            assert!(matches!(Place::parse(local), Ok(Place::Local(_))), "{local}");
        }
        for bad in ["s3://", "s3:///p", "s3://b/a//b", "s3://b/a/../b", "ftp://b/p", "://b"] {
            assert!(Place::parse(bad).is_err(), "{bad}");
        }
        for bad in ["", "s3://b:9000/p", "s3://b#c/p", "gs://b c", "s3:/b", "S3://b", "s3://u@b"] {
            assert!(Place::parse(bad).is_err(), "{bad}");
        }
        let point = "s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/logs";
        assert_eq!(bucket(&format!("{point}/p/q")), of(Kind::S3, point, "p/q"));
        assert_eq!(bucket(point), of(Kind::S3, point, ""));
        let colon = point.replace("point/", "point:");
        assert_eq!(bucket(&format!("{colon}/p")), of(Kind::S3, &colon, "p"));
    }

    #[test]
    fn a_place_holds_itself_and_the_places_inside_it() {
        let holds = |a: &str, b: &str| Place::parse(a).unwrap().holds(&Place::parse(b).unwrap());
        for (a, b) in [
            ("s3://b", "s3://b/p"),
            ("s3://b/p", "s3://b/p"),
            ("s3a://b/p", "s3://b/p/q"),
            ("/a", "file:///a/b"),
        ] {
            assert!(holds(a, b), "{a} {b}");
        }
        for (a, b) in [
            ("s3://b/p", "s3://b"),
            ("s3://b/p", "s3://b/pq"),
            ("s3://b", "s3://c/p"),
            ("s3://b", "gs://b/p"),
            ("/b", "s3://b/b"),
        ] {
            assert!(!holds(a, b), "{a} {b}");
        }
    }
}
