//! A table: which fields a log line has, and what columns become of them.
//!
//! The files under `schemas/` are the single truth; everything that depends on a field's position,
//! name or type is derived from a [`Table`] read from one of them.

use std::fmt;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field as ArrowField, Schema as ArrowSchema, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};

/// Column that holds what AWS appended to a line after the fields known here.
pub(crate) const EXTRA_FIELDS: &str = "extra_fields";
/// Column that holds the key of the object a row came from.
pub(crate) const SOURCE_KEY: &str = "source_key";
/// The columns of our own, at the end of every table of rows, with their meaning in one line.
pub const OWN_COLUMNS: [(&str, &str); 2] = [
    (EXTRA_FIELDS, "Unchanged text of fields that AWS added after this version"),
    (SOURCE_KEY, "Key of the object that the row came from"),
];

/// The tables, in the order of [`LogType::ALL`].
static TABLES: LazyLock<[Table; LogType::ALL.len()]> = LazyLock::new(|| {
    LogType::ALL.map(|log_type| {
        Table::parse(log_type.file()).expect("the embedded schemas are checked by a test")
    })
});

/// A kind of log that load balancers write. Each is a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LogType {
    /// Requests.
    Access,
    /// Attempts to connect.
    Connection,
    /// Health checks of targets.
    HealthCheck,
}

impl LogType {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Access, Self::Connection, Self::HealthCheck];

    /// Returns the name that stands in schema files, paths, rejects and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Connection => "connection",
            Self::HealthCheck => "health_check",
        }
    }

    /// Returns the log type of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|log_type| log_type.as_str() == name)
    }

    /// Returns its table.
    pub fn table(self) -> &'static Table {
        &TABLES[self as usize]
    }

    /// Returns the text of its schema file.
    fn file(self) -> &'static str {
        match self {
            Self::Access => include_str!("../../schemas/access.toml"),
            Self::Connection => include_str!("../../schemas/connection.toml"),
            Self::HealthCheck => include_str!("../../schemas/health_check.toml"),
        }
    }
}

impl fmt::Display for LogType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One kind of log and the table it becomes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Table {
    /// The log type.
    pub log_type: LogType,
    /// Name of the table, and of its directory in the dataset.
    #[serde(rename = "table")]
    pub name: String,
    /// What a row is, in one line.
    pub description: String,
    /// The AWS page that documents the format.
    pub reference: String,
    /// What the names of its objects begin with, before the account.
    pub object_prefixes: Vec<String>,
    /// Number of fields that every line of the log type has had since its first day.
    pub required_fields: usize,
    /// The fields, in the order of the line.
    #[serde(rename = "field")]
    pub fields: Vec<Field>,
}

/// One field of a line.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Field {
    /// Name in AWS's documentation.
    pub name: String,
    /// Year, or year and month, in which load balancers began to write it.
    pub era: String,
    /// The columns it becomes.
    pub columns: Vec<Column>,
}

/// One column of the table.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Column {
    /// Name, as in AWS's Athena tables where those have the column.
    pub name: String,
    /// Type of its values.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Which part of a composite field it is.
    #[serde(default)]
    pub part: Part,
    /// How it is best stored.
    pub stored: Stored,
    /// The shape of its values. A line with a value that does not match is rejected.
    #[serde(default)]
    pub shape: Option<Shape>,
    /// Meaning, in one line.
    pub description: String,
}

/// Type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Kind {
    /// UTF-8 text, byte for byte as logged.
    String,
    /// 32-bit signed integer.
    Int32,
    /// 64-bit signed integer.
    Int64,
    /// IEEE 754 double.
    Double,
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp,
}

/// Part of a field that a column takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Part {
    /// All of it.
    #[default]
    Whole,
    /// `address:port`, before the last colon, without the brackets of an IPv6 address.
    Address,
    /// `address:port`, after the last colon.
    Port,
    /// Request line, up to the first space.
    Verb,
    /// Request line, between the first and the last space.
    Url,
    /// Request line, after the last space.
    Protocol,
    /// `NotBefore=time;NotAfter=time`, the first time.
    NotBefore,
    /// The second one.
    NotAfter,
}

/// The shape of a column's values, which distinguishes a good line from one with omitted or moved fields.
///
/// Shapes are permissive: they accept new names of ciphers, actions and reasons, and the placeholders of published
/// examples. NULL and empty values match every shape. Fields that a client controls have no shape. The rules are in
/// `columns/shape.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Shape {
    /// Type of request, such as `h2`.
    RequestType,
    /// Resource id of a load balancer, such as `app/my-lb/50dc6c495c0c9188`.
    LoadBalancer,
    /// Address or host name in front of a port.
    Host,
    /// IP address without a port.
    IpAddress,
    /// Duration in seconds with a fraction, or -1.
    Seconds,
    /// Status code of HTTP: three digits.
    HttpStatus,
    /// Status code of HTTP or gRPC: one to three digits.
    Status,
    /// Name of a TLS cipher.
    Cipher,
    /// TLS version.
    TlsVersion,
    /// Name of a key exchange.
    KeyExchange,
    /// ARN of a target group.
    TargetGroup,
    /// ARN of a certificate, or `session-reused`.
    Certificate,
    /// Trace header, which has a `Root=` or a `Self=` from the load balancer.
    Trace,
    /// Actions, separated by commas.
    Actions,
    /// Absolute URL.
    Url,
    /// Host name or address, with or without a port.
    HostName,
    /// Path, or a complete URL.
    Path,
    /// Reason code, such as `LambdaUnhandled`.
    Reason,
    /// Address and port of targets, separated by spaces.
    Targets,
    /// Status codes of targets, separated by spaces.
    Statuses,
    /// Classification of a request, such as `Acceptable`.
    Classification,
    /// ID of a connection, which begins with `TID_`.
    ConnectionId,
    /// Error code of HTTP/2, such as `0x7`.
    ErrorCode,
    /// Subject of a certificate, such as `C=NO,O=Example AS`.
    Subject,
    /// Validity of a certificate, such as `NotBefore=time;NotAfter=time`.
    Validity,
    /// Serial number of a certificate, hexadecimal.
    SerialNumber,
    /// `Success`, or `Failed:` and a reason code.
    VerifyStatus,
    /// Address and port, or the ARN of a Lambda function.
    TargetAddress,
    /// `PASS` or `FAIL`.
    CheckStatus,
}

impl Shape {
    /// Describes the values for documentation. The actual tests are less strict: see `columns/shape.rs`.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::RequestType => "lowercase word such as `h2`",
            Self::LoadBalancer => "resource id or name: letters, digits, `-`, `_` and `/`",
            Self::Host => "address or host name before the port",
            Self::IpAddress => "IP address without a port",
            Self::Seconds => "number with a fraction, 0 or -1",
            Self::HttpStatus => "three digits",
            Self::Status => "one to three digits",
            Self::Cipher => "name of letters, digits, `-` and `_`",
            Self::TlsVersion => "`TLS` or `SSL` and a version",
            Self::KeyExchange => "name of letters, digits, `-` and `_`; not the name of a cipher",
            Self::TargetGroup => "`arn:` with `:targetgroup/`",
            Self::Certificate => "`arn:` with `certificate/`, or `session-reused`",
            Self::Trace => "contains `Root=` or `Self=`",
            Self::Actions => "lowercase words, separated by commas",
            Self::Url => "URL with a scheme and `://`",
            Self::HostName => {
                "host name or IP address, with or without a port; may contain `~%!$&'()*+;` and non-ASCII characters"
            }
            Self::Path => "begins with `/`, or is a URL",
            Self::Reason => "name such as `LambdaUnhandled`",
            Self::Targets => "addresses with ports, separated by spaces",
            Self::Statuses => "status codes, separated by spaces",
            Self::Classification => "one word such as `Acceptable`",
            Self::ConnectionId => "begins with `TID_`",
            Self::ErrorCode => "hexadecimal number such as `0x7`",
            Self::Subject => "contains `=`",
            Self::Validity => "contains `NotBefore=` or `NotAfter=`",
            Self::SerialNumber => "hexadecimal number",
            Self::VerifyStatus => "`Success`, or begins with `Failed`",
            Self::TargetAddress => "address with a port, or begins with `arn:`",
            Self::CheckStatus => "uppercase word: `PASS` or `FAIL`",
        }
    }
}

/// How the values of a column repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stored {
    /// Values repeat: a dictionary pays until it has grown too large.
    Dictionary,
    /// Nearly every row has a value of its own.
    Plain,
}

/// When load balancers wrote lines of some number of fields: months, or years.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Era<'a> {
    /// When the last of the fields came.
    pub since: &'a str,
    /// When the next one came, if there is one. The same as `since` if the line has some of the fields that came
    /// together.
    pub until: Option<&'a str>,
}

/// A schema file that does not describe a table.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// It is not TOML of the expected shape.
    #[error("schema file cannot be read")]
    Syntax(#[from] toml::de::Error),
    /// Two columns share a name.
    #[error("column {0} appears twice")]
    DuplicateColumn(String),
    /// A part was asked of a column whose type cannot hold it.
    #[error("column {0}: a part of this kind cannot have this type")]
    PartType(String),
    /// A column has a shape that its type does not support.
    #[error("column {0}: a value of this type cannot have this shape")]
    ShapeType(String),
    /// More fields are required than there are.
    #[error("{required} fields are required, but only {known} are described")]
    Required {
        /// `required_fields` of the file.
        required: usize,
        /// Number of `[[field]]` stanzas.
        known: usize,
    },
}

impl Table {
    /// Reads a table from the text of a schema file.
    ///
    /// # Errors
    ///
    /// Fails when the text is not TOML of the expected shape, or contradicts itself.
    #[doc(hidden)] // for tests
    pub fn parse(text: &str) -> Result<Self, SchemaError> {
        let table: Self = toml::from_str(text)?;
        if table.required_fields > table.fields.len() {
            let (required, known) = (table.required_fields, table.fields.len());
            return Err(SchemaError::Required { required, known });
        }
        let mut seen = vec![EXTRA_FIELDS, SOURCE_KEY];
        for (_, column) in table.columns() {
            if seen.contains(&column.name.as_str()) {
                return Err(SchemaError::DuplicateColumn(column.name.clone()));
            }
            seen.push(&column.name);
            let possible = match column.part {
                Part::Whole => true,
                Part::Port => column.kind == Kind::Int32,
                Part::Address | Part::Verb | Part::Url | Part::Protocol => {
                    column.kind == Kind::String
                }
                Part::NotBefore | Part::NotAfter => column.kind == Kind::Timestamp,
            };
            if !possible {
                return Err(SchemaError::PartType(column.name.clone()));
            }
            let kind = match column.shape {
                None => column.kind,
                Some(Shape::Seconds) => Kind::Double,
                Some(Shape::HttpStatus | Shape::Status) => Kind::Int32,
                Some(_) => Kind::String,
            };
            if kind != column.kind {
                return Err(SchemaError::ShapeType(column.name.clone()));
            }
        }
        Ok(table)
    }

    /// Returns when load balancers wrote lines of so many fields, or `None` if none ever did, as far as is known.
    pub fn era(&self, fields: usize) -> Option<Era<'_>> {
        let last = fields.checked_sub(1).filter(|_| fields >= self.required_fields)?;
        let since = self.fields.get(last)?.era.as_str();
        let until = self.fields.get(fields).map(|next| next.era.as_str());
        Some(Era { since, until })
    }

    /// Iterates over the columns that come from fields, each with the index of its field.
    pub fn columns(&self) -> impl Iterator<Item = (usize, &Column)> {
        self.fields
            .iter()
            .enumerate()
            .flat_map(|(index, field)| field.columns.iter().map(move |column| (index, column)))
    }

    /// Returns the Arrow schema of decoded record batches: repeating text as dictionaries.
    pub fn batch_schema(&self) -> SchemaRef {
        self.schema(|stored| match stored {
            Stored::Dictionary => {
                DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
            }
            Stored::Plain => DataType::Utf8,
        })
    }

    /// Returns the schema that readers of the Parquet files see: only types every reader has.
    pub fn file_schema(&self) -> SchemaRef {
        self.schema(|_| DataType::Utf8)
    }

    fn schema(&self, text: impl Fn(Stored) -> DataType) -> SchemaRef {
        let own = OWN_COLUMNS.map(|(name, _)| (name, text(Stored::Dictionary)));
        let fields = self
            .columns()
            .map(|(_, column)| {
                let data_type = match column.kind {
                    Kind::String => text(column.stored),
                    Kind::Int32 => DataType::Int32,
                    Kind::Int64 => DataType::Int64,
                    Kind::Double => DataType::Float64,
                    Kind::Timestamp => {
                        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
                    }
                };
                (column.name.as_str(), data_type)
            })
            .chain(own)
            .map(|(name, data_type)| ArrowField::new(name, data_type, true));
        Arc::new(ArrowSchema::new(fields.collect::<Vec<_>>()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_schemas_are_whole() {
        let counts = [(17, 36, 40), (11, 15, 17), (8, 10, 10)];
        for (log_type, counts) in LogType::ALL.into_iter().zip(counts) {
            let table = Table::parse(log_type.file()).unwrap();
            assert_eq!(table.log_type, log_type);
            assert_eq!(LogType::named(log_type.as_str()), Some(log_type));
            assert_eq!(table.name, log_type.table().name);
            let (required, known) = (table.required_fields, table.fields.len());
            assert_eq!((required, known, table.columns().count()), counts);
            assert_eq!(table.file_schema().fields().len(), counts.2 + 2);
        }
    }

    #[test]
    fn the_number_of_fields_tells_the_era() {
        let era = |fields| LogType::Access.table().era(fields);
        assert_eq!(era(0), None);
        assert_eq!(era(16), None);
        assert_eq!(era(17), Some(Era { since: "2016-08", until: Some("2016-11") }));
        assert_eq!(era(30), Some(Era { since: "2024-05", until: Some("2025-08") }));
        assert_eq!(era(31), Some(Era { since: "2025-08", until: Some("2025-08") }));
        assert_eq!(era(36), Some(Era { since: "2026", until: None }));
        assert_eq!(era(37), None);
    }

    #[test]
    fn contradictions_are_refused() {
        let text = include_str!("../../schemas/access.toml");
        let twice = format!(
            "{text}\n[[field]]\nname = \"x\"\nera = \"2027\"\ncolumns = [{{ name = \"time\", type = \"string\", stored = \"plain\", description = \"\" }}]\n"
        );
        assert!(
            matches!(Table::parse(&twice), Err(SchemaError::DuplicateColumn(name)) if name == "time")
        );
        let part =
            text.replace("type = \"int32\", part = \"port\"", "type = \"double\", part = \"port\"");
        assert!(matches!(Table::parse(&part), Err(SchemaError::PartType(_))));
        let part = "type = \"timestamp\", stored";
        let part = text.replacen(part, &part.replace(',', ", part = \"verb\","), 1);
        assert!(matches!(Table::parse(&part), Err(SchemaError::PartType(_))));
        let shape = text.replace("shape = \"http_status\"", "shape = \"seconds\"");
        assert!(
            matches!(Table::parse(&shape), Err(SchemaError::ShapeType(name)) if name == "elb_status_code")
        );
        let required = text.replace("required_fields = 17", "required_fields = 99");
        assert!(matches!(Table::parse(&required), Err(SchemaError::Required { .. })));
    }
}
