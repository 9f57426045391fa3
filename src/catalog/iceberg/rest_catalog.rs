//! Catalogs with Iceberg's REST API
//! (<https://github.com/apache/iceberg/blob/main/open-api/rest-catalog-open-api.yaml>).

use http::Method;
use iceberg::spec::{SortOrder, TableMetadata};
use percent_encoding::utf8_percent_encode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::catalog::iceberg::IcebergError;
use crate::catalog::iceberg::table_catalog::{Catalog, Change, Committed, Loaded, Pointer};
use crate::store::{Access, Answer, Api, ApiError, Network, UNRESERVED};

/// Maximum length of a server's message in an error, in characters.
const MAX_MESSAGE: usize = 500;

/// A namespace of a REST catalog.
pub(crate) struct Rest {
    api: Api,
    /// Path of the namespace, such as `/v1/namespaces/logs`.
    path: String,
    /// Path of all namespaces.
    above: String,
    namespace: String,
}

/// The configuration that a server returns.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Config {
    defaults: Value,
    overrides: Value,
}

/// A table that a server returns.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Table {
    metadata_location: Option<String>,
    metadata: TableMetadata,
}

impl Config {
    /// Returns a property. The server's overrides take precedence over its defaults.
    fn get(&self, name: &str) -> Option<&str> {
        self.overrides[name].as_str().or_else(|| self.defaults[name].as_str())
    }
}

impl Rest {
    /// Opens a namespace in the catalog at a URL. `warehouse` selects one of the server's warehouses.
    ///
    /// # Errors
    ///
    /// Fails if the server cannot be reached, or if it refuses access.
    pub(crate) fn open(
        url: &str,
        access: Access,
        warehouse: Option<&str>,
        namespace: &str,
        network: &Network,
    ) -> Result<Self, IcebergError> {
        let api = Api::open(url, access, network)?;
        let warehouse = warehouse.map(|name| format!("?warehouse={}", encoded(name)));
        let path = format!("/v1/config{}", warehouse.unwrap_or_default());
        let mut rest = Self {
            api,
            path: String::new(),
            above: String::new(),
            namespace: namespace.to_owned(),
        };
        if rest.api.takes_token_endpoint() {
            rest.find_token_endpoint(&path)?;
        }
        let config: Config = match rest.send(&Method::GET, &path, None)? {
            Reply::Found(config) => config,
            Reply::Absent | Reply::Conflict => Config::default(),
        };
        let prefix = config.get("prefix").map(|prefix| format!("/{}", prefix.trim_matches('/')));
        rest.above = format!("/v1{}/namespaces", prefix.unwrap_or_default());
        rest.path = format!("{}/{}", rest.above, encoded(namespace));
        Ok(rest)
    }

    /// Uses the token endpoint in the server's configuration, if the server returns the configuration without
    /// authorization. It is determined before the credential is sent anywhere.
    fn find_token_endpoint(&mut self, path: &str) -> Result<(), IcebergError> {
        let answer = self.api.get_openly(path).map_err(|error| self.failed(error))?;
        if (400..500).contains(&answer.status) {
            return Ok(());
        }
        let Reply::Found(config) = self.parse::<Config>(&answer, path)? else { return Ok(()) };
        let Some(endpoint) = config.get("oauth2-server-uri") else { return Ok(()) };
        self.api.use_token_endpoint(endpoint).map_err(|error| self.failed(error))
    }

    /// Sends a request, and parses the response.
    fn send<T: DeserializeOwned>(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Reply<T>, IcebergError> {
        let text = body.map(ToString::to_string).unwrap_or_default();
        let answer = self.api.send(method, path, &[], text.as_bytes());
        let answer = answer.map_err(|error| self.failed(error))?;
        self.parse(&answer, path)
    }

    /// Parses a response to a request for `path`.
    fn parse<T: DeserializeOwned>(
        &self,
        answer: &Answer,
        path: &str,
    ) -> Result<Reply<T>, IcebergError> {
        let body = if answer.body.is_empty() { b"null" } else { answer.body.as_slice() };
        let why = match answer.status {
            200 | 204 => {
                let parsed = serde_json::from_slice(body).map(Reply::Found);
                return parsed.map_err(|error| IcebergError::Invalid {
                    name: format!("{}{path}", self.api.name()),
                    why: self.api.hide(&error.to_string()),
                });
            }
            404 => return Ok(Reply::Absent),
            409 => return Ok(Reply::Conflict),
            300..400 => {
                let location = answer.location.as_deref().unwrap_or("nowhere");
                format!("the server redirects to {location}; specify the catalog's final URL")
            }
            _ => message(&answer.body),
        };
        let status = answer.status;
        let why = format!("status {status}: {why}");
        if matches!(status, 401 | 403 | 419) {
            let (name, why) = (self.api.name().to_owned(), self.api.hide(&why));
            return Err(IcebergError::Refused { name, why });
        }
        let is_transient = status >= 500 || matches!(status, 408 | 429);
        Err(self.failed(ApiError { why, is_transient }))
    }

    fn failed(&self, ApiError { why, is_transient }: ApiError) -> IcebergError {
        let (name, why) = (self.api.name().to_owned(), self.api.hide(&why));
        IcebergError::Catalog { name, why, is_transient }
    }

    fn table(&self, name: &str) -> String {
        format!("{}/tables/{}", self.path, encoded(name))
    }
}

/// The outcome of a request.
enum Reply<T> {
    Found(T),
    Absent,
    Conflict,
}

impl Catalog for Rest {
    fn load(&self, table: &str) -> Result<Option<Loaded>, IcebergError> {
        let reply = self.send::<Table>(&Method::GET, &self.table(table), None)?;
        let Reply::Found(Table { metadata_location, metadata }) = reply else { return Ok(None) };
        let location = metadata_location.unwrap_or_default();
        Ok(Some(Loaded { metadata, pointer: Pointer { location, version: None } }))
    }

    fn create(&self, table: &str, metadata: &TableMetadata) -> Result<Committed, IcebergError> {
        let namespace = json!({ "namespace": [self.namespace], "properties": {} });
        // A conflict means that the namespace exists.
        self.send::<Value>(&Method::POST, &self.above, Some(&namespace))?;
        let body = json!({
            "name": table,
            "location": metadata.location(),
            "schema": &**metadata.current_schema(),
            "partition-spec": &**metadata.default_partition_spec(),
            "write-order": SortOrder::unsorted_order(),
            "stage-create": false,
            "properties": metadata.properties(),
        });
        let path = format!("{}/tables", self.path);
        match self.send::<Value>(&Method::POST, &path, Some(&body))? {
            Reply::Found(_) => Ok(Committed::Changed),
            Reply::Conflict => Ok(Committed::Conflict),
            Reply::Absent => Err(self.lost()),
        }
    }

    fn commit(
        &self,
        table: &str,
        _base: &Loaded,
        change: &Change,
    ) -> Result<Committed, IcebergError> {
        let body = json!({
            "identifier": { "namespace": [self.namespace], "name": table },
            "requirements": change.requirements,
            "updates": change.updates,
        });
        match self.send::<Value>(&Method::POST, &self.table(table), Some(&body))? {
            Reply::Found(_) => Ok(Committed::Changed),
            Reply::Conflict => Ok(Committed::Conflict),
            Reply::Absent => Err(self.lost()),
        }
    }
}

impl Rest {
    fn lost(&self) -> IcebergError {
        IcebergError::Catalog {
            name: self.api.name().to_owned(),
            why: format!("the namespace {} or its table was dropped", self.namespace),
            is_transient: false,
        }
    }
}

/// Returns the message in an error response, or else the beginning of the response.
fn message(body: &[u8]) -> String {
    let parsed: Value = serde_json::from_slice(body).unwrap_or_default();
    let messages = [&parsed["error"]["message"], &parsed["message"], &parsed["Message"]];
    let message = messages.into_iter().find_map(Value::as_str).map(ToOwned::to_owned);
    let message = message.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    let mut characters = message.chars();
    let start: String = characters.by_ref().take(MAX_MESSAGE).collect();
    if characters.next().is_some() { format!("{start}…") } else { start }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, &UNRESERVED).to_string()
}
