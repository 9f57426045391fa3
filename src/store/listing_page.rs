//! Parses listing pages from the responses of stores.
//!
//! `object_store` rejects a whole page if it cannot represent one of the keys, and it accepts any XML document as a
//! page. Therefore, pages from S3 and Google Cloud Storage are parsed here, at the HTTP level, and `object_store` only
//! passes them on.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use http::Uri;
use object_store::client::HttpResponse;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use quick_xml::Reader;
use quick_xml::events::Event;

use crate::store::lister::{Ask, Entry, ListError, Page, Pages};
use crate::store::network::renewing;
use crate::store::xml;

/// Maximum size of an object in bytes: several times the S3 limit, but small enough that sums of sizes cannot overflow.
pub const MAX_SIZE: u64 = 1 << 48;
/// Replacement for the body of a response whose page has been parsed.
const NOTHING: &str = "<ListBucketResult/>";

/// Marks a request whose response must be parsed here.
#[derive(Debug, Clone, Copy)]
struct Wanted;

/// The page parsed from a response, or the error.
#[derive(Debug, Clone)]
struct Answered(Result<Page, String>);

/// A store that is listed through `object_store`.
pub(super) struct Stock {
    pub(super) store: Arc<dyn PaginatedListStore>,
    /// Whether responses have the S3 format.
    pub(super) is_s3: bool,
}

impl fmt::Debug for Stock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stock").field("is_s3", &self.is_s3).finish_non_exhaustive()
    }
}

#[async_trait]
impl Pages for Stock {
    async fn page(&self, ask: &Ask) -> Result<Page, ListError> {
        let request = || {
            let mut options = PaginatedListOptions {
                offset: ask.after.clone(),
                delimiter: ask.delimiter.then(|| "/".into()),
                page_token: ask.token.clone(),
                ..PaginatedListOptions::default()
            };
            if self.is_s3 {
                options.extensions.insert(Wanted);
            }
            let prefix = (!ask.prefix.is_empty()).then_some(ask.prefix.as_str());
            self.store.list_paginated(prefix, options)
        };
        let mut answer = renewing(request).await?;
        if let Some(Answered(page)) = answer.result.extensions.remove() {
            return page.map_err(ListError::Answer);
        }
        let entries = answer.result.objects.into_iter().map(|meta| Entry {
            key: meta.location.to_string(),
            size: meta.size,
            e_tag: meta.e_tag,
        });
        let prefixes = answer.result.common_prefixes.into_iter();
        Ok(Page {
            entries: entries.collect(),
            prefixes: prefixes.map(|prefix| format!("{prefix}/")).collect(),
            token: answer.page_token,
        })
    }

    fn can_skip(&self) -> bool {
        self.is_s3
    }
}

/// Returns whether the response to a request is a page that must be parsed here.
pub(super) fn is_wanted(extensions: &http::Extensions) -> bool {
    extensions.get::<Wanted>().is_some()
}

/// Parses the page in an S3 response, and attaches it to an empty response for `object_store`.
pub(super) fn read(mut parts: http::response::Parts, body: &[u8], uri: &Uri) -> HttpResponse {
    let endpoint = format!(
        "{}://{}",
        uri.scheme_str().unwrap_or("http"),
        uri.authority().map_or("", http::uri::Authority::as_str)
    );
    let page = parse(body).map_err(|problem| match problem {
        Problem::Foreign => format!("not an S3 response from {endpoint}: wrong port?"),
        Problem::Broken(why) => {
            format!("the response of {endpoint} is not a complete listing: {why}")
        }
    });
    parts.extensions.insert(Answered(page));
    HttpResponse::from_parts(parts, NOTHING.to_owned().into())
}

/// Why a response is not a page.
#[derive(Debug, PartialEq, Eq)]
enum Problem {
    /// The response is not a listing.
    Foreign,
    /// The page is truncated or invalid.
    Broken(String),
}

#[allow(clippy::needless_pass_by_value)] // passed to map_err
fn broken(why: impl ToString) -> Problem {
    Problem::Broken(why.to_string())
}

/// Parses a ListObjectsV2 response (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>). Unlike
/// standard XML, the response can contain references to control characters, because keys can contain such characters.
fn parse(body: &[u8]) -> Result<Page, Problem> {
    let mut reader = Reader::from_reader(body);
    reader.config_mut().expand_empty_elements = true;
    let mut page = Page::default();
    let mut entry = Partial::default();
    let mut is_truncated = false;
    let mut path: Vec<String> = Vec::new();
    let mut text = String::new();
    let mut is_listing = false;
    loop {
        let event = reader
            .read_event()
            .map_err(|error| if is_listing { broken(error) } else { Problem::Foreign })?;
        let mut is_end = false;
        match event {
            Event::Start(element) => {
                let name = String::from_utf8_lossy(element.local_name().as_ref()).into_owned();
                if !is_listing && name != "ListBucketResult" {
                    return Err(Problem::Foreign);
                }
                is_listing = true;
                path.push(name);
                text.clear();
            }
            Event::Text(part) => text += &part.decode().map_err(broken)?,
            Event::CData(part) => text += &part.decode().map_err(broken)?,
            Event::GeneralRef(part) => text.push(xml::character(&part).map_err(broken)?),
            Event::End(_) => is_end = true,
            Event::Eof if is_listing && path.is_empty() => break,
            Event::Eof if is_listing => return Err(broken("it is truncated")),
            Event::Eof => return Err(Problem::Foreign),
            _ => {}
        }
        if !is_end {
            continue;
        }
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        match names[..] {
            [_, "Contents"] => page.entries.push(std::mem::take(&mut entry).whole()?),
            [_, "Contents", "Key"] => entry.key = Some(std::mem::take(&mut text)),
            [_, "Contents", "Size"] => entry.size = Some(std::mem::take(&mut text)),
            [_, "Contents", "ETag"] => entry.e_tag = Some(std::mem::take(&mut text)),
            [_, "CommonPrefixes", "Prefix"] => page.prefixes.push(std::mem::take(&mut text)),
            [_, "IsTruncated"] => is_truncated = text.trim() == "true",
            [_, "NextContinuationToken"] if !text.is_empty() => {
                page.token = Some(std::mem::take(&mut text));
            }
            _ => {}
        }
        path.pop();
        text.clear();
    }
    if is_truncated && page.token.is_none() {
        return Err(broken("more pages follow, but it has no continuation token"));
    }
    Ok(page)
}

/// Parses a ListObjectsV2 response: the keys with their sizes, the directories, and the token for the next page. Public
/// for fuzz targets.
#[doc(hidden)]
#[allow(clippy::type_complexity)] // the page itself is private
pub fn parse_page(body: &[u8]) -> Option<(Vec<(String, u64)>, Vec<String>, Option<String>)> {
    let Page { entries, prefixes, token } = parse(body).ok()?;
    let entries = entries.into_iter().map(|entry| (entry.key, entry.size));
    Some((entries.collect(), prefixes, token))
}

/// The elements of an object's entry that have been parsed so far.
#[derive(Debug, Default)]
struct Partial {
    key: Option<String>,
    size: Option<String>,
    e_tag: Option<String>,
}

impl Partial {
    fn whole(self) -> Result<Entry, Problem> {
        let key = self.key.ok_or_else(|| broken("an object has no key"))?;
        let size = self.size.unwrap_or_default();
        let Some(size) = size.trim().parse().ok().filter(|size| *size <= MAX_SIZE) else {
            return Err(broken(format!("\"{key}\" has the size \"{size}\"")));
        };
        Ok(Entry { key, size, e_tag: self.e_tag })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(content: &str) -> Result<Page, Problem> {
        let text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult \
             xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{content}</ListBucketResult>\n"
        );
        parse(text.as_bytes())
    }

    #[test]
    fn a_page_can_contain_any_key_of_a_bucket() {
        let object = |key: &str| {
            format!(
                "<Contents><Key>{key}</Key><LastModified>2025-07-19T14:05:00.000Z</LastModified>\
                 <ETag>&quot;1&quot;</ETag><Size>7</Size><Owner><ID>x</ID></Owner></Contents>"
            )
        };
        let keys = ["a//b", "/", "&#x1;&#10;", "&lt;&amp;&gt;", "./ü ", "<![CDATA[<&]]>"];
        let objects: String = keys.iter().map(|key| object(key)).collect();
        let page = listing(&format!(
            "<Name>b</Name><Prefix></Prefix><IsTruncated>true</IsTruncated>{objects}\
             <CommonPrefixes><Prefix>p//</Prefix></CommonPrefixes>\
             <NextContinuationToken>t</NextContinuationToken>"
        ))
        .unwrap();
        let read: Vec<&str> = page.entries.iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!(read, ["a//b", "/", "\u{1}\n", "<&>", "./ü ", "<&"]);
        assert!(page.entries.iter().all(|entry| entry.size == 7));
        assert_eq!(page.entries[0].e_tag.as_deref(), Some("\"1\""));
        assert_eq!((page.prefixes, page.token), (vec!["p//".to_owned()], Some("t".to_owned())));
        assert_eq!(listing("").unwrap(), Page::default());
        assert_eq!(parse(b"<ListBucketResult/>").unwrap(), Page::default());
    }

    #[test]
    fn an_invalid_listing_is_not_an_empty_one() {
        for foreign in
            ["", "hello", "<html><body>It works!</body></html>", "<!DOCTYPE html><html>", "{}"]
        {
            assert_eq!(parse(foreign.as_bytes()), Err(Problem::Foreign), "{foreign}");
        }
        let whole = "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a</Key>\
                     <Size>1</Size></Contents></ListBucketResult>";
        assert_eq!(parse(whole.as_bytes()).unwrap().entries.len(), 1);
        for end in 0..whole.len() {
            assert!(parse(&whole.as_bytes()[..end]).is_err(), "{end}");
        }
        for content in [
            "<Contents><Size>1</Size></Contents>",
            "<Contents><Key>a</Key></Contents>",
            "<Contents><Key>a</Key><Size>-1</Size></Contents>",
            "<Contents><Key>a</Key><Size>99999999999999999999</Size></Contents>",
            "<Contents><Key>a</Key><Size>18446744073709551615</Size></Contents>",
            "<IsTruncated>true</IsTruncated>",
            "<IsTruncated>true</IsTruncated><NextContinuationToken></NextContinuationToken>",
        ] {
            assert!(matches!(listing(content), Err(Problem::Broken(_))), "{content}");
        }
    }
}
