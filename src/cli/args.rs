//! What the user typed, and nothing that needs a look at the world.

use std::path::PathBuf;

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
}

/// Converts access logs to a dataset of Parquet files, partitioned by account, region and day.
///
/// Every line becomes a row of the table alb_access_logs or, with its reason, of alb_rejects. The
/// partition of a row is that of its object's key, which AWS files by the day of delivery: rows of a
/// day's last five minutes can stand under the next day.
#[derive(Debug, Group)]
#[command(after_help = EXIT_CODES, after_long_help = LONG_AFTER)]
pub(super) struct Convert {
    /// Directories at, above or below AWSLogs/
    #[arg(required = true, value_name = "SOURCE")]
    pub(super) sources: Vec<String>,

    /// Directory of the dataset; made if it is not there
    #[arg(long, value_name = "DATASET")]
    pub(super) out: PathBuf,

    /// First day to convert, by key (UTC)
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub(super) from: Option<NaiveDate>,

    /// Last day to convert, by key (UTC) [default: yesterday, since today still grows]
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub(super) to: Option<NaiveDate>,

    /// Only this account (repeatable)
    #[arg(long, value_name = "ID", value_parser = account)]
    pub(super) account: Vec<String>,

    /// Only this region (repeatable)
    #[arg(long, value_name = "REGION")]
    pub(super) region: Vec<String>,

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

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Layout {
    /// account=…/region=…/year=…/month=…/day=…, which engines find by themselves
    Hive,
    /// ACCOUNT/REGION/yyyy/mm/dd, as in the source
    Plain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Codec {
    /// Zstandard, level 3
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
  2  some object could not be read, or not to its end
  3  the run could not begin, or not go on";

const LONG_AFTER: &str = "\
Exit codes:
  0  every object was converted
  1  more than --max-rejects of the lines are rejects
  2  some object could not be read, or not to its end
  3  the run could not begin, or not go on

Examples:
  alb2parquet convert /mnt/logs --out lake
  alb2parquet convert logs/AWSLogs/123456789012 --out lake --region eu-west-1 --from 2025-07-01 --to 2025-07-31
  alb2parquet convert logs --out lake --json --quiet | jq .rejects";

fn account(text: &str) -> Result<String, String> {
    let good = text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
    if good { Ok(text.to_owned()) } else { Err("an account id has twelve digits".to_owned()) }
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
