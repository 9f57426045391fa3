//! The `ddl` command.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use crate::catalog::check::{Check, Engine};
use crate::catalog::ddl::{self, External};
use crate::cli::options::{self, Layout, Stores};
use crate::cli::terminal::{print_line, print_text};
use crate::cli::{DONE, resolve};
use crate::dataset::layout::{self, DatasetError};
use crate::logs::schema::LogType;

const AFTER: &str = "\
Exit codes:
  0  the statements were printed
  3  the dataset cannot be read, or the dialect does not support the arguments

Examples:
  alb2parquet ddl --location s3://my-lake/alb --account 123456789012 --region eu-west-1
  alb2parquet ddl --from-dataset s3://my-lake/alb --dialect glue > table.json
  alb2parquet ddl --from-dataset s3://my-lake/alb --name alb_parquet --compat-view=alb_access_logs
  alb2parquet ddl --from-dataset lake --dialect duckdb | duckdb
  alb2parquet ddl --from-dataset s3://my-lake/alb --check > check.sql";

/// Print the DDL that registers a table in Athena, Trino, Spark, DuckDB or Glue
///
/// Columns and their comments are those of this version of the program. Only --from-dataset reads a dataset. Athena and
/// Trino compute partitions themselves (partition projection) unless --no-projection is specified. If the accounts or
/// regions are unknown, every query must specify them.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(super) struct Ddl {
    /// URL of the dataset for the engine [default: that of --from-dataset]
    #[arg(long, value_name = "URL", required_unless_present_any = ["from_dataset", "check"])]
    pub(super) location: Option<String>,

    /// Read layout, accounts, regions and partitions from this dataset
    #[arg(long, value_name = "DATASET")]
    pub(super) from_dataset: Option<PathBuf>,

    /// Engine or catalog
    #[arg(long, value_enum, default_value_t = Dialect::Athena)]
    pub(super) dialect: Dialect,

    /// Table: access, connection, health_check, nlb_tls, classic or rejects
    #[arg(long, value_name = "TYPE", default_value = "access")]
    pub(super) log_type: String,

    /// Name of the table, as TABLE or DATABASE.TABLE [default: that of its directory]
    #[arg(long)]
    pub(super) name: Option<String>,

    /// Layout of the partition directories [default: that of --from-dataset, or hive]
    #[arg(long, value_enum)]
    pub(super) layout: Option<Layout>,

    /// Account in the dataset (repeatable)
    #[arg(long, value_name = "ID", value_parser = options::account, conflicts_with = "from_dataset")]
    pub(super) account: Vec<String>,

    /// Region in the dataset (repeatable)
    #[arg(long, value_name = "REGION", value_parser = options::region, conflicts_with = "from_dataset")]
    pub(super) region: Vec<String>,

    /// Register partitions in the catalog instead of using partition projection
    #[arg(long)]
    pub(super) no_projection: bool,

    /// Print only the statements that add the partitions to the catalog
    #[arg(long, conflicts_with = "compat_view")]
    pub(super) partitions: bool,

    /// Print a view with the columns of AWS's own Athena table
    ///
    /// AWS documents tables for access, nlb_tls and classic logs. Without NAME, the view has the name of the table and
    /// `_compat`.
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true)]
    #[allow(clippy::option_option)] // the option, and its value
    pub(super) compat_view: Option<Option<String>>,

    /// Print statements that check whether the engine reads every row
    ///
    /// Each statement returns no rows if the engine reads the table correctly, and otherwise one row per difference.
    /// The statements compare the row counts of all partitions, and columns and filters of a few partitions that SEED
    /// selects. The expected values come from the claims, footers and rows of the dataset, not from an engine.
    #[arg(
        long,
        value_name = "SEED",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "1",
        requires = "from_dataset",
        conflicts_with_all = ["partitions", "compat_view"]
    )]
    pub(super) check: Option<u64>,

    #[command(flatten)]
    pub(super) stores: Stores,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Dialect {
    /// Amazon Athena
    Athena,
    /// Trino's Hive connector
    Trino,
    /// Spark with a Hive metastore
    Spark,
    /// DuckDB, as a view
    #[allow(clippy::doc_markdown)] // is help
    Duckdb,
    /// JSON for `aws glue create-table` and `batch-create-partition`
    Glue,
    /// Google BigQuery, only with --check
    #[allow(clippy::doc_markdown)] // is help
    #[value(name = "bigquery")]
    BigQuery,
    /// Amazon Redshift Spectrum, only with --check
    Redshift,
    /// Snowflake, only with --check
    Snowflake,
}

impl Ddl {
    pub(super) fn run(&self) -> anyhow::Result<u8> {
        if let Some(seed) = self.check {
            print_text(&self.checks(seed)?)?;
            return Ok(DONE);
        }
        let (table, dialect) = self.external()?;
        let text = match &self.compat_view {
            Some(Some(view)) => table.compat_view(view, dialect)?,
            Some(None) => {
                let name = described(&self.log_type)?.name;
                table.compat_view(&format!("{name}_compat"), dialect)?
            }
            None if self.partitions => table.add_partitions(dialect)?,
            None => table.create(dialect)?,
        };
        warn(&table.must_name());
        print_text(&text)?;
        Ok(DONE)
    }

    /// Returns the statements for `--check`.
    fn checks(&self, seed: u64) -> anyhow::Result<String> {
        let engine = match self.dialect {
            Dialect::Athena | Dialect::Trino => Engine::Trino,
            Dialect::Spark => Engine::Spark,
            Dialect::Duckdb => Engine::DuckDb,
            Dialect::BigQuery => Engine::BigQuery,
            Dialect::Redshift => Engine::Redshift,
            Dialect::Snowflake => Engine::Snowflake,
            Dialect::Glue => bail!(
                "--check prints SQL, so it cannot be used with --dialect glue: specify the dialect of the engine that \
                 queries the table"
            ),
        };
        let described = described(&self.log_type)?;
        let name = self.name.as_deref().unwrap_or(&described.name);
        ddl::check_name(name)?;
        let dataset = self.from_dataset.as_ref().expect("--check requires it");
        let dataset = resolve::find_dataset(dataset, &resolve::network(&self.stores, print_line)?)?;
        let check = Check::read(&dataset, &described.name, &described.columns, seed)?;
        if check.unfinished() > 0 {
            print_line(&format!(
                "{} partitions are not checked because they have unfinished claims; run `alb2parquet convert` again",
                check.unfinished()
            ));
        }
        if check.is_empty() {
            bail!("{} has no rows to check", described.name);
        }
        Ok(check.statements(name, engine))
    }

    /// Returns the table to print, and the dialect.
    fn external(&self) -> anyhow::Result<(External, ddl::Dialect)> {
        let dialect = match self.dialect {
            Dialect::Athena => ddl::Dialect::Athena,
            Dialect::Trino => ddl::Dialect::Trino,
            Dialect::Spark => ddl::Dialect::Spark,
            Dialect::Duckdb => ddl::Dialect::DuckDb,
            Dialect::Glue => ddl::Dialect::Glue,
            Dialect::BigQuery | Dialect::Redshift | Dialect::Snowflake => {
                bail!("this dialect supports only --check: create the table by hand")
            }
        };
        let mut table = described(&self.log_type)?;
        if let Some(name) = &self.from_dataset {
            let dataset =
                resolve::find_dataset(name, &resolve::network(&self.stores, print_line)?)?;
            if let Some(asked) = self.layout.map(resolve::layout)
                && asked != dataset.layout()
            {
                return Err(DatasetError::Layout(dataset.layout()).into());
            }
            table.learn(&dataset)?;
            if table.accounts.is_empty() {
                bail!("{} contains no partition of {} yet", name.display(), table.name);
            }
        } else {
            table.layout = self.layout.map_or(layout::Layout::Hive, resolve::layout);
            table.accounts.clone_from(&self.account);
            table.regions.clone_from(&self.region);
        }
        let dataset = match (&self.location, &self.from_dataset) {
            (Some(location), _) => location.clone(),
            (None, Some(name)) => {
                name.to_str().context("--from-dataset is not valid UTF-8")?.to_owned()
            }
            (None, None) => bail!("specify --location or --from-dataset"),
        };
        table.location = ddl::locate(&dataset, &table.location, dialect)?;
        table.projection = !self.no_projection && dialect.computes_partitions();
        if let Some(name) = &self.name {
            table.name.clone_from(name);
        }
        Ok((table, dialect))
    }
}

/// Returns the table of a log type, or of rejects.
fn described(log_type: &str) -> anyhow::Result<External> {
    External::named(log_type).with_context(|| {
        let types = LogType::ALL.map(LogType::as_str).join(", ");
        format!("--log-type {log_type}: expected one of {types}, {}", ddl::REJECTS)
    })
}

/// Warns about the partition columns that every query must specify, if there are any.
fn warn(must_name: &[&str]) {
    if !must_name.is_empty() {
        print_line(&format!(
            "every query must specify {}, as in WHERE {} = '…': to allow queries without them, add --account and \
             --region, or --from-dataset",
            must_name.join(" and "),
            must_name.join(" = '…' AND ")
        ));
    }
}
