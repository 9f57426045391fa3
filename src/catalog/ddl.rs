//! What engines must be told of a table: statements and JSON to paste, made from the schema files
//! without a look at the world.
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

/// What AWS's rule of delivery means for whoever asks for a day.
const MIDNIGHT: &str = "Partitions are days of delivery (UTC): the last minutes of a day can \
    stand under the next, so ask for two and filter by time";

/// Who is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Amazon Athena.
    Athena,
    /// Trino's Hive connector.
    Trino,
    /// Spark with Hive's metastore.
    Spark,
    /// `DuckDB`, as a view.
    DuckDb,
    /// The AWS Glue Data Catalog, as JSON.
    Glue,
}

impl Dialect {
    /// Returns whether the engine can compute the partitions of a table, without a catalog.
    pub fn computes_partitions(self) -> bool {
        !matches!(self, Self::Spark | Self::DuckDb)
    }

    /// Returns what an engine needs to read compact files, if anything.
    fn need_of_compact_files(self) -> Option<&'static str> {
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

/// A table of a dataset, as engines are told of it.
#[derive(Debug, Clone)]
pub struct External {
    /// The log type of its rows; `None` for the table of rejects.
    pub log_type: Option<LogType>,
    /// Its name, such as `alb_access_logs` or `logs.alb_access_logs`.
    pub name: String,
    /// What a row is.
    pub description: String,
    /// Its columns but for those of the partition.
    pub columns: Vec<Column>,
    /// URL or path of its directory, with a slash at the end.
    pub location: String,
    /// How its partitions become directories.
    pub layout: Layout,
    /// The accounts there are; when none is given, queries must name theirs.
    pub accounts: Vec<String>,
    /// The regions there are; when none is given, queries must name theirs.
    pub regions: Vec<String>,
    /// Whether partitions are computed by the engine rather than kept in a catalogue.
    pub projection: bool,
    /// Whether some of its files are compact.
    pub compact: bool,
    /// The partitions that hold files of the table, when they are known.
    pub partitions: Option<Vec<PartitionValues>>,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type in the files.
    pub data_type: DataType,
    /// Meaning, in one line.
    pub description: String,
}

/// An engine cannot be told that.
#[derive(Debug, thiserror::Error)]
pub enum DdlError {
    /// Athena and Glue read nothing else.
    #[error("{0} is not in S3, and that is all that Athena and Glue read: begin it with s3://")]
    NotS3(String),
    /// Names are not quoted alike everywhere.
    #[error(
        "{0} cannot be a name: use lower-case letters, digits and underscores, a letter first; put the \
         database before it with a dot"
    )]
    Name(String),
    /// Directories that are only values say nothing to a catalogue.
    #[error("engines cannot find the partitions of the layout plain by themselves")]
    Unknown,
    /// `DuckDB` looks into the directories with each query.
    #[error("DuckDB has no catalog of partitions: its view finds them with each query")]
    NoCatalogue,
    /// A view that asks for all days can name no account.
    #[error("the view needs to know which accounts and regions there are")]
    Injected,
    /// Only the access log table is so documented, for Athena.
    #[error("the view is of the access log table, and for the dialects athena and trino")]
    Compat,
    /// The engine would read another location, or fail without an explanation.
    #[error("the location {location:?} cannot be used: it contains {what:?}, {reason}")]
    Location {
        /// The location of the table.
        location: String,
        /// The first part of it that the engine interprets.
        what: String,
        /// How the engine interprets it.
        reason: &'static str,
    },
    /// The URL of the dataset makes no sense.
    #[error(transparent)]
    Place(#[from] StoreError),
    /// The path of the dataset cannot be made absolute.
    #[error("{path} cannot be a path")]
    Path {
        /// The path.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The path of the dataset is not UTF-8.
    #[error("the path of the dataset is not text")]
    NotText,
    /// No statement can show the location.
    #[error("{0} contains invisible characters: no statement can name it")]
    Invisible(String),
    /// Values of partitions are parts of paths, and of lists with commas.
    #[error("\"{0}\" cannot be an account or a region: use letters, digits and hyphens")]
    Value(String),
}

impl External {
    /// Describes the table of a log type. The caller completes it.
    pub fn rows(table: &Table) -> Self {
        let own = OWN_COLUMNS.map(|(_, meaning)| meaning);
        let described = table.columns().map(|(_, column)| column.description.as_str());
        let columns = columns(&table.file_schema(), described.chain(own));
        Self::new(Some(table.log_type), &table.name, &table.description, columns)
    }

    /// Describes the table of rejects. The caller completes it.
    pub fn rejects() -> Self {
        let columns = columns(&reject::schema(), reject::MEANINGS.into_iter());
        Self::new(
            None,
            reject::TABLE,
            "Log lines that could not become rows, one row per line",
            columns,
        )
    }

    fn new(log_type: Option<LogType>, name: &str, description: &str, columns: Vec<Column>) -> Self {
        Self {
            log_type,
            name: name.to_owned(),
            description: description.to_owned(),
            columns,
            location: format!("{name}/"),
            layout: Layout::Hive,
            accounts: Vec::new(),
            regions: Vec::new(),
            projection: true,
            compact: false,
            partitions: None,
        }
    }

    /// Returns what makes the table known, and its partitions too where they are kept in a catalogue.
    ///
    /// # Errors
    ///
    /// Fails when the dialect cannot express it.
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

    /// Returns what adds the partitions to a catalogue.
    ///
    /// # Errors
    ///
    /// Fails when the dialect cannot express it, or the partitions are not known.
    pub fn add_partitions(&self, dialect: Dialect) -> Result<String, DdlError> {
        self.check(dialect)?;
        match (dialect, &self.partitions) {
            (Dialect::DuckDb, _) => Err(DdlError::NoCatalogue),
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

    /// Returns the view that has the columns of AWS's documented table of access logs.
    ///
    /// # Errors
    ///
    /// Fails when this is another table, the dialect is not Athena's, or queries would have to name accounts.
    pub fn compat_view(&self, view: &str, dialect: Dialect) -> Result<String, DdlError> {
        self.check(dialect)?;
        check_name(view)?;
        if self.projection && !self.must_name().is_empty() {
            return Err(DdlError::Injected);
        }
        match dialect {
            Dialect::Athena | Dialect::Trino => compat::view(self, view).ok_or(DdlError::Compat),
            _ => Err(DdlError::Compat),
        }
    }

    /// Returns the partition columns that every query must name, because their values are not known.
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

    /// Returns the table comment: the description, how rows are partitioned, and what the engine needs to read compact files.
    fn comment(&self, dialect: Dialect) -> String {
        let mut comment = format!("{}. {MIDNIGHT}", self.description);
        if let Some(need) = dialect.need_of_compact_files().filter(|_| self.compact) {
            comment += ". Some files have the profile compact: ";
            comment += need;
        }
        comment
    }

    /// Returns the partition columns, each with its meaning.
    fn partition_columns(&self, projected: bool) -> [(&'static str, String); 5] {
        PARTITION_COLUMNS.map(|column| {
            let meaning = match column {
                "account" => "Account of the load balancer, twelve digits",
                "region" => "Region of the load balancer",
                "year" => "Year of delivery, four digits",
                "month" => "Month of delivery, two digits",
                _ => "Day of delivery, two digits",
            };
            let must = projected && projection::is_injected(self, column);
            let must = if must { "; every query must say which" } else { "" };
            (column, format!("{meaning}{must}"))
        })
    }

    /// Returns the directory of a partition, with a slash at the end.
    fn directory<S: AsRef<str>>(&self, values: &[S; 5]) -> String {
        format!("{}{}/", self.location, self.layout.directory(values))
    }
}

/// Pairs the fields of a schema with their meanings.
fn columns<'a>(schema: &SchemaRef, meanings: impl Iterator<Item = &'a str>) -> Vec<Column> {
    let column = |(field, meaning): (&arrow::datatypes::FieldRef, &str)| Column {
        name: field.name().clone(),
        data_type: field.data_type().clone(),
        description: meaning.to_owned(),
    };
    schema.fields().iter().zip(meanings).map(column).collect()
}

/// Refuses names that must be quoted, which engines do differently.
///
/// # Errors
///
/// Fails if a part of the name has characters other than lower-case letters, digits and underscores, or begins with
/// another character than a letter.
pub(crate) fn check_name(name: &str) -> Result<(), DdlError> {
    let part = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_lowercase())
            && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    if name.split('.').all(part) { Ok(()) } else { Err(DdlError::Name(name.to_owned())) }
}

/// Refuses partition values that cannot be an account or a region.
fn check_value(value: &str) -> Result<(), DdlError> {
    let good = !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if good { Ok(()) } else { Err(DdlError::Value(value.to_owned())) }
}

/// Quotes a name of one or more parts.
fn quoted(name: &str, quote: char) -> String {
    let parts = name.split('.').map(|part| format!("{quote}{part}{quote}"));
    parts.collect::<Vec<_>>().join(".")
}

/// A string of standard SQL, as Trino and `DuckDB` read it.
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
    fn names_are_those_that_need_no_quotes() {
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
    fn what_cannot_be_said_is_refused() {
        let local = External { location: "/lake/t/".to_owned(), ..access() };
        assert!(matches!(local.create(Dialect::Athena), Err(DdlError::NotS3(_))));
        assert!(matches!(local.create(Dialect::Glue), Err(DdlError::NotS3(_))));
        assert!(local.create(Dialect::DuckDb).is_ok());
        let plain = External { layout: Layout::Plain, projection: false, ..access() };
        assert!(matches!(plain.create(Dialect::Athena), Err(DdlError::Unknown)));
        assert!(matches!(plain.create(Dialect::Spark), Err(DdlError::Unknown)));
        assert!(matches!(access().add_partitions(Dialect::DuckDb), Err(DdlError::NoCatalogue)));
        assert!(matches!(access().compat_view("v", Dialect::Athena), Err(DdlError::Injected)));
        let kept = External { projection: false, ..access() };
        assert!(kept.compat_view("v", Dialect::Trino).is_ok());
        assert!(matches!(kept.compat_view("v", Dialect::Spark), Err(DdlError::Compat)));
        let rejects =
            External { location: kept.location, projection: false, ..External::rejects() };
        assert!(matches!(rejects.compat_view("v", Dialect::Athena), Err(DdlError::Compat)));
    }

    #[test]
    fn queries_must_name_what_is_not_known() {
        assert_eq!(access().must_name(), ["account", "region"]);
        let accounts = vec!["012345678901".to_owned()];
        assert_eq!(External { accounts, ..access() }.must_name(), ["region"]);
        let text = access().create(Dialect::Athena).unwrap();
        assert_eq!(text.matches("every query must say which").count(), 2);
        let kept = External { projection: false, ..access() }.create(Dialect::Athena).unwrap();
        assert!(!kept.contains("must say") && kept.contains("MSCK REPAIR TABLE"));
    }
}
