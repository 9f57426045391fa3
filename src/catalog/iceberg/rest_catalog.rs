//! Catalogs with Iceberg's REST API
//! (<https://github.com/apache/iceberg/blob/main/open-api/rest-catalog-open-api.yaml>).

use http::Method;
use iceberg::spec::{SortOrder, TableMetadata};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::catalog::iceberg::table_catalog::{Catalog, Change, Committed, Loaded, Pointer};
use crate::catalog::iceberg::{Detail, IcebergError};
use crate::store::{Api, Network};

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

impl Rest {
    /// Opens a namespace in the catalog at a URL. `warehouse` selects one of the server's warehouses.
    ///
    /// # Errors
    ///
    /// Fails if the server cannot be reached, or if it refuses the token.
    pub(crate) fn open(
        url: &str,
        token: Option<&str>,
        warehouse: Option<&str>,
        namespace: &str,
        network: &Network,
    ) -> Result<Self, IcebergError> {
        let api = Api::bearer(url, token, network)?;
        let warehouse = warehouse.map(|name| format!("?warehouse={}", encoded(name)));
        let path = format!("/v1/config{}", warehouse.unwrap_or_default());
        let mut rest = Self {
            api,
            path: String::new(),
            above: String::new(),
            namespace: namespace.to_owned(),
        };
        let config: Config = match rest.send(Method::GET, &path, None)? {
            Reply::Found(config) => config,
            Reply::Absent | Reply::Conflict => Config::default(),
        };
        let prefix = |properties: &Value| properties["prefix"].as_str().map(ToOwned::to_owned);
        let prefix = prefix(&config.overrides).or(prefix(&config.defaults));
        let prefix = prefix.map(|prefix| format!("/{}", prefix.trim_matches('/')));
        rest.above = format!("/v1{}/namespaces", prefix.unwrap_or_default());
        rest.path = format!("{}/{}", rest.above, encoded(namespace));
        Ok(rest)
    }

    /// Sends a request, and parses the response.
    fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Reply<T>, IcebergError> {
        let error = |why: String, is_transient| IcebergError::Catalog {
            name: self.api.name().to_owned(),
            why,
            is_transient,
        };
        let text = body.map(ToString::to_string).unwrap_or_default();
        let answer = self.api.send(method, path, &[], text.into_bytes());
        let answer = answer.map_err(|failure| error(failure.to_string(), true))?;
        match answer.status {
            200 | 204 if answer.body.is_empty() => {
                serde_json::from_str("null").map(Reply::Found).detail(|| path.to_owned())
            }
            200 => serde_json::from_slice(&answer.body)
                .map(Reply::Found)
                .detail(|| format!("{}{path}", self.api.name())),
            404 => Ok(Reply::Absent),
            409 => Ok(Reply::Conflict),
            status => {
                let why = format!("status {status}: {}", message(&answer.body));
                Err(error(why, status >= 500 || matches!(status, 408 | 429)))
            }
        }
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
        let reply = self.send::<Table>(Method::GET, &self.table(table), None)?;
        let Reply::Found(Table { metadata_location, metadata }) = reply else { return Ok(None) };
        let location = metadata_location.unwrap_or_default();
        Ok(Some(Loaded { metadata, pointer: Pointer { location, version: None } }))
    }

    fn create(&self, table: &str, metadata: &TableMetadata) -> Result<Committed, IcebergError> {
        let namespace = json!({ "namespace": [self.namespace], "properties": {} });
        // A conflict means that the namespace exists.
        self.send::<Value>(Method::POST, &self.above, Some(&namespace))?;
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
        match self.send::<Value>(Method::POST, &path, Some(&body))? {
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
        match self.send::<Value>(Method::POST, &self.table(table), Some(&body))? {
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

/// Returns the message in an error response.
fn message(body: &[u8]) -> String {
    let parsed: Option<Value> = serde_json::from_slice(body).ok();
    let message = parsed.as_ref().and_then(|value| value["error"]["message"].as_str());
    message.map_or_else(|| String::from_utf8_lossy(body).into_owned(), ToOwned::to_owned)
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
