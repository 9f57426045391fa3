//! Deletes up to 1,000 objects in S3 per request, each only if its ETag is unchanged.
//!
//! `object_store` deletes unconditionally, so this module sends DeleteObjects requests itself
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html>). It does not retry failed requests: the
//! caller must first check the objects again, because S3-compatible stores may ignore the ETags.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Method, StatusCode, Uri};
use md5::{Digest, Md5};
use object_store::Error;
use object_store::aws::AwsAuthorizer;
use object_store::client::{HttpClient, HttpRequest};
use quick_xml::Reader;
use quick_xml::escape::escape;
use quick_xml::events::Event;

use crate::store::explain::is_expired;
use crate::store::raw::Signer;
use crate::store::xml;

/// Maximum number of objects per request.
pub(super) const MAX_OBJECTS: usize = 1000;
const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");

/// Sends DeleteObjects requests to a bucket.
#[derive(Debug)]
pub(super) struct BulkDelete {
    client: HttpClient,
    /// URL of the request.
    url: String,
    signer: Option<Signer>,
    /// Whether the requester pays for requests.
    pays: bool,
}

/// The store's answer for one object in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The object was deleted. `marker` is set if the bucket has versioning: a delete marker now hides the object.
    Deleted { marker: bool },
    /// The object was not deleted.
    Refused { code: String, message: String },
}

impl BulkDelete {
    pub(super) fn new(
        client: HttpClient,
        bucket: &str,
        signer: Option<Signer>,
        pays: bool,
    ) -> Self {
        Self { client, url: format!("{bucket}?delete"), signer, pays }
    }

    /// Returns whether a request can contain a key. XML cannot represent most control characters.
    pub(super) fn accepts(key: &str) -> bool {
        !key.chars().any(|c| {
            c < ' ' && !matches!(c, '\t' | '\n' | '\r') || ('\u{fffe}'..='\u{ffff}').contains(&c)
        })
    }

    /// Deletes objects, given their keys and ETags. Returns the answers by key. The store may omit some.
    ///
    /// # Errors
    ///
    /// Fails when the request fails. Some objects may have been deleted nevertheless.
    pub(super) async fn send(
        &self,
        objects: &[(&str, &str)],
    ) -> Result<HashMap<String, Answer>, Failure> {
        let response = self.client.execute(self.request(objects).await?).await?;
        let status = response.status();
        let text = response.into_body().bytes().await?;
        if !status.is_success() {
            let text = String::from_utf8_lossy(&text).into_owned();
            return Err(Failure { status: Some(status), text });
        }
        parse(&text).map_err(|why| Failure {
            status: None,
            text: format!("the response to a DeleteObjects request {why}"),
        })
    }

    async fn request(&self, objects: &[(&str, &str)]) -> Result<HttpRequest, Failure> {
        let body = body(objects);
        let digest = BASE64_STANDARD.encode(Md5::digest(&body));
        let mut request = HttpRequest::new(body.into_bytes().into());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.parse::<Uri>()?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        // S3 requires this header.
        headers.insert(CONTENT_MD5, HeaderValue::from_str(&digest)?);
        if let Some(Signer { credentials, region }) = &self.signer {
            let credential = credentials.get_credential().await?;
            AwsAuthorizer::new(&credential, "s3", region)
                .with_request_payer(self.pays)
                .try_authorize(&mut request, None)?;
        }
        Ok(request)
    }
}

/// The error when a request fails.
#[derive(Debug)]
pub(super) struct Failure {
    /// Status of the response, if it is an error status.
    status: Option<StatusCode>,
    text: String,
}

impl<E: StdError> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            write!(text, ": {error}").expect("writing to a string cannot fail");
            cause = error.source();
        }
        Self { status: None, text }
    }
}

impl Failure {
    /// Returns whether the store would refuse the same request again.
    pub(super) fn is_final(&self) -> bool {
        let is_error =
            |status: StatusCode| status.is_client_error() && !matches!(status.as_u16(), 408 | 429);
        self.status.is_some_and(is_error) && !is_expired(&self.text)
    }

    /// Returns the error for one of the objects.
    pub(super) fn of_object(&self, key: &str) -> Error {
        let status = self.status.map(|status| format!("status {status}: ")).unwrap_or_default();
        let source = format!("{status}{}", self.text).into();
        of_status(self.status.map_or(0, |status| status.as_u16()), key, source)
    }
}

impl Answer {
    /// Returns the error for an object that was not deleted.
    pub(super) fn error(code: &str, message: &str, key: &str) -> Error {
        let source = format!("<Code>{code}</Code><Message>{message}</Message>").into();
        of_status(if code == "AccessDenied" { 403 } else { 0 }, key, source)
    }
}

fn of_status(status: u16, key: &str, source: Box<dyn StdError + Send + Sync>) -> Error {
    let path = key.to_owned();
    match status {
        401 => Error::Unauthenticated { path, source },
        403 => Error::PermissionDenied { path, source },
        _ => Error::Generic { store: "S3", source },
    }
}

/// Returns the body of a request.
fn body(objects: &[(&str, &str)]) -> String {
    let mut text = "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">".to_owned();
    for (key, e_tag) in objects {
        let (key, e_tag) = (escaped(key), escaped(e_tag));
        write!(text, "<Object><Key>{key}</Key><ETag>{e_tag}</ETag></Object>")
            .expect("writing to a string cannot fail");
    }
    text + "</Delete>"
}

/// Escapes text, including the control characters that an XML parser would otherwise normalize.
fn escaped(text: &str) -> String {
    escape(text).replace('\t', "&#9;").replace('\n', "&#10;").replace('\r', "&#13;")
}

/// Parses the body of a response.
fn parse(body: &[u8]) -> Result<HashMap<String, Answer>, String> {
    let mut reader = Reader::from_reader(body);
    reader.config_mut().expand_empty_elements = true;
    let mut answers = HashMap::new();
    let (mut path, mut text): (Vec<String>, String) = (Vec::new(), String::new());
    let mut fields: HashMap<String, String> = HashMap::new();
    loop {
        let invalid = |error: &dyn std::fmt::Display| format!("is not valid: {error}");
        match reader.read_event().map_err(|error| invalid(&error))? {
            Event::Start(element) => {
                path.push(String::from_utf8_lossy(element.local_name().as_ref()).into_owned());
                text.clear();
                if path[0] != "DeleteResult" {
                    return Err(format!("is a document <{}>", path[0]));
                }
            }
            Event::Text(part) => text += &part.decode().map_err(|error| invalid(&error))?,
            Event::CData(part) => text += &part.decode().map_err(|error| invalid(&error))?,
            Event::GeneralRef(part) => {
                text.push(xml::character(&part).map_err(|error| invalid(&error))?);
            }
            Event::End(_) => {
                let names: Vec<&str> = path.iter().map(String::as_str).collect();
                match names[..] {
                    [_, "Deleted" | "Error", field] => {
                        fields.insert(field.to_owned(), std::mem::take(&mut text));
                    }
                    [_, kind @ ("Deleted" | "Error")] => {
                        let is_deleted = kind == "Deleted";
                        let mut take = |name| fields.remove(name).unwrap_or_default();
                        let key = take("Key");
                        // While versioning is suspended, the marker replaces the object.
                        let marker = take("DeleteMarker") == "true"
                            && take("DeleteMarkerVersionId") != "null";
                        let (code, message) = (take("Code"), take("Message"));
                        answers.insert(
                            key,
                            if is_deleted {
                                Answer::Deleted { marker }
                            } else {
                                Answer::Refused { code, message }
                            },
                        );
                        fields.clear();
                    }
                    _ => {}
                }
                path.pop();
            }
            Event::Eof if path.is_empty() => return Ok(answers),
            Event::Eof => return Err("is truncated".to_owned()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_the_e_tag_of_each_object() {
        let text = body(&[("a/<&>\r", "\"0f\""), ("b", "\"1f\"")]);
        assert_eq!(
            text,
            "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <Object><Key>a/&lt;&amp;&gt;&#13;</Key><ETag>&quot;0f&quot;</ETag></Object>\
             <Object><Key>b</Key><ETag>&quot;1f&quot;</ETag></Object></Delete>"
        );
        assert!(BulkDelete::accepts("a\t\u{e9}") && !BulkDelete::accepts("a\u{1}"));
    }

    #[test]
    fn only_a_complete_response_yields_answers() {
        let text = "<?xml version=\"1.0\"?><DeleteResult><Deleted><Key>a&amp;b</Key></Deleted><Deleted>\
                    <Key>c</Key><DeleteMarker>true</DeleteMarker></Deleted><Error><Key>d</Key>\
                    <Code>PreconditionFailed</Code><Message>no</Message></Error></DeleteResult>";
        let answers = parse(text.as_bytes()).unwrap();
        assert_eq!(answers["a&b"], Answer::Deleted { marker: false });
        assert_eq!(answers["c"], Answer::Deleted { marker: true });
        let suspended = "<DeleteResult><Deleted><Key>c</Key><DeleteMarker>true</DeleteMarker>\
                         <DeleteMarkerVersionId>null</DeleteMarkerVersionId></Deleted></DeleteResult>";
        let answers_of_suspended = parse(suspended.as_bytes()).unwrap();
        assert_eq!(answers_of_suspended["c"], Answer::Deleted { marker: false });
        let (code, message) = ("PreconditionFailed".to_owned(), "no".to_owned());
        assert_eq!(answers["d"], Answer::Refused { code, message });
        for end in 0..text.len() {
            let prefix = &text[..end];
            assert!(
                parse(prefix.as_bytes()).map_or(true, |answers| answers.is_empty()),
                "{prefix}"
            );
        }
        assert!(parse(b"<Error><Code>InternalError</Code></Error>").is_err());
    }
}
