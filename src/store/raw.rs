//! Keys that `object_store` cannot represent, such as `a//b`, `/a`, or keys with control characters.
//!
//! A request for such a key contains a placeholder. At the HTTP level, below `object_store`, this module replaces the
//! placeholder with the key and signs the request again. Retries, conditions and ranges therefore work as in any other
//! request.

use std::fmt;
use std::sync::Arc;

use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{HttpError, HttpErrorKind, HttpRequest};
use object_store::path::Path;
use object_store::{Extensions, GetOptions};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Placeholder for a key that is not a valid path.
const PLACEHOLDER: &str = "-";
/// Characters that are percent-encoded in the path of a URL.
const ENCODED: AsciiSet =
    NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// How to request keys that are not valid paths.
#[derive(Debug, Clone)]
pub(super) enum Raw {
    /// Never request them.
    Never,
    /// Send requests with an unsigned path.
    Unsigned,
    /// Sign each request again.
    Signed(Signer),
}

/// Signs requests to S3.
#[derive(Clone)]
pub(super) struct Signer {
    pub(super) credentials: AwsCredentialProvider,
    pub(super) region: String,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("region", &self.region).finish_non_exhaustive()
    }
}

/// Where an object is located in its store.
#[derive(Debug, Clone)]
pub(super) struct Location {
    pub(super) path: Path,
    raw: Option<RawKey>,
}

/// Marks a request whose placeholder must be replaced with a key.
#[derive(Debug, Clone)]
struct RawKey {
    key: Arc<str>,
    signer: Option<Signer>,
}

impl Raw {
    /// Returns the location of the object with the given key.
    ///
    /// # Errors
    ///
    /// Returns the reason if no request can contain the key.
    pub(super) fn locate(&self, key: &str) -> Result<Location, &'static str> {
        if let Ok(path) = Path::parse(key)
            && path.as_ref() == key
        {
            return Ok(Location { path, raw: None });
        }
        if key.split('/').any(|part| matches!(part, "." | "..")) {
            return Err(
                "its key has a segment . or .., which a URL cannot represent: copy it to another key",
            );
        }
        let signer = match self {
            Self::Never => {
                return Err("no request can be made for its key: copy it to another key");
            }
            Self::Unsigned => None,
            Self::Signed(signer) => Some(signer.clone()),
        };
        let raw = Some(RawKey { key: key.into(), signer });
        Ok(Location { path: Path::from(PLACEHOLDER), raw })
    }
}

impl Location {
    /// Returns the options for reading the object.
    pub(super) fn options(&self) -> GetOptions {
        let mut extensions = Extensions::new();
        if let Some(raw) = &self.raw {
            extensions.insert(raw.clone());
        }
        GetOptions { extensions, ..GetOptions::default() }
    }
}

/// Replaces the placeholder in a request with the key, if the request has one.
pub(super) async fn replace(request: &mut HttpRequest) -> Result<(), HttpError> {
    let Some(RawKey { key, signer }) = request.extensions().get::<RawKey>().cloned() else {
        return Ok(());
    };
    let failed = |why: Box<dyn std::error::Error + Send + Sync>| {
        HttpError::new_boxed(HttpErrorKind::Decode, why)
    };
    let text = request.uri().to_string();
    let (url, query) = match text.split_once('?') {
        Some((url, query)) => (url, format!("?{query}")),
        None => (text.as_str(), String::new()),
    };
    let above = url
        .strip_suffix(PLACEHOLDER)
        .ok_or_else(|| failed("the request has no placeholder".into()))?;
    let url = format!("{above}{}{query}", utf8_percent_encode(&key, &ENCODED));
    *request.uri_mut() = url.parse().map_err(|error| failed(Box::new(error)))?;
    if let Some(signer) = signer {
        let credential =
            signer.credentials.get_credential().await.map_err(|error| failed(Box::new(error)))?;
        AwsAuthorizer::new(&credential, "s3", &signer.region)
            .try_authorize(request, None)
            .map_err(|error| failed(Box::new(error)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_valid_paths_need_no_placeholder() {
        for key in ["a", "a/b%41 c", "AWSLogs/1/ü"] {
            let location = Raw::Never.locate(key).unwrap();
            assert!(location.raw.is_none() && location.path.as_ref() == key, "{key}");
        }
    }

    #[test]
    fn other_keys_need_a_placeholder_unless_a_url_cannot_represent_them() {
        for key in ["a//b", "/a", "a/", "/", "a\tb", "a\u{1}", "//"] {
            assert!(Raw::Unsigned.locate(key).unwrap().raw.is_some(), "{key:?}");
            assert!(Raw::Never.locate(key).is_err(), "{key:?}");
        }
        for key in ["./a", "a/../b", "..", "a/."] {
            assert!(Raw::Unsigned.locate(key).is_err(), "{key:?}");
        }
    }

    #[test]
    fn the_key_replaces_the_placeholder() {
        let cases = [
            ("http://h:1/bucket/-?versionId=1", "a//b c", "http://h:1/bucket/a//b%20c?versionId=1"),
            ("https://bucket.s3.example/-", "/x\ty", "https://bucket.s3.example//x%09y"),
        ];
        for (before, key, after) in cases {
            let mut request = HttpRequest::new(object_store::client::HttpRequestBody::empty());
            *request.uri_mut() = before.parse().unwrap();
            request.extensions_mut().insert(RawKey { key: key.into(), signer: None });
            futures::executor::block_on(replace(&mut request)).unwrap();
            assert_eq!(request.uri().to_string(), after);
        }
    }
}
