//! Statements and JSON that register a table in query engines and catalogs.
//!
//! Sources: Athena's `CREATE TABLE` and partition projection
//! (<https://docs.aws.amazon.com/athena/latest/ug/create-table.html>,
//! <https://docs.aws.amazon.com/athena/latest/ug/partition-projection-supported-types.html>), Trino's
//! Hive connector (<https://trino.io/docs/current/connector/hive.html>) and the Glue API
//! (<https://docs.aws.amazon.com/glue/latest/webapi/API_TableInput.html>).

mod compat;
mod duckdb;
mod glue;
mod hive;
mod known;
mod location;
mod projection;
mod trino;

use std::io;

use arrow::datatypes::{DataType, SchemaRef};

use crate::dataset::layout::Layout;
use crate::logs::key::{PARTITION_COLUMNS, PartitionValues};
use crate::logs::reject;
use crate::logs::schema::{LogType, OWN_COLUMNS, Table};
use crate::store::StoreError;

pub(crate) use crate::catalog::ddl::known::REJECTS;
pub(crate) use crate::catalog::ddl::location::locate;

/// Note for single-day queries: AWS stores logs under the day of delivery, so some rows are in the next day's
/// partition.
const MIDNIGHT: &str = "Partitions are days of delivery (UTC): the last minutes of a day can \
    be in the next partition, so select two days and filter by time";

/// A query engine or catalog for which statements are generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Amazon Athena.
    Athena,
    /// Trino's Hive connector.
    Trino,
    /// Spark with a Hive metastore.
    Spark,
    /// `DuckDB`, as a view.
    DuckDb,
    /// The AWS Glue Data Catalog, as JSON.
    Glue,
}

impl Dialect {
    /// Returns whether the engine can compute the partitions of a table instead of reading them from a catalog.
    pub fn computes_partitions(self) -> bool {
        !matches!(self, Self::Spark | Self::DuckDb)
    }

    /// Returns the engine's requirements for reading compact files, if it has any.
    fn compact_requirement(self) -> Option<&'static str> {
        match self {
            Self::Athena | Self::Glue => Some(
                "Trino before 436 loses rows of such files, and Athena, which is based on Trino, is untested; \
                 convert with the profile portable instead",
            ),
            Self::Trino => {
                Some("Trino before 436 loses rows unless parquet.use-column-index=false")
            }
            Self::Spark => {
                Some("Spark before 3.3 needs spark.sql.parquet.enableVectorizedReader=false")
            }
            Self::DuckDb => None,
        }
    }
}

/// A table in a dataset, as described to engines.
#[derive(Debug, Clone)]
pub struct External {
    /// The log type of the rows; `None` for the rejects table.
    pub log_type: Option<LogType>,
    /// Name of the table, such as `alb_access_logs` or `logs.alb_access_logs`.
    pub name: String,
    /// Description of the rows.
    pub description: String,
    /// The columns, without the partition columns.
    pub columns: Vec<Column>,
    /// URL or path of the table's directory, with a slash at the end.
    pub location: String,
    /// Layout of the partition directories.
    pub layout: Layout,
    /// The accounts in the dataset. If empty, every query must specify accounts.
    pub accounts: Vec<String>,
    /// The regions in the dataset. If empty, every query must specify regions.
    pub regions: Vec<String>,
    /// First year for which the engine computes partitions, as four digits.
    pub first_year: String,
    /// Whether the engine computes partitions instead of reading them from a catalog.
    pub projection: bool,
    /// Whether some of the table's files are compact.
    pub compact: bool,
    /// The partitions that contain files of the table. `None` if they are unknown.
    pub partitions: Option<Vec<PartitionValues>>,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Column name.
    pub name: String,
    /// Column type in the files.
    pub data_type: DataType,
    /// One-line description.
    pub description: String,
}

/// Why no statement can be generated for a table: the dialect cannot express it, or an argument is invalid.
#[derive(Debug, thiserror::Error)]
pub enum DdlError {
    /// Athena and Glue can read only S3.
    #[error("{0} is not in S3: Athena and Glue can only read locations that begin with s3://")]
    NotS3(String),
    /// A name would have to be quoted, and each engine quotes names differently.
    #[error(
        "{0} is not a valid table name: use lower-case letters, digits and underscores, beginning with a letter; \
         write a database as DATABASE.TABLE"
    )]
    Name(String),
    /// The partitions are unknown, and engines cannot discover them in the plain layout.
    #[error("engines cannot discover the partitions of the layout plain")]
    Unknown,
    /// `DuckDB` lists the partition directories for each query.
    #[error("DuckDB has no catalog of partitions: its view lists them for each query")]
    NoCatalog,
    /// Queries of the table must specify accounts and regions, but the view does not.
    #[error("the view requires known accounts and regions")]
    Injected,
    /// Views are available only in the Athena and Trino dialects, and only for tables that AWS documents and that a
    /// view can replace.
    #[error(
        "the view exists only for the log types access, nlb_tls and classic, and for the dialects athena and trino"
    )]
    Compat,
    /// The engine would read a different location, or fail without an explanation.
    #[error("the location {location:?} cannot be used: it contains {what:?}, {reason}")]
    Location {
        /// The location of the table.
        location: String,
        /// The first part of the location that the engine would interpret.
        what: String,
        /// How the engine would interpret that part.
        reason: &'static str,
    },
    /// The URL of the dataset is invalid.
    #[error(transparent)]
    Place(#[from] StoreError),
    /// The path of the dataset cannot be made absolute.
    #[error("{path} cannot be made an absolute path")]
    Path {
        /// The path.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// The path of the dataset is not UTF-8.
    #[error("the path of the dataset is not valid UTF-8")]
    NotText,
    /// The location cannot be printed in a statement.
    #[error("{0} contains invisible characters: no statement can contain it")]
    Invisible(String),
    /// An account or region contains characters that are invalid in a path or a comma-separated list.
    #[error("\"{0}\" is not a valid account or region: use letters, digits and hyphens")]
    Value(String),
}

impl External {
    /// Returns the table for a log type, with default properties. The caller sets the location, layout and partitions.
    pub fn rows(table: &Table) -> Self {
        let own = OWN_COLUMNS.map(|(_, meaning)| meaning);
        let described = table.columns().map(|(_, column)| column.description.as_str());
        let columns = columns(&table.file_schema(), described.chain(own));
        let year = first_year(table);
        Self::new(Some(table.log_type), &table.name, &table.description, columns, year)
    }

    /// Returns the rejects table, with default properties. The caller sets the location, layout and partitions.
    pub fn rejects() -> Self {
        let columns = columns(&reject::schema(), reject::MEANINGS.into_iter());
        let description = "Log lines that could not become rows, one row per line";
        let years = LogType::ALL.map(|log_type| first_year(log_type.table()));
        let year = years.into_iter().min().unwrap_or_default();
        Self::new(None, reject::TABLE, description, columns, year)
    }

    fn new(
        log_type: Option<LogType>,
        name: &str,
        description: &str,
        columns: Vec<Column>,
        first_year: &str,
    ) -> Self {
        Self {
            log_type,
            name: name.to_owned(),
            description: description.to_owned(),
            columns,
            location: format!("{name}/"),
            layout: Layout::Hive,
            accounts: Vec::new(),
            regions: Vec::new(),
            first_year: first_year.to_owned(),
            projection: true,
            compact: false,
            partitions: None,
        }
    }

    /// Returns the statements that create the table. If its partitions are registered in a catalog, also returns the
    /// statements that add them.
    ///
    /// # Errors
    ///
    /// Fails if the dialect cannot express the table.
    pub fn create(&self, dialect: Dialect) -> Result<String, DdlError> {
        self.check(dialect)?;
        let projected = self.projection && dialect != Dialect::Spark;
        let create = match dialect {
            Dialect::Athena if projected => {
                hive::create(self, dialect, &projection::properties(self))
            }
            Dialect::Athena | Dialect::Spark => hive::create(self, dialect, &[]),
            Dialect::Trino => trino::create(self),
            Dialect::DuckDb => return Ok(duckdb::create(self)),
            Dialect::Glue => return Ok(glue::table_input(self)),
        };
        if projected {
            return Ok(create);
        }
        Ok(format!("{create}\n{}", self.add_partitions(dialect)?))
    }

    /// Returns the statements that add the partitions to a catalog.
    ///
    /// # Errors
    ///
    /// Fails if the dialect cannot express the partitions, or if they are unknown.
    pub fn add_partitions(&self, dialect: Dialect) -> Result<String, DdlError> {
        self.check(dialect)?;
        match (dialect, &self.partitions) {
            (Dialect::DuckDb, _) => Err(DdlError::NoCatalog),
            (Dialect::Trino, Some(partitions)) if self.layout == Layout::Plain => {
                Ok(trino::register(self, partitions))
            }
            (Dialect::Glue, Some(partitions)) => Ok(glue::partition_inputs(self, partitions)),
            (Dialect::Athena | Dialect::Spark, Some(partitions)) => {
                Ok(hive::add_partitions(self, dialect, partitions))
            }
            (Dialect::Glue, None) => Err(DdlError::Unknown),
            (_, None) if self.layout == Layout::Plain => Err(DdlError::Unknown),
            (Dialect::Trino, _) => Ok(trino::sync(self)),
            (_, None) => Ok(hive::repair(self)),
        }
    }

    /// Returns the statement that creates a view with the columns of AWS's own Athena table for the log type.
    ///
    /// # Errors
    ///
    /// Fails for tables without such a view, for dialects other than Athena and Trino, and if queries must specify
    /// accounts or regions.
    pub fn compat_view(&self, view: &str, dialect: Dialect) -> Result<String, DdlError> {
        self.check(dialect)?;
        check_name(view)?;
        let text = match dialect {
            Dialect::Athena | Dialect::Trino => compat::view(self, view),
            _ => None,
        };
        let text = text.ok_or(DdlError::Compat)?;
        if self.must_name().is_empty() { Ok(text) } else { Err(DdlError::Injected) }
    }

    /// Returns the partition columns that every query must specify, because their values are unknown.
    pub fn must_name(&self) -> Vec<&'static str> {
        let injected = |column: &&str| projection::is_injected(self, column);
        PARTITION_COLUMNS.into_iter().filter(|column| self.projection && injected(column)).collect()
    }

    fn check(&self, dialect: Dialect) -> Result<(), DdlError> {
        check_name(&self.name)?;
        let amazon = matches!(dialect, Dialect::Athena | Dialect::Glue);
        if amazon && !self.location.starts_with("s3://") {
            return Err(DdlError::NotS3(self.location.clone()));
        }
        location::check(&self.location, dialect, self.projection)?;
        let partitions = self.partitions.iter().flatten();
        let values = partitions.flat_map(|[account, region, ..]| [account, region]);
        self.accounts
            .iter()
            .chain(&self.regions)
            .chain(values)
            .try_for_each(|value| check_value(value))
    }

    /// Returns the table comment: the description, a note about partitions, and the requirements for reading compact
    /// files.
    fn comment(&self, dialect: Dialect) -> String {
        let mut comment = format!("{}. {MIDNIGHT}", self.description);
        if let Some(need) = dialect.compact_requirement().filter(|_| self.compact) {
            comment += ". Some files have the profile compact: ";
            comment += need;
        }
        comment
    }

    /// Returns the partition columns and their descriptions.
    fn partition_columns(&self, projected: bool) -> [(&'static str, String); 5] {
        PARTITION_COLUMNS.map(|column| {
            let meaning = match column {
                "account" => "Account of the load balancer, 12 digits",
                "region" => "Region of the load balancer",
                "year" => "Year of delivery, four digits",
                "month" => "Month of delivery, two digits",
                _ => "Day of delivery, two digits",
            };
            let must = projected && projection::is_injected(self, column);
            let must = if must { "; every query must specify it" } else { "" };
            (column, format!("{meaning}{must}"))
        })
    }

    /// Returns the directory of a partition, with a slash at the end.
    fn directory<S: AsRef<str>>(&self, values: &[S; 5]) -> String {
        format!("{}{}/", self.location, self.layout.directory(values))
    }
}

/// Returns the first year with logs of this type: the year in which AWS introduced the log's first field.
fn first_year(table: &Table) -> &str {
    let era = table.fields.first().map_or("", |field| field.era.as_str());
    era.split_once('-').map_or(era, |(year, _)| year)
}

/// Returns a column for each field of a schema, with its description.
fn columns<'a>(schema: &SchemaRef, meanings: impl Iterator<Item = &'a str>) -> Vec<Column> {
    let column = |(field, meaning): (&arrow::datatypes::FieldRef, &str)| Column {
        name: field.name().clone(),
        data_type: field.data_type().clone(),
        description: meaning.to_owned(),
    };
    schema.fields().iter().zip(meanings).map(column).collect()
}

/// Rejects names that must be quoted, because each engine quotes names differently.
///
/// # Errors
///
/// Fails if a part of the name contains characters other than lowercase letters, digits and underscores, or does not
/// begin with a letter.
pub(crate) fn check_name(name: &str) -> Result<(), DdlError> {
    let part = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_lowercase())
            && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    if name.split('.').all(part) { Ok(()) } else { Err(DdlError::Name(name.to_owned())) }
}

/// Rejects values that cannot be an account or a region.
fn check_value(value: &str) -> Result<(), DdlError> {
    let good = !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if good { Ok(()) } else { Err(DdlError::Value(value.to_owned())) }
}

/// Quotes each part of a name such as `schema.table`.
fn quoted(name: &str, quote: char) -> String {
    let parts = name.split('.').map(|part| format!("{quote}{part}{quote}"));
    parts.collect::<Vec<_>>().join(".")
}

/// Returns a standard SQL string literal, for Trino and `DuckDB`.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::schema::LogType;

    fn access() -> External {
        let location = "s3://lake/alb/alb_access_logs/".to_owned();
        External { location, ..External::rows(LogType::Access.table()) }
    }

    #[test]
    fn every_column_is_described() {
        for table in [access(), External::rejects()] {
            assert!(table.columns.iter().all(|column| column.description.len() > 3));
        }
        assert_eq!(access().columns.len(), LogType::Access.table().file_schema().fields().len());
        assert_eq!(External::rejects().columns.len(), reject::schema().fields().len());
    }

    #[test]
    fn names_that_need_quotes_are_rejected() {
        for good in ["alb_access_logs", "logs.t2", "hive.logs.alb"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "a.", "A", "2a", "_a", "a-b", "a b", "a`b", "a\"b", "ä"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn values_of_partitions_cannot_leave_their_list_or_directory() {
        for bad in ["", "a,b", "a/b", "..", "a'b", "${year}"] {
            let table = External { accounts: vec![bad.to_owned()], ..access() };
            assert!(matches!(table.create(Dialect::Athena), Err(DdlError::Value(_))), "{bad}");
            let table = External { regions: vec![bad.to_owned()], ..access() };
            assert!(matches!(table.create(Dialect::DuckDb), Err(DdlError::Value(_))), "{bad}");
        }
    }

    #[test]
    fn what_a_dialect_cannot_express_is_an_error() {
        let local = External { location: "/lake/t/".to_owned(), ..access() };
        assert!(matches!(local.create(Dialect::Athena), Err(DdlError::NotS3(_))));
        assert!(matches!(local.create(Dialect::Glue), Err(DdlError::NotS3(_))));
        assert!(local.create(Dialect::DuckDb).is_ok());
        let plain = External { layout: Layout::Plain, projection: false, ..access() };
        assert!(matches!(plain.create(Dialect::Athena), Err(DdlError::Unknown)));
        assert!(matches!(plain.create(Dialect::Spark), Err(DdlError::Unknown)));
        assert!(matches!(access().add_partitions(Dialect::DuckDb), Err(DdlError::NoCatalog)));
        assert!(matches!(access().compat_view("v", Dialect::Athena), Err(DdlError::Injected)));
        let kept = External { projection: false, ..access() };
        assert!(kept.compat_view("v", Dialect::Trino).is_ok());
        assert!(matches!(kept.compat_view("v", Dialect::Spark), Err(DdlError::Compat)));
        let rejects =
            External { location: kept.location, projection: false, ..External::rejects() };
        assert!(matches!(rejects.compat_view("v", Dialect::Athena), Err(DdlError::Compat)));
    }

    #[test]
    fn computed_partitions_begin_with_the_first_year_of_the_log() {
        let first = |log_type: LogType| External::rows(log_type.table()).first_year;
        let years = LogType::ALL.map(first);
        assert_eq!(years, ["2016", "2023", "2025", "2019", "2014"]);
        // The table contains rejects from all logs.
        assert_eq!(External::rejects().first_year, "2014");
        let range = |table: &External, range: &str| {
            let text = table.create(Dialect::Trino).unwrap();
            assert!(text.contains(&format!("ARRAY['{range}', '2035']")), "{text}");
        };
        range(&access(), "2016");
        range(&External { first_year: "2014".to_owned(), ..access() }, "2014");
    }

    #[test]
    fn queries_must_specify_unknown_accounts_and_regions() {
        assert_eq!(access().must_name(), ["account", "region"]);
        let accounts = vec!["012345678901".to_owned()];
        assert_eq!(External { accounts, ..access() }.must_name(), ["region"]);
        let text = access().create(Dialect::Athena).unwrap();
        assert_eq!(text.matches("every query must specify it").count(), 2);
        let kept = External { projection: false, ..access() }.create(Dialect::Athena).unwrap();
        assert!(!kept.contains("must specify") && kept.contains("MSCK REPAIR TABLE"));
    }
}
