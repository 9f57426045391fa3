//! Defines the tables: the fields of the log lines and the columns that they are converted to.
//!
//! The files in `schemas/` are the single source of truth. Everything that depends on the position, name or type of a
//! field is derived from a [`Table`] that is parsed from one of these files.

use std::fmt;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field as ArrowField, Schema as ArrowSchema, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};

use crate::logs::form::Token;

/// Name of the column that contains any trailing fields that AWS has added beyond those in the schema file.
pub(crate) const EXTRA_FIELDS: &str = "extra_fields";
/// Name of the column that contains the key of the object from which a row was read.
pub(crate) const SOURCE_KEY: &str = "source_key";
/// Names and descriptions of the columns that this program appends to every table except the rejects table.
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

/// A type of log that load balancers write. Each log type has its own table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LogType {
    /// Requests.
    Access,
    /// Connection attempts.
    Connection,
    /// Health checks of targets.
    HealthCheck,
    /// TLS connections to Network Load Balancers.
    NlbTls,
    /// Requests to Classic Load Balancers, and connections to their TCP and SSL listeners.
    Classic,
}

impl LogType {
    /// All log types.
    pub const ALL: [Self; 5] =
        [Self::Access, Self::Connection, Self::HealthCheck, Self::NlbTls, Self::Classic];

    /// Returns the name of the log type in schema files, paths, rejects and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Connection => "connection",
            Self::HealthCheck => "health_check",
            Self::NlbTls => "nlb_tls",
            Self::Classic => "classic",
        }
    }

    /// Returns the log type with the given name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|log_type| log_type.as_str() == name)
    }

    /// Returns the table of the log type.
    pub fn table(self) -> &'static Table {
        &TABLES[self as usize]
    }

    /// Returns the text of the log type's schema file.
    fn file(self) -> &'static str {
        match self {
            Self::Access => include_str!("../../schemas/access.toml"),
            Self::Connection => include_str!("../../schemas/connection.toml"),
            Self::HealthCheck => include_str!("../../schemas/health_check.toml"),
            Self::NlbTls => include_str!("../../schemas/nlb_tls.toml"),
            Self::Classic => include_str!("../../schemas/classic.toml"),
        }
    }
}

impl fmt::Display for LogType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A type of load balancer, as the Elastic Load Balancing API names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LoadBalancerType {
    /// Application Load Balancer.
    Application,
    /// Network Load Balancer.
    Network,
    /// Classic Load Balancer.
    Classic,
}

impl LoadBalancerType {
    /// Returns whether load balancers of this type compress their logs. Only Classic Load Balancers deliver
    /// uncompressed text.
    pub(crate) fn delivers_gzip(self) -> bool {
        self != Self::Classic
    }

    /// Returns the file name ending of the logs as AWS delivers them.
    pub(crate) fn delivered_ending(self) -> &'static str {
        if self.delivers_gzip() { ".log.gz" } else { ".log" }
    }

    /// Returns the possible delivery intervals in minutes, in ascending order. Users choose the interval of a Classic
    /// Load Balancer (<https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/access-log-collection.html>).
    pub(crate) fn intervals(self) -> &'static [u32] {
        match self {
            Self::Application | Self::Network => &[5],
            Self::Classic => &[5, 60],
        }
    }
}

/// The fields of a log type, and the table that they are converted to.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Table {
    /// Log type.
    pub log_type: LogType,
    /// Name of the table and its directory in the dataset.
    #[serde(rename = "table")]
    pub name: String,
    /// One-line description of a row.
    pub description: String,
    /// The AWS page that documents the format.
    pub reference: String,
    /// Type of the load balancers that write the log.
    pub load_balancer: LoadBalancerType,
    /// Prefixes of the object names, before the account.
    pub object_prefixes: Vec<String>,
    /// How quotes in a line are interpreted.
    #[serde(default)]
    pub quotes: Quotes,
    /// Minimum number of fields in a line: the number of fields in the first version of the log.
    pub required_fields: usize,
    /// The fields, in the order in which they appear in a line.
    #[serde(rename = "field")]
    pub fields: Vec<Field>,
}

/// How quotes in a line are interpreted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Quotes {
    /// A field that begins with a quote ends at the next quote.
    #[default]
    Plain,
    /// Like `Plain`, but a quote after a backslash is part of the value, unless no other quote follows.
    Escaped,
    /// Quotes are part of the values.
    Literal,
}

/// One field of a line.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Field {
    /// Name in AWS's documentation.
    pub name: String,
    /// Year, or year and month, in which load balancers began to write the field.
    pub era: String,
    /// How the field is usually written. `logs/form.rs` describes the placeholders. Without this key, doubles have three
    /// decimal places, times have six fractional digits and a `Z`, and no field has quotes.
    #[serde(default)]
    pub form: Option<String>,
    /// The text of a request whose parts are all missing, if it is not `- - -`.
    #[serde(default)]
    pub null: Option<String>,
    /// The columns that the field is converted to.
    pub columns: Vec<Column>,
}

/// One column of the table.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Column {
    /// Column name, the same as in AWS's Athena documentation if the column is documented there.
    pub name: String,
    /// Type of the values.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Part of a composite field that the column contains.
    #[serde(default)]
    pub part: Part,
    /// Whether a dictionary is worthwhile.
    pub stored: Stored,
    /// The shape of the values. A line with a value that does not match is rejected.
    #[serde(default)]
    pub shape: Option<Shape>,
    /// One-line description.
    pub description: String,
}

/// Type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Kind {
    /// UTF-8 text, exactly as logged.
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

/// The part of a field that a column contains.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Part {
    /// The entire field.
    #[default]
    Whole,
    /// The entire field, including any quotes around it. Set for text columns of tables with literal quotes.
    #[serde(skip)]
    Verbatim,
    /// The part of `address:port` before the last colon, without the brackets of an IPv6 address.
    Address,
    /// The part of `address:port` after the last colon.
    Port,
    /// The part of a request line before the first space.
    Verb,
    /// The part of a request line between the first and the last space.
    Url,
    /// The part of a request line after the last space.
    Protocol,
    /// The first time in `NotBefore=time;NotAfter=time`.
    NotBefore,
    /// The second time in `NotBefore=time;NotAfter=time`.
    NotAfter,
}

/// The shape of a column's values. It distinguishes valid lines from lines with omitted or reordered fields.
///
/// Shapes are permissive: they accept new cipher, action and reason names, and the placeholders in published
/// examples. NULL and empty values match every shape. Fields that a client controls have no shape. The rules are in
/// `columns/shape.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Shape {
    /// Type of request, such as `h2`.
    RequestType,
    /// Resource ID of a load balancer, such as `app/my-lb/50dc6c495c0c9188`.
    LoadBalancer,
    /// Address or host name before a port.
    Host,
    /// IP address without a port.
    IpAddress,
    /// Duration in seconds with a fraction, or -1.
    Seconds,
    /// HTTP status code: three digits.
    HttpStatus,
    /// HTTP or gRPC status code: one to three digits.
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
    /// Trace header, which contains a `Root=` or `Self=` field from the load balancer.
    Trace,
    /// Comma-separated list of actions.
    Actions,
    /// Absolute URL.
    Url,
    /// Host name or address, with or without a port.
    HostName,
    /// Path, or a complete URL.
    Path,
    /// Reason code, such as `LambdaUnhandled`.
    Reason,
    /// Space-separated list of target addresses and ports (`address:port`).
    Targets,
    /// Space-separated list of target status codes.
    Statuses,
    /// Classification of a request, such as `Acceptable`.
    Classification,
    /// ID of a connection, which begins with `TID_`.
    ConnectionId,
    /// HTTP/2 error code, such as `0x7`.
    ErrorCode,
    /// Subject of a certificate, such as `C=NO,O=Example AS`.
    Subject,
    /// Validity of a certificate, such as `NotBefore=time;NotAfter=time`.
    Validity,
    /// Serial number of a certificate, in hexadecimal.
    SerialNumber,
    /// `Success`, or `Failed:` and a reason code.
    VerifyStatus,
    /// Address and port, or the ARN of a Lambda function.
    TargetAddress,
    /// `PASS` or `FAIL`.
    CheckStatus,
    /// Version of a log entry, such as `2.0`.
    Version,
    /// Protocol negotiated with ALPN, such as `h2`.
    AlpnProtocol,
    /// Protocols that a client offered with ALPN, such as `"h2","http/1.1"`.
    AlpnList,
}

impl Shape {
    /// Returns a description of the values for the documentation. The actual rules are less strict: see
    /// `columns/shape.rs`.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::RequestType => "lowercase word such as `h2`",
            Self::LoadBalancer => "resource ID or name: letters, digits, `-`, `_` and `/`",
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
            Self::Version => "number such as `2.0`",
            Self::AlpnProtocol => "`h` and a digit, or begins with `http/`",
            Self::AlpnList => "begins with `\"`",
        }
    }
}

/// Whether the values of a column repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stored {
    /// Values repeat. A dictionary is worthwhile until it grows too large.
    Dictionary,
    /// Nearly all values are distinct.
    Plain,
}

/// The period in which load balancers wrote lines with a given number of fields. Times are years, or years and months.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Era<'a> {
    /// When load balancers began to write the last of the fields.
    pub since: &'a str,
    /// When load balancers began to write the next field, if there is one. Equal to `since` if AWS added several fields
    /// at the same time and the line has only some of them.
    pub until: Option<&'a str>,
}

/// The error for a schema file that does not describe a table.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The file is not valid TOML, or contains unexpected keys or values.
    #[error("schema file cannot be read")]
    Syntax(#[from] toml::de::Error),
    /// Two columns have the same name.
    #[error("column {0} appears twice")]
    DuplicateColumn(String),
    /// The usual form of a field is not a valid placeholder.
    #[error("field {0}: its form is not a placeholder")]
    Form(String),
    /// The type of a column does not support its part.
    #[error("column {0}: its type does not support its part")]
    PartType(String),
    /// The type of a column does not support its shape.
    #[error("column {0}: its type does not support its shape")]
    ShapeType(String),
    /// The file requires more fields than it describes.
    #[error("{required} fields are required, but only {known} are described")]
    Required {
        /// Value of `required_fields` in the file.
        required: usize,
        /// Number of `[[field]]` stanzas.
        known: usize,
    },
}

impl Table {
    /// Parses the text of a schema file.
    ///
    /// # Errors
    ///
    /// Fails if the text is not a valid schema file, or contradicts itself.
    #[doc(hidden)] // for tests
    pub fn parse(text: &str) -> Result<Self, SchemaError> {
        let mut table: Self = toml::from_str(text)?;
        if table.required_fields > table.fields.len() {
            let (required, known) = (table.required_fields, table.fields.len());
            return Err(SchemaError::Required { required, known });
        }
        if table.quotes == Quotes::Literal {
            let columns = table.fields.iter_mut().flat_map(|field| &mut field.columns);
            let is_text =
                |column: &&mut Column| column.part == Part::Whole && column.kind == Kind::String;
            for column in columns.filter(is_text) {
                column.part = Part::Verbatim;
            }
        }
        if let Some(field) = table.fields.iter().find(|field| Token::of(field).is_none()) {
            return Err(SchemaError::Form(field.name.clone()));
        }
        let mut seen = vec![EXTRA_FIELDS, SOURCE_KEY];
        for (_, column) in table.columns() {
            if seen.contains(&column.name.as_str()) {
                return Err(SchemaError::DuplicateColumn(column.name.clone()));
            }
            seen.push(&column.name);
            let possible = match column.part {
                Part::Whole | Part::Verbatim => true,
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

    /// Returns the period in which load balancers wrote lines with `fields` fields, or `None` if no such period is
    /// known.
    pub fn era(&self, fields: usize) -> Option<Era<'_>> {
        let last = fields.checked_sub(1).filter(|_| fields >= self.required_fields)?;
        let since = self.fields.get(last)?.era.as_str();
        let until = self.fields.get(fields).map(|next| next.era.as_str());
        Some(Era { since, until })
    }

    /// Returns the columns that are read from fields, each with the index of its field.
    pub fn columns(&self) -> impl Iterator<Item = (usize, &Column)> {
        self.fields
            .iter()
            .enumerate()
            .flat_map(|(index, field)| field.columns.iter().map(move |column| (index, column)))
    }

    /// Returns the Arrow schema of decoded record batches, in which repeating text is dictionary-encoded.
    pub fn batch_schema(&self) -> SchemaRef {
        self.schema(|stored| match stored {
            Stored::Dictionary => {
                DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
            }
            Stored::Plain => DataType::Utf8,
        })
    }

    /// Returns the schema of the Parquet files, which uses only types that every reader supports.
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
    fn the_embedded_schemas_are_complete() {
        let counts = [(17, 36, 40), (11, 15, 17), (8, 10, 10), (18, 22, 24), (12, 15, 19)];
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
    fn the_number_of_fields_determines_the_era() {
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
    fn contradictory_schemas_are_rejected() {
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
        let form = text.replacen("form = '\"_\"'", "form = 'x'", 1);
        assert!(matches!(Table::parse(&form), Err(SchemaError::Form(name)) if name == "request"));
        let required = text.replace("required_fields = 17", "required_fields = 99");
        assert!(matches!(Table::parse(&required), Err(SchemaError::Required { .. })));
    }
}
