//! Not a test: an in-memory server for one bucket. It implements only the parts of the S3 protocol that are needed for
//! listing, reading and small writes. A test can replace any response.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use percent_encoding::percent_decode_str;

/// Maximum number of objects on a listing page.
const PAGE: usize = 1000;

/// A request that the server received.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// The key, URL-decoded once. Empty if the request is for the bucket itself.
    pub(crate) key: String,
    pub(crate) query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Request {
    /// Returns whether the request is for a listing page.
    pub(crate) fn is_list(&self) -> bool {
        self.query.contains_key("list-type")
    }

    /// Returns whether the request deletes several objects.
    pub(crate) fn is_bulk_delete(&self) -> bool {
        self.method == "POST" && self.query.contains_key("delete")
    }

    /// Returns whether the request reads an object or a range of it.
    pub(crate) fn is_read(&self) -> bool {
        self.method == "GET" && !self.is_list()
    }

    /// Returns the start of the requested range, or 0 if there is none.
    pub(crate) fn range_start(&self) -> u64 {
        let range = self.headers.get("range").and_then(|range| range.strip_prefix("bytes="));
        let start = range.and_then(|range| range.split('-').next());
        start.map_or(0, |start| start.parse().unwrap())
    }

    fn get(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }
}

/// How the server responds to a request.
pub(crate) enum Reply {
    /// Responds from the bucket.
    Usual,
    /// Responds with this status and body.
    Other(u16, String),
    /// Responds from the bucket, but truncates the body and adjusts the headers so that the response looks complete.
    /// The function maps the length of the body to the number of bytes to send.
    Short(fn(usize) -> usize),
    /// Never responds.
    Silence,
}

type Choice = Box<dyn Fn(&Request) -> Reply + Send + Sync>;

/// A server that runs until the tests end. All bucket names refer to its only bucket.
pub(crate) struct Memory {
    /// Host and port.
    pub(crate) address: String,
    shared: Arc<Shared>,
}

struct Shared {
    objects: Mutex<BTreeMap<String, Vec<u8>>>,
    tag: &'static str,
    choice: Choice,
    lists: AtomicUsize,
    uploads: AtomicUsize,
    /// Parts of uploads, by upload and part number.
    parts: Mutex<BTreeMap<String, BTreeMap<u32, Vec<u8>>>>,
}

impl Memory {
    /// Starts a server that contains the given objects.
    pub(crate) fn start(
        objects: impl IntoIterator<Item = (String, Vec<u8>)>,
        choice: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start_tagged(objects, "", choice)
    }

    /// Starts a server that contains the given objects. Their ETags begin with `tag`.
    pub(crate) fn start_tagged(
        objects: impl IntoIterator<Item = (String, Vec<u8>)>,
        tag: &'static str,
        choice: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared {
            objects: Mutex::new(objects.into_iter().collect()),
            tag,
            choice: Box::new(choice),
            lists: AtomicUsize::new(0),
            uploads: AtomicUsize::new(1),
            parts: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&serving);
                // In some tests, clients disconnect during a request, which is not an error here.
                thread::spawn(move || stream.and_then(|stream| shared.serve(&stream)));
            }
        });
        Self { address, shared }
    }

    /// Calls a function with mutable access to the objects.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<String, Vec<u8>>) -> T) -> T {
        change(&mut self.shared.objects.lock().unwrap())
    }

    /// Returns how many listing pages were requested.
    pub(crate) fn lists(&self) -> usize {
        self.shared.lists.load(Ordering::Relaxed)
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8().unwrap().into_owned()
}

impl Shared {
    fn serve(&self, stream: &TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut words = line.split_whitespace();
        let method = words.next().unwrap_or_default().to_owned();
        let target = words.next().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let key = path.get(1..).and_then(|path| path.split_once('/')).map_or("", |(_, key)| key);
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (name.to_owned(), decoded(&value.replace('+', " ")))
        };
        let query = query.split('&').filter(|part| !part.is_empty()).map(pair).collect();
        let mut request = Request { method, key: decoded(key), query, ..Request::default() };
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? <= 2 {
                break;
            }
            let (name, value) = line.trim_end().split_once(": ").unwrap_or((line.trim_end(), ""));
            request.headers.insert(name.to_lowercase(), value.to_owned());
        }
        let length = request.headers.get("content-length").and_then(|length| length.parse().ok());
        request.body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut request.body)?;
        if request.is_list() {
            self.lists.fetch_add(1, Ordering::Relaxed);
        }
        let mut sent: fn(usize) -> usize = |length| length;
        let (status, body) = match (self.choice)(&request) {
            Reply::Usual => self.usual(&request),
            Reply::Short(length) => {
                sent = length;
                self.usual(&request)
            }
            Reply::Other(status, body) => (status, body.into_bytes()),
            Reply::Silence => {
                thread::sleep(Duration::from_mins(10));
                return Ok(());
            }
        };
        let (status, range, mut body) = ranged(&request, status, body);
        body.truncate(sent(body.len()));
        let (length, tag) = (body.len(), self.tag);
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n{range}ETag: \"{tag}{length}\"\r\nLast-Modified: \
             Sat, 19 Jul 2025 14:05:00 GMT\r\nConnection: close\r\n\r\n"
        );
        let mut stream = stream;
        stream.write_all(head.as_bytes())?;
        if request.method != "HEAD" {
            stream.write_all(&body)?;
        }
        Ok(())
    }

    fn usual(&self, request: &Request) -> (u16, Vec<u8>) {
        let mut objects = self.objects.lock().unwrap();
        match request.method.as_str() {
            "GET" if request.is_list() => (200, page(&objects, request, self.tag).into_bytes()),
            "GET" | "HEAD" => match objects.get(&request.key) {
                Some(bytes) => (200, bytes.clone()),
                None => (404, b"<Error><Code>NoSuchKey</Code></Error>".to_vec()),
            },
            "POST" if request.query.contains_key("delete") => {
                let body = String::from_utf8_lossy(&request.body);
                let mut results = String::new();
                for rest in body.split("<Object>").skip(1) {
                    let element = |name: &str| {
                        let (_, rest) = rest.split_once(&format!("<{name}>"))?;
                        rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
                    };
                    let key = element("Key").unwrap_or_default();
                    let tag = |bytes: &Vec<u8>| format!("&quot;{}{}&quot;", self.tag, bytes.len());
                    let is_same = |tag: &str, wanted: Option<&str>| wanted.is_none_or(|w| w == tag);
                    let code = match objects.get(key).map(tag) {
                        Some(tag) if !is_same(&tag, element("ETag")) => "PreconditionFailed",
                        None if element("ETag").is_some() => "NoSuchKey",
                        _ => "",
                    };
                    if code.is_empty() {
                        objects.remove(key);
                        write!(results, "<Deleted><Key>{key}</Key></Deleted>").unwrap();
                    } else {
                        write!(results, "<Error><Key>{key}</Key><Code>{code}</Code></Error>")
                            .unwrap();
                    }
                }
                (200, format!("<DeleteResult>{results}</DeleteResult>").into_bytes())
            }
            "POST" if request.query.contains_key("uploads") => {
                let id = self.uploads.fetch_add(1, Ordering::Relaxed);
                let id = format!("<UploadId>{id}</UploadId>");
                let root = "InitiateMultipartUploadResult";
                (200, format!("<{root}>{id}</{root}>").into_bytes())
            }
            // The parts of an upload are stored as objects that listings omit.
            "PUT" | "DELETE" if request.query.contains_key("uploadId") => {
                let mut parts = self.parts.lock().unwrap();
                let id = request.get("uploadId").to_owned();
                match request.query.get("partNumber") {
                    Some(number) => {
                        let number = number.parse().unwrap();
                        parts.entry(id).or_default().insert(number, request.body.clone());
                        (200, Vec::new())
                    }
                    None => (if parts.remove(&id).is_some() { 204 } else { 404 }, Vec::new()),
                }
            }
            "POST" if request.query.contains_key("uploadId") => {
                match self.parts.lock().unwrap().remove(request.get("uploadId")) {
                    Some(parts) => {
                        let whole = parts.into_values().flatten().collect();
                        objects.insert(request.key.clone(), whole);
                        let root = "CompleteMultipartUploadResult";
                        (200, format!("<{root}><ETag>whole</ETag></{root}>").into_bytes())
                    }
                    None => (404, b"<Error><Code>NoSuchUpload</Code></Error>".to_vec()),
                }
            }
            "PUT"
                if request.headers.contains_key("if-none-match")
                    && objects.contains_key(&request.key) =>
            {
                (412, Vec::new())
            }
            "PUT" => {
                objects.insert(request.key.clone(), request.body.clone());
                (200, Vec::new())
            }
            "DELETE" => {
                objects.remove(&request.key);
                (204, Vec::new())
            }
            _ => (501, Vec::new()),
        }
    }
}

/// Reduces a response to the requested range. Returns the status, the `Content-Range` header and the body.
fn ranged(request: &Request, status: u16, body: Vec<u8>) -> (u16, String, Vec<u8>) {
    let range = request.headers.get("range").and_then(|range| range.strip_prefix("bytes="));
    match range.and_then(|range| range.split_once('-')).filter(|_| status == 200) {
        Some((first, last)) => {
            let (whole, first) = (body.len(), first.parse().unwrap());
            let last = last.parse().unwrap_or(usize::MAX).min(whole - 1);
            let header = format!("Content-Range: bytes {first}-{last}/{whole}\r\n");
            (206, header, body[first..=last].to_vec())
        }
        None => (status, String::new(), body),
    }
}

/// Returns a ListObjectsV2 page.
fn page(objects: &BTreeMap<String, Vec<u8>>, request: &Request, tag: &str) -> String {
    let (prefix, delimiter) = (request.get("prefix"), request.get("delimiter"));
    let after = match request.get("continuation-token") {
        "" => request.get("start-after"),
        token => token,
    };
    let (mut text, mut count, mut last) = (String::new(), 0, String::new());
    let mut token = None;
    for (key, bytes) in objects.range(prefix.to_owned()..) {
        if !key.starts_with(prefix) {
            break;
        }
        let group = key[prefix.len()..].find('/').filter(|_| !delimiter.is_empty());
        let group = group.map(|slash| &key[..=prefix.len() + slash]);
        let is_over = |last: &str| last.ends_with('/') && group == Some(last);
        if key.as_str() <= after && !after.is_empty() || is_over(after) || is_over(&last) {
            continue;
        }
        if count == PAGE {
            token = Some(last);
            break;
        }
        count += 1;
        if let Some(group) = group {
            write!(text, "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", xml(group))
                .unwrap();
            group.clone_into(&mut last);
        } else {
            let (key, size) = (xml(key), bytes.len());
            write!(
                text,
                "<Contents><Key>{key}</Key><LastModified>2025-07-19T14:05:00.000Z</LastModified>\
                 <ETag>&quot;{tag}{size}&quot;</ETag><Size>{size}</Size></Contents>"
            )
            .unwrap();
            last.clone_from(&key);
        }
    }
    let token = token.map_or_else(
        || "<IsTruncated>false</IsTruncated>".to_owned(),
        |token| {
            format!(
                "<IsTruncated>true</IsTruncated><NextContinuationToken>{}</NextContinuationToken>",
                xml(&token)
            )
        },
    );
    format!("<ListBucketResult>{token}{text}</ListBucketResult>")
}

fn xml(text: &str) -> String {
    let escaped = |c: char| match c {
        '&' | '<' | '>' | '\0'..' ' => format!("&#x{:x};", u32::from(c)),
        other => other.to_string(),
    };
    text.chars().map(escaped).collect()
}
