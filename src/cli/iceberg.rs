//! The `iceberg publish` command, and `convert --iceberg`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::cli::options::{self, Stores};
use crate::cli::resolve;
use crate::cli::signals::Signals;
use crate::cli::terminal::{StdoutError, print_json, print_line, warning};
use crate::dataset::layout::Dataset;
use crate::store::{Network, decoded};

#[cfg(feature = "iceberg")]
mod access;
#[cfg(feature = "iceberg")]
mod publish;
#[cfg(not(feature = "iceberg"))]
mod absent;

#[cfg(not(feature = "iceberg"))]
use crate::cli::iceberg::absent as publish;

#[cfg(not(feature = "iceberg"))]
pub(super) use crate::cli::iceberg::publish::NotBuilt;
pub(super) use crate::cli::iceberg::publish::{Outcome, is_interruption};
pub(super) use crate::cli::iceberg::publish::{check, check_compaction, publish};

pub(super) const AFTER: &str = "\
Exit codes:
  0  every file of the dataset is in its table
  2  some files could not be published; each is listed. If claims are lost, run `repair`
     and publish again
  3  fatal error: the dataset, the catalog or a table cannot be used
  130, 143  interrupted; the same command continues

Examples:
  alb2parquet iceberg publish lake --catalog sql:sqlite:////srv/catalog.db
  alb2parquet iceberg publish s3://my-lake/alb --catalog rest:https://catalog.example.com --namespace logs";

/// Flags of `convert` that publish the dataset after the conversion.
#[derive(Debug, Args)]
pub(super) struct AfterConversion {
    /// Publish the dataset as Iceberg tables after the conversion, in this catalog
    ///
    /// Takes the same values as --catalog of `iceberg publish`. The conversion begins only if the catalog answers.
    /// See docs/iceberg.md.
    #[arg(long, value_name = "CATALOG", value_parser = catalog, conflicts_with = "batches")]
    pub(super) iceberg: Option<CatalogName>,

    /// URL for metadata of new Iceberg tables [default: DATASET/_alb2parquet/iceberg]
    #[arg(long, value_name = "URL", requires = "iceberg")]
    pub(super) iceberg_warehouse: Option<String>,

    /// Namespace (database) of the Iceberg tables
    #[arg(long, value_name = "NAME", default_value = "default", value_parser = namespace)]
    pub(super) iceberg_namespace: String,
}

#[derive(Debug, Subcommand)]
pub(super) enum Iceberg {
    Publish(Publish),
}

/// Publish a dataset as Iceberg tables
///
/// Creates a table for each log type and for rejects, if they have files. The tables refer to the files of the dataset:
/// nothing is copied, and engines that read the files directly are not affected. Each run adds the files that are not
/// yet in the tables, and removes those that `remove` has deleted. The command can be repeated, interrupted and run
/// concurrently. See docs/iceberg.md.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(super) struct Publish {
    #[command(flatten)]
    pub(super) destination: Destination,

    /// Add files again that another program has removed from a table
    #[arg(long)]
    pub(super) add_missing: bool,

    /// Print what would be published, without changing any table
    #[arg(long)]
    pub(super) dry_run: bool,

    #[command(flatten)]
    pub(super) stores: Stores,

    /// Print the result as one JSON object on stdout
    #[arg(long)]
    pub(super) json: bool,
}

/// A dataset, and the catalog of its tables.
#[derive(Debug, Args)]
pub(super) struct Destination {
    /// Directory or URL of the dataset
    #[arg(value_name = "DATASET")]
    pub(super) out: PathBuf,

    /// Catalog: sql:sqlite:///PATH, rest:URL, glue or glue:ACCOUNT
    ///
    /// sql:sqlite:///PATH is a SQLite database in the format of Iceberg's JDBC catalog; the path follows the third
    /// slash, so an absolute path begins with a fourth. Its catalog is named default; append ?catalog=NAME for another
    /// name. rest:URL is an Iceberg REST catalog; append ?warehouse=NAME to select one of the server's warehouses.
    /// ALB2PARQUET_ICEBERG_TOKEN can contain a bearer token, or ALB2PARQUET_ICEBERG_CREDENTIAL the credentials of an
    /// OAuth2 client (ID:SECRET). Requests to the host glue.REGION.amazonaws.com are signed with AWS credentials;
    /// its warehouse is the account ID. glue is the AWS Glue Data Catalog of the configured region, glue:ACCOUNT that
    /// of another account.
    #[arg(long, value_name = "CATALOG", value_parser = catalog)]
    pub(super) catalog: CatalogName,

    /// URL for metadata of new tables [default: DATASET/_alb2parquet/iceberg]
    #[arg(long, value_name = "URL")]
    pub(super) warehouse: Option<String>,

    /// Namespace (database) of the tables
    #[arg(long, value_name = "NAME", default_value = "default", value_parser = namespace)]
    pub(super) namespace: String,
}

impl Destination {
    pub(super) fn tables(&self, add_missing: bool, dry_run: bool) -> Tables<'_> {
        Tables {
            out: &self.out,
            catalog: &self.catalog,
            warehouse: self.warehouse.as_deref(),
            namespace: &self.namespace,
            add_missing,
            dry_run,
        }
    }
}

/// A catalog as specified on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CatalogName {
    /// A SQLite database, and the name of a catalog in it.
    Sql { path: PathBuf, catalog: String },
    /// An Iceberg REST catalog, and one of its warehouses.
    Rest { url: String, warehouse: Option<String> },
    /// The Glue Data Catalog of an account; `None` for the account of the credentials.
    Glue(Option<String>),
}

/// Which tables to publish, and where.
#[cfg_attr(not(feature = "iceberg"), allow(dead_code))] // such a build only explains what it lacks
pub(super) struct Tables<'a> {
    /// Path or URL of the dataset as the user specified it.
    pub(super) out: &'a Path,
    pub(super) catalog: &'a CatalogName,
    pub(super) warehouse: Option<&'a str>,
    pub(super) namespace: &'a str,
    pub(super) add_missing: bool,
    pub(super) dry_run: bool,
}

impl AfterConversion {
    /// Checks that the dataset can be published, before the conversion begins.
    pub(super) fn check(&self, out: &Path, network: &Network) -> anyhow::Result<()> {
        self.tables(out).map_or(Ok(()), |tables| check(&tables, network))
    }

    /// Publishes the dataset if a catalog is specified.
    pub(super) fn publish(
        &self,
        out: &Path,
        dataset: &Dataset,
        network: &Network,
        signals: &Signals,
    ) -> anyhow::Result<Option<Outcome>> {
        let tables = self.tables(out);
        tables.map(|tables| publish(&tables, dataset, network, signals)).transpose()
    }

    fn tables<'a>(&'a self, out: &'a Path) -> Option<Tables<'a>> {
        Some(Tables {
            out,
            catalog: self.iceberg.as_ref()?,
            warehouse: self.iceberg_warehouse.as_deref(),
            namespace: &self.iceberg_namespace,
            add_missing: false,
            dry_run: false,
        })
    }
}

impl Iceberg {
    pub(super) fn run(&self, signals: &Signals) -> anyhow::Result<u8> {
        let Self::Publish(publish) = self;
        publish.run(signals)
    }
}

impl Publish {
    fn run(&self, signals: &Signals) -> anyhow::Result<u8> {
        let network = resolve::network(&self.stores, print_line)?;
        let dataset = resolve::find_dataset(&self.destination.out, &network)?;
        let tables = self.destination.tables(self.add_missing, self.dry_run);
        let result = publish(&tables, &dataset, &network, signals)?;
        result.lines(self.dry_run).iter().for_each(|line| print_line(line));
        result.failures().iter().for_each(|failure| warning(failure));
        if self.json {
            print_json(&result.json()).map_err(StdoutError::finished)?;
        }
        Ok(result.exit_code())
    }
}

pub(super) fn catalog(text: &str) -> Result<CatalogName, String> {
    const MEANT: &str = "expected sql:sqlite:///PATH, rest:URL, glue or glue:ACCOUNT";
    const MEANT_QUERY: &str = "expected rest:URL or rest:URL?warehouse=NAME";
    if text == "glue" {
        return Ok(CatalogName::Glue(None));
    }
    let (kind, rest) = text.split_once(':').ok_or(MEANT)?;
    match kind {
        "sql" => {
            let path = rest.strip_prefix("sqlite:///").ok_or(MEANT)?;
            let (path, catalog) = path.rsplit_once("?catalog=").unwrap_or((path, "default"));
            if path.is_empty() || catalog.is_empty() {
                return Err(MEANT.to_owned());
            }
            Ok(CatalogName::Sql { path: path.into(), catalog: catalog.to_owned() })
        }
        "rest" if rest.starts_with("https://") || rest.starts_with("http://") => {
            let (url, query) =
                rest.split_once('?').map_or((rest, None), |(url, query)| (url, Some(query)));
            let warehouse = query.map(|query| query.strip_prefix("warehouse=").ok_or(MEANT_QUERY));
            let warehouse = warehouse.transpose()?.map(decoded);
            if warehouse.as_deref() == Some("") {
                return Err(MEANT_QUERY.to_owned());
            }
            Ok(CatalogName::Rest { url: url.trim_end_matches('/').to_owned(), warehouse })
        }
        "glue" => options::account(rest).map(|account| CatalogName::Glue(Some(account))),
        _ => Err(MEANT.to_owned()),
    }
}

pub(super) fn namespace(text: &str) -> Result<String, String> {
    let first = text.starts_with(|c: char| c.is_ascii_lowercase());
    let all = text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if first && all {
        Ok(text.to_owned())
    } else {
        Err("use lower-case letters, digits and underscores, beginning with a letter".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn catalogs_are_databases_or_servers() {
        let sql = |path: &str, catalog: &str| {
            Ok(CatalogName::Sql { path: path.into(), catalog: catalog.to_owned() })
        };
        assert_eq!(catalog("sql:sqlite:///lake.db"), sql("lake.db", "default"));
        assert_eq!(catalog("sql:sqlite:////srv/a.db?catalog=lake"), sql("/srv/a.db", "lake"));
        let rest = |warehouse: Option<&str>| {
            let (url, warehouse) = ("http://localhost:8181".to_owned(), warehouse.map(Into::into));
            Ok(CatalogName::Rest { url, warehouse })
        };
        assert_eq!(catalog("rest:http://localhost:8181/"), rest(None));
        assert_eq!(catalog("rest:http://localhost:8181?warehouse=lake"), rest(Some("lake")));
        let name = "arn:a/b c";
        assert_eq!(
            catalog(&format!("rest:http://localhost:8181/?warehouse={name}")),
            rest(Some(name))
        );
        assert_eq!(catalog("rest:http://localhost:8181?warehouse=arn%3Aa/b%20c"), rest(Some(name)));
        for bad in ["?", "?warehouse=", "?prefix=a"] {
            let error = catalog(&format!("rest:http://localhost:8181{bad}")).unwrap_err();
            assert!(error.contains("?warehouse=NAME"), "{bad}: {error}");
        }
        let account = "123456789012".to_owned();
        assert_eq!(catalog("glue"), Ok(CatalogName::Glue(None)));
        assert_eq!(catalog("glue:123456789012"), Ok(CatalogName::Glue(Some(account))));
        assert!(catalog("glue:1").unwrap_err().contains("12 digits"));
        for bad in [
            "",
            "lake.db",
            "sql:lake.db",
            "sql:sqlite:///",
            "sql:sqlite:///a?catalog=",
            "rest:host",
            "x:y",
        ] {
            assert!(catalog(bad).unwrap_err().contains("sql:sqlite"), "{bad}");
        }
    }

    #[test]
    fn a_namespace_needs_no_quotes() {
        assert_eq!(namespace("alb_logs2"), Ok("alb_logs2".to_owned()));
        for bad in ["", "Logs", "2logs", "a.b", "a-b", "a b"] {
            assert!(namespace(bad).is_err(), "{bad}");
        }
    }
}
