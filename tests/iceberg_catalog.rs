//! Not a test: an in-memory Iceberg REST catalog that issues tokens. A test can replace any response.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use iceberg::spec::{TableMetadata, TableMetadataBuilder};
use iceberg::{TableCreation, TableRequirement, TableUpdate};
use serde_json::{Value, json};

/// A request that the server received.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query, as sent.
    pub(crate) target: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
    /// Number of requests before this one.
    pub(crate) number: usize,
}

impl Request {
    pub(crate) fn is_for(&self, method: &str, end: &str) -> bool {
        self.method == method && self.target.ends_with(end)
    }

    /// Returns whether the request is for a token.
    pub(crate) fn is_for_token(&self) -> bool {
        self.is_for("POST", "/oauth/tokens")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Returns the request as text, as a server could repeat it in a message.
    pub(crate) fn echo(&self) -> String {
        format!("{} {} {:?} {}", self.method, self.target, self.headers, self.body)
    }
}

/// How the server responds to a request.
pub(crate) enum Reply {
    /// Responds as a catalog.
    Usual,
    /// Responds with this status and body.
    Other(u16, String),
    /// Redirects to a URL with this status.
    Redirect(u16, String),
    /// Responds with this status and a body that does not end.
    Endless(u16),
    /// Responds with a body of this announced length, of which it sends only the first bytes.
    Announced(u64),
}

type Choice = Box<dyn Fn(&Request) -> Reply + Send + Sync>;

/// A catalog that runs until the tests end.
pub(crate) struct RestCatalog {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

struct Shared {
    choice: Choice,
    received: Mutex<Vec<Request>>,
    /// Metadata by the path of the table.
    tables: Mutex<BTreeMap<String, TableMetadata>>,
}

impl RestCatalog {
    pub(crate) fn start(choice: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (choice, received) = (Box::new(choice), Mutex::default());
        let shared = Arc::new(Shared { choice, received, tables: Mutex::default() });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&serving);
                // In some tests, clients disconnect during a response, which is not an error here.
                thread::spawn(move || stream.and_then(|stream| shared.serve(&stream)));
            }
        });
        Self { url, shared }
    }

    /// Returns the requests so far.
    pub(crate) fn received(&self) -> Vec<Request> {
        self.shared.received.lock().unwrap().clone()
    }

    /// Returns how many data files a table contains, according to its current snapshot.
    pub(crate) fn files_of(&self, table: &str) -> Option<String> {
        let tables = self.shared.tables.lock().unwrap();
        let (_, metadata) = tables.iter().find(|(path, _)| path.ends_with(&format!("/{table}")))?;
        let summary = metadata.current_snapshot()?.summary();
        summary.additional_properties.get("total-data-files").cloned()
    }
}

impl Shared {
    fn serve(&self, stream: &TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut words = line.split_whitespace().map(ToOwned::to_owned);
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut request = Request { method, target, ..Request::default() };
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? <= 2 {
                break;
            }
            let (name, value) = line.trim_end().split_once(": ").unwrap_or((line.trim_end(), ""));
            request.headers.insert(name.to_lowercase(), value.to_owned());
        }
        let length = request.header("content-length").and_then(|length| length.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body)?;
        request.body = String::from_utf8(body).unwrap();
        {
            let mut received = self.received.lock().unwrap();
            request.number = received.len();
            received.push(request.clone());
        }
        let (status, head, body) = match (self.choice)(&request) {
            Reply::Usual => {
                let (status, body) = self.usual(&request);
                (status, String::new(), body.to_string())
            }
            Reply::Other(status, body) => (status, String::new(), body),
            Reply::Redirect(status, url) => (status, format!("Location: {url}\r\n"), String::new()),
            Reply::Endless(status) => return endless(stream, status),
            Reply::Announced(length) => {
                let head = format!("HTTP/1.1 200 X\r\nContent-Length: {length}\r\n\r\n{{");
                return { stream }.write_all(head.as_bytes());
            }
        };
        let length = body.len();
        let text = format!(
            "HTTP/1.1 {status} X\r\n{head}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        { stream }.write_all(text.as_bytes())
    }

    fn usual(&self, request: &Request) -> (u16, Value) {
        let (path, _) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
        let mut tables = self.tables.lock().unwrap();
        if request.is_for_token() {
            let token = json!({
                "access_token": format!("token-{}", request.number),
                "token_type": "bearer",
                "expires_in": 3600,
            });
            return (200, token);
        }
        match request.method.as_str() {
            "GET" if path.ends_with("/config") => (200, json!({ "defaults": {}, "overrides": {} })),
            "GET" => match tables.get(path) {
                Some(metadata) => (200, of_table(metadata)),
                None => (404, json!({ "error": { "message": "no such table" } })),
            },
            _ if path.ends_with("/namespaces") => (409, Value::Null),
            _ if path.ends_with("/tables") => {
                let name = body["name"].as_str().unwrap();
                let metadata = created(&body);
                let answer = of_table(&metadata);
                tables.insert(format!("{path}/{name}"), metadata);
                (200, answer)
            }
            _ => {
                let metadata = tables.get_mut(path).unwrap();
                let part = |name: &str| body[name].clone();
                let required: Vec<TableRequirement> =
                    serde_json::from_value(part("requirements")).unwrap();
                if required.iter().any(|required| required.check(Some(metadata)).is_err()) {
                    return (409, Value::Null);
                }
                let updates: Vec<TableUpdate> = serde_json::from_value(part("updates")).unwrap();
                let builder = metadata.clone().into_builder(None);
                let changed =
                    updates.into_iter().try_fold(builder, |builder, update| update.apply(builder));
                *metadata = changed.unwrap().build().unwrap().metadata;
                (200, of_table(metadata))
            }
        }
    }
}

fn of_table(metadata: &TableMetadata) -> Value {
    json!({ "metadata-location": format!("{}/0.json", metadata.location()), "metadata": metadata })
}

fn created(body: &Value) -> TableMetadata {
    let properties = body["properties"].as_object().unwrap().iter();
    let properties =
        properties.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()));
    let mut spec = body["partition-spec"].clone();
    spec.as_object_mut().unwrap().remove("spec-id");
    let creation = TableCreation {
        name: body["name"].as_str().unwrap().to_owned(),
        location: Some(body["location"].as_str().unwrap().to_owned()),
        schema: serde_json::from_value(body["schema"].clone()).unwrap(),
        partition_spec: Some(serde_json::from_value(spec).unwrap()),
        sort_order: None,
        properties: properties.collect(),
        format_version: iceberg::spec::FormatVersion::V2,
    };
    TableMetadataBuilder::from_table_creation(creation).unwrap().build().unwrap().metadata
}

/// Sends chunks until the client disconnects.
fn endless(mut stream: &TcpStream, status: u16) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 {status} X\r\nTransfer-Encoding: chunked\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let chunk = format!("100000\r\n{}\r\n", " ".repeat(1 << 20));
    loop {
        stream.write_all(chunk.as_bytes())?;
    }
}
