//! What the user typed, and nothing that needs a look at the world.

use std::path::PathBuf;
use std::time::Duration;

use chrono::NaiveDate;
use clap::{Args as Group, Parser, Subcommand, ValueEnum};

/// Turns Application Load Balancer logs into partitioned Parquet.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Convert(Convert),
    Verify(Verify),
    Remove(Remove),
    Clean(Clean),
    /// Prints what AWS must be told, as JSON to paste
    #[command(subcommand)]
    Policy(Policy),
    Ddl(Ddl),
}

/// Which partitions are meant.
#[derive(Debug, Group)]
pub(super) struct Partitions {
    /// Only this log (repeatable) [default: all]
    #[arg(long, value_enum, value_name = "TYPE")]
    pub(super) log_type: Vec<LogType>,

    /// First day, by key (UTC)
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub(super) from: Option<NaiveDate>,

    /// Only this account (repeatable)
    #[arg(long, value_name = "ID", value_parser = account)]
    pub(super) account: Vec<String>,

    /// Only this region (repeatable)
    #[arg(long, value_name = "REGION")]
    pub(super) region: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogType {
    /// Requests: the table alb_access_logs
    Access,
    /// Attempts to connect: alb_connection_logs
    Connection,
    /// Health checks of targets: alb_health_check_logs
    #[value(name = "health_check", alias = "health-check")]
    HealthCheck,
}

/// How stores are reached.
#[derive(Debug, Group)]
pub(super) struct Stores {
    /// Setting of the stores that URLs name, as the crate object_store has it, such as region=eu-west-1,
    /// endpoint=http://localhost:9000, request_payer=true, aws_server_side_encryption=aws:kms,
    /// aws_sse_kms_key_id=ID or checksum_algorithm=sha256 (repeatable; wins over the environment)
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) option: Vec<String>,
}

/// Converts access, connection and health check logs to a dataset of Parquet files, partitioned by
/// account, region and day.
///
/// Every line becomes a row of the table of its log, such as alb_access_logs, or, with its reason, of
/// alb_rejects. The names of the objects tell which log they are of. The partition of a row is that of its
/// object's key, which AWS files by the day of delivery: rows of a day's last five minutes can stand under
/// the next day.
#[derive(Debug, Group)]
#[command(after_help = EXIT_CODES, after_long_help = LONG_AFTER)]
#[allow(clippy::struct_excessive_bools)] // flags
pub(super) struct Convert {
    /// Directories or URLs (s3://, gs://, az://, abfss://, file://) at, above or below AWSLogs/
    #[arg(required = true, value_name = "SOURCE")]
    pub(super) sources: Vec<String>,

    /// Directory or URL of the dataset; made if it is not there
    #[arg(long, value_name = "DATASET")]
    pub(super) out: PathBuf,

    #[command(flatten)]
    pub(super) partitions: Partitions,

    #[command(flatten)]
    pub(super) stores: Stores,

    /// Read the keys of SOURCE from a file instead of listing it: a key or URL a line, a manifest.json of an
    /// S3 Inventory (path or URL), or one of its CSV files; - is standard input
    #[arg(long, value_name = "FILE")]
    pub(super) objects: Option<String>,

    /// Last day to convert, by key (UTC) [default: yesterday, since today still grows]
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub(super) to: Option<NaiveDate>,

    /// Only this load balancer: its name, or app/name/id (repeatable)
    #[arg(long, value_name = "NAME")]
    pub(super) balancer: Vec<String>,

    /// Directories of partitions
    #[arg(long, value_enum, default_value_t = Layout::Hive)]
    pub(super) layout: Layout,

    /// Size of the Parquet files, about
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = size)]
    pub(super) target_file_size: u64,

    /// Compression of the Parquet files
    #[arg(long, value_enum, default_value_t = Codec::Zstd)]
    pub(super) compression: Codec,

    /// Text columns, separated by commas, that get Bloom filters: to look for single values, such as
    /// conn_trace_id,trace_id
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    pub(super) bloom_filter: Vec<String>,

    /// Vouch that no other run writes to the dataset meanwhile; only stores that cannot keep runs
    /// apart need it
    #[arg(long)]
    pub(super) single_writer: bool,

    /// Worker threads [default: one per processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(super) threads: Option<u16>,

    /// Share of lines that may be rejects before the exit code is 1
    #[arg(long, value_name = "SHARE", default_value = "0.01", value_parser = share)]
    pub(super) max_rejects: f64,

    /// Print the summary as one JSON object on stdout
    #[arg(long)]
    pub(super) json: bool,

    /// Print nothing on stderr but errors
    #[arg(long, short, conflicts_with = "verbose")]
    pub(super) quiet: bool,

    /// Print a line per published file on stderr
    #[arg(long, short)]
    pub(super) verbose: bool,
}

/// Compares a dataset with its source, its claims and its files.
///
/// Every object that the source lists must be in exactly one claim, every claim must be finished, every file
/// must stand with the rows that its claim and its footer state, and nothing else may lie in a table's
/// directory. Nothing is written.
#[derive(Debug, Group)]
#[command(after_help = VERIFY_AFTER)]
pub(super) struct Verify {
    /// Directories or URLs that the dataset was made from
    #[arg(required = true, value_name = "SOURCE")]
    pub(super) sources: Vec<String>,

    /// Directory or URL of the dataset
    #[arg(long, value_name = "DATASET")]
    pub(super) out: PathBuf,

    #[command(flatten)]
    pub(super) partitions: Partitions,

    #[command(flatten)]
    pub(super) stores: Stores,

    /// Last day, by key (UTC) [default: yesterday, since today still grows]
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub(super) to: Option<NaiveDate>,

    /// Read the source again and compare all rows and rejects with those that stand
    #[arg(long)]
    pub(super) read_data: bool,

    /// Print the result as one JSON object on stdout
    #[arg(long)]
    pub(super) json: bool,
}

/// Takes back whole partitions: their rows disappear, and their objects are new again.
///
/// Without --yes, only what would be taken back is listed. When it is interrupted, the next run of
/// `convert` or `remove` that comes by finishes it.
#[derive(Debug, Group)]
#[command(after_help = REMOVE_AFTER)]
pub(super) struct Remove {
    /// Directory or URL of the dataset
    #[arg(long, value_name = "DATASET")]
    pub(super) out: PathBuf,

    #[command(flatten)]
    pub(super) partitions: Partitions,

    #[command(flatten)]
    pub(super) stores: Stores,

    /// Last day, by key (UTC)
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub(super) to: Option<NaiveDate>,

    /// Do it
    #[arg(long)]
    pub(super) yes: bool,

    /// Print the result as one JSON object on stdout
    #[arg(long)]
    pub(super) json: bool,
}

/// Removes what runs that crashed have left behind: staged files and uploads that no claim names.
#[derive(Debug, Group)]
#[command(after_help = CLEAN_AFTER)]
pub(super) struct Clean {
    /// Directory or URL of the dataset
    #[arg(long, value_name = "DATASET")]
    pub(super) out: PathBuf,

    #[command(flatten)]
    pub(super) stores: Stores,

    /// Only what was staged so long ago; must be longer than any run takes
    #[arg(long, value_name = "AGE", default_value = "7d", value_parser = age)]
    pub(super) older_than: Duration,

    /// Print the result as one JSON object on stdout
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Policy {
    /// Bucket policy that lets load balancers deliver their logs
    LogDelivery {
        /// The bucket
        #[arg(long)]
        bucket: String,
        /// Prefix that was given when logging was switched on
        #[arg(long, default_value = "")]
        prefix: String,
        /// Account of the load balancers (repeatable)
        #[arg(long, required = true, value_name = "ID", value_parser = account)]
        account: Vec<String>,
        /// Partition of AWS
        #[arg(long, value_enum, default_value_t = Aws::Standard)]
        aws: Aws,
    },
    /// Role policy with the least that `convert`, `verify`, `remove` and `clean` need
    Convert {
        /// URL of the logs (repeatable)
        #[arg(long, required = true, value_name = "URL")]
        source: Vec<String>,
        /// URL of the dataset
        #[arg(long, value_name = "URL")]
        out: Option<String>,
        /// ARN of a KMS key that objects are encrypted with (repeatable)
        #[arg(long, value_name = "ARN")]
        kms_key: Vec<String>,
        /// Partition of AWS
        #[arg(long, value_enum, default_value_t = Aws::Standard)]
        aws: Aws,
    },
    /// Lifecycle configuration that ends the uploads that crashed runs have left
    Lifecycle {
        /// URL of the dataset
        #[arg(long, value_name = "URL")]
        out: String,
        /// Days after which an upload is ended; must be longer than any run takes
        #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
        days: u16,
    },
}

/// Prints what makes a table known to Athena, Trino, Spark, DuckDB or the Glue Data Catalog.
///
/// Without --from-dataset nothing is read: columns and their comments are those of this version. Athena
/// and Trino compute partitions by themselves (partition projection), unless --no-projection is given. Where
/// accounts or regions are not known, every query must name them.
#[derive(Debug, Group)]
#[command(after_help = DDL_AFTER)]
pub(super) struct Ddl {
    /// URL of the dataset, as the engine is to reach it [default: that of --from-dataset]
    #[arg(long, value_name = "URL", required_unless_present = "from_dataset")]
    pub(super) location: Option<String>,

    /// Take layout, accounts, regions and partitions from what this dataset holds
    #[arg(long, value_name = "DATASET")]
    pub(super) from_dataset: Option<PathBuf>,

    /// Who is to be told
    #[arg(long, value_enum, default_value_t = Dialect::Athena)]
    pub(super) dialect: Dialect,

    /// Which table: that of a log type, or `rejects`
    #[arg(long, value_name = "TYPE", default_value = "access")]
    pub(super) log_type: String,

    /// Name of the table; the database may stand before it, with a dot [default: that of its directory]
    #[arg(long)]
    pub(super) name: Option<String>,

    /// Directories of partitions [default: those of --from-dataset, or hive]
    #[arg(long, value_enum)]
    pub(super) layout: Option<Layout>,

    /// An account that there is (repeatable)
    #[arg(long, value_name = "ID", value_parser = account, conflicts_with = "from_dataset")]
    pub(super) account: Vec<String>,

    /// A region that there is (repeatable)
    #[arg(long, value_name = "REGION", value_parser = region, conflicts_with = "from_dataset")]
    pub(super) region: Vec<String>,

    /// Keep partitions in the catalogue
    #[arg(long)]
    pub(super) no_projection: bool,

    /// Print only what adds the partitions to the catalogue
    #[arg(long, conflicts_with = "compat_view")]
    pub(super) partitions: bool,

    /// Print the view that has the columns of the table in AWS's documentation
    #[arg(
        long,
        value_name = "NAME",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "alb_access_logs_compat"
    )]
    pub(super) compat_view: Option<String>,

    #[command(flatten)]
    pub(super) stores: Stores,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Dialect {
    /// Amazon Athena
    Athena,
    /// Trino's Hive connector
    Trino,
    /// Spark with Hive's metastore
    Spark,
    /// DuckDB, as a view
    #[allow(clippy::doc_markdown)] // is help
    Duckdb,
    /// JSON for `aws glue create-table` and `batch-create-partition`
    Glue,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Aws {
    /// Everywhere else
    #[value(name = "aws")]
    Standard,
    /// China
    #[value(name = "aws-cn")]
    China,
    /// GovCloud (US)
    #[value(name = "aws-us-gov")]
    GovCloud,
}

impl Aws {
    /// Returns the name that ARNs have.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "aws",
            Self::China => "aws-cn",
            Self::GovCloud => "aws-us-gov",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Layout {
    /// account=…/region=…/year=…/month=…/day=…, which engines find by themselves
    Hive,
    /// ACCOUNT/REGION/yyyy/mm/dd, as in the source
    Plain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Codec {
    /// Zstandard
    Zstd,
    /// Snappy: larger files, a little faster
    Snappy,
    /// None
    None,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  every object was converted
  1  more than --max-rejects of the lines are rejects
  2  some object could not be read, or not to its end, or holds something else than its name says
  3  the run could not begin, or not go on
  130, 143  it was interrupted; the same command goes on";

const LONG_AFTER: &str = "\
Exit codes:
  0  every object was converted
  1  more than --max-rejects of the lines are rejects
  2  some object could not be read, or not to its end, or holds something else than its name says
  3  the run could not begin, or not go on
  130, 143  it was interrupted; the same command goes on

Examples:
  alb2parquet convert /mnt/logs --out lake
  alb2parquet convert s3://my-log-bucket --out s3://my-lake/alb --account 123456789012
  alb2parquet convert logs/AWSLogs/123456789012 --out lake --region eu-west-1 --from 2025-07-01 --to 2025-07-31
  alb2parquet convert logs --out lake --log-type access --log-type connection
  alb2parquet convert logs --out lake --json --quiet | jq .rejects";

const VERIFY_AFTER: &str = "\
Exit codes:
  0  everything is as it should be
  1  something is not; each finding is listed with what to do
  3  nothing can be said

Examples:
  alb2parquet verify s3://my-log-bucket --out s3://my-lake/alb
  alb2parquet verify /mnt/logs --out lake --read-data --from 2025-07-01 --to 2025-07-31";

const REMOVE_AFTER: &str = "\
Exit codes:
  0  it was done, or listed
  2  some partition could not be taken back
  3  the dataset cannot be read or written

Examples:
  alb2parquet remove --out lake --account 123456789012 --from 2025-07-19 --to 2025-07-19
  alb2parquet remove --out lake --region eu-west-1 --yes";

const CLEAN_AFTER: &str = "\
Exit codes:
  0  it was done
  3  the dataset cannot be read or written

Examples:
  alb2parquet clean --out lake
  alb2parquet clean --out lake --older-than 36h --json";

const DDL_AFTER: &str = "\
Examples:
  alb2parquet ddl --location s3://my-lake/alb --account 123456789012 --region eu-west-1
  alb2parquet ddl --from-dataset s3://my-lake/alb --dialect glue > table.json
  alb2parquet ddl --from-dataset s3://my-lake/alb --name alb_parquet --compat-view=alb_access_logs
  alb2parquet ddl --from-dataset lake --dialect duckdb | duckdb";

fn account(text: &str) -> Result<String, String> {
    let good = text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
    if good { Ok(text.to_owned()) } else { Err("an account id has twelve digits".to_owned()) }
}

fn region(text: &str) -> Result<String, String> {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let good = !text.is_empty() && text.bytes().all(good);
    if good { Ok(text.to_owned()) } else { Err("write it like eu-west-1".to_owned()) }
}

fn age(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let seconds = number.parse::<u64>().ok().zip(factor).and_then(|(n, f)| n.checked_mul(f));
    seconds.map(Duration::from_secs).ok_or_else(|| "write it like 7d, 36h or 90m".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("not between 0 and 1".to_owned()) }
}

fn size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 7] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("", 1),
    ];
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim();
    let factor =
        UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, factor)| *factor);
    let size =
        number.parse().ok().zip(factor).and_then(|(number, factor)| factor.checked_mul(number));
    size.filter(|size| *size > 0).ok_or_else(|| "write it like 256MiB or 1GB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn ages() {
        assert_eq!(age("7d"), Ok(Duration::from_hours(7 * 24)));
        assert_eq!(age("0s"), Ok(Duration::ZERO));
        for text in ["", "7", "d", "-1d", "1w", "1.5h", "99999999999999999999d"] {
            assert!(age(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(size("256MiB"), Ok(256 << 20));
        assert_eq!(size("1 gb"), Ok(1_000_000_000));
        assert_eq!(size("4096"), Ok(4096));
        for text in
            ["", "0", "-1", "MiB", "1TiBs", "1.5GiB", "99999999999999999999", "99999999999GiB"]
        {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
