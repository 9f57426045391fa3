//! Databases of the AWS Glue Data Catalog (<https://docs.aws.amazon.com/glue/latest/webapi/API_UpdateTable.html>).

use http::Method;
use iceberg::spec::{PrimitiveType, TableMetadata, Type};
use serde_json::{Map, Value, json};

use crate::catalog::iceberg::IcebergError;
use crate::catalog::iceberg::table_catalog::{Committed, Pointer, Pointers};
use crate::store::{Api, Network};

const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
/// Parameter of a table that contains the URL of its metadata.
const LOCATION: &str = "metadata_location";

/// A database in the Glue Data Catalog.
pub(crate) struct Glue {
    api: Api,
    /// Account of the catalog; `None` for the account of the credentials.
    account: Option<String>,
    database: String,
    /// Name of the catalog, for messages.
    name: String,
}

/// A refused request.
struct Refusal {
    code: String,
    message: String,
    status: u16,
}

impl Glue {
    /// Opens a database in the configured region.
    ///
    /// # Errors
    ///
    /// Fails if no region or credentials are configured.
    pub(crate) fn open(
        account: Option<&str>,
        database: &str,
        network: &Network,
    ) -> Result<Self, IcebergError> {
        let (api, region) = Api::aws("glue", network)?;
        let (account, database) = (account.map(ToOwned::to_owned), database.to_owned());
        Ok(Self { api, account, database, name: format!("glue in {region}") })
    }

    /// Calls an operation. Returns the response, or why the operation was refused.
    fn call(
        &self,
        operation: &str,
        mut body: Value,
    ) -> Result<Result<Value, Refusal>, IcebergError> {
        if let Some(account) = &self.account {
            body["CatalogId"] = json!(account);
        }
        let target = format!("AWSGlue.{operation}");
        let headers = [("content-type", CONTENT_TYPE), ("x-amz-target", target.as_str())];
        let answer = self.api.send(&Method::POST, "/", &headers, body.to_string().as_bytes());
        let answer = answer.map_err(|error| self.error(error.why, error.is_transient))?;
        let parsed = serde_json::from_slice(&answer.body);
        if answer.status == 200 {
            return parsed.map(Ok).map_err(|error| self.error(error.to_string(), true));
        }
        let parsed: Value = parsed.unwrap_or_default();
        let text = |names: [&str; 2]| {
            let found = names.iter().find_map(|name| parsed[*name].as_str());
            found.unwrap_or_default().to_owned()
        };
        let code = text(["__type", "code"]);
        let code = code.rsplit('#').next().unwrap_or_default().to_owned();
        let message = text(["Message", "message"]);
        Ok(Err(Refusal { code, message, status: answer.status }))
    }

    fn error(&self, why: String, is_transient: bool) -> IcebergError {
        IcebergError::Catalog { name: self.name.clone(), why, is_transient }
    }

    /// Returns the error for an unexpected refusal.
    fn refused(&self, refusal: &Refusal) -> IcebergError {
        const TRANSIENT: [&str; 4] = [
            "InternalServiceException",
            "OperationTimeoutException",
            "ThrottlingException",
            "ResourceNotReadyException",
        ];
        let Refusal { code, message, status } = refusal;
        let is_transient = *status >= 500 || TRANSIENT.contains(&code.as_str());
        self.error(format!("status {status}: {code}: {message}"), is_transient)
    }
}

impl Pointers for Glue {
    fn get(&self, table: &str) -> Result<Option<Pointer>, IcebergError> {
        let body = json!({ "DatabaseName": self.database, "Name": table });
        let answer = match self.call("GetTable", body)? {
            Ok(answer) => answer,
            Err(refusal) if refusal.code == "EntityNotFoundException" => return Ok(None),
            Err(refusal) => return Err(self.refused(&refusal)),
        };
        let found = &answer["Table"];
        let Some(location) = found["Parameters"][LOCATION].as_str() else {
            let owner = "another program".to_owned();
            return Err(IcebergError::Owner { table: table.to_owned(), owner });
        };
        let version = found["VersionId"].as_str().map(ToOwned::to_owned);
        Ok(Some(Pointer { location: location.to_owned(), version }))
    }

    fn insert(
        &self,
        table: &str,
        metadata: &TableMetadata,
        location: &str,
    ) -> Result<Committed, IcebergError> {
        let database = json!({ "DatabaseInput": { "Name": self.database } });
        match self.call("CreateDatabase", database)? {
            Ok(_) => {}
            // Without permission to create databases, the next request fails if there is none.
            Err(refusal)
                if ["AlreadyExistsException", "AccessDeniedException"]
                    .contains(&refusal.code.as_str()) => {}
            Err(refusal) => return Err(self.refused(&refusal)),
        }
        let body = json!({
            "DatabaseName": self.database,
            "TableInput": input(table, metadata, location, None),
        });
        match self.call("CreateTable", body)? {
            Ok(_) => Ok(Committed::Changed),
            Err(refusal) if refusal.code == "AlreadyExistsException" => Ok(Committed::Conflict),
            Err(refusal) => Err(self.refused(&refusal)),
        }
    }

    fn swap(
        &self,
        table: &str,
        from: &Pointer,
        metadata: &TableMetadata,
        to: &str,
    ) -> Result<Committed, IcebergError> {
        let body = json!({
            "DatabaseName": self.database,
            "TableInput": input(table, metadata, to, Some(&from.location)),
            // The update fails if the table has another version.
            "VersionId": from.version,
            "SkipArchive": true,
        });
        match self.call("UpdateTable", body)? {
            Ok(_) => Ok(Committed::Changed),
            Err(refusal) if refusal.code == "ConcurrentModificationException" => {
                Ok(Committed::Conflict)
            }
            Err(refusal) => Err(self.refused(&refusal)),
        }
    }
}

/// Returns a table as Glue describes it. Athena reads the columns only to show them.
fn input(table: &str, metadata: &TableMetadata, location: &str, previous: Option<&str>) -> Value {
    let mut parameters = Map::new();
    parameters.insert("table_type".to_owned(), json!("ICEBERG"));
    parameters.insert(LOCATION.to_owned(), json!(location));
    if let Some(previous) = previous {
        parameters.insert("previous_metadata_location".to_owned(), json!(previous));
    }
    let fields = metadata.current_schema().as_struct().fields().iter();
    let columns: Vec<Value> = fields
        .map(|field| {
            json!({
                "Name": field.name,
                "Type": type_of(&field.field_type),
                "Comment": field.doc.as_deref().unwrap_or_default(),
                "Parameters": {
                    "iceberg.field.current": "true",
                    "iceberg.field.id": field.id.to_string(),
                    "iceberg.field.optional": (!field.required).to_string(),
                },
            })
        })
        .collect();
    json!({
        "Name": table,
        "TableType": "EXTERNAL_TABLE",
        "Parameters": parameters,
        "StorageDescriptor": { "Columns": columns, "Location": metadata.location() },
    })
}

/// Returns the Hive type of a column.
fn type_of(field: &Type) -> String {
    match field {
        Type::Primitive(PrimitiveType::Long) => "bigint".to_owned(),
        Type::Primitive(PrimitiveType::Timestamp | PrimitiveType::Timestamptz) => {
            "timestamp".to_owned()
        }
        other => other.to_string(),
    }
}
